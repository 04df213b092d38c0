"""Discovery among peers in virtual time: announcing, finding, sealing, relaying, measuring (AXON R31, R33-R35)."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock
from yumad.consensus.signature import KeyPair
from yumad.consensus.types import AccountId, Hash32, MalformedError, Micros
from yumad.daemon.axon.discovery import Discovery, DiscoverySettings
from yumad.daemon.clock import TrioClock
from yumad.protocols.axon.records import RECORD_LIFETIME, OfferedMethod
from yumad.protocols.axon.relay import split_relay_address
from yumad.protocols.memory_transport import MemoryNetwork, MemoryTransport
from yumad.protocols.names import NetworkNames
from yumad.protocols.peer_ledger import Offence
from yumad.protocols.peer_records import peer_id_of
from yumad.protocols.requests import RequestClient
from yumad.protocols.transport import DialFailed, PeerId, Stream

GENESIS = Hash32(bytes.fromhex("ab" * 32))
NAMES = NetworkNames.of(GENESIS)
EPOCH = Micros(1_700_000_000_000_000)
METHODS = (OfferedMethod("echo"), OfferedMethod("chat", 2, stream_out=True))
SUBNET = 1


def hotkey(name: str) -> KeyPair:
    return KeyPair(name.encode().ljust(32, b"."))


def account(name: str) -> AccountId:
    return AccountId(hotkey(name).public_key)


@dataclass
class Penalties:
    offences: list[tuple[PeerId, Offence]] = field(default_factory=list)

    def offend(self, peer: PeerId, offence: Offence) -> None:
        self.offences.append((peer, offence))

    def useful(self, peer: PeerId) -> None: ...


@dataclass
class Chain:
    """Who is registered and permitted in subnet 1; all peers of a test see the same."""

    hotkeys: set[AccountId] = field(default_factory=set)
    holders: list[AccountId] = field(default_factory=list)

    def registered(self, netuid: int, who: AccountId) -> bool:
        return netuid == SUBNET and who in self.hotkeys

    def permitted(self, netuid: int, who: AccountId) -> bool:
        return netuid == SUBNET and who in self.holders

    def permit_holders(self, netuid: int) -> Sequence[AccountId]:
        return self.holders if netuid == SUBNET else ()


class Node:
    """A peer with discovery and an axon that takes any stream."""

    def __init__(
        self,
        world: World,
        number: int,
        name: str,
        *,
        keys: Sequence[str] = (),
        settings: DiscoverySettings | None = None,
    ) -> None:
        self.name = name
        self.peer = peer_id_of(KeyPair(name.encode().ljust(32, b"!")).public_key)
        self.address = f"/ip4/10.0.{number}.1/tcp/30333"
        self.transport = MemoryTransport(world.network, self.peer)
        self.transport.set_stream_handler(NAMES.request("axon"), self._axon)
        self.penalties = Penalties()
        self.clock = TrioClock(EPOCH)
        self.streams: list[PeerId] = []
        self.discovery = Discovery(
            self.transport,
            NAMES,
            GENESIS,
            RequestClient(self.transport, NAMES, self.penalties),
            self.penalties,
            self.clock,
            random.Random(number),
            world.chain,
            own_addresses=lambda: (self.address, "/memory", "/ip4/0.0.0.0/tcp/30333"),
            address_of=lambda peer: world.address_of(peer),
            keys=lambda: [hotkey(key) for key in keys],
            settings=settings,
        )

    async def _axon(self, stream: Stream) -> None:
        self.streams.append(stream.peer)
        await stream.read_some(1)

    def finds(self, name: str) -> list[PeerId]:
        """Peers at which this one would call a hotkey."""
        return [endpoint.peer for endpoint in self.discovery.directory.endpoints(SUBNET, account(name))]

    def addresses(self, name: str) -> tuple[str, ...]:
        return self.discovery.directory.endpoints(SUBNET, account(name))[0].addresses


class World:
    """Peers, one chain, and which of them can be dialed."""

    def __init__(self) -> None:
        self.network = MemoryNetwork(random.Random(7))
        self.chain = Chain()
        self.nodes: list[Node] = []
        self.nursery: trio.Nursery

    def address_of(self, peer: PeerId) -> str | None:
        return next((node.address for node in self.nodes if node.peer == peer), None)

    async def add(self, name: str, *, connect: Sequence[Node] = (), **options: object) -> Node:
        node = Node(self, len(self.nodes) + 1, name, **options)  # type: ignore[arg-type]
        self.nodes.append(node)
        await self.nursery.start(node.transport.run)
        self.nursery.start_soon(node.discovery.run)
        for other in connect:
            await node.transport.dial(f"{other.address}/p2p/{other.peer}")
        return node

    def register(self, *names: str, permit: bool = False) -> None:
        self.chain.hotkeys |= {account(name) for name in names}
        if permit:
            self.chain.holders += [account(name) for name in names]


@asynccontextmanager
async def running() -> AsyncIterator[World]:
    world = World()
    async with trio.open_nursery() as world.nursery:
        yield world
        for node in world.nodes:
            assert node.penalties.offences == [], f"{node.name} was wronged"
        world.nursery.cancel_scope.cancel()


def behind_nat(world: World, hidden: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can dial the node any more; it can dial others."""

    def cannot_reach(dial: Callable[[str], object]) -> Callable[[str], object]:
        async def dial_others(address: str) -> PeerId:
            if address.endswith(f"/p2p/{hidden.peer}"):
                await trio.sleep(1)
                raise DialFailed(address, "no answer")
            return await dial(address)  # type: ignore[misc, no-any-return]

        return dial_others

    for node in world.nodes:
        if node is not hidden:
            monkeypatch.setattr(node.transport, "dial", cannot_reach(node.transport.dial))


