"""Binary fixed-point arithmetic on Python ints: the one home of the rules of YUMA section 1.

A value is `raw / 2**fraction`, held in a signed or unsigned container of fixed width. Every operation takes and returns
raw integers. The five formats of the original:

| here | original | container | fraction | used for |
|---|---|---|---|---|
| `Q32`  | I32F32 | signed 64    | 32 | everything inside an epoch |
| `Q64`  | I64F64 | signed 128   | 64 | raw stakes, their first normalisation, the bonds moving average |
| `Q96`  | I96F32 | signed 128   | 32 | shares into rao |
| `UQ96` | U96F32 | unsigned 128 | 32 | inheritance of stake, tao weight, dividends |
| `UQ64` | U64F64 | unsigned 128 | 64 | mechanism weights, prices |

Each format has its own NewType, so that a Q64 stake cannot be handed to a Q32 operation without a conversion. Nothing
here raises on overflow: each operation names what it does instead (clamp, zero, or None). The array forms of the same
rules, for the epoch, are in `rules/v1/yuma/q32_arrays.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, NewType, TypeVar

from .types import U16_MAX, U64_MAX

I32F32 = NewType("I32F32", int)
I64F64 = NewType("I64F64", int)
I96F32 = NewType("I96F32", int)
U96F32 = NewType("U96F32", int)
U64F64 = NewType("U64F64", int)

T = TypeVar("T", I32F32, I64F64, I96F32, U96F32, U64F64)


def divide_toward_zero(numerator: int, divisor: int) -> int:
    """Quotient truncated toward zero, as the original's integer division; Python's `//` floors instead."""
    quotient = abs(numerator) // abs(divisor)
    return -quotient if (numerator < 0) != (divisor < 0) else quotient


@dataclass(frozen=True, slots=True)
class FixedFormat(Generic[T]):
    """One fixed-point format and its operations on raw integers (YUMA 1.1-1.3)."""

    name: str
    """Name of the original's type, as vectors and error texts spell it."""

    bits: int
    """Width of the container."""

    fraction: int
    """Number of fraction bits."""

    minimum: T
    """Smallest raw value (0 when unsigned)."""

    maximum: T
    """Largest raw value."""

    one: T
    """The raw value of 1."""

    def fits(self, raw: int) -> bool:
        """Whether the container can hold `raw`."""
        return self.minimum <= raw <= self.maximum

    def clamp(self, raw: int) -> T:
        """`raw`, or the nearer bound of the container."""
        if self.minimum <= raw <= self.maximum:
            return raw  # type: ignore[return-value]  # as `_typed`, without the call: the commonest operation of all
        return self.minimum if raw < self.minimum else self.maximum

    def wrap(self, raw: int) -> T:
        """`raw` modulo the container's width, as unchecked machine arithmetic leaves it."""
        low = raw & ((1 << self.bits) - 1)
        return self._typed(low - (1 << self.bits) if low > self.maximum else low)

    def add(self, a: T, b: T) -> T:
        """ADD: exact, then clamped."""
        return self.clamp(a + b)

    def sub(self, a: T, b: T) -> T:
        """SUB: exact, then clamped (at 0 when unsigned)."""
        return self.clamp(a - b)

    def mul(self, a: T, b: T) -> T:
        """MUL: product floored toward minus infinity, then clamped."""
        return self.clamp((a * b) >> self.fraction)

    def checked_mul(self, a: T, b: T) -> T | None:
        """Product floored, or None when it does not fit."""
        return self._checked((a * b) >> self.fraction)

    def mul_or_zero(self, a: T, b: T) -> T:
        """CMUL0: product floored, 0 when it does not fit (Yuma3 dividends)."""
        product = self.checked_mul(a, b)
        return self._typed(0) if product is None else product

    def checked_div(self, a: T, b: T) -> T | None:
        """Quotient truncated toward zero, or None when the divisor is 0 or the quotient does not fit."""
        return None if b == 0 else self._checked(divide_toward_zero(a << self.fraction, b))

    def div_or_zero(self, a: T, b: T) -> T:
        """DIV0: quotient truncated toward zero; 0 when the divisor is 0 **or the quotient does not fit**."""
        if a >= 0 and b > 0:  # where floor and truncation are the same: every share
            raw = (a << self.fraction) // b
            return self._typed(raw if raw <= self.maximum else 0)
        quotient = self.checked_div(a, b)
        return self._typed(0) if quotient is None else quotient

    def div(self, a: T, b: T) -> T:
        """SDIV: quotient truncated toward zero, then clamped. The divisor must not be 0 (the original aborts there)."""
        if b == 0:
            raise ZeroDivisionError(f"{self.name}: {a} divided by 0; callers prove that the divisor is not 0")
        return self.clamp(divide_toward_zero(a << self.fraction, b))

    def sum(self, values: Sequence[T]) -> T:
        """SUM: plain two's-complement sum, which wraps."""
        return self.wrap(sum(values))

    def normalize(self, values: Sequence[T]) -> list[T]:
        """NORM: each value divided by the sum; unchanged when the sum is 0 (YUMA 1.4)."""
        total = self.sum(values)
        return list(values) if total == 0 else [self.div_or_zero(value, total) for value in values]

    def from_int(self, number: int) -> T:
        """An integer as a fixed-point value, clamped."""
        return self.clamp(number << self.fraction)

    def to_int(self, value: T, maximum: int) -> int:
        """Integer part (floor), clamped into 0..maximum: the conversion into an unsigned integer type."""
        return min(max(value >> self.fraction, 0), maximum)

    def to_u16(self, value: T) -> int:
        """Integer part clamped to a u16."""
        return self.to_int(value, U16_MAX)

    def to_u64(self, value: T) -> int:
        """Integer part clamped to a u64."""
        whole = value >> self.fraction
        return whole if 0 <= whole <= U64_MAX else self.to_int(value, U64_MAX)

    def floor(self, value: T) -> T:
        """The value without its fraction, rounded toward minus infinity. Always fits: both bounds' integers do."""
        return self._typed(value >> self.fraction << self.fraction)

    def from_fraction_bits(self, raw: int, fraction: int) -> T:
        """A raw value of another format (`fraction` bits) in this one: shifted (floor when narrowing), then clamped."""
        shift = self.fraction - fraction
        return self.clamp(raw << shift if shift >= 0 else raw >> -shift)

    def _checked(self, raw: int) -> T | None:
        return self._typed(raw) if self.fits(raw) else None

    def _typed(self, raw: int) -> T:
        return raw  # type: ignore[return-value]  # a NewType costs nothing at run time; only this class may name it


