"""Administrative calls by number: `sudo_set_…` of every parameter, and those that do more (YUMA 8, DTAO 8.5, 8.6).

They are not calls of the table: `admin.execute` carries one of them, signed by the admin keys, and
`subnet.owner_order` one that a subnet's owner may give (`owner_limits`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ....types import U16_MAX
from ...interface import BlockContext, Event
from ..errors import CallError, ErrorCode
from ..hyperparameters import GLOBAL, SUBNET
from ..owner_limits import check_window
from ..schema import MAX_MECHANISMS
from ..stakes import ROOT
from ..subnets import subnet_exists
from .order_effects import (
    Apply,
    alpha_values,
    burn_increase_multiplier,
    dissolve_network,
    global_parameter_order,
    mechanism_emission_split,
    reset_coldkey_swap,
    subnet_owner_hotkey,
    subnet_parameter_order,
    trim,
)

if TYPE_CHECKING:
    from ....state.state import State

MAX_ARGUMENTS: Final = MAX_MECHANISMS + 1
"""Longest argument list: a netuid and a share for each mechanism."""


@dataclass(frozen=True, slots=True)
class Order:
    """One administrative call."""

    number: int
    """u16 in family 0F, append-only."""
    name: str
    arguments: tuple[str, ...]
    """Names; the first is `netuid` where it concerns one subnet. Integers, but for accounts."""
    any_time: bool
    """May be given inside the freeze window before an epoch."""
    apply: Apply
    doc: str
    most: int = 0
    """Where above the number of names: the last argument may be repeated until there are so many."""
    accounts: tuple[str, ...] = field(default=())
    """Arguments that are accounts, 32 bytes."""

    @property
    def of_subnet(self) -> bool:
        """Whether the first argument is a netuid."""
        return self.arguments[0] == "netuid"

    def accepts(self, values: tuple[Any, ...]) -> bool:
        """Whether the arguments have the right number and form."""
        count = len(self.arguments)
        if not count <= len(values) <= max(count, self.most):
            return False
        names = [*self.arguments, *[self.arguments[-1]] * (len(values) - count)]
        return all(
            (type(value) is bytes and len(value) == 32) if name in self.accounts else type(value) is int
            for name, value in zip(names, values, strict=True)
        )


def run_order(state: State, ctx: BlockContext, order: Order, values: tuple[Any, ...]) -> tuple[int, list[Event]]:
    """Carry an order out; gives the netuid, 0 for the network, and what else happened. Raises CallError."""
    if not order.of_subnet:
        return ROOT, order.apply(state, ctx, ROOT, values)
    netuid = values[0]
    if not 0 < netuid <= U16_MAX or not subnet_exists(state, netuid):
        raise CallError(ErrorCode.SubnetNotExists)
    if not order.any_time:
        check_window(state, netuid, ctx.height)
    return netuid, order.apply(state, ctx, netuid, values[1:])


_SPECIAL_ORDERS: Final = (
    Order(
        number=0x0F01,
        name="sudo_set_alpha_values",
        arguments=("netuid", "alpha_low", "alpha_high"),
        any_time=False,
        apply=alpha_values,
        doc="both liquid rates, of 65535",
    ),
    Order(
        number=0x0F02,
        name="sudo_set_burn_increase_mult",
        arguments=("netuid", "fraction", "whole"),
        any_time=False,
        apply=burn_increase_multiplier,
        doc="what a registration multiplies the price by, 1 to 3: parts of 2^64, and the whole number",
    ),
    Order(
        number=0x0F03,
        name="sudo_set_mechanism_emission_split",
        arguments=("netuid", "share"),
        any_time=False,
        apply=mechanism_emission_split,
        doc="each mechanism's share, summing to 65535",
        most=MAX_ARGUMENTS,
    ),
    Order(
        number=0x0F04,
        name="sudo_dissolve_network",
        arguments=("netuid",),
        any_time=True,
        apply=dissolve_network,
        doc="end a subnet and share its TAO among its stakers",
    ),
    Order(
        number=0x0F05,
        name="sudo_set_sn_owner_hotkey",
        arguments=("netuid", "hotkey"),
        any_time=True,
        apply=subnet_owner_hotkey,
        doc="the owner's hotkey on its subnet",
        accounts=("hotkey",),
    ),
    Order(
        number=0x0F06,
        name="sudo_trim_to_max_allowed_uids",
        arguments=("netuid", "max_n"),
        any_time=False,
        apply=trim,
        doc="keep so many neurons, the best paid and the protected ones",
    ),
    Order(
        number=0x0F07,
        name="sudo_reset_coldkey_swap",
        arguments=("coldkey",),
        any_time=True,
        apply=reset_coldkey_swap,
        doc="end an announced or disputed coldkey swap",
        accounts=("coldkey",),
    ),
)

_FIRST_SUBNET_ORDER: Final = 0x0F10
_FIRST_GLOBAL_ORDER: Final = 0x0F80

ORDERS: Final[tuple[Order, ...]] = (
    *_SPECIAL_ORDERS,
    *(
        Order(
            _FIRST_SUBNET_ORDER + n,
            f"sudo_set_{p.name}",
            ("netuid", "value"),
            p.any_time,
            subnet_parameter_order(p),
            p.doc,
        )
        for n, p in enumerate(SUBNET)
        if p.name not in ("alpha_low", "alpha_high")
    ),
    *(
        Order(_FIRST_GLOBAL_ORDER + n, f"sudo_set_{p.name}", ("value",), True, global_parameter_order(p), p.doc)
        for n, p in enumerate(GLOBAL)
        if p.name != "min_childkey_take"
    ),
    Order(
        _FIRST_GLOBAL_ORDER + len(GLOBAL),
        "sudo_set_min_childkey_take_everywhere",
        ("value",),
        True,
        global_parameter_order(next(p for p in GLOBAL if p.name == "min_childkey_take")),
        "lowest child-key take on any subnet, of 65535",
    ),
)
"""Every administrative call, ascending by number."""

_BY_NUMBER: Final = {order.number: order for order in ORDERS}
_BY_NAME: Final = {order.name: order for order in ORDERS}

if len(_BY_NUMBER) != len(ORDERS) or len(_BY_NAME) != len(ORDERS):
    raise AssertionError("two administrative calls share a number or a name")


def order_numbered(number: int) -> Order | None:
    """The administrative call of that number, or None."""
    return _BY_NUMBER.get(number)


def order_named(name: str) -> Order | None:
    """The administrative call of that name, `sudo_set_…`, or None."""
    return _BY_NAME.get(name)
