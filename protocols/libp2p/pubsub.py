"""py-libp2p's pubsub with verdicts, bounds and pacing (CHAIN 7, LIBP2P 8 items 1, 2, 3, 6, 9, 14).

Peers, subscriptions, hello, stream keeping and retries are the library's. Changed from outside:

* RPCs are bounded before they are parsed, and whatever is wrong with one resets its stream alone;
* a message is deduplicated by content id and shown to the topic's validator once, on the reader's task; nothing awaits
  in between, so no copy can slip past. A validator may say IGNORE, may raise, and queues itself what it accepts: there
  is no subscription buffer to overflow;
* each peer has an allowance, each outbox a byte bound; our own publishing waits for peers that are behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import trio
from libp2p.abc import INetStream
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub

from ..limits import Quota
from ..token_bucket import PeerBuckets, TokenBucket
from ..transport import MAX_GOSSIP, GossipValidator, GossipVerdict, PayloadTooLarge, PeerId, StreamClosed
from .counters import Counters
from .library_host import HardenedHost, library_stream
from .message_cache import SeenMessages, id_of, message_id
from .outbox import Outbox, encode_frame
from .router import HardenedGossipSub
from .rpc_shape import MAX_RPC, MAX_SUBSCRIPTIONS, MalformedRpc, decode_rpc
from .stream import LibraryStream
from .yamux import HardenedYamux

PACE_SECONDS: Final = 2.0
"""How long a publish waits for half of its receivers to fall below the pace marks before it goes on without them.

