"""The transition: one block applied to the state, in this order (YUMA 7.1, CHAIN 1.3 and 3).

1. Block start: the parent's hash, then the pipeline of DTAO section 3 (`block_start`).
2. The body's evidence, then its finality certificate for the participation count.
3. Transactions in their order.
4. Fees and tips to the author's coldkey.
5. At the era's boundary: punishments and the next authority set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ...authority import AuthoritySet
from ...block import MAX_EVIDENCE_PER_BLOCK, Body
from ...certificate import Certificate
from ...evidence import Evidence
from ...transaction import transaction_bytes_hash
from ...types import Hash32, InvalidError, Rao
from ..interface import (
    BlockContext,
    BlockOutcome,
    EpochSummary,
    Event,
    Selection,
    TransactionOutcome,
    Verified,
    nothing_verified,
)
from .author import pay_author
from .block_start import start_block
from .boundary import close_era
from .budgets import Budget
from .events import encode_events, encode_result
from .execution import Prepared, execute, prepare, refuse
from .participation import (
    adopt_authorities,
    apply_certificate,
    apply_evidence,
    note_author,
    note_block_hash,
)

if TYPE_CHECKING:
    from ...state.state import State


class BlockExecution:
    """The execution of one block in progress; `apply_block` and `select` drive it."""

    def __init__(
        self, state: State, ctx: BlockContext, *, skip_signatures: bool = False, verified: Verified = nothing_verified
    ) -> None:
        self.state = state
        self.ctx = ctx
        self._skip_signatures = skip_signatures
        self._verified = verified
        self._events: list[Event] = []
        self._epochs: list[EpochSummary] = []
        self._transactions: list[TransactionOutcome] = []
        self._budget = Budget(0, 0, 0, 0)

    def start(self) -> None:
        """Step 1. Raises InvalidError for a block that does not follow the state's height."""
        state, ctx = self.state, self.ctx
        stands_at = int(state.read("chain/height", 0))
        if ctx.height != stands_at + 1 or ctx.era != (ctx.height - 1) // ctx.spec.era_blocks:
            raise InvalidError(f"block {ctx.height} of era {ctx.era} does not follow a state at height {stands_at}")
        if not 0 <= ctx.proposer_index < len(ctx.authorities.members):
            raise InvalidError(f"proposer {ctx.proposer_index} of {len(ctx.authorities.members)} authorities")
        state.write("chain/height", 0, ctx.height)
        note_block_hash(state, ctx)
        adopt_authorities(state, ctx)
        note_author(state, ctx)
        self._epochs, self._events = start_block(state, ctx)
        self._budget = Budget.of_block(ctx.spec.slot_length, len(self._epochs))

    def take_evidence(self, evidence: Evidence) -> None:
        """Step 2, one piece. Raises InvalidError."""
        self._events.append(apply_evidence(self.state, self.ctx, evidence, skip_signatures=self._skip_signatures))

    def count_certificate(self, certificate: Certificate) -> None:
        """Step 2, the certificate. Raises InvalidError."""
        apply_certificate(self.state, self.ctx, certificate, skip_signatures=self._skip_signatures)

    def include(self, prepared: Prepared) -> TransactionOutcome:
        """Step 3, one transaction. Raises InvalidError, with the state untouched, if it may not be included."""
        outcome = execute(
            self.state,
            self.ctx,
            prepared,
            self._budget,
            skip_signatures=self._skip_signatures,
            verified=self._verified,
        )
        self._transactions.append(outcome)
        return outcome

    def try_to_include(self, prepared: Prepared) -> str | None:
        """Step 3 for a builder: None, or why the transaction stays out, with state and budget untouched.

        A call whose code raises would raise at every voter too. It stays out of the block instead of keeping its leader
        from building one (CHAIN 6.4).
        """
        mark, budget = self.state.begin(), replace(self._budget)
        try:
            self.include(prepared)
        except InvalidError as error:
            refusal = error.code
        except Exception:
            refusal = "raised"
        else:
            self.state.commit(mark)
            return None
        self.state.rollback(mark)
        self._budget = budget
        return refusal

    def finish(self) -> BlockOutcome:
        """Steps 4 and 5."""
        fees = sum(outcome.fee for outcome in self._transactions)
        pay_author(self.state, self.ctx, fees)
        upcoming: AuthoritySet | None = None
        if self.ctx.height % self.ctx.spec.era_blocks == 0:
            upcoming, events = close_era(self.state, self.ctx)
            self._events += events
        leaves = [encode_events(self._events)]
        leaves += [encode_result(t.code, t.fee, t.events) for t in self._transactions]
        return BlockOutcome(
            results=tuple(leaves),
            fees=Rao(fees),
            next_authorities=upcoming,
            epochs=tuple(self._epochs),
            block_events=tuple(self._events),
            transactions=tuple(self._transactions),
        )


