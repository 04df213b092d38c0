"""What a call is: number, name, argument schema, cost, and the two functions that check and execute it (DESIGN 5, 7).

The schema drives everything that deals in calls: strict decoding here, `tx send CALL key=value…`, the JSON-RPC methods
and the reference docs. `check` is the pre-check: it reads the state only and raises CallError. `execute` changes the
state; a CallError from either leaves no effect, since the transition runs it under a mark.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from .... import cbor
from ....types import U16_MAX, AccountId, MalformedError
from ...interface import BlockContext, Event

if TYPE_CHECKING:
    from ....state.state import State

MAX_BATCH: Final = 128
"""Items of one batch call: one per subnet that a network may have."""


class ArgumentKind(Enum):
    """Form of an argument on the wire, and how people write it."""

    U8 = "u8"
    U16 = "u16"
    U64 = "u64"
    I64 = "i64"
    BOOL = "bool"
    RAO = "rao"
    """A u64 amount of TAO (or of a subnet's token) in units of 1e-9."""
    ACCOUNT = "account"
    """32 raw bytes; people write SS58."""
    HASH = "hash"
    """32 raw bytes; people write hex."""
    SIGNATURE = "signature"
    """64 raw bytes; people write hex."""
    BYTES = "bytes"
    """Up to `most` bytes; people write hex."""
    U16_LIST = "u16 list"
    """A byte string of little-endian u16, at most `most` of them: five times smaller and faster than an array."""
    U64_LIST = "u64 list"
    """An array of u64."""
    WEIGHT_LISTS = "weight lists"
    """An array of `[u16 list, u16 list]`: uids and values of each item."""
    VALUES = "values"
    """Arguments of another call: an array decoded by that call's schema."""
    SIGNATURES = "signatures"
    """An array of `[key 32, signature 64]`."""
    CHILDREN = "children"
    """An array of `[u64 proportion of 2^64-1, child's hotkey]`."""
    OPTIONAL_RAO = "optional rao"
    """A u64 amount, or null."""
    OPTIONAL_U16 = "optional u16"
    """A u16, or null."""
    TEXTS = "texts"
    """An array of byte strings of UTF-8; people write texts."""
    WEIGHT_REVEALS = "weight reveals"
    """An array of `[uids, values, salt, version_key]`, the first three u16 lists."""
    HASHES = "hashes"
    """An array of 32-byte strings."""
    FIELDS = "fields"
    """An array of `[kind u8, bytes]`."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One positional argument."""

    name: str
    kind: ArgumentKind
    doc: str
    most: int = 0
    """Largest length of bytes and lists."""


Arguments: TypeAlias = "tuple[Any, ...]"
"""Decoded arguments in the schema's order; u16 lists are tuples of ints."""

Check: TypeAlias = "Callable[[State, BlockContext, AccountId, Arguments], None]"
Execute: TypeAlias = "Callable[[State, BlockContext, AccountId, Arguments], list[Event]]"


def no_check(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> None:
    """The pre-check of a paid call: whatever is wrong shows when it executes."""


class Signer(Enum):
    """Which of a person's keys signs the call; for the tools, the rules see accounts only."""

    COLDKEY = "coldkey"
    HOTKEY = "hotkey"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class Call:
    """One entry of the call table."""

    number: int
    """u16: family << 8 | n."""
    name: str
    """`family.call`, as people and programs write it."""
    signer: Signer
    arguments: tuple[Argument, ...]
    weight: int
    """Declared cost in microseconds on the reference machine, beside what each byte and item costs."""
    execute: Execute
    doc: str
    check: Check = no_check
    free: bool = False
    """No fee, and the operational lane: a failing pre-check makes the block invalid (DESIGN section 7, economy)."""
    during_swap: bool = False
    """May be used by an account whose coldkey swap is announced (DTAO 9)."""
    item_argument: int | None = None
    """Position of the list that the cost grows with."""
    item_weight: int = 0
    """Microseconds for each of its items."""

    def weigh(self, args: Arguments) -> int:
        """Declared microseconds of one call, its bytes not included."""
        return self.weight + (0 if self.item_argument is None else self.item_weight * len(args[self.item_argument]))

    most_bytes: int = 4096
    """Longest transaction that may carry it (CHAIN 3)."""


def decode_arguments(call: Call, values: tuple[Any, ...]) -> Arguments:
    """`values` checked against the schema. Raises MalformedError naming call and argument."""
    if len(values) != len(call.arguments):
        raise MalformedError(f"{call.name}: {len(values)} arguments, expected {len(call.arguments)}")
    return tuple(
        _decode(argument, value, f"{call.name}: {argument.name}")
        for argument, value in zip(call.arguments, values, strict=True)
    )


_UNSIGNED_BITS: Final[Mapping[ArgumentKind, int]] = {
    ArgumentKind.U8: 8,
    ArgumentKind.U16: 16,
    ArgumentKind.U64: 64,
    ArgumentKind.RAO: 64,
}
_FIXED_BYTES: Final[Mapping[ArgumentKind, int]] = {
    ArgumentKind.ACCOUNT: 32,
    ArgumentKind.HASH: 32,
    ArgumentKind.SIGNATURE: 64,
}


def _decode(argument: Argument, value: object, what: str) -> Any:
    kind = argument.kind
    if kind in _UNSIGNED_BITS:
        return cbor.as_uint(value, _UNSIGNED_BITS[kind], what=what)
    if kind in _FIXED_BYTES:
        return cbor.as_bytes(value, _FIXED_BYTES[kind], what=what)
    if kind is ArgumentKind.I64:
        if type(value) is not int or not -(1 << 63) <= value < 1 << 63:
            raise MalformedError(f"{what}: expected a signed 64-bit integer")
        return value
    if kind is ArgumentKind.BOOL:
        return cbor.as_bool(value, what=what)
    if kind is ArgumentKind.BYTES:
        return cbor.as_bytes(value, what=what, most=argument.most)
    if kind is ArgumentKind.U16_LIST:
        return unpack_u16(value, argument.most, what)
    if kind is ArgumentKind.U64_LIST:
        return tuple(cbor.as_uint(item, 64, what=what) for item in cbor.as_array(value, what=what, most=argument.most))
    if kind is ArgumentKind.WEIGHT_LISTS:
        pairs = [cbor.as_array(item, 2, what=what) for item in cbor.as_array(value, what=what, most=argument.most)]
        return tuple((unpack_u16(uids, U16_MAX, what), unpack_u16(values, U16_MAX, what)) for uids, values in pairs)
    if kind is ArgumentKind.OPTIONAL_RAO:
        return None if value is None else cbor.as_uint(value, 64, what=what)
    if kind is ArgumentKind.OPTIONAL_U16:
        return None if value is None else cbor.as_uint(value, 16, what=what)
    if kind is ArgumentKind.TEXTS:
        return _decode_texts(value, argument.most, what)
    if kind is ArgumentKind.HASHES:
        items = cbor.as_array(value, what=what, most=argument.most)
        return tuple(cbor.as_bytes(item, 32, what=what) for item in items)
    if kind in _ROWS:
        width, decode_row = _ROWS[kind]
        rows = [cbor.as_array(item, width, what=what) for item in cbor.as_array(value, what=what, most=argument.most)]
        return tuple(decode_row(row, what) for row in rows)
    if kind is ArgumentKind.VALUES:
        return tuple(cbor.as_array(value, what=what, most=argument.most))
    entries = [cbor.as_array(item, 2, what=what) for item in cbor.as_array(value, what=what, most=argument.most)]
    return tuple((cbor.as_bytes(key, 32, what=what), cbor.as_bytes(proof, 64, what=what)) for key, proof in entries)


def _decode_texts(value: object, most: int, what: str) -> tuple[bytes, ...]:
    """Byte strings of valid UTF-8; how long each may be is the call's check. At most `most` bytes together."""
    texts = tuple(cbor.as_bytes(item, what=what, most=most) for item in cbor.as_array(value, what=what, most=16))
    for text in texts:
        try:
            text.decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedError(f"{what}: not UTF-8") from None
    return texts


def _child(row: list[Any], what: str) -> tuple[int, bytes]:
    return cbor.as_uint(row[0], 64, what=what), cbor.as_bytes(row[1], 32, what=what)


def _reveal(row: list[Any], what: str) -> tuple[Any, ...]:
    lists = (unpack_u16(part, U16_MAX, what) for part in row[:3])
    return (*lists, cbor.as_uint(row[3], 64, what=what))


def _field(row: list[Any], what: str) -> tuple[int, bytes]:
    return cbor.as_uint(row[0], 8, what=what), cbor.as_bytes(row[1], what=what)


_ROWS: Final[Mapping[ArgumentKind, tuple[int, Callable[[list[Any], str], tuple[Any, ...]]]]] = {
    ArgumentKind.CHILDREN: (2, _child),
    ArgumentKind.WEIGHT_REVEALS: (4, _reveal),
    ArgumentKind.FIELDS: (2, _field),
}
"""Lists of records: width and decoder of one."""


def pack_u16(values: tuple[int, ...] | list[int]) -> bytes:
    """The wire form of a u16 list: little-endian, two bytes each."""
    return np.asarray(values, dtype="<u2").tobytes()


def unpack_u16(value: object, most: int, what: str) -> tuple[int, ...]:
    """Inverse of `pack_u16` for at most `most` entries. Raises MalformedError."""
    packed = cbor.as_bytes(value, what=what, most=2 * most)
    if len(packed) & 1:
        raise MalformedError(f"{what}: {len(packed)} bytes are no list of u16")
    return tuple(np.frombuffer(packed, dtype="<u2").tolist())
