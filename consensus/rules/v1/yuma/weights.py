"""Weight matrix of an epoch: masks, row normalisation and clipping (YUMA 3.5, 3.7 and 3.10).

Matrices of an epoch have one row per target uid and one column per *voter*, so that what the spec does per column (of
validators x miners) runs along contiguous memory: shape (n, k). Voters are the uids that can matter, those with a
permit or with stored bonds, ascending.

An entry that is absent and one that is explicitly 0 are both 0 in the matrix. Where the difference or the submission
order matters (liquid alpha, traces), `keys` lists the entries as `voter position * n + uid` in row order; None means
that the entries are exactly the non-zero places, ascending.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ....fixed_point import u16_to_proportion
from .inputs import EpochInput
from .q32_arrays import ONE, Q32Array, divide_units
from .sparse_rows import SparseRows

EntryKeys = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class WeightMatrix:
    """Shares in Q32, shape (n, k), with the entry order where it matters."""

    values: Q32Array
    keys: EntryKeys | None


def voter_uids(permits: NDArray[np.bool_], bonds: SparseRows) -> NDArray[np.int64]:
    """Uids with a permit or with stored bonds, ascending: all that have a say in any matrix of the epoch."""
    return (permits | (bonds.lengths() > 0)).nonzero()[0]


STRIDE_PADDING: Final = 32
"""Elements added to a row before transposing: rows of a power-of-two length would all fall on the same cache sets."""


def stored_matrix(rows: SparseRows, chosen: NDArray[np.bool_] | None, voters: NDArray[np.int64]) -> NDArray[np.int64]:
    """Stored u16 values of the voters' rows, shape (n, k); entries with uid >= n are ignored.

    `chosen`, a bool for each uid, restricts the rows; the voters must include all rows that remain.
    """
    count = rows.count
    if rows.full:
        filled = rows.lengths().nonzero()[0]
        if (
            len(filled) == len(voters)
            and bool((filled == voters).all())
            and (chosen is None or bool(chosen[filled].all()))
        ):
            return _transposed(rows.value.reshape(-1, count))
    units = np.zeros((count, len(voters)), dtype=np.int64)
    position, uid, kept = _entry_places(rows, chosen, voters)
    units[uid, position] = rows.value[kept]
    return units


def _transposed(matrix: NDArray[np.uint16] | NDArray[np.int64]) -> NDArray[np.int64]:
    """The matrix (k, n) as int64 (n, k)."""
    height, width = matrix.shape
    padded = np.empty((height, width + STRIDE_PADDING), dtype=matrix.dtype)
    padded[:, :width] = matrix
    return padded[:, :width].T.astype(np.int64, order="C")


BLOCK_ROWS: Final = 128
"""Rows transposed at a time: a block of a matrix of 128 voters stays in the first-level cache."""


def transposed_in_blocks(matrix: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """The matrix (n, k) as contiguous (k, n)."""
    height, width = matrix.shape
    result = np.empty((width, height), dtype=np.uint16)
    for begin in range(0, height, BLOCK_ROWS):
        result[:, begin : begin + BLOCK_ROWS] = matrix[begin : begin + BLOCK_ROWS].T
    return result


def entry_keys(rows: SparseRows, chosen: NDArray[np.bool_] | None, voters: NDArray[np.int64]) -> EntryKeys:
    """Keys of the entries of the voters' rows, in row order; `chosen` as in `stored_matrix`."""
    position, uid, _ = _entry_places(rows, chosen, voters)
    return position * rows.count + uid


