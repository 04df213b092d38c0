"""Own transactions over a restart: kept, bounded, and never trusted (CHAIN 3)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from small_peer import SmallPeer
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.transaction import encode_transaction, sign_transaction
from yumad.daemon import own_transactions
from yumad.daemon.admission import Verdict
from yumad.daemon.own_transactions import OwnTransactions


def test_own_transactions_are_pooled_again_after_a_restart(tmp_path: Path) -> None:
    peer = SmallPeer()
    data = encode_transaction(
        sign_transaction(
            peer.transaction_domain, dev_keypair("alice"), nonce=0, valid_until=9, call=0, args=[b"d" * 32, 5]
        )
    )
    assert peer.mempool.admit(data, own=True).verdict is Verdict.ACCEPT
    OwnTransactions(tmp_path).save(peer.mempool.own())
    restarted = SmallPeer()
    for kept in OwnTransactions(tmp_path).load():
        assert restarted.mempool.admit(kept, own=True).verdict is Verdict.ACCEPT
    assert restarted.mempool.own() == [data]


def test_file_is_written_only_when_something_changed(tmp_path: Path) -> None:
    store = OwnTransactions(tmp_path)
    store.save([b"a"])
    os.utime(store.path, ns=(1, 1))
    store.save([b"a"])
    assert store.path.stat().st_mtime_ns == 1
    store.save([])
    assert store.load() == []


def test_newest_are_kept_when_there_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_transactions, "MOST", 2)
    store = OwnTransactions(tmp_path)
    store.save([b"a", b"b", b"c"])
    assert store.load() == [b"b", b"c"]
    monkeypatch.setattr(own_transactions, "MAX_FILE_BYTES", 40)
    store.save([b"x" * 20, b"y" * 15])
    assert store.load() == [b"y" * 15]


@pytest.mark.parametrize("content", [b"", b"\xff", b"\x81", b"\x81\x01", b"\x80\x00", b"[]"])
def test_damaged_file_counts_as_empty(tmp_path: Path, content: bytes) -> None:
    store = OwnTransactions(tmp_path)
    store.path.write_bytes(content)
    assert store.load() == []


def test_folder_that_is_gone_is_no_failure_of_the_peer(tmp_path: Path) -> None:
    store = OwnTransactions(tmp_path / "gone")
    store.save([b"a"])
    assert store.load() == []
