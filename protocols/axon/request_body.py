"""The body of one call as it comes in at the server: asked for, bounded, hashed (AXON R3, R6, R11).

Its first part comes with the envelope. The rest is asked for once the call has its turn and there is room for it, and
must then come at a pace that a slow link keeps, since a slot of the method waits for it.
"""

from __future__ import annotations

from hashlib import sha256

import trio

from ..transport import Stream
from .body_budget import RequestBudget
from .envelope import Envelope
from .frames import FIRST_PART, credit
from .interfaces import CallReply
from .limits import AxonLimits
from .status import Status


class RequestBody:
    """See the module text. Room for the first part has been taken from the budget when it is made."""

    def __init__(self, envelope: Envelope, stream: Stream, budget: RequestBudget, limits: AxonLimits) -> None:
        self._envelope = envelope
        self._stream = stream
        self._budget = budget
        self._limits = limits
        self._length = envelope.body_length
        self._allowed = min(self._length, FIRST_PART)
        """Bytes that the caller may have sent by now."""
        self._received = 0
        self._held = self._allowed
        """Bytes counted in the budget."""
        self._data: bytes | bytearray = b""
        self._hash = sha256() if self._length > FIRST_PART else None
        self._is_over = False
        self._is_complete = trio.Event()
        if not self._length:
            self._is_complete.set()

    @property
    def outstanding(self) -> int:
        """Bytes that the caller may still send."""
        return self._allowed - self._received

    @property
    def data(self) -> bytes | memoryview:
        """All of it, once `wait` has returned None."""
        data = self._data
        return data if isinstance(data, bytes) else memoryview(data).toreadonly()

    def take(self, data: bytes) -> None:
        """The next bytes, never more than are outstanding."""
        size = len(data)
        if self._is_over:
            pass
        elif size == self._length:
            self._data = data
        else:
            if not self._received:
                # Zeroed pages cost nothing until they are written: a caller must send what it makes us hold.
                self._data = bytearray(self._length)
            assert isinstance(self._data, bytearray)
            self._data[self._received : self._received + size] = data
            if self._hash is not None:
                self._hash.update(data)
        self._received += size
        if self._received == self._length:
            self._is_complete.set()

    async def wait(self) -> CallReply | None:
        """Ask for the rest and wait for all; a refusal when it cannot come, does not, or is not the signed one."""
        limits, rest = self._limits, self._length - self._allowed
        if rest:
            if not await self._budget.take_within(self._envelope.caller, rest, limits.room_seconds):
                hint = round(limits.room_seconds * 1000)
                return CallReply(Status.BUSY, text="no room for bodies", retry_after_ms=hint)
            self._held += rest
            self._allowed = self._length
            await self._stream.write_all(credit(rest))
        if not self._is_complete.is_set():
            with trio.move_on_after(limits.upload_seconds + self._length / limits.upload_rate) as patience:
                await self._is_complete.wait()
            if patience.cancelled_caught:
                return CallReply(Status.BUSY, text="the body came too slowly")
        found = sha256(self._data) if self._hash is None else self._hash
        if found.digest() != self._envelope.body_hash:
            return CallReply(Status.BAD_SIGNATURE, text="the body does not match its signed hash")
        return None

    def forget(self) -> None:
        """Give its room back; what is still to come is read past."""
        self._is_over = True
        self._data = b""
        held, self._held = self._held, 0
        self._budget.release(self._envelope.caller, held)
