"""Gossip messages by content: which were seen, and the recent ones that a peer may still ask for (CHAIN section 7).

The library remembers seen ids without a bound, with a thread of its own and on the wall clock, and caches messages by
origin and sequence number, so that content ids break its IHAVE.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

import trio
from libp2p.pubsub.mcache import CacheEntry, MessageCache

ID_BYTES: Final = 20
"""Bytes of a message id: the first 20 of blake2b over topic and data (CHAIN 7)."""

SEEN_SECONDS: Final = 120.0
"""How long an id is remembered. A message lives at most 6 heartbeats in a cache; the rest is slack for slow peers."""

SEEN_LIMIT: Final = 65_536
"""Ids remembered, oldest dropped first: 120 s of 500 messages a second, about 8 MB."""

CACHE_BYTES: Final = 16 << 20
"""Bytes of payload kept for those who ask; past it the oldest go first. Three dozen full blocks."""


def message_id(topic: str, data: bytes) -> bytes:
    """Content id of a gossip message (CHAIN 7): forwarding peers cannot mint duplicates.

    The length of the topic goes in first, so that no other split of the same bytes has the same id.
    """
    name = topic.encode()
    return blake2b(len(name).to_bytes(2, "big") + name + data).digest()[:ID_BYTES]


def id_of(message: Any) -> bytes:
    """The same for the library's message object, which has one topic."""
    return message_id(message.topicIDs[0], message.data)


class SeenMessages:
    """Ids seen lately; stands in for the library's LastSeenCache."""

    def __init__(self) -> None:
        self._seen: dict[bytes, float] = {}

    def has(self, key: bytes) -> bool:
        """Whether the id was seen lately."""
        until = self._seen.get(key)
        return until is not None and until > trio.current_time()

    def add(self, key: bytes) -> bool:
        """Remember the id; True when it is new."""
        new = not self.has(key)
        self._seen.pop(key, None)
        self._seen[key] = trio.current_time() + SEEN_SECONDS
        if len(self._seen) > SEEN_LIMIT:
            del self._seen[next(iter(self._seen))]
        return new

    def length(self) -> int:
        """Ids remembered."""
        return len(self._seen)

    def sweep(self) -> None:
        """Forget what has run out; in order of expiry, since each id is re-inserted when it is renewed."""
        now = trio.current_time()
        while self._seen:
            first = next(iter(self._seen))
            if self._seen[first] > now:
                break
            del self._seen[first]


class ContentCache(MessageCache):
    """The library's message cache keyed by content, bounded by bytes."""

    def __init__(self, window: int, history: int) -> None:
        super().__init__(window, history)
        self._bytes = 0

    def put(self, msg: Any) -> None:
        """Keep a message for the coming heartbeats."""
        self.keep(id_of(msg), msg)

    def keep(self, identifier: bytes, msg: Any) -> None:
        """The same for a message whose id is known."""
        if identifier in self.msgs:
            return
        # The library's entry, under our id: it takes the id from origin and sequence number, which ours leave empty.
        self.msgs[identifier] = msg
        self.history[0].append(CacheEntry(identifier, msg.topicIDs))
        self._bytes += len(msg.data)
        while self._bytes > CACHE_BYTES:
            self._forget(next(iter(self.msgs)))

    def window(self, topic: str) -> list[bytes]:
        """Ids of a topic's messages of the last heartbeats that are still kept, newest heartbeat first."""
        return [identifier for identifier in super().window(topic) if identifier in self.msgs]

    def shift(self) -> None:
        """A heartbeat has passed."""
        for entry in self.history[-1]:
            self._forget(entry.mid)
        super().shift()

    def _forget(self, identifier: bytes) -> None:
        message = self.msgs.pop(identifier, None)
        if message is not None:
            self._bytes -= len(message.data)
