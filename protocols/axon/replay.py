"""Request ids that were used, in memory (AXON R2). A store that survives a restart keeps the same interface.

An id is remembered while its envelope would still be fresh, and a margin longer. Ids are kept by the second of their
creation, so that forgetting is dropping a set. A clock that steps back fails closed: what is older than the newest
forgotten second counts as used.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from ...consensus.types import AccountId
from .limits import WINDOW_AHEAD_NS, WINDOW_BACK_NS

MAX_IDS: Final = 640_000
"""64 MiB at about 100 bytes each: an integer of 8 bytes in a set. More than 50 000 calls a second for a whole window,
which is more than can be verified; above it every id counts as used."""

MARGIN_NS: Final = 3_000_000_000
"""How much longer than the window an id is remembered."""

_SECOND: Final = 1_000_000_000


class MemoryReplayStore:
    """Keeps `interfaces.ReplayStore`. Lost with the process: see `not_before`."""

    def __init__(self, now_ns: Callable[[], int], *, salt: bytes, most: int = MAX_IDS) -> None:
        """`salt` is at least 16 random bytes: ids are kept as keyed hashes, whose collisions nobody can look for."""
        self._now_ns = now_ns
        self._salt = salt
        self._most = most
        self._seconds: dict[int, set[int]] = {}
        self._count = 0
        self._forgotten = 0
        """Ids created before this second are gone, and count as used."""
        self.not_before = now_ns() + WINDOW_AHEAD_NS
        """Calls created earlier may have been served before a restart: the server refuses them (`not_before_ns`)."""

    def __len__(self) -> int:
        return self._count

    def seen(self, caller: AccountId, request_id: bytes, created: int) -> bool:
        """Whether the caller used the id before; it is from now on."""
        now = self._now_ns()
        second = created // _SECOND
        oldest = (now - WINDOW_BACK_NS - MARGIN_NS) // _SECOND
        if oldest > self._forgotten:
            self._forget(oldest)
        if second < self._forgotten or self._count >= self._most:
            return True
        name = int.from_bytes(blake2b(caller + request_id, digest_size=8, key=self._salt).digest(), "big")
        ids = self._seconds.get(second)
        if ids is None:
            ids = self._seconds[second] = set()
        elif name in ids:
            return True
        ids.add(name)
        self._count += 1
        return False

    def _forget(self, oldest: int) -> None:
        self._forgotten = oldest
        for second in [second for second in self._seconds if second < oldest]:
            self._count -= len(self._seconds.pop(second))
