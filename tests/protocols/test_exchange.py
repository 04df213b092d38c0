"""The exchange over streams, in virtual time (CHAIN 1.5)."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
from peer_doubles import DIGEST, GENESIS, Authorities, FakeView, RecordedPenalties, statement
from trio.testing import MockClock
from yumad.consensus.authority import era_seed
from yumad.consensus.statement import Kind
from yumad.consensus.types import Era, Signature, View
from yumad.protocols.exchange import Exchange
from yumad.protocols.exchange_frames import ExchangeFrame, Position, encode_exchange_frame
from yumad.protocols.exchange_state import Item
from yumad.protocols.framing import frame
from yumad.protocols.memory_transport import LinkQuality, MemoryNetwork, MemoryTransport
from yumad.protocols.names import NetworkNames
from yumad.protocols.peer_ledger import Offence
from yumad.protocols.transport import PeerId, StreamClosed

NAMES = NetworkNames.of(GENESIS)
TICK = 0.02


class Node:
    """A peer that only exchanges votes."""

    def __init__(self, network: MemoryNetwork, name: str, authorities: Authorities, seed: int) -> None:
        self.transport = MemoryTransport(network, PeerId(name))
        self.view = FakeView({0: authorities.set})
        self.penalties = RecordedPenalties()
        self.delivered: list[tuple[float, Item]] = []
        self.gate = trio.Event()
        self.gate.set()
        self.behind: list[tuple[PeerId, Era]] = []
        self.exchange = Exchange(
            self.transport,
            NAMES,
            self.view,
            self.deliver,
            self.penalties,
            random.Random(seed),
            digest=DIGEST,
            tick=TICK,
            behind=lambda peer, era: self.behind.append((peer, era)),
        )
        self.exchange.register()

    async def deliver(self, items: Sequence[Item], peer: PeerId) -> None:
        await self.gate.wait()
        self.delivered.extend((trio.current_time(), item) for item in items)

    def items(self) -> list[Item]:
        return [item for _, item in self.delivered]


@asynccontextmanager
async def swarm(
    count: int, *, edges: Sequence[tuple[int, int]] | None = None, quality: LinkQuality | None = None, seed: int = 1
) -> AsyncIterator[tuple[MemoryNetwork, list[Node], Authorities]]:
    """`count` running nodes; a full mesh unless `edges` says otherwise."""
    authorities = Authorities(range(count), era_seed(GENESIS, Era(0), None))
    network = MemoryNetwork(random.Random(seed), quality or LinkQuality(latency=0.005))
    nodes = [Node(network, f"peer{n:02}", authorities, seed + n) for n in range(count)]
    if edges is None:
        edges = [(a, b) for a in range(count) for b in range(a)]
    async with trio.open_nursery() as nursery:
        for node in nodes:
            await nursery.start(node.transport.run)
            await nursery.start(node.exchange.run)
        for a, b in edges:
            await nodes[a].transport.dial(nodes[b].transport.addresses()[0])
        await trio.sleep(2)
        yield network, nodes, authorities
        nursery.cancel_scope.cancel()


async def test_own_vote_reaches_direct_neighbours_without_waiting_for_a_tick(autojump_clock: MockClock) -> None:
    async with swarm(4) as (_, nodes, authorities):
        assert all(len(node.exchange.neighbours()) == 3 for node in nodes)
        await trio.sleep(TICK / 7)
        start = trio.current_time()
        vote = authorities.sign(0, statement(Kind.NOTARIZE, 1))
        nodes[0].exchange.offer(vote)
        await trio.sleep(1)
        for node in nodes[1:]:
            assert node.items() == [vote]
            assert node.delivered[0][0] - start < 0.011


async def test_every_vote_reaches_every_node_of_a_sparse_network_under_loss(autojump_clock: MockClock) -> None:
    count = 12
    ring = [(n, (n + 1) % count) for n in range(count)] + [(n, (n + 5) % count) for n in range(0, count, 3)]
    async with swarm(count, edges=ring, quality=LinkQuality(0.05, 0.05, 0.3)) as (_, nodes, authorities):
        votes = [authorities.sign(n, statement(Kind.NOTARIZE, 1)) for n in range(count)]
        for node, vote in zip(nodes, votes, strict=True):
            node.exchange.offer(vote)
        await trio.sleep(10)
        for n, node in enumerate(nodes):
            got = node.items()
            assert len(got) == len(set(map(repr, got))) == count - 1
            assert votes[n] not in got
            assert node.penalties.offences == []


async def test_votes_cross_a_healed_partition(autojump_clock: MockClock) -> None:
    async with swarm(4) as (network, nodes, authorities):
        ids = [node.transport.local_peer for node in nodes]
        network.partition(tuple(ids[:2]), tuple(ids[2:]))
        votes = [authorities.sign(n, statement(Kind.NULLIFY, 1)) for n in range(4)]
        for node, vote in zip(nodes, votes, strict=True):
            node.exchange.offer(vote)
        await trio.sleep(3)
        assert {len(node.items()) for node in nodes} == {1}
        network.heal()
        await nodes[0].transport.dial(nodes[2].transport.addresses()[0])
        await trio.sleep(10)
        assert {len(node.items()) for node in nodes} == {3}


async def test_two_crossing_streams_leave_one_session(autojump_clock: MockClock) -> None:
    async with swarm(2) as (_, nodes, authorities):
        assert [len(node.exchange.neighbours()) for node in nodes] == [1, 1]
        for n, node in enumerate(nodes):
            node.exchange.offer(authorities.sign(n, statement(Kind.NULLIFY, 1)))
        await trio.sleep(1)
        assert [len(node.items()) for node in nodes] == [1, 1]


async def test_slow_engine_stops_the_reader_and_loses_nothing(autojump_clock: MockClock) -> None:
    async with swarm(2) as (_, nodes, authorities):
        nodes[1].gate = trio.Event()
        for view in range(1, 40):
            nodes[0].exchange.offer(authorities.sign(0, statement(Kind.NULLIFY, view)))
            await trio.sleep(0.03)
        assert nodes[1].items() == []
        assert nodes[1].exchange.counters["items_in"] <= 2
        nodes[1].gate.set()
        await trio.sleep(5)
        assert len(nodes[1].items()) == 39


async def test_neighbour_of_a_later_era_is_reported_and_an_idle_network_is_silent(autojump_clock: MockClock) -> None:
    async with swarm(2) as (_, nodes, _authorities):
        nodes[0].view.era = Era(3)
        await trio.sleep(1)
        assert nodes[1].behind[0] == (nodes[0].transport.local_peer, Era(3))
        before = nodes[0].exchange.counters["frames_out"]
        await trio.sleep(10)
        assert nodes[0].exchange.counters["frames_out"] == before


@pytest.mark.parametrize("case", ["garbage", "forged", "oversized", "cut"])
async def test_hostile_stream_ends_alone_and_is_scored(autojump_clock: MockClock, case: str) -> None:
    async with swarm(2) as (network, nodes, authorities):
        attacker = MemoryTransport(network, PeerId("attacker"))
        forged = authorities.sign(0, statement(Kind.NOTARIZE, 1))
        forged = type(forged)(forged.statement, 0, Signature(bytes(64)))
        hello = Position(Era(0), View(0), View(1))
        data = {
            "garbage": frame(b"\xff" * 50),
            "forged": frame(encode_exchange_frame(ExchangeFrame(hello, (), (forged,)))),
            "oversized": b"\xff\xff\xff\xff" + bytes(100),
            "cut": frame(encode_exchange_frame(ExchangeFrame(hello)))[:-1],
        }[case]
        async with trio.open_nursery() as nursery:
            await nursery.start(attacker.run)
            await attacker.dial(nodes[0].transport.addresses()[0])
            stream = await attacker.open_stream(nodes[0].transport.local_peer, NAMES.votes(DIGEST), timeout=5)
            await stream.write_all(data)
            if case == "cut":
                await stream.close_write()
            with pytest.raises(StreamClosed):
                await stream.read_exactly(1_000_000)
            nursery.cancel_scope.cancel()
        expected = {"forged": [Offence.BAD_VOTE_SIGNATURE], "cut": []}.get(case, [Offence.MALFORMED])
        assert [offence for _, offence in nodes[0].penalties.offences] == expected
        nodes[0].exchange.offer(authorities.sign(0, statement(Kind.NULLIFY, 1)))
        await trio.sleep(1)
        assert len(nodes[1].items()) == 1


async def test_laggard_of_the_previous_digest_gets_its_boundary_and_nothing_else(autojump_clock: MockClock) -> None:
    async with swarm(2) as (_, nodes, authorities):
        ahead, laggard = nodes
        boundary = authorities.certificate(statement(Kind.FINALIZE, 20))
        ahead.view.era, ahead.view.certificates[0] = Era(1), boundary
        ahead.view.sets[1] = authorities.set
        laggard.view.view, laggard.view.finalised_view = View(20), View(19)
        ahead.exchange.set_digest(b"next", DIGEST)
        ahead.exchange.offer(authorities.sign(0, statement(Kind.NOTARIZE, 1, era=1)))
        await trio.sleep(20)
        assert laggard.items() == [boundary]
        assert ahead.penalties.offences == laggard.penalties.offences == []
        ahead.exchange.set_digest(b"next", None)
        await trio.sleep(20)
        assert ahead.exchange.neighbours() == laggard.exchange.neighbours() == ()
        laggard.exchange.set_digest(b"next", DIGEST)
        laggard.view.era, laggard.view.view, laggard.view.finalised_view = Era(1), View(1), View(0)
        laggard.view.sets[1] = authorities.set
        await trio.sleep(20)
        assert len(laggard.items()) == 2
