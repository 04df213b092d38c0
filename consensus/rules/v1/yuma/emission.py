"""Shares of the emission of an epoch (YUMA 3.12)."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from .q32_arrays import Q32Array, divide

HALF_BITS: Final = np.uint64(32)


SERVER: Final = 0
VALIDATOR: Final = 1
COMBINED: Final = 2
"""Rows of the array of shares: they are divided and paid out together, at a third of the cost."""


def emission_shares(incentive: Q32Array, dividends: Q32Array, stake: Q32Array, active_stake: Q32Array) -> Q32Array:
    """Shares by incentive, by dividends and by both, shape (3, n); by stake when nobody earned any.

    In that fallback validators share by active stake or, with none active, by all stake over the threshold; servers
    get nothing.
    """
    earned = np.empty((3, len(stake)), dtype=np.int64)
    earned[SERVER] = incentive
    earned[VALIDATOR] = dividends
    np.add(incentive, dividends, out=earned[COMBINED])
    total = int(earned[COMBINED].sum())
    if total != 0:
        return divide(earned, total)
    earned[VALIDATOR:] = active_stake if bool(active_stake.any()) else stake
    return earned


def rao(shares: Q32Array, emission: int) -> NDArray[np.uint64]:
    """floor(share * emission) for shares up to ONE and a u64 emission, through 32-bit halves."""
    parts = shares.view(np.uint64)
    high, low = np.uint64(emission >> 32), np.uint64(emission & 0xFFFF_FFFF)
    return parts * high + (parts * low >> HALF_BITS)
