"""Request ids that were used, over restarts and without a transaction per call (AXON R2).

A call is checked against memory alone: an open-addressing table of 8-byte digests, keyed with a random key of this
process, 1 M of them at the most. What is new is appended to a list that the owner of the store flushes every 100 ms and
at the end (`close`).

After an end without `close` the ids of the last moment are missing from the file. Nobody can tell which ones, so a
store that was not closed refuses every envelope that was created before this process started, or up to `AHEAD` later:
that is how far a caller's clock may be ahead. Calls that were under way then get status 22 and must be signed anew.

Ids are forgotten by the running clock, calls are judged by the wall clock. Were that one set back by an hour, calls of
an hour ago would be fresh again, and their ids gone. So the newest creation time among the forgotten ids is kept, also
in the file, and what was not created after it counts as used.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from array import array
from collections.abc import Callable
from typing import Final

from ..consensus.types import AccountId
from .database import Database

LIFETIME: Final = 60_000_000_000
"""Nanoseconds for which an id is remembered: longer than an envelope is accepted (10 s back, 2 s ahead)."""

AHEAD: Final = 2_000_000_000
"""Nanoseconds that an accepted envelope may come from the future."""

CAPACITY: Final = 1_000_000
"""Ids that are remembered at one time: 8 000 calls a second for ever. Above that calls are refused, not forgotten."""

FLUSH_SECONDS: Final = 0.1
"""How much an unclean end may leave out of the file."""

_SLOTS: Final = 1 << 20
"""Slots of one table: 8 MiB, and there are two. Never more than half full, so that a look needs one or two steps."""

_MASK: Final = _SLOTS - 1


class _Table:
    """A set of 8-byte digests; 0 marks an empty slot."""

    __slots__ = ("_slots", "count", "newest")

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * _SLOTS))
        self.count = 0
        self.newest = 0
        """Latest creation time of its ids."""

    def __contains__(self, digest: int) -> bool:
        slots, at = self._slots, digest & _MASK
        while (held := slots[at]) != 0:
            if held == digest:
                return True
            at = (at + 1) & _MASK
        return False

    def add(self, digest: int) -> None:
        slots, at = self._slots, digest & _MASK
        while slots[at] != 0:
            at = (at + 1) & _MASK
        slots[at] = digest
        self.count += 1


class PersistentReplayStore:
    """See the module text. `seen` belongs to one thread; `flush` may run in another one at the same time."""

    def __init__(
        self,
        database: Database,
        *,
        now_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        key: bytes | None = None,
        capacity: int = CAPACITY,
    ) -> None:
        """Load what is remembered. `now_ns` is Unix time, asked only once: it may step. Raises StorageError."""
        self._database = database
        self._monotonic = monotonic_ns
        self._hash = hashlib.blake2b(digest_size=8, key=os.urandom(16) if key is None else key)
        self._half = min(capacity, _SLOTS) // 2
        self._young, self._old = _Table(), _Table()
        self._turns_at = monotonic_ns() + LIFETIME
        self._pending: list[tuple[int, bytes, bytes]] = []
        self._flushing = threading.Lock()
        row = database.one("SELECT value FROM meta WHERE name = 'replay_complete'")
        self.not_before = 0 if row is not None and row[0] else now_ns() + AHEAD
        """Envelopes created before (Unix ns) are refused; 0 after a clean end."""
        self.overflows = 0
        """Calls refused because the store was full."""
        row = database.one("SELECT value FROM meta WHERE name = 'replay_forgotten'")
        self._forgotten = 0 if row is None else int(row[0])
        """What was created then or earlier may have been used: its id is not remembered any more (Unix ns)."""
        with database.transaction() as transaction:
            transaction.execute("INSERT OR REPLACE INTO meta VALUES ('replay_complete', 0)")
        for created, caller, request_id in database.all(
            "SELECT created, caller, request_id FROM replay ORDER BY created DESC LIMIT ?", (self._half + 1,)
        ):
            if self._young.count == self._half:  # no room for this one and all before it
                self._forgotten = max(self._forgotten, created)
                break
            self._young.add(self._digest(caller, request_id))
            self._young.newest = max(self._young.newest, created)

    def __len__(self) -> int:
        return self._young.count + self._old.count

    @property
    def pending(self) -> int:
        """Ids that are not in the file yet."""
        return len(self._pending)

    def seen(self, caller: AccountId, request_id: bytes, created: int) -> bool:
        """Whether an id was used before, or may have been; it is used from now on. `created` in Unix nanoseconds."""
        if created < self.not_before or created <= self._forgotten:
            return True
        digest = self._digest(caller, request_id)
        if digest in self._young or digest in self._old:
            return True
        if self._monotonic() >= self._turns_at:
            self._turn()
        if self._young.count >= self._half:
            self.overflows += 1
            return True
        self._young.add(digest)
        if created > self._young.newest:
            self._young.newest = created
        self._pending.append((created, caller, request_id))
        return False

    def flush(self) -> int:
        """Write what is pending and delete what has expired, in one transaction; how many ids were written.

        Blocks for a few milliseconds: call it in a thread. Raises StorageError.
        """
        with self._flushing:
            count = len(self._pending)
            if count:
                with self._database.transaction() as transaction:
                    # A copy of the front: `seen` may append meanwhile.
                    transaction.executemany("INSERT OR IGNORE INTO replay VALUES (?, ?, ?)", self._pending[:count])
                    forgotten = self._forgotten
                    transaction.execute("INSERT OR REPLACE INTO meta VALUES ('replay_forgotten', ?)", (forgotten,))
                    transaction.execute("DELETE FROM replay WHERE created <= ?", (forgotten,))
                del self._pending[:count]
            return count

    def close(self) -> None:
        """Flush and mark the file complete; `seen` must not be called any more. Raises StorageError."""
        self.flush()
        with self._database.transaction() as transaction:
            transaction.execute("INSERT OR REPLACE INTO meta VALUES ('replay_complete', 1)")

    def _digest(self, caller: bytes, request_id: bytes) -> int:
        hasher = self._hash.copy()
        hasher.update(caller)
        hasher.update(request_id)
        return int.from_bytes(hasher.digest(), "little") or 1

    def _turn(self) -> None:
        """Ids live for one to two lifetimes: a whole table is forgotten at once, which costs no look at single ones."""
        now = self._monotonic()
        idle = now >= self._turns_at + LIFETIME
        self._forgotten = max(self._forgotten, self._old.newest, self._young.newest if idle else 0)
        self._old, self._young = (_Table() if idle else self._young), _Table()
        self._turns_at = now + LIFETIME
