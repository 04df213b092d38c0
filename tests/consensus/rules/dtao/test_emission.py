"""The emission curve: every halving, the original's logarithm, and the cap of 21 million."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yumad.consensus.rules.v1.dtao.emission import block_emission, halving_threshold, tao_emission
from yumad.consensus.rules.v1.dtao.units import MAX_SUPPLY
from yumad.consensus.types import Rao

TABLE = {
    0: (0, 1_000_000_000),
    1: (10_500_000_000_000_000, 500_000_000),
    2: (15_750_000_000_000_000, 250_000_000),
    3: (18_375_000_000_000_000, 125_000_000),
    4: (19_687_500_000_000_000, 62_500_000),
    5: (20_343_750_000_000_000, 31_250_000),
    6: (20_671_875_000_000_000, 15_625_000),
    7: (20_835_937_500_000_000, 7_812_500),
    8: (20_917_968_750_000_000, 3_906_250),
    9: (20_958_984_375_000_000, 1_953_125),
    10: (20_979_492_187_500_000, 976_562),
    11: (20_989_746_093_750_000, 488_281),
    12: (20_994_873_046_875_000, 244_140),
    13: (20_997_436_523_437_500, 122_070),
    14: (20_998_718_261_718_750, 61_035),
    15: (20_999_359_130_859_375, 30_517),
    16: (20_999_679_565_429_688, 15_258),
    17: (20_999_839_782_714_844, 7_629),
    18: (20_999_919_891_357_422, 3_814),
    19: (20_999_959_945_678_711, 1_907),
    20: (20_999_979_972_839_356, 953),
    21: (20_999_989_986_419_678, 476),
    22: (20_999_994_993_209_839, 238),
    23: (20_999_997_496_604_920, 119),
    24: (20_999_998_748_302_460, 59),
    25: (20_999_999_374_151_230, 29),
    26: (20_999_999_687_075_615, 14),
    27: (20_999_999_843_537_808, 7),
    28: (20_999_999_921_768_904, 3),
    29: (20_999_999_960_884_452, 1),
    30: (20_999_999_980_442_226, 0),
}
"""Halvings -> (least issuance, emission): both tables of DTAO 1.1."""


def plain_emission(issuance: int) -> int:
    """The normative algorithm of DTAO 1.1, in 32 fraction bits."""
    if issuance >= MAX_SUPPLY:
        return 0
    share = (issuance << 32) // MAX_SUPPLY
    value = (1 << 64) // ((1 << 32) - share)
    halvings = 0
    while value >= 1 << 33:
        value = (value >> 1) + (value & 1)
        halvings += 1
    return 10**9 // 2**halvings


@pytest.mark.parametrize("halvings", TABLE)
def test_emission_halves_exactly_at_each_threshold(halvings: int) -> None:
    threshold, emission = TABLE[halvings]
    assert halving_threshold(halvings) == threshold
    assert [block_emission(threshold + extra) for extra in (0, 1, 2)] == [emission] * 3
    if halvings:
        assert [block_emission(threshold - less) for less in (1, 2)] == [TABLE[halvings - 1][1]] * 2


@pytest.mark.parametrize("halvings", TABLE)
def test_closed_form_equals_the_logarithm_around_each_threshold(halvings: int) -> None:
    for offset in range(-3, 4):
        issuance = max(TABLE[halvings][0] + offset, 0)
        assert block_emission(issuance) == plain_emission(issuance)


@given(st.integers(0, MAX_SUPPLY + 10**6))
def test_closed_form_equals_the_logarithm_anywhere(issuance: int) -> None:
    assert block_emission(issuance) == plain_emission(issuance)


@given(st.integers(0, MAX_SUPPLY), st.integers(0, MAX_SUPPLY))
def test_emission_never_grows_with_issuance(a: int, b: int) -> None:
    low, high = sorted((a, b))
    assert block_emission(low) >= block_emission(high)


@pytest.mark.parametrize("issuance", [MAX_SUPPLY, MAX_SUPPLY + 1, 2**64 - 1])
def test_emission_at_the_cap_is_nothing(issuance: int) -> None:
    assert block_emission(issuance) == 0


def test_curve_run_through_every_halving_ends_below_the_cap() -> None:
    """All blocks from the first to the last emission, in strides of equal emission."""
    issuance, blocks, seen = 0, 0, []
    while emission := block_emission(issuance):
        seen.append(emission)
        end = halving_threshold(len(seen))
        count = -(-(end - issuance) // emission)
        assert block_emission(issuance + (count - 1) * emission) == emission
        issuance += count * emission
        blocks += count
    assert seen == [emission for _, emission in TABLE.values()][:-1]
    assert TABLE[30][0] <= issuance < MAX_SUPPLY
    assert blocks > 29 * 10_500_000  # each halving takes the same time, the late ones longer by their floors


@given(
    st.integers(0, MAX_SUPPLY),
    st.lists(st.tuples(st.integers(0, 10**5), st.integers(0, 2**40)), max_size=60),
)
def test_issuance_never_passes_the_cap_whatever_is_recycled(issuance: int, steps: list[tuple[int, int]]) -> None:
    for blocks, recycled in steps:
        for _ in range(min(blocks, 20)):
            issuance += tao_emission(Rao(issuance), Rao(issuance))
            assert issuance <= MAX_SUPPLY
        issuance = max(issuance - recycled, 0)


@given(st.integers(0, 2**64 - 1), st.integers(0, MAX_SUPPLY + 10**9))
def test_mint_stops_at_what_accounts_may_hold(issuance: int, circulating: int) -> None:
    """Recycling lowers the ledger that drives halving, not what accounts hold: the mint respects both."""
    minted = tao_emission(Rao(issuance), Rao(circulating))
    assert circulating + minted <= max(MAX_SUPPLY, circulating)
