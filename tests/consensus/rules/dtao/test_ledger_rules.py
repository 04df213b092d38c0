"""Share pools, claims, locks, registration price, lock cost and dissolution: properties and edges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yumad.consensus.fixed_point import I96F32, Q96, U64F64, UQ64
from yumad.consensus.rules.v1.dtao import safe_float
from yumad.consensus.rules.v1.dtao.conviction import Lock, LockRates, decay, rolled
from yumad.consensus.rules.v1.dtao.pool import spot_price
from yumad.consensus.rules.v1.dtao.registration_price import DEFAULT_INCREASE, decay_factor, decayed_price, raised_price
from yumad.consensus.rules.v1.dtao.root_claims import (
    adjusted_claimed,
    auto_claim_indices,
    claim_amount,
    claimable_increment,
    owed,
)
from yumad.consensus.rules.v1.dtao.safe_float import ZERO, SafeFloat
from yumad.consensus.rules.v1.dtao.share_pool import SharePool, decrease, grow, holding, increase, precise_enough
from yumad.consensus.rules.v1.dtao.subnet_market import LockTerms, first_pool, lock_cost, median_price, share_out_pot
from yumad.consensus.rules.v1.dtao.units import Alpha
from yumad.consensus.types import Hash32, Height, Rao

HASHES = st.binary(min_size=32, max_size=32).map(Hash32)


# --- SafeFloat and share pools ----------------------------------------------------------------------------------------


def test_safe_float_one_has_the_spec_form() -> None:
    assert safe_float.from_int(1) == (10**21, -21)
    assert safe_float.from_int(0) == ZERO
    assert safe_float.normal(10**20, 0) == (10**21, -1)


@given(st.integers(0, 2**64 - 1))
def test_integer_survives_the_round_trip(number: int) -> None:
    assert safe_float.to_u64(safe_float.from_int(number)) == number


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_sum_and_difference_of_integers_are_exact_to_their_digits(a: int, b: int) -> None:
    low, high = sorted((a, b))
    left, right = safe_float.from_int(high), safe_float.from_int(low)
    assert abs(safe_float.to_u64(safe_float.add(left, right)) - min(high + low, 2**64 - 1)) <= 1
    difference = safe_float.sub(left, right)
    if high:
        assert difference is not None
        assert 0 <= safe_float.to_u64(difference) - (high - low) <= 1


def test_safe_float_zero_rules() -> None:
    one = safe_float.from_int(1)
    assert safe_float.sub(ZERO, ZERO) == ZERO
    assert safe_float.sub(ZERO, one) is None
    assert safe_float.sub(one, ZERO) == safe_float.add(one, ZERO) == safe_float.add(ZERO, one) == one
    assert safe_float.mul_div(one, one, ZERO) == ZERO
    assert safe_float.to_u64(SafeFloat(10**21, 3)) == 2**64 - 1
    assert safe_float.to_u64(SafeFloat(10**21, -40)) == 0  # 10^22 stands for every larger power


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-(10**12), 10**15)), max_size=40))
def test_holdings_never_exceed_the_pool_by_more_than_rounding(steps: list[tuple[int, int]]) -> None:
    pool, shares = SharePool(), [ZERO] * 4
    for who, amount in steps:
        if who == 4:
            if pool.denominator != ZERO:
                pool = grow(pool, abs(amount))
        elif amount > 0:
            before = holding(pool, shares[who])
            pool, shares[who] = increase(pool, shares[who], Alpha(amount))
            assert holding(pool, shares[who]) <= before + amount + 1
        else:
            taken = Alpha(min(-amount, holding(pool, shares[who])))
            before = pool.value
            pool, shares[who] = decrease(pool, shares[who], taken)
            assert pool.value == before - taken
        held = sum(holding(pool, share) for share in shares)
        assert held <= pool.value + 4  # 21 digits: each holding errs by less than a unit


def test_first_purchase_into_a_pool_without_shares_captures_its_value() -> None:
    pool, share = increase(SharePool(Alpha(500)), ZERO, Alpha(1))
    assert holding(pool, share) == pool.value == 501


def test_decrease_beyond_the_holding_does_nothing() -> None:
    pool, share = increase(SharePool(), ZERO, Alpha(10))
    assert decrease(pool, share, Alpha(11)) == (pool, share)
    assert decrease(pool, share, Alpha(10)) == (SharePool(), ZERO)


def test_purchase_too_small_for_a_share_is_not_precise_enough() -> None:
    assert precise_enough(SharePool(), Alpha(1))
    pool, _ = increase(SharePool(), ZERO, Alpha(10**15))
    assert precise_enough(pool, Alpha(1))
    assert not precise_enough(SharePool(Alpha(0), pool.denominator), Alpha(1))


# --- root claims ------------------------------------------------------------------------------------------------------


@given(st.integers(0, 1 << 40).map(I96F32), st.integers(0, 10**15), st.integers(0, 10**15), st.integers(0, 10**15))
def test_stake_change_keeps_what_is_owed(rate: I96F32, stake: int, change: int, claimed: int) -> None:
    claimed = min(claimed, Q96.to_u64(Q96.mul(rate, Q96.from_int(stake))))
    before = owed(rate, stake, claimed)
    after = owed(rate, stake + change, adjusted_claimed(claimed, rate, change))
    assert abs(after - before) <= Q96.one


def test_dividend_above_the_root_stake_goes_to_the_owner() -> None:
    assert claimable_increment(Alpha(11), 10) is None
    assert claimable_increment(Alpha(10), 10) == Q96.one
    assert claimable_increment(Alpha(1), 0) is None


def test_claim_below_the_threshold_waits() -> None:
    assert claim_amount(Q96.from_int(499_999), Alpha(500_000)) == 0
    assert claim_amount(Q96.from_int(500_000), Alpha(500_000)) == 500_000
    assert claim_amount(I96F32(-5), Alpha(0)) == 0


@given(HASHES, st.integers(0, 50), st.integers(0, 10**6))
def test_auto_claim_indices_ascend_and_name_holders(parent: Hash32, draws: int, holders: int) -> None:
    found = auto_claim_indices(parent, draws, holders)
    assert list(found) == sorted(set(found))
    assert len(found) <= draws
    assert all(index < max(holders, 1) for index in found)


# --- locks ------------------------------------------------------------------------------------------------------------


def test_lock_halves_in_about_ninety_days() -> None:
    lock = rolled(Lock(Alpha(10**12), U64F64(0), Height(0)), Height(648_000), LockRates(), perpetual=False, owner=False)
    assert abs(lock.mass - 5 * 10**11) < 10**6
    assert lock.last == 648_000
    # conviction dt/tau * e^(-dt/tau) of the mass
    assert abs((lock.conviction >> 64) - 346_573_600_000) < 10**7


def test_perpetual_lock_keeps_its_mass_and_matures_to_it() -> None:
    lock = Lock(Alpha(10**12), U64F64(0), Height(0))
    old = rolled(lock, Height(40 * 934_866), LockRates(), perpetual=True, owner=False)
    assert old.mass == 10**12
    assert (old.conviction >> 64) == 10**12 - 1


def test_owner_conviction_is_the_mass() -> None:
    lock = rolled(Lock(Alpha(10**12), U64F64(5), Height(0)), Height(1), LockRates(), perpetual=False, owner=True)
    assert lock.conviction == UQ64.from_int(lock.mass)


def test_dust_and_unmoved_locks() -> None:
    dust = Lock(Alpha(99), UQ64.from_int(99), Height(0))
    assert rolled(dust, Height(1), LockRates(), perpetual=True, owner=False) == Lock(Alpha(0), U64F64(0), Height(1))
    assert rolled(dust, Height(0), LockRates(), perpetual=True, owner=False) == dust
    assert rolled(dust, Height(1), LockRates(0, 5), perpetual=False, owner=False).mass == 0


@pytest.mark.parametrize("rates", [LockRates(1000, 500), LockRates(500, 1000)])
def test_conviction_with_two_rates_is_the_two_sided_exponential(rates: LockRates) -> None:
    lock = rolled(Lock(Alpha(10**12), U64F64(0), Height(0)), Height(700), rates, perpetual=False, owner=False)
    kept, immature = decay(700, rates.unlock), decay(700, rates.maturity)
    expected = 10**12 * rates.unlock * (kept - immature) // (rates.unlock - rates.maturity)
    assert abs(lock.conviction - expected) < 1 << 50
    assert lock.conviction > 0


@given(st.integers(0, 10**8), st.integers(0, 10**6))
def test_decay_falls_with_time_and_starts_at_one(elapsed: int, rate: int) -> None:
    assert 0 <= decay(elapsed + 1, rate) <= decay(elapsed, rate) <= UQ64.one


# --- registration price and lock cost ---------------------------------------------------------------------------------


@given(st.integers(1, 36_100))
def test_decay_factor_halves_in_its_half_life(half_life: int) -> None:
    factor = decay_factor(half_life)
    assert 0 < factor < 1 << 32
    price = 1 << 40
    for _ in range(min(half_life, 400)):
        price = price * factor >> 32
    expected = (1 << 40) // 2 ** (min(half_life, 400) / half_life)
    assert abs(price - expected) < expected / 1000


def test_price_stays_in_its_bounds() -> None:
    low, high = Rao(100), Rao(200)
    assert decayed_price(Rao(101), 1, low, high) == 100
    assert decayed_price(Rao(150), 0, low, high) == 150
    assert raised_price(Rao(199), DEFAULT_INCREASE, low, high) == 200
    assert raised_price(Rao(150), U64F64(0), low, high) == 150


def test_lock_cost_before_any_registration_and_after_halvings() -> None:
    first = LockTerms(Rao(10**12), Rao(10**12), 0, 100_800)
    assert lock_cost(first, 0, Rao(0)) == 10**12
    later = LockTerms(Rao(1), Rao(10**12), 1000, 100_800)
    halved = lock_cost(later, 1000 + 50_400, Rao(10_500_000 * 10**9))
    assert halved == 2 * 10**12 - 10**12 // 50_400 * 50_400
    assert lock_cost(later, 2000, Rao(21 * 10**15)) == 2 * 10**12  # nothing is minted: the cost no longer falls


@pytest.mark.parametrize(
    ("prices", "expected"),
    [([], 1 << 64), ([0, 0], 1 << 64), ([5, 0, 9], 7), ([9, 5, 1], 5), ([3], 3)],
)
def test_median_price_counts_positive_prices_only(prices: list[int], expected: int) -> None:
    assert median_price([U64F64(price) for price in prices]) == expected


def test_first_pool_trades_at_about_the_median_price() -> None:
    pool = first_pool(Rao(10**12), Rao(10**12), U64F64((1 << 64) // 3))
    assert (pool.tao, pool.alpha) == (10**12, 3 * 10**12)
    assert abs(spot_price(pool) - (1 << 64) // 3) < 1 << 24
    assert first_pool(Rao(5), Rao(10**12), UQ64.one).tao == 10**12


# --- dissolution ------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**16), st.lists(st.integers(0, 10**16), max_size=20))
def test_pot_is_shared_out_to_the_last_rao(pot: int, claims: list[int]) -> None:
    shares = share_out_pot(Rao(pot), claims)
    total = sum(claims)
    assert sum(shares) == (pot if total else 0)
    for share, claim in zip(shares, claims, strict=True):
        if total:
            assert pot * claim // total <= share <= pot * claim // total + 1


def test_equal_remainders_favour_the_earlier_claim() -> None:
    assert share_out_pot(Rao(1), [1, 1]) == [1, 0]
