"""Strict canonical CBOR: one byte string per value, nothing else decodes (CHAIN 5.5, DESIGN section 7 encoding).

The accepted subset is unsigned and negative integers of at most 64 bits, byte strings, arrays, `false`, `true` and
`null`. A byte scanner checks form, canonical lengths, depth and total size before the decoder sees anything; then the
decoded value is encoded again and compared, so a gap in the scanner can never let two encodings mean one thing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import cbor2

from .types import MalformedError

Value: TypeAlias = "int | bytes | bool | Sequence[Value] | None"
"""What may be encoded. Decoding gives lists for arrays."""

MAX_DEPTH: Final = 8
"""Nesting of arrays. Evidence inside a body inside a proposal needs five; the rest is room for later formats."""

_LEAST: Final = -(1 << 64)
_MOST: Final = (1 << 64) - 1

_UNSIGNED, _NEGATIVE, _BYTES, _ARRAY, _SIMPLE = 0, 1, 2, 4, 7
_ARGUMENT_BYTES: Final = {24: 1, 25: 2, 26: 4, 27: 8}
_SMALLEST: Final = {24: 24, 25: 1 << 8, 26: 1 << 16, 27: 1 << 32}
"""Smallest argument each length may carry; a smaller one has a shorter form and is not canonical."""


def encode(value: Value) -> bytes:
    """The canonical bytes of `value`. Raises TypeError for anything outside the subset (a programming error)."""
    _check_encodable(value, 0)
    return cbor2.dumps(value)


def _check_encodable(value: Value, depth: int) -> None:
    if type(value) is int:
        if not _LEAST <= value <= _MOST:
            raise TypeError(f"integer {value} does not fit 64 bits; encode it as bytes")
    elif isinstance(value, list | tuple):
        if depth >= MAX_DEPTH:
            raise TypeError(f"arrays nest deeper than {MAX_DEPTH}")
        for item in value:
            if type(item) is not bytes:
                _check_encodable(item, depth + 1)
    elif type(value) is not bytes and type(value) is not bool and value is not None:
        raise TypeError(f"{type(value).__name__} is not encodable")


def decode(data: bytes, *, max_bytes: int) -> Any:
    """The value that `data` is the canonical encoding of.

    Raises MalformedError when `data` is longer than `max_bytes`, is not exactly one item of the subset, nests deeper
    than MAX_DEPTH or is not canonical.
    """
    if len(data) > max_bytes:
        raise MalformedError(f"{len(data)} bytes, at most {max_bytes} allowed")
    _scan(data)
    try:
        value = cbor2.loads(data)
    except Exception as error:  # the scanner should have refused it: whatever the library raises is a refusal
        raise MalformedError("not decodable") from error
    if cbor2.dumps(value) != data:
        raise MalformedError("not canonical")
    return value


def _scan(data: bytes) -> None:
    position, size = 0, len(data)
    pending = [1]
    while pending:
        if pending[-1] == 0:
            pending.pop()
            continue
        pending[-1] -= 1
        if position >= size:
            raise MalformedError("truncated")
        major, short = data[position] >> 5, data[position] & 31
        position += 1
        if major == _SIMPLE:
            if short not in (20, 21, 22):
                raise MalformedError("only false, true and null are allowed of the simple values")
            continue
        argument = short
        if short >= 24:
            width = _ARGUMENT_BYTES.get(short)
            if width is None:
                raise MalformedError("indefinite lengths are not allowed")
            if position + width > size:
                raise MalformedError("truncated")
            argument = int.from_bytes(data[position : position + width], "big")
            position += width
            if argument < _SMALLEST[short]:
                raise MalformedError("an integer or length is not in its shortest form")
        if major == _BYTES:
            position += argument
            if position > size:
                raise MalformedError("truncated")
        elif major == _ARRAY:
            if argument > size - position:  # each item takes a byte: no allocation for a length that cannot be there
                raise MalformedError("truncated")
            if len(pending) > MAX_DEPTH:
                raise MalformedError(f"arrays nest deeper than {MAX_DEPTH}")
            pending.append(argument)
        elif major not in (_UNSIGNED, _NEGATIVE):
            raise MalformedError("only integers, byte strings, arrays, booleans and null are allowed")
    if position != size:
        raise MalformedError(f"{size - position} trailing bytes")


# --- typed access to decoded values: every decoder reads its fields through these -------------------------------------


def as_array(value: object, length: int | None = None, *, what: str, most: int | None = None) -> list[Any]:
    """`value` as a list of exactly `length` items, or at most `most`. Raises MalformedError naming `what`."""
    if type(value) is not list:
        raise MalformedError(f"{what}: expected an array")
    if length is not None and len(value) != length:
        raise MalformedError(f"{what}: {len(value)} items, expected {length}")
    if most is not None and len(value) > most:
        raise MalformedError(f"{what}: {len(value)} items, at most {most} allowed")
    return value


def as_uint(value: object, bits: int, *, what: str) -> int:
    """`value` as an unsigned integer of at most `bits` bits (booleans are refused)."""
    if type(value) is not int or not 0 <= value < 1 << bits:
        raise MalformedError(f"{what}: expected an unsigned {bits}-bit integer")
    return value


def as_bytes(value: object, length: int | None = None, *, what: str, most: int | None = None) -> bytes:
    """`value` as a byte string of exactly `length`, or at most `most`, bytes."""
    if type(value) is not bytes:
        raise MalformedError(f"{what}: expected a byte string")
    if length is not None and len(value) != length:
        raise MalformedError(f"{what}: {len(value)} bytes, expected {length}")
    if most is not None and len(value) > most:
        raise MalformedError(f"{what}: {len(value)} bytes, at most {most} allowed")
    return value


def as_bool(value: object, *, what: str) -> bool:
    """`value` as a boolean."""
    if type(value) is not bool:
        raise MalformedError(f"{what}: expected true or false")
    return value
