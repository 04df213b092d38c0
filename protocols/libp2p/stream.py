"""The `transport.Stream` of real networks: a library stream with whole writes and one kind of error (LIBP2P 8.3, 8.8).

Reads and writes go to the multiplexer, past py-libp2p's NetStream, whose lock costs each of them a turn of the
scheduler and guards only a state that nobody here asks for. A write is shielded and has a deadline, after which the
connection is dropped; closing and resetting free the slot, also when cancelled.
"""

from __future__ import annotations

from typing import Final

import trio
from libp2p.abc import INetStream
from libp2p.stream_muxer.exceptions import MuxedStreamEOF

from ..transport import PeerId, StreamClosed
from .yamux import HardenedYamux, HardenedYamuxStream

WRITE_DEADLINE: Final = 10.0
"""Seconds that one write_all may take before the connection is dropped (LIBP2P 8.3).

The library allows 5 s without any progress; a request or reply has 15 s in all (CHAIN 2.1).
"""


class LibraryStream:
    """One stream to a peer."""

    def __init__(self, stream: INetStream, peer: PeerId) -> None:
        self.peer = peer
        self.net_stream = stream
        muxed = stream.muxed_stream  # type: ignore[attr-defined]
        assert isinstance(muxed, HardenedYamuxStream)
        self._muxed = muxed
        self._over = False

    @property
    def _connection(self) -> HardenedYamux:
        return self._muxed.connection

    async def read_some(self, limit: int) -> bytes:
        """Between 1 and `limit` bytes, b"" at a clean end of file; raises StreamClosed on a reset."""
        if self._over:
            raise StreamClosed("the stream is closed")
        try:
            return await self._muxed.read(limit)
        except MuxedStreamEOF:
            return b""
        except Exception as error:
            raise StreamClosed(_why(error)) from error

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
        try:
            await self._muxed.write(data)
        except Exception as error:
            raise StreamClosed(_why(error)) from error

    async def close_write(self) -> None:
        """End our direction; raises StreamClosed when the stream is broken already."""
        try:
            with trio.CancelScope(shield=True):
                await self.net_stream.close_write()  # type: ignore[attr-defined]
        except Exception as error:
            raise StreamClosed(_why(error)) from error

    async def close(self) -> None:
        """End both directions. What the peer still sends is thrown away. Never raises."""
        if not self._over:
            self._over = True
            with trio.CancelScope(shield=True):
                try:
                    await self.net_stream.close()
                except Exception as error:
                    self._connection.abort(f"closing a stream failed: {error!r}")
                self._muxed.discard()

    async def reset(self) -> None:
        """Abort both directions. Never raises."""
        self._over = True
        with trio.CancelScope(shield=True):
            await self.net_stream.reset()
        self._connection.forget(self._muxed)


def _why(error: BaseException) -> str:
    cause = error.__cause__
    return str(error) or (str(cause) if cause is not None else "") or "the stream is broken"
