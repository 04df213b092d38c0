"""A network inside one process: the transport of whole-peer tests in virtual time (CHAIN 6.2 layer 3, DESIGN 4.15).

`MemoryNetwork` holds the peers, the links between them and every fault that a test injects; `MemoryTransport` is
one peer's `transport.Transport`. Time is trio's (MockClock in tests), chance is the injected generator's, and
nothing depends on hash order: the same seed gives the same run.

Gossip floods: a message goes to every connected subscriber that has not sent it, once per content id, each hop
after the link's latency. Bytes of one direction of a stream arrive in order; a link that loses packets delays
stream bytes (TCP would send them again) and drops gossip.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from .connection_feed import ConnectionFeed
from .memory_stream import MemoryStream, Pipe
from .transport import (
    MAX_GOSSIP,
    ConnectionEvent,
    DialFailed,
    GossipValidator,
    GossipVerdict,
    NotConnected,
    PayloadTooLarge,
    PeerConnected,
    PeerId,
    StreamClosed,
    StreamHandler,
    StreamRefused,
    Transport,
    TransportError,
    TransportStats,
)

if TYPE_CHECKING:
    from trio_typing import TaskStatus

RESEND_SECONDS: Final = 0.2
"""What a lost packet costs a stream: one retransmission time."""

SEEN_LIMIT: Final = 65_536
"""Message ids that one peer remembers."""


@dataclass(frozen=True, slots=True)
class LinkQuality:
    """How one direction between two peers behaves."""

    latency: float = 0.02
    """Seconds one way."""

    jitter: float = 0.0
    """Up to this many seconds more, evenly spread."""

    loss: float = 0.0
    """Share of gossip messages lost; of stream chunks sent again."""


class MemoryNetwork:
    """All peers of a test and the links between them."""

    def __init__(self, rng: random.Random, quality: LinkQuality | None = None) -> None:
        self.rng = rng
        self.quality = quality or LinkQuality()
        """Used for links without a quality of their own."""
        self._links: dict[tuple[PeerId, PeerId], LinkQuality] = {}
        self._cut: Callable[[PeerId, PeerId], bool] = lambda sender, receiver: False
        self._peers: dict[PeerId, MemoryTransport] = {}

    def transport(self, peer: str) -> MemoryTransport:
        """A new peer of that id (any text without a slash)."""
        if peer in self._peers or "/" in peer or not peer:
            raise ValueError(f"peer id {peer!r} is empty, holds a slash, or is taken in this network")
        return MemoryTransport(self, PeerId(peer))

    def set_link(self, sender: PeerId, receiver: PeerId, quality: LinkQuality) -> None:
        """Give one direction a quality of its own."""
        self._links[(sender, receiver)] = quality

    def partition(self, *groups: tuple[PeerId, ...]) -> None:
        """Only peers of one group reach each other; connections across break as they would when a cable is cut."""
        side = {peer: number for number, group in enumerate(groups) for peer in group}
        self.cut(lambda a, b: side.get(a, -1) != side.get(b, -1))

    def cut(self, is_cut: Callable[[PeerId, PeerId], bool]) -> None:
        """Cut the directions for which this is true; connections with a cut direction break."""
        self._cut = is_cut
        for peer in list(self._peers.values()):
            for other in peer.connected():
                if is_cut(peer.local_peer, other) or is_cut(other, peer.local_peer):
                    peer.break_connection(other)

    def heal(self) -> None:
        """Let everybody reach everybody again; nobody is reconnected by it."""
        self._cut = lambda sender, receiver: False

    def delay(self, sender: PeerId, receiver: PeerId, *, reliable: bool) -> float | None:
        """Seconds until a packet arrives; None when it is lost."""
        if self._cut(sender, receiver):
            return None
        quality = self._links.get((sender, receiver), self.quality)
        delay = quality.latency + quality.jitter * self.rng.random()
        while quality.loss > 0 and self.rng.random() < quality.loss:
            if not reliable:
                return None
            delay += RESEND_SECONDS
        return delay

    def reaches(self, sender: PeerId, receiver: PeerId) -> bool:
        """Whether both directions are open and the receiver is up."""
        return receiver in self._peers and not self._cut(sender, receiver) and not self._cut(receiver, sender)

    def up(self, transport: MemoryTransport) -> None:
        """The peer runs."""
        if transport.local_peer in self._peers:
            raise TransportError(f"a peer {transport.local_peer} runs already in this network")
        self._peers[transport.local_peer] = transport

    def down(self, transport: MemoryTransport) -> None:
        """The peer has stopped; its connections break."""
        if self._peers.get(transport.local_peer) is transport:
            del self._peers[transport.local_peer]

    def find(self, peer: PeerId) -> MemoryTransport | None:
        """The running transport of that id."""
        return self._peers.get(peer)


@dataclass(slots=True, eq=False)
class _Link:
    outbound: bool
    address: str


class MemoryTransport:
    """One peer of a MemoryNetwork; keeps the contract of `transport.Transport`."""

    def __init__(self, network: MemoryNetwork, peer: PeerId) -> None:
        self._network = network
        self._peer = peer
        self._handlers: dict[str, StreamHandler] = {}
        self._validators: dict[str, GossipValidator] = {}
        self._links: dict[PeerId, _Link] = {}
        self._streams: dict[PeerId, dict[MemoryStream, None]] = {}
        self._seen: dict[tuple[str, bytes], None] = {}
        self._bans: dict[PeerId, float] = {}
        self._feed = ConnectionFeed()
        self._nursery: trio.Nursery | None = None
        self._arrivals: list[tuple[float, int, Callable[[], None]]] = []
        self._sent = 0
        self._courier_waits = trio.lowlevel.ParkingLot()
        self._dropped: dict[str, int] = {}
        self._refused: dict[str, int] = {}
        self._counts = dict.fromkeys(("received", "duplicate", "accepted", "ignored", "rejected", "published"), 0)

    # --- life ---------------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        self._network.up(self)
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                await self._deliver()
        finally:
            self._nursery = None
            self._arrivals.clear()
            self._network.down(self)
            for peer in list(self._links):
                self.break_connection(peer)

    @property
    def local_peer(self) -> PeerId:
        """Our own peer id."""
        return self._peer

    def set_stream_handler(self, protocol: str, handler: StreamHandler) -> None:
        """Serve `protocol`."""
        self._handlers[protocol] = handler

    # --- connections --------------------------------------------------------------------------------------------------

    async def dial(self, address: str) -> PeerId:
        """Connect to `/memory/p2p/<id>`, or any text that ends in `/p2p/<id>`. Raises DialFailed."""
        peer = PeerId(address.rpartition("/p2p/")[2])
        if peer == self._peer:
            raise DialFailed(address, "that is this peer itself")
        if self._nursery is None:
            raise DialFailed(address, "the network is not running")
        await trio.sleep(2 * (self._network.delay(self._peer, peer, reliable=True) or 0.0))
        if peer in self._links:
            return peer
        other = self._network.find(peer)
        if other is None or not self._network.reaches(self._peer, peer):
            raise DialFailed(address, "no answer")
        if self.is_banned(peer):
            raise DialFailed(address, "the peer is banned")
        if other.is_banned(self._peer):
            other._refused["banned"] = other._refused.get("banned", 0) + 1
            raise DialFailed(address, "closed by the other side")
        self._link(peer, outbound=True)
        other._link(self._peer, outbound=False)
        return peer

    def _link(self, peer: PeerId, *, outbound: bool) -> None:
        if peer not in self._links:
            self._links[peer] = _Link(outbound, "/memory")
            self._feed.connected(PeerConnected(peer, outbound, "/memory"))

    def break_connection(self, peer: PeerId) -> None:
        """The connection is gone on both ends, and every stream in it."""
        other = self._network.find(peer)
        self._unlink(peer)
        if other is not None:
            other._unlink(self._peer)

    def _unlink(self, peer: PeerId) -> None:
        if self._links.pop(peer, None) is not None:
            for stream in list(self._streams.pop(peer, {})):
                stream.abort("connection lost")
            self._feed.disconnected(peer)

    async def disconnect(self, peer: PeerId) -> None:
        """Close the connection to the peer. Never raises."""
        self.break_connection(peer)

    def ban(self, peer: PeerId, seconds: float) -> None:
        """Drop the peer and refuse it for `seconds`."""
        self._bans[peer] = max(trio.current_time() + seconds, self._bans.get(peer, 0.0))
        self.break_connection(peer)

    def is_banned(self, peer: PeerId) -> bool:
        """Whether the peer is refused now."""
        return self._bans.get(peer, 0.0) > trio.current_time()

    def connected(self) -> tuple[PeerId, ...]:
        """Connected peers in ascending order."""
        return tuple(sorted(self._links))

    def addresses(self) -> tuple[str, ...]:
        """Own address; empty before `run` has started."""
        return (f"/memory/p2p/{self._peer}",) if self._nursery is not None else ()

    def remote_address(self, peer: PeerId) -> str | None:
        """Always the same text while connected."""
        link = self._links.get(peer)
        return link.address if link is not None else None

    async def next_event(self) -> ConnectionEvent:
        """The next change of connection state (coalesced per peer)."""
        return await self._feed.next()

    # --- streams ------------------------------------------------------------------------------------------------------

    async def open_stream(self, peer: PeerId, protocol: str, *, timeout: float) -> MemoryStream:
        """Open a stream. Raises NotConnected or StreamRefused."""
        if peer not in self._links:
            raise NotConnected(f"not connected to {peer}; dial it first")
        delay = 2 * (self._network.delay(self._peer, peer, reliable=True) or 0.0)
        await trio.sleep(min(delay, timeout))
        other = self._network.find(peer)
        if peer not in self._links or other is None or delay > timeout:
            raise StreamRefused(f"{peer} did not answer a stream for {protocol} within {timeout:g} s")
        handler, nursery = other._handlers.get(protocol), other._nursery
        if handler is None or nursery is None:
            raise StreamRefused(f"{peer} does not speak {protocol}")
        to_them, to_us = Pipe(), Pipe()
        ours = MemoryStream(self, peer, to_us, to_them)
        theirs = MemoryStream(other, self._peer, to_them, to_us)
        self._streams.setdefault(peer, {})[ours] = None
        other._streams.setdefault(self._peer, {})[theirs] = None
        nursery.start_soon(other._serve, handler, theirs)
        return ours

    async def _serve(self, handler: StreamHandler, stream: MemoryStream) -> None:
        served = False
        try:
            await handler(stream)
            await stream.close()
            served = True
        except StreamClosed:
            self._drop("stream broken by the peer")
        except Exception:
            self._drop("stream handler raised")
        finally:
            if not served:
                stream.abort("the stream was reset by the peer")

    def stream_over(self, stream: MemoryStream) -> None:
        """The stream needs no place in the tables any more."""
        self._streams.get(stream.peer, {}).pop(stream, None)

    def carry(self, peer: PeerId, pipe: Pipe, chunk: bytes | None) -> None:
        """Bring bytes (None: the end) to the other end of a pipe after the link's delay, in order."""
        other = self._network.find(peer)
        delay = self._network.delay(self._peer, peer, reliable=True)
        if delay is None or other is None:
            pipe.end("connection lost")
            return
        pipe.in_flight += len(chunk or b"")
        pipe.arrives_at = max(pipe.arrives_at, trio.current_time() + delay)
        other.expect(pipe.arrives_at, lambda: pipe.arrive(chunk))

    def expect(self, at: float, arrival: Callable[[], None]) -> None:
        """Something on its way to this peer arrives at that time. Of equal times the earlier sent is first."""
        self._sent += 1
        heapq.heappush(self._arrivals, (at, self._sent, arrival))
        self._courier_waits.unpark()

    async def _deliver(self) -> None:
        while True:
            while self._arrivals and self._arrivals[0][0] <= trio.current_time():
                heapq.heappop(self._arrivals)[2]()
            next_at = self._arrivals[0][0] if self._arrivals else math.inf
            with trio.CancelScope(deadline=next_at):
                await self._courier_waits.park()

    # --- gossip -------------------------------------------------------------------------------------------------------

    def subscribe(self, topic: str, validator: GossipValidator) -> None:
        """Join a topic, or replace its validator."""
        self._validators[topic] = validator

    def unsubscribe(self, topic: str) -> None:
        """Leave a topic."""
        self._validators.pop(topic, None)

    async def publish(self, topic: str, data: bytes) -> None:
        """Send a message of our own to every connected subscriber. Raises PayloadTooLarge."""
        if len(data) > MAX_GOSSIP:
            raise PayloadTooLarge(topic, len(data))
        await trio.lowlevel.checkpoint()
        if self._mark_seen(topic, data):
            self._counts["published"] += 1
            self._flood(topic, data, None)

    def _mark_seen(self, topic: str, data: bytes) -> bool:
        key = (topic, data)
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > SEEN_LIMIT:
            del self._seen[next(iter(self._seen))]
        return True

    def _flood(self, topic: str, data: bytes, sender: PeerId | None) -> None:
        for peer in self.connected():
            other = self._network.find(peer)
            if peer == sender or other is None or topic not in other._validators:
                continue
            delay = self._network.delay(self._peer, peer, reliable=False)
            if delay is None:
                self._drop("gossip lost on the link")
            else:
                arrival = partial(other._take_gossip, self._peer, topic, data)
                other.expect(trio.current_time() + delay, arrival)

    def _take_gossip(self, sender: PeerId, topic: str, data: bytes) -> None:
        validator = self._validators.get(topic)
        if validator is None or sender not in self._links:
            return
        self._counts["received"] += 1
        if (topic, data) in self._seen:
            self._counts["duplicate"] += 1
            return
        try:
            verdict = validator(sender, data)
        except Exception:
            self._drop("gossip validator raised")
            verdict = GossipVerdict.IGNORE
        if verdict is GossipVerdict.IGNORE:
            self._counts["ignored"] += 1
            return
        self._mark_seen(topic, data)
        if verdict is GossipVerdict.REJECT:
            self._counts["rejected"] += 1
            return
        self._counts["accepted"] += 1
        self._flood(topic, data, sender)

    # --- counts -------------------------------------------------------------------------------------------------------

    def _drop(self, reason: str) -> None:
        self._dropped[reason] = self._dropped.get(reason, 0) + 1

    def stats(self) -> TransportStats:
        """Counters and gauges."""
        return TransportStats(
            connections=len(self._links),
            outbound_connections=sum(link.outbound for link in self._links.values()),
            streams_open=sum(len(streams) for streams in self._streams.values()),
            gossip_received=self._counts["received"],
            gossip_duplicate=self._counts["duplicate"],
            gossip_accepted=self._counts["accepted"],
            gossip_ignored=self._counts["ignored"],
            gossip_rejected=self._counts["rejected"],
            gossip_published=self._counts["published"],
            dropped=dict(self._dropped),
            inbound_refused=dict(self._refused),
        )


if TYPE_CHECKING:

    def _keeps_the_contract(transport: MemoryTransport) -> Transport:
        return transport