Q32: Final = FixedFormat("I32F32", 64, 32, I32F32(-(1 << 63)), I32F32((1 << 63) - 1), I32F32(1 << 32))
Q64: Final = FixedFormat("I64F64", 128, 64, I64F64(-(1 << 127)), I64F64((1 << 127) - 1), I64F64(1 << 64))
Q96: Final = FixedFormat("I96F32", 128, 32, I96F32(-(1 << 127)), I96F32((1 << 127) - 1), I96F32(1 << 32))
UQ96: Final = FixedFormat("U96F32", 128, 32, U96F32(0), U96F32((1 << 128) - 1), U96F32(1 << 32))
UQ64: Final = FixedFormat("U64F64", 128, 64, U64F64(0), U64F64((1 << 128) - 1), U64F64(1 << 64))


def proportion_to_u16(value: I32F32) -> int:
    """PROP16: a share into parts of 65535, **truncated** (0.5 gives 32767), clamped to a u16 (YUMA 1.3)."""
    return Q32.to_u16(Q32.mul(value, Q32.from_int(U16_MAX)))


def parts_to_proportion(value: I32F32) -> I32F32:
    """A Q32 number of parts of 65535 as a share, truncated toward zero."""
    return Q32.div_or_zero(value, Q32.from_int(U16_MAX))


def u16_to_proportion(parts: int) -> I32F32:
    """FRAC16: parts of 65535 as a share; 65535 is exactly 1 (YUMA 1.3)."""
    return parts_to_proportion(Q32.from_int(parts))


