"""What a write may address and what it may hold: the checks in front of every change of a column (CHAIN 4.2, 5.1)."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..types import InvalidError
from .column import Column, StateOverflowError

Index: TypeAlias = "int | slice | NDArray[Any] | tuple[Any, ...]"
"""A row, a slice of rows, a strictly ascending integer array of rows, or (row, index into the row)."""


def checked_index(column: Column, index: Index) -> tuple[Any, Any]:
    """(rows for the dirty marks, numpy key). Negative, unordered and foreign indexes are refused, never guessed."""
    if isinstance(index, tuple):
        if not index or type(index[0]) is not int:
            raise InvalidError(f"column {column.spec.name}: a part of a row needs (row, index)")
        rows, _ = checked_index(column, index[0])
        return rows, index
    if isinstance(index, slice):
        if index.step not in (None, 1):
            raise InvalidError(f"column {column.spec.name}: a slice of rows has step 1")
        start = 0 if index.start is None else int(index.start)
        stop = column.rows if index.stop is None else int(index.stop)
        if not 0 <= start <= stop <= column.rows:
            raise InvalidError(f"column {column.spec.name} has {column.rows} rows, not rows {start} to {stop}")
        return slice(start, stop), slice(start, stop)
    if isinstance(index, np.ndarray) and index.ndim == 1 and index.dtype.kind in "iu":
        rows = index.astype(np.int64)
        if len(rows) and (rows[0] < 0 or rows[-1] >= column.rows or bool((rows[1:] <= rows[:-1]).any())):
            raise InvalidError(f"column {column.spec.name}: row numbers must ascend inside its {column.rows} rows")
        return rows, rows
    if isinstance(index, int | np.integer) and not isinstance(index, bool) and 0 <= index < column.rows:
        return int(index), int(index)
    raise InvalidError(f"column {column.spec.name} has {column.rows} rows and no index {index!r}")


def rows_of(key: Any) -> Any:
    """The rows in a numpy key that `checked_index` gave."""
    return key[0] if isinstance(key, tuple) else key


def fitted_to(column: Column, value: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """`value` as an array of the column's dtype that broadcasts to `shape`."""
    spec = column.spec
    given = value if isinstance(value, np.ndarray) else np.array(value, dtype=object)
    if given.dtype == spec.dtype:
        fitted = given
    elif given.dtype.kind in "iub" or given.dtype == object:
        if given.dtype == object and not all(isinstance(item, int | np.integer) for item in given.flat):
            raise InvalidError(f"column {spec.name} holds integers, not {value!r}")
        if given.size and not column.lowest <= int(given.min()) <= int(given.max()) <= column.highest:
            raise StateOverflowError(f"column {spec.name} ({spec.dtype}) cannot hold {given.min()} to {given.max()}")
        fitted = given.astype(spec.dtype)
    else:
        raise InvalidError(f"column {spec.name} holds integers, not {given.dtype}")
    try:
        return np.broadcast_to(fitted, shape)
    except ValueError:
        raise InvalidError(f"column {spec.name}: a value of shape {fitted.shape} does not fit {shape}") from None
