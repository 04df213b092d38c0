"""How many bytes of bodies a server holds at once, over all streams and peers (AXON R11; docs/axon.md "Limits").

A stream is read at its own pace, so without a common bound every stream of every peer could hold a whole body. Requests
are counted before they are read and wait, or are told BUSY. Replies exist already when they are counted; the handler's
slot is kept until there is room, and whoever takes its reply so slowly that others wait for room loses its stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import trio

from ...consensus.types import AccountId
from ..transport import Stream

PATIENCE: Final = 5.0
"""Seconds for which a reply may be on its way while others wait for room."""

SHARE: Final = 2
"""A caller may hold one part in so many of the budget of requests: one alone never shuts out all others."""


class RequestBudget:
    """Bytes of request bodies that are held, or that callers have been allowed to send."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._by_caller: dict[AccountId, int] = {}
        self._released = trio.lowlevel.ParkingLot()
        self.held = 0

    def take(self, caller: AccountId, size: int) -> bool:
        """Count `size` bytes of `caller`; False, and nothing counted, when there is no room."""
        if not size:
            return True
        own = self._by_caller.get(caller, 0) + size
        if self.held + size > self._most or own * SHARE > self._most:
            return False
        self.held += size
        self._by_caller[caller] = own
        return True

    async def take_within(self, caller: AccountId, size: int, seconds: float) -> bool:
        """The same, waiting up to `seconds` for room."""
        with trio.move_on_after(seconds) as scope:
            while not self.take(caller, size):
                await self._released.park()
        return not scope.cancelled_caught

    def release(self, caller: AccountId, size: int) -> None:
        """Bytes that were counted are gone."""
        if not size:
            return
        self.held -= size
        left = self._by_caller[caller] - size
        if left:
            self._by_caller[caller] = left
        else:
            del self._by_caller[caller]
        self._released.unpark_all()


@dataclass(eq=False, slots=True)
class _Leaving:
    """A reply on its way."""

    stream: Stream
    size: int
    since: float


class ReplyBudget:
    """Bytes of replies that wait for their callers to take them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._leaving: dict[Stream, _Leaving] = {}
        self._released = trio.lowlevel.ParkingLot()
        self.held = 0

    async def hold(self, stream: Stream, size: int) -> None:
        """Count a reply of `size` bytes, once there is room. One at a time per stream; `release` when it is gone."""
        while self.held + size > self._most and self._leaving:
            slowest = next(iter(self._leaving.values()))
            left = slowest.since + PATIENCE - trio.current_time()
            if left > 0:
                with trio.move_on_after(left):
                    await self._released.park()
            else:
                self.release(slowest.stream)
                await slowest.stream.reset()
        self.held += size
        self._leaving[stream] = _Leaving(stream, size, trio.current_time())

    def release(self, stream: Stream) -> None:
        """The reply is gone, or its caller. Does nothing when none was counted."""
        leaving = self._leaving.pop(stream, None)
        if leaving is not None:
            self.held -= leaving.size
            self._released.unpark_all()
