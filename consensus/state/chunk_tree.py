"""The cached Merkle tree of one column: only what a block touched is hashed again (CHAIN 4.1, 4.2).

Same shape as `merkle.root_of_hashes` (RFC 6962): pair neighbours level by level, promote an odd last node. The plain
version stays in `merkle.py`; the tests compare the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..domains import Domain
from ..types import Hash32
from .merkle import leaf_hash

CHUNK_BYTES: Final = 1024
"""Bytes under one leaf. Measured: 512 B and 4 KiB chunks are slower to build or to update (CHAIN 4.1)."""

HASH_BYTES: Final = 32

EMPTY_ROOT: Final = leaf_hash(b"")
"""Root of a column without bytes."""

_LEAF: Final = Domain.LEAF.value
_NODE: Final = Domain.NODE.value


def chunk_count(byte_length: int) -> int:
    """Leaves over `byte_length` bytes."""
    return -(-byte_length // CHUNK_BYTES)


class ChunkTree:
    """Levels of node hashes, leaves first, each packed into one bytearray (32 bytes a node, 6 % of the data)."""

    __slots__ = ("_levels",)

    def __init__(self) -> None:
        self._levels: list[bytearray] = [bytearray()]

    @property
    def leaves(self) -> int:
        """Number of leaves."""
        return len(self._levels[0]) // HASH_BYTES

    def root(self) -> Hash32:
        """Root over all leaves; EMPTY_ROOT without any."""
        top = self._levels[-1]
        return Hash32(bytes(top)) if top else EMPTY_ROOT

    def update(self, buffer: NDArray[np.uint8], byte_length: int, dirty: Iterable[int]) -> None:
        """Bring the tree to `byte_length` bytes of `buffer`, of which chunks `dirty` (any order) have changed.

        `buffer` holds whole chunks with zeros behind `byte_length`. Chunks at or above the new count are ignored; every
        chunk that did not exist before must be listed.
        """
        count = chunk_count(byte_length)
        changed = sorted(chunk for chunk in dirty if chunk < count)
        before = self.leaves
        if count != before:
            self._levels[0] = _resized(self._levels[0], count)
            # The last old node may now have a sibling, and the last new one may have lost its own.
            changed = _with(changed, min(before, count) - 1) if count else []
        leaves = self._levels[0]
        data = memoryview(buffer)  # type: ignore[arg-type]
        for chunk in changed:
            start = chunk * CHUNK_BYTES
            leaves[chunk * HASH_BYTES : chunk * HASH_BYTES + HASH_BYTES] = blake2b(
                data[start : start + CHUNK_BYTES], digest_size=HASH_BYTES, person=_LEAF
            ).digest()
        self._update_levels(changed)

    def _update_levels(self, changed: list[int]) -> None:
        depth = 0
        while (width := len(self._levels[depth]) // HASH_BYTES) > 1:
            below = self._levels[depth]
            depth += 1
            if depth == len(self._levels):
                self._levels.append(bytearray())
                changed = list(range(width))
            parents = (width + 1) // 2
            if len(self._levels[depth]) != parents * HASH_BYTES:
                self._levels[depth] = _resized(self._levels[depth], parents)
            above = self._levels[depth]
            changed = _parents(changed)
            for node in changed:
                pair = bytes(below[node * 64 : node * 64 + 64])
                if len(pair) == 64:
                    pair = blake2b(pair, digest_size=HASH_BYTES, person=_NODE).digest()
                above[node * HASH_BYTES : node * HASH_BYTES + HASH_BYTES] = pair
        del self._levels[depth + 1 :]

    def path(self, chunk: int) -> tuple[Hash32, ...]:
        """Sibling hashes of leaf `chunk` from the bottom; levels on which it is promoted give none."""
        siblings = []
        for level in self._levels:
            sibling = chunk ^ 1
            if sibling * HASH_BYTES < len(level):
                siblings.append(Hash32(bytes(level[sibling * HASH_BYTES : (sibling + 1) * HASH_BYTES])))
            chunk >>= 1
        return tuple(siblings)

    def copy(self) -> ChunkTree:
        """An independent copy."""
        twin = ChunkTree()
        twin._levels = [bytearray(level) for level in self._levels]
        return twin


def _resized(level: bytearray, nodes: int) -> bytearray:
    wanted = nodes * HASH_BYTES
    return level[:wanted] if len(level) > wanted else level + bytes(wanted - len(level))


def _with(ascending: list[int], item: int) -> list[int]:
    return ascending if item < 0 or item in ascending else sorted([*ascending, item])


def _parents(ascending: list[int]) -> list[int]:
    parents: list[int] = []
    for node in ascending:
        if not parents or parents[-1] != node >> 1:
            parents.append(node >> 1)
    return parents
