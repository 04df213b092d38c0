"""What every rules version offers to the chain: execute a block, build one, make the genesis state (CHAIN 5.4, 5.9).

A rules package is a pure function of `(state, context, body)`. It never sees a clock, a file or a peer; whatever it may
depend on is in `BlockContext`. The working chain owns the marks that undo a block which turned out invalid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

from ..authority import AuthoritySet
from ..block import Body
from ..certificate import Certificate
from ..evidence import Evidence
from ..statement import VoteDomain
from ..transaction import TransactionDomain
from ..types import Era, Hash32, Height, Netuid, Rao, Slot

if TYPE_CHECKING:
    from ..chain_spec import ChainSpec
    from ..state.state import State

EventArgument: TypeAlias = "int | bytes"
"""Integers and byte strings only: an event is committed in `results_root`."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, numbered by an append-only table, with positional arguments."""

    number: int
    """u16 id of the table in the rules package's `events`."""
    arguments: tuple[EventArgument, ...]


@dataclass(frozen=True, slots=True)
class BlockContext:
    """Everything outside the state and the body that a block's execution may depend on."""

    spec: ChainSpec
    genesis_hash: Hash32
    domain: TransactionDomain
    """Signature domain of transactions."""
    vote_domain: VoteDomain
    """Signature domain of the certificates and the evidence in the body."""
    height: Height
    era: Era
    slot: Slot
    parent_hash: Hash32
    """The genesis hash in block 1."""
    proposer_index: int
    """The author's index in `authorities`."""
    authorities: AuthoritySet
    """The set of `era`."""


@dataclass(frozen=True, slots=True)
class TransactionOutcome:
    """What became of one included transaction."""

    code: int
    """0 for success, else the u16 number of the rules package's error table."""
    fee: Rao
    """Paid by the signer, tip included."""
    events: tuple[Event, ...]
    """Empty when the call failed."""


@dataclass(frozen=True, slots=True)
class EpochSummary:
    """One Yuma epoch that a block ran."""

    netuid: Netuid
    emission: int
    """What the epoch distributed, in the subnet's base units."""
    server_total: int
    """Paid to miners."""
    validator_total: int
    """Paid to validators."""
    record: object = field(default=None, compare=False)
    """The rules package's own record of the epoch, for explaining it; no part of any commitment."""


@dataclass(frozen=True, slots=True)
class BlockOutcome:
    """What a block's execution determines beside the state."""

    results: tuple[bytes, ...]
    """Leaves of `results_root`: leaf 0 is the block-start events, then one `[code, fee, events]` per transaction."""
    fees: Rao
    """Fees and tips paid to the author's coldkey."""
    next_authorities: AuthoritySet | None
    """Set of the next era; only at a boundary block."""
    epochs: tuple[EpochSummary, ...]
    block_events: tuple[Event, ...]
    """Events of block start, evidence and the boundary, as in leaf 0."""
    transactions: tuple[TransactionOutcome, ...]
    """In the body's order."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A body made of candidates, already executed: the state stands after the block."""

    body: Body
    outcome: BlockOutcome
    skipped: tuple[tuple[Hash32, str], ...]
    """Whole-byte hash and error name of each candidate that could not be included."""


Verified: TypeAlias = Callable[[Hash32], bool]
"""Whether the transaction with this whole-byte hash had its signature checked already, in the pool for instance."""


def nothing_verified(transaction_hash: Hash32) -> bool:
    """The default `Verified`: every signature is checked."""
    return False


class Rules(Protocol):
    """One version of the rules."""

    version: int

    def build_genesis(self, spec: ChainSpec) -> State:
        """The state of height 0. Raises InvalidError for a spec that breaks a bound of these rules."""

    def broken_invariants(self, state: State, spec: ChainSpec) -> list[str]:
        """Everything in a state between two blocks that does not add up, in words; reads all of it."""

    def genesis_authorities(self, spec: ChainSpec, genesis_hash: Hash32) -> AuthoritySet:
        """The set of era 0 (its seed needs the genesis hash, which the state cannot hold)."""

    def apply_block(
        self,
        state: State,
        ctx: BlockContext,
        body: Body,
        skip_signatures: bool = False,
        verified: Verified = nothing_verified,
    ) -> BlockOutcome:
        """Execute a block on `state`.

        Raises InvalidError for a block that breaks a rule; the state is then half changed and the caller rolls it back
        to its own mark. `skip_signatures` is for blocks that are already final: transaction, certificate and evidence
        signatures are taken as right.
        """

    def select(
        self,
        state: State,
        ctx: BlockContext,
        candidates: Iterable[bytes],
        certificate: Certificate | None = None,
        evidence: Iterable[Evidence] = (),
        verified: Verified = nothing_verified,
    ) -> Selection:
        """Make a valid body of what is offered and execute it: `state` stands after the block.

        Candidates are tried in the given order, operational ones first; what does not fit, cannot pay or is invalid is
        skipped, and so are a certificate and evidence that may not be included.
        """
