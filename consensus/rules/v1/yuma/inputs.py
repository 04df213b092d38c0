"""What one epoch call reads: stored columns of one mechanism of one subnet (YUMA section 2)."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ....types import U64_MAX, InvalidError
from .sparse_rows import SparseRows

MAX_EPOCH_UIDS: Final = 4096
"""Most uids one epoch accepts. A subnet has at most 256; the bound keeps the working matrices of a hostile case file
small and a sum of shares far inside 53 bits, on which the exact divisions rely."""

MILLION: Final = 1_000_000
"""Denominator of the stored bonds moving average."""


@dataclass(frozen=True, slots=True)
class EpochParameters:
    """Hyperparameters the epoch reads, as stored (YUMA section 8)."""

    kappa: int
    """u16, parts of 65535: share of stake that sets the consensus weight."""

    bonds_penalty: int
    """u16, parts of 65535: how far weights above consensus are cut before they make bonds."""

    bonds_moving_average: int
    """Parts per million of the old bond kept by the moving average; at most 1 000 000."""

    yuma3: bool
    """Yuma3 bonds (absolute fractions) instead of Yuma2 (shares of a column)."""

    liquid_alpha: bool
    """Per-pair bond rate; without effect unless `yuma3`."""

    alpha_low: int
    """u16, parts of 65535: lower bound of the liquid rate."""

    alpha_high: int
    """u16, parts of 65535: upper bound of the liquid rate."""

    alpha_sigmoid_steepness: int
    """i16; the sigmoid's exponent is this divided by -100."""

    max_allowed_validators: int
    """u16: how many uids get a permit, the owner's not counted."""

    stake_threshold: int
    """u64 rao: uids with less total stake count as 0, except the owner's."""

    tao_weight: int
    """u64, parts of 2^64-1: what one TAO on root counts in alpha."""


@dataclass(frozen=True, slots=True)
class EpochInput:
    """One epoch call. Vectors have one element per uid; all arrays are read, never written."""

    block: int
    """Height of the block the epoch runs in."""

    tempo: int
    """Blocks between epochs."""

    cutoff_blocks: int
    """A uid whose last update is older than this is inactive; see `activity_cutoff_blocks`."""

    last_step: int
    """Height of the last successful epoch; 0 when there was none."""

    owner_uid: int | None
    """Slot of the subnet owner's hotkey."""

    emission: int
    """u64 rao this epoch distributes."""

    last_update: NDArray[np.uint64]
    """Height of each uid's last weight set or commit in this mechanism."""

    registration: NDArray[np.uint64]
    """Height at which each slot was last registered."""

    permit: NDArray[np.bool_]
    """Permits stored by the previous epoch."""

    alpha_stake: NDArray[np.uint64]
    """Rao of alpha on this subnet, inheritance applied (YUMA 2.1)."""

    tao_stake: NDArray[np.uint64]
    """Rao of TAO on root, inheritance applied."""

    weights: SparseRows
    """Stored weights."""

    bonds: SparseRows
    """Stored bonds."""

    parameters: EpochParameters

    commit_block: NDArray[np.uint64] | None = None
    """Oldest live commit of each uid (YUMA 3.5.1), u64 MAX for none; None when commit-reveal is off."""

    carried_bonds: SparseRows | None = None
    """For studies only: Yuma3 bonds of the last epoch as raw Q32, ordered as `bonds`, instead of the stored u16."""

    liquid_rates: tuple[int, int] | None = None
    """For studies only: bounds of the liquid rate as raw Q32, instead of the u16 `alpha_low` and `alpha_high`."""

    @property
    def count(self) -> int:
        """Number of uids, n."""
        return len(self.registration)


def check_epoch_input(case: EpochInput) -> None:
    """Refuse what the arithmetic is not defined for, naming the value and the bound.

    Raises InvalidError. A chain never gets here with such values: registration, set_weights and the admin calls keep
    the same bounds.
    """
    count = case.count
    if not 1 <= count <= MAX_EPOCH_UIDS:
        raise InvalidError(f"an epoch of {count} uids; expected 1..{MAX_EPOCH_UIDS}", remedy="split or trim the case")
    for name in ("last_update", "permit", "alpha_stake", "tao_stake"):
        length = len(getattr(case, name))
        if length != count:
            raise InvalidError(f"{name} has {length} elements; expected one for each of {count} uids")
    for name, rows in (("weights", case.weights), ("bonds", case.bonds)):
        if rows.count != count:
            raise InvalidError(f"{name} has {rows.count} rows; expected one for each of {count} uids")
    if case.commit_block is not None and len(case.commit_block) != count:
        raise InvalidError(f"commit_block has {len(case.commit_block)} elements; expected one for each of {count} uids")
    for name in ("block", "tempo", "cutoff_blocks", "last_step", "emission"):
        number = getattr(case, name)
        if not 0 <= number <= U64_MAX:
            raise InvalidError(f"{name} is {number}; expected a u64")
    if case.owner_uid is not None and not 0 <= case.owner_uid < count:
        raise InvalidError(f"owner_uid is {case.owner_uid}; expected a uid below {count} or none")
    if not 0 <= case.parameters.bonds_moving_average <= MILLION:
        raise InvalidError(
            f"bonds_moving_average is {case.parameters.bonds_moving_average}; expected parts per million, 0..{MILLION}",
            remedy="a larger value would make the share of new bonds negative",
        )


def activity_cutoff_blocks(factor_milli: int, tempo: int) -> int:
    """Blocks after which a uid counts as inactive: a thousandth of factor * tempo, at least 1 (YUMA section 8)."""
    return max(1, factor_milli * tempo // 1000)
