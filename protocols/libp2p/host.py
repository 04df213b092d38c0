"""The transport of a real peer: one py-libp2p host, hardened and supervised (LIBP2P sections 7 and 8, CHAIN section 7).

TCP, Noise and yamux only; gossip with mesh 6/4/10, history 6/3, one heartbeat a second, unsigned envelopes, content
ids, no validation cache; scores come from the caller's ledger alone. Nothing dials by itself: `reconnect` and
discovery do.

An exception that gets past the tasks' own fences ends all connections and starts a fresh host (LIBP2P 8.12): the
library's objects cannot be run twice. When that happens too often `run` raises TransportError with the cause: a peer
whose network is broken must not look alive.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import trio
from libp2p.custom_types import TProtocol
from libp2p.network.exceptions import SwarmException
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from ..connection_feed import ConnectionFeed
from ..transport import (
    MAX_GOSSIP,
    ConnectionEvent,
    DialFailed,
    GossipValidator,
    NotConnected,
    PayloadTooLarge,
    PeerId,
    Stream,
    StreamHandler,
    StreamRefused,
    Transport,
    TransportError,
    TransportStats,
)
from .addresses import Address, parse_address
from .connection_limits import Admission, ConnectionLimits
from .counters import Counters
from .guarded_service import GuardedManager
from .identity import identity_from_seed
from .library_host import HardenedHost, library_stream
from .listener import OpenedTCP, bound_address, open_listeners
from .pubsub import HardenedPubsub
from .router import HardenedGossipSub, MeshParameters
from .swarm import HardenedSwarm

if TYPE_CHECKING:
    from trio_typing import TaskStatus

MAX_RESTARTS: Final = 3
RESTART_WINDOW: Final = 60.0
RESTART_DELAY: Final = 1.0
"""Seconds: after three failures within a minute the fault is no accident, and restarting hides it."""


# The library logs expected churn of strangers at error level; what matters of it is counted here. Some of it logs on
# the root logger, which would install a handler of its own if there was none.
logging.getLogger("libp2p").setLevel(logging.CRITICAL)
logging.getLogger().addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class _Node:
    """The library's objects of one run."""

    swarm: HardenedSwarm
    host: HardenedHost
    router: HardenedGossipSub
    pubsub: HardenedPubsub


