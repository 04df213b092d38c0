"""Connections to peers: who is connected, dialing, opening and serving streams (LIBP2P 8 items 1, 4, 7, 8, 11).

A peer has at most one connection that it dialed and one that we dialed. A newer inbound connection replaces the
older one: its owner proved the same key, so the old one is what a crash left behind. Streams are opened on the
newest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import trio

from ..connection_feed import ConnectionFeed
from ..transport import (
    DialFailed,
    NotConnected,
    PeerConnected,
    PeerId,
    StreamClosed,
    StreamHandler,
    StreamRefused,
)
from .addresses import Address
from .connection_limits import Admission
from .counters import Counters
from .handshake import Handshake, HandshakeFailed, SecureChannel
from .negotiation import NegotiationFailed, accept_protocol, propose_protocol
from .receive_budget import ReceiveBudget
from .socket_channel import ChannelClosed, SocketChannel
from .yamux import YAMUX, YamuxConnection
from .yamux_stream import YamuxStream

if TYPE_CHECKING:
    from trio_typing import TaskStatus

DIAL_TIMEOUT: Final = 5.0
"""Seconds from the first SYN to a usable connection (LIBP2P 7: dial_timeout 5)."""

MAX_DIALS: Final = 8
"""Dials in flight (CHAIN 7: dial storms capped at 8)."""

MAX_NAME_ADDRESSES: Final = 4
"""Addresses of one DNS name that are tried."""

NEGOTIATION_TIMEOUT: Final = 5.0
"""Seconds an inbound stream has to name its protocol."""

MAX_UNNAMED_STREAMS: Final = 32
"""Inbound streams of one connection that have not named a protocol yet; honest dialers name it in the first message."""


class ConnectionWatcher(Protocol):
    """Told synchronously when a peer comes and goes (gossip)."""

    def peer_connected(self, peer: PeerId) -> None: ...

    def peer_disconnected(self, peer: PeerId) -> None: ...


@dataclass(slots=True, eq=False)
class Connection:
    """One live connection."""

    muxer: YamuxConnection
    outbound: bool
    address: str
    unnamed_streams: int = 0


class Network:
    """All connections of this peer. `nursery` runs their tasks; when it is cancelled they are gone."""

    def __init__(
        self,
        local_peer: PeerId,
        handshake: Handshake,
        admission: Admission,
        counters: Counters,
        feed: ConnectionFeed,
        *,
        on_misbehaviour: Callable[[PeerId, str], None],
    ) -> None:
        self.handlers: dict[str, StreamHandler] = {}
        self.watcher: ConnectionWatcher | None = None
        self._local_peer = local_peer
        self._handshake = handshake
        self._admission = admission
        self._counters = counters
        self._feed = feed
        self._on_misbehaviour = on_misbehaviour
        self._budget = ReceiveBudget()
        self._connections: dict[PeerId, list[Connection]] = {}
        self._dialing: dict[PeerId, trio.Event] = {}
        self._dials = trio.CapacityLimiter(MAX_DIALS)
        self._nursery: trio.Nursery | None = None

    # --- life -------------------------------------------------------------------------------------------------------

    def start(self, nursery: trio.Nursery) -> None:
        """Run connection tasks in this nursery from now on."""
        self._nursery = nursery

    def stop(self) -> None:
        """Drop every connection at once."""
        self._nursery = None
        for connections in list(self._connections.values()):
            for connection in list(connections):
                connection.muxer.abort("the network stops")

    @property
    def is_open(self) -> bool:
        """Whether new connections are taken."""
        return self._nursery is not None

    # --- what is connected ------------------------------------------------------------------------------------------

    def connected(self) -> tuple[PeerId, ...]:
        """Connected peers in ascending order."""
        return tuple(sorted(self._connections))

    def is_connected(self, peer: PeerId) -> bool:
        """Whether the peer has a live connection."""
        return peer in self._connections

    def remote_address(self, peer: PeerId) -> str | None:
        """Multiaddr of the other end, without the peer id; that of an outbound connection first."""
        connections = self._connections.get(peer)
        if not connections:
            return None
        best = next((c for c in connections if c.outbound), connections[-1])
        return best.address or None

    def counts(self) -> tuple[int, int, int]:
        """Connections, outbound ones of them, open streams."""
        connections = [c for group in self._connections.values() for c in group]
        return (
            len(connections),
            sum(c.outbound for c in connections),
            sum(c.muxer.open_streams for c in connections),
        )

    # --- inbound ----------------------------------------------------------------------------------------------------

    async def serve_inbound(self, secured: SecureChannel, address: str) -> None:
        """Serve an established inbound connection until it is over."""
        connection = self._register(secured, outbound=False, address=address)
        try:
            await connection.muxer.run()
        finally:
            self._unregister(connection)

    def _register(self, secured: SecureChannel, *, outbound: bool, address: str) -> Connection:
        peer = secured.peer

        def on_stream(stream: YamuxStream) -> None:
            self._take_stream(connection, stream)

        def on_misbehaviour(what: str) -> None:
            self._counters.drop(what)
            self._on_misbehaviour(peer, what)

        muxer = YamuxConnection(secured, on_stream=on_stream, budget=self._budget, on_misbehaviour=on_misbehaviour)
        connection = Connection(muxer, outbound, address)
        group = self._connections.setdefault(peer, [])
        for older in [c for c in group if c.outbound == outbound]:
            group.remove(older)
            older.muxer.abort("replaced by a newer connection")
        group.append(connection)
        if len(group) == 1:
            self._feed.connected(PeerConnected(peer, outbound, address))
            if self.watcher is not None:
                self.watcher.peer_connected(peer)
        return connection

    def _unregister(self, connection: Connection) -> None:
        peer = connection.muxer.peer
        group = self._connections.get(peer, [])
        if connection in group:
            group.remove(connection)
        if not group and peer in self._connections:
            del self._connections[peer]
            self._feed.disconnected(peer)
            if self.watcher is not None:
                self.watcher.peer_disconnected(peer)

    # --- dialing ----------------------------------------------------------------------------------------------------

    async def dial(self, address: Address) -> PeerId:
        """Connect to an address with a peer id; at once done when connected. Raises DialFailed."""
        peer = address.peer
        if peer is None:
            raise DialFailed(str(address), "the address does not end in /p2p/<peer id>")
        if peer == self._local_peer:
            raise DialFailed(str(address), "that is this peer itself")
        while True:
            await trio.lowlevel.checkpoint()
            if peer in self._connections:
                return peer
            running = self._dialing.get(peer)
            if running is None:
                break
            await running.wait()
        done = self._dialing[peer] = trio.Event()
        try:
            await self._dial(address, peer)
        finally:
            del self._dialing[peer]
            done.set()
        return peer

    async def _dial(self, address: Address, peer: PeerId) -> None:
        nursery = self._nursery
        if nursery is None:
            raise DialFailed(str(address), "the network is not running")
        if self._admission.is_banned(peer, trio.current_time()):
            raise DialFailed(str(address), "the peer is banned")
        if not self._admission.may_dial():
            raise DialFailed(str(address), "the connection cap is reached")
        async with self._dials:
            with trio.move_on_after(DIAL_TIMEOUT) as scope:
                channel = await self._open_socket(address)
                try:
                    secured = await self._handshake.outbound(channel, peer)
                    await propose_protocol(secured, (YAMUX,))
                    await nursery.start(self._serve_outbound, channel, secured, address)
                except (HandshakeFailed, NegotiationFailed, ChannelClosed) as error:
                    channel.abort()
                    raise DialFailed(str(address), str(error)) from error
                except RuntimeError as error:  # trio: the network was stopped while the handshake ran (LIBP2P 6 row 12)
                    channel.abort()
                    raise DialFailed(str(address), "the network is not running") from error
                except BaseException:
                    channel.abort()
                    raise
            if scope.cancelled_caught:
                raise DialFailed(str(address), f"no answer within {DIAL_TIMEOUT:.0f} s")

    async def _open_socket(self, address: Address) -> SocketChannel:
        try:
            hosts = [address.host]
            if address.kind.startswith("dns"):
                family = trio.socket.AF_INET if address.kind == "dns4" else trio.socket.AF_INET6
                found = await trio.socket.getaddrinfo(
                    address.host, address.port, family=family, type=trio.socket.SOCK_STREAM
                )
                hosts = [str(info[4][0]) for info in found[:MAX_NAME_ADDRESSES]]
            for last, host in enumerate(hosts, start=1 - len(hosts)):
                try:
                    # One address at a time: the library's race between addresses costs 250 ms even with a single one.
                    stream = await trio.open_tcp_stream(host, address.port)
                    return SocketChannel(stream, is_initiator=True)
                except OSError:
                    if last == 0:
                        raise
        except OSError as error:
            raise DialFailed(str(address), _explain(error)) from error
        raise DialFailed(str(address), "the name has no address")

    async def _serve_outbound(
        self,
        channel: SocketChannel,
        secured: SecureChannel,
        address: Address,
        *,
        task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        remote = channel.get_remote_address()
        host = remote[0] if remote is not None else "0.0.0.0"
        slot = self._admission.dialed(host, secured.peer, trio.current_time(), evict=channel.abort)
        try:
            connection = self._register(secured, outbound=True, address=address.without_peer())
            task_status.started()
            try:
                await connection.muxer.run()
            finally:
                self._unregister(connection)
        except Exception as error:
            self._counters.fault("outbound connection", error)
        finally:
            self._admission.leave(slot)
            channel.abort()

    async def disconnect(self, peer: PeerId) -> None:
        """Close every connection to the peer. Never raises."""
        for connection in list(self._connections.get(peer, ())):
            await connection.muxer.close()
            self._unregister(connection)

    def drop(self, peer: PeerId, reason: str) -> None:
        """Abort every connection to the peer, from synchronous code."""
        for connection in list(self._connections.get(peer, ())):
            connection.muxer.abort(reason)
            self._unregister(connection)

    # --- streams ----------------------------------------------------------------------------------------------------

    async def open_stream(self, peer: PeerId, protocols: tuple[str, ...], timeout: float) -> tuple[YamuxStream, str]:
        """Open a stream and agree on one of `protocols`. Raises NotConnected or StreamRefused."""
        connections = self._connections.get(peer)
        if not connections:
            raise NotConnected(f"not connected to {peer}; dial it first")
        stream = connections[-1].muxer.open_stream()
        chosen: str | None = None
        try:
            with trio.move_on_after(timeout):
                chosen = await propose_protocol(stream, protocols)
        except (StreamClosed, NegotiationFailed) as error:
            raise StreamRefused(f"{peer} did not take a stream for {protocols[0]}: {error}") from error
        finally:
            # Also when cancelled: a slot is never left behind (LIBP2P 8, caveats).
            if chosen is None:
                stream.reset_now()
        if chosen is None:
            raise StreamRefused(f"{peer} did not answer a stream for {protocols[0]} within {timeout:g} s")
        return stream, chosen

    def _take_stream(self, connection: Connection, stream: YamuxStream) -> None:
        if self._nursery is None or connection.unnamed_streams >= MAX_UNNAMED_STREAMS:
            self._counters.drop("stream without a protocol")
            connection.muxer.refuse(stream)
            return
        connection.unnamed_streams += 1
        self._nursery.start_soon(self._serve_stream, connection, stream)

    async def _serve_stream(self, connection: Connection, stream: YamuxStream) -> None:
        """Find the handler of one inbound stream and run it; whatever happens stays in this stream (LIBP2P 8.1)."""
        served = False
        try:
            handler = await self._named(connection, stream)
            if handler is not None:
                await handler(stream)
                await stream.close()
                served = True
        except StreamClosed:
            self._counters.drop("stream broken by the peer")
        except Exception as error:
            self._counters.fault("stream handler", error)
        finally:
            if not served:
                stream.reset_now()

    async def _named(self, connection: Connection, stream: YamuxStream) -> StreamHandler | None:
        handler: StreamHandler | None = None
        try:
            with trio.move_on_after(NEGOTIATION_TIMEOUT):
                handler = self.handlers[await accept_protocol(stream, self.handlers)]
        except (StreamClosed, NegotiationFailed):
            handler = None
        finally:
            connection.unnamed_streams -= 1
        if handler is None:
            self._counters.drop("stream without a protocol")
        return handler


def _explain(error: OSError) -> str:
    """What the system said about a failed connect; trio hides it behind one or two layers."""
    cause: BaseException | None = error.__cause__
    if isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    inner = cause if isinstance(cause, OSError) else error
    return inner.strerror or str(inner)
