"""Liquid alpha: a bond rate of its own for each validator-miner pair (YUMA 1.5 and 3.11, "liquid update").

Three consequences of the rule are easy to lose, and each has its place here:

* a bond on a target that the voter has no weight entry for is erased at once (`entry_mask`);
* rates read weights and bonds through a forward-only cursor, which in an unsorted row misses the entries behind a
  larger uid (`cursor_view`); the bond itself does not;
* the exponential is a fixed series with two truncations a term, not a library function (`exponential_array`).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ....fixed_point import E_BITS, EXPONENT_LIMIT, SERIES_LAST_TERM, sigmoid_slope, u16_to_proportion
from .inputs import EpochInput
from .q32_arrays import ONE, Q32Array, multiply, reciprocal
from .weights import EntryKeys, WeightMatrix

HALF: Final = ONE >> 1
WORD: Final = 1 << 64

DENSE_SHARE: Final = (3, 4)
"""From this share of entries on, rates are computed for the whole matrix: gathering would cost more than it saves."""


@dataclass(frozen=True, slots=True)
class LiquidBounds:
    """The subnet's liquid parameters in Q32."""

    low: int
    """Lower bound of the rate; also the rate everywhere when it is not below `high`."""

    high: int
    """Upper bound of the rate."""

    slope: int
    """Factor on the distance from a half: steepness / -100."""

    @classmethod
    def of(cls, case: EpochInput) -> "LiquidBounds":
        """Bounds from the stored u16 and i16 parameters, or a study's own."""
        parameters = case.parameters
        stored = u16_to_proportion(parameters.alpha_low), u16_to_proportion(parameters.alpha_high)
        low, high = stored if case.liquid_rates is None else case.liquid_rates
        return cls(low=low, high=high, slope=sigmoid_slope(parameters.alpha_sigmoid_steepness))


def liquid_bonds(
    bond_weights: WeightMatrix, old: Q32Array, old_keys: EntryKeys | None, consensus: Q32Array, bounds: LiquidBounds
) -> Q32Array:
    """New bonds, shape (n, k): min(MUL(ONE - alpha, old) + MUL(alpha, w), ONE) on the entries of `bond_weights`."""
    weights = bond_weights.values
    present = entry_mask(bond_weights)
    if bounds.high <= bounds.low:  # min with high, then max with low: the rate is `low`
        updated = np.minimum(multiply(ONE - bounds.low, old) + multiply(bounds.low, weights), ONE)
        return np.where(present, updated, 0)
    seen_weights = cursor_view(weights, bond_weights.keys)
    seen_bonds = cursor_view(old, old_keys)
    if np.count_nonzero(present) * DENSE_SHARE[1] >= present.size * DENSE_SHARE[0]:
        rates = bond_rates(seen_weights, seen_bonds, consensus[:, np.newaxis], bounds)
        return _updated(rates, old, weights) * present
    entries = np.flatnonzero(present)
    target = entries // weights.shape[1]
    rates = bond_rates(seen_weights.ravel()[entries], seen_bonds.ravel()[entries], consensus[target], bounds)
    bonds = np.zeros_like(weights)
    bonds.reshape(-1)[entries] = _updated(rates, old.ravel()[entries], weights.ravel()[entries])
    return bonds


def _updated(rates: Q32Array, old: Q32Array, weights: Q32Array) -> Q32Array:
    """The bond after one step at the given rates, capped at ONE."""
    bonds = multiply(ONE - rates, old)
    bonds += multiply(rates, weights)
    return np.minimum(bonds, ONE, out=bonds)


def entry_mask(matrix: WeightMatrix) -> NDArray[np.bool_]:
    """Where the matrix has an entry, explicit zeros included."""
    if matrix.keys is None:
        return matrix.values > 0
    present = np.zeros(matrix.values.shape, dtype=np.bool_)
    position, uid = np.divmod(matrix.keys, len(present))
    present[uid, position] = True
    return present


def cursor_view(values: Q32Array, keys: EntryKeys | None) -> Q32Array:
    """The matrix as the forward-only cursor reads it: entries behind a larger uid of their row count as 0.

    Keys of a later row are larger than all before, so one running maximum over all rows finds the hidden entries.
    """
    if keys is None:
        return values
    seen = keys[np.maximum.accumulate(keys) == keys]
    position, uid = np.divmod(seen, len(values))
    view = np.zeros_like(values)
    view[uid, position] = values[uid, position]
    return view