class Libp2pTransport:
    """A `transport.Transport` over TCP."""

    def __init__(
        self,
        seed: bytes,
        listen: Sequence[str],
        *,
        rng: random.Random,
        score: Callable[[PeerId], float] = lambda peer: 0.0,
        is_protected: Callable[[PeerId], bool] = lambda peer: False,
        on_misbehaviour: Callable[[PeerId, str], None] = lambda peer, what: None,
        limits: ConnectionLimits | None = None,
        mesh: MeshParameters | None = None,
        announce: Sequence[str] = (),
        agent: str = "yumad",
    ) -> None:
        """`seed` is the 32-byte secret of the peer key, `listen` multiaddrs like /ip4/0.0.0.0/tcp/30333 (port 0: any).

        score: the ledger's score of a peer (CHAIN 2.3); ranks it in meshes and when connections are full.
        is_protected: peers that never give way to others (authorities, anchors, configured ones).
        on_misbehaviour: told `(peer, what)` when a peer breaks a protocol below the application's; may ban.
        announce: addresses to give out instead of the listening ones.

        Raises ValueError on a bad seed or address.
        """
        self._identity = identity_from_seed(seed)
        self._local_peer = self._identity.peer
        self._listen = tuple(parse_address(text, listening=True) for text in listen)
        self._announce = tuple(replace(parse_address(text), peer=self._local_peer) for text in announce)
        self._agent = agent
        self._rng = rng
        self._score = score
        self._on_misbehaviour = on_misbehaviour
        self._mesh = mesh or MeshParameters()
        self._bound: tuple[Address, ...] = ()
        self._counters = Counters()
        self._feed = ConnectionFeed()
        self._handlers: dict[str, StreamHandler] = {}
        self._validators: dict[str, GossipValidator] = {}
        self._topics_changed = trio.Event()
        self._node: _Node | None = None

        def standing(peer: PeerId) -> float:
            return math.inf if is_protected(peer) else score(peer)

        self._admission = Admission(limits or ConnectionLimits(), standing=standing)

    # --- life ---------------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen and serve until cancelled. Raises TransportError when it cannot listen or keeps failing."""
        failures: list[float] = []
        addresses = self._listen
        started = False
        while True:
            listeners = await open_listeners(addresses)
            self._bound = addresses = tuple(bound_address(listener) for listener in listeners)
            node = self._make_node(dict(zip(map(str, addresses), listeners, strict=True)))
            try:
                async with trio.open_nursery() as nursery:
                    try:
                        await self._start(node, nursery)
                        if not started:
                            started = True
                            task_status.started()
                        await self._keep_topics(node)
                    finally:
                        # Before anything else is unwound: whoever shields a write waits for its socket.
                        node.swarm.stop_now()
            except BaseExceptionGroup as group:
                ending, faults = group.split(lambda error: not isinstance(error, Exception))
                if faults is not None:
                    self._note_failure(faults, failures)
                if ending is not None:
                    # Stopped while something failed: the stop goes on, the failure is counted and no longer matters.
                    raise ending from None
            except Exception as error:
                self._note_failure(error, failures)
            finally:
                self._node = None
                node.swarm.stop_now()
                for listener in listeners:
                    listener.socket.close()
            await trio.sleep(RESTART_DELAY)

    def _note_failure(self, error: BaseException, failures: list[float]) -> None:
        """Count a failure of the whole network; raises TransportError when there were too many lately."""
        self._counters.fault("network", error)
        now = trio.current_time()
        failures[:] = [t for t in failures if now - t < RESTART_WINDOW] + [now]
        if len(failures) > MAX_RESTARTS:
            raise TransportError(
                f"the network failed {len(failures)} times within {RESTART_WINDOW:.0f} s; last: {error!r}"
            ) from error

    def _make_node(self, opened: dict[str, trio.SocketListener]) -> _Node:
        swarm = HardenedSwarm(
            self._identity,
            OpenedTCP(opened),
            self._admission,
            self._counters,
            self._feed,
            on_misbehaviour=self._on_misbehaviour,
        )
        host = HardenedHost(swarm, self._counters, agent=self._agent, addresses=self.addresses)
        router = HardenedGossipSub(self._mesh, self._counters, rng=self._rng, score=self._score)
        pubsub = HardenedPubsub(host, router, self._counters, on_misbehaviour=self._on_misbehaviour)
        swarm.watcher = pubsub.connection_lost
        for protocol, handler in self._handlers.items():
            host.serve(protocol, handler)
        return _Node(swarm, host, router, pubsub)

    async def _start(self, node: _Node, nursery: trio.Nursery) -> None:
        for service in (node.swarm, node.pubsub, node.router):
            manager = GuardedManager(service, self._counters)
            nursery.start_soon(manager.run)
            await manager.wait_started()
        await node.pubsub.wait_until_ready()
        nursery.start_soon(node.pubsub.sweep)
        node.swarm.is_open = True
        await self._apply_topics(node)
        if self._bound and not await node.swarm.listen(*(Multiaddr(str(address)) for address in self._bound)):
            raise TransportError(f"cannot serve {', '.join(map(str, self._bound))}")
        self._node = node

    async def _keep_topics(self, node: _Node) -> None:
        while True:
            await self._topics_changed.wait()
            self._topics_changed = trio.Event()
            await self._apply_topics(node)

    async def _apply_topics(self, node: _Node) -> None:
        node.pubsub.validators = self._validators
        for topic in [topic for topic in node.pubsub.topic_ids if topic not in self._validators]:
            await node.pubsub.unsubscribe(topic)
        for topic in list(self._validators):
            await node.pubsub.subscribe(topic)

    # --- streams ------------------------------------------------------------------------------------------------------

    @property
    def local_peer(self) -> PeerId:
        """Our own peer id."""
        return self._local_peer

    def set_stream_handler(self, protocol: str, handler: StreamHandler) -> None:
        """Serve `protocol`, before or while running."""
        self._handlers[protocol] = handler
        if self._node is not None:
            self._node.host.serve(protocol, handler)

    async def open_stream(self, peer: PeerId, protocol: str, *, timeout: float) -> Stream:
        """Open a stream within `timeout` seconds. Raises NotConnected or StreamRefused."""
        node = self._node
        if node is None or not node.swarm.is_connected(peer):
            raise NotConnected(f"not connected to {peer}; dial it first")
        with trio.move_on_after(timeout):
            try:
                return library_stream(await node.host.new_stream(ID.from_base58(peer), [TProtocol(protocol)]))
            except SwarmException as error:
                raise StreamRefused(f"{peer} did not take a stream for {protocol}: {error}") from error
        raise StreamRefused(f"{peer} did not answer a stream for {protocol} within {timeout:g} s")

    # --- gossip -------------------------------------------------------------------------------------------------------

    def subscribe(self, topic: str, validator: GossipValidator) -> None:
        """Join a topic, or replace its validator."""
        self._validators[topic] = validator
        self._topics_changed.set()

    def unsubscribe(self, topic: str) -> None:
        """Leave a topic."""
        if self._validators.pop(topic, None) is not None:
            self._topics_changed.set()

    async def publish(self, topic: str, data: bytes) -> None:
        """Send a message of our own. Raises PayloadTooLarge."""
        if len(data) > MAX_GOSSIP:
            raise PayloadTooLarge(topic, len(data))
        if self._node is not None:
            await self._node.pubsub.publish(topic, data)
        else:
            await trio.lowlevel.checkpoint()

    def mesh_peers(self, topic: str) -> tuple[PeerId, ...]:
        """Mesh of a topic, for operators and tests."""
        mesh = self._node.router.mesh.get(topic, ()) if self._node is not None else ()
        return tuple(sorted(PeerId(peer.to_base58()) for peer in mesh))

    # --- connections --------------------------------------------------------------------------------------------------

    async def dial(self, address: str) -> PeerId:
        """Connect to a multiaddr with `/p2p/<id>`. Raises DialFailed."""
        try:
            parsed = parse_address(address)
        except ValueError as error:
            raise DialFailed(address[:100], str(error)) from error
        if self._node is None:
            raise DialFailed(str(parsed), "the network is not running")
        return await self._node.swarm.dial(parsed)

    async def disconnect(self, peer: PeerId) -> None:
        """Close every connection to the peer. Never raises."""
        if self._node is not None:
            await self._node.swarm.disconnect(peer)

    def ban(self, peer: PeerId, seconds: float) -> None:
        """Drop the peer and refuse it for `seconds`, both directions."""
        self._admission.ban(peer, trio.current_time() + seconds)
        if self._node is not None:
            self._node.swarm.drop_peer(peer, "banned")

    def is_banned(self, peer: PeerId) -> bool:
        """Whether the peer is refused now."""
        return self._admission.is_banned(peer, trio.current_time())

    def connected(self) -> tuple[PeerId, ...]:
        """Connected peers in ascending order."""
        return self._node.swarm.peers() if self._node is not None else ()

    def addresses(self) -> tuple[str, ...]:
        """Addresses to give out, with `/p2p/<own id>`; empty before `run` has started."""
        return tuple(str(address) for address in self._own_addresses())

    def remote_address(self, peer: PeerId) -> str | None:
        """Remote multiaddr without `/p2p/`."""
        return self._node.swarm.remote_address(peer) if self._node is not None else None

    async def next_event(self) -> ConnectionEvent:
        """The next change of connection state (coalesced per peer)."""
        return await self._feed.next()

    def stats(self) -> TransportStats:
        """Counters and gauges."""
        connections, outbound, streams = self._node.swarm.counts() if self._node is not None else (0, 0, 0)
        counters = self._counters
        return TransportStats(
            connections=connections,
            outbound_connections=outbound,
            streams_open=streams,
            gossip_received=counters.gossip_received,
            gossip_duplicate=counters.gossip_duplicate,
            gossip_accepted=counters.gossip_accepted,
            gossip_ignored=counters.gossip_ignored,
            gossip_rejected=counters.gossip_rejected,
            gossip_published=counters.gossip_published,
            dropped=dict(counters.dropped),
            inbound_refused=dict(counters.inbound_refused),
        )

    def _own_addresses(self) -> tuple[Address, ...]:
        if not self._bound:
            return ()
        return self._announce or tuple(replace(address, peer=self._local_peer) for address in self._bound)


if TYPE_CHECKING:

    def _keeps_the_contract(transport: Libp2pTransport) -> Transport:
        return transport