async def test_r33_service_is_found_across_peers_within_seconds_and_by_who_joins_later(
    autojump_clock: MockClock,
) -> None:
    async with running() as world:
        world.register("miner")
        middle = await world.add("middle")
        miner = await world.add("miner", connect=[middle])
        caller = await world.add("caller", connect=[middle])
        miner.discovery.announce(hotkey("miner"), SUBNET, METHODS)
        await trio.sleep(3)
        assert caller.finds("miner") == [miner.peer]
        assert caller.addresses("miner") == (f"{miner.address}/p2p/{miner.peer}",)
        (held,) = caller.discovery.book.of(SUBNET, account("miner"), caller.clock.now())
        assert held.record.methods == METHODS
        late = await world.add("late", connect=[middle])
        late.discovery.follow(SUBNET)
        await trio.sleep(5)
        assert late.finds("miner") == [miner.peer]


async def test_r33_service_lives_as_long_as_its_peer_and_is_gone_within_the_hour(autojump_clock: MockClock) -> None:
    async with running() as world:
        world.register("miner")
        caller = await world.add("caller")
        miner = await world.add("miner", connect=[caller])
        miner.discovery.announce(hotkey("miner"), SUBNET, METHODS)
        await trio.sleep(3 * 3600)
        assert caller.finds("miner") == [miner.peer], "renewed in time"
        await miner.transport.disconnect(caller.peer)
        await trio.sleep(RECORD_LIFETIME / 1e6 + 60)
        assert caller.finds("miner") == []
        assert len(caller.discovery.book) == 0


async def test_r33_withdrawn_service_and_new_methods_are_known_at_once(autojump_clock: MockClock) -> None:
    async with running() as world:
        world.register("miner")
        caller = await world.add("caller")
        miner = await world.add("miner", connect=[caller])
        miner.discovery.announce(hotkey("miner"), SUBNET, METHODS[:1])
        await trio.sleep(3)
        miner.discovery.announce(hotkey("miner"), SUBNET, METHODS)
        await trio.sleep(1)
        (held,) = caller.discovery.book.of(SUBNET, account("miner"), caller.clock.now())
        assert held.record.methods == METHODS
        miner.discovery.withdraw(hotkey("miner"), SUBNET)
        await trio.sleep(1)
        assert caller.finds("miner") == []
        assert miner.discovery.announcer.services() == ()


