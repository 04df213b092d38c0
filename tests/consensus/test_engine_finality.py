"""Finality, contradictions, late votes and sync: R7, R8, R14 (CHAIN 1.3)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from simulation.bench import SIGNATURE, Bench, ref
from yumad.consensus.certificate import Certificate
from yumad.consensus.effects import (
    BehindFinality,
    BlockArrived,
    BlockExecuted,
    BlockRef,
    CastVote,
    CertificateSeen,
    Execute,
    Finalise,
    Halt,
    PersistCertificate,
    ReportEvidence,
    RequestBlock,
    StatementSeen,
    SyncAdvanced,
    TimerKind,
)
from yumad.consensus.evidence import make_evidence
from yumad.consensus.header import block_hash
from yumad.consensus.statement import Kind, SignedStatement
from yumad.consensus.timing import LATE_FINALIZE, VIEW_WINDOW
from yumad.consensus.types import Hash32, Height, Slot, View

# --- R7 -------------------------------------------------------------------------------------------------------------


def test_finalization_makes_all_ancestors_final_in_order() -> None:
    bench = Bench()
    first = bench.notarise(1, slot=1)
    second = bench.notarise(2, 1, ref(first), slot=2)
    third = bench.notarise(3, 2, ref(second), slot=3)
    bench.feed(bench.certified(Kind.FINALIZE, 3, 2, third))
    assert bench.of(Finalise)[0].chain == tuple(block_hash(header) for header in (first, second, third))
    assert bench.engine.held_count[1:] == (0, 0)


def test_finalization_waits_for_the_own_execution_of_its_chain() -> None:
    bench = Bench()
    header = bench.block(1)
    bench.feed(bench.proposal(1, 0, header), bench.certified(Kind.FINALIZE, 1, 0, header))
    assert not bench.of(Finalise)
    assert bench.of(PersistCertificate)
    assert bench.engine.view == 2
    bench.feed(BlockExecuted(block_hash(header)))
    assert bench.of(Finalise)


def test_finalization_of_an_unknown_block_is_handed_to_sync_and_its_chain_fetched_backwards() -> None:
    bench = Bench()
    first = bench.block(1)
    second = bench.block(2, ref(first), slot=2)
    certificate = bench.certificate(Kind.FINALIZE, 2, 1, second)
    bench.feed(CertificateSeen(certificate))
    assert bench.of(BehindFinality) == [BehindFinality(certificate)]
    assert bench.of(RequestBlock) == [RequestBlock(block_hash(second))]
    bench.feed(BlockArrived(second))
    assert bench.of(RequestBlock) == [RequestBlock(block_hash(first))]
    bench.feed(BlockArrived(first))
    assert bench.of(Execute) == [Execute(first, must_succeed=True)]
    bench.feed(BlockExecuted(block_hash(first)))
    assert bench.of(Execute) == [Execute(second, must_succeed=True)]
    bench.feed(BlockExecuted(block_hash(second)))
    assert bench.of(Finalise)[0].chain == (block_hash(first), block_hash(second))


def test_chain_too_deep_to_fetch_one_by_one_is_left_to_sync() -> None:
    bench = Bench(era_blocks=1_000)
    far = bench.block(1, height=Height(100), parent_hash=Hash32(b"p" * 32))
    bench.feed(bench.certified(Kind.FINALIZE, 90, 89, far))
    bench.feed(BlockArrived(far))
    assert not bench.of(RequestBlock)


def test_highest_finalization_at_hand_is_taken_first() -> None:
    bench = Bench()
    first = bench.notarise(1, slot=1)
    second = bench.notarise(2, 1, ref(first), slot=2)
    bench.feed(bench.certified(Kind.FINALIZE, 2, 1, second))
    assert len(bench.of(Finalise)) == 1
    assert bench.feed(bench.certified(Kind.FINALIZE, 1, 0, first)) == []


def test_certificate_at_or_below_finality_that_agrees_is_dropped_silently() -> None:
    bench = Bench()
    first = bench.finalise(1, slot=1)
    bench.finalise(2, 1, ref(first), slot=2)
    assert bench.feed(bench.certified(Kind.NULLIFY, 1), bench.certified(Kind.NOTARIZE, 1, 0, first)) == []


# --- R8: contradictions stop the process and show both --------------------------------------------------------------


def assert_stopped(bench: Bench, *certificates: Certificate) -> None:
    halts = bench.of(Halt)
    assert len(halts) == 1
    assert halts[0].certificates == certificates
    assert bench.engine.halted == halts[0]
    assert bench.fire(TimerKind.NOTARIZE) == []


def test_second_notarization_of_a_view_for_another_block_stops() -> None:
    bench = Bench()
    a, b = bench.block(1), bench.block(1, salt=1)
    bench.feed(bench.certified(Kind.NOTARIZE, 1, 0, a), bench.certified(Kind.NOTARIZE, 1, 0, b))
    assert_stopped(bench, bench.certificate(Kind.NOTARIZE, 1, 0, a), bench.certificate(Kind.NOTARIZE, 1, 0, b))


def test_notarization_and_nullification_of_one_view_are_legal() -> None:
    bench = Bench()
    bench.feed(bench.certified(Kind.NOTARIZE, 1, 0, bench.block(1)), bench.certified(Kind.NULLIFY, 1))
    assert not bench.of(Halt)


@pytest.mark.parametrize("is_final_first", [True, False])
def test_finalization_and_nullification_of_one_view_stop(is_final_first: bool) -> None:
    bench = Bench()
    pair = [bench.certificate(Kind.FINALIZE, 1, 0, bench.block(1)), bench.certificate(Kind.NULLIFY, 1)]
    pair = pair if is_final_first else pair[::-1]
    bench.feed(*(CertificateSeen(certificate) for certificate in pair))
    assert_stopped(bench, *pair)


def test_finalization_of_another_block_than_the_notarised_one_stops() -> None:
    bench = Bench()
    pair = [
        bench.certificate(Kind.NOTARIZE, 1, 0, bench.block(1)),
        bench.certificate(Kind.FINALIZE, 1, 0, bench.block(1, salt=1)),
    ]
    bench.feed(*(CertificateSeen(certificate) for certificate in pair))
    assert_stopped(bench, *pair)


def test_nullification_of_the_finalised_view_stops() -> None:
    bench = Bench()
    final = bench.certificate(Kind.FINALIZE, 1, 0, bench.finalise(1))
    bench.feed(bench.certified(Kind.NULLIFY, 1))
    assert_stopped(bench, final, bench.certificate(Kind.NULLIFY, 1))


def test_notarization_whose_parent_view_lies_below_finality_stops() -> None:
    bench = Bench()
    opening = bench.context.opening
    final = bench.certificate(Kind.FINALIZE, 2, 0, bench.finalise_after_gap())
    stale = bench.certificate(Kind.NOTARIZE, 3, 0, bench.block(3, opening))
    bench.feed(CertificateSeen(stale))
    assert_stopped(bench, final, stale)


def test_notarised_block_beside_the_finalised_one_stops_when_it_is_seen() -> None:
    bench = Bench()
    final = bench.certificate(Kind.FINALIZE, 1, 0, bench.finalise(1))
    odd = bench.block(2, parent_hash=Hash32(b"q" * 32))
    certificate = bench.certificate(Kind.NOTARIZE, 2, 1, odd)
    bench.feed(CertificateSeen(certificate), BlockArrived(odd))
    assert_stopped(bench, final, certificate)


def test_two_finalised_blocks_on_two_branches_stop() -> None:
    bench = Bench()
    a, b = bench.block(1), bench.block(2, salt=1)
    low, high = bench.certificate(Kind.FINALIZE, 1, 0, a), bench.certificate(Kind.FINALIZE, 2, 0, b)
    bench.feed(CertificateSeen(low), CertificateSeen(high), BlockArrived(b), BlockExecuted(block_hash(b)))
    assert_stopped(bench, low, high)


# --- R14 ------------------------------------------------------------------------------------------------------------


def test_first_vote_counts_the_conflicting_one_is_evidence_and_the_third_is_dropped() -> None:
    bench = Bench()
    a, b, c = bench.block(1), bench.block(1, salt=1), bench.block(1, salt=2)
    bench.feed(bench.seen(1, Kind.NOTARIZE, 1, 0, a))
    bench.feed(bench.seen(1, Kind.NOTARIZE, 1, 0, b))
    pair = make_evidence(bench.signed(1, Kind.NOTARIZE, 1, 0, a), bench.signed(1, Kind.NOTARIZE, 1, 0, b))
    assert bench.of(ReportEvidence) == [ReportEvidence(pair)]
    assert bench.feed(bench.seen(1, Kind.NOTARIZE, 1, 0, c)) == []
    assert bench.engine.held_count[0] == 2
    bench.feed(bench.seen(2, Kind.NOTARIZE, 1, 0, b), bench.seen(3, Kind.NOTARIZE, 1, 0, b))
    assert not bench.of(PersistCertificate), "the second vote of member 1 does not count for b"


def test_one_report_covers_the_further_offences_of_a_member_in_the_era() -> None:
    bench = Bench()
    bench.feed(bench.seen(1, Kind.NULLIFY, 1), bench.seen(1, Kind.FINALIZE, 1, 0, bench.block(1)))
    assert len(bench.of(ReportEvidence)) == 1
    bench.feed(bench.seen(1, Kind.NULLIFY, 2), bench.seen(1, Kind.FINALIZE, 2, 0, bench.block(2)))
    assert not bench.of(ReportEvidence)
    bench.feed(bench.seen(2, Kind.FINALIZE, 2, 0, bench.block(2)), bench.seen(2, Kind.NULLIFY, 2))
    assert len(bench.of(ReportEvidence)) == 1


def test_legal_pairs_are_never_reported() -> None:
    bench = Bench()
    a, b = bench.block(1), bench.block(1, salt=1)
    bench.feed(bench.seen(1, Kind.NOTARIZE, 1, 0, a), bench.seen(1, Kind.NULLIFY, 1))
    bench.feed(bench.seen(2, Kind.NOTARIZE, 1, 0, a), bench.seen(2, Kind.FINALIZE, 1, 0, b))
    other = replace(bench.signed(3, Kind.NULLIFY, 1), signature=bytes([1]) * 64)
    bench.feed(bench.seen(3, Kind.NULLIFY, 1), StatementSeen(other))
    assert not bench.of(ReportEvidence)


def test_second_proposal_of_a_leader_is_evidence_and_not_executed() -> None:
    bench = Bench()
    bench.at_slot(1)
    bench.feed(bench.proposal(1, 0, bench.block(1)))
    bench.feed(bench.proposal(1, 0, bench.block(1, salt=1)))
    assert bench.of(ReportEvidence)
    assert not bench.of(Execute)


def test_far_future_votes_and_proposals_are_dropped_and_memory_stays_bounded() -> None:
    bench = Bench()
    for view in range(1, 400):
        for index in range(1, 4):
            bench.feed(bench.seen(index, Kind.NOTARIZE, view, 0, Hash32(bytes([index]) * 32)))
            bench.feed(bench.seen(index, Kind.NOTARIZE, view, 0, Hash32(bytes([9]) * 32)))
        header = bench.block(view)
        bench.feed(bench.proposal(view, 0, header))
    votes, certificates, blocks = bench.engine.held_count
    assert votes <= 3 * 2 * (VIEW_WINDOW + 1) + VIEW_WINDOW + 1
    assert certificates == 0
    assert blocks <= 2
    assert bench.feed(bench.seen(1, Kind.NULLIFY, VIEW_WINDOW + 2)) == []


def test_votes_far_below_go_once_their_view_has_a_certificate() -> None:
    bench = Bench()
    bench.feed(bench.seen(1, Kind.NULLIFY, 2), bench.seen(1, Kind.NULLIFY, 3))
    bench.feed(bench.certified(Kind.NULLIFY, 2), bench.certified(Kind.NULLIFY, 70))
    assert [signed.statement.view for signed in bench.engine.held_statements()] == [3]
    bench.feed(bench.seen(2, Kind.NULLIFY, 3), bench.seen(2, Kind.NULLIFY, 2))
    assert [signed.statement.view for signed in bench.engine.held_statements()] == [3, 3]


# --- late finalize votes --------------------------------------------------------------------------------------------


def finalised_views(bench: Bench, count: int) -> None:
    parent = bench.context.opening
    for view in range(1, count + 1):
        header = bench.notarise(view, view - 1, parent, slot=view)
        votes = [bench.seen(index, Kind.FINALIZE, view, view - 1, header) for index in (1, 2, 3)]
        bench.feed(*votes)
        parent = ref(header)


def test_late_finalize_votes_widen_the_certificate_of_the_last_eight_finalised_views() -> None:
    bench = Bench()
    finalised_views(bench, LATE_FINALIZE + 2)
    records = bench.engine.finality_records()
    assert [record.certificate.statement.view for record in records] == list(range(3, 11))
    record = records[0]
    assert record.widest().signers == (1, 2, 3)
    late = SignedStatement(record.certificate.statement, 0, SIGNATURE)
    bench.feed(StatementSeen(late))
    assert bench.engine.finality_records()[0].widest().signers == (0, 1, 2, 3)
    assert late in bench.engine.held_statements()


def test_late_vote_for_another_block_or_an_older_view_is_dropped() -> None:
    bench = Bench()
    finalised_views(bench, LATE_FINALIZE + 2)
    bench.feed(
        bench.seen(0, Kind.FINALIZE, 5, 4, Hash32(b"x" * 32)), bench.seen(0, Kind.NOTARIZE, 6, 5, Hash32(b"x" * 32))
    )
    bench.feed(bench.seen(0, Kind.FINALIZE, 2, 1, Hash32(b"x" * 32)))
    assert all(record.widest().signers == (1, 2, 3) for record in bench.engine.finality_records())


# --- sync and status ------------------------------------------------------------------------------------------------


def test_sync_moves_finality_and_the_view() -> None:
    bench = Bench()
    bench.feed(bench.certified(Kind.NULLIFY, 3))
    target = BlockRef(Hash32(b"T" * 32), Height(9), Slot(30), Hash32(b"S" * 32))
    certificate = bench.certificate(Kind.FINALIZE, 12, 11, target.hash)
    bench.feed(SyncAdvanced(bench.context, target, View(12), certificate))
    assert (bench.engine.finalised, bench.engine.finalised_view, bench.engine.view) == (target, 12, 13)
    assert bench.engine.finality == certificate
    assert bench.engine.held_certificates() == (certificate,)


def test_sync_to_an_older_point_changes_nothing() -> None:
    bench = Bench()
    header = bench.finalise(1)
    certificate = bench.certificate(Kind.FINALIZE, 1, 0, header)
    assert bench.feed(SyncAdvanced(bench.context, bench.context.opening, View(0), None)) == []
    assert bench.engine.finality == certificate


def test_head_is_the_highest_notarised_block_that_reaches_finality() -> None:
    bench = Bench()
    assert bench.engine.head == bench.context.opening
    first = bench.notarise(1, slot=1)
    unknown = bench.block(2, ref(first), slot=2)
    bench.feed(bench.certified(Kind.NOTARIZE, 2, 1, unknown))
    assert bench.engine.head == ref(first)
    bench.feed(BlockArrived(unknown))
    assert bench.engine.head == ref(unknown)


def test_missing_weight_names_who_is_silent_in_the_current_view() -> None:
    bench = Bench((4, 3, 2, 1))
    bench.feed(bench.seen(1, Kind.NULLIFY, 1), bench.seen(3, Kind.NULLIFY, 1))
    missing, silent = bench.engine.missing_weight()
    assert missing == bench.authorities.quorum - 4 == 3
    assert silent == tuple((bench.authorities.members[index].key, weight) for index, weight in ((0, 4), (2, 2)))


def test_no_vote_is_cast_twice() -> None:
    bench = Bench()
    header = bench.notarise(1)
    again = bench.feed(bench.certified(Kind.NOTARIZE, 1, 0, header), bench.proposal(1, 0, header))
    assert not [effect for effect in again if isinstance(effect, CastVote)]


def test_blocks_of_long_left_views_that_no_certificate_names_are_forgotten_with_their_states() -> None:
    bench = Bench()
    bench.at_slot(1)
    headers = []
    for view in range(1, 20):
        header = bench.block(view, salt=view)
        headers.append(header)
        if bench.leader(view) != bench.own:
            bench.feed(bench.proposal(view, 0, header), BlockExecuted(block_hash(header)))
        bench.feed(bench.certified(Kind.NULLIFY, view))
    assert bench.engine.held_count[2] <= 8
    bench.feed(bench.certified(Kind.NOTARIZE, 1, 0, headers[0]))
    assert bench.of(RequestBlock) == [RequestBlock(block_hash(headers[0]))]
    bench.feed(BlockArrived(headers[0]))
    assert bench.of(Execute) == [Execute(headers[0], must_succeed=True)]


def test_nothing_follows_a_halt_in_the_same_effects() -> None:
    bench = Bench()
    a, b = bench.block(1), bench.block(1, salt=1)
    effects = bench.feed(bench.certified(Kind.NOTARIZE, 1, 0, a), bench.certified(Kind.NOTARIZE, 1, 0, b))
    assert isinstance(effects[-1], Halt)
