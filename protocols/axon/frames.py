"""Frames of the call protocol: `u32 payload length | u8 kind | payload` (docs/axon.md "Frames").

The reader takes what the stream has in one go and hands out frames from it, so that a small call costs one wait, not
one per field; the payload of a large body is handed on in pieces as they arrive and is never put together here.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable
from enum import IntEnum
from typing import Final

from ...consensus.types import MalformedError
from ..transport import Stream, StreamClosed
from .envelope import MAX_ENVELOPE

HEADER: Final = struct.Struct(">IB")

HEADER_BYTES: Final = HEADER.size

MAX_PART: Final = 64 * 1024
"""Bytes of a DATA or MESSAGE frame: what a small call on the same connection may have to wait for (R16)."""

SENT_PART: Final = 59_904
"""Bytes we put into a DATA frame of a large body: with both headers it fits one frame of the multiplexer (60 000), of
which 64 KiB would take two."""

FIRST_PART: Final = MAX_PART
"""Bytes of a body that travel with the envelope, before the server has said a word."""

READ_AHEAD: Final = MAX_PART + 2 * MAX_ENVELOPE
"""Bytes asked of the stream at once: one whole call of up to 64 KiB."""

FRAMES_IN_A_ROW: Final = 64
"""Frames after which a reader lets other tasks run: thousands of tiny ones may lie in one buffer."""

Part = bytes | bytearray | memoryview


class Kind(IntEnum):
    """What a frame holds."""

    CALL = 1
    """An envelope."""
    DATA = 2
    """A piece of a body, in either direction."""
    REPLY = 3
    """A reply head."""
    MESSAGE_PART = 4
    """A piece of a stream's message, not the last."""
    MESSAGE = 5
    """The last piece of a stream's message, or a whole one."""
    TRAILER = 6
    """The signed end of a stream."""
    CREDIT = 7
    """u64: bytes more that the other side may send."""
    CERTIFICATE = 8
    """A hotkey's certificate for the sender's peer id (channel mode)."""


_MOST: Final = {
    Kind.CALL: MAX_ENVELOPE,
    Kind.DATA: MAX_PART,
    Kind.REPLY: MAX_ENVELOPE,
    Kind.MESSAGE_PART: MAX_PART,
    Kind.MESSAGE: MAX_PART,
    Kind.TRAILER: MAX_ENVELOPE,
    Kind.CREDIT: 8,
    Kind.CERTIFICATE: 512,
}


def frame(kind: Kind, payload: Part = b"") -> bytes:
    """The bytes of one frame."""
    return HEADER.pack(len(payload), kind) + payload


def credit(size: int) -> bytes:
    """A CREDIT frame."""
    return HEADER.pack(8, Kind.CREDIT) + size.to_bytes(8, "big")


def decode_credit(payload: bytes) -> int:
    """The bytes granted by a CREDIT frame. Raises MalformedError."""
    if len(payload) != 8:
        raise MalformedError(f"credit of {len(payload)} bytes, expected 8")
    return int.from_bytes(payload, "big")


def with_body(head: bytes, body: Part) -> bytes:
    """`head` (whole frames) followed by the body's first part, for one write."""
    if not body:
        return head
    first = body if len(body) <= FIRST_PART else memoryview(body)[:FIRST_PART]
    return b"".join((head, HEADER.pack(len(first), Kind.DATA), first))


async def write_rest(
    write: Callable[[bytes], Awaitable[None]], body: Part, before_last: Callable[[], None] | None = None
) -> None:
    """Everything of a body after its first part, in DATA frames; `before_last` is called before the last one.

    `write` is one of the stream's. Raises StreamClosed.
    """
    view = memoryview(body)
    for at in range(FIRST_PART, len(view), SENT_PART):
        part = view[at : at + SENT_PART]
        if before_last is not None and at + SENT_PART >= len(view):
            before_last()
        await write(HEADER.pack(len(part), Kind.DATA) + part)


class FrameReader:
    """Reads the frames of one stream. After `header` its payload must be taken before the next `header`."""

    __slots__ = ("_at", "_data", "_stream")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._data = b""
        self._at = 0

    async def header(self) -> tuple[Kind, int] | None:
        """Kind and payload size of the next frame; None at a clean end between two frames.

        Raises MalformedError on an unknown kind or a size above its bound, StreamClosed on a reset or a cut frame.
        """
        while len(self._data) - self._at < HEADER_BYTES:
            if not await self._fill():
                if len(self._data) != self._at:
                    raise StreamClosed("the stream ended inside a frame")
                return None
        size, number = HEADER.unpack_from(self._data, self._at)
        self._at += HEADER_BYTES
        try:
            kind = _KINDS[number]
        except KeyError:
            raise MalformedError(f"frame of unknown kind {number}") from None
        if size > _MOST[kind]:
            raise MalformedError(f"{kind.name} frame of {size} bytes, at most {_MOST[kind]} allowed")
        return kind, size

    async def payload(self, size: int) -> bytes:
        """The whole payload."""
        while len(self._data) - self._at < size:
            if not await self._fill():
                raise StreamClosed("the stream ended inside a frame")
        data = self._data[self._at : self._at + size]
        self._at += size
        return data

    async def piece(self, most: int) -> bytes:
        """Between 1 and `most` bytes of a payload, as many as are there."""
        if self._at == len(self._data):
            # Of a payload that is not there yet: read up to the next header along with it, and hand it on uncopied.
            data = await self._stream.read_some(most + HEADER_BYTES)
            if not data:
                raise StreamClosed("the stream ended inside a frame")
            if len(data) <= most:
                return data
            self._data, self._at = data, most
            return data[:most]
        data = self._data[self._at : self._at + most]
        self._at += len(data)
        return data

    async def _fill(self) -> bool:
        more = await self._stream.read_some(READ_AHEAD)
        self._data = more if self._at == len(self._data) else self._data[self._at :] + more
        self._at = 0
        return bool(more)


_KINDS: Final = {int(kind): kind for kind in Kind}
