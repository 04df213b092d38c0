"""py-libp2p's yamux for hostile peers (LIBP2P 6 rows 8, 9, 11; 8 items 3 and 5).

Frame handling is the library's. What it lacks is added around it:

* a gate sees each header before the library does: data beyond the window that we granted, a taken stream number, an
  unknown frame end the connection; streams past MAX_STREAMS are reset, a flood of them ends it;
* one task writes to the socket, many frames in one Noise message. No cancelled writer can cut an encrypted message, and
  what the read loop answers (ACK, RST, pong) cannot block it;
* opening a stream past the cap fails at once instead of waiting for ever, and cannot leak its slot;
* credit is returned in halves of the window, not with each small read; writers are woken, not polling;
* a silent connection is pinged and dropped; the library measures and waits for ever.

`start` returns when the connection is over and never raises an Exception. `close_reason` says why it ended.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import trio
from libp2p.abc import ISecureConn
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import MuxedStreamEOF, MuxedStreamError, MuxedStreamReset
from libp2p.stream_muxer.yamux.yamux import (
    DEFAULT_WINDOW_SIZE,
    FLAG_ACK,
    FLAG_FIN,
    FLAG_RST,
    FLAG_SYN,
    GO_AWAY_NORMAL,
    HEADER_SIZE,
    TYPE_DATA,
    TYPE_GO_AWAY,
    TYPE_PING,
    TYPE_WINDOW_UPDATE,
    YAMUX_HEADER_FORMAT,
    Yamux,
    YamuxStream,
)

from .receive_budget import ReceiveBudget
from .socket_channel import ChannelClosed, SocketChannel

HEADER: Final = struct.Struct(YAMUX_HEADER_FORMAT)
WINDOW: Final = DEFAULT_WINDOW_SIZE
MAX_STREAMS: Final = 256
"""Streams each side may have open on a connection, as in LIBP2P 3 (hardened: 12 000 SYNs cost 3 MB)."""

MAX_REFUSED_STREAMS: Final = 1024
"""Streams beyond a cap that are answered with a reset; a peer that opens more has no use for streams."""

MAX_UNNAMED_STREAMS: Final = 32
"""Inbound streams of one connection that have not named a protocol yet; honest dialers name it in the first message."""

SEND_ROOM: Final = 256 * 1024
"""Queued bytes above which stream writers wait: one window, so that one writer can fill a link and not the memory."""

SEND_LIMIT: Final = 1 << 20
"""Queued bytes at which the connection ends: answers (resets, credit, pings) that the peer provokes but never reads."""

BATCH: Final = 60_000
"""Bytes handed to the cipher at once: many small frames share one Noise message (at most 65 519)."""

MAX_FRAME_BODY: Final = BATCH - HEADER_SIZE
"""Body bytes of one of our frames: each costs the receiver's frame loop the same, whatever its size."""

WRITE_STALL: Final = 15.0
"""Seconds one batch may wait for the socket. 60 kB in 15 s is 4 kB/s; slower peers are of no use."""

IDLE_BEFORE_PING: Final = 10.0
"""Seconds of silence after which the peer is asked for a sign of life."""

PING_TIMEOUT: Final = 10.0
"""Seconds it has to answer. A frozen peer is gone after 21 s; a loaded two-core machine answers within 5 (LIBP2P 3)."""

GOODBYE_SECONDS: Final = 0.5
"""How long `close` waits for queued frames to leave."""

DISCARD_SECONDS: Final = 15.0
"""How long a stream that we closed stays known while the peer has not ended its side: one whole reply time."""

_NO_STREAM: Final = 0
"""A stream number that never exists: the library reads the body of such a frame and throws it away."""


