"""Timing of slotted Simplex derived from the slot length (CHAIN 1.3, constants). All integers, in microseconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .types import Height, Micros, Slot

PROPOSE_SHARE: Final = (1, 4)
"""Share of a slot in which only the leader's own proposal may move the view: three hops of 1 s inside 12 s."""

NOTARIZE_SHARE: Final = (5, 12)
"""Share of a slot after which a view without finality is given up."""

MOST_DRIFT: Final = 1_000_000
"""Clocks may differ by a second, or a quarter slot where that is less."""

VIEW_WINDOW: Final = 64
"""Views above the current one for which votes are kept: bounds memory under flood."""

MAX_UNFINALISED: Final = 64
"""Blocks above F at which leaders stop growing the chain; voters allow UNFINALISED_SLACK more."""

UNFINALISED_SLACK: Final = 8

LATE_FINALIZE: Final = 8
"""Finalised views whose late finalize votes still count for participation."""

BACKOFF_FREE_LEVELS: Final = 2
"""Failed views before timers stretch."""

_THREE: Final[tuple[int, ...]] = tuple(3**power for power in range(64))
"""Powers of three: 1.5^p = 3^p / 2^p. The cap of any slot length down to a microsecond needs fewer."""

_LEAST_CAP: Final = 20
_CAP_TIMEOUT: Final = 60_000_000
"""Back-off stops growing at 20x, or where T_PROPOSE reaches a minute if that is later."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Clock arithmetic of one chain."""

    genesis_time: Micros
    """Unix microseconds at which slot 0 begins."""
    slot_length: Micros
    era_blocks: int

    @property
    def propose_timeout(self) -> int:
        """T_PROPOSE in microseconds."""
        return self.slot_length * PROPOSE_SHARE[0] // PROPOSE_SHARE[1]

    @property
    def notarize_timeout(self) -> int:
        """T_NOTARIZE in microseconds."""
        return self.slot_length * NOTARIZE_SHARE[0] // NOTARIZE_SHARE[1]

    @property
    def drift(self) -> int:
        """CLOCK_DRIFT in microseconds."""
        return min(MOST_DRIFT, self.slot_length // 4)

    def slot_at(self, now: int) -> Slot:
        """Slot containing `now`; 0 before genesis time."""
        return Slot(max(0, (now - self.genesis_time) // self.slot_length))

    def start_of(self, slot: Slot | int) -> Micros:
        """Unix microseconds at which `slot` begins."""
        return Micros(self.genesis_time + slot * self.slot_length)

    def stretched(self, duration: int, level: int) -> int:
        """`duration` times the back-off k of R12: 1.5 per level above the second, capped; floored to a microsecond."""
        power = min(max(0, level - BACKOFF_FREE_LEVELS), self._cap_power)
        return min(duration * _THREE[power] >> power, duration * self._cap)

    @property
    def _cap(self) -> int:
        return max(_LEAST_CAP, _CAP_TIMEOUT // self.propose_timeout)

    @property
    def _cap_power(self) -> int:
        """Least power at which 1.5^power reaches the cap: `level` beyond it changes nothing."""
        power = 0
        while _THREE[power] < self._cap << power:
            power += 1
        return power

    @property
    def most_level(self) -> int:
        """Level at which k reaches its cap."""
        return BACKOFF_FREE_LEVELS + self._cap_power

    def era_of(self, height: Height | int) -> int:
        """Era that contains `height` (>= 1)."""
        return (height - 1) // self.era_blocks

    def boundary_of(self, era: int) -> Height:
        """Height of the last block of `era`."""
        return Height((era + 1) * self.era_blocks)