async def test_r33_hotkey_that_registers_later_is_announced_then(autojump_clock: MockClock) -> None:
    async with running() as world:
        caller = await world.add("caller")
        miner = await world.add("miner", connect=[caller])
        miner.discovery.announce(hotkey("miner"), SUBNET, METHODS)
        await trio.sleep(60)
        assert caller.finds("miner") == []
        world.register("miner")
        await trio.sleep(3)
        assert caller.finds("miner") == [miner.peer]


async def test_r34_replicas_and_shared_peers_are_told_apart_by_hotkey(autojump_clock: MockClock) -> None:
    async with running() as world:
        world.register("miner", "other")
        caller = await world.add("caller")
        first = await world.add("first", connect=[caller])
        second = await world.add("second", connect=[caller])
        for node in (first, second):
            node.discovery.announce(hotkey("miner"), SUBNET, METHODS)
        first.discovery.announce(hotkey("other"), SUBNET, METHODS)
        await trio.sleep(3)
        assert set(caller.finds("miner")) == {first.peer, second.peer}
        assert caller.finds("other") == [first.peer]
        await first.transport.disconnect(caller.peer)
        assert caller.finds("miner") == [second.peer, first.peer], "the connected replica comes first"


async def test_r33_sealed_addresses_are_read_by_permit_holders_only_also_by_a_new_one(
    autojump_clock: MockClock,
) -> None:
    async with running() as world:
        world.register("miner")
        world.register("validator", permit=True)
        middle = await world.add("middle")
        validator = await world.add("validator", connect=[middle], keys=["validator"])
        newcomer = await world.add("newcomer", connect=[middle], keys=["newcomer"])
        miner = await world.add("miner", connect=[middle])
        miner.discovery.announce(hotkey("miner"), SUBNET, METHODS, sealed=True)
        await trio.sleep(3)
        assert validator.addresses("miner") == (f"{miner.address}/p2p/{miner.peer}",)
        assert newcomer.finds("miner") == []
        assert middle.addresses("miner") == (), "connected, so it can be called; where it is stays unknown"
        world.register("newcomer", permit=True)
        await trio.sleep(30)
        assert newcomer.addresses("miner") == (f"{miner.address}/p2p/{miner.peer}",)
        for node in (middle, newcomer):
            page, _ = node.discovery.book.page(SUBNET, b"", node.clock.now(), 1 << 20)
            assert all(miner.address.encode() not in held.data + held.boxes for held in page)


async def test_r35_relay_only_service_shows_no_address_and_is_reached(autojump_clock: MockClock) -> None:
    async with running() as world:
        world.register("miner")
        relay = await world.add("relay")
        miner = await world.add("miner", connect=[relay], settings=DiscoverySettings(relay_only=True))
        caller = await world.add("caller", connect=[relay], settings=DiscoverySettings(probe=False))
        miner.discovery.announce(hotkey("miner"), SUBNET, METHODS)
        await trio.sleep(40)
        (address,) = caller.addresses("miner")
        assert split_relay_address(address) == (f"{relay.address}/p2p/{relay.peer}", relay.peer, miner.peer)
        assert miner.address not in address
        (endpoint,) = caller.discovery.directory.endpoints(SUBNET, account("miner"))
        latency = await caller.discovery._prober.probe(endpoint)
        assert latency is not None
        assert miner.streams[-1] == relay.peer
        assert miner.discovery.reservations.holds(relay.peer), "its bad calls may be anybody's"
        assert not miner.discovery.reservations.holds(caller.peer)


