"""What the rest of a peer may ask of the network: streams, gossip, dials and connection events (CHAIN 7, LIBP2P 8).

Two implementations keep this contract: `libp2p.host.Libp2pTransport` for real networks and
`memory_transport.MemoryTransport` for whole peers in virtual time. Nothing above this module knows which one it holds,
and nothing above it sees a library type.

Rules of the contract:

* A stream handler and a validator may raise; the transport turns that into a reset or a drop and counts it. It never
  ends the peer.
* A gossip validator is synchronous. It puts what it accepts into a bounded queue of its own, so the transport keeps no
  subscription queue and nothing is lost between the two.
* A write is never cancelled half way: it is shielded with a deadline of its own, after which the connection is dropped.
* Every queue is bounded. What does not fit is dropped and counted in `TransportStats`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final, NewType, Protocol

import trio

if TYPE_CHECKING:
    # libp2p brings the trio-typing stubs, and the type checker prefers them to trio's own annotations.
    from trio_typing import TaskStatus

PeerId = NewType("PeerId", str)
"""A libp2p peer id as base58 text (`12D3Koo…` for Ed25519 keys)."""

MAX_GOSSIP: Final = 1_000_000
"""Largest gossip payload in bytes.

The library silently loses an RPC above 1 MiB (2^20), envelope included; a round million leaves 48 kB for the envelope
and for the control messages that share the RPC (LIBP2P 2).
"""


class TransportError(Exception):
    """Base of everything that a transport raises to its callers."""


class StreamClosed(TransportError):
    """The stream ended before the operation was done: end of file, reset, lost connection, write past its deadline."""


class StreamRefused(TransportError):
    """The peer does not speak the protocol, did not answer in time, or a stream cap was reached."""


class NotConnected(TransportError):
    """There is no connection to the peer; dial it first."""


class PayloadTooLarge(TransportError):
    """A gossip payload over MAX_GOSSIP bytes."""

    def __init__(self, topic: str, size: int) -> None:
        super().__init__(
            f"gossip payload for {topic} has {size} bytes, the limit is {MAX_GOSSIP}; split it or send it on a stream"
        )
        self.topic = topic
        self.size = size


class DialFailed(TransportError):
    """A dial did not end in a usable connection; `reason` is a short sentence for a log line or an operator."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"cannot connect to {address}: {reason}")
        self.address = address
        self.reason = reason


class Stream(Protocol):
    """One bidirectional byte stream to a peer. One task may read while another writes."""

    @property
    def peer(self) -> PeerId:
        """The remote peer, proven by the handshake."""
        ...

    async def read_exactly(self, n: int) -> bytes:
        """Exactly n bytes; raises StreamClosed when the stream ends before."""
        ...

    async def read_some(self, limit: int) -> bytes:
        """Between 1 and `limit` bytes; b"" at a clean end of file. Raises StreamClosed on a reset."""
        ...

    async def write_all(self, data: bytes) -> None:
        """Write everything, shielded from cancellation (LIBP2P 8.3).

        Has a deadline of its own; when it passes the connection is dropped and StreamClosed raised.
        """
        ...

    async def write(self, data: bytes) -> None:
        """Write everything, for as long as it takes. May be cancelled, which leaves a cut message: reset it then.

        Raises StreamClosed.
        """
        ...

    async def close_write(self) -> None:
        """End our direction; the peer reads end of file, we may still read. Raises StreamClosed."""
        ...

    async def close(self) -> None:
        """End both directions and free the slot. Never raises; may be called twice."""
        ...

    async def reset(self) -> None:
        """Abort both directions at once and free the slot. Never raises; may be called twice."""
        ...


class GossipVerdict(Enum):
    """What a validator says about one gossip message."""

    ACCEPT = "accept"
    """Right and new: relay it. The validator has already queued it for this peer."""

    IGNORE = "ignore"
    """Not ours to judge now (too early, queue full): neither relayed nor held against the sender; may come again."""

    REJECT = "reject"
    """Wrong on its face: not relayed, not looked at again, counted against the peer that forwarded it."""


GossipValidator = Callable[[PeerId, bytes], GossipVerdict]
"""`(sender, data) -> verdict`. Synchronous and quick (it runs on the network's task). `sender` forwarded it to us."""

