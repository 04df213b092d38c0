"""A chain spec written as TOML: what is not said comes from the profile (DESIGN decision 4).

    name = "test"
    profile = "dev"
    genesis_time = 1_700_000_000_000_000      # Unix microseconds
    salt = "00ff"                             # hex

    [chain]                                   # any parameter of ChainParameters
    slot_length = 500_000

    [parameters]                              # network-wide parameters
    [fees]                                    # base, per_byte, [fees.calls] "0x0400" = 1000
    [admin]                                   # threshold, keys; likewise [recovery]
    [dev]                                     # names = ["alice"], funds = rao for each
    [[balances]]                              # account, amount
    [[stakes]]                                # hotkey, coldkey, amount
    [[authorities]]                           # hotkey, coldkey, key, possession, peer_id (hex)
    [[subnets]]                               # netuid, owner_hotkey, owner_coldkey, tao_reserve,
                                              # alpha_reserve, quote_weight, moving_price, started,
                                              # [subnets.hyperparameters], neurons, weights

An account is an SS58 address or `dev:NAME`. Amounts are whole rao. Unknown keys are errors with a suggestion.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from .chain_spec import (
    AuthoritySpec,
    ChainSpec,
    FeeSchedule,
    NeuronSpec,
    SubnetSpec,
    WeightsSpec,
    check_chain_spec,
)
from .chain_spec_fields import BOOL, U8, U16, U63, Kind, check_parameter, kinds_of, override, refuse_unknown_keys
from .chain_spec_parameters import ChainParameters
from .dev_accounts import dev_keypair
from .profiles import Profile, profile_named
from .ss58 import decode_address
from .types import AccountId, AuthorityKey, InvalidError, MalformedError, Micros, Netuid, Rao, Signature

RULES_VERSION: Final = 1
"""Rules a new chain starts with unless its spec says otherwise."""

EVEN_QUOTE_WEIGHT: Final = 5 * 10**17
"""Both assets of a pool count the same."""

ONE_I96F32: Final = 1 << 32

_TOP: Final = [
    "name",
    "profile",
    "genesis_time",
    "salt",
    "rules_version",
    "chain",
    "parameters",
    "fees",
    "admin",
    "recovery",
    "dev",
    "balances",
    "stakes",
    "authorities",
    "subnets",
]


def load_chain_spec_toml(text: str, *, check: bool = True, settings: Mapping[str, Any] | None = None) -> ChainSpec:
    """The spec that `text` describes, checked by `check_chain_spec`.

    `check=False` is for `genesis build`, which adds authorities before it checks; `settings` replace top-level ones
    (name, genesis_time, salt). Raises MalformedError for broken TOML, InvalidError naming the setting otherwise.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MalformedError(f"chain spec is not TOML: {error}") from None
    return chain_spec_from_document({**document, **(settings or {})}, check=check)


def chain_spec_from_document(document: Mapping[str, Any], *, check: bool = True) -> ChainSpec:
    """The spec that a parsed document describes, as `load_chain_spec_toml`."""
    refuse_unknown_keys(document, _TOP, where="chain spec")
    profile = profile_named(_text(document, "profile", "chain spec"))
    chain = override(profile.chain, _table(document, "chain", "chain spec"), where="chain")
    dev_names, dev_balances = _dev(_table(document, "dev", "chain spec"))
    admin_threshold, admin_keys = _keys(document, "admin")
    recovery_threshold, recovery_keys = _keys(document, "recovery")
    spec = ChainSpec(
        **{name: getattr(chain, name) for name in kinds_of(ChainParameters)},
        name=_text(document, "name", "chain spec"),
        profile=profile.name,
        genesis_time=Micros(_number(document, "genesis_time", U63, "chain spec")),
        salt=_hex(document, "salt", "chain spec", default=""),
        rules_version=_number(document, "rules_version", U16, "chain spec", default=RULES_VERSION),
        fees=_fees(profile, _table(document, "fees", "chain spec")),
        parameters=override(profile.parameters, _table(document, "parameters", "chain spec"), where="parameters"),
        admin_keys=admin_keys,
        admin_threshold=admin_threshold,
        recovery_keys=recovery_keys,
        recovery_threshold=recovery_threshold,
        dev_names=dev_names,
        balances=tuple(sorted([*_balances(document), *dev_balances])),
        stakes=tuple(sorted(_stakes(document))),
        authorities=tuple(sorted(_authorities(document), key=lambda authority: authority.hotkey)),
        subnets=tuple(sorted((_subnet(profile, row) for row in _list(document, "subnets")), key=lambda s: s.netuid)),
    )
    if check:
        check_chain_spec(spec)
    return spec


