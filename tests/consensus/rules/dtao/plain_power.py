"""The rational power of DTAO 0.4 as the text has it: rounding after every term, LN2 anew each time, no short cuts."""

SCALE = 10**18


def reduced(power: int, root: int) -> tuple[int, int]:
    """The exponent by its greatest common divisor."""
    a, b = power, root
    while b:
        a, b = b, a % b
    return power // a, root // a


def is_exact_root(result: int, numerator: int, denominator: int, power: int, root: int) -> bool:
    """Step 3: whether `result` is the largest r with r^root * bd^power <= bn^power * S^root."""
    bound = numerator**power * SCALE**root
    scale = denominator**power
    return result**root * scale <= bound < (result + 1) ** root * scale


def series(numerator: int, denominator: int, power: int, root: int, precision: int) -> int:
    """Step 4, for a reduced exponent."""
    digits = max(precision, 32, SCALE.bit_length() + 8)
    bits = digits + 24
    guard, one, last = 1 << 24, 1 << bits, min(4096, bits + 128)

    def rounded(value: int) -> int:
        quotient, remainder = divmod(abs(value), guard)
        if remainder and 2 * remainder >= guard:
            quotient += 1
        return -quotient if value < 0 else quotient

    def ln1p(x: int) -> int:
        term = result = x
        previous = rounded(result)
        for n in range(2, last + 1):
            term = term * x // one
            if term == 0:
                break
            part = term // n
            if part == 0:
                break
            result += part if n % 2 else -part
            now = rounded(result)
            if abs(part) < guard or now == previous:
                break
            previous = now
        return result

    def ln(value: int) -> int:
        doublings = value.bit_length() - 1
        mantissa = (value << bits) >> doublings
        if mantissa >= 3 * one // 2:
            mantissa, doublings = mantissa >> 1, doublings + 1
        return ln1p(mantissa - one) + doublings * -ln1p(-one // 2)

    exponent = (ln(numerator) - ln(denominator)) * power // root
    term = result = one
    previous = rounded(result)
    for n in range(1, last + 1):
        term = term * exponent // (one * n)
        if term == 0:
            break
        result += term
        now = rounded(result)
        if abs(term) < guard or now == previous:
            break
        previous = now
    return rounded(result) * SCALE // (1 << digits)
