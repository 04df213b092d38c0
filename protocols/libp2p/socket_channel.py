"""A TCP connection under py-libp2p's handshake and session: buffered reads, exact reads, an instant close.

It stands where the library's own `TrioTCPStream` stands, which asks the kernel twice for each Noise message, gives up
on one that arrives in more than a hundred pieces, knows no address of an IPv6 peer, and takes a write to a socket that
we closed for a success.
"""

from __future__ import annotations

from typing import Final

import trio
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import ConnectionClosedError

READ_CHUNK: Final = 65536
"""Bytes asked from the kernel at once: nearly always one full Noise message (65 535) and its length prefix."""


class ChannelClosed(ConnectionClosedError):
    """The TCP connection is gone, or was closed by us. The library takes it for what its own streams raise."""


class SocketChannel(ReadWriteCloser):
    """One TCP connection. One reader and one writer at a time."""

    def __init__(self, stream: trio.SocketStream, *, is_initiator: bool) -> None:
        self.is_initiator = is_initiator
        self._stream = stream
        self._buffer = bytearray()
        self._aborted = False
        self.last_heard: float | None = None
        """When the other side last sent anything: sockets that stay silent are the first to go (LIBP2P 6 row 10)."""
        self.dialed_as = ""
        """Multiaddr that led here, without the peer id; "" for an accepted socket."""
        self._remote = _remote_of(stream)

    async def read(self, n: int | None = None) -> bytes:
        """Exactly n bytes, or any number of at least one when n is None; raises ChannelClosed when it ends before."""
        while not self._buffer or (n is not None and len(self._buffer) < n):
            try:
                chunk = await self._stream.receive_some(READ_CHUNK)
            except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
                raise ChannelClosed(f"connection lost: {error}") from error
            if not chunk:
                raise ChannelClosed("closed by the other side")
            self.last_heard = trio.current_time()
            self._buffer += chunk
        size = len(self._buffer) if n is None else n
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

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
