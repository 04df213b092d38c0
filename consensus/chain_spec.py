"""The chain spec: everything a chain starts from, and whose hash names it (DESIGN decision 4, section 7 encoding).

A spec is written as TOML (`chain_spec_toml.py`) or built by `yumad genesis`, and travels as canonical CBOR. The genesis
hash is the hash of those bytes; it is also the parent hash of block 1. Bootstrap addresses are no part of it.
"""

from __future__ import annotations

from typing import Any, Final

from . import cbor
from .chain_spec_authorities import (
    check_possession,
    genesis_authorities,
    genesis_authority_set,
    possession_digest,
    possession_digest_at_genesis,
    prove_possession,
)
from .chain_spec_check import check_chain_spec
from .chain_spec_fields import parameters_from_value, parameters_to_value
from .chain_spec_parameters import ChainParameters, FeeSchedule, GlobalParameters, SubnetHyperparameters
from .chain_spec_types import (
    MAX_ACCOUNTS,
    MAX_KEYS,
    MAX_NAME_BYTES,
    MAX_NEURONS,
    MAX_PEER_ID_BYTES,
    MAX_SALT_BYTES,
    AuthoritySpec,
    ChainSpec,
    NeuronSpec,
    SubnetSpec,
    WeightsSpec,
)
from .domains import Domain, digest
from .types import AccountId, AuthorityKey, Hash32, MalformedError, Micros, Netuid, Rao, Signature

SPEC_FORMAT: Final = 2
"""Number of this encoding; a new field means a new number."""

MAX_SPEC_BYTES: Final = 16 << 20
"""The real network's genesis takes 1.4 MB."""


def genesis_hash(spec: ChainSpec) -> Hash32:
    """The chain's identity: hash of the spec's canonical bytes."""
    return genesis_hash_of_bytes(encode_chain_spec(spec))


def genesis_hash_of_bytes(data: bytes) -> Hash32:
    """`genesis_hash` for bytes as received, before they are decoded."""
    return digest(Domain.SPEC, data)


def encode_chain_spec(spec: ChainSpec) -> bytes:
    """Canonical CBOR, positional."""
    chain = parameters_to_value(spec)
    return cbor.encode(
        [
            SPEC_FORMAT,
            spec.name.encode(),
            spec.profile.encode(),
            spec.genesis_time,
            spec.salt,
            spec.rules_version,
            chain,
            [spec.fees.base, spec.fees.per_byte, [list(pair) for pair in spec.fees.calls]],
            parameters_to_value(spec.parameters),
            [spec.admin_threshold, list(spec.admin_keys)],
            [spec.recovery_threshold, list(spec.recovery_keys)],
            [name.encode() for name in spec.dev_names],
            [list(row) for row in spec.balances],
            [list(row) for row in spec.stakes],
            [[a.hotkey, a.coldkey, a.authority_key, a.possession, a.peer_id] for a in spec.authorities],
            [_subnet_to_value(subnet) for subnet in spec.subnets],
        ]
    )


def _subnet_to_value(s: SubnetSpec) -> list[Any]:
    return [
        s.netuid,
        s.owner_hotkey,
        s.owner_coldkey,
        [s.tao_reserve, s.alpha_reserve, s.quote_weight, s.moving_price, s.started],
        parameters_to_value(s.hyperparameters),
        [[n.hotkey, n.coldkey, n.stake, n.registration_block, n.last_update, n.permit] for n in s.neurons],
        [[w.mechanism, w.uid, w.uids, w.values] for w in s.weights],
    ]


def decode_chain_spec(data: bytes) -> ChainSpec:
    """Inverse of `encode_chain_spec`, checked by `check_chain_spec`. Raises MalformedError or InvalidError."""
    f = cbor.as_array(cbor.decode(data, max_bytes=MAX_SPEC_BYTES), 16, what="chain spec")
    if f[0] != SPEC_FORMAT:
        raise MalformedError(f"chain spec has format {f[0]}, expected {SPEC_FORMAT}", remedy="update this program")
    base, per_byte, calls = cbor.as_array(f[7], 3, what="fees")
    admin_threshold, admin_keys = _keys(f[9], "admin keys")
    recovery_threshold, recovery_keys = _keys(f[10], "recovery keys")
    spec = ChainSpec(
        name=_text(f[1], "name"),
        profile=_text(f[2], "profile"),
        genesis_time=Micros(cbor.as_uint(f[3], 63, what="genesis time")),
        salt=cbor.as_bytes(f[4], what="salt", most=MAX_SALT_BYTES),
        rules_version=cbor.as_uint(f[5], 32, what="rules version"),
        **parameters_from_value(ChainParameters, f[6]),
        fees=FeeSchedule(
            _rao(base, "base fee"),
            _rao(per_byte, "fee per byte"),
            tuple(
                (cbor.as_uint(call, 16, what="call id"), _rao(fee, "call fee"))
                for call, fee in _rows(calls, 2, "call fees", 1 << 16)
            ),
        ),
        parameters=GlobalParameters(**parameters_from_value(GlobalParameters, f[8])),
        admin_threshold=admin_threshold,
        admin_keys=admin_keys,
        recovery_threshold=recovery_threshold,
        recovery_keys=recovery_keys,
        dev_names=tuple(_text(name, "dev name") for name in cbor.as_array(f[11], what="dev names", most=MAX_ACCOUNTS)),
        balances=tuple(
            (_account(account, "balance"), _rao(amount, "balance"))
            for account, amount in _rows(f[12], 2, "balances", MAX_ACCOUNTS)
        ),
        stakes=tuple(
            (_account(hotkey, "stake hotkey"), _account(coldkey, "stake coldkey"), _rao(stake, "stake"))
            for hotkey, coldkey, stake in _rows(f[13], 3, "stakes", MAX_ACCOUNTS)
        ),
        authorities=tuple(
            AuthoritySpec(
                _account(hotkey, "authority hotkey"),
                _account(coldkey, "authority coldkey"),
                AuthorityKey(cbor.as_bytes(key, 32, what="authority key")),
                Signature(cbor.as_bytes(possession, 64, what="proof of possession")),
                cbor.as_bytes(peer_id, what="peer id", most=MAX_PEER_ID_BYTES),
            )
            for hotkey, coldkey, key, possession, peer_id in _rows(f[14], 5, "authorities", MAX_ACCOUNTS)
        ),
        subnets=tuple(_subnet_from_value(subnet) for subnet in _rows(f[15], 7, "subnets", 1 << 16)),
    )
    check_chain_spec(spec)
    return spec


