"""A queue between the network's task and its readers, bounded in items and bytes (DESIGN 8).

A validator is synchronous, so it must put without waiting; what does not fit is refused and counted by the caller.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class BoundedQueue(Generic[T]):
    """First in, first out, for any number of readers; who waited longest is served first."""

    def __init__(self, *, items: int, size: int) -> None:
        """At most `items` entries of `size` bytes in all."""
        self._most_items = items
        self._most_bytes = size
        self._entries: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self._readers = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes_held(self) -> int:
        """Bytes of all entries."""
        return self._bytes

    def fits(self, size: int) -> bool:
        """Whether an entry of `size` bytes would be taken now."""
        return len(self._entries) < self._most_items and self._bytes + size <= self._most_bytes

    def put(self, item: T, size: int) -> bool:
        """Append unless it does not fit."""
        if not self.fits(size):
            return False
        self._entries.append((item, size))
        self._bytes += size
        self._readers.unpark()
        return True

    async def get(self) -> T:
        """The oldest entry; waits for one."""
        while not self._entries:
            await self._readers.park()
        item, size = self._entries.popleft()
        self._bytes -= size
        return item
