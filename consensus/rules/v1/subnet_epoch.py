"""Epochs of a block: which run, their input from the columns, their result back into them, and the payout (YUMA 4, 7).

Emission is a constant per subnet and block until pools exist: it accrues in `subnets/pending_emission`, and an epoch
pays it to the hotkeys' owners as stake on the subnet. What truncation leaves over stays pending, so a subnet's token
is conserved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...types import Netuid
from ..interface import EpochSummary, Event
from .events import EventKind, event
from .neurons import hotkeys_of, neuron_array, owners_of, uid_of
from .schedule import process_slots
from .schema import NEURON_STRIDE
from .stakes import MAX_SUPPLY, ROOT, credit_owners, stake_key
from .subnets import (
    global_parameter,
    mechanism_split,
    netuids,
    neuron_count,
    owner_hotkey,
    parameter,
    read_schedule,
    write_schedule,
)
from .weights import read_rows, write_rows
from .yuma.inputs import EpochInput, EpochParameters, activity_cutoff_blocks
from .yuma.mechanisms import SubnetEpoch, run_mechanisms

if TYPE_CHECKING:
    from ...state.state import State


def accrue_emission(state: State) -> None:
    """Add one block's emission to what each subnet has pending, up to the token's cap (YUMA 7.1, step 2)."""
    wanted = state.array("subnets/emission_per_block")
    if not wanted.any():
        return
    per_block = np.where(state.array("subnets/alpha_issuance") + wanted <= np.uint64(MAX_SUPPLY), wanted, np.uint64(0))
    everything = slice(0, len(per_block))
    for column in ("subnets/pending_emission", "subnets/alpha_issuance"):
        state.write(column, everything, state.array(column) + per_block)


def run_due_epochs(state: State, height: int) -> tuple[list[EpochSummary], list[Event]]:
    """Pick the due subnets, then run and pay their epochs in ascending order (YUMA 7.3)."""
    before = [read_schedule(state, netuid) for netuid in netuids(state)]
    outcome = process_slots(before, height, global_parameter(state, "max_epochs_per_block"))
    for old, new in zip(before, outcome.schedules, strict=True):
        write_schedule(state, old, new)
    events = [event(EventKind.EpochDeferred, netuid) for netuid in outcome.deferred]
    summaries = []
    for netuid in outcome.drained:
        summary = run_subnet_epoch(state, netuid, height)
        summaries.append(summary)
        events.append(
            event(EventKind.EpochRun, netuid, summary.emission, summary.server_total, summary.validator_total)
        )
    return summaries, events


def run_subnet_epoch(state: State, netuid: int, height: int) -> EpochSummary:
    """Run, store and pay one subnet's epoch. A subnet without neurons keeps its emission."""
    emission = int(state.read("subnets/pending_emission", netuid))
    server = validator = 0
    if neuron_count(state, netuid):
        result = run_mechanisms(epoch_inputs(state, netuid, height), emission, mechanism_split(state, netuid))
        _store(state, netuid, result)
        server, validator = _pay(state, netuid, result, emission)
        state.write("subnets/pending_emission", netuid, emission - server - validator)
    state.write("subnets/last_step", netuid, height)
    for name, amount in (("emission", emission), ("server", server), ("validator", validator)):
        state.write(f"subnets/last_{name}", netuid, amount)
    return EpochSummary(Netuid(netuid), emission, server, validator)


