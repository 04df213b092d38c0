"""Products and their check: right ones pass, every way of being wrong is found."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from products import MAX_SIZE, MODULUS, chain, is_product, multiply, multiply_slowly

RNG = random.Random(1)
SEED, OTHER = bytes(range(16)), bytes(range(1, 17))


def by_hand(matrices):
    """The product in Python's whole numbers, which never round."""
    product = [[int(x) for x in row] for row in matrices[0]]
    for matrix in matrices[1:]:
        columns = [[int(x) for x in column] for column in matrix.T]
        product = [
            [sum(a * b for a, b in zip(row, column, strict=True)) % MODULUS for column in columns] for row in product
        ]
    return np.array(product, dtype=np.uint32)


def test_both_routines_agree_with_whole_numbers():
    matrices = chain(SEED, 12, 5)
    assert np.array_equal(multiply(matrices), by_hand(matrices))
    assert np.array_equal(multiply_slowly(matrices), by_hand(matrices))


def test_float_arithmetic_is_exact_for_the_largest_entries_at_the_largest_size():
    matrices = np.full((3, MAX_SIZE, MAX_SIZE), MODULUS - 1, dtype=np.float64)
    assert np.array_equal(multiply(matrices), by_hand(matrices))


def test_right_product_passes_under_many_random_vectors():
    matrices = chain(SEED, 32, 6)
    answer = multiply(matrices)
    assert all(is_product(answer, matrices, random.Random(seed)) for seed in range(200))


def test_one_wrong_entry_anywhere_is_found():
    matrices = chain(SEED, 32, 6)
    answer = multiply(matrices)
    for _ in range(300):
        wrong = answer.copy()
        row, column = RNG.randrange(32), RNG.randrange(32)
        wrong[row, column] = (int(wrong[row, column]) + RNG.randrange(1, MODULUS)) % MODULUS
        assert not is_product(wrong, matrices, RNG)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "matrix",
        np.zeros((8, 8), dtype=np.uint32),
        np.random.default_rng(1).integers(0, MODULUS, (32, 32)).astype(np.uint32),
        multiply(chain(SEED, 32, 6)).astype(np.float64),
        multiply(chain(SEED, 32, 6)).astype(np.uint32) + np.uint32(MODULUS),
        multiply(chain(SEED, 32, 6))[:, :31],
        np.zeros((32, 32), dtype=np.uint32),
        multiply(chain(OTHER, 32, 6)),
        multiply(chain(SEED, 32, 6)[-2:]),
        multiply(chain(SEED, 32, 6)).T.copy(),
    ],
    ids=[
        "none",
        "text",
        "small",
        "random",
        "floats",
        "out_of_range",
        "cut",
        "zeros",
        "another_job",
        "half_the_work",
        "transposed",
    ],
)
def test_wrong_answers_are_refused(answer):
    assert not is_product(answer, chain(SEED, 32, 6), RNG)


def test_job_outside_the_bounds_is_refused():
    for size, length, seed in (
        (0, 1, SEED),
        (MAX_SIZE + 1, 2, SEED),
        (4, 0, SEED),
        (4, 10_000, SEED),
        (4, 2, b"short"),
    ):
        with pytest.raises(ValueError, match="a job of"):
            chain(seed, size, length)
