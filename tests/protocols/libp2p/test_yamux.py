"""The hardened yamux over in-memory sessions in virtual time: flow control, ends, keepalive, any frames at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest
import trio
import trio.testing
from adversary.wire import DATA, HEADER, SYN, WINDOW_UPDATE
from hypothesis import given, settings
from hypothesis import strategies as st
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import MuxedStreamError
from yumad.protocols.libp2p.identity import identity_from_seed
from yumad.protocols.libp2p.receive_budget import ReceiveBudget
from yumad.protocols.libp2p.socket_channel import ChannelClosed
from yumad.protocols.libp2p.stream import LibraryStream
from yumad.protocols.libp2p.yamux import (
    DISCARD_SECONDS,
    IDLE_BEFORE_PING,
    MAX_REFUSED_STREAMS,
    MAX_STREAMS,
    PING_TIMEOUT,
    WINDOW,
    WRITE_STALL,
    HardenedYamux,
)
from yumad.protocols.transport import PeerId, StreamClosed

OTHER = ID.from_base58(identity_from_seed(bytes(32)).peer)


class PipeSession:
    """One end of an in-memory connection, with the surface of the library's session and of our socket."""

    def __init__(self, stream: trio.testing.MemoryReceiveStream, sender: trio.testing.MemorySendStream, *, dials: bool):
        self.is_initiator = dials
        self.last_heard: float | None = None
        self._in, self._out = stream, sender
        self._buffer = bytearray()
        self.frozen = False
        self.writes = 0
        self.get_remote_address = self.get_transport_addresses = self.get_connection_type = lambda: None

    async def read(self, n: int) -> bytes:
        while len(self._buffer) < n:
            try:
                chunk = bytes(await self._in.receive_some(65_536))
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise ChannelClosed("gone") from error
            if not chunk:
                raise ChannelClosed("gone")
            self.last_heard = trio.current_time()
            self._buffer += chunk
        data = bytes(self._buffer[:n])
        del self._buffer[:n]
        return data

    async def write(self, data: bytes) -> None:
        if self.frozen:
            await trio.sleep_forever()
        self.writes += 1
        try:
            await self._out.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ChannelClosed("gone") from error

    async def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        self._in.close()
        self._out.close()


@dataclass
class Side:
    connection: HardenedYamux
    channel: PipeSession
    streams: list[LibraryStream]
    complaints: list[str]
    budget: ReceiveBudget

    async def open(self) -> LibraryStream:
        return LibraryStream(NetStream(await self.connection.open_stream(), None, None), PeerId("other"))

    @property
    def open_streams(self) -> int:
        return len(self.connection.streams)

    async def accept(self) -> None:
        """Take streams as the host does."""
        with suppress(Exception):
            while True:
                stream = await self.connection.accept_stream()
                self.connection.unnamed_streams -= 1
                self.streams.append(LibraryStream(NetStream(stream, None, None), PeerId("other")))


def _side(channel: PipeSession) -> Side:
    complaints: list[str] = []
    budget = ReceiveBudget()
    connection = HardenedYamux(
        channel,  # type: ignore[arg-type]
        OTHER,
        channel,  # type: ignore[arg-type]
        budget=budget,
        on_misbehaviour=complaints.append,
    )
    return Side(connection, channel, [], complaints, budget)


@asynccontextmanager
async def _running(*sides: Side) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        for side in sides:
            nursery.start_soon(side.connection.start)
            nursery.start_soon(side.accept)
        yield
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[Side, Side]]:
    left_out, right_in = trio.testing.memory_stream_one_way_pair()
    right_out, left_in = trio.testing.memory_stream_one_way_pair()
    left = _side(PipeSession(left_in, left_out, dials=True))
    right = _side(PipeSession(right_in, right_out, dials=False))
    async with _running(left, right):
        yield left, right


@asynccontextmanager
async def alone() -> AsyncIterator[tuple[Side, trio.testing.MemorySendStream]]:
    """A connection whose other side is written by hand."""
    feed, inlet = trio.testing.memory_stream_one_way_pair()
    outlet, _ = trio.testing.memory_stream_one_way_pair()
    side = _side(PipeSession(inlet, outlet, dials=False))
    async with _running(side):
        yield side, feed


settle = trio.testing.wait_all_tasks_blocked


