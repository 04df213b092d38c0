"""Pubsub in virtual time, over a network made by hand: pacing, reopening, slow and deaf peers."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import trio
import trio.testing
from yumad.protocols.libp2p.counters import Counters
from yumad.protocols.libp2p.message_cache import message_id
from yumad.protocols.libp2p.outbox import CONTROL_FRAMES, OUTBOX_BYTES, Outbox
from yumad.protocols.libp2p.pubsub import MESHSUB, PACE_SECONDS, Pubsub
from yumad.protocols.libp2p.rpc import Rpc, decode_rpc, encode_frame
from yumad.protocols.transport import GossipVerdict, PeerId, StreamClosed, StreamRefused

A, B = PeerId("A"), PeerId("B")
TOPIC = "/yumad/t"


class FakeStream:
    """A stream whose writes go to a list, or hang, or fail."""

    def __init__(self, peer: PeerId) -> None:
        self.peer = peer
        self.frames: list[bytes] = []
        self.hang = False
        self.slow = 0.0
        self.broken = False
        self.was_reset = False
        self.incoming_send, self.incoming = trio.open_memory_channel[bytes](100)
        self._buffer = b""

    async def write_all(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if self.hang:
            await trio.sleep_forever()
        await trio.sleep(self.slow)
        if self.broken:
            raise StreamClosed("broken")
        self.frames.append(data)

    async def read_some(self, limit: int) -> bytes:
        if not self._buffer:
            try:
                self._buffer = await self.incoming.receive()
            except trio.EndOfChannel:
                return b""
        data, self._buffer = self._buffer[:limit], self._buffer[limit:]
        return data

    async def read_exactly(self, n: int) -> bytes:
        data = b""
        while len(data) < n:
            chunk = await self.read_some(n - len(data))
            if not chunk:
                raise StreamClosed("ended")
            data += chunk
        return data

    async def close_write(self) -> None: ...

    async def close(self) -> None: ...

    async def reset(self) -> None:
        self.was_reset = True


class FakeNetwork:
    """Opens FakeStreams to whoever is connected."""

    def __init__(self) -> None:
        self.streams: dict[PeerId, list[FakeStream]] = {}
        self.live: set[PeerId] = set()
        self.refuse = False

    def is_connected(self, peer: PeerId) -> bool:
        return peer in self.live

    async def open_stream(self, peer: PeerId, protocols: tuple[str, ...], timeout: float) -> tuple[FakeStream, str]:
        await trio.lowlevel.checkpoint()
        if self.refuse:
            raise StreamRefused("no")
        stream = FakeStream(peer)
        self.streams.setdefault(peer, []).append(stream)
        return stream, protocols[0]


class Setup:
    def __init__(self, validator: Callable[[PeerId, bytes], GossipVerdict] | None = None) -> None:
        self.network = FakeNetwork()
        self.counters = Counters()
        self.reported: list[tuple[PeerId, str]] = []
        self.pubsub = Pubsub(
            self.network,
            self.counters,
            rng=random.Random(1),
            score=lambda peer: 0.0,
            on_misbehaviour=lambda peer, what: self.reported.append((peer, what)),
        )
        self.pubsub.subscribe(TOPIC, validator or (lambda sender, data: GossipVerdict.ACCEPT))

    async def connect(self, nursery: trio.Nursery, peer: PeerId) -> FakeStream:
        """Connect, open both gossip streams, join the topic; returns our stream to the peer."""
        self.network.live.add(peer)
        self.pubsub.peer_connected(peer)
        await trio.testing.wait_all_tasks_blocked()
        inbound = FakeStream(peer)
        nursery.start_soon(self.pubsub.serve, inbound)
        await inbound.incoming_send.send(encode_frame(Rpc(subscriptions=[(TOPIC, True)])))
        await trio.testing.wait_all_tasks_blocked()
        return self.network.streams[peer][-1]


def _rpcs(stream: FakeStream) -> list[Rpc]:
    out = []
    for frame in stream.frames:
        start = next(i for i, byte in enumerate(frame) if byte < 0x80) + 1
        out.append(decode_rpc(frame[start:]))
    return out


async def test_new_peer_is_greeted_with_subscriptions_and_grafted(autojump_clock) -> None:
    setup = Setup()
    async with trio.open_nursery() as nursery:
        setup.pubsub.start(nursery)
        stream = await setup.connect(nursery, A)
        hello, graft = _rpcs(stream)
        assert hello.subscriptions == [(TOPIC, True)]
        assert graft.graft == [TOPIC]
        nursery.cancel_scope.cancel()


async def test_publish_to_a_peer_that_is_behind_waits_and_then_goes_on(autojump_clock) -> None:
    setup = Setup()
    async with trio.open_nursery() as nursery:
        setup.pubsub.start(nursery)
        slow, quick = await setup.connect(nursery, A), await setup.connect(nursery, B)
        slow.hang = True
        started = trio.current_time()
        for number in range(8):
            await setup.pubsub.publish(TOPIC, bytes((number,)) * 900_000)
        waited = trio.current_time() - started
        assert PACE_SECONDS <= waited <= 8 * PACE_SECONDS
        await trio.testing.wait_all_tasks_blocked()
        assert sum(len(rpc.messages) for rpc in _rpcs(quick)) == 8
        assert setup.counters.dropped["gossip outbox full"] >= 3
        nursery.cancel_scope.cancel()


async def test_peer_that_lets_control_pile_up_loses_its_stream(autojump_clock) -> None:
    setup = Setup()
    async with trio.open_nursery() as nursery:
        setup.pubsub.start(nursery)
        stream = await setup.connect(nursery, A)
        stream.hang = True
        outbox = setup.pubsub._outboxes[A]
        for _ in range(CONTROL_FRAMES + 2):
            outbox.put_control(b"x")
        assert outbox.overflown
        # The writer hangs in a write, whose own deadline ends it in reality; then nothing more is written.
        assert await outbox.next() is None
        nursery.cancel_scope.cancel()


async def test_broken_stream_is_opened_again_while_the_peer_is_connected(autojump_clock) -> None:
    setup = Setup()
    async with trio.open_nursery() as nursery:
        setup.pubsub.start(nursery)
        stream = await setup.connect(nursery, A)
        stream.broken = True
        await setup.pubsub.publish(TOPIC, b"lost with the stream")
        await trio.sleep(1)
        assert stream.was_reset
        assert len(setup.network.streams[A]) == 2
        setup.network.live.discard(A)
        setup.pubsub.peer_disconnected(A)
        await trio.sleep(60)
        assert len(setup.network.streams[A]) == 2
        nursery.cancel_scope.cancel()


async def test_peer_that_refuses_gossip_is_asked_ever_less_often(autojump_clock) -> None:
    setup = Setup()
    setup.network.refuse = True
    setup.network.live.add(A)
    async with trio.open_nursery() as nursery:
        setup.pubsub.start(nursery)
        setup.pubsub.peer_connected(A)
        await trio.sleep(100)
        assert 10 <= setup.counters.dropped["gossip stream lost"] <= 16
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "frame",
    [b"\xff\xff\xff\xff\xff", b"\x80\x80\x80\x80\x01", b"\x05hello", b"\x02\x0a\x7f", b"\x81\x80\x40" + b"x" * 10],
)
async def test_malformed_frame_ends_the_stream_and_is_reported(frame: bytes, autojump_clock) -> None:
    setup = Setup()
    stream = FakeStream(A)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(setup.pubsub.serve, stream)
        await stream.incoming_send.send(frame)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert stream.was_reset
    assert setup.reported == [(A, "malformed gossip")]


async def test_third_gossip_stream_of_a_peer_is_refused(autojump_clock) -> None:
    setup = Setup()
    streams = [FakeStream(A) for _ in range(3)]
    async with trio.open_nursery() as nursery:
        for stream in streams:
            nursery.start_soon(setup.pubsub.serve, stream)
            await trio.testing.wait_all_tasks_blocked()
        assert [stream.was_reset for stream in streams] == [False, False, True]
        nursery.cancel_scope.cancel()


async def test_message_seen_from_the_mesh_is_not_published_again(autojump_clock) -> None:
    setup = Setup()
    async with trio.open_nursery() as nursery:
        setup.pubsub.start(nursery)
        stream = await setup.connect(nursery, A)
        for _ in range(3):
            await setup.pubsub.publish(TOPIC, b"once")
        await trio.testing.wait_all_tasks_blocked()
        assert [rpc.messages for rpc in _rpcs(stream)][2:] == [[(TOPIC, b"once")]]
        assert setup.counters.gossip_published == 1
        nursery.cancel_scope.cancel()


async def test_message_the_peer_reports_to_have_is_not_sent_from_the_queue(autojump_clock) -> None:
    setup = Setup()
    async with trio.open_nursery() as nursery:
        setup.pubsub.start(nursery)
        stream = await setup.connect(nursery, A)
        stream.slow = 1.0
        for data in (b"1", b"2", b"3"):
            await setup.pubsub.publish(TOPIC, data)
        await trio.sleep(0.5)  # the first is being written, the others wait
        setup.pubsub._take_rpc(A, Rpc(idontwant=[message_id(TOPIC, b"2")]))
        await trio.sleep(10)
        assert [data for rpc in _rpcs(stream) for _, data in rpc.messages] == [b"1", b"3"]
        nursery.cancel_scope.cancel()


def test_versions_spoken_are_the_ones_without_extensions() -> None:
    assert MESHSUB == ("/meshsub/1.2.0", "/meshsub/1.1.0", "/meshsub/1.0.0")


async def test_outbox_gives_control_first_and_bounds_bytes() -> None:
    outbox = Outbox()
    assert outbox.put_message(b"1", b"m1")
    outbox.put_control(b"c1")
    assert outbox.put_message(b"2", b"m2")
    assert [await outbox.next() for _ in range(3)] == [b"c1", b"m1", b"m2"]
    assert outbox.put_message(b"3", bytes(OUTBOX_BYTES))
    assert not outbox.put_message(b"4", b"x")
    outbox.cancel(b"3")
    assert outbox.put_message(b"4", b"x")
    assert await outbox.next() == b"x"
    outbox.close()
    assert await outbox.next() is None