def u64_to_proportion(parts: int) -> U96F32:
    """`prop(p)` of YUMA 2.1: parts of 2^64-1 as a share; a child key's proportion, or the stored tao weight."""
    return UQ96.div_or_zero(UQ96.from_int(parts), UQ96.from_int(U64_MAX))


def round_to_u16(value: I32F32) -> int | None:
    """ROUND to the nearest integer, ties away from zero, clamped to a u16; None when the rounded value leaves Q32."""
    rounded = (abs(value) + (Q32.one >> 1)) >> Q32.fraction
    signed = -rounded if value < 0 else rounded
    return Q32.to_u16(I32F32(signed << Q32.fraction)) if Q32.fits(signed << Q32.fraction) else None


def upscale_fixed_to_u16(values: Sequence[I32F32]) -> list[int]:
    """UPSCALE16 on Q32 values: scaled so that the largest becomes 65535 (YUMA 1.4).

    The two branches round differently, and both are kept: above 32768 a single truncated factor is used, because there
    `x * 65535` would leave the container.
    """
    largest = max(values, default=I32F32(0))
    if largest == 0:
        return [0] * len(values)
    full = Q32.from_int(U16_MAX)
    if largest > Q32.from_int(32768):
        factor = Q32.div_or_zero(full, largest)
        scaled = [Q32.mul(value, factor) for value in values]
    else:
        scaled = [Q32.div_or_zero(Q32.mul(value, full), largest) for value in values]
    return [round_to_u16(value) or 0 for value in scaled]


def upscale_to_u16(values: Sequence[int]) -> list[int]:
    """UPSCALE16 on u16 weights, as applied when a weight row is stored (YUMA 1.4, 5.1)."""
    return upscale_fixed_to_u16([Q32.from_int(value) for value in values])


EXPONENT_LIMIT: Final = I32F32(20 << 32)
"""EXP_SAFE clamps its argument to +-20: e^20 is the last integer power that leaves room in I32F32."""

E_BITS: Final = I32F32(22802600 << 9)
"""e as the original's constant, which has only 23 fraction bits; it does not lie on the series (YUMA 1.5)."""

SERIES_LAST_TERM: Final = 31
"""The series always runs through the power 31; there is no convergence test, so late zero terms cost nothing."""


def exponential(value: I32F32) -> I32F32:
    """EXP_SAFE: e to the power of `value` clamped to +-20, by the fixed 31-term series (YUMA 1.5).

    Two truncations per term; negative arguments are the truncated reciprocal of the positive ones. 1 is special-cased.
    """
    clamped = max(min(value, EXPONENT_LIMIT), -EXPONENT_LIMIT)
    if clamped == 0:
        return Q32.one
    if clamped == Q32.one:
        return E_BITS
    power = abs(clamped)
    result, term = power + Q32.one, power
    for divisor in range(2, SERIES_LAST_TERM + 1):
        term = (term * power >> Q32.fraction) // divisor
        result += term
    return I32F32((1 << 64) // result if clamped < 0 else result)


def sigmoid_slope(steepness: int) -> I32F32:
    """Factor on the distance in the alpha sigmoid: steepness / -100, truncated toward zero (YUMA 3.11)."""
    return Q32.div(Q32.from_int(steepness), Q32.from_int(-100))


def alpha_sigmoid(consensus: I32F32, weight: I32F32, bond: I32F32, low: I32F32, high: I32F32, steepness: int) -> I32F32:
    """Liquid alpha of one validator-miner pair: `low`..`high`, by how far a buy or sell departs (YUMA 3.11).

    `steepness` is the stored i16; all other arguments are Q32 shares.
    """
    buy = min(max(Q32.sub(weight, consensus), 0), Q32.one)
    sell = min(max(Q32.sub(bond, weight), 0), Q32.one)
    distance = I32F32(buy if weight >= bond else sell)
    exponent = Q32.mul(sigmoid_slope(steepness), Q32.sub(distance, I32F32(Q32.one >> 1)))
    share = Q32.div(Q32.one, Q32.add(Q32.one, exponential(exponent)))
    alpha = Q32.add(low, Q32.mul(share, Q32.sub(high, low)))
    return max(min(alpha, high), low)
