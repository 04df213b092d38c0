"""Listening: the library's TCP transport on sockets that we opened (LIBP2P 6 row 10, 8.12).

The library opens them with SO_REUSEPORT, so that a second process on the same port starts without complaint and takes
half of the connections; it reports a taken port as a False; and it serves them in a system task, where an escaped
exception ends the whole program and a cancelled stop leaves the port open.
"""

from __future__ import annotations

import errno
import socket as stdlib_socket
from collections.abc import Sequence
from typing import Final

import trio
from libp2p.custom_types import THandler
from libp2p.io.trio import TrioTCPStream
from libp2p.transport.exceptions import OpenConnectionError
from libp2p.transport.tcp.tcp import TCP, TCPListener
from multiaddr import Multiaddr

from ..transport import TransportError
from .addresses import Address, address_of_socket

BACKLOG: Final = 128
"""Connections that the kernel finishes while we are busy."""


async def open_listeners(addresses: Sequence[Address]) -> list[trio.SocketListener]:
    """Bind and listen; raises TransportError with the remedy when a port is taken or an address is not ours."""
    listeners: list[trio.SocketListener] = []
    try:
        for address in addresses:
            listeners.append(await _open_listener(address))
    except BaseException:
        for listener in listeners:
            listener.socket.close()
        raise
    return listeners


async def _open_listener(address: Address) -> trio.SocketListener:
    if address.kind not in ("ip4", "ip6"):
        raise TransportError(f"cannot listen on {address}: give an /ip4 or /ip6 address of this machine, not a name")
    family = trio.socket.AF_INET6 if address.kind == "ip6" else trio.socket.AF_INET
    sock = trio.socket.socket(family, stdlib_socket.SOCK_STREAM)
    try:
        sock.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_REUSEADDR, 1)
        if address.kind == "ip6":
            # Its own IPv4 address is listened on separately; sharing would depend on a system setting.
            sock.setsockopt(stdlib_socket.IPPROTO_IPV6, stdlib_socket.IPV6_V6ONLY, 1)
        await sock.bind((address.host, address.port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise TransportError(f"cannot listen on {address.without_peer()}: {_explain(error)}") from error
    return trio.SocketListener(sock)


def _explain(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is taken by another process; stop that one or choose another port"
    if error.errno == errno.EACCES:
        return "this user may not use the port; choose one above 1023"
    if error.errno == errno.EADDRNOTAVAIL:
        return "no interface of this machine has that address; use 0.0.0.0 for all"
    return error.strerror or str(error)


def bound_address(listener: trio.SocketListener) -> Address:
    """Where an open listener listens, with the port that the system chose."""
    name = listener.socket.getsockname()
    return address_of_socket(str(name[0]), int(name[1]))


class OpenedListener(TCPListener):
    """The library's listener over sockets that are open already, served in the swarm's own nursery."""

    background_nursery: trio.Nursery
    """Set by the library's Swarm before it calls `listen`."""

    def __init__(self, handler_function: THandler, opened: dict[str, trio.SocketListener]) -> None:
        super().__init__(handler_function)
        self._opened = opened

    async def listen(self, maddr: Multiaddr) -> None:
        """Serve the open socket of this address. Raises OpenConnectionError when there is none."""
        listener = self._opened.get(str(maddr))
        if listener is None:
            raise OpenConnectionError(f"no open socket for {maddr}")
        self.listeners.append(listener)
        self.background_nursery.start_soon(trio.serve_listeners, self._serve, [listener])
        await trio.lowlevel.checkpoint()

    async def _serve(self, stream: trio.SocketStream) -> None:
        await self.handler(TrioTCPStream(stream))

    async def close(self) -> None:
        """Close the sockets."""
        for listener in self.listeners:
            listener.socket.close()
        await trio.lowlevel.checkpoint()


class OpenedTCP(TCP):
    """The library's TCP transport; its listeners take sockets from `opened`, by multiaddr."""

    def __init__(self, opened: dict[str, trio.SocketListener]) -> None:
        super().__init__()
        self._opened = opened

    def create_listener(self, handler_function: THandler) -> OpenedListener:
        """A listener that serves one of the opened sockets."""
        return OpenedListener(handler_function, self._opened)
