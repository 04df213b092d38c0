"""Families 04 and 06: stake as a plain balance, and who owns a hotkey (DTAO 6.4; pools come with the full ledger)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ....types import AccountId
from ...interface import BlockContext, Event
from ..authorities import bonded_stake
from ..balances import can_receive, credit, debit, free_balance
from ..errors import CallError, ErrorCode
from ..events import EventKind, event
from ..stakes import (
    ROOT,
    associate_hotkey,
    decrease_position,
    hotkey_owner,
    hotkey_stake,
    increase_position,
    position,
)
from ..subnets import subnet_exists
from .call import Argument, ArgumentKind, Arguments, Call, Signer

if TYPE_CHECKING:
    from ....state.state import State

MIN_STAKE: Final = 2_000_000
"""DefaultMinStake of DTAO 6.4 in rao: smaller moves are not worth a row."""


def _add_stake(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    hotkey, netuid, amount = args
    if not subnet_exists(state, netuid):
        raise CallError(ErrorCode.SubnetNotExists)
    if amount < MIN_STAKE:
        raise CallError(ErrorCode.AmountTooLow)
    if free_balance(state, signer) < amount + ctx.spec.existential_deposit:
        raise CallError(ErrorCode.NotEnoughBalanceToStake)
    if hotkey_owner(state, hotkey) is None:
        raise CallError(ErrorCode.HotKeyAccountNotExists)
    debit(state, signer, amount)
    increase_position(state, netuid, hotkey, signer, amount)
    if netuid != ROOT:
        state.add("subnets/tao_reserve", netuid, amount)
        state.add("subnets/alpha_issuance", netuid, amount)
    return [event(EventKind.StakeAdded, signer, hotkey, netuid, amount)]


def _remove_stake(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    hotkey, netuid, wanted = args
    if not subnet_exists(state, netuid):
        raise CallError(ErrorCode.SubnetNotExists)
    held = position(state, netuid, hotkey, signer)
    amount = min(wanted, held)
    if amount == 0 or (amount < MIN_STAKE and amount < held):
        raise CallError(ErrorCode.AmountTooLow)
    if netuid == ROOT:
        left = hotkey_stake(state, ROOT, hotkey) - amount
        if left < bonded_stake(state, hotkey, ctx.era, ctx.spec.unbond_eras):
            raise CallError(ErrorCode.AuthorityBonded)
    elif int(state.read("subnets/tao_reserve", netuid)) < amount:
        raise CallError(ErrorCode.InsufficientLiquidity)
    if not can_receive(state, signer, amount, ctx.spec.existential_deposit):
        raise CallError(ErrorCode.ExistentialDeposit)
    decrease_position(state, netuid, hotkey, signer, amount)
    if netuid != ROOT:
        state.add("subnets/tao_reserve", netuid, -amount)
        state.add("subnets/alpha_issuance", netuid, -amount)
    credit(state, signer, amount)
    return [event(EventKind.StakeRemoved, signer, hotkey, netuid, amount)]


def _try_associate(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    associated = associate_hotkey(state, args[0], signer)
    return [event(EventKind.HotkeyAssociated, signer, args[0])] if associated else []


_HOTKEY: Final = Argument("hotkey", ArgumentKind.ACCOUNT, "hotkey the stake stands behind")
_NETUID: Final = Argument("netuid", ArgumentKind.U16, "subnet, 0 for root")

CALLS: Final = (
    Call(
        number=0x0400,
        name="stake.add_stake",
        signer=Signer.COLDKEY,
        arguments=(_HOTKEY, _NETUID, Argument("amount", ArgumentKind.RAO, "rao of TAO to stake")),
        weight=400,
        execute=_add_stake,
        doc="Stake TAO behind a hotkey, on root or on a subnet.",
    ),
    Call(
        number=0x0401,
        name="stake.remove_stake",
        signer=Signer.COLDKEY,
        arguments=(_HOTKEY, _NETUID, Argument("amount", ArgumentKind.RAO, "units to take back, at most all there is")),
        weight=400,
        execute=_remove_stake,
        doc="Take stake back as free TAO.",
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
