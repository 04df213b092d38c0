"""What holds for every swap and re-weighting, and what a pool refuses."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from yumad.consensus.fixed_point import U64F64, UQ64
from yumad.consensus.rules.v1.dtao.pool import (
    DEFAULT_QUOTE_WEIGHT,
    MAX_PRICE,
    MIN_PRICE,
    MIN_WEIGHT,
    Pool,
    Side,
    Swap,
    SwapError,
    SwapRefusal,
    add_liquidity,
    input_to_price,
    limit_price,
    pool_at_price,
    spot_price,
    swap,
    traded_pool,
)
from yumad.consensus.rules.v1.dtao.units import PERQUINTILL_ONE, Alpha, Perquintill
from yumad.consensus.types import U64_MAX, Rao

RESERVES = st.integers(10**6, 21 * 10**15)
WEIGHTS = st.one_of(
    st.just(int(DEFAULT_QUOTE_WEIGHT)),
    st.integers(5 * 10**17 - 10**9, 5 * 10**17 + 10**9),
    st.integers(MIN_WEIGHT, PERQUINTILL_ONE - MIN_WEIGHT),
)
POOLS = st.builds(
    lambda tao, alpha, weight, fee: Pool(1, Rao(tao), Alpha(alpha), Perquintill(weight), fee_rate=fee),
    RESERVES,
    RESERVES,
    WEIGHTS,
    st.integers(0, 10_000),
)
SIDES = st.sampled_from(Side)
NO_LIMIT = {Side.BUY: UQ64.maximum, Side.SELL: U64F64(0)}
"""A limit no swap reaches; users' own limits end at MAX_PRICE and MIN_PRICE."""

EXAMPLE = Pool(1, Rao(10**12), Alpha(4 * 10**12))


def executed(pool: Pool, side: Side, amount: int, *, drop_fees: bool = False) -> Swap:
    """A swap without a limit; inputs the pool refuses are no examples."""
    try:
        return swap(pool, side, amount, NO_LIMIT[side], drop_fees=drop_fees)
    except SwapError:
        assume(False)
        raise


def rounding(reserve: int) -> int:
    """Most that an output may exceed the real one by: e is floored to 10^-18 and 2^-64, the product to a unit."""
    return 2 + reserve * 2 // 10**18


@given(POOLS, SIDES, st.integers(0, 21 * 10**15))
def test_swap_never_gives_more_than_the_reserve_nor_takes_more_than_the_order(
    pool: Pool, side: Side, amount: int
) -> None:
    done = executed(pool, side, amount)
    assert 0 <= done.paid_out <= (pool.alpha if side is Side.BUY else pool.tao)
    assert done.paid_in + done.fee == amount


