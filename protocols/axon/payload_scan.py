"""Form of the CBOR inside a body, checked before any decoder sees it (AXON R10; docs/axon-payload.md "Values").

Wider than the chain's encoding (consensus/cbor.py): text, floats and maps are allowed, because authors write them.
Refused are: nesting deeper than 16, tags other than the segment tag, indefinite lengths, numbers and lengths not in
their shortest form, more items than the reader allows, map keys that are neither text nor integers, and the same key
twice. UTF-8 is left to the decoder, which checks it anyway.
"""

from __future__ import annotations

from typing import Any, Final

import cbor2

from ...consensus.types import InvalidError, MalformedError

MAX_DEPTH: Final = 16
"""Nesting of arrays and maps."""

MAX_ITEMS: Final = 100_000
"""Values in one body, keys included; each costs some 100 bytes once decoded."""

SEGMENT_TAG: Final = 40_000
"""Stands for a segment; its content is the segment's index. Segments are numbered as they appear."""

_BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = 2, 3, 4, 5, 6, 7
_WIDTH: Final = {24: 1, 25: 2, 26: 4, 27: 8}
_SMALLEST: Final = {24: 24, 25: 1 << 8, 26: 1 << 16, 27: 1 << 32}
_SIMPLE_WIDTH: Final = {20: 0, 21: 0, 22: 0, 25: 2, 26: 4, 27: 8}


def scan_value(data: bytes, at: int = 0, *, max_items: int = MAX_ITEMS, segments: bool = True) -> tuple[int, int]:
    """Check the one value that begins at `at`; (where it ends, how many segments it names). Raises MalformedError."""
    size, items, named = len(data), 0, 0
    outer: list[tuple[int, set[bytes] | None]] = []
    left, keys = 1, None
    while True:
        while not left:
            if not outer:
                return at, named
            left, keys = outer.pop()
        is_key = keys is not None and not left & 1
        left -= 1
        items += 1
        if at >= size:
            raise MalformedError("truncated")
        start = at
        first = data[at]
        at += 1
        major, argument = first >> 5, first & 31
        if major == _SIMPLE:
            width = _SIMPLE_WIDTH.get(argument)
            if width is None:
                raise MalformedError(f"simple value {argument} is not allowed")
            at += width
        else:
            if argument >= 24:
                at, argument = _long_argument(data, at, argument)
            if major in (_BYTES, _TEXT):
                at += argument
            elif major in (_ARRAY, _MAP):
                if len(outer) >= MAX_DEPTH:
                    raise MalformedError(f"arrays and maps nest deeper than {MAX_DEPTH}")
                count = argument if major == _ARRAY else 2 * argument
                if count > size - at:  # each item takes a byte: nothing is kept for items that cannot be there
                    raise MalformedError("truncated")
                if is_key:
                    raise MalformedError("a map key must be text or an integer")
                outer.append((left, keys))
                left, keys = count, set() if major == _MAP else None
                items_ahead = items + count
                if items_ahead > max_items:
                    raise MalformedError(f"more than {max_items} values")
            elif major == _TAG:
                if argument != SEGMENT_TAG or not segments:
                    raise MalformedError(f"tag {argument} is not allowed")
                at = _segment_index(data, at, named)
                named += 1
        if at > size:
            raise MalformedError("truncated")
        if items > max_items:
            raise MalformedError(f"more than {max_items} values")
        if is_key:
            if major in (_BYTES, _TAG, _SIMPLE):
                raise MalformedError("a map key must be text or an integer")
            key = data[start:at]
            assert keys is not None
            if key in keys:
                raise MalformedError("the same map key twice")
            keys.add(key)


def _long_argument(data: bytes, at: int, short: int) -> tuple[int, int]:
    """The argument that follows its first byte, and where it ends."""
    width = _WIDTH.get(short)
    if width is None:
        raise MalformedError("indefinite lengths are not allowed")
    argument = int.from_bytes(data[at : at + width], "big")
    if at + width > len(data):
        raise MalformedError("truncated")
    if argument < _SMALLEST[short]:
        raise MalformedError("a number or length is not in its shortest form")
    return at + width, argument


def _segment_index(data: bytes, at: int, expected: int) -> int:
    """Where the index after a segment tag ends. It must be the next one."""
    first = data[at] if at < len(data) else 0xFF
    index, at = first, at + 1
    if 24 <= first <= 27:
        at, index = _long_argument(data, at, first)
    elif first > 23:
        raise MalformedError("a segment tag must hold an index")
    if index != expected:
        raise MalformedError(f"segment {index} where {expected} is expected: they are numbered as they appear")
    return at


def decode_plain(data: bytes, *, max_items: int = MAX_ITEMS) -> Any:
    """The value of CBOR without segments, for frames that carry no arrays. Raises MalformedError."""
    end, _ = scan_value(data, max_items=max_items, segments=False)
    if end != len(data):
        raise MalformedError(f"{len(data) - end} bytes after the value")
    return load(data)


def encode_plain(value: Any) -> bytes:
    """Inverse of `decode_plain`. Raises InvalidError for what CBOR cannot carry."""
    try:
        return cbor2.dumps(value)
    except Exception as error:
        raise InvalidError(f"not encodable: {error}", remedy="use numbers, text, bytes, lists and dicts") from error


def load(data: bytes, **options: Any) -> Any:
    """The decoder, once the scanner has passed. Raises MalformedError."""
    try:
        return cbor2.loads(data, **options)
    except MalformedError:
        raise
    except Exception as error:  # bad UTF-8, and whatever else the library may raise
        raise MalformedError("text that is not UTF-8") from error
