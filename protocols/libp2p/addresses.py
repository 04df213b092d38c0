"""Multiaddrs, the few that a yumad peer uses: `/ip4|ip6|dns4|dns6/<host>/tcp/<port>[/p2p/<peer id>]` (DESIGN 7).

Addresses come from operators and from strangers (peer exchange), so parsing is strict and bounded, and what it
returns is written back in one canonical form.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from ..transport import PeerId
from .identity import parse_peer_id

MAX_ADDRESS_TEXT: Final = 400
"""A DNS name has at most 253 characters, the peer id 52; the rest is punctuation."""

_HOST_KINDS: Final = ("ip4", "ip6", "dns4", "dns6")
_DNS_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a peer can be dialed, or where we listen."""

    kind: str
    """ip4, ip6, dns4 or dns6."""

    host: str
    port: int
    """1-65535; 0 only for listening (any free port)."""

    peer: PeerId | None = None

    def __str__(self) -> str:
        text = f"/{self.kind}/{self.host}/tcp/{self.port}"
        return f"{text}/p2p/{self.peer}" if self.peer is not None else text

    def without_peer(self) -> str:
        """The multiaddr without its `/p2p/` part."""
        return f"/{self.kind}/{self.host}/tcp/{self.port}"


def parse_address(text: str, *, listening: bool = False) -> Address:
    """Parse and check one multiaddr; raises ValueError with what is wrong in it.

    Port 0 is taken only when `listening`.
    """
    if len(text) > MAX_ADDRESS_TEXT:
        raise ValueError(f"address of {len(text)} characters, at most {MAX_ADDRESS_TEXT} are taken")
    parts = text.split("/")
    if len(parts) not in (5, 7) or parts[0] != "" or parts[3] != "tcp" or parts[1] not in _HOST_KINDS:
        raise ValueError(f"address {text!r} is not /ip4|ip6|dns4|dns6/<host>/tcp/<port>[/p2p/<peer id>]")
    kind, host = parts[1], _checked_host(parts[1], parts[2])
    if not parts[4].isascii() or not parts[4].isdigit() or len(parts[4]) > 5:
        raise ValueError(f"address {text!r} has no port number after /tcp/")
    port = int(parts[4])
    if port > 65535 or (port == 0 and not listening):
        raise ValueError(f"port {port} in address {text!r} is not in 1..65535")
    if len(parts) == 5:
        return Address(kind, host, port)
    if parts[5] != "p2p":
        raise ValueError(f"address {text!r} continues with /{parts[5]}/, only /p2p/<peer id> may follow")
    return Address(kind, host, port, parse_peer_id(parts[6]))


def address_of_socket(host: str, port: int, peer: PeerId | None = None) -> Address:
    """Address of one end of a TCP connection, from the numbers the system gives."""
    ip = ipaddress.ip_address(host.split("%", 1)[0])
    if isinstance(ip, ipaddress.IPv6Address):
        mapped = ip.ipv4_mapped
        if mapped is None:
            return Address("ip6", str(ip), port, peer)
        ip = mapped
    return Address("ip4", str(ip), port, peer)


def _checked_host(kind: str, host: str) -> str:
    if kind == "ip4":
        return str(ipaddress.IPv4Address(host))
    if kind == "ip6":
        if "%" in host:
            # Valid for `ipaddress`, not for the library, and from a stranger it would name an interface of ours.
            raise ValueError(f"{host!r} names an interface; an address that others can use has none")
        return str(ipaddress.IPv6Address(host))
    labels = host.removesuffix(".").split(".")
    if not 1 <= len(host) <= 253 or not all(_DNS_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"{host!r} is not a DNS name")
    return host.lower()