class HardenedYamuxStream(YamuxStream):
    """One stream. Reading and writing are ours, opening, ends and the window's bookkeeping the library's."""

    def __init__(self, stream_id: int, conn: HardenedYamux, is_initiator: bool) -> None:
        self._writers = trio.lowlevel.ParkingLot()
        self._send_window = 0
        self._closed = False
        self._uncredited = 0
        self.discard_until: float | None = None
        """Time after which a stream that we closed is forgotten; None while we use it."""
        super().__init__(stream_id, conn, is_initiator)
        self.connection = conn

    # The library assigns these two as its frames arrive; whoever waits for them is woken here.

    @property
    def send_window(self) -> int:
        """Bytes that the peer is ready to take."""
        return self._send_window

    @send_window.setter
    def send_window(self, value: int) -> None:
        # A window beyond 4 GiB means nothing; the cap keeps a hostile sum from growing for ever.
        self._send_window = min(value, 0xFFFF_FFFF)
        self._writers.unpark_all()

    @property
    def closed(self) -> bool:
        """Whether both directions are over."""
        return self._closed

    @closed.setter
    def closed(self, value: bool) -> None:
        self._closed = value
        self._writers.unpark_all()

    async def read(self, n: int | None = -1) -> bytes:
        """Up to n bytes (all there are when -1), at least one; raises MuxedStreamEOF or MuxedStreamReset."""
        limit = WINDOW if n is None or n < 0 else n
        connection = self.connection
        while True:
            if self.reset_received:
                raise MuxedStreamReset(connection.close_reason or "the stream was reset")
            buffer = connection.stream_buffers.get(self.stream_id)
            if buffer:
                if len(buffer) <= limit:
                    data = bytes(buffer)
                    buffer.clear()
                else:
                    data = bytes(memoryview(buffer)[:limit])
                    del buffer[:limit]
                self._credit(len(data))
                if self._closed and not buffer:
                    connection.forget(self)
                return data
            if self.recv_closed or buffer is None or self.discard_until is not None:
                raise MuxedStreamEOF("the peer has ended the stream")
            event = connection.stream_events[self.stream_id]
            await event.wait()
            if connection.stream_events.get(self.stream_id) is event:
                connection.stream_events[self.stream_id] = trio.Event()

    async def write(self, data: bytes) -> None:
        """Send everything; may be cancelled between two frames, which leaves a cut message: reset the stream then."""
        rest = memoryview(data)
        while rest:
            if self._closed or self.reset_received or self.send_closed:
                raise MuxedStreamReset(self.connection.close_reason or "the stream is closed for writing")
            if self._send_window == 0:
                await self._writers.park()
                continue
            size = min(len(rest), self._send_window, MAX_FRAME_BODY)
            self._send_window -= size
            frame = HEADER.pack(0, TYPE_DATA, 0, self.stream_id, size) + rest[:size]
            rest = rest[size:]
            await self.connection._write_frame(frame)

    def discard(self) -> None:
        """Both directions are over for us: throw away what was not read, and what the peer still sends."""
        self.connection.drop_unread(self)
        if self.recv_closed or self.reset_received:
            self.connection.forget(self)
        elif self.discard_until is None:
            # The peer has not ended its side: keep the number reserved so that late data finds its place.
            self.discard_until = trio.current_time() + DISCARD_SECONDS
            self.connection.wake(self)

    def _credit(self, size: int) -> None:
        self.connection.recount()
        self._uncredited += size
        if self._uncredited * 2 >= WINDOW and not self.recv_closed:
            self.recv_window += self._uncredited
            self.connection.send(HEADER.pack(0, TYPE_WINDOW_UPDATE, 0, self.stream_id, self._uncredited))
            self._uncredited = 0


class _Gate:
    """Stands between the encrypted session and the library's frame loop, and reads each header first."""

    def __init__(self, connection: HardenedYamux, session: ISecureConn) -> None:
        self._connection = connection
        self._session = session
        self._body = 0
        self.is_initiator = session.is_initiator
        self.write = session.write
        self.close = session.close
        self.get_remote_address = session.get_remote_address
        self.get_transport_addresses = session.get_transport_addresses
        self.get_connection_type = session.get_connection_type

    async def read(self, n: int | None = None) -> bytes:
        """A whole admitted header, or a piece of the body that it announced; raises ChannelClosed."""
        if self._body:
            data: bytes = await self._session.read(self._body if n is None else min(n, self._body))
            self._body -= len(data)
            return data
        while True:
            header = await self._session.read(HEADER_SIZE)
            if len(header) < HEADER_SIZE:
                raise ChannelClosed("the connection ended inside a frame")
            admitted, self._body = await self._connection.admit(*HEADER.unpack(header))
            if self._connection.close_reason is not None:
                raise ChannelClosed(self._connection.close_reason)
            if admitted is not None:
                return admitted