StreamHandler = Callable[[Stream], Awaitable[None]]
"""Serves one inbound stream. When it returns the stream is closed, when it raises the stream is reset."""


@dataclass(frozen=True, slots=True)
class PeerConnected:
    """The first connection to a peer is up and usable."""

    peer: PeerId

    outbound: bool
    """True when we dialed."""

    address: str
    """Remote multiaddr without `/p2p/`, "" when unknown. For an inbound peer the port is ephemeral."""


@dataclass(frozen=True, slots=True)
class PeerDisconnected:
    """The last connection to a peer is gone."""

    peer: PeerId


ConnectionEvent = PeerConnected | PeerDisconnected


@dataclass(frozen=True, slots=True)
class TransportStats:
    """Counters since the transport was made, and three gauges."""

    connections: int = 0
    """Open connections now."""

    outbound_connections: int = 0
    """How many of them we dialed."""

    streams_open: int = 0
    """Open streams now, both directions, gossip included."""

    gossip_received: int = 0
    """Messages that arrived, duplicates included."""

    gossip_duplicate: int = 0
    """Dropped before validation because their id was seen."""

    gossip_accepted: int = 0
    gossip_ignored: int = 0
    gossip_rejected: int = 0

    gossip_published: int = 0
    """Own messages handed to the network."""

    dropped: Mapping[str, int] = field(default_factory=dict)
    """Dropped input and output by reason: malformed RPC, raising handler, full queue, window overrun, …"""

    inbound_refused: Mapping[str, int] = field(default_factory=dict)
    """Refused inbound connections by reason: banned, address cap, total cap, upgrade timeout, …"""


class Transport(Protocol):
    """One peer's network. Register handlers, then `await nursery.start(transport.run)`."""

    @property
    def local_peer(self) -> PeerId:
        """Our own peer id."""
        ...

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen and serve until cancelled; reports started once the listen addresses are bound.

        Raises TransportError when it cannot listen, or when the network has failed and could not be brought back.
        """
        ...

    def set_stream_handler(self, protocol: str, handler: StreamHandler) -> None:
        """Serve `protocol`, before or while running (a new fork digest brings a new vote exchange)."""
        ...

    def subscribe(self, topic: str, validator: GossipValidator) -> None:
        """Join a topic, before or while running (a new fork digest brings new topics)."""
        ...

    def unsubscribe(self, topic: str) -> None:
        """Leave a topic; nothing happens when it was not joined."""
        ...

    async def publish(self, topic: str, data: bytes) -> None:
        """Send a message of our own to the topic's mesh, paced by the peers' queues; our own validator is not asked.

        Raises PayloadTooLarge above MAX_GOSSIP bytes. Returns also when no peer is there to take it.
        """
        ...

    async def dial(self, address: str) -> PeerId:
        """Connect to a multiaddr that ends in `/p2p/<id>`; at once done when connected already. Raises DialFailed."""
        ...

    async def open_stream(self, peer: PeerId, protocol: str, *, timeout: float) -> Stream:
        """Open a stream within `timeout` seconds. Raises NotConnected (it does not dial) or StreamRefused."""
        ...

    async def disconnect(self, peer: PeerId) -> None:
        """Close every connection to the peer. Never raises."""
        ...

    def ban(self, peer: PeerId, seconds: float) -> None:
        """Drop the peer and refuse it for `seconds`, both directions."""
        ...

    def is_banned(self, peer: PeerId) -> bool: ...

    def connected(self) -> tuple[PeerId, ...]:
        """Connected peers in ascending order of their ids."""
        ...

    def addresses(self) -> tuple[str, ...]:
        """Own listen multiaddrs with `/p2p/<own id>`; empty before `run` has started."""
        ...

    def remote_address(self, peer: PeerId) -> str | None:
        """Remote multiaddr without `/p2p/`, None when not connected or unknown."""
        ...

    async def next_event(self) -> ConnectionEvent:
        """The next change of connection state, one reader at a time.

        The feed is bounded by coalescing per peer: a peer that came and went between two reads leaves no event, one
        that went and came back leaves both. The last event read about a peer is always its final state.
        """
        ...

    def stats(self) -> TransportStats: ...
