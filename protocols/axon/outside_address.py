"""Learning the own outside address from the peers one is connected to, and from nobody else (AXON R35, C16).

A peer asks others under which address they see it (`observed`). Each answer is one voice of the asked peer's network
prefix; a host is believed when voices of at least two prefixes name it and no other host has more. The port is the own
listening port: the one that others see belongs to the connection we dialled.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from ...consensus import cbor
from ...consensus.types import MalformedError
from ..limits import Quota, RequestLimits
from ..messages import RequestProtocol
from ..network_address import MAX_ADDRESS_TEXT, parse_network_address
from ..request_server import Service, Unavailable
from ..transport import PeerId, Transport

MIN_PREFIXES: Final = 2
"""One network can be one person."""

MAX_VOICES: Final = 32
"""The newest answers; an address that changed is forgotten as new ones come in."""

OBSERVED_LIMITS: Final = RequestLimits("observed", 8, MAX_ADDRESS_TEXT + 32, 1, Quota(4, 60))  # requests


def _decode_request(data: bytes) -> None:
    cbor.as_array(cbor.decode(data, max_bytes=OBSERVED_LIMITS.request_bytes), 0, what="observed request")


def _decode_reply(data: bytes) -> str:
    (address,) = cbor.as_array(cbor.decode(data, max_bytes=OBSERVED_LIMITS.chunk_bytes), 1, what="observed reply")
    try:
        text = cbor.as_bytes(address, what="address", most=MAX_ADDRESS_TEXT).decode("ascii")
    except UnicodeDecodeError as error:
        raise MalformedError("address is not ASCII text") from error
    return parse_network_address(text)


OBSERVED: Final[RequestProtocol[None, str]] = RequestProtocol(
    OBSERVED_LIMITS,
    lambda _: cbor.encode([]),
    _decode_request,
    lambda address: cbor.encode([address.encode("ascii")]),
    _decode_reply,
)
"""Asks for the address under which the asked peer sees the asker."""


def observed_service(transport: Transport) -> Service[None, str]:
    """Answers `observed` from the connection the request came over."""

    def serve(peer: PeerId, _: None) -> Iterator[bytes]:
        address = transport.remote_address(peer)
        if address is None or _ip(address) is None:
            raise Unavailable("the address of this connection is not known")
        yield OBSERVED.encode_reply(address)

    return Service(OBSERVED, lambda _: 1, serve)


class OutsideAddress:
    """Counts the voices. Private, loopback and other local addresses have none."""

    def __init__(self) -> None:
        self._voices: OrderedDict[str, str] = OrderedDict()

    def hear(self, observer: str | None, observed: str) -> None:
        """A peer at the multiaddr `observer` says that it sees us at `observed`."""
        prefix, host = _prefix(observer or ""), _global_host(observed)
        if prefix is None or host is None:
            return
        self._voices[prefix] = host
        self._voices.move_to_end(prefix)
        while len(self._voices) > MAX_VOICES:
            self._voices.popitem(last=False)

    def host(self) -> str | None:
        """`/ip4/…` or `/ip6/…` as most prefixes see it; None while too few say so."""
        votes: dict[str, int] = {}
        for host in self._voices.values():
            votes[host] = votes.get(host, 0) + 1
        ordered = sorted(votes.items(), key=lambda vote: (-vote[1], vote[0]))
        if not ordered or ordered[0][1] < MIN_PREFIXES:
            return None
        if len(ordered) > 1 and ordered[1][1] == ordered[0][1]:
            return None
        return ordered[0][0]

    def address(self, port: int) -> str | None:
        """The outside multiaddr with a listening port of ours."""
        host = self.host()
        return None if host is None else f"{host}/tcp/{port}"


def _ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    parts = address.split("/")
    if len(parts) < 3 or parts[1] not in ("ip4", "ip6"):
        return None
    try:
        return ipaddress.ip_address(parts[2])
    except ValueError:
        return None


def _prefix(address: str) -> str | None:
    """The /16 of an IPv4, the /32 of an IPv6 address: roughly one operator."""
    ip = _ip(address)
    return None if ip is None else str(ipaddress.ip_network((ip, 16 if ip.version == 4 else 32), strict=False))


def _global_host(address: str) -> str | None:
    ip = _ip(address)
    return f"/ip{ip.version}/{ip}" if ip is not None and ip.is_global else None
