"""One description of every plain parameter of a chain spec drives its codec, its ranges and its TOML form.

A parameter class is a frozen dataclass whose fields are made with `parameter(kind)`. The order of the fields is the
order in the canonical encoding: fields are only ever appended, together with a new spec format number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any, Final, TypeVar

from . import cbor
from .types import InvalidError, MalformedError

MAX_LIST: Final = 256
"""Most items of a list parameter; the longest there is has one per mechanism."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How one parameter is stored and which values it may take."""

    name: str
    lowest: int = 0
    highest: int = 0
    several: bool = False


U8: Final = Kind("u8", 0, (1 << 8) - 1)
U16: Final = Kind("u16", 0, (1 << 16) - 1)
U32: Final = Kind("u32", 0, (1 << 32) - 1)
U63: Final = Kind("u63", 0, (1 << 63) - 1)
"""Amounts and times: a sum of two still fits a u64."""
U64: Final = Kind("u64", 0, (1 << 64) - 1)
I16: Final = Kind("i16", -(1 << 15), (1 << 15) - 1)
U128: Final = Kind("u128", 0, (1 << 128) - 1)
"""Fixed point U64F64; 16 little-endian bytes in the encoding."""
BOOL: Final = Kind("bool")
U16_LIST: Final = Kind("list of u16", 0, (1 << 16) - 1, several=True)

P = TypeVar("P")


def parameter(kind: Kind) -> Any:
    """A dataclass field of `kind`, required in the constructor: defaults are the profiles' business."""
    return field(metadata={"kind": kind})


def kinds_of(cls: type[Any]) -> dict[str, Kind]:
    """Parameters of a class in encoding order; fields of other kinds are left out."""
    return {item.name: item.metadata["kind"] for item in fields(cls) if "kind" in item.metadata}


def check_parameter(kind: Kind, value: object, *, what: str) -> Any:
    """`value` if it is one of `kind`. Raises InvalidError naming the field, the value and the range."""
    if kind is BOOL:
        if type(value) is not bool:
            raise InvalidError(f"{what} is {value!r}, expected true or false")
        return value
    if kind.several:
        if not isinstance(value, list | tuple) or len(value) > MAX_LIST:
            raise InvalidError(f"{what} is {value!r}, expected a list of at most {MAX_LIST} numbers")
        return tuple(_checked_number(kind, item, what) for item in value)
    return _checked_number(kind, value, what)


def _checked_number(kind: Kind, value: object, what: str) -> int:
    if type(value) is not int:
        raise InvalidError(f"{what} is {value!r}, expected a whole number", remedy="amounts are in rao, times in us")
    if not kind.lowest <= value <= kind.highest:
        raise InvalidError(f"{what} is {value}, expected {kind.lowest} to {kind.highest}")
    return value


def parameters_to_value(instance: object) -> list[Any]:
    """The parameters of `instance` as a positional array. Raises InvalidError for one out of range."""
    encoded: list[Any] = []
    for name, kind in kinds_of(type(instance)).items():
        value = check_parameter(kind, getattr(instance, name), what=name)
        encoded.append(value.to_bytes(16, "little") if kind is U128 else list(value) if kind.several else value)
    return encoded


def parameters_from_value(cls: type[Any], value: Any) -> dict[str, Any]:
    """Constructor arguments from `parameters_to_value`'s array. Raises MalformedError."""
    kinds = kinds_of(cls)
    found: dict[str, Any] = {}
    for (name, kind), item in zip(kinds.items(), cbor.as_array(value, len(kinds), what=cls.__name__), strict=True):
        if kind is U128:
            item = int.from_bytes(cbor.as_bytes(item, 16, what=name), "little")
        try:
            found[name] = check_parameter(kind, item, what=name)
        except InvalidError as error:
            raise MalformedError(error.message) from None
    return found


def override(instance: P, table: Mapping[str, Any], *, where: str) -> P:
    """A copy of `instance` with the parameters that `table` names replaced.

    Raises InvalidError for a name there is none of (with the closest one as suggestion) or a value out of range.
    """
    kinds = kinds_of(type(instance))
    refuse_unknown_keys(table, list(kinds), where=where)
    values = {item.name: getattr(instance, item.name) for item in fields(instance)}  # type: ignore[arg-type]
    for name, value in table.items():
        values[name] = check_parameter(kinds[name], value, what=f"{where}.{name}")
    return type(instance)(**values)


def refuse_unknown_keys(table: object, known: list[str], *, where: str) -> None:
    """Raise InvalidError for the first key of `table` that is not `known`, with a suggestion."""
    if not isinstance(table, Mapping):
        raise InvalidError(f"{where} is {table!r}, expected a table")
    for key in table:
        if key not in known:
            close = get_close_matches(key, known, n=1)
            raise InvalidError(f"{where} has no setting {key!r}", remedy=f"did you mean {close[0]!r}?" if close else "")
