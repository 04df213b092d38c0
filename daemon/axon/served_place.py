"""One hotkey's methods on one subnet, from the moment a plugin offers them: served, announced, and taken back together.

Serving begins when the subnet's table of callers has been read: before that every caller would look like a stranger.
What cannot be announced is refused to the plugin at once: later nobody would be there to be told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...consensus.signature import KeyPair
from ...consensus.types import AccountId
from ...protocols.axon.interfaces import Handler, ServedMethod
from ...protocols.axon.policy_check import admits_by_stake_alone
from ...protocols.axon.records import OfferedMethod
from ...protocols.axon.registrations import Registration

if TYPE_CHECKING:
    from .service import AxonService


class ServedPlace:
    """A `PluginRegistration`."""

    def __init__(
        self,
        service: AxonService,
        key: KeyPair,
        netuid: int,
        methods: Sequence[ServedMethod],
        handler: Handler,
        *,
        sealed: bool,
    ) -> None:
        """`sealed`: only permit holders of the subnet learn the addresses. Raises MalformedError when the methods do
        not fit into a record.
        """
        self._service = service
        self._key = key
        self._netuid = netuid
        self._sealed = sealed
        service.discovery.announcer.check(key, netuid, _offered(methods))
        self._offer: tuple[Sequence[ServedMethod], Handler] | None = (methods, service.blobs.noting(handler))
        self._registration: Registration | None = None
        service.hotkeys[AccountId(key.public_key)] = key
        service.nursery.start_soon(self._open)

    async def _open(self) -> None:
        await self._watch()
        if self._offer is not None:
            self._registration = self._service.server.register(self._key, self._netuid, *self._offer)
            self._announce(self._offer[0])

    async def _watch(self) -> None:
        """Holders without a uid are read only where a method lets them in by their stake."""
        methods = () if self._offer is None else self._offer[0]
        holders = any(admits_by_stake_alone(method.policy) for method in methods)
        await self._service.view.watch(self._netuid, holders=holders)

    def replace(self, methods: Sequence[ServedMethod], handler: Handler) -> None:
        """Serve these from now on; calls that run finish where they began. Raises MalformedError, as the first time."""
        self._service.discovery.announcer.check(self._key, self._netuid, _offered(methods))
        self._offer = (methods, self._service.blobs.noting(handler))
        if self._registration is not None:
            self._registration.replace(*self._offer)
            self._service.nursery.start_soon(self._watch)
            self._announce(methods)

    def close(self) -> None:
        """Serve nothing more, and say so."""
        self._offer = None
        if self._registration is not None:
            self._registration.close()
            self._registration = None
            self._service.discovery.withdraw(self._key, self._netuid)

    def _announce(self, methods: Sequence[ServedMethod]) -> None:
        self._service.discovery.announce(self._key, self._netuid, _offered(methods), sealed=self._sealed)


def _offered(methods: Sequence[ServedMethod]) -> list[OfferedMethod]:
    """As a record names them: of several versions of a method the newest."""
    newest: dict[str, ServedMethod] = {}
    for method in methods:
        if method.name not in newest or method.version > newest[method.name].version:
            newest[method.name] = method
    return [OfferedMethod(m.name, m.version, m.stream_in, m.stream_out) for m in newest.values()]
