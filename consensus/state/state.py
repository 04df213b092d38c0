"""The state: named integer columns that only `State` may change, with exact undo and one root (CHAIN 4.2).

Every write inside an open scope keeps its before-image, so a failed call, a refused block or an abandoned branch is
undone exactly, lengths and added columns included. Scopes nest: the working chain opens one per unfinalised block, the
transition one per call.

    mark = state.begin()        # scope of a block
    state.write("accounts/nonce", row, 7)
    root = state.root()         # hashes the touched chunks only
    state.rollback(mark)        # or commit(mark): the images go to the enclosing scope, or are dropped at the outermost
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..domains import Domain, digest
from ..types import Hash32, InvalidError
from .accounts import ACCOUNTS, AccountTable
from .blobs import BlobTable
from .changes import StateChanges
from .chunk_tree import CHUNK_BYTES, chunk_count
from .column import Column, ColumnRecord, ColumnSpec, StateOverflowError, unsigned
from .journal import ENTRY_OVERHEAD, Undo, cost, undo
from .key_table import KeyTable
from .writing import Index, checked_index, fitted_to, rows_of

_ARRAY: Final = 4
"""CBOR's major type of arrays."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a scope began."""

    position: int
    """Index in the journal since the state was made."""
    depth: int
    held: int = 0
    """Bytes of all images remembered before it, about."""


