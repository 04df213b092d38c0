"""Entering views, leading them, back-off and the end of an era: R1, R2, R6, R12, R13 (CHAIN 1.3, 1.7)."""

from __future__ import annotations

import pytest
from simulation.bench import SECOND, SLOT, Bench, ref
from yumad.consensus.effects import (
    BlockArrived,
    BlockBuilt,
    BlockExecuted,
    BlockRef,
    Build,
    CancelRequest,
    CastVote,
    EraContext,
    EraOpened,
    Execute,
    Finalise,
    RequestBlock,
    RequestCertificates,
    TimerKind,
    ViewEntered,
)
from yumad.consensus.header import block_hash
from yumad.consensus.statement import Kind
from yumad.consensus.timing import MAX_UNFINALISED
from yumad.consensus.types import ZERO_HASH, Era, Hash32, Height, Slot, View

# --- R1 -------------------------------------------------------------------------------------------------------------


def test_fresh_era_begins_in_view_one_at_the_slot_after_its_opening() -> None:
    bench = Bench()
    assert bench.engine.view == 1
    assert bench.timer(TimerKind.START) == bench.timing.start_of(1)
    assert bench.timer(TimerKind.PROPOSE) == bench.timing.start_of(1) + 3 * SECOND
    assert bench.timer(TimerKind.NOTARIZE) == bench.timing.start_of(1) + 5 * SECOND


def test_certificate_of_a_later_view_is_jumped_to() -> None:
    bench = Bench()
    bench.feed(bench.certified(Kind.NULLIFY, 40))
    assert bench.engine.view == 41
    assert [effect.view for effect in bench.of(ViewEntered)] == [41]


def test_view_after_a_slot_that_is_past_starts_now() -> None:
    bench = Bench()
    bench.at_slot(7)
    bench.feed(bench.certified(Kind.NULLIFY, 1))
    assert bench.timer(TimerKind.START) == bench.now


def test_view_whose_parent_header_is_not_here_starts_a_slot_from_now() -> None:
    bench = Bench()
    bench.at_slot(1)
    bench.feed(bench.certified(Kind.NOTARIZE, 1, 0, bench.block(1)))
    assert bench.timer(TimerKind.START) == bench.now + SLOT


def test_view_starts_at_the_slot_after_the_notarised_parent() -> None:
    bench = Bench()
    bench.at_slot(1)
    bench.notarise(1)
    assert bench.timer(TimerKind.START) == bench.timing.start_of(2)


def test_after_two_failed_views_a_view_starts_no_sooner_than_the_first_timer_after_the_last() -> None:
    bench = Bench()
    bench.at_slot(5)
    bench.feed(bench.certified(Kind.NULLIFY, 1))
    first = bench.timer(TimerKind.START)
    assert first == bench.now
    bench.wait(1)
    bench.feed(bench.certified(Kind.NULLIFY, 2))
    assert bench.timer(TimerKind.START) == first + 3 * SECOND


# --- R2 -------------------------------------------------------------------------------------------------------------


def leading(view: int) -> Bench:
    """A bench whose own key leads exactly this view of the first nine."""
    bench = Bench(leads=(view,))
    bench.at_slot(1)
    return bench


def test_leader_builds_on_finality_at_its_start_and_proposes_once() -> None:
    bench = leading(1)
    bench.fire(TimerKind.START)
    assert bench.of(Build) == [Build(View(1), bench.context.opening, Slot(1))]
    bench.fire(TimerKind.START)
    assert not bench.of(Build)
    header = bench.block(1)
    bench.feed(BlockBuilt(View(1), header))
    assert bench.of(CastVote) == [CastVote(bench.statement(Kind.PROPOSE, 1, 0, header), block_hash(header))]
    bench.feed(BlockBuilt(View(1), bench.block(1, salt=1)))
    assert not bench.votes()


def test_leader_executes_its_own_block_like_any_other_before_it_notarizes() -> None:
    bench = leading(1)
    bench.fire(TimerKind.START)
    header = bench.block(1)
    bench.feed(BlockBuilt(View(1), header))
    bench.feed(bench.seen(0, Kind.PROPOSE, 1, 0, header))
    assert bench.of(Execute) == [Execute(header, must_succeed=False)]
    bench.feed(BlockExecuted(block_hash(header)))
    assert bench.votes() == [bench.statement(Kind.NOTARIZE, 1, 0, header)]


