"""Prices around a subnet's birth and death: lock cost, first pool, dissolution (DTAO 8.1-8.3, 8.6)."""

from collections.abc import Sequence
from dataclasses import dataclass

from ....fixed_point import U64F64, UQ64
from ....types import U64_MAX, Rao
from .emission import FIRST_EMISSION, block_emission
from .pool import Pool
from .units import DYNAMIC, Alpha


@dataclass(frozen=True, slots=True)
class LockTerms:
    """What decides the cost of registering a subnet."""

    lowest: Rao
    """NetworkMinLockCost."""

    last_cost: Rao
    """NetworkLastLockCost; at first the lowest."""

    last_block: int
    """Height of the last registration; 0 for none."""

    reduction_interval: int
    """Blocks in which the cost falls by the last one, before any halving."""


def lock_cost(terms: LockTerms, block: int, total_issuance: Rao) -> Rao:
    """TAO to lock for a new subnet now (DTAO 8.2): twice the last cost, falling linearly, never below the lowest.

    The interval shrinks with TAO's halvings, so that the cost falls faster when less is minted.
    """
    share = UQ64.div_or_zero(UQ64.from_int(block_emission(total_issuance)), UQ64.from_int(FIRST_EMISSION))
    interval = UQ64.to_u64(UQ64.mul(UQ64.from_int(terms.reduction_interval), share))
    each_block = terms.last_cost // interval if interval else 0
    fallen = min(each_block * max(block - terms.last_block, 0), U64_MAX)
    doubled = min(terms.last_cost * (1 if terms.last_block == 0 else 2), U64_MAX)
    return max(terms.lowest, Rao(max(doubled - fallen, 0)))


def median_price(spot_prices: Sequence[U64F64]) -> U64F64:
    """Median of the non-root subnets' spot prices above 0; 1 when there is none (DTAO 8.3)."""
    prices = sorted(price for price in spot_prices if price > 0)
    if not prices:
        return UQ64.one
    middle = len(prices) // 2
    if len(prices) % 2:
        return prices[middle]
    return UQ64.div_or_zero(UQ64.add(prices[middle - 1], prices[middle]), UQ64.from_int(2))


def first_pool(locked: Rao, lowest: Rao, median: U64F64) -> Pool:
    """Pool of a new subnet (DTAO 8.1): all locked TAO, and as much alpha as gives about the median price."""
    tao = max(locked, lowest)
    alpha = Alpha(UQ64.to_u64(UQ64.div_or_zero(UQ64.from_int(tao), median)))
    return Pool(DYNAMIC, tao, alpha, initialised=False)


def share_out_pot(pot: Rao, claims: Sequence[int]) -> list[Rao]:
    """A dissolved subnet's TAO by claims in alpha (DTAO 8.6 step 3); nothing when there are none.

    What flooring leaves over goes, a rao each, to the largest remainders; equal ones in the given order, in which the
    protocol's claim comes last.
    """
    total = sum(claims)
    if total == 0:
        return [Rao(0)] * len(claims)
    shares = [pot * claim // total for claim in claims]
    by_remainder = sorted(range(len(claims)), key=lambda index: -(pot * claims[index] % total))
    for index in by_remainder[: pot - sum(shares)]:
        shares[index] += 1
    return [Rao(share) for share in shares]
