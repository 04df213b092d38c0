"""Length-prefixed frames on a stream, and the reply chunk `[code, payload]` (CHAIN 2.1).

The prefix is a big-endian u32. Its value is compared with the bound of the reader before a byte of the frame is read.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from ..consensus import cbor
from ..consensus.types import MalformedError
from .transport import Stream

PREFIX_BYTES: Final = 4

_MAX_REASON_BYTES: Final = 256
"""Text beside a failure code; for a log line only."""


class ReplyCode(IntEnum):
    """First field of every reply chunk."""

    OK = 0
    BAD_REQUEST = 1
    """The request is malformed or breaks a bound."""
    SERVER_ERROR = 2
    """The server failed; try another peer."""
    NOT_AVAILABLE = 3
    """The server does not have it (pruned, not yet known)."""
    THROTTLED = 4
    """Over quota for longer than the server waits."""


def frame(payload: bytes) -> bytes:
    """`payload` behind its length."""
    return len(payload).to_bytes(PREFIX_BYTES, "big") + payload


async def read_frame(stream: Stream, most: int) -> bytes:
    """The next frame. Raises MalformedError before reading more than `most` bytes, StreamClosed at the end of file."""
    size = int.from_bytes(await stream.read_exactly(PREFIX_BYTES), "big")
    return await _read_body(stream, size, most)


async def read_frame_after(stream: Stream, first: bytes, most: int) -> bytes:
    """The frame whose first byte was read already (by `read_some(1)`, to tell an end of file from a frame)."""
    size = int.from_bytes(first + await stream.read_exactly(PREFIX_BYTES - 1), "big")
    return await _read_body(stream, size, most)


async def _read_body(stream: Stream, size: int, most: int) -> bytes:
    if size > most:
        raise MalformedError(f"frame of {size} bytes, at most {most} allowed")
    return await stream.read_exactly(size) if size else b""


def encode_chunk(code: ReplyCode, payload: bytes) -> bytes:
    """Canonical bytes `[code, payload]`, without the length prefix."""
    return cbor.encode([int(code), payload])


def encode_failure(code: ReplyCode, reason: str) -> bytes:
    """A chunk that ends a reply with a failure."""
    return encode_chunk(code, reason.encode("utf-8", "replace")[:_MAX_REASON_BYTES])


def decode_chunk(data: bytes, *, max_bytes: int) -> tuple[ReplyCode, bytes]:
    """Inverse of `encode_chunk`. Raises MalformedError."""
    code, payload = cbor.as_array(cbor.decode(data, max_bytes=max_bytes), 2, what="reply chunk")
    if cbor.as_uint(code, 8, what="reply code") > ReplyCode.THROTTLED:
        raise MalformedError(f"reply code {code} is unknown")
    return ReplyCode(code), cbor.as_bytes(payload, what="payload")
