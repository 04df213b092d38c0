"""The state of height 0, made of a chain spec (DESIGN decision 4). Bulk writes: the real network has 23 000 rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ...chain_spec import ChainSpec, SubnetSpec, genesis_authorities, genesis_authority_set, genesis_hash
from ...state.state import State
from ...types import InvalidError
from .authorities import register_authority
from .dtao.safe_float import SafeFloat, from_int
from .dtao.units import DYNAMIC, MAX_SUPPLY
from .era_sets import write_era_set
from .hyperparameters import GLOBAL, MOST_SUBNETS, SUBNET
from .root_index import fill_root_index
from .schedule import MAX_BLOCKS_WITHOUT_STEP, first_last_epoch_block
from .schema import (
    AUTHORITIES,
    BLOCK_HASH_RING,
    BLOCK_HASHES,
    CHAIN,
    ERA_COLUMNS,
    ERA_ROWS,
    GLOBALS,
    HOTKEYS,
    MAX_PAIRS,
    NEURON_STRIDE,
    all_columns,
)
from .stakes import ROOT, position_key, stake_key
from .subnets import open_mechanisms, open_subnet_rows, write_hyperparameters
from .symbols import next_symbol
from .weights import write_row

if TYPE_CHECKING:
    from typing import Any

VERSION: Final = 1
"""Number of these rules in headers and specs."""

MOST_STAKE: Final = 1 << 62
"""An epoch adds up TAO and a subnet's token and is defined below 2^63; a chain that reached it would stop for good."""


def build_genesis(spec: ChainSpec) -> State:
    """The state of height 0. Raises InvalidError for a parameter outside what these rules can run with."""
    state = State(all_columns(), VERSION)
    for column in (*CHAIN, *GLOBALS):
        state.resize(column.name, 1)
    state.resize(BLOCK_HASHES.name, BLOCK_HASH_RING)
    for column in ERA_COLUMNS:
        state.resize(column.name, ERA_ROWS)
    for entry in GLOBAL:
        value = int(getattr(spec.parameters, entry.name))
        _require(entry.minimum <= value <= entry.maximum, f"parameter {entry.name} is {value}")
        state.write(f"global/{entry.name}", 0, value)
    longest = spec.parameters.max_blocks_since_step
    _require(
        longest == MAX_BLOCKS_WITHOUT_STEP,
        f"max_blocks_since_step is {longest}, a constant of {MAX_BLOCKS_WITHOUT_STEP} in these rules",
    )
    _require(spec.issuance <= MOST_STAKE, f"balances and stakes are {spec.issuance} rao, at most {MOST_STAKE}")
    state.write("chain/issuance", 0, spec.issuance)
    state.write("chain/minted", 0, spec.issuance)
    state.write("chain/last_lock_cost", 0, spec.parameters.network_min_lock_cost)
    _write_accounts(state, spec)
    _write_hotkeys(state, spec)
    _write_stakes(state, spec)
    _write_root(state, spec)
    for subnet in spec.subnets:
        _write_subnet(state, subnet)
    _write_authorities(state, spec)
    return state


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise InvalidError(f"genesis under rules version {VERSION}: {message}", remedy="change it in the chain spec")


def _packed(keys: Iterable[bytes], width: int) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, width)


def _fill_table(state: State, name: str, columns: dict[str, NDArray[Any]]) -> None:
    """Write all rows of a table that has none, before its index exists."""
    rows = len(next(iter(columns.values())))
    for column in state.names(f"{name}/"):
        state.resize(column, rows)
    if rows:
        for column, values in columns.items():
            state.write(f"{name}/{column}", slice(0, rows), values)


def _write_accounts(state: State, spec: ChainSpec) -> None:
    """Balances as given, those below the existential deposit too (DESIGN section 7, economy)."""
    holders = [(account, amount) for account, amount in spec.balances if amount]
    free = np.array([amount for _, amount in holders], dtype=np.uint64)
    _fill_table(state, "accounts", {"key": _packed((account for account, _ in holders), 32), "free": free})


