"""What is inside the body of a call: one value, with arrays and large bytes beside it as they are (AXON R10).

`u32 head length | head | segments`. The head is CBOR `[value, [[dtype, shape, codec, length], …]]`; where the value has
tag 40000, the segment of that index belongs. Segments start at multiples of 8 bytes, so that arrays can be used where
they lie. The format for other languages: docs/axon-payload.md.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import cbor2
import numpy as np

from ...consensus.types import InvalidError, MalformedError
from .payload_scan import MAX_DEPTH, MAX_ITEMS, SEGMENT_TAG, load, scan_value
from .tensor_codec import (
    MANDATORY,
    NONE,
    array_size,
    choose_codecs,
    dtype_name,
    local_codecs,
    pack,
    packed_size,
    unpack,
)

__all__ = ["Coded", "choose_codecs", "decode_payload", "encode_payload", "local_codecs"]

INLINE_BYTES: Final = 4096
"""Bytes values of this length and more travel as segments: below, the table's entry costs more than the copy."""

MAX_SEGMENTS: Final = 4096

MAX_DECODED: Final = 64 << 20
"""Bytes of all arrays of one body after decoding: a full body of int8 as float32."""

_ALIGN: Final = 8
_LENGTH: Final = struct.Struct(">I")
_ZEROS: Final = bytes(_ALIGN)
_BYTES: Final = "bytes"
_LEAST: Final = -(1 << 64)
_MOST: Final = (1 << 64) - 1
_BASES: Final[tuple[type[Any], ...]] = (int, float, bytes, dict, list, tuple)
_AS_IS: Final = frozenset({str, float, bool, type(None)})


@dataclass(frozen=True, slots=True, eq=False)
class Coded:
    """An array that its author wants sent by a codec of its own."""

    array: np.ndarray[Any, Any]
    codec: str


def encode_payload(
    value: Any, *, codecs: Sequence[str] = (NONE,), peer: Collection[str] = MANDATORY
) -> list[bytes | memoryview]:
    """The parts of a body, in order; large ones are views over the caller's memory.

    `codecs` are tried in order on every array (from `choose_codecs`), `peer` is what the other side decodes.
    Raises InvalidError for a value that has no form here.
    """
    writer = _Writer(codecs, peer)
    plain = writer.plain(value, 0)
    try:
        head = cbor2.dumps([plain, writer.table])
    except (UnicodeEncodeError, ValueError, TypeError) as error:
        raise InvalidError(f"the value cannot be sent: {error}", remedy="use text that is valid Unicode") from error
    parts: list[bytes | memoryview] = [_LENGTH.pack(len(head)) + head]
    at = len(parts[0])
    for segment in writer.segments:
        if at % _ALIGN:
            parts.append(_ZEROS[at % _ALIGN :])
            at += _ALIGN - at % _ALIGN
        parts.append(segment)
        at += len(segment)
    return parts


class _Writer:
    """One encoding: takes large things out of a value."""

    def __init__(self, codecs: Sequence[str], peer: Collection[str]) -> None:
        self.table: list[list[Any]] = []
        self.segments: list[bytes | memoryview] = []
        self._codecs = codecs
        self._peer = peer

    def plain(self, value: Any, depth: int) -> Any:
        """`value` as what the encoder takes, with tags for segments."""
        kind = type(value)
        if kind in _AS_IS:
            return value
        if kind is int:
            if not _LEAST <= value <= _MOST:
                raise InvalidError(f"integer {value} does not fit 64 bits", remedy="send it as bytes or text")
            return value
        if kind is bytes:
            return value if len(value) < INLINE_BYTES else self._segment(_BYTES, [len(value)], NONE, value)
        if kind is dict or kind is list or kind is tuple:
            if depth >= MAX_DEPTH:
                raise InvalidError(f"lists and dicts nest deeper than {MAX_DEPTH}", remedy="send a flatter value")
            if kind is dict:
                return {_key(key): self.plain(item, depth + 1) for key, item in value.items()}
            return [self.plain(item, depth + 1) for item in value]
        return self._uncommon(value, depth)

    def _uncommon(self, value: Any, depth: int) -> Any:
        if isinstance(value, Coded):
            codec = (value.codec,) if value.codec in self._peer else (NONE,)
            return self._array(value.array, codec)
        if isinstance(value, np.ndarray):
            return self._array(value, self._codecs)
        if isinstance(value, np.generic):
            return self.plain(value.item(), depth)
        if isinstance(value, bytearray | memoryview):
            return self.plain(bytes(value), depth)
        if isinstance(value, str):
            return str.__str__(value)
        for base in _BASES:
            if isinstance(value, base):
                return self.plain(base(value), depth)
        raise InvalidError(
            f"a value of type {type(value).__name__} cannot be sent",
            remedy="use numbers, text, bytes, lists, dicts and numpy arrays, or a dataclass with a method's types",
        )

    def _array(self, array: np.ndarray[Any, Any], codecs: Sequence[str]) -> cbor2.CBORTag:
        codec, data = pack(array, codecs)
        return self._segment(dtype_name(array), list(array.shape), codec, data)

    def _segment(self, dtype: str, shape: list[int], codec: str, data: bytes | memoryview) -> cbor2.CBORTag:
        if len(self.segments) >= MAX_SEGMENTS:
            raise InvalidError(f"more than {MAX_SEGMENTS} arrays and large bytes", remedy="stack arrays into one")
        self.table.append([dtype, shape, codec, len(data)])
        self.segments.append(data)
        return cbor2.CBORTag(SEGMENT_TAG, len(self.table) - 1)


