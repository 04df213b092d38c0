"""Who may connect: caps on sockets and connections, bans, and who gives way when they are full (CHAIN 7, LIBP2P 8.11).

No I/O here. An inbound socket is first *pending*: anybody can open one, so those are few, short-lived, and the ones
that have not said a word are closed first when a new one comes. That is what lets an honest dialer in while 400
silent sockets are held against us, also when all of them come from the honest peer's own address (loopback). A
pending socket that proves a peer id becomes *established* and counts against the caps of its address, of its
network and of the whole.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from ..transport import PeerId

GRACE_SECONDS: Final = 0.25
"""A pending socket is left alone this long after each word: one round trip. A handshake is two of them and 5 ms."""

MAX_BANS: Final = 4096
"""Bans remembered; past it the one that ends first is forgotten. A ban names a key, and keys cost nothing."""

MAX_ARRIVALS: Final = 4096
"""Addresses whose rate is remembered; past it the one that is silent longest is forgotten, which is fullest again."""


class Refusal(Enum):
    """Why an inbound connection was not taken."""

    BANNED = "banned"
    TOTAL = "connection cap"
    ADDRESS = "address cap"
    NETWORK = "network cap"
    PENDING = "too many unfinished handshakes"
    RATE = "too many connections from one address"
    SILENT = "closed before a word"
    TIMEOUT = "handshake timeout"
    HANDSHAKE = "handshake failed"


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Caps on connections. Defaults are CHAIN section 7's for a public network."""

    total: int = 64
    reserved_outbound: int = 8
    """Of the total, kept for peers that we dial: what strangers cannot take from us (CHAIN 7: >= 8 outbound)."""

    pending: int = 64
    """Inbound sockets without a proven peer id."""

    pending_per_address: int = 8
    per_address: int = 5
    per_network: int = 10
    """Per /24 of IPv4, /48 of IPv6."""

    arrivals_per_second: int = 2
    arrivals_burst: int = 20
    """Inbound sockets of one address: each costs us a handshake of some 5 ms."""

    exempt_loopback: bool = True
    """No caps per address or network for loopback: a test swarm lives on one address."""

    exempt_private: bool = False
    """The same for private ranges, for a network behind one router."""


@dataclass(slots=True, eq=False)
class Slot:
    """One connection's place in the accounts."""

    host: str
    """The address; of IPv6 its /64, which one machine has all to itself."""

    network: str
    exempt: bool
    since: float
    """Seconds on the transport's clock."""

    evict: Callable[[], None]
    """Closes the connection; its owner then calls `leave`."""

    heard: Callable[[], float | None]
    """When the other side last sent anything, None when it never did."""

    peer: PeerId | None = None
    outbound: bool = False


