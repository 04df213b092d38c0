"""Family 0F: parameters of the network, ordered by m of n admin keys of the chain spec (DESIGN decision 8, YUMA
section 8).

`admin.execute` carries `[call, args, admin_nonce, valid_until, [[key, signature]…]]`; anyone submits it and pays. The
keys sign the order, not the transaction, so they can be collected offline. An order is good once: the admin nonce
counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from .... import cbor
from ....chain_spec_types import MAX_KEYS
from ....domains import Domain, digest
from ....signature import verify
from ....types import U64_MAX, AccountId, Hash32
from ...interface import BlockContext, Event
from ..errors import CallError, ErrorCode
from ..events import EventKind, event
from ..hyperparameters import ALPHA_BOUND_LOW, GLOBAL, MAX_UIDS_TIMES_MECHANISMS, SUBNET, Hyperparameter
from ..schedule import freeze_window_closed
from ..stakes import ROOT
from ..subnets import (
    clamp_burn,
    close_mechanisms,
    global_parameter,
    neuron_count,
    open_mechanisms,
    parameter,
    read_schedule,
    subnet_exists,
)
from .call import Argument, ArgumentKind, Arguments, Call, Signer

if TYPE_CHECKING:
    from ....state.state import State

MAX_ORDER_ARGUMENTS: Final = 32
"""Longest argument list of an order: a split of 16 mechanisms needs 17."""


@dataclass(frozen=True, slots=True)
class Order:
    """One administrative call: `sudo_set_<parameter>` with `[netuid, value]`, or `[value]` for the whole network."""

    number: int
    """u16 in family 0F, append-only; follows the order of the parameter tables, subnets from 0F10, network from
    0F80."""
    name: str
    parameter: Hyperparameter
    of_subnet: bool

    @property
    def arguments(self) -> tuple[str, ...]:
        """Names of the arguments."""
        return ("netuid", "value") if self.of_subnet else ("value",)


_SUBNET_ORDERS: Final = 0x0F10
_GLOBAL_ORDERS: Final = 0x0F80

ORDERS: Final[tuple[Order, ...]] = (
    *(Order(_SUBNET_ORDERS + n, f"sudo_set_{p.name}", p, True) for n, p in enumerate(SUBNET)),
    *(Order(_GLOBAL_ORDERS + n, f"sudo_set_{p.name}", p, False) for n, p in enumerate(GLOBAL)),
)
"""Every administrative call."""

_BY_NUMBER: Final = {order.number: order for order in ORDERS}
_BY_NAME: Final = {order.name: order for order in ORDERS}


def order_named(name: str) -> Order | None:
    """The administrative call of that name, `sudo_set_…`, or None."""
    return _BY_NAME.get(name)


def order_digest(
    genesis_hash: Hash32, number: int, arguments: tuple[Any, ...] | list[Any], admin_nonce: int, valid_until: int
) -> Hash32:
    """What an admin key signs. Raises TypeError for arguments that cannot be encoded."""
    return digest(Domain.ADMIN, cbor.encode([genesis_hash, number, list(arguments), admin_nonce, valid_until]))


def _execute(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    number, values, admin_nonce, _, _ = args
    _check_authority(state, ctx, args)
    order = _BY_NUMBER.get(number)
    if order is None:
        raise CallError(ErrorCode.AdminCallUnknown)
    if len(values) != len(order.arguments) or any(type(value) is not int for value in values):
        raise CallError(ErrorCode.AdminArgumentsMalformed)
    state.write("chain/admin_nonce", 0, admin_nonce + 1)
    if order.of_subnet:
        netuid = _set_subnet_parameter(state, ctx, order, *values)
    else:
        netuid = _set_global(state, order, *values)
    return [event(EventKind.ParameterSet, netuid, number, values[-1])]


def _check_authority(state: State, ctx: BlockContext, args: Arguments) -> None:
    number, values, admin_nonce, valid_until, signatures = args
    if admin_nonce != int(state.read("chain/admin_nonce", 0)) or admin_nonce == U64_MAX:
        raise CallError(ErrorCode.AdminNonceMismatch)
    if valid_until < ctx.height:
        raise CallError(ErrorCode.AdminCallExpired)
    keys = [key for key, _ in signatures]
    known = all(key in ctx.spec.admin_keys for key in keys)
    ascending = all(left < right for left, right in pairwise(keys))
    if not ctx.spec.admin_keys or not known or not ascending or len(keys) < ctx.spec.admin_threshold:
        raise CallError(ErrorCode.BadOrigin)
    try:
        message = order_digest(ctx.genesis_hash, number, values, admin_nonce, valid_until)
    except TypeError as error:
        raise CallError(ErrorCode.AdminArgumentsMalformed) from error
    if not all(verify(key, message, signature) for key, signature in signatures):
        raise CallError(ErrorCode.BadOrigin)


def _set_global(state: State, order: Order, value: int) -> int:
    _check_bounds(order.parameter, value)
    state.write(f"global/{order.parameter.name}", 0, value)
    return ROOT


def _check_bounds(entry: Hyperparameter, value: int) -> None:
    if not entry.minimum <= value <= entry.maximum:
        raise CallError(ErrorCode.TempoOutOfBounds if entry.name == "tempo" else ErrorCode.ValueNotInBounds)


def _set_subnet_parameter(state: State, ctx: BlockContext, order: Order, netuid: int, value: int) -> int:
    entry = order.parameter
    if not 0 < netuid < state.rows("subnets/exists") or not subnet_exists(state, netuid):
        raise CallError(ErrorCode.SubNetworkDoesNotExist)
    window = global_parameter(state, "admin_freeze_window")
    if not entry.any_time and freeze_window_closed(read_schedule(state, netuid), ctx.height, window):
        raise CallError(ErrorCode.AdminActionProhibitedDuringWeightsWindow)
    if entry.name not in ("alpha_low", "alpha_high"):
        _check_bounds(entry, value)
    special = _RELATED.get(entry.name)
    if special is not None:
        special(state, ctx, netuid, value)
    state.write(f"subnets/{entry.name}", netuid, value)
    if entry.name in ("min_burn", "max_burn"):
        low, high = parameter(state, netuid, "min_burn"), parameter(state, netuid, "max_burn")
        state.write("subnets/burn", netuid, clamp_burn(int(state.read("subnets/burn", netuid)), low, high))
    return netuid


# --- bounds that involve another parameter, and what else a change does -----------------------------------------------


def _require(holds: bool) -> None:
    if not holds:
        raise CallError(ErrorCode.ValueNotInBounds)


def _tempo(state: State, ctx: BlockContext, netuid: int, value: int) -> None:
    state.write("subnets/last_epoch_block", netuid, ctx.height)


def _max_allowed_uids(state: State, ctx: BlockContext, netuid: int, value: int) -> None:
    _require(value >= parameter(state, netuid, "min_allowed_uids"))
    _require(value >= neuron_count(state, netuid))
    _require(value * parameter(state, netuid, "mechanism_count") <= MAX_UIDS_TIMES_MECHANISMS)


def _min_allowed_uids(state: State, ctx: BlockContext, netuid: int, value: int) -> None:
    _require(value < parameter(state, netuid, "max_allowed_uids") and value < neuron_count(state, netuid))


def _max_allowed_validators(state: State, ctx: BlockContext, netuid: int, value: int) -> None:
    _require(value <= parameter(state, netuid, "max_allowed_uids"))


def _min_burn(state: State, ctx: BlockContext, netuid: int, value: int) -> None:
    _require(value < parameter(state, netuid, "max_burn"))


def _max_burn(state: State, ctx: BlockContext, netuid: int, value: int) -> None:
    _require(value > parameter(state, netuid, "min_burn"))


def _alpha_low(state: State, ctx: BlockContext, netuid: int, value: int) -> None:
    _alpha_values(state, netuid, value, parameter(state, netuid, "alpha_high"))


def _alpha_high(state: State, ctx: BlockContext, netuid: int, value: int) -> None:
    _alpha_values(state, netuid, parameter(state, netuid, "alpha_low"), value)


def _alpha_values(state: State, netuid: int, low: int, high: int) -> None:
    if not parameter(state, netuid, "liquid_alpha_on"):
        raise CallError(ErrorCode.LiquidAlphaDisabled)
    if not ALPHA_BOUND_LOW <= high <= 65_535:
        raise CallError(ErrorCode.AlphaHighTooLow)
    if not ALPHA_BOUND_LOW <= low <= high:
        raise CallError(ErrorCode.AlphaLowOutOfRange)


def _mechanism_count(state: State, ctx: BlockContext, netuid: int, value: int) -> None:
    """YUMA 4.4: columns of removed mechanisms go, those of new ones are zero, and the split is even again."""
    _require(value <= global_parameter(state, "max_mechanism_count"))
    _require(value * parameter(state, netuid, "max_allowed_uids") <= MAX_UIDS_TIMES_MECHANISMS)
    before = parameter(state, netuid, "mechanism_count")
    open_mechanisms(state, netuid, before, value)
    close_mechanisms(state, netuid, value, before)
    state.write("subnets/mechanism_split_length", netuid, 0)
    state.write("subnets/mechanism_split", netuid, 0)


_RELATED: Final[dict[str, Callable[[Any, BlockContext, int, int], None]]] = {
    "tempo": _tempo,
    "max_allowed_uids": _max_allowed_uids,
    "min_allowed_uids": _min_allowed_uids,
    "max_allowed_validators": _max_allowed_validators,
    "min_burn": _min_burn,
    "max_burn": _max_burn,
    "alpha_low": _alpha_low,
    "alpha_high": _alpha_high,
    "mechanism_count": _mechanism_count,
}


CALLS: Final = (
    Call(
        number=0x0F00,
        name="admin.execute",
        signer=Signer.ANY,
        arguments=(
            Argument("call", ArgumentKind.U16, "number of an administrative call, sudo_set_…"),
            Argument("args", ArgumentKind.VALUES, "[netuid, value] or [value]", most=MAX_ORDER_ARGUMENTS),
            Argument("admin_nonce", ArgumentKind.U64, "the network's next admin nonce"),
            Argument("valid_until", ArgumentKind.U64, "last height at which the order holds"),
            Argument("signatures", ArgumentKind.SIGNATURES, "[key, signature], keys ascending", most=MAX_KEYS),
        ),
        weight=2500,  # up to 32 signatures of 60 us each
        execute=_execute,
        doc="Set a parameter of the network or of one subnet, by order of enough admin keys.",
    ),
)
