"""Family 04, from 0x10: moving stake, burning it, and where mining income goes (DTAO 6.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ....types import AccountId
from ...interface import BlockContext, Event
from ..errors import CallError, ErrorCode
from ..events import EventKind, event
from ..locks import may_take_out
from ..neurons import uid_of
from ..schema_tables import AUTO_STAKES
from ..stake_checks import require_hotkey, require_subnet, trades
from ..stake_moves import Moved, Place, move_stake
from ..stakes import ROOT, decrease_position, position, stake_key
from .call import Argument, ArgumentKind, Arguments, Call, Signer
from .stake import TRADE_WEIGHT, add_stake, add_stake_limit

if TYPE_CHECKING:
    from ....state.state import State


def _move_stake(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    origin_hotkey, target_hotkey, origin_netuid, target_netuid, alpha = args
    origin, target = Place(signer, origin_hotkey, origin_netuid), Place(signer, target_hotkey, target_netuid)
    moved = move_stake(state, ctx, origin, target, alpha)
    done = event(EventKind.StakeMoved, signer, origin_hotkey, origin_netuid, target_hotkey, target_netuid, moved.tao)
    return [*moved.events, done]


def _transfer_stake(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    receiver, hotkey, origin_netuid, target_netuid, alpha = args
    origin, target = Place(signer, hotkey, origin_netuid), Place(receiver, hotkey, target_netuid)
    moved = move_stake(state, ctx, origin, target, alpha, is_transfer=True)
    done = event(EventKind.StakeTransferred, signer, receiver, hotkey, origin_netuid, target_netuid, moved.tao)
    return [*moved.events, done]


def _swap_stake(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    hotkey, origin_netuid, target_netuid, alpha = args
    moved = move_stake(state, ctx, Place(signer, hotkey, origin_netuid), Place(signer, hotkey, target_netuid), alpha)
    return _swapped(signer, hotkey, origin_netuid, target_netuid, moved)


def _swap_stake_limit(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    hotkey, origin_netuid, target_netuid, alpha, limit, allow_partial = args
    moved = move_stake(
        state,
        ctx,
        Place(signer, hotkey, origin_netuid),
        Place(signer, hotkey, target_netuid),
        alpha,
        limit=limit,
        allow_partial=allow_partial,
    )
    return _swapped(signer, hotkey, origin_netuid, target_netuid, moved)


def _swapped(signer: AccountId, hotkey: AccountId, origin: int, target: int, moved: Moved) -> list[Event]:
    return [*moved.events, event(EventKind.StakeSwapped, signer, hotkey, origin, target, moved.tao)]


# --- burning ----------------------------------------------------------------------------------------------------------


def _destroy(
    state: State,
    ctx: BlockContext,
    signer: AccountId,
    hotkey: AccountId,
    wanted: int,
    netuid: int,
    *,
    recycle: bool,
) -> int:
    """Take alpha from a position for good; gives how much. Recycled alpha may be minted again, burned alpha not."""
    if netuid == ROOT:
        raise CallError(ErrorCode.CannotBurnOrRecycleOnRootSubnet)
    require_subnet(state, netuid)
    if not trades(state, netuid):
        raise CallError(ErrorCode.SubtokenDisabled)
    require_hotkey(state, hotkey)
    amount = min(wanted, position(state, netuid, hotkey, signer))
    if int(state.read("subnets/alpha_out", netuid)) < amount:
        raise CallError(ErrorCode.InsufficientLiquidity)
    if not may_take_out(state, netuid, signer, amount, ctx.height):
        raise CallError(ErrorCode.StakeUnavailable)
    decrease_position(state, netuid, hotkey, signer, amount)
    if recycle:
        state.add("subnets/alpha_out", netuid, -amount)
    else:
        state.add("subnets/alpha_burned", netuid, amount)
    return amount


def _burn_alpha(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    hotkey, wanted, netuid = args
    amount = _destroy(state, ctx, signer, hotkey, wanted, netuid, recycle=False)
    return [event(EventKind.AlphaBurned, signer, hotkey, amount, netuid)]


def _recycle_alpha(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    hotkey, wanted, netuid = args
    amount = _destroy(state, ctx, signer, hotkey, wanted, netuid, recycle=True)
    return [event(EventKind.AlphaRecycled, signer, hotkey, amount, netuid)]


def _add_stake_burn(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    hotkey, netuid, tao, limit = args
    if limit is None:
        bought = add_stake(state, ctx, signer, hotkey, netuid, tao)
    else:
        bought = add_stake_limit(state, ctx, signer, hotkey, netuid, tao, limit, allow_partial=False)
    burned = _destroy(state, ctx, signer, hotkey, bought.alpha, netuid, recycle=False)
    return [
        bought.event,
        event(EventKind.AlphaBurned, signer, hotkey, burned, netuid),
        event(EventKind.AddStakeBurn, netuid, hotkey, bought.tao, burned),
    ]


# --- destination of income --------------------------------------------------------------------------------------------


def _set_auto_stake(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    netuid, hotkey = args
    require_subnet(state, netuid)
    if uid_of(state, netuid, hotkey) is None:
        raise CallError(ErrorCode.HotKeyNotRegisteredInSubNet)
    table, key = state.key_table(AUTO_STAKES), stake_key(netuid, signer)
    row = table.find(key)
    if row is not None and state.read("auto_stakes/hotkey", row).tobytes() == hotkey:
        raise CallError(ErrorCode.SameAutoStakeHotkeyAlreadySet)
    state.write("auto_stakes/hotkey", table.open(key), np.frombuffer(hotkey, dtype=np.uint8))
    return [event(EventKind.AutoStakeDestinationSet, signer, netuid, hotkey)]


_HOTKEY: Final = Argument("hotkey", ArgumentKind.ACCOUNT, "hotkey the stake stands behind")
_ORIGIN: Final = Argument("origin_netuid", ArgumentKind.U16, "subnet it leaves, 0 for root")
_TARGET: Final = Argument("destination_netuid", ArgumentKind.U16, "subnet it goes to, 0 for root")
_NETUID: Final = Argument("netuid", ArgumentKind.U16, "subnet")
_ALPHA: Final = Argument("amount", ArgumentKind.RAO, "units of stake, at most all there is")

CALLS: Final = (
    Call(
        number=0x0410,
        name="stake.move_stake",
        signer=Signer.COLDKEY,
        arguments=(
            Argument("origin_hotkey", ArgumentKind.ACCOUNT, "hotkey it leaves"),
            Argument("destination_hotkey", ArgumentKind.ACCOUNT, "hotkey it goes to"),
            _ORIGIN,
            _TARGET,
            _ALPHA,
        ),
        weight=2 * TRADE_WEIGHT,
        execute=_move_stake,
        doc="Move stake to another hotkey, on the same or another subnet.",
    ),
    Call(
        number=0x0411,
        name="stake.transfer_stake",
        signer=Signer.COLDKEY,
        arguments=(
            Argument("destination_coldkey", ArgumentKind.ACCOUNT, "who gets it"),
            _HOTKEY,
            _ORIGIN,
            _TARGET,
            _ALPHA,
        ),
        weight=2 * TRADE_WEIGHT,
        execute=_transfer_stake,
        doc="Give stake to another coldkey, on the same or another subnet.",
    ),
    Call(
        number=0x0412,
        name="stake.swap_stake",
        signer=Signer.COLDKEY,
        arguments=(_HOTKEY, _ORIGIN, _TARGET, _ALPHA),
        weight=2 * TRADE_WEIGHT,
        execute=_swap_stake,
        doc="Exchange stake of one subnet for stake of another, behind the same hotkey.",
    ),
    Call(
        number=0x0413,
        name="stake.swap_stake_limit",
        signer=Signer.COLDKEY,
        arguments=(
            _HOTKEY,
            _ORIGIN,
            _TARGET,
            _ALPHA,
            Argument("limit_price", ArgumentKind.RAO, "worst ratio of the two prices, times 10^9"),
            Argument("allow_partial", ArgumentKind.BOOL, "take what the limit lets through instead of failing"),
        ),
        weight=2 * TRADE_WEIGHT,
        execute=_swap_stake_limit,
        doc="As swap_stake, up to a ratio of prices.",
    ),
    Call(
        number=0x0414,
        name="stake.burn_alpha",
        signer=Signer.COLDKEY,
        arguments=(_HOTKEY, _ALPHA, _NETUID),
        weight=600,
        execute=_burn_alpha,
        doc="Give alpha up for good; it stays in the subnet's issuance.",
    ),
    Call(
        number=0x0415,
        name="stake.recycle_alpha",
        signer=Signer.COLDKEY,
        arguments=(_HOTKEY, _ALPHA, _NETUID),
        weight=600,
        execute=_recycle_alpha,
        doc="Give alpha up; it leaves the subnet's issuance and may be minted again.",
    ),
    Call(
        number=0x0416,
        name="stake.add_stake_burn",
        signer=Signer.COLDKEY,
        arguments=(
            _HOTKEY,
            _NETUID,
            Argument("amount", ArgumentKind.RAO, "rao of TAO"),
            Argument("limit_price", ArgumentKind.OPTIONAL_RAO, "worst price, in rao for one alpha; null for any"),
        ),
        weight=TRADE_WEIGHT + 600,
        execute=_add_stake_burn,
        doc="Buy alpha and burn it at once.",
    ),
    Call(
        number=0x0417,
        name="stake.set_coldkey_auto_stake_hotkey",
        signer=Signer.COLDKEY,
        arguments=(_NETUID, Argument("hotkey", ArgumentKind.ACCOUNT, "registered hotkey that gets the stake")),
        weight=400,
        execute=_set_auto_stake,
        doc="Choose the hotkey on which one's mining income of a subnet is staked.",
    ),
)