Not for all: one peer that reads a frame every few seconds would hold back each proposal of ours for so long. What it
misses it is offered again.
"""

MESSAGES_PER_SECOND: Final = 200
MESSAGES_BURST: Final = 2000
"""New messages one peer may bring; more are dropped unread (LIBP2P 8.11). A block of transactions is a burst."""

RPC_PACE: Final = Quota(2000, 2)
"""RPCs read from one stream; past it the reader waits and the sender with it. An empty RPC is one byte and costs 25 us:
60 kB of them were 1.5 s of CPU. Honest peers stay far below, at one RPC a message."""

SUBSCRIPTION_CHANGES: Final = Quota(512, 60)
"""Subscription changes one peer may bring: each starts three tasks in the library, a kilobyte of them costs 20 ms. An
honest peer brings four with each stream and eight when the fork digest changes."""

IGNORED_SECONDS: Final = 1.0
"""An ignored message is not shown to the validator again for one heartbeat: repeating it must not cost its checks."""

MAX_IGNORED: Final = 4096
MAX_INBOUND_STREAMS: Final = 2
"""Gossip streams one peer may have open to us; a second one is met in a reconnect."""

REOPEN_PAUSE: Final = 0.5
"""Seconds before a lost gossip stream is opened again; the library doubles its own pauses up to 10 s after that."""

READ_CHUNK: Final = 65_536
"""Bytes asked of a gossip stream at once: all that one Noise message brings."""

MAX_TOPICS_PER_PEER: Final = 64
"""Subscriptions of one peer that are remembered."""


class HardenedPubsub(Pubsub):
    """The gossip of one peer."""

    def __init__(
        self,
        host: HardenedHost,
        router: HardenedGossipSub,
        counters: Counters,
        *,
        on_misbehaviour: Callable[[PeerId, str], None],
    ) -> None:
        super().__init__(
            host,
            router,
            strict_signing=False,
            msg_id_constructor=id_of,
            validation_cache_size=0,
            max_inbound_rpc_size=MAX_RPC,
            max_subscriptions_per_rpc=MAX_SUBSCRIPTIONS,
            max_subscriptions_per_peer=MAX_TOPICS_PER_PEER,
        )
        # The library's remembers without a bound, and sweeps from a thread.
        self.seen_messages.stop()
        self.seen_messages = self.seen = SeenMessages()  # type: ignore[assignment]
        self.gossip = router
        self.validators: dict[str, GossipValidator] = {}
        self._counters = counters
        self._on_misbehaviour = on_misbehaviour
        self._inbound: dict[ID, int] = {}
        self._tokens: dict[ID, tuple[float, float]] = {}
        self._ignored: dict[bytes, float] = {}
        self._subscription_changes = PeerBuckets(SUBSCRIPTION_CHANGES)

    # --- our own messages -------------------------------------------------------------------------------------------

    async def publish(self, topic_id: str | list[str], data: bytes) -> None:
        """Send an own message, unsigned, without origin, paced by half of its receivers. Raises PayloadTooLarge."""
        assert isinstance(topic_id, str)
        if len(data) > MAX_GOSSIP:
            raise PayloadTooLarge(topic_id, len(data))
        await trio.lowlevel.checkpoint()
        identifier = message_id(topic_id, data)
        if self.seen.has(identifier):
            # It came back to us before we sent it, or we sent it already: the mesh has it.
            return
        self.seen.add(identifier)
        self._counters.gossip_published += 1
        receivers = [self.peer_queues.get(peer) for peer in self.gossip.receivers(topic_id, self.my_id, identifier)]
        await _wait_for_half([outbox for outbox in receivers if isinstance(outbox, Outbox)])
        await self.gossip.publish(self.my_id, rpc_pb2.Message(data=data, topicIDs=[topic_id]))

    # --- messages of others -----------------------------------------------------------------------------------------

    async def push_msg(self, msg_forwarder: ID, msg: Any) -> None:
        """Judge one message and relay it when it is right and new. Never raises."""
        now = trio.current_time()
        (topic,) = msg.topicIDs
        self._counters.gossip_received += 1
        validator = self.validators.get(topic)
        if validator is None or topic not in self.topic_ids:
            self._counters.drop("gossip for a topic not joined")
            return
        if len(msg.data) > MAX_GOSSIP:
            self._counters.drop("gossip too large")
            return
        identifier = message_id(topic, msg.data)
        if self.seen.has(identifier) or self._ignored.get(identifier, now) > now:
            self._counters.gossip_duplicate += 1
            return
        if not self.gossip.ledger.allow_publish(msg_forwarder, [topic]) or not self._take_token(msg_forwarder, now):
            self._counters.drop("gossip over the peer's allowance")
            return
        if self._judge(validator, msg_forwarder, msg.data, identifier, now):
            await self.gossip.publish(msg_forwarder, msg)

    def _judge(self, validator: GossipValidator, sender: ID, data: bytes, identifier: bytes, now: float) -> bool:
        peer = PeerId(sender.to_base58())
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
            return False
        self.seen.add(identifier)
        if verdict is GossipVerdict.REJECT:
            self._counters.gossip_rejected += 1
            self._on_misbehaviour(peer, "gossip rejected")
            return False
        self._counters.gossip_accepted += 1
        return True

    def _take_token(self, peer: ID, now: float) -> bool:
        tokens, last = self._tokens.get(peer, (float(MESSAGES_BURST), now))
        tokens = min(float(MESSAGES_BURST), tokens + (now - last) * MESSAGES_PER_SECOND)
        self._tokens[peer] = (max(tokens - 1.0, 0.0), now)
        return tokens >= 1.0

    async def sweep(self) -> None:
        """Forget old ids, once a second. Runs until cancelled."""
        while True:
            await trio.sleep(1.0)
            now = trio.current_time()
            self.seen.sweep()
            self._ignored = {i: until for i, until in self._ignored.items() if until > now}
            self._tokens = {peer: bucket for peer, bucket in self._tokens.items() if self._peer_is_connected(peer)}

    # --- a peer's stream to us --------------------------------------------------------------------------------------

    async def stream_handler(self, stream: INetStream) -> None:
        """Read RPCs until the stream ends. Malformed ones end it and are reported."""
        peer_id: ID = stream.muxed_conn.peer_id
        reader = library_stream(stream)
        if self._inbound.get(peer_id, 0) >= MAX_INBOUND_STREAMS:
            self._counters.drop("too many gossip streams")
            await reader.reset()
            return
        self._inbound[peer_id] = self._inbound.get(peer_id, 0) + 1
        try:
            frames, pace = _Frames(reader), TokenBucket(RPC_PACE, trio.current_time())
            while True:
                frame = await frames.next()
                if frame is None:
                    return
                now = trio.current_time()
                wait = pace.wait(1, now)
                pace.take(1, now)
                if wait > 0:
                    await trio.sleep(wait)
                await self._take_rpc(peer_id, decode_rpc(frame))
                await trio.lowlevel.checkpoint()
        except MalformedRpc:
            self._counters.drop("malformed gossip")
            self._on_misbehaviour(reader.peer, "malformed gossip")
            await reader.reset()
        finally:
            self._inbound[peer_id] -= 1
            if not self._inbound[peer_id]:
                del self._inbound[peer_id]

    async def _take_rpc(self, peer_id: ID, rpc: Any) -> None:
        """The order of the library's `continuously_read_stream`, subscriptions first."""
        if self.gossip.ledger.is_graylisted(peer_id, []):
            self._counters.drop("gossip from a graylisted peer")
            return
        if self._may_change_subscriptions(peer_id, len(rpc.subscriptions)):
            for subscription in rpc.subscriptions:
                self.handle_subscription(peer_id, subscription)
        for message in rpc.publish:
            await self.push_msg(peer_id, message)
        if rpc.HasField("control"):
            await self.gossip.handle_rpc(rpc, peer_id)

    def _may_change_subscriptions(self, peer_id: ID, count: int) -> bool:
        now = trio.current_time()
        bucket = self._subscription_changes.of(PeerId(peer_id.to_base58()), now)
        if bucket.take_if_free(count, now):
            return True
        self._counters.drop("subscriptions over the peer's allowance", count)
        return False

    # --- our stream to a peer ---------------------------------------------------------------------------------------

    def get_hello_packet(self) -> Any:
        """Our subscriptions; the library adds a signed record."""
        return rpc_pb2.RPC(
            subscriptions=[rpc_pb2.RPC.SubOpts(subscribe=True, topicid=topic) for topic in self.topic_ids]
        )

    def _build_announce_rpc(self, topic_id: str, subscribe: bool) -> tuple[Any, Any]:
        change = rpc_pb2.RPC.SubOpts(subscribe=subscribe, topicid=topic_id)
        return rpc_pb2.RPC(subscriptions=[change]), change

    async def _handle_new_peer(self, peer_id: ID) -> None:
        """Open our stream to a peer and register it. Raises SwarmException, after which the library tries again."""
        if peer_id in self.peers:
            return
        stream = await self.host.new_stream(peer_id, self.protocols)
        if peer_id in self.peers or not self._peer_is_connected(peer_id):
            await library_stream(stream).reset()
            return
        outbox = Outbox()
        outbox.put_control(encode_frame(self.get_hello_packet()))
        self.gossip.add_peer(peer_id, stream.get_protocol())
        self.peers[peer_id], self.peer_queues[peer_id] = stream, outbox
        self.manager.run_task(self.handle_sending_messages, peer_id, stream, outbox)
        # What the peer said before our stream was up: the library looks at it again only at the next heartbeat.
        for topic in [topic for topic, peers in self.peer_topics.items() if peer_id in peers]:
            await self.gossip.on_peer_subscribed(peer_id, topic)
            await self._replay_recent_messages(peer_id, topic)

    async def handle_sending_messages(self, peer_id: ID, stream: INetStream, queue: Any) -> None:
        """Write what waits for the peer until the stream or the peer is gone; then it is opened again."""
        writer = library_stream(stream)
        try:
            frame = await queue.next()
            while frame is not None:
                await writer.write_all(frame)
                frame = await queue.next()
            if queue.overflown:
                self._counters.drop("gossip peer does not read")
        except StreamClosed:
            pass
        finally:
            queue.close()
            await writer.reset()
            if self.peer_queues.get(peer_id) is queue:
                self._counters.drop("gossip stream lost")
                self._handle_dead_peer(peer_id)

    def connection_lost(self, muxer: HardenedYamux) -> None:
        """A connection is gone: our stream to the peer with it, if it ran over that one."""
        stream = self.peers.get(muxer.peer_id)
        if (stream is not None and stream.muxed_conn is muxer) or not self._peer_is_connected(muxer.peer_id):
            self._handle_dead_peer(muxer.peer_id)

    async def _peer_stream_retry_task(self, peer_id: ID) -> None:
        # Not at once: a peer that takes the stream and breaks it would keep us busy.
        await trio.sleep(REOPEN_PAUSE)
        await super()._peer_stream_retry_task(peer_id)

    def _forget_all_subscriptions(self, peer_id: ID) -> None:
        # The library forgets them also when only our own stream was lost, and the peer does not say them twice.
        if not self._peer_is_connected(peer_id):
            super()._forget_all_subscriptions(peer_id)

    def _peer_is_connected(self, peer_id: ID) -> bool:
        return bool(self.host.get_network().get_connections(peer_id))


