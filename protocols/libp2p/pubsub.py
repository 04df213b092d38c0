"""Gossip over streams: reading RPCs, validating once, relaying, pacing (CHAIN 7, LIBP2P 8 items 2, 3, 6, 9, 14).

Each side opens one stream for what it sends. A message is decoded, deduplicated by content id, and shown to the
topic's validator once, on the reader's task; nothing awaits in between, so no copy can slip past. What the
validator accepts it has queued itself: there is no subscription buffer to overflow here. No signed peer record
travels with RPCs, which is most of what the library spends on one.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

import trio

from ..transport import (
    MAX_GOSSIP,
    GossipValidator,
    GossipVerdict,
    NotConnected,
    PayloadTooLarge,
    PeerId,
    Stream,
    StreamClosed,
    StreamRefused,
)
from .counters import Counters
from .mesh import MAX_TOPICS_PER_PEER, GossipMesh, MeshParameters
from .message_cache import message_id
from .outbox import Outbox
from .rpc import MAX_RPC, MalformedRpc, Rpc, decode_rpc, encode_frame

MESHSUB: Final = ("/meshsub/1.2.0", "/meshsub/1.1.0", "/meshsub/1.0.0")
"""Versions spoken, preferred first. 1.2 adds IDONTWANT; later ones add nothing that we use."""

HEARTBEAT: Final = 1.0
"""Seconds between heartbeats; the library's default is 120 (LIBP2P 2)."""

PACE_SECONDS: Final = 2.0
"""How long a publish waits for slow peers to fall below the pace marks before it goes on without them."""

MESSAGES_PER_SECOND: Final = 200
MESSAGES_BURST: Final = 2000
"""New messages one peer may bring; more are dropped unread (LIBP2P 8.11). A block of transactions is a burst."""

IGNORED_SECONDS: Final = 1.0
"""An ignored message is not shown to the validator again for one heartbeat: repeating it must not cost its checks."""

MAX_IGNORED: Final = 4096
MAX_INBOUND_STREAMS: Final = 2
"""Gossip streams one peer may have open to us; a second one is met in a reconnect."""

OPEN_TIMEOUT: Final = 5.0
REOPEN_FIRST: Final = 0.5
REOPEN_LAST: Final = 10.0
"""Seconds between attempts to open the stream while the peer stays connected."""


class StreamOpener(Protocol):
    """The network, as gossip needs it."""

    def is_connected(self, peer: PeerId) -> bool: ...

    async def open_stream(self, peer: PeerId, protocols: tuple[str, ...], timeout: float) -> tuple[Stream, str]: ...


@dataclass(slots=True)
class _Early:
    """What a peer said before our own stream to it was up."""

    subscriptions: dict[str, bool] = field(default_factory=dict)
    grafts: dict[str, None] = field(default_factory=dict)


