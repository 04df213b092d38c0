"""Real engines over all protocols at once, in virtual time (CHAIN 1.5, 2, 6.2 layer 3)."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from peer_doubles import GENESIS, Authorities
from protocol_node import ProtocolNode, memory_node
from trio.testing import MockClock
from yumad.consensus.authority import era_seed
from yumad.consensus.timing import Timing
from yumad.consensus.types import Era, Micros
from yumad.protocols.memory_transport import LinkQuality, MemoryNetwork

TIMING = Timing(Micros(1_000_000_000), Micros(1_000_000), 8)
"""Slots of a second, eras of eight blocks: era changes all the time."""


@asynccontextmanager
async def swarm(
    count: int, followers: int = 0, *, latency: float = 0.005, loss: float = 0.0, timing: Timing = TIMING
) -> AsyncIterator[tuple[MemoryNetwork, list[ProtocolNode], trio.Nursery]]:
    """Connected authorities, running; followers are made and neither run nor connected."""
    authorities = Authorities(range(count), era_seed(GENESIS, Era(0), None))
    network = MemoryNetwork(random.Random(7), LinkQuality(latency=latency, jitter=latency, loss=loss))
    nodes = [
        memory_node(network, f"node{n}", authorities.set, authorities.keys[n] if n < count else None, timing, n)
        for n in range(count + followers)
    ]
    async with trio.open_nursery() as nursery:
        for n in range(count):
            await nursery.start(nodes[n].run)
        for n in range(count):
            await connect(nodes[n], nodes[:n])
        yield network, nodes, nursery
        nursery.cancel_scope.cancel()


async def connect(node: ProtocolNode, others: list[ProtocolNode]) -> None:
    for other in others:
        await node.transport.dial(other.transport.addresses()[0])


def agree(nodes: list[ProtocolNode]) -> int:
    """The common height, after checking that all chains are prefixes of one another."""
    common = min(node.height for node in nodes)
    assert len({node.chain.hash_at(common) for node in nodes}) == 1
    return common


@pytest.mark.parametrize("count", [1, 4, 7])
async def test_swarm_finalises_a_block_a_slot_across_eras(autojump_clock: MockClock, count: int) -> None:
    async with swarm(count) as (_, nodes, _nursery):
        await trio.sleep(20)
        assert agree(nodes) >= 17
        for node in nodes:
            assert node.penalties.offences == []
            times = sorted(node.finality_seconds)
            assert times[len(times) // 2] < 0.1
            assert times[-1] < 0.5


async def test_swarm_goes_on_under_loss_and_slow_links(autojump_clock: MockClock) -> None:
    async with swarm(4, latency=0.04, loss=0.2) as (_, nodes, _nursery):
        await trio.sleep(30)
        assert agree(nodes) >= 18
        assert all(node.penalties.offences == [] for node in nodes)


async def test_late_follower_joins_by_one_address_syncs_and_follows(autojump_clock: MockClock) -> None:
    async with swarm(4, followers=1) as (_, nodes, nursery):
        await trio.sleep(30)
        follower = nodes[4]
        await nursery.start(follower.run)
        await connect(follower, nodes[:1])
        await trio.sleep(5)
        assert agree(nodes) >= 30
        before = follower.height
        await trio.sleep(15)
        assert follower.height >= before + 13
        assert agree(nodes) >= before + 13
        assert follower.penalties.offences == []
        assert follower.finality_seconds[-1] < 1


async def test_halves_wait_while_parted_and_go_on_after_the_heal(autojump_clock: MockClock) -> None:
    async with swarm(4) as (network, nodes, _nursery):
        await trio.sleep(20)
        ids = [node.transport.local_peer for node in nodes]
        network.partition(tuple(ids[:2]), tuple(ids[2:]))
        await trio.sleep(2)
        stopped = max(node.height for node in nodes)
        await trio.sleep(30)
        assert max(node.height for node in nodes) <= stopped + 1
        network.heal()
        for node in nodes[2:]:
            await connect(node, nodes[:2])
        await trio.sleep(30)
        assert agree(nodes) >= stopped + 15


async def test_authority_away_for_eras_catches_up_and_votes_again(autojump_clock: MockClock) -> None:
    async with swarm(4) as (network, nodes, _nursery):
        await trio.sleep(10)
        ids = [node.transport.local_peer for node in nodes]
        network.partition(tuple(ids[:3]), (ids[3],))
        await trio.sleep(60)
        left = nodes[3].height
        assert nodes[0].height > left + 20
        network.heal()
        await connect(nodes[3], nodes[:3])
        await trio.sleep(40)
        assert nodes[3].height >= nodes[0].height - 2
        assert agree(nodes) > left + 50
        network.partition(tuple(ids[1:]), (ids[0],))  # now the one that was away is needed for a quorum
        height = nodes[3].height
        await trio.sleep(30)
        assert nodes[3].height >= height + 10
