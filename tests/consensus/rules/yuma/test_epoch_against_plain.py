"""The array epoch equals the plain one, on random small inputs full of corners."""

import random
from typing import Any

import numpy as np
import pytest
from epoch_cases import epoch_case
from hypothesis import given
from hypothesis import strategies as st
from plain_epoch import plain_epoch
from yumad.consensus.rules.v1.yuma.epoch import run_epoch
from yumad.consensus.rules.v1.yuma.inputs import EpochInput
from yumad.consensus.rules.v1.yuma.outputs import EpochOutput
from yumad.daemon.vector_epochs import STORED_FIELDS, plain

BLOCK = 5000
U16_CORNERS = (0, 1, 2, 32767, 32768, 65534, 65535)


def assert_same(case: EpochInput) -> None:
    expected = plain_epoch(case)
    output = run_epoch(case, trace=True)
    assert {name: plain(getattr(output, name)) for name in STORED_FIELDS} == expected.out
    assert {name: plain(getattr(output.trace, name)) for name in expected.raw} == expected.raw
    assert_flags_are_true(output)
    untraced = run_epoch(case)
    assert untraced.trace is None
    assert {name: plain(getattr(untraced, name)) for name in STORED_FIELDS} == expected.out


def assert_flags_are_true(output: EpochOutput) -> None:
    """The order flags of returned bonds say what a look at the rows says."""
    uids = [[uid for uid, _ in row] for row in output.bonds.to_lists()]
    if output.bonds.ascending:
        assert all(row == sorted(row) for row in uids)
    if output.bonds.full:
        assert all(row in ([], list(range(len(uids)))) for row in uids)
    dtypes = {name: getattr(output, name).dtype for name in STORED_FIELDS if name != "bonds"}
    assert {str(dtype) for dtype in dtypes.values()} == {"bool", "uint16", "uint64"}


u16 = st.one_of(st.sampled_from(U16_CORNERS), st.integers(0, 65535))
stakes = st.one_of(
    st.sampled_from((0, 0, 1, 2, 10**9, 21 * 10**15, 1 << 58)), st.integers(0, 100), st.integers(0, 21 * 10**15)
)


@st.composite
def epochs(draw: st.DrawFn) -> EpochInput:
    count = draw(st.integers(1, 7))

    def column(values: st.SearchStrategy[int]) -> list[int]:
        return draw(st.lists(values, min_size=count, max_size=count))

    def rows() -> list[list[tuple[int, int]]]:
        style = draw(st.sampled_from(("full", "sorted", "unsorted", "empty")))
        if style == "empty":
            return []
        if style == "full":
            return [[(uid, draw(u16)) for uid in range(count)] for _ in range(count)]
        found = []
        for _ in range(count):
            uids = draw(st.lists(st.integers(0, count), unique=True, max_size=count + 1))
            found.append([(uid, draw(u16)) for uid in (sorted(uids) if style == "sorted" else uids)])
        return found

    same_stake = draw(st.booleans())
    stake = [draw(stakes)] * count if same_stake else column(stakes)
    low, high = draw(u16), draw(u16)
    if draw(st.booleans()):
        low, high = min(low, high), max(low, high)
    times = st.sampled_from((0, 1, BLOCK - 900, BLOCK - 400, BLOCK - 300, BLOCK - 299, BLOCK - 100, BLOCK))
    return epoch_case(
        stake,
        rows(),
        rows(),
        tao=column(stakes),
        permits=draw(st.one_of(st.just([True] * count), st.lists(st.booleans(), min_size=count, max_size=count))),
        last_update=draw(st.one_of(st.just([BLOCK - 1] * count), st.lists(times, min_size=count, max_size=count))),
        registration=draw(st.one_of(st.just([1] * count), st.lists(times, min_size=count, max_size=count))),
        block=draw(st.sampled_from((BLOCK, BLOCK, 10))),
        tempo=draw(st.sampled_from((1, 300, 6000))),
        cutoff_blocks=draw(st.sampled_from((1, 500, 5000))),
        last_step=draw(st.sampled_from((0, BLOCK - 300))),
        owner_uid=draw(st.one_of(st.none(), st.integers(0, count - 1))),
        emission=draw(st.sampled_from((0, 1, 10**9, (1 << 64) - 1))),
        commit_block=draw(st.one_of(st.none(), st.lists(times, min_size=count, max_size=count))),
        kappa=draw(u16),
        bonds_penalty=draw(u16),
        bonds_moving_average=draw(st.one_of(st.sampled_from((0, 1, 900_000, 1_000_000)), st.integers(0, 1_000_000))),
        yuma3=draw(st.booleans()),
        liquid_alpha=draw(st.booleans()),
        alpha_low=low,
        alpha_high=high,
        alpha_sigmoid_steepness=draw(
            st.one_of(st.sampled_from((0, 1, -1, 1000, 2500, 32767, -32768)), st.integers(-32768, 32767))
        ),
        max_allowed_validators=draw(st.integers(0, count + 1)),
        stake_threshold=draw(st.sampled_from((0, 1, 50, 10**9))),
        tao_weight=draw(st.sampled_from((0, 1, 971718665099567868, (1 << 64) - 1))),
    )


