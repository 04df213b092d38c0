"""What a restarted engine makes of what storage remembers: R7, R9, R10, R11, the second signer (CHAIN 1.3, 1.8)."""

from __future__ import annotations

import pytest
from simulation.bench import SIGNATURE, Bench, ref
from yumad.consensus.effects import (
    BlockExecuted,
    BlockRef,
    Build,
    EraContext,
    EraOpened,
    Execute,
    Finalise,
    Halt,
    OfferStatement,
    PersistCertificate,
    Restarted,
    SecondSigner,
    StatementSeen,
    TimerKind,
)
from yumad.consensus.header import block_hash
from yumad.consensus.statement import Kind, SignedStatement, Statement, nullify
from yumad.consensus.types import Era, Hash32, Height, Micros, Slot, View

PLAIN = Bench()
"""Makes headers, votes and certificates before the engine under test exists: same set, same genesis."""


def restarted(**remembered: object) -> Bench:
    return Bench(restarted=remembered)


def test_own_votes_are_offered_again_and_not_contradicted() -> None:
    own = PLAIN.signed(0, Kind.NULLIFY, 1)
    bench = restarted(own_statements=(own,))
    assert bench.of(OfferStatement) == [OfferStatement(own)]
    assert own in bench.engine.held_statements()
    header = bench.block(1)
    bench.at_slot(1)
    bench.feed(bench.proposal(1, 0, header), BlockExecuted(block_hash(header)))
    assert not bench.votes()


def test_notarize_from_before_the_restart_is_not_followed_by_a_nullify_at_the_first_timer() -> None:
    header = PLAIN.block(1)
    bench = restarted(own_statements=(PLAIN.signed(0, Kind.NOTARIZE, 1, 0, header),), blocks=(header,))
    bench.fire(TimerKind.PROPOSE)
    assert not bench.votes()
    bench.fire(TimerKind.NOTARIZE)
    assert bench.votes() == [bench.statement(Kind.NULLIFY, 1)]


def test_finalize_from_before_the_restart_forbids_every_nullify() -> None:
    header = PLAIN.block(1)
    bench = restarted(own_statements=(PLAIN.signed(0, Kind.FINALIZE, 1, 0, header),))
    bench.fire(TimerKind.NOTARIZE)
    assert not bench.votes()


def test_leader_that_proposed_before_the_restart_does_not_build_again() -> None:
    made = Bench(leads=(1,))
    header = made.block(1)
    own = made.signed(0, Kind.PROPOSE, 1, 0, header)
    bench = Bench(leads=(1,), restarted={"own_statements": (own,), "blocks": (header,)})
    bench.at_slot(1)
    bench.fire(TimerKind.START)
    assert not bench.of(Build)
    assert bench.of(Execute) == [Execute(header, must_succeed=False)]
    bench.feed(BlockExecuted(block_hash(header)))
    assert bench.votes() == [bench.statement(Kind.NOTARIZE, 1, 0, header)]


def test_stored_notarization_moves_the_view_and_is_finalised_after_execution() -> None:
    header = PLAIN.block(1)
    bench = restarted(
        certificates=(PLAIN.certificate(Kind.NOTARIZE, 1, 0, header),),
        own_statements=(PLAIN.signed(0, Kind.NOTARIZE, 1, 0, header),),
        blocks=(header,),
    )
    assert bench.engine.view == 2
    assert bench.of(Execute) == [Execute(header, must_succeed=True)]
    bench.feed(BlockExecuted(block_hash(header)))
    assert bench.votes() == [bench.statement(Kind.FINALIZE, 1, 0, header)]


def test_stored_finalization_is_applied_after_a_crash_before_the_chain_store_committed() -> None:
    header = PLAIN.block(1)
    certificate = PLAIN.certificate(Kind.FINALIZE, 1, 0, header)
    own = PLAIN.signed(0, Kind.NOTARIZE, 1, 0, header)
    bench = restarted(certificates=(certificate,), own_statements=(own,), blocks=(header,))
    bench.feed(BlockExecuted(block_hash(header)))
    assert bench.of(Finalise) == [Finalise(certificate, block_hash(header), (block_hash(header),))]


