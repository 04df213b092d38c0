"""Streams of the in-memory network: two bounded pipes, each in order, with the contract of real streams."""

from __future__ import annotations

from typing import Final, Protocol

import trio

from .transport import PeerId, StreamClosed

STREAM_WINDOW: Final = 256 * 1024
"""Bytes on their way or unread in one direction before its writer waits, as on real streams."""

WRITE_DEADLINE: Final = 10.0
"""Seconds after which a write that finds no room drops the connection, as on real streams."""


class Carrier(Protocol):
    """The transport that a stream end belongs to."""

    def carry(self, peer: PeerId, pipe: Pipe, chunk: bytes | None) -> None: ...

    def break_connection(self, peer: PeerId) -> None: ...

    def stream_over(self, stream: MemoryStream) -> None: ...


class Pipe:
    """One direction of a stream."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.in_flight = 0
        self.arrives_at = 0.0
        """When the last chunk sent so far arrives: nothing overtakes it."""
        self.finished = False
        self.ended: str | None = None
        self.readers = trio.lowlevel.ParkingLot()
        self.writers = trio.lowlevel.ParkingLot()

    def arrive(self, chunk: bytes | None) -> None:
        """Bytes, or with None the end, reach the reader."""
        if self.ended is None:
            if chunk is None:
                self.finished = True
            else:
                self.in_flight -= len(chunk)
                self.buffer += chunk
            self.readers.unpark_all()

    def end(self, why: str) -> None:
        """Nothing more goes through."""
        if self.ended is None:
            self.ended = why
            self.buffer.clear()
            self.readers.unpark_all()
            self.writers.unpark_all()


class MemoryStream:
    """One end of a stream."""

    def __init__(self, owner: Carrier, peer: PeerId, incoming: Pipe, outgoing: Pipe) -> None:
        self.peer = peer
        self._owner = owner
        self._in = incoming
        self._out = outgoing
        self._write_closed = False

    async def read_some(self, limit: int) -> bytes:
        """Between 1 and `limit` bytes, b"" at the end; raises StreamClosed on a reset."""
        await trio.lowlevel.checkpoint()
        while not self._in.buffer:
            if self._in.ended is not None:
                raise StreamClosed(self._in.ended)
            if self._in.finished:
                return b""
            await self._in.readers.park()
        data = bytes(self._in.buffer[:limit])
        del self._in.buffer[: len(data)]
        self._in.writers.unpark_all()
        return data

    async def read_exactly(self, n: int) -> bytes:
        """Exactly n bytes; raises StreamClosed when the stream ends before."""
        data = bytearray()
        while len(data) < n:
            chunk = await self.read_some(n - len(data))
            if not chunk:
                raise StreamClosed(f"the stream ended after {len(data)} of {n} bytes")
            data += chunk
        return bytes(data)

    async def write_all(self, data: bytes) -> None:
        """Send everything, shielded, with a deadline after which the connection is dropped; raises StreamClosed."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + WRITE_DEADLINE) as scope:
            await self.write(data)
        if scope.cancelled_caught:
            self._owner.break_connection(self.peer)
            raise StreamClosed(f"{len(data)} bytes were not taken within {WRITE_DEADLINE:.0f} s")

    async def write(self, data: bytes) -> None:
        """Send everything; may be cancelled in the middle. Raises StreamClosed."""
        await trio.lowlevel.checkpoint()
        rest = data
        while rest:
            self._check_writable()
            room = STREAM_WINDOW - len(self._out.buffer) - self._out.in_flight
            if room <= 0:
                await self._out.writers.park()
                continue
            chunk, rest = rest[:room], rest[room:]
            self._owner.carry(self.peer, self._out, chunk)
        self._check_writable()

    def _check_writable(self) -> None:
        if self._out.ended is not None:
            raise StreamClosed(self._out.ended)
        if self._write_closed:
            raise StreamClosed("our side of the stream is closed")

    async def close_write(self) -> None:
        """End our direction; raises StreamClosed."""
        await trio.lowlevel.checkpoint()
        if self._out.ended is not None and not self._write_closed:
            raise StreamClosed(self._out.ended)
        self._finish()

    def _finish(self) -> None:
        if not self._write_closed and self._out.ended is None:
            self._write_closed = True
            self._owner.carry(self.peer, self._out, None)

    async def close(self) -> None:
        """End both directions. Never raises."""
        self._finish()
        self._in.end("the stream is closed")
        self._owner.stream_over(self)

    async def reset(self) -> None:
        """Abort both directions. Never raises."""
        self.abort("the stream was reset")

    def abort(self, why: str) -> None:
        """Abort both directions, from synchronous code."""
        self._in.end(why)
        if not (self._write_closed and self._out.finished):
            self._out.end(why)
        self._owner.stream_over(self)