def test_block_built_for_a_view_that_was_left_or_on_another_parent_is_not_proposed() -> None:
    bench = leading(1)
    bench.fire(TimerKind.START)
    bench.feed(BlockBuilt(View(1), bench.block(1, parent_hash=Hash32(b"x" * 32))))
    assert not bench.votes()
    bench.feed(bench.certified(Kind.NULLIFY, 1))
    bench.feed(BlockBuilt(View(1), bench.block(1)))
    assert not bench.votes()


def test_leader_does_not_propose_in_a_view_it_nullified() -> None:
    bench = leading(1)
    bench.fire(TimerKind.NOTARIZE)
    bench.fire(TimerKind.START)
    assert not bench.of(Build)


def test_leader_with_an_unproven_view_below_asks_and_waits() -> None:
    bench = leading(4)
    bench.feed(bench.certified(Kind.NULLIFY, 1), bench.certified(Kind.NULLIFY, 3))
    bench.fire(TimerKind.START)
    assert bench.of(RequestCertificates)[0].views == (2,)
    assert not bench.of(Build)
    bench.feed(bench.certified(Kind.NULLIFY, 2))
    assert bench.of(Build)[0].parent == bench.context.opening


def test_leader_prefers_the_notarization_where_a_view_has_both_certificates() -> None:
    bench = leading(2)
    header = bench.notarise(1)
    bench.feed(bench.certified(Kind.NULLIFY, 1))
    bench.at_slot(2)
    bench.fire(TimerKind.START)
    assert bench.of(Build)[0].parent == ref(header)


def test_leader_goes_below_a_nullified_view_whose_body_does_not_come_within_the_first_timer() -> None:
    bench = leading(2)
    header = bench.block(1)
    bench.feed(bench.certified(Kind.NOTARIZE, 1, 0, header))
    bench.feed(bench.certified(Kind.NULLIFY, 1))
    bench.wait(1)
    bench.fire(TimerKind.START)
    assert not bench.of(Build)
    at = bench.timer(TimerKind.RETRY)
    assert at == bench.now + 2 * SECOND
    bench.now = at
    bench.fire(TimerKind.RETRY)
    assert bench.of(Build)[0].parent == bench.context.opening


def test_leader_waits_for_the_body_of_a_view_that_is_only_notarised() -> None:
    bench = leading(2)
    header = bench.block(1)
    bench.feed(bench.certified(Kind.NOTARIZE, 1, 0, header))
    bench.wait(30)
    bench.fire(TimerKind.START)
    assert not bench.of(Build)
    bench.feed(BlockArrived(header))
    bench.feed(BlockExecuted(block_hash(header)))
    assert bench.of(Build)[0].parent == ref(header)


def test_leader_whose_clock_stepped_back_waits_for_the_slot_after_the_parent() -> None:
    bench = leading(2)
    header = bench.finalise(1, slot=1)
    bench.now = bench.timing.start_of(1) + SECOND
    bench.fire(TimerKind.START)
    assert not bench.of(Build)
    bench.now = bench.timer(TimerKind.RETRY) or 0
    assert bench.now == bench.timing.start_of(2)
    bench.fire(TimerKind.RETRY)
    assert bench.of(Build) == [Build(View(2), ref(header), Slot(2))]


def test_leader_of_a_chain_too_long_above_finality_proposes_its_parent_again() -> None:
    bench = Bench(era_blocks=500)
    parent = bench.context.opening
    for view in range(1, MAX_UNFINALISED + 1):
        header = bench.notarise(view, view - 1, parent, slot=view)
        parent = ref(header)
    view = bench.view_led_by(0, MAX_UNFINALISED + 1)
    for skipped in range(MAX_UNFINALISED + 1, view):
        bench.feed(bench.certified(Kind.NULLIFY, skipped))
    bench.fire(TimerKind.START)
    assert not bench.of(Build)
    assert bench.votes() == [bench.statement(Kind.PROPOSE, view, MAX_UNFINALISED, parent.hash)]