def stake_vectors(state: State, netuid: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """(alpha, TAO on root) of each uid's hotkey, shape (n,). Nobody delegates yet, so nothing is inherited."""
    table, amounts = state.key_table("stakes"), state.array("stakes/amount")
    hotkeys = hotkeys_of(state, netuid)

    def stakes_on(where: int) -> NDArray[np.uint64]:
        prefix = stake_key(where, b"")
        rows = [table.find(prefix + hotkey) for hotkey in hotkeys]
        return np.array([0 if row is None else amounts.item(row) for row in rows], dtype=np.uint64)

    return stakes_on(netuid), stakes_on(ROOT)


def epoch_inputs(state: State, netuid: int, height: int) -> list[EpochInput]:
    """The input of each mechanism's epoch as the columns stand, in order (YUMA section 2)."""
    alpha, tao = stake_vectors(state, netuid)
    tempo = parameter(state, netuid, "tempo")
    parameters = EpochParameters(
        kappa=parameter(state, netuid, "kappa"),
        bonds_penalty=parameter(state, netuid, "bonds_penalty"),
        bonds_moving_average=parameter(state, netuid, "bonds_moving_average"),
        yuma3=bool(parameter(state, netuid, "yuma3_on")),
        liquid_alpha=bool(parameter(state, netuid, "liquid_alpha_on")),
        alpha_low=parameter(state, netuid, "alpha_low"),
        alpha_high=parameter(state, netuid, "alpha_high"),
        alpha_sigmoid_steepness=parameter(state, netuid, "alpha_sigmoid_steepness"),
        max_allowed_validators=parameter(state, netuid, "max_allowed_validators"),
        stake_threshold=global_parameter(state, "stake_threshold"),
        tao_weight=global_parameter(state, "tao_weight"),
    )
    owner_uid = uid_of(state, netuid, owner_hotkey(state, netuid))
    inputs = []
    for mechanism in range(parameter(state, netuid, "mechanism_count")):
        prefix = f"sn/{netuid}/{mechanism}"
        inputs.append(
            EpochInput(
                block=height,
                tempo=tempo,
                cutoff_blocks=activity_cutoff_blocks(parameter(state, netuid, "activity_cutoff_factor_milli"), tempo),
                last_step=int(state.read("subnets/last_step", netuid)),
                owner_uid=owner_uid,
                emission=0,
                last_update=state.array(f"{prefix}/last_update"),
                registration=neuron_array(state, netuid, "registered_at"),
                permit=neuron_array(state, netuid, "permit").astype(np.bool_),
                alpha_stake=alpha,
                tao_stake=tao,
                weights=read_rows(state, prefix, "weight"),
                bonds=read_rows(state, prefix, "bond"),
                parameters=parameters,
            )
        )
    return inputs


def _store(state: State, netuid: int, result: SubnetEpoch) -> None:
    for mechanism, output in enumerate(result.mechanisms):
        prefix = f"sn/{netuid}/{mechanism}"
        state.write(f"{prefix}/incentive", slice(0, len(output.incentive)), output.incentive)
        write_rows(state, prefix, "bond", output.bonds)
    first = netuid * NEURON_STRIDE
    rows = slice(first, first + len(result.emission))
    state.write("neurons/active", rows, result.active.astype(np.uint8))
    state.write("neurons/permit", rows, result.validator_permit.astype(np.uint8))
    state.write("neurons/emission", rows, result.emission)
    state.write("neurons/consensus", rows, result.consensus)
    state.write("neurons/dividends", rows, result.dividends)
    state.write("neurons/validator_trust", rows, result.validator_trust)
    state.write("neurons/stake_weight", rows, result.stake_weight)


def _pay(state: State, netuid: int, result: SubnetEpoch, emission: int) -> tuple[int, int]:
    """Credit what each uid earned to its hotkey's owner; gives (miners' sum, validators' sum).

    The shares never add up to more than the emission, each being floored; the bound below makes that a rule instead of
    a theorem, so that no arithmetic can mint.
    """
    server, validator = result.server_emission.tolist(), result.validator_emission.tolist()
    hotkeys, owners = hotkeys_of(state, netuid), owners_of(state, netuid)
    credits = []
    left, server_total, validator_total = emission, 0, 0
    for hotkey, owner, for_work, for_judging in zip(hotkeys, owners, server, validator, strict=True):
        for_work = min(for_work, left)
        for_judging = min(for_judging, left - for_work)
        left -= for_work + for_judging
        server_total += for_work
        validator_total += for_judging
        if for_work or for_judging:
            credits.append((hotkey, owner, for_work + for_judging))
    if credits:
        credit_owners(state, netuid, credits)
    return server_total, validator_total
