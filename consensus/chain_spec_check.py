"""What must hold of a chain spec beyond its form (CHAIN 1.3, checked on loading). Every refusal names the field."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np

from .chain_spec_authorities import check_possession, genesis_authorities
from .chain_spec_fields import parameters_to_value
from .chain_spec_types import (
    MAX_KEYS,
    MAX_NAME_BYTES,
    MAX_PEER_ID_BYTES,
    MAX_SALT_BYTES,
    ChainSpec,
    SubnetSpec,
)
from .profiles import profile_named
from .types import AccountId, InvalidError

LEAST_SLOT: Final = 250_000
"""A quarter second: below it three gossip hops do not fit."""

MOST_TOTAL: Final = (1 << 63) - 1
"""Any sum of amounts stays below 2^63, so that sums of two fit a u64."""

MAX_UIDS: Final = 256
"""YUMA section 8: uids times mechanisms never exceed it."""

MAX_MECHANISMS: Final = 16

LEAST_QUOTE_WEIGHT: Final = 10**16
"""One part in a hundred: a pool's weights stay inside it (DTAO 5.1)."""

MAX_GATE_EXPONENT: Final = 8
"""The gate raises shares to this power at most: a few hundred bits."""


def check_chain_spec(spec: ChainSpec) -> None:
    """Raise InvalidError for the first thing wrong with `spec`."""
    _check_names(spec)
    _check_parameters(spec)
    _check_keys("admin", spec.admin_keys, spec.admin_threshold)
    _check_keys("recovery", spec.recovery_keys, spec.recovery_threshold)
    _check_amounts(spec)
    _check_authorities(spec)
    _ascending("subnets", [subnet.netuid for subnet in spec.subnets])
    for subnet in spec.subnets:
        _check_subnet(subnet)
    _check_owners(spec)


def _check_names(spec: ChainSpec) -> None:
    profile_named(spec.profile)
    if not spec.name or not spec.name.isascii() or len(spec.name) > MAX_NAME_BYTES:
        raise InvalidError(f"name is {spec.name!r}, expected 1 to {MAX_NAME_BYTES} ASCII characters")
    if len(spec.salt) > MAX_SALT_BYTES:
        raise InvalidError(f"salt has {len(spec.salt)} bytes, at most {MAX_SALT_BYTES} allowed")
    for name in spec.dev_names:
        if not name or not name.isascii() or len(name) > MAX_NAME_BYTES:
            raise InvalidError(f"dev name {name!r}: expected 1 to {MAX_NAME_BYTES} ASCII characters")
    _unique("dev_names", spec.dev_names)


def _check_parameters(spec: ChainSpec) -> None:
    parameters_to_value(spec)
    parameters_to_value(spec.parameters)
    if not 0 <= spec.genesis_time <= MOST_TOTAL:
        raise InvalidError(f"genesis_time is {spec.genesis_time}, expected Unix microseconds")
    if spec.rules_version < 1:
        raise InvalidError(f"rules_version is {spec.rules_version}, expected 1 or more")
    if spec.slot_length < LEAST_SLOT:
        raise InvalidError(f"slot_length is {spec.slot_length} us, expected at least {LEAST_SLOT}")
    if spec.era_blocks < 2:
        raise InvalidError(f"era_blocks is {spec.era_blocks}, expected at least 2")
    if spec.evidence_eras < max(2, spec.unbond_eras):
        raise InvalidError(
            f"evidence_eras is {spec.evidence_eras}, expected at least max(2, unbond_eras) = {max(2, spec.unbond_eras)}"
        )
    horizon = spec.evidence_eras * spec.era_blocks * spec.slot_length
    if spec.trust_window and spec.trust_window >= horizon:
        raise InvalidError(
            f"trust_window is {spec.trust_window} us, expected less than evidence_eras x era_blocks x slot_length ="
            f" {horizon}",
            remedy="a joiner must not trust a set that can no longer be punished: shorten the window or bond longer",
        )
    if spec.slash_ppm > 1_000_000:
        raise InvalidError(f"slash_ppm is {spec.slash_ppm}, expected at most 1000000")
    _check_gate(spec.parameters.emission_gate_exponent, spec.parameters.emission_gate_bar)
    _ascending("fees.calls", [call for call, _ in spec.fees.calls])


def _check_gate(exponent: int, bar: int) -> None:
    """DESIGN decision 5: none, or an exponent with a bar above 0 and at most 1."""
    if exponent > MAX_GATE_EXPONENT or (exponent == 0) != (bar == 0) or bar > 1 << 64:
        raise InvalidError(
            f"the emission gate has exponent {exponent} and bar {bar}, expected 0 and 0, or 1 to {MAX_GATE_EXPONENT}"
            " and a share of at most 2^64",
            remedy="the live network's exponent is 3",
        )


def _check_keys(what: str, keys: Sequence[AccountId], threshold: int) -> None:
    if len(keys) > MAX_KEYS:
        raise InvalidError(f"{what}_keys has {len(keys)} keys, at most {MAX_KEYS} allowed")
    _ascending(f"{what}_keys", keys)
    if not (1 <= threshold <= len(keys) if keys else threshold == 0):
        raise InvalidError(
            f"{what}_threshold is {threshold}, expected " + (f"1 to {len(keys)}" if keys else "0 without keys")
        )


