"""Serving peers and one joiner in virtual time, for sync tests."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import trio
from peer_doubles import DIGEST, FixedClock, MadeChain, RecordedPenalties, RecordedSink
from yumad.consensus.types import ZERO_HASH, Era, Height, Micros, View
from yumad.protocols.chain_services import ChainServices
from yumad.protocols.memory_transport import LinkQuality, MemoryNetwork, MemoryTransport
from yumad.protocols.messages import PeersReply, Status
from yumad.protocols.names import NetworkNames
from yumad.protocols.peer_records import PeerBook
from yumad.protocols.request_server import RequestServer
from yumad.protocols.requests import RequestClient
from yumad.protocols.sync.catch_up import CatchUp
from yumad.protocols.sync.proven_sets import Span
from yumad.protocols.sync.sync_peers import SyncPeers
from yumad.protocols.transport import PeerId


def status_of(chain: MadeChain, **fields: Any) -> Status:
    """What an honest peer with this chain says."""
    point = chain.finalised()
    values: dict[str, Any] = {
        "genesis_hash": chain.genesis,
        "restart_hash": ZERO_HASH,
        "fork_digest": DIGEST,
        "rules_version": 1,
        "era": Era(point.height // chain.era_blocks),
        "finalised_height": point.height,
        "finalised_hash": point.hash,
        "finalised_view": point.view,
        "head_height": point.height,
        "head_hash": point.hash,
        "earliest_header": Height(0),
        "earliest_body": Height(1),
        "snapshots": (),
        "time": Micros(1),
        "agent": "test",
    }
    return Status(**{**values, **fields})


class Server:
    """A peer that answers requests from a chain."""

    def __init__(self, network: MemoryNetwork, name: str, chain: MadeChain, *, pace: int = 1, **claims: Any) -> None:
        self.transport = MemoryTransport(network, PeerId(name))
        self.chain = chain
        self.heard: list[tuple[PeerId, Status]] = []
        self.penalties = RecordedPenalties()
        self.book = PeerBook(chain.genesis)
        services = ChainServices(
            chain,
            lambda: status_of(chain, **claims),
            lambda peer, status: self.heard.append((peer, status)),
            self.book,
            lambda: PeersReply(()),
            FixedClock(),
            random.Random(1),
        )
        self.server = RequestServer(
            self.transport, NetworkNames.of(chain.genesis), services.services(), self.penalties, pace=pace
        )
        self.server.register()

    @property
    def peer(self) -> PeerId:
        return self.transport.local_peer


@dataclass
class World:
    network: MemoryNetwork
    servers: list[Server]
    transport: MemoryTransport
    client: RequestClient
    peers: SyncPeers
    sink: RecordedSink
    penalties: RecordedPenalties
    catch_up: CatchUp

    def offenders(self) -> dict[PeerId, list[str]]:
        """Offence labels by peer."""
        found: dict[PeerId, list[str]] = {}
        for peer, offence in self.penalties.offences:
            found.setdefault(peer, []).append(offence.label)
        return found


@asynccontextmanager
async def joiner(
    reference: MadeChain,
    chains: Sequence[MadeChain],
    *,
    claims: dict[int, dict[str, Any]] | None = None,
    latency: float = 0.02,
    **options: Any,
) -> AsyncIterator[World]:
    """A joiner at genesis of `reference`, connected to one server per chain, statuses exchanged."""
    network = MemoryNetwork(random.Random(3), LinkQuality(latency=latency))
    servers = [Server(network, f"server{n}", chain, **(claims or {}).get(n, {})) for n, chain in enumerate(chains)]
    transport = MemoryTransport(network, PeerId("joiner"))
    penalties, sink = RecordedPenalties(), RecordedSink(reference.genesis)
    client = RequestClient(transport, NetworkNames.of(reference.genesis), penalties)
    peers = SyncPeers(random.Random(5), penalties)

    def start() -> tuple[Height, Span]:
        era = sink.height // reference.era_blocks
        authorities = reference.eras[era].set
        return Height(sink.height), Span(Height(sink.height + 1), Era(era), reference.domain, authorities)

    own = status_of(MadeChain(genesis=reference.genesis))
    catch_up = CatchUp(client, peers, sink, reference.timing, start, lambda: own, **options)
    async with trio.open_nursery() as nursery:
        for transport_ in [*(server.transport for server in servers), transport]:
            await nursery.start(transport_.run)
        for server in servers:
            await transport.dial(server.transport.addresses()[0])
            await catch_up.ask_status(server.peer)
        yield World(network, servers, transport, client, peers, sink, penalties, catch_up)
        nursery.cancel_scope.cancel()


__all__ = ["Server", "View", "World", "joiner", "status_of"]
