"""What became final, handed from consensus and sync to mempool, index and watchers in the order of the chain.

The lane puts a report while it is held, so two finalisers can never overtake one another. Putting never waits and never
fails: whoever makes blocks final waits for `room` before the next ones, which bounds what is held here.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

import trio

from ..consensus.certificate import Certificate
from ..consensus.working_chain import FinalisedBlock

MOST_WAITING: Final = 4
"""Reports that may wait before finalisers pause. One of range sync holds 64 blocks with all that they changed."""


@dataclass(frozen=True, slots=True)
class FinalReport:
    """Blocks that became final together, ascending, and the certificate of the last one."""

    blocks: tuple[FinalisedBlock, ...]
    certificate: Certificate


class FinalReports:
    """First in, first out; one reader."""

    def __init__(self, most_waiting: int = MOST_WAITING) -> None:
        self._most_waiting = most_waiting
        self._waiting: deque[FinalReport] = deque()
        self._changed = trio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, report: FinalReport) -> None:
        """Hand over one report."""
        self._waiting.append(report)
        self._wake()

    async def get(self) -> FinalReport:
        """The oldest report; waits for one."""
        while not self._waiting:
            await self._changed.wait()
        report = self._waiting.popleft()
        self._wake()
        return report

    async def room(self) -> None:
        """Wait until the reader has caught up enough for another report."""
        while len(self._waiting) >= self._most_waiting:
            await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
