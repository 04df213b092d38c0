"""The multiaddrs a peer may announce: `/ip4|ip6|dns4|dns6/<host>/tcp/<port>` (DESIGN 7, LIBP2P 7: TCP only).

A small strict grammar of our own: addresses arrive from strangers, and what does not match is refused before any
library sees it.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from ..consensus.types import MalformedError

MAX_ADDRESS_TEXT: Final = 100
"""Room for any IPv6 address and for names of ordinary length."""

_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_REMEDY: Final = "write it like /ip4/203.0.113.7/tcp/30333 or /dns4/peer.example.org/tcp/30333"


def parse_network_address(text: str) -> str:
    """`text` itself when it names a host and a TCP port in canonical form. Raises MalformedError.

    Canonical means that one place has one text: no leading zeros in a port, IP addresses as `ipaddress` prints them.
    """
    if len(text) > MAX_ADDRESS_TEXT:
        raise MalformedError(f"address of {len(text)} characters, at most {MAX_ADDRESS_TEXT}", remedy=_REMEDY)
    parts = text.split("/")
    if len(parts) != 5 or parts[0] or parts[3] != "tcp":
        raise _refused(text, "expected /<kind>/<host>/tcp/<port>")
    _, kind, host, _, port = parts
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) <= 65535 and str(int(port)) == port):
        raise _refused(text, f"port {port[:8]!r} is not between 1 and 65535")
    if kind in ("ip4", "ip6"):
        try:
            parsed = ipaddress.IPv4Address(host) if kind == "ip4" else ipaddress.IPv6Address(host)
        except ValueError as error:
            raise _refused(text, f"{host!r} is not an {kind} address") from error
        if "%" in host:
            raise _refused(text, f"{host!r} names an interface, which says nothing on another machine")
        if str(parsed) != host:
            raise _refused(text, f"{host!r} should be written {parsed}")
    elif kind in ("dns4", "dns6"):
        if not host or not all(_LABEL.fullmatch(label) for label in host.split(".")):
            raise _refused(text, f"{host!r} is not a host name")
    else:
        raise _refused(text, f"address kind {kind!r} is unknown")
    return text


def _refused(text: str, reason: str) -> MalformedError:
    return MalformedError(f"address {text!r}: {reason}", remedy=_REMEDY)
