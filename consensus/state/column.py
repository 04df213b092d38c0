"""One column: a typed, growing array of integers with its chunk tree (CHAIN 4.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .. import cbor
from ..types import Hash32, InvalidError
from .chunk_tree import CHUNK_BYTES, ChunkTree, chunk_count

DTYPES: Final = ("u1", "<u2", "<u4", "<u8", "<i2", "<i4", "<i8")
"""Element types a column may have: integers, little-endian, at most 64 bits. Wider numbers take several limbs."""

MAX_NAME_BYTES: Final = 64

MAX_ROW_BYTES: Final = 1 << 20
"""One row is written and undone as a whole; a megabyte is far above the widest (256 weight pairs are 1 KiB)."""

MAX_COLUMN_BYTES: Final = 1 << 31
"""Bounds what a column record from outside may ask for."""


class StateOverflowError(InvalidError):
    """A value does not fit the element type of its column; nothing ever wraps."""

    code = "state_overflow"


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """What a column holds. Everything here is committed by the state root."""

    name: str
    """ASCII, at most 64 bytes, e.g. `accounts/nonce` or `sn/15/weights`."""
    dtype: str
    """One of DTYPES."""
    row_shape: tuple[int, ...] = ()
    """Shape of one row; () for one number per row."""

    def __post_init__(self) -> None:
        if not self.name.isascii() or not 0 < len(self.name) <= MAX_NAME_BYTES:
            raise InvalidError(f"column name {self.name!r}: expected 1 to {MAX_NAME_BYTES} ASCII characters")
        if self.dtype not in DTYPES:
            raise InvalidError(f"column {self.name}: dtype {self.dtype!r} is not one of {', '.join(DTYPES)}")
        if any(extent <= 0 for extent in self.row_shape) or self.row_bytes > MAX_ROW_BYTES:
            raise InvalidError(f"column {self.name}: row shape {self.row_shape} is empty or too large")

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        size = np.dtype(self.dtype).itemsize
        for extent in self.row_shape:
            size *= extent
        return size


@dataclass(frozen=True, slots=True)
class ColumnRecord:
    """A column as the state root commits it: `[name, dtype, shape, byte_length, column_root]`."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    """Shape of one row; the number of rows follows from `byte_length`."""
    byte_length: int
    """Exact length: excludes aliasing with the zero padding of the last chunk."""
    root: Hash32

    @property
    def spec(self) -> ColumnSpec:
        """The column's type. Raises InvalidError if the record names an impossible one."""
        return ColumnSpec(self.name, self.dtype, self.shape)


def record_to_value(record: ColumnRecord) -> list[Any]:
    """`[name, dtype, shape, byte_length, root]` with the texts as ASCII bytes."""
    return [record.name.encode(), record.dtype.encode(), list(record.shape), record.byte_length, record.root]


def record_from_value(value: Any) -> ColumnRecord:
    """Inverse of `record_to_value`. Raises MalformedError, or InvalidError for an impossible column."""
    fields = cbor.as_array(value, 5, what="column record")
    record = ColumnRecord(
        name=cbor.as_bytes(fields[0], what="column name", most=MAX_NAME_BYTES).decode("ascii", "replace"),
        dtype=cbor.as_bytes(fields[1], what="column dtype", most=4).decode("ascii", "replace"),
        shape=tuple(cbor.as_uint(n, 32, what="row extent") for n in cbor.as_array(fields[2], what="row shape", most=4)),
        byte_length=cbor.as_uint(fields[3], 64, what="column length"),
        root=Hash32(cbor.as_bytes(fields[4], 32, what="column root")),
    )
    if record.byte_length > MAX_COLUMN_BYTES or record.byte_length % record.spec.row_bytes:
        raise InvalidError(f"column {record.name}: {record.byte_length} bytes are not whole rows or too many")
    return record


def unsigned(number: int, major: int = 0) -> bytes:
    """Canonical CBOR of an unsigned integer, or the head of another major type with that argument.

    What the state commits in every block is put together from heads; the tests compare it with `cbor.encode`. Raises
    StateOverflowError above 64 bits.
    """
    if number < 24:
        return bytes([major << 5 | number])
    for width, short in ((1, 24), (2, 25), (4, 26), (8, 27)):
        if number < 1 << 8 * width:
            return bytes([major << 5 | short]) + number.to_bytes(width, "big")
    raise StateOverflowError(f"{number} does not fit 64 bits")


def _record_head(spec: ColumnSpec) -> bytes:
    """The part of a record's bytes that never changes: the array's head, name, type and shape."""
    name, dtype = spec.name.encode(), spec.dtype.encode()
    return b"\x85" + b"".join(map(cbor.encode, (name, dtype, spec.row_shape)))


