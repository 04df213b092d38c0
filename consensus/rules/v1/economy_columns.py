"""The economy of DTAO section 2 between the columns and the values that the pipeline works on.

A block touches a number of every subnet, so whole columns are read at once and only those that changed are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from ...chain_spec_parameters import GlobalParameters
from ...fixed_point import I96F32, U64F64, U96F32
from ...types import Height, Rao
from .dtao.coinbase import BlockOutcome
from .dtao.economy import Economy, EmissionGate, Pending, Subnet, tao_weight, u16_share
from .dtao.pool import Pool
from .dtao.units import Alpha, Perquintill
from .schedule import SubnetSchedule
from .stakes import ROOT
from .subnets import global_parameter, netuids

if TYPE_CHECKING:
    from ...state.state import State

_NUMBERS: Final = (
    "subnet_mechanism",
    "tao_reserve",
    "alpha_reserve",
    "quote_weight",
    "swap_initialised",
    "fee_rate",
    "tempo",
    "last_epoch_block",
    "pending_epoch_at",
    "blocks_since_last_step",
    "epoch_index",
    "alpha_out",
    "miner_burned",
    "first_emission_block",
    "subtoken_enabled",
    "network_registration_allowed",
    "emission_enabled",
    "owner_cut_enabled",
    "ema_price_halving_blocks",
    "pending_server",
    "pending_validator",
    "pending_root",
    "pending_owner_cut",
    "protocol_alpha",
    "protocol_flow",
)
"""Columns of one number for each subnet that the pipeline reads."""

LIMB: Final = (1 << 64) - 1


def emission_gate(parameters: GlobalParameters) -> EmissionGate | None:
    """The gate that a chain spec names (DESIGN decision 5)."""
    if not parameters.emission_gate_exponent:
        return None
    return EmissionGate(parameters.emission_gate_exponent, U64F64(parameters.emission_gate_bar))


def read_economy(state: State, parameters: GlobalParameters) -> Economy:
    """All that the pipeline needs at the start of a block; `parameters` are the chain spec's."""
    chosen = netuids(state)
    columns = [state.array(f"subnets/{name}")[chosen].tolist() for name in _NUMBERS]
    prices = _wide(state.array("subnets/moving_price")[chosen])
    volumes = _wide(state.array("subnets/volume")[chosen])
    return Economy(
        total_issuance=Rao(int(state.read("chain/issuance", 0))),
        total_stake=Rao(int(state.read("chain/total_stake", 0))),
        root_tao=Rao(int(state.read("subnets/tao_reserve", ROOT))),
        tao_weight=tao_weight(global_parameter(state, "tao_weight")),
        owner_cut=u16_share(global_parameter(state, "subnet_owner_cut")),
        subnets=tuple(
            _subnet(netuid, *numbers, price=price, volume=volume)
            for netuid, numbers, price, volume in zip(chosen, zip(*columns, strict=True), prices, volumes, strict=True)
        ),
        moving_alpha=I96F32(global_parameter(state, "subnet_moving_alpha")),
        max_epochs_per_block=global_parameter(state, "max_epochs_per_block"),
        gate=emission_gate(parameters),
    )


def _subnet(
    netuid: int,
    mechanism: int,
    tao: int,
    alpha: int,
    quote_weight: int,
    initialised: int,
    fee_rate: int,
    tempo: int,
    last_epoch_block: int,
    pending_epoch_at: int,
    blocks_since_last_step: int,
    epoch_index: int,
    alpha_out: int,
    miner_burned: int,
    first_emission_block: int,
    subtoken: int,
    registration: int,
    emission: int,
    owner_cut: int,
    ema_halving: int,
    server: int,
    validator: int,
    root: int,
    cut: int,
    protocol_alpha: int,
    protocol_flow: int,
    *,
    price: int,
    volume: int,
) -> Subnet:
    """One subnet of the columns in the order of `_NUMBERS`."""
    return Subnet(
        pool=Pool(mechanism, Rao(tao), Alpha(alpha), Perquintill(quote_weight), bool(initialised), fee_rate),
        schedule=SubnetSchedule(netuid, tempo, last_epoch_block, pending_epoch_at, blocks_since_last_step, epoch_index),
        alpha_out=Alpha(alpha_out),
        moving_price=I96F32(price),
        miner_burned=U96F32(miner_burned),
        first_emission_block=Height(first_emission_block) if first_emission_block else None,
        subtoken_enabled=bool(subtoken),
        registration_allowed=bool(registration),
        emission_enabled=bool(emission),
        owner_cut_enabled=bool(owner_cut),
        ema_halving_blocks=ema_halving,
        pending=Pending(Alpha(server), Alpha(validator), Alpha(root), Alpha(cut)),
        protocol_alpha=Alpha(protocol_alpha),
        protocol_flow=protocol_flow,
        volume=volume,
    )


