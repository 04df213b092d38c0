"""Learning peers from peers, in virtual time (CHAIN 7 "Discovery")."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import trio
from peer_doubles import GENESIS, FixedClock, RecordedPenalties, key
from trio.testing import MockClock
from yumad.consensus.types import Micros
from yumad.protocols.memory_transport import LinkQuality, MemoryNetwork, MemoryTransport
from yumad.protocols.messages import PEERS, PeersReply
from yumad.protocols.names import NetworkNames
from yumad.protocols.peer_exchange import PeerExchange
from yumad.protocols.peer_ledger import Offence
from yumad.protocols.peer_records import RECORD_LIFETIME, PeerBook, make_record, peer_id_of
from yumad.protocols.request_server import RequestServer, Service
from yumad.protocols.requests import RequestClient

NAMES = NetworkNames.of(GENESIS)


class Node:
    def __init__(self, network: MemoryNetwork, number: int, clock: FixedClock) -> None:
        pair = key(number)
        self.transport = MemoryTransport(network, peer_id_of(pair.public_key))
        self.penalties = RecordedPenalties()
        self.book = PeerBook(GENESIS)
        self.listens = [f"/ip4/10.0.0.{number + 1}/tcp/4000/p2p/{self.transport.local_peer}"]
        client = RequestClient(self.transport, NAMES, self.penalties)
        self.exchange = PeerExchange(
            self.transport,
            client,
            self.book,
            self.penalties,
            pair,
            GENESIS,
            clock,
            random.Random(number),
            lambda: self.listens,
        )
        self.reply = self.honest_reply
        service = Service(PEERS, lambda _: 1, lambda peer, request: iter([PEERS.encode_reply(self.reply())]))
        RequestServer(self.transport, NAMES, [service], self.penalties).register()
        self.clock = clock

    def honest_reply(self) -> PeersReply:
        own = self.exchange.own_records().records
        return PeersReply((*own, *self.book.sample(self.clock.now(), random.Random(1), 20)))


@asynccontextmanager
async def star(count: int) -> AsyncIterator[tuple[list[Node], FixedClock]]:
    """Everybody knows only the first node."""
    clock = FixedClock(1_700_000_000_000_000)
    network = MemoryNetwork(random.Random(1), LinkQuality(latency=0.01))
    nodes = [Node(network, number, clock) for number in range(count)]
    async with trio.open_nursery() as nursery:
        for node in nodes:
            await nursery.start(node.transport.run)
        for node in nodes[1:]:
            await node.transport.dial(nodes[0].transport.addresses()[0])
        yield nodes, clock
        nursery.cancel_scope.cancel()


async def test_newcomer_learns_everybody_from_one_address(autojump_clock: MockClock) -> None:
    async with star(6) as (nodes, _), trio.open_nursery() as nursery:
        for node in nodes:
            await nursery.start(node.exchange.run)
        await trio.sleep(180)
        for node in nodes[1:]:
            assert {record.peer for record in node.exchange.to_dial(10)} == {
                other.transport.local_peer for other in nodes[1:] if other is not node
            }
        assert all(node.penalties.offences == [] for node in nodes)
        nursery.cancel_scope.cancel()


async def test_forged_record_costs_its_sender_and_an_old_one_does_not(autojump_clock: MockClock) -> None:
    async with star(2) as (nodes, clock):
        right = make_record(GENESIS, key(7), ["/ip4/10.0.0.9/tcp/1"], clock.now())
        forged = replace(right, addresses=("/ip4/6.6.6.6/tcp/1",))
        old = make_record(GENESIS, key(8), ["/ip4/10.0.0.9/tcp/1"], Micros(clock.now() - RECORD_LIFETIME))
        peer = nodes[0].transport.local_peer
        nodes[0].reply = lambda: PeersReply((old, right))
        assert await nodes[1].exchange.ask(peer) == 1
        assert nodes[1].penalties.offences == []
        nodes[0].reply = lambda: PeersReply((replace(forged, sequence=right.sequence + 1),))
        assert await nodes[1].exchange.ask(peer) == 0
        assert nodes[1].penalties.offences == [(peer, Offence.BAD_REPLY)]
        assert nodes[1].book.get(right.peer) == right


async def test_own_record_is_renewed_when_half_used_or_moved_and_hides_undialable_addresses(
    autojump_clock: MockClock,
) -> None:
    async with star(1) as (nodes, clock):
        exchange = nodes[0].exchange
        (first,) = exchange.own_records().records
        clock.time += RECORD_LIFETIME // 3
        assert exchange.own_records().records == (first,)
        clock.time += RECORD_LIFETIME // 3
        (second,) = exchange.own_records().records
        assert second.sequence > first.sequence
        nodes[0].listens = ["/ip4/0.0.0.0/tcp/4000", "/memory/x", "/ip4/10.0.0.77/tcp/5"]
        clock.time += 1
        (third,) = exchange.own_records().records
        assert third.addresses == ("/ip4/10.0.0.77/tcp/5",)
        nodes[0].listens = ["/ip6/::/tcp/4000"]
        assert exchange.own_records().records == ()