def parse_account(text: str, *, what: str) -> AccountId:
    """The account an SS58 address or `dev:NAME` names. Raises InvalidError naming `what`."""
    if text.startswith("dev:"):
        return AccountId(dev_keypair(text.removeprefix("dev:")).public_key)
    try:
        return decode_address(text)
    except MalformedError as error:
        raise InvalidError(
            f"{what}: {error.message}", remedy=error.remedy or "use an SS58 address or dev:NAME"
        ) from None


def _fees(profile: Profile, table: Mapping[str, Any]) -> FeeSchedule:
    refuse_unknown_keys(table, ["base", "per_byte", "calls"], where="fees")
    calls = []
    for call, fee in _table(table, "calls", "fees").items():
        try:
            number = int(call, 0)
        except ValueError:
            raise InvalidError(f"fees.calls.{call} is not a call id", remedy='write it as "0x0400" or "1024"') from None
        calls.append(
            (
                check_parameter(U16, number, what=f"fees.calls.{call}"),
                Rao(check_parameter(U63, fee, what=f"fees.calls.{call}")),
            )
        )
    return FeeSchedule(
        Rao(_number(table, "base", U63, "fees", default=profile.fees.base)),
        Rao(_number(table, "per_byte", U63, "fees", default=profile.fees.per_byte)),
        tuple(sorted(calls)) or profile.fees.calls,
    )


def _keys(document: Mapping[str, Any], which: str) -> tuple[int, tuple[AccountId, ...]]:
    table = _table(document, which, "chain spec")
    refuse_unknown_keys(table, ["threshold", "keys"], where=which)
    keys = tuple(sorted(parse_account(str(key), what=f"{which}.keys") for key in _list(table, "keys")))
    return _number(table, "threshold", U16, which, default=len(keys)), keys


def _dev(table: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[AccountId, Rao]]]:
    refuse_unknown_keys(table, ["names", "funds"], where="dev")
    names = tuple(str(name) for name in _list(table, "names"))
    funds = Rao(_number(table, "funds", U63, "dev", default=0))
    return names, [(AccountId(dev_keypair(name).public_key), funds) for name in names if funds]


def _balances(document: Mapping[str, Any]) -> list[tuple[AccountId, Rao]]:
    found = []
    for row in _list(document, "balances"):
        refuse_unknown_keys(row, ["account", "amount"], where="balances")
        found.append((_account(row, "account", "balances"), Rao(_number(row, "amount", U63, "balances"))))
    return found


def _stakes(document: Mapping[str, Any]) -> list[tuple[AccountId, AccountId, Rao]]:
    found = []
    for row in _list(document, "stakes"):
        refuse_unknown_keys(row, ["hotkey", "coldkey", "amount"], where="stakes")
        hotkey, coldkey = _account(row, "hotkey", "stakes"), _account(row, "coldkey", "stakes")
        found.append((hotkey, coldkey, Rao(_number(row, "amount", U63, "stakes"))))
    return found


def _authorities(document: Mapping[str, Any]) -> list[AuthoritySpec]:
    return [authority_from_table(row, where="authorities") for row in _list(document, "authorities")]


def authority_from_table(row: Mapping[str, Any], *, where: str) -> AuthoritySpec:
    """An authority from a TOML table or a JSON record: hotkey, coldkey, key, possession, peer_id."""
    refuse_unknown_keys(row, ["hotkey", "coldkey", "key", "possession", "peer_id"], where=where)
    key, possession = _hex(row, "key", where), _hex(row, "possession", where)
    if len(key) != 32 or len(possession) != 64:
        raise InvalidError(f"{where}: key has {len(key)} and possession {len(possession)} bytes, expected 32 and 64")
    return AuthoritySpec(
        _account(row, "hotkey", where),
        _account(row, "coldkey", where),
        AuthorityKey(key),
        Signature(possession),
        _hex(row, "peer_id", where, default=""),
    )


_SUBNET: Final = [
    "netuid",
    "owner_hotkey",
    "owner_coldkey",
    "tao_reserve",
    "alpha_reserve",
    "quote_weight",
    "moving_price",
    "started",
    "hyperparameters",
    "neurons",
    "weights",
]
_NEURON: Final = ["hotkey", "coldkey", "stake", "registration_block", "last_update", "permit"]


