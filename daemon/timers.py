"""The engine's timers: one pending wake-up per identity, a later setting replaces the earlier."""

from __future__ import annotations

import heapq

from ..consensus.effects import Timer
from ..consensus.types import Micros


class Timers:
    """A heap with lazy deletion: replaced entries stay until they surface."""

    def __init__(self) -> None:
        self._heap: list[tuple[Micros, int, Timer]] = []
        self._valid: dict[Timer, int] = {}
        self._sequence = 0

    def set(self, timer: Timer, at: Micros) -> None:
        """Wake for `timer` at `at` (unix microseconds)."""
        self._sequence += 1
        self._valid[timer] = self._sequence
        heapq.heappush(self._heap, (at, self._sequence, timer))

    def pop_due(self, now: Micros) -> Timer | None:
        """The earliest timer that is due, removed; None when none is."""
        self._drop_stale()
        if not self._heap or self._heap[0][0] > now:
            return None
        timer = heapq.heappop(self._heap)[2]
        del self._valid[timer]
        return timer

    def next_at(self) -> Micros | None:
        """When the earliest timer is due; None without timers."""
        self._drop_stale()
        return self._heap[0][0] if self._heap else None

    def _drop_stale(self) -> None:
        while self._heap and self._valid.get(self._heap[0][2]) != self._heap[0][1]:
            heapq.heappop(self._heap)