def bond_rates(weights: Q32Array, bonds: Q32Array, consensus: Q32Array, bounds: LiquidBounds) -> Q32Array:
    """Liquid alpha of each pair, for low < high; all arguments are shares that broadcast together.

    The distance is what a buy exceeds consensus by, or what a sell gives up. The spec's clamps of it and of the result
    change nothing for shares, and are left out.
    """
    buy = np.maximum(weights - consensus, 0)
    distance = np.where(weights >= bonds, buy, bonds - weights)
    distance -= HALF
    share = reciprocal(ONE + exponential_array(_times_slope(distance, bounds.slope)))
    rates = multiply(bounds.high - bounds.low, share)
    rates += bounds.low
    return rates


def _times_slope(distance: Q32Array, slope: int) -> Q32Array:
    """MUL(slope, distance), floored, for |distance| <= ONE / 2: the slope is taken apart so that nothing overflows."""
    integer, fraction = slope >> 32, slope & (ONE - 1)
    product = distance * integer
    if fraction:
        product += (distance * fraction) >> 32
    return product


def exponential_array(values: Q32Array) -> Q32Array:
    """EXP_SAFE of each value (YUMA 1.5); the array form of `fixed_point.exponential`."""
    powers = np.abs(values)
    if int(powers.max(initial=0)) > EXPONENT_LIMIT:
        np.minimum(powers, EXPONENT_LIMIT, out=powers)
    result = exponential_series(powers)
    negative = values < 0
    result[negative] = reciprocal(result[negative])
    result[values == ONE] = E_BITS  # only +1 is special: -1 lies on the series
    return result


def exponential_series(powers: Q32Array) -> Q32Array:
    """ONE + x + x^2/2! + ... + x^31/31! for 0 <= x <= 20, each term truncated twice.

    The two truncations of a term are one: floor(floor(t*x / 2^32) / i) = floor(t*x / (i * 2^32)). The series of the
    largest x bounds all terms: it tells when they have vanished and how much of a product fits into 64 bits.
    """
    x = powers.view(np.uint64)
    result = x + np.uint64(ONE)
    term = x.copy()
    wide = _WideFactor.split(x)
    bound = highest = int(x.max(initial=0))
    for i in range(2, SERIES_LAST_TERM + 1):
        if bound == 0:
            break
        if bound * highest < WORD:
            term *= x
            term //= np.uint64(i << 32)
        elif bound < MIDDLE_BOUND:
            wide.multiply_to_16(term)
            term //= np.uint64(i << 16)
        else:
            wide.multiply_to_32(term)
            term //= np.uint64(i)
        bound = (bound * highest >> 32) // i
        result += term
    return result.view(np.int64)


MIDDLE_BOUND: Final = 1 << 43
"""A term below it, times x without its lowest 16 bits (x <= 20, so less than 2^20.4), fits into 64 bits."""


@dataclass(frozen=True, slots=True)
class _WideFactor:
    """The series' x in two parts, for products with it that need up to 95 bits."""

    whole: NDArray[np.uint64]
    high: NDArray[np.uint64]
    low: NDArray[np.uint64]
    buffer: NDArray[np.uint64]

    @classmethod
    def split(cls, x: NDArray[np.uint64]) -> "_WideFactor":
        """x = high * 2^16 + low."""
        return cls(x, x >> np.uint64(16), x & np.uint64(0xFFFF), np.empty_like(x))

    def multiply_to_16(self, term: NDArray[np.uint64]) -> None:
        """term = floor(term * x / 2^16), for term and x below MIDDLE_BOUND."""
        np.multiply(term, self.low, out=self.buffer)
        np.right_shift(self.buffer, np.uint64(16), out=self.buffer)
        term *= self.high
        term += self.buffer

    def multiply_to_32(self, term: NDArray[np.uint64]) -> None:
        """term = floor(term * x / 2^32), for term below 2^59 and x up to 20: the upper half of the term by itself."""
        upper = (term >> np.uint64(32)) * self.whole
        term &= np.uint64(0xFFFF_FFFF)
        self.multiply_to_16(term)
        term >>= np.uint64(16)
        term += upper
