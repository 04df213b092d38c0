"""How much unread stream data a peer holds in memory, over all its connections (LIBP2P 6 rows 8 and 9).

Flow control alone allows 256 streams x 256 KiB on one connection: 64 MiB that a stranger can make us hold by
sending what nobody reads. Honest peers read or are read within seconds, so far smaller sums are enough.
"""

from __future__ import annotations

from typing import Final, Protocol

CONNECTION_LIMIT: Final = 4 << 20
"""Unread bytes of one connection, 4 MiB: sixteen streams standing still with a full window each."""

TOTAL_LIMIT: Final = 32 << 20
"""Unread bytes of all connections, 32 MiB; passing it costs the connection that holds most."""


class Holder(Protocol):
    """A connection, as the budget sees it."""

    def misbehaved(self, what: str) -> None: ...


class ReceiveBudget:
    """Unread bytes by connection."""

    def __init__(self, connection_limit: int = CONNECTION_LIMIT, total_limit: int = TOTAL_LIMIT) -> None:
        self._connection_limit = connection_limit
        self._total_limit = total_limit
        self._held: dict[Holder, int] = {}
        self.total = 0

    def hold(self, holder: Holder, size: int) -> None:
        """`size` bytes of this holder wait to be read. If too much, it or the largest one loses its connection."""
        self.total += size - self._held.get(holder, 0)
        if size:
            self._held[holder] = size
        else:
            self._held.pop(holder, None)
        if size > self._connection_limit:
            holder.misbehaved("too much unread data")
        elif self.total > self._total_limit:
            max(self._held, key=self._held.__getitem__).misbehaved("too much unread data")

    def release(self, holder: Holder) -> None:
        """The connection is over; what its streams still hold is no longer counted."""
        self.total -= self._held.pop(holder, 0)