def test_voters_stop_eight_blocks_after_leaders() -> None:
    bench = Bench((100, 100, 100, 1), own=3, era_blocks=500)
    parent = bench.context.opening
    for view in range(1, MAX_UNFINALISED + 8):
        parent = ref(bench.notarise(view, view - 1, parent, slot=view))
    view = bench.engine.view
    bench.at_slot(view)
    bench.feed(bench.proposal(view, view - 1, bench.block(view, parent, slot=view)))
    assert bench.of(Execute), "parent 71 above F is still built upon"
    parent = ref(bench.notarise(view, view - 1, parent, slot=view))
    view += 1
    bench.at_slot(view)
    bench.feed(bench.proposal(view, view - 1, bench.block(view, parent, slot=view)))
    assert not bench.of(Execute)
    assert not bench.votes(), "it is no deterministic failure: F may move"


def test_block_of_a_proposal_is_no_longer_fetched_once_its_view_was_left() -> None:
    bench = Bench()
    header = bench.block(1)
    bench.feed(bench.seen(bench.leader(1), Kind.PROPOSE, 1, 0, header))
    assert bench.of(RequestBlock)
    bench.feed(bench.certified(Kind.NULLIFY, 1))
    assert bench.of(CancelRequest) == [CancelRequest(block_hash(header))]


# --- R12 ------------------------------------------------------------------------------------------------------------


def test_level_counts_failed_views_above_finality_and_stretches_both_timers() -> None:
    bench = Bench()
    bench.at_slot(1)
    for view in range(1, 5):
        bench.feed(bench.certified(Kind.NULLIFY, view))
    assert bench.engine.level == 4
    start = bench.timer(TimerKind.START) or 0
    assert bench.timer(TimerKind.PROPOSE) == start + 3 * SECOND * 9 // 4
    assert bench.timer(TimerKind.NOTARIZE) == start + 5 * SECOND * 9 // 4


def test_views_left_by_a_notarization_count_until_finality_passes_them() -> None:
    bench = Bench()
    parent = bench.context.opening
    for view in range(1, 5):
        parent = ref(bench.notarise(view, view - 1, parent, slot=view))
    assert bench.engine.level == 4


def test_finalisation_takes_one_level_off_and_never_more() -> None:
    bench = Bench()
    for view in range(1, 7):
        bench.feed(bench.certified(Kind.NULLIFY, view))
    assert bench.engine.level == 6
    bench.finalise(7)
    assert bench.engine.level == 6, "one up by the notarization that was left, one down by the finalisation"
    bench.finalise(8, 7)
    assert bench.engine.level == 5


def test_level_stops_where_the_back_off_reaches_its_cap() -> None:
    bench = Bench()
    bench.feed(bench.certified(Kind.NULLIFY, 500))
    assert bench.engine.level == bench.timing.most_level == 10


# --- R13 ------------------------------------------------------------------------------------------------------------


def at_boundary(leads: tuple[int, ...] = ()) -> tuple[Bench, BlockRef]:
    """The last block of an era of two is notarised in view 2, not final."""
    bench = Bench(era_blocks=2, leads=leads)
    bench.at_slot(1)
    first = bench.finalise(1)
    bench.at_slot(2)
    return bench, ref(bench.notarise(2, 1, ref(first), slot=2))


def test_leader_on_the_boundary_proposes_it_again_at_once() -> None:
    bench, boundary = at_boundary(leads=(3,))
    assert bench.timer(TimerKind.START) == bench.now
    bench.fire(TimerKind.START)
    assert not bench.of(Build)
    assert bench.of(CastVote) == [CastVote(bench.statement(Kind.PROPOSE, 3, 2, boundary.hash), boundary.hash)]


def test_boundary_proposed_again_many_slots_later_is_notarized_whatever_its_slot() -> None:
    bench, boundary = at_boundary()
    bench.at_slot(40)
    bench.feed(bench.seen(bench.leader(3), Kind.PROPOSE, 3, 2, boundary.hash))
    assert bench.votes() == [bench.statement(Kind.NOTARIZE, 3, 2, boundary.hash)]


def test_boundary_proposed_again_with_another_hash_is_refused() -> None:
    bench, _ = at_boundary()
    bench.at_slot(3)
    twin = bench.block(3, BlockRef(bench.engine.finalised.hash, Height(1), Slot(1), ZERO_HASH), salt=9)
    bench.feed(bench.proposal(3, 2, twin))
    assert bench.votes() == [bench.statement(Kind.NULLIFY, 3)]


