"""The two disposable files: known peers, and look-ups by transaction and account (CHAIN 4.4)."""

from __future__ import annotations

import pytest
from yumad.consensus.types import AccountId, Hash32, Height, InvalidError, Micros
from yumad.storage.index import IndexedTransaction, IndexStore, Location
from yumad.storage.peers import MAX_PEERS, KnownPeer, PeerStore


def _peer(name: str, seen: int = 1, **more) -> KnownPeer:
    return KnownPeer(name, (f"/ip4/10.0.0.1/tcp/1/p2p/{name}",), Micros(seen), **more)


def test_peers_survive_reopening_with_score_ban_record_and_anchor(tmp_path):
    store = PeerStore.open(tmp_path / "peers.db")
    known = _peer("a", milli_score=-3500, banned_until=Micros(99), record=b"\x80")
    store.put([known, _peer("b", 5)])
    store.set_anchors(["b", "unknown"])
    store.close()
    store = PeerStore.open(tmp_path / "peers.db")
    assert store.get("a") == known
    assert store.get("c") is None
    assert [peer.peer for peer in store.anchors()] == ["b"]
    assert [peer.peer for peer in store.newest()] == ["b", "a"]
    store.set_anchors([])
    assert store.anchors() == []
    store.forget("a")
    assert len(store) == 1


def test_peer_table_is_bounded_and_forgets_the_oldest_but_not_anchors(tmp_path):
    store = PeerStore.open(tmp_path / "peers.db")
    store.put([_peer("anchor", 0, anchor=True)])
    store.put([_peer(f"p{number:05}", number) for number in range(1, MAX_PEERS + 100)])
    assert len(store) == MAX_PEERS
    assert store.get("anchor") is not None
    assert store.get("p00001") is None


def test_oversized_records_and_addresses_are_cut(tmp_path):
    store = PeerStore.open(tmp_path / "peers.db")
    store.put([KnownPeer("a", ("x" * 300, *(f"/ip4/1.1.1.{n}" for n in range(20))), Micros(1), record=bytes(5000))])
    assert len(store.get("a").addresses) == 8
    assert store.get("a").record is None


@pytest.mark.parametrize("opened", [PeerStore.open, IndexStore.open])
def test_damaged_disposable_file_is_made_anew(tmp_path, opened):
    path = tmp_path / "file.db"
    path.write_bytes(b"garbage" * 5000)
    store = opened(path)
    store.close()
    opened(path).close()


def test_index_finds_transactions_and_heights_of_an_account(tmp_path):
    store = IndexStore.open(tmp_path / "index.db")
    alice, bob = AccountId(b"\x01" * 32), AccountId(b"\x02" * 32)
    ids = [Hash32(bytes([number]) * 32) for number in range(4)]
    store.add(
        Height(1),
        [
            [IndexedTransaction(ids[0], (alice,)), IndexedTransaction(ids[1], (alice, bob))],
            [],
            [IndexedTransaction(ids[2], (bob,))],
        ],
    )
    assert store.indexed_to() == 3
    assert store.find(ids[1]) == Location(Height(1), 1)
    assert store.find(ids[3]) is None
    assert store.heights_of(bob) == [3, 1]
    assert store.heights_of(bob, below=Height(3)) == [1]
    assert store.heights_of(bob, limit=1) == [3]
    with pytest.raises(InvalidError, match="ends at block 3, block 5 cannot follow"):
        store.add(Height(5), [[]])
    store.close()
    store = IndexStore.open(tmp_path / "index.db")
    assert store.indexed_to() == 3
    store.clear()
    assert store.indexed_to() == 0
    assert store.find(ids[0]) is None
