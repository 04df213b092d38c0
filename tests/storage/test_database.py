"""One sqlite file: transactions, threads, migrations and the operating system's refusals (CHAIN 4.3, 4.4)."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import threading
from pathlib import Path

import pytest
from yumad.storage.database import Database, Schema, StorageError, storage_error

FIRST = Schema("test file", 77, 1, ("CREATE TABLE t (k INTEGER PRIMARY KEY, v BLOB)",))
SECOND = Schema("test file", 77, 2, FIRST.tables, {1: ("ALTER TABLE t ADD COLUMN w INTEGER DEFAULT 5",)})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Database.create(tmp_path / "t.db", FIRST, lambda transaction: None)
    return tmp_path / "t.db"


def test_migration_brings_an_old_file_forward_once(path):
    database = Database.open(path, FIRST)
    with database.transaction() as transaction:
        transaction.execute("INSERT INTO t VALUES (1, x'00')")
    database.close()
    for _ in range(2):
        database = Database.open(path, SECOND)
        assert database.one("SELECT w FROM t WHERE k = 1") == (5,)
        database.close()
    with pytest.raises(StorageError, match="format 2"):
        Database.open(path, FIRST)


def test_file_too_old_to_migrate_says_so(path):
    with pytest.raises(StorageError, match="too old"):
        Database.open(path, Schema("test file", 77, 3, FIRST.tables, {2: ()}))


def test_nested_transactions_commit_once_at_the_outer_end(path):
    database = Database.open(path, FIRST)
    with database.transaction() as outer:
        with database.transaction() as inner:
            inner.execute("INSERT INTO t VALUES (1, NULL)")
        assert outer.one("SELECT COUNT(*) FROM t") == (1,)
        assert database.one("SELECT COUNT(*) FROM t") == (0,)  # readers see committed data only
    assert database.one("SELECT COUNT(*) FROM t") == (1,)


def test_error_inside_rolls_back_and_an_ordinary_one_does_not_latch(path):
    database = Database.open(path, FIRST)

    def fails() -> None:
        with database.transaction() as transaction:
            transaction.execute("INSERT INTO t VALUES (1, NULL)")
            raise LookupError

    with pytest.raises(LookupError):
        fails()
    assert database.one("SELECT COUNT(*) FROM t") == (0,)
    with database.transaction() as transaction:
        transaction.execute("INSERT INTO t VALUES (1, NULL)")


def test_readers_are_not_held_up_by_a_long_writer_in_another_thread(path):
    database = Database.open(path, FIRST)
    writing, done = threading.Event(), threading.Event()

    def write() -> None:
        with database.transaction() as transaction:
            transaction.execute("INSERT INTO t VALUES (1, NULL)")
            writing.set()
            done.wait(30)

    thread = threading.Thread(target=write)
    thread.start()
    assert writing.wait(30)
    assert database.one("SELECT COUNT(*) FROM t") == (0,)
    done.set()
    thread.join(30)
    assert database.one("SELECT COUNT(*) FROM t") == (1,)


def test_snapshot_stays_frozen_while_the_writer_goes_on(path):
    database = Database.open(path, FIRST)
    with database.snapshot() as frozen:
        assert frozen.one("SELECT COUNT(*) FROM t") == (0,)
        with database.transaction() as transaction:
            transaction.execute("INSERT INTO t VALUES (1, NULL)")
        assert frozen.one("SELECT COUNT(*) FROM t") == (0,)
        assert database.one("SELECT COUNT(*) FROM t") == (1,)


def test_writes_are_flushed_before_they_return_and_pages_are_8_kib(path):
    database = Database.open(path, FIRST)
    pragma = {name: database._writer.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "page_size")}
    assert pragma == {"journal_mode": "wal", "page_size": 8192}
    assert database._writer.execute("PRAGMA synchronous").fetchone() == (2,)


def test_file_held_by_another_program_is_named(path):
    database = Database.open(path, FIRST)
    database._writer.execute("PRAGMA busy_timeout = 10")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StorageError, match="another program holds it"), database.transaction():
        pass
    other.close()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device"), "disk is full"),
        (PermissionError(13, "Permission denied"), "cannot be written"),
        (OSError(30, "Read-only file system"), "cannot be written"),
        (OSError(5, "Input/output error"), "Input/output error"),
    ],
)
def test_system_errors_become_one_line_with_a_remedy(tmp_path, error, words):
    made = storage_error(error, tmp_path / "chain.db", "write")
    assert words in made.message
    assert "\n" not in made.message
    assert made.remedy


def test_refusal_of_the_system_to_grow_a_file_is_an_error_and_loses_nothing(path):
    """A file size limit in a child: the same refusal as a full disk, from the real operating system."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        text = "no error"
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
            database = Database.open(path, FIRST)
            for number in range(100):
                with database.transaction() as transaction:
                    transaction.execute("INSERT INTO t VALUES (?, ?)", (number, bytes(9000)))
                os.write(write_end, b".")
        except StorageError as error:
            text = error.message
        finally:
            os.write(write_end, text.encode())
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)
    assert "cannot write" in said
    assert "disk" in said
    committed = said.count(".", 0, said.index("/"))
    assert committed > 0
    database = Database.open(path, FIRST)
    stored = database.one("SELECT COUNT(*), COALESCE(SUM(length(v)), 0) FROM t")
    assert stored[0] >= committed
    assert stored[1] == 9000 * stored[0]
    assert database.one("PRAGMA integrity_check") == ("ok",)
