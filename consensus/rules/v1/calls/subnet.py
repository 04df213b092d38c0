"""Family 05: creating a subnet and what its owner decides (DTAO 8, YUMA 7.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ....types import AccountId
from ...interface import BlockContext, Event
from ..errors import CallError, ErrorCode
from ..events import EventKind, event
from ..owner_limits import OWNER_RIGHTS, blocks_between, check_window, use_right
from ..schedule import blocks_until_automatic_epoch
from ..stakes import ROOT
from ..subnet_creation import register_network
from ..subnets import global_parameter, owner, parameter, read_schedule, subnet_exists
from ..symbols import symbol_number, used_symbols
from .call import Argument, ArgumentKind, Arguments, Call, Signer
from .orders import MAX_ARGUMENTS, ORDERS, order_numbered, run_order

if TYPE_CHECKING:
    from ....state.state import State

ACTIVITY_FACTOR_BOUNDS: Final = (1_000, 50_000)
"""Thousandths of a tempo (DTAO 8.5)."""

IDENTITY_BYTES: Final = 8192

_TRIGGER: Final = 1
_ACTIVITY: Final = 2
_TEMPO: Final = 3
"""Numbers under which calls of this family are counted beside the administrative ones, which are above 0x0F00."""

_FACTOR_ORDER: Final = next(order for order in ORDERS if order.name == "sudo_set_activity_cutoff_factor_milli")
"""Governance's call for the same parameter: events name it."""


def require_owner(state: State, netuid: int, signer: AccountId) -> None:
    """Raise SubnetNotExists, or BadOrigin for anybody but the subnet's owner (DTAO 10)."""
    if netuid == ROOT or not subnet_exists(state, netuid):
        raise CallError(ErrorCode.SubnetNotExists)
    if owner(state, netuid) != signer:
        raise CallError(ErrorCode.BadOrigin)


