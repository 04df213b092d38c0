"""Sorts and their check."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sorting import FIELD, is_sorted_copy, multiset_hash, numbers, sort, sort_slowly

RNG = random.Random(2)
SEED = bytes(range(16))
COUNT = 3001


def test_both_routines_give_the_same_and_pass():
    values = numbers(SEED, COUNT)
    assert np.array_equal(sort(values), sort_slowly(values))
    assert all(is_sorted_copy(sort(values), values, random.Random(seed)) for seed in range(50))


def test_multiset_hash_ignores_the_order_and_equals_the_plain_product():
    values = numbers(SEED, 37)
    plain = 1
    for value in values.tolist():
        plain = plain * (12345 - value) % FIELD
    assert multiset_hash(values, 12345) == multiset_hash(values[::-1], 12345) == plain


def test_one_element_exchanged_for_its_neighbour_is_found():
    values = numbers(SEED, COUNT)
    for _ in range(200):
        wrong = sort(values)
        place = RNG.randrange(1, COUNT)
        wrong[place] = wrong[place - 1]
        assert not is_sorted_copy(wrong, values, RNG)


@pytest.mark.parametrize("name", ["unsorted", "descending", "others", "evenly_spread", "short", "long_type", "nothing"])
def test_wrong_answers_are_refused(name):
    values = numbers(SEED, COUNT)
    wrong = {
        "unsorted": values,
        "descending": sort(values)[::-1],
        "others": sort(numbers(bytes(16), COUNT)),
        "evenly_spread": np.linspace(0, (1 << 30) - 1, COUNT).astype(np.uint32),
        "short": sort(values)[:-1],
        "long_type": sort(values).astype(np.uint64),
        "nothing": None,
    }[name]
    assert not is_sorted_copy(wrong, values, RNG)
