"""Subnets and their parameters in the state: existence, price of registration, schedule (YUMA 6.2, 7, 8)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from ...fixed_point import U64F64, UQ64
from ...types import U64_MAX, AccountId
from .schedule import SubnetSchedule
from .schema import NEURON_STRIDE, NEURONS, SUBNETS, mechanism_columns

if TYPE_CHECKING:
    from ...state.state import State

HALF_Q32: Final = 1 << 31


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


def mechanism_split(state: State, netuid: int) -> tuple[int, ...] | None:
    """Parts of 65535 by mechanism, None for an even split."""
    length = int(state.read("subnets/mechanism_split_length", netuid))
    return tuple(state.read("subnets/mechanism_split", netuid)[:length].tolist()) if length else None


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


def write_schedule(state: State, before: SubnetSchedule, after: SubnetSchedule) -> None:
    """Store what changed."""
    for name in ("last_epoch_block", "pending_epoch_at", "blocks_since_last_step", "epoch_index"):
        value = getattr(after, name)
        if value != getattr(before, name):
            state.write(f"subnets/{name}", after.netuid, value)


# --- registration price -----------------------------------------------------------------------------------------------


def q32_product(value: int, factor: int) -> int:
    """q(v, f) of YUMA 6.2: product in parts of 2^32, at most a u64."""
    return min((value * factor) >> 32, U64_MAX)


def q32_power(base: int, exponent: int) -> int:
    """`pow` of YUMA 6.2: square and multiply from the lowest bit, through `q32_product`."""
    result = 1 << 32
    while exponent:
        if exponent & 1:
            result = q32_product(result, base)
        exponent >>= 1
        if exponent:
            base = q32_product(base, base)
    return result


@lru_cache(maxsize=256)
def decay_factor(half_life: int) -> int:
    """f_h of YUMA 6.2: the largest Q32 factor whose power of `half_life` is at most one half."""
    low, high = 0, 1 << 32
    while low + 1 < high:
        middle = low + ((high - low) >> 1)
        if q32_power(middle, half_life) > HALF_Q32:
            high = middle
        else:
            low = middle
    return low


def clamp_burn(burn: int, minimum: int, maximum: int) -> int:
    """The price inside its bounds, the lower one first."""
    return min(max(burn, minimum), maximum)


def decay_burns(state: State, height: int) -> None:
    """Let the registration price of every subnet fall by one block (YUMA 7.1, step 1)."""
    if height <= 1:
        return
    burns = state.array("subnets/burn")
    changed = burns.copy()
    for netuid in netuids(state):
        half_life = parameter(state, netuid, "burn_half_life")
        if half_life:
            changed[netuid] = clamp_burn(
                q32_product(int(burns[netuid]), decay_factor(half_life)),
                parameter(state, netuid, "min_burn"),
                parameter(state, netuid, "max_burn"),
            )
    if not np.array_equal(changed, burns):
        state.write("subnets/burn", slice(0, len(changed)), changed)


def raise_burn(state: State, netuid: int) -> None:
    """Raise the price after a registration: times max(multiplier, 1), floored, clamped (YUMA 6.2)."""
    multiplier = U64F64(max(state.read_wide("subnets/burn_increase_multiplier", netuid), UQ64.one))
    price = UQ64.to_u64(UQ64.mul(UQ64.from_int(int(state.read("subnets/burn", netuid))), multiplier))
    low, high = parameter(state, netuid, "min_burn"), parameter(state, netuid, "max_burn")
    state.write("subnets/burn", netuid, clamp_burn(price, low, high))