def _check_amounts(spec: ChainSpec) -> None:
    _ascending("balances", [account for account, _ in spec.balances])
    _ascending("stakes", [hotkey for hotkey, _, _ in spec.stakes])
    amounts = [amount for _, amount in spec.balances] + [stake for _, _, stake in spec.stakes]
    amounts += [subnet.tao_reserve for subnet in spec.subnets]
    if any(amount < 0 for amount in amounts) or sum(amounts) > MOST_TOTAL:
        raise InvalidError(f"balances, stakes and TAO reserves sum to {sum(amounts)} rao, expected 0 to 2^63 - 1")
    for subnet in spec.subnets:
        total = sum(neuron.stake for neuron in subnet.neurons) + subnet.alpha_reserve
        if any(neuron.stake < 0 for neuron in subnet.neurons) or total > MOST_TOTAL:
            raise InvalidError(f"stakes and alpha of subnet {subnet.netuid} sum to {total}, expected 0 to 2^63 - 1")


def _check_authorities(spec: ChainSpec) -> None:
    _ascending("authorities", [authority.hotkey for authority in spec.authorities])
    _unique("authority keys", [authority.authority_key for authority in spec.authorities])
    for authority in spec.authorities:
        if len(authority.peer_id) > MAX_PEER_ID_BYTES:
            raise InvalidError(f"peer_id of authority {authority.hotkey.hex()[:16]} is too long")
        check_possession(authority, spec.name, spec.salt)
    if not genesis_authorities(spec):
        raise InvalidError(
            f"genesis authority weight is zero: none of {len(spec.authorities)} authorities has a root stake of at "
            f"least {max(1, spec.min_authority_weight)} rao",
            remedy="list authorities, and stakes of their hotkeys",
        )


def _check_subnet(subnet: SubnetSpec) -> None:
    where, h = f"subnet {subnet.netuid}", subnet.hyperparameters
    parameters_to_value(h)
    if subnet.netuid == 0:
        raise InvalidError("subnet 0 is root, which has no neurons")
    if not LEAST_QUOTE_WEIGHT <= subnet.quote_weight <= 10**18 - LEAST_QUOTE_WEIGHT:
        raise InvalidError(f"{where}: quote_weight is {subnet.quote_weight}, expected 10^16 to 99 * 10^16")
    if subnet.moving_price > 1 << 32 or subnet.moving_price < 0:
        raise InvalidError(f"{where}: moving_price is {subnet.moving_price}, expected at most 2^32, a price of 1")
    if not 1 <= h.mechanism_count <= MAX_MECHANISMS or h.max_allowed_uids * h.mechanism_count > MAX_UIDS:
        raise InvalidError(
            f"{where}: {h.max_allowed_uids} uids x {h.mechanism_count} mechanisms, expected at most {MAX_UIDS} together"
        )
    split = h.mechanism_emission_split
    if split and (len(split) != h.mechanism_count or sum(split) != 65_535):
        raise InvalidError(f"{where}: mechanism_emission_split {split} is not one share per mechanism summing to 65535")
    if h.min_burn > h.max_burn:
        raise InvalidError(f"{where}: min_burn {h.min_burn} is above max_burn {h.max_burn}")
    n = len(subnet.neurons)
    if n > h.max_allowed_uids:
        raise InvalidError(f"{where}: {n} neurons, max_allowed_uids is {h.max_allowed_uids}")
    _unique(f"{where}: neuron hotkeys", [neuron.hotkey for neuron in subnet.neurons])
    _ascending(f"{where}: weights", [(row.mechanism, row.uid) for row in subnet.weights])
    for row in subnet.weights:
        targets = np.frombuffer(row.uids, dtype="<u2").tolist() if len(row.uids) % 2 == 0 else None
        if targets is None or len(row.uids) != len(row.values):
            raise InvalidError(f"{where}: weights of uid {row.uid}: {len(row.uids)} and {len(row.values)} bytes")
        if row.mechanism >= h.mechanism_count or row.uid >= n or any(target >= n for target in targets):
            raise InvalidError(f"{where}: weights of uid {row.uid} name a mechanism or uid that does not exist")
        _unique(f"{where}: targets of uid {row.uid}", targets)


def _check_owners(spec: ChainSpec) -> None:
    """A hotkey has one owner everywhere."""
    claims = [(hotkey, coldkey, "stakes") for hotkey, coldkey, _ in spec.stakes]
    claims += [(authority.hotkey, authority.coldkey, "authorities") for authority in spec.authorities]
    for subnet in spec.subnets:
        where = f"subnet {subnet.netuid}"
        claims += [(neuron.hotkey, neuron.coldkey, where) for neuron in subnet.neurons]
        claims.append((subnet.owner_hotkey, subnet.owner_coldkey, where))
    owners: dict[AccountId, AccountId] = {}
    for hotkey, coldkey, where in claims:
        if len(hotkey) != 32 or len(coldkey) != 32:
            raise InvalidError(f"{where}: an account has 32 bytes, not {len(hotkey)} or {len(coldkey)}")
        if owners.setdefault(hotkey, coldkey) != coldkey:
            raise InvalidError(f"{where}: hotkey {hotkey.hex()} has another coldkey than elsewhere in the spec")


def _ascending(what: str, items: Sequence[Any]) -> None:
    for left, right in pairwise(items):
        if left >= right:
            shown = left.hex() if isinstance(left, bytes) else left
            raise InvalidError(f"{what} must be sorted, each once: {shown} is followed by a smaller or equal one")


def _unique(what: str, items: Iterable[Any]) -> None:
    seen: dict[Any, None] = {}
    for item in items:
        if item in seen:
            raise InvalidError(f"{what}: {item.hex() if isinstance(item, bytes) else item} occurs twice")
        seen[item] = None
