"""Stake of each uid: inheritance, total, threshold and normalisation (YUMA 2.1 and 3.2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ....fixed_point import UQ96, u64_to_proportion
from ....types import InvalidError
from .q32_arrays import Q32Array

LOW_HALF: Final = np.uint64(0xFFFF_FFFF)
HALF_BITS: Final = np.uint64(32)

STAKE_LIMIT: Final = 1 << 63
"""Exclusive bound of all stake of one epoch in rao. The supplies of TAO and alpha end at 21e15; from here on the
original's sum would wrap."""

ROUNDING_MARGIN: Final = 1e-5  # lint: certified-float
"""How near an integer a float share of stake must be to be redone exactly. It errs by less than 2^-19 < 2e-6."""

TOTAL_SCALE: Final = 2.0**-64  # lint: certified-float
FRACTION_SCALE: Final = 2.0**-32  # lint: certified-float


@dataclass(frozen=True, slots=True)
class TotalStake:
    """Total stake of each uid, `whole + fraction / 2^32` rao: I64F64 raw bits without their 32 always-zero ones."""

    whole: NDArray[np.uint64]
    """`u64(total)`: what the threshold is compared with, and what is stored as raw stake."""

    fraction: NDArray[np.uint64]
    """Fraction in parts of 2^32."""

    def to_q64(self) -> list[int]:
        """Raw I64F64 bits of each uid."""
        return [(w << 64) + (f << 32) for w, f in zip(self.whole.tolist(), self.fraction.tolist(), strict=True)]


def inherited_stake(own: int, children: Sequence[int], parents: Sequence[tuple[int, int]]) -> int:
    """Stake of a hotkey after delegation to children and from parents, in rao (YUMA 2.1).

    `children`: the u64 proportions given away; `parents`: (u64 proportion, parent's own stake). Each product floors by
    itself, and what is given away is taken off (down to 0) before anything is added.
    """
    stake = UQ96.from_int(own)
    given = UQ96.from_int(0)
    for proportion in children:
        given = UQ96.add(given, UQ96.mul(stake, u64_to_proportion(proportion)))
    received = UQ96.from_int(0)
    for proportion, parent_stake in parents:
        received = UQ96.add(received, UQ96.mul(UQ96.from_int(parent_stake), u64_to_proportion(proportion)))
    return UQ96.to_u64(UQ96.add(UQ96.sub(stake, given), received))


def total_stake(alpha: NDArray[np.uint64], tao: NDArray[np.uint64], tao_weight: int) -> TotalStake:
    """`alpha + tao * tao_weight` per uid (YUMA 2.1); `tao_weight` is the stored u64.

    Raises InvalidError when all stakes together reach 2^63 rao.
    """
    if (int(alpha.max()) + int(tao.max())) * len(alpha) >= STAKE_LIMIT:  # rare: only then is the sum worth its time
        everything = sum(alpha.tolist()) + sum(tao.tolist())
        if everything >= STAKE_LIMIT:
            raise InvalidError(f"stakes add up to {everything} rao; expected less than 2^63, far above both supplies")
    weight = np.uint64(u64_to_proportion(tao_weight))
    low = (tao & LOW_HALF) * weight
    whole = alpha + (tao >> HALF_BITS) * weight + (low >> HALF_BITS)
    return TotalStake(whole, low & LOW_HALF)


def normalized_stake(total: TotalStake, threshold: int, owner_uid: int | None) -> Q32Array:
    """S of YUMA 3.2: stakes below `threshold` zeroed (never the owner's), NORM in Q64, floored to Q32.

    Both truncations together are floor(total * 2^32 / sum). A float quotient decides it except within 1e-5 of an
    integer, where it is done again in Python ints.
    """
    whole, fraction = total.whole, total.fraction
    if threshold > 0:
        enough = whole >= np.uint64(threshold)
        if owner_uid is not None:
            enough[owner_uid] = True
        whole, fraction = whole * enough, fraction * enough
    sum_bits = (int(whole.sum()) << 32) + int(fraction.sum())  # neither sum can wrap: see STAKE_LIMIT
    if sum_bits == 0:
        return np.zeros(len(whole), dtype=np.int64)
    scaled = (whole + fraction * FRACTION_SCALE) / (sum_bits * TOTAL_SCALE)  # lint: certified-float
    nearest = np.rint(scaled)
    share: Q32Array = scaled.astype(np.int64)
    for uid in ((np.abs(scaled - nearest) < ROUNDING_MARGIN) & (scaled > 0)).nonzero()[0].tolist():
        bits = (int(whole[uid]) << 32) + int(fraction[uid])
        share[uid] = (bits << 32) // sum_bits
    return share
