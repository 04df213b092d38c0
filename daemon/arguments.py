"""Arguments of calls and reads between their three forms: text people write, JSON, and the value on the wire.

The argument schema of the rules' registries drives all of it, so a new call or read needs nothing here (DESIGN 5, last
line). Accounts are SS58 or `dev:NAME`; amounts are TAO with a point (`1.5`), or whole rao with a suffix (`1500rao`);
lists are separated by commas; bytes are hex. In JSON amounts are strings of rao, as everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NoReturn

from ..consensus.chain_spec_toml import parse_account
from ..consensus.rules.interface import Event
from ..consensus.rules.v1.calls.call import Argument, ArgumentKind, pack_u16
from ..consensus.rules.v1.calls.orders import order_named
from ..consensus.rules.v1.events import describe_event
from ..consensus.ss58 import encode_address
from ..consensus.types import U16_MAX, U64_MAX, InvalidError, YumadError
from .structured_arguments import (
    FORMS,
    OPTIONAL_KINDS,
    STRUCTURED_KINDS,
    shown_structure,
    structured_from_json,
    structured_from_text,
)

_FORMS: Final = {
    ArgumentKind.U8: "a whole number up to 255",
    ArgumentKind.U16: "a whole number up to 65535",
    ArgumentKind.U64: "a whole number up to 2^64-1",
    ArgumentKind.I64: "a whole number between -2^63 and 2^63-1",
    ArgumentKind.BOOL: "true or false",
    ArgumentKind.RAO: "an amount such as 1.5 (TAO) or 1500rao",
    ArgumentKind.ACCOUNT: "an SS58 address or dev:NAME",
    ArgumentKind.HASH: "64 hex digits",
    ArgumentKind.SIGNATURE: "128 hex digits",
    ArgumentKind.BYTES: "hex digits",
    ArgumentKind.U16_LIST: "whole numbers up to 65535, separated by commas",
    ArgumentKind.U64_LIST: "whole numbers, separated by commas",
    ArgumentKind.WEIGHT_LISTS: "uids/values for each item, such as 0,1/100,200;2/65535",
    ArgumentKind.SIGNATURES: "key:signature, separated by commas (key SS58, signature hex)",
    **FORMS,
}

_RANGES: Final = {
    ArgumentKind.U8: (0, 255),
    ArgumentKind.U16: (0, U16_MAX),
    ArgumentKind.U64: (0, U64_MAX),
    ArgumentKind.RAO: (0, U64_MAX),
    ArgumentKind.I64: (-(1 << 63), (1 << 63) - 1),
}
_LENGTHS: Final = {ArgumentKind.HASH: 32, ArgumentKind.SIGNATURE: 64}

_MOST_SHOWN: Final = 80


class ArgumentError(YumadError):
    """An argument that does not have its form; a usage error on the command line."""

    code = "bad_argument"
    exit_code = 2


def form_of(argument: Argument) -> str:
    """How people write it."""
    return _FORMS[argument.kind]


def _refuse(argument: Argument, given: object, why: str = "") -> NoReturn:
    shown = repr(given)
    shown = shown if len(shown) <= _MOST_SHOWN else f"{shown[:_MOST_SHOWN]}…"
    raise ArgumentError(
        f"{argument.name} is {shown}{f': {why}' if why else ''}", remedy=f"{argument.name}: {form_of(argument)}"
    )


# --- text and JSON to the wire ----------------------------------------------------------------------------------------


def parse_rao(text: str) -> int:
    """Rao of `1.5`, `1.5tao`, `τ1.5` or `1500rao`. Raises ValueError."""
    bare = text.strip().replace("_", "").removeprefix("τ")
    if bare.endswith("rao"):
        return _whole(bare.removesuffix("rao").strip())
    whole, point, fraction = bare.removesuffix("tao").strip().partition(".")
    digits = whole + fraction
    if not digits.isascii() or not digits.isdigit() or (point and not fraction) or len(fraction) > 9:
        raise ValueError("not an amount of TAO with at most nine decimals")
    return _whole(whole or "0") * 10**9 + _whole((fraction or "0").ljust(9, "0"))


def _whole(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,40}", text):
        raise ValueError("not a whole number")
    return int(text)


def parse_text(argument: Argument, text: str) -> Any:
    """The wire value of what a person wrote. Raises ArgumentError."""
    kind = argument.kind
    try:
        if kind is ArgumentKind.RAO:
            return _ranged(argument, parse_rao(text), text)
        if kind in _RANGES:
            order = order_named(text) if argument.name == "call" else None
            return _ranged(argument, _whole(text) if order is None else order.number, text)
        if kind is ArgumentKind.BOOL:
            if text.lower() not in ("true", "false", "yes", "no"):
                raise ValueError("")
            return text.lower() in ("true", "yes")
        if kind is ArgumentKind.ACCOUNT:
            return parse_account(text, what=argument.name)
        if kind in (ArgumentKind.HASH, ArgumentKind.SIGNATURE, ArgumentKind.BYTES):
            if argument.name in _TEXT_BYTES:
                return _sized(argument, text.encode(), text)
            return _sized(argument, bytes.fromhex(text.removeprefix("0x")), text)
        if kind in OPTIONAL_KINDS:
            plain = replace(argument, kind=OPTIONAL_KINDS[kind])
            return None if text in ("none", "null", "") else parse_text(plain, text)
        if kind in STRUCTURED_KINDS:
            return structured_from_text(argument, text)
        return _wire(argument, _list_from_text(kind, text), text)
    except InvalidError as error:
        raise ArgumentError(error.message, remedy=error.remedy) from None
    except ValueError as error:
        _refuse(argument, text, "" if "fromhex" in str(error) else str(error))


def _list_from_text(kind: ArgumentKind, text: str) -> list[Any]:
    if kind is ArgumentKind.WEIGHT_LISTS:
        items = [item.split("/") for item in text.split(";") if item]
        if any(len(item) != 2 for item in items):
            raise ValueError("each item is uids/values")
        return [[_numbers(uids), _numbers(values)] for uids, values in items]
    if kind is ArgumentKind.SIGNATURES:
        pairs = [item.rpartition(":") for item in text.split(",") if item]
        return [[key, signature] for key, _, signature in pairs]
    return _numbers(text)


def _numbers(text: str) -> list[int]:
    return [_whole(item.strip()) for item in text.split(",") if item.strip()]


def from_json(argument: Argument, value: Any) -> Any:
    """The wire value of a JSON value. Amounts may be strings of rao, other numbers too. Raises ArgumentError."""
    kind = argument.kind
    if kind in _RANGES:
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,20}", value):
            value = int(value)
        if type(value) is not int:
            _refuse(argument, value)
        return _ranged(argument, value, value)
    if kind is ArgumentKind.BOOL:
        if type(value) is not bool:
            _refuse(argument, value)
        return value
    if kind in OPTIONAL_KINDS:
        return None if value is None else from_json(replace(argument, kind=OPTIONAL_KINDS[kind]), value)
    if kind in (ArgumentKind.ACCOUNT, ArgumentKind.HASH, ArgumentKind.SIGNATURE, ArgumentKind.BYTES):
        if not isinstance(value, str):
            _refuse(argument, value)
        return parse_text(argument, value)
    if not isinstance(value, list):
        _refuse(argument, value)
    if kind in STRUCTURED_KINDS:
        try:
            return structured_from_json(argument, value)
        except (ValueError, YumadError) as error:
            _refuse(argument, value, str(error))
    return _wire(argument, value, value)


def _wire(argument: Argument, values: list[Any], given: object) -> Any:
    """Lists: u16 lists are packed, the others stay arrays."""
    kind = argument.kind
    if argument.most and len(values) > argument.most:
        _refuse(argument, given, f"{len(values)} entries, at most {argument.most} allowed")
    if kind is ArgumentKind.U16_LIST:
        return _packed(argument, values, given)
    if kind is ArgumentKind.WEIGHT_LISTS:
        if not all(isinstance(item, list) and len(item) == 2 for item in values):
            _refuse(argument, given)
        return [[_packed(argument, part, given) for part in item] for item in values]
    if kind is ArgumentKind.SIGNATURES:
        return [_signature_pair(argument, item, given) for item in values]
    low, high = (0, U64_MAX) if kind is ArgumentKind.U64_LIST else _RANGES[ArgumentKind.I64]
    if not all(type(item) is int and low <= item <= max(high, U64_MAX) for item in values):
        _refuse(argument, given)
    return values


def _packed(argument: Argument, values: Any, given: object) -> bytes:
    if not isinstance(values, list) or not all(type(item) is int and 0 <= item <= U16_MAX for item in values):
        _refuse(argument, given)
    return pack_u16(values)


def _signature_pair(argument: Argument, item: Any, given: object) -> list[bytes]:
    if not isinstance(item, list) or len(item) != 2 or not all(isinstance(part, str) for part in item):
        _refuse(argument, given)
    try:
        signature = bytes.fromhex(item[1])
        key = parse_account(item[0], what=argument.name)
    except (ValueError, YumadError):
        _refuse(argument, given)
    if len(signature) != 64:
        _refuse(argument, given, f"a signature of {len(signature)} bytes")
    return [bytes(key), signature]


def _ranged(argument: Argument, value: int, given: object) -> int:
    low, high = _RANGES[argument.kind]
    if not low <= value <= high:
        _refuse(argument, given, "out of range")
    return value


def _sized(argument: Argument, value: bytes, given: object) -> bytes:
    wanted = _LENGTHS.get(argument.kind)
    if wanted is not None and len(value) != wanted:
        _refuse(argument, given, f"{len(value)} bytes, expected {wanted}")
    if wanted is None and argument.most and len(value) > argument.most:
        _refuse(argument, given, f"{len(value)} bytes, at most {argument.most} allowed")
    return value


# --- the rules' values to JSON ----------------------------------------------------------------------------------------


def shown(argument: Argument, value: Any) -> Any:
    """A decoded argument as JSON."""
    kind = argument.kind
    if kind is ArgumentKind.RAO:
        return str(value)
    if kind is ArgumentKind.ACCOUNT:
        return encode_address(value)
    if kind is ArgumentKind.SIGNATURES:
        return [[encode_address(key), proof.hex()] for key, proof in value]
    if kind in STRUCTURED_KINDS:
        return shown_structure(kind, value)
    if argument.name in _TEXT_BYTES:
        return value.decode("utf-8", "replace")
    if isinstance(value, bytes):
        return value.hex()
    if kind is ArgumentKind.OPTIONAL_RAO:
        return None if value is None else str(value)
    if kind is ArgumentKind.WEIGHT_LISTS:
        return [[list(uids), list(values)] for uids, values in value]
    return list(value) if isinstance(value, tuple) else value


def shown_event(event: Event) -> dict[str, Any]:
    """An event as JSON: 32-byte values are accounts, `amount`-like numbers strings of rao."""
    return {name: _shown_event_value(name, value) for name, value in describe_event(event).items()}


_TEXT_BYTES: Final = ("symbol",)
"""Byte strings that people write as texts."""

_HEX_NAMES: Final = ("authority_key", "peer_id", "hash")
_RAO_NAMES: Final = (
    "alpha",
    "amount",
    "dust",
    "emission",
    "fee",
    "owner_cut",
    "root",
    "server",
    "tao",
    "validator",
    "weight",
)


def _shown_event_value(name: str, value: Any) -> Any:
    if isinstance(value, bytes):
        return encode_address(value) if len(value) == 32 and name not in _HEX_NAMES else value.hex()
    return str(value) if name in _RAO_NAMES and isinstance(value, int) else value


def shown_answer(value: Any, name: str = "") -> Any:
    """A read's answer as JSON: bytes are accounts, amounts by their field's name become strings of rao."""
    if isinstance(value, bytes):
        return encode_address(value) if len(value) == 32 else value.hex()
    if isinstance(value, dict):
        return {key: shown_answer(item, key) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [shown_answer(item, name) for item in value]
    if name in AMOUNT_FIELDS and type(value) is int:
        return str(value)
    return value


AMOUNT_FIELDS: Final = frozenset(
    {
        "alpha_issuance", "amount", "balance", "boundary_stake", "bonded_stake", "burn", "burned", "emission",
        "free", "issuance", "max_burn", "min_burn", "neuron_emission", "minted", "total_stake_rao", "block_emission",
        "tao_value", "alpha_reserve", "alpha_out", "account_tao", "locked", "protocol_alpha", "volume", "pending",
        "tao_in_emission", "alpha_in_emission", "alpha_out_emission", "excess_tao", "alpha_burned", "mass",
        "conviction", "lock_cost", "price_rao", "moving_price_rao", "fee", "out", "paid_in", "quote", "next_halving",
        "root_sell_tao", "protocol_flow", "claimable_alpha", "proportion", "taken", "unlocked", "at_sale",
        "root_stake", "server", "stake", "stake_threshold", "tao_reserve", "total_stake", "validator",
        "alpha", "alpha_dividend", "childkey_recycled", "claimable", "drained", "earned", "epoch_total", "holders",
        "left",
        "left_over", "own_alpha", "own_root", "owner_cut", "paid", "pot", "recycled", "root", "root_dividend",
        "rounding", "staked", "total",
    }
)  # fmt: skip
"""Fields of reads that are amounts in units of 1e-9: strings in JSON, since many readers keep numbers as floats."""


def named_arguments(schema: Sequence[Argument], given: dict[str, Any], what: str) -> list[Any]:
    """The values of `given` in the schema's order. Raises ArgumentError for missing and unknown names."""
    names = [argument.name for argument in schema]
    unknown = [name for name in given if name not in names]
    missing = [name for name in names if name not in given]
    if unknown or missing:
        problem = f"no argument {unknown[0]!r}" if unknown else f"argument {missing[0]!r} is missing"
        raise ArgumentError(f"{what}: {problem}", remedy=f"{what} takes {usage(schema) or 'no arguments'}")
    return [given[name] for name in names]


def usage(schema: Sequence[Argument]) -> str:
    """`name=form…` of a schema, for help and errors."""
    return " ".join(f"{argument.name}=<{argument.kind.value}>" for argument in schema)
