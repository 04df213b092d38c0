"""Rows of (uid, value) pairs as arrays: how weights and bonds are stored and handed to an epoch (YUMA section 2).

Row `i` holds the entries `start[i]:start[i+1]` of `uid` and `value`, **in submission order**: liquid alpha can tell an
unsorted row from a sorted one (YUMA 3.11), so the order is part of the state. A row names a uid at most once;
set_weights refuses duplicates (YUMA 5.1, check 10). Two flags, set once when rows are built, spare every epoch a look
at the order.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class SparseRows:
    """Sparse matrix in row-compressed form; the arrays are read-only by convention."""

    start: NDArray[np.int64]
    """Shape (rows + 1,): where each row begins in `uid` and `value`; the last element is their length."""

    uid: NDArray[np.uint16]
    """Column of each entry."""

    value: NDArray[np.uint16] | NDArray[np.int64]
    """u16 as stored, or raw Q32 bits in an epoch's trace."""

    ascending: bool
    """Every row's uids strictly ascend."""

    full: bool
    """Every row is either empty or names all uids 0..rows-1, ascending: the values are then a plain matrix."""

    @property
    def count(self) -> int:
        """Number of rows."""
        return len(self.start) - 1

    def lengths(self) -> NDArray[np.int64]:
        """Number of entries of each row."""
        return self.start[1:] - self.start[:-1]

    def row_of_entry(self) -> NDArray[np.int64]:
        """Row index of each entry, shape of `uid`."""
        return np.repeat(np.arange(self.count, dtype=np.int64), self.lengths())

    def to_lists(self) -> list[list[list[int]]]:
        """Rows as nested lists `[[uid, value], ...]`, the form of the vector files."""
        pairs = [list(pair) for pair in zip(self.uid.tolist(), self.value.tolist(), strict=True)]
        bounds = self.start.tolist()
        return [pairs[begin:end] for begin, end in pairwise(bounds)]


def pack_rows(start: NDArray[np.int64], uid: NDArray[np.uint16], value: NDArray[np.uint16]) -> SparseRows:
    """Stored columns as `SparseRows`, with the two order flags computed."""
    count = len(start) - 1
    inside = np.ones(len(uid), dtype=np.bool_)
    inside[start[:-1][start[:-1] < len(uid)]] = False  # an entry that opens a row has no predecessor
    ascending = not bool(np.any(inside[1:] & (uid[1:] <= uid[:-1])))
    lengths = start[1:] - start[:-1]
    full = ascending and bool(np.all((lengths == 0) | (lengths == count))) and not bool(np.any(uid >= count))
    return SparseRows(start, uid, value, ascending, full)


def rows_from_lists(rows: Iterable[Sequence[Sequence[int]]], count: int) -> SparseRows:
    """Rows given as lists of (uid, u16) pairs; missing rows are empty, rows beyond `count` are dropped."""
    kept = list(rows)[:count]
    kept += [[]] * (count - len(kept))
    start = np.zeros(count + 1, dtype=np.int64)
    np.cumsum([len(row) for row in kept], out=start[1:])
    pairs = [pair for row in kept for pair in row]
    uid = np.array([pair[0] for pair in pairs], dtype=np.uint16)
    value = np.array([pair[1] for pair in pairs], dtype=np.uint16)
    return pack_rows(start, uid, value)
