"""py-libp2p's swarm with our admission, slots and redialing (LIBP2P 8 items 4, 7, 8, 11).

Connection table, upgrade and notifications are the library's. Changed from outside:

* an inbound socket is admitted by `connection_limits`, upgraded within seconds, and its slot is free the moment the
  connection ends; the library holds it until the host stops, so that after 250 connections it never takes another;
* a dial goes to one address, at once; no race that costs 250 ms, no negative cache that blocks a minute;
* a peer has at most one connection that it dialed and one that we dialed. A newer one replaces the older: its owner
  proved the same key, so the old one is what a crash left behind;
* a lost connection is gone from the table at once, not after closing handshakes and pauses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import trio
from libp2p.abc import IMuxedConn, INetConn, INetStream, ISecureConn
from libp2p.io.abc import ReadWriteCloser
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStore
from libp2p.security.noise.exceptions import PeerIDMismatchesPubkey
from libp2p.transport.exceptions import OpenConnectionError
from multiaddr import Multiaddr

from ..connection_feed import ConnectionFeed
from ..transport import DialFailed, PeerConnected, PeerId
from .addresses import Address, address_of_socket
from .connection_limits import Admission, Refusal, Slot
from .counters import Counters
from .identity import PeerIdentity, parse_peer_id
from .listener import OpenedTCP
from .receive_budget import ReceiveBudget
from .socket_channel import SocketChannel
from .upgrade import HardenedUpgrader
from .yamux import HardenedYamux

DIAL_TIMEOUT: Final = 5.0
"""Seconds from the first SYN to a usable connection (LIBP2P 7: dial_timeout 5)."""

MAX_DIALS: Final = 32
"""Dials in flight, those of calls among them; the chain's redialing keeps to 8 of its own (CHAIN 7; `reconnect`).

A round of calls meets many peers for the first time, some of which never answer. With 8, 16 silent ones among 64 made
the others wait 7.6 s, and a link of 0.3 s took 3.9 s for 64; with 32 it is one wait of 5 s, and 1.5 s."""

MAX_NAME_ADDRESSES: Final = 4
"""Addresses of one DNS name that are tried."""

UPGRADE_TIMEOUT: Final = 3.0
"""Seconds from accept to a proven peer id (LIBP2P 7: inbound_upgrade_timeout 3)."""

_UNBOUND: Final = 100_000
"""Connections at which the library's own pruning and caps would act; `connection_limits` binds far below."""


