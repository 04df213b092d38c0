"""Finding and keeping peers: status on connect, peer exchange, redialling, anchors over a restart (CHAIN 7, 2.1).

A peer that speaks of another genesis is banned. What a status claims is a hint for sync and never believed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from ..consensus.signature import KeyPair
from ..consensus.types import InvalidError, MalformedError, Micros
from ..protocols.interfaces import Clock
from ..protocols.libp2p.reconnect import Reconnector
from ..protocols.messages import PEERS, STATUS, PeersReply, PeersRequest, Status
from ..protocols.peer_ledger import LedgerRow, Offence
from ..protocols.peer_records import PeerBook, PeerRecord, decode_record, encode_record, make_record
from ..protocols.penalties import LedgerEnforcer
from ..protocols.requests import RequestClient, RequestError
from ..protocols.sync.sync_peers import SyncPeers
from ..protocols.transport import PeerConnected, PeerDisconnected, PeerId, Transport
from ..storage.database import StorageError
from ..storage.peers import KnownPeer, PeerStore
from .bootstrap_watch import watch_bootstraps
from .logging import get_logger

STATUS_INTERVAL: Final = 60.0
"""Seconds between status requests to one peer (CHAIN 2.1); the server allows 4 in 15 s."""

TARGET_CONNECTIONS: Final = 24
PEERS_INTERVAL: Final = 40.0
"""Seconds between asks for more addresses while below the target; the server allows 2 in 60 s."""

REFRESH_PEERS: Final = 3
"""Peers asked when sync wants to know at once; the minute's round asks all."""

SAVE_INTERVAL: Final = 60.0
ANCHORS: Final = 2


@dataclass(frozen=True, slots=True)
class HeardStatus:
    """The last status of a connected peer, and when it came (trio seconds)."""

    status: Status
    at: float
    our_time: Micros
    """Own clock at the same moment, to compare with the peer's."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Since when a peer is connected."""

    outbound: bool
    since: Micros


