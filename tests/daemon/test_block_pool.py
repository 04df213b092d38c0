"""Bodies above F: a byte budget for the unproven, pins for the wanted (CHAIN section 7)."""

from __future__ import annotations

import pytest
from small_peer import SmallPeer
from yumad.consensus.block import Block, encode_block
from yumad.consensus.types import Height
from yumad.daemon.block_pool import BlockPool


@pytest.fixture(scope="module")
def blocks() -> list[Block]:
    peer = SmallPeer()
    return [peer.make_block().block for _ in range(6)]


def test_held_blocks_beyond_the_budget_lose_the_oldest(blocks: list[Block]) -> None:
    pool = BlockPool(held_bytes=len(encode_block(blocks[0])) * 3)
    for block in blocks:
        pool.hold(block)
    assert pool.get(blocks[0].hash) is None
    assert pool.get(blocks[-1].hash) == blocks[-1]
    assert 1 <= len(pool) <= 3


def test_one_block_above_the_budget_is_held_alone(blocks: list[Block]) -> None:
    pool = BlockPool(held_bytes=1)
    pool.hold(blocks[0])
    assert pool.get(blocks[0].hash) == blocks[0]
    pool.hold(blocks[1])
    assert len(pool) == 1


def test_pinned_blocks_do_not_count_and_do_not_go(blocks: list[Block]) -> None:
    pool = BlockPool(held_bytes=1)
    pool.hold(blocks[0])
    pool.pin_held(blocks[0].hash)
    for block in blocks[1:]:
        pool.pin(block)
    pool.hold(blocks[0])
    assert [pool.get(block.hash) for block in blocks] == blocks


def test_pin_held_of_an_unknown_block_changes_nothing(blocks: list[Block]) -> None:
    pool = BlockPool()
    pool.pin_held(blocks[0].hash)
    assert len(pool) == 0


def test_prune_drops_all_that_finality_has_passed_and_frees_the_budget(blocks: list[Block]) -> None:
    pool = BlockPool(held_bytes=2 * max(len(encode_block(block)) for block in blocks))
    pool.pin(blocks[0])
    pool.hold(blocks[1])
    pool.hold(blocks[2])
    pool.prune(Height(2))
    assert [pool.get(block.hash) for block in blocks[:3]] == [None, None, blocks[2]]
    pool.hold(blocks[3])
    assert len(pool) == 2