async def test_writer_stops_at_the_window_and_goes_on_when_half_is_read(autojump_clock) -> None:
    async with pair() as (left, right), trio.open_nursery() as nursery:
        stream = await left.open()
        nursery.start_soon(stream.write_all, bytes(WINDOW + 1000))
        await settle()
        (other,) = right.streams
        assert right.budget.total == WINDOW
        await other.read_exactly(WINDOW // 2 - 1)
        await settle()
        assert right.budget.total == WINDOW // 2 + 1
        await other.read_exactly(1)
        await settle()
        assert right.budget.total == WINDOW // 2 + 1000
        await other.read_exactly(WINDOW // 2 + 1000)
        assert right.budget.total == 0


async def test_small_reads_do_not_send_credit_each_time(autojump_clock) -> None:
    async with pair() as (left, right):
        stream = await left.open()
        await stream.write_all(bytes(100_000))
        await settle()
        writes = right.channel.writes
        for _ in range(100):
            await right.streams[0].read_exactly(1000)
        await settle()
        assert right.channel.writes == writes


async def test_many_small_frames_leave_in_few_writes(autojump_clock) -> None:
    async with pair() as (left, right), trio.open_nursery() as nursery:
        streams = [await left.open() for _ in range(100)]
        for stream in streams:
            nursery.start_soon(stream.write_all, b"request")
        await settle()
        assert len(right.streams) == 100
        assert left.channel.writes <= 4


async def test_half_closed_stream_carries_the_answer(autojump_clock) -> None:
    async with pair() as (left, right):
        stream = await left.open()
        await stream.write_all(b"question")
        await stream.close_write()
        await settle()
        other = right.streams[0]
        assert await other.read_exactly(8) == b"question"
        assert await other.read_some(1) == b""
        await other.write_all(b"answer")
        await other.close()
        assert await stream.read_exactly(6) == b"answer"
        assert await stream.read_some(1) == b""
        await stream.close()
        await settle()
        assert left.open_streams == right.open_streams == 0
        with pytest.raises(StreamClosed):
            await stream.write_all(b"x")


async def test_data_that_came_before_both_ends_stays_readable(autojump_clock) -> None:
    async with pair() as (left, right):
        stream = await left.open()
        await stream.close_write()
        await settle()
        await right.streams[0].write_all(b"late reader")
        await right.streams[0].close()
        await settle()
        assert await stream.read_exactly(11) == b"late reader"
        assert left.open_streams == 0
        assert await stream.read_some(1) == b""


async def test_reset_ends_reader_and_writer_on_the_other_side(autojump_clock) -> None:
    async with pair() as (left, right), trio.open_nursery() as nursery:
        stream = await left.open()
        await settle()
        other = right.streams[0]
        outcomes: list[str] = []

        async def expect_closed(call: object) -> None:
            try:
                await call  # type: ignore[misc]
            except StreamClosed as error:
                outcomes.append(str(error))

        nursery.start_soon(expect_closed, other.read_exactly(1))
        nursery.start_soon(expect_closed, other.write_all(bytes(WINDOW + 1)))
        await settle()
        await stream.reset()
        await settle()
        assert len(outcomes) == 2
        assert left.open_streams == right.open_streams == 0


async def test_closed_stream_swallows_late_data_and_is_forgotten_in_time(autojump_clock) -> None:
    async with pair() as (left, right):
        stream = await left.open()
        await settle()
        other = right.streams[0]
        await stream.close()
        await other.write_all(bytes(1000))
        await settle()
        assert left.budget.total == 0
        assert left.open_streams == 1
        await trio.sleep(DISCARD_SECONDS + IDLE_BEFORE_PING)
        assert left.open_streams == 0
        with pytest.raises(StreamClosed):
            await other.write_all(b"x")


async def test_lost_connection_ends_every_stream_with_the_reason(autojump_clock) -> None:
    async with pair() as (left, right):
        stream = await left.open()
        await settle()
        right.connection.abort("test")
        with pytest.raises(StreamClosed, match="connection lost"):
            await stream.read_exactly(1)
        with pytest.raises(MuxedStreamError, match="connection lost"):
            await left.open()
        assert left.connection.ended.is_set()


async def test_close_lets_queued_data_leave_first(autojump_clock) -> None:
    async with pair() as (left, right):
        stream = await left.open()
        await settle()
        await stream.write_all(b"last words")
        await stream.close_write()
        got: list[bytes] = []

        async def read() -> None:
            got.append(await right.streams[0].read_exactly(10))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await settle()
            nursery.start_soon(left.connection.close)
        assert got == [b"last words"]
        assert right.connection.close_reason == "closed by the peer"


async def test_peer_that_answers_no_ping_is_dropped_and_one_that_does_stays(autojump_clock) -> None:
    async with pair() as (left, right):
        await trio.sleep(10 * (IDLE_BEFORE_PING + PING_TIMEOUT))
        assert left.connection.close_reason is None
        right.channel.frozen = True
        started = trio.current_time()
        await left.connection.ended.wait()
        assert left.connection.close_reason == "no sign of life"
        assert trio.current_time() - started <= 1.5 * IDLE_BEFORE_PING + PING_TIMEOUT + 2


async def test_socket_that_takes_nothing_ends_the_connection(autojump_clock) -> None:
    async with pair() as (left, _):
        left.channel.frozen = True
        started = trio.current_time()
        await left.open()
        await left.connection.ended.wait()
        assert left.connection.close_reason == "peer does not read"
        assert trio.current_time() - started == pytest.approx(WRITE_STALL)


async def test_streams_past_the_cap_are_reset_and_a_flood_ends_the_connection(autojump_clock) -> None:
    async with alone() as (side, feed):
        numbers = iter(range(1, 10**6, 2))
        for _ in range(MAX_STREAMS + 10):
            await feed.send_all(HEADER.pack(0, WINDOW_UPDATE, SYN, next(numbers), 0))
        await settle()
        assert len(side.streams) == MAX_STREAMS
        assert side.connection.close_reason is None
        await feed.send_all(b"".join(HEADER.pack(0, WINDOW_UPDATE, SYN, next(numbers), 0) for _ in range(2000)))
        await settle()
        assert side.complaints == ["stream flood"]
        assert MAX_REFUSED_STREAMS < 2000


@pytest.mark.parametrize(
    ("frame", "complaint"),
    [
        (HEADER.pack(1, DATA, 0, 1, 0), "frame of unknown version or type"),
        (HEADER.pack(0, 9, 0, 1, 0), "frame of unknown version or type"),
        (HEADER.pack(0, DATA, 0, 0, 0), "stream frame without a stream"),
        (HEADER.pack(0, WINDOW_UPDATE, SYN, 2, 0), "stream number taken"),
        (HEADER.pack(0, WINDOW_UPDATE, SYN, 1, 0) * 2, "stream number taken"),
        (HEADER.pack(0, DATA, SYN, 1, WINDOW + 1), "window overrun"),
        (HEADER.pack(0, DATA, 0, 7, WINDOW + 1), "window overrun"),
    ],
)
async def test_broken_rule_ends_the_connection_and_is_reported(frame: bytes, complaint: str, autojump_clock) -> None:
    async with alone() as (side, feed):
        await feed.send_all(frame)
        await settle()
        assert side.complaints == [complaint]
        assert side.connection.close_reason == complaint


async def test_window_is_counted_over_frames_not_per_frame(autojump_clock) -> None:
    async with alone() as (side, feed):
        await feed.send_all(HEADER.pack(0, WINDOW_UPDATE, SYN, 1, 0))
        for _ in range(4):
            await feed.send_all(HEADER.pack(0, DATA, 0, 1, WINDOW // 4) + bytes(WINDOW // 4))
        await settle()
        assert side.connection.close_reason is None
        await feed.send_all(HEADER.pack(0, DATA, 0, 1, 1) + b"x")
        await settle()
        assert side.complaints == ["window overrun"]
        assert side.budget.total == 0


async def _ping_for_ever(feed: trio.testing.MemorySendStream) -> None:
    while True:
        await feed.send_all(HEADER.pack(0, 2, SYN, 0, 7) * 2000)


async def test_pings_that_are_never_read_end_the_connection(autojump_clock) -> None:
    async with alone() as (side, feed):
        side.channel.frozen = True
        with pytest.raises(trio.BrokenResourceError):
            await _ping_for_ever(feed)
        assert side.complaints == ["answers pile up unread"]


def test_budget_ends_the_largest_holder_when_all_together_are_too_much() -> None:
    class Holder:
        def __init__(self, name: str) -> None:
            self.name = name

        def misbehaved(self, what: str) -> None:
            ended.append(self.name)

    ended: list[str] = []
    budget = ReceiveBudget(connection_limit=100, total_limit=150)
    a, b, c = Holder("a"), Holder("b"), Holder("c")
    budget.hold(a, 90)
    budget.hold(b, 50)
    budget.hold(c, 20)
    assert ended == ["a"]
    budget.release(a)
    assert budget.total == 70
    budget.hold(b, 101)
    assert ended == ["a", "b"]


frames = st.builds(
    lambda version, kind, flags, stream_id, length, body: (
        HEADER.pack(version, kind, flags, stream_id, length) + body[: length if kind == DATA else 0]
    ),
    st.sampled_from([0, 0, 0, 0, 1]),
    st.sampled_from([0, 0, 1, 1, 2, 3, 200]),
    st.integers(0, 15),
    st.sampled_from([0, 1, 1, 2, 3, 5, 2**31]),
    st.sampled_from([0, 1, 5, 1000, WINDOW, WINDOW + 1, 2**32 - 1]),
    st.binary(max_size=20),
)


@settings(max_examples=60)
@given(st.lists(frames, max_size=12), st.integers(1, 40))
def test_any_frames_in_any_pieces_are_served_or_end_the_connection(sent: list[bytes], cut: int) -> None:
    async def run() -> None:
        async with alone() as (side, feed):
            raw = b"".join(sent)
            for start in range(0, len(raw), cut):
                try:
                    await feed.send_all(raw[start : start + cut])
                except trio.BrokenResourceError:
                    break
            await settle()
            for stream in side.streams:
                await stream.close()
            assert side.budget.total == 0
            assert side.open_streams <= MAX_STREAMS

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0.01))
