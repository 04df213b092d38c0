"""Stake behind one hotkey on one subnet, held by coldkeys in shares (DTAO 6.1)."""

from __future__ import annotations

from typing import NamedTuple

from . import safe_float
from .safe_float import ZERO, SafeFloat
from .units import Alpha, add_alpha


class SharePool(NamedTuple):
    """All stake behind a hotkey on a subnet."""

    value: Alpha = Alpha(0)
    """V, TotalHotkeyAlpha."""

    denominator: SafeFloat = ZERO
    """D, TotalHotkeyShares."""


def holding(pool: SharePool, share: SafeFloat) -> Alpha:
    """What a share is worth in whole units."""
    return Alpha(safe_float.to_u64(safe_float.mul_div(safe_float.from_int(pool.value), share, pool.denominator)))


def grow(pool: SharePool, alpha: int) -> SharePool:
    """`all(u)`: everybody's stake grows in proportion; how nominators are paid."""
    return pool._replace(value=add_alpha(pool.value, alpha))


def increase(pool: SharePool, share: SafeFloat, alpha: Alpha) -> tuple[SharePool, SafeFloat]:
    """`one(c, u)` for u > 0: the pool and the share after one coldkey bought in.

    The first purchase into a pool without shares captures whatever value it has (DTAO 13.13).
    """
    value = add_alpha(pool.value, alpha)
    bought = safe_float.from_int(alpha)
    if pool.denominator == ZERO:
        return SharePool(value, bought), bought
    bought = _shares_of(pool, alpha)
    return SharePool(value, safe_float.add(pool.denominator, bought)), safe_float.add(share, bought)


def decrease(pool: SharePool, share: SafeFloat, alpha: Alpha) -> tuple[SharePool, SafeFloat]:
    """`one(c, -u)`: the pool and the share after one coldkey took out what it holds at least.

    Nothing happens when it holds less. A share may remain that is worth nothing (DTAO 13.14).
    """
    if holding(pool, share) < alpha:
        return pool, share
    value = Alpha(max(pool.value - alpha, 0))
    if pool.denominator == ZERO:  # only for alpha = 0: a share in a pool without shares is worth nothing
        return SharePool(value, ZERO), ZERO
    sold = _shares_of(pool, alpha)
    denominator, left = safe_float.sub(pool.denominator, sold), safe_float.sub(share, sold)
    return (
        SharePool(value, pool.denominator if denominator is None else denominator),
        share if left is None else left,
    )


def precise_enough(pool: SharePool, alpha: Alpha) -> bool:
    """Whether a purchase gives any share at all."""
    return pool.denominator == ZERO or _shares_of(pool, alpha) != ZERO


def _shares_of(pool: SharePool, alpha: int) -> SafeFloat:
    return safe_float.mul_div(safe_float.from_int(alpha), pool.denominator, safe_float.from_int(pool.value))
