"""The index is a copy of what the stored bodies say: after a crash, from nothing, and after a chain was replaced."""

from __future__ import annotations

from pathlib import Path

import pytest
from stored_chain import make_blocks, open_store, store_chain
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.transaction import signing_digest
from yumad.consensus.types import AccountId, Height
from yumad.daemon import transaction_index
from yumad.daemon.transaction_index import catch_up_index
from yumad.storage.home import Home
from yumad.storage.index import IndexStore


@pytest.mark.parametrize("step", [1, 4, 256])
def test_catching_up_indexes_every_final_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(transaction_index, "_STEP", step)
    peer, sent = make_blocks(10)
    folder = store_chain(Home(tmp_path / "home"), peer)
    store = open_store(folder)
    index = IndexStore.open(folder.index_database)
    catch_up_index(index, store, peer.transaction_domain)
    assert index.indexed_to() == 10
    found = [index.find(signing_digest(peer.transaction_domain, transaction)) for transaction in sent]
    assert [None if place is None else (place.height, place.position) for place in found] == [(2, 0), (5, 0), (8, 0)]
    for name in ("alice", "bob"):
        assert index.heights_of(AccountId(dev_keypair(name).public_key)) == [8, 5, 2]
    catch_up_index(index, store, peer.transaction_domain)
    assert index.indexed_to() == 10
    index.close()
    store.close()


def test_catching_up_after_a_crash_goes_on_where_the_index_ends(tmp_path: Path) -> None:
    peer, sent = make_blocks(6)
    folder = store_chain(Home(tmp_path / "home"), peer)
    store = open_store(folder)
    index = IndexStore.open(folder.index_database)
    index.add(Height(1), [(), ()])  # the transaction of block 2 was never written
    catch_up_index(index, store, peer.transaction_domain)
    assert index.indexed_to() == 6
    assert index.find(signing_digest(peer.transaction_domain, sent[0])) is None
    assert index.find(signing_digest(peer.transaction_domain, sent[1])) is not None
    index.close()
    store.close()


def test_index_ahead_of_the_chain_is_made_anew(tmp_path: Path) -> None:
    peer, sent = make_blocks(3)
    folder = store_chain(Home(tmp_path / "home"), peer)
    store = open_store(folder)
    index = IndexStore.open(folder.index_database)
    index.add(Height(1), [()] * 9)
    catch_up_index(index, store, peer.transaction_domain)
    assert index.indexed_to() == 3
    assert index.find(signing_digest(peer.transaction_domain, sent[0])) is not None
    index.close()
    store.close()
