"""The order of endpoints, and what the directory remembers (AXON R33, R34)."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.testing import MockClock
from yumad.consensus.signature import KeyPair
from yumad.consensus.types import AccountId, Hash32, Micros
from yumad.daemon.axon.directory import MAX_LATENCIES, Latencies, RecordDirectory
from yumad.daemon.clock import TrioClock
from yumad.protocols.axon.record_book import RecordBook
from yumad.protocols.axon.records import OfferedMethod, make_record
from yumad.protocols.axon.sealed_addresses import boxes_hash, seal_addresses
from yumad.protocols.memory_transport import MemoryNetwork, MemoryTransport
from yumad.protocols.peer_records import peer_id_of
from yumad.protocols.transport import PeerId

GENESIS = Hash32(bytes.fromhex("ab" * 32))
EPOCH = Micros(1_700_000_000_000_000)
MINER = KeyPair(b"\x01" * 32)
HOTKEY = AccountId(MINER.public_key)
PEERS = [peer_id_of(KeyPair(bytes([number]) * 32).public_key) for number in range(10, 16)]
DIRECT = "/ip4/203.0.113.7/tcp/30333"


class World:
    def __init__(self, keys: list[KeyPair]) -> None:
        self.network = MemoryNetwork(random.Random(1))
        self.transport = MemoryTransport(self.network, PEERS[0])
        self.book = RecordBook(GENESIS, lambda netuid, hotkey: True)
        self.latencies = Latencies()
        self.clock = TrioClock(EPOCH)
        self.directory = RecordDirectory(self.book, self.transport, self.clock, self.latencies, lambda: keys)

    def add(self, peer: PeerId, age: int = 0, *, sealed_for: list[KeyPair] | None = None) -> None:
        """A record made `age` seconds ago."""
        boxes = b"" if sealed_for is None else seal_addresses((DIRECT,), [AccountId(k.public_key) for k in sealed_for])
        record = make_record(
            GENESIS,
            MINER,
            1,
            peer,
            (OfferedMethod("echo"),),
            Micros(self.clock.now() - age * 1_000_000),
            addresses=(DIRECT,) if sealed_for is None else (),
            boxes_hash=boxes_hash(boxes) if boxes else b"",
        )
        assert self.book.add(record, boxes, self.clock.now()) == "accept"

    def found(self) -> list[PeerId]:
        return [endpoint.peer for endpoint in self.directory.endpoints(1, HOTKEY)]


@asynccontextmanager
async def world(*keys: KeyPair) -> AsyncIterator[World]:
    made = World(list(keys))
    others = [MemoryTransport(made.network, peer) for peer in PEERS[1:]]
    async with trio.open_nursery() as nursery:
        for transport in (made.transport, *others):
            await nursery.start(transport.run)
        yield made
        nursery.cancel_scope.cancel()


async def test_r34_connected_replica_is_first_then_the_quickest_then_the_newest(autojump_clock: MockClock) -> None:
    async with world() as made:
        for number, age in ((1, 5), (2, 4), (3, 3), (4, 2), (0, 1)):
            made.add(PEERS[number], age)
        made.latencies.note(PEERS[1], 0.050)
        made.latencies.note(PEERS[2], 0.020)
        await made.transport.dial(f"{DIRECT}/p2p/{PEERS[3]}")
        assert made.found() == [PEERS[3], PEERS[2], PEERS[1], PEERS[4], PEERS[0]]
        made.latencies.failed(PEERS[2])
        assert made.found() == [PEERS[3], PEERS[1], PEERS[4], PEERS[2], PEERS[0]]
        assert made.directory.endpoints(2, HOTKEY) == []


async def test_r33_sealed_endpoint_is_left_out_unless_it_can_be_read_or_is_connected(autojump_clock: MockClock) -> None:
    validator, other = KeyPair(b"\x02" * 32), KeyPair(b"\x03" * 32)
    async with world(validator) as made:
        made.add(PEERS[1], sealed_for=[other])
        made.add(PEERS[2], sealed_for=[other, validator])
        (endpoint,) = made.directory.endpoints(1, HOTKEY)
        assert endpoint.addresses == (f"{DIRECT}/p2p/{PEERS[2]}",)
        await made.transport.dial(f"{DIRECT}/p2p/{PEERS[1]}")
        assert made.found() == [PEERS[1], PEERS[2]]
        assert made.directory.endpoints(1, HOTKEY)[0].addresses == ()


def test_latencies_are_smoothed_and_bounded() -> None:
    latencies = Latencies()
    latencies.note(PEERS[0], 0.1)
    latencies.note(PEERS[0], 1.1)
    assert latencies.of(PEERS[0]) == 0.1 + 0.3
    for number in range(MAX_LATENCIES):
        latencies.note(PeerId(f"peer-{number}"), 1.0)
    assert latencies.of(PEERS[0]) is None
