"""Keyed blobs of varying length - identities, certificates, commitments - kept as ordinary columns (CHAIN 4.2).

A blob table `b` is a key table (`b/key`, `b/used`) with `b/length` and `b/first`, and a heap of 256-byte blocks
(`b.heap/data`, `b.heap/next`) in which each value is a chain. Blocks are reused lowest first and a freed block is all
zeros, so roots, undo, proofs and storage need nothing of their own for blobs.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from ..types import InvalidError
from .column import ColumnSpec
from .key_table import FreeRows, KeyTable

if TYPE_CHECKING:
    from .state import State

BLOCK_BYTES: Final = 256
"""Half a block is lost per blob on average: 128 bytes beside identities of kilobytes and certificates of hundreds."""

MAX_KEY_BYTES: Final = 39
"""Longest key: with its length byte a row is 40 bytes. Account + netuid + a tag need 35."""

MAX_BLOB_BYTES: Final = 1 << 16
"""Longest value any table may allow."""

_FREE: Final = 0
_END: Final = 1
_FIRST_LINK: Final = 2
"""`next` of a block: 0 free, 1 last of its chain, n + 2 followed by block n. `first` uses the same code."""


def blob_columns(name: str) -> tuple[ColumnSpec, ...]:
    """Columns of blob table `name`."""
    return (
        *KeyTable.columns(
            name, MAX_KEY_BYTES + 1, (ColumnSpec(f"{name}/length", "<u4"), ColumnSpec(f"{name}/first", "<u4"))
        ),
        ColumnSpec(f"{name}.heap/data", "u1", (BLOCK_BYTES,)),
        ColumnSpec(f"{name}.heap/next", "<u4"),
    )


class BlobTable:
    """Reads and writes of one blob table; made by `State.blobs`."""

    __slots__ = ("_data", "_free", "_keys", "_next", "_state", "name")

    def __init__(self, state: State, name: str, keys: KeyTable | None = None) -> None:
        self.name = name
        self._state = state
        self._keys = KeyTable(state, name) if keys is None else keys
        self._data, self._next = f"{name}.heap/data", f"{name}.heap/next"
        self._free = FreeRows(np.flatnonzero(state.array(self._next) == _FREE).tolist())

    def get(self, key: bytes) -> bytes | None:
        """The value under `key`, or None."""
        row = self._keys.find(_padded(key))
        if row is None:
            return None
        length = self._state.read(f"{self.name}/length", row)
        data = self._state.array(self._data)
        return b"".join(data[block].tobytes() for block in self._chain(row))[:length]

    def put(self, key: bytes, value: bytes, *, max_bytes: int = MAX_BLOB_BYTES) -> None:
        """Set the value under `key` (1 to MAX_KEY_BYTES bytes). Raises InvalidError for a key or value too long."""
        if len(value) > min(max_bytes, MAX_BLOB_BYTES):
            raise InvalidError(f"blob of {len(value)} bytes in {self.name}, at most {max_bytes} allowed")
        state, row = self._state, self._keys.open(_padded(key))
        self._release(self._chain(row))
        blocks = [self._allocate() for _ in range(-(-len(value) // BLOCK_BYTES))]
        for position, block in enumerate(blocks):
            part = value[position * BLOCK_BYTES : (position + 1) * BLOCK_BYTES].ljust(BLOCK_BYTES, b"\0")
            state.write(self._data, block, np.frombuffer(part, dtype=np.uint8))
        for block, following in pairwise(blocks):
            state.write(self._next, block, following + _FIRST_LINK)
        state.write(f"{self.name}/length", row, len(value))
        state.write(f"{self.name}/first", row, blocks[0] + _FIRST_LINK if blocks else _END)

    def delete(self, key: bytes) -> None:
        """Remove `key`. Raises InvalidError if there is none."""
        padded = _padded(key)
        row = self._keys.find(padded)
        if row is None:
            raise InvalidError(f"{self.name} has no blob under {key.hex()}")
        self._release(self._chain(row))
        self._keys.release(padded)

    def items(self) -> list[tuple[bytes, bytes]]:
        """(key, value) of all blobs, in key order."""
        found = []
        for key in sorted(padded[1 : 1 + padded[0]] for padded, _ in self._keys.items()):
            value = self.get(key)
            if value is not None:
                found.append((key, value))
        return found

    def keys_from(self, prefix: bytes, length: int) -> list[bytes]:
        """Keys of `length` bytes that begin with `prefix`, ascending; an index by prefixes of this size is kept."""
        padded = self._keys.matching(((0, 1 + len(prefix)),), bytes([length]) + prefix)
        return [key[1 : 1 + length] for key in padded]

    def __len__(self) -> int:
        return len(self._keys)

    def for_view(self, past: State) -> BlobTable:
        """The same index over an earlier state with an unchanged key column (reading only)."""
        return BlobTable(past, self.name, self._keys.for_view(past))

    def _chain(self, row: int) -> list[int]:
        blocks = []
        link = self._state.read(f"{self.name}/first", row)
        while link >= _FIRST_LINK:
            blocks.append(link - _FIRST_LINK)
            link = self._state.read(self._next, link - _FIRST_LINK)
        return blocks

    def _allocate(self) -> int:
        state = self._state
        block = self._free.take(self._is_free)
        if block is None:
            block = state.rows(self._next)
            state.resize(self._data, block + 1)
            state.resize(self._next, block + 1)
        state.write(self._next, block, _END)
        state.on_undo(self._free.offer, block)
        return block

    def _release(self, blocks: list[int]) -> None:
        for block in blocks:
            self._state.write(self._data, block, 0)
            self._state.write(self._next, block, _FREE)
            self._free.offer(block)

    def _is_free(self, block: int) -> bool:
        return block < self._state.rows(self._next) and self._state.read(self._next, block) == _FREE


def _padded(key: bytes) -> bytes:
    if not 0 < len(key) <= MAX_KEY_BYTES:
        raise InvalidError(f"a blob key has 1 to {MAX_KEY_BYTES} bytes, not {len(key)}")
    return (bytes([len(key)]) + key).ljust(MAX_KEY_BYTES + 1, b"\0")