def _write_hotkeys(state: State, spec: ChainSpec) -> None:
    owners: dict[bytes, bytes] = {hotkey: coldkey for hotkey, coldkey, _ in spec.stakes}
    for authority in spec.authorities:
        owners[authority.hotkey] = authority.coldkey
    for subnet in spec.subnets:
        owners[subnet.owner_hotkey] = subnet.owner_coldkey
        for neuron in subnet.neurons:
            owners[neuron.hotkey] = neuron.coldkey
    ordered = sorted(owners.items())
    keys, colds = _packed((hotkey for hotkey, _ in ordered), 32), _packed((coldkey for _, coldkey in ordered), 32)
    _fill_table(state, HOTKEYS, {"key": keys, "owner": colds, "used": np.ones(len(ordered), dtype=np.uint8)})


def _write_stakes(state: State, spec: ChainSpec) -> None:
    """Stakes of root and of every subnet; each hotkey is staked by its owner alone at genesis."""
    rows = [(ROOT, hotkey, coldkey, stake) for hotkey, coldkey, stake in spec.stakes if stake]
    for subnet in spec.subnets:
        rows += [(subnet.netuid, n.hotkey, n.coldkey, n.stake) for n in subnet.neurons if n.stake]
    amounts = np.array([amount for _, _, _, amount in rows], dtype=np.uint64)
    used = np.ones(len(rows), dtype=np.uint8)
    mantissas, exponents = _packed_floats([from_int(amount) for _, _, _, amount in rows])
    totals = _packed((stake_key(netuid, hotkey) for netuid, hotkey, _, _ in rows), 34)
    held = _packed((position_key(netuid, hotkey, coldkey) for netuid, hotkey, coldkey, _ in rows), 66)
    _fill_table(
        state,
        "stakes",
        {"key": totals, "used": used, "amount": amounts, "shares_mantissa": mantissas, "shares_exponent": exponents},
    )
    _fill_table(
        state, "positions", {"key": held, "used": used, "share_mantissa": mantissas, "share_exponent": exponents}
    )
    fill_root_index(state, sorted(dict.fromkeys(coldkey for netuid, _, coldkey, _ in rows if netuid == ROOT)))


