"""Family 04: adding and removing stake (DTAO 6.4), and keys.try_associate_hotkey."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ....types import AccountId
from ...interface import BlockContext, Event
from ..children import drop_pending_children
from ..dtao.pool import Side, limit_price
from ..dtao.stake_limits import most_to_add, most_to_remove
from ..errors import CallError, ErrorCode
from ..events import EventKind, event
from ..markets import is_system_account, read_pool
from ..stake_checks import check_add, check_order_size, check_remove, order_limit, require_subnet, trades
from ..stake_values import total_stake_value
from ..stakes import ROOT, associate_hotkey, hotkey_owner, position, positions_of_coldkey
from ..subnets import global_parameter
from ..takes import become_delegate
from ..trading import Traded, close_small_nomination, stake_into, unstake_from
from .call import Argument, ArgumentKind, Arguments, Call, Signer

if TYPE_CHECKING:
    from ....state.state import State

TRADE_WEIGHT: Final = 900
"""Microseconds: simulated and real swaps in the series branch of the power, shares, locks, claims, their chunks."""


# --- adding -----------------------------------------------------------------------------------------------------------


def add_stake(state: State, ctx: BlockContext, signer: AccountId, hotkey: AccountId, netuid: int, tao: int) -> Traded:
    """`add_stake` with its checks. Raises CallError."""
    check_add(state, ctx, signer, hotkey, netuid, tao)
    return stake_into(state, ctx, hotkey, signer, netuid, tao)


def add_stake_limit(
    state: State,
    ctx: BlockContext,
    signer: AccountId,
    hotkey: AccountId,
    netuid: int,
    tao: int,
    limit: int,
    *,
    allow_partial: bool,
) -> Traded:
    """`add_stake_limit` with its checks; what the limit stops stays out. Raises CallError."""
    check_order_size(state, netuid, Side.BUY, tao)
    require_subnet(state, netuid)
    most = order_limit(lambda: most_to_add(read_pool(state, netuid), limit))
    check_add(state, ctx, signer, hotkey, netuid, tao, most, allow_partial=allow_partial)
    if hotkey_owner(state, hotkey) != signer:
        become_delegate(state, hotkey)
    return stake_into(state, ctx, hotkey, signer, netuid, min(tao, most), limit_price(limit))


def _add_stake(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    hotkey, netuid, tao = args
    return [add_stake(state, ctx, signer, hotkey, netuid, tao).event]


def _add_stake_limit(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    hotkey, netuid, tao, limit, allow_partial = args
    return [add_stake_limit(state, ctx, signer, hotkey, netuid, tao, limit, allow_partial=allow_partial).event]


# --- removing ---------------------------------------------------------------------------------------------------------


def _remove(
    state: State, ctx: BlockContext, signer: AccountId, hotkey: AccountId, netuid: int, wanted: int
) -> list[Event]:
    if not trades(state, netuid):
        raise CallError(ErrorCode.SubtokenDisabled)
    alpha = min(wanted, position(state, netuid, hotkey, signer))
    check_remove(state, ctx, signer, hotkey, netuid, alpha)
    done = unstake_from(state, ctx, hotkey, signer, signer, netuid, alpha)
    return [done.event, *_after_removal(state, ctx, signer, hotkey, netuid)]


def _remove_limit(
    state: State,
    ctx: BlockContext,
    signer: AccountId,
    hotkey: AccountId,
    netuid: int,
    alpha: int,
    limit: int,
    *,
    allow_partial: bool,
) -> list[Event]:
    check_order_size(state, netuid, Side.SELL, alpha)
    require_subnet(state, netuid)
    most = order_limit(lambda: most_to_remove(read_pool(state, netuid), limit))
    check_remove(state, ctx, signer, hotkey, netuid, alpha, most, allow_partial=allow_partial)
    done = unstake_from(state, ctx, hotkey, signer, signer, netuid, min(alpha, most), limit_price(limit))
    return [done.event, *_after_removal(state, ctx, signer, hotkey, netuid)]


def _after_removal(state: State, ctx: BlockContext, signer: AccountId, hotkey: AccountId, netuid: int) -> list[Event]:
    """A nomination that became too small is closed; a hotkey below the threshold loses its waiting sets of children."""
    events = close_small_nomination(state, ctx, hotkey, signer, netuid)
    if total_stake_value(state, hotkey) < global_parameter(state, "stake_threshold"):
        drop_pending_children(state, hotkey)
    return events


def _remove_stake(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    hotkey, netuid, alpha = args
    return _remove(state, ctx, signer, hotkey, netuid, alpha)


def _remove_stake_limit(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    hotkey, netuid, alpha, limit, allow_partial = args
    return _remove_limit(state, ctx, signer, hotkey, netuid, alpha, limit, allow_partial=allow_partial)


def _remove_stake_full_limit(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    hotkey, netuid, limit = args
    whole = position(state, netuid, hotkey, signer)
    if limit is None:
        return _remove(state, ctx, signer, hotkey, netuid, whole)
    return _remove_limit(state, ctx, signer, hotkey, netuid, whole, limit, allow_partial=False)


def _unstake_where_possible(
    state: State, ctx: BlockContext, signer: AccountId, hotkey: AccountId, *, with_root: bool
) -> tuple[int, list[Event]]:
    """Sell every position behind a hotkey that passes the checks of remove_stake, by netuid; the others stay.

    Gives the rao they brought. Raises CallError when one that passed them cannot be sold after all.
    """
    proceeds, events = 0, list[Event]()
    for netuid, held_behind, alpha in positions_of_coldkey(state, signer):
        if held_behind != hotkey or not trades(state, netuid) or (netuid == ROOT and not with_root):
            continue
        try:
            check_remove(state, ctx, signer, hotkey, netuid, alpha)
        except CallError:
            continue
        done = unstake_from(state, ctx, hotkey, signer, signer, netuid, alpha)
        proceeds += done.tao
        events += [done.event, *close_small_nomination(state, ctx, hotkey, signer, netuid)]
    return proceeds, events


def _unstake_all(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    _, events = _unstake_where_possible(state, ctx, signer, args[0], with_root=True)
    return events


def _unstake_all_alpha(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    hotkey = args[0]
    proceeds, events = _unstake_where_possible(state, ctx, signer, hotkey, with_root=False)
    if not proceeds:
        raise CallError(ErrorCode.AmountTooLow)
    return [*events, stake_into(state, ctx, hotkey, signer, ROOT, proceeds).event]


def _try_associate(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    if is_system_account(args[0]):
        raise CallError(ErrorCode.CannotUseSystemAccount)
    associated = associate_hotkey(state, args[0], signer)
    return [event(EventKind.HotkeyAssociated, signer, args[0])] if associated else []


_HOTKEY: Final = Argument("hotkey", ArgumentKind.ACCOUNT, "hotkey the stake stands behind")
_NETUID: Final = Argument("netuid", ArgumentKind.U16, "subnet, 0 for root")
_TAO: Final = Argument("amount", ArgumentKind.RAO, "rao of TAO to stake")
_ALPHA: Final = Argument("amount", ArgumentKind.RAO, "units of stake to sell")
_LIMIT: Final = Argument("limit_price", ArgumentKind.RAO, "worst price, in rao for one alpha")
_PARTIAL: Final = Argument("allow_partial", ArgumentKind.BOOL, "take what the limit lets through instead of failing")

CALLS: Final = (
    Call(
        number=0x0400,
        name="stake.add_stake",
        signer=Signer.COLDKEY,
        arguments=(_HOTKEY, _NETUID, _TAO),
        weight=TRADE_WEIGHT,
        execute=_add_stake,
        doc="Buy stake behind a hotkey with TAO, on root or on a subnet.",
    ),
    Call(
        number=0x0401,
        name="stake.remove_stake",
        signer=Signer.COLDKEY,
        arguments=(_HOTKEY, _NETUID, _ALPHA),
        weight=TRADE_WEIGHT,
        execute=_remove_stake,
        doc="Sell stake for TAO, at most all there is.",
    ),
    Call(
        number=0x0402,
        name="stake.add_stake_limit",
        signer=Signer.COLDKEY,
        arguments=(_HOTKEY, _NETUID, _TAO, _LIMIT, _PARTIAL),
        weight=TRADE_WEIGHT,
        execute=_add_stake_limit,
        doc="Buy stake up to a price.",
    ),
    Call(
        number=0x0403,
        name="stake.remove_stake_limit",
        signer=Signer.COLDKEY,
        arguments=(_HOTKEY, _NETUID, _ALPHA, _LIMIT, _PARTIAL),
        weight=TRADE_WEIGHT,
        execute=_remove_stake_limit,
        doc="Sell stake down to a price.",
    ),
    Call(
        number=0x0404,
        name="stake.remove_stake_full_limit",
        signer=Signer.COLDKEY,
        arguments=(
            _HOTKEY,
            _NETUID,
            Argument("limit_price", ArgumentKind.OPTIONAL_RAO, "worst price, in rao for one alpha; null for any"),
        ),
        weight=TRADE_WEIGHT,
        execute=_remove_stake_full_limit,
        doc="Sell a whole position, down to a price where one is named.",
    ),
    Call(
        number=0x0405,
        name="stake.unstake_all",
        signer=Signer.COLDKEY,
        arguments=(_HOTKEY,),
        weight=28 * TRADE_WEIGHT,  # 128 positions of 200 us
        execute=_unstake_all,
        doc="Sell every position behind a hotkey that can be sold.",
    ),
    Call(
        number=0x0406,
        name="stake.unstake_all_alpha",
        signer=Signer.COLDKEY,
        arguments=(_HOTKEY,),
        weight=28 * TRADE_WEIGHT,  # 128 positions of 200 us
        execute=_unstake_all_alpha,
        doc="Sell every position behind a hotkey on subnets and stake the TAO on root.",
    ),
    Call(
        number=0x0600,
        name="keys.try_associate_hotkey",
        signer=Signer.COLDKEY,
        arguments=(Argument("hotkey", ArgumentKind.ACCOUNT, "hotkey that becomes the signer's"),),
        weight=300,
        execute=_try_associate,
        doc="Become the owner of a hotkey that has none; no effect on one that has.",
    ),
)
