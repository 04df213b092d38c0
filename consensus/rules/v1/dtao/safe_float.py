"""SafeFloat: the decimal floating point of share pools, in integers (DTAO 0.6)."""

from __future__ import annotations

from typing import Final, NamedTuple

from ....types import U64_MAX

MANTISSA_FLOOR: Final = 10**20
"""A normal mantissa is above this..."""

MANTISSA_CEILING: Final = 10**21
"""...and at most this: 21 digits leave room for a product of two in the original's 256-bit steps."""

_DIGITS: Final = 10
_STRIDE: Final = 10**_DIGITS
_FAR_ABOVE: Final = MANTISSA_CEILING * _STRIDE
_FAR_BELOW: Final = MANTISSA_FLOOR // _STRIDE
"""Digits come and go ten at a time where at least ten have to: cutting digits by digit or all at once is the same."""

POWER_LIMIT: Final = 22
"""Powers of ten stop growing here: 10^22 empties every mantissa."""


class SafeFloat(NamedTuple):
    """mantissa * 10^exponent, in normal form or zero."""

    mantissa: int
    exponent: int


ZERO: Final = SafeFloat(0, 0)


def normal(mantissa: int, exponent: int) -> SafeFloat:
    """`norm`: the mantissa in (10^20, 10^21], digits beyond cut off; zero for zero."""
    if mantissa == 0:
        return ZERO
    while mantissa > _FAR_ABOVE:
        mantissa //= _STRIDE
        exponent += _DIGITS
    while mantissa <= _FAR_BELOW:
        mantissa *= _STRIDE
        exponent -= _DIGITS
    while mantissa > MANTISSA_CEILING:
        mantissa //= 10
        exponent += 1
    while mantissa <= MANTISSA_FLOOR:
        mantissa *= 10
        exponent -= 1
    return SafeFloat(mantissa, exponent)


def from_int(number: int) -> SafeFloat:
    """A non-negative integer; 1 becomes (10^21, -21)."""
    return normal(number, 0)


def power_of_ten(exponent: int) -> int:
    """`p10`: 10^k, and 10^22 for every larger k."""
    return int(10 ** min(exponent, POWER_LIMIT))


def add(a: SafeFloat, b: SafeFloat) -> SafeFloat:
    """Sum, aligned to the larger exponent; a zero operand leaves the other as it is."""
    if a == ZERO:
        return b
    if b == ZERO:
        return a
    left, right, exponent = _aligned(a, b)
    return normal(left + right, exponent)


def sub(a: SafeFloat, b: SafeFloat) -> SafeFloat | None:
    """Difference, clamped at 0 after alignment; None for zero less something."""
    if b == ZERO:
        return a
    if a == ZERO:
        return None
    left, right, exponent = _aligned(a, b)
    return normal(max(left - right, 0), exponent)


def mul_div(value: SafeFloat, factor: SafeFloat, divisor: SafeFloat) -> SafeFloat:
    """`muldiv(s, a, b)`: s * a / b, mantissas floored; zero when b is."""
    if divisor.mantissa == 0:
        return ZERO
    exponent = value.exponent + factor.exponent - divisor.exponent
    return normal(value.mantissa * factor.mantissa // divisor.mantissa, exponent)


def to_u64(value: SafeFloat) -> int:
    """Integer part, clamped to a u64."""
    if value.exponent >= 0:
        return min(value.mantissa * power_of_ten(value.exponent), U64_MAX)
    return min(value.mantissa // power_of_ten(-value.exponent), U64_MAX)


def _aligned(a: SafeFloat, b: SafeFloat) -> tuple[int, int, int]:
    """Both mantissas at the larger exponent, the smaller one's digits cut off."""
    exponent = max(a.exponent, b.exponent)
    left = a.mantissa // power_of_ten(exponent - a.exponent)
    right = b.mantissa // power_of_ten(exponent - b.exponent)
    return left, right, exponent
