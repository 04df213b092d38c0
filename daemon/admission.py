"""The mempool's answers, and what it asks of the chain (CHAIN 3, verdicts)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from ..consensus.rules.v1.calls.call import Call
from ..consensus.types import AccountId, Hash32, Height
from .mempool_lanes import Entry


class Verdict(Enum):
    """What the network layer does with a transaction."""

    ACCEPT = "accept"
    """It entered the pool: pass it on."""
    IGNORE = "ignore"
    """Not now, through no fault of the sender."""
    REJECT = "reject"
    """The sender should have known: penalise."""


@dataclass(frozen=True, slots=True)
class Admission:
    """The pool's answer to one transaction."""

    verdict: Verdict
    code: str
    """Stable: `accepted`, `seen`, `nonce_too_low`, …, or the name of a call's error (`SettingWeightsTooFast`)."""
    reason: str
    """For the person reading."""
    hash: Hash32
    """Of the whole bytes."""
    id: Hash32 | None = None
    """Id of an accepted or already pooled transaction."""


@dataclass(frozen=True, slots=True)
class PoolStats:
    """Sizes and counts for metrics and status."""

    transactions: int
    operational: int
    size: int
    """Bytes."""
    signers: int
    ready: int
    """Those not waiting for a lower nonce."""
    counts: dict[str, int]
    """Admissions by code since the process started."""


class PoolState(Protocol):
    """What admission reads of the chain's finalised state."""

    def refresh(self) -> None:
        """Look at the state as it is now; the pool calls this before each set of questions."""
        ...

    def height(self) -> Height:
        """Height of that state; the next block is one above. May be asked at any time."""
        ...

    def next_nonce(self, account: AccountId) -> int:
        """Nonce that the account's next transaction must have."""
        ...

    def balance(self, account: AccountId) -> int:
        """Free rao above the existential deposit: what may pay fees."""
        ...

    def free_call_precheck(self, signer: AccountId, call: Call, arguments: tuple[Any, ...]) -> str | None:
        """Name of the error a free call would fail with in the next block; None when it may enter."""
        ...


class Refused(Exception):
    """Ends an admission."""

    def __init__(self, verdict: Verdict, code: str, reason: str, known: Entry | None = None) -> None:
        super().__init__(reason)
        self.verdict, self.code, self.reason, self.known = verdict, code, reason, known


def ignore(code: str, reason: str, known: Entry | None = None) -> Refused:
    """Nobody's fault; `known` is the pooled transaction it is a copy of."""
    return Refused(Verdict.IGNORE, code, reason, known)


def reject(code: str, reason: str) -> Refused:
    """The sender's fault."""
    return Refused(Verdict.REJECT, code, reason)
