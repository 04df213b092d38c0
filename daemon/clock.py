"""Clocks of a peer: wall time for the real one, trio's own clock for a whole peer in virtual time (DESIGN 15)."""

from __future__ import annotations

import time
from dataclasses import dataclass

import trio

from ..consensus.types import Micros


class SystemClock:
    """Wall time."""

    def now(self) -> Micros:
        """Unix microseconds."""
        return Micros(time.time_ns() // 1000)


@dataclass(frozen=True, slots=True)
class TrioClock:
    """Time of the running trio loop from a fixed start: virtual under `trio.testing.MockClock`."""

    start: Micros
    """Unix microseconds at trio time 0."""
    skew: int = 0
    """Microseconds this peer's clock is ahead."""

    def now(self) -> Micros:
        """Unix microseconds, virtual."""
        return Micros(self.start + self.skew + round(trio.current_time() * 1_000_000))
