"""Many streams over one encrypted connection: /yamux/1.0.0, written for hostile peers (LIBP2P 8.5).

What the library's multiplexer lacks and this one has:

* one task writes to the socket, so no cancelled writer can cut an encrypted message (LIBP2P 8.3);
* data beyond the window that we granted ends the connection, before it is stored;
* at most MAX_STREAMS streams each way; more are reset, and a flood of them ends the connection;
* opening a stream past the cap fails at once instead of waiting for ever;
* credit is returned in halves of the window, not with each small read;
* writers are woken by events, not by polling; a silent connection is pinged and dropped.

`run` returns when the connection is over and never raises an Exception. `close_reason` says why it ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from ..transport import StreamRefused
from .handshake import SecureChannel
from .receive_budget import ReceiveBudget
from .socket_channel import ChannelClosed
from .yamux_stream import ACK, FIN, HEADER, RST, SYN, WINDOW, WINDOW_UPDATE, YamuxStream

YAMUX: Final = "/yamux/1.0.0"

PING: Final = 2
GO_AWAY: Final = 3

MAX_STREAMS: Final = 256
"""Streams each side may have open on a connection, as in LIBP2P 3 (hardened: 12 000 SYNs cost 3 MB)."""

MAX_REFUSED_STREAMS: Final = 1024
"""Streams beyond a cap that are answered with a reset; a peer that opens more has no use for streams."""

SEND_ROOM: Final = 256 * 1024
"""Queued bytes above which stream writers wait: one window, so that one writer can fill a link and not the memory."""

SEND_LIMIT: Final = 1 << 20
"""Queued bytes at which the connection ends: answers (resets, credit, pings) that the peer provokes but never reads."""

BATCH: Final = 60_000
"""Bytes handed to the cipher at once: many small frames share one Noise message (at most 65 519)."""

WRITE_STALL: Final = 15.0
"""Seconds one batch may wait for the socket. 60 kB in 15 s is 4 kB/s; slower peers are of no use."""

IDLE_BEFORE_PING: Final = 10.0
"""Seconds of silence after which the peer is asked for a sign of life."""

PING_TIMEOUT: Final = 10.0
"""Seconds it has to answer. A frozen peer is gone after 21 s; a loaded two-core machine answers within 5 (LIBP2P 3)."""

GOODBYE_SECONDS: Final = 0.5
"""How long `close` waits for queued frames to leave."""


class YamuxConnection:
    """One multiplexed connection to one peer."""

    def __init__(
        self,
        channel: SecureChannel,
        *,
        on_stream: Callable[[YamuxStream], None],
        budget: ReceiveBudget,
        on_misbehaviour: Callable[[str], None],
    ) -> None:
        self.peer = channel.peer
        self.budget = budget
        self.closed = trio.Event()
        self.close_reason: str | None = None
        self._channel = channel
        self._on_stream = on_stream
        self._on_misbehaviour = on_misbehaviour
        # Dialers use odd stream numbers, the other side even ones.
        self._own_parity = 1 if channel.is_initiator else 0
        self._next_id = 1 if channel.is_initiator else 2
        self._streams: dict[int, YamuxStream] = {}
        self._own_open = 0
        self._refused = 0
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._sender = trio.lowlevel.ParkingLot()
        self._room = trio.lowlevel.ParkingLot()
        self._scope = trio.CancelScope()
        self._inbox = bytearray()
        self._body_left = 0
        self._body_stream: YamuxStream | None = None
        self._body_flags = 0
        self._last_heard = trio.current_time()

    # --- life -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the connection until it ends. Cancelling it ends the connection."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._guarded, self._read_loop)
                    nursery.start_soon(self._guarded, self._write_loop)
                    nursery.start_soon(self._guarded, self._keepalive_loop)
        finally:
            self.abort("closed by us")

    def abort(self, reason: str) -> None:
        """End the connection at once; the first reason stands. Safe from any task."""
        if self.close_reason is not None:
            return
        self.close_reason = reason
        self._channel.abort()
        for stream in list(self._streams.values()):
            stream.take_reset(f"connection lost: {reason}")
        self.budget.release(self)
        self._queue.clear()
        self._queued = 0
        self._inbox.clear()
        self._room.unpark_all()
        self._scope.cancel()
        self.closed.set()

    async def close(self) -> None:
        """Say goodbye, let queued frames leave for a moment, end the connection. Never raises."""
        if self.close_reason is None:
            self.send(HEADER.pack(0, GO_AWAY, 0, 0, 0))
            with trio.move_on_after(GOODBYE_SECONDS):
                while self._queued:
                    await self._room.park()
        self.abort("closed by us")

    def misbehaved(self, what: str) -> None:
        """The peer broke the protocol: report it and end the connection."""
        if self.close_reason is None:
            self._on_misbehaviour(what)
            self.abort(what)

    # --- streams ----------------------------------------------------------------------------------------------------

    @property
    def open_streams(self) -> int:
        """Streams open now, both directions."""
        return len(self._streams)

    def open_stream(self) -> YamuxStream:
        """Open a stream; the peer hears of it with the next batch. Raises StreamRefused at the cap or when closed."""
        if self.close_reason is not None:
            raise StreamRefused(f"connection lost: {self.close_reason}")
        if self._own_open >= MAX_STREAMS or self._next_id > 0xFFFF_FFF0:
            raise StreamRefused(f"{self._own_open} streams to {self.peer} are open already, {MAX_STREAMS} is the cap")
        stream = YamuxStream(self, self._next_id, self.peer)
        self._next_id += 2
        self._own_open += 1
        self._streams[stream.stream_id] = stream
        self.send(HEADER.pack(0, WINDOW_UPDATE, SYN, stream.stream_id, 0))
        return stream

    def refuse(self, stream: YamuxStream) -> None:
        """Reset an inbound stream that nobody will serve; a flood of them ends the connection."""
        stream.reset_now()
        self._count_refused()

    def _count_refused(self) -> None:
        self._refused += 1
        if self._refused > MAX_REFUSED_STREAMS:
            self.misbehaved("stream flood")

    def forget(self, stream: YamuxStream) -> None:
        """Both sides are done with the stream, or one has aborted it: its slot is free."""
        if self._streams.pop(stream.stream_id, None) is not None and stream.stream_id & 1 == self._own_parity:
            self._own_open -= 1

    # --- sending ----------------------------------------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        """Whether stream data may be queued now."""
        return self._queued < SEND_ROOM

    async def wait_for_room(self) -> None:
        """Wait until some queued data has left, or the connection is over."""
        await self._room.park()

    def send(self, frame: bytes) -> None:
        """Queue one frame. Dropped when the connection is over."""
        if self.close_reason is not None:
            return
        self._queue.append(frame)
        self._queued += len(frame)
        self._sender.unpark()
        if self._queued > SEND_LIMIT:
            self.misbehaved("answers pile up unread")

    async def _write_loop(self) -> None:
        while True:
            while not self._queue:
                await self._sender.park()
            batch = bytearray()
            while self._queue and len(batch) + len(self._queue[0]) <= BATCH:
                batch += self._queue.popleft()
            with trio.move_on_after(WRITE_STALL) as scope:
                await self._channel.write(bytes(batch))
            if scope.cancelled_caught:
                self.abort("peer does not read")
                return
            self._queued -= len(batch)
            self._room.unpark_all()

    async def _keepalive_loop(self) -> None:
        while True:
            await trio.sleep(IDLE_BEFORE_PING / 2)
            self._sweep()
            quiet = trio.current_time() - self._last_heard
            if quiet < IDLE_BEFORE_PING:
                continue
            asked = trio.current_time()
            self.send(HEADER.pack(0, PING, SYN, 0, int(asked) & 0xFFFF_FFFF))
            await trio.sleep(PING_TIMEOUT)
            # One more second: after a stall of our own process its answer may lie unread in the socket.
            await trio.sleep(1.0)
            self._sweep()
            if self._last_heard < asked:
                self.abort("no sign of life")
                return

    def _sweep(self) -> None:
        now = trio.current_time()
        for stream in list(self._streams.values()):
            if stream.discard_until is not None and stream.discard_until <= now:
                stream.reset_now()

    # --- receiving --------------------------------------------------------------------------------------------------

    async def _read_loop(self) -> None:
        while self.close_reason is None:
            chunk = await self._channel.read_chunk()
            self._last_heard = trio.current_time()
            self._take_chunk(chunk)

    def _take_chunk(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        while len(view) and self.close_reason is None:
            if self._body_left:
                body = view[: self._body_left]
                self._body_left -= len(body)
                view = view[len(body) :]
                if self._body_stream is not None:
                    self._body_stream.take_data(body)
                if self._body_left == 0:
                    self._end_of_frame()
                continue
            wanted = HEADER.size - len(self._inbox)
            self._inbox += view[:wanted]
            view = view[wanted:]
            if len(self._inbox) == HEADER.size:
                version, kind, flags, stream_id, length = HEADER.unpack(self._inbox)
                self._inbox.clear()
                self._take_header(version, kind, flags, stream_id, length)

    def _take_header(self, version: int, kind: int, flags: int, stream_id: int, length: int) -> None:
        if version != 0 or kind > GO_AWAY:
            self.misbehaved("frame of unknown version or type")
        elif kind == PING:
            if flags & SYN:
                self.send(HEADER.pack(0, PING, ACK, 0, length))
        elif kind == GO_AWAY:
            self.abort("closed by the peer")
        elif stream_id == 0:
            self.misbehaved("stream frame without a stream")
        else:
            self._take_stream_frame(kind, flags, stream_id, length)

    def _take_stream_frame(self, kind: int, flags: int, stream_id: int, length: int) -> None:
        stream = self._streams.get(stream_id)
        if flags & SYN:
            stream = self._take_syn(stream, stream_id)
            if self.close_reason is not None:
                return
        if kind == WINDOW_UPDATE:
            if stream is not None:
                if length:
                    stream.take_credit(length)
                self._take_flags(stream, flags)
            return
        # A stream we no longer know may still have one window of data on its way to us.
        if length > (WINDOW if stream is None else stream.receive_window):
            self.misbehaved("window overrun")
            return
        if stream is not None:
            stream.receive_window -= length
        self._body_left, self._body_stream, self._body_flags = length, stream, flags
        if length == 0:
            self._end_of_frame()

    def _end_of_frame(self) -> None:
        stream, self._body_stream = self._body_stream, None
        if stream is not None:
            self._take_flags(stream, self._body_flags)

    def _take_flags(self, stream: YamuxStream, flags: int) -> None:
        if flags & RST:
            stream.take_reset("the stream was reset by the peer")
        elif flags & FIN:
            stream.take_finish()

    def _take_syn(self, known: YamuxStream | None, stream_id: int) -> YamuxStream | None:
        if known is not None or stream_id & 1 == self._own_parity:
            self.misbehaved("stream number taken")
            return None
        if len(self._streams) - self._own_open >= MAX_STREAMS:
            self.send(HEADER.pack(0, WINDOW_UPDATE, RST, stream_id, 0))
            self._count_refused()
            return None
        stream = YamuxStream(self, stream_id, self.peer)
        self._streams[stream_id] = stream
        self.send(HEADER.pack(0, WINDOW_UPDATE, ACK, stream_id, 0))
        self._on_stream(stream)
        return stream

    async def _guarded(self, loop: Callable[[], object]) -> None:
        """Run one of the loops; whatever it raises ends this connection and nothing else."""
        try:
            await loop()  # type: ignore[misc]
        except ChannelClosed as error:
            self.abort(str(error))
        except Exception as error:
            self.abort(f"multiplexer failed: {error!r}")
        else:
            self.abort("closed")
