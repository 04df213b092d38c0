"""Our own book of how each peer behaves (CHAIN 2.3), instead of gossipsub's scores.

A score starts at 0, halves every ten minutes, falls by offences and rises a little by useful first deliveries. Below
-20 the peer is disconnected, below -50 it is banned; a fatal offence bans at once. The book is pure: time comes from an
injected clock, and what should happen to a peer is a value. `LedgerEnforcer` in `penalties` applies it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from ..consensus.types import Micros
from .interfaces import Clock
from .transport import PeerId

FLOOR: Final = -100.0
DISCONNECT_BELOW: Final = -20.0
BAN_BELOW: Final = -50.0
HALF_LIFE: Final = 600.0
"""Seconds. The values that Lodestar and Lighthouse converged on."""

BAN_SECONDS: Final = 30 * 60.0
FATAL_BAN_SECONDS: Final = 12 * 3600.0

DISCONNECT_SECONDS: Final = 60.0
"""A disconnected peer is refused this long: without a pause it would be redialed at once."""

USEFUL: Final = 0.5
"""For the first delivery of something that verified."""

USEFUL_CAP: Final = 20.0
"""Good behaviour buys forgiveness for two bad replies, not more."""

_NEVER: Final = Micros(0)

MAX_ENTRIES: Final = 4096
"""Peers remembered. Connected peers are never forgotten; of the others the longest unheard goes first."""


class Offence(Enum):
    """What a peer did, with the score it costs; None is fatal (ban at once). `(name, cost)`."""

    BAD_CERTIFICATE = ("bad_certificate", None)
    BAD_VOTE_SIGNATURE = ("bad_vote_signature", None)
    UNKNOWN_AUTHORITY = ("unknown_authority", None)
    """A statement by an index outside the era's set."""
    BAD_SNAPSHOT_PART = ("bad_snapshot_part", None)
    BLOCK_CONTRADICTS_CERTIFICATE = ("block_contradicts_certificate", None)
    WRONG_GENESIS = ("wrong_genesis", None)

    BAD_REPLY = ("bad_reply", 10.0)
    INVALID_TRANSACTION = ("invalid_transaction", 10.0)
    BAD_PROPOSAL = ("bad_proposal", 10.0)
    """Signature or roots do not fit its bytes (R0). A proposal that fails in execution costs its relays nothing."""
    BAD_EVIDENCE = ("bad_evidence", 10.0)
    MALFORMED = ("malformed", 10.0)
    """Bytes that do not decode, on any topic or protocol."""

    TIMEOUT = ("timeout", 5.0)
    """A reply that began and did not end in time."""
    SHORT_REPLY = ("short_reply", 5.0)
    """A reply that ended before what it announced."""

    SLOW = ("slow", 1.0)
    """No first byte in time."""
    THROTTLED = ("throttled", 1.0)
    LATE_DUPLICATE = ("late_duplicate", 1.0)
    FLOOD = ("flood", 1.0)
    """More than its quota, after the delay."""

    @property
    def label(self) -> str:
        """Name in counters and logs."""
        label: str = self.value[0]
        return label

    @property
    def cost(self) -> float | None:
        """Points taken off; None bans at once."""
        cost: float | None = self.value[1]
        return cost


class Standing(Enum):
    """What is to be done with a peer."""

    GOOD = "good"
    DISCONNECT = "disconnect"
    """Drop it, refuse it for DISCONNECT_SECONDS."""
    BAN = "ban"
    """Drop it, refuse it until `banned_until`."""


@dataclass(slots=True)
class _Entry:
    score: float
    at: Micros
    """When `score` was true."""
    banned_until: Micros = _NEVER
    connected: bool = False


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One peer's entry, as it is stored."""

    peer: PeerId
    milli_score: int
    """Score in thousandths, so that stored rows hold integers only."""
    at: Micros
    banned_until: Micros


