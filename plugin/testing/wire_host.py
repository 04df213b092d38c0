"""A neuron behind the real call protocol: signed envelopes, frames, admission and replay store over streams in memory.

Slower than host.py by the signatures, and closer to a live peer: `Swarm.of(…, wire=True)`.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import trio

from ...consensus.dev_accounts import dev_keypair
from ...consensus.types import AccountId, Hash32
from ...protocols.axon.admission import AdmissionQueue
from ...protocols.axon.caller_limiter import CallerLimiter
from ...protocols.axon.client import AxonClient
from ...protocols.axon.client_stream import ClientStream
from ...protocols.axon.interfaces import (
    Admission,
    CallReply,
    CallResult,
    CallTerms,
    Endpoint,
    Freshness,
    IncomingCall,
    ServedMethod,
    Standing,
    StreamAborted,
)
from ...protocols.axon.replay import MemoryReplayStore
from ...protocols.axon.server import AxonServer
from ...protocols.axon.status import Status
from ...protocols.memory_transport import LinkQuality, MemoryTransport
from ...protocols.memory_transport import MemoryNetwork as Links
from ...protocols.peer_ledger import Offence
from ...protocols.transport import PeerId
from ..addresses import account_of, address_of
from .chain import FakeChain, dev_hotkey
from .host import MemoryHost, MemoryNetwork

GENESIS: Final = Hash32(b"a swarm in memory, with no chain"[:32])
PROTOCOL: Final = "/yumad/memory/axon/1"
START_NS: Final = 1_800_000_000 * 10**9
"""Unix time at which trio's clock shows 0; envelopes are dated by it."""


def now_ns() -> int:
    """Virtual Unix time."""
    return START_NS + int(trio.current_time() * 1e9)


class WireNetwork(MemoryNetwork):
    """Peers with streams between them, and what the call protocol asks of a chain and a directory."""

    def __init__(self, chain: FakeChain, seed: int, latency: float, nursery: trio.Nursery) -> None:
        super().__init__(chain, random.Random(seed).randbytes)
        self.links = Links(random.Random(seed), LinkQuality(latency))
        self.nursery = nursery

    def standing(self, netuid: int, hotkey: AccountId) -> Standing:
        """CallerView."""
        return self.chain.standing(address_of(hotkey))

    def freshness(self, netuid: int) -> Freshness:
        """CallerView: a fake chain is never behind."""
        return Freshness.FRESH

    def endpoints(self, netuid: int, hotkey: AccountId) -> Sequence[Endpoint]:
        """Directory: whoever is up, under its hotkey."""
        address = address_of(hotkey)
        host = self.hosts.get(address)
        if host is None or not host.served:
            return ()
        return (Endpoint(PeerId(address), (f"/memory/p2p/{address}",)),)


class _NoPenalties:
    """Nobody is sent away in a test; what is refused is counted by the server."""

    def offend(self, peer: PeerId, offence: Offence) -> None: ...

    def useful(self, peer: PeerId) -> None: ...


class WireHost(MemoryHost):
    """One hotkey's peer, with a transport, a server and a client of its own."""

    network: WireNetwork

    @classmethod
    async def up(cls, network: WireNetwork, name: str, store: Path | None = None) -> WireHost:
        """The peer of the development account `name`, running in the network's nursery."""
        host = cls(network, dev_hotkey(name), store=store)
        host.key = dev_keypair(name)
        host.transport = network.links.transport(host.hotkey)
        await network.nursery.start(host.transport.run)
        replay = MemoryReplayStore(now_ns, salt=network.random_bytes(16))
        host.server = AxonServer(
            host.transport, PROTOCOL, GENESIS, network, Admission(AdmissionQueue(), CallerLimiter()), replay,
            now_ns=now_ns, penalties=_NoPenalties(),
        )  # fmt: skip
        host.client = AxonClient(
            host.transport, PROTOCOL, GENESIS, network, now_ns=now_ns, random_bytes=network.random_bytes
        )
        return host

    def __post_init__(self) -> None:
        super().__post_init__()
        self.key = dev_keypair("")
        self.transport: MemoryTransport
        self.server: AxonServer
        self.client: AxonClient

    async def call(self, hotkey: str, method: str, version: int, body: bytes, terms: CallTerms) -> CallResult:
        """Signed, framed and sent."""
        return await self.client.call(
            self.key, self.network.chain.netuid, account_of(hotkey), method, body,
            version=version, timeout=terms.timeout, idempotent=terms.idempotent, max_reply=terms.max_reply,
        )  # fmt: skip

    async def call_many(
        self, bodies: Mapping[str, bytes], method: str, version: int, terms: CallTerms
    ) -> list[CallResult]:
        """All sent together."""
        targets = {account_of(hotkey): body for hotkey, body in bodies.items()}
        return await self.client.call_many(
            self.key, self.network.chain.netuid, targets, method, version=version, timeout=terms.timeout,
            idempotent=terms.idempotent, max_reply=terms.max_reply,
        )  # fmt: skip

    @asynccontextmanager
    async def stream(self, hotkey: str, method: str, version: int, body: bytes, terms: CallTerms) -> AsyncIterator[Any]:
        """A stream; its directions are those that the miner announces."""
        target = self.network.hosts.get(hotkey)
        served = target.served.get((method, version)) if target is not None else None
        if served is None:
            raise StreamAborted(Status.NO_RECORD, "no record of this method")
        async with self.client.stream(
            self.key, self.network.chain.netuid, account_of(hotkey), method, body,
            version=version, timeout=terms.timeout, stream_in=served.stream_in, stream_out=served.stream_out,
            max_reply=terms.max_reply,
        ) as stream:  # fmt: skip
            yield _WireStream(stream)

    async def ready(
        self, subnet: str, version: int, role: str, methods: Sequence[ServedMethod], *, validator: str = ""
    ) -> None:
        """Served from now on."""
        await super().ready(subnet, version, role, methods, validator=validator)
        if methods:
            self.server.register(self.key, self.network.chain.netuid, methods, self._serve)

    async def _serve(self, call: IncomingCall) -> CallReply:
        assert self.handler is not None
        return await self.handler(_WireIncoming(call))


class _WireStream:
    """The caller's side, as plugins have it."""

    def __init__(self, stream: ClientStream) -> None:
        self.send, self.end, self.result = stream.send, stream.end, stream.result
        self.messages = stream.__aiter__


class _WireIncoming:
    """An admitted call, with hotkeys as text."""

    def __init__(self, call: IncomingCall) -> None:
        self.method, self.version = call.method.name, call.method.version
        self.netuid, self.standing, self.request_id = call.netuid, call.caller_standing, call.request_id
        self.caller, self.receiver = address_of(call.caller), address_of(call.receiver)
        self.deadline, self.body, self.codecs = call.deadline, call.body, call.codecs
        self.messages, self.send = call.messages, call.send
