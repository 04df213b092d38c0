"""Administrative calls: `sudo_set_…` by number, with their bounds and what else a change does (YUMA section 8 and 4.4).

Most follow from the parameter tables; the few whose value is a list or a fixed-point number stand by themselves. They
are not calls of the table: `admin.execute` carries one of them, signed by the admin keys.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ....types import U16_MAX
from ..errors import CallError, ErrorCode
from ..hyperparameters import ALPHA_BOUND_LOW, GLOBAL, MAX_UIDS_TIMES_MECHANISMS, SUBNET, Hyperparameter
from ..schedule import freeze_window_closed
from ..schema import MAX_MECHANISMS
from ..stakes import ROOT
from ..subnets import (
    close_mechanisms,
    global_parameter,
    neuron_count,
    open_mechanisms,
    parameter,
    read_schedule,
    store_mechanism_split,
    subnet_exists,
)

if TYPE_CHECKING:
    from ....state.state import State

MAX_ARGUMENTS: Final = MAX_MECHANISMS + 1
"""Longest argument list: a netuid and a share for each mechanism."""

Apply: TypeAlias = "Callable[[State, int, int, tuple[int, ...]], None]"
"""(state, height, netuid, values): raises CallError, or sets."""


@dataclass(frozen=True, slots=True)
class Order:
    """One administrative call."""

    number: int
    """u16 in family 0F, append-only."""
    name: str
    arguments: tuple[str, ...]
    """Names; the first is `netuid` where it concerns one subnet. All are integers."""
    any_time: bool
    """May be given inside the freeze window before an epoch."""
    apply: Apply
    doc: str
    most: int = 0
    """Where above the number of names: the last argument may be repeated until there are so many."""

    @property
    def of_subnet(self) -> bool:
        """Whether the first argument is a netuid."""
        return self.arguments[0] == "netuid"

    def accepts(self, values: tuple[Any, ...]) -> bool:
        """Whether the arguments have the right number and are all integers."""
        count = len(self.arguments)
        return count <= len(values) <= max(count, self.most) and all(type(value) is int for value in values)


def run_order(state: State, order: Order, height: int, values: tuple[int, ...]) -> int:
    """Carry an order out; gives the netuid, 0 for the network. Raises CallError."""
    if not order.of_subnet:
        order.apply(state, height, ROOT, values)
        return ROOT
    netuid = values[0]
    if not 0 < netuid <= U16_MAX or not subnet_exists(state, netuid):
        raise CallError(ErrorCode.SubnetNotExists)
    window = global_parameter(state, "admin_freeze_window")
    if not order.any_time and freeze_window_closed(read_schedule(state, netuid), height, window):
        raise CallError(ErrorCode.AdminActionProhibitedDuringWeightsWindow)
    order.apply(state, height, netuid, values[1:])
    return netuid


def _require(holds: bool) -> None:
    if not holds:
        raise CallError(ErrorCode.ValueNotInBounds)


_OUT_OF_BOUNDS: Final[dict[str, tuple[ErrorCode, ErrorCode]]] = {
    "tempo": (ErrorCode.TempoOutOfBounds, ErrorCode.TempoOutOfBounds),
    "reveal_period_epochs": (ErrorCode.RevealPeriodTooSmall, ErrorCode.RevealPeriodTooLarge),
}
"""Errors of their own that YUMA sections 7.5 and 8 give to a value below and above the bounds."""


def _plain(entry: Hyperparameter) -> Apply:
    """Set one parameter of a subnet between its bounds, after what `_RELATED` says of it."""

    def apply(state: State, height: int, netuid: int, values: tuple[int, ...]) -> None:
        value = values[0]
        below, above = _OUT_OF_BOUNDS.get(entry.name, (ErrorCode.ValueNotInBounds, ErrorCode.ValueNotInBounds))
        if value < entry.minimum:
            raise CallError(below)
        if value > entry.maximum:
            raise CallError(above)
        related = _RELATED.get(entry.name)
        if related is not None:
            related(state, height, netuid, values)
        state.write(f"subnets/{entry.name}", netuid, value)

    return apply


def _global(entry: Hyperparameter) -> Apply:
    def apply(state: State, height: int, netuid: int, values: tuple[int, ...]) -> None:
        _require(entry.minimum <= values[0] <= entry.maximum)
        state.write(f"global/{entry.name}", 0, values[0])

    return apply


# --- bounds that involve another parameter, and what else a change does -----------------------------------------------


def _tempo(state: State, height: int, netuid: int, values: tuple[int, ...]) -> None:
    """A new tempo starts a new period (YUMA 7.5)."""
    state.write("subnets/last_epoch_block", netuid, height)


def _max_allowed_uids(state: State, height: int, netuid: int, values: tuple[int, ...]) -> None:
    _require(values[0] >= max(parameter(state, netuid, "min_allowed_uids"), neuron_count(state, netuid)))
    _require(values[0] * parameter(state, netuid, "mechanism_count") <= MAX_UIDS_TIMES_MECHANISMS)


def _min_allowed_uids(state: State, height: int, netuid: int, values: tuple[int, ...]) -> None:
    _require(values[0] < min(parameter(state, netuid, "max_allowed_uids"), neuron_count(state, netuid)))


def _max_allowed_validators(state: State, height: int, netuid: int, values: tuple[int, ...]) -> None:
    _require(values[0] <= parameter(state, netuid, "max_allowed_uids"))


def _min_burn(state: State, height: int, netuid: int, values: tuple[int, ...]) -> None:
    _require(values[0] < parameter(state, netuid, "max_burn"))


def _max_burn(state: State, height: int, netuid: int, values: tuple[int, ...]) -> None:
    _require(values[0] > parameter(state, netuid, "min_burn"))


def _mechanism_count(state: State, height: int, netuid: int, values: tuple[int, ...]) -> None:
    """YUMA 4.4: columns of removed mechanisms go, those of new ones are zero, and any change evens the split."""
    count = values[0]
    _require(count <= global_parameter(state, "max_mechanism_count"))
    _require(count * parameter(state, netuid, "max_allowed_uids") <= MAX_UIDS_TIMES_MECHANISMS)
    before = parameter(state, netuid, "mechanism_count")
    open_mechanisms(state, netuid, before, count)
    close_mechanisms(state, netuid, count, before)
    if count != before:
        store_mechanism_split(state, netuid, ())


_RELATED: Final[dict[str, Apply]] = {
    "tempo": _tempo,
    "max_allowed_uids": _max_allowed_uids,
    "min_allowed_uids": _min_allowed_uids,
    "max_allowed_validators": _max_allowed_validators,
    "min_burn": _min_burn,
    "max_burn": _max_burn,
    "mechanism_count": _mechanism_count,
}


# --- values that are no single integer --------------------------------------------------------------------------------


def _alpha_values(state: State, height: int, netuid: int, values: tuple[int, ...]) -> None:
    low, high = values
    if not parameter(state, netuid, "liquid_alpha_on"):
        raise CallError(ErrorCode.LiquidAlphaDisabled)
    if not ALPHA_BOUND_LOW <= high <= U16_MAX:
        raise CallError(ErrorCode.AlphaHighTooLow)
    if not ALPHA_BOUND_LOW <= low <= high:
        raise CallError(ErrorCode.AlphaLowOutOfRange)
    state.write("subnets/alpha_low", netuid, low)
    state.write("subnets/alpha_high", netuid, high)


def _burn_increase_multiplier(state: State, height: int, netuid: int, values: tuple[int, ...]) -> None:
    _require(1 <= values[0] <= 3)
    state.write_wide("subnets/burn_increase_multiplier", netuid, values[0] << 64)


def _mechanism_emission_split(state: State, height: int, netuid: int, values: tuple[int, ...]) -> None:
    _require(all(0 <= share <= U16_MAX for share in values) and sum(values) == U16_MAX)
    _require(len(values) <= parameter(state, netuid, "mechanism_count"))
    store_mechanism_split(state, netuid, values)


_SPECIAL_ORDERS: Final = (
    Order(
        number=0x0F01,
        name="sudo_set_alpha_values",
        arguments=("netuid", "alpha_low", "alpha_high"),
        any_time=False,
        apply=_alpha_values,
        doc="both liquid rates, of 65535",
    ),
    Order(
        number=0x0F02,
        name="sudo_set_burn_increase_mult",
        arguments=("netuid", "multiplier"),
        any_time=False,
        apply=_burn_increase_multiplier,
        doc="what a registration multiplies the price by, a whole number",
    ),
    Order(
        number=0x0F03,
        name="sudo_set_mechanism_emission_split",
        arguments=("netuid", "share"),
        any_time=False,
        apply=_mechanism_emission_split,
        doc="each mechanism's share, summing to 65535",
        most=MAX_ARGUMENTS,
    ),
)

_FIRST_SUBNET_ORDER: Final = 0x0F10
_FIRST_GLOBAL_ORDER: Final = 0x0F80

ORDERS: Final[tuple[Order, ...]] = (
    *_SPECIAL_ORDERS,
    *(
        Order(_FIRST_SUBNET_ORDER + n, f"sudo_set_{p.name}", ("netuid", "value"), p.any_time, _plain(p), p.doc)
        for n, p in enumerate(SUBNET)
        if p.name not in ("alpha_low", "alpha_high")
    ),
    *(
        Order(_FIRST_GLOBAL_ORDER + n, f"sudo_set_{p.name}", ("value",), True, _global(p), p.doc)
        for n, p in enumerate(GLOBAL)
    ),
)
"""Every administrative call, ascending by number."""

_BY_NUMBER: Final = {order.number: order for order in ORDERS}
_BY_NAME: Final = {order.name: order for order in ORDERS}


def order_numbered(number: int) -> Order | None:
    """The administrative call of that number, or None."""
    return _BY_NUMBER.get(number)


def order_named(name: str) -> Order | None:
    """The administrative call of that name, `sudo_set_…`, or None."""
    return _BY_NAME.get(name)
