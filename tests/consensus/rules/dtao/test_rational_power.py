"""The fast rational power equals the rule of DTAO 0.4 in both branches, extremes included."""

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from plain_power import SCALE, is_exact_root, reduced, series
from yumad.consensus.rules.v1.dtao.rational_power import evaluate_by_rule, integer_root, pow_ratio_scaled_1e18

WEIGHT_ONE = 10**18


def assert_follows_rule(numerator: int, denominator: int, power: int, root: int, precision: int) -> None:
    """The production result against the plain one, whichever branch the exponent belongs to."""
    result = pow_ratio_scaled_1e18(numerator, denominator, power, root, precision)
    assert result is not None
    small_power, small_root = reduced(power, root)
    if max(small_power, small_root) <= 1024:
        assert is_exact_root(result, numerator, denominator, small_power, small_root)
    else:
        assert result == series(numerator, denominator, small_power, small_root, precision)


def test_power_on_two_thousand_random_inputs_follows_the_rule() -> None:
    random_source = random.Random(20_260_630)  # the inputs are part of the test
    for number in range(2000):
        bits = random_source.choice((8, 30, 50, 64, 64, 64, 128))
        denominator = random_source.getrandbits(bits) + 1
        numerator = random_source.choice(
            (
                random_source.randint(1, denominator),
                max(denominator - random_source.randint(0, 1 << random_source.randrange(20)), 1),
                denominator + random_source.getrandbits(12),
            )
        )
        weight = random_source.choice(
            (random_source.randint(10**16, 99 * 10**16), 5 * 10**17 + random_source.randint(-(10**6), 10**6))
        )
        root = random_source.choice((WEIGHT_ONE, WEIGHT_ONE - weight))
        # The wide precision of limit prices takes twenty times as long in the plain version: every 16th is enough.
        assert_follows_rule(numerator, denominator, weight, root, 1024 if number % 16 == 0 else 256)


@pytest.mark.parametrize("precision", [256, 1024])
@pytest.mark.parametrize(
    ("numerator", "denominator"),
    [
        (1, 1),
        (1, 2**64 - 1),
        (2**64 - 2, 2**64 - 1),
        (2**64 - 1, 1),
        (2**128 - 1, 2**128 - 2),
        (2**128 - 1, 1),
        (3, 2),
        (1 << 63, 1 << 64),
        (10**18 - 1, 10**18),
    ],
)
@pytest.mark.parametrize("weight", [10**16, 10**16 + 1, 5 * 10**17, 5 * 10**17 - 1, 99 * 10**16, 99 * 10**16 - 1])
def test_power_at_extremes_follows_the_rule(numerator: int, denominator: int, weight: int, precision: int) -> None:
    if precision == 256:
        assert_follows_rule(numerator, denominator, weight, WEIGHT_ONE - weight, precision)
    assert_follows_rule(numerator, denominator, weight, WEIGHT_ONE, precision)


@settings(max_examples=200)
@given(
    st.integers(1, 2**64),
    st.integers(1, 2**64),
    st.integers(1, 40),
    st.integers(1, 40),
)
@example(8, 27, 1, 3)  # a perfect power: the floor is in doubt until it is computed exactly
@example(9, 4, 3, 2)
@example(1, 10**36, 1, 2)
def test_small_exponents_give_the_exact_floor(numerator: int, denominator: int, power: int, root: int) -> None:
    assert_follows_rule(numerator, denominator, power, root, 256)


@pytest.mark.parametrize("precision", [0, 32, 68, 255])
def test_low_precision_keeps_the_series_own_rounding(precision: int) -> None:
    for numerator in (3, 999, 2**40 + 1):
        assert_follows_rule(numerator, 2**41 - 1, 10**17 + 1, 10**18 - 7, precision)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((1, 0, 1, 1), None),
        ((1, 1, 1, 0), None),
        ((0, 0, 1, 1), None),
        ((0, 5, 1, 1), 0),
        ((0, 5, 0, 1), 0),
        ((7, 5, 0, 1), SCALE),
        ((7, 5, 3, 3), 7 * SCALE // 5),
        ((5, 5, 10**18 - 1, 10**18), SCALE),
    ],
)
def test_degenerate_arguments_have_their_defined_results(
    arguments: tuple[int, int, int, int], expected: int | None
) -> None:
    assert pow_ratio_scaled_1e18(*arguments, 256) == expected


def test_certificate_is_used_for_ordinary_swaps(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> int:
        raise AssertionError("the slow rule was needed")

    arguments = (21 * 10**15, 21 * 10**15 + 12_345_678, 499_999_999_500_000_000, 500_000_000_500_000_000, 256)
    expected = evaluate_by_rule(*arguments)
    monkeypatch.setattr("yumad.consensus.rules.v1.dtao.rational_power.evaluate_by_rule", refuse)
    assert pow_ratio_scaled_1e18(*arguments) == expected


@given(
    st.one_of(st.integers(0, 2**600), st.builds(pow, st.integers(0, 2**40), st.integers(1, 60))),
    st.integers(1, 60),
)
def test_integer_root_is_the_largest_that_fits(number: int, root: int) -> None:
    found = integer_root(number, root)
    assert found**root <= number < (found + 1) ** root
