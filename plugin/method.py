"""One method of a subnet: an author's function, its message types and limits, and its bad variants (AXON R20, R37)."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..consensus.types import InvalidError
from ..protocols.axon.interfaces import ServedMethod
from .call import Call
from .message import Message
from .seal import Sealed

Function = Callable[..., Any]

_STREAMS: Final = (AsyncIterator, AsyncIterable, AsyncGenerator)


class DefinitionError(InvalidError):
    """A plugin that cannot work as it is written; raised where it is defined."""

    code = "plugin_definition"


@dataclass(frozen=True, slots=True)
class Signature:
    """How a handler is called, from its annotations."""

    request: Message
    """Message(None) for a handler without a request."""
    reply: Message
    """Of the one reply, or of each message of the reply's stream."""
    messages: Message | None
    """Of each message of the caller's stream; None without one."""
    stream_out: bool
    parameters: tuple[str, ...]
    """What each positional parameter is: "request", "messages" or "call"."""


@dataclass(frozen=True, slots=True)
class Implementation:
    """A function that answers a method."""

    function: Function
    is_async: bool
    cpu: bool
    """Run in a process of its own."""
    signature: Signature
    file: Path
    """Where it is written; worker processes load it from there."""


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """What `@subnet.method` makes of a function. Calling it calls the function itself, so that a test can."""

    served: ServedMethod
    implementation: Implementation
    sealed: Sealed | None = None
    variants: dict[str, Implementation] = field(default_factory=dict)
    """Other ways to answer, for simulations and swarms; never used by a live miner unless asked for by name."""

    @property
    def name(self) -> str:
        """As on the wire."""
        return self.served.name

    @property
    def signature(self) -> Signature:
        """Message types."""
        return self.implementation.signature

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The author's function."""
        return self.implementation.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<method {self.name} v{self.served.version}>"

    def variant(self, name: str, *, cpu: bool = False) -> Callable[[Function], Function]:
        """Decorate another function with the same messages as variant `name`: a lazy, slow or wrong miner to test the
        scoring against. Raises DefinitionError when the messages differ."""

        def add(function: Function) -> Function:
            if name in self.variants:
                raise DefinitionError(f"{self.name} has a variant {name!r} already", remedy="use another name")
            other, own = implementation_of(function, cpu=cpu, depth=2), self.implementation.signature
            if (other.signature.stream_out, other.signature.messages is None) != (
                own.stream_out,
                own.messages is None,
            ) or (other.signature.request.type, other.signature.reply.type) != (own.request.type, own.reply.type):
                raise DefinitionError(
                    f"variant {name!r} of {self.name} has other messages than the method",
                    remedy=f"annotate it as {self.implementation.function.__name__} is",
                )
            self.variants[name] = other
            return function

        return add

    def implementation_for(self, variant: str | None) -> Implementation:
        """The variant's function, or the method's own where it has none of that name."""
        return self.implementation if variant is None else self.variants.get(variant, self.implementation)


def implementation_of(function: Function, *, cpu: bool, depth: int) -> Implementation:
    """Read a handler's annotations. `depth`: frames up to the place of definition. Raises DefinitionError."""
    if not inspect.isfunction(function):
        raise DefinitionError(f"{function!r} is no function", remedy="decorate a plain function at module level")
    name = function.__name__
    signature = _signature(function, _hints(function, depth))
    is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
    if signature.stream_out and not inspect.isasyncgenfunction(function):
        raise DefinitionError(
            f"{name} promises a stream, but is no async generator",
            remedy="write `async def` and `yield` each message",
        )
    if inspect.isasyncgenfunction(function) and not signature.stream_out:
        raise DefinitionError(f"{name} yields messages", remedy="annotate `-> AsyncIterator[Type]`")
    if cpu and (is_async or signature.messages is not None):
        raise DefinitionError(
            f"{name}: cpu=True is for functions that compute", remedy="write a plain `def` without streams"
        )
    if not is_async and signature.messages is not None:
        raise DefinitionError(f"{name} reads a stream", remedy="write `async def`")
    file = Path(inspect.getsourcefile(function) or function.__code__.co_filename)
    return Implementation(function, is_async, cpu, signature, file)


def _hints(function: Function, depth: int) -> dict[str, Any]:
    """Resolved annotations; names of an enclosing function's locals count too, as in a test."""
    frame = sys._getframe(depth + 1)
    try:
        return typing.get_type_hints(function, localns=dict(frame.f_locals), include_extras=True)
    except (NameError, TypeError, SyntaxError) as error:
        raise DefinitionError(
            f"annotations of {function.__name__}: {error}", remedy="define message classes before the method"
        ) from None


def _signature(function: Function, hints: dict[str, Any]) -> Signature:
    name = function.__name__
    request: Message | None = None
    messages: Message | None = None
    kinds: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            raise DefinitionError(
                f"{name}: parameter {parameter} is not positional", remedy="take a request, messages and a Call"
            )
        if parameter.name not in hints:
            raise DefinitionError(
                f"{name}: parameter {parameter.name} has no annotation", remedy="annotate it with a message class"
            )
        kind, item = _parameter(hints[parameter.name])
        if kind in kinds:
            raise DefinitionError(f"{name} takes two of {kind}", remedy="put what you need into one message class")
        kinds.append(kind)
        if kind == "request":
            request = _message(item, f"{name}({parameter.name})", "request")
        elif kind == "messages":
            messages = _message(item, f"{name}({parameter.name})", "message")
    if "return" not in hints:
        raise DefinitionError(f"{name} has no return annotation", remedy="annotate what it answers, or `-> None`")
    item = _stream_item(hints["return"])
    reply = _message(hints["return"] if item is None else item, f"the answer of {name}", "reply")
    nothing = _message(type(None), name, "request")
    return Signature(request or nothing, reply, messages, item is not None, tuple(kinds))


def _parameter(hint: Any) -> tuple[str, Any]:
    if hint is Call:
        return "call", None
    item = _stream_item(hint)
    return ("request", hint) if item is None else ("messages", item)


def _stream_item(hint: Any) -> Any:
    """T of AsyncIterator[T], None for anything else."""
    if typing.get_origin(hint) in _STREAMS:
        return typing.get_args(hint)[0]
    if hint in _STREAMS:
        raise DefinitionError("a stream without its message type", remedy="write AsyncIterator[Type]")
    return None


def _message(hint: Any, where: str, called: str) -> Message:
    try:
        return Message(hint, called)
    except InvalidError as error:
        raise DefinitionError(f"{where}: {error.message}", remedy=error.remedy) from None
