"""Events into and effects out of the engine (CHAIN 1.4): values only, so a driver or a simulator applies them.

One driver per peer feeds events one at a time and applies the effects of each in order before the next event.
Durability is the driver's: `PersistCertificate` and the storage half of `CastVote` are flushed before anything behind
them in the list is done. Everything in an event was already verified: form, signature, body against header (R0).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from .authority import AuthoritySet
from .certificate import Certificate
from .evidence import Evidence
from .header import Header
from .statement import SignedStatement, Statement
from .types import Era, Hash32, Height, Micros, Slot, View

NO_FLOOR: Final = View(0)
"""A guard that has pruned nothing in the era: every view is above it."""

VOTES_AT_ONCE: Final = Micros(0)
"""No listening at start: the guard was made with its key in this process, or the caller has listened already."""


@dataclass(frozen=True, slots=True)
class BlockRef:
    """What the engine needs to know of a block: its place, never its body."""

    hash: Hash32
    height: Height
    slot: Slot
    parent_hash: Hash32

    @staticmethod
    def of(header: Header, block_hash: Hash32) -> BlockRef:
        """The reference of a header whose hash is `block_hash`."""
        return BlockRef(block_hash, header.height, header.slot, header.parent_hash)


@dataclass(frozen=True, slots=True)
class EraContext:
    """All that is fixed for one era."""

    era: Era
    authorities: AuthoritySet
    opening: BlockRef
    """Boundary block before the era (genesis, height 0, slot 0, for era 0); a fresh era has F = (view 0, opening)."""


# --- events ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Restarted:
    """First event of a process: what storage remembers. Certificates and statements go through the normal paths.

    It comes again, instead of `EraOpened` or `SyncAdvanced`, where a peer enters an era that its guard remembers
    something of, because the chain folder was deleted and is synced anew. Without it the own votes of that time would
    pass for a second signer's, and new ones would contradict them.
    """

    context: EraContext
    finalised: BlockRef
    """Newest block in the chain database; `context.opening` when the era is fresh."""
    finalised_view: View
    finality: Certificate | None
    """Certificate of `finalised`; None only for the opening block."""
    certificates: tuple[Certificate, ...]
    """Stored certificates of this era above F, finalizations included (R7, R11)."""
    own_statements: tuple[SignedStatement, ...]
    """Own statements of this era from the guard (R10)."""
    blocks: tuple[Header, ...]
    """Headers whose bodies the guard holds above F (R9)."""
    vote_floor: View = NO_FLOOR
    """View of this era at or below which the guard signs nothing new, the highest there is when its floor lies in a
    later era: above F when the chain database was lost."""
    listens_until: Micros = VOTES_AT_ONCE
    """Unix time before which nothing new is signed: two slots from the start, in which neighbours show statements of
    the own key that the guard does not know (CHAIN 1.3, second signer). Views start no earlier."""


@dataclass(frozen=True, slots=True)
class ProposalSeen:
    """A proposal passed R0; its body is at hand under the block hash."""

    signed: SignedStatement
    header: Header


@dataclass(frozen=True, slots=True)
class StatementSeen:
    """A verified statement of this era: a vote, an own vote once persisted, or kind 0 without its block."""

    signed: SignedStatement


@dataclass(frozen=True, slots=True)
class CertificateSeen:
    """A verified certificate of this era."""

    certificate: Certificate


@dataclass(frozen=True, slots=True)
class BlockArrived:
    """A block fetched by hash; its body matches its header."""

    header: Header


@dataclass(frozen=True, slots=True)
class BlockExecuted:
    """Execution gave the roots of the header."""

    block_hash: Hash32


class ExecutionFailure(Enum):
    """Why an execution gave no agreement."""

    REJECTED = "rejected"
    """Deterministic: the block breaks a rule or its roots differ."""
    RAISED = "raised"
    """Our own code failed: counts as "cannot check" (R3)."""


@dataclass(frozen=True, slots=True)
class BlockFailed:
    """Execution of a block failed."""

    block_hash: Hash32
    failure: ExecutionFailure
    reason: str


@dataclass(frozen=True, slots=True)
class BlockBuilt:
    """Answer to `Build`: the sealed and executed block. The engine answers with a propose vote."""

    view: View
    header: Header


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer set by `SetTimer`; stale ones are ignored by the engine."""

    timer: Timer


@dataclass(frozen=True, slots=True)
class EraOpened:
    """The boundary block is final and stored; the driver computed the next set from state."""

    context: EraContext


@dataclass(frozen=True, slots=True)
class SyncAdvanced:
    """Sync moved the finalised point without the engine."""

    context: EraContext
    finalised: BlockRef
    finalised_view: View
    finality: Certificate | None


Event: TypeAlias = (
    Restarted
    | ProposalSeen
    | StatementSeen
    | CertificateSeen
    | BlockArrived
    | BlockExecuted
    | BlockFailed
    | BlockBuilt
    | TimerFired
    | EraOpened
    | SyncAdvanced
)

