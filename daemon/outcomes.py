"""What the newest final blocks did: results and events, which a body does not hold."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from ..consensus.rules.interface import BlockOutcome
from ..consensus.types import Height

MOST_BLOCKS: Final = 2048
MOST_TRANSACTIONS: Final = 20_000
"""Bounds of memory: hours of a usual chain in about 10 MB."""


class RecentOutcomes:
    """Outcomes by height, the oldest forgotten first."""

    def __init__(self) -> None:
        self._held: OrderedDict[Height, BlockOutcome] = OrderedDict()
        self._transactions = 0

    def add(self, height: Height, outcome: BlockOutcome) -> None:
        """A block became final."""
        self._held[height] = outcome
        self._transactions += len(outcome.transactions)
        while len(self._held) > MOST_BLOCKS or (self._transactions > MOST_TRANSACTIONS and len(self._held) > 1):
            _, oldest = self._held.popitem(last=False)
            self._transactions -= len(oldest.transactions)

    def get(self, height: Height) -> BlockOutcome | None:
        """What the block of `height` did, if it is remembered."""
        return self._held.get(height)