class HardenedSwarm(Swarm):
    """All connections of this peer."""

    def __init__(
        self,
        identity: PeerIdentity,
        transport: OpenedTCP,
        admission: Admission,
        counters: Counters,
        feed: ConnectionFeed,
        *,
        on_misbehaviour: Callable[[PeerId, str], None],
    ) -> None:
        peerstore = PeerStore()
        local = ID.from_base58(identity.peer)
        peerstore.add_key_pair(local, identity.key_pair)
        super().__init__(
            local,
            peerstore,
            HardenedUpgrader(identity, self._make_muxer),
            transports=[transport],
            retry_config=RetryConfig(max_retries=0),
            connection_config=ConnectionConfig(
                min_connections=0,
                low_watermark=0,
                high_watermark=0,
                max_connections=_UNBOUND,
                max_connections_per_peer=_UNBOUND,
                outbound_upgrade_timeout=DIAL_TIMEOUT,
            ),
        )
        # The library's tag store keeps a record per peer that ever came.
        self.notifees.clear()
        self._tcp = transport
        self._local_peer = identity.peer
        self._admission = admission
        self._counters = counters
        self._feed = feed
        self._on_misbehaviour = on_misbehaviour
        self._budget = ReceiveBudget()
        self._slots: dict[HardenedYamux, Slot] = {}
        self._addresses: dict[HardenedYamux, str] = {}
        self._announced: dict[ID, PeerId] = {}
        self._dialing: dict[PeerId, trio.Event] = {}
        self._dials = trio.CapacityLimiter(MAX_DIALS)
        self._coming: set[PeerId] = set()
        """Peers that are being dialed and have no place in the accounts yet."""
        self.is_open = False
        self.watcher: Callable[[HardenedYamux], None] | None = None
        """Told at once when a connection is gone (gossip); the library tells a tenth of a second later."""

    # --- life -------------------------------------------------------------------------------------------------------

    def stop_now(self) -> None:
        """Drop every connection and close every listening socket at once."""
        self.is_open = False
        for conn in self.get_connections():
            self._drop(conn, "the network stops")
        for muxer in list(self._slots):
            muxer.abort("the network stops")
        for listener in self.listeners.values():
            for opened in getattr(listener, "listeners", ()):
                opened.socket.close()

    def _schedule_prune(self) -> None:
        """Not the library's way: it prunes by age and tags, `connection_limits` by score."""

    def _schedule_auto_connect(self) -> None:
        """Nothing dials by itself here."""

    # --- what is connected ------------------------------------------------------------------------------------------

    def peers(self) -> tuple[PeerId, ...]:
        """Connected peers in ascending order."""
        return tuple(sorted(self._announced.values()))

    def is_connected(self, peer: PeerId) -> bool:
        """Whether the peer has a live connection."""
        return ID.from_base58(peer) in self._announced

    def remote_address(self, peer: PeerId) -> str | None:
        """Multiaddr of the other end, without the peer id; that of an outbound connection first."""
        muxers = [_muxer(conn) for conn in self.connections.get(ID.from_base58(peer), ())]
        if not muxers:
            return None
        best = next((muxer for muxer in muxers if muxer.is_initiator), muxers[-1])
        return self._addresses.get(best) or None

    def counts(self) -> tuple[int, int, int]:
        """Connections, outbound ones of them, open streams."""
        muxers = [_muxer(conn) for conn in self.get_connections()]
        return len(muxers), sum(muxer.is_initiator for muxer in muxers), sum(len(muxer.streams) for muxer in muxers)

    # --- a connection comes and goes --------------------------------------------------------------------------------

    def _make_muxer(self, session: ISecureConn, peer_id: ID) -> HardenedYamux:
        peer = PeerId(peer_id.to_base58())

        def report(what: str) -> None:
            self._counters.drop(what)
            self._on_misbehaviour(peer, what)

        return HardenedYamux(session, peer_id, _channel(session), budget=self._budget, on_misbehaviour=report)

    async def notify_connected(self, conn: INetConn) -> None:
        """Called by the library once a connection is in the table."""
        muxer = _muxer(conn)
        if self._admission.is_banned(PeerId(muxer.peer_id.to_base58()), trio.current_time()):
            # Banned since it was admitted, when it was not in the table for the ban to find.
            muxer.abort("banned")
        if muxer.close_reason is not None:
            # It ended while the library was starting it, which cleaned up before it put it into the table.
            self.remove_conn(conn)  # type: ignore[arg-type]
            return
        for older in self.get_connections(muxer.peer_id):
            if older is not conn and _muxer(older).is_initiator == muxer.is_initiator:
                self._drop(older, "replaced by a newer connection")
        if muxer.peer_id not in self._announced:
            peer = self._announced[muxer.peer_id] = PeerId(muxer.peer_id.to_base58())
            self._feed.connected(PeerConnected(peer, muxer.is_initiator, self._addresses.get(muxer, "")))
        await self._notify("connected", conn)

    async def notify_disconnected(self, conn: INetConn) -> None:
        """Called by the library once a lost connection is cleaned up. It remembers nothing about the peer."""
        await self._notify("disconnected", conn)

    async def notify_opened_stream(self, stream: INetStream) -> None:
        """Nobody listens to these; the library opens a nursery for each."""

    async def notify_closed_stream(self, stream: INetStream) -> None:
        """Nobody listens to these."""

    def remove_conn(self, swarm_conn: SwarmConn) -> None:
        """Take a connection out of the table and free its slot."""
        super().remove_conn(swarm_conn)
        muxer = _muxer(swarm_conn)
        self._addresses.pop(muxer, None)
        slot = self._slots.pop(muxer, None)
        if slot is not None:
            self._admission.leave(slot)
        if muxer.peer_id not in self.connections:
            peer = self._announced.pop(muxer.peer_id, None)
            if peer is not None:
                self._feed.disconnected(peer)
        if self.watcher is not None:
            self.watcher(muxer)

    def _drop(self, conn: Any, reason: str) -> None:
        _muxer(conn).abort(reason)
        self.remove_conn(conn)

    def drop_peer(self, peer: PeerId, reason: str) -> None:
        """Abort every connection to the peer, from synchronous code."""
        for conn in self.get_connections(ID.from_base58(peer)):
            self._drop(conn, reason)

    async def disconnect(self, peer: PeerId) -> None:
        """Say goodbye and close every connection to the peer. Never raises."""
        for conn in self.get_connections(ID.from_base58(peer)):
            await _muxer(conn).close()
            self._drop(conn, "closed by us")

    # --- inbound ----------------------------------------------------------------------------------------------------

    async def _handle_inbound_connection(self, read_write_closer: ReadWriteCloser, maddr: Multiaddr) -> None:
        """Serve one accepted socket until it is over. Never raises an Exception."""
        channel = SocketChannel(read_write_closer.stream, is_initiator=False)  # type: ignore[attr-defined]
        try:
            remote = channel.get_remote_address()
            if remote is not None and self.is_open:
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
            muxer = await self._upgrade(channel)
            if isinstance(muxer, Refusal):
                self._counters.refuse(muxer.value)
                return
            peer = PeerId(muxer.peer_id.to_base58())
            refusal = self._admission.establish(slot, peer, trio.current_time())
            if refusal is not None:
                self._counters.refuse(refusal.value)
                return
            self._slots[muxer], self._addresses[muxer] = slot, str(remote)
            try:
                await self.add_conn(muxer, direction="inbound")
                await muxer.ended.wait()
            except SwarmException:
                self._counters.drop("connection ended while it began")
            finally:
                self._slots.pop(muxer, None)
        finally:
            self._admission.leave(slot)

    async def _upgrade(self, channel: SocketChannel) -> HardenedYamux | Refusal:
        outcome: HardenedYamux | Refusal = Refusal.TIMEOUT
        with trio.move_on_after(UPGRADE_TIMEOUT):
            try:
                secured = await self.upgrader.upgrade_security(RawConnection(channel, False), False)
                self._check_peer(secured.get_remote_peer())
                muxer = await self.upgrader.upgrade_connection(secured, secured.get_remote_peer())
                assert isinstance(muxer, HardenedYamux)
                outcome = muxer
            except Exception:
                # Whatever a stranger's bytes made the handshake raise.
                outcome = Refusal.SILENT if channel.last_heard is None else Refusal.HANDSHAKE
        return outcome

    def _check_peer(self, peer_id: ID) -> None:
        """Raises ValueError for a key of another type than ours, or for our own."""
        if parse_peer_id(peer_id.to_base58()) == self._local_peer:
            raise ValueError("this is our own peer id")

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
            if self.is_connected(peer):
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
        if not self.is_open:
            raise DialFailed(str(address), "the network is not running")
        async with self._dials:
            if self._admission.is_banned(peer, trio.current_time()):
                raise DialFailed(str(address), "the peer is banned")
            if not self._admission.may_dial(len(self._coming)):
                raise DialFailed(str(address), "the connection cap is reached")
            self._coming.add(peer)
            try:
                await self._connect(address, peer)
            finally:
                self._coming.discard(peer)

    async def _connect(self, address: Address, peer: PeerId) -> None:
        with trio.move_on_after(DIAL_TIMEOUT) as scope:
            channel = await self._open_socket(address)
            try:
                await self.upgrade_outbound_raw_conn(RawConnection(channel, True), ID.from_base58(peer))
            except Exception as error:
                channel.abort()
                raise DialFailed(str(address), _reason(error, peer)) from error
            except BaseException:
                channel.abort()
                raise
            if not self.is_connected(peer):
                raise DialFailed(str(address), "the connection ended as soon as it began")
        if scope.cancelled_caught:
            raise DialFailed(str(address), f"no answer within {DIAL_TIMEOUT:.0f} s")

    async def add_conn(self, muxed_conn: IMuxedConn, direction: str = "unknown") -> SwarmConn:
        """Start a connection and put it into the table. Raises SwarmException when it ends meanwhile."""
        assert isinstance(muxed_conn, HardenedYamux)
        if direction == "outbound":
            channel = muxed_conn.channel
            host = (channel.get_remote_address() or ("0.0.0.0", 0))[0]
            peer = PeerId(muxed_conn.peer_id.to_base58())
            self._coming.discard(peer)
            slot = self._admission.dialed(host, peer, trio.current_time(), evict=channel.abort)
            self._slots[muxed_conn], self._addresses[muxed_conn] = slot, channel.dialed_as
        return await super().add_conn(muxed_conn, direction)

    async def _open_socket(self, address: Address) -> SocketChannel:
        hosts = [(address.kind, address.host)]
        try:
            if address.kind.startswith("dns"):
                # By the system's resolver, which knows its hosts file; the library asks name servers only.
                kind = "ip4" if address.kind == "dns4" else "ip6"
                family = trio.socket.AF_INET if kind == "ip4" else trio.socket.AF_INET6
                found = await trio.socket.getaddrinfo(
                    address.host, address.port, family=family, type=trio.socket.SOCK_STREAM
                )
                hosts = [(kind, str(info[4][0])) for info in found[:MAX_NAME_ADDRESSES]]
        except OSError as error:
            raise DialFailed(str(address), error.strerror or str(error)) from error
        failure = "the name has no address"
        for kind, host in hosts:
            try:
                raw: Any = await self._tcp.dial(Multiaddr(f"/{kind}/{host}/tcp/{address.port}"))
                channel = SocketChannel(raw.stream.stream, is_initiator=True)
                channel.dialed_as = address.without_peer()
                return channel
            except (OpenConnectionError, ValueError) as error:
                # ValueError: a name server's answer that the library takes for no address.
                failure = _reason(error, address.peer)
        raise DialFailed(str(address), failure)

    # --- streams ----------------------------------------------------------------------------------------------------

    async def new_stream(self, peer_id: ID) -> INetStream:
        """Open a stream on the newest connection. Raises SwarmException; never dials."""
        connections = self.connections.get(peer_id)
        if not connections:
            raise SwarmException(f"not connected to {peer_id}")
        try:
            # Shielded, since the library's bookkeeping between opening and returning loses a stream when cancelled.
            with trio.CancelScope(shield=True):
                return await connections[-1].new_stream()
        except Exception as error:
            raise SwarmException(str(error)) from error


def _muxer(conn: Any) -> HardenedYamux:
    muxer = conn.muxed_conn
    assert isinstance(muxer, HardenedYamux)
    return muxer


def _channel(session: Any) -> SocketChannel:
    """The socket under a Noise session: session -> packets -> RawConnection -> ours."""
    channel = session.conn.read_writer.read_write_closer.stream
    assert isinstance(channel, SocketChannel)
    return channel


def _reason(error: BaseException, peer: PeerId | None) -> str:
    """What went wrong at the bottom of the library's chain of exceptions, for an operator."""
    deepest: BaseException = error
    while True:
        if isinstance(deepest, PeerIDMismatchesPubkey) or "Peer ID mismatch" in str(deepest):
            return f"another peer than {peer} answered"
        cause = deepest.__cause__
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if cause is None:
            break
        deepest = cause
    if isinstance(deepest, OSError):
        return deepest.strerror or str(deepest)
    return str(deepest) or type(deepest).__name__
