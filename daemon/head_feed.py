"""News of final blocks for subscribers on the control socket: bounded, and never in the chain's way.

A subscriber that does not keep up is dropped, not waited for: the peer's memory and pace must not depend on a terminal
that somebody stopped.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import trio

from ..consensus.types import Hash32, Height

BACKLOG: Final = 256
"""News a subscriber may lag behind: minutes of slots, or one burst of range sync."""


@dataclass(frozen=True, slots=True)
class HeadNews:
    """One block on the way to, or at, finality."""

    height: Height
    hash: Hash32
    state_root: Hash32
    finalised: Height
    """The peer's newest final height at that moment; equal to or above `height` for a final block."""
    transactions: int
    epochs: tuple[dict[str, Any], ...] = ()
    """Epochs the block ran, as in a block document."""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "height": self.height,
            "hash": self.hash.hex(),
            "state_root": self.state_root.hex(),
            "finalised": self.finalised,
            "transactions": self.transactions,
            "epochs": list(self.epochs),
        }


class HeadFeed:
    """Hands every piece of news to all subscribers. `publish` never waits."""

    def __init__(self, backlog: int = BACKLOG) -> None:
        self._backlog = backlog
        self._subscribers: dict[int, trio.MemorySendChannel[HeadNews]] = {}
        self._next = 0
        self.dropped = 0
        """Subscribers that were too slow."""

    @property
    def subscribers(self) -> int:
        """How many listen."""
        return len(self._subscribers)

    def publish(self, news: HeadNews) -> None:
        """Tell everybody."""
        for number, channel in list(self._subscribers.items()):
            try:
                channel.send_nowait(news)
            except trio.WouldBlock:
                self.dropped += 1
                self._subscribers.pop(number).close()
            except trio.BrokenResourceError:
                self._subscribers.pop(number, None)

    @contextmanager
    def subscribe(self) -> Iterator[trio.MemoryReceiveChannel[HeadNews]]:
        """News from now on; the channel ends when the subscriber was too slow or the feed is closed."""
        send, receive = trio.open_memory_channel[HeadNews](self._backlog)
        number, self._next = self._next, self._next + 1
        self._subscribers[number] = send
        try:
            with receive:
                yield receive
        finally:
            self._subscribers.pop(number, None)

    def close(self) -> None:
        """End all subscriptions."""
        for number in list(self._subscribers):
            self._subscribers.pop(number).close()
