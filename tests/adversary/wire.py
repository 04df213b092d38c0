"""The wire as an attacker writes it: negotiation, an encrypted channel, yamux headers and gossip RPCs by hand.

Nothing of the code under test is used beyond the socket, so that both sides cannot share a mistake.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import Any, Final

from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_x25519_key_pair
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from libp2p.security.noise.transport import Transport as NoiseTransport
from yumad.protocols.libp2p.socket_channel import ChannelClosed, SocketChannel

HEADER: Final = Struct("!BBHII")
DATA, WINDOW_UPDATE = 0, 1
SYN, ACK, FIN, RST = 1, 2, 4, 8


class HandshakeFailed(Exception):
    """The victim did not complete a handshake."""


class NegotiationFailed(Exception):
    """The victim did not agree on a protocol."""


def encode_varint(value: int) -> bytes:
    """LEB128 of a number >= 0."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def line(text: bytes) -> bytes:
    """One multistream message of any bytes."""
    return encode_varint(len(text) + 1) + text + b"\n"


async def _read_line(pipe: Any) -> bytes:
    (length,) = await pipe.read_exactly(1)
    if length >= 0x80:
        (high,) = await pipe.read_exactly(1)
        length = length & 0x7F | high << 7
    return bytes(await pipe.read_exactly(length))[:-1]


async def propose(pipe: Any, protocol: bytes) -> None:
    """Negotiate one protocol; raises NegotiationFailed."""
    await pipe.write(line(b"/multistream/1.0.0") + line(protocol))
    if await _read_line(pipe) != b"/multistream/1.0.0" or await _read_line(pipe) != protocol:
        raise NegotiationFailed("the other side does not speak it")


class SecureChannel:
    """An encrypted connection. One reader and one writer at a time."""

    def __init__(self, channel: SocketChannel, session: Any) -> None:
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
        """Send everything; raises ChannelClosed."""
        await self._session.write(data)

    def abort(self) -> None:
        """Close the socket at once."""
        self._channel.abort()


class _Exact:
    """A socket channel with the reader that `propose` wants."""

    def __init__(self, channel: SocketChannel) -> None:
        self.read_exactly = channel.read
        self.write = channel.write


async def secure(channel: SocketChannel, seed: bytes, victim: str) -> SecureChannel:
    """Prove the key of `seed` to the victim and agree on yamux."""
    await propose(_Exact(channel), b"/noise")
    noise = NoiseTransport(create_new_key_pair(seed), noise_privkey=create_x25519_key_pair().private_key)
    try:
        session = await noise.secure_outbound(channel, ID.from_base58(victim))  # type: ignore[arg-type]
    except ChannelClosed:
        raise
    except Exception as error:
        raise HandshakeFailed(repr(error)) from error
    secured = SecureChannel(channel, session)
    await propose(secured, b"/yamux/1.0.0")
    return secured


@dataclass(slots=True)
class Rpc:
    """One gossip RPC, as tests write it."""

    subscriptions: list[tuple[str, bool]] = field(default_factory=list)
    messages: list[tuple[str, bytes]] = field(default_factory=list)
    ihave: list[tuple[str, list[bytes]]] = field(default_factory=list)
    iwant: list[bytes] = field(default_factory=list)
    graft: list[str] = field(default_factory=list)
    prune: list[tuple[str, int]] = field(default_factory=list)
    idontwant: list[bytes] = field(default_factory=list)

    def to_library(self) -> Any:
        """As the library's protobuf object."""
        rpc = rpc_pb2.RPC()
        for topic, joins in self.subscriptions:
            rpc.subscriptions.add(topicid=topic, subscribe=joins)
        for topic, data in self.messages:
            rpc.publish.add(data=data, topicIDs=[topic])
        for topic, identifiers in self.ihave:
            rpc.control.ihave.add(topicID=topic, messageIDs=identifiers)
        if self.iwant:
            rpc.control.iwant.add(messageIDs=self.iwant)
        for topic in self.graft:
            rpc.control.graft.add(topicID=topic)
        for topic, backoff in self.prune:
            rpc.control.prune.add(topicID=topic, backoff=backoff)
        if self.idontwant:
            rpc.control.idontwant.add(messageIDs=self.idontwant)
        return rpc


def encode_rpc(rpc: Rpc) -> bytes:
    """Encode one RPC, without its length prefix."""
    return bytes(rpc.to_library().SerializeToString())


def encode_frame(rpc: Rpc) -> bytes:
    """Encode one RPC with its length prefix, as it is written to a stream."""
    body = encode_rpc(rpc)
    return encode_varint(len(body)) + body