def _subnet_from_value(f: list[Any]) -> SubnetSpec:
    tao, alpha, weight, price, started = cbor.as_array(f[3], 5, what="subnet pool")
    return SubnetSpec(
        netuid=Netuid(cbor.as_uint(f[0], 16, what="netuid")),
        owner_hotkey=_account(f[1], "subnet owner hotkey"),
        owner_coldkey=_account(f[2], "subnet owner coldkey"),
        tao_reserve=_rao(tao, "TAO reserve"),
        alpha_reserve=_rao(alpha, "alpha reserve"),
        quote_weight=cbor.as_uint(weight, 63, what="quote weight"),
        moving_price=cbor.as_uint(price, 63, what="moving price"),
        started=cbor.as_bool(started, what="started"),
        hyperparameters=SubnetHyperparameters(**parameters_from_value(SubnetHyperparameters, f[4])),
        neurons=tuple(
            NeuronSpec(
                _account(hotkey, "neuron hotkey"),
                _account(coldkey, "neuron coldkey"),
                _rao(stake, "neuron stake"),
                cbor.as_uint(registration, 63, what="registration block"),
                cbor.as_uint(last_update, 63, what="last update"),
                cbor.as_bool(permit, what="permit"),
            )
            for hotkey, coldkey, stake, registration, last_update, permit in _rows(f[5], 6, "neurons", MAX_NEURONS)
        ),
        weights=tuple(
            WeightsSpec(
                cbor.as_uint(mechanism, 8, what="mechanism"),
                cbor.as_uint(uid, 16, what="uid"),
                cbor.as_bytes(uids, what="weight targets", most=2 * MAX_NEURONS),
                cbor.as_bytes(values, what="weight values", most=2 * MAX_NEURONS),
            )
            for mechanism, uid, uids, values in _rows(f[6], 4, "weights", 16 * MAX_NEURONS)
        ),
    )


def _rows(value: Any, width: int, what: str, most: int) -> list[list[Any]]:
    return [cbor.as_array(row, width, what=what) for row in cbor.as_array(value, what=what, most=most)]


def _keys(value: Any, what: str) -> tuple[int, tuple[AccountId, ...]]:
    threshold, keys = cbor.as_array(value, 2, what=what)
    return (
        cbor.as_uint(threshold, 16, what=f"threshold of {what}"),
        tuple(_account(key, what) for key in cbor.as_array(keys, what=what, most=MAX_KEYS)),
    )


def _account(value: Any, what: str) -> AccountId:
    return AccountId(cbor.as_bytes(value, 32, what=what))


def _rao(value: Any, what: str) -> Rao:
    return Rao(cbor.as_uint(value, 63, what=what))


def _text(value: Any, what: str) -> str:
    raw = cbor.as_bytes(value, what=what, most=MAX_NAME_BYTES)
    if not raw.isascii():
        raise MalformedError(f"{what}: expected ASCII")
    return raw.decode("ascii")


__all__ = [
    "MAX_SPEC_BYTES",
    "SPEC_FORMAT",
    "AuthoritySpec",
    "ChainParameters",
    "ChainSpec",
    "FeeSchedule",
    "GlobalParameters",
    "NeuronSpec",
    "SubnetHyperparameters",
    "SubnetSpec",
    "WeightsSpec",
    "check_chain_spec",
    "check_possession",
    "decode_chain_spec",
    "encode_chain_spec",
    "genesis_authorities",
    "genesis_authority_set",
    "genesis_hash",
    "genesis_hash_of_bytes",
    "possession_digest",
    "possession_digest_at_genesis",
    "prove_possession",
]