def test_block_after_the_boundary_is_refused_in_the_old_era() -> None:
    bench, boundary = at_boundary()
    bench.at_slot(3)
    bench.feed(bench.proposal(3, 2, bench.block(3, boundary)))
    assert bench.votes() == [bench.statement(Kind.NULLIFY, 3)]


def test_proposal_again_of_a_block_not_executed_yet_executes_it_first() -> None:
    bench = Bench(era_blocks=1)
    bench.at_slot(1)
    header = bench.block(1)
    bench.feed(bench.certified(Kind.NOTARIZE, 1, 0, header))
    bench.feed(bench.seen(bench.leader(2), Kind.PROPOSE, 2, 1, header))
    assert not bench.votes()
    bench.feed(BlockArrived(header))
    assert bench.of(Execute) == [Execute(header, must_succeed=True)]
    bench.feed(BlockExecuted(block_hash(header)))
    assert bench.statement(Kind.NOTARIZE, 2, 1, header) in bench.votes()


def test_boundary_final_in_a_later_view_by_its_own_proposal_finalises_no_block_twice() -> None:
    bench, boundary = at_boundary()
    bench.feed(bench.certified(Kind.NOTARIZE, 3, 2, boundary.hash))
    bench.feed(bench.certified(Kind.FINALIZE, 2, 1, boundary.hash))
    assert bench.of(Finalise)[0].chain == (boundary.hash,)
    assert bench.engine.view == 4
    bench.feed(bench.certified(Kind.FINALIZE, 3, 2, boundary.hash))
    assert bench.of(Finalise)[0].chain == ()


def test_nothing_is_voted_between_the_final_boundary_and_the_next_era() -> None:
    bench, boundary = at_boundary(leads=(3,))
    bench.feed(bench.certified(Kind.FINALIZE, 2, 1, boundary.hash))
    assert bench.of(Finalise)
    view = bench.engine.view
    for kind in TimerKind:
        bench.fire(kind)
        assert bench.effects == []
    assert bench.engine.view == view


def test_next_era_begins_in_view_one_on_the_boundary_and_keeps_the_level() -> None:
    bench, boundary = at_boundary()
    bench.feed(bench.certified(Kind.NULLIFY, 3), bench.certified(Kind.NULLIFY, 4), bench.certified(Kind.NULLIFY, 5))
    bench.feed(bench.certified(Kind.FINALIZE, 2, 1, boundary.hash))
    level = bench.engine.level
    assert level == 3
    bench.feed(EraOpened(EraContext(Era(1), bench.authorities, boundary)))
    assert (bench.engine.era, bench.engine.view, bench.engine.level) == (1, 1, level)
    assert (bench.engine.finalised, bench.engine.finalised_view) == (boundary, 0)
    assert bench.engine.boundary_certificate == bench.certificate_of(0, Kind.FINALIZE, 2, 1, boundary.hash)


def test_first_block_of_an_era_is_accepted_although_it_stands_on_a_boundary() -> None:
    opening = BlockRef(Hash32(b"O" * 32), Height(20), Slot(30), Hash32(b"P" * 32))
    bench = Bench(era=1, opening=opening)
    bench.at_slot(31)
    header = bench.block(1, opening)
    bench.feed(bench.proposal(1, 0, header))
    assert bench.of(Execute) == [Execute(header, must_succeed=False)]


def test_first_leader_of_an_era_builds_a_new_block_on_the_boundary() -> None:
    opening = BlockRef(Hash32(b"O" * 32), Height(20), Slot(30), Hash32(b"P" * 32))
    bench = Bench(era=1, opening=opening, leads=(1,))
    bench.at_slot(31)
    bench.fire(TimerKind.START)
    assert bench.of(Build) == [Build(View(1), opening, Slot(31))]


@pytest.mark.parametrize("era", [0, 2])
def test_votes_and_certificates_of_another_era_are_ignored(era: int) -> None:
    other = Bench(era=era)
    bench = Bench(era=1)
    votes = [other.seen(index, Kind.NULLIFY, 1) for index in range(4)]
    bench.feed(*votes, other.certified(Kind.NULLIFY, 7))
    assert bench.effects == []
    assert bench.engine.view == 1