def _key(key: Any) -> Any:
    if type(key) is str or (type(key) is int and _LEAST <= key <= _MOST):
        return key
    if isinstance(key, str):
        return str.__str__(key)
    raise InvalidError(f"{key!r:.40} cannot be a key", remedy="use text or integers of 64 bits as keys")


def decode_payload(
    data: bytes | bytearray | memoryview, *, max_items: int = MAX_ITEMS, max_decoded: int = MAX_DECODED
) -> Any:
    """The value of a body. Arrays are read-only and, without a codec, views over `data`; bytes are copies, so that a
    small field does not keep a large body alive. Raises MalformedError, and nothing else, whatever `data` holds.
    """
    view = memoryview(data)
    size = len(view)
    if size < _LENGTH.size:
        raise MalformedError(f"body of {size} bytes, at least {_LENGTH.size} expected")
    start = _LENGTH.size + _LENGTH.unpack_from(view)[0]
    if start > size:
        raise MalformedError("the head of the body is longer than the body")
    head = bytes(view[_LENGTH.size : start])
    if not head or head[0] != 0x82:
        raise MalformedError("the head of the body must be an array of two")
    end, named = scan_value(head, 1, max_items=max_items)
    if not named:
        if start != size or head[end:] != b"\x80":
            raise MalformedError("the body carries segments that its value does not name")
        return load(head[1:end])
    segments = _segments(head[end:], view, start, named, max_decoded)

    def segment(*arguments: Any) -> Any:
        # The library has passed (decoder, tag) before its version 6 and (tag, immutable) since.
        return next(segments[tag.value] for tag in arguments if isinstance(tag, cbor2.CBORTag))

    return load(head[1:end], tag_hook=segment)


def _segments(table: bytes, view: memoryview, at: int, named: int, max_decoded: int) -> list[Any]:
    """All segments, each checked against the table before anything is allocated for it."""
    stop, _ = scan_value(table, max_items=1 + MAX_SEGMENTS * 24, segments=False)
    rows = load(table) if stop == len(table) else None
    if type(rows) is not list or len(rows) != named or named > MAX_SEGMENTS:
        raise MalformedError(f"the value names {named} segments, the table does not list as many")
    segments: list[Any] = []
    for row in rows:
        if type(row) is not list or len(row) != 4 or type(row[3]) is not int:
            raise MalformedError("an entry of the segment table is not [dtype, shape, codec, length]")
        begin = -(-at // _ALIGN) * _ALIGN
        end = begin + row[3]
        if not begin <= end <= len(view):
            raise MalformedError("a segment reaches beyond the body")
        if any(view[at:begin]):
            raise MalformedError("the bytes between segments must be zero")
        content, at = view[begin:end], end
        if row[0] == _BYTES:
            max_decoded -= len(content)
            if row[1] != [len(content)] or row[2] != NONE:
                raise MalformedError("a segment of bytes does not have its declared form")
        else:
            dtype, shape, array_bytes = array_size(row[0], row[1])
            expected = packed_size(row[2], dtype, array_bytes)
            max_decoded -= array_bytes
            if expected not in (None, len(content)):
                raise MalformedError(f"a segment has {len(content)} bytes, its dtype and shape make {expected}")
        if max_decoded < 0:
            raise MalformedError("the arrays of the body are larger than allowed")
        segments.append(bytes(content) if row[0] == _BYTES else unpack(row[2], dtype, shape, array_bytes, content))
    if at != len(view):
        raise MalformedError(f"{len(view) - at} bytes after the last segment")
    return segments