async def _wait_for_half(outboxes: list[Outbox]) -> None:
    """Wait until at least half of these peers keep pace, at most PACE_SECONDS."""
    behind = [outbox for outbox in outboxes if outbox.is_behind]
    missing = (len(outboxes) + 1) // 2 - (len(outboxes) - len(behind))
    if missing <= 0:
        return

    async def wait_for(outbox: Outbox) -> None:
        nonlocal missing
        await outbox.wait_paced()
        missing -= 1
        if missing <= 0:
            nursery.cancel_scope.cancel()

    with trio.move_on_after(PACE_SECONDS):
        async with trio.open_nursery() as nursery:
            for outbox in behind:
                nursery.start_soon(wait_for, outbox)


class _Frames:
    """Length-prefixed RPCs of one stream, read in chunks: each read of a library stream costs a tenth of an RPC."""

    def __init__(self, stream: LibraryStream) -> None:
        self._stream = stream
        self._pending = bytearray()

    async def next(self) -> bytes | None:
        """The next RPC, None at the end; raises MalformedRpc before it reads what is too long, or StreamClosed."""
        while True:
            prefix = self._prefix()
            if prefix is not None:
                break
            chunk = await self._stream.read_some(READ_CHUNK)
            if not chunk:
                return None
            self._pending += chunk
        start, length = prefix
        if length > MAX_RPC:
            raise MalformedRpc(f"RPC of {length} bytes, at most {MAX_RPC} are taken")
        missing = start + length - len(self._pending)
        if missing > 0:
            self._pending += await self._stream.read_exactly(missing)
        frame = bytes(self._pending[start : start + length])
        del self._pending[: start + length]
        return frame

    def _prefix(self) -> tuple[int, int] | None:
        """(bytes of the length, the length) once it has arrived; raises MalformedRpc when it is no small number."""
        length = shift = 0
        for position, byte in enumerate(self._pending[:5], start=1):
            if shift > 21:
                raise MalformedRpc("length of an RPC is not a small number")
            length |= (byte & 0x7F) << shift
            if byte < 0x80:
                return position, length
            shift += 7
        return None