class HardenedYamux(Yamux):
    """One multiplexed connection to one peer."""

    def __init__(
        self,
        session: ISecureConn,
        peer_id: ID,
        channel: SocketChannel,
        *,
        budget: ReceiveBudget,
        on_misbehaviour: Callable[[str], None],
    ) -> None:
        super().__init__(_Gate(self, session), peer_id, is_initiator=session.is_initiator)  # type: ignore[arg-type]
        self.channel = channel
        self.budget = budget
        self.ended = trio.Event()
        self.close_reason: str | None = None
        self.unnamed_streams = 0
        """Inbound streams that have not named a protocol yet; the host counts them down."""
        self._on_misbehaviour = on_misbehaviour
        self._own_parity = 1 if session.is_initiator else 0
        self._refused = 0
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._sender = trio.lowlevel.ParkingLot()
        self._room = trio.lowlevel.ParkingLot()

    # --- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Serve the connection until it ends. Cancelling it ends the connection."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write_loop)
                await super().start()
                nursery.cancel_scope.cancel()
        except Exception as error:
            self.abort(f"multiplexer failed: {error!r}")
        finally:
            self.abort("closed")
            # The library waits for it without an end, and may have been ended before it could say so.
            self.event_started.set()

    def abort(self, reason: str) -> None:
        """End the connection at once; the first reason stands. Safe from any task."""
        if self.close_reason is not None:
            return
        self.close_reason = reason
        self.event_shutting_down.set()
        self.channel.abort()
        self.new_stream_send_channel.close()
        for stream in list(self.streams.values()):
            stream.send_closed = stream.recv_closed = stream.reset_received = True
            stream.closed = True
            self.wake(stream)
        self.streams.clear()
        self.stream_buffers.clear()
        self.stream_events.clear()
        self.budget.release(self)
        self._queue.clear()
        self._queued = 0
        self._room.unpark_all()
        self.event_closed.set()
        self.ended.set()

    async def close(self, error_code: int = GO_AWAY_NORMAL) -> None:
        """Say goodbye, let queued frames leave for a moment, end the connection. Never raises."""
        if self.close_reason is None:
            self.send(HEADER.pack(0, TYPE_GO_AWAY, 0, 0, error_code))
            with trio.move_on_after(GOODBYE_SECONDS):
                while self._queued:
                    await self._room.park()
        self.abort("closed by us")

    async def _cleanup_on_error(self) -> None:
        # The library closes in several awaits here, any of which may be cancelled half way.
        self.abort("connection lost")

    def misbehaved(self, what: str) -> None:
        """The peer broke the protocol: report it and end the connection."""
        if self.close_reason is None:
            self._on_misbehaviour(what)
            self.abort(what)

    # --- streams ----------------------------------------------------------------------------------------------------

    async def open_stream(self) -> YamuxStream:
        """Open a stream; the peer hears of it with the next batch. Raises MuxedStreamError at the cap or when over.

        Nothing is awaited: the library waits for a slot for ever here, and loses it when cancelled.
        """
        if self.close_reason is not None:
            raise MuxedStreamError(f"connection lost: {self.close_reason}")
        own = self._count(self._own_parity)
        if own >= MAX_STREAMS or self.next_stream_id > 0xFFFF_FFF0:
            raise MuxedStreamError(f"{own} streams to {self.peer_id} are open already, {MAX_STREAMS} is the cap")
        stream = self._add_stream(self.next_stream_id, is_initiator=True)
        self.next_stream_id += 2
        self.send(HEADER.pack(0, TYPE_WINDOW_UPDATE, FLAG_SYN, stream.stream_id, 0))
        return stream

    def reset_now(self, stream: YamuxStream) -> None:
        """Abort a stream from synchronous code."""
        if self.streams.get(stream.stream_id) is stream:
            self.send(HEADER.pack(0, TYPE_WINDOW_UPDATE, FLAG_RST, stream.stream_id, 0))
        stream.send_closed = stream.recv_closed = stream.reset_received = True
        stream.closed = True
        self.wake(stream)
        self.forget(stream)

    def wake(self, stream: YamuxStream) -> None:
        """Let a reader look at the state of its stream again."""
        event = self.stream_events.get(stream.stream_id)
        if event is not None:
            event.set()

    def drop_unread(self, stream: YamuxStream) -> None:
        """Throw away what nobody will read."""
        buffer = self.stream_buffers.get(stream.stream_id)
        if buffer and self.streams.get(stream.stream_id) is stream:
            buffer.clear()
        self.recount()

    def recount(self, arriving: int = 0) -> None:
        """Tell the budget what is unread, counted and not added up: a frame may be cut off, a stream go meanwhile."""
        if self.close_reason is None:
            self.budget.hold(self, sum(map(len, self.stream_buffers.values())) + arriving)

    def forget(self, stream: YamuxStream) -> None:
        """Both sides are done with the stream, or one has aborted it: its slot is free."""
        if self.streams.get(stream.stream_id) is stream:
            self.drop_unread(stream)
            self.wake(stream)
            del self.streams[stream.stream_id]
            del self.stream_buffers[stream.stream_id]
            del self.stream_events[stream.stream_id]

    def _add_stream(self, stream_id: int, *, is_initiator: bool) -> HardenedYamuxStream:
        stream = HardenedYamuxStream(stream_id, self, is_initiator)
        self.streams[stream_id] = stream
        self.stream_buffers[stream_id] = bytearray()
        self.stream_events[stream_id] = trio.Event()
        return stream

    def _count(self, parity: int) -> int:
        return sum(stream_id & 1 == parity for stream_id in self.streams)

    def _count_refused(self) -> None:
        self._refused += 1
        if self._refused > MAX_REFUSED_STREAMS:
            self.misbehaved("stream flood")

    # --- receiving --------------------------------------------------------------------------------------------------

    async def admit(self, version: int, kind: int, flags: int, stream_id: int, length: int) -> tuple[bytes | None, int]:
        """Judge one header. (header for the library or None to skip the frame, body bytes that follow)."""
        if version != 0 or kind > TYPE_GO_AWAY:
            self.misbehaved("frame of unknown version or type")
            return None, 0
        if kind in (TYPE_PING, TYPE_GO_AWAY):
            if kind == TYPE_GO_AWAY:
                self.abort("closed by the peer")
            return HEADER.pack(version, kind, flags, stream_id, length), 0
        if stream_id == _NO_STREAM:
            self.misbehaved("stream frame without a stream")
            return None, 0
        body = length if kind == TYPE_DATA else 0
        if flags & FLAG_SYN and not await self._take_syn(stream_id) and not body:
            return None, 0
        stream = self.streams.get(stream_id)
        # A stream we no longer know may still have one window of data on its way to us.
        if body > (WINDOW if stream is None else stream.recv_window):
            self.misbehaved("window overrun")
            return None, 0
        if isinstance(stream, HardenedYamuxStream) and body:
            if stream.discard_until is not None or stream.recv_closed:
                if flags & (FLAG_FIN | FLAG_RST):
                    self.forget(stream)
                return HEADER.pack(version, kind, 0, _NO_STREAM, length), body
            self.recount(body)
        # The stream is known to the library by now: it must not open or acknowledge it once more.
        return HEADER.pack(version, kind, flags & ~(FLAG_SYN | FLAG_ACK), stream_id, length), body

    async def _take_syn(self, stream_id: int) -> bool:
        """Whether the stream was opened."""
        if stream_id in self.streams or stream_id & 1 == self._own_parity:
            self.misbehaved("stream number taken")
        elif self.unnamed_streams >= MAX_UNNAMED_STREAMS or self._count(1 - self._own_parity) >= MAX_STREAMS:
            self.send(HEADER.pack(0, TYPE_WINDOW_UPDATE, FLAG_RST, stream_id, 0))
            self._count_refused()
        else:
            self.unnamed_streams += 1
            stream = self._add_stream(stream_id, is_initiator=False)
            self.send(HEADER.pack(0, TYPE_WINDOW_UPDATE, FLAG_ACK, stream_id, 0))
            await self.new_stream_send_channel.send(stream)
            return True
        return False

    def _finalize_stream_locked(self, stream: YamuxStream, *, fully_closed: bool) -> None:
        """Called by the library once a stream is over: unread bytes stay readable, unless it was reset."""
        if stream.reset_received or (
            isinstance(stream, HardenedYamuxStream) and stream.discard_until is not None and fully_closed
        ):
            self.forget(stream)
        else:
            super()._finalize_stream_locked(stream, fully_closed=fully_closed)

    # --- sending ----------------------------------------------------------------------------------------------------

    def send(self, frame: bytes) -> None:
        """Queue one frame. Dropped when the connection is over."""
        if self.close_reason is not None:
            return
        self._queue.append(frame)
        self._queued += len(frame)
        self._sender.unpark()
        if self._queued > SEND_LIMIT:
            self.misbehaved("answers pile up unread")

    async def _write_frame(self, data: bytes) -> None:
        """Queue one frame of the library's or of a stream's; those with a body wait for room."""
        if len(data) > HEADER_SIZE:
            while self._queued >= SEND_ROOM and self.close_reason is None:
                await self._room.park()
        if self.close_reason is not None:
            raise ChannelClosed(f"connection lost: {self.close_reason}")
        self.send(data)
        await trio.lowlevel.checkpoint()

    async def _write_loop(self) -> None:
        while True:
            while not self._queue:
                await self._sender.park()
            batch = bytearray()
            while self._queue and len(batch) + len(self._queue[0]) <= BATCH:
                batch += self._queue.popleft()
            with trio.move_on_after(WRITE_STALL) as scope:
                try:
                    await self.secured_conn.write(bytes(batch))
                except Exception as error:
                    self.abort(str(error))
                    return
            if scope.cancelled_caught:
                self.abort("peer does not read")
                return
            self._queued -= len(batch)
            self._room.unpark_all()

    # --- upkeep, in the places of the library's two loops -----------------------------------------------------------

    async def _measure_rtt_loop(self) -> None:
        """Ask a silent peer for a sign of life, and end the connection when none comes."""
        opened = trio.current_time()
        while True:
            await trio.sleep(IDLE_BEFORE_PING / 2)
            self._sweep_stale_streams()
            if trio.current_time() - (self.channel.last_heard or opened) < IDLE_BEFORE_PING:
                continue
            asked = self._ping_sent_time = trio.current_time()
            self._ping_id = (self._ping_id + 1) & 0xFFFF_FFFF
            self.send(HEADER.pack(0, TYPE_PING, FLAG_SYN, 0, self._ping_id))
            await trio.sleep(PING_TIMEOUT)
            # One more second: after a stall of our own process its answer may lie unread in the socket.
            await trio.sleep(1.0)
            self._sweep_stale_streams()
            if (self.channel.last_heard or opened) < asked:
                self.abort("no sign of life")
                return

    async def _stale_stream_sweeper(self) -> None:
        return

    def _sweep_stale_streams(self, now: float | None = None) -> int:
        """Give up streams that we closed and whose peer never ended its side; how many."""
        now = trio.current_time() if now is None else now
        stale: list[Any] = [
            stream
            for stream in self.streams.values()
            if isinstance(stream, HardenedYamuxStream)
            and stream.discard_until is not None
            and stream.discard_until <= now
        ]
        for stream in stale:
            self.reset_now(stream)
        return len(stale)
