"""Which hotkeys serve which methods on this peer; swapped whole while calls run (AXON R24)."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from ...consensus.signature import KeyPair
from ...consensus.types import AccountId
from .envelope import check_method
from .interfaces import Handler, ServedMethod


class ServedTable:
    """What one hotkey serves on one subnet, from one `register` or `replace` to the next."""

    def __init__(self, methods: Sequence[ServedMethod], handler: Handler) -> None:
        """Raises ValueError when two methods have one name and version, or a name cannot be called."""
        self.handler = handler
        self.methods: dict[str, dict[int, ServedMethod]] = {}
        for method in methods:
            check_method(method.name, method.version, 0)
            versions = self.methods.setdefault(method.name, {})
            if method.version in versions:
                raise ValueError(f"method {method.name} version {method.version} is given twice; give one of them")
            versions[method.version] = method
        self.scopes: set[trio.CancelScope] = set()
        """Of calls that run or wait."""
        self._replaced = False
        self._drained = trio.Event()

    @property
    def running(self) -> int:
        """Calls that wait or run."""
        return len(self.scopes)

    def retire(self) -> None:
        """No new call comes to this table."""
        self._replaced = True
        self._note()

    def leave(self, scope: trio.CancelScope) -> None:
        """A call is over."""
        self.scopes.discard(scope)
        self._note()

    async def drained(self) -> None:
        """Wait until it is replaced or closed and its last call is over."""
        await self._drained.wait()

    def _note(self) -> None:
        if self._replaced and not self.scopes:
            self._drained.set()


class Registration:
    """One hotkey serving one subnet. Made by `AxonServer.register`."""

    def __init__(
        self, places: dict[tuple[int, AccountId], Registration], key: KeyPair, netuid: int, table: ServedTable
    ) -> None:
        self._places = places
        self.key = key
        self.hotkey = AccountId(key.public_key)
        self.netuid = netuid
        self.table = table

    @property
    def is_open(self) -> bool:
        """Whether calls are taken."""
        return self._places.get((self.netuid, self.hotkey)) is self

    def replace(self, methods: Sequence[ServedMethod], handler: Handler) -> ServedTable:
        """Serve this from now on. Calls that run finish on the old handler: await `drained()` of what is returned."""
        old, self.table = self.table, ServedTable(methods, handler)
        old.retire()
        return old

    def close(self) -> ServedTable:
        """Take no more calls; those that run are cancelled, and their callers told so (CANCELLED)."""
        if self.is_open:
            del self._places[(self.netuid, self.hotkey)]
        self.table.retire()
        for scope in list(self.table.scopes):
            scope.cancel()
        return self.table
