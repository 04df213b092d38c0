"""Sorting of large arrays, and its check without sorting: sampled members, order, and equality as multisets.

As with products a job is a seed that both sides expand. The check reads the answer once and sorts nothing.
"""

from __future__ import annotations

from random import Random
from typing import Final

import numpy as np
from numpy.typing import NDArray

FIELD: Final = (1 << 31) - 1
"""Prime of the multiset hash; every element is below it."""

MAX_COUNT: Final = 1 << 20
SAMPLES: Final = 16
"""Elements looked up first, which already ends most wrong answers."""

HASH_POINTS: Final = 3
"""Two different multisets of N elements agree at a random point with probability at most N / FIELD: for N = 2^15 at
three points 2^-48."""

Numbers = NDArray[np.uint32]


def numbers(seed: bytes, count: int) -> Numbers:
    """The job's numbers, below 2^30. Raises ValueError outside the bounds above."""
    if not 1 <= count <= MAX_COUNT or len(seed) != 16:
        raise ValueError(
            f"a job of {count} numbers, seed of {len(seed)} bytes; expected 1 to {MAX_COUNT}, and 16 bytes"
        )
    raw = np.random.PCG64(int.from_bytes(seed, "little")).random_raw(count)
    return (raw >> np.uint64(34)).astype(np.uint32)


def sort(values: Numbers) -> Numbers:
    """By the machine's fast routine."""
    return np.sort(values)


def sort_slowly(values: Numbers) -> Numbers:
    """One object per number: some fifty times slower."""
    return np.array(sorted(values.tolist()), dtype=np.uint32)


def is_sorted_copy(answer: object, values: Numbers, rng: Random) -> bool:
    """Whether `answer` holds exactly the elements of `values` in ascending order, wrong with probability below 2^-48.

    `rng` must be unknown to whoever answered.
    """
    if not isinstance(answer, np.ndarray) or answer.dtype != np.uint32 or answer.shape != values.shape:
        return False
    if bool(np.any(answer[1:] < answer[:-1])) or int(answer[-1]) >= FIELD:
        return False
    wanted = values[[rng.randrange(len(values)) for _ in range(SAMPLES)]]
    places = np.searchsorted(answer, wanted)
    if int(places.max()) >= len(answer) or not np.array_equal(answer[places], wanted):
        return False
    points = [rng.randrange(FIELD) for _ in range(HASH_POINTS)]
    return all(multiset_hash(answer, point) == multiset_hash(values, point) for point in points)


def multiset_hash(values: Numbers, point: int) -> int:
    """Product of (point - x) over all x, modulo FIELD: the multiset's polynomial at `point`, in any order of the x."""
    terms = (point - values.astype(np.int64)) % FIELD
    while len(terms) > 1:
        half = len(terms) // 2
        folded = terms[:half] * terms[half : 2 * half] % FIELD
        terms = folded if len(terms) == 2 * half else np.append(folded, terms[-1])
    return int(terms[0])
