"""Gossip messages by content: which were seen, and the recent ones that a peer may still ask for (CHAIN section 7)."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

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


class MessageCache:
    """Seen ids, and the payloads of the last heartbeats. Times are seconds on any steady clock."""

    def __init__(self, heartbeats: int) -> None:
        self._seen: dict[bytes, float] = {}
        self._messages: dict[bytes, tuple[str, bytes]] = {}
        self._bytes = 0
        self._history: list[list[bytes]] = [[] for _ in range(heartbeats)]

    def is_seen(self, identifier: bytes, now: float) -> bool:
        """Whether the id was seen lately."""
        return self._seen.get(identifier, now) > now

    def mark_seen(self, identifier: bytes, now: float) -> None:
        """Remember the id."""
        self._seen.pop(identifier, None)
        self._seen[identifier] = now + SEEN_SECONDS
        if len(self._seen) > SEEN_LIMIT:
            del self._seen[next(iter(self._seen))]

    def put(self, identifier: bytes, topic: str, data: bytes) -> None:
        """Keep a message for the coming heartbeats."""
        if identifier in self._messages:
            return
        self._messages[identifier] = (topic, data)
        self._bytes += len(data)
        self._history[0].append(identifier)
        while self._bytes > CACHE_BYTES:
            self._forget(next(iter(self._messages)))

    def get(self, identifier: bytes) -> tuple[str, bytes] | None:
        """(topic, data) while it is kept."""
        return self._messages.get(identifier)

    def recent(self, topic: str, heartbeats: int) -> list[bytes]:
        """Ids of a topic's messages of the last heartbeats, newest heartbeat first."""
        identifiers = (i for ids in self._history[:heartbeats] for i in ids)
        return [i for i in identifiers if i in self._messages and self._messages[i][0] == topic]

    def shift(self, now: float) -> None:
        """A heartbeat has passed."""
        for identifier in self._history.pop():
            self._forget(identifier)
        self._history.insert(0, [])
        # In order of expiry, since each id is re-inserted when it is renewed.
        while self._seen:
            first = next(iter(self._seen))
            if self._seen[first] > now:
                break
            del self._seen[first]

    def _forget(self, identifier: bytes) -> None:
        entry = self._messages.pop(identifier, None)
        if entry is not None:
            self._bytes -= len(entry[1])
