"""Calls, discovery, scores and weights of one running peer, put together (AXON 7; DESIGN section 3, a call).

One `AxonService` stands beside the `Peer`: it serves and makes calls over the peer's transport, knows who may call from
the peer's final state, tells the network what is served here, and keeps what has to outlive the process. Plugins reach
it through `PluginBackend` (backend.py).
"""

from __future__ import annotations

import random
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from ...consensus.signature import KeyPair
from ...consensus.types import AccountId
from ...protocols.axon.admission import AdmissionQueue
from ...protocols.axon.caller_limiter import CallerLimiter
from ...protocols.axon.client import AxonClient
from ...protocols.axon.interfaces import Admission, CallResult
from ...protocols.axon.own_calls import WithOwnCalls
from ...protocols.axon.relay import relay_protocol
from ...protocols.axon.server import AxonServer
from ...protocols.axon.server_call import CallRecord
from ...protocols.axon.status import Reached, Status
from ...protocols.interfaces import Clock
from ...protocols.names import NetworkNames
from ...protocols.transport import PeerId
from ...storage.axon_database import axon_folder
from ...storage.home import Home
from ..execution import Runner
from ..node import Peer
from ..peer_view import PeerView
from .axon_metrics import AxonMetrics, AxonSample
from .blobs import FOLDER as BLOBS
from .blobs import PeerBlobs
from .chain_view import ChainView
from .dial_pace import PacedDirectory
from .discovery import Discovery, DiscoverySettings
from .health import HealthSample, peer_health
from .keeping import Keeping, open_keeping
from .registrations import Registrations

if TYPE_CHECKING:
    from trio_typing import TaskStatus


@dataclass(frozen=True, slots=True)
class AxonSurroundings:
    """What it gets from outside."""

    home: Home
    clock: Clock
    rng: random.Random
    runner: Runner
    """Runs what touches the disk."""
    random_bytes: Callable[[int], bytes] = secrets.token_bytes


class AxonService:
    """See the module text. Build before the peer runs, `run` beside it, `close` when it has ended."""

    def __init__(
        self,
        peer: Peer,
        answers: PeerView,
        surroundings: AxonSurroundings,
        discovery: DiscoverySettings | None = None,
    ) -> None:
        """Raises StorageError when the axon database cannot be used."""
        transport, genesis_hash = peer.transport, answers.genesis_hash
        names, clock = NetworkNames.of(genesis_hash), surroundings.clock
        self.peer = peer
        self.answers = answers
        self.hotkeys: dict[AccountId, KeyPair] = {}
        """Keys of this peer's plugins."""
        self.keeping: Keeping = open_keeping(surroundings.home, answers, surroundings.runner, clock.now)
        self.view = ChainView(
            answers.read,
            answers.spec.timing,
            clock,
            peer.opened.store.finalised(),
            lambda: peer.sync.target,
        )
        self.registrations = Registrations(answers.read, pause=min(6.0, answers.spec.slot_length / 1_000_000))
        self.discovery = Discovery(
            transport,
            names,
            genesis_hash,
            peer.requests,
            peer.enforcer,
            clock,
            surroundings.rng,
            self.registrations,
            own_addresses=lambda: [address.partition("/p2p/")[0] for address in transport.addresses()],
            address_of=self._dialable,
            keys=lambda: list(self.hotkeys.values()),
            in_use=lambda peer: self.client.pool.uses(peer),
            settings=discovery or DiscoverySettings(announce=peer.settings.announce),
        )
        self.paced = PacedDirectory(self.discovery.directory, transport, clock)
        self.queue = AdmissionQueue()
        self.metrics = AxonMetrics(self._sample)
        self._transport = WithOwnCalls(transport)
        self.server = AxonServer(
            self._transport,
            names.request("axon"),
            genesis_hash,
            self.view,
            Admission(self.queue, CallerLimiter()),
            self.keeping.replays,
            now_ns=lambda: clock.now() * 1000,
            penalties=peer.enforcer,
            not_before_ns=self.keeping.replays.not_before,
            observe=self._observe,
            is_relay=self.discovery.reservations.holds,
        )
        self.client = AxonClient(
            self._transport,
            names.request("axon"),
            genesis_hash,
            self.paced,
            now_ns=lambda: clock.now() * 1000,
            random_bytes=surroundings.random_bytes,
            relay_protocol_id=relay_protocol(names),
        )
        self.blobs = PeerBlobs(
            axon_folder(surroundings.home, genesis_hash) / BLOBS,
            self._transport,
            names.request("blob"),
            genesis_hash,
            self.paced,
            self.registrations,
            peer.enforcer,
            now_ns=lambda: clock.now() * 1000,
        )
        self.plugin_states: Callable[[], dict[str, str]] = dict
        """State of each plugin by name, for metrics and health; set by whoever runs the plugins."""
        peer.on_final.append(self.view.on_final)
        peer.on_final.append(self.registrations.on_final)
        peer.on_final.append(self.keeping.scheduler.block_final)

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled. Raises StorageError when the disk refuses."""
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            await nursery.start(self._transport.run)
            await nursery.start(self.keeping.run)
            nursery.start_soon(self.view.run)
            nursery.start_soon(self.registrations.run)
            nursery.start_soon(self.discovery.run)
            task_status.started()

    def close(self) -> None:
        """After `run` has ended. Raises StorageError."""
        self.keeping.close()

    def made(self, result: CallResult) -> None:
        """A call from here is over: count it, and let its latency order the endpoints of the hotkey."""
        self.metrics.made(result.status, result.latency)
        if result.peer is None:
            return
        if result.status is Status.DIAL_FAILED:
            self.paced.failed(result.peer)
        elif result.ok:
            self.paced.reached(result.peer)
            self.discovery.latencies.note(result.peer, result.latency.network)

    def _dialable(self, peer: PeerId) -> str | None:
        """Where a connected peer can be dialed by others: what it says itself, or where we dialed it."""
        connection = self.peer.peers.connections().get(peer)
        record = self.peer.book.get(peer)
        if record is not None and record.addresses:
            return record.addresses[0]
        return self.peer.transport.remote_address(peer) if connection is not None and connection.outbound else None

    def health(self) -> HealthSample:
        """For /readyz."""
        return peer_health(self.answers.status(), self.view, self.plugin_states())

    def _observe(self, record: CallRecord) -> None:
        ran = record.handler_seconds if record.status.reached_handler is Reached.YES else None
        self.metrics.served(record.status, record.queue_seconds, ran)

    def _sample(self) -> AxonSample:
        scheduler = self.keeping.scheduler
        return AxonSample(
            waiting=self.queue.waiting,
            running=self.queue.running,
            refusals=dict(self.queue.counters),
            plugins=Counter(self.plugin_states().values()),
            blocks_behind=self.view.blocks_behind(),
            weights={**scheduler.sent, "refused": scheduler.refused, "held_back": scheduler.held_back},
        )
