"""The chain database: what is final is there whole after any end, and damage is named (CHAIN 4.4)."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from pathlib import Path

import pytest
from yumad.consensus.block import decode_block
from yumad.consensus.statement import Kind
from yumad.consensus.types import Era, Hash32, Height, InvalidError
from yumad.storage.chain import ChainStore
from yumad.storage.database import StorageError


def test_chain_store_at_genesis_has_point_state_and_era_zero(chain_path, factory, make):
    store = ChainStore.open(chain_path, make.genesis)
    point = store.finalised()
    assert (point.header, point.hash, point.height, point.view, point.era) == (None, make.genesis, 0, 0, 0)
    assert point.certificate is None
    assert store.load_state().root() == factory.genesis_root
    record = store.era_record(Era(0))
    assert record.authorities == factory.authorities
    assert (record.opening.hash, record.opening.height, record.boundary_height) == (make.genesis, 0, make.era_blocks)
    assert store.boundary_proof(Era(0)) is None
    assert store.spec_bytes() == b"spec bytes"
    assert store.earliest_body() == 1
    assert store.closed_cleanly
    store.close()


def test_finalise_then_reopen_gives_every_block_and_the_state_back(chain_path, factory, make):
    store = ChainStore.open(chain_path, make.genesis)
    blocks = factory.finalise(store, 1) + factory.finalise(store, 64) + factory.finalise(store, 3)
    store.close()

    store = ChainStore.open(chain_path, make.genesis)
    assert store.closed_cleanly
    point = store.finalised()
    assert (point.header, point.hash, point.height) == (blocks[-1].header, blocks[-1].hash, 68)
    assert point.certificate == factory.certificate(blocks[-1])
    assert store.load_state().root() == blocks[-1].header.state_root
    assert store.verify_columns() is None
    assert store.headers(Height(1), 512) == [block.header for block in blocks]
    for block in blocks:
        height = block.header.height
        assert store.header(height) == block.header == store.header_by_hash(block.hash)
        assert store.height_of(block.hash) == height
        assert decode_block(store.block_bytes(height)).header == block.header
        assert store.block_hash(height) == block.hash
    for era in range(3):
        header, certificate, following = store.boundary_proof(Era(era))
        assert header.height == (era + 1) * make.era_blocks
        assert certificate.statement.block_hash == store.block_hash(header.height)
        assert following.hash == header.next_authorities_hash
        assert store.era_record(Era(era + 1)).opening.hash == store.block_hash(header.height)
    assert store.boundary_proof(Era(3)) is None
    store.close()


def test_genesis_hash_of_a_file_is_told_without_knowing_it(chain_path, tmp_path, make):
    assert ChainStore.genesis_hash_of(chain_path) == make.genesis
    with pytest.raises(StorageError, match="no chain database here"):
        ChainStore.genesis_hash_of(tmp_path / "none.db")


def test_unknown_heights_and_hashes_give_none(chain_path, make):
    store = ChainStore.open(chain_path, make.genesis)
    assert store.header(Height(1)) is None
    assert store.block_bytes(Height(1)) is None
    assert store.body(Height(1)) is None
    assert store.certificate(Height(0)) is None
    assert store.height_of(Hash32(bytes(32))) is None
    assert store.header_by_hash(Hash32(bytes(32))) is None
    assert store.era_record(Era(9)) is None
    assert store.headers(Height(1), 100) == []


def test_certificates_keep_boundaries_one_in_64_and_the_last_256(chain_path, factory, make):
    store = ChainStore.open(chain_path, make.genesis)
    for _ in range(500):
        factory.finalise(store, 1)
    kept = [height for height in range(1, 501) if store.certificate(Height(height)) is not None]
    old = [height for height in range(1, 245) if height % make.era_blocks == 0 or height % 64 == 0 or height == 1]
    assert kept == [*old, *range(245, 501)]


@pytest.mark.parametrize("wrong", ["gap", "fork", "certificate", "view", "boundary", "empty"])
def test_finalise_of_a_batch_that_does_not_fit_stores_nothing(chain_path, factory, make, wrong):
    store = ChainStore.open(chain_path, make.genesis)
    before = factory.finalise(store, 18)[-1]
    blocks = [factory.block() for _ in range(4)]
    certificate, view = factory.certificate(blocks[-1]), factory.view_of(blocks[-1])
    boundaries = {Height(20): factory.certificate(blocks[1])}
    if wrong == "gap":
        blocks = blocks[1:]
    elif wrong == "fork":
        blocks[0] = make.factory().block()
    elif wrong == "certificate":
        certificate = factory.certificate(blocks[0])
    elif wrong == "view":
        view += 1
    elif wrong == "boundary":
        boundaries = {}
    else:
        blocks = []
    with pytest.raises(InvalidError):
        store.finalise(blocks, certificate, view, boundaries)
    assert store.finalised().hash == before.hash
    assert store.header(Height(19)) is None
    assert store.load_state().root() == before.header.state_root


def test_finalise_after_a_failed_transaction_goes_on_from_the_same_point(chain_path, factory, make, monkeypatch):
    store = ChainStore.open(chain_path, make.genesis)
    factory.finalise(store, 6)
    block = factory.block()  # block 7 adds a column

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("yumad.storage.chain._set_meta", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.finalise([block], factory.certificate(block), factory.view_of(block))
    assert store.finalised().height == 6
    store.finalise([block], factory.certificate(block), factory.view_of(block))
    assert store.load_state().root() == block.header.state_root


def test_open_with_another_genesis_is_refused_by_name(chain_path):
    with pytest.raises(StorageError, match=r"holds chain 1111.*expected 2222"):
        ChainStore.open(chain_path, Hash32(b"\x22" * 32))


def test_open_of_a_missing_or_foreign_file_is_refused_with_a_remedy(tmp_path, make):
    with pytest.raises(StorageError, match="no chain database here") as caught:
        ChainStore.open(tmp_path / "chain.db", make.genesis)
    assert caught.value.remedy
    (tmp_path / "text.db").write_bytes(b"not a database at all" * 1000)
    with pytest.raises(StorageError, match="damaged"):
        ChainStore.open(tmp_path / "text.db", make.genesis)
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE t (x)").connection.close()
    with pytest.raises(StorageError, match="not a chain database"):
        ChainStore.open(tmp_path / "other.db", make.genesis)


def test_open_of_a_newer_format_is_refused(chain_path, make):
    connection = sqlite3.connect(chain_path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StorageError, match=r"format 99.*reads up to 1"):
        ChainStore.open(chain_path, make.genesis)


def test_create_twice_is_refused_and_a_half_made_file_is_replaced(tmp_path, factory, make):
    path = tmp_path / "chain.db"
    (tmp_path / "chain.db.new").write_bytes(b"left by a process that died while creating")
    factory.create(path)
    with pytest.raises(StorageError, match="exists already"):
        factory.create(path)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["chain.db"]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("column", ["balances/free", "neurons/last_update"])
def test_one_altered_byte_of_state_is_named_by_column_and_chunk(chain_path, factory, make, column):
    store = ChainStore.open(chain_path, make.genesis)
    factory.finalise(store, 25)
    store.close()
    _alter_chunk(chain_path, column, chunk=2)
    store = ChainStore.open(chain_path, make.genesis)
    fault = store.verify_columns()
    assert (fault.column, fault.chunk) == (column, 2)
    with pytest.raises(StorageError, match=f"column {column}, chunk 2") as caught:
        store.load_state()
    assert "sync anew" in caught.value.remedy


def test_a_lost_chunk_and_an_altered_column_record_are_named(chain_path, factory, make):
    store = ChainStore.open(chain_path, make.genesis)
    factory.finalise(store, 3)
    store.close()
    connection = sqlite3.connect(chain_path)
    connection.execute("DELETE FROM chunk WHERE key & 4294967295 = 1 AND key >> 32 = 1")
    connection.commit()
    store = ChainStore.open(chain_path, make.genesis)
    assert (store.verify_columns().column, store.verify_columns().chunk) == ("balances/free", 1)
    store.close()
    connection.execute("UPDATE column SET record = x'80' WHERE name = 'balances/free'")
    connection.commit()
    connection.close()
    store = ChainStore.open(chain_path, make.genesis)
    assert store.verify_columns().column == "balances/free"
    with pytest.raises(StorageError, match="record is damaged"):
        store.load_state()


def test_a_dropped_column_is_noticed_by_the_state_root(chain_path, factory, make):
    store = ChainStore.open(chain_path, make.genesis)
    factory.finalise(store, 3)
    store.close()
    connection = sqlite3.connect(chain_path)
    connection.execute("DELETE FROM column WHERE name = 'balances/free'")
    connection.commit()
    connection.close()
    fault = ChainStore.open(chain_path, make.genesis).verify_columns()
    assert (fault.column, fault.chunk) == ("", None)
    assert "the header commits" in str(fault)


def test_prune_drops_old_bodies_but_never_headers_or_the_last_block(chain_path, factory, make):
    store = ChainStore.open(chain_path, make.genesis)
    factory.finalise(store, 300)
    assert store.prune(Height(280)) == 279
    assert store.earliest_body() == 280
    assert store.block_bytes(Height(279)) is None
    assert store.block_bytes(Height(280)) is not None
    assert store.header(Height(1)) is not None
    assert store.prune(Height(1000)) == 20
    assert store.block_bytes(Height(300)) is not None
    assert store.prune(Height(5)) == 0


def test_evidence_in_a_final_body_is_archived_once(chain_path, factory, make):
    store = ChainStore.open(chain_path, make.genesis)
    evidence = make.evidence(make.signed(Kind.NULLIFY, 3), make.signed(Kind.FINALIZE, 3, Hash32(b"\x01" * 32)))
    factory.finalise(store, 1, evidence=(evidence,))
    factory.finalise(store, 1, evidence=(evidence,))
    assert store.included_evidence() == [(1, evidence)]


def test_meta_values_are_kept_and_the_size_is_told(chain_path, make):
    store = ChainStore.open(chain_path, make.genesis)
    store.set_meta("note", b"x")
    assert (store.meta("note"), store.meta("none")) == (b"x", None)
    assert store.size_bytes() > 8192


def test_full_disk_while_finalising_is_one_clear_error_and_damages_nothing(chain_path, factory, make):
    store = ChainStore.open(chain_path, make.genesis)
    good = factory.finalise(store, 3)[-1]
    # What a full disk looks like to the engine: the file may not grow by another page.
    pages = store._database._writer.execute("PRAGMA page_count").fetchone()[0]
    store._database._writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageError, match="the disk is full") as caught:
        factory.finalise(store, 3, transactions=(bytes(60000),) * 4)
    assert "free space" in caught.value.remedy
    assert store.finalised().hash == good.hash
    with pytest.raises(StorageError, match="the disk is full"):
        store.set_meta("any", b"later write is refused too: this process must stop")
    store.close()
    store = ChainStore.open(chain_path, make.genesis)
    assert not store.closed_cleanly
    assert store.load_state().root() == good.header.state_root


def test_read_only_opening_beside_a_writer_reads_and_changes_nothing(chain_path, factory, make):
    writer = ChainStore.open(chain_path, make.genesis)
    factory.finalise(writer, 3)
    reader = ChainStore.open(chain_path, make.genesis, read_only=True)
    assert reader.finalised().height == 3
    assert reader.verify_columns() is None
    with pytest.raises(StorageError, match="cannot be written"):
        reader.set_meta("x", b"")
    reader.close()
    factory.finalise(writer, 1)
    writer._database.close()
    assert not ChainStore.open(chain_path, make.genesis).closed_cleanly


def test_altered_header_and_body_are_damage_by_name(chain_path, factory, make):
    store = ChainStore.open(chain_path, make.genesis)
    factory.finalise(store, 5)
    store.close()
    connection = sqlite3.connect(chain_path)
    connection.execute("UPDATE header SET bytes = x'8000' WHERE height = 3")
    connection.execute("UPDATE body SET bytes = x'00' WHERE height = 4")
    connection.commit()
    store = ChainStore.open(chain_path, make.genesis)
    with pytest.raises(StorageError, match="the header of block 3 does not decode"):
        store.header(Height(3))
    with pytest.raises(StorageError, match="the header of block 3 does not decode"):
        store.headers(Height(2), 3)
    with pytest.raises(StorageError, match="the body of block 4 does not decode"):
        store.body(Height(4))
    store.close()
    connection.execute("UPDATE header SET bytes = (SELECT bytes FROM header WHERE height = 2) WHERE height = 5")
    connection.commit()
    connection.close()
    with pytest.raises(StorageError, match="the header of its finalised block 5 has another hash"):
        ChainStore.open(chain_path, make.genesis)


def test_log_left_by_a_deleted_database_is_not_replayed_into_a_new_one(chain_path, factory, make):
    store = ChainStore.open(chain_path, make.genesis)
    factory.finalise(store, 3)
    log = chain_path.with_name("chain.db-wal").read_bytes()
    store.close()
    chain_path.unlink()
    chain_path.with_name("chain.db-wal").write_bytes(log)
    make.factory().create(chain_path)
    store = ChainStore.open(chain_path, make.genesis)
    assert store.finalised().height == 0
    assert store.verify_columns() is None


def test_unclean_stop_is_noticed_at_the_next_open(chain_path, make):
    store = ChainStore.open(chain_path, make.genesis)
    store._database.close()  # as a killed process leaves it
    store = ChainStore.open(chain_path, make.genesis)
    assert not store.closed_cleanly
    store.close()
    assert ChainStore.open(chain_path, make.genesis).closed_cleanly


def _alter_chunk(path: Path, column: str, chunk: int) -> None:
    connection = sqlite3.connect(path)
    number = connection.execute("SELECT id FROM column WHERE name = ?", (column,)).fetchone()[0]
    key = number << 32 | chunk
    data = bytearray(connection.execute("SELECT data FROM chunk WHERE key = ?", (key,)).fetchone()[0])
    data[100] ^= 1
    connection.execute("UPDATE chunk SET data = ? WHERE key = ?", (bytes(data), key))
    connection.commit()
    connection.close()


def test_kill_minus_nine_in_forty_rounds_never_tears_a_state_or_leaves_a_gap(tmp_path, make):
    path = tmp_path / "chain.db"
    make.factory().create(path)
    chance, reached = random.Random(4), 0
    for _ in range(40):
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            _write_until_killed(path, make, write_end)
        os.close(write_end)
        for _ in range(chance.randrange(1, 12)):
            assert os.read(read_end, 1) == b"."
        time.sleep(chance.uniform(0, 0.004))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(read_end)
        store = ChainStore.open(path, make.genesis)
        height = store.finalised().height
        assert height >= reached
        if height:
            assert store.verify_columns() is None
            assert store.load_state().root() == store.header(height).state_root
            headers = store.headers(Height(max(1, reached)), 512)
            assert [header.height for header in headers] == list(range(max(1, reached), height + 1))[:512]
            assert store.block_bytes(height) is not None
        reached = height
        store._database.close()
    assert reached > 100


def _write_until_killed(path: Path, make, progress: int) -> None:
    """The child: replay the known chain to the stored height, then go on, a batch of 1, 2 or 3 blocks a commit."""
    try:
        factory = make.factory()
        store = ChainStore.open(path, make.genesis)
        while factory.height < store.finalised().height:
            factory.block()
        while True:
            os.write(progress, b".")
            factory.finalise(store, 1 + factory.height % 3)
    finally:
        os._exit(1)
