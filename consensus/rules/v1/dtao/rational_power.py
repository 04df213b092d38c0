"""The AMM's rational power, bit for bit: `powr(bn, bd, en, ed, prec, 10^18)` of DTAO 0.4.

Three ways lead to the same integer:

* `_exact_root`: the floor of the true value, for reduced exponents up to 1024;
* `_series`: the fixed-point series of the original, for all others. Its rounding is part of the rules;
* `_certified`: the true value to about 2^-90 by short Taylor sums. Where both rules above are defined to be within
  2^-90 of the true value, and the next integer is farther than 2^-64, the floor is already decided. A swap takes
  microseconds this way; a value too near an integer falls back to its rule.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

SCALE: Final = 10**18
"""S of DTAO 0.4: every caller wants parts of 10^18."""

EXACT_EXPONENT_LIMIT: Final = 1024
"""Reduced exponents up to here are evaluated exactly, larger ones by the series."""

GUARD_BITS: Final = 24
"""G: fraction bits below the precision that the series rounds away at the end."""

FRACTION: Final = 176
"""Fraction bits of the short evaluation: 160 for the certificate and 16 that absorb its own floors."""

DOUBT: Final = FRACTION - 64
"""A fraction within 2^-64 of an integer decides nothing; the evaluation errs by less than 2^-90."""

BISECTED_DIGITS: Final = 20
"""Roots with so few binary digits are bisected: with more, Newton's steps converge for every root up to 1024."""

CERTIFIED_PRECISION: Final = 256
"""From this precision the series is within 2^-180 of the true value, so that the certificate covers it."""

CERTIFIED_BASE_BITS: Final = 128
"""Largest operands the error bound was derived for; reserves have 64 bits and prices 128."""

CERTIFIED_EXPONENT: Final = 128
"""Largest en/ed: weights between 1 % and 99 % give at most 99. It multiplies the error of the logarithm."""

CERTIFIED_LOGARITHM: Final = 64
"""Below e^-64 the series cancels and its digits mean less and less (DTAO 0.4, last lines)."""

CERTIFIED_DOUBLINGS: Final = 8
"""Results up to 2^8 are certified. The swaps' are at most 1; above, the absolute error would grow with the value."""


def pow_ratio_scaled_1e18(
    base_numerator: int, base_denominator: int, exponent_numerator: int, exponent_denominator: int, precision: int
) -> int | None:
    """About 10^18 * (bn/bd)^(en/ed), as the chain evaluates it; None when a denominator is 0 (DTAO 0.4).

    All arguments are non-negative integers of any size; `precision` is the number of fraction bits asked of the series.
    """
    if base_denominator == 0 or exponent_denominator == 0:
        return None
    if base_numerator == 0:
        return 0
    if exponent_numerator == 0 or base_numerator == base_denominator:
        return SCALE  # equal bases: both branches give exactly 1
    if exponent_numerator == exponent_denominator:
        return base_numerator * SCALE // base_denominator  # reduced to 1/1, hence the exact branch
    bases = base_numerator, base_denominator
    if precision >= CERTIFIED_PRECISION and max(bases).bit_length() <= CERTIFIED_BASE_BITS:
        certified = _certified(*bases, exponent_numerator, exponent_denominator)
        if certified is not None:
            return certified
    return evaluate_by_rule(*bases, exponent_numerator, exponent_denominator, precision)


def evaluate_by_rule(
    base_numerator: int, base_denominator: int, exponent_numerator: int, exponent_denominator: int, precision: int
) -> int:
    """Steps 2-4 of DTAO 0.4 as written, for positive arguments: reduce, then the exact root or the series."""
    divisor = _greatest_common_divisor(exponent_numerator, exponent_denominator)
    exponent_numerator //= divisor
    exponent_denominator //= divisor
    if max(exponent_numerator, exponent_denominator) <= EXACT_EXPONENT_LIMIT:
        return _exact_root(base_numerator, base_denominator, exponent_numerator, exponent_denominator)
    return _series(base_numerator, base_denominator, exponent_numerator, exponent_denominator, precision)


def _greatest_common_divisor(a: int, b: int) -> int:
    while b:
        a, b = b, a % b
    return a


