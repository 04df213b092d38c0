"""Epoch inputs the arithmetic is not defined for are refused by name; rows are packed with true flags."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from epoch_cases import epoch_case, parameters
from yumad.consensus.rules.v1.yuma.epoch import run_epoch
from yumad.consensus.rules.v1.yuma.inputs import EpochInput
from yumad.consensus.rules.v1.yuma.mechanisms import run_mechanisms
from yumad.consensus.rules.v1.yuma.sparse_rows import rows_from_lists
from yumad.consensus.types import InvalidError


def case(count: int = 2) -> EpochInput:
    return epoch_case([5] * count, [[(1, 7)]], permits=[1] * count, last_update=[990] * count, registration=[1] * count)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"emission": -1}, "emission is -1; expected a u64"),
        ({"emission": 1 << 64}, "emission is 18446744073709551616; expected a u64"),
        ({"block": 1 << 64}, "block is 18446744073709551616; expected a u64"),
        ({"owner_uid": 2}, "owner_uid is 2; expected a uid below 2 or none"),
        ({"permit": np.ones(3, dtype=np.bool_)}, "permit has 3 elements; expected one for each of 2 uids"),
        ({"last_update": np.ones(1, dtype=np.uint64)}, "last_update has 1 elements; expected one for each of 2 uids"),
        ({"bonds": rows_from_lists([], 3)}, "bonds has 3 rows; expected one for each of 2 uids"),
        ({"commit_block": np.ones(1, dtype=np.uint64)}, "commit_block has 1 elements"),
        ({"parameters": parameters(bonds_moving_average=1_000_001)}, "bonds_moving_average is 1000001"),
    ],
)
def test_epoch_of_undefined_input_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidError) as raised:
        run_epoch(replace(case(), **changes))
    assert message in raised.value.message


@pytest.mark.parametrize("count", [0, 4097])
def test_epoch_of_too_few_or_too_many_uids_is_refused(count: int) -> None:
    with pytest.raises(InvalidError, match=f"an epoch of {count} uids; expected 1..4096"):
        run_epoch(case(count))


def test_subnet_without_mechanisms_is_refused() -> None:
    with pytest.raises(InvalidError, match="a subnet without mechanisms"):
        run_mechanisms([], 1, None)


@pytest.mark.parametrize(
    ("rows", "ascending", "full"),
    [
        ([], True, True),
        ([[(0, 1), (1, 2)], [], [(1, 3)]], True, False),
        ([[(0, 1), (1, 2), (2, 3)], [], [(0, 0), (1, 0), (2, 0)]], True, True),
        ([[(1, 1), (0, 2)]], False, False),
        ([[(2, 1)], [(0, 2)]], True, False),
        ([[(0, 1), (1, 2), (3, 3)]], True, False),
        ([[(1, 1), (1, 2)]], False, False),
    ],
)
def test_row_flags_say_what_the_rows_are(rows: list[list[tuple[int, int]]], ascending: bool, full: bool) -> None:
    packed = rows_from_lists(rows, 3)
    assert (packed.ascending, packed.full) == (ascending, full)
    assert packed.to_lists() == [[list(pair) for pair in row] for row in rows] + [[]] * (3 - len(rows))
