"""Where hotkeys are reached: the book's records as endpoints, best first (AXON R33, R34)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from ...consensus.signature import KeyPair
from ...consensus.types import AccountId
from ...protocols.axon.interfaces import Endpoint
from ...protocols.axon.record_book import HeldRecord, RecordBook
from ...protocols.axon.records import dial_addresses
from ...protocols.axon.sealed_addresses import open_addresses
from ...protocols.interfaces import Clock
from ...protocols.transport import PeerId, Transport

MAX_LATENCIES: Final = 4096
"""Peers whose latency is remembered; the longest unmeasured goes first."""

MAX_OPENED: Final = 4096
"""Opened boxes that are remembered: opening takes 0.1 ms, and a call must not pay it."""

_WEIGHT: Final = 0.3
"""Of the newest measurement: five of them forget a spike."""


class Latencies:
    """Smoothed seconds to open a stream to each peer, as probes and calls measured them here."""

    def __init__(self) -> None:
        self._seconds: OrderedDict[PeerId, float] = OrderedDict()

    def note(self, peer: PeerId, seconds: float) -> None:
        """A stream was opened in that time."""
        before = self._seconds.get(peer)
        self._seconds[peer] = seconds if before is None else before + _WEIGHT * (seconds - before)
        self._seconds.move_to_end(peer)
        while len(self._seconds) > MAX_LATENCIES:
            self._seconds.popitem(last=False)

    def failed(self, peer: PeerId) -> None:
        """It could not be reached: what was measured before says nothing any more."""
        self._seconds.pop(peer, None)

    def of(self, peer: PeerId) -> float | None:
        """Seconds; None when it was never measured, or not reached the last time."""
        return self._seconds.get(peer)


class RecordDirectory:
    """A `Directory` over a record book."""

    def __init__(
        self,
        book: RecordBook,
        transport: Transport,
        clock: Clock,
        latencies: Latencies,
        keys: Callable[[], Sequence[KeyPair]] = tuple,
        dialable: Callable[[tuple[str, ...]], tuple[str, ...]] = lambda addresses: addresses,
    ) -> None:
        """`keys` are the hotkeys of this peer that may hold a permit: sealed addresses are opened with them.

        `dialable` chooses the addresses that this peer dials.
        """
        self._book = book
        self._transport = transport
        self._clock = clock
        self._latencies = latencies
        self._keys = keys
        self._dialable = dialable
        self._opened: OrderedDict[tuple[bytes, ...], tuple[str, ...]] = OrderedDict()

    def endpoints(self, netuid: int, hotkey: AccountId) -> Sequence[Endpoint]:
        """Connected peers first, then by measured latency, then the newest record; this peer itself last.

        A peer that is not connected and whose addresses we cannot read is left out.
        """
        connected = set(self._transport.connected())
        ranked = []
        for held in self._book.of(netuid, hotkey, self._clock.now()):
            peer = held.record.peer
            addresses = self._dialable(self._addresses(held))
            if not addresses and peer not in connected:
                continue
            latency = self._latencies.of(peer)
            rank = (
                peer == self._transport.local_peer,
                peer not in connected,
                latency is None,
                latency or 0.0,
                -held.record.sequence,
            )
            ranked.append((rank, Endpoint(peer, addresses)))
        return [endpoint for _, endpoint in sorted(ranked, key=lambda pair: (pair[0], pair[1].peer))]

    def _addresses(self, held: HeldRecord) -> tuple[str, ...]:
        record = held.record
        if not record.is_sealed:
            return record.dial_addresses()
        keys = self._keys()
        name = (record.boxes_hash, record.peer.encode(), *(key.public_key for key in keys))
        if name not in self._opened:
            found = next((opened for key in keys if (opened := open_addresses(held.boxes, key)) is not None), ())
            self._opened[name] = dial_addresses(found, record.peer)
            while len(self._opened) > MAX_OPENED:
                self._opened.popitem(last=False)
        return self._opened[name]
