"""Frames on the socket between a peer and its plugins (AXON R24; DESIGN 7, interfaces; docs/axon.md "Plugin socket").

A frame is `u32 length | CBOR [id, kind, method, body]`. Both sides may ask: the plugin's ids are odd, the peer's even,
so that a frame's id says who asked. The bytes come from the author's own process, which may be broken or hostile: the
size is checked first, then the form by a scanner of our own, and only then does the decoder see anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import cbor2

from ...consensus.types import MalformedError

MAX_FRAME: Final = 20 << 20
"""Bytes of one frame: a body of 16 MiB, and what stands beside it."""

MAX_DEPTH: Final = 16
"""Nesting of arrays and maps."""

MAX_ITEMS: Final = 200_000
"""Items in one frame: a metagraph of 4096 neurons has 60 000."""

MAX_METHOD: Final = 64
"""Characters of a request's method."""

LENGTH_BYTES: Final = 4

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_ARGUMENT_BYTES: Final = {24: 1, 25: 2, 26: 4, 27: 8}
_FLOAT_BYTES: Final = {25: 2, 26: 4, 27: 8}
_SIMPLE_VALUES: Final = (20, 21, 22)


class FrameKind(IntEnum):
    """What a frame does with the exchange that its id names."""

    REQUEST = 0
    """Opens it."""
    REPLY = 1
    """Ends it with an answer."""
    ERROR = 2
    """Ends it with `[code, text]`."""
    MESSAGE = 3
    """One message of its stream, a byte string, from either side."""
    END = 4
    """No more messages from this side: null, or `[status, text]` when the stream was cut."""
    CREDIT = 5
    """That many more bytes of messages may be sent."""
    CANCEL = 6
    """Who asked does not want the answer any more."""
    NOTIFY = 7
    """Told without an answer; the id is 0."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. `method` is empty but for REQUEST and NOTIFY."""

    id: int
    kind: FrameKind
    method: str = ""
    body: Any = None


class FrameTooLargeError(MalformedError):
    """What was to be sent does not fit one frame."""

    code = "too_large"


def encode_frame(frame: Frame) -> bytes:
    """The bytes that travel. Raises FrameTooLargeError; TypeError for a value that CBOR does not know."""
    payload = encode_value([frame.id, int(frame.kind), frame.method, frame.body])
    if len(payload) > MAX_FRAME:
        raise FrameTooLargeError(
            f"{frame.method or frame.kind.name.lower()} of {len(payload)} bytes, a frame has at most {MAX_FRAME}",
            remedy="send less at a time",
        )
    return len(payload).to_bytes(LENGTH_BYTES, "big") + payload


def decode_frame(payload: bytes) -> Frame:
    """The frame of a payload (without its length). Raises MalformedError."""
    return _frame_of(decode_value(payload))


def _frame_of(value: Any) -> Frame:
    if type(value) is not list or len(value) != 4:
        raise MalformedError("a frame is an array of four")
    number, kind, method, body = value
    if type(number) is not int or not 0 <= number < 1 << 63:
        raise MalformedError("a frame's id is an unsigned number")
    if type(kind) is not int or not 0 <= kind <= max(FrameKind):
        raise MalformedError(f"frame of unknown kind {str(kind)[:20]}")
    if type(method) is not str or len(method) > MAX_METHOD:
        raise MalformedError("a frame's method is a short text")
    return Frame(number, FrameKind(kind), method, body)


def encode_value(value: Any) -> bytes:
    """CBOR of a plain value."""
    return cbor2.dumps(value)


def decode_value(data: bytes) -> Any:
    """The plain value of which `data` is one encoding: numbers, texts, bytes, arrays, maps. Raises MalformedError."""
    count_items(data)
    return _loaded(data)


def _loaded(data: bytes) -> Any:
    try:
        return cbor2.loads(data)
    except Exception as error:  # text that is not UTF-8, keys that are maps: whatever the library raises is a refusal
        raise MalformedError("not decodable") from error


def count_items(data: bytes) -> int:
    """How many items `data` has. Raises MalformedError unless it is exactly one, with those inside it, without tags and
    open lengths, not too deep, and as long as it says."""
    position, size, items = 0, len(data), 0
    pending = [1]
    while pending:
        if pending[-1] == 0:
            pending.pop()
            continue
        pending[-1] -= 1
        items += 1
        if items > MAX_ITEMS:
            raise MalformedError(f"more than {MAX_ITEMS} items")
        if position >= size:
            raise MalformedError("truncated")
        major, short = data[position] >> 5, data[position] & 31
        position += 1
        if major == _SIMPLE:
            position += _simple_bytes(short)
            continue
        argument = short
        if short >= 24:
            width = _ARGUMENT_BYTES.get(short)
            if width is None:
                raise MalformedError("open lengths are not allowed")
            argument = int.from_bytes(data[position : position + width], "big")
            position += width
        if major in (_BYTES, _TEXT):
            position += argument
        elif major in (_ARRAY, _MAP):
            count = argument if major == _ARRAY else 2 * argument
            if count > size - position:  # each item takes a byte: no allocation for a length that cannot be there
                raise MalformedError("truncated")
            if len(pending) > MAX_DEPTH:
                raise MalformedError(f"values nest deeper than {MAX_DEPTH}")
            pending.append(count)
        elif major == _TAG:
            raise MalformedError("tags are not allowed")
    if position != size:
        raise MalformedError("truncated" if position > size else f"{size - position} trailing bytes")
    return items


def _simple_bytes(short: int) -> int:
    if short in _SIMPLE_VALUES:
        return 0
    width = _FLOAT_BYTES.get(short)
    if width is None:
        raise MalformedError("only false, true, null and floats are allowed of the simple values")
    return width


class FrameBuffer:
    """Bytes as they come, frames as they are complete. Never holds more than one frame and one read."""

    def __init__(self, most: int = MAX_FRAME) -> None:
        """`most` bytes of a frame are taken."""
        self.most = most
        self.items = 0
        """In the latest frame: what it cost to read it."""
        self._buffer = bytearray()

    def __len__(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """What was read."""
        self._buffer += data

    def next(self) -> Frame | None:
        """The next complete frame. Raises MalformedError, after which the stream is of no use."""
        buffer = self._buffer
        if len(buffer) < LENGTH_BYTES:
            return None
        length = int.from_bytes(buffer[:LENGTH_BYTES], "big")
        if length > self.most:
            raise MalformedError(f"frame of {length} bytes, at most {self.most} allowed")
        end = LENGTH_BYTES + length
        if len(buffer) < end:
            return None
        with memoryview(buffer) as view:
            payload = bytes(view[LENGTH_BYTES:end])
        del buffer[:end]
        self.items = count_items(payload)
        return _frame_of(_loaded(payload))
