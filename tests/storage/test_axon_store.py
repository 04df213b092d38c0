"""What calls, scores and weights leave on disk: used request ids, score tables, notes (AXON R2, R28, R29)."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from yumad.consensus.types import AccountId, Hash32, InvalidError
from yumad.storage.axon_database import FILE_NAME, axon_folder, open_axon_database
from yumad.storage.database import Database, StorageError
from yumad.storage.home import Home
from yumad.storage.replay_ids import AHEAD, LIFETIME, PersistentReplayStore
from yumad.storage.score_rows import MAX_STATE_BYTES, ScoreKey, ScoreRow, ScoreRows, ScoreTable
from yumad.storage.weight_notes import WeightNote, WeightNotes

ALICE, BOB = AccountId(b"a" * 32), AccountId(b"b" * 32)
NOW = 1_700_000_000_000_000_000
KEY = ScoreKey(7, 0, ALICE)


class FakeTime:
    """Both clocks of a store."""

    def __init__(self) -> None:
        self.unix = NOW
        self.running = 0

    def store(self, database: Database, capacity: int = 1000) -> PersistentReplayStore:
        return PersistentReplayStore(
            database, now_ns=lambda: self.unix, monotonic_ns=lambda: self.running, key=b"k", capacity=capacity
        )

    def pass_(self, nanoseconds: int) -> None:
        self.unix += nanoseconds
        self.running += nanoseconds


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_axon_database(tmp_path / "axon")
    yield opened
    opened.close()


@pytest.fixture
def clock() -> FakeTime:
    return FakeTime()


def request(number: int) -> bytes:
    return number.to_bytes(16, "big")


# --- used request ids -------------------------------------------------------------------------------------------------


def test_r2_id_is_seen_from_its_second_use_on_and_belongs_to_its_caller(database: Database, clock: FakeTime) -> None:
    store = clock.store(database)
    assert [store.seen(ALICE, request(1), NOW) for _ in range(3)] == [False, True, True]
    assert not store.seen(BOB, request(1), NOW)
    assert not store.seen(ALICE, request(2), NOW)


def test_r2_id_is_seen_after_a_clean_restart(database: Database, clock: FakeTime) -> None:
    first = clock.store(database)
    first.seen(ALICE, request(1), NOW)
    first.close()
    again = clock.store(database)
    assert again.seen(ALICE, request(1), NOW)
    assert again.not_before == 0
    assert not again.seen(ALICE, request(2), NOW)


def test_r2_after_an_unclean_end_what_may_have_been_used_is_refused(database: Database, clock: FakeTime) -> None:
    clock.store(database).seen(ALICE, request(1), NOW)  # never flushed
    clock.pass_(5_000_000_000)
    again = clock.store(database)
    assert again.seen(ALICE, request(1), NOW)
    assert again.seen(ALICE, request(2), NOW), "nobody can tell that it was not used"
    assert again.seen(ALICE, request(3), clock.unix + AHEAD - 1), "a caller's clock may be ahead"
    assert not again.seen(ALICE, request(4), clock.unix + AHEAD)


def test_r2_end_counts_as_unclean_until_the_store_was_closed(database: Database, clock: FakeTime) -> None:
    clock.store(database)
    assert clock.store(database).not_before
    clock.store(database).close()
    assert clock.store(database).not_before == 0


def test_r2_call_costs_no_transaction_and_a_flush_writes_what_is_pending(database: Database, clock: FakeTime) -> None:
    store = clock.store(database, capacity=10_000)
    for number in range(1000):
        store.seen(ALICE, request(number), NOW)
    assert database.one("SELECT count(*) FROM replay") == (0,)
    assert store.flush() == 1000
    assert database.one("SELECT count(*) FROM replay") == (1000,)
    assert (store.pending, store.flush()) == (0, 0)


def test_r2_ids_expire_from_memory_and_disk(database: Database, clock: FakeTime) -> None:
    store = clock.store(database)
    store.seen(ALICE, request(1), NOW)
    store.flush()
    clock.pass_(LIFETIME // 2)
    assert store.seen(ALICE, request(1), NOW)
    for number in (2, 3):
        clock.pass_(LIFETIME + 1)
        store.seen(ALICE, request(number), clock.unix)
    store.flush()
    assert len(store) == 2
    assert database.one("SELECT count(*) FROM replay") == (2,)
    assert store.seen(ALICE, request(4), NOW), "whether an id of that time was used is not known any more"
    assert not store.seen(ALICE, request(1), clock.unix)


def test_r2_step_of_the_clock_forgets_nothing(database: Database, clock: FakeTime) -> None:
    store = clock.store(database)
    store.seen(ALICE, request(1), NOW)
    clock.unix += 10 * LIFETIME
    store.seen(ALICE, request(2), clock.unix)
    clock.unix = NOW
    assert store.seen(ALICE, request(1), NOW)


def test_r2_clock_that_is_set_back_after_ids_were_forgotten_lets_no_old_call_in(
    database: Database, clock: FakeTime
) -> None:
    store = clock.store(database)
    assert not store.seen(ALICE, request(1), NOW)
    for number in range(2, 6):  # an hour of calls
        clock.pass_(15 * LIFETIME)
        assert not store.seen(BOB, request(number), clock.unix)
    clock.unix = NOW + 5_000_000_000
    assert store.seen(ALICE, request(1), NOW), "the same call, as fresh by this clock as it was then"
    clock.unix = NOW + 61 * LIFETIME
    assert not store.seen(ALICE, request(6), clock.unix)


def test_r2_clock_that_was_set_back_before_a_restart_lets_no_old_call_in(database: Database, clock: FakeTime) -> None:
    store = clock.store(database)
    store.seen(ALICE, request(1), NOW)
    store.flush()
    for number in (2, 3):
        clock.pass_(3 * LIFETIME)
        store.seen(ALICE, request(number), clock.unix)
    store.close()
    clock.unix = NOW + 5_000_000_000
    again = clock.store(database)
    assert again.not_before == 0
    assert again.seen(ALICE, request(1), NOW)


def test_r2_full_store_refuses_and_recovers(database: Database, clock: FakeTime) -> None:
    store = clock.store(database, capacity=20)
    assert not any(store.seen(ALICE, request(number), NOW) for number in range(10))
    assert store.seen(ALICE, request(10), NOW)
    assert store.overflows == 1
    clock.pass_(LIFETIME)
    assert not store.seen(ALICE, request(11), clock.unix)


def test_r2_failed_flush_keeps_what_was_pending(database: Database, clock: FakeTime) -> None:
    store = clock.store(database)
    store.seen(ALICE, request(1), NOW)
    with sqlite3.connect(database.path) as other:
        other.execute("DROP TABLE replay")
    with pytest.raises(StorageError):
        store.flush()
    assert store.pending == 1


def test_r2_call_takes_a_few_microseconds(database: Database) -> None:
    store = PersistentReplayStore(database)
    created = time.time_ns() + AHEAD
    ids = [request(number) for number in range(20_000)]
    took = []
    for part in range(0, len(ids), 2000):  # the best of ten: other programs run beside this one
        start = time.perf_counter()
        for request_id in ids[part : part + 2000]:
            store.seen(ALICE, request_id, created)
        took.append((time.perf_counter() - start) / 2000)
    assert min(took) < 5e-6


# --- score tables -----------------------------------------------------------------------------------------------------


def row(value: float, block: int = 5) -> ScoreRow:
    return ScoreRow(b"\x01", value, block, 9, 2)


def test_r28_table_comes_back_as_it_was_saved(database: Database) -> None:
    rows = ScoreRows(database)
    assert rows.load(KEY) == ScoreTable()
    table = ScoreTable("ema", b"p", 3, 40)
    rows.save(KEY, table, {ALICE: row(0.25), BOB: row(1.0)})
    assert ScoreRows(database).load(KEY) == ScoreTable("ema", b"p", 3, 40, {ALICE: row(0.25), BOB: row(1.0)})


@pytest.mark.parametrize("other", [KEY._replace(netuid=8), KEY._replace(mechanism=1), KEY._replace(validator=BOB)])
def test_r28_tables_are_kept_apart(database: Database, other: ScoreKey) -> None:
    rows = ScoreRows(database)
    rows.load(KEY)
    rows.save(KEY, ScoreTable("ema", b"", 1, 1), {BOB: row(0.5)})
    assert rows.load(other) == ScoreTable()


def test_r28_nothing_is_saved_before_the_first_load(database: Database) -> None:
    with pytest.raises(InvalidError, match="before they were loaded"):
        ScoreRows(database).save(KEY, ScoreTable(), {})


def test_r28_round_is_saved_as_a_whole_or_not_at_all(database: Database) -> None:
    rows = ScoreRows(database)
    rows.load(KEY)
    rows.save(KEY, ScoreTable("ema", b"", 1, 1), {ALICE: row(0.1)})
    broken = ScoreRow(b"", float("nan"), 1, 1, 1)  # the file takes no number that is none
    with pytest.raises(StorageError):
        rows.save(KEY, ScoreTable("ema", b"", 2, 2), {ALICE: row(0.9), BOB: broken})
    with sqlite3.connect(database.path) as other:
        assert other.execute("SELECT round FROM score_table").fetchall() == [(1,)]
        assert other.execute("SELECT value FROM score").fetchall() == [(0.1,)]


def test_r28_state_that_is_too_long_is_refused(database: Database) -> None:
    rows = ScoreRows(database)
    rows.load(KEY)
    with pytest.raises(InvalidError, match="at most"):
        rows.save(KEY, ScoreTable(), {BOB: ScoreRow(bytes(MAX_STATE_BYTES + 1), 0.5, 1, 1, 1)})


def test_r28_rows_go_one_by_one_or_all_at_once(database: Database) -> None:
    rows = ScoreRows(database)
    rows.load(KEY)
    rows.save(KEY, ScoreTable("ema", b"", 1, 1), {ALICE: row(0.1), BOB: row(0.2)})
    rows.save(KEY, ScoreTable("ema", b"", 2, 1), {}, gone=[ALICE])
    assert list(rows.load(KEY).rows) == [BOB]
    rows.replace(KEY, ScoreTable("win_rate", b"", 2, 1))
    assert rows.load(KEY) == ScoreTable("win_rate", b"", 2, 1)


# --- notes, and the file itself ---------------------------------------------------------------------------------------


def test_r29_note_comes_back(database: Database) -> None:
    notes = WeightNotes(database)
    assert notes.load(KEY) == WeightNote()
    note = WeightNote("weights.commit_weights", 5, 20, Hash32(b"h" * 32), "too fast", 4, 2, Hash32(b"i" * 32))
    notes.save(KEY, note)
    notes.save(KEY._replace(netuid=8), WeightNote())
    assert notes.load(KEY) == note


def test_r29_long_error_is_cut_and_a_note_of_another_version_is_empty(database: Database) -> None:
    notes = WeightNotes(database)
    notes.save(KEY, WeightNote(error="ü" * 5000))
    assert notes.load(KEY).error == "ü" * 500
    with database.transaction() as transaction:
        transaction.execute("UPDATE weight_note SET note = ?", (b"\x80",))
    assert notes.load(KEY) == WeightNote()


def test_file_lies_beside_the_chain_folder_and_only_this_user_reads_it(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    folder = axon_folder(home, Hash32(b"\xab" * 32))
    open_axon_database(folder).close()
    assert folder == home.path / "axon" / "abababab"
    assert ((folder / FILE_NAME).stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)


def test_damaged_file_is_named_and_stays(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"no database at all " * 100)
    with pytest.raises(StorageError, match="damaged") as caught:
        open_axon_database(tmp_path)
    assert "score from nothing" in caught.value.remedy
    assert (tmp_path / FILE_NAME).read_bytes().startswith(b"no database")
