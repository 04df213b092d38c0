"""When a proposal may be notarised, and what a leader builds upon (CHAIN R2, R3, R13): pure questions to a ChainView.

Each step of `judge` is one sentence of R3, in its order. Execution is not judged here: it follows when these passed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .chain_view import ChainView
from .effects import BlockRef
from .header import Header
from .statement import Kind, Statement
from .timing import MAX_UNFINALISED, UNFINALISED_SLACK, Timing
from .types import Hash32, Micros, View


class Verdict(Enum):
    """What R3 says of a proposal before execution."""

    ACCEPTABLE = "acceptable"
    """Leader, parent, gap and slot passed: execute it; the first timer is satisfied (R4)."""
    WAIT = "wait"
    """Cannot be checked yet, or its slot is not now: fetch or hold, never vote; timers decide."""
    FAILED = "failed"
    """Breaks a rule whoever looks and whenever: nullify at once."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, its reason, and what would let a waiting proposal be checked."""

    verdict: Verdict
    reason: str = ""
    missing_views: tuple[View, ...] = ()
    """Views whose certificates are needed."""
    missing_block: Hash32 | None = None
    """Block whose header is needed."""
    look_again: Micros | None = None
    """When a slot from the future will have come."""


_ACCEPTABLE = Judgement(Verdict.ACCEPTABLE)


def _failed(reason: str) -> Judgement:
    return Judgement(Verdict.FAILED, reason)


def judge(
    chain: ChainView, timing: Timing, leader: int, statement: Statement, header: Header | None, now: Micros, window: int
) -> Judgement:
    """R3 up to execution for the current view's first proposal.

    `header` is None only when the proposal names F's own block, which may be proposed again but never anew. `leader`
    is the index drawn for the view (the signature was checked against it), `window` the T_NOTARIZE of the view
    stretched by the back-off, in microseconds: old slots stay acceptable that long.
    """
    parent_view = statement.parent_view
    if parent_view < chain.finalised_view:
        return _failed(f"parent view {parent_view} is below the finalised view {chain.finalised_view}")
    parent_hash = chain.notarised_hash(parent_view)
    if parent_hash is None:
        return Judgement(Verdict.WAIT, f"view {parent_view} is not known to be notarised", (parent_view,))
    if parent_view > 0 and statement.block_hash == parent_hash:
        return _judge_gap(chain, statement)
    if header is None:
        return _failed("the finalised block cannot stand on itself")
    parent = chain.block(parent_hash)
    if parent is None:
        return Judgement(Verdict.WAIT, "the parent block is not here", missing_block=parent_hash)
    failure = _new_block_failure(chain, leader, header, parent_view, parent)
    if failure is not None:
        return _failed(failure)
    gap = _judge_gap(chain, statement)
    if gap.verdict is not Verdict.ACCEPTABLE:
        return gap
    return _judge_slot(timing, header, now, window, parent.height - chain.finalised.height)


def _new_block_failure(
    chain: ChainView, leader: int, header: Header, parent_view: View, parent: BlockRef
) -> str | None:
    """What is deterministically wrong with a new block's header, or None."""
    context = chain.context
    if header.era != context.era:
        return f"the block is of era {header.era}, this is era {context.era}"
    if header.height != parent.height + 1:
        return f"height {header.height} does not follow the parent's {parent.height}"
    if chain.is_era_stop(parent_view, parent) or header.height > chain.boundary:
        return f"height {header.height} is past the era's last block {chain.boundary}: only that may be proposed again"
    if header.proposer_index != leader:
        return f"the block names proposer {header.proposer_index}, the leader is {leader}"
    if header.authorities_hash != context.authorities.hash:
        return "the block commits to another authority set"
    if header.parent_hash != parent.hash:
        return f"the block stands on {header.parent_hash.hex()[:16]}, view {parent_view} is {parent.hash.hex()[:16]}"
    if header.slot <= parent.slot:
        return f"slot {header.slot} does not follow the parent's {parent.slot}"
    return None


def _judge_gap(chain: ChainView, statement: Statement) -> Judgement:
    """Every view strictly between parent and proposal is nullified by a certificate held here."""
    missing = chain.missing_nullifications(statement.parent_view, statement.view)
    if missing:
        return Judgement(Verdict.WAIT, "nullifications are missing in the gap", missing)
    return _ACCEPTABLE


def _judge_slot(timing: Timing, header: Header, now: Micros, window: int, parent_depth: int) -> Judgement:
    """The slot is now, give or take drift and back-off; the chain above F is not too long. Never deterministic."""
    if header.slot > timing.slot_at(now + timing.drift):
        again = Micros(timing.start_of(header.slot) - timing.drift)
        return Judgement(Verdict.WAIT, f"slot {header.slot} has not come", look_again=again)
    if header.slot < timing.slot_at(now - timing.drift - window) - 1:
        return Judgement(Verdict.WAIT, f"slot {header.slot} is too long ago")
    if parent_depth >= MAX_UNFINALISED + UNFINALISED_SLACK:
        return Judgement(Verdict.WAIT, f"{parent_depth} blocks wait for finality")
    return _ACCEPTABLE


@dataclass(frozen=True, slots=True)
class ParentChoice:
    """What a leader does now (R2)."""

    view: View
    parent: BlockRef | None
    """Executed block to build upon; None: wait for what is missing."""
    propose_again: bool = False
    """Propose the parent itself: the era's last block (R13) or a chain too long above F."""
    missing_views: tuple[View, ...] = ()
    missing_block: Hash32 | None = None
    look_again: Micros | None = None


def choose_parent(chain: ChainView, timing: Timing, view: View, now: Micros) -> ParentChoice:
    """Walk down from `view - 1` over nullified views to the first notarised one, not below F (R2).

    A notarization is preferred where a view has both certificates; when its body does not come within T_PROPOSE of
    asking and the view is nullified too, the walk goes on below it.
    """
    for candidate in range(view - 1, chain.finalised_view, -1):
        parent_view = View(candidate)
        block_hash = chain.notarised_hash(parent_view)
        is_nullified = chain.certificates.has(Kind.NULLIFY, parent_view)
        if block_hash is None:
            if not is_nullified:
                return ParentChoice(parent_view, None, missing_views=(parent_view,))
            continue
        parent = chain.block(block_hash)
        if parent is None:
            asked = chain.blocks.requested.get(block_hash)
            given_up = None if asked is None else Micros(asked + timing.propose_timeout)
            if is_nullified and given_up is not None and given_up <= now:
                continue
            return ParentChoice(
                parent_view, None, missing_block=block_hash, look_again=given_up if is_nullified else None
            )
        if not chain.is_executed(block_hash):
            return ParentChoice(parent_view, None)
        too_deep = parent.height - chain.finalised.height >= MAX_UNFINALISED
        return ParentChoice(parent_view, parent, chain.is_era_stop(parent_view, parent) or too_deep)
    return ParentChoice(chain.finalised_view, chain.finalised)