def apply_block(
    state: State,
    ctx: BlockContext,
    body: Body,
    skip_signatures: bool = False,
    verified: Verified = nothing_verified,
) -> BlockOutcome:
    """Execute a block; see `Rules.apply_block`."""
    if len(body.evidence) > MAX_EVIDENCE_PER_BLOCK:
        raise InvalidError(f"{len(body.evidence)} pieces of evidence, at most {MAX_EVIDENCE_PER_BLOCK} allowed")
    block = BlockExecution(state, ctx, skip_signatures=skip_signatures, verified=verified)
    block.start()
    for evidence in body.evidence:
        block.take_evidence(evidence)
    if body.certificate is not None:
        block.count_certificate(body.certificate)
    for position, data in enumerate(body.transactions):
        try:
            block.include(prepare(data))
        except InvalidError as error:
            raise refuse(error.code, f"transaction {position}: {error.message}", error.remedy) from error
    return block.finish()


def select(
    state: State,
    ctx: BlockContext,
    candidates: Iterable[bytes],
    certificate: Certificate | None = None,
    evidence: Iterable[Evidence] = (),
    verified: Verified = nothing_verified,
) -> Selection:
    """Make and execute a block of what is offered; see `Rules.select`."""
    block = BlockExecution(state, ctx, verified=verified)
    block.start()
    taken: list[Evidence] = []
    for piece in evidence:
        if len(taken) == MAX_EVIDENCE_PER_BLOCK:
            break
        if _attempt(state, partial(block.take_evidence, piece)):
            taken.append(piece)
    if certificate is not None and not _attempt(state, partial(block.count_certificate, certificate)):
        certificate = None
    included, skipped = _include_all(block, candidates)
    outcome = block.finish()
    return Selection(Body(certificate, tuple(taken), tuple(included)), outcome, tuple(skipped))


def _attempt(state: State, step: Callable[[], None]) -> bool:
    mark = state.begin()
    try:
        step()
    except InvalidError:
        state.rollback(mark)
        return False
    state.commit(mark)
    return True


def _include_all(block: BlockExecution, candidates: Iterable[bytes]) -> tuple[list[bytes], list[tuple[Hash32, str]]]:
    """Operational candidates first, each lane in the given order; one whose nonce comes too early waits for its
    turn."""
    included: list[bytes] = []
    skipped: list[tuple[Hash32, str]] = []
    lanes: tuple[list[Prepared], list[Prepared]] = ([], [])
    for data in candidates:
        try:
            prepared = prepare(data)
        except InvalidError as error:
            skipped.append((transaction_bytes_hash(data), error.code))
        else:
            lanes[0 if prepared.call.free else 1].append(prepared)
    waiting: dict[tuple[bytes, int], Prepared] = {}
    for first in (*lanes[0], *lanes[1]):
        current: Prepared | None = first
        while current is not None:
            transaction = current.transaction
            refusal = block.try_to_include(current)
            if refusal == "bad_nonce":
                waiting.setdefault((transaction.signer, transaction.nonce), current)
                break
            if refusal is not None:
                skipped.append((current.hash, refusal))
                break
            included.append(current.data)
            current = waiting.pop((transaction.signer, transaction.nonce + 1), None)
    skipped += [(prepared.hash, "bad_nonce") for prepared in waiting.values()]
    return included, skipped
