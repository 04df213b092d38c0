"""The one registry of what can be asked of a peer: it drives the control socket, the commands and the reference docs
(DESIGN section 5, last line).

A `Method` is a name, a parameter schema, a text and a handler. Every read of the rules is reachable through `query`
under its own name and schema; node methods stand in `node_methods.py`. Handlers take checked values and give JSON.
"""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from ..consensus.rules.v1.calls.call import Argument
from ..consensus.types import YumadError
from .arguments import ArgumentError, from_json, usage

Json: TypeAlias = "dict[str, Any] | list[Any] | str | int | float | bool | None"

Handler: TypeAlias = "Callable[..., Awaitable[Json]]"
"""Called with one value per parameter, in the schema's order; None for an optional one that was not given."""


class UnknownMethodError(YumadError):
    """No method of that name."""

    code = "unknown_method"


class RefusedError(YumadError):
    """The peer or the chain says no; `code` says why and never changes its meaning."""

    def __init__(self, code: str, message: str, *, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.code = code


class NotFoundError(YumadError):
    """What was asked for is not here."""

    code = "not_found"


@dataclass(frozen=True, slots=True)
class AnyText:
    """A parameter that is a short text the handler reads itself, such as `head` or a block's hash."""

    name: str
    doc: str
    most: int = 200
    """Characters."""


@dataclass(frozen=True, slots=True)
class AnyList:
    """A parameter that is a JSON array whose items the handler checks."""

    name: str
    doc: str
    most: int = 64


Parameter: TypeAlias = "Argument | AnyText | AnyList"


def parameter_document(parameter: Parameter, *, optional: bool = False) -> dict[str, Any]:
    """One parameter for the reference docs."""
    if isinstance(parameter, Argument):
        kind = parameter.kind.value
    else:
        kind = "text" if isinstance(parameter, AnyText) else "list"
    return {"name": parameter.name, "kind": kind, "doc": parameter.doc, "optional": optional}


@dataclass(frozen=True, slots=True)
class Method:
    """One method of the control interface."""

    name: str
    parameters: tuple[Parameter, ...]
    doc: str
    handler: Handler
    optional: tuple[str, ...] = field(default=())
    """Parameters that may be left out."""

    async def call(self, given: object) -> Json:
        """Check JSON-RPC params (an object by name, or an array by position) and run the handler.

        Raises ArgumentError for params that do not fit the schema, and whatever YumadError the handler raises.
        """
        return await self.handler(*self._values(given))

    def _values(self, given: object) -> list[Any]:
        if given is None:
            given = {}
        names = [parameter.name for parameter in self.parameters]
        if isinstance(given, list):
            if len(given) > len(names):
                raise ArgumentError(f"{self.name}: {len(given)} parameters, at most {len(names)}", remedy=self._usage())
            given = dict(zip(names, given, strict=False))
        if not isinstance(given, dict):
            raise ArgumentError(f"{self.name}: params are neither an object nor an array", remedy=self._usage())
        for name in given:
            if name not in names:
                raise ArgumentError(f"{self.name}: no parameter {str(name)[:40]!r}", remedy=self._usage())
        return [self._value(parameter, given) for parameter in self.parameters]

    def _value(self, parameter: Parameter, given: Mapping[str, Any]) -> Any:
        value = given.get(parameter.name)
        if value is None:
            if parameter.name in self.optional:
                return None
            raise ArgumentError(f"{self.name}: parameter {parameter.name!r} is missing", remedy=self._usage())
        if isinstance(parameter, Argument):
            return from_json(parameter, value)
        if isinstance(parameter, AnyText):
            value = str(value) if type(value) is int else value
            if not isinstance(value, str) or len(value) > parameter.most:
                raise ArgumentError(f"{self.name}: {parameter.name} is no text of at most {parameter.most} characters")
            return value
        if not isinstance(value, list) or len(value) > parameter.most:
            raise ArgumentError(f"{self.name}: {parameter.name} is no array of at most {parameter.most} items")
        return value

    def _usage(self) -> str:
        named = [p if isinstance(p, Argument) else None for p in self.parameters]
        if all(named):
            return f"{self.name} takes {usage([p for p in named if p is not None]) or 'no parameters'}"
        return f"{self.name} takes {', '.join(parameter.name for parameter in self.parameters)}"


class Registry:
    """Methods by name."""

    def __init__(self, methods: Iterable[Method]) -> None:
        self._methods: dict[str, Method] = {}
        for method in methods:
            if method.name in self._methods:
                raise ValueError(f"two methods are named {method.name!r}")
            self._methods[method.name] = method

    def __iter__(self) -> Iterable[Method]:
        return iter(self._methods.values())

    def names(self) -> Sequence[str]:
        """All names, as registered."""
        return list(self._methods)

    def find(self, name: str) -> Method:
        """The method of that name. Raises UnknownMethodError with the nearest one."""
        method = self._methods.get(name)
        if method is None:
            near = nearest(name, self._methods)
            raise UnknownMethodError(
                f"there is no method {name[:60]!r}",
                remedy=f"did you mean {near!r}?" if near else f"there are {', '.join(self._methods)}",
            )
        return method


MOST_GUESSED: Final = 60
"""Characters of a name for which a near one is looked for: longer ones are no typing mistakes."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, for a message."""
    found = difflib.get_close_matches(name[:MOST_GUESSED], list(known), 1, 0.5)
    return found[0] if found else None
