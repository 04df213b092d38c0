"""Reed-Solomon over GF(256): any k shards of a stripe give back every other one.

The k data rows are the values of a polynomial of degree k - 1 at the points 0 … k-1, byte by byte; shard j is its value
at point j. So the first k shards are the data itself, up to 256 shards may be made at any time, and repair and decoding
are one operation: interpolation from k known points to a wanted one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

POINTS: Final = 256
_POLYNOMIAL: Final = 0x11D
"""x^8 + x^4 + x^3 + x^2 + 1, for which 2 generates all non-zero elements."""

Row = NDArray[np.uint8]


def _tables() -> tuple[list[int], list[int], NDArray[np.uint8]]:
    powers, logarithms, value = [0] * 510, [0] * 256, 1
    for exponent in range(255):
        powers[exponent] = powers[exponent + 255] = value
        logarithms[value] = exponent
        value <<= 1
        if value & 0x100:
            value ^= _POLYNOMIAL
    products = np.zeros((256, 256), dtype=np.uint8)
    for a in range(1, 256):
        for b in range(1, 256):
            products[a, b] = powers[logarithms[a] + logarithms[b]]
    return powers, logarithms, products


_POWERS, _LOGARITHMS, _PRODUCTS = _tables()


def multiply(a: int, b: int) -> int:
    """Product in the field."""
    return int(_PRODUCTS[a, b])


def inverse(a: int) -> int:
    """1 / a. Raises ZeroDivisionError."""
    if a == 0:
        raise ZeroDivisionError("0 has no inverse in GF(256)")
    return _POWERS[255 - _LOGARITHMS[a]]


def interpolate(known: Mapping[int, bytes], wanted: int) -> bytes:
    """Shard at point `wanted` from shards at exactly k other points, all of one length (Lagrange).

    Raises ValueError for lengths that differ, or a point outside 0 … 255.
    """
    if wanted in known:
        return bytes(known[wanted])
    if not known or len({len(shard) for shard in known.values()}) != 1:
        raise ValueError(f"shards of lengths {sorted({len(s) for s in known.values()})}; expected one length")
    if not all(0 <= point < POINTS for point in (*known, wanted)):
        raise ValueError(f"points {sorted((*known, wanted))}; expected 0 to {POINTS - 1}")
    total = np.zeros(len(next(iter(known.values()))), dtype=np.uint8)
    for point, shard in known.items():
        coefficient = 1
        for other in known:
            if other != point:  # minus is plus is xor in this field
                coefficient = multiply(coefficient, multiply(wanted ^ other, inverse(point ^ other)))
        total ^= _PRODUCTS[coefficient][np.frombuffer(shard, dtype=np.uint8)]
    return total.tobytes()


def split(data: bytes, k: int, shard_bytes: int) -> dict[int, bytes]:
    """The k data rows, zero-padded. Raises ValueError when the data does not fit."""
    if not 1 <= k <= POINTS or len(data) > k * shard_bytes:
        raise ValueError(f"{len(data)} bytes into {k} shards of {shard_bytes}")
    padded = data.ljust(k * shard_bytes, b"\0")
    return {row: padded[row * shard_bytes : (row + 1) * shard_bytes] for row in range(k)}


def join(known: Mapping[int, bytes], k: int, length: int) -> bytes:
    """The data from any k shards."""
    chosen = dict(list(known.items())[:k])
    if len(chosen) < k:
        raise ValueError(f"{len(chosen)} shards are known; {k} are needed")
    return b"".join(interpolate(chosen, row) for row in range(k))[:length]
