"""What an authority may still sign: R8, the floor of R7 and the birth rule (CHAIN 1.3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yumad.consensus.statement import Kind, Statement, nullify
from yumad.consensus.timing import Timing
from yumad.consensus.types import Era, Hash32, Micros, Slot, View
from yumad.consensus.vote_guard import may_sign, refusal

A, B = Hash32(b"a" * 32), Hash32(b"b" * 32)
TIMING = Timing(Micros(1_000_000_000), Micros(12_000_000), 20)


def vote(kind: Kind, block: Hash32 = A, view: int = 5, parent: int = 4, era: int = 2) -> Statement:
    if kind is Kind.NULLIFY:
        return nullify(Era(era), View(view))
    return Statement(kind, Era(era), View(view), View(parent), block)


@pytest.mark.parametrize("kind", list(Kind))
def test_first_statement_of_a_view_is_signed(kind: Kind) -> None:
    assert refusal([], None, vote(kind)) is None


@pytest.mark.parametrize("kind", list(Kind))
def test_identical_statement_is_signed_again_even_at_the_floor(kind: Kind) -> None:
    assert refusal([vote(kind)], (Era(2), View(9)), vote(kind)) is None


@pytest.mark.parametrize("kind", [Kind.PROPOSE, Kind.NOTARIZE, Kind.FINALIZE])
def test_second_statement_of_a_kind_in_a_view_is_refused(kind: Kind) -> None:
    reason = refusal([vote(kind, A)], None, vote(kind, B))
    assert reason is not None
    assert "another" in reason
    assert refusal([vote(kind, A)], None, vote(kind, A, parent=3)) is not None


def test_nullify_and_finalize_of_one_view_exclude_each_other() -> None:
    assert refusal([vote(Kind.NULLIFY)], None, vote(Kind.FINALIZE)) is not None
    assert refusal([vote(Kind.FINALIZE)], None, vote(Kind.NULLIFY)) is not None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (vote(Kind.NOTARIZE), vote(Kind.NULLIFY)),
        (vote(Kind.NOTARIZE, A), vote(Kind.FINALIZE, B)),
        (vote(Kind.PROPOSE), vote(Kind.NOTARIZE, B)),
        (vote(Kind.FINALIZE, A), vote(Kind.FINALIZE, B, view=6, parent=5)),
        (vote(Kind.FINALIZE, A, view=5), vote(Kind.NULLIFY, view=6)),
        (vote(Kind.FINALIZE, A, era=1), vote(Kind.NULLIFY, era=2)),
    ],
)
def test_legal_pairs_are_signed(first: Statement, second: Statement) -> None:
    assert refusal([first], None, second) is None


@pytest.mark.parametrize(
    ("era", "view", "is_allowed"), [(2, 5, False), (2, 4, False), (1, 99, False), (2, 6, True), (3, 1, True)]
)
def test_nothing_new_is_signed_at_or_below_the_floor(era: int, view: int, is_allowed: bool) -> None:
    reason = refusal([], (Era(2), View(5)), vote(Kind.NOTARIZE, view=view, parent=0, era=era))
    assert (reason is None) is is_allowed


statements = st.builds(
    vote, st.sampled_from(list(Kind)), st.sampled_from([A, B]), st.integers(1, 3), st.just(0), st.integers(0, 1)
)


@given(st.lists(statements, max_size=30))
def test_whatever_is_asked_what_was_signed_never_conflicts(asked: list[Statement]) -> None:
    signed: list[Statement] = []
    for statement in asked:
        if refusal(signed, None, statement) is None and statement not in signed:
            signed.append(statement)
    for one in signed:
        for other in signed:
            same_view = (one.era, one.view) == (other.era, other.view)
            assert one == other or not (same_view and one.kind is other.kind)
            assert not (same_view and {one.kind, other.kind} == {Kind.NULLIFY, Kind.FINALIZE})


def test_guard_made_with_its_key_signs_at_once_in_era_zero() -> None:
    assert may_sign(None, Slot(0), TIMING)


def test_lost_guard_abstains_through_era_zero_even_before_genesis_time() -> None:
    for born in (0, 1_000_000_000, 5_000_000_000):
        assert not may_sign(Micros(born), Slot(0), TIMING)


def test_lost_guard_signs_in_an_era_opened_after_birth_and_twice_the_drift() -> None:
    born = Micros(TIMING.start_of(100) - 2 * TIMING.drift - 1)
    assert not may_sign(born, Slot(99), TIMING)
    assert may_sign(born, Slot(100), TIMING)
    assert not may_sign(Micros(born + 1), Slot(100), TIMING)
    assert may_sign(Micros(born + 1), Slot(101), TIMING)
