"""How much of an order a user's price limit lets through, and the least stake (DTAO 6.4).

Limits of orders are in rao for one alpha, as users give them. What an order of 1000 reserves would trade down to the
limit is the most a smaller one may.
"""

from typing import Final

from ....fixed_point import U64F64, UQ64
from ....types import U64_MAX
from .pool import MAX_INPUT_RATIO, Pool, Side, limit_price, spot_price, swap, swap_fee

PAR: Final = 10**9
"""A price of one TAO for one alpha, in rao: the only one of root and of stable subnets."""

MIN_STAKE: Final = 2_000_000
"""DefaultMinStake in rao."""


def least_stake(pool: Pool, minimum: int = MIN_STAKE) -> int:
    """Least TAO of an `add_stake`: the minimum and the fee on it; no fee on root and on stable subnets."""
    return minimum + (swap_fee(minimum, pool.fee_rate) if pool.dynamic else 0)


def most_to_add(pool: Pool, limit: int) -> int:
    """TAO that `add_stake_limit` may bring, fee included. Raises SwapError as the swap does."""
    if not pool.dynamic:
        return U64_MAX if limit >= PAR else 0
    done = swap(pool, Side.BUY, min(MAX_INPUT_RATIO * pool.tao, U64_MAX), limit_price(limit))
    return done.paid_in + done.fee


def most_to_remove(pool: Pool, limit: int) -> int:
    """Alpha that `remove_stake_limit` may bring, fee included. Raises SwapError as the swap does."""
    if not pool.dynamic:
        return U64_MAX if limit <= PAR else 0
    done = swap(pool, Side.SELL, min(MAX_INPUT_RATIO * pool.alpha, U64_MAX), limit_price(limit))
    return done.paid_in + done.fee


def most_to_swap(origin: Pool, destination: Pool, limit: int) -> int:
    """Alpha that `swap_stake_limit` may take from the origin; `limit` is in rao of destination alpha.

    Between two pools it is the constant-product estimate of the original, which ignores their weights. Raises SwapError
    where one leg is root or stable and the other pool refuses.
    """
    if not origin.dynamic and not destination.dynamic:
        return U64_MAX if limit <= PAR else 0
    if not origin.dynamic:
        return U64_MAX if limit == 0 else most_to_add(destination, _reciprocal(limit))
    if not destination.dynamic:
        return most_to_remove(origin, limit)
    return _between_pools(origin, destination, limit)


def _reciprocal(limit: int) -> int:
    """`toU64(10^9 / limit * 10^9)`: the destination's price, when the origin's is one."""
    return UQ64.to_u64(UQ64.mul(UQ64.div_or_zero(UQ64.from_int(PAR), UQ64.from_int(limit)), UQ64.from_int(PAR)))


def _between_pools(origin: Pool, destination: Pool, limit: int) -> int:
    """`x2 * (y1 / (y1 + y2)) / l - x1 * (y2 / (y1 + y2))` in U64F64, each step truncated."""
    if 0 in (origin.tao, origin.alpha, destination.tao, destination.alpha):
        return 0
    price = limit_price(limit)
    if price > UQ64.div_or_zero(spot_price(origin), spot_price(destination)):
        return 0
    if limit == 0:
        return U64_MAX
    total = UQ64.add(UQ64.from_int(origin.tao), UQ64.from_int(destination.tao))
    here = _scaled(destination.alpha, UQ64.div_or_zero(UQ64.from_int(origin.tao), total))
    there = _scaled(origin.alpha, UQ64.div_or_zero(UQ64.from_int(destination.tao), total))
    return UQ64.to_u64(UQ64.sub(UQ64.div_or_zero(here, price), there))


def _scaled(amount: int, share: U64F64) -> U64F64:
    return UQ64.mul(UQ64.from_int(amount), share)