def _register_network(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    return register_network(state, ctx, signer, args[0], None)


def _register_with_identity(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    return register_network(state, ctx, signer, args[0], args[1])


def _start_call(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    netuid = args[0]
    require_owner(state, netuid, signer)
    if int(state.read("subnets/first_emission_block", netuid)):
        raise CallError(ErrorCode.FirstEmissionBlockNumberAlreadySet)
    registered = int(state.read("subnets/registered_at", netuid))
    if ctx.height < registered + global_parameter(state, "start_call_delay"):
        raise CallError(ErrorCode.NeedWaitingMoreBlocksToStarCall)
    state.write("subnets/first_emission_block", netuid, ctx.height + 1)
    state.write("subnets/subtoken_enabled", netuid, 1)
    return [event(EventKind.FirstEmissionBlockNumberSet, netuid, ctx.height + 1)]


def _set_tempo(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    netuid, tempo = args
    require_owner(state, netuid, signer)
    if not ctx.spec.parameters.min_tempo <= tempo <= ctx.spec.parameters.max_tempo:
        raise CallError(ErrorCode.TempoOutOfBounds)
    check_window(state, netuid, ctx.height)
    use_right(state, ctx, netuid, _TEMPO, ctx.spec.parameters.tempo_rate_limit)
    state.write("subnets/tempo", netuid, tempo)
    state.write("subnets/last_epoch_block", netuid, ctx.height)
    return [event(EventKind.TempoSet, netuid, tempo)]


def _trigger_epoch(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    netuid = args[0]
    require_owner(state, netuid, signer)
    if parameter(state, netuid, "commit_reveal_weights_enabled"):
        raise CallError(ErrorCode.DynamicTempoBlockedByCommitReveal)
    schedule = read_schedule(state, netuid)
    if schedule.pending_epoch_at:
        raise CallError(ErrorCode.EpochTriggerAlreadyPending)
    window = global_parameter(state, "admin_freeze_window")
    if blocks_until_automatic_epoch(schedule, ctx.height) < window:
        raise CallError(ErrorCode.AutoEpochAlreadyImminent)
    use_right(state, ctx, netuid, _TRIGGER, _two_tempos(state, netuid))
    state.write("subnets/pending_epoch_at", netuid, ctx.height + window)
    return [event(EventKind.EpochTriggered, netuid, ctx.height + window)]


def _set_activity_cutoff_factor(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    netuid, factor = args
    require_owner(state, netuid, signer)
    lowest, highest = ACTIVITY_FACTOR_BOUNDS
    if not lowest <= factor <= highest:
        raise CallError(ErrorCode.ValueNotInBounds)
    check_window(state, netuid, ctx.height)
    use_right(state, ctx, netuid, _ACTIVITY, _two_tempos(state, netuid))
    state.write("subnets/activity_cutoff_factor_milli", netuid, factor)
    return [event(EventKind.ParameterSet, netuid, _FACTOR_ORDER.number, factor)]


def _two_tempos(state: State, netuid: int) -> int:
    return global_parameter(state, "owner_hyperparam_rate_limit") * parameter(state, netuid, "tempo")


def _update_symbol(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    netuid, symbol = args
    require_owner(state, netuid, signer)
    number = symbol_number(symbol)
    if number is None:
        raise CallError(ErrorCode.SymbolDoesNotExist)
    if number in used_symbols(state):
        raise CallError(ErrorCode.SymbolAlreadyInUse)
    state.write("subnets/symbol", netuid, number)
    return [event(EventKind.SymbolUpdated, netuid, symbol)]


def _owner_order(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    number, values = args
    order = order_numbered(number)
    if order is None or order.name not in OWNER_RIGHTS:
        raise CallError(ErrorCode.AdminCallUnknown)
    if not order.accepts(values):
        raise CallError(ErrorCode.AdminArgumentsMalformed)
    netuid, right = values[0], OWNER_RIGHTS[order.name]
    if not 0 <= netuid < 1 << 16:
        raise CallError(ErrorCode.SubnetNotExists)
    require_owner(state, netuid, signer)
    value = values[-1]
    if (right.maximum is not None and value > right.maximum) or (right.minimum is not None and value < right.minimum):
        raise CallError(ErrorCode.ValueNotInBounds)
    check_window(state, netuid, ctx.height)
    use_right(state, ctx, netuid, number, blocks_between(state, ctx, netuid, right))
    _, events = run_order(state, ctx, order, values)
    return [*events, event(EventKind.ParameterSet, netuid, number, value)]


_NETUID: Final = Argument("netuid", ArgumentKind.U16, "subnet")
_HOTKEY: Final = Argument("hotkey", ArgumentKind.ACCOUNT, "uid 0 of the subnet; a new one becomes the signer's")

CALLS: Final = (
    Call(
        number=0x0500,
        name="subnet.register_network",
        signer=Signer.COLDKEY,
        arguments=(_HOTKEY,),
        weight=20_000,
        execute=_register_network,
        doc="Create a subnet for the present price, which becomes its first pool.",
    ),
    Call(
        number=0x0501,
        name="subnet.register_network_with_identity",
        signer=Signer.COLDKEY,
        arguments=(
            _HOTKEY,
            Argument("identity", ArgumentKind.TEXTS, "the eight texts of set_subnet_identity", most=IDENTITY_BYTES),
        ),
        weight=20_000,
        execute=_register_with_identity,
        most_bytes=IDENTITY_BYTES + 1024,
        doc="Create a subnet and say what it is.",
    ),
    Call(
        number=0x0502,
        name="subnet.start_call",
        signer=Signer.COLDKEY,
        arguments=(_NETUID,),
        weight=300,
        execute=_start_call,
        doc="Start one's subnet: emission and trade from the next block on.",
    ),
    Call(
        number=0x0503,
        name="subnet.set_tempo",
        signer=Signer.COLDKEY,
        arguments=(_NETUID, Argument("tempo", ArgumentKind.U16, "blocks between epochs")),
        weight=300,
        execute=_set_tempo,
        doc="Set the tempo of one's subnet; a new period starts now.",
    ),
    Call(
        number=0x0504,
        name="subnet.trigger_epoch",
        signer=Signer.COLDKEY,
        arguments=(_NETUID,),
        weight=300,
        execute=_trigger_epoch,
        doc="Have an epoch of one's subnet run soon, out of turn.",
    ),
    Call(
        number=0x0505,
        name="subnet.set_activity_cutoff_factor",
        signer=Signer.COLDKEY,
        arguments=(_NETUID, Argument("factor_milli", ArgumentKind.U64, "thousandths of a tempo")),
        weight=300,
        execute=_set_activity_cutoff_factor,
        doc="Set after how many tempos a silent validator counts as inactive.",
    ),
    Call(
        number=0x0506,
        name="subnet.update_symbol",
        signer=Signer.COLDKEY,
        arguments=(_NETUID, Argument("symbol", ArgumentKind.BYTES, "a symbol of the list, as UTF-8", most=8)),
        weight=300,
        execute=_update_symbol,
        doc="Choose another symbol for one's token.",
    ),
    Call(
        number=0x0507,
        name="subnet.owner_order",
        signer=Signer.COLDKEY,
        arguments=(
            Argument("call", ArgumentKind.U16, "number of an administrative call that owners may give, sudo_set_…"),
            Argument("args", ArgumentKind.VALUES, "its arguments: [netuid, value…]", MAX_ARGUMENTS),
        ),
        weight=1_000,
        execute=_owner_order,
        doc="Set a parameter of one's subnet, inside an owner's bounds and not too often.",
    ),
)
