"""One stream of a multiplexed connection: the `transport.Stream` of real networks (LIBP2P 8 items 3, 5, 8).

Nothing here touches the socket. Writes cut data into frames and hand them to the connection's writer task, so
cancelling a writer can never leave half an encrypted message behind; credit for what was read is returned in halves
of the window.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import trio

from ..transport import PeerId, StreamClosed

if TYPE_CHECKING:
    from .yamux import YamuxConnection

HEADER: Final = struct.Struct("!BBHII")
"""version, type, flags, stream id, length or credit (the yamux specification)."""

DATA: Final = 0
WINDOW_UPDATE: Final = 1
SYN: Final = 1
ACK: Final = 2
FIN: Final = 4
RST: Final = 8

WINDOW: Final = 256 * 1024
"""Bytes a sender may have unread at the receiver: the protocol's initial value, never grown, so memory stays bounded.

At 100 ms round trip it still carries 2.6 MB/s on one stream.
"""

MAX_FRAME_BODY: Final = 16 * 1024
"""Bytes of one stream sent before another gets its turn: 13 ms at 10 Mbit/s."""

WRITE_DEADLINE: Final = 10.0
"""Seconds that one write_all may take before the connection is dropped (LIBP2P 8.3).

The library allows 5 s without any progress; a request or reply has 15 s in all (CHAIN 2.1).
"""

DISCARD_SECONDS: Final = 15.0
"""How long a stream that we closed stays known while the peer has not ended its side: one whole reply time."""


class YamuxStream:
    """A stream. Made by YamuxConnection only."""

    __slots__ = (
        "_buffer",
        "_connection",
        "_ended",
        "_finished",
        "_readers",
        "_remote_finished",
        "_send_window",
        "_uncredited",
        "_writers",
        "discard_until",
        "peer",
        "receive_window",
        "stream_id",
    )

    def __init__(self, connection: YamuxConnection, stream_id: int, peer: PeerId) -> None:
        self.peer = peer
        self.stream_id = stream_id
        self.receive_window = WINDOW
        self.discard_until: float | None = None
        """Time after which a stream that we closed is forgotten; None while we use it."""
        self._connection = connection
        self._buffer = bytearray()
        self._send_window = WINDOW
        self._uncredited = 0
        self._finished = False
        self._remote_finished = False
        self._ended: str | None = None
        """Why neither side can use the stream any more; None while it lives."""
        self._readers = trio.lowlevel.ParkingLot()
        self._writers = trio.lowlevel.ParkingLot()

    # --- what users call --------------------------------------------------------------------------------------------

    async def read_some(self, limit: int) -> bytes:
        """Between 1 and `limit` bytes, b"" at a clean end of file; raises StreamClosed on a reset."""
        while not self._buffer:
            if self._ended is not None:
                raise StreamClosed(self._ended)
            if self._remote_finished:
                return b""
            await self._readers.park()
        data = bytes(self._buffer[:limit])
        del self._buffer[: len(data)]
        self._credit(len(data))
        return data

    async def read_exactly(self, n: int) -> bytes:
        """Exactly n bytes; raises StreamClosed when the stream ends before."""
        if len(self._buffer) >= n:
            return await self.read_some(n) if n > 0 else b""
        data = bytearray()
        while len(data) < n:
            chunk = await self.read_some(n - len(data))
            if not chunk:
                raise StreamClosed(f"the stream ended after {len(data)} of {n} bytes")
            data += chunk
        return bytes(data)

    async def write_all(self, data: bytes) -> None:
        """Send everything, shielded from cancellation, within WRITE_DEADLINE seconds; raises StreamClosed.

        When the deadline passes the peer does not read, and its connection is dropped.
        """
        with trio.CancelScope(shield=True, deadline=trio.current_time() + WRITE_DEADLINE) as scope:
            await self.write(data)
        if scope.cancelled_caught:
            self._connection.abort("write deadline passed")
            raise StreamClosed(f"{len(data)} bytes were not taken within {WRITE_DEADLINE:.0f} s")

    async def write(self, data: bytes) -> None:
        """Send everything; may be cancelled between two frames, which leaves a cut message: reset the stream then."""
        rest = memoryview(data)
        while rest:
            self._check_writable()
            if self._send_window == 0:
                await self._writers.park()
            elif not self._connection.has_room:
                await self._connection.wait_for_room()
            else:
                size = min(len(rest), self._send_window, MAX_FRAME_BODY)
                self._send_window -= size
                self._connection.send(HEADER.pack(0, DATA, 0, self.stream_id, size) + rest[:size])
                rest = rest[size:]
        self._check_writable()
        await trio.lowlevel.checkpoint()

    async def close_write(self) -> None:
        """End our direction; raises StreamClosed when the stream is broken already."""
        if self._ended is not None and not self._finished:
            raise StreamClosed(self._ended)
        self._finish()
        await trio.lowlevel.checkpoint()

    async def close(self) -> None:
        """End both directions. What the peer still sends is thrown away. Never raises."""
        if self._ended is None and self.discard_until is None:
            self._finish()
            self._drop_buffer()
            if self._remote_finished:
                self._end("the stream is closed")
                self._connection.forget(self)
            else:
                # The peer has not ended its side: keep the number reserved so that late data finds its place.
                self.discard_until = trio.current_time() + DISCARD_SECONDS
                self._readers.unpark_all()

    async def reset(self) -> None:
        """Abort both directions. Never raises."""
        self.reset_now()

    def reset_now(self) -> None:
        """Abort both directions, from synchronous code."""
        if self._ended is None:
            self._connection.send(HEADER.pack(0, WINDOW_UPDATE, RST, self.stream_id, 0))
            self._end("the stream was reset")
            self._connection.forget(self)

    # --- what the connection calls ----------------------------------------------------------------------------------

    def take_data(self, data: memoryview) -> None:
        """Bytes arrived. The connection has checked them against the window."""
        if self._ended is not None or self._remote_finished or self.discard_until is not None:
            return
        self._buffer += data
        self._connection.budget.take(self._connection, len(data))
        self._readers.unpark_all()

    def take_credit(self, credit: int) -> None:
        """The peer read something, or opened its window further."""
        # A window beyond 4 GiB means nothing; the cap keeps a hostile sum from growing for ever.
        self._send_window = min(self._send_window + credit, 0xFFFF_FFFF)
        self._writers.unpark_all()

    def take_finish(self) -> None:
        """The peer ended its direction."""
        self._remote_finished = True
        self._readers.unpark_all()
        if self._finished:
            if self.discard_until is not None:
                self._end("the stream is closed")
            # Both directions are over: the number is free, unread bytes stay readable.
            self._connection.forget(self)

    def take_reset(self, why: str) -> None:
        """The peer or the connection aborted the stream."""
        if self._ended is None:
            self._end(why)
            self._connection.forget(self)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _check_writable(self) -> None:
        if self._ended is not None:
            raise StreamClosed(self._ended)
        if self._finished:
            raise StreamClosed("our side of the stream is closed")

    def _finish(self) -> None:
        if not self._finished and self._ended is None:
            self._finished = True
            self._connection.send(HEADER.pack(0, WINDOW_UPDATE, FIN, self.stream_id, 0))
            if self._remote_finished:
                self._connection.forget(self)

    def _credit(self, size: int) -> None:
        self._connection.budget.give(self._connection, size)
        self._uncredited += size
        if self._uncredited * 2 >= WINDOW and not self._remote_finished and self._ended is None:
            self.receive_window += self._uncredited
            self._connection.send(HEADER.pack(0, WINDOW_UPDATE, 0, self.stream_id, self._uncredited))
            self._uncredited = 0

    def _drop_buffer(self) -> None:
        if self._buffer:
            self._connection.budget.give(self._connection, len(self._buffer))
            self._buffer.clear()

    def _end(self, why: str) -> None:
        self._ended = why
        self._drop_buffer()
        self._readers.unpark_all()
        self._writers.unpark_all()