@given(POOLS, SIDES, st.integers(1, 10**15), st.integers(0, 10**15))
def test_limited_swap_stays_within_the_order_and_the_limit(pool: Pool, side: Side, amount: int, distance: int) -> None:
    price = spot_price(pool)
    limit = U64F64(price + 1 + price * distance // 10**15 if side is Side.BUY else price * distance // 10**15)
    try:
        done = swap(pool, side, amount, limit)
    except SwapError:
        assume(False)
        return
    # A stop at the limit adds a fee of its own on what went in; both floors together never exceed the order by more
    # than the last unit of each.
    assert done.paid_in + done.fee <= amount + 2
    after = spot_price(traded_pool(done, side))
    slack = 1 + limit // 10**5 + (limit << 4) // min(pool.tao, pool.alpha)  # one unit moves a small pool's price
    assert after <= limit + slack if side is Side.BUY else after >= limit - slack


@given(POOLS, SIDES, st.integers(1, 10**14))
def test_round_trip_without_fee_gains_nothing_but_rounding(pool: Pool, side: Side, amount: int) -> None:
    there = executed(pool, side, amount, drop_fees=True)
    middle = traded_pool(there, side)
    other = Side.SELL if side is Side.BUY else Side.BUY
    back = executed(middle, other, there.paid_out, drop_fees=True)
    reserve_in = middle.tao if side is Side.BUY else middle.alpha
    reserve_out = pool.alpha if side is Side.BUY else pool.tao
    # The first leg's rounding is worth at most its size times the marginal price of the way back.
    left = max(reserve_out - there.paid_out, 1)
    worth = rounding(reserve_out) * 100 * reserve_in // left + rounding(reserve_in)
    assert back.paid_out <= amount + worth


@given(POOLS, SIDES, st.integers(10**6, 10**14))
def test_round_trip_with_fees_loses(pool: Pool, side: Side, amount: int) -> None:
    pool = pool._replace(tao=max(pool.tao, Rao(10**12)), alpha=max(pool.alpha, Alpha(10**12)), fee_rate=33)
    assume(10**6 <= amount <= min(pool.tao, pool.alpha) // 4)
    there = executed(pool, side, amount)
    assume(there.paid_out >= 10**6)  # below, one unit of rounding exceeds the fee
    other = Side.SELL if side is Side.BUY else Side.BUY
    back = executed(traded_pool(there, side), other, there.paid_out)
    assert back.paid_out < amount


@given(POOLS, st.integers(1, 10**14))
def test_buy_raises_the_price_and_a_sale_lowers_it(pool: Pool, amount: int) -> None:
    price = spot_price(pool)
    tick = 2 + price // 2**40 + (price << 2) // min(pool.tao, pool.alpha)  # rounding up of the output, by a unit
    bought = traded_pool(executed(pool, Side.BUY, amount), Side.BUY)
    sold = traded_pool(executed(pool, Side.SELL, amount), Side.SELL)
    assume(bought.alpha > 10**6)
    assert spot_price(bought) >= price - tick
    assert spot_price(sold) <= price + tick


@given(POOLS, SIDES, st.integers(0, 10**14), st.integers(0, 10**14))
def test_larger_order_gets_at_least_as_much(pool: Pool, side: Side, a: int, b: int) -> None:
    small, large = sorted((a, b))
    assert executed(pool, side, small).paid_out <= executed(pool, side, large).paid_out


@given(POOLS, SIDES, st.integers(1, 10**9))
def test_input_to_a_price_grows_with_the_distance(pool: Pool, side: Side, step: int) -> None:
    price = spot_price(pool)
    assume(price > 10**12)
    near, far = (price + price * step * times // 10**12 for times in (1, 2))
    if side is Side.SELL:
        near, far = price * 10**12 // (10**12 + step), price * 10**12 // (10**12 + 2 * step)
    reserve = pool.tao if side is Side.BUY else pool.alpha
    inputs = [input_to_price(reserve, price, U64F64(target), side, pool.quote_weight) for target in (near, far)]
    assert inputs[0] <= inputs[1]
    assert input_to_price(reserve, U64F64(far), price, side, pool.quote_weight) == 0


@given(POOLS, st.integers(0, 10**12), st.integers(0, 10**12))
def test_injection_keeps_price_and_bounds_or_is_refused(pool: Pool, tao: int, alpha: int) -> None:
    after = add_liquidity(pool, tao, alpha)
    if after is None:
        return
    assert MIN_WEIGHT <= after.quote_weight <= PERQUINTILL_ONE - MIN_WEIGHT
    assert (after.tao, after.alpha) == (pool.tao, pool.alpha)
    before = spot_price(pool)
    grown = spot_price(after._replace(tao=Rao(pool.tao + tao), alpha=Alpha(pool.alpha + alpha)))
    # A weight as small as 1 % has 16 digits, its rounded share of a small product fewer; and divisions truncate.
    smaller = min(pool.quote_weight, pool.base_weight) * pool.tao * pool.alpha // PERQUINTILL_ONE
    assert abs(grown - before) <= before // 10**15 + 4 * before // smaller + 200 + (200 * pool.tao) // pool.alpha


@pytest.mark.parametrize("side", Side)
@given(weight=WEIGHTS, share=st.integers(1, 999))
def test_price_after_equals_the_limit_when_the_limit_stops_a_swap(side: Side, weight: int, share: int) -> None:
    pool = Pool(1, Rao(10**15), Alpha(10**15), Perquintill(weight), fee_rate=0)
    price = spot_price(pool)
    limit = U64F64(price * (1000 + share) // 1000 if side is Side.BUY else price * 1000 // (1000 + share))
    order = 10**15 if side is Side.BUY else 10**16
    assume(side is Side.SELL or weight <= 97 * 10**16)  # above, twice the TAO would empty the pool; see below
    done = swap(pool, side, order, limit)
    after = spot_price(traded_pool(done, side))
    assert abs(after - limit) <= limit // 10**9
    assert done.paid_in < order


def test_order_that_empties_the_pool_passes_its_limit() -> None:
    """Without alpha the formula's price is 0, which no limit of a buy stops (DTAO 5.4 steps 5 and 6): kept as it is."""
    pool = Pool(1, Rao(10**15), Alpha(10**15), Perquintill(9 * 10**17), fee_rate=0)
    done = swap(pool, Side.BUY, 10**17, U64F64(2 * spot_price(pool)))
    assert (done.paid_in, done.paid_out) == (10**17, pool.alpha)


def test_uninitialised_pool_forgets_its_weight_at_the_first_swap() -> None:
    pool = EXAMPLE._replace(quote_weight=Perquintill(7 * 10**17), initialised=False)
    done = swap(pool, Side.BUY, 10**9, MAX_PRICE)
    assert done.pool == EXAMPLE
    assert done.paid_out == swap(EXAMPLE, Side.BUY, 10**9, MAX_PRICE).paid_out


def test_stable_pool_trades_without_fee_at_a_price_of_one() -> None:
    stable = EXAMPLE._replace(mechanism=0)
    assert spot_price(stable) == UQ64.one
    assert swap(stable, Side.BUY, 10**9, MAX_PRICE).fee == 0


@pytest.mark.parametrize(
    ("pool", "side", "amount", "limit", "reason"),
    [
        (EXAMPLE, Side.BUY, 10**15 + 10**12, MAX_PRICE, SwapRefusal.InputTooLarge),
        (EXAMPLE, Side.SELL, 5 * 10**15, MIN_PRICE, SwapRefusal.InputTooLarge),
        (EXAMPLE._replace(alpha=Alpha(999_999)), Side.BUY, 10, MAX_PRICE, SwapRefusal.ReservesTooLow),
        (EXAMPLE._replace(tao=Rao(999_999)), Side.SELL, 10, MIN_PRICE, SwapRefusal.ReservesTooLow),
        (EXAMPLE, Side.BUY, 10, spot_price(EXAMPLE), SwapRefusal.PriceLimitExceeded),
        (EXAMPLE, Side.SELL, 10, spot_price(EXAMPLE), SwapRefusal.PriceLimitExceeded),
        (EXAMPLE._replace(tao=Rao(10**18)), Side.BUY, 10**3, MAX_PRICE, SwapRefusal.ReservesTooLow),
    ],
)
def test_refused_swap_names_its_reason(pool: Pool, side: Side, amount: int, limit: U64F64, reason: SwapRefusal) -> None:
    with pytest.raises(SwapError, match=f"^{reason.value}: ") as refused:
        swap(pool, side, amount, limit)
    assert refused.value.reason is reason
    assert refused.value.remedy


def test_equal_limit_fails_and_one_beyond_it_trades() -> None:
    price = spot_price(EXAMPLE)
    done = swap(EXAMPLE, Side.BUY, 10, U64F64(price + 1))
    assert done.paid_in == 0  # a limit a hair above leaves no room for a unit


def test_price_no_weight_can_give_is_refused() -> None:
    with pytest.raises(SwapError, match=r"^ReservesOutOfBalance: ") as refused:
        pool_at_price(1, Rao(1), Alpha(10**12), UQ64.one)
    assert refused.value.reason is SwapRefusal.ReservesOutOfBalance


def test_empty_pool_has_no_price_and_default_weight() -> None:
    empty = Pool(1, Rao(0), Alpha(0), Perquintill(6 * 10**17))
    assert spot_price(empty) == 0
    assert add_liquidity(empty, 0, 0) == empty._replace(quote_weight=DEFAULT_QUOTE_WEIGHT)


def test_reserves_at_the_bound_of_their_type_saturate() -> None:
    full = Pool(1, Rao(U64_MAX), Alpha(U64_MAX), DEFAULT_QUOTE_WEIGHT)
    with pytest.raises(SwapError, match=r"^ReservesTooLow: "):
        swap(full, Side.BUY, U64_MAX, MAX_PRICE)  # the reserve cannot grow, so that nothing is bought
    nearly = full._replace(tao=Rao(U64_MAX - 10**18))
    assert traded_pool(swap(nearly, Side.BUY, U64_MAX, MAX_PRICE), Side.BUY).tao == U64_MAX
    assert add_liquidity(full, U64_MAX, U64_MAX) is not None


def test_sentinel_limits_are_the_original_rao_amounts() -> None:
    assert limit_price(10**15) == MAX_PRICE
    assert limit_price(1000) == MIN_PRICE
