"""An author's annotations, compiled once into the way to the wire and back (AXON R10, R12).

A dataclass is a map of its field names. Of a map that comes in, unknown fields are ignored, so that a newer caller can
talk to an older miner; missing ones take their default, and without one the message is refused with the path of the
field, what was expected and what came.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Literal

from ..consensus.types import InvalidError
from .schema_values import (
    SINGLE,
    Convert,
    Mismatch,
    Schema,
    SchemaError,
    Tensor,
    array_dtype,
    array_schema,
    is_array,
    one_of,
    title,
    wrong,
)

__all__ = ["Schema", "SchemaError", "Tensor", "compile_schema", "describe"]


def compile_schema(hint: Any) -> Schema:
    """The schema of a dataclass or any other supported annotation; compiled once per type.

    Raises InvalidError for an annotation that has no form on the wire, naming the field.
    """
    try:
        return _compiled(hint)
    except TypeError as error:
        if "unhashable" not in str(error):
            raise
        return _Compiler().schema(hint, title(hint))


@lru_cache(maxsize=4096)
def _compiled(hint: Any) -> Schema:
    return _Compiler().schema(hint, title(hint))


def describe(hint: Any) -> dict[str, Any]:
    """The type as JSON-able data. Raises InvalidError."""
    return compile_schema(hint).describe()


# --- the compiler -----------------------------------------------------------------------------------------------------


class _Compiler:
    """One compilation. Dataclasses that contain themselves find their unfinished schema here."""

    def __init__(self) -> None:
        self._open: dict[type, Schema] = {}

    def schema(self, hint: Any, where: str) -> Schema:
        if isinstance(hint, typing.Hashable) and hint in SINGLE:
            name, kind, convert = SINGLE[hint]
            return Schema(hint, name, convert, convert, lambda around: {"type": kind})
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin is typing.Annotated:
            notes = [note for note in arguments[1:] if isinstance(note, Tensor)]
            if notes and is_array(arguments[0]):
                return array_schema(hint, array_dtype(arguments[0], where), notes[-1], where)
            return self.schema(arguments[0], where)
        if origin in (typing.Union, types.UnionType):
            return self._optional(hint, arguments, where)
        if origin is Literal:
            return one_of(hint, [(value, value) for value in arguments], where)
        if is_array(hint):
            return array_schema(hint, array_dtype(hint, where), Tensor(), where)
        if hint in (list, Sequence) or origin in (list, Sequence):
            return self._list(hint, arguments[0] if arguments else Any, list, where)
        if hint is tuple or origin is tuple:
            return self._tuple(hint, arguments, where)
        if hint is dict or origin is dict:
            return self._map(hint, arguments or (str, Any), where)
        if isinstance(hint, type) and issubclass(hint, enum.Enum):
            return one_of(hint, [(member, member.value) for member in hint], where)
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            return self._open[hint] if hint in self._open else self._dataclass(hint)
        raise InvalidError(
            f"{where}: {title(hint)} has no form on the wire",
            remedy="use int, float, str, bytes, bool, None, Optional, list, tuple, dict[str, …], Literal, an Enum, "
            "numpy.ndarray, Any, or a dataclass of these",
        )

    def _optional(self, hint: Any, arguments: tuple[Any, ...], where: str) -> Schema:
        inner = [argument for argument in arguments if argument is not type(None)]
        if len(inner) != 1 or len(inner) == len(arguments):
            raise InvalidError(
                f"{where}: a union of several types cannot be told apart on the wire",
                remedy="use one type or None, or a dataclass with one optional field per type",
            )
        item = self.schema(inner[0], where)

        def optional(convert: Convert) -> Convert:
            return lambda value: None if value is None else convert(value)

        return Schema(
            hint,
            f"{item.name} or nothing",
            optional(item.out),
            optional(item.back),
            lambda around: {"type": "optional", "item": item.shape_of(around)},
        )

    def _list(self, hint: Any, argument: Any, make: Callable[[list[Any]], Any], where: str) -> Schema:
        item = self.schema(argument, f"{where}[]")
        name = f"a list of {item.name}"
        return Schema(
            hint,
            name,
            _each(item.out, name, list),
            _each(item.back, name, make),
            lambda around: {"type": "list", "item": item.shape_of(around)},
        )

    def _tuple(self, hint: Any, arguments: tuple[Any, ...], where: str) -> Schema:
        if not arguments or (len(arguments) == 2 and arguments[1] is ...):
            return self._list(hint, arguments[0] if arguments else Any, tuple, where)
        items = [self.schema(argument, f"{where}[{i}]") for i, argument in enumerate(arguments) if argument != ()]
        name = f"a list of {len(items)} values"

        def convert_all(converts: Callable[[Schema], Convert], make: Callable[[list[Any]], Any]) -> Convert:
            def convert(value: Any) -> Any:
                if not isinstance(value, list | tuple) or len(value) != len(items):
                    raise wrong(name, value)
                return make(
                    [
                        _at(converts(item), part, f"[{i}]")
                        for i, (item, part) in enumerate(zip(items, value, strict=True))
                    ]
                )

            return convert

        return Schema(
            hint,
            name,
            convert_all(lambda item: item.out, list),
            convert_all(lambda item: item.back, tuple),
            lambda around: {"type": "tuple", "items": [item.shape_of(around) for item in items]},
        )

    def _map(self, hint: Any, arguments: tuple[Any, ...], where: str) -> Schema:
        if arguments[0] not in (str, int):
            raise InvalidError(f"{where}: keys of {title(arguments[0])}", remedy="use dict[str, …] or dict[int, …]")
        item, key_type = self.schema(arguments[1], f"{where}[]"), arguments[0]
        key_convert = SINGLE[key_type][2]
        name = f"a map of {item.name}"

        def convert_with(converts: Convert) -> Convert:
            def convert(value: Any) -> Any:
                if not isinstance(value, dict):
                    raise wrong(name, value)
                return {key_convert(key): _at(converts, part, f"[{key!r:.40}]") for key, part in value.items()}

            return convert

        return Schema(
            hint,
            name,
            convert_with(item.out),
            convert_with(item.back),
            lambda around: {"type": "map", "key": key_type.__name__, "item": item.shape_of(around)},
        )

    def _dataclass(self, kind: type) -> Schema:
        form = _DataclassForm(kind)
        schema = self._open[kind] = Schema(kind, kind.__name__, form.out, form.back, form.describe)
        form.fill(self.schema)
        return schema


class _DataclassForm:
    """How one dataclass travels. Filled after it exists, as its fields may hold the class itself."""

    def __init__(self, kind: type) -> None:
        self._kind = kind
        self._name = kind.__name__
        self._fields: list[tuple[str, Schema, dataclasses.Field[Any]]] = []
        self._out: list[tuple[str, Convert]] = []
        self._back: list[tuple[str, Convert, bool]] = []

    def fill(self, compile_hint: Callable[[Any, str], Schema]) -> None:
        """Compile the fields. Raises InvalidError."""
        try:
            hints = typing.get_type_hints(self._kind, include_extras=True)
        except (NameError, TypeError, SyntaxError) as error:
            raise InvalidError(
                f"annotations of {self._name}: {error}", remedy="define the types it names at module level"
            ) from None
        if any(isinstance(hint, dataclasses.InitVar) for hint in hints.values()):
            raise InvalidError(f"{self._name} has an InitVar", remedy="make it a field, or compute it in a property")
        for field in dataclasses.fields(self._kind):
            if not field.init:
                continue  # the class computes it on either side
            schema = compile_hint(hints[field.name], f"{self._name}.{field.name}")
            required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            self._fields.append((field.name, schema, field))
            self._out.append((field.name, schema.out))
            self._back.append((field.name, schema.back, required))

    def out(self, value: Any) -> dict[str, Any]:
        """A map by field name."""
        if not isinstance(value, self._kind):
            raise wrong(f"a {self._name}", value)
        made: dict[str, Any] = {}
        name = ""
        try:
            for name, convert in self._out:
                made[name] = convert(getattr(value, name))
        except Mismatch as error:
            error.path.append(f".{name}")
            raise
        return made

    def back(self, value: Any) -> Any:
        """An instance from a map."""
        if not isinstance(value, dict):
            raise wrong(f"a map with the fields of {self._name}", value)
        arguments: dict[str, Any] = {}
        name = ""
        try:
            for name, convert, required in self._back:
                if name in value:
                    arguments[name] = convert(value[name])
                elif required:
                    raise Mismatch(next(schema.name for other, schema, _ in self._fields if other == name), "no field")
        except Mismatch as error:
            error.path.append(f".{name}")
            raise
        try:
            return self._kind(**arguments)
        except Exception as error:  # the author's __post_init__ refuses the value, in whatever way
            raise Mismatch(f"a valid {self._name}", f"one that it refuses ({str(error)[:200]})") from error

    def describe(self, around: tuple[type, ...]) -> dict[str, Any]:
        """Fields with types and defaults; only the name inside itself."""
        if self._kind in around:
            return {"type": "ref", "message": self._name}
        fields = []
        for name, schema, field in self._fields:
            entry = {"name": name, **schema.shape_of((*around, self._kind))}
            default: Any = field.default
            entry["required"] = default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            default = default.value if isinstance(default, enum.Enum) else default
            if default is None or isinstance(default, bool | int | float | str):
                entry["default"] = default
            fields.append(entry)
        return {"type": "message", "message": self._name, "fields": fields}


def _each(item: Convert, name: str, make: Callable[[list[Any]], Any]) -> Convert:
    def convert(value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise wrong(name, value)
        made: list[Any] = []
        try:
            for part in value:
                made.append(item(part))
        except Mismatch as error:
            error.path.append(f"[{len(made)}]")
            raise
        return make(made)

    return convert


def _at(convert: Convert, value: Any, step: str) -> Any:
    try:
        return convert(value)
    except Mismatch as error:
        error.path.append(step)
        raise
