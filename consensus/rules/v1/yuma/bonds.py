"""Bonds of both variants: reading, moving average, dividends and what is stored (YUMA 3.11 and 3.13)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ....fixed_point import Q32, Q64
from ....types import U64_MAX
from .inputs import MILLION, EpochInput
from .liquid_alpha import LiquidBounds, liquid_bonds
from .q32_arrays import (
    ONE,
    Q32Array,
    divide_rows,
    divide_units,
    multiply,
    normalize,
    proportion_from_u16,
    proportion_to_u16,
)
from .sparse_rows import SparseRows, pack_rows
from .weights import EntryKeys, WeightMatrix, at_keys, entry_keys, needs_keys, stored_matrix, transposed_in_blocks


@dataclass(frozen=True, slots=True)
class BondResult:
    """Outcome of the bond step."""

    dividends: Q32Array
    """D of each voter, shape (k,)."""

    bonds: Q32Array
    """What is stored, (n, k): Yuma2 scaled to a maximum of ONE per target, Yuma3 absolute. Entries: the places > 0."""

    keys: EntryKeys | None
    """Order of the entries where it is not ascending."""


def new_bond_share(bonds_moving_average: int) -> int:
    """a0 of YUMA 3.11: raw Q32 share of the new value in the moving average, from stored parts per million."""
    kept = Q64.div_or_zero(Q64.from_int(bonds_moving_average), Q64.from_int(MILLION))
    return Q32.sub(Q32.one, Q32.from_fraction_bits(kept, Q64.fraction))


def bonds_since(last_step: int, block: int, tempo: int) -> int:
    """Targets registered at or after this height start without bonds: the block after the last epoch."""
    return min(last_step + 1, U64_MAX) if last_step != 0 else max(block - tempo, 0)


def previous_bonds(case: EpochInput, voters: NDArray[np.int64]) -> NDArray[np.int64]:
    """Stored bonds as u16 values, shape (n, k), without the targets registered since the last epoch."""
    return _without_newcomers(case, stored_matrix(case.bonds, None, voters))


def previous_shares(case: EpochInput, voters: NDArray[np.int64]) -> Q32Array:
    """Yuma3 bonds of the last epoch as fractions, shape (n, k): the stored ones, or those carried in full precision."""
    if case.carried_bonds is not None:
        return _without_newcomers(case, stored_matrix(case.carried_bonds, None, voters))
    return proportion_from_u16(previous_bonds(case, voters))


def _without_newcomers(case: EpochInput, units: NDArray[np.int64]) -> NDArray[np.int64]:
    since = bonds_since(case.last_step, case.block, case.tempo)
    fresh = (case.registration >= np.uint64(since)).nonzero()[0]
    if fresh.size:
        units[fresh] = 0
    return units


def moving_average(new: Q32Array, old: Q32Array, share: int) -> Q32Array:
    """EMA of YUMA 3.11: MUL(share, new) + MUL(ONE - share, old), each product floored."""
    average = multiply(share, new)
    average += multiply(ONE - share, old)
    return average


def yuma2_bonds(
    staked_weights: Q32Array, stored: NDArray[np.int64], incentive: Q32Array, bonds_moving_average: int
) -> BondResult:
    """Bonds as shares of a column; `staked_weights` is MUL(Wb, A)."""
    old = divide_units(stored, stored.sum(axis=1)[:, np.newaxis])
    bought = normalized_columns(staked_weights)
    bonds = normalized_columns(moving_average(bought, old, new_bond_share(bonds_moving_average)))
    dividends = normalize(multiply(incentive[:, np.newaxis], bonds).sum(axis=0))
    return BondResult(dividends, divide_rows(bonds, bonds.max(axis=1, initial=0)), None)


def yuma3_bonds(
    case: EpochInput,
    bond_weights: WeightMatrix,
    old: Q32Array,
    voters: NDArray[np.int64],
    consensus: Q32Array,
    stake: Q32Array,
    incentive: Q32Array,
) -> BondResult:
    """Bonds as absolute fractions, dividends weighted by the voters' active stake A."""
    parameters = case.parameters
    keys: EntryKeys | None = None
    if parameters.liquid_alpha and bool(consensus.any()):
        bounds = LiquidBounds.of(case)
        bonds = liquid_bonds(bond_weights, old, _bond_keys(case, voters), consensus, bounds)
        if bond_weights.keys is not None:
            keys = bond_weights.keys[at_keys(bonds, bond_weights.keys) > 0]
    else:
        bonds = moving_average(bond_weights.values, old, new_bond_share(parameters.bonds_moving_average))
    held = multiply(incentive[:, np.newaxis], normalized_columns(bonds)).sum(axis=0)
    return BondResult(normalize(multiply(stake, held)), bonds, keys)


def normalized_columns(values: Q32Array) -> Q32Array:
    """COLNORM: each target's values as shares of their sum; left 0 where that is 0."""
    return divide_rows(values, values.sum(axis=1))


def _bond_keys(case: EpochInput, voters: NDArray[np.int64]) -> EntryKeys | None:
    """Order of the stored bond entries that the mask leaves, when it is not ascending."""
    if not needs_keys(case.bonds):
        return None
    keys = entry_keys(case.bonds, None, voters)
    since = bonds_since(case.last_step, case.block, case.tempo)
    return keys[case.registration[keys % case.count] < np.uint64(since)]


def stored_bonds(result: BondResult, voters: NDArray[np.int64], permits: NDArray[np.bool_]) -> SparseRows:
    """Bond rows as stored (YUMA 3.13): u16 rows of the uids with a new permit, all others empty.

    Entries that quantise to 0 are kept.
    """
    count = len(permits)
    kept = permits[voters]
    units = transposed_in_blocks(proportion_to_u16(result.bonds))
    start = np.zeros(count + 1, dtype=np.int64)
    if result.keys is None and bool(result.bonds.all()):  # nothing absent: whole rows
        start[voters[kept] + 1] = count
        np.cumsum(start, out=start)
        uid = np.empty((np.count_nonzero(kept), count), dtype=np.uint16)
        uid[:] = np.arange(count, dtype=np.uint16)
        return SparseRows(start, uid.reshape(-1), units[kept].reshape(-1), ascending=True, full=True)
    if result.keys is None:
        present = result.bonds.T > 0
        present[~kept] = False
        start[voters + 1] = present.sum(axis=1)
        np.cumsum(start, out=start)
        uid = np.broadcast_to(np.arange(count, dtype=np.uint16), present.shape)[present]
        full = len(uid) == count * np.count_nonzero(kept)
        return SparseRows(start, uid, units[present], ascending=True, full=full)
    keys = result.keys[kept[result.keys // count]]
    position, target = np.divmod(keys, count)
    start[voters + 1] = np.bincount(position, minlength=len(voters))
    np.cumsum(start, out=start)
    return pack_rows(start, target.astype(np.uint16), units[position, target])
