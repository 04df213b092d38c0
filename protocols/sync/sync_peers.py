"""Whom sync asks: peers with what they claim, how busy they are, and who lied (CHAIN 2.2).

Claims choose whom to ask, never what is true.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

import trio

from ...consensus.types import Height
from ..interfaces import Rng
from ..messages import Status
from ..peer_ledger import Offence
from ..penalties import Penalties
from ..transport import PeerId

COOLDOWN: Final = 3.0
"""Seconds for which a peer that failed or throttled us is passed over while there are others."""

MAX_BUSY: Final = 2
"""Tasks for one peer at one time: more would only wait for its two request slots."""


@dataclass(slots=True)
class _Source:
    status: Status
    not_before: float = 0.0
    failures: int = 0


class SyncPeers:
    """The peers that sync may ask. Filled by the daemon from connection events and `status` replies."""

    def __init__(self, rng: Rng, penalties: Penalties, *, now: Callable[[], float] = trio.current_time) -> None:
        self._rng = rng
        self._penalties = penalties
        self._now = now
        self._sources: dict[PeerId, _Source] = {}
        self._busy: Counter[PeerId] = Counter()
        self._liars: dict[PeerId, None] = {}
        self._changed = trio.Event()

    def heard(self, peer: PeerId, status: Status) -> None:
        """A peer is connected and says this about itself."""
        if peer in self._liars:
            return
        known = self._sources.get(peer)
        if known is None:
            self._sources[peer] = _Source(status)
        else:
            known.status = status
        self._notify()

    def left(self, peer: PeerId) -> None:
        """The peer is gone."""
        self._sources.pop(peer, None)
        self._notify()

    def lied(self, peer: PeerId, offence: Offence) -> None:
        """The peer sent something that is proven false: it is reported and never asked again."""
        self._liars[peer] = None
        self._sources.pop(peer, None)
        self._penalties.offend(peer, offence)
        self._notify()

    def failed(self, peer: PeerId) -> None:
        """The peer did not help; others first for a while, longer each time."""
        source = self._sources.get(peer)
        if source is not None:
            source.failures += 1
            source.not_before = self._now() + COOLDOWN * min(source.failures, 10)
        self._notify()

    def short(self, peer: PeerId) -> None:
        """The peer does not have what it claimed: reported, and others first for a while."""
        self._penalties.offend(peer, Offence.SHORT_REPLY)
        self.failed(peer)

    def overclaimed(self, peer: PeerId, height: Height) -> None:
        """The peer could not prove its claim: until its next status it counts as being at `height`."""
        source = self._sources.get(peer)
        if source is not None:
            source.status = replace(source.status, finalised_height=min(source.status.finalised_height, height))
        self.failed(peer)

    def served(self, peer: PeerId) -> None:
        """The peer gave something that verified."""
        source = self._sources.get(peer)
        if source is not None:
            source.failures = 0
            source.not_before = 0.0
        self._penalties.useful(peer)

    def best_claim(self) -> Height:
        """Highest finalised height that anybody claims; 0 without peers."""
        return max((source.status.finalised_height for source in self._sources.values()), default=Height(0))

    def claims(self) -> list[tuple[PeerId, Status]]:
        """All peers with their claims, highest finalised height first."""
        ranked = sorted(self._sources.items(), key=lambda entry: (-entry[1].status.finalised_height, entry[0]))
        return [(peer, source.status) for peer, source in ranked]

    def choose(self, height: Height, *, lowest: Height | None = None, avoid: Collection[PeerId] = ()) -> PeerId | None:
        """A peer that claims to have everything from `lowest` up to `height`: least busy first, then at random.

        Peers in `avoid` come only when no other one is left; peers in cooldown likewise.
        """
        able = [
            peer
            for peer, source in sorted(self._sources.items())
            if source.status.finalised_height >= height
            and (lowest is None or source.status.earliest_body <= lowest)
            and self._busy[peer] < MAX_BUSY
        ]
        now = self._now()
        rested = [peer for peer in able if self._sources[peer].not_before <= now]
        pool = [peer for peer in rested if peer not in avoid] or rested or [p for p in able if p not in avoid]
        if not pool:
            return None
        least = min(self._busy[peer] for peer in pool)
        pool = [peer for peer in pool if self._busy[peer] == least]
        return pool[self._rng.randrange(0, len(pool))]

    @contextmanager
    def using(self, peer: PeerId) -> Iterator[None]:
        """Count a task against the peer while it lasts."""
        self.take(peer)
        try:
            yield
        finally:
            self.give_back(peer)

    def take(self, peer: PeerId) -> None:
        """A task for the peer begins. Counted when it is chosen, so that the next choice sees it."""
        self._busy[peer] += 1

    def give_back(self, peer: PeerId) -> None:
        """A task for the peer is over."""
        self._busy[peer] -= 1
        if not self._busy[peer]:
            del self._busy[peer]
        self._notify()

    async def changed(self, timeout: float) -> None:
        """Wait until a peer comes, goes or is free again, at most `timeout` seconds."""
        if self._changed.is_set():
            self._changed = trio.Event()
        with trio.move_on_after(timeout):
            await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