def _packed_floats(values: list[SafeFloat]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    limbs = b"".join(value.mantissa.to_bytes(16, "little") for value in values)
    return np.frombuffer(limbs, dtype="<u8").reshape(-1, 2), np.array([v.exponent for v in values], dtype=np.int64)


ROOT_PARAMETERS: Final = {
    "tempo": 100,
    "max_allowed_uids": 64,
    "max_allowed_validators": 64,
    "network_registration_allowed": 1,
    "subtoken_enabled": 1,
    "transfer_toggle": 1,
    "burn_half_life": 360,
    "min_burn": 500_000,
    "max_burn": 100_000_000_000,
}
"""What root needs of a subnet's parameters (DTAO 14, genesis)."""


def _write_root(state: State, spec: ChainSpec) -> None:
    """Root: stable, its reserve, outstanding alpha and account are all the TAO staked on it."""
    staked = sum(stake for _, _, stake in spec.stakes)
    open_subnet_rows(state, ROOT)
    for name, value in ROOT_PARAMETERS.items():
        state.write(f"subnets/{name}", ROOT, value)
    for name in ("account", "tao_reserve", "alpha_out"):
        state.write(f"subnets/{name}", ROOT, staked)
    state.write("subnets/burn", ROOT, 100_000_000)
    state.write("chain/total_stake", 0, staked)


def _write_subnet(state: State, subnet: SubnetSpec) -> None:
    netuid, chosen = subnet.netuid, subnet.hyperparameters
    where = f"subnet {netuid}"
    _require(0 < netuid <= MOST_SUBNETS, f"{where}: numbers are 1 to {MOST_SUBNETS}")
    for entry in SUBNET:
        if entry.in_spec:
            value = int(getattr(chosen, entry.name))
            bounds = f"{entry.minimum} to {entry.maximum}"
            _require(entry.minimum <= value <= entry.maximum, f"{where}: {entry.name} is {value}, allowed is {bounds}")
    _require(chosen.alpha_low <= chosen.alpha_high, f"{where}: alpha_low is above alpha_high")
    open_subnet_rows(state, netuid)
    write_hyperparameters(state, netuid, chosen)
    state.write("subnets/owner", netuid, np.frombuffer(subnet.owner_coldkey, dtype=np.uint8))
    state.write("subnets/owner_hotkey", netuid, np.frombuffer(subnet.owner_hotkey, dtype=np.uint8))
    state.write("subnets/last_epoch_block", netuid, first_last_epoch_block(netuid, chosen.tempo, 0))
    stake = sum(neuron.stake for neuron in subnet.neurons)
    _require(
        stake + subnet.alpha_reserve <= MAX_SUPPLY,
        f"{where}: stakes and the alpha reserve are {stake + subnet.alpha_reserve}, at most {MAX_SUPPLY}",
    )
    pool = {
        "subnet_mechanism": DYNAMIC,
        "account": subnet.tao_reserve,
        "tao_reserve": subnet.tao_reserve,
        "alpha_reserve": subnet.alpha_reserve,
        "alpha_out": stake,
        "quote_weight": subnet.quote_weight,
        "swap_initialised": 1,
        "first_emission_block": int(subnet.started),
        "subtoken_enabled": int(subnet.started),
    }
    for name, value in pool.items():
        state.write(f"subnets/{name}", netuid, value)
    state.write_wide("subnets/moving_price", netuid, subnet.moving_price)
    state.write("subnets/symbol", netuid, next_symbol(state))
    state.add("chain/total_stake", 0, subnet.tao_reserve)
    _write_neurons(state, subnet)


def _write_neurons(state: State, subnet: SubnetSpec) -> None:
    netuid, count = subnet.netuid, len(subnet.neurons)
    state.write("subnets/neurons", netuid, count)
    open_mechanisms(state, netuid, 0, subnet.hyperparameters.mechanism_count)
    if count == 0:
        return
    table = state.key_table(HOTKEYS)
    first = netuid * NEURON_STRIDE
    rows = slice(first, first + count)
    state.write("neurons/hotkey", rows, [table.open(neuron.hotkey) + 1 for neuron in subnet.neurons])
    state.write("neurons/registered_at", rows, [neuron.registration_block for neuron in subnet.neurons])
    state.write("neurons/active", rows, 1)
    state.write("neurons/permit", rows, [int(neuron.permit) for neuron in subnet.neurons])
    for mechanism in range(subnet.hyperparameters.mechanism_count):
        state.write(f"sn/{netuid}/{mechanism}/last_update", slice(0, count), [n.last_update for n in subnet.neurons])
    for row in subnet.weights:
        uids, values = np.frombuffer(row.uids, dtype="<u2"), np.frombuffer(row.values, dtype="<u2")
        _require(len(uids) <= MAX_PAIRS, f"subnet {netuid}: uid {row.uid} has more than {MAX_PAIRS} weights")
        write_row(state, f"sn/{netuid}/{row.mechanism}", "weight", row.uid, uids.tolist(), values.tolist())


def _write_authorities(state: State, spec: ChainSpec) -> None:
    """Every authority of the spec is registered since height 0; those heavy enough are the set of era 0, bonded."""
    stakes = {hotkey: stake for hotkey, _, stake in spec.stakes}
    for authority in spec.authorities:
        register_authority(state, authority.hotkey, authority.authority_key, 0)
        row = state.key_table(AUTHORITIES).open(authority.hotkey)
        state.write("authorities/boundary_stake", row, stakes.get(authority.hotkey, 0))
        width = state.spec("authorities/peer_id").row_bytes
        peer_id = np.frombuffer(authority.peer_id.ljust(width, b"\0"), dtype=np.uint8)
        state.write("authorities/peer_id", row, peer_id)
        state.write("authorities/peer_id_length", row, len(authority.peer_id))
    members = genesis_authorities(spec)
    write_era_set(state, 0, genesis_authority_set(spec, genesis_hash(spec)), [a.hotkey for a, _ in members])
    for authority, weight in members:
        row = state.key_table(AUTHORITIES).open(authority.hotkey)
        state.write("authorities/bonded_stake", row, weight)
        state.write("authorities/last_sat", row, 1)