def test_votes_far_above_the_first_view_are_taken_back_when_finality_is_far_above_it_too() -> None:
    header = PLAIN.block(1)
    finality = PLAIN.certificate(Kind.FINALIZE, 300, 299, header)
    own = PLAIN.signed(0, Kind.NULLIFY, 301)
    bench = restarted(finalised=ref(header), finalised_view=View(300), finality=finality, own_statements=(own,))
    assert bench.engine.view == 301
    assert own in bench.engine.held_statements()


def test_back_off_is_recomputed_from_the_views_above_finality() -> None:
    bench = restarted(certificates=tuple(PLAIN.certificate(Kind.NULLIFY, view) for view in range(1, 6)))
    assert bench.engine.level == 5


def test_own_late_finalize_votes_stay_on_offer() -> None:
    header = PLAIN.block(1)
    late = PLAIN.signed(0, Kind.FINALIZE, 1, 0, header)
    finality = PLAIN.certificate(Kind.FINALIZE, 1, 0, header, signers=(1, 2, 3))
    bench = restarted(finalised=ref(header), finalised_view=View(1), finality=finality, own_statements=(late,))
    assert late in bench.engine.held_statements()
    assert not bench.of(SecondSigner)


def test_stored_certificates_that_contradict_stop_at_start() -> None:
    a, b = PLAIN.block(1), PLAIN.block(1, salt=1)
    pair = (PLAIN.certificate(Kind.NOTARIZE, 1, 0, a), PLAIN.certificate(Kind.NOTARIZE, 1, 0, b))
    bench = restarted(certificates=pair)
    assert bench.of(Halt)[0].certificates == pair


def test_single_authority_replays_its_votes_to_finality_by_itself() -> None:
    """The quorum completes in the middle of the replay: the table changes while it is read back."""
    made = Bench((1,))
    header = made.block(1)
    own = tuple(made.signed(0, kind, 1, 0, header) for kind in (Kind.PROPOSE, Kind.NOTARIZE, Kind.FINALIZE))
    bench = Bench((1,), restarted={"own_statements": own, "blocks": (header,)})
    assert [kept.certificate.kind for kept in bench.of(PersistCertificate)] == [Kind.NOTARIZE, Kind.FINALIZE]
    bench.feed(BlockExecuted(block_hash(header)))
    assert bench.of(Finalise)
    assert bench.engine.view == 2


# --- the floor and the second signer ---------------------------------------------------------------------------------


def test_nothing_is_cast_at_or_below_the_guards_floor() -> None:
    bench = restarted(vote_floor=View(2))
    bench.fire(TimerKind.NOTARIZE)
    assert not bench.votes()
    bench.feed(bench.certified(Kind.NULLIFY, 2))
    bench.fire(TimerKind.NOTARIZE)
    assert bench.votes() == [bench.statement(Kind.NULLIFY, 3)]


def test_genuine_old_statement_below_the_floor_proves_no_second_signer() -> None:
    bench = restarted(vote_floor=View(2))
    bench.feed(bench.seen(0, Kind.NOTARIZE, 2, 1, Hash32(b"o" * 32)))
    assert not bench.of(SecondSigner)
    assert bench.engine.is_voter


def test_statement_of_the_own_key_that_the_guard_does_not_know_silences_it_for_the_era() -> None:
    bench = Bench()
    foreign = bench.signed(0, Kind.NULLIFY, 1)
    bench.feed(bench.seen(0, Kind.NULLIFY, 1))
    assert bench.of(SecondSigner) == [SecondSigner(foreign)]
    assert not bench.engine.is_voter
    bench.fire(TimerKind.NOTARIZE)
    assert not bench.votes()


def test_own_vote_coming_back_from_the_network_proves_nothing() -> None:
    bench = Bench()
    bench.fire(TimerKind.NOTARIZE)
    bench.feed(bench.seen(0, Kind.NULLIFY, 1), bench.seen(0, Kind.NULLIFY, 1))
    assert not bench.of(SecondSigner)


