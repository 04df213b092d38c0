"""A TCP connection as the handshake and the multiplexer want it: buffered reads, whole writes, an instant close.

The surface (`read`, `write`, `close`, `is_initiator`, `get_remote_address`) is the one py-libp2p's handshake calls.
"""

from __future__ import annotations

from typing import Final

import trio

READ_CHUNK: Final = 65536
"""Bytes asked from the kernel at once: nearly always one full Noise message (65 535) and its length prefix."""


class ChannelClosed(Exception):
    """The TCP connection is gone, or was closed by us."""


class SocketChannel:
    """One TCP connection. One reader and one writer at a time."""

    def __init__(self, stream: trio.SocketStream, *, is_initiator: bool) -> None:
        self.is_initiator = is_initiator
        self._stream = stream
        self._buffer = bytearray()
        self._aborted = False
        self.last_heard: float | None = None
        """When the other side last sent anything: sockets that stay silent are the first to go (LIBP2P 6 row 10)."""
        self._remote = _remote_of(stream)

    async def read(self, n: int | None = None) -> bytes:
        """Between 1 and n bytes (any number when None); raises ChannelClosed at the end."""
        if not self._buffer:
            try:
                chunk = await self._stream.receive_some(READ_CHUNK)
            except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
                raise ChannelClosed(f"connection lost: {error}") from error
            if not chunk:
                raise ChannelClosed("closed by the other side")
            self.last_heard = trio.current_time()
            if n is None or len(chunk) <= n:
                return bytes(chunk)
            self._buffer += chunk
        size = len(self._buffer) if n is None else min(n, len(self._buffer))
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    async def read_exactly(self, n: int) -> bytes:
        """Exactly n bytes; raises ChannelClosed when the connection ends before."""
        data = bytearray()
        while len(data) < n:
            data += await self.read(n - len(data))
        return bytes(data)

    async def write(self, data: bytes) -> None:
        """Send everything; raises ChannelClosed. Cancelling it leaves the connection unusable: abort it then."""
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
            raise ChannelClosed(f"connection lost: {error}") from error

    async def close(self) -> None:
        """Close the socket; may be called twice."""
        self.abort()

    def abort(self) -> None:
        """Close the socket at once, from any task. Pending reads and writes raise ChannelClosed."""
        if not self._aborted:
            self._aborted = True
            self._buffer.clear()
            self._stream.socket.close()

    def get_remote_address(self) -> tuple[str, int] | None:
        """(host, port) of the other side, None when the socket was gone before we could ask."""
        return self._remote


def _remote_of(stream: trio.SocketStream) -> tuple[str, int] | None:
    try:
        name = stream.socket.getpeername()
    except OSError:
        return None
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else None
