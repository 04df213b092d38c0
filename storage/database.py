"""One sqlite file with one writer and one reader connection (CHAIN 4.3, 4.4).

sqlite was chosen over the log-structured engines: four to ten times the speed that sync needs, no dependency,
transactions over several tables, readers that see a frozen snapshot while the writer works. Every error of the engine
leaves this module as a `StorageError` that says what happened, where, and what to do; after a failed write the file is
latched shut, because a disk that lost one flush must not be trusted with the next vote (CHAIN 4.4: stop voting, stop
serving, exit with one clear line).
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Final

from ..consensus.types import YumadError

PAGE_BYTES: Final = 8192
"""A body of a light block and eight state chunks fit one page each; the value CHAIN 4.4 measured with."""

CACHE_BYTES: Final = 16 * 1024 * 1024
"""Page cache of the writer of `chain.db`. CHAIN 4.4 names 64 MiB, but a whole peer of the real genesis has 200 MB of
memory; state lives in memory anyway, and blocks are written once and seldom read: the system's cache does the rest."""

SMALL_CACHE_BYTES: Final = 2 * 1024 * 1024
"""Page cache of readers and of the small files (guard, peers, index)."""

WAL_LIMIT_BYTES: Final = 32 * 1024 * 1024
"""The write-ahead log is cut back to this after a large transaction."""

BUSY_MILLISECONDS: Final = 2000
"""How long a statement waits for a lock; only an outside tool (a backup, a shell) can ever hold one."""

Row = tuple[Any, ...]


class StorageError(YumadError):
    """A file of this peer cannot be used: full disk, lost permission, damage, wrong version or a second process."""

    code = "storage"


class Durability(Enum):
    """What a commit survives."""

    FULL = "FULL"
    """Power loss: the log is flushed before the commit returns."""
    NORMAL = "NORMAL"
    """Process death only; for files that can be rebuilt."""


@dataclass(frozen=True, slots=True)
class Schema:
    """Tables of one kind of file. `application_id` tells kinds apart, `version` is stored as `user_version`."""

    kind: str
    """Word for messages: "chain database"."""
    application_id: int
    version: int
    tables: tuple[str, ...]
    migrations: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """Statements that bring version n to n + 1."""


