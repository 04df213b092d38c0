"""Epoch inputs from plain lists, with defaults for what a test does not care about."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from yumad.consensus.rules.v1.yuma.inputs import EpochInput, EpochParameters
from yumad.consensus.rules.v1.yuma.sparse_rows import rows_from_lists

Rows = Sequence[Sequence[tuple[int, int]]]

DEFAULTS = EpochParameters(
    kappa=32767,
    bonds_penalty=65535,
    bonds_moving_average=900000,
    yuma3=False,
    liquid_alpha=False,
    alpha_low=45875,
    alpha_high=58982,
    alpha_sigmoid_steepness=1000,
    max_allowed_validators=64,
    stake_threshold=0,
    tao_weight=0,
)
"""Parameters of YUMA section 8, with TAO on root counting nothing."""


def parameters(**changes: Any) -> EpochParameters:
    """The defaults with some fields changed."""
    return EpochParameters(**{name: changes.get(name, getattr(DEFAULTS, name)) for name in EpochParameters.__slots__})


def epoch_case(
    stake: Sequence[int],
    weights: Rows,
    bonds: Rows = (),
    *,
    permits: Sequence[int],
    last_update: Sequence[int],
    registration: Sequence[int],
    block: int = 1000,
    tempo: int = 360,
    cutoff_blocks: int = 5000,
    last_step: int = 640,
    owner_uid: int | None = None,
    emission: int = 10**9,
    tao: Sequence[int] | None = None,
    commit_block: Sequence[int] | None = None,
    **changes: Any,
) -> EpochInput:
    """One epoch; keyword arguments not named here are parameters."""
    count = len(stake)
    return EpochInput(
        block=block,
        tempo=tempo,
        cutoff_blocks=cutoff_blocks,
        last_step=last_step,
        owner_uid=owner_uid,
        emission=emission,
        last_update=np.array(last_update, dtype=np.uint64),
        registration=np.array(registration, dtype=np.uint64),
        permit=np.array(permits, dtype=np.bool_),
        alpha_stake=np.array(stake, dtype=np.uint64),
        tao_stake=np.array(tao if tao is not None else [0] * count, dtype=np.uint64),
        weights=rows_from_lists(weights, count),
        bonds=rows_from_lists(bonds, count),
        parameters=parameters(**changes),
        commit_block=None if commit_block is None else np.array(commit_block, dtype=np.uint64),
    )
