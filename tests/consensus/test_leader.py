"""Leader choice: golden draws, distribution, and no reshuffling for a rao (CHAIN 1.3, 1.9)."""

import pytest
from yumad.consensus.authority import Authority, AuthoritySet
from yumad.consensus.leader import leader_index
from yumad.consensus.types import AuthorityKey, Hash32

GOLDEN = {
    (1, 1, 1, 1): [2, 1, 1, 0, 2, 2, 0, 3, 0, 0, 1, 2, 3, 3, 2, 0, 3, 1, 1, 0, 3, 2, 2, 1],
    (30, 30, 25, 15): [2, 1, 1, 0, 2, 2, 0, 2, 0, 0, 1, 2, 2, 3, 1, 0, 3, 1, 1, 0, 3, 1, 2, 1],
    (1, 10**15, 7 * 10**14): [2, 1, 1, 1, 2, 2, 1, 2, 1, 1, 1, 2, 2, 2, 1, 1, 2, 1, 1, 1, 2, 1, 2, 1],
    (5,): [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
}
"""Leaders of views 1 to 24 with seed 00 01 … 1f; any change of these forks every running network."""


def of(weights: tuple[int, ...]) -> AuthoritySet:
    members = tuple(Authority(AuthorityKey(bytes([n]) * 32), weight) for n, weight in enumerate(weights))
    return AuthoritySet(members, Hash32(bytes(range(32))))


@pytest.mark.parametrize("weights", GOLDEN)
def test_leaders_of_the_first_views_are_the_golden_ones(weights: tuple[int, ...]) -> None:
    authorities = of(weights)
    assert [leader_index(authorities, view) for view in range(1, 25)] == GOLDEN[weights]


def test_share_of_views_follows_the_weight() -> None:
    weights = (50, 30, 15, 5)
    authorities = of(weights)
    counts = [0] * 4
    for view in range(1, 20_001):
        counts[leader_index(authorities, view)] += 1
    for count, weight in zip(counts, weights, strict=True):
        assert abs(count - 200 * weight) < 4 * (200 * weight) ** 0.5 + 20


def test_one_rao_more_changes_almost_no_leader() -> None:
    """With a modulo the whole era would be drawn anew, and stake could be nudged until the draw pleases."""
    before, after = of((10**12, 10**12, 10**12)), of((10**12, 10**12 + 1, 10**12))
    changed = sum(leader_index(before, view) != leader_index(after, view) for view in range(1, 2001))
    assert changed == 0


def test_highest_view_has_a_leader() -> None:
    assert leader_index(of((1, 1)), 2**64 - 1) in (0, 1)
