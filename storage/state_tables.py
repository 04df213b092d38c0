"""The finalised state inside `chain.db`: one row per 1 KiB chunk and one per column (CHAIN 4.2, 4.4).

On disk there is only finalised state, so there are no undo tables and no reorganisation. Each chunk carries the leaf
hash it had when it was written: the column root proves that something differs, the leaf says which chunk it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ..consensus import cbor
from ..consensus.state.changes import StateChanges
from ..consensus.state.chunk_tree import CHUNK_BYTES, chunk_count
from ..consensus.state.column import ColumnRecord, record_from_value, record_to_value
from ..consensus.state.merkle import leaf_hash, root_of_hashes
from ..consensus.state.state import State, state_root
from ..consensus.types import Hash32, YumadError
from .database import Database, StorageError, Transaction

TABLES: Final = (
    "CREATE TABLE column (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, record BLOB NOT NULL)",
    # key = column id << 32 | chunk number: one integer-keyed tree in which a column's chunks lie side by side.
    "CREATE TABLE chunk (key INTEGER PRIMARY KEY, data BLOB NOT NULL, leaf BLOB NOT NULL)",
)

_PAGE: Final = 2048
"""Chunks read at a time (2 MiB), so that loading a large column does not hold it twice."""

_MAX_RECORD_BYTES: Final = 512


@dataclass(frozen=True, slots=True)
class ColumnFault:
    """Where the stored state differs from what was committed."""

    column: str
    """Name of the first differing column; empty when the list of columns as a whole differs."""
    chunk: int | None
    """Number of the first differing chunk; None when the column's record itself does not fit."""
    reason: str

    def __str__(self) -> str:
        where = f"column {self.column}" if self.column else "the list of columns"
        return f"{where}{'' if self.chunk is None else f', chunk {self.chunk}'}: {self.reason}"


