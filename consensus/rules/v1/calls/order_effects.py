"""What administrative calls do: plain parameters between their bounds, and those that change more than a number."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from ....fixed_point import UQ64
from ....types import U16_MAX, U64_MAX
from ...interface import BlockContext, Event
from ..errors import CallError, ErrorCode
from ..events import EventKind, event
from ..hyperparameters import ALPHA_BOUND_LOW, MAX_UIDS_TIMES_MECHANISMS, Hyperparameter
from ..lock_totals import NO_HOTKEY, OWNER, rename_totals
from ..schema_tables import COLDKEYS
from ..stakes import hotkey_owner
from ..subnet_dissolution import dissolve_subnet
from ..subnets import (
    close_mechanisms,
    global_parameter,
    mechanism_index,
    neuron_count,
    open_mechanisms,
    owner_hotkey,
    parameter,
    store_mechanism_split,
)
from ..timelocked import remove_timelocked
from ..trading import least_nomination, sweep_small_nominations
from ..trimming import trim_neurons
from ..weight_commits import remove_commits

if TYPE_CHECKING:
    from ....state.state import State

Apply: TypeAlias = "Callable[[State, BlockContext, int, tuple[Any, ...]], list[Event]]"
"""(state, context, netuid, values): raises CallError, or sets; gives what else happened."""

Related: TypeAlias = "Callable[[State, BlockContext, int, int], None]"
"""(state, context, netuid, value): bounds that involve another parameter, and what else a change does."""


def _require(holds: bool) -> None:
    if not holds:
        raise CallError(ErrorCode.ValueNotInBounds)


_OUT_OF_BOUNDS: Final[dict[str, tuple[ErrorCode, ErrorCode]]] = {
    "tempo": (ErrorCode.TempoOutOfBounds, ErrorCode.TempoOutOfBounds),
    "reveal_period_epochs": (ErrorCode.RevealPeriodTooSmall, ErrorCode.RevealPeriodTooLarge),
    "fee_rate": (ErrorCode.FeeRateTooHigh, ErrorCode.FeeRateTooHigh),
    "root_claim_threshold": (ErrorCode.InvalidRootClaimThreshold, ErrorCode.InvalidRootClaimThreshold),
}
"""Errors of their own that the specs give to a value below and above the bounds."""


def subnet_parameter_order(entry: Hyperparameter) -> Apply:
    """Set one parameter of a subnet between its bounds, after what `_RELATED` says of it."""

    def apply(state: State, ctx: BlockContext, netuid: int, values: tuple[Any, ...]) -> list[Event]:
        value = values[0]
        below, above = _OUT_OF_BOUNDS.get(entry.name, (ErrorCode.ValueNotInBounds, ErrorCode.ValueNotInBounds))
        if value < entry.minimum:
            raise CallError(below)
        if value > entry.maximum:
            raise CallError(above)
        related = _RELATED.get(entry.name)
        if related is not None:
            related(state, ctx, netuid, value)
        state.write(f"subnets/{entry.name}", netuid, value)
        return []

    return apply


def global_parameter_order(entry: Hyperparameter) -> Apply:
    """Set one parameter of the network between its bounds."""

    def apply(state: State, ctx: BlockContext, netuid: int, values: tuple[Any, ...]) -> list[Event]:
        value = values[0]
        _require(entry.minimum <= value <= entry.maximum)
        before = global_parameter(state, entry.name)
        state.write(f"global/{entry.name}", 0, value)
        # The new factor against the old minimum in rao, as the original compares them (DTAO 6.5).
        if entry.name == "nominator_min_required_stake" and value > least_nomination(before):
            return sweep_small_nominations(state, ctx)
        return []

    return apply


# --- bounds that involve another parameter, and what else a change does -----------------------------------------------


def _tempo(state: State, ctx: BlockContext, netuid: int, value: int) -> None:
    """A new tempo starts a new period (YUMA 7.5)."""
    state.write("subnets/last_epoch_block", netuid, ctx.height)


def _max_allowed_uids(state: State, ctx: BlockContext, netuid: int, value: int) -> None:
    _require(value >= max(parameter(state, netuid, "min_allowed_uids"), neuron_count(state, netuid)))
    _require(value * parameter(state, netuid, "mechanism_count") <= MAX_UIDS_TIMES_MECHANISMS)


def _min_allowed_uids(state: State, ctx: BlockContext, netuid: int, value: int) -> None:
    _require(value < min(parameter(state, netuid, "max_allowed_uids"), neuron_count(state, netuid)))


def _max_allowed_validators(state: State, ctx: BlockContext, netuid: int, value: int) -> None:
    _require(value <= parameter(state, netuid, "max_allowed_uids"))


def _min_burn(state: State, ctx: BlockContext, netuid: int, value: int) -> None:
    _require(value < parameter(state, netuid, "max_burn"))


def _max_burn(state: State, ctx: BlockContext, netuid: int, value: int) -> None:
    _require(value > parameter(state, netuid, "min_burn"))


def _mechanism_count(state: State, ctx: BlockContext, netuid: int, value: int) -> None:
    """YUMA 4.4: what belongs to removed mechanisms goes, new ones are empty, and any change evens the split."""
    _require(value <= global_parameter(state, "max_mechanism_count"))
    _require(value * parameter(state, netuid, "max_allowed_uids") <= MAX_UIDS_TIMES_MECHANISMS)
    before = parameter(state, netuid, "mechanism_count")
    open_mechanisms(state, netuid, before, value)
    close_mechanisms(state, netuid, value, before)
    remove_commits(state, netuid, value, before)
    for mechanism in range(value, before):
        remove_timelocked(state, mechanism_index(netuid, mechanism))
    if value != before:
        store_mechanism_split(state, netuid, ())


_RELATED: Final[dict[str, Related]] = {
    "tempo": _tempo,
    "max_allowed_uids": _max_allowed_uids,
    "min_allowed_uids": _min_allowed_uids,
    "max_allowed_validators": _max_allowed_validators,
    "min_burn": _min_burn,
    "max_burn": _max_burn,
    "mechanism_count": _mechanism_count,
}


# --- what is no single integer ----------------------------------------------------------------------------------------


def alpha_values(state: State, ctx: BlockContext, netuid: int, values: tuple[Any, ...]) -> list[Event]:
    """Both liquid rates."""
    low, high = values
    if not parameter(state, netuid, "liquid_alpha_on"):
        raise CallError(ErrorCode.LiquidAlphaDisabled)
    if not ALPHA_BOUND_LOW <= high <= U16_MAX:
        raise CallError(ErrorCode.AlphaHighTooLow)
    if not ALPHA_BOUND_LOW <= low <= high:
        raise CallError(ErrorCode.AlphaLowOutOfRange)
    state.write("subnets/alpha_low", netuid, low)
    state.write("subnets/alpha_high", netuid, high)
    return []


def burn_increase_multiplier(state: State, ctx: BlockContext, netuid: int, values: tuple[Any, ...]) -> list[Event]:
    """U64F64 in two numbers, fraction and whole; from 1 to 3."""
    fraction, whole = values
    _require(0 <= fraction <= U64_MAX and 0 <= whole <= U64_MAX)
    raw = whole << 64 | fraction
    _require(UQ64.one <= raw <= 3 * UQ64.one)
    state.write_wide("subnets/burn_increase_multiplier", netuid, raw)
    return []


def mechanism_emission_split(state: State, ctx: BlockContext, netuid: int, values: tuple[Any, ...]) -> list[Event]:
    """Parts of 65535 by mechanism."""
    _require(all(0 <= share <= U16_MAX for share in values) and sum(values) == U16_MAX)
    _require(len(values) <= parameter(state, netuid, "mechanism_count"))
    store_mechanism_split(state, netuid, values)
    return []


def dissolve_network(state: State, ctx: BlockContext, netuid: int, values: tuple[Any, ...]) -> list[Event]:
    """End a subnet (DTAO 8.6)."""
    return dissolve_subnet(state, ctx, netuid)


def subnet_owner_hotkey(state: State, ctx: BlockContext, netuid: int, values: tuple[Any, ...]) -> list[Event]:
    """Another hotkey of the owner stands for the subnet; locks follow their hotkeys between the aggregates."""
    hotkey = values[0]
    if hotkey_owner(state, hotkey) != state.read("subnets/owner", netuid).tobytes():
        raise CallError(ErrorCode.NonAssociatedColdKey)
    old = owner_hotkey(state, netuid)
    if hotkey != old:
        rename_totals(state, netuid, (OWNER, NO_HOTKEY), (0, old), ctx.height)
        rename_totals(state, netuid, (0, hotkey), (OWNER, NO_HOTKEY), ctx.height)
    state.write("subnets/owner_hotkey", netuid, np.frombuffer(hotkey, dtype=np.uint8))
    return [event(EventKind.SubnetOwnerHotkeySet, netuid, hotkey)]


def trim(state: State, ctx: BlockContext, netuid: int, values: tuple[Any, ...]) -> list[Event]:
    """Fewer neurons (YUMA 6.5)."""
    return [event(EventKind.SubnetTrimmed, netuid, trim_neurons(state, netuid, values[0], ctx.height))]


def reset_coldkey_swap(state: State, ctx: BlockContext, netuid: int, values: tuple[Any, ...]) -> list[Event]:
    """Governance ends an announced swap, disputed or not (DTAO 9)."""
    row = state.key_table(COLDKEYS).find(values[0])
    if row is None or not state.read("coldkeys/swap_announced_at", row):
        raise CallError(ErrorCode.ColdkeySwapAnnouncementNotFound)
    for name in ("swap_announced_at", "swap_hash", "swap_disputed"):
        state.write(f"coldkeys/{name}", row, 0)
    return [event(EventKind.ColdkeySwapReset, values[0])]