@given(epochs())
def test_epoch_of_random_small_subnet_equals_plain_version(case: EpochInput) -> None:
    assert_same(case)


def random_subnet(seed: int, count: int, validators: int, **changes: Any) -> EpochInput:
    """A subnet of a realistic size, rows dense but for the validators' own uids."""
    rng = random.Random(seed)
    everyone = range(count)
    stake = [rng.randrange(1, 10**15) if uid < validators else 0 for uid in everyone]

    def rows() -> list[list[tuple[int, int]]]:
        return [
            [(uid, rng.randrange(65536)) for uid in everyone if rng.random() < 0.95] if row < validators else []
            for row in everyone
        ]

    return epoch_case(
        stake,
        rows(),
        rows(),
        permits=[uid < validators for uid in everyone],
        last_update=[990] * count,
        registration=[rng.choice((1, 1, 1, 700)) for _ in everyone],
        max_allowed_validators=validators,
        **changes,
    )


@pytest.mark.parametrize("penalty", [0, 40000, 65535])
@pytest.mark.parametrize(("yuma3", "liquid"), [(False, False), (True, False), (True, True)])
def test_epoch_of_medium_subnet_equals_plain_version(yuma3: bool, liquid: bool, penalty: int) -> None:
    assert_same(random_subnet(penalty, 40, 12, yuma3=yuma3, liquid_alpha=liquid, bonds_penalty=penalty))


@pytest.mark.parametrize("steepness", [100, 1000, 1700, 2500, 4000, 32767, -1000, -32768])
def test_liquid_epoch_of_any_steepness_equals_plain_version(steepness: int) -> None:
    case = random_subnet(steepness, 24, 8, yuma3=True, liquid_alpha=True, alpha_sigmoid_steepness=steepness)
    assert_same(case)


def test_epoch_input_is_not_written() -> None:
    case = random_subnet(1, 20, 6, yuma3=True, liquid_alpha=True)
    arrays = [case.last_update, case.registration, case.permit, case.alpha_stake, case.tao_stake]
    arrays += [rows_array for rows in (case.weights, case.bonds) for rows_array in (rows.start, rows.uid, rows.value)]
    copies = [array.copy() for array in arrays]
    for array in arrays:
        array.setflags(write=False)
    run_epoch(case, trace=True)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_one_validator_with_all_stake_equals_plain_version() -> None:
    for yuma3, liquid in ((False, False), (True, False), (True, True)):
        assert_same(
            epoch_case(
                [10**15, 0, 0],
                [[(1, 65535)], [], []],
                [[(1, 65535), (2, 65535)], [], []],
                permits=[1, 0, 0],
                last_update=[990, 990, 990],
                registration=[1, 1, 1],
                yuma3=yuma3,
                liquid_alpha=liquid,
                alpha_low=0,
                bonds_moving_average=0,
            )
        )
