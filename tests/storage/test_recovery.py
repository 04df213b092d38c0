"""Adopted restart files: a new vote domain on exactly the final block (CHAIN 1.3)."""

from __future__ import annotations

import pytest
from yumad.consensus.authority import Authority
from yumad.consensus.restart_file import encode_restart_file, sign_restart_file
from yumad.consensus.types import ZERO_HASH, AuthorityKey, Era, Height, InvalidError, Slot
from yumad.storage.chain import ChainStore


def _file(make, block, previous=ZERO_HASH, slot=500):
    return sign_restart_file(
        make.genesis,
        (make.key.public_key,),
        (make.key,),
        previous=previous,
        slot=Slot(slot),
        height=block.header.height,
        block_hash=block.hash,
        members=(Authority(AuthorityKey(b"\x77" * 32), 3),),
    )


def test_adopted_file_changes_domain_set_and_opening_also_after_reopening(chain_path, factory, make):
    store = ChainStore.open(chain_path, make.genesis)
    block = factory.finalise(store, 25)[-1]
    assert store.restart_hash() == ZERO_HASH
    file = _file(make, block)
    restart_hash = store.adopt_restart(file)
    store.close()
    store = ChainStore.open(chain_path, make.genesis)
    assert store.restart_hash() == restart_hash == file.hash(make.genesis)
    record = store.era_record(Era(1))
    assert record.authorities == file.authorities(make.genesis)
    assert (record.opening.hash, record.opening.height, record.opening.slot) == (block.hash, 25, 500)
    assert record.boundary_height == 40
    assert store.restart_files(Era(1)) == [encode_restart_file(file)]
    assert store.restart_files(Era(0)) == []
    # what the old set signed stays provable
    header, _, following = store.boundary_proof(Era(0))
    assert header.height == 20
    assert following == factory.authorities


def test_file_at_a_boundary_or_genesis_replaces_the_set_of_the_era_that_opens(chain_path, factory, make):
    store = ChainStore.open(chain_path, make.genesis)
    block = factory.finalise(store, 20)[-1]
    store.adopt_restart(_file(make, block))
    assert store.era_record(Era(1)).authorities.members[0].weight == 3
    assert store.era_record(Era(0)).authorities == factory.authorities


def test_file_off_the_final_block_or_after_another_file_is_refused(chain_path, factory, make):
    store = ChainStore.open(chain_path, make.genesis)
    blocks = factory.finalise(store, 25)
    with pytest.raises(InvalidError, match=r"from block 24.*final here is block 25"):
        store.adopt_restart(_file(make, blocks[23]))
    first = store.adopt_restart(_file(make, blocks[24]))
    with pytest.raises(InvalidError, match="follows 0000"):
        store.adopt_restart(_file(make, blocks[24], slot=501))
    second = store.adopt_restart(_file(make, blocks[24], previous=first, slot=501))
    assert store.restart_hash() == second
    assert len(store.restart_files(Era(1))) == 2
    assert store.finalised().height == Height(25)
