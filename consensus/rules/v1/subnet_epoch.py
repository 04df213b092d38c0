"""One subnet's epoch: its input from the columns, its result back into them, and the payout (YUMA 4, 7, DTAO 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...types import U64_MAX, Netuid
from ..interface import EpochSummary, Event
from .children import relations_of_subnet
from .dtao.distribution import HotkeyEmission
from .dtao.economy import Pending
from .dtao.units import Alpha
from .epoch_record import EpochRecord
from .events import EventKind, event
from .neurons import hotkeys_of, neuron_array, uid_of
from .payout import PaymentKind, pay_epoch
from .schema import NEURON_STRIDE, STAKES
from .stakes import ROOT, stake_key
from .subnets import global_parameter, mechanism_split, neuron_count, owner_hotkey, parameter
from .weight_commits import commit_blocks_of
from .weights import read_rows, write_rows
from .yuma.inputs import EpochInput, EpochParameters, activity_cutoff_blocks
from .yuma.mechanisms import SubnetEpoch, run_mechanisms
from .yuma.stake import inherited_stake

if TYPE_CHECKING:
    from ...state.state import State


def run_subnet_epoch(state: State, netuid: int, pending: Pending, height: int) -> tuple[EpochSummary, list[Event]]:
    """Run, store and pay one subnet's epoch with what was drained for it."""
    emission = min(pending.server + pending.validator + pending.root, U64_MAX)
    inputs: tuple[EpochInput, ...] = ()
    result: SubnetEpoch | None = None
    emissions: list[HotkeyEmission] = []
    if neuron_count(state, netuid):
        inputs = tuple(epoch_inputs(state, netuid, height))
        result = run_mechanisms(inputs, emission, mechanism_split(state, netuid))
        _store(state, netuid, result)
        emissions = [
            HotkeyEmission(hotkey, Alpha(incentive), Alpha(dividend))
            for hotkey, incentive, dividend in zip(
                hotkeys_of(state, netuid),
                result.server_emission.tolist(),
                result.validator_emission.tolist(),
                strict=True,
            )
        ]
    payout = pay_epoch(state, netuid, pending, emissions, height)
    server = sum(emission.incentive for emission in emissions)
    validator = sum(p.amount for p in payout.payments if p.kind in (PaymentKind.TAKE, PaymentKind.NOMINATORS))
    state.write("subnets/last_step", netuid, height)
    for name, amount in (("emission", emission), ("server", server), ("validator", validator)):
        state.write(f"subnets/last_{name}", netuid, amount)
    record = EpochRecord(netuid, height, mechanism_split(state, netuid), inputs, payout)
    summary = EpochSummary(Netuid(netuid), emission, server, validator, record)
    ran = event(EventKind.EpochRun, netuid, emission, server, validator, pending.root, pending.owner_cut)
    return summary, [ran, *payout.events]


def stake_vectors(state: State, netuid: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """(alpha, TAO on root) behind each uid, shape (n,), with what parents lend and children get (YUMA 2.1)."""
    table, amounts = state.key_table(STAKES), state.array("stakes/amount")
    hotkeys = hotkeys_of(state, netuid)
    parents, children = relations_of_subnet(state, netuid)

    def own(where: int, hotkey: bytes) -> int:
        row = table.find(stake_key(where, hotkey))
        return 0 if row is None else int(amounts.item(row))

    def stakes_on(where: int) -> NDArray[np.uint64]:
        stakes = [own(where, hotkey) for hotkey in hotkeys]
        for uid, hotkey in enumerate(hotkeys):
            above, below = parents.get(hotkey, ()), children.get(hotkey, ())
            if above or below:
                lent = [(relation.proportion, own(where, relation.hotkey)) for relation in above]
                stakes[uid] = inherited_stake(stakes[uid], [relation.proportion for relation in below], lent)
        return np.array(stakes, dtype=np.uint64)

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
                last_update=state.array(f"{prefix}/last_update").copy(),
                registration=neuron_array(state, netuid, "registered_at").copy(),
                permit=neuron_array(state, netuid, "permit").astype(np.bool_),
                alpha_stake=alpha,
                tao_stake=tao,
                weights=read_rows(state, prefix, "weight"),
                bonds=read_rows(state, prefix, "bond"),
                parameters=parameters,
                commit_block=commit_blocks_of(state, netuid, mechanism, height),
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
