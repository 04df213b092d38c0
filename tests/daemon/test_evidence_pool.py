"""Evidence that waits for a block: one piece an offender and era, all of it offered, gone when included or too old."""

from __future__ import annotations

from yumad.consensus.evidence import Evidence, make_evidence
from yumad.consensus.statement import Kind, SignedStatement, Statement
from yumad.consensus.types import Era, Hash32, Signature, View
from yumad.daemon.evidence_pool import EvidencePool


def offence(era: int, index: int, view: int = 3) -> Evidence:
    """Two notarize statements of one view; nobody checks signatures here."""
    one, other = (
        SignedStatement(
            Statement(Kind.NOTARIZE, Era(era), View(view), View(view - 1), Hash32(bytes([n]) * 32)),
            index,
            Signature(bytes(64)),
        )
        for n in (1, 2)
    )
    return make_evidence(one, other)


def test_one_piece_is_kept_of_an_offender_in_an_era() -> None:
    pool = EvidencePool()
    assert pool.add(offence(1, 2))
    assert not pool.add(offence(1, 2, view=9))
    assert pool.add(offence(2, 2))
    assert len(pool.for_block()) == 2


def test_all_is_offered_oldest_era_first_since_the_rules_choose() -> None:
    """Four pieces that the chain covers already used to keep the fifth from ever being included."""
    pool = EvidencePool()
    for era in (5, 3, 4):
        for index in (1, 0):
            pool.add(offence(era, index))
    named = [(piece.first.statement.era, piece.first.index) for piece in pool.for_block()]
    assert named == [(3, 0), (3, 1), (4, 0), (4, 1), (5, 0), (5, 1)]


def test_pool_is_bounded() -> None:
    pool = EvidencePool()
    assert sum(pool.add(offence(1, index)) for index in range(200)) == 64


def test_included_and_old_pieces_are_forgotten() -> None:
    pool = EvidencePool()
    for era in range(5):
        pool.add(offence(era, 0))
    pool.drop((offence(4, 0),), 2)
    assert [piece.first.statement.era for piece in pool.for_block()] == [2, 3]