class PeerLedger:
    """Scores by peer. All methods are synchronous and cost a few microseconds."""

    def __init__(self, clock: Clock, *, most: int = MAX_ENTRIES) -> None:
        self._clock = clock
        self._most = most
        self._entries: OrderedDict[PeerId, _Entry] = OrderedDict()
        """Least recently touched first."""

    def __len__(self) -> int:
        return len(self._entries)

    def connected(self, peer: PeerId) -> None:
        """The peer is connected: its entry is kept until it leaves."""
        self._touch(peer).connected = True

    def disconnected(self, peer: PeerId) -> None:
        """The peer left; its score stays until it is crowded out."""
        entry = self._entries.get(peer)
        if entry is not None:
            entry.connected = False
            self._evict()

    def score(self, peer: PeerId) -> float:
        """Score now; 0 for a peer never heard of."""
        entry = self._entries.get(peer)
        return 0.0 if entry is None else self._decayed(entry, self._clock.now())

    def offend(self, peer: PeerId, offence: Offence) -> Standing:
        """Book an offence and say what follows from it."""
        entry = self._touch(peer)
        now = self._clock.now()
        if offence.cost is None:
            entry.score = FLOOR
            entry.banned_until = Micros(max(entry.banned_until, now + int(FATAL_BAN_SECONDS * 1e6)))
            return Standing.BAN
        entry.score = max(FLOOR, entry.score - offence.cost)
        if entry.score < BAN_BELOW:
            entry.banned_until = Micros(max(entry.banned_until, now + int(BAN_SECONDS * 1e6)))
            return Standing.BAN
        return Standing.DISCONNECT if entry.score < DISCONNECT_BELOW else Standing.GOOD

    def useful(self, peer: PeerId) -> None:
        """Book a useful first delivery: +0.5 up to a score of +20."""
        entry = self._touch(peer)
        if entry.score < USEFUL_CAP:
            entry.score = min(USEFUL_CAP, entry.score + USEFUL)

    def banned_for(self, peer: PeerId) -> float:
        """Seconds that the peer stays banned; 0 when it is not."""
        entry = self._entries.get(peer)
        return 0.0 if entry is None else max(0, entry.banned_until - self._clock.now()) / 1e6

    def export(self) -> list[LedgerRow]:
        """All entries that say something, for storage; least recently touched first."""
        now = self._clock.now()
        rows = []
        for peer, entry in self._entries.items():
            milli_score = round(self._decayed(entry, now) * 1000)
            if milli_score or entry.banned_until > now:
                rows.append(LedgerRow(peer, milli_score, now, entry.banned_until))
        return rows

    def restore(self, rows: Iterable[LedgerRow]) -> None:
        """Take back exported rows. A time in the future (the clock went back) counts as now."""
        now = self._clock.now()
        for row in rows:
            score = min(USEFUL_CAP, max(FLOOR, row.milli_score / 1000))
            banned_until = min(row.banned_until, now + int(FATAL_BAN_SECONDS * 1e6))
            self._entries[row.peer] = _Entry(score, Micros(min(row.at, now)), Micros(banned_until))
            self._entries.move_to_end(row.peer)
        self._evict()

    @staticmethod
    def _decayed(entry: _Entry, now: Micros) -> float:
        elapsed = max(0, now - entry.at) / 1e6  # a clock that steps back must not raise scores
        return float(entry.score * 0.5 ** (elapsed / HALF_LIFE))

    def _touch(self, peer: PeerId) -> _Entry:
        now = self._clock.now()
        entry = self._entries.get(peer)
        if entry is None:
            entry = self._entries[peer] = _Entry(0.0, now)
            self._evict(keep=peer)
        else:
            entry.score, entry.at = self._decayed(entry, now), now
        self._entries.move_to_end(peer)
        return entry

    def _evict(self, keep: PeerId | None = None) -> None:
        """Forget the longest unheard unconnected peers; those under a ban only when nothing else is left."""
        now = self._clock.now()
        for spare_banned in (True, False):
            if len(self._entries) <= self._most:
                return
            for peer in list(self._entries):
                entry = self._entries[peer]
                if entry.connected or peer == keep or (spare_banned and entry.banned_until > now):
                    continue
                del self._entries[peer]
                if len(self._entries) <= self._most:
                    return
