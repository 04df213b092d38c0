"""The five fixed-point formats and the primitives on them (YUMA section 1, examples of 9.5)."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yumad.consensus.fixed_point import (
    I32F32,
    Q32,
    Q64,
    Q96,
    UQ64,
    UQ96,
    FixedFormat,
    alpha_sigmoid,
    exponential,
    proportion_to_u16,
    round_to_u16,
    u16_to_proportion,
    u64_to_proportion,
    upscale_to_u16,
)
from yumad.daemon.vector_files import CHECKERS
from yumad.daemon.vector_record import Record

ONE = Q32.one
FORMATS = (Q32, Q64, Q96, UQ96, UQ64)
LATER_KINDS = {"pow_ratio_scaled_1e18", "perquintill_from_rational_u128"}
"""Primitives of the pools, which this part does not compute."""


def fixed(number: float) -> I32F32:
    return I32F32(round(number * ONE))


def test_public_primitive_records_all_match(shared_folder: Path) -> None:
    checked = 0
    with gzip.open(shared_folder / "data/vectors/primitives_public.jsonl.gz", "rt") as lines:
        for line in lines:
            body = json.loads(line)
            if body["kind"] not in LATER_KINDS:
                record = Record("public", body["id"], body["kind"], body)
                assert list(CHECKERS[record.kind](record)) == []
                checked += 1
    assert checked == 385


@pytest.mark.parametrize(
    ("number", "bits"),
    [
        (0, 4294967296),
        (0.5, 7081203935),
        (-0.5, 2605029348),
        (1, 11674931200),
        (-1, 1580030169),
        (5, 637429664624),
        (-5, 28939262),
        (20, 2066907302758576256),
        (-20, 8),
        (21, 2066907302758576256),
        (-100, 8),
    ],
)
def test_exponential_of_worked_examples_gives_the_published_bits(number: float, bits: int) -> None:
    assert exponential(fixed(number)) == bits


def test_multiplication_of_negative_values_floors_downward() -> None:
    assert Q32.mul(I32F32(-3), fixed(0.5)) == -2


def test_division_truncates_toward_zero_and_yields_zero_on_overflow() -> None:
    third = Q32.div_or_zero(ONE, fixed(3))
    assert third == 1431655765
    assert Q32.mul(third, third) == 477218588
    assert Q32.div_or_zero(I32F32(-1), fixed(2)) == 0
    assert Q32.div_or_zero(Q32.maximum, I32F32(1)) == 0
    assert Q32.div_or_zero(ONE, I32F32(0)) == 0
    assert Q32.div(Q32.maximum, I32F32(1)) == Q32.maximum


def test_saturating_division_by_zero_raises_with_the_value() -> None:
    with pytest.raises(ZeroDivisionError, match="I32F32: 5 divided by 0"):
        Q32.div(I32F32(5), I32F32(0))


def test_sum_wraps_and_normalize_of_zero_sum_changes_nothing() -> None:
    assert Q32.sum([Q32.maximum, I32F32(1)]) == Q32.minimum
    assert Q32.normalize([I32F32(0), I32F32(0)]) == [0, 0]
    assert Q32.normalize([I32F32(5), I32F32(-5)]) == [5, -5]


def test_sigmoid_of_worked_examples_gives_the_published_bits() -> None:
    low, high = u16_to_proportion(45875), u16_to_proportion(58982)
    assert alpha_sigmoid(I32F32(0), ONE, I32F32(0), low, high, 1000) == 3859754218
    assert alpha_sigmoid(fixed(0.5), fixed(0.25), fixed(0.5), low, high, 1000) == 3071671555


@pytest.mark.parametrize(
    ("values", "scaled"),
    [
        ([1, 2, 3], [21845, 43690, 65535]),
        ([10, 20], [32768, 65535]),
        ([60000, 30000, 1], [65535, 32767, 1]),
        ([40000, 10000], [65535, 16384]),
        ([5, 0], [65535, 0]),
        ([0, 0], [0, 0]),
        ([], []),
    ],
)
def test_upscale_of_worked_examples_rounds_by_branch(values: list[int], scaled: list[int]) -> None:
    assert upscale_to_u16(values) == scaled


def test_u16_share_loses_one_unit_in_a_round_trip_except_at_the_ends() -> None:
    assert [proportion_to_u16(u16_to_proportion(u)) for u in (0, 65535)] == [0, 65535]
    assert all(proportion_to_u16(u16_to_proportion(u)) == u - 1 for u in range(1, 65535))


def test_shares_of_worked_examples_give_the_published_bits() -> None:
    assert (u16_to_proportion(32767), u16_to_proportion(32768)) == (2147450879, 2147516416)
    assert u64_to_proportion(((1 << 64) - 1) // 2) == 2147483647
    assert u64_to_proportion(971718665099567868) == 226245882


def test_rounding_ties_go_away_from_zero_and_overflow_is_none() -> None:
    assert [round_to_u16(fixed(x)) for x in (0.5, 1.5, -0.5, 65535.4, 70000)] == [1, 2, 0, 65535, 65535]
    assert round_to_u16(Q32.maximum) is None


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
@given(data=st.data())
def test_every_operation_stays_inside_its_container(form: FixedFormat[I32F32], data: st.DataObject) -> None:
    raw = st.one_of(st.integers(form.minimum, form.maximum), st.sampled_from((form.minimum, form.maximum, form.one)))
    a, b = data.draw(raw), data.draw(raw)
    a, b = I32F32(a), I32F32(b)
    for result in (form.add(a, b), form.sub(a, b), form.mul(a, b), form.div_or_zero(a, b), form.floor(a)):
        assert form.fits(result)
    assert form.wrap(form.sum([a, b])) == form.sum([a, b])
    assert form.mul(a, form.one) == a
    assert form.div_or_zero(a, form.one) == a