class PeerService:
    """One per peer process; `run` beside the transport."""

    def __init__(
        self,
        transport: Transport,
        requests: RequestClient,
        enforcer: LedgerEnforcer,
        book: PeerBook,
        store: PeerStore | None,
        key: KeyPair,
        clock: Clock,
        rng: random.Random,
        own_status: Callable[[], Status],
        sync_peers: SyncPeers,
        announce: Sequence[str] = (),
    ) -> None:
        """`store` is None in tests; `key` is the libp2p key that signs the own address record."""
        self._transport = transport
        self._requests = requests
        self._enforcer = enforcer
        self._book = book
        self._store = store
        self._key = key
        self._clock = clock
        self._rng = rng
        self._own_status = own_status
        self._sync_peers = sync_peers
        self._announce = tuple(announce)
        self.is_hidden: Callable[[], bool] = lambda: False
        """Whether nobody may be told where this peer is; set by whoever knows what is served here."""
        self._genesis_hash = own_status().genesis_hash
        self._reconnector = Reconnector(transport, rng)
        self._heard: dict[PeerId, HeardStatus] = {}
        self._since: dict[PeerId, Connection] = {}
        self._pinned: dict[PeerId, None] = {}
        self._greetings: dict[PeerId, trio.CancelScope] = {}
        self._own_record: PeerRecord | None = None
        self._log = get_logger("peers")

    # --- what others ask --------------------------------------------------------------------------------------------

    def statuses(self) -> dict[PeerId, Status]:
        """Last status of each connected peer."""
        return {peer: heard.status for peer, heard in self._heard.items()}

    def connections(self) -> dict[PeerId, Connection]:
        """Connected peers."""
        return dict(self._since)

    def clock_offset(self) -> int | None:
        """Median of the other clocks minus ours in microseconds; None before any status (CHAIN 7, time)."""
        offsets = sorted(heard.status.time - heard.our_time for heard in self._heard.values())
        return offsets[len(offsets) // 2] if offsets else None

    def hear(self, peer: PeerId, status: Status) -> None:
        """A status arrived, by our request or theirs."""
        if status.genesis_hash != self._genesis_hash:
            self._sync_peers.lied(peer, Offence.WRONG_GENESIS)
            return
        if peer in self._transport.connected():
            self._heard[peer] = HeardStatus(status, trio.current_time(), self._clock.now())
            self._sync_peers.heard(peer, status)

    def own_records(self) -> PeersReply:
        """The signed record of our own addresses, made anew when half of its life is over; none of a hidden peer."""
        if self.is_hidden():
            return PeersReply(())
        now = self._clock.now()
        record = self._own_record
        addresses = self._announce or tuple(
            address.rpartition("/p2p/")[0] for address in self._transport.addresses() if "/0.0.0.0/" not in address
        )
        if not addresses:
            return PeersReply(())
        if record is None or record.expires - now < (record.expires - record.sequence) // 2:
            record = self._own_record = make_record(self._genesis_hash, self._key, addresses, now)
        return PeersReply((record,))

    def want(self, address: str) -> None:
        """Keep a configured peer connected for ever. One that cannot be dialled, such as ourselves, is only logged."""
        try:
            self._pinned[self._reconnector.want(address)] = None
        except ValueError as error:
            self._log.warning("configured address not used", address=address, reason=str(error))

    async def refresh(self) -> None:
        """Ask a few peers where they stand, now."""
        connected = list(self._transport.connected())
        self._rng.shuffle(connected)
        async with trio.open_nursery() as nursery:
            for peer in connected[:REFRESH_PEERS]:
                nursery.start_soon(self._ask_status, peer)

    # --- life -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until cancelled; remembers peers on the way out."""
        self._restore()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._reconnector.run)
                nursery.start_soon(self._watch_connections, nursery)
                nursery.start_soon(self._seek_peers)
                nursery.start_soon(self._save_regularly)
                nursery.start_soon(watch_bootstraps, self._transport, self._reconnector, self._pinned, self._log)
        finally:
            self._save()

    async def _watch_connections(self, nursery: trio.Nursery) -> None:
        while True:
            match await self._transport.next_event():
                case PeerConnected(peer, outbound):
                    self._enforcer.ledger.connected(peer)
                    self._since[peer] = Connection(outbound, self._clock.now())
                    self._end_greeting(peer)
                    scope = self._greetings[peer] = trio.CancelScope()
                    nursery.start_soon(self._greet, peer, scope)
                case PeerDisconnected(peer):
                    self._end_greeting(peer)
                    self._enforcer.ledger.disconnected(peer)
                    self._heard.pop(peer, None)
                    self._since.pop(peer, None)
                    self._sync_peers.left(peer)

    def _end_greeting(self, peer: PeerId) -> None:
        """One greeting a connection: a peer that comes and goes must not gather tasks here."""
        scope = self._greetings.pop(peer, None)
        if scope is not None:
            scope.cancel()

    async def _greet(self, peer: PeerId, scope: trio.CancelScope) -> None:
        """Ask a new peer for its status at once and each minute, and once for the peers it knows."""
        with scope:
            await self._ask_status(peer)
            await self._ask_peers(peer)
            while True:
                await trio.sleep(STATUS_INTERVAL * (0.9 + 0.2 * self._rng.random()))
                await self._ask_status(peer)

    async def _ask_status(self, peer: PeerId) -> None:
        try:
            replies = await self._requests.request(peer, STATUS, self._own_status())
        except RequestError as error:
            self._log.debug("no status", peer=peer, reason=error.message)
            return
        for status in replies[:1]:
            self.hear(peer, status)

    async def _ask_peers(self, peer: PeerId) -> None:
        try:
            replies = await self._requests.request(peer, PEERS, PeersRequest())
        except RequestError as error:
            self._log.debug("no peer records", peer=peer, reason=error.message)
            return
        for reply in replies:
            for record in reply.records:
                try:
                    self._book.add(record, self._clock.now())
                except InvalidError as error:
                    if error.code == "bad_signature":  # an expired record is nobody's lie
                        self._enforcer.offend(peer, Offence.BAD_REPLY)
                        return
        self._dial_more()

    def _dial_more(self) -> None:
        missing = TARGET_CONNECTIONS - len(set(self._transport.connected()) | set(self._reconnector.wanted()))
        for record in self._book.sample(self._clock.now(), self._rng):
            if missing <= 0:
                return
            if record.peer == self._transport.local_peer or record.peer in self._reconnector.wanted():
                continue
            for address in reversed(record.dial_addresses()):
                try:
                    self._reconnector.want(address)
                except ValueError:
                    continue
            missing -= 1

    async def _seek_peers(self) -> None:
        while True:
            await trio.sleep(PEERS_INTERVAL * (0.75 + 0.5 * self._rng.random()))
            connected = self._transport.connected()
            if connected and len(connected) < TARGET_CONNECTIONS:
                await self._ask_peers(self._rng.choice(connected))
            for peer in self._reconnector.wanted():  # a learned address that never answers makes room for another
                record = self._book.get(peer)
                gone = record is None or record.expires <= self._clock.now()
                if gone and peer not in self._pinned and peer not in connected:
                    self._reconnector.drop(peer)

    # --- over a restart ---------------------------------------------------------------------------------------------

    def _restore(self) -> None:
        if self._store is None:
            return
        known = self._store.newest()
        self._enforcer.ledger.restore(
            LedgerRow(PeerId(peer.peer), peer.milli_score, peer.last_seen, peer.banned_until) for peer in known
        )
        self._enforcer.reapply()
        for peer in known:
            if peer.record is not None:
                try:
                    self._book.add(decode_record(peer.record), self._clock.now())
                except (InvalidError, MalformedError):
                    continue
        for anchor in self._store.anchors():
            for address in reversed(anchor.addresses):
                try:
                    self._reconnector.want(address)
                except ValueError:
                    continue
        self._dial_more()

    async def _save_regularly(self) -> None:
        while True:
            await trio.sleep(SAVE_INTERVAL)
            self._save()

    def _save(self) -> None:
        if self._store is None:
            return
        rows = {row.peer: row for row in self._enforcer.ledger.export()}
        connected = self._transport.connected()
        peers = []
        for peer in dict.fromkeys((*connected, *rows)):
            record, row = self._book.get(peer), rows.get(peer)
            address = self._reconnector.known_address(peer)
            peers.append(
                KnownPeer(
                    peer,
                    record.dial_addresses() if record is not None else (() if address is None else (address,)),
                    self._clock.now() if row is None or peer in connected else row.at,
                    0 if row is None else row.milli_score,
                    banned_until=Micros(0) if row is None else row.banned_until,
                    record=None if record is None else encode_record(record),
                )
            )
        best = sorted(connected, key=lambda peer: (-self._enforcer.ledger.score(peer), peer))[:ANCHORS]
        try:
            self._store.put(peers)
            if best:  # at the end of the process the connections may be gone before we get here
                self._store.set_anchors(best)
        except StorageError as error:  # the file is disposable: peers are found again
            self._log.warning("peers not saved", reason=error.message)
