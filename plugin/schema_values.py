"""Single values of an author's types: checks, closed sets, arrays, and the error with its path (AXON R12)."""

from __future__ import annotations

import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ..consensus.types import InvalidError, YumadError
from ..protocols.axon.payload import Coded
from ..protocols.axon.tensor_codec import DTYPES, MANDATORY, ZSTD

Convert = Callable[[Any], Any]
Describe = Callable[[tuple[type, ...]], dict[str, Any]]
"""Given the dataclasses around it, which it then only names."""

_LEAST: Final = -(1 << 64)
_MOST: Final = (1 << 64) - 1
_SHOWN: Final = 60
"""Characters of a wrong value that an error quotes."""


class SchemaError(YumadError):
    """A value that is not of the type its annotation promises: status SCHEMA_MISMATCH (R12)."""

    code = "schema_mismatch"


@dataclass(frozen=True, slots=True)
class Tensor:
    """What an array must look like: `Annotated[numpy.ndarray, Tensor("float32", (None, 3), codec="fp16")]`."""

    dtype: str | None = None
    """None: any that can be sent."""
    shape: tuple[int | None, ...] | None = None
    """None for a length that may vary, None in place of the tuple for any shape."""
    codec: str | None = None
    """How the field travels when the other side can read it; None: as the call says."""


@dataclass(frozen=True, slots=True, eq=False)
class Schema:
    """A compiled annotation."""

    hint: Any
    name: str
    """As errors say it: `list of int`."""
    out: Convert
    back: Convert
    shape_of: Describe

    def encode(self, value: Any, where: str = "value") -> Any:
        """`value` as numbers, text, bytes, lists, maps and arrays. Raises SchemaError, with paths that begin with
        `where`.
        """
        try:
            return self.out(value)
        except Mismatch as error:
            raise error.told(where) from None
        except RecursionError:
            raise SchemaError(f"{where} contains itself", remedy="send a value without cycles") from None

    def decode(self, value: Any, where: str = "value") -> Any:
        """Inverse of `encode`. Raises SchemaError."""
        try:
            return self.back(value)
        except Mismatch as error:
            raise error.told(where) from None

    def describe(self) -> dict[str, Any]:
        """The type as JSON-able data, for discovery and documents."""
        return self.shape_of(())