@pytest.mark.parametrize("may_sign_again", [True, False])
def test_next_era_asks_the_guard_whether_the_key_may_sign_again(may_sign_again: bool) -> None:
    bench = Bench(era_blocks=1, abstains=lambda context: context.era > 0 and not may_sign_again)
    bench.feed(bench.seen(0, Kind.NULLIFY, 2))
    assert not bench.engine.is_voter
    boundary = bench.finalise(1)
    bench.feed(EraOpened(EraContext(Era(1), bench.authorities, ref(boundary))))
    assert bench.engine.is_voter is may_sign_again


def test_start_that_listens_signs_nothing_new_until_then_and_acts_on_what_came_meanwhile() -> None:
    header = PLAIN.block(1)
    until = Micros(PLAIN.timing.start_of(3))
    bench = restarted(listens_until=until)
    assert bench.timer(TimerKind.START) == until
    bench.at_slot(1)
    bench.feed(bench.proposal(1, 0, header), bench.certified(Kind.NOTARIZE, 1, 0, header))
    bench.feed(BlockExecuted(block_hash(header)))
    assert not bench.votes()
    assert bench.timer(TimerKind.START) is None
    bench.now = until
    bench.fire(TimerKind.START)
    assert bench.votes() == [bench.statement(Kind.FINALIZE, 1, 0, header)]


def test_foreign_own_statement_while_listening_silences_the_key_before_it_signed() -> None:
    bench = restarted(listens_until=Micros(PLAIN.timing.start_of(3)))
    bench.feed(bench.seen(0, Kind.NULLIFY, 1))
    assert bench.of(SecondSigner)
    bench.at_slot(9)
    bench.fire(TimerKind.NOTARIZE)
    assert not bench.votes()


# --- eras that the guard remembers ----------------------------------------------------------------------------------


def test_era_entered_after_a_resync_recalls_own_votes_and_floor_of_the_guard() -> None:
    bench = Bench(era_blocks=1)
    opening = ref(bench.finalise(1))
    own = SignedStatement(nullify(Era(1), View(4)), 0, SIGNATURE)
    context = EraContext(Era(1), bench.authorities, opening)
    bench.feed(Restarted(context, opening, View(0), None, (), (own,), (), View(3)))
    assert bench.of(OfferStatement) == [OfferStatement(own)]
    bench.feed(StatementSeen(own), bench.seen(0, Kind.NOTARIZE, 3, 0, Hash32(b"o" * 32)))
    assert not bench.of(SecondSigner)
    bench.fire(TimerKind.NOTARIZE)
    assert not bench.votes(), "view 1 lies below the floor"


def test_sync_into_an_era_that_the_guard_voted_in_contradicts_nothing() -> None:
    bench = Bench()
    target = BlockRef(Hash32(b"T" * 32), Height(45), Slot(60), Hash32(b"S" * 32))
    opening = BlockRef(Hash32(b"O" * 32), Height(40), Slot(50), Hash32(b"P" * 32))
    own = SignedStatement(Statement(Kind.FINALIZE, Era(2), View(6), View(5), Hash32(b"f" * 32)), 0, SIGNATURE)
    context = EraContext(Era(2), bench.authorities, opening)
    bench.feed(Restarted(context, target, View(5), None, (), (own,), ()))
    assert bench.engine.view == 6
    bench.fire(TimerKind.NOTARIZE)
    assert not bench.votes(), "the own finalize of view 6 forbids the nullify"


def test_restart_file_opens_the_era_in_its_middle_in_a_new_vote_domain() -> None:
    """F = (0, point), views from 1; the first block stands on the point, whatever era rule its height would meet."""
    point = BlockRef(Hash32(b"R" * 32), Height(27), Slot(90), Hash32(b"P" * 32))
    bench = Bench(era=1, opening=point)
    bench.at_slot(95)
    header = bench.block(1, point)
    bench.feed(bench.proposal(1, 0, header))
    assert bench.of(Execute) == [Execute(header, must_succeed=False)]
    assert header.height == 28