# --- effects --------------------------------------------------------------------------------------------------------


class TimerKind(Enum):
    """What a timer is for."""

    START = "start"
    """The view's start: the leader proposes, held proposals may be judged."""
    PROPOSE = "propose"
    """No acceptable proposal came: nullify."""
    NOTARIZE = "notarize"
    """Not finalised in time: nullify."""
    RETRY = "retry"
    """Look again: a held slot has come, or a body did not arrive in time."""


@dataclass(frozen=True, slots=True)
class Timer:
    """Identity of a timer; a later `SetTimer` of the same identity replaces the earlier."""

    kind: TimerKind
    era: Era
    view: View


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Wake the engine at `at` (unix microseconds); at once if that is past."""

    timer: Timer
    at: Micros


@dataclass(frozen=True, slots=True)
class CastVote:
    """Sign the statement, store it (with the body of `body_hash` in the same flush, R9), flush, then send it to the
    exchange and feed it back as `StatementSeen`. For kind PROPOSE also publish the block as a proposal."""

    statement: Statement
    body_hash: Hash32 | None
    """Block whose body must be durable with this statement: for propose and notarize."""


@dataclass(frozen=True, slots=True)
class OfferStatement:
    """Offer an already durable own statement to neighbours again (R10)."""

    signed: SignedStatement


@dataclass(frozen=True, slots=True)
class PersistCertificate:
    """Store an accepted certificate above F, flushed before anything behind it (R11), then offer it to neighbours."""

    certificate: Certificate


@dataclass(frozen=True, slots=True)
class Execute:
    """Execute the block on its parent's state beside the driver; answer with BlockExecuted or BlockFailed.

    The parent was executed before or is F. A driver that holds the result already answers at once.
    """

    header: Header
    must_succeed: bool
    """True for a notarised or finalised block: a mismatch or exception ends the process (R3)."""


@dataclass(frozen=True, slots=True)
class AbandonExecution:
    """The result is no longer wanted: an execution under way stops at the next call boundary, a state already computed
    may be dropped. A later `Execute` of the block starts anew."""

    block_hash: Hash32


@dataclass(frozen=True, slots=True)
class Build:
    """Build and execute a block on `parent` for `slot`; answer with BlockBuilt."""

    view: View
    parent: BlockRef
    slot: Slot


@dataclass(frozen=True, slots=True)
class RequestBlock:
    """Fetch a block by hash from peers until it arrives or F passes it; a driver that still has it answers at once."""

    block_hash: Hash32


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """A block asked for is no longer needed: its view was left and no certificate names it."""

    block_hash: Hash32


@dataclass(frozen=True, slots=True)
class RequestCertificates:
    """Ask peers for any certificates of these views of the era."""

    era: Era
    views: tuple[View, ...]


@dataclass(frozen=True, slots=True)
class Finalise:
    """Make `block_hash` and its ancestors above the old F final.

    Order on disk (R7): the certificate is already in the guard, now the chain database commits and flushes, then the
    guard raises its floor to `view` and prunes. If the block is its era's boundary the driver answers with EraOpened.
    """

    certificate: Certificate
    block_hash: Hash32
    chain: tuple[Hash32, ...]
    """Blocks from the first above the old F up to and including `block_hash`, ascending by height; empty when F's own
    block was proposed again and is final in a later view."""


@dataclass(frozen=True, slots=True)
class ReportEvidence:
    """Two conflicting statements by one key: gossip and keep for a body."""

    evidence: Evidence


@dataclass(frozen=True, slots=True)
class SecondSigner:
    """A statement of our own key that this process never made: a second machine or an older copy of the guard.

    The engine stops voting for the era; the driver records `born = now` in the guard, so that the birth rule decides
    in which later era the key signs again (CHAIN 1.3, second signer).
    """

    signed: SignedStatement


@dataclass(frozen=True, slots=True)
class ViewEntered:
    """For logs, metrics and the exchange's window."""

    era: Era
    view: View
    leader_index: int
    level: int


@dataclass(frozen=True, slots=True)
class BehindFinality:
    """A finality certificate names a block whose chain is not here: hand over to sync."""

    certificate: Certificate


@dataclass(frozen=True, slots=True)
class Halt:
    """Stop the process: two certificates contradict (R8) or a notarised block gives other roots here."""

    reason: str
    certificates: tuple[Certificate, ...]


Effect: TypeAlias = (
    SetTimer
    | CastVote
    | OfferStatement
    | PersistCertificate
    | Execute
    | AbandonExecution
    | Build
    | RequestBlock
    | CancelRequest
    | RequestCertificates
    | Finalise
    | ReportEvidence
    | SecondSigner
    | ViewEntered
    | BehindFinality
    | Halt
)
