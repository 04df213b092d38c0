"""The engine's votes in one view: R3 notarize, R4 nullify, R5 finalize, and what never follows (CHAIN 1.3, 1.7)."""

from __future__ import annotations

from typing import Any

import pytest
from simulation.bench import SECOND, Bench, ref
from yumad.consensus.effects import (
    AbandonExecution,
    BlockArrived,
    BlockExecuted,
    BlockFailed,
    CastVote,
    Execute,
    ExecutionFailure,
    Finalise,
    Halt,
    PersistCertificate,
    RequestBlock,
    RequestCertificates,
    TimerKind,
)
from yumad.consensus.engine import Engine
from yumad.consensus.header import block_hash
from yumad.consensus.statement import Kind
from yumad.consensus.types import Hash32, Micros


@pytest.fixture
def bench() -> Bench:
    """Four equal authorities, we are number 0, view 1 of era 0, slot 1."""
    made = Bench()
    made.at_slot(1)
    return made


def executed(bench: Bench, view: int = 1, **changes: Any) -> Any:
    """The proposal of a view on F, seen and executed."""
    header = bench.block(view, **changes)
    bench.feed(bench.proposal(view, 0, header), BlockExecuted(block_hash(header)))
    return header


def test_first_event_must_be_restarted() -> None:
    with pytest.raises(RuntimeError, match="must be Restarted"):
        Engine(Bench().timing, None).handle(BlockExecuted(Hash32(bytes(32))), Micros(0))


def test_proposal_is_executed_before_it_is_notarized(bench: Bench) -> None:
    header = bench.block(1)
    bench.feed(bench.proposal(1, 0, header))
    assert bench.of(Execute) == [Execute(header, must_succeed=False)]
    assert not bench.votes()
    bench.feed(BlockExecuted(block_hash(header)))
    assert bench.of(CastVote) == [CastVote(bench.statement(Kind.NOTARIZE, 1, 0, header), block_hash(header))]


def test_quorum_of_votes_becomes_a_certificate_stored_before_anything_follows(bench: Bench) -> None:
    header = executed(bench)
    bench.feed(*(bench.seen(index, Kind.NOTARIZE, 1, 0, header) for index in range(2)))
    assert not bench.of(PersistCertificate)
    bench.feed(bench.seen(2, Kind.NOTARIZE, 1, 0, header))
    kinds = [type(effect) for effect in bench.effects]
    assert kinds.index(PersistCertificate) < kinds.index(CastVote)
    assert bench.votes() == [bench.statement(Kind.FINALIZE, 1, 0, header)]
    assert bench.engine.view == 2
    bench.feed(*(bench.seen(index, Kind.FINALIZE, 1, 0, header) for index in range(3)))
    kinds = [type(effect) for effect in bench.effects]
    assert kinds.index(PersistCertificate) < kinds.index(Finalise)
    assert bench.of(Finalise)[0].chain == (block_hash(header),)
    assert (bench.engine.finalised, bench.engine.finalised_view) == (ref(header), 1)


def test_weight_just_below_the_quorum_certifies_nothing_and_the_quorum_does() -> None:
    bench = Bench((3, 3, 3, 1), own=3)
    bench.at_slot(1)
    header = bench.block(1)
    bench.feed(bench.seen(0, Kind.NOTARIZE, 1, 0, header), bench.seen(1, Kind.NOTARIZE, 1, 0, header))
    bench.feed(bench.seen(1, Kind.NOTARIZE, 1, 0, header))
    assert bench.engine.missing_weight()[0] == 1
    assert not bench.of(PersistCertificate)
    bench.feed(bench.seen(3, Kind.NOTARIZE, 1, 0, header))
    assert [kept.certificate.signers for kept in bench.of(PersistCertificate)] == [(0, 1, 3)]


