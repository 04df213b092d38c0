"""Single steps of the epoch against their plain form: median, liquid rates, stake, permits, commits, mechanisms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_epoch import cursor, dense, narrowing_median, norm
from yumad.consensus.fixed_point import I32F32, exponential, u16_to_proportion
from yumad.consensus.rules.v1.yuma.activity import active_uids, top_k
from yumad.consensus.rules.v1.yuma.bonds import new_bond_share
from yumad.consensus.rules.v1.yuma.commits import commit_blocks
from yumad.consensus.rules.v1.yuma.inputs import activity_cutoff_blocks
from yumad.consensus.rules.v1.yuma.liquid_alpha import cursor_view, exponential_array
from yumad.consensus.rules.v1.yuma.mechanisms import mechanism_weights, split_emission
from yumad.consensus.rules.v1.yuma.median import consensus_weights
from yumad.consensus.rules.v1.yuma.q32_arrays import ONE
from yumad.consensus.rules.v1.yuma.stake import inherited_stake, normalized_stake, total_stake
from yumad.consensus.rules.v1.yuma.weights import interpolate_down
from yumad.consensus.types import InvalidError

U64_MAX = (1 << 64) - 1


def fixed(number: float) -> int:
    return round(number * ONE)


def median(stake: list[int], scores: list[int], kappa: int = 32767) -> int:
    column = np.array([scores], dtype=np.int64)
    normalized = np.array(norm(stake), dtype=np.int64)
    return int(consensus_weights(column, normalized, kappa)[0])


@pytest.mark.parametrize(
    ("stake", "scores", "expected"),
    [
        ([50, 50], [0.2, 0.8], 0.8),
        ([49, 51], [0.2, 0.8], 0.8),
        ([51, 49], [0.2, 0.8], 0.2),
        ([1, 1, 1], [0.1, 0.5, 0.9], 0.5),
        ([1, 1, 1, 1], [0.1, 0.2, 0.3, 0.4], 0.3),
    ],
)
def test_median_of_worked_examples_gives_the_published_score(
    stake: list[int], scores: list[float], expected: float
) -> None:
    assert median(stake, [fixed(score) for score in scores]) == fixed(expected)


scores_of_weights = st.one_of(st.sampled_from((0, ONE // 2, ONE)), st.integers(0, ONE - 2))


@given(
    st.lists(st.tuples(st.integers(0, 50), scores_of_weights), min_size=1, max_size=9),
    st.one_of(st.sampled_from((0, 1, 32767, 32768, 65534, 65535)), st.integers(0, 65535)),
)
def test_median_by_sorting_equals_the_narrowing_search(members: list[tuple[int, int]], kappa: int) -> None:
    stake, scores = norm([s for s, _ in members]), [score for _, score in members]
    voters = [k for k, s in enumerate(stake) if s > 0]
    shares = norm([stake[k] for k in voters])
    minority = sum(shares) - u16_to_proportion(kappa)
    expected = narrowing_median(shares, [scores[k] for k in voters], minority)
    column = np.array([scores], dtype=np.int64)
    assert consensus_weights(column, np.array(stake, dtype=np.int64), kappa).tolist() == [expected]


@pytest.mark.parametrize("largest", [0.25, 1, 3, 5, 7.5, 8, 9, 12, 16, 20, 40, 160])
def test_array_exponential_equals_the_scalar_series(largest: float) -> None:
    rng = np.random.default_rng(5)
    limit = fixed(largest)
    values = rng.integers(-limit, limit, size=400, endpoint=True, dtype=np.int64)
    values[:8] = (0, 1, -1, ONE, -ONE, limit, -limit, ONE + 1)
    assert exponential_array(values).tolist() == [exponential(I32F32(int(value))) for value in values]


@given(st.lists(st.lists(st.integers(0, 5), unique=True, max_size=6), min_size=1, max_size=4))
def test_cursor_view_equals_the_walking_cursor(orders: list[list[int]]) -> None:
    rows = [[(uid, 10 + uid) for uid in order] for order in orders]
    keys = np.array([position * 6 + uid for position, row in enumerate(rows) for uid, _ in row], dtype=np.int64)
    values = np.array([dense(row, 6) for row in rows], dtype=np.int64).T
    assert cursor_view(values, keys).T.tolist() == [cursor(row, 6) for row in rows]


@given(st.integers(0, ONE), st.integers(0, ONE), st.integers(0, ONE - 1))
def test_interpolation_floors_its_negative_product_downward(a: int, b: int, share: int) -> None:
    lower, upper = sorted((a, b))
    result = interpolate_down(np.array([upper], dtype=np.int64), np.array([lower], dtype=np.int64), share)
    assert result.tolist() == [upper + (share * (lower - upper) >> 32)]


stakes = st.one_of(st.sampled_from((0, 1, 2, 3, 21 * 10**15)), st.integers(0, 21 * 10**15))


@given(
    st.lists(st.tuples(stakes, stakes), min_size=1, max_size=6),
    st.one_of(st.sampled_from((0, 1, 971718665099567868, U64_MAX)), st.integers(0, U64_MAX)),
    st.sampled_from((0, 1, 10**15)),
)
def test_normalized_stake_equals_the_double_truncation(pairs: list[tuple[int, int]], weight: int, limit: int) -> None:
    alpha, tao = (np.array(column, dtype=np.uint64) for column in zip(*pairs, strict=True))
    total = total_stake(alpha, tao, weight)
    parts = (weight << 32) // U64_MAX << 32
    expected = [(a << 64) + t * parts for a, t in pairs]
    assert total.to_q64() == expected
    assert total.whole.tolist() == [bits >> 64 for bits in expected]
    kept = [bits if bits >> 64 >= limit else 0 for bits in expected]
    shares = [((bits << 64) // sum(kept) if sum(kept) else bits) >> 32 for bits in kept]
    assert normalized_stake(total, limit, None).tolist() == shares


def test_six_to_four_stake_gives_the_published_shares() -> None:
    total = total_stake(np.array([600, 400], dtype=np.uint64), np.zeros(2, dtype=np.uint64), 0)
    assert normalized_stake(total, 0, None).tolist() == [2576980377, 1717986918]


def test_threshold_zeroes_small_stakes_but_never_the_owners() -> None:
    total = total_stake(np.array([100, 99, 1], dtype=np.uint64), np.zeros(3, dtype=np.uint64), 0)
    assert (normalized_stake(total, 100, None) > 0).tolist() == [True, False, False]
    assert (normalized_stake(total, 100, 2) > 0).tolist() == [True, False, True]


def test_stakes_beyond_the_container_are_refused_with_their_sum() -> None:
    huge = np.array([1 << 62, 1 << 62], dtype=np.uint64)
    with pytest.raises(InvalidError, match=f"stakes add up to {1 << 63} rao"):
        total_stake(huge, np.zeros(2, dtype=np.uint64), 0)


def test_inherited_stake_gives_away_before_it_receives() -> None:
    half = U64_MAX // 2
    assert inherited_stake(1000, [], []) == 1000
    assert inherited_stake(1000, [half], []) == 500
    assert inherited_stake(1000, [U64_MAX, U64_MAX], [(U64_MAX, 7)]) == 7
    assert inherited_stake(0, [], [(half, 1000), (half, 3)]) == 501


def test_permits_go_to_the_largest_stakes_and_ties_to_the_higher_uid() -> None:
    assert top_k(np.array([5, 5, 5, 0], dtype=np.int64), 2).tolist() == [False, True, True, False]
    assert top_k(np.array([5, 0, 7], dtype=np.int64), 3).tolist() == [True, False, True]
    assert top_k(np.array([5, 0, 7], dtype=np.int64), 0).tolist() == [False, False, False]


def test_activity_ends_strictly_after_the_cutoff() -> None:
    last_update = np.array([899, 900, 901, U64_MAX], dtype=np.uint64)
    assert active_uids(last_update, 100, 1000).tolist() == [False, True, True, True]
    assert active_uids(last_update, 1000, 1000).all()


@pytest.mark.parametrize(("tempo", "blocks"), [(360, 5000), (100, 1388), (99, 1375), (1, 13), (0, 1)])
def test_cutoff_of_worked_examples_gives_the_published_blocks(tempo: int, blocks: int) -> None:
    assert activity_cutoff_blocks(13889, tempo) == blocks


def test_new_bond_share_of_the_default_gives_the_published_bits() -> None:
    assert [new_bond_share(average) for average in (900_000, 0, 1_000_000)] == [429496730, ONE, 0]


def test_first_live_hash_commit_and_every_live_timelock_shield() -> None:
    hashes = [(0, [(3, 100), (5, 200), (6, 150)]), (1, [(1, 50)]), (9, [(6, 1)])]
    timelocks = [(4, [(2, 10)]), (5, [(2, 300), (0, 190)]), (6, [(2, 250)])]
    blocks = commit_blocks(3, hashes, timelocks, epoch_index=6, reveal_period=1)
    assert blocks.tolist() == [190, U64_MAX, 250]


def test_split_of_worked_examples_gives_the_published_shares() -> None:
    assert split_emission(1_000_000_001, 2, None) == [500000001, 500000000]
    assert split_emission(1_000_000_001, 2, [49151, 16384]) == [749996186, 250003815]
    assert split_emission(10, 3, [65535]) == [10, 0, 0]
    assert mechanism_weights([0, 0]) == [1 << 64, 0]
