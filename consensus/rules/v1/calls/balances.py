"""Family 00: moving free TAO, and the faucet of development chains (DTAO 9, DESIGN decision 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ....types import AccountId
from ...interface import BlockContext, Event
from ..balances import credit, free_balance, mint, transfer
from ..dtao.units import MAX_SUPPLY
from ..errors import CallError, ErrorCode
from ..events import EventKind, event
from .call import Argument, ArgumentKind, Arguments, Call, Signer

if TYPE_CHECKING:
    from ....state.state import State

TRANSFER_WEIGHT: Final = 250
"""Microseconds: decode, signature, two accounts, one event."""


def _transfer_keep_alive(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    target, amount = args
    deposit = ctx.spec.existential_deposit
    return transfer(state, signer, target, amount, existential_deposit=deposit, keep_alive=True)


def _transfer_allow_death(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    target, amount = args
    deposit = ctx.spec.existential_deposit
    return transfer(state, signer, target, amount, existential_deposit=deposit, keep_alive=False)


def _transfer_all(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    target, keep_alive = args
    deposit = ctx.spec.existential_deposit
    free = free_balance(state, signer)
    amount = max(0, free - deposit) if keep_alive else free
    if amount == 0:
        raise CallError(ErrorCode.InsufficientBalance)
    return transfer(state, signer, target, amount, existential_deposit=deposit, keep_alive=keep_alive)


def _check_faucet(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> None:
    if ctx.spec.faucet_amount == 0:
        raise CallError(ErrorCode.FaucetDisabled)
    supply = int(state.read("chain/issuance", 0)) + ctx.spec.faucet_amount
    if free_balance(state, signer) >= ctx.spec.faucet_amount or supply > MAX_SUPPLY:
        raise CallError(ErrorCode.FaucetLimitReached)


def _faucet(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    amount = ctx.spec.faucet_amount
    mint(state, amount)
    credit(state, signer, amount)
    return [event(EventKind.FaucetUsed, signer, amount)]


_TARGET: Final = Argument("dest", ArgumentKind.ACCOUNT, "account that receives")
_AMOUNT: Final = Argument("amount", ArgumentKind.RAO, "rao to move")

CALLS: Final = (
    Call(
        number=0x0000,
        name="balances.transfer_keep_alive",
        signer=Signer.ANY,
        arguments=(_TARGET, _AMOUNT),
        weight=TRANSFER_WEIGHT,
        execute=_transfer_keep_alive,
        doc="Move TAO; fails rather than leave the sender below the existential deposit.",
    ),
    Call(
        number=0x0001,
        name="balances.transfer_allow_death",
        signer=Signer.ANY,
        arguments=(_TARGET, _AMOUNT),
        weight=TRANSFER_WEIGHT,
        execute=_transfer_allow_death,
        doc="Move TAO; a sender left below the existential deposit is reaped and the dust is destroyed.",
    ),
    Call(
        number=0x0002,
        name="balances.transfer_all",
        signer=Signer.ANY,
        arguments=(_TARGET, Argument("keep_alive", ArgumentKind.BOOL, "leave the existential deposit behind")),
        weight=TRANSFER_WEIGHT,
        execute=_transfer_all,
        doc="Move everything that is left after the fee.",
    ),
    Call(
        number=0x0003,
        name="balances.faucet",
        signer=Signer.ANY,
        arguments=(),
        weight=TRANSFER_WEIGHT,
        execute=_faucet,
        check=_check_faucet,
        free=True,
        doc="Receive the development chain's faucet amount, as long as the account holds less.",
    ),
)
