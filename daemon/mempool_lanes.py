"""The two lanes of the mempool: what a lane holds, who goes when it is full, and the order of a block (CHAIN 3).

Operational calls (weights, heartbeats and the like) have slots and bytes of their own, so that paid spam cannot starve
them. A transaction that waits for an absent lower nonce cannot be included and so pays nothing: such ones go first,
whatever tip they promise; then the lowest tip per byte, then the oldest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from heapq import heapify, heappop, heappush
from typing import Final, TypeAlias

from ..consensus.rules.v1.calls.call import Call
from ..consensus.transaction import Transaction
from ..consensus.types import AccountId, Hash32, Height

RATE_SCALE: Final = 1 << 32
"""Tip per byte is kept as `tip * RATE_SCALE // size`. Sizes are at most 2^16, so two different fractions differ by at
least 2^-32 and their scaled floors differ too: integers compare exactly as the fractions do."""


class Lane(IntEnum):
    """Which slots a transaction takes; the number is its place in a block's order."""

    OPERATIONAL = 0
    """Free calls."""
    PAID = 1


@dataclass(frozen=True, slots=True)
class LaneBounds:
    """What a lane may hold."""

    transactions: int
    size: int
    """Bytes."""


BOUNDS: Final = {
    Lane.OPERATIONAL: LaneBounds(2048, 2 * 1024 * 1024),
    Lane.PAID: LaneBounds(6144, 6 * 1024 * 1024),
}
"""Together 8 192 transactions and 8 MiB; a quarter of both is the operational lane's own, as in a block."""


@dataclass(slots=True, eq=False)
class Entry:
    """One pooled transaction: decoded, its signature verified."""

    data: bytes
    hash: Hash32
    """Of the whole bytes."""
    id: Hash32
    """Without the signature."""
    transaction: Transaction
    call: Call
    charge: int
    """Fee and tip in rao."""
    sequence: int
    """Arrival number: smaller is older."""
    own: bool
    """Submitted on this machine."""
    lane: Lane = field(init=False)
    rate: int = field(init=False)
    """Tip per byte times RATE_SCALE."""
    ready: bool = False
    """All lower nonces of the signer are included or pooled."""
    replaced_at: Height | None = None
    """Height at which a free call last replaced another one of this nonce."""
    skipped: str = ""
    """Why the builder of an own block passed it over last time."""

    def __post_init__(self) -> None:
        self.lane = Lane.OPERATIONAL if self.call.free else Lane.PAID
        self.rate = self.transaction.tip * RATE_SCALE // len(self.data)

    @property
    def worth(self) -> tuple[bool, int, int]:
        """Eviction key: the smallest goes first."""
        return (self.ready, self.rate, self.sequence)


_Ranked: TypeAlias = "tuple[bool, int, int, Entry]"


class LaneStore:
    """Entries of one lane with their size, and a heap of who goes first.

    The heap is lazy: an item counts only while its entry is here and still has the worth it was pushed with.
    """

    def __init__(self, bounds: LaneBounds) -> None:
        self.bounds = bounds
        self.size = 0
        self._entries: dict[Hash32, Entry] = {}
        self._heap: list[_Ranked] = []

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def add(self, entry: Entry) -> None:
        """Put an entry in; the caller has made room."""
        self._entries[entry.hash] = entry
        self.size += len(entry.data)
        self._push(entry)

    def remove(self, entry: Entry) -> None:
        """Take an entry out."""
        del self._entries[entry.hash]
        self.size -= len(entry.data)

    def changed(self, entry: Entry) -> None:
        """The entry's worth changed."""
        self._push(entry)

    def room_for(self, newcomer: Entry, replaced: Entry | None) -> list[Entry] | None:
        """Entries that must go so that `newcomer` fits beside the rest; None when it is worth less than they are.

        `replaced` leaves anyway. Transactions of the newcomer's own signer never go for it: it may need them.
        """
        count, size = len(self._entries) + 1, self.size + len(newcomer.data)
        if replaced is not None and replaced.lane is newcomer.lane:
            count, size = count - 1, size - len(replaced.data)
        victims: list[Entry] = []
        popped: list[_Ranked] = []
        full = False
        while count > self.bounds.transactions or size > self.bounds.size:
            ranked = self._pop()
            if ranked is None:
                full = True
                break
            popped.append(ranked)
            entry = ranked[3]
            if entry.worth >= newcomer.worth:
                full = True
                break
            if entry is replaced or entry.transaction.signer == newcomer.transaction.signer:
                continue
            victims.append(entry)
            count, size = count - 1, size - len(entry.data)
        for ranked in popped:
            heappush(self._heap, ranked)
        return None if full else victims

    def _pop(self) -> _Ranked | None:
        while self._heap:
            ranked = heappop(self._heap)
            entry = ranked[3]
            if self._entries.get(entry.hash) is entry and entry.worth == ranked[:3]:
                return ranked
        return None

    def _push(self, entry: Entry) -> None:
        heappush(self._heap, (*entry.worth, entry))
        if len(self._heap) > 64 + 4 * len(self._entries):  # mostly stale: build it anew
            self._heap = [(*held.worth, held) for held in self._entries.values()]
            heapify(self._heap)


def block_order(chains: Mapping[AccountId, Iterable[Entry]]) -> Iterator[Entry]:
    """The canonical order of a block: operational lane first, then (tip per byte descending, id), under nonce order.

    `chains` has each signer's includable entries in nonce order. A free call behind a paid one of its signer comes
    right after it.
    """
    heap: list[tuple[Lane, int, Hash32, Entry, Iterator[Entry]]] = []

    def offer(rest: Iterator[Entry]) -> None:
        entry = next(rest, None)
        if entry is not None:
            heappush(heap, (entry.lane, -entry.rate, entry.id, entry, rest))

    for chain in chains.values():
        offer(iter(chain))
    while heap:
        *_, entry, rest = heappop(heap)
        yield entry
        offer(rest)