def _subnet(profile: Profile, row: Mapping[str, Any]) -> SubnetSpec:
    where = f"subnets.{row.get('netuid', '?')}"
    refuse_unknown_keys(row, _SUBNET, where=where)
    neurons = []
    for neuron in _list(row, "neurons"):
        refuse_unknown_keys(neuron, _NEURON, where=f"{where}.neurons")
        neurons.append(
            NeuronSpec(
                _account(neuron, "hotkey", where),
                _account(neuron, "coldkey", where),
                Rao(_number(neuron, "stake", U63, where, default=0)),
                _number(neuron, "registration_block", U63, where, default=0),
                _number(neuron, "last_update", U63, where, default=0),
                bool(check_parameter(BOOL, neuron.get("permit", False), what=f"{where}.permit")),
            )
        )
    weights = []
    for line in _list(row, "weights"):
        refuse_unknown_keys(line, ["mechanism", "uid", "uids", "values"], where=f"{where}.weights")
        weights.append(
            WeightsSpec(
                _number(line, "mechanism", U8, where, default=0),
                _number(line, "uid", U16, where),
                pack_u16(_list(line, "uids"), what=f"{where}.weights.uids"),
                pack_u16(_list(line, "values"), what=f"{where}.weights.values"),
            )
        )
    tao = _number(row, "tao_reserve", U63, where, default=profile.reserve)
    alpha = _number(row, "alpha_reserve", U63, where, default=tao)
    quote_weight = _number(row, "quote_weight", U63, where, default=EVEN_QUOTE_WEIGHT)
    return SubnetSpec(
        Netuid(_number(row, "netuid", U16, where)),
        _account(row, "owner_hotkey", where),
        _account(row, "owner_coldkey", where),
        Rao(tao),
        Rao(alpha),
        quote_weight,
        _number(row, "moving_price", U63, where, default=first_moving_price(tao, alpha, quote_weight)),
        bool(check_parameter(BOOL, row.get("started", True), what=f"{where}.started")),
        override(profile.hyperparameters, _table(row, "hyperparameters", where), where=f"{where}.hyperparameters"),
        tuple(neurons),
        tuple(sorted(weights, key=lambda line: (line.mechanism, line.uid))),
    )


def first_moving_price(tao: int, alpha: int, quote_weight: int) -> int:
    """The pool's spot price, at most 1, as raw I96F32: a subnet of the genesis earns by its price from block 1."""
    if not alpha or not quote_weight:
        return 0
    return min((10**18 - quote_weight) * tao * ONE_I96F32 // (quote_weight * alpha), ONE_I96F32)


def pack_u16(numbers: Sequence[Any], *, what: str) -> bytes:
    """Numbers as little-endian u16. Raises InvalidError naming `what` for one out of range."""
    checked = [check_parameter(U16, number, what=what) for number in numbers]
    return np.array(checked, dtype="<u2").tobytes()


# --- typed access -----------------------------------------------------------------------------------------------------


def _table(document: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    value = document.get(key, {})
    if not isinstance(value, dict):
        raise InvalidError(f"{where}: {key} is {value!r}, expected a table")
    return value


def _list(document: Mapping[str, Any], key: str) -> list[Any]:
    value = document.get(key, [])
    if not isinstance(value, list):
        raise InvalidError(f"{key} is {value!r}, expected a list")
    return value


def _text(document: Mapping[str, Any], key: str, where: str) -> str:
    value = document.get(key)
    if not isinstance(value, str):
        raise InvalidError(f"{where}: {key} is {value!r}, expected a text")
    return value


def _number(document: Mapping[str, Any], key: str, kind: Kind, where: str, *, default: int | None = None) -> int:
    value = document.get(key, default)
    number: int = check_parameter(kind, value, what=f"{where}: {key}")
    return number


def _hex(document: Mapping[str, Any], key: str, where: str, *, default: str | None = None) -> bytes:
    value = document.get(key, default)
    try:
        return bytes.fromhex(value)
    except (TypeError, ValueError):
        raise InvalidError(f"{where}: {key} is {value!r}, expected hex digits") from None


def _account(document: Mapping[str, Any], key: str, where: str) -> AccountId:
    return parse_account(_text(document, key, where), what=f"{where}: {key}")


__all__ = [
    "authority_from_table",
    "chain_spec_from_document",
    "first_moving_price",
    "load_chain_spec_toml",
    "pack_u16",
    "parse_account",
]
