"""What a user's price limit lets through (DTAO 6.4)."""

import pytest
from yumad.consensus.rules.v1.dtao.pool import Pool, Side, SwapError, limit_price, spot_price, swap, traded_pool
from yumad.consensus.rules.v1.dtao.stake_limits import PAR, least_stake, most_to_add, most_to_remove, most_to_swap
from yumad.consensus.rules.v1.dtao.units import Alpha
from yumad.consensus.types import U64_MAX, Rao

POOL = Pool(1, Rao(10**12), Alpha(4 * 10**12))
"""A price of a quarter."""

STABLE = POOL._replace(mechanism=0)


def test_12_18_least_stake_includes_the_fee() -> None:
    assert least_stake(POOL) == 2_001_007
    assert least_stake(STABLE) == 2_000_000


@pytest.mark.parametrize(
    ("limit", "add", "remove"), [(PAR, U64_MAX, U64_MAX), (PAR - 1, 0, U64_MAX), (PAR + 1, U64_MAX, 0)]
)
def test_stable_subnet_trades_at_par_or_not_at_all(limit: int, add: int, remove: int) -> None:
    assert most_to_add(STABLE, limit) == add
    assert most_to_remove(STABLE, limit) == most_to_swap(STABLE, STABLE, limit) == remove


def test_most_to_add_and_to_remove_move_the_price_to_the_limit() -> None:
    assert most_to_add(POOL, 260_000_000) == 19803902718 + 9977234
    assert most_to_remove(POOL, 240_000_000) == 82482904638 + 41555003


def test_limit_on_the_wrong_side_is_refused_by_the_pool() -> None:
    with pytest.raises(SwapError, match=r"^PriceLimitExceeded: "):
        most_to_add(POOL, 250_000_000)
    with pytest.raises(SwapError, match=r"^PriceLimitExceeded: "):
        most_to_remove(POOL, 250_000_000)


def test_swap_with_one_stable_leg_uses_the_other_pools_limit() -> None:
    assert most_to_swap(STABLE, POOL, 0) == U64_MAX
    assert most_to_swap(STABLE, POOL, 4 * PAR - PAR // 5) == most_to_add(POOL, 263_157_894)
    assert most_to_swap(POOL, STABLE, 240_000_000) == most_to_remove(POOL, 240_000_000)


def test_swap_between_pools_ends_near_the_limit() -> None:
    other = Pool(1, Rao(3 * 10**12), Alpha(3 * 10**12))
    ratio = spot_price(POOL) / spot_price(other)
    limit = round(ratio * 0.9 * PAR)
    most = most_to_swap(POOL, other, limit)
    sold = swap(POOL, Side.SELL, most, limit_price(0), drop_fees=True)
    bought = swap(other, Side.BUY, sold.paid_out, limit_price(10**15), drop_fees=True)
    after = spot_price(traded_pool(sold, Side.SELL)) / spot_price(traded_pool(bought, Side.BUY))
    assert limit / PAR * 0.9 < after < ratio


def test_swap_between_pools_beyond_the_ratio_or_without_reserves_gets_nothing() -> None:
    assert most_to_swap(POOL, POOL, PAR + 1) == 0
    assert most_to_swap(POOL, POOL, 0) == U64_MAX
    assert most_to_swap(POOL, POOL._replace(tao=Rao(0)), 0) == 0