class StateTables:
    """Writes changes of finalised blocks, reads the whole state back, and finds damage."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, tuple[int, int]] = {}
        """name -> (id, chunks stored). Refreshed after every failed transaction."""
        self.refresh()

    def refresh(self) -> None:
        """Read the list of columns again, after a transaction was rolled back."""
        rows = self._database.all("SELECT id, name, record FROM column")
        self._known = {}
        for number, name, record in rows:
            try:
                length = _decode_record(record).byte_length
            except YumadError:
                length = 0  # damaged; `verify` names it
            self._known[name] = (number, chunk_count(length))

    def apply(self, transaction: Transaction, changes: StateChanges) -> None:
        """Write what finalised blocks changed. When the transaction fails afterwards, call `refresh`."""
        for name in changes.removed:
            if name in self._known:
                number, _ = self._known.pop(name)
                _delete_chunks(transaction, number, 0)
                transaction.execute("DELETE FROM column WHERE id = ?", (number,))
        for record in changes.columns:
            self._write_record(transaction, record)
        known = self._known
        transaction.executemany(
            "INSERT OR REPLACE INTO chunk VALUES (?, ?, ?)",
            [(known[name][0] << 32 | number, data, leaf_hash(data)) for (name, number), data in changes.chunks.items()],
        )

    def _write_record(self, transaction: Transaction, record: ColumnRecord) -> None:
        encoded = cbor.encode(record_to_value(record))
        chunks = chunk_count(record.byte_length)
        if record.name in self._known:
            number, before = self._known[record.name]
            transaction.execute("UPDATE column SET record = ? WHERE id = ?", (encoded, number))
            if chunks < before:
                _delete_chunks(transaction, number, chunks)
        else:
            row = transaction.one("SELECT COALESCE(MAX(id), 0) + 1 FROM column")
            number = int(row[0]) if row is not None else 1
            transaction.execute("INSERT INTO column VALUES (?, ?, ?)", (number, record.name, encoded))
        self._known[record.name] = (number, chunks)

    def load(self, rules_version: int, expected_root: Hash32) -> State:
        """The finalised state, with every column root recomputed from raw bytes.

        Raises StorageError naming column and chunk when it is not the state that `expected_root` commits.
        """
        try:
            with self._database.snapshot() as reader:
                rows = reader.all("SELECT id, record FROM column")
                records = [_decode_record(data) for _, data in rows]
                ids = {record.name: number for record, (number, _) in zip(records, rows, strict=True)}
                state = State.from_chunks(
                    records,
                    lambda name: ((at, data) for at, data, _ in _rows(reader, ids[name])),
                    rules_version,
                )
            if state.root() == expected_root:
                return state
        except StorageError:
            raise
        except YumadError:
            pass  # a record or chunk is out of shape: named below
        fault = self.verify(rules_version, expected_root)
        raise StorageError(
            f"{self._database.path}: the stored state is damaged: {fault}",
            remedy="restore the file from a backup, or delete the chain folder to sync anew (keep `authority/`)",
        )

    def verify(self, rules_version: int, expected_root: Hash32) -> ColumnFault | None:
        """The first column, in name order, whose bytes are not what was committed; None when all is whole."""
        with self._database.snapshot() as reader:
            return _verify(reader, rules_version, expected_root)


def _verify(reader: Transaction, rules_version: int, expected_root: Hash32) -> ColumnFault | None:
    encoded = []
    for number, name, data in reader.all("SELECT id, name, record FROM column ORDER BY name"):
        try:
            record = _decode_record(data)
        except YumadError as error:
            return ColumnFault(name, None, f"its record is damaged ({error.message})")
        if record.name != name:
            return ColumnFault(name, None, f"its record names {record.name}")
        fault = _verify_column(reader, number, record)
        if fault is not None:
            return fault
        encoded.append(bytes(data))
    root = state_root(rules_version, encoded)
    if root != expected_root:
        return ColumnFault("", None, f"they give state root {root.hex()}, the header commits {expected_root.hex()}")
    return None


def _verify_column(reader: Transaction, number: int, record: ColumnRecord) -> ColumnFault | None:
    count = chunk_count(record.byte_length)
    leaves: list[Hash32] = []
    differing: int | None = None
    for position, data, leaf in _rows(reader, number):
        if position != len(leaves):
            return ColumnFault(record.name, len(leaves), "it is missing")
        computed = leaf_hash(data)
        if differing is None and (computed != leaf or len(data) != CHUNK_BYTES):
            differing = position
        leaves.append(computed)
    if len(leaves) != count:
        return ColumnFault(record.name, min(len(leaves), count), f"{len(leaves)} chunks stored, {count} committed")
    root = root_of_hashes(leaves)
    if root != record.root:
        return ColumnFault(
            record.name, differing, f"its bytes give root {root.hex()}, committed is {record.root.hex()}"
        )
    return None


def _rows(reader: Transaction, number: int) -> Iterator[tuple[int, bytes, bytes]]:
    start, end = number << 32, (number + 1) << 32
    while True:
        rows: Sequence[tuple[int, bytes, bytes]] = reader.all(
            "SELECT key, data, leaf FROM chunk WHERE key >= ? AND key < ? ORDER BY key LIMIT ?", (start, end, _PAGE)
        )
        for key, data, leaf in rows:
            yield key & 0xFFFFFFFF, data, leaf
        if len(rows) < _PAGE:
            return
        start = rows[-1][0] + 1


def write_genesis(transaction: Transaction, state: State) -> None:
    """Write the whole state of height 0 into fresh tables."""
    for number, record in enumerate(state.columns(), start=1):
        transaction.execute(
            "INSERT INTO column VALUES (?, ?, ?)", (number, record.name, cbor.encode(record_to_value(record)))
        )
        transaction.executemany("INSERT INTO chunk VALUES (?, ?, ?)", _chunk_rows(state, record, number))


def _chunk_rows(state: State, record: ColumnRecord, number: int) -> Iterator[tuple[int, bytes, bytes]]:
    for position in range(chunk_count(record.byte_length)):
        data = state.chunk(record.name, position)
        yield number << 32 | position, data, leaf_hash(data)


def _delete_chunks(transaction: Transaction, number: int, first: int) -> None:
    transaction.execute("DELETE FROM chunk WHERE key >= ? AND key < ?", (number << 32 | first, (number + 1) << 32))


def _decode_record(data: bytes) -> ColumnRecord:
    return record_from_value(cbor.decode(data, max_bytes=_MAX_RECORD_BYTES))
