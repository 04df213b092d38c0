"""Several mechanisms in one subnet: splitting the emission and folding the results (YUMA 4.1-4.3)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ....fixed_point import U64F64, UQ64
from ....types import U16_MAX, U64_MAX, InvalidError
from .epoch import run_epoch
from .inputs import EpochInput
from .outputs import EpochOutput


@dataclass(frozen=True, slots=True)
class SubnetEpoch:
    """Columns of a subnet after the epochs of all its mechanisms, by uid."""

    active: NDArray[np.bool_]
    validator_permit: NDArray[np.bool_]
    stake_weight: NDArray[np.uint16]
    consensus: NDArray[np.uint16]
    dividends: NDArray[np.uint16]
    validator_trust: NDArray[np.uint16]

    emission: NDArray[np.uint64]
    """Stored emission: scaled by the mechanism's share a second time, so with several mechanisms not what is paid."""

    server_emission: NDArray[np.uint64]
    validator_emission: NDArray[np.uint64]

    stake: NDArray[np.uint64]
    """Raw stake, counted once for each mechanism."""

    mechanisms: tuple[EpochOutput, ...]
    """Each mechanism's own result, in order: its incentive and bonds are stored under its own index."""


def split_emission(total: int, count: int, split: Sequence[int] | None) -> list[int]:
    """Share of each of `count` mechanisms in `total` rao; `split` holds u16 parts of 65535, None means evenly.

    Each share floors; what is missing goes to mechanism 0 (YUMA 4.1).
    """
    shares = [total // count] * count if split is None else [total * parts // U16_MAX for parts in split]
    shares = (shares + [0] * count)[:count]
    shares[0] += max(total - sum(shares), 0)
    return shares


def mechanism_weights(shares: Sequence[int]) -> list[U64F64]:
    """`wgt` of YUMA 4.3: each share over the total in U64F64; with nothing to share, mechanism 0 counts alone."""
    total = sum(shares)
    if total == 0:
        return [UQ64.one if index == 0 else UQ64.from_int(0) for index in range(len(shares))]
    return [UQ64.div_or_zero(UQ64.from_int(share), UQ64.from_int(total)) for share in shares]


def accumulate_weighted(accumulated: int, value: int, weight: U64F64, maximum: int) -> int:
    """One step of a weighted mean: accumulated + value * weight, truncated at once to an integer up to `maximum`."""
    product = UQ64.mul(UQ64.from_int(value), weight)
    return UQ64.to_int(UQ64.add(UQ64.from_int(accumulated), product), maximum)


def run_mechanisms(cases: Sequence[EpochInput], total_emission: int, split: Sequence[int] | None) -> SubnetEpoch:
    """Run the epochs of all mechanisms of a subnet and fold them (YUMA 4.1-4.3).

    `cases`: the input of each mechanism, in order; their `emission` is replaced by the mechanism's share. All of them
    read the same previous permits. Raises InvalidError as `run_epoch`, or when no mechanism is given.
    """
    if not cases:
        raise InvalidError("a subnet without mechanisms; expected at least one")
    shares = split_emission(total_emission, len(cases), split)
    outputs = tuple(run_epoch(replace(case, emission=share)) for case, share in zip(cases, shares, strict=True))
    if len(outputs) == 1:
        return _single(outputs[0])
    return fold_mechanisms(outputs, mechanism_weights(shares))


def fold_mechanisms(outputs: tuple[EpochOutput, ...], weights: Sequence[U64F64]) -> SubnetEpoch:
    """Aggregate the results of several mechanisms (YUMA 4.3); plain integers, since few subnets have more than one."""

    def mean(columns: list[list[int]], maximum: int) -> list[int]:
        accumulated = [0] * len(columns[0])
        for column, weight in zip(columns, weights, strict=True):
            pairs = zip(accumulated, column, strict=True)
            accumulated = [accumulate_weighted(sum_so_far, value, weight, maximum) for sum_so_far, value in pairs]
        return accumulated

    def total(columns: list[list[int]]) -> NDArray[np.uint64]:
        return np.array([min(sum(values), U64_MAX) for values in zip(*columns, strict=True)], dtype=np.uint64)

    def mean_u16(columns: list[list[int]]) -> NDArray[np.uint16]:
        return np.array(mean(columns, U16_MAX), dtype=np.uint16)

    return SubnetEpoch(
        active=np.logical_or.reduce([output.active for output in outputs]),
        validator_permit=np.logical_or.reduce([output.validator_permit for output in outputs]),
        stake_weight=mean_u16([output.stake_weight.tolist() for output in outputs]),
        consensus=mean_u16([output.consensus.tolist() for output in outputs]),
        dividends=mean_u16([output.dividends.tolist() for output in outputs]),
        validator_trust=mean_u16([output.validator_trust.tolist() for output in outputs]),
        emission=np.array(mean([output.emission.tolist() for output in outputs], U64_MAX), dtype=np.uint64),
        server_emission=total([output.server_emission.tolist() for output in outputs]),
        validator_emission=total([output.validator_emission.tolist() for output in outputs]),
        stake=total([output.stake.tolist() for output in outputs]),
        mechanisms=outputs,
    )


def _single(output: EpochOutput) -> SubnetEpoch:
    """One mechanism weighs exactly 1, so that its columns are the subnet's."""
    return SubnetEpoch(
        active=output.active,
        validator_permit=output.validator_permit,
        stake_weight=output.stake_weight,
        consensus=output.consensus,
        dividends=output.dividends,
        validator_trust=output.validator_trust,
        emission=output.emission,
        server_emission=output.server_emission,
        validator_emission=output.validator_emission,
        stake=output.stake,
        mechanisms=(output,),
    )