class State:
    """Columns by name; see the module text. Not thread-safe: one task executes and reads."""

    __slots__ = (
        "_columns",
        "_journal",
        "_journal_base",
        "_journal_held",
        "_journal_settled",
        "_lender",
        "_names",
        "_readonly",
        "_scopes",
        "_tables",
        "rules_version",
    )

    def __init__(self, columns: Sequence[ColumnSpec] = (), rules_version: int = 1) -> None:
        self.rules_version = rules_version
        self._columns: dict[str, Column] = {}
        self._names: list[str] = []
        self._journal: list[Undo] = []
        self._journal_base = 0
        self._journal_held = 0
        """Bytes of all images ever remembered and not undone; those dropped since are in `_journal_settled`."""
        self._journal_settled = 0
        self._scopes: list[Mark] = []
        self._tables: dict[str, Any] = {}
        self._lender: State | None = None
        """The state that this is a view of: where its keys are the same here, its tables' indexes are shared."""
        self._readonly = False
        for spec in columns:
            self.add_column(spec)

    # --- columns ------------------------------------------------------------------------------------------------------

    def names(self, prefix: str = "") -> tuple[str, ...]:
        """Names of the columns that start with `prefix`, sorted."""
        if not prefix:
            return tuple(self._names)
        start = bisect_left(self._names, prefix)
        stop = start
        while stop < len(self._names) and self._names[stop].startswith(prefix):
            stop += 1
        return tuple(self._names[start:stop])

    def has(self, name: str) -> bool:
        """Whether a column of that name exists."""
        return name in self._columns

    def spec(self, name: str) -> ColumnSpec:
        """Type of a column. Raises InvalidError if there is none."""
        return self._column(name).spec

    def rows(self, name: str) -> int:
        """Number of rows of a column."""
        return self._column(name).rows

    def add_column(self, spec: ColumnSpec, rows: int = 0) -> None:
        """Add a column of `rows` zero rows. Raises InvalidError if the name is taken."""
        self._check_writable()
        if spec.name in self._columns:
            raise InvalidError(f"column {spec.name} exists already")
        column = Column(spec)
        column.set_rows(rows)
        self._insert(column)
        self._remember((self._drop, spec.name))

    def remove_column(self, name: str) -> None:
        """Remove a column with its content. Raises InvalidError if there is none."""
        self._check_writable()
        column = self._column(name)
        self._drop(name)
        self._remember((self._insert, column))

    def _insert(self, column: Column) -> None:
        self._columns[column.spec.name] = column
        insort(self._names, column.spec.name)
        self._forget_table(column.spec.name)

    def _drop(self, name: str) -> None:
        del self._columns[name]
        self._forget_table(name)
        del self._names[bisect_left(self._names, name)]

    def _column(self, name: str) -> Column:
        column = self._columns.get(name)
        if column is None:
            raise InvalidError(f"the state has no column {name!r}")
        return column

    # --- reading ------------------------------------------------------------------------------------------------------

    def array(self, name: str) -> NDArray[Any]:
        """Read-only view of shape (rows, *row_shape). Fetch it again after a resize: an old view keeps the old rows."""
        column = self._columns.get(name)
        return (column or self._column(name)).readonly

    def read(self, name: str, row: int) -> Any:
        """Row `row`: a Python int for a column of numbers, a read-only view of shape row_shape otherwise.

        Raises InvalidError for a row outside the column.
        """
        column = self._columns.get(name) or self._column(name)
        if not 0 <= row < column.rows:
            raise InvalidError(f"column {name} has {column.rows} rows, row {row} was asked for")
        return column.view.item(row) if column.is_number else column.readonly[row]

    def read_wide(self, name: str, row: int, *, signed: bool = False) -> int:
        """The number in the little-endian u64 limbs of `row` (row_shape (limbs,)), two's complement if `signed`."""
        return int.from_bytes(self.read_bytes(name, row), "little", signed=signed)

    def read_bytes(self, name: str, row: int) -> bytes:
        """The bytes of one row. Raises InvalidError for a row outside the column."""
        column = self._columns.get(name) or self._column(name)
        if not 0 <= row < column.rows:
            raise InvalidError(f"column {name} has {column.rows} rows, row {row} was asked for")
        start = row * column.row_bytes
        return bytes(column.memory[start : start + column.row_bytes])

    # --- writing ------------------------------------------------------------------------------------------------------

    def write(self, name: str, index: Index, value: Any) -> None:
        """Set the rows (or the part of a row) that `index` names to `value`.

        `value` is an int, a sequence of ints or an integer array that broadcasts to the target's shape. Raises
        StateOverflowError if a number does not fit the dtype, InvalidError for rows outside the column.
        """
        self._check_writable()
        column = self._columns.get(name) or self._column(name)
        if type(index) is int and type(value) is int and column.is_number:
            if not 0 <= index < column.rows:
                raise InvalidError(f"column {name} has {column.rows} rows, row {index} was to be written")
            if not column.lowest <= value <= column.highest:
                raise StateOverflowError(f"{value} does not fit column {name} ({column.spec.dtype})")
            if self._scopes:
                self._journal.append((column, index, column.view.item(index)))
                self._journal_held += ENTRY_OVERHEAD
            column.view[index] = value
            column.mark_number(index)
            return
        if type(index) is int and type(value) is np.ndarray and self._write_row(column, index, value):
            return
        rows, key = checked_index(column, index)
        target = column.view[key]
        fitted = fitted_to(column, value, np.shape(target))
        if self._scopes:
            self._remember((column, key, np.array(target)))
        column.view[key] = fitted
        column.mark_rows(rows)

    def _write_row(self, column: Column, row: int, value: NDArray[Any]) -> bool:
        """Write a whole row that is what the column holds already; False where anything has to be checked."""
        if value.dtype != column.spec.dtype or value.shape != column.spec.row_shape or not 0 <= row < column.rows:
            return False
        if self._scopes:
            self._remember((column, row, np.array(column.view[row])))
        column.view[row] = value
        column.mark_row(row)
        return True

    def write_wide(self, name: str, row: int, value: int, *, signed: bool = False) -> None:
        """Store `value` in the u64 limbs of `row`. Raises StateOverflowError if it does not fit their width."""
        self._check_writable()
        column = self._columns.get(name) or self._column(name)
        if not 0 <= row < column.rows:
            raise InvalidError(f"column {name} has {column.rows} rows, row {row} was to be written")
        width = column.row_bytes
        try:
            raw = value.to_bytes(width, "little", signed=signed)
        except OverflowError:
            raise StateOverflowError(f"{value} does not fit column {name} ({column.spec.row_shape} limbs)") from None
        if self._scopes:
            self._journal.append((column, row, column.view[row].copy()))
            self._journal_held += ENTRY_OVERHEAD + width
        column.memory[row * width : row * width + width] = raw
        column.mark_row(row)

    def add(self, name: str, row: int, amount: int) -> int:
        """Add `amount` (may be negative) to a number; gives the new one. Raises StateOverflowError, never wraps."""
        total = int(self.read(name, row)) + amount
        self.write(name, row, total)
        return total

    def append(self, name: str, rows: Any) -> int:
        """Append one row (an int or array of row_shape) or several ((k, *row_shape)); gives the first new row."""
        column = self._column(name)
        first = column.rows
        shape = np.shape(rows)
        several = len(shape) > len(column.spec.row_shape)
        count = shape[0] if several else 1
        fitted = fitted_to(column, rows, (count, *column.spec.row_shape) if several else column.spec.row_shape)
        self.resize(name, first + count)
        column.view[first:] = fitted
        return first

    def resize(self, name: str, rows: int) -> None:
        """Grow a column with zero rows or cut it to `rows`."""
        self._check_writable()
        column = self._column(name)
        if rows < 0:
            raise InvalidError(f"column {name} cannot have {rows} rows")
        if rows == column.rows:
            return
        if self._scopes:
            lost = np.array(column.view[rows:]) if rows < column.rows else None
            self._remember((column, None, column.rows, lost))
        column.set_rows(rows)

    # --- commitment ---------------------------------------------------------------------------------------------------

    def columns(self) -> tuple[ColumnRecord, ...]:
        """Records of all columns sorted by name, as the root commits them."""
        return tuple(self._columns[name].record() for name in self._names)

    def root(self) -> Hash32:
        """Hash over `[rules_version, [[name, dtype, shape, byte_length, column_root] sorted by name]]`."""
        columns = map(self._columns.__getitem__, self._names)
        return state_root(self.rules_version, [(column.committed or column.commit())[1] for column in columns])

    def chunk(self, name: str, number: int) -> bytes:
        """Chunk `number` of a column, zero-padded to CHUNK_BYTES. Raises InvalidError behind its end."""
        column = self._column(name)
        if not 0 <= number < chunk_count(column.byte_length):
            raise InvalidError(f"column {name} has no chunk {number}")
        return column.chunk(number)

    def chunk_path(self, name: str, number: int) -> tuple[Hash32, ...]:
        """Sibling hashes of a chunk up to its column root, for `proof.make_proof`."""
        self.chunk(name, number)
        column = self._column(name)
        column.record()
        return column.tree.path(number)

    # --- scopes -------------------------------------------------------------------------------------------------------

    def begin(self) -> Mark:
        """Open a scope inside the present one."""
        self._check_writable()
        mark = Mark(self._journal_base + len(self._journal), len(self._scopes), self._journal_held)
        self._scopes.append(mark)
        return mark

    def commit(self, mark: Mark) -> None:
        """Close a scope (and those inside it) and keep what it wrote. The outermost one drops its before-images."""
        self._check_open(mark)
        del self._scopes[mark.depth :]
        if not self._scopes:
            self._forget(len(self._journal), self._journal_held)

    def rollback(self, mark: Mark) -> None:
        """Undo everything since `mark` and close its scope and those inside it."""
        self._check_open(mark)
        keep = mark.position - self._journal_base
        while len(self._journal) > keep:
            undo(self._journal.pop())
        self._journal_held = mark.held
        del self._scopes[mark.depth :]

    def settle(self, mark: Mark) -> None:
        """Make the outermost scope permanent while scopes inside it stay open: its before-images are dropped.

        `mark` must be the outermost one: blocks become final in height order.
        """
        self._check_open(mark)
        if mark.depth != 0:
            raise InvalidError("only the outermost scope can be settled while others are open")
        inner = self._scopes[1:]
        until = inner[0].position if inner else self._journal_base + len(self._journal)
        self._forget(until - self._journal_base, inner[0].held if inner else self._journal_held)
        self._scopes = [Mark(scope.position, scope.depth - 1, scope.held) for scope in inner]

    def open_scopes(self) -> tuple[Mark, ...]:
        """Open scopes, outermost first. `settle` moves the rest outward, so their marks are read again from here."""
        return tuple(self._scopes)

    def journal_bytes(self) -> int:
        """Memory held by before-images of all open scopes, about."""
        return self._journal_held - self._journal_settled

    def _check_open(self, mark: Mark) -> None:
        if mark.depth >= len(self._scopes) or self._scopes[mark.depth] != mark:
            raise InvalidError(f"scope {mark} is not open")

    def _check_writable(self) -> None:
        if self._readonly:
            raise InvalidError("this state is a read-only view of an earlier block")

    def _forget(self, entries: int, held: int) -> None:
        """Drop the oldest entries; `held` is what stands at the first one kept."""
        del self._journal[:entries]
        self._journal_base += entries
        self._journal_settled = held

    def _remember(self, entry: Undo) -> None:
        if self._scopes:
            self._journal.append(entry)
            self._journal_held += cost(entry)

    def on_undo(self, action: Callable[[Any], None], argument: Any) -> None:
        """Have `action(argument)` called when the present scope is undone: keeps derived indexes in step."""
        self._remember((action, argument))

    # --- what a scope changed -----------------------------------------------------------------------------------------

    def changes_since(self, mark: Mark) -> StateChanges:
        """Everything written since `mark`, as contents now: what storage writes when the block becomes final."""
        self._check_open(mark)
        touched: dict[str, dict[int, None]] = {}
        existed: dict[str, bool] = {}
        """Columns that were added or removed -> whether they stood at the mark: the first of the two tells."""
        of_column: dict[Column, dict[int, None]] = {}
        for entry in self._journal[mark.position - self._journal_base :]:
            # Nine entries of ten are a write of one row.
            chunks_of_rows = of_column.get(entry[0]) if type(entry[1]) is int else None
            if chunks_of_rows is None:
                self._collect(entry, touched, existed)
                if isinstance(entry[0], Column) and self._columns.get(entry[0].spec.name) is entry[0]:
                    of_column[entry[0]] = touched[entry[0].spec.name]
            else:
                for number in entry[0].chunks_of_row(entry[1]):
                    chunks_of_rows[number] = None
        records, chunks = [], {}
        for name in sorted(touched):
            column = self._columns.get(name)
            if column is None:
                continue
            records.append(column.record())
            end = chunk_count(column.byte_length)
            for number in sorted(touched[name]):
                if number < end:
                    chunks[name, number] = column.chunk(number)
        removed = tuple(sorted(name for name, stood in existed.items() if stood and name not in self._columns))
        return StateChanges(tuple(records), removed, chunks)

    def _collect(self, entry: Undo, touched: dict[str, dict[int, None]], existed: dict[str, bool]) -> None:
        subject = entry[0]
        if isinstance(subject, Column):
            name = subject.spec.name
            chunks = touched.setdefault(name, {})
            if self._columns.get(name) is not subject:
                return
            if entry[1] is None:
                length = min(entry[2], subject.rows) * subject.spec.row_bytes
                chunks.update(dict.fromkeys(range(length // CHUNK_BYTES, chunk_count(subject.byte_length))))
            else:
                chunks.update(dict.fromkeys(subject.chunks_of(rows_of(entry[1]))))
        elif subject == self._drop or subject == self._insert:
            name = entry[1] if subject == self._drop else entry[1].spec.name
            existed.setdefault(name, subject == self._insert)
            added = self._columns.get(name)
            if added is not None:
                touched.setdefault(name, {}).update(dict.fromkeys(range(chunk_count(added.byte_length))))

    def view(self, mark: Mark | None = None) -> State:
        """A read-only state as it is, or as it was at `mark`. Valid until the next write: unchanged columns are shared.

        Only columns written since `mark` are copied and undone, so a view costs tens of microseconds.
        """
        if mark is not None:
            self._check_open(mark)
        past = State((), self.rules_version)
        past._columns = dict(self._columns)
        past._names = list(self._names)
        copied: dict[Column, Column] = {}
        undone = [] if mark is None else self._journal[mark.position - self._journal_base :]
        for entry in reversed(undone):
            subject = entry[0]
            if isinstance(subject, Column):
                column = copied.get(subject)
                if column is None:
                    column = copied[subject] = subject.copy()
                    if past._columns.get(subject.spec.name) is subject:
                        past._columns[subject.spec.name] = column
                undo((column, *entry[1:]))
            elif subject == self._drop:
                past._drop(entry[1])
            elif subject == self._insert:
                restored: Column = entry[1]
                past._insert(copied.get(restored, restored))
        past._readonly = True
        past._lender = self
        return past

    # --- tables -------------------------------------------------------------------------------------------------------

    def key_table(self, name: str) -> KeyTable:
        """The index of the keyed rows under `name/` (see key_table.py)."""
        table: KeyTable = self._table(name, KeyTable)
        return table

    def accounts(self) -> AccountTable:
        """The account table (see accounts.py)."""
        table: AccountTable = self._table(ACCOUNTS, AccountTable)
        return table

    def blobs(self, name: str) -> BlobTable:
        """The keyed blob column `name` (see blobs.py)."""
        table: BlobTable = self._table(name, BlobTable)
        return table

    def _table(self, name: str, kind: Callable[[State, str], Any]) -> Any:
        table = self._tables.get(name)
        if table is None:
            lender, key = self._lender, f"{name}/key"
            if lender is not None and self._columns.get(key) is lender._columns.get(key) is not None:
                # Built once, there: an index of 20 000 keys is 3 MB and 2 ms, and views come and go with every read.
                table = lender._table(name, kind).for_view(self)
            else:
                table = kind(self, name)
            self._tables[name] = table
        return table

    def _forget_table(self, column: str) -> None:
        """Drop the index of a table whose columns come or go, also by an undo; the next use builds it again."""
        self._tables.pop(column.partition("/")[0], None)
        self._tables.pop(column.rpartition("/")[0], None)

    # --- loading ------------------------------------------------------------------------------------------------------

    @staticmethod
    def from_chunks(
        records: Iterable[ColumnRecord], chunks: Callable[[str], Iterable[tuple[int, bytes]]], rules_version: int
    ) -> State:
        """The state that storage or a snapshot holds: `chunks(name)` gives (number, bytes) of one column in any order.

        Raises InvalidError for a chunk that does not belong there. Roots are not compared here: `root()` hashes
        everything on first use, and the caller knows which root to expect.
        """
        state = State((), rules_version)
        for record in records:
            spec = record.spec
            state.add_column(spec, record.byte_length // spec.row_bytes)
            column = state._columns[spec.name]
            for number, data in chunks(spec.name):
                start = number * CHUNK_BYTES
                end = min(start + CHUNK_BYTES, record.byte_length)
                if number < 0 or start >= record.byte_length or len(data) not in (end - start, CHUNK_BYTES):
                    raise InvalidError(f"column {spec.name}: chunk {number} of {len(data)} bytes does not belong there")
                column.buffer[start:end] = np.frombuffer(data, dtype=np.uint8)[: end - start]
        return state


def state_root(rules_version: int, records: Sequence[bytes]) -> Hash32:
    """The commitment over canonical column records that are sorted by name."""
    head = b"\x82" + unsigned(rules_version) + unsigned(len(records), _ARRAY)
    return digest(Domain.COLUMNS, head, b"".join(records))
