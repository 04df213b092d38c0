"""One record of a vector file: strict access to its fields, and what a difference from it looks like.

Records come from files anyone may have written: each field is checked for type and range where it is read, and the
error names the field, the value and what was expected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..consensus.types import U64_MAX, MalformedError


class RecordError(MalformedError):
    """A field that is missing, of the wrong type or out of range."""


@dataclass(frozen=True, slots=True)
class Record:
    """A decoded line."""

    place: str
    """File and line, for error texts."""

    id: str
    kind: str

    body: Mapping[str, Any]
    """The whole object; `in` is known to be an object, everything else is unchecked."""

    def inputs(self) -> Fields:
        """The fields under `in`."""
        return Fields("in", self.body["in"])

    def expected(self) -> Any:
        """What stands under `out`. Raises RecordError when there is nothing."""
        if "out" not in self.body:
            raise RecordError("'out' is missing; nothing to compare with")
        return self.body["out"]


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the result first departs from one field of a record."""

    record: str
    """Id of the record."""

    field: str
    index: int | None
    """Position in the field, when it is a list."""

    expected: Any
    actual: Any

    def to_json(self) -> dict[str, Any]:
        """As `first_difference` of `yumad vectors --json`."""
        return {
            "id": self.record,
            "field": self.field,
            "index": self.index,
            "expected": self.expected,
            "actual": self.actual,
        }


def compare(record: Record, name: str, expected: Any, actual: Any) -> Iterator[Difference]:
    """Yield nothing when both are equal, otherwise the first place where they are not."""
    if expected == actual:
        return
    if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        index = next(place for place, pair in enumerate(zip(expected, actual, strict=True)) if pair[0] != pair[1])
        yield Difference(record.id, name, index, expected[index], actual[index])
    else:
        yield Difference(record.id, name, None, expected, actual)


def compare_fields(record: Record, actual: Mapping[str, Any]) -> Iterator[Difference]:
    """Where `actual` departs from the record's `out`. Raises RecordError unless both have the same fields."""
    expected = record.expected()
    if not isinstance(expected, dict) or expected.keys() != actual.keys():
        raise RecordError(f"'out' has not the fields of a {record.kind!r} record: {', '.join(actual)}")
    for name, value in actual.items():
        yield from compare(record, name, expected[name], value)


@dataclass(frozen=True, slots=True)
class Fields:
    """Typed access to a JSON object; every method raises RecordError."""

    where: str
    values: Mapping[str, Any]

    def get(self, name: str) -> Any:
        """The value as it is."""
        if name not in self.values:
            raise RecordError(f"'{self.where}.{name}' is missing")
        return self.values[name]

    def fields(self, name: str) -> Fields:
        """An object's fields."""
        value = self.get(name)
        if not isinstance(value, dict):
            raise RecordError(f"'{self.where}.{name}' is {_short(value)}; expected an object")
        return Fields(f"{self.where}.{name}", value)

    def integer(self, name: str, maximum: int = U64_MAX, minimum: int = 0) -> int:
        """An integer within bounds."""
        return self._within(name, self.get(name), minimum, maximum)

    def optional_integer(self, name: str, maximum: int) -> int | None:
        """An integer from 0, or null."""
        value = self.get(name)
        return None if value is None else self._within(name, value, 0, maximum)

    def boolean(self, name: str) -> bool:
        """true or false."""
        value = self.get(name)
        if not isinstance(value, bool):
            raise RecordError(f"'{self.where}.{name}' is {_short(value)}; expected true or false")
        return value

    def booleans(self, name: str) -> list[bool]:
        """A list of true and false."""
        values = self.items(name)
        if not all(isinstance(value, bool) for value in values):
            raise RecordError(f"'{self.where}.{name}' holds something else than true and false")
        return values

    def integers(self, name: str, maximum: int = U64_MAX, minimum: int = 0) -> list[int]:
        """A list of integers within bounds."""
        return [self._within(name, value, minimum, maximum) for value in self.items(name)]

    def items(self, name: str) -> list[Any]:
        """A list of anything."""
        value = self.get(name)
        if not isinstance(value, list):
            raise RecordError(f"'{self.where}.{name}' is {_short(value)}; expected a list")
        return value

    def groups(self, name: str, width: int = 2) -> list[list[Any]]:
        """A list of lists of `width` elements."""
        return [self.group(name, value, width) for value in self.items(name)]

    def group(self, name: str, value: Any, width: int) -> list[Any]:
        """`value`, an element of the field, as a list of `width` elements."""
        if not isinstance(value, list) or len(value) != width:
            raise RecordError(f"'{self.where}.{name}' holds {_short(value)}; expected lists of {width} elements")
        return value

    def integer_groups(self, name: str, value: Any, width: int, maximum: int = U64_MAX) -> list[list[int]]:
        """`value`, an element of the field, as a list of lists of `width` integers from 0."""
        if not isinstance(value, list):
            raise RecordError(f"'{self.where}.{name}' holds {_short(value)}; expected a list")
        groups = [self.group(name, group, width) for group in value]
        return [[self._within(name, element, 0, maximum) for element in group] for group in groups]

    def _within(self, name: str, value: Any, minimum: int, maximum: int) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
            raise RecordError(f"'{self.where}.{name}': {_short(value)} is not an integer in {minimum}..{maximum}")
        return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
