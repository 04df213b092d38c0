"""`Synapse`: class attributes with defaults, request and reply in one object (AXON R41).

Unlike in version 10 no object is shared between targets: each result is a new one. On the wire a synapse is a message
like any other, so the miner at the other end may be written either way.
"""

from __future__ import annotations

import copy
import dataclasses
import typing
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from ...protocols.axon.status import Status
from ..method import DefinitionError

MISSING: Final = dataclasses.MISSING

STATUS_CODES: Final = {
    Status.OK: 200,
    Status.DENIED: 403,
    Status.NO_PERMIT: 403,
    Status.NOT_REGISTERED: 403,
    Status.LOW_STAKE: 403,
    Status.UNKNOWN_METHOD: 404,
    Status.LOCAL_DEADLINE: 408,
    Status.DEADLINE_EXCEEDED: 408,
    Status.RATE_LIMITED: 429,
    Status.BUSY: 503,
    Status.NO_RECORD: 503,
    Status.DIAL_FAILED: 503,
}
"""The old numbers, for code that compares them; everything else is 500. `dendrite.status` has the real one."""


@dataclass(slots=True)
class TerminalInfo:
    """What a synapse tells of one end of the call."""

    hotkey: str | None = None
    status_code: int | None = None
    status_message: str | None = None
    process_time: float | None = None
    """Seconds of the whole call."""
    uid: int | None = None
    status: Status | None = None


@dataclass(frozen=True, slots=True)
class _Default:
    default: Any
    factory: Any


def Field(default: Any = MISSING, *, default_factory: Any = MISSING, **described: Any) -> Any:
    """Stands for the field function of the model library: a default, or ... for none; descriptions are dropped."""
    return _Default(MISSING if default is ... else default, default_factory)


class Synapse:
    """Base of an author's messages."""

    message: ClassVar[type[Any]]
    """The dataclass of its fields, as it travels."""
    _fields: ClassVar[dict[str, dataclasses.Field[Any]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        fields: list[tuple[str, Any, Any]] = []
        for name, hint in typing.get_type_hints(cls, include_extras=True).items():
            if typing.get_origin(hint) is ClassVar or hint is ClassVar or name.startswith("_"):
                continue
            fields.append((name, hint, _dataclass_field(getattr(cls, name, MISSING), f"{cls.__name__}.{name}")))
        cls.message = dataclasses.make_dataclass(cls.__name__, fields, kw_only=True)
        cls._fields = {field.name: field for field in dataclasses.fields(cls.message)}

    def __init__(self, **values: Any) -> None:
        unknown = sorted(set(values) - set(self._fields))
        if unknown:
            raise TypeError(f"{type(self).__name__} has no field {unknown[0]!r}; it has {', '.join(self._fields)}")
        for name, value in vars(self.message(**values)).items():
            setattr(self, name, value)
        self.dendrite, self.axon = TerminalInfo(), TerminalInfo()
        self.timeout = 12.0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self._fields)})"

    @classmethod
    def method_name(cls) -> str:
        """As on the wire: method names have no capitals."""
        return cls.__name__.lower()

    @property
    def name(self) -> str:
        """Of its class."""
        return type(self).__name__

    @property
    def is_success(self) -> bool:
        """Whether the miner answered."""
        return self.dendrite.status_code == 200

    @property
    def is_failure(self) -> bool:
        """Whether it did not."""
        return not self.is_success

    def deserialize(self) -> Any:
        """What a dendrite gives back; override it to take a field out."""
        return self

    def to_message(self) -> Any:
        """As it travels."""
        return self.message(**{name: getattr(self, name) for name in self._fields})

    @classmethod
    def from_message(cls, message: Any) -> Self:
        """A new one."""
        made = cls.__new__(cls)
        Synapse._fill(made, {name: getattr(message, name) for name in cls._fields})
        return made

    def answered(self, status: Status, text: str, hotkey: str, uid: int | None, seconds: float, reply: Any) -> Self:
        """A copy with the reply's fields and how the call ended."""
        made = type(self).from_message(self.to_message() if reply is None else reply)
        code = STATUS_CODES.get(status, 500)
        made.dendrite = TerminalInfo(None, code, text or status.name, seconds, None, status)
        made.axon = TerminalInfo(hotkey, code, text or status.name, seconds, uid, status)
        return made

    def _fill(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            setattr(self, name, value)
        self.dendrite, self.axon, self.timeout = TerminalInfo(), TerminalInfo(), 12.0


def _dataclass_field(default: Any, where: str) -> Any:
    """A default, plain or from a field function, as a dataclass has it."""
    if type(default).__name__ == "FieldInfo":  # the model library's own, where it is installed
        factory = getattr(default, "default_factory", None)
        value = getattr(default, "default", ...)
        known = value is not ... and type(value).__name__ != "PydanticUndefinedType"
        default = _Default(value if known else MISSING, MISSING if factory is None else factory)
    if isinstance(default, _Default):
        if default.factory is not MISSING:
            return dataclasses.field(default_factory=default.factory)
        default = default.default
    if default is MISSING:
        return dataclasses.field()
    if isinstance(default, property) or callable(default):
        raise DefinitionError(f"{where} is no field", remedy="leave its annotation out")
    return dataclasses.field(default_factory=lambda: copy.deepcopy(default))