class Pubsub:
    """The gossip of one peer."""

    def __init__(
        self,
        network: StreamOpener,
        counters: Counters,
        *,
        rng: random.Random,
        score: Callable[[PeerId], float],
        on_misbehaviour: Callable[[PeerId, str], None],
        parameters: MeshParameters | None = None,
    ) -> None:
        self._network = network
        self._counters = counters
        self._score = score
        self._on_misbehaviour = on_misbehaviour
        self._parameters = parameters or MeshParameters()
        self.mesh = GossipMesh(rng, score, self._parameters)
        self._validators: dict[str, GossipValidator] = {}
        self._outboxes: dict[PeerId, Outbox] = {}
        self._links: dict[PeerId, trio.CancelScope] = {}
        self._inbound: dict[PeerId, int] = {}
        self._tokens: dict[PeerId, tuple[float, float]] = {}
        self._ignored: dict[bytes, float] = {}
        self._early: dict[PeerId, _Early] = {}
        self._nursery: trio.Nursery | None = None

    # --- life -------------------------------------------------------------------------------------------------------

    def start(self, nursery: trio.Nursery) -> None:
        """Run gossip tasks in this nursery from now on."""
        self._nursery = nursery
        nursery.start_soon(self._heartbeats)

    def stop(self) -> None:
        """Forget all peers; topics and validators stay for the next start."""
        self._nursery = None
        for peer in list(self._links):
            self.peer_disconnected(peer)

    async def _heartbeats(self) -> None:
        while True:
            await trio.sleep(HEARTBEAT)
            now = trio.current_time()
            try:
                self.mesh.heartbeat(now)
                self._ignored = {i: until for i, until in self._ignored.items() if until > now}
                self._flush()
            except Exception as error:
                self._counters.fault("gossip heartbeat", error)

    # --- topics -----------------------------------------------------------------------------------------------------

    def subscribe(self, topic: str, validator: GossipValidator) -> None:
        """Join a topic, or replace its validator."""
        self._validators[topic] = validator
        self.mesh.join(topic, self._now())
        self._flush()

    def unsubscribe(self, topic: str) -> None:
        """Leave a topic."""
        if self._validators.pop(topic, None) is not None:
            self.mesh.leave(topic, self._now())
            self._flush()

    async def publish(self, topic: str, data: bytes) -> None:
        """Send an own message, paced by the receivers' outboxes. Raises PayloadTooLarge."""
        if len(data) > MAX_GOSSIP:
            raise PayloadTooLarge(topic, len(data))
        await trio.lowlevel.checkpoint()
        now = trio.current_time()
        identifier = message_id(topic, data)
        if self.mesh.is_seen(identifier, now):
            # It came back to us before we sent it, or we sent it already: the mesh has it.
            return
        self.mesh.mark_seen(identifier, now)
        self._counters.gossip_published += 1
        receivers = self.mesh.relay_to(identifier, topic, data, None)
        frame = encode_frame(Rpc(messages=[(topic, data)]))
        with trio.move_on_after(PACE_SECONDS):
            for peer in receivers:
                outbox = self._outboxes.get(peer)
                if outbox is not None:
                    await outbox.wait_paced()
        self._spread(identifier, topic, frame, receivers)

    def _spread(self, identifier: bytes, topic: str, frame: bytes, receivers: list[PeerId]) -> None:
        for peer in receivers:
            outbox = self._outboxes.get(peer)
            if outbox is None or not outbox.put_message(identifier, frame):
                self._counters.drop("gossip outbox full")
                self.mesh.lost(peer, identifier, topic)

    # --- our stream to a peer ---------------------------------------------------------------------------------------

    def peer_connected(self, peer: PeerId) -> None:
        """Open our stream to the peer and keep it open while it is connected."""
        if self._nursery is not None and peer not in self._links:
            scope = self._links[peer] = trio.CancelScope()
            self._nursery.start_soon(self._keep_link, peer, scope)

    def peer_disconnected(self, peer: PeerId) -> None:
        """Forget the peer."""
        scope = self._links.pop(peer, None)
        if scope is not None:
            scope.cancel()
        self._close_outbox(peer)
        self._tokens.pop(peer, None)
        self._early.pop(peer, None)

    async def _keep_link(self, peer: PeerId, scope: trio.CancelScope) -> None:
        delay = REOPEN_FIRST
        with scope:
            while self._network.is_connected(peer):
                try:
                    stream, version = await self._network.open_stream(peer, MESHSUB, OPEN_TIMEOUT)
                    delay = REOPEN_FIRST
                    await self._write_frames(peer, stream, version)
                except (NotConnected, StreamRefused, StreamClosed):
                    pass
                except Exception as error:
                    self._counters.fault("gossip stream", error)
                await trio.sleep(delay)
                delay = min(delay * 2, REOPEN_LAST)
                # Reached only while the connection lives: its end cancels this task.
                self._counters.drop("gossip stream lost")

    async def _write_frames(self, peer: PeerId, stream: Stream, version: str) -> None:
        outbox = self._outboxes[peer] = Outbox()
        try:
            self.mesh.add_peer(peer, takes_idontwant=version == MESHSUB[0])
            self._replay_early(peer)
            self._flush()
            frame = await outbox.next()
            while frame is not None:
                await stream.write_all(frame)
                frame = await outbox.next()
            if outbox.overflown:
                self._counters.drop("gossip peer does not read")
        finally:
            if self._outboxes.get(peer) is outbox:
                self._close_outbox(peer)
            await stream.reset()

    def _replay_early(self, peer: PeerId) -> None:
        early = self._early.pop(peer, None)
        if early is not None:
            now = trio.current_time()
            for topic, joins in early.subscriptions.items():
                self.mesh.subscribed(peer, topic, joins, now)
            for topic in early.grafts:
                self.mesh.grafted(peer, topic, now)

    def _close_outbox(self, peer: PeerId) -> None:
        outbox = self._outboxes.pop(peer, None)
        if outbox is not None:
            outbox.close()
        self.mesh.remove_peer(peer)

    def _flush(self) -> None:
        """Queue the control messages that the mesh wants sent."""
        for peer, rpc in self.mesh.take_outgoing().items():
            outbox = self._outboxes.get(peer)
            if outbox is not None:
                outbox.put_control(encode_frame(rpc))

    # --- a peer's stream to us --------------------------------------------------------------------------------------

    async def serve(self, stream: Stream) -> None:
        """Read RPCs until the stream ends. Malformed ones end it and are reported."""
        peer = stream.peer
        if self._inbound.get(peer, 0) >= MAX_INBOUND_STREAMS:
            self._counters.drop("too many gossip streams")
            await stream.reset()
            return
        self._inbound[peer] = self._inbound.get(peer, 0) + 1
        try:
            while True:
                frame = await self._read_frame(stream)
                if frame is None:
                    return
                self._take_rpc(peer, decode_rpc(frame))
                await trio.lowlevel.checkpoint()
        except MalformedRpc:
            self._counters.drop("malformed gossip")
            self._on_misbehaviour(peer, "malformed gossip")
            await stream.reset()
        finally:
            self._inbound[peer] -= 1
            if not self._inbound[peer]:
                del self._inbound[peer]

    @staticmethod
    async def _read_frame(stream: Stream) -> bytes | None:
        first = await stream.read_some(1)
        if not first:
            return None
        length, shift = first[0] & 0x7F, 7
        while first[0] & 0x80:
            if shift > 21:
                raise MalformedRpc("length of an RPC is not a small number")
            first = await stream.read_exactly(1)
            length |= (first[0] & 0x7F) << shift
            shift += 7
        if length > MAX_RPC:
            raise MalformedRpc(f"RPC of {length} bytes, at most {MAX_RPC} are taken")
        return await stream.read_exactly(length)

    def _take_rpc(self, peer: PeerId, rpc: Rpc) -> None:
        now = trio.current_time()
        if self._score(peer) < self._parameters.graylist_threshold:
            self._counters.drop("gossip from a graylisted peer")
            return
        if peer not in self._outboxes:
            self._remember_early(peer, rpc)
        for topic, joins in rpc.subscriptions:
            self.mesh.subscribed(peer, topic, joins, now)
        for topic, data in rpc.messages:
            self._take_message(peer, topic, data, now)
        for topic, identifiers in rpc.ihave:
            self.mesh.offered(peer, topic, identifiers, now)
        for identifier, topic, data in self.mesh.wanted(peer, rpc.iwant):
            self._spread(identifier, topic, encode_frame(Rpc(messages=[(topic, data)])), [peer])
        for topic in rpc.graft:
            self.mesh.grafted(peer, topic, now)
        for topic, backoff in rpc.prune:
            self.mesh.pruned(peer, topic, backoff, now)
        self.mesh.unwanted(peer, rpc.idontwant)
        self._cancel_unwanted(peer, rpc.idontwant)
        self._flush()

    def _cancel_unwanted(self, peer: PeerId, identifiers: list[bytes]) -> None:
        outbox = self._outboxes.get(peer)
        if outbox is not None:
            for identifier in identifiers:
                outbox.cancel(identifier)

    def _remember_early(self, peer: PeerId, rpc: Rpc) -> None:
        if peer not in self._links:
            return
        early = self._early.setdefault(peer, _Early())
        for topic, joins in rpc.subscriptions:
            if topic in early.subscriptions or len(early.subscriptions) < MAX_TOPICS_PER_PEER:
                early.subscriptions[topic] = joins
        for topic in rpc.graft:
            if self.mesh.is_joined(topic):
                early.grafts[topic] = None

    def _take_message(self, peer: PeerId, topic: str, data: bytes, now: float) -> None:
        self._counters.gossip_received += 1
        validator = self._validators.get(topic)
        if validator is None:
            self._counters.drop("gossip for a topic not joined")
            return
        if len(data) > MAX_GOSSIP:
            self._counters.drop("gossip too large")
            return
        identifier = message_id(topic, data)
        if self.mesh.is_seen(identifier, now) or self._ignored.get(identifier, now) > now:
            self._counters.gossip_duplicate += 1
            return
        if self._score(peer) < self._parameters.publish_threshold or not self._take_token(peer, now):
            self._counters.drop("gossip over the peer's allowance")
            return
        self._judge(peer, topic, data, identifier, validator, now)

    def _judge(
        self, peer: PeerId, topic: str, data: bytes, identifier: bytes, validator: GossipValidator, now: float
    ) -> None:
        try:
            verdict = validator(peer, data)
        except Exception as error:
            # Our own bug, not the sender's fault (LIBP2P 8.3).
            self._counters.fault("gossip validator", error)
            verdict = GossipVerdict.IGNORE
        if verdict is GossipVerdict.IGNORE:
            self._counters.gossip_ignored += 1
            if len(self._ignored) < MAX_IGNORED:
                self._ignored[identifier] = now + IGNORED_SECONDS
            return
        self.mesh.mark_seen(identifier, now)
        if verdict is GossipVerdict.REJECT:
            self._counters.gossip_rejected += 1
            self._on_misbehaviour(peer, "gossip rejected")
            return
        self._counters.gossip_accepted += 1
        receivers = self.mesh.relay_to(identifier, topic, data, peer)
        self._spread(identifier, topic, encode_frame(Rpc(messages=[(topic, data)])), receivers)

    def _take_token(self, peer: PeerId, now: float) -> bool:
        tokens, last = self._tokens.get(peer, (float(MESSAGES_BURST), now))
        tokens = min(float(MESSAGES_BURST), tokens + (now - last) * MESSAGES_PER_SECOND)
        self._tokens[peer] = (max(tokens - 1.0, 0.0), now)
        return tokens >= 1.0

    @staticmethod
    def _now() -> float:
        try:
            return trio.current_time()
        except RuntimeError:
            # Topics may be joined before the event loop runs; nothing is timed then.
            return 0.0
