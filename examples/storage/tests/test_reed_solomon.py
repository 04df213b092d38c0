"""Erasure coding: the field, and that any k shards give back all others."""

from __future__ import annotations

import itertools
import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from reed_solomon import interpolate, inverse, join, multiply, split

RNG = random.Random(4)


def by_shifts(a, b):
    """The field's product as it is defined: a polynomial product, reduced bit by bit."""
    product = 0
    for bit in range(8):
        if b >> bit & 1:
            product ^= a << bit
    for bit in range(14, 7, -1):
        if product >> bit & 1:
            product ^= 0x11D << (bit - 8)
    return product


def test_product_of_all_pairs_is_the_polynomial_product():
    for a, b in itertools.product(range(256), range(0, 256, 3)):
        assert multiply(a, b) == by_shifts(a, b)


def test_every_element_but_zero_has_an_inverse():
    assert all(multiply(a, inverse(a)) == 1 for a in range(1, 256))
    with pytest.raises(ZeroDivisionError):
        inverse(0)


@pytest.mark.parametrize(("k", "n"), [(1, 3), (2, 4), (3, 7), (5, 8)])
def test_every_choice_of_k_shards_gives_the_data_back(k, n):
    data = RNG.randbytes(k * 64 - 5)
    rows = split(data, k, 64)
    shards = {index: interpolate(rows, index) for index in range(n)}
    assert {index: shards[index] for index in range(k)} == rows
    for chosen in itertools.combinations(range(n), k):
        known = {index: shards[index] for index in chosen}
        assert join(known, k, len(data)) == data
        assert all(interpolate(known, index) == shards[index] for index in range(n))


def test_fewer_shards_than_k_tell_nothing_of_a_data_row():
    """With one of two shards known, every other row is possible: one for each value of the other shard."""
    known = b"\x2a"
    assert {interpolate({5: known, 6: bytes([other])}, 0) for other in range(256)} == {bytes([v]) for v in range(256)}


def test_last_point_of_the_field_is_usable():
    rows = split(b"data of two rows", 2, 8)
    last = {255: interpolate(rows, 255), 254: interpolate(rows, 254)}
    assert join(last, 2, 16) == b"data of two rows"


def test_shards_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="lengths"):
        interpolate({0: b"ab", 1: b"a"}, 2)
    with pytest.raises(ValueError, match="points"):
        interpolate({0: b"a"}, 256)
    with pytest.raises(ValueError, match="needed"):
        join({0: b"a"}, 2, 2)
    with pytest.raises(ValueError, match="bytes into"):
        split(b"12345", 2, 2)