class Mismatch(Exception):
    """On its way out, collecting the path from the inside."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(expected)
        self.expected, self.got = expected, got
        self.path: list[str] = []

    def told(self, where: str) -> SchemaError:
        path = where + "".join(reversed(self.path))
        return SchemaError(f"{path}: expected {self.expected}, got {self.got}", remedy=f"send {self.expected}")


def wrong(expected: str, value: object) -> Mismatch:
    if value is None:
        return Mismatch(expected, "nothing")
    if isinstance(value, bool | int | float | str):
        shown = repr(value[: _SHOWN + 1] if isinstance(value, str) else value)
        return Mismatch(expected, shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…")
    return Mismatch(expected, _NAMES.get(type(value), type(value).__name__))


_NAMES: Final = {bytes: "bytes", list: "a list", dict: "a map", np.ndarray: "an array"}


# --- single values ----------------------------------------------------------------------------------------------------


def _integer(value: Any) -> int:
    if type(value) is int:
        if _LEAST <= value <= _MOST:
            return value
    elif isinstance(value, int | np.integer) and not isinstance(value, bool):
        return _integer(int(value))
    raise wrong("an integer of 64 bits", value)


def _float(value: Any) -> float:
    if type(value) is float:
        return value
    if isinstance(value, float | int | np.floating | np.integer) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            pass
    raise wrong("a number", value)


def _text(value: Any) -> str:
    if type(value) is str:
        return value
    raise wrong("text", value)


def _bytes(value: Any) -> bytes:
    if type(value) is bytes:
        return value
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    raise wrong("bytes", value)


def _boolean(value: Any) -> bool:
    if type(value) is bool:
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    raise wrong("true or false", value)


def _nothing(value: Any) -> None:
    if value is not None:
        raise wrong("nothing", value)


def _anything(value: Any) -> Any:
    return value


SINGLE: Final[dict[Any, tuple[str, str, Convert]]] = {
    int: ("an integer", "int", _integer),
    float: ("a number", "float", _float),
    str: ("text", "str", _text),
    bytes: ("bytes", "bytes", _bytes),
    bool: ("true or false", "bool", _boolean),
    type(None): ("nothing", "none", _nothing),
    None: ("nothing", "none", _nothing),
    Any: ("any value", "any", _anything),
}


def one_of(hint: Any, values: Sequence[tuple[Any, Any]], where: str) -> Schema:
    """Literal and Enum: a closed set of (own, plain) values. True and 1 are different ones."""
    for _, value in values:
        if type(value) not in (str, int, bool, bytes, float, type(None)):
            raise InvalidError(f"{where}: the value {value!r:.40} is not plain", remedy="use text or integers")
    name = "one of " + ", ".join(repr(value) for _, value in values)
    out = {(type(key), key): value for key, value in values}
    back = {(type(value), value): key for key, value in values}

    def look_up(table: dict[Any, Any]) -> Convert:
        def convert(value: Any) -> Any:
            try:
                return table[(type(value), value)]
            except (KeyError, TypeError):
                raise wrong(name, value) from None

        return convert

    shown = [value.hex() if isinstance(value, bytes) else value for _, value in values]
    return Schema(hint, name, look_up(out), look_up(back), lambda around: {"type": "one_of", "values": shown})


# --- arrays -----------------------------------------------------------------------------------------------------------


def is_array(hint: Any) -> bool:
    return hint is np.ndarray or typing.get_origin(hint) is np.ndarray


def array_dtype(hint: Any, where: str) -> str | None:
    """dtype of `numpy.typing.NDArray[numpy.float32]`, None when it says none."""
    for argument in typing.get_args(hint):
        if typing.get_origin(argument) is np.dtype:
            scalar = typing.get_args(argument)[0]
            if isinstance(scalar, type) and issubclass(scalar, np.generic) and np.dtype(scalar).name in DTYPES:
                return np.dtype(scalar).name
            if scalar is not Any and not isinstance(scalar, typing.TypeVar):
                raise InvalidError(f"{where}: arrays of {title(scalar)}", remedy=f"use one of {', '.join(DTYPES)}")
    return None


def array_schema(hint: Any, dtype: str | None, note: Tensor, where: str) -> Schema:
    dtype = note.dtype or dtype
    if dtype is not None and dtype not in DTYPES:
        raise InvalidError(f"{where}: dtype {dtype!r} is unknown", remedy=f"use one of {', '.join(DTYPES)}")
    if note.codec not in (None, *MANDATORY, ZSTD):
        raise InvalidError(f"{where}: codec {note.codec!r} is unknown", remedy=f"use {', '.join((*MANDATORY, ZSTD))}")
    shape, codec = note.shape, note.codec
    lengths = None if shape is None else "x".join("?" if length is None else str(length) for length in shape)
    name = "an array" + (f" of {dtype}" if dtype else "") + (f" of shape {lengths}" if lengths else "")

    def check(value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            raise wrong(name, value)
        fits = shape is None or (
            len(shape) == value.ndim and all(want in (None, got) for want, got in zip(shape, value.shape, strict=True))
        )
        if not fits or value.dtype.name not in DTYPES or dtype not in (None, value.dtype.name):
            raise Mismatch(name, f"an array of {value.dtype.name} of shape {'x'.join(map(str, value.shape))}")
        return value

    def to_wire(value: Any) -> Any:
        return check(value) if codec is None else Coded(check(value), codec)

    listed = None if shape is None else list(shape)
    return Schema(
        hint, name, to_wire, check, lambda around: {"type": "array", "dtype": dtype, "shape": listed, "codec": codec}
    )


def title(hint: Any) -> str:
    return hint.__qualname__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
