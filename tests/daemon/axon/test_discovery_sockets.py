"""Discovery and relay over real connections on this machine: what the in-memory network cannot show (AXON R33, R35)."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio
from yumad.consensus.signature import KeyPair
from yumad.consensus.types import AccountId, Hash32
from yumad.daemon.axon.discovery import Discovery, DiscoverySettings
from yumad.daemon.clock import SystemClock
from yumad.protocols.axon.records import OfferedMethod
from yumad.protocols.axon.relay import open_through_relay, relay_protocol, split_relay_address
from yumad.protocols.libp2p.host import Libp2pTransport
from yumad.protocols.names import NetworkNames
from yumad.protocols.peer_ledger import Offence
from yumad.protocols.requests import RequestClient
from yumad.protocols.transport import PeerId, Stream

GENESIS = Hash32(bytes.fromhex("cd" * 32))
NAMES = NetworkNames.of(GENESIS)
MINER = KeyPair(b"\x01" * 32)
HOTKEY = AccountId(MINER.public_key)
PATIENCE = 20.0
"""Seconds until a test gives up; each needs one or two."""


class Everyone:
    """A chain on which everybody is registered and nobody holds a permit."""

    def registered(self, netuid: int, hotkey: AccountId) -> bool:
        return True

    def permitted(self, netuid: int, hotkey: AccountId) -> bool:
        return False

    def permit_holders(self, netuid: int) -> Sequence[AccountId]:
        return ()


@dataclass
class Penalties:
    offences: list[Offence] = field(default_factory=list)

    def offend(self, peer: PeerId, offence: Offence) -> None:
        self.offences.append(offence)

    def useful(self, peer: PeerId) -> None: ...


class Node:
    def __init__(self, number: int, settings: DiscoverySettings | None = None) -> None:
        rng = random.Random(number)
        self.transport = Libp2pTransport(bytes([number]) * 32, ("/ip4/127.0.0.1/tcp/0",), rng=rng)
        self.transport.set_stream_handler(NAMES.request("axon"), self._echo)
        self.penalties = Penalties()
        self.known: dict[PeerId, str] = {}
        self.discovery = Discovery(
            self.transport,
            NAMES,
            GENESIS,
            RequestClient(self.transport, NAMES, self.penalties),
            self.penalties,
            SystemClock(),
            rng,
            Everyone(),
            own_addresses=lambda: [address.rpartition("/p2p/")[0] for address in self.transport.addresses()],
            address_of=self.known.get,
            settings=settings,
        )

    @property
    def address(self) -> str:
        return self.transport.addresses()[0]

    async def connect(self, other: Node) -> None:
        await self.transport.dial(other.address)
        self.known[other.transport.local_peer] = other.address.rpartition("/p2p/")[0]

    async def found(self) -> tuple[str, ...]:
        """Addresses at which this peer would call the miner, once it knows of one."""
        with trio.fail_after(PATIENCE):
            while True:
                for endpoint in self.discovery.directory.endpoints(1, HOTKEY):
                    if endpoint.addresses:
                        return endpoint.addresses
                await trio.sleep(0.05)

    @staticmethod
    async def _echo(stream: Stream) -> None:
        while data := await stream.read_some(1 << 16):
            await stream.write_all(data)
        await stream.close_write()


@asynccontextmanager
async def nodes(*settings: DiscoverySettings | None) -> AsyncIterator[list[Node]]:
    made = [Node(number, chosen) for number, chosen in enumerate(settings, start=1)]
    async with trio.open_nursery() as nursery:
        for node in made:
            await nursery.start(node.transport.run)
            nursery.start_soon(node.discovery.run)
        yield made
        assert [node.penalties.offences for node in made] == [[] for _ in made]
        nursery.cancel_scope.cancel()


async def test_r33_service_is_found_two_hops_away_and_by_a_joiner() -> None:
    async with nodes(None, None, None, None) as (middle, miner, caller, joiner):
        await miner.connect(middle)
        await caller.connect(middle)
        miner.discovery.announce(MINER, 1, [OfferedMethod("echo")])
        assert await caller.found() == (miner.address,)
        await joiner.connect(middle)
        joiner.discovery.follow(1)
        assert await joiner.found() == (miner.address,)


async def test_r35_relay_only_miner_is_called_through_a_neighbour() -> None:
    async with nodes(None, DiscoverySettings(relay_only=True), None) as (relay, miner, caller):
        await miner.connect(relay)
        await caller.connect(relay)
        miner.discovery.announce(MINER, 1, [OfferedMethod("echo")])
        (address,) = await caller.found()
        way = split_relay_address(address)
        assert way == (relay.address, relay.transport.local_peer, miner.transport.local_peer)
        stream = await open_through_relay(caller.transport, relay_protocol(NAMES), way[1], way[2], timeout=5)
        data = random.Random(1).randbytes(1_000_000)
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.write_all, data)
                assert await stream.read_exactly(len(data)) == data
            await stream.close_write()
            assert await stream.read_some(1) == b""
        await stream.close()
