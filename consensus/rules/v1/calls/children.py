"""Family 04, from 0x40: child keys and takes (DTAO 7.1, 7.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ....types import AccountId
from ...interface import BlockContext, Event
from ..children import MAX_CHILDREN, check_children, childkey_take, least_childkey_take, set_children
from ..dtao.distribution import Relation
from ..errors import CallError, ErrorCode
from ..events import EventKind, event
from ..neurons import uid_of
from ..schema_tables import HOTKEY_SUBNETS, HOTKEYS
from ..stakes import ROOT, hotkey_owner, stake_key
from ..subnets import global_parameter, subnet_exists
from ..takes import delegate_take, set_delegate_take
from .call import Argument, ArgumentKind, Arguments, Call, Signer

if TYPE_CHECKING:
    from ....state.state import State

MOST_LISTED: Final = 4 * MAX_CHILDREN
"""Children that a call may name: more than allowed, so that too many have their own error."""


def _set_children(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    hotkey, netuid, named = args
    children = sorted((Relation(part, AccountId(child)) for part, child in named), key=lambda child: child.hotkey)
    check_children(state, ctx, signer, hotkey, netuid, children)
    return set_children(state, ctx, hotkey, netuid, children)


def _set_childkey_take(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    hotkey, netuid, take = args
    if hotkey_owner(state, hotkey) != signer:
        raise CallError(ErrorCode.NonAssociatedColdKey)
    if not subnet_exists(state, netuid):
        raise CallError(ErrorCode.SubnetNotExists)
    if not least_childkey_take(state, netuid) <= take <= global_parameter(state, "max_childkey_take"):
        raise CallError(ErrorCode.InvalidChildkeyTake)
    is_increase = take > childkey_take(state, netuid, hotkey)
    row = state.key_table(HOTKEY_SUBNETS).open(stake_key(netuid, hotkey))
    if is_increase:
        last = int(state.read("hotkey_subnets/childkey_take_changed_at", row))
        if last and ctx.height - last < global_parameter(state, "tx_childkey_take_rate_limit"):
            raise CallError(ErrorCode.TxChildkeyTakeRateLimitExceeded)
    state.write("hotkey_subnets/childkey_take", row, take)
    state.write("hotkey_subnets/childkey_take_changed_at", row, ctx.height)
    return [event(EventKind.ChildKeyTakeSet, hotkey, netuid, take)]


def _set_auto_parent(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    hotkey, enabled = args
    if hotkey_owner(state, hotkey) != signer:
        raise CallError(ErrorCode.NonAssociatedColdKey)
    if uid_of(state, ROOT, hotkey) is None:
        raise CallError(ErrorCode.HotKeyNotRegisteredInSubNet)
    row = state.key_table(HOTKEYS).open(hotkey)
    state.write("hotkeys/no_auto_parent", row, int(not enabled))
    return [event(EventKind.AutoParentDelegationEnabledSet, hotkey, int(enabled))]


def _check_take(state: State, signer: AccountId, hotkey: AccountId, take: int) -> int:
    """What both take calls check first; gives the hotkey's row."""
    if take < global_parameter(state, "min_delegate_take"):
        raise CallError(ErrorCode.DelegateTakeTooLow)
    if take > global_parameter(state, "max_delegate_take"):
        raise CallError(ErrorCode.DelegateTakeTooHigh)
    row = state.key_table(HOTKEYS).find(hotkey)
    if row is None:
        raise CallError(ErrorCode.HotKeyAccountNotExists)
    if hotkey_owner(state, hotkey) != signer:
        raise CallError(ErrorCode.NonAssociatedColdKey)
    return row


def _increase_take(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    hotkey, take = args
    row = _check_take(state, signer, hotkey, take)
    if take <= delegate_take(state, hotkey):
        raise CallError(ErrorCode.DelegateTakeTooLow)
    last = int(state.read("hotkeys/take_changed_at", row))
    if last and ctx.height - last <= global_parameter(state, "tx_delegate_take_rate_limit"):
        raise CallError(ErrorCode.DelegateTxRateLimitExceeded)
    return _store_take(state, ctx, signer, hotkey, take, EventKind.TakeIncreased)


def _decrease_take(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    hotkey, take = args
    _check_take(state, signer, hotkey, take)
    if take >= delegate_take(state, hotkey):
        raise CallError(ErrorCode.DelegateTakeTooLow)
    return _store_take(state, ctx, signer, hotkey, take, EventKind.TakeDecreased)


def _store_take(
    state: State, ctx: BlockContext, signer: AccountId, hotkey: AccountId, take: int, kind: EventKind
) -> list[Event]:
    set_delegate_take(state, hotkey, take)
    state.write("hotkeys/take_changed_at", state.key_table(HOTKEYS).open(hotkey), ctx.height)
    return [event(kind, signer, hotkey, take)]


_HOTKEY: Final = Argument("hotkey", ArgumentKind.ACCOUNT, "one of the signer's hotkeys")
_NETUID: Final = Argument("netuid", ArgumentKind.U16, "subnet")
_TAKE: Final = Argument("take", ArgumentKind.U16, "share of dividends, of 65535")

CALLS: Final = (
    Call(
        number=0x0440,
        name="stake.set_children",
        signer=Signer.COLDKEY,
        arguments=(
            _HOTKEY,
            _NETUID,
            Argument("children", ArgumentKind.CHILDREN, "who works with which share; none to end it", most=MOST_LISTED),
        ),
        weight=700,
        execute=_set_children,
        doc="Let other hotkeys work with shares of a hotkey's stake on a subnet, after a cooldown.",
    ),
    Call(
        number=0x0441,
        name="stake.set_childkey_take",
        signer=Signer.COLDKEY,
        arguments=(_HOTKEY, _NETUID, _TAKE),
        weight=400,
        execute=_set_childkey_take,
        doc="Set what a hotkey keeps of the dividends it earns for parents of other owners.",
    ),
    Call(
        number=0x0442,
        name="stake.set_auto_parent_delegation_enabled",
        signer=Signer.COLDKEY,
        arguments=(_HOTKEY, Argument("enabled", ArgumentKind.BOOL, "whether it becomes a parent by itself")),
        weight=300,
        execute=_set_auto_parent,
        doc="Say whether a root validator becomes the parent of new subnets' owner hotkeys.",
    ),
    Call(
        number=0x0443,
        name="stake.increase_take",
        signer=Signer.COLDKEY,
        arguments=(_HOTKEY, _TAKE),
        weight=300,
        execute=_increase_take,
        doc="Raise a hotkey's delegate take, once in a while.",
    ),
    Call(
        number=0x0444,
        name="stake.decrease_take",
        signer=Signer.COLDKEY,
        arguments=(_HOTKEY, _TAKE),
        weight=300,
        execute=_decrease_take,
        doc="Lower a hotkey's delegate take.",
    ),
)
