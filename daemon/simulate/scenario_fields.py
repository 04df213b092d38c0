"""Typed access to the tables of a scenario file; every error names its place in the file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

from .scenario import UNITS, ScenarioError

_NUMBER: Final = re.compile(r"[0-9]{1,24}(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,2})?|[0-9]{1,24}/0*[1-9][0-9]{0,23}")
"""Bounded, so that no number of a file costs more than a moment."""

_MOST_NAMED: Final = 8


def tables(document: Mapping[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    """A list of tables, empty when the key is not there."""
    value = document.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ScenarioError(f"{where}: {key} is no list of tables", remedy=f"write [[{key}]]")
    return value


def whole_number(
    document: Mapping[str, Any], key: str, where: str, lowest: int, highest: int, default: int | None = None
) -> int:
    """A whole number from `lowest` to `highest`; required without a default."""
    value = document.get(key, default)
    if value is None:
        raise ScenarioError(f"{where}: {key} is missing", remedy=f"give a whole number from {lowest} to {highest}")
    if type(value) is not int or not lowest <= value <= highest:
        raise ScenarioError(f"{where}: {key} is {value!r}", remedy=f"give a whole number from {lowest} to {highest}")
    return value


def flag(document: Mapping[str, Any], key: str, where: str) -> bool:
    """True or false; false when the key is not there."""
    value = document.get(key, False)
    if not isinstance(value, bool):
        raise ScenarioError(f"{where}: {key} is {value!r}", remedy="give true or false")
    return value


def text(document: Mapping[str, Any], key: str, where: str, default: str | None = None) -> str:
    """A text that is not empty; required without a default."""
    value = document.get(key, default)
    if value is None:
        raise ScenarioError(f"{where}: {key} is missing", remedy="give a text in quotes")
    if not isinstance(value, str) or not value:
        raise ScenarioError(f"{where}: {key} is {value!r}", remedy="give a text in quotes")
    return value


def neuron_uid(value: Any, names: Sequence[str], where: str) -> int:
    """The uid of a neuron that is named, or given by its uid."""
    if isinstance(value, str) and value in names:
        return names.index(value)
    if type(value) is int and 0 <= value < len(names):
        return value
    more = f" or {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    raise ScenarioError(
        f"{where}: there is no neuron {value!r}", remedy=f"name one of {', '.join(names[:_MOST_NAMED])}{more}"
    )


def amount(value: Any, where: str) -> int:
    """Units of an amount in whole alpha, decimals allowed."""
    units = share(value, where) * UNITS
    if units.denominator != 1 or units >= 1 << 62:
        raise ScenarioError(f"{where} is {value!r}", remedy="give at most nine decimals, and less than 4.6e9 alpha")
    return int(units)


def share(value: Any, where: str) -> Fraction:
    """A number that is not negative, exactly as it is written: 3, 0.7, "1/3"."""
    if (type(value) in (int, float) or isinstance(value, str)) and _NUMBER.fullmatch(str(value)):
        return Fraction(str(value))
    raise ScenarioError(f"{where} is {value!r}", remedy='give a number that is not negative, such as 0.7 or "1/3"')


def named_once(names: Sequence[str], what: str) -> None:
    """Refuse a list in which a name stands twice."""
    for at, name in enumerate(names):
        if name in names[:at]:
            raise ScenarioError(f"two {what} have the name {name!r}", remedy="name each once")