def _entry_places(
    rows: SparseRows, chosen: NDArray[np.bool_] | None, voters: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(voter position, uid, index into `rows.value`) of each entry of the chosen rows that names an existing uid."""
    row = rows.row_of_entry()
    inside = rows.uid < rows.count
    kept = np.flatnonzero(inside if chosen is None else inside & chosen[row])
    return np.searchsorted(voters, row[kept]), rows.uid[kept].astype(np.int64), kept


def needs_keys(rows: SparseRows) -> bool:
    """Whether the entries differ from the non-zero places in ascending order."""
    return not rows.ascending or not bool(rows.value.all())


def masked_weights(
    case: EpochInput, permits: NDArray[np.bool_], voters: NDArray[np.int64], with_keys: bool
) -> WeightMatrix:
    """W of YUMA 3.5: the weight rows of uids with a permit, masked and normalised to ONE per row."""
    units = stored_matrix(case.weights, permits, voters)
    places = np.arange(len(voters))
    others = voters != (-1 if case.owner_uid is None else case.owner_uid)
    units[voters[others], places[others]] = 0  # step 2: nobody weighs itself, except the owner
    updated = case.last_update[voters]
    _zero_where(units, updated, case.registration, or_equal=True)  # step 3
    if case.commit_block is not None:
        _zero_where(units, case.commit_block[voters], case.registration, or_equal=False)  # step 4
    values = divide_units(units, units.sum(axis=0))  # step 5
    if not with_keys:
        return WeightMatrix(values, None)
    return WeightMatrix(values, _masked_keys(case, permits, voters))


def _zero_where(
    units: NDArray[np.int64], voted: NDArray[np.uint64], registration: NDArray[np.uint64], or_equal: bool
) -> None:
    """Drop entry (i, j) where voter i acted before target j registered: `voted[i] < registration[j]` (or equal).

    Only the few targets that registered after the earliest vote are looked at.
    """
    if not voted.size:
        return
    late = (registration >= voted.min()).nonzero()[0]
    if late.size:
        registered = registration[late, np.newaxis]
        units[late] *= (voted > registered) if or_equal else (voted >= registered)


def _masked_keys(case: EpochInput, permits: NDArray[np.bool_], voters: NDArray[np.int64]) -> EntryKeys:
    """Keys of the entries that the masks of YUMA 3.5 leave, explicit zeros included."""
    keys = entry_keys(case.weights, permits, voters)
    position, target = np.divmod(keys, case.count)
    voter = voters[position]
    kept = (voter != target) | (target == (-1 if case.owner_uid is None else case.owner_uid))
    kept &= case.last_update[voter] > case.registration[target]
    if case.commit_block is not None:
        kept &= case.commit_block[voter] >= case.registration[target]
    remaining: EntryKeys = keys[kept]
    return remaining


def at_keys(values: Q32Array, keys: EntryKeys) -> Q32Array:
    """Matrix values at the entries named by `keys`, in their order."""
    position, uid = np.divmod(keys, len(values))
    chosen: Q32Array = values[uid, position]
    return chosen


def clipped_weights(weights: WeightMatrix, consensus: Q32Array) -> WeightMatrix:
    """Wc of YUMA 3.7: weights cut to the consensus of their target; entries cut to 0 disappear, explicit zeros stay."""
    values: Q32Array = np.minimum(weights.values, consensus[:, np.newaxis])
    keys = weights.keys
    if keys is not None:
        keys = keys[(at_keys(values, keys) > 0) | (at_keys(weights.values, keys) == 0)]
    return WeightMatrix(values, keys)


def weights_for_bonds(weights: WeightMatrix, clipped: WeightMatrix, bonds_penalty: int) -> WeightMatrix:
    """Wb of YUMA 3.10: between the weights (penalty 0) and the clipped weights (penalty 65535).

    In between, w + MUL(b, wc - w) with a product that floors downward; only positive values remain, ascending.
    """
    penalty = u16_to_proportion(bonds_penalty)
    if penalty == 0:
        return weights
    if penalty == ONE:
        return clipped
    return WeightMatrix(interpolate_down(weights.values, clipped.values, penalty), None)


def interpolate_down(upper: Q32Array, lower: Q32Array, share: int) -> Q32Array:
    """upper + floor(share * (lower - upper) / 2^32) for lower <= upper and share < ONE, without a negative product."""
    cut = (upper - lower).view(np.uint64)
    cut *= np.uint64(share)
    cut += np.uint64(ONE - 1)  # rounds up: the negative product floors downward
    cut >>= np.uint64(32)
    return upper - cut.view(np.int64)
