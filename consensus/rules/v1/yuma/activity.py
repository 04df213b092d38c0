"""Who is active, who has a permit, and whose stake votes (YUMA 3.1, 3.3 and 3.4)."""

import numpy as np
from numpy.typing import NDArray

from .q32_arrays import Q32Array, normalize


def active_uids(last_update: NDArray[np.uint64], cutoff_blocks: int, block: int) -> NDArray[np.bool_]:
    """False where `last_update + cutoff_blocks < block` (saturating, strict)."""
    if block <= cutoff_blocks:
        return np.ones(len(last_update), dtype=np.bool_)
    return last_update >= np.uint64(block - cutoff_blocks)


def current_permits(stored: NDArray[np.bool_], owner_uid: int | None) -> NDArray[np.bool_]:
    """P: the permits stored by the previous epoch, plus the owner's."""
    if owner_uid is None:
        return stored
    permits = stored.copy()
    permits[owner_uid] = True
    return permits


def top_k(values: Q32Array, k: int) -> NDArray[np.bool_]:
    """The k largest non-zero values; on ties the lower uid loses."""
    chosen: NDArray[np.bool_] = values != 0
    surplus = len(values) - k
    if surplus > 0:
        chosen[np.argsort(values, kind="stable")[:surplus]] = False
    return chosen


def next_permits(stake: Q32Array, max_allowed_validators: int, owner_uid: int | None) -> NDArray[np.bool_]:
    """P': permits from the next epoch on. The owner's is extra and displaces nobody."""
    permits = top_k(stake, max_allowed_validators)
    if owner_uid is not None:
        permits[owner_uid] = True
    return permits


def active_stake(stake: Q32Array, active: NDArray[np.bool_], permits: NDArray[np.bool_]) -> Q32Array:
    """A: stake of the active uids with a permit, normalised."""
    return normalize(stake * (active & permits))
