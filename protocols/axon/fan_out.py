"""Letting the calls of one fan-out go together (AXON R27)."""

from __future__ import annotations

import trio


class Gate:
    """Opens when all who are expected have come or given up, or when it has waited long enough."""

    def __init__(self, expected: int, opens_at: float) -> None:
        """`opens_at` is on trio's clock."""
        self._missing = expected
        self._opens_at = opens_at
        self._open = trio.Event()

    async def arrive(self) -> None:
        """Ready to send: wait for the others."""
        self.leave()
        with trio.move_on_at(self._opens_at):
            await self._open.wait()

    def leave(self) -> None:
        """Do not wait for this one any more. Whoever passed the gate may leave again: it stays open."""
        self._missing -= 1
        if self._missing <= 0:
            self._open.set()