def storage_error(error: sqlite3.Error | OSError, path: Path, doing: str) -> StorageError:
    """The one clear line for a failure of the engine or the operating system."""
    name = getattr(error, "sqlite_errorname", "") or ""
    text = str(error)
    if name.startswith("SQLITE_FULL") or getattr(error, "errno", None) in (28, 122, 27):
        reason, remedy = "the disk is full", f"free space on the disk of {path.parent} and start again; nothing is lost"
    elif name.startswith("SQLITE_IOERR"):
        reason = f"the disk failed ({text}, {name})"
        remedy = f"check free space and the health of the disk of {path.parent}, then start again"
    elif name.startswith("SQLITE_READONLY") or getattr(error, "errno", None) in (13, 1, 30):
        reason = "it cannot be written"
        remedy = f"give this user write permission on {path.parent} and the files in it"
    elif name.startswith(("SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        reason = "it cannot be opened"
        remedy = f"check that {path.parent} exists and belongs to this user"
    elif name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        reason, remedy = "another program holds it", "end the other program (a second yumad, a database shell)"
    elif name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        reason, remedy = "its content is damaged", f"restore {path.name} from a backup, or see `yumad doctor`"
    else:
        reason, remedy = text or type(error).__name__, "see `yumad doctor`"
    return StorageError(f"{path}: cannot {doing}: {reason}", remedy=remedy)


class Transaction:
    """Statements of one open transaction; valid only inside its `with` block."""

    __slots__ = ("_connection",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run one statement; returns the number of rows it changed."""
        return self._connection.execute(sql, parameters).rowcount

    def executemany(self, sql: str, rows: Iterator[Sequence[Any]] | Sequence[Sequence[Any]]) -> None:
        """Run one statement for each row of parameters."""
        self._connection.executemany(sql, rows)

    def one(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        """First row of a query, seeing what this transaction wrote."""
        row: Row | None = self._connection.execute(sql, parameters).fetchone()
        return row

    def all(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of a query, seeing what this transaction wrote."""
        return self._connection.execute(sql, parameters).fetchall()


class Database:
    """An open file. Calls are synchronous and may come from any thread: writer and reader each have a lock."""

    def __init__(
        self, path: Path, schema: Schema, durability: Durability, cache_bytes: int, *, read_only: bool = False
    ) -> None:
        """Use `Database.open` or `Database.create`."""
        self.path = path
        self._schema = schema
        self._write_lock = threading.RLock()
        self._read_lock = threading.Lock()
        self._open_transaction: Transaction | None = None
        self._failed: StorageError | None = None
        with _named(path, "open the file"):
            self._writer = _connect(path)
            try:
                self._check_kind()  # before anything is set: a file of something else stays untouched
                _tune(self._writer, durability, cache_bytes)
                if read_only:
                    self._writer.execute("PRAGMA query_only = 1")
                self._migrate()
                self._reader = _connect(path)
                _tune(self._reader, durability, SMALL_CACHE_BYTES)
                self._reader.execute("PRAGMA query_only = 1")
            except BaseException:
                self._writer.close()
                raise

    @classmethod
    def create(cls, path: Path, schema: Schema, fill: Callable[[Transaction], None]) -> None:
        """Make the file with its tables and first rows, all or nothing: it appears under its name when complete.

        Raises StorageError when a file of that name exists or the disk refuses.
        """
        if path.exists():
            raise StorageError(f"{path} exists already", remedy="open it, or move it away first")
        fresh = path.with_name(path.name + ".new")
        with _named(path, "create the file"):
            # A log without its file is replayed into whatever file comes next under that name.
            for leftover in (fresh, *sidecars(fresh), *sidecars(path)):
                leftover.unlink(missing_ok=True)
            connection = _connect(fresh, create=True)
            try:
                connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
                connection.execute("BEGIN IMMEDIATE")
                for statement in schema.tables:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {schema.application_id}")
                connection.execute(f"PRAGMA user_version = {schema.version}")
                fill(Transaction(connection))
                connection.execute("COMMIT")
                connection.execute("PRAGMA journal_mode = WAL")
            finally:
                connection.close()
            os.chmod(fresh, 0o600)
            sync_path(fresh)
            os.rename(fresh, path)
            sync_path(path.parent)

    @classmethod
    def open(
        cls,
        path: Path,
        schema: Schema,
        *,
        durability: Durability = Durability.FULL,
        cache_bytes: int = SMALL_CACHE_BYTES,
        read_only: bool = False,
    ) -> Database:
        """The existing file, migrated to this program's version; `read_only` leaves a file in use by others as it is.

        Raises StorageError when it is missing, of another kind, newer than this program, or unusable.
        """
        if not path.exists():
            raise StorageError(f"{path}: no {schema.kind} here", remedy="check --home")
        return cls(path, schema, durability, cache_bytes, read_only=read_only)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """One durable transaction: committed when the block ends, rolled back when it raises.

        Nested use joins the outer transaction. Raises StorageError when the disk refuses, and for ever after.
        """
        with self._write_lock:
            if self._open_transaction is not None:
                yield self._open_transaction
                return
            if self._failed is not None:
                raise self._failed
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                self._open_transaction = Transaction(self._writer)
                try:
                    yield self._open_transaction
                finally:
                    self._open_transaction = None
                self._writer.execute("COMMIT")
            except BaseException as error:
                self._roll_back()
                if isinstance(error, sqlite3.Error):
                    self._failed = storage_error(error, self.path, "write")
                    raise self._failed from error
                raise

    def one(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        """First row of a query over committed data."""
        with self._read_lock, _named(self.path, "read"):
            row: Row | None = self._reader.execute(sql, parameters).fetchone()
            return row

    def all(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """All rows of a query over committed data; bound the query, rows are materialised."""
        with self._read_lock, _named(self.path, "read"):
            return self._reader.execute(sql, parameters).fetchall()

    @contextmanager
    def snapshot(self) -> Iterator[Transaction]:
        """Queries over one frozen moment, on a connection of their own: for reading much while the writer works.

        The log cannot be cut back while it is open, so it must end within seconds.
        """
        with _named(self.path, "read"):
            connection = _connect(self.path)
            try:
                connection.execute("PRAGMA query_only = 1")
                connection.execute(f"PRAGMA cache_size = -{SMALL_CACHE_BYTES // 1024}")
                connection.execute("BEGIN")
                yield Transaction(connection)
            finally:
                connection.close()

    def size_bytes(self) -> int:
        """Bytes on disk of the file and its log."""
        return sum(part.stat().st_size for part in (self.path, *sidecars(self.path)) if part.exists())

    def close(self) -> None:
        """Flush the log into the file and close. Never raises: the commits are durable already."""
        with self._write_lock, self._read_lock:
            for connection in (self._reader, self._writer):
                try:
                    connection.close()
                except sqlite3.Error:
                    pass  # an unwritable disk at the end loses nothing: the log stays and is read at the next start

    def _roll_back(self) -> None:
        if self._writer.in_transaction:
            try:
                self._writer.execute("ROLLBACK")
            except sqlite3.Error:
                pass  # the engine rolls back by itself on the errors that make this fail

    def _check_kind(self) -> None:
        kind = self._writer.execute("PRAGMA application_id").fetchone()[0]
        version = self._writer.execute("PRAGMA user_version").fetchone()[0]
        if kind != self._schema.application_id:
            raise StorageError(
                f"{self.path} is not a {self._schema.kind}", remedy="check --home; the file belongs to something else"
            )
        if version > self._schema.version:
            raise StorageError(
                f"{self.path} has format {version}, this program reads up to {self._schema.version}",
                remedy="use the newer yumad that wrote it",
            )

    def _migrate(self) -> None:
        version = self._writer.execute("PRAGMA user_version").fetchone()[0]
        while version < self._schema.version:
            steps = self._schema.migrations.get(version)
            if steps is None:
                raise StorageError(
                    f"{self.path} has format {version}, too old for this program", remedy="delete it to sync anew"
                )
            self._writer.execute("BEGIN IMMEDIATE")
            for statement in steps:
                self._writer.execute(statement)
            version += 1
            self._writer.execute(f"PRAGMA user_version = {version}")
            self._writer.execute("COMMIT")


def sync_path(path: Path) -> None:
    """Flush a file, or a directory's entries, to the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _named(path: Path, doing: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise storage_error(error, path, doing) from error


def _connect(path: Path, *, create: bool = False) -> sqlite3.Connection:
    mode = "rwc" if create else "rw"
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_MILLISECONDS / 1000,
        cached_statements=256,
    )


def _tune(connection: sqlite3.Connection, durability: Durability, cache_bytes: int) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {durability.value}")
    connection.execute(f"PRAGMA cache_size = -{cache_bytes // 1024}")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA trusted_schema = 0")


def sidecars(path: Path) -> tuple[Path, ...]:
    """Files the engine keeps beside a database file."""
    return tuple(path.with_name(path.name + ending) for ending in ("-wal", "-shm", "-journal"))