# --- exact branch -----------------------------------------------------------------------------------------------------


def _exact_root(base_numerator: int, base_denominator: int, power: int, root: int) -> int:
    """Largest r with r^root * bd^power <= bn^power * 10^(18 root) (DTAO 0.4 step 3)."""
    return integer_root(base_numerator**power * SCALE**root // base_denominator**power, root)


def integer_root(number: int, root: int) -> int:
    """Largest r with r^root <= number.

    The upper half of the digits by recursion, then Newton's method from above, which falls until it meets the root. A
    start that is only the right power of two would take about `root` steps; few digits are bisected for that reason.
    """
    digits = -(-number.bit_length() // root)
    if digits <= BISECTED_DIGITS:
        low, high = 0, (1 << digits) + 1
        while high - low > 1:
            middle = (low + high) >> 1
            if middle**root <= number:
                low = middle
            else:
                high = middle
        return low
    half = digits // 2
    guess = (integer_root(number >> (half * root), root) + 1) << half
    while True:
        better = ((root - 1) * guess + number // guess ** (root - 1)) // root
        if better >= guess:
            return guess
        guess = better


# --- series branch ----------------------------------------------------------------------------------------------------


def _series(base_numerator: int, base_denominator: int, power: int, root: int, precision: int) -> int:
    """DTAO 0.4 step 4.

    The rule also stops where a term no longer changes the rounded sum. Two sums that round to the same multiple of
    2^G differ by less than 2^G, so the other condition, |term| < 2^G, stops there as well: rounding once is enough.
    """
    digits = max(precision, 32, SCALE.bit_length() + 8)
    bits = digits + GUARD_BITS
    difference = _series_ln(base_numerator, bits) - _series_ln(base_denominator, bits)
    result = _series_exp(difference * power // root, bits)
    return (_round_guard(result) * SCALE) >> digits


def _term_limit(bits: int) -> int:
    """N: last term of a series."""
    return min(4096, bits + 128)


def _round_guard(value: int) -> int:
    """`rnd`: the guard bits rounded away, halves away from zero."""
    rounded = (abs(value) + (1 << (GUARD_BITS - 1))) >> GUARD_BITS
    return -rounded if value < 0 else rounded


def _series_ln1p(x: int, bits: int) -> int:
    """ln(1 + x), x with `bits` fraction bits."""
    term = result = x
    for n in range(2, _term_limit(bits) + 1):
        term = (term * x) >> bits
        part = term // n
        if part == 0:
            break
        result = result + part if n & 1 else result - part
        if abs(part) < 1 << GUARD_BITS:
            break
    return result


@lru_cache(maxsize=4)  # two precisions are in use, 256 and 1024
def _series_ln2(bits: int) -> int:
    return -_series_ln1p(-(1 << (bits - 1)), bits)


def _series_ln(value: int, bits: int) -> int:
    """ln of a positive integer: mantissa in [3/4, 3/2) and a power of two."""
    doublings = value.bit_length() - 1
    mantissa = (value << bits) >> doublings
    if mantissa >= 3 << (bits - 1):
        mantissa >>= 1
        doublings += 1
    return _series_ln1p(mantissa - (1 << bits), bits) + doublings * _series_ln2(bits)


def _series_exp(exponent: int, bits: int) -> int:
    """e^exponent without range reduction: meaningless yet determined for exponents in the hundreds."""
    term = result = 1 << bits
    for n in range(1, _term_limit(bits) + 1):
        term = ((term * exponent) >> bits) // n
        if term == 0:
            break
        result += term
        if abs(term) < 1 << GUARD_BITS:
            break
    return result


# --- certified evaluation ---------------------------------------------------------------------------------------------


TABLE_STEP: Final = 6
"""Arguments are reduced to the nearest 1/64, which leaves 7 leading zero bits: at most 13 and 19 terms."""

MOST_EXP_TERMS: Final = 19
"""|r| <= 2^-7, and 2^-(7*20) / 20! < 2^-176."""


def _log_table() -> tuple[int, tuple[int, ...]]:
    """ln 2, and ln(j/64) for j = 0..128 (0 below 32, never read): sums of ln((j+1)/j) = 2 atanh(1/(2j+1))."""
    extra = FRACTION + 32

    def step(j: int) -> int:
        power = total = (2 << extra) // (2 * j + 1)
        n = 1
        while power:
            power //= (2 * j + 1) ** 2
            n += 2
            total += power // n
        return total

    table = [0] * 129
    for j in range(64, 128):
        table[j + 1] = table[j] + step(j)
    for j in range(63, 31, -1):
        table[j] = table[j + 1] - step(j)
    return table[128] >> 32, tuple(value >> 32 for value in table)


def _exp_table() -> tuple[int, ...]:
    """e^(j/64) at index j + 32, for j = -32..32."""
    extra = FRACTION + 32
    table = []
    for j in range(-32, 33):
        term = total = 1 << extra
        n = 0
        while term not in (0, -1):
            n += 1
            term = term * j // (64 * n)
            total += term
        table.append(total >> 32)
    return tuple(table)


LN2, LN_TABLE = _log_table()
EXP_TABLE: Final = _exp_table()
ODD_RECIPROCALS: Final = tuple((1 << FRACTION) // (2 * n + 1) for n in range(14))
"""Coefficients of atanh(z)/z in z^2."""


def _factorial_reciprocals() -> tuple[int, ...]:
    coefficients = [1 << FRACTION]
    for n in range(1, MOST_EXP_TERMS + 1):
        coefficients.append(coefficients[-1] // n)
    return tuple(coefficients)


FACTORIAL_RECIPROCALS: Final = _factorial_reciprocals()


def _polynomial(coefficients: Sequence[int], x: int, terms: int) -> int:
    """Horner's sum of coefficients[0..terms] * x^n with FRACTION fraction bits."""
    result = coefficients[terms]
    for n in range(terms - 1, -1, -1):
        result = coefficients[n] + (result * x >> FRACTION)
    return result


def _certified(base_numerator: int, base_denominator: int, power: int, root: int) -> int | None:
    """The floor of the true value, or None where it is in doubt or outside the proven range.

    Error: 13 floors and two table entries in the logarithm, up to 128 doublings, times en/ed <= 128, gives less than
    2^-160; the exponential adds 20 floors. Times 10^18 * 2^8 < 2^68 that is below 2^-90.
    """
    if power > root * CERTIFIED_EXPONENT:
        return None
    doublings = base_numerator.bit_length() - base_denominator.bit_length()
    if doublings > 0:
        base_denominator <<= doublings
    else:
        base_numerator <<= -doublings
    # The ratio is now in (1/2, 2); j/64 is nearest to it.
    j = ((base_numerator << (TABLE_STEP + 1)) + base_denominator) // (2 * base_denominator)
    left, right = base_numerator << TABLE_STEP, base_denominator * j
    z = ((left - right) << FRACTION) // (left + right)
    zeros = FRACTION - z.bit_length()
    atanh = z * _polynomial(ODD_RECIPROCALS, z * z >> FRACTION, min(FRACTION // (2 * zeros), 13)) >> (FRACTION - 1)
    logarithm = (doublings * LN2 + LN_TABLE[j] + atanh) * power // root
    if logarithm < -CERTIFIED_LOGARITHM << FRACTION:
        return None
    doublings = (2 * logarithm + LN2) // (2 * LN2)
    if doublings > CERTIFIED_DOUBLINGS:
        return None
    rest = logarithm - doublings * LN2
    j = ((rest >> (FRACTION - TABLE_STEP - 1)) + 1) >> 1
    rest -= j << (FRACTION - TABLE_STEP)
    zeros = FRACTION - rest.bit_length()
    value = EXP_TABLE[j + 32] * _polynomial(FACTORIAL_RECIPROCALS, rest, min(FRACTION // zeros, MOST_EXP_TERMS))
    scaled = (value >> FRACTION) * SCALE
    scaled = scaled << doublings if doublings > 0 else scaled >> -doublings
    fraction = scaled & ((1 << FRACTION) - 1)
    if fraction >> DOUBT == 0 or fraction >> DOUBT == (1 << (FRACTION - DOUBT)) - 1:
        return None
    return scaled >> FRACTION
