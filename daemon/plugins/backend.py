"""What plugins need of the peer, as a typing Protocol that the call service implements (AXON R24, R26).

Every method is told for whom it works. The host takes that from the token a process was started with, never from what
the process says, so a plugin can act for its own hotkey on its own subnet only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from ...consensus.signature import KeyPair
from ...consensus.types import AccountId
from ...protocols.axon.interfaces import CallResult, CallTerms, Handler, ServedMethod


@dataclass(frozen=True, slots=True)
class PluginIdentity:
    """For whom a plugin works."""

    name: str
    netuid: int
    roles: tuple[str, ...]
    """`miner`, `validator`, or both."""
    key: KeyPair = field(repr=False)
    """The hotkey; it never leaves the peer's process."""
    sealed: bool = False
    """Only permit holders of the subnet may learn where its methods are served."""

    @property
    def hotkey(self) -> AccountId:
        """The account it acts as."""
        return AccountId(self.key.public_key)


class PluginRegistration(Protocol):
    """Methods that are served for a plugin. Both calls take effect at once and leave calls in flight alone."""

    def replace(self, methods: Sequence[ServedMethod], handler: Handler) -> None:
        """Serve these from now on, by that handler: no call is refused between the two."""
        ...

    def close(self) -> None:
        """Serve nothing more."""
        ...


class OpenCall(Protocol):
    """A streaming call that was opened for a plugin; as plugin/host_interface.py's CallStream."""

    async def send(self, message: bytes) -> None: ...

    async def end(self) -> None: ...

    def messages(self) -> AsyncIterator[bytes]:
        """Raises StreamAborted when the reply's stream is cut."""
        ...

    async def result(self) -> CallResult: ...


class PluginBackend(Protocol):
    """The peer. Whatever other peers do is in results; YumadError is told to the plugin, anything else is a fault."""

    def enlist(self, who: PluginIdentity) -> None:
        """A plugin is run for this hotkey from now on, whether or not its process is ready."""
        ...

    def set_version(self, who: PluginIdentity, version: int) -> None:
        """Its process is ready, with this version of its subnet's code."""
        ...

    def dismiss(self, who: PluginIdentity) -> None:
        """An operator stopped it."""
        ...

    def register(
        self, who: PluginIdentity, methods: Sequence[ServedMethod], handler: Handler
    ) -> PluginRegistration: ...

    async def call(
        self, who: PluginIdentity, target: AccountId, method: str, version: int, body: bytes, terms: CallTerms
    ) -> CallResult: ...

    async def call_many(
        self, who: PluginIdentity, bodies: Mapping[AccountId, bytes], method: str, version: int, terms: CallTerms
    ) -> Sequence[CallResult]:
        """One result per target, in the mapping's order."""
        ...

    def stream(
        self, who: PluginIdentity, target: AccountId, method: str, version: int, body: bytes, terms: CallTerms
    ) -> AbstractAsyncContextManager[OpenCall]: ...

    async def metagraph(self, who: PluginIdentity) -> Mapping[str, Any]:
        """As plugin/host_interface.py's Metagraph: hotkeys as ss58."""
        ...

    async def query(self, who: PluginIdentity, read: str, params: Sequence[Any]) -> Any: ...

    async def scores_update(
        self,
        who: PluginIdentity,
        scores: Mapping[AccountId, float],
        aggregator: str,
        params: Mapping[str, Any],
        round: int,
    ) -> None: ...

    async def scores_load(
        self, who: PluginIdentity, aggregator: tuple[str, Mapping[str, Any]] | None
    ) -> Sequence[Mapping[str, Any]]:
        """Rows with `hotkey` as 32 bytes, `value`, `state`, `rounds`; with the name and parameters of a custom
        aggregator, those that it left."""
        ...

    async def scores_store(
        self,
        who: PluginIdentity,
        rows: Sequence[Mapping[str, Any]],
        aggregator: str,
        params: Mapping[str, Any],
        round: int,
    ) -> None:
        """Rows with `hotkey` as 32 bytes, `value` and `state`, of a custom aggregator."""
        ...

    async def blob_put(self, who: PluginIdentity, content: BinaryIO, to: Collection[AccountId] | None) -> bytes:
        """Keep a copy of an open file, close it, and offer it to hotkeys, or to all members of the subnet; the hash."""
        ...

    async def blob_get(
        self, who: PluginIdentity, blob_hash: bytes, target: AccountId, max_size: int, place: Callable[[Path], Path]
    ) -> Path:
        """Where `place`, which may block, has put a blob that `target` offers. Raises BlobUnavailable."""
        ...
