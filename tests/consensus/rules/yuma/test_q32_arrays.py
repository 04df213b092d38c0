"""Array arithmetic equals integer arithmetic, most of all where a float quotient could round the wrong way."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from yumad.consensus.fixed_point import I32F32, proportion_to_u16, u16_to_proportion
from yumad.consensus.rules.v1.yuma import q32_arrays
from yumad.consensus.rules.v1.yuma.q32_arrays import ONE

shares = st.one_of(st.sampled_from((0, 1, 2, ONE - 1, ONE)), st.integers(0, ONE))


def near_integer_quotients(count: int) -> list[tuple[int, int]]:
    """(x, s) with x * 2^32 one below, at or one above a multiple of s: what rounding could push over an integer."""
    rng = random.Random(11)
    found = []
    while len(found) < count:
        divisor = rng.randrange(1, 1 << rng.randrange(2, 45)) | 1
        residue = rng.choice((0, 1, divisor - 1, divisor - 2))
        x = residue * pow(1 << 32, -1, divisor) % divisor  # x * 2^32 = residue (mod divisor)
        if 0 < x <= min(divisor, 2 * ONE):
            found.append((x, divisor))
    return found


def test_row_division_near_integer_quotients_is_exact() -> None:
    pairs = near_integer_quotients(20_000)
    values = np.array([[x, 0] for x, _ in pairs], dtype=np.int64)
    divisors = np.array([s for _, s in pairs], dtype=np.int64)
    quotients = q32_arrays.divide_rows(values, divisors)
    assert quotients[:, 0].tolist() == [(x << 32) // s for x, s in pairs]
    assert not quotients[:, 1].any()


def test_vector_division_near_integer_quotients_is_exact() -> None:
    for x, divisor in near_integer_quotients(3_000):
        assert q32_arrays.divide(np.array([x, 0], dtype=np.int64), divisor).tolist() == [(x << 32) // divisor, 0]


@given(st.lists(st.lists(shares, min_size=3, max_size=3), min_size=1, max_size=5))
def test_row_division_by_row_sums_equals_integer_division(rows: list[list[int]]) -> None:
    values = np.array(rows, dtype=np.int64)
    quotients = q32_arrays.divide_rows(values, values.sum(axis=1))
    assert quotients.tolist() == [[(x << 32) // sum(row) if sum(row) else 0 for x in row] for row in rows]


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=6), st.integers(0, 65535 * 4096))
def test_unit_division_equals_integer_division(units: list[int], others: int) -> None:
    divisor = sum(units) + others
    quotients = q32_arrays.divide_units(np.array(units, dtype=np.int64), np.array(divisor, dtype=np.int64))
    assert quotients.tolist() == [(u << 32) // divisor if divisor else 0 for u in units]


@given(st.lists(shares, min_size=2, max_size=2), st.lists(st.lists(shares, min_size=2, max_size=2), max_size=4))
def test_multiplication_of_shares_equals_integer_product(factors: list[int], rows: list[list[int]]) -> None:
    values = np.array(rows, dtype=np.int64).reshape(-1, 2)
    product = q32_arrays.multiply(np.array(factors, dtype=np.int64), values)
    assert product.tolist() == [[f * x >> 32 for f, x in zip(factors, row, strict=True)] for row in rows]
    for factor in factors:
        assert q32_arrays.multiply(factor, values).tolist() == [[factor * x >> 32 for x in row] for row in rows]


@pytest.mark.parametrize("bits", [33, 40, 52, 53, 54, 58, 61])
def test_reciprocal_near_integer_quotients_is_exact(bits: int) -> None:
    rng = random.Random(bits)
    values = [ONE, ONE + 1, 1 << 33, (1 << 33) + 1, (1 << 33) - 1]
    for _ in range(2_000):
        quotient = (1 << 64) // rng.randrange(1 << (bits - 1), 1 << bits)
        exact = (1 << 64) // quotient
        values += [v for v in (exact - 1, exact, exact + 1) if ONE <= v < 1 << 62]
    result = q32_arrays.reciprocal(np.array(values, dtype=np.int64))
    assert result.tolist() == [(1 << 64) // value for value in values]


def test_share_of_every_u16_equals_the_scalar_rule() -> None:
    parts = q32_arrays.proportion_from_u16(np.arange(65536, dtype=np.int64))
    assert parts.tolist() == [u16_to_proportion(u) for u in range(65536)]


@given(st.lists(shares, max_size=8))
def test_u16_of_shares_equals_the_scalar_rule(values: list[int]) -> None:
    stored = q32_arrays.proportion_to_u16(np.array(values, dtype=np.int64))
    assert stored.tolist() == [proportion_to_u16(I32F32(value)) for value in values]
