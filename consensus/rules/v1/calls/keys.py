"""Family 06: swaps of hotkeys and coldkeys (DTAO 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ....types import AccountId
from ...interface import BlockContext, Event
from ..balances import debit, free_balance, recycle
from ..coldkey_swap import (
    announced_swap,
    check_target,
    clear_announcement,
    coldkey_hash,
    move_estate,
    store_announcement,
)
from ..errors import CallError, ErrorCode
from ..events import EventKind, event
from ..hotkey_swap import is_clean_for_root, is_touched, swap_hotkey_itself, swap_on_subnet
from ..markets import is_system_account
from ..neurons import uid_of
from ..schema_tables import AUTHORITIES, COLDKEYS, SUBNET_SWAPS
from ..stakes import ROOT, associate_hotkey, hotkey_owner, stake_key
from ..subnets import global_parameter, netuids, subnet_exists
from .call import Argument, ArgumentKind, Arguments, Call, Signer

if TYPE_CHECKING:
    from ....state.state import State

SWAP_WEIGHT: Final = 8_000
"""Microseconds: every subnet is looked at, and rows of one hotkey are renamed."""


# --- hotkeys ----------------------------------------------------------------------------------------------------------


def _swap_hotkey(
    state: State,
    ctx: BlockContext,
    signer: AccountId,
    keys: tuple[AccountId, AccountId],
    netuid: int | None,
    *,
    keep_stake: bool,
) -> list[Event]:
    """The checks in order, the price, and the move on one subnet or on all. Raises CallError."""
    old, new = keys
    if hotkey_owner(state, old) != signer or hotkey_owner(state, new) not in (None, signer):
        raise CallError(ErrorCode.NonAssociatedColdKey)
    if new == old:
        raise CallError(ErrorCode.NewHotKeyIsSameWithOld)
    if is_system_account(new):
        raise CallError(ErrorCode.CannotUseSystemAccount)
    if netuid is not None and not subnet_exists(state, netuid):
        raise CallError(ErrorCode.SubnetNotExists)
    where = [ROOT, *netuids(state)] if netuid is None else [netuid]
    if any(uid_of(state, number, new) is not None for number in where):
        raise CallError(ErrorCode.HotKeyAlreadyRegisteredInSubNet)
    row = state.key_table(COLDKEYS).open(signer)
    last = int(state.read("coldkeys/hotkey_swapped_at", row))
    limit = global_parameter(state, "tx_rate_limit")
    if last and limit and ctx.height - last <= limit:
        raise CallError(ErrorCode.HotKeySetTxRateLimitExceeded)
    if state.key_table(AUTHORITIES).find(old) is not None:
        raise CallError(ErrorCode.HotkeyIsAuthority)
    if netuid in (None, ROOT) and not is_clean_for_root(state, new):
        raise CallError(ErrorCode.NewHotKeyNotCleanForRootSwap)
    _check_intervals(state, ctx, signer, old, netuid, where)
    _pay(state, ctx, signer, netuid)
    associate_hotkey(state, new, signer)
    for number in where:
        if netuid is not None or is_touched(state, number, old):
            state.write("subnet_swaps/block", state.key_table(SUBNET_SWAPS).open(stake_key(number, signer)), ctx.height)
        swap_on_subnet(state, number, old, new, ctx.height, keep_stake=keep_stake)
    state.write("coldkeys/hotkey_swapped_at", row, ctx.height)
    if netuid is not None:
        return [event(EventKind.HotkeySwappedOnSubnet, signer, old, new, netuid)]
    swap_hotkey_itself(state, old, new)
    return [event(EventKind.HotkeySwapped, signer, old, new)]


def _check_intervals(
    state: State, ctx: BlockContext, signer: AccountId, old: AccountId, netuid: int | None, where: list[int]
) -> None:
    """Swaps on a subnet keep their distance; for a swap there alone the first one too (DTAO 13.27)."""
    interval = ctx.spec.parameters.hotkey_swap_on_subnet_interval
    for number in where:
        if netuid is None and not is_touched(state, number, old):
            continue
        row = state.key_table(SUBNET_SWAPS).find(stake_key(number, signer))
        last = 0 if row is None else int(state.read("subnet_swaps/block", row))
        if (last or netuid is not None) and last + interval >= ctx.height:
            raise CallError(ErrorCode.HotKeySwapOnSubnetIntervalNotPassed)


def _pay(state: State, ctx: BlockContext, signer: AccountId, netuid: int | None) -> None:
    cost = ctx.spec.parameters.key_swap_cost if netuid is None else ctx.spec.parameters.key_swap_on_subnet_cost
    if free_balance(state, signer) < cost + ctx.spec.existential_deposit:
        raise CallError(ErrorCode.NotEnoughBalanceToPaySwapHotKey)
    debit(state, signer, cost)
    recycle(state, cost)


def _swap(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    old, new, netuid = args
    return _swap_hotkey(state, ctx, signer, (old, new), netuid, keep_stake=False)


def _swap_v2(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    old, new, netuid, keep_stake = args
    return _swap_hotkey(state, ctx, signer, (old, new), netuid, keep_stake=keep_stake)


# --- coldkeys ---------------------------------------------------------------------------------------------------------


def _announce(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    named = args[0]
    if announced_swap(state, signer) is not None:
        _check_settled(state, ctx, signer, ErrorCode.ColdkeySwapReannouncedTooEarly)
    else:
        cost = ctx.spec.parameters.key_swap_cost
        if free_balance(state, signer) < cost + ctx.spec.existential_deposit:
            raise CallError(ErrorCode.NotEnoughBalanceToPaySwapColdKey)
        debit(state, signer, cost)
        recycle(state, cost)
    store_announcement(state, signer, ctx.height, named)
    return [event(EventKind.ColdkeySwapAnnounced, signer, named)]


def _check_settled(state: State, ctx: BlockContext, signer: AccountId, early: ErrorCode) -> None:
    """An announcement stands for a while after it has matured. Raises CallError, with `early` until then."""
    announced = announced_swap(state, signer)
    if announced is None:
        raise CallError(ErrorCode.ColdkeySwapAnnouncementNotFound)
    delay = global_parameter(state, "coldkey_swap_announcement_delay")
    more = global_parameter(state, "coldkey_swap_reannouncement_delay")
    if ctx.height < announced[0] + delay + more:
        raise CallError(early)


def _clear(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    _check_settled(state, ctx, signer, ErrorCode.ColdkeySwapClearTooEarly)
    clear_announcement(state, signer)
    return [event(EventKind.ColdkeySwapCleared, signer)]


def _swap_coldkey(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    new = args[0]
    announced = announced_swap(state, signer)
    if announced is None:
        raise CallError(ErrorCode.ColdkeySwapAnnouncementNotFound)
    at, named, _ = announced
    if coldkey_hash(new) != named:
        raise CallError(ErrorCode.AnnouncedColdkeyHashDoesNotMatch)
    if ctx.height < at + global_parameter(state, "coldkey_swap_announcement_delay"):
        raise CallError(ErrorCode.ColdkeySwapTooEarly)
    check_target(state, signer, new, ctx.height)
    move_estate(state, signer, new)
    return [event(EventKind.ColdkeySwapped, signer, new)]


def _dispute(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    if announced_swap(state, signer) is None:
        raise CallError(ErrorCode.ColdkeySwapAnnouncementNotFound)
    state.write("coldkeys/swap_disputed", state.key_table(COLDKEYS).open(signer), 1)
    return [event(EventKind.ColdkeySwapDisputed, signer)]


_OLD: Final = Argument("hotkey", ArgumentKind.ACCOUNT, "one of the signer's hotkeys")
_NEW: Final = Argument("new_hotkey", ArgumentKind.ACCOUNT, "key that takes its place")
_WHERE: Final = Argument("netuid", ArgumentKind.OPTIONAL_U16, "one subnet; null for everywhere")

CALLS: Final = (
    Call(
        number=0x0601,
        name="keys.swap_hotkey",
        signer=Signer.COLDKEY,
        arguments=(_OLD, _NEW, _WHERE),
        weight=SWAP_WEIGHT,
        execute=_swap,
        doc="Give a hotkey another key, with everything it has.",
    ),
    Call(
        number=0x0602,
        name="keys.swap_hotkey_v2",
        signer=Signer.COLDKEY,
        arguments=(_OLD, _NEW, _WHERE, Argument("keep_stake", ArgumentKind.BOOL, "leave the stake on the old key")),
        weight=SWAP_WEIGHT,
        execute=_swap_v2,
        doc="As swap_hotkey; the stake may stay where it is.",
    ),
    Call(
        number=0x0603,
        name="keys.announce_coldkey_swap",
        signer=Signer.COLDKEY,
        arguments=(Argument("new_coldkey_hash", ArgumentKind.HASH, "BLAKE2b-256 of the new coldkey"),),
        weight=500,
        execute=_announce,
        during_swap=True,
        doc="Announce that the whole estate will move; until then only calls about it are taken.",
    ),
    Call(
        number=0x0604,
        name="keys.clear_coldkey_swap_announcement",
        signer=Signer.COLDKEY,
        arguments=(),
        weight=300,
        execute=_clear,
        during_swap=True,
        doc="Take an announcement back that has stood long enough.",
    ),
    Call(
        number=0x0605,
        name="keys.swap_coldkey_announced",
        signer=Signer.COLDKEY,
        arguments=(Argument("new_coldkey", ArgumentKind.ACCOUNT, "the announced key"),),
        weight=SWAP_WEIGHT,
        execute=_swap_coldkey,
        during_swap=True,
        doc="Move the whole estate to the announced coldkey.",
    ),
    Call(
        number=0x0606,
        name="keys.dispute_coldkey_swap",
        signer=Signer.COLDKEY,
        arguments=(),
        weight=300,
        execute=_dispute,
        during_swap=True,
        doc="Freeze the account until governance decides: for whoever sees a swap announced that is not theirs.",
    ),
)
