"""What the calls of one fan-out share: they go together (AXON R27), and their replies have common room (R11)."""

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


class ReplyRoom:
    """Bytes of the replies of one fan-out, which are all held until the last is there.

    Each target has an equal part to itself, so that nobody's large reply costs another its own. One whose reply is
    larger gives its part up and waits for what all have left; so the first of many large ones get through.
    """

    def __init__(self, most: int, targets: int) -> None:
        self.part = most // max(1, targets)
        self.spare = 0
        """Bytes of parts that their targets did not need, or gave up."""
        self.changed = trio.lowlevel.ParkingLot()


class ReplyPart:
    """The room that one target has."""

    def __init__(self, room: ReplyRoom) -> None:
        self._room = room
        self._size = room.part
        self.wanted = 0
        """Bytes of a reply that waits for room; 0 when none does."""

    async def grow(self, size: int) -> None:
        """Have room for a reply of `size` bytes. May be cancelled."""
        if size <= self._size:
            return
        self.settle(0)
        self.wanted = size
        while size > self._room.spare:
            await self._room.changed.park()
        self._room.spare -= size
        self._size = size
        self.wanted = 0

    def settle(self, size: int) -> None:
        """So many bytes are held from now on: the rest is for the others."""
        self._room.spare += self._size - size
        self._size = size
        self._room.changed.unpark_all()
