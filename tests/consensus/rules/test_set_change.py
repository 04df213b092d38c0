"""Who sits in the next set: the pure rules of CHAIN 1.3 (set change)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yumad.consensus.authority import MAX_AUTHORITIES, Authority, AuthoritySet
from yumad.consensus.rules.v1.set_change import Candidate, next_members, next_set
from yumad.consensus.types import AccountId, AuthorityKey, Hash32, Rao

SEED = Hash32(bytes(32))


def candidate(number: int, weight: int = 100, **fields: object) -> Candidate:
    made = Candidate(
        hotkey=AccountId(number.to_bytes(32, "big")),
        key=AuthorityKey((1000 + number).to_bytes(32, "big")),
        weight=Rao(weight),
        heartbeat=True,
        member=True,
        idle=False,
        jailed=False,
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def numbers(members: tuple[Candidate, ...]) -> list[int]:
    return [int.from_bytes(member.hotkey, "big") for member in members]


def test_everybody_present_and_heavy_enough_is_in_sorted_by_key() -> None:
    assert numbers(next_members([candidate(3), candidate(1), candidate(2)], 100, 4)) == [1, 2, 3]


@pytest.mark.parametrize(("weight", "inside"), [(99, False), (100, True), (0, False)])
def test_weight_below_the_minimum_stays_out(weight: int, inside: bool) -> None:
    assert bool(next_members([candidate(1, weight)], 100, 4)) is inside


def test_weight_zero_stays_out_even_without_a_minimum() -> None:
    assert next_members([candidate(1, 0)], 0, 4) == ()


@pytest.mark.parametrize("fault", [{"heartbeat": False}, {"idle": True}])
def test_absent_member_is_left_out_where_enough_others_remain(fault: dict[str, bool]) -> None:
    candidates = [candidate(n) for n in range(1, 5)] + [candidate(5, 900, **fault)]
    assert numbers(next_members(candidates, 1, 4)) == [1, 2, 3, 4]


def test_heaviest_absent_members_stay_up_to_the_smallest_set() -> None:
    absent = [candidate(n, n * 100, heartbeat=False) for n in range(2, 8)]
    assert numbers(next_members([candidate(1), *absent], 1, 4)) == [1, 5, 6, 7]


def test_absent_newcomer_does_not_fill_the_smallest_set() -> None:
    absent = [candidate(2, heartbeat=False, member=False), candidate(3, heartbeat=False)]
    assert numbers(next_members([candidate(1), *absent], 1, 4)) == [1, 3]


def test_jailed_member_is_out_even_if_the_set_shrinks_below_the_smallest() -> None:
    assert numbers(next_members([candidate(1), candidate(2, jailed=True)], 1, 4)) == [1]


def test_more_than_the_largest_set_keeps_the_heaviest() -> None:
    candidates = [candidate(n, 1000 - n) for n in range(MAX_AUTHORITIES + 7)]
    assert numbers(next_members(candidates, 1, 4)) == list(range(MAX_AUTHORITIES))


def test_equal_weights_at_the_edge_keep_the_larger_keys() -> None:
    candidates = [candidate(n) for n in range(MAX_AUTHORITIES + 1)]
    assert numbers(next_members(candidates, 1, 4)) == list(range(1, MAX_AUTHORITIES + 1))


def test_empty_set_keeps_the_old_members_under_the_new_seed() -> None:
    old = AuthoritySet((Authority(AuthorityKey(bytes(32)), 5),), Hash32(bytes([1] * 32)))
    kept = next_set((), old, SEED)
    assert (kept.members, kept.seed) == (old.members, SEED)


@given(
    st.lists(st.tuples(st.integers(0, 300), st.booleans(), st.booleans(), st.booleans(), st.booleans()), max_size=12),
    st.randoms(use_true_random=False),
)
def test_next_members_do_not_depend_on_the_order_of_candidates(
    rows: list[tuple[int, bool, bool, bool, bool]], random: object
) -> None:
    candidates = [
        candidate(n, weight, heartbeat=beat, member=member, idle=idle and member, jailed=jailed)
        for n, (weight, beat, member, idle, jailed) in enumerate(rows)
    ]
    chosen = next_members(candidates, 100, 4)
    shuffled = list(candidates)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert next_members(shuffled, 100, 4) == chosen
    assert all(member.weight >= 100 and not member.jailed for member in chosen)
    assert len(chosen) >= min(4, sum(c.weight >= 100 and not c.jailed and (c.member or c.present) for c in candidates))
