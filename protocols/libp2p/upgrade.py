"""From a socket to a multiplexed connection: the library's upgrader, fenced (LIBP2P 6 rows 3, 7; 7; 8.1, 8.5).

Multistream-select, Noise and the order of steps are py-libp2p's. Fenced in from outside:

* one negotiation message has at most MAX_LINE bytes and is text; the library reads any length that a stranger names,
  before the handshake, and lets a name that is not UTF-8 end the process;
* a dialer is heard MAX_PROPOSALS times;
* only Noise and yamux are offered: the defaults accept /plaintext;
* the multiplexer is our subclass: the library names its own class whatever it is configured with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from libp2p.abc import IMuxedConn, ISecureConn, ISecureTransport
from libp2p.crypto.x25519 import create_new_key_pair as create_x25519_key_pair
from libp2p.custom_types import TProtocol
from libp2p.exceptions import ParseError
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import IOException
from libp2p.peer.id import ID
from libp2p.protocol_muxer.exceptions import MultiselectCommunicatorError, MultiselectError
from libp2p.protocol_muxer.generic_selector import GenericMultistreamSelector
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.transport.upgrader import TransportUpgrader
from libp2p.utils.varint import read_varint_prefixed_bytes_limited

from .identity import PeerIdentity

MAX_LINE: Final = 1024
"""Longest message in bytes, as in the Go and JavaScript implementations. Our longest protocol id has about 60."""

MAX_PROPOSALS: Final = 16
"""Messages heard in one negotiation; ours have at most four."""

NEGOTIATION_TIMEOUT: Final = 5
"""Seconds for one negotiation (whole seconds, as the library wants them)."""

T = TypeVar("T")


class BoundedCommunicator(MultiselectCommunicator):
    """The library's line reader with a size, a count, and one kind of error."""

    def __init__(self, read_writer: ReadWriteCloser) -> None:
        super().__init__(read_writer)
        self._heard = 0

    async def read(self) -> str:
        """The next message without its newline; raises MultiselectCommunicatorError on anything else."""
        self._heard += 1
        if self._heard > MAX_PROPOSALS:
            raise MultiselectCommunicatorError(f"nothing agreed on after {MAX_PROPOSALS} messages")
        try:
            line = await read_varint_prefixed_bytes_limited(self.read_writer, MAX_LINE)
            if line[-1:] != b"\n":
                raise ParseError("message does not end in a newline")
            return line[:-1].decode("utf-8")
        except (ParseError, IOException, UnicodeDecodeError) as error:
            raise MultiselectCommunicatorError(f"cannot read a protocol name: {error}") from error


class BoundedSelector(GenericMultistreamSelector[T]):
    """The library's selector over a BoundedCommunicator."""

    async def select(
        self, conn: ReadWriteCloser, is_initiator: bool, negotiate_timeout: int = NEGOTIATION_TIMEOUT
    ) -> tuple[TProtocol, T]:
        """(protocol, handler); raises MultiselectError or MultiselectClientError."""
        communicator = BoundedCommunicator(conn)
        protocol: TProtocol | None
        if is_initiator:
            protocol = await self.multiselect_client.select_one_of(
                tuple(self.handlers), communicator, NEGOTIATION_TIMEOUT
            )
        else:
            protocol, _ = await self.multiselect.negotiate(communicator, NEGOTIATION_TIMEOUT)
        if protocol is None or protocol not in self.handlers:
            raise MultiselectError("the other side named no protocol")
        return protocol, self.handlers[protocol]


MakeMuxer = Callable[[ISecureConn, ID], IMuxedConn]


class _OneMuxer(MuxerMultistream):
    """Negotiates yamux and makes our subclass of it."""

    def __init__(self, make_muxer: MakeMuxer) -> None:
        super().__init__({})
        self._make_muxer = make_muxer
        self._selector = BoundedSelector()
        self.add_transport(TProtocol(YAMUX), Yamux)

    async def new_conn(self, conn: ISecureConn, peer_id: ID) -> IMuxedConn:
        """Agree on yamux over `conn`."""
        protocol, _ = await self._selector.select(conn, conn.is_initiator)
        return self._annotate_connection(self._make_muxer(conn, peer_id), conn, protocol)


class HardenedUpgrader(TransportUpgrader):
    """The library's upgrader with bounded negotiation, Noise alone, and `make_muxer` for the multiplexer."""

    def __init__(self, identity: PeerIdentity, make_muxer: MakeMuxer) -> None:
        # The Noise static key is new in each process; the identity key signs it in the handshake.
        noise = NoiseTransport(identity.key_pair, noise_privkey=create_x25519_key_pair().private_key)
        security: Mapping[TProtocol, ISecureTransport] = {NOISE: noise}
        super().__init__({}, {}, NEGOTIATION_TIMEOUT)
        self.security_multistream._selector = BoundedSelector()
        for protocol, transport in security.items():
            self.security_multistream.add_transport(protocol, transport)
        self.muxer_multistream = _OneMuxer(make_muxer)