@pytest.mark.parametrize(
    "changes",
    [
        {"era": 1},
        {"height": 2},
        {"height": 0},
        {"height": 21},
        {"authorities_hash": Hash32(b"x" * 32)},
        {"parent_hash": Hash32(b"x" * 32)},
        {"slot": 0},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_deterministic_failure_nullifies_at_once(bench: Bench, changes: dict[str, Any]) -> None:
    bench.feed(bench.proposal(1, 0, bench.block(1, **changes)))
    assert bench.votes() == [bench.statement(Kind.NULLIFY, 1)]
    assert not bench.of(Execute)


def test_block_that_names_another_proposer_nullifies_at_once(bench: Bench) -> None:
    bench.feed(bench.proposal(1, 0, bench.block(1, proposer_index=(bench.leader(1) + 1) % 4)))
    assert bench.votes() == [bench.statement(Kind.NULLIFY, 1)]


def test_opening_block_proposed_again_nullifies_at_once(bench: Bench) -> None:
    leader = bench.leader(1)
    bench.feed(bench.seen(leader, Kind.PROPOSE, 1, 0, bench.context.opening.hash))
    assert bench.votes() == [bench.statement(Kind.NULLIFY, 1)]


def test_proposal_on_a_parent_below_finality_nullifies_at_once(bench: Bench) -> None:
    old = bench.context.opening
    bench.finalise(1)
    bench.at_slot(3)
    bench.feed(bench.proposal(2, 0, bench.block(2, old)))
    assert bench.votes() == [bench.statement(Kind.NULLIFY, 2)]


def test_proposal_of_a_key_that_does_not_lead_is_ignored(bench: Bench) -> None:
    header = bench.block(1)
    stranger = (bench.leader(1) + 1) % 4
    bench.feed(bench.seen(stranger, Kind.PROPOSE, 1, 0, header))
    assert not bench.of(RequestBlock)
    assert not bench.votes()


def test_parent_that_is_not_known_as_notarised_is_asked_for_and_not_voted_on(bench: Bench) -> None:
    bench.feed(bench.certified(Kind.NULLIFY, 1))
    parent = bench.block(1)
    bench.at_slot(2)
    bench.feed(bench.proposal(2, 1, bench.block(2, ref(parent))))
    assert bench.of(RequestCertificates)[0].views == (1,)
    assert not bench.votes()


def test_gap_without_nullification_is_asked_for_and_voted_on_once_it_is_proven(bench: Bench) -> None:
    bench.feed(bench.certified(Kind.NULLIFY, 2))
    bench.at_slot(1)
    header = bench.block(3)
    bench.feed(bench.proposal(3, 0, header))
    assert bench.of(RequestCertificates)[0].views == (1,)
    assert not bench.of(Execute)
    bench.feed(bench.certified(Kind.NULLIFY, 1))
    assert bench.of(Execute)


def test_missing_parent_block_is_fetched_then_both_are_executed_in_order(bench: Bench) -> None:
    parent = bench.block(1)
    bench.feed(bench.certified(Kind.NOTARIZE, 1, 0, parent))
    assert bench.of(RequestBlock) == [RequestBlock(block_hash(parent))]
    bench.at_slot(2)
    child = bench.block(2, ref(parent))
    bench.feed(bench.proposal(2, 1, child))
    assert not bench.votes()
    bench.feed(BlockArrived(parent))
    assert bench.of(Execute) == [Execute(parent, must_succeed=True)]
    bench.feed(BlockExecuted(block_hash(parent)))
    assert bench.of(Execute) == [Execute(child, must_succeed=False)]
    assert bench.votes() == [bench.statement(Kind.FINALIZE, 1, 0, parent)]
    bench.feed(BlockExecuted(block_hash(child)))
    assert bench.votes() == [bench.statement(Kind.NOTARIZE, 2, 1, child)]


def test_propose_statement_without_its_block_fetches_the_block(bench: Bench) -> None:
    header = bench.block(1)
    bench.feed(bench.seen(bench.leader(1), Kind.PROPOSE, 1, 0, header))
    assert bench.of(RequestBlock) == [RequestBlock(block_hash(header))]
    bench.feed(BlockArrived(header))
    assert bench.of(Execute)


# --- slots ----------------------------------------------------------------------------------------------------------


def test_slot_from_the_future_is_held_until_its_time(bench: Bench) -> None:
    header = bench.block(1, slot=3)
    bench.feed(bench.proposal(1, 0, header))
    assert not bench.votes()
    at = bench.timer(TimerKind.RETRY)
    assert at == bench.timing.start_of(3) - bench.timing.drift
    bench.now = at
    bench.fire(TimerKind.RETRY)
    assert bench.of(Execute)


def test_slot_within_the_drift_is_taken_at_once(bench: Bench) -> None:
    bench.now = bench.timing.start_of(2) - bench.timing.drift
    bench.feed(bench.proposal(1, 0, bench.block(1, slot=2)))
    assert bench.of(Execute)


def test_slot_too_long_ago_waits_for_the_timer_and_is_no_failure(bench: Bench) -> None:
    bench.now = bench.timing.start_of(9) + 7 * SECOND
    bench.feed(bench.proposal(1, 0, bench.block(1, slot=7)))
    assert not bench.votes()
    assert not bench.of(Execute)
    bench.fire(TimerKind.PROPOSE)
    assert bench.votes() == [bench.statement(Kind.NULLIFY, 1)]


def test_oldest_slot_still_taken_is_the_one_of_the_rule(bench: Bench) -> None:
    """slot_at(now - drift - k*T_NOTARIZE) - 1 with k = 1: 6 s into slot 9 that is slot 8."""
    bench.now = bench.timing.start_of(9) + 6 * SECOND
    bench.feed(bench.proposal(1, 0, bench.block(1, slot=8)))
    assert bench.of(Execute)
    other = Bench()
    other.now = bench.now
    other.feed(other.proposal(1, 0, other.block(1, slot=7)))
    assert not other.of(Execute)


def test_slot_window_widens_with_the_back_off() -> None:
    bench = Bench()
    bench.at_slot(1)
    for view in range(1, 10):
        bench.feed(bench.certified(Kind.NULLIFY, view))
    assert bench.engine.level == 9
    bench.now = bench.timing.start_of(20)
    oldest = bench.timing.slot_at(bench.now - SECOND - 5 * SECOND * 2187 // 128) - 1
    bench.feed(bench.proposal(10, 0, bench.block(10, slot=oldest)))
    assert bench.of(Execute)
    assert oldest < 18


# --- timers, R4 -----------------------------------------------------------------------------------------------------


def test_first_timer_without_a_proposal_nullifies_once(bench: Bench) -> None:
    bench.fire(TimerKind.PROPOSE)
    assert bench.votes() == [bench.statement(Kind.NULLIFY, 1)]
    bench.fire(TimerKind.NOTARIZE)
    assert not bench.votes()


def test_first_timer_spares_an_acceptable_proposal_that_still_executes(bench: Bench) -> None:
    header = bench.block(1)
    bench.feed(bench.proposal(1, 0, header))
    bench.fire(TimerKind.PROPOSE)
    assert not bench.votes()
    bench.feed(BlockExecuted(block_hash(header)))
    assert bench.votes() == [bench.statement(Kind.NOTARIZE, 1, 0, header)]


def test_second_timer_nullifies_after_a_notarize_and_forbids_the_finalize(bench: Bench) -> None:
    header = executed(bench)
    bench.fire(TimerKind.NOTARIZE)
    assert bench.votes() == [bench.statement(Kind.NULLIFY, 1)]
    bench.feed(bench.certified(Kind.NOTARIZE, 1, 0, header))
    assert not bench.votes()


def test_own_nullify_abandons_the_execution_and_forbids_the_notarize(bench: Bench) -> None:
    header = bench.block(1)
    bench.feed(bench.proposal(1, 0, header))
    bench.fire(TimerKind.NOTARIZE)
    assert bench.of(AbandonExecution) == [AbandonExecution(block_hash(header))]
    bench.feed(BlockExecuted(block_hash(header)))
    assert not bench.votes()


def test_execution_of_a_notarised_block_is_not_abandoned(bench: Bench) -> None:
    header = bench.block(1)
    bench.feed(bench.proposal(1, 0, header), bench.certified(Kind.NOTARIZE, 1, 0, header))
    bench.fire(TimerKind.NOTARIZE)
    assert not bench.of(AbandonExecution)


@pytest.mark.parametrize("kind", [TimerKind.PROPOSE, TimerKind.NOTARIZE, TimerKind.START])
def test_timer_of_a_view_that_was_left_does_nothing(bench: Bench, kind: TimerKind) -> None:
    bench.feed(bench.certified(Kind.NULLIFY, 1))
    bench.fire(kind, view=1)
    assert bench.effects == []


# --- finalize, R5 ---------------------------------------------------------------------------------------------------


def test_late_notarization_of_an_earlier_view_is_finalised_by_who_did_not_nullify_it(bench: Bench) -> None:
    header = bench.block(1)
    bench.feed(bench.proposal(1, 0, header), bench.certified(Kind.NULLIFY, 2))
    bench.feed(bench.certified(Kind.NOTARIZE, 1, 0, header))
    assert bench.of(Execute)
    bench.feed(BlockExecuted(block_hash(header)))
    assert bench.votes() == [bench.statement(Kind.FINALIZE, 1, 0, header)]


def test_finalize_waits_for_the_own_execution(bench: Bench) -> None:
    header = bench.block(1)
    bench.feed(bench.proposal(1, 0, header), bench.certified(Kind.NOTARIZE, 1, 0, header))
    assert not bench.votes()
    bench.feed(BlockExecuted(block_hash(header)))
    assert bench.votes() == [bench.statement(Kind.FINALIZE, 1, 0, header)]


def test_block_that_lost_to_another_is_not_finalised_and_the_winner_is_fetched(bench: Bench) -> None:
    """Equivocating leader: we saw A, the quorum notarised B. Notarize A then finalize B is right."""
    a, b = bench.block(1), bench.block(1, salt=1)
    bench.feed(bench.proposal(1, 0, a), BlockExecuted(block_hash(a)))
    bench.feed(bench.certified(Kind.NOTARIZE, 1, 0, b))
    assert bench.of(RequestBlock) == [RequestBlock(block_hash(b))]
    bench.feed(BlockArrived(b))
    bench.feed(BlockExecuted(block_hash(b)))
    assert bench.votes() == [bench.statement(Kind.FINALIZE, 1, 0, b)]


# --- failures of execution ------------------------------------------------------------------------------------------


def test_rejected_block_nullifies_at_once(bench: Bench) -> None:
    header = bench.block(1)
    bench.feed(bench.proposal(1, 0, header))
    bench.feed(BlockFailed(block_hash(header), ExecutionFailure.REJECTED, "roots differ"))
    assert bench.votes() == [bench.statement(Kind.NULLIFY, 1)]


def test_exception_in_our_own_code_waits_for_the_timer(bench: Bench) -> None:
    header = bench.block(1)
    bench.feed(bench.proposal(1, 0, header))
    bench.feed(BlockFailed(block_hash(header), ExecutionFailure.RAISED, "bug"))
    assert bench.effects == []
    bench.fire(TimerKind.PROPOSE)
    assert not bench.votes()
    bench.fire(TimerKind.NOTARIZE)
    assert bench.votes() == [bench.statement(Kind.NULLIFY, 1)]


def test_rejected_block_that_becomes_notarised_stops_the_process(bench: Bench) -> None:
    header = bench.block(1)
    bench.feed(bench.proposal(1, 0, header))
    bench.feed(BlockFailed(block_hash(header), ExecutionFailure.REJECTED, "column 7 differs"))
    bench.feed(bench.certified(Kind.NOTARIZE, 1, 0, header))
    halt = bench.of(Halt)[0]
    assert "column 7 differs" in halt.reason
    assert halt.certificates == (bench.certificate(Kind.NOTARIZE, 1, 0, header),)
    assert bench.feed(bench.certified(Kind.NULLIFY, 5)) == []


def test_exception_on_a_block_that_becomes_notarised_is_tried_again_then_stops_the_process(bench: Bench) -> None:
    header = bench.block(1)
    bench.feed(bench.proposal(1, 0, header))
    bench.feed(BlockFailed(block_hash(header), ExecutionFailure.RAISED, "bug"))
    bench.feed(bench.certified(Kind.NOTARIZE, 1, 0, header))
    assert bench.of(Execute) == [Execute(header, must_succeed=True)]
    bench.feed(BlockFailed(block_hash(header), ExecutionFailure.RAISED, "bug"))
    assert bench.of(Halt)


def test_stale_answer_of_an_abandoned_execution_is_ignored(bench: Bench) -> None:
    header = bench.block(1)
    bench.feed(bench.proposal(1, 0, header))
    bench.fire(TimerKind.NOTARIZE)
    bench.feed(BlockFailed(block_hash(header), ExecutionFailure.REJECTED, "stale"))
    bench.feed(bench.certified(Kind.NOTARIZE, 1, 0, header))
    assert bench.of(Execute) == [Execute(header, must_succeed=True)]


# --- who does not vote ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bench", [Bench(own=None), Bench(own=9), Bench(abstains=lambda _: True)], ids=["follower", "outside", "abstains"]
)
def test_peer_without_a_vote_sets_no_timer_and_still_finalises(bench: Bench) -> None:
    assert bench.timer(TimerKind.START) is None
    bench.at_slot(1)
    header = bench.block(1)
    bench.feed(bench.proposal(1, 0, header))
    assert not bench.of(Execute)
    bench.feed(bench.certified(Kind.NOTARIZE, 1, 0, header))
    assert bench.of(Execute) == [Execute(header, must_succeed=True)]
    bench.feed(bench.certified(Kind.FINALIZE, 1, 0, header), BlockExecuted(block_hash(header)))
    assert bench.of(Finalise)
    assert not bench.votes()
    assert not bench.engine.is_voter
