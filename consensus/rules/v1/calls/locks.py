"""Family 08: locks on stake (DTAO 7.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ....types import AccountId
from ...interface import BlockContext, Event
from ..errors import CallError, ErrorCode
from ..events import EventKind, event
from ..locks import MAX_LOCKED_POSITIONS, add_lock, move_lock, roll_lock, set_perpetual
from ..schema_tables import COLDKEYS
from ..stakes import ROOT, coldkey_alpha, count_positions, hotkey_owner
from ..subnets import subnet_exists
from .call import Argument, ArgumentKind, Arguments, Call, Signer

if TYPE_CHECKING:
    from ....state.state import State


def _require_subnet(state: State, netuid: int) -> None:
    if netuid == ROOT or not subnet_exists(state, netuid):
        raise CallError(ErrorCode.SubnetNotExists)


def _lock_stake(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    hotkey, netuid, amount = args
    if amount == 0:
        raise CallError(ErrorCode.AmountTooLow)
    if hotkey_owner(state, hotkey) is None:
        raise CallError(ErrorCode.HotKeyAccountNotExists)
    _require_subnet(state, netuid)
    if count_positions(state, netuid, signer) > MAX_LOCKED_POSITIONS:
        raise CallError(ErrorCode.TooManyLockedPositions)
    held = roll_lock(state, netuid, signer, ctx.height)
    if held is not None and held.hotkey != hotkey:
        raise CallError(ErrorCode.LockHotkeyMismatch)
    mass = amount + (0 if held is None else held.lock.mass)
    if coldkey_alpha(state, netuid, signer) < mass:
        raise CallError(ErrorCode.InsufficientStakeForLock)
    add_lock(state, netuid, signer, hotkey, amount, ctx.height)
    return [event(EventKind.StakeLocked, signer, hotkey, netuid, amount)]


def _move_lock(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    destination, netuid = args
    if hotkey_owner(state, destination) is None:
        raise CallError(ErrorCode.HotKeyAccountNotExists)
    _require_subnet(state, netuid)
    held = roll_lock(state, netuid, signer, ctx.height)
    if held is None:
        raise CallError(ErrorCode.NoExistingLock)
    move_lock(state, netuid, signer, held, destination, ctx.height)
    return [event(EventKind.LockMoved, signer, held.hotkey, destination, netuid)]


def _set_perpetual_lock(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    netuid, enabled = args
    _require_subnet(state, netuid)
    set_perpetual(state, netuid, signer, enabled, ctx.height)
    return [event(EventKind.PerpetualLockUpdated, signer, netuid, int(enabled))]


def _set_reject_locked_alpha(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    rejects = args[0]
    state.write("coldkeys/takes_locked_alpha", state.key_table(COLDKEYS).open(signer), int(not rejects))
    return [event(EventKind.RejectLockedAlphaUpdated, signer, int(rejects))]


_NETUID: Final = Argument("netuid", ArgumentKind.U16, "subnet")

CALLS: Final = (
    Call(
        number=0x0800,
        name="locks.lock_stake",
        signer=Signer.COLDKEY,
        arguments=(
            Argument("hotkey", ArgumentKind.ACCOUNT, "hotkey that gains conviction"),
            _NETUID,
            Argument("amount", ArgumentKind.RAO, "alpha to lock, in units of 1e-9"),
        ),
        weight=600,
        execute=_lock_stake,
        doc="Lock stake of a subnet and give its conviction to a hotkey.",
    ),
    Call(
        number=0x0801,
        name="locks.move_lock",
        signer=Signer.COLDKEY,
        arguments=(Argument("destination_hotkey", ArgumentKind.ACCOUNT, "hotkey that gains conviction now"), _NETUID),
        weight=600,
        execute=_move_lock,
        doc="Bind a lock to another hotkey; between owners its conviction starts anew.",
    ),
    Call(
        number=0x0802,
        name="locks.set_perpetual_lock",
        signer=Signer.COLDKEY,
        arguments=(_NETUID, Argument("enabled", ArgumentKind.BOOL, "whether the lock keeps its mass")),
        weight=500,
        execute=_set_perpetual_lock,
        doc="Choose whether one's locks on a subnet stay or bleed out.",
    ),
    Call(
        number=0x0803,
        name="locks.set_reject_locked_alpha",
        signer=Signer.COLDKEY,
        arguments=(Argument("rejects", ArgumentKind.BOOL, "whether transfers of locked stake are refused"),),
        weight=300,
        execute=_set_reject_locked_alpha,
        doc="Choose whether one accepts transfers of locked stake.",
    ),
)
