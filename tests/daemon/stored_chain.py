"""A chain on disk with real blocks, certificates and state: what `verify`, `doctor` and the index work on."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from small_peer import SmallPeer
from yumad.consensus.certificate import Certificate
from yumad.consensus.chain_spec import encode_chain_spec
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.rules.v1.calls.table import call_named
from yumad.consensus.statement import Kind, Statement, VoteDomain, signing_digest
from yumad.consensus.transaction import Transaction, encode_transaction, sign_transaction
from yumad.consensus.types import AccountId, View
from yumad.daemon.chain_home import create_chain, era_context, genesis_hash_of_folder, open_chain, the_chain_of
from yumad.storage.chain import ChainStore
from yumad.storage.home import ChainFolder, Home

AUTHORITY = dev_keypair("authority-key")


def transfer(peer: SmallPeer, sender: str, receiver: str, amount: int) -> Transaction:
    """A signed transfer with the next nonce of the pool."""
    key, call = dev_keypair(sender), call_named("balances.transfer_keep_alive")
    assert call is not None
    return sign_transaction(
        peer.transaction_domain,
        key,
        nonce=peer.mempool.next_nonce(AccountId(key.public_key)),
        valid_until=peer.chain.finalised.height + 100,
        call=call.number,
        args=[dev_keypair(receiver).public_key, amount],
    )


def certificate_for(peer: SmallPeer, height: int) -> Certificate:
    """What the lone authority signs about a block, each in the view after its parent's."""
    block = peer.blocks[height - 1].block
    view = View(height - block.header.era * peer.spec.era_blocks)
    statement = Statement(Kind.FINALIZE, block.header.era, view, View(view - 1), block.hash)
    return Certificate(statement, (0,), (AUTHORITY.sign(signing_digest(VoteDomain(peer.genesis_hash), statement)),))


def make_blocks(count: int) -> tuple[SmallPeer, list[Transaction]]:
    """A peer that has made `count` blocks with a transfer in each third, and the transfers."""
    peer, sent = SmallPeer(), []
    for number in range(count):
        if number % 3 == 1:
            sent.append(transfer(peer, "alice", "bob", 1000 + number))
            admission = peer.mempool.admit(encode_transaction(sent[-1]))
            assert admission.code == "accepted", admission
        peer.make_block()
    return peer, sent


def store_chain(home: Home, peer: SmallPeer) -> ChainFolder:
    """Store the peer's blocks in a home, each with its certificate."""
    home.prepare()
    create_chain(home, encode_chain_spec(peer.spec))
    folder = the_chain_of(home)
    opened = open_chain(folder, genesis_hash_of_folder(folder))

    for kept in peer.blocks:
        height = kept.block.header.height
        opened.working.execute(kept.block, era_context(opened.store, opened.spec).authorities)
        certificate = certificate_for(peer, height)
        opened.store.finalise([opened.working.finalise(kept.hash)], certificate, certificate.statement.view)
    opened.store.close()
    return folder


def open_store(folder: ChainFolder, *, read_only: bool = False) -> ChainStore:
    """The store in a chain folder."""
    return ChainStore.open(folder.chain_database, genesis_hash_of_folder(folder), read_only=read_only)


def alter(path: Path, statement: str, *parameters: object) -> int:
    """Change a database behind the program's back; the number of rows changed."""
    with sqlite3.connect(path) as database:
        changed = database.execute(statement, parameters).rowcount
    database.close()
    return changed