async def test_r35_peer_behind_a_nat_learns_so_from_reports_and_turns_to_relays(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running() as world:
        world.register("miner")
        world.register("validator-0", "validator-1", permit=True)
        relay = await world.add("relay")
        miner = await world.add("miner", connect=[relay])
        validators = [await world.add(f"validator-{n}", connect=[relay], keys=[f"validator-{n}"]) for n in range(2)]
        behind_nat(world, miner, monkeypatch)
        for validator in validators:
            validator.discovery.follow(SUBNET)
        miner.discovery.announce(hotkey("miner"), SUBNET, METHODS)
        await trio.sleep(29)
        reach = miner.discovery.reach.reach(SUBNET, account("miner"), miner.clock.now())
        assert (reach.probers, reach.reached_by) == (2, 0)
        await trio.sleep(400)
        assert all(split_relay_address(address) for address in validators[0].addresses("miner"))
        reach = miner.discovery.reach.reach(SUBNET, account("miner"), miner.clock.now())
        assert (reach.probers, reach.reached_by) == (2, 2)
        assert miner.peer not in validators[0].transport.connected()


async def test_r31_several_probers_measure_every_miner_and_all_peers_see_it(autojump_clock: MockClock) -> None:
    async with running() as world:
        world.register("up", "down")
        world.register("validator-0", "validator-1", "validator-2", permit=True)
        hub = await world.add("hub")
        up = await world.add("up", connect=[hub])
        down = await world.add("down", connect=[hub])
        watcher = await world.add("watcher", connect=[hub])
        validators = [await world.add(f"validator-{n}", connect=[hub], keys=[f"validator-{n}"]) for n in range(3)]
        for node, name in ((up, "up"), (down, "down")):
            node.discovery.announce(hotkey(name), SUBNET, METHODS)
        for node in validators:
            node.discovery.follow(SUBNET)
        await trio.sleep(5)
        world.network.down(down.transport)
        down.transport.break_connection(hub.peer)
        await trio.sleep(700)
        now = watcher.clock.now()
        alive = watcher.discovery.reach.reach(SUBNET, account("up"), now)
        assert (alive.reached_by, alive.probers) == (3, 3)
        assert alive.latency_ms == 40, "one round trip of 20 ms each way"
        dead = watcher.discovery.reach.reach(SUBNET, account("down"), now)
        assert (dead.reached_by, dead.probers, dead.latency_ms) == (0, 3, None)
        assert up.peer not in validators[0].transport.connected(), "a probe's own connection is closed again"
        assert len(up.streams) >= 6
        await trio.sleep(3600)
        assert watcher.discovery.reach.reach(SUBNET, account("up"), watcher.clock.now()).probers == 3
        for node in validators:
            node.transport.break_connection(hub.peer)
        await trio.sleep(1000)
        assert watcher.discovery.reach.reach(SUBNET, account("up"), watcher.clock.now()).probers == 0


async def test_r31_r34_peer_of_many_hotkeys_is_reached_for_each_though_probes_share_its_connection(
    autojump_clock: MockClock,
) -> None:
    async with running() as world:
        names = [f"miner-{number}" for number in range(30)]
        world.register(*names)
        world.register("validator", permit=True)
        hub = await world.add("hub")
        shared = await world.add("shared", connect=[hub])
        validator = await world.add("validator", connect=[hub], keys=["validator"])
        for name in names:
            shared.discovery.announce(hotkey(name), SUBNET, METHODS[:1])
        await trio.sleep(5)
        hotkeys = [account(name) for name in names]
        found = await validator.discovery._prober.round(SUBNET, hotkeys, 0.2)
        assert found == dict.fromkeys(found, 40)
        assert len(found) == len(names)
        assert shared.peer not in validator.transport.connected()


async def test_r35_outside_address_comes_from_peers_and_is_announced(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running() as world:
        world.register("miner")
        others = [await world.add(f"peer-{n}") for n in range(3)]
        miner = await world.add("miner", connect=others)
        monkeypatch.setattr(miner.transport, "addresses", lambda: (f"/ip4/192.168.0.2/tcp/30333/p2p/{miner.peer}",))
        monkeypatch.setattr(miner.transport, "remote_address", lambda peer: world.address_of(peer))
        for node in others:
            monkeypatch.setattr(node.transport, "remote_address", lambda peer: "/ip4/8.8.4.4/tcp/51234")
        world.nodes[0].address = "/ip4/10.9.1.1/tcp/30333"
        world.nodes[1].address = "/ip4/172.16.1.1/tcp/30333"
        miner.discovery.announce(hotkey("miner"), SUBNET, METHODS)
        await trio.sleep(60)
        assert others[2].addresses("miner")[0] == f"/ip4/8.8.4.4/tcp/30333/p2p/{miner.peer}"


async def test_r33_methods_that_do_not_fit_are_refused_when_announced(autojump_clock: MockClock) -> None:
    async with running() as world:
        node = await world.add("miner")
        with pytest.raises(MalformedError):
            node.discovery.announce(hotkey("miner"), SUBNET, [OfferedMethod(f"m{n}") for n in range(100)])
        assert node.discovery.announcer.services() == ()


async def test_r33_hotkey_that_lost_its_uid_can_be_withdrawn_and_a_bad_own_address_is_left_out(
    autojump_clock: MockClock,
) -> None:
    async with running() as world:
        world.register("miner")
        caller = await world.add("caller")
        miner = await world.add(
            "miner", connect=[caller], settings=DiscoverySettings(announce=("nonsense", "/ip4/203.0.113.7/tcp/1"))
        )
        miner.discovery.announce(hotkey("miner"), SUBNET, METHODS)
        await trio.sleep(3)
        assert caller.addresses("miner") == (f"/ip4/203.0.113.7/tcp/1/p2p/{miner.peer}",)
        world.chain.hotkeys.clear()
        await trio.sleep(60)
        assert caller.finds("miner") == []
        miner.discovery.withdraw(hotkey("miner"), SUBNET)
        await trio.sleep(3)
        assert miner.discovery.announcer._services == {}


async def test_r33_neighbour_that_answers_slowly_does_not_keep_others_from_being_asked(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running() as world:
        world.register("miner")
        slow = await world.add("slow")
        good = await world.add("good")
        miner = await world.add("miner", connect=[good])
        miner.discovery.announce(hotkey("miner"), SUBNET, METHODS)
        await trio.sleep(60)
        late = await world.add("late", connect=[slow])
        fetch = late.discovery.gossip.fetch

        async def page_after_page(client: RequestClient, peer: PeerId, netuid: int) -> int:
            if peer == slow.peer:
                await trio.sleep(600)
            return await fetch(client, peer, netuid)

        monkeypatch.setattr(late.discovery.gossip, "fetch", page_after_page)
        late.discovery.follow(SUBNET)
        await trio.sleep(5)
        await late.transport.dial(f"{good.address}/p2p/{good.peer}")
        await trio.sleep(25)
        assert late.finds("miner") == [miner.peer]


async def test_r33_service_of_a_lone_peer_is_found_by_its_own_validator_and_by_who_comes_later(
    autojump_clock: MockClock,
) -> None:
    async with running() as world:
        world.register("miner")
        lone = await world.add("lone")
        lone.discovery.announce(hotkey("miner"), SUBNET, METHODS)
        await trio.sleep(3)
        assert lone.finds("miner") == [lone.peer]
        await trio.sleep(3 * 3600)
        assert lone.finds("miner") == [lone.peer], "renewed in time"
        later = await world.add("later", connect=[lone])
        await trio.sleep(5)
        assert later.finds("miner") == [lone.peer]
        await later.transport.disconnect(lone.peer)
        lone.discovery.withdraw(hotkey("miner"), SUBNET)
        await trio.sleep(3)
        assert lone.finds("miner") == []
        await later.transport.dial(f"{lone.address}/p2p/{lone.peer}")
        await trio.sleep(5)
        assert later.finds("miner") == []
        assert lone.discovery.announcer.services() == ()
