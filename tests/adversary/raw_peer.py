"""A peer that obeys no rule: a proven identity, and yamux frames written by hand.

It works against any libp2p host that speaks /noise and /yamux/1.0.0, ours and the library's own.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio
from adversary.wire import DATA, FIN, HEADER, RST, SYN, WINDOW_UPDATE, SecureChannel, line, secure
from yumad.protocols.libp2p.addresses import parse_address
from yumad.protocols.libp2p.socket_channel import ChannelClosed, SocketChannel

MESHSUB: Final = "/meshsub/1.1.0"


async def open_socket(address: str) -> trio.SocketStream:
    """A TCP connection to the host and port of a multiaddr."""
    target = parse_address(address)
    return await trio.open_tcp_stream(target.host, target.port)


class RawPeer:
    """One encrypted connection, with frames under our control."""

    def __init__(self, channel: SecureChannel) -> None:
        self._channel = channel
        self._writing = trio.Lock()
        self._next_id = 1
        self.ended = trio.Event()
        """Set once the other side has ended the connection."""
        self.received = bytearray()
        """Payload bytes of all streams, in order of arrival."""
        self.resets = 0
        """Streams that the other side has reset."""

    @property
    def gone(self) -> bool:
        """Whether the connection is over."""
        return self.ended.is_set()

    async def send(self, kind: int, flags: int, stream_id: int, length: int, body: bytes = b"") -> None:
        """Write one frame; `length` need not be true."""
        await self.write(HEADER.pack(0, kind, flags, stream_id, length) + body)

    async def write(self, data: bytes) -> None:
        """Write bytes into the encrypted connection; notices when it is gone."""
        if self.gone:
            return
        try:
            async with self._writing:
                await self._channel.write(data)
        except ChannelClosed:
            self.ended.set()

    def new_id(self) -> int:
        """The next stream number of a dialer."""
        self._next_id += 2
        return self._next_id - 2

    async def open_stream(self, protocol: bytes) -> int:
        """Open a stream and name a protocol, without waiting for an answer."""
        stream_id = self.new_id()
        hello = line(b"/multistream/1.0.0") + line(protocol)
        await self.write(
            HEADER.pack(0, WINDOW_UPDATE, SYN, stream_id, 0) + HEADER.pack(0, DATA, 0, stream_id, len(hello)) + hello
        )
        return stream_id

    async def data(self, stream_id: int, body: bytes) -> None:
        """Send bytes on a stream in one frame, whatever the window says."""
        await self.send(DATA, 0, stream_id, len(body), body)

    async def finish(self, stream_id: int) -> None:
        """End our direction of a stream."""
        await self.send(WINDOW_UPDATE, FIN, stream_id, 0)

    async def reset(self, stream_id: int) -> None:
        """Reset a stream."""
        await self.send(WINDOW_UPDATE, RST, stream_id, 0)

    async def listen(self) -> None:
        """Read and note what comes, giving credit for it, until the connection ends."""
        pending = bytearray()
        while not self.gone:
            try:
                pending += await self._channel.read_chunk()
            except ChannelClosed:
                self.ended.set()
                return
            while len(pending) >= HEADER.size:
                _, kind, flags, stream_id, length = HEADER.unpack_from(pending)
                size = HEADER.size + (length if kind == DATA else 0)
                if len(pending) < size:
                    break
                body = bytes(pending[HEADER.size : size])
                del pending[:size]
                self.received += body
                self.resets += bool(flags & RST)
                if body:
                    await self.send(WINDOW_UPDATE, 0, stream_id, len(body))

    def abort(self) -> None:
        """Cut the connection."""
        self._channel.abort()
        self.ended.set()


@asynccontextmanager
async def raw_peer(address: str, *, seed: bytes | None = None, listening: bool = True) -> AsyncIterator[RawPeer]:
    """Dial with a fresh key, unless a seed is given. With `listening`, answers are read in the background."""
    target = parse_address(address)
    assert target.peer is not None
    channel = SocketChannel(await open_socket(address), is_initiator=True)
    try:
        secured = await secure(channel, seed or os.urandom(32), target.peer)
        peer = RawPeer(secured)
        async with trio.open_nursery() as nursery:
            if listening:
                nursery.start_soon(peer.listen)
            yield peer
            nursery.cancel_scope.cancel()
    finally:
        channel.abort()
