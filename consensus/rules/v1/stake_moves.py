"""Moving stake between hotkeys, subnets and coldkeys: one path for four calls (DTAO 6.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...types import AccountId
from ..interface import BlockContext, Event
from .authorities import check_bond
from .balances import can_receive, credit, debit
from .dtao.stake_limits import most_to_swap
from .errors import CallError, ErrorCode
from .events import EventKind, event
from .locks import may_take_out, move_lock_for_transfer, require_room
from .markets import read_pool
from .root_stake import adjust_root_claims
from .stake_checks import order_limit, require_hotkey, require_subnet, simulated_sale, trades
from .stake_values import alpha_value
from .stakes import ROOT, decrease_position, enough_precision, increase_position, position
from .subnets import parameter
from .trading import MIN_STAKE, stake_into, unstake_from

if TYPE_CHECKING:
    from ...state.state import State


@dataclass(frozen=True, slots=True)
class Place:
    """Where stake is, or goes."""

    coldkey: AccountId
    hotkey: AccountId
    netuid: int


@dataclass(frozen=True, slots=True)
class Moved:
    """What a move did."""

    tao: int
    """Its worth in rao."""
    events: list[Event]


def move_stake(
    state: State,
    ctx: BlockContext,
    origin: Place,
    target: Place,
    wanted: int,
    *,
    limit: int | None = None,
    allow_partial: bool = False,
    is_transfer: bool = False,
) -> Moved:
    """Move up to `wanted` stake, checked in the spec's order; `limit` is in rao of target alpha. Raises CallError.

    `is_transfer` asks the subnets whether stake may change its coldkey.
    """
    if origin == target:
        raise CallError(ErrorCode.SameNetuid)
    require_subnet(state, origin.netuid)
    require_subnet(state, target.netuid)
    if not (trades(state, origin.netuid) and trades(state, target.netuid)):
        raise CallError(ErrorCode.SubtokenDisabled)
    require_hotkey(state, origin.hotkey)
    require_hotkey(state, target.hotkey)
    alpha = min(wanted, position(state, origin.netuid, origin.hotkey, origin.coldkey))
    across = origin.netuid != target.netuid
    if across:
        if simulated_sale(state, origin.netuid, alpha).paid_out <= MIN_STAKE:
            raise CallError(ErrorCode.AmountTooLow)
        if limit is not None:
            pools = read_pool(state, origin.netuid), read_pool(state, target.netuid)
            most = order_limit(lambda: most_to_swap(*pools, limit))
            if not allow_partial and alpha > most:
                raise CallError(ErrorCode.SlippageTooHigh)
            alpha = min(alpha, most)
        if not may_take_out(state, origin.netuid, origin.coldkey, alpha, ctx.height):
            raise CallError(ErrorCode.StakeUnavailable)
    if is_transfer and not all(parameter(state, place.netuid, "transfer_toggle") for place in (origin, target)):
        raise CallError(ErrorCode.TransferDisallowed)
    if across or origin.hotkey != target.hotkey:
        check_bond(state, ctx, origin.hotkey, origin.netuid, alpha)
    return (_across if across else _within)(state, ctx, origin, target, alpha)


def _within(state: State, ctx: BlockContext, origin: Place, target: Place, alpha: int) -> Moved:
    """On one subnet: shares change hands, without the pool and without a fee."""
    netuid = origin.netuid
    move_lock_for_transfer(state, netuid, origin.coldkey, target.coldkey, alpha, ctx.height)
    decrease_position(state, netuid, origin.hotkey, origin.coldkey, alpha)
    if not enough_precision(state, netuid, target.hotkey, alpha):
        raise CallError(ErrorCode.InsufficientLiquidity)
    require_room(state, netuid, target.hotkey, target.coldkey)
    increase_position(state, netuid, target.hotkey, target.coldkey, alpha)
    if netuid == ROOT:
        adjust_root_claims(state, origin.hotkey, origin.coldkey, -alpha)
        adjust_root_claims(state, target.hotkey, target.coldkey, alpha)
    tao = alpha_value(state, netuid, alpha)
    if tao < MIN_STAKE:
        raise CallError(ErrorCode.AmountTooLow)
    return Moved(
        tao,
        [
            event(EventKind.StakeRemoved, origin.coldkey, origin.hotkey, tao, alpha, netuid, 0),
            event(EventKind.StakeAdded, target.coldkey, target.hotkey, tao, alpha, netuid, 0),
        ],
    )


def _across(state: State, ctx: BlockContext, origin: Place, target: Place, alpha: int) -> Moved:
    """Between subnets: sold for TAO, which buys stake again. One fee: on the sale, or on the purchase out of root."""
    from_root = origin.netuid == ROOT
    sold = unstake_from(
        state, ctx, origin.hotkey, origin.coldkey, origin.coldkey, origin.netuid, alpha, drop_fees=from_root
    )
    events = [sold.event]
    if origin.coldkey != target.coldkey and sold.tao:
        debit(state, origin.coldkey, sold.tao)
        if not can_receive(state, target.coldkey, sold.tao, ctx.spec.existential_deposit):
            raise CallError(ErrorCode.ExistentialDeposit)
        credit(state, target.coldkey, sold.tao)
    if sold.tao >= MIN_STAKE:
        bought = stake_into(state, ctx, target.hotkey, target.coldkey, target.netuid, sold.tao, drop_fees=not from_root)
        events.append(bought.event)
    return Moved(sold.tao, events)
