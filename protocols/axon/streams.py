"""Streams of messages in a call: credit, bounds, the running hash and the signed end (AXON R9; docs/axon.md "Streams").

One `MessageReceiver` and one `MessageSender` per direction, the same on both sides. Credit counts what holding a frame
costs beside its payload, so that a flood of empty messages costs as much as one of full ones.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import sha256
from typing import Final

import trio

from ...consensus.types import MalformedError
from .frames import MAX_PART, Kind, Part, credit, frame
from .interfaces import StreamAborted
from .limits import AxonLimits
from .replies import Trailer
from .status import Status

INITIAL_CREDIT: Final = 256 * 1024
"""Bytes each side may send before it has seen a CREDIT frame. One window of the transport: a sender within its credit
never waits for the network's flow control, so no write meets its deadline because an application is slow."""

FRAME_COST: Final = 64
"""Credit that a frame costs beside its payload: about what a queue pays for holding it."""

_LENGTH: Final = struct.Struct(">I")

Write = Callable[[bytes], Awaitable[None]]
"""Sends whole frames; raises StreamClosed."""


class MessageReceiver:
    """Messages that come in. The stream's reader feeds it, the application iterates `messages`."""

    def __init__(self, limits: AxonLimits, write: Write, is_good: Callable[[Trailer], bool]) -> None:
        """`write` sends credit; `is_good` says whether the other side signed a trailer for this request."""
        self._limits = limits
        self._write = write
        self._is_good = is_good
        self._parts: deque[tuple[bytes, bool]] = deque()
        self._credit = INITIAL_CREDIT
        self._taken = 0
        self._hash = sha256()
        self._messages = 0
        self._bytes = 0
        self._trailer: Trailer | None = None
        self._aborted: StreamAborted | None = None
        self._news = trio.lowlevel.ParkingLot()

    @property
    def trailer(self) -> Trailer | None:
        """The end, once it has come; vouched for only when `messages` has ended without an error."""
        return self._trailer

    @property
    def failure(self) -> StreamAborted | None:
        """Why the messages are not vouched for, as far as it is known."""
        return self._aborted

    # --- from the stream's reader -------------------------------------------------------------------------------------

    def take(self, payload: bytes, *, last: bool) -> None:
        """A MESSAGE or MESSAGE_PART frame. Raises MalformedError beyond the credit or after the trailer."""
        self._credit -= len(payload) + FRAME_COST
        if self._credit < 0:
            raise MalformedError("messages beyond the credit")
        if self._trailer is not None:
            raise MalformedError("a message after the trailer")
        if self._aborted is None:
            self._parts.append((payload, last))
            self._news.unpark_all()

    def end(self, trailer: Trailer) -> None:
        """The TRAILER frame. Raises MalformedError when there was one."""
        if self._trailer is not None:
            raise MalformedError("a second trailer")
        self._trailer = trailer
        self._news.unpark_all()

    def abort(self, status: Status, text: str) -> None:
        """No more will come."""
        if self._aborted is None:
            self._aborted = StreamAborted(status, text)
            self._news.unpark_all()

    # --- from the application -----------------------------------------------------------------------------------------

    async def messages(self) -> AsyncIterator[bytes]:
        """Every message in order. Raises StreamAborted unless the stream ends with a good trailer."""
        while (message := await self.next()) is not None:
            yield message

    async def next(self) -> bytes | None:
        """The next message; None at a good end. Raises StreamAborted."""
        parts: list[bytes] = []
        size = 0
        while True:
            while not self._parts:
                if self._trailer is not None:
                    self._check_end(self._trailer, bool(parts))
                    return None
                await self._wait()
            part, last = self._parts.popleft()
            size += len(part)
            self._bytes += len(part)
            if size > self._limits.max_message or self._bytes > self._limits.max_stream_bytes:
                self.abort(Status.TOO_LARGE, "a message, or the stream, is larger than allowed")
                self._parts.clear()
                continue
            parts.append(part)
            await self._give_credit(len(part) + FRAME_COST)
            if last:
                message = parts[0] if len(parts) == 1 else b"".join(parts)
                self._messages += 1
                self._hash.update(_LENGTH.pack(len(message)))
                self._hash.update(message)
                return message

    async def _wait(self) -> None:
        self._raise_if_aborted()
        with trio.move_on_after(self._limits.stream_idle) as scope:
            await self._news.park()
        if scope.cancelled_caught:
            self.abort(Status.STREAM_ABORTED, f"no message for {self._limits.stream_idle:g} s")

    def _raise_if_aborted(self) -> None:
        if self._aborted is not None:
            raise self._aborted

    async def _give_credit(self, size: int) -> None:
        self._taken += size
        if self._taken * 2 >= INITIAL_CREDIT and self._trailer is None:
            granted, self._taken = self._taken, 0
            self._credit += granted
            await self._write(credit(granted))

    def _check_end(self, trailer: Trailer, inside_message: bool) -> None:
        if not self._is_good(trailer):
            self.abort(Status.STREAM_ABORTED, "the trailer is not signed by the other side")
        elif trailer.status is not Status.OK:
            self.abort(trailer.status, trailer.text)
        elif (
            inside_message
            or trailer.messages != self._messages
            or trailer.total_bytes != self._bytes
            or trailer.running_hash != self._hash.digest()
        ):
            self.abort(Status.STREAM_ABORTED, "the trailer does not belong to what was received")
        self._raise_if_aborted()


class MessageSender:
    """Messages that go out, within the other side's credit. One task at a time."""

    def __init__(self, limits: AxonLimits, write: Write) -> None:
        self._limits = limits
        self._write = write
        self._credit = INITIAL_CREDIT
        self._hash = sha256()
        self._messages = 0
        self.sent_bytes = 0
        """Of all messages sent whole."""
        self._aborted: StreamAborted | None = None
        self._news = trio.lowlevel.ParkingLot()

    def grant(self, size: int) -> None:
        """The other side takes more."""
        self._credit = min(self._credit + size, 1 << 40)
        self._news.unpark_all()

    def abort(self, status: Status, text: str) -> None:
        """Nobody will take more."""
        if self._aborted is None:
            self._aborted = StreamAborted(status, text)
            self._news.unpark_all()

    async def send(self, message: Part) -> None:
        """Send one message; waits for credit. Raises StreamAborted, also when a bound of our own is passed."""
        size = len(message)
        if size > self._limits.max_message or self.sent_bytes + size > self._limits.max_stream_bytes:
            self.abort(Status.TOO_LARGE, f"a message of {size} bytes is larger than this stream allows")
        view = memoryview(message)
        at = 0
        while True:
            part = view[at : at + MAX_PART]
            await self._reserve(len(part) + FRAME_COST)
            at += len(part)
            last = at >= size
            await self._write(frame(Kind.MESSAGE if last else Kind.MESSAGE_PART, part))
            if last:
                break
        self._messages += 1
        self.sent_bytes += size
        self._hash.update(_LENGTH.pack(size))
        self._hash.update(message)

    async def _reserve(self, size: int) -> None:
        while self._aborted is None and self._credit < size:
            with trio.move_on_after(self._limits.stream_idle) as scope:
                await self._news.park()
            if scope.cancelled_caught:
                self.abort(Status.STREAM_ABORTED, f"no credit for {self._limits.stream_idle:g} s")
        if self._aborted is not None:
            raise self._aborted
        self._credit -= size

    def trailer(self, request_id: bytes, status: Status = Status.OK, text: str = "") -> Trailer:
        """The end of what was sent, to be signed."""
        return Trailer(request_id, status, self._messages, self.sent_bytes, self._hash.digest(), text)
