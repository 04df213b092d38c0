"""The two standard services that other libp2p implementations look for: ping and identify, answering side only.

We ask nobody to identify itself: what a peer claims there (addresses, protocols, agent) is used for nothing here,
and the library's asking side writes it into stores that only grow.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import Final

from ..transport import Stream, StreamHandler
from .addresses import Address
from .rpc import encode_varint

PING: Final = "/ipfs/ping/1.0.0"
IDENTIFY: Final = "/ipfs/id/1.0.0"

PING_BYTES: Final = 32
MAX_PINGS: Final = 1000
"""Pings answered on one stream; a standing ping every 10 s lasts three hours."""

_KEY_TYPE_ED25519: Final = bytes((0x08, 0x01, 0x12, 0x20))
_IP4, _TCP, _IP6 = b"\x04", b"\x06", b"\x29"
"""Multiaddr protocol codes."""


async def answer_ping(stream: Stream) -> None:
    """Send back each 32 bytes until the other side ends."""
    for _ in range(MAX_PINGS):
        first = await stream.read_some(PING_BYTES)
        if not first:
            return
        rest = await stream.read_exactly(PING_BYTES - len(first))
        await stream.write_all(first + rest)


def identify_handler(
    public_key: bytes, agent: str, addresses: Callable[[], Iterable[Address]], protocols: Callable[[], Iterable[str]]
) -> StreamHandler:
    """Handler that describes this peer and closes."""

    async def answer(stream: Stream) -> None:
        fields = [_field(1, _KEY_TYPE_ED25519 + public_key)]
        fields += [_field(2, _packed(address)) for address in addresses() if address.kind in ("ip4", "ip6")]
        fields += [_field(3, protocol.encode()) for protocol in protocols()]
        fields += [_field(5, b"ipfs/0.1.0"), _field(6, agent.encode())]
        body = b"".join(fields)
        await stream.write_all(encode_varint(len(body)) + body)

    return answer


def _packed(address: Address) -> bytes:
    code = _IP4 if address.kind == "ip4" else _IP6
    return code + ipaddress.ip_address(address.host).packed + _TCP + address.port.to_bytes(2, "big")


def _field(number: int, content: bytes) -> bytes:
    return bytes((number << 3 | 2,)) + encode_varint(len(content)) + content
