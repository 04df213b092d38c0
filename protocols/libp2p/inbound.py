"""Listening, and what happens to a socket between `accept` and a proven peer id (LIBP2P 6 rows 6 and 10, 8.4).

The task that accepted a socket stays with it until the connection is over and gives its slot back then, whatever
ended it. The library holds the slot until the host stops, so that after 250 connections in its life it never takes
another one.
"""

from __future__ import annotations

import errno
import socket as stdlib_socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio

from ..transport import TransportError
from .addresses import Address, address_of_socket
from .connection_limits import Admission, Refusal
from .counters import Counters
from .handshake import Handshake, HandshakeFailed, SecureChannel
from .negotiation import NegotiationFailed, accept_protocol
from .socket_channel import ChannelClosed, SocketChannel
from .yamux import YAMUX

UPGRADE_TIMEOUT: Final = 3.0
"""Seconds from accept to a proven peer id (LIBP2P 7: inbound_upgrade_timeout 3)."""

BACKLOG: Final = 128
"""Connections that the kernel finishes while we are busy."""

Serve = Callable[[SecureChannel, str], Awaitable[None]]
"""`(connection, remote multiaddr)`: serves an established inbound connection until it is over."""


async def open_listeners(addresses: Sequence[Address]) -> list[trio.SocketListener]:
    """Bind and listen; raises TransportError with the remedy when a port is taken or an address is not ours.

    Without SO_REUSEPORT, which the library sets: with it a second process on the same port starts without complaint
    and takes half of the connections.
    """
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


class Inbound:
    """Turns accepted sockets into established connections."""

    def __init__(
        self,
        handshake: Handshake,
        admission: Admission,
        counters: Counters,
        *,
        is_open: Callable[[], bool],
        serve: Serve,
    ) -> None:
        self._handshake = handshake
        self._admission = admission
        self._counters = counters
        self._is_open = is_open
        self._serve = serve

    async def take(self, stream: trio.SocketStream) -> None:
        """Serve one accepted socket until it is over. Never raises an Exception."""
        channel = SocketChannel(stream, is_initiator=False)
        try:
            remote = channel.get_remote_address()
            if remote is not None and self._is_open():
                await self._admit(channel, address_of_socket(*remote))
        except Exception as error:
            self._counters.fault("inbound connection", error)
        finally:
            channel.abort()

    async def _admit(self, channel: SocketChannel, remote: Address) -> None:
        slot = self._admission.arrive(
            remote.host, trio.current_time(), evict=channel.abort, heard=lambda: channel.last_heard
        )
        if isinstance(slot, Refusal):
            self._counters.refuse(slot.value)
            return
        try:
            secured = await self._upgrade(channel)
            if isinstance(secured, Refusal):
                self._counters.refuse(secured.value)
                return
            refusal = self._admission.establish(slot, secured.peer, trio.current_time())
            if refusal is not None:
                self._counters.refuse(refusal.value)
                return
            await self._serve(secured, str(remote))
        finally:
            self._admission.leave(slot)

    async def _upgrade(self, channel: SocketChannel) -> SecureChannel | Refusal:
        outcome: SecureChannel | Refusal = Refusal.TIMEOUT
        with trio.move_on_after(UPGRADE_TIMEOUT):
            try:
                secured = await self._handshake.inbound(channel)
                await accept_protocol(secured, (YAMUX,))
                outcome = secured
            except (HandshakeFailed, NegotiationFailed):
                outcome = Refusal.HANDSHAKE
            except ChannelClosed:
                outcome = Refusal.SILENT if channel.last_heard is None else Refusal.HANDSHAKE
        return outcome
