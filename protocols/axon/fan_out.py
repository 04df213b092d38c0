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

    def count(self) -> None:
        """One more need not be waited for."""
        self._missing -= 1
        if self._missing <= 0:
            self._open.set()

    async def wait(self) -> None:
        """Until it is open, at most until `opens_at`."""
        with trio.move_on_at(self._opens_at):
            await self._open.wait()


class Turn:
    """One call's place at a gate: counted once, however many endpoints and stale streams it takes."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._is_counted = False

    async def arrive(self) -> None:
        """Ready to send: wait for the others."""
        self.leave()
        await self._gate.wait()

    def leave(self) -> None:
        """Do not wait for this one any more."""
        if not self._is_counted:
            self._is_counted = True
            self._gate.count()
