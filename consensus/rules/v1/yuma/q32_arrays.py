"""Q32 arithmetic on whole numpy arrays: the array forms of YUMA 1.2-1.4.

Values are raw Q32 bits in int64 arrays. Inside an epoch every one of them is a share, a sum of shares or a quotient of
them, hence never negative and, unless said otherwise, at most ONE = 2^32. That is what makes 64-bit words enough:

* a product of two shares is at most 2^64, and reaches it only when both are ONE;
* a share, and the sum of up to 2^20 shares, is an exact float64, so IEEE division gives the correctly rounded quotient.

Floats are used for that one purpose, in lines marked `certified-float`: each quotient is either proven exact or checked
against its integer residual.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from ....types import U16_MAX

Q32Array = NDArray[np.int64]

ONE: Final = 1 << 32
"""The raw Q32 value of 1."""

QUOTIENT_SCALE: Final = 2.0**-32  # lint: certified-float
"""Multiplying a divisor by a power of two is exact; it moves the binary point of the quotient to where Q32 has it."""


def multiply(factor: Q32Array | int, values: Q32Array) -> Q32Array:
    """MUL of shares: floor(factor * values / 2^32), broadcasting; both operands in 0..ONE.

    The unsigned product wraps to 0 only for ONE * ONE, which is repaired; `factor` should be the smaller array, because
    it alone is searched for ONE.
    """
    factors = np.asarray(factor, dtype=np.int64)
    product = factors.view(np.uint64) * values.view(np.uint64)
    product >>= np.uint64(32)
    result: Q32Array = product.view(np.int64)
    if factors.max(initial=0) == ONE:
        np.copyto(result, values, where=factors == ONE)
    return result


def divide(values: Q32Array, divisor: int) -> Q32Array:
    """DIV0 of non-negative values, of any shape, by one divisor: floor(values * 2^32 / divisor).

    With divisor 0 the values must all be 0, and stay so. Values of ONE and more, which few epochs have, leave no room
    for the shift and take Python ints.
    """
    divisor = max(divisor, 1)
    if int(values.max(initial=0)) < ONE:
        quotient = values.view(np.uint64) << np.uint64(32)
        quotient //= np.uint64(divisor)
        return quotient.view(np.int64)
    exact = [(value << 32) // divisor for value in values.reshape(-1).tolist()]
    return np.array(exact, dtype=np.int64).reshape(values.shape)


def divide_rows(values: Q32Array, divisors: Q32Array) -> Q32Array:
    """DIV0 of each row of a non-negative matrix by its own divisor, not smaller than the row's values.

    Values up to 2^33, divisors up to 2^53; where the divisor is 0 the values must be 0 too, and stay so. A correctly
    rounded float quotient has the right floor or, where rounding hit an integer from below, one more. Only quotients
    that are integers can be wrong, and for them the exact residual tells: its sign survives the wrap modulo 2^64.
    """
    divisors = np.maximum(divisors, 1)
    quotient = values.astype(np.float64)  # lint: certified-float
    quotient /= (divisors * QUOTIENT_SCALE)[:, np.newaxis]  # lint: certified-float
    whole = np.floor(quotient)
    result: Q32Array = whole.astype(np.int64)
    suspect = (whole == quotient).reshape(-1).nonzero()[0]
    if suspect.size:
        flat = result.reshape(-1)
        guess = flat[suspect]
        residual = (values.reshape(-1)[suspect] << 32) - guess * divisors[suspect // values.shape[1]]
        flat[suspect] = guess - (residual < 0)
    return result


def divide_units(units: NDArray[np.int64], divisors: NDArray[np.int64]) -> Q32Array:
    """floor(units * 2^32 / divisors) for stored u16 values and broadcast integer sums of them; 0 where the sum is 0.

    Exact without a check: the numerator is below 2^48, so a quotient that is not an integer lies at least 1/divisor
    away from the next one, which is more than a float64 rounding error of it.
    """
    quotient = units.astype(np.float64)  # lint: certified-float
    quotient /= np.maximum(divisors, 1) * QUOTIENT_SCALE  # lint: certified-float
    result: Q32Array = quotient.astype(np.int64)
    return result


def normalize(values: Q32Array) -> Q32Array:
    """NORM of a vector: divided by its sum; unchanged when that is 0."""
    return divide(values, int(values.sum()))


def proportion_from_u16(parts: NDArray[np.int64]) -> Q32Array:
    """FRAC16: floor(parts * 2^32 / 65535) for u16 values, as parts * 65537 and one more for 65535 itself."""
    share = parts * 65537
    share.reshape(-1)[(parts == U16_MAX).reshape(-1).nonzero()[0]] += 1
    return share


def proportion_to_u16(values: Q32Array) -> NDArray[np.uint16]:
    """PROP16: floor(values * 65535), for values in 0..ONE, of any shape."""
    product = values * U16_MAX
    product >>= 32
    return product.astype(np.uint16)


FLOAT_EXACT: Final = 1 << 53
"""Integers below this are exact as float64."""


def reciprocal(values: Q32Array) -> Q32Array:
    """floor(2^64 / value) = SDIV(ONE, value) for values in ONE..2^62.

    As in `divide_rows`; a value that float64 cannot hold may throw the estimate off by one either way, and then all
    residuals are looked at.
    """
    quotient = float(1 << 64) / values  # lint: certified-float
    whole = np.floor(quotient)
    result: Q32Array = whole.astype(np.int64)
    exact = int(values.max(initial=0)) < FLOAT_EXACT
    suspect = np.flatnonzero(whole == quotient) if exact else np.arange(values.size)
    if suspect.size:
        flat = result.reshape(-1)
        guess, value = flat[suspect], values.reshape(-1)[suspect]
        residual = -(guess * value)  # of 2^64, modulo 2^64
        flat[suspect] = guess - (residual < 0) + (residual >= value)
    return result
