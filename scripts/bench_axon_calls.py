"""The axon row of bench_axon.py: a server as a peer runs it, a caller, and a fan-out to many peers in one process.

Everything is on: signatures both ways, replay ids that survive a restart, the policy, quotas and the queue. What stands
in is the chain: one caller with a permit.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import trio
from bench_axon_cases import SMALL, answer_to
from yumad.consensus.signature import KeyPair
from yumad.consensus.types import AccountId, Hash32
from yumad.protocols.axon.admission import AdmissionQueue
from yumad.protocols.axon.caller_limiter import CallerLimiter
from yumad.protocols.axon.client import AxonClient
from yumad.protocols.axon.interfaces import (
    Admission,
    CallReply,
    Endpoint,
    Freshness,
    IncomingCall,
    ReplayStore,
    ServedMethod,
    Standing,
)
from yumad.protocols.axon.limits import AxonLimits
from yumad.protocols.axon.policy import Policy, Quota
from yumad.protocols.axon.replay import MemoryReplayStore
from yumad.protocols.axon.server import AxonServer
from yumad.protocols.limits import Quota as PeerQuota
from yumad.protocols.memory_transport import LinkQuality, MemoryNetwork
from yumad.protocols.peer_ledger import Offence
from yumad.protocols.transport import PeerId, Transport
from yumad.storage.axon_database import open_axon_database
from yumad.storage.replay_ids import FLUSH_SECONDS, PersistentReplayStore

GENESIS = Hash32(bytes(range(32)))
PROTOCOL = "/yumad/00010203/axon/1"
NETUID = 1
CALLER = KeyPair(bytes([1]) * 32)
MINER = KeyPair(bytes([2]) * 32)

FOLDER = "YUMAD_BENCH_FOLDER"
"""Where the server keeps its replay ids; the main program makes and deletes it."""

METHOD = ServedMethod("bench.echo", concurrency=64, policy=Policy(quota=Quota(rate=1e6, burst=1_000_000)), timeout=60.0)
"""The default policy; quotas as wide as the benchmark is fast."""

LIMITS = AxonLimits(peer_calls=PeerQuota(1_000_000, 1))


class OneValidator:
    """A chain on which the caller has a permit, and nobody else is known."""

    def __init__(self) -> None:
        self._standings = {AccountId(CALLER.public_key): Standing(0, True, 10**12)}
        self._nobody = Standing(None, False, 0)

    def standing(self, netuid: int, hotkey: AccountId) -> Standing:
        """From a table, as ChainView does."""
        return self._standings.get(hotkey, self._nobody)

    def freshness(self, netuid: int) -> Freshness:
        """Always."""
        return Freshness.FRESH


class NoPenalties:
    """One peer on loopback."""

    def offend(self, peer: PeerId, offence: Offence) -> None:
        """Not here."""

    def useful(self, peer: PeerId) -> None:
        """Not here."""


async def echo(call: IncomingCall) -> CallReply:
    """The handler."""
    return CallReply(body=answer_to(call.body))  # type: ignore[arg-type]


def serve_echo(transport: Transport, miner: KeyPair, replay: ReplayStore) -> AxonServer:
    """A server with the benchmark's method."""
    server = AxonServer(
        transport,
        PROTOCOL,
        GENESIS,
        OneValidator(),
        Admission(AdmissionQueue(), CallerLimiter()),
        replay,
        now_ns=time.time_ns,
        penalties=NoPenalties(),
        limits=LIMITS,
    )
    server.register(miner, NETUID, [METHOD], echo)
    return server


async def run_axon_server(transport: Transport) -> None:
    """Serve until cancelled."""
    database = open_axon_database(Path(os.environ[FOLDER]))
    replay = PersistentReplayStore(database)
    replay.refuses_before = 0  # a new file has no calls of an earlier run to fear
    serve_echo(transport, MINER, replay)
    while True:
        await trio.sleep(FLUSH_SECONDS)
        if replay.pending:
            await trio.to_thread.run_sync(replay.flush)


class Addresses:
    """A directory of what it is given."""

    def __init__(self, endpoints: dict[AccountId, Endpoint]) -> None:
        self._endpoints = {hotkey: (endpoint,) for hotkey, endpoint in endpoints.items()}

    def endpoints(self, netuid: int, hotkey: AccountId) -> Sequence[Endpoint]:
        """One each."""
        return self._endpoints.get(hotkey, ())


def make_client(transport: Transport, endpoints: dict[AccountId, Endpoint]) -> AxonClient:
    """A client that knows where they are."""
    return AxonClient(
        transport,
        PROTOCOL,
        GENESIS,
        Addresses(endpoints),
        now_ns=time.time_ns,
        random_bytes=secrets.token_bytes,
    )


class AxonCaller:
    """The row's client."""

    def __init__(self, transport: Transport, peer: PeerId, address: str, exit_stack: AsyncExitStack) -> None:
        self._receiver = AccountId(MINER.public_key)
        self._client = make_client(transport, {self._receiver: Endpoint(peer, (address,))})
        self._exit_stack = exit_stack

    async def call(self, body: bytes) -> bytes:
        """One signed call."""
        result = await self._client.call(CALLER, NETUID, self._receiver, METHOD.name, body, timeout=60)
        if not result.ok:
            raise ConnectionError(f"{result.status.name}: {result.text}")
        return result.body

    async def close(self) -> None:
        """End the host."""
        await self._client.aclose()
        await self._exit_stack.aclose()


def miners(count: int) -> list[KeyPair]:
    """Keys of the peers of a fan-out."""
    return [KeyPair((1000 + number).to_bytes(32, "big")) for number in range(count)]


def serve_miner(transport: Transport, miner: KeyPair) -> None:
    """One of the peers of a fan-out."""
    serve_echo(transport, miner, MemoryReplayStore(time.time_ns, salt=bytes(16)))


async def fan_out_in_memory(count: int) -> dict[str, Any]:
    """Calls to peers of this process over a network in memory without latency: what calling itself costs."""
    network = MemoryNetwork(random.Random(1), LinkQuality(latency=0.0))
    own = network.transport("validator")
    endpoints: dict[AccountId, Endpoint] = {}
    async with trio.open_nursery() as nursery:
        await nursery.start(own.run)
        for number, miner in enumerate(miners(count)):
            transport = network.transport(f"miner{number}")
            serve_miner(transport, miner)
            await nursery.start(transport.run)
            endpoints[AccountId(miner.public_key)] = Endpoint(transport.local_peer, (transport.addresses()[0],))
        report = await fan_out(own, endpoints)
        nursery.cancel_scope.cancel()
    return report


async def fan_out(transport: Transport, endpoints: dict[AccountId, Endpoint]) -> dict[str, Any]:
    """A call to all of them, twice: with nothing open yet, and over kept streams."""
    client = make_client(transport, endpoints)
    report: dict[str, Any] = {"peers": len(endpoints)}
    for name in ("cold", "warm"):
        began = trio.current_time()
        results = await client.call_many(CALLER, NETUID, list(endpoints), METHOD.name, SMALL, timeout=60)
        sent = sorted(result.sent_at for result in results if result.sent_at) or [began]
        report[name] = {
            "failures": sum(not result.ok for result in results),
            "sent_in_ms": 1000 * (sent[-1] - began),
            "skew_ms": 1000 * (sent[-1] - sent[0]),
            "done_in_ms": 1000 * (trio.current_time() - began),
        }
    await client.aclose()
    return report
