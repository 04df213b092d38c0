"""What one epoch call returns: the columns to store and, when asked for, the raw values on the way (YUMA 3.13)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .q32_arrays import Q32Array
from .sparse_rows import SparseRows
from .weights import EntryKeys, at_keys


@dataclass(frozen=True, slots=True)
class EpochTrace:
    """Intermediates as raw Q32 bits by uid, named as in the vector files; for research and for finding a difference."""

    total_stake: list[int]
    """Raw I64F64 bits, before the threshold."""

    stake: Q32Array
    active_stake: Q32Array
    consensus: Q32Array
    validator_trust: Q32Array
    incentive: Q32Array
    dividends: Q32Array
    server_emission_norm: Q32Array
    validator_emission_norm: Q32Array
    combined_emission_norm: Q32Array
    weights: SparseRows
    clipped_weights: SparseRows
    weights_for_bonds: SparseRows
    ema_bonds: SparseRows
    """Bonds as they are turned into u16, of every voter, permit or not."""


@dataclass(frozen=True, slots=True)
class EpochOutput:
    """Result of one epoch; vectors have one element per uid."""

    active: NDArray[np.bool_]

    stake_weight: NDArray[np.uint16]
    """Normalised stake S in parts of 65535, as the next four: truncated."""

    consensus: NDArray[np.uint16]
    incentive: NDArray[np.uint16]
    dividends: NDArray[np.uint16]
    validator_trust: NDArray[np.uint16]

    validator_permit: NDArray[np.bool_]
    """Permits from the next epoch on."""

    emission: NDArray[np.uint64]
    """Combined emission in rao, as stored; pruning compares it."""

    server_emission: NDArray[np.uint64]
    """Rao paid for incentive."""

    validator_emission: NDArray[np.uint64]
    """Rao by dividends: a relative weight for the validators' pool, not the amount paid."""

    stake: NDArray[np.uint64]
    """Total stake in whole rao, before the threshold."""

    bonds: SparseRows
    """Bond rows of every uid; empty without a new permit."""

    trace: EpochTrace | None
    """Present when the epoch was asked for it."""


def traced_rows(values: Q32Array, keys: EntryKeys | None, voters: NDArray[np.int64]) -> SparseRows:
    """A working matrix (n, k) as sparse rows of raw Q32 bits by uid, in entry order."""
    count = len(values)
    if keys is None:
        position, uid = np.nonzero(values.T)
        keys = position * count + uid
    start = np.zeros(count + 1, dtype=np.int64)
    start[voters + 1] = np.bincount(keys // count, minlength=len(voters))
    np.cumsum(start, out=start)
    return SparseRows(start, (keys % count).astype(np.uint16), at_keys(values, keys), ascending=False, full=False)
