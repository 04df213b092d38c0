"""How long finality takes here: from receipt or sealing of a proposal to its block being final (DESIGN 7)."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Final

from ..consensus.types import Hash32, Micros

_OPEN: Final = 256
"""Proposals whose finality is awaited; more only under attack."""

_SAMPLES: Final = 4096


class FinalityTimes:
    """The last finality times of this peer."""

    def __init__(self) -> None:
        self._seen: OrderedDict[Hash32, Micros] = OrderedDict()
        self._samples: deque[int] = deque(maxlen=_SAMPLES)
        self.observer: Callable[[float], None] | None = None
        """Hears each time in seconds."""

    def proposed(self, block_hash: Hash32, now: Micros) -> None:
        """The proposal was received or sealed; only the first time counts."""
        self._seen.setdefault(block_hash, now)
        if len(self._seen) > _OPEN:
            self._seen.popitem(last=False)

    def finalised(self, hashes: Sequence[Hash32], now: Micros) -> None:
        """These blocks are final and stored."""
        for block_hash in hashes:
            seen = self._seen.pop(block_hash, None)
            if seen is not None:
                self._samples.append(max(0, now - seen))
                if self.observer is not None:
                    self.observer(self._samples[-1] / 1_000_000)

    def percentile(self, percent: int) -> float | None:
        """Milliseconds below which `percent` % of the samples lie; None without samples."""
        if not self._samples:
            return None
        ordered = sorted(self._samples)
        return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] / 1000

    def __len__(self) -> int:
        return len(self._samples)
