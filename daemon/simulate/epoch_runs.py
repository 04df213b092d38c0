"""The `epochs` mode: one subnet's epochs with given stakes and weights, through the rules' own epoch (YUMA 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import gcd, lcm
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...consensus.chain_spec_parameters import SubnetHyperparameters
from ...consensus.rules.v1.yuma.epoch import run_epoch
from ...consensus.rules.v1.yuma.inputs import EpochInput, EpochParameters, activity_cutoff_blocks
from ...consensus.rules.v1.yuma.outputs import EpochOutput
from ...consensus.rules.v1.yuma.q32_arrays import Q32Array
from ...consensus.rules.v1.yuma.sparse_rows import SparseRows, rows_from_lists
from ...consensus.types import U16_MAX
from .results import ONE, BondRow, EpochRow, VariantResult
from .scenario import EpochScenario, Variant, WeightRow

FIRST_BLOCK: Final = 1
"""Where neurons stand registered; the first epoch runs at the end of the first tempo."""

SHORTEST_TEMPO: Final = 4
"""Blocks between epochs at least: room for a registration and then a submission between two of them."""


def run_epochs(scenario: EpochScenario) -> list[VariantResult]:
    """Every variant of a scenario, side by side."""
    return [_run_variant(scenario, variant) for variant in scenario.variants]


def _run_variant(scenario: EpochScenario, variant: Variant) -> VariantResult:
    count, chosen = len(scenario.neurons), variant.hyperparameters
    result = VariantResult(variant.name, {(0, uid): name for uid, name in enumerate(scenario.neurons)})
    rows: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    registration = np.full(count, FIRST_BLOCK, dtype=np.uint64)
    submitted = np.full(count, FIRST_BLOCK, dtype=np.uint64)
    resubmits = np.ones(count, dtype=np.bool_)
    bonds, carried = rows_from_lists([], count), rows_from_lists([], count)
    stakes = scenario.stakes[0]
    permits: NDArray[np.bool_] | None = None
    last_step = 0
    scaled = proportions if variant.exact else scaled_to_u16
    submissions: dict[int, list[WeightRow]] = {}
    for row in scenario.weights:
        submissions.setdefault(row.epoch, []).append(row)
    for epoch in range(scenario.epochs):
        chosen = variant.changes.get(epoch, chosen)
        stakes = scenario.stakes.get(epoch, stakes)
        tempo = max(chosen.tempo, SHORTEST_TEMPO)
        block = last_step + tempo
        permit = _first_permits(stakes, chosen) if permits is None else permits.copy()
        for uid in scenario.registrations.get(epoch, ()):
            registration[uid] = block - 2
            rows[uid], permit[uid], resubmits[uid] = [], False, True
        for row in submissions.get(epoch, ()):
            rows[row.validator] = list(zip(row.targets, scaled(row.shares), strict=True))
            submitted[row.validator], resubmits[row.validator] = block - 1, not row.once
        case = EpochInput(
            block=block,
            tempo=tempo,
            cutoff_blocks=activity_cutoff_blocks(chosen.activity_cutoff_factor_milli, tempo),
            last_step=last_step,
            owner_uid=scenario.owner_uid,
            emission=scenario.emission,
            last_update=np.where(resubmits, np.uint64(block - 1), submitted),
            registration=registration,
            permit=permit,
            alpha_stake=np.array(stakes, dtype=np.uint64),
            tao_stake=np.zeros(count, dtype=np.uint64),
            weights=rows_from_lists(rows, count),
            bonds=bonds,
            parameters=_parameters(chosen),
            carried_bonds=carried if variant.exact and epoch else None,
            liquid_rates=variant.liquid_rates,
        )
        output = run_epoch(case, trace=True)
        assert output.trace is not None
        _note(result, epoch, block, case, output)
        permits = permit if variant.keep_permits else output.validator_permit
        bonds, last_step = output.bonds, block
        carried = _same_order(output.trace.ema_bonds, permits)
        if variant.exact and chosen.yuma3_on:
            bonds = replace(carried, value=carried.value >> 16)  # only their places count beside the carried ones
    return result


def scaled_to_u16(shares: Sequence[Fraction]) -> tuple[int, ...]:
    """Weights as the chain stores them: the largest becomes 65535, the others in proportion, rounded."""
    largest = max(shares, default=Fraction(0))
    if not largest:
        return tuple(0 for _ in shares)
    return tuple(round(share * U16_MAX / largest) for share in shares)


def proportions(shares: Sequence[Fraction]) -> tuple[int, ...]:
    """The smallest whole numbers in exactly these proportions, or `scaled_to_u16` where they do not fit a u16."""
    scale = lcm(*(share.denominator for share in shares))
    whole = [int(share * scale) for share in shares]
    shrunk = [value // (gcd(*whole) or 1) for value in whole]
    return tuple(shrunk) if max(shrunk, default=0) <= U16_MAX else scaled_to_u16(shares)


def _first_permits(stakes: tuple[int, ...], chosen: SubnetHyperparameters) -> NDArray[np.bool_]:
    """Whoever the first epoch would give a permit has one already: a scenario need not run an epoch for that."""
    ranked = sorted(range(len(stakes)), key=lambda uid: (stakes[uid], uid))[-chosen.max_allowed_validators :]
    return np.array([uid in ranked and stakes[uid] > 0 for uid in range(len(stakes))], dtype=np.bool_)


def _parameters(chosen: SubnetHyperparameters) -> EpochParameters:
    return EpochParameters(
        kappa=chosen.kappa,
        bonds_penalty=chosen.bonds_penalty,
        bonds_moving_average=chosen.bonds_moving_average,
        yuma3=chosen.yuma3_on,
        liquid_alpha=chosen.liquid_alpha_on,
        alpha_low=chosen.alpha_low,
        alpha_high=chosen.alpha_high,
        alpha_sigmoid_steepness=chosen.alpha_sigmoid_steepness,
        max_allowed_validators=chosen.max_allowed_validators,
        stake_threshold=0,
        tao_weight=0,
    )


def _same_order(rows: SparseRows, permits: NDArray[np.bool_]) -> SparseRows:
    """The rows of those who keep a permit; the others lose theirs, as on the chain."""
    kept = permits[rows.row_of_entry()]
    lengths = np.where(permits, rows.lengths(), 0)
    start = np.zeros(rows.count + 1, dtype=np.int64)
    np.cumsum(lengths, out=start[1:])
    return SparseRows(start, rows.uid[kept], rows.value[kept], ascending=False, full=False)


def _note(result: VariantResult, epoch: int, block: int, case: EpochInput, output: EpochOutput) -> None:
    trace = output.trace
    assert trace is not None
    before = ranks_of(trace.active_stake, trace.weights)
    ranks = ranks_of(trace.active_stake, trace.clipped_weights)
    columns = [trace.incentive, trace.dividends, trace.consensus, trace.validator_trust]
    shares = zip(*(column.tolist() for column in columns), strict=True)
    paid, stakes = output.emission.tolist(), case.alpha_stake.tolist()
    for uid, (incentive, dividends, consensus, trust) in enumerate(shares):
        row = (epoch, block, 0, uid, stakes[uid], incentive, dividends, consensus, trust, paid[uid])
        result.epochs.append(EpochRow(*row, prerank=before[uid], rank=ranks[uid]))
    result.bonds += bond_rows(epoch, 0, trace.ema_bonds, columns=not case.parameters.yuma3)


def ranks_of(stake: Q32Array, weights: SparseRows) -> list[int]:
    """Stake-weighted weights received by each uid, raw Q32."""
    ranks = [0] * weights.count
    entries = zip(weights.row_of_entry().tolist(), weights.uid.tolist(), weights.value.tolist(), strict=True)
    for validator, target, value in entries:
        ranks[target] += int(stake[validator]) * value >> 32
    return ranks


def bond_rows(epoch: int, netuid: int, bonds: SparseRows, *, columns: bool) -> list[BondRow]:
    """Bonds after an epoch; `columns` for Yuma2, whose bonds are shown as shares of their target."""
    entries = list(zip(bonds.row_of_entry().tolist(), bonds.uid.tolist(), bonds.value.tolist(), strict=True))
    totals: dict[int, int] = {}
    for _, target, value in entries:
        totals[target] = totals.get(target, 0) + value
    return [
        BondRow(
            epoch, netuid, validator, target, value * ONE // totals[target] if columns and totals[target] else value
        )
        for validator, target, value in entries
    ]
