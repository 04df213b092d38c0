"""The transport of a real peer: one libp2p host, supervised (LIBP2P sections 7 and 8, CHAIN section 7).

TCP, Noise and yamux only; gossip with mesh 6/4/10, history 6/3, one heartbeat a second, unsigned envelopes, content
ids, no validation cache; scores come from the caller's ledger alone. Nothing dials by itself: `reconnect` and
discovery do.

An exception that gets past the tasks' own fences ends all connections and starts the host again (LIBP2P 8.12). When
that happens too often `run` raises TransportError with the cause: a peer whose network is broken must not look
alive.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import trio

from ..connection_feed import ConnectionFeed
from ..transport import (
    ConnectionEvent,
    DialFailed,
    GossipValidator,
    PeerId,
    Stream,
    StreamHandler,
    Transport,
    TransportError,
    TransportStats,
)
from .addresses import Address, address_of_socket, parse_address
from .connection_limits import Admission, ConnectionLimits
from .counters import Counters
from .handshake import Handshake
from .identity import identity_from_seed, public_key_of
from .inbound import Inbound, open_listeners
from .mesh import MeshParameters
from .network import Network
from .pubsub import MESHSUB, Pubsub
from .well_known import IDENTIFY, PING, answer_ping, identify_handler

if TYPE_CHECKING:
    from trio_typing import TaskStatus

MAX_RESTARTS: Final = 3
RESTART_WINDOW: Final = 60.0
RESTART_DELAY: Final = 1.0
"""Seconds: after three failures within a minute the fault is no accident, and restarting hides it."""


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
        identity = identity_from_seed(seed)
        self._local_peer = identity.peer
        self._listen = tuple(parse_address(text, listening=True) for text in listen)
        self._announce = tuple(replace(parse_address(text), peer=self._local_peer) for text in announce)
        self._bound: tuple[Address, ...] = ()
        self._counters = Counters()
        self._feed = ConnectionFeed()

        def standing(peer: PeerId) -> float:
            return math.inf if is_protected(peer) else score(peer)

        self._admission = Admission(limits or ConnectionLimits(), standing=standing)
        handshake = Handshake(identity)
        self._network = Network(
            self._local_peer, handshake, self._admission, self._counters, self._feed, on_misbehaviour=on_misbehaviour
        )
        self._inbound = Inbound(
            handshake,
            self._admission,
            self._counters,
            is_open=lambda: self._network.is_open,
            serve=self._network.serve_inbound,
        )
        self._pubsub = Pubsub(
            self._network, self._counters, rng=rng, score=score, on_misbehaviour=on_misbehaviour, parameters=mesh
        )
        self._network.watcher = self._pubsub
        for protocol in MESHSUB:
            self._network.handlers[protocol] = self._pubsub.serve
        self._network.handlers[PING] = answer_ping
        self._network.handlers[IDENTIFY] = identify_handler(
            public_key_of(self._local_peer), agent, self._own_addresses, lambda: self._network.handlers
        )

    # --- life ---------------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen and serve until cancelled. Raises TransportError when it cannot listen or keeps failing."""
        failures: list[float] = []
        addresses = self._listen
        started = False
        while True:
            listeners = await open_listeners(addresses)
            self._bound = addresses = tuple(_bound_address(listener) for listener in listeners)
            try:
                async with trio.open_nursery() as nursery:
                    self._network.start(nursery)
                    self._pubsub.start(nursery)
                    nursery.start_soon(self._accept, listeners, nursery)
                    if not started:
                        started = True
                        task_status.started()
            except Exception as error:
                self._counters.fault("network", error)
                now = trio.current_time()
                failures = [t for t in failures if now - t < RESTART_WINDOW] + [now]
                if len(failures) > MAX_RESTARTS:
                    raise TransportError(
                        f"the network failed {len(failures)} times within {RESTART_WINDOW:.0f} s; last: {error!r}"
                    ) from error
            finally:
                self._network.stop()
                self._pubsub.stop()
                for listener in listeners:
                    listener.socket.close()
            await trio.sleep(RESTART_DELAY)

    async def _accept(self, listeners: list[trio.SocketListener], nursery: trio.Nursery) -> None:
        if not listeners:  # a peer that only dials
            await trio.sleep_forever()
        await trio.serve_listeners(self._inbound.take, listeners, handler_nursery=nursery)

    # --- streams ------------------------------------------------------------------------------------------------------

    @property
    def local_peer(self) -> PeerId:
        """Our own peer id."""
        return self._local_peer

    def set_stream_handler(self, protocol: str, handler: StreamHandler) -> None:
        """Serve `protocol`."""
        self._network.handlers[protocol] = handler

    async def open_stream(self, peer: PeerId, protocol: str, *, timeout: float) -> Stream:
        """Open a stream within `timeout` seconds. Raises NotConnected or StreamRefused."""
        stream, _ = await self._network.open_stream(peer, (protocol,), timeout)
        return stream

    # --- gossip -------------------------------------------------------------------------------------------------------

    def subscribe(self, topic: str, validator: GossipValidator) -> None:
        """Join a topic, or replace its validator."""
        self._pubsub.subscribe(topic, validator)

    def unsubscribe(self, topic: str) -> None:
        """Leave a topic."""
        self._pubsub.unsubscribe(topic)

    async def publish(self, topic: str, data: bytes) -> None:
        """Send a message of our own. Raises PayloadTooLarge."""
        await self._pubsub.publish(topic, data)

    def mesh_peers(self, topic: str) -> tuple[PeerId, ...]:
        """Mesh of a topic, for operators and tests."""
        return self._pubsub.mesh.mesh_of(topic)

    # --- connections --------------------------------------------------------------------------------------------------

    async def dial(self, address: str) -> PeerId:
        """Connect to a multiaddr with `/p2p/<id>`. Raises DialFailed."""
        try:
            parsed = parse_address(address)
        except ValueError as error:
            raise DialFailed(address[:100], str(error)) from error
        return await self._network.dial(parsed)

    async def disconnect(self, peer: PeerId) -> None:
        """Close every connection to the peer. Never raises."""
        await self._network.disconnect(peer)

    def ban(self, peer: PeerId, seconds: float) -> None:
        """Drop the peer and refuse it for `seconds`, both directions."""
        self._admission.ban(peer, trio.current_time() + seconds)
        self._network.drop(peer, "banned")

    def is_banned(self, peer: PeerId) -> bool:
        """Whether the peer is refused now."""
        return self._admission.is_banned(peer, trio.current_time())

    def connected(self) -> tuple[PeerId, ...]:
        """Connected peers in ascending order."""
        return self._network.connected()

    def addresses(self) -> tuple[str, ...]:
        """Addresses to give out, with `/p2p/<own id>`; empty before `run` has started."""
        return tuple(str(address) for address in self._own_addresses())

    def remote_address(self, peer: PeerId) -> str | None:
        """Remote multiaddr without `/p2p/`."""
        return self._network.remote_address(peer)

    async def next_event(self) -> ConnectionEvent:
        """The next change of connection state (coalesced per peer)."""
        return await self._feed.next()

    def stats(self) -> TransportStats:
        """Counters and gauges."""
        connections, outbound, streams = self._network.counts()
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


def _bound_address(listener: trio.SocketListener) -> Address:
    name = listener.socket.getsockname()
    return address_of_socket(str(name[0]), int(name[1]))


if TYPE_CHECKING:

    def _keeps_the_contract(transport: Libp2pTransport) -> Transport:
        return transport
