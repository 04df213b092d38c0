"""Arguments with a structure of their own: children, reveals, texts, fields, and the arguments of orders.

People write the parts of one entry with `:` or `/` and the entries with `,` or `;`; programs give JSON arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ..consensus.chain_spec_toml import parse_account
from ..consensus.rules.v1.calls.call import Argument, ArgumentKind, pack_u16
from ..consensus.ss58 import encode_address
from ..consensus.types import U16_MAX, U64_MAX, InvalidError

OPTIONAL_KINDS: Final = {
    ArgumentKind.OPTIONAL_RAO: ArgumentKind.RAO,
    ArgumentKind.OPTIONAL_U16: ArgumentKind.U16,
}
"""Kinds that may be null, with what they are otherwise."""

FORMS: Final = {
    ArgumentKind.CHILDREN: "PROPORTION:HOTKEY,… with u64 proportions of 2^64-1; JSON [[proportion, hotkey]…]",
    ArgumentKind.OPTIONAL_RAO: "an amount, or none",
    ArgumentKind.OPTIONAL_U16: "a number from 0 to 65535, or none",
    ArgumentKind.TEXTS: "texts separated by |; JSON [text…]",
    ArgumentKind.WEIGHT_REVEALS: "uids/values/salt/version;… with commas inside; JSON [[uids, values, salt, version]…]",
    ArgumentKind.HASHES: "hex digits separated by commas; JSON [hex…]",
    ArgumentKind.FIELDS: "KIND:HEX,…; JSON [[kind, hex]…]",
    ArgumentKind.VALUES: "values separated by commas, accounts as SS58; JSON [value…]",
}
"""How people write them."""

STRUCTURED_KINDS: Final = frozenset(FORMS) - frozenset(OPTIONAL_KINDS)


def structured_from_text(argument: Argument, text: str) -> list[Any]:
    """The wire value of what a person wrote. Raises ValueError."""
    kind = argument.kind
    if kind is ArgumentKind.TEXTS:
        return structured_from_json(argument, text.split("|"))
    entries = [entry.strip() for entry in text.split(";" if kind is ArgumentKind.WEIGHT_REVEALS else ",")]
    entries = [entry for entry in entries if entry]
    if kind in (ArgumentKind.CHILDREN, ArgumentKind.FIELDS):
        return structured_from_json(argument, [[part.strip() for part in entry.split(":", 1)] for entry in entries])
    if kind is ArgumentKind.WEIGHT_REVEALS:
        return structured_from_json(argument, [_reveal_from_text(entry) for entry in entries])
    return structured_from_json(argument, entries)


def _reveal_from_text(entry: str) -> list[Any]:
    *lists, version = entry.split("/")
    return [*([part for part in numbers.split(",") if part] for numbers in lists), version]


def structured_from_json(argument: Argument, values: list[Any]) -> list[Any]:
    """The wire value of a JSON array. Raises ValueError."""
    if argument.most and argument.kind is not ArgumentKind.TEXTS and len(values) > argument.most:
        raise ValueError(f"{len(values)} entries, at most {argument.most} allowed")
    return [_ENTRIES[argument.kind](value) for value in values]


def parse_order_values(texts: list[str]) -> list[Any]:
    """Arguments of an administrative call as people write them. Raises InvalidError."""
    try:
        return [_order_value(text) for text in texts]
    except ValueError as error:
        raise InvalidError(str(error), remedy="give whole numbers, and accounts as SS58 or dev:NAME") from None


def _child(value: Any) -> list[Any]:
    proportion, hotkey = _parts(value, 2)
    return [_number(proportion, U64_MAX), bytes(parse_account(str(hotkey), what="children"))]


def _field(value: Any) -> list[Any]:
    kind, content = _parts(value, 2)
    return [_number(kind, 255), bytes.fromhex(str(content))]


def _reveal(value: Any) -> list[Any]:
    *lists, version = _parts(value, 4)
    return [*(pack_u16([_number(item, U16_MAX) for item in _list(part)]) for part in lists), _number(version, U64_MAX)]


def _order_value(value: Any) -> Any:
    if isinstance(value, str) and not value.lstrip("-").isdigit():
        return bytes(parse_account(value, what="args"))
    number = int(value) if isinstance(value, str) else value
    if type(number) is not int or not -(1 << 63) <= number <= U64_MAX:
        raise ValueError(f"{value!r} is neither a number of 64 bits nor an account")
    return number


def _text(value: Any) -> bytes:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value.encode()


_ENTRIES: Final[dict[ArgumentKind, Callable[[Any], Any]]] = {
    ArgumentKind.CHILDREN: _child,
    ArgumentKind.FIELDS: _field,
    ArgumentKind.HASHES: lambda value: bytes.fromhex(str(value)),
    ArgumentKind.TEXTS: _text,
    ArgumentKind.VALUES: _order_value,
    ArgumentKind.WEIGHT_REVEALS: _reveal,
}


def _parts(value: Any, count: int) -> list[Any]:
    parts = _list(value)
    if len(parts) != count:
        raise ValueError(f"an entry of {len(parts)} parts, expected {count}")
    return parts


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is no list")
    return value


def _number(value: Any, highest: int) -> int:
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if type(number) is not int or not 0 <= number <= highest:
        raise ValueError(f"{value!r} is no whole number from 0 to {highest}")
    return number


def shown_structure(kind: ArgumentKind, value: Any) -> list[Any]:
    """A decoded argument as JSON."""
    if kind is ArgumentKind.CHILDREN:
        return [[str(proportion), encode_address(hotkey)] for proportion, hotkey in value]
    if kind is ArgumentKind.FIELDS:
        return [[number, content.hex()] for number, content in value]
    if kind is ArgumentKind.TEXTS:
        return [text.decode("utf-8", "replace") for text in value]
    if kind is ArgumentKind.HASHES:
        return [name.hex() for name in value]
    if kind is ArgumentKind.WEIGHT_REVEALS:
        return [[*(list(part) for part in reveal[:3]), reveal[3]] for reveal in value]
    return [encode_address(item) if isinstance(item, bytes) and len(item) == 32 else item for item in value]