class Admission:
    """Accounts of pending and established connections."""

    def __init__(self, limits: ConnectionLimits, *, standing: Callable[[PeerId], float]) -> None:
        """`standing` ranks peers when an inbound one must give way: the ledger's score, infinity for protected ones."""
        self._limits = limits
        self._standing = standing
        self._pending: dict[Slot, None] = {}
        self._established: dict[Slot, None] = {}
        self._bans: dict[PeerId, float] = {}
        self._arrivals: dict[str, tuple[float, float]] = {}

    # --- inbound ----------------------------------------------------------------------------------------------------

    def arrive(
        self, host: str, now: float, *, evict: Callable[[], None], heard: Callable[[], float | None]
    ) -> Slot | Refusal:
        """An inbound socket of address `host`. It may cost another pending one its place."""
        host, network, exempt = self._classify(host)
        if not exempt:
            if not self._may_arrive(host, now):
                return Refusal.RATE
            if sum(slot.host == host for slot in self._pending) >= self._limits.pending_per_address:
                return Refusal.PENDING
            refusal = self._colocation(host, network)
            if refusal is not None:
                return refusal
        if len(self._pending) >= self._limits.pending and not self._evict_pending(now):
            return Refusal.PENDING
        slot = Slot(host, network, exempt, now, evict, heard)
        self._pending[slot] = None
        return slot

    def establish(self, slot: Slot, peer: PeerId, now: float) -> Refusal | None:
        """The socket in `slot` proved to be `peer`. It may cost a lesser inbound peer its place."""
        self._pending.pop(slot, None)
        if self.is_banned(peer, now):
            return Refusal.BANNED
        if not slot.exempt:
            refusal = self._colocation(slot.host, slot.network)
            if refusal is not None:
                return refusal
        slot.peer, slot.since = peer, now
        inbound = [other for other in self._established if not other.outbound]
        full = len(self._established) >= self._limits.total
        if full or len(inbound) >= self._limits.total - self._limits.reserved_outbound:
            victim = min(inbound, key=self._rank, default=None)
            if victim is None or self._standing_of(victim) >= self._standing_of(slot):
                return Refusal.TOTAL
            self._established.pop(victim)
            victim.evict()
        self._established[slot] = None
        return None

    # --- outbound ---------------------------------------------------------------------------------------------------

    def may_dial(self, dialing: int = 0) -> bool:
        """Whether one more outbound connection fits beside those that are being dialed."""
        return len(self._established) + dialing < self._limits.total

    def dialed(self, host: str, peer: PeerId, now: float, *, evict: Callable[[], None]) -> Slot:
        """An outbound connection is up."""
        host, network, exempt = self._classify(host)
        slot = Slot(host, network, exempt, now, evict, lambda: None, peer, outbound=True)
        self._established[slot] = None
        return slot

    def leave(self, slot: Slot) -> None:
        """The connection is over, however it ended. May be called twice."""
        self._pending.pop(slot, None)
        self._established.pop(slot, None)

    # --- bans -------------------------------------------------------------------------------------------------------

    def ban(self, peer: PeerId, until: float) -> None:
        """Refuse the peer until that time; a longer ban stands."""
        self._bans[peer] = max(until, self._bans.get(peer, until))
        if len(self._bans) > MAX_BANS:
            del self._bans[min(self._bans, key=self._bans.__getitem__)]

    def is_banned(self, peer: PeerId, now: float) -> bool:
        """Whether the peer is refused now."""
        until = self._bans.get(peer)
        if until is None:
            return False
        if until <= now:
            del self._bans[peer]
            return False
        return True

    # --- counts -----------------------------------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """Inbound sockets without a proven peer id."""
        return len(self._pending)

    @property
    def established(self) -> int:
        """Connections with a proven peer id."""
        return len(self._established)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _classify(self, address: str) -> tuple[str, str, bool]:
        """(host, network, exempt) as the accounts have them."""
        ip = ipaddress.ip_address(address.split("%", 1)[0])
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        host_bits, network_bits = (32, 24) if isinstance(ip, ipaddress.IPv4Address) else (64, 48)
        host, network = (str(ipaddress.ip_network((ip, bits), strict=False)) for bits in (host_bits, network_bits))
        exempt = (self._limits.exempt_loopback and ip.is_loopback) or (self._limits.exempt_private and ip.is_private)
        return host, network, exempt

    def _colocation(self, host: str, network: str) -> Refusal | None:
        if sum(slot.host == host for slot in self._established) >= self._limits.per_address:
            return Refusal.ADDRESS
        if sum(slot.network == network for slot in self._established) >= self._limits.per_network:
            return Refusal.NETWORK
        return None

    def _may_arrive(self, host: str, now: float) -> bool:
        rate, burst = self._limits.arrivals_per_second, self._limits.arrivals_burst
        tokens, last = self._arrivals.pop(host, (float(burst), now))
        tokens = min(float(burst), tokens + (now - last) * rate)
        self._arrivals[host] = (max(tokens - 1.0, 0.0), now)
        if len(self._arrivals) > MAX_ARRIVALS:
            del self._arrivals[next(iter(self._arrivals))]
        return tokens >= 1.0

    def _evict_pending(self, now: float) -> bool:
        """Close one pending socket: the oldest that never spoke, else the one that has stalled longest."""
        victim = next((slot for slot in self._pending if slot.heard() is None), None)
        if victim is None:
            victim = min(self._pending, key=lambda slot: slot.heard() or 0.0)
            if now - (victim.heard() or 0.0) < GRACE_SECONDS:
                return False
        del self._pending[victim]
        victim.evict()
        return True

    def _standing_of(self, slot: Slot) -> float:
        return self._standing(slot.peer) if slot.peer is not None else 0.0

    def _rank(self, slot: Slot) -> tuple[float, float]:
        """Lowest first: worst standing, and of those the youngest, so that a flood replaces itself."""
        return (self._standing_of(slot), -slot.since)