class Column:
    """Storage of one column. Only `State` may change it; everybody else sees read-only views.

    `buffer` holds whole chunks: bytes behind the last row are zero, so any chunk can be hashed as it lies.
    """

    __slots__ = (
        "_record_head",
        "buffer",
        "committed",
        "dirty",
        "highest",
        "is_number",
        "lowest",
        "memory",
        "readonly",
        "row_bytes",
        "rows",
        "spec",
        "tree",
        "view",
    )

    def __init__(self, spec: ColumnSpec) -> None:
        self.spec = spec
        self.rows = 0
        self.buffer: NDArray[np.uint8] = np.zeros(0, dtype=np.uint8)
        self.dirty: dict[int, None] = {}
        """Chunks that differ from what `tree` was built over. A dict, because sets are not used in the rules."""
        self.tree = ChunkTree()
        self.row_bytes = spec.row_bytes
        self.is_number = not spec.row_shape
        limits = np.iinfo(np.dtype(spec.dtype))
        self.lowest, self.highest = int(limits.min), int(limits.max)
        self._record_head = _record_head(spec)
        self.committed: tuple[ColumnRecord, bytes] | None = None
        """The record and its canonical bytes as last hashed; None since a change. A block touches few of hundreds."""
        self._make_views()

    def _make_views(self) -> None:
        used = self.buffer[: self.rows * self.row_bytes]
        self.view: NDArray[Any] = used.view(self.spec.dtype).reshape((self.rows, *self.spec.row_shape))
        self.readonly: NDArray[Any] = self.view.view()
        self.readonly.flags.writeable = False
        self.memory = memoryview(self.buffer)  # type: ignore[arg-type]

    @property
    def byte_length(self) -> int:
        """Exact bytes of all rows."""
        return self.rows * self.row_bytes

    def set_rows(self, rows: int) -> None:
        """Grow with zero rows or shrink; bytes behind the end become zero."""
        old_length, new_length = self.byte_length, rows * self.row_bytes
        if new_length > MAX_COLUMN_BYTES:
            raise InvalidError(f"column {self.spec.name} would take {new_length} bytes, at most {MAX_COLUMN_BYTES}")
        if new_length > len(self.buffer):
            capacity = chunk_count(max(new_length, old_length + old_length // 4)) * CHUNK_BYTES
            grown = np.zeros(capacity, dtype=np.uint8)
            grown[:old_length] = self.buffer[:old_length]
            self.buffer = grown
        elif new_length < old_length:
            self.buffer[new_length:old_length] = 0
        low, high = min(old_length, new_length), max(old_length, new_length)
        if low != high:
            self.mark_bytes(low, high)
        self.rows = rows
        self._make_views()

    def mark_bytes(self, start: int, end: int) -> None:
        """Remember that bytes [start, end) changed."""
        for chunk in range(start // CHUNK_BYTES, (end - 1) // CHUNK_BYTES + 1):
            self.dirty[chunk] = None
        self.committed = None

    def mark_number(self, row: int) -> None:
        """`mark_rows` for one row of a column of numbers, which never straddles chunks: the commonest write by far."""
        self.dirty[row * self.row_bytes // CHUNK_BYTES] = None
        self.committed = None

    def mark_row(self, row: int) -> None:
        """`mark_rows` for one row of any width."""
        for chunk in self.chunks_of_row(row):
            self.dirty[chunk] = None
        self.committed = None

    def mark_rows(self, rows: int | slice | NDArray[np.int64]) -> None:
        """Remember that `rows` changed (slices and index arrays are already checked and ascending)."""
        for chunk in self.chunks_of(rows):
            self.dirty[chunk] = None
        self.committed = None

    def chunks_of_row(self, row: int) -> range | tuple[int]:
        """Chunks that hold bytes of one row, ascending."""
        start = row * self.row_bytes
        first, last = start // CHUNK_BYTES, (start + self.row_bytes - 1) // CHUNK_BYTES
        return (first,) if first == last else range(first, last + 1)

    def chunks_of(self, rows: int | slice | NDArray[np.int64]) -> range | tuple[int] | list[int]:
        """Chunks that hold bytes of `rows`, ascending."""
        width = self.row_bytes
        if isinstance(rows, int):
            return self.chunks_of_row(rows)
        if isinstance(rows, slice):
            if rows.start == rows.stop:
                return range(0)
            return range(rows.start * width // CHUNK_BYTES, (rows.stop * width - 1) // CHUNK_BYTES + 1)
        if not len(rows):
            return range(0)
        first = rows * width // CHUNK_BYTES
        last = (rows * width + (width - 1)) // CHUNK_BYTES
        if width <= CHUNK_BYTES:
            return [int(chunk) for chunk in np.unique(np.concatenate((first, last)))]
        spans = [range(int(a), int(b) + 1) for a, b in zip(first, last, strict=True)]
        return sorted(dict.fromkeys(chunk for span in spans for chunk in span))

    def chunk(self, number: int) -> bytes:
        """Bytes of chunk `number`, zero-padded to CHUNK_BYTES."""
        return self.buffer[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES].tobytes()

    def record(self) -> ColumnRecord:
        """The committed record, hashing what has changed since the last one."""
        return self.commit()[0]

    def commit(self) -> tuple[ColumnRecord, bytes]:
        """The record and its canonical bytes, hashing what has changed since the last time."""
        if self.committed is None:
            self.tree.update(self.buffer, self.byte_length, self.dirty)
            self.dirty.clear()
            spec = self.spec
            record = ColumnRecord(spec.name, spec.dtype, spec.row_shape, self.byte_length, self.tree.root())
            self.committed = (record, b"%b%b\x58\x20%b" % (self._record_head, unsigned(self.byte_length), record.root))
        return self.committed

    def copy(self) -> Column:
        """An independent copy with the same content and tree."""
        twin = Column(self.spec)
        twin.rows = self.rows
        twin.buffer = self.buffer.copy()
        twin.dirty = dict(self.dirty)
        twin.tree = self.tree.copy()
        twin.committed = self.committed
        twin._make_views()
        return twin
