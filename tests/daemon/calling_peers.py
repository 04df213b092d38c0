"""Two peers of one small chain: `here`, which answers the control socket, and `away`, which serves a miner."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trio
from small_peer import SPEC, SmallPeer, small_spec
from trio.testing import wait_all_tasks_blocked
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.signature import KeyPair
from yumad.consensus.types import AccountId, Era, Height, View
from yumad.daemon.axon.axon_methods import AxonMethods, AxonParts
from yumad.daemon.axon.chain_view import ChainView
from yumad.daemon.axon.discovery import Discovery, DiscoverySettings
from yumad.daemon.axon.registrations import Registrations
from yumad.daemon.control import ControlServer
from yumad.daemon.control_address import choose_socket_path
from yumad.daemon.node_methods import node_registry
from yumad.protocols.axon.admission import AdmissionQueue
from yumad.protocols.axon.caller_limiter import CallerLimiter
from yumad.protocols.axon.client import AxonClient
from yumad.protocols.axon.interfaces import Admission, CallReply, IncomingCall, ServedMethod
from yumad.protocols.axon.own_calls import WithOwnCalls
from yumad.protocols.axon.payload import decode_payload, encode_payload
from yumad.protocols.axon.policy import Policy
from yumad.protocols.axon.records import OfferedMethod
from yumad.protocols.axon.replay import MemoryReplayStore
from yumad.protocols.axon.server import AxonServer
from yumad.protocols.axon.status import Status
from yumad.protocols.interfaces import Clock
from yumad.protocols.memory_transport import LinkQuality, MemoryNetwork, MemoryTransport
from yumad.protocols.names import NetworkNames
from yumad.protocols.peer_ledger import Offence
from yumad.protocols.peer_records import peer_id_of
from yumad.protocols.requests import RequestClient
from yumad.protocols.transport import PeerId
from yumad.storage.chain import FinalisedPoint

SUBNET = 7
MINER = dev_keypair("miner")
VALIDATOR = dev_keypair("authority-hot")

METHODS = (
    ServedMethod("echo.say", version=2),
    ServedMethod("tensor"),
    ServedMethod("count", stream_out=True),
    ServedMethod("fail"),
    ServedMethod("sleep", timeout=100.0),
    ServedMethod("rich", policy=Policy(require_permit=False, min_stake=10**15)),
    ServedMethod("feed", stream_in=True),
)


def account(pair: KeyPair) -> AccountId:
    return AccountId(pair.public_key)


async def answer(call: IncomingCall) -> CallReply:
    """What the miner does."""
    value = decode_payload(call.body)
    if call.method.name == "fail":
        return CallReply(Status.HANDLER_ERROR, text="ValueError: no \x1b[31mmodel")
    if call.method.name == "sleep":
        await trio.sleep_forever()
    if call.method.name == "count":
        for number in range(value["to"]):
            await call.send(b"".join(encode_payload({"number": number})))
        return CallReply()
    if call.method.name == "tensor":
        value = {"small": np.arange(3, dtype=np.float32), "large": np.zeros((8, 64), np.int8), "raw": b"\x00\xff"}
    return CallReply(body=b"".join(encode_payload(value)))


class Penalties:
    """Nobody is punished in these tests; who would be is kept."""

    def __init__(self) -> None:
        self.offences: list[tuple[PeerId, Offence]] = []

    def offend(self, peer: PeerId, offence: Offence) -> None:
        self.offences.append((peer, offence))

    def useful(self, peer: PeerId) -> None: ...


class CallingNode:
    """What of a peer takes part in calls."""

    def __init__(self, network: MemoryNetwork, number: int, chain: SmallPeer, clock: Clock, *keys: KeyPair) -> None:
        names, genesis_hash = NetworkNames.of(chain.genesis_hash), chain.genesis_hash
        self.transport = MemoryTransport(network, peer_id_of(KeyPair(bytes([number]) * 32).public_key))
        self.address = f"/ip4/10.0.{number}.1/tcp/30333"
        self.penalties = Penalties()
        self.clock = clock
        point = FinalisedPoint(None, genesis_hash, Height(0), View(0), Era(0), None)
        self.view = ChainView(chain.read, chain.spec.timing, clock, point)
        self.registrations = Registrations(chain.read)
        self.discovery = Discovery(
            self.transport,
            names,
            genesis_hash,
            RequestClient(self.transport, names, self.penalties),
            self.penalties,
            clock,
            random.Random(number),
            self.registrations,
            own_addresses=lambda: (self.address,),
            address_of=lambda peer: None,
            keys=lambda: keys,
            settings=DiscoverySettings(probe=False),
        )
        self.calls = WithOwnCalls(self.transport)
        self.client = AxonClient(
            self.calls,
            names.request("axon"),
            genesis_hash,
            self.discovery.directory,
            now_ns=lambda: clock.now() * 1000,
            random_bytes=random.Random(number).randbytes,
        )
        self.server = AxonServer(
            self.calls,
            names.request("axon"),
            genesis_hash,
            self.view,
            Admission(AdmissionQueue(), CallerLimiter()),
            MemoryReplayStore(lambda: clock.now() * 1000, salt=bytes(16)),
            now_ns=lambda: clock.now() * 1000,
            penalties=self.penalties,
        )
        self.methods = AxonMethods(
            AxonParts(self.transport, chain, clock, self.discovery, self.client, self.view)
        ).methods()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.transport.run)
            await nursery.start(self.calls.run)
            for task in (self.discovery.run, self.registrations.run, self.view.run):
                nursery.start_soon(task)

    async def serve(self) -> None:
        """Be the miner."""
        await self.view.watch(SUBNET)
        self.server.register(MINER, SUBNET, METHODS, answer)

    def announce(self) -> None:
        """Tell the network of the miner."""
        offered = [OfferedMethod(m.name, m.version, m.stream_in, m.stream_out) for m in METHODS]
        self.discovery.announce(MINER, SUBNET, offered)


@dataclass
class CallingPeers:
    """Both, connected; the miner is served and announced by `away`."""

    chain: SmallPeer
    here: CallingNode
    away: CallingNode


def new_chain(now: float) -> SmallPeer:
    """A chain whose first slot is about now, so that its state is fresh; `now` in Unix seconds."""
    text = SPEC.replace("genesis_time = 1_000_000", f"genesis_time = {int(now) * 1_000_000}")
    return SmallPeer(small_spec(text))


@asynccontextmanager
async def calling_peers(chain: SmallPeer, clock: Clock, *, announce: bool = True) -> AsyncIterator[CallingPeers]:
    network = MemoryNetwork(random.Random(1), LinkQuality(latency=0.001))
    peers = CallingPeers(
        chain, CallingNode(network, 1, chain, clock), CallingNode(network, 2, chain, clock, VALIDATOR, MINER)
    )
    async with trio.open_nursery() as nursery:
        for node in (peers.here, peers.away):
            nursery.start_soon(node.run)
        await wait_all_tasks_blocked()
        await peers.away.serve()
        await peers.here.transport.dial(f"{peers.away.address}/p2p/{peers.away.transport.local_peer}")
        if announce:
            peers.away.announce()
        yield peers
        nursery.cancel_scope.cancel()


@dataclass
class CallingDaemon:
    """`here` as a daemon in a thread of its own: what commands talk to."""

    home: Path
    peers: CallingPeers
    run: Callable[[Callable[[], object]], object]
    """A function in the daemon's thread."""


@contextmanager
def calling_daemon(home: Path, clock: Clock) -> Iterator[CallingDaemon]:
    home.mkdir(mode=0o700)
    started = threading.Event()
    kept: list[tuple[CallingPeers, trio.lowlevel.TrioToken, trio.CancelScope]] = []

    async def serve() -> None:
        with trio.CancelScope() as scope:
            async with calling_peers(new_chain(time.time()), clock) as peers, trio.open_nursery() as nursery:
                registry = node_registry(peers.chain, peers.here.methods)
                server = ControlServer(choose_socket_path(home), registry, peers.chain.feed, {"program": "0.0"})
                await nursery.start(server.run)
                kept.append((peers, trio.lowlevel.current_trio_token(), scope))
                started.set()

    thread = threading.Thread(target=trio.run, args=(serve,), daemon=True)
    thread.start()
    assert started.wait(10), "the daemon did not start"
    [(peers, token, scope)] = kept
    try:
        yield CallingDaemon(home, peers, lambda job: trio.from_thread.run_sync(job, trio_token=token))
    finally:
        token.run_sync_soon(scope.cancel)
        thread.join(10)
    assert not thread.is_alive()
