"""Shares of the emission of an epoch (YUMA 3.12)."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .q32_arrays import Q32Array, divide

HALF_BITS: Final = np.uint64(32)


@dataclass(frozen=True, slots=True)
class EmissionShares:
    """Normalised shares of each uid, Q32."""

    server: Q32Array
    validator: Q32Array
    combined: Q32Array


def emission_shares(
    incentive: Q32Array, dividends: Q32Array, stake: Q32Array, active_stake: Q32Array
) -> EmissionShares:
    """Shares by incentive and dividends; by stake when nobody earned any.

    In that fallback validators share by active stake or, with none active, by all stake over the threshold; servers
    get nothing.
    """
    combined = incentive + dividends
    total = int(combined.sum())
    if total == 0:
        fallback = active_stake if bool(active_stake.any()) else stake
        return EmissionShares(server=incentive, validator=fallback, combined=fallback)
    server, validator, both = divide(np.stack((incentive, dividends, combined)), total)
    return EmissionShares(server, validator, both)


def rao(shares: Q32Array, emission: int) -> NDArray[np.uint64]:
    """floor(share * emission) for shares up to ONE and a u64 emission, through 32-bit halves."""
    parts = shares.view(np.uint64)
    high, low = np.uint64(emission >> 32), np.uint64(emission & 0xFFFF_FFFF)
    return parts * high + (parts * low >> HALF_BITS)
