"""From a TCP connection to an encrypted one whose peer id is proven: /noise, nothing else (LIBP2P 6 row 7, 7).

The handshake and the session are py-libp2p's. It is offered no TLS, no secio and above all no plaintext, which the
library's defaults accept. Everything it raises leaves here as HandshakeFailed.
"""

from __future__ import annotations

import logging
from typing import Final

from libp2p.abc import ISecureConn
from libp2p.crypto.x25519 import create_new_key_pair as create_x25519_key_pair
from libp2p.peer.id import ID
from libp2p.security.noise.transport import Transport as NoiseTransport

from ..transport import PeerId
from .identity import PeerIdentity, parse_peer_id
from .negotiation import accept_protocol, propose_protocol
from .socket_channel import ChannelClosed, SocketChannel

NOISE: Final = "/noise"

# The library logs expected churn of strangers at error level. What matters of it is counted here.
logging.getLogger("libp2p").setLevel(logging.CRITICAL)


class HandshakeFailed(Exception):
    """The other side did not prove a peer id, or not the expected one."""


class SecureChannel:
    """An encrypted connection to a known peer. One reader and one writer at a time."""

    def __init__(self, channel: SocketChannel, session: ISecureConn, peer: PeerId) -> None:
        self.peer = peer
        self.is_initiator = channel.is_initiator
        self._channel = channel
        self._session = session
        self._buffer = bytearray()

    async def read_chunk(self) -> bytes:
        """The next decrypted bytes, at least one; raises ChannelClosed when the connection or its cipher is broken."""
        if self._buffer:
            data = bytes(self._buffer)
            self._buffer.clear()
            return data
        try:
            return bytes(await self._session.read(None))
        except ChannelClosed:
            raise
        except Exception as error:
            raise ChannelClosed(f"undecipherable: {error!r}") from error

    async def read_exactly(self, n: int) -> bytes:
        """Exactly n bytes; raises ChannelClosed."""
        data = bytearray()
        while len(data) < n:
            data += await self.read_chunk()
        self._buffer += data[n:]
        return bytes(data[:n])

    async def write(self, data: bytes) -> None:
        """Send everything; raises ChannelClosed.

        A cancelled write leaves half a Noise message on the wire, after which the other side can decipher nothing
        (LIBP2P 3): whoever cancels must abort the connection. Only the multiplexer's writer task writes here.
        """
        try:
            await self._session.write(data)
        except ChannelClosed:
            raise
        except Exception as error:
            raise ChannelClosed(f"write failed: {error!r}") from error

    def abort(self) -> None:
        """Close the socket at once."""
        self._buffer.clear()
        self._channel.abort()


class Handshake:
    """Runs the Noise handshake with our identity."""

    def __init__(self, identity: PeerIdentity) -> None:
        self._local = identity.peer
        # The Noise static key is new in each process; the identity key signs it in the handshake.
        self._noise = NoiseTransport(identity.key_pair, noise_privkey=create_x25519_key_pair().private_key)

    async def inbound(self, channel: SocketChannel) -> SecureChannel:
        """Answer a dialer; raises HandshakeFailed, or NegotiationFailed and ChannelClosed from below."""
        await accept_protocol(channel, (NOISE,))
        try:
            session = await self._noise.secure_inbound(channel)  # type: ignore[arg-type]
        except ChannelClosed:
            raise
        except Exception as error:
            raise HandshakeFailed(f"noise handshake failed: {error!r}") from error
        return self._secured(channel, session)

    async def outbound(self, channel: SocketChannel, expected: PeerId) -> SecureChannel:
        """Dial a known peer id; raises HandshakeFailed when another one answers."""
        await propose_protocol(channel, (NOISE,))
        try:
            session = await self._noise.secure_outbound(channel, ID.from_base58(expected))  # type: ignore[arg-type]
        except ChannelClosed:
            raise
        except Exception as error:
            raise HandshakeFailed(f"noise handshake failed, or another peer than {expected} answered") from error
        secured = self._secured(channel, session)
        if secured.peer != expected:
            raise HandshakeFailed(f"{secured.peer} answered, {expected} was dialed")
        return secured

    def _secured(self, channel: SocketChannel, session: ISecureConn) -> SecureChannel:
        try:
            peer = parse_peer_id(session.get_remote_peer().to_base58())
        except ValueError as error:
            raise HandshakeFailed(str(error)) from error
        if peer == self._local:
            raise HandshakeFailed("this is our own peer id")
        return SecureChannel(channel, session, peer)