def write_economy(state: State, outcome: BlockOutcome) -> None:
    """Store what the pipeline changed: pools, pendings, clocks, prices, statistics and the issuance."""
    subnets = outcome.economy.subnets
    rows = np.array([subnet.schedule.netuid for subnet in subnets], dtype=np.int64)
    pools = [subnet.pool for subnet in subnets]
    clocks = [subnet.schedule for subnet in subnets]
    pendings = [subnet.pending for subnet in subnets]
    changed: dict[str, Sequence[int]] = {
        "tao_reserve": [pool.tao for pool in pools],
        "alpha_reserve": [pool.alpha for pool in pools],
        "quote_weight": [pool.quote_weight for pool in pools],
        "swap_initialised": [int(pool.initialised) for pool in pools],
        "last_epoch_block": [clock.last_epoch_block for clock in clocks],
        "pending_epoch_at": [clock.pending_epoch_at for clock in clocks],
        "blocks_since_last_step": [clock.blocks_since_last_step for clock in clocks],
        "epoch_index": [clock.epoch_index for clock in clocks],
        "alpha_out": [subnet.alpha_out for subnet in subnets],
        "pending_server": [pending.server for pending in pendings],
        "pending_validator": [pending.validator for pending in pendings],
        "pending_root": [pending.root for pending in pendings],
        "pending_owner_cut": [pending.owner_cut for pending in pendings],
        "protocol_alpha": [subnet.protocol_alpha for subnet in subnets],
        "protocol_flow": [subnet.protocol_flow for subnet in subnets],
    }
    for name, values in changed.items():
        _write_rows(state, f"subnets/{name}", rows, values)
    _write_rows(state, "subnets/moving_price", rows, _limbs([subnet.moving_price for subnet in subnets]))
    _write_rows(state, "subnets/volume", rows, _limbs([subnet.volume for subnet in subnets]))
    _write_statistics(state, outcome)
    state.write("chain/total_stake", 0, outcome.economy.total_stake)
    state.add("chain/issuance", 0, outcome.minted - outcome.recycled_tao)
    state.add("chain/minted", 0, outcome.minted)
    state.add("chain/recycled", 0, outcome.recycled_tao)


def _write_statistics(state: State, outcome: BlockOutcome) -> None:
    """What the last block did for each emitting subnet, and the TAO that entered its account."""
    rows = np.array([part.netuid for part in outcome.emitting], dtype=np.int64)
    injections = [part.injection for part in outcome.emitting]
    statistics: dict[str, Sequence[int]] = {
        "tao_in_emission": [injection.tao_in for injection in injections],
        "alpha_in_emission": [injection.alpha_in for injection in injections],
        "alpha_out_emission": [part.alpha_out for part in outcome.emitting],
        "excess_tao": [injection.excess for injection in injections],
    }
    for name, values in statistics.items():
        _write_rows(state, f"subnets/{name}", rows, values)
    spent = np.array([injection.spent for injection in injections], dtype=np.uint64)
    _write_rows(state, "subnets/account", rows, state.array("subnets/account")[rows] + spent)


def _write_rows(state: State, name: str, rows: NDArray[np.int64], values: Sequence[int] | NDArray[Any]) -> None:
    """Set some rows of a column, in one write of the whole column if anything changed."""
    before = state.array(name)
    after = before.copy()
    if len(rows):
        after[rows] = np.array(values, dtype=before.dtype)
    if not np.array_equal(after, before):
        state.write(name, slice(0, len(after)), after)


def _wide(limbs: NDArray[np.uint64]) -> list[int]:
    return [low | high << 64 for low, high in limbs.tolist()]


def _limbs(values: Sequence[int]) -> NDArray[np.uint64]:
    return np.array([(value & LIMB, value >> 64) for value in values], dtype=np.uint64).reshape(-1, 2)
