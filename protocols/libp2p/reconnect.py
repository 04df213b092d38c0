"""Staying connected to the peers that we want: the redial loop (LIBP2P 8.7, CHAIN 7).

The library waits 60 s after a lost connection and keeps a failed peer in a negative cache for another 60 s. Here a
lost peer is dialed within a second, a failing one with growing, jittered pauses, and nothing is remembered against
it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

import structlog
import trio

from ..transport import DialFailed, PeerId, Transport
from .addresses import parse_address

TICK: Final = 0.25
"""Seconds between looks at who is missing."""

FIRST_PAUSE: Final = 0.5
LAST_PAUSE: Final = 60.0
"""Seconds between attempts: doubled after each failure, then times 0.5 to 1.5 so that peers do not dial in step."""

MAX_WANTED: Final = 256
"""Wanted peers; target is 24 connections, the rest are spares."""

MAX_ADDRESSES: Final = 4
"""Addresses kept per peer, the last working one first."""

MAX_DIALS: Final = 8
"""Dials in flight (CHAIN 7)."""

_log = structlog.get_logger("yumad.network")


@dataclass(slots=True)
class _Wanted:
    addresses: list[str] = field(default_factory=list)
    failures: int = 0
    next_try: float = 0.0
    dialing: bool = False
    was_connected: bool = False
    reason: str = ""


class Reconnector:
    """Keeps wanted peers connected. Works over any transport and in virtual time."""

    def __init__(self, transport: Transport, rng: random.Random) -> None:
        self._transport = transport
        self._rng = rng
        self._wanted: dict[PeerId, _Wanted] = {}

    def want(self, address: str) -> PeerId:
        """Keep the peer of this multiaddr connected; more addresses of one peer are tried in turn.

        Raises ValueError when the address is not one, has no peer id, is our own, or too many peers are wanted.
        """
        parsed = parse_address(address)
        if parsed.peer is None:
            raise ValueError(f"address {address!r} does not end in /p2p/<peer id>")
        if parsed.peer == self._transport.local_peer:
            raise ValueError(f"address {address!r} is this peer itself")
        if parsed.peer not in self._wanted and len(self._wanted) >= MAX_WANTED:
            raise ValueError(f"{MAX_WANTED} peers are wanted already; drop one first")
        entry = self._wanted.setdefault(parsed.peer, _Wanted())
        text = str(parsed)
        if text in entry.addresses:
            entry.addresses.remove(text)
        entry.addresses.insert(0, text)
        del entry.addresses[MAX_ADDRESSES:]
        return parsed.peer

    def drop(self, peer: PeerId) -> None:
        """No longer redial the peer; its connection stays."""
        self._wanted.pop(peer, None)

    def wanted(self) -> tuple[PeerId, ...]:
        """Wanted peers in ascending order."""
        return tuple(sorted(self._wanted))

    def known_address(self, peer: PeerId) -> str | None:
        """The address that is tried first, also what worked last."""
        entry = self._wanted.get(peer)
        return entry.addresses[0] if entry is not None else None

    def failure(self, peer: PeerId) -> str:
        """Why the last dial of a wanted peer failed; empty when none has failed since it was last connected."""
        entry = self._wanted.get(peer)
        return entry.reason if entry is not None else ""

    async def run(self) -> None:
        """Redial until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                self._look(nursery)
                await trio.sleep(TICK)

    def _look(self, nursery: trio.Nursery) -> None:
        now = trio.current_time()
        connected = set(self._transport.connected())
        dialing = sum(entry.dialing for entry in self._wanted.values())
        for peer, entry in self._wanted.items():
            if peer in connected:
                entry.was_connected, entry.failures, entry.reason = True, 0, ""
                continue
            if entry.was_connected:
                # Just lost: at once, but not all peers of a network cut in the same instant.
                entry.was_connected = False
                entry.next_try = now + FIRST_PAUSE * self._rng.random()
            if entry.dialing or entry.next_try > now or dialing >= MAX_DIALS or self._transport.is_banned(peer):
                continue
            entry.dialing = True
            dialing += 1
            nursery.start_soon(self._dial, peer, entry)

    async def _dial(self, peer: PeerId, entry: _Wanted) -> None:
        address = entry.addresses[entry.failures % len(entry.addresses)]
        try:
            await self._transport.dial(address)
            if address in entry.addresses:
                entry.addresses.remove(address)
                entry.addresses.insert(0, address)
        except DialFailed as error:
            entry.failures += 1
            entry.reason = error.reason
            pause = min(LAST_PAUSE, FIRST_PAUSE * 2 ** min(entry.failures - 1, 16))
            entry.next_try = trio.current_time() + pause * (0.5 + self._rng.random())
            _log.debug("dial failed", peer=peer, address=address, reason=error.reason, failures=entry.failures)
        finally:
            entry.dialing = False
