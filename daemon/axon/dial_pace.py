"""Which addresses of a service record are dialed, and how often (AXON R33, complaint C8).

A record's addresses are what its maker says they are: a hostile one may name a victim's, and each peer that believes it
knocks there. Two things bound that. A peer that could not be reached is not dialed for a while, which grows with each
failure; and addresses of a private network or of this machine are dialed only by peers that live in such a network
themselves, so that a record cannot make a peer look around in the network of its operator.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Collection, Sequence
from enum import Enum
from functools import lru_cache
from typing import Final

from ...consensus.types import AccountId
from ...protocols.axon.interfaces import Directory, Endpoint
from ...protocols.interfaces import Clock
from ...protocols.transport import PeerId, Transport

FIRST_PAUSE: Final = 1_000_000
"""Microseconds after the first failure; doubled by each more. A miner that is just being restarted loses a call."""

LONGEST_PAUSE: Final = 60_000_000
"""A hotkey that names a victim costs it a dial a minute from each caller then, however often it is called."""

MAX_FAILURES: Final = 4096
"""Peers remembered; the longest unmentioned goes first."""


class PacedDirectory:
    """A `Directory` for callers: peers whose dial failed a moment ago are shown without addresses."""

    def __init__(self, directory: Directory, transport: Transport, clock: Clock) -> None:
        self._directory = directory
        self._transport = transport
        self._clock = clock
        self._failures: OrderedDict[PeerId, tuple[int, int]] = OrderedDict()
        """Failures in a row, and until when it is not dialed (Unix microseconds)."""

    def reached(self, peer: PeerId) -> None:
        """A call got through."""
        self._failures.pop(peer, None)

    def failed(self, peer: PeerId) -> None:
        """None of the peer's addresses led to it."""
        now = self._clock.now()
        count, until = self._failures.get(peer, (0, 0))
        if until > now:
            return  # it was not dialed this time
        pause = min(LONGEST_PAUSE, FIRST_PAUSE << min(count, 10))
        self._failures[peer] = (count + 1, now + pause)
        self._failures.move_to_end(peer)
        while len(self._failures) > MAX_FAILURES:
            self._failures.popitem(last=False)

    def endpoints(self, netuid: int, hotkey: AccountId) -> Sequence[Endpoint]:
        """As the directory has them, those that are not dialed now last and without addresses."""
        found = self._directory.endpoints(netuid, hotkey)
        if not self._failures:
            return found
        paused = [endpoint for endpoint in found if self._is_paused(endpoint.peer)]
        if not paused:
            return found
        return [
            *(endpoint for endpoint in found if endpoint not in paused),
            *(Endpoint(endpoint.peer, ()) for endpoint in paused),
        ]

    def _is_paused(self, peer: PeerId) -> bool:
        _, until = self._failures.get(peer, (0, 0))
        # A clock that was set back must not keep a peer from being called for ever.
        ahead = until - self._clock.now()
        return 0 < ahead <= LONGEST_PAUSE and peer not in self._transport.connected()


# --- whose network an address belongs to ------------------------------------------------------------------------------


class Scope(Enum):
    """From where an address leads to its peer."""

    PUBLIC = "public"
    LOCAL = "local"
    """From the same private network."""
    MACHINE = "machine"
    """From the same machine."""
    ANY = "any"
    """The listening address of all interfaces."""


@lru_cache(maxsize=16_384)
def scope_of(address: str) -> Scope:
    """Of a multiaddr's first host; names count as public."""
    parts = address.split("/")
    try:
        ip = ipaddress.ip_address(parts[2] if len(parts) > 2 and parts[1] in ("ip4", "ip6") else "")
    except ValueError:
        return Scope.PUBLIC
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if ip.is_unspecified:
        return Scope.ANY
    if ip.is_loopback:
        return Scope.MACHINE
    return Scope.PUBLIC if ip.is_global else Scope.LOCAL


def dialable(addresses: Collection[str], own: Collection[str], *, is_public: bool) -> tuple[str, ...]:
    """Those of `addresses` that a peer at `own` addresses dials.

    A peer that listens on all interfaces may be anywhere: `is_public` says that it knows an address of the outside.
    """
    if all(scope_of(address) is Scope.PUBLIC for address in addresses):
        return tuple(addresses)
    scopes = {scope_of(address) for address in own}
    if not scopes or (Scope.ANY in scopes and not is_public):
        scopes |= {Scope.LOCAL, Scope.MACHINE}
    scopes = (scopes | {Scope.PUBLIC}) - {Scope.ANY}
    return tuple(address for address in addresses if scope_of(address) in scopes)
