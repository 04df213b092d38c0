"""Service records over a network of peers in virtual time: gossip, joiners, and what hostile neighbours send (R33)."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import trio
from trio.testing import MockClock
from yumad.consensus import cbor
from yumad.consensus.signature import KeyPair
from yumad.consensus.types import AccountId, Hash32, Micros
from yumad.daemon.clock import TrioClock
from yumad.protocols.axon.record_book import MAX_PEERS_PER_HOTKEY, RecordBook
from yumad.protocols.axon.record_gossip import (
    MAX_SERVICE_GOSSIP,
    RELAYED_RECORDS,
    SERVICES,
    RecordGossip,
    ServicesRequest,
    decode_item,
    encode_item,
)
from yumad.protocols.axon.records import OfferedMethod, ServiceRecord, encode_record, make_record
from yumad.protocols.axon.sealed_addresses import boxes_hash, seal_addresses
from yumad.protocols.memory_transport import MemoryNetwork, MemoryTransport
from yumad.protocols.names import NetworkNames
from yumad.protocols.peer_ledger import Offence
from yumad.protocols.peer_records import peer_id_of
from yumad.protocols.request_server import RequestServer
from yumad.protocols.requests import RequestClient
from yumad.protocols.transport import GossipVerdict, PeerId

GENESIS = Hash32(bytes.fromhex("ab" * 32))
NAMES = NetworkNames.of(GENESIS)
EPOCH = Micros(1_700_000_000_000_000)
DIRECT = "/ip4/203.0.113.7/tcp/30333"
METHODS = (OfferedMethod("echo"),)


def hotkey(number: int) -> KeyPair:
    return KeyPair(number.to_bytes(4, "big") * 8)


def account(number: int) -> AccountId:
    return AccountId(hotkey(number).public_key)


@dataclass
class Penalties:
    offences: list[tuple[PeerId, Offence]] = field(default_factory=list)

    def offend(self, peer: PeerId, offence: Offence) -> None:
        self.offences.append((peer, offence))

    def useful(self, peer: PeerId) -> None: ...


class Node:
    """A peer with a book, in a network where the hotkeys below 40 are registered."""

    def __init__(self, network: MemoryNetwork, name: str) -> None:
        registered = {account(number) for number in range(40)}
        self.key = KeyPair(name.encode().ljust(32, b"."))
        self.peer = peer_id_of(self.key.public_key)
        self.transport = MemoryTransport(network, self.peer)
        self.clock = TrioClock(EPOCH)
        self.penalties = Penalties()
        self.book = RecordBook(GENESIS, lambda netuid, who: who in registered)
        self.gossip = RecordGossip(self.transport, NAMES, self.book, self.clock, self.penalties)
        self.gossip.subscribe()
        self.client = RequestClient(self.transport, NAMES, self.penalties)
        RequestServer(self.transport, NAMES, [self.gossip.service()], self.penalties).register()

    def record(self, number: int, netuid: int = 1) -> ServiceRecord:
        return make_record(GENESIS, hotkey(number), netuid, self.peer, METHODS, self.clock.now(), addresses=(DIRECT,))

    async def announce(self, number: int) -> str:
        record = self.record(number)
        return await self.gossip.publish(record, encode_record(record), b"")

    def knows(self, number: int) -> bool:
        return bool(self.book.of(1, account(number), self.clock.now()))


@asynccontextmanager
async def network(*names: str, links: Sequence[tuple[int, int]]) -> AsyncIterator[list[Node]]:
    world = MemoryNetwork(random.Random(1))
    nodes = [Node(world, name) for name in names]
    async with trio.open_nursery() as nursery:
        for node in nodes:
            await nursery.start(node.transport.run)
        for one, other in links:
            await nodes[one].transport.dial(f"/memory/p2p/{nodes[other].peer}")
        yield nodes
        nursery.cancel_scope.cancel()


async def test_r33_announced_service_is_known_three_hops_away(autojump_clock: MockClock) -> None:
    async with network("a", "b", "c", "d", links=[(0, 1), (1, 2), (2, 3)]) as nodes:
        assert await nodes[0].announce(1) == "accept"
        await trio.sleep(1)
        assert all(node.knows(1) for node in nodes)
        (held,) = nodes[3].book.of(1, account(1), nodes[3].clock.now())
        assert held.record.dial_addresses() == (f"{DIRECT}/p2p/{nodes[0].peer}",)


async def test_r33_joiner_learns_of_all_services_page_by_page(autojump_clock: MockClock) -> None:
    async with network("server", "joiner", links=[]) as (server, joiner):
        holders = [account(number) for number in range(64)]
        boxes = seal_addresses((DIRECT,), holders)
        for number in range(20):
            sealed = replace(server.record(number), addresses=(), boxes_hash=boxes_hash(boxes))
            record = make_record(
                GENESIS,
                hotkey(number),
                1,
                server.peer,
                METHODS,
                sealed.sequence,
                boxes_hash=sealed.boxes_hash,
            )
            assert await server.gossip.publish(record, encode_record(record), boxes) == "accept"
        await joiner.transport.dial(f"/memory/p2p/{server.peer}")
        assert await joiner.gossip.fetch(joiner.client, server.peer, 1) == 20
        assert await joiner.gossip.fetch(joiner.client, server.peer, 1) == 0
        assert await joiner.gossip.fetch(joiner.client, server.peer, 2) == 0
        assert len(joiner.book) == 20
        assert joiner.client.stats.outcomes["services/ok"] > 3, "it took several pages"
        assert joiner.penalties.offences == []


async def test_r33_forged_and_malformed_gossip_costs_its_sender_and_goes_no_further(autojump_clock: MockClock) -> None:
    async with network("hostile", "victim", "behind", links=[(0, 1), (1, 2)]) as (hostile, victim, behind):
        good = victim.record(1)
        forged = replace(good, addresses=("/ip4/198.51.100.66/tcp/1",))
        topic = NAMES.lasting_topic("services")
        for data in (
            encode_item(encode_record(forged), b""),
            encode_item(encode_record(good), b"boxes that nobody named"),
            encode_record(good),
            b"",
            b"\xff" * (MAX_SERVICE_GOSSIP + 1),
        ):
            await hostile.transport.publish(topic, data)
        await trio.sleep(1)
        assert victim.penalties.offences == [(hostile.peer, Offence.MALFORMED)] * 5
        assert len(victim.book) == 0
        assert behind.penalties.offences == []


async def test_r33_replayed_expired_and_unregistered_records_are_ignored_and_cost_nothing(
    autojump_clock: MockClock,
) -> None:
    async with network("relay", "victim", links=[(0, 1)]) as (relay, victim):
        old = relay.record(1)
        await trio.sleep(30)
        new = relay.record(1)
        for record in (new, old, relay.record(999)):
            await relay.transport.publish(NAMES.lasting_topic("services"), encode_item(encode_record(record), b""))
            await trio.sleep(1)
        stale = relay.record(2)
        await trio.sleep(3600)
        assert victim.gossip.validate(relay.peer, encode_item(encode_record(stale), b"")) is GossipVerdict.IGNORE
        counters = {"gossip/accept": 1, "gossip/older": 1, "gossip/unregistered": 1, "gossip/expired": 1}
        assert victim.gossip.counters == counters
        assert victim.penalties.offences == []


async def test_r33_flood_of_one_neighbour_is_cut_before_any_signature(autojump_clock: MockClock) -> None:
    async with network("hostile", "victim", links=[]) as (hostile, victim):
        flood = [encode_item(encode_record(hostile.record(number)), b"") for number in range(900, 950)]
        for number in range(2 * RELAYED_RECORDS.units):
            victim.gossip.validate(hostile.peer, flood[number % len(flood)])
        assert victim.gossip.counters["gossip/flood"] == RELAYED_RECORDS.units
        other = encode_item(encode_record(hostile.record(1)), b"")
        assert victim.gossip.validate(victim.peer, other) is GossipVerdict.ACCEPT


async def test_r33_peer_that_answers_a_joiner_with_a_forgery_loses_its_standing(autojump_clock: MockClock) -> None:
    async with network("hostile", "joiner", links=[(1, 0)]) as (hostile, joiner):
        record = replace(hostile.record(1), netuid=2)

        def page(most: object) -> tuple[list[object], bool]:
            return [type("Item", (), {"data": encode_record(record), "boxes": b""})()], True

        hostile.book.page = lambda *arguments: page(arguments)  # type: ignore[method-assign, assignment, return-value]
        assert await joiner.gossip.fetch(joiner.client, hostile.peer, 2) == 0
        assert await joiner.gossip.fetch(joiner.client, hostile.peer, 1) == 0
        assert joiner.penalties.offences == [(hostile.peer, Offence.BAD_REPLY)] * 2


def test_r33_largest_page_fits_into_its_limits() -> None:
    assert SERVICES.limits.chunk_bytes > MAX_PEERS_PER_HOTKEY * MAX_SERVICE_GOSSIP
    assert len(SERVICES.encode_request(ServicesRequest(65535, bytes(32)))) <= SERVICES.limits.request_bytes
    record, boxes = decode_item(
        encode_item(encode_record(make_record(GENESIS, hotkey(1), 1, peer_id_of(bytes(32)), (), EPOCH)), b"")
    )
    assert record.is_withdrawn
    assert boxes == b""
    assert SERVICES.decode_request(cbor.encode([1, b""])) == ServicesRequest(1)
