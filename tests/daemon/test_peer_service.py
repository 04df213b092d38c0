"""Finding and keeping peers: one greeting a connection, statuses, records, and what is remembered (CHAIN 7, 2.1)."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import trio
from structlog.testing import capture_logs
from trio.testing import MockClock
from yumad.consensus.signature import KeyPair
from yumad.consensus.types import ZERO_HASH, Era, Hash32, Height, Micros, View
from yumad.daemon.clock import TrioClock
from yumad.daemon.peer_service import SAVE_INTERVAL, STATUS_INTERVAL, PeerService
from yumad.protocols.memory_transport import LinkQuality, MemoryNetwork, MemoryTransport
from yumad.protocols.messages import PEERS, STATUS, PeersReply, PeersRequest, Status
from yumad.protocols.names import NetworkNames
from yumad.protocols.peer_ledger import PeerLedger
from yumad.protocols.peer_records import PeerBook, make_record, peer_id_of
from yumad.protocols.penalties import LedgerEnforcer
from yumad.protocols.request_server import RequestServer, Service
from yumad.protocols.requests import RequestClient
from yumad.protocols.sync.sync_peers import SyncPeers
from yumad.protocols.transport import PeerId
from yumad.storage.peers import PeerStore

GENESIS = Hash32(b"g" * 32)
START = Micros(1_000_000_000_000_000)


def status(clock: TrioClock, genesis: Hash32 = GENESIS, height: int = 5) -> Status:
    return Status(
        genesis_hash=genesis,
        restart_hash=ZERO_HASH,
        fork_digest=b"dddd",
        rules_version=1,
        era=Era(0),
        finalised_height=Height(height),
        finalised_hash=Hash32(b"f" * 32),
        finalised_view=View(height),
        head_height=Height(height),
        head_hash=Hash32(b"h" * 32),
        earliest_header=Height(1),
        earliest_body=Height(1),
        snapshots=(),
        time=clock.now(),
        agent="test",
    )


@dataclass
class Host:
    """One peer service with the requests it serves counted."""

    key: KeyPair
    transport: MemoryTransport
    service: PeerService
    book: PeerBook
    ledger: PeerLedger
    clock: TrioClock
    asked: int = 0

    @property
    def id(self) -> PeerId:
        return self.transport.local_peer

    @property
    def address(self) -> str:
        return f"/ip4/10.0.0.{self.key.public_key[0]}/tcp/30333/p2p/{self.id}"


def host(
    network: MemoryNetwork,
    number: int,
    *,
    genesis: Hash32 = GENESIS,
    store: PeerStore | None = None,
    skew: int = 0,
    height: int = 5,
    is_hidden: bool = False,
) -> Host:
    key = KeyPair(bytes([number]) * 32)
    transport = network.transport(peer_id_of(key.public_key))
    clock = TrioClock(START, skew)
    ledger = PeerLedger(clock)
    enforcer = LedgerEnforcer(ledger, transport)
    names = NetworkNames.of(GENESIS)
    book, rng = PeerBook(GENESIS), random.Random(number)
    service = PeerService(
        transport,
        RequestClient(transport, names, enforcer),
        enforcer,
        book,
        store,
        key,
        clock,
        rng,
        lambda: status(clock, genesis, height),
        SyncPeers(rng, enforcer),
        (f"/ip4/10.0.0.{key.public_key[0]}/tcp/30333",),
    )
    service.is_hidden = lambda: is_hidden
    made = Host(key, transport, service, book, ledger, clock)

    def serve_status(peer: PeerId, request: Status) -> Iterable[bytes]:
        made.asked += 1
        service.hear(peer, request)
        yield STATUS.encode_reply(status(clock, genesis, height))

    def serve_peers(peer: PeerId, request: PeersRequest) -> Iterable[bytes]:
        known = [*service.own_records().records, *book.sample(clock.now(), rng)]
        yield PEERS.encode_reply(PeersReply(tuple(known)))

    RequestServer(
        transport,
        names,
        [Service(STATUS, lambda _: 1, serve_status), Service(PEERS, lambda _: 1, serve_peers)],
        enforcer,
    ).register()
    return made


@asynccontextmanager
async def running(*hosts: Host) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        for one in hosts:
            await nursery.start(one.transport.run)
            nursery.start_soon(one.service.run)
        yield
        nursery.cancel_scope.cancel()


def network() -> MemoryNetwork:
    return MemoryNetwork(random.Random(1), LinkQuality(latency=0.01))


async def test_connected_peers_learn_each_others_status_and_clock(autojump_clock: MockClock) -> None:
    net = network()
    one, two = host(net, 1), host(net, 2, height=9, skew=300_000)
    async with running(one, two):
        one.service.want(two.address)
        await trio.sleep(2)
        assert one.service.statuses()[two.id].finalised_height == 9
        assert two.service.statuses()[one.id].finalised_height == 5
        offset = one.service.clock_offset()
        assert offset is not None and abs(offset - 300_000) < 50_000
        assert list(one.service.connections()) == [two.id]
        assert one.service.connections()[two.id].outbound


async def test_peer_of_another_genesis_is_banned(autojump_clock: MockClock) -> None:
    net = network()
    one, stranger = host(net, 1), host(net, 2, genesis=Hash32(b"x" * 32))
    async with running(one, stranger):
        one.service.want(stranger.address)
        await trio.sleep(2)
        assert one.service.statuses() == {}
        assert one.transport.is_banned(stranger.id)


async def test_peer_that_comes_and_goes_is_greeted_once_a_connection(autojump_clock: MockClock) -> None:
    """Each reconnection used to leave a task that went on asking, so a flapping peer gathered tasks and requests."""
    net = network()
    one, flapping = host(net, 1), host(net, 2)
    async with running(one, flapping):
        for _ in range(8):
            await flapping.transport.dial(one.address)
            await trio.sleep(6)
            await flapping.transport.disconnect(one.id)
            await trio.sleep(0.1)
        await trio.sleep(STATUS_INTERVAL / 2)  # both know the other's address by now; the quota delays the burst
        assert one.transport.connected() == (flapping.id,)
        before = flapping.asked
        await trio.sleep(5 * STATUS_INTERVAL)
        assert 4 <= flapping.asked - before <= 6


async def test_disconnected_peer_is_forgotten_in_every_table(autojump_clock: MockClock) -> None:
    net = network()
    one, two = host(net, 1), host(net, 2)
    async with running(one, two):
        await two.transport.dial(one.address)
        await trio.sleep(1)
        assert one.service.statuses()
        net.partition((one.id,), (two.id,))
        await trio.sleep(1)
        assert one.service.statuses() == {}
        assert one.service.connections() == {}
        assert one.service.clock_offset() is None


async def test_peers_of_a_peer_are_dialled_by_their_signed_records(autojump_clock: MockClock) -> None:
    net = network()
    one, hub, third = host(net, 1), host(net, 2), host(net, 3)
    async with running(one, hub, third):
        third.service.want(hub.address)
        hub.book.add(make_record(GENESIS, third.key, (third.address.rpartition("/p2p/")[0],), hub.clock.now()), START)
        await trio.sleep(1)
        one.service.want(hub.address)
        await trio.sleep(10)
        assert set(one.service.connections()) == {hub.id, third.id}


async def test_expired_record_costs_its_sender_nothing_and_a_forged_one_does(autojump_clock: MockClock) -> None:
    net = network()
    one, honest, liar = host(net, 1), host(net, 2), host(net, 3)
    good = make_record(GENESIS, KeyPair(bytes([9]) * 32), ("/ip4/10.0.0.9/tcp/1",), START)
    honest.service._own_record = None
    old = make_record(GENESIS, KeyPair(bytes([8]) * 32), ("/ip4/10.0.0.8/tcp/1",), Micros(START - 10**12))
    honest.service.own_records = lambda: PeersReply((old,))  # type: ignore[method-assign]
    forged = replace(good, addresses=("/ip4/10.0.0.66/tcp/1",))
    liar.service.own_records = lambda: PeersReply((forged,))  # type: ignore[method-assign]
    async with running(one, honest, liar):
        one.service.want(honest.address)
        one.service.want(liar.address)
        await trio.sleep(3)
        assert one.ledger.score(honest.id) >= 0
        assert one.ledger.score(liar.id) < 0


async def test_peers_bans_and_anchors_are_remembered_over_a_restart(autojump_clock: MockClock, tmp_path: Path) -> None:
    net = network()
    store = PeerStore.open(tmp_path / "peers.db")
    one, two, enemy = host(net, 1, store=store), host(net, 2), host(net, 3, genesis=Hash32(b"x" * 32))
    async with running(one, two, enemy):
        one.service.want(two.address)
        one.service.want(enemy.address)
        await trio.sleep(SAVE_INTERVAL + 5)
    assert [anchor.peer for anchor in store.anchors()] == [two.id]
    again, two = host(net, 1, store=store), host(net, 2)
    async with running(again, two):
        await trio.sleep(5)
        assert list(again.service.connections()) == [two.id]
        assert again.transport.is_banned(enemy.id)
    store.close()


async def test_configured_address_that_is_our_own_or_nonsense_is_left_out(autojump_clock: MockClock) -> None:
    """It used to end the start with a traceback."""
    net = network()
    one, two = host(net, 1), host(net, 2)
    async with running(one, two):
        for address in (one.address, "/ip4/10.0.0.1/tcp/1", "nonsense", two.address):
            one.service.want(address)
        await trio.sleep(2)
        assert list(one.service.connections()) == [two.id]


async def test_r32_peer_without_any_bootstrap_warns_once_an_outage_and_connects_when_one_is_back(
    autojump_clock: MockClock,
) -> None:
    net = network()
    one, two = host(net, 1), host(net, 2)
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery, running(one):
            one.service.want(two.address)
            await trio.sleep(300)
            (warning,) = [log for log in logs if log["log_level"] == "warning"]
            assert warning["tried"] == {two.address: "no answer"} and warning["remedy"]
            await nursery.start(two.transport.run)
            await trio.sleep(120)
            assert one.service.connections()
            assert [log["event"] for log in logs if log["log_level"] == "info"] == ["connected again"]
            net.partition((one.id,), (two.id,))
            await trio.sleep(300)
            assert len([log for log in logs if log["log_level"] == "warning"]) == 2
            nursery.cancel_scope.cancel()


async def test_r32_peer_with_another_connection_does_not_warn_of_its_bootstraps(autojump_clock: MockClock) -> None:
    net = network()
    one, gone, other = host(net, 1), host(net, 2), host(net, 3)
    with capture_logs() as logs:
        async with running(one, other):
            one.service.want(gone.address)
            await other.transport.dial(one.address)
            await trio.sleep(300)
    assert not [log for log in logs if log["log_level"] == "warning"]


async def test_r33_hidden_peer_is_connected_but_nobody_learns_its_address(autojump_clock: MockClock) -> None:
    net = network()
    hub, hidden, third = host(net, 1), host(net, 2, is_hidden=True), host(net, 3)
    async with running(hub, hidden, third):
        hidden.service.want(hub.address)
        third.service.want(hub.address)
        await trio.sleep(300)
        assert set(hub.service.connections()) == {hidden.id, third.id}
        assert hub.book.get(hidden.id) is None and third.book.get(hidden.id) is None
        assert hub.book.get(third.id) is not None
