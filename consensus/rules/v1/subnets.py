"""Subnets and their parameters in the state: existence, price of registration, schedule (YUMA 6.2, 7, 8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from ...fixed_point import U64F64
from ...types import U16_MAX, AccountId, Rao
from .dtao.registration_price import decayed_price, raised_price
from .hyperparameters import SUBNET
from .schedule import SubnetSchedule
from .schema import MAX_MECHANISMS, NEURON_STRIDE, NEURONS, SUBNETS, mechanism_columns

if TYPE_CHECKING:
    from ...chain_spec_parameters import SubnetHyperparameters
    from ...state.state import State


MECHANISM_STRIDE: Final = 4096
"""`index = mechanism * 4096 + netuid`: what a commit's hash is made over (YUMA section 2)."""


def subnet_exists(state: State, netuid: int) -> bool:
    """Whether there is a subnet of that number; root counts."""
    return netuid < state.rows("subnets/exists") and state.read("subnets/exists", netuid) == 1


def netuids(state: State) -> list[int]:
    """Numbers of all subnets but root, ascending."""
    return [netuid for netuid in np.flatnonzero(state.array("subnets/exists")).tolist() if netuid]


def parameter(state: State, netuid: int, name: str) -> int:
    """A subnet's parameter of YUMA section 8 by its column name."""
    return int(state.read(f"subnets/{name}", netuid))


def global_parameter(state: State, name: str) -> int:
    """A network-wide parameter by its column name."""
    return int(state.read(f"global/{name}", 0))


def neuron_count(state: State, netuid: int) -> int:
    """n: uids 0..n-1 are occupied."""
    return int(state.read("subnets/neurons", netuid))


def owner(state: State, netuid: int) -> AccountId:
    """The subnet owner's coldkey."""
    return AccountId(state.read("subnets/owner", netuid).tobytes())


def owner_hotkey(state: State, netuid: int) -> AccountId:
    """The subnet owner's hotkey."""
    return AccountId(state.read("subnets/owner_hotkey", netuid).tobytes())


def open_subnet_rows(state: State, netuid: int) -> None:
    """Make room for a subnet of this number in every per-subnet and per-neuron column."""
    if netuid >= state.rows("subnets/exists"):
        for spec in SUBNETS:
            state.resize(spec.name, netuid + 1)
        for spec in NEURONS:
            state.resize(spec.name, (netuid + 1) * NEURON_STRIDE)
    state.write("subnets/exists", netuid, 1)


def open_mechanisms(state: State, netuid: int, first: int, count: int) -> None:
    """Add the columns of mechanisms `first`..`count`-1, with a zero row for each neuron."""
    for mechanism in range(first, count):
        for spec in mechanism_columns(netuid, mechanism):
            state.add_column(spec, neuron_count(state, netuid))


def close_mechanisms(state: State, netuid: int, first: int, count: int) -> None:
    """Remove the columns of mechanisms `first`..`count`-1 (YUMA 4.4)."""
    for mechanism in range(first, count):
        for spec in mechanism_columns(netuid, mechanism):
            state.remove_column(spec.name)


def write_hyperparameters(state: State, netuid: int, chosen: SubnetHyperparameters) -> None:
    """Every parameter of a subnet as a spec or a profile gives it, the price of registration included."""
    for entry in SUBNET:
        if entry.in_spec:
            state.write(f"subnets/{entry.name}", netuid, int(getattr(chosen, entry.name)))
    state.write("subnets/burn", netuid, chosen.burn)
    state.write_wide("subnets/burn_increase_multiplier", netuid, chosen.burn_increase_mult)
    store_mechanism_split(state, netuid, chosen.mechanism_emission_split)


def store_mechanism_split(state: State, netuid: int, shares: Sequence[int]) -> None:
    """Set the mechanisms' parts of 65535; none for an even split."""
    state.write("subnets/mechanism_split_length", netuid, len(shares))
    state.write("subnets/mechanism_split", netuid, [*shares, *(0 for _ in range(MAX_MECHANISMS - len(shares)))])


def mechanism_split(state: State, netuid: int) -> tuple[int, ...] | None:
    """Parts of 65535 by mechanism, None for an even split."""
    length = int(state.read("subnets/mechanism_split_length", netuid))
    return tuple(state.read("subnets/mechanism_split", netuid)[:length].tolist()) if length else None


def mechanism_index(netuid: int, mechanism: int) -> int:
    """Storage index of a mechanism, a u16 that saturates: a mechanism that nobody has must not raise here."""
    return min(mechanism * MECHANISM_STRIDE + netuid, U16_MAX)


# --- schedule ---------------------------------------------------------------------------------------------------------


def read_schedule(state: State, netuid: int) -> SubnetSchedule:
    """The scheduling scalars of one subnet."""
    return SubnetSchedule(
        netuid=netuid,
        tempo=parameter(state, netuid, "tempo"),
        last_epoch_block=int(state.read("subnets/last_epoch_block", netuid)),
        pending_epoch_at=int(state.read("subnets/pending_epoch_at", netuid)),
        blocks_since_last_step=int(state.read("subnets/blocks_since_last_step", netuid)),
        epoch_index=int(state.read("subnets/epoch_index", netuid)),
    )


# --- registration price -----------------------------------------------------------------------------------------------


def decay_burns(state: State, height: int) -> None:
    """Let the registration price of every subnet, root too, fall by one block (YUMA 6.2, DTAO 8.4)."""
    if height <= 1:
        return
    before = state.array("subnets/burn")
    exists = state.array("subnets/exists").tolist()
    columns = [state.array(f"subnets/{name}").tolist() for name in ("burn_half_life", "min_burn", "max_burn")]
    after = [
        decayed_price(Rao(price), half_life, Rao(lowest), Rao(highest)) if there else price
        for there, price, half_life, lowest, highest in zip(exists, before.tolist(), *columns, strict=True)
    ]
    changed = np.array(after, dtype=np.uint64)
    if not np.array_equal(changed, before):
        state.write("subnets/burn", slice(0, len(changed)), changed)


def raise_burn(state: State, netuid: int) -> None:
    """Raise the price after a registration: times max(multiplier, 1), floored, clamped (YUMA 6.2)."""
    multiplier = U64F64(state.read_wide("subnets/burn_increase_multiplier", netuid))
    low, high = parameter(state, netuid, "min_burn"), parameter(state, netuid, "max_burn")
    price = raised_price(Rao(int(state.read("subnets/burn", netuid))), multiplier, Rao(low), Rao(high))
    state.write("subnets/burn", netuid, price)
