"""Exact products of long chains of matrices over a prime field, and their check in a fraction of the time (Freivalds).

A job is a 16-byte seed: both sides expand it to the same `length` square matrices A1 … Am, so that a request is tiny
and no two miners ever get the same work. The answer is C = A1·A2·…·Am modulo `MODULUS`.
"""

from __future__ import annotations

from random import Random
from typing import Final

import numpy as np
from numpy.typing import NDArray

MODULUS: Final = 8_388_593
"""Largest prime below 2^23: with MAX_SIZE = 2^7 terms a dot product stays below 2^53, so float64 arithmetic is exact
and the fast matrix product of the machine may be used."""

MAX_SIZE: Final = 128
MAX_LENGTH: Final = 1024
"""Bounds on what a validator may ask of a miner in one call."""

CHECK_VECTORS: Final = 2
"""Each random vector misses a wrong product with probability at most 1/MODULUS: two give 2^-46."""

Matrix = NDArray[np.uint32]


def chain(seed: bytes, size: int, length: int) -> NDArray[np.float64]:
    """The job's matrices, shape (length, size, size), entries in [0, 2^22) as float64.

    The raw stream of PCG64 is the same in every release of numpy. Raises ValueError outside the bounds above.
    """
    if not 1 <= size <= MAX_SIZE or not 1 <= length <= MAX_LENGTH or len(seed) != 16:
        raise ValueError(
            f"a job of {length} matrices of size {size} with a seed of {len(seed)} bytes; expected at most "
            f"{MAX_LENGTH} of size {MAX_SIZE}, and 16 bytes"
        )
    count = length * size * size
    raw = np.random.PCG64(int.from_bytes(seed, "little")).random_raw((count + 1) // 2)
    halves = raw.astype("<u8", copy=False).view("<u4")[:count] >> np.uint32(10)  # 22 bits, below MODULUS
    return halves.astype(np.float64).reshape(length, size, size)


def multiply(matrices: NDArray[np.float64]) -> Matrix:
    """The product, by the machine's fast float64 routine; exact, see MODULUS."""
    product: NDArray[np.float64] = matrices[0]
    for matrix in matrices[1:]:
        product = _reduced(product @ matrix)
    return product.astype(np.uint32)


def multiply_slowly(matrices: NDArray[np.float64]) -> Matrix:
    """The same product in 64-bit integers, which no fast routine serves: seven times slower."""
    whole = matrices.astype(np.int64)
    product: NDArray[np.int64] = whole[0]
    for matrix in whole[1:]:
        product = (product @ matrix) % MODULUS
    return product.astype(np.uint32)


def is_product(answer: object, matrices: NDArray[np.float64], rng: Random) -> bool:
    """Whether `answer` is the chain's product, wrong with probability at most MODULUS^-CHECK_VECTORS (Freivalds).

    C·r is compared with A1·(A2·(…(Am·r))) for random r: O(length · size²) instead of O(length · size³). `rng` must be
    unknown to whoever answered. Anything that is no matrix of the right shape and range is simply wrong.
    """
    _, size, _ = matrices.shape
    if not isinstance(answer, np.ndarray) or answer.dtype != np.uint32 or answer.shape != (size, size):
        return False
    if int(answer.max()) >= MODULUS:
        return False
    drawn = [[float(rng.randrange(MODULUS)) for _ in range(CHECK_VECTORS)] for _ in range(size)]
    vectors = np.array(drawn, dtype=np.float64)
    expected = vectors
    for matrix in matrices[::-1]:
        expected = _reduced(matrix @ expected)
    return bool(np.array_equal(_reduced(answer.astype(np.float64) @ vectors), expected))


def _reduced(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """values modulo MODULUS for whole numbers up to MAX_SIZE · MODULUS²; some ten times faster than numpy's own.

    The rounded quotient is never too small, and at most one too large, which leaves a negative rest.
    """
    rest: NDArray[np.float64] = values - np.floor(values / MODULUS) * MODULUS
    rest[rest < 0] += MODULUS
    return rest
