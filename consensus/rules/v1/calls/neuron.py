"""Family 02: registering a neuron for the present price (YUMA section 6, DTAO 8.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ....types import AccountId
from ...interface import BlockContext, Event
from ..balances import debit, free_balance
from ..errors import CallError, ErrorCode
from ..events import EventKind, event
from ..markets import buy, is_system_account
from ..neurons import choose_slot, uid_of
from ..registration import register_neuron
from ..stakes import ROOT, associate_hotkey, hotkey_owner
from ..subnets import parameter, raise_burn, subnet_exists
from .call import Argument, ArgumentKind, Arguments, Call, Signer

if TYPE_CHECKING:
    from ....state.state import State


REGISTER_WEIGHT: Final = 2_500
"""Microseconds in a full subnet: 256 neurons compared, a weight matrix searched for the replaced uid, and a swap."""


def _register(
    state: State, ctx: BlockContext, coldkey: AccountId, netuid: int, hotkey: AccountId, limit: int | None
) -> list[Event]:
    """The checks of YUMA 6.1 in order, then payment, slot and the next price."""
    if netuid == ROOT:
        raise CallError(ErrorCode.RegistrationNotPermittedOnRootSubnet)
    if not subnet_exists(state, netuid):
        raise CallError(ErrorCode.SubnetNotExists)
    price = int(state.read("subnets/burn", netuid))
    if limit is not None and price > limit:
        raise CallError(ErrorCode.RegistrationPriceLimitExceeded)
    if not parameter(state, netuid, "network_registration_allowed"):
        raise CallError(ErrorCode.SubNetRegistrationDisabled)
    if uid_of(state, netuid, hotkey) is not None:
        raise CallError(ErrorCode.HotKeyAlreadyRegisteredInSubNet)
    if free_balance(state, coldkey) < price:
        raise CallError(ErrorCode.NotEnoughBalanceToStake)
    if is_system_account(hotkey):
        raise CallError(ErrorCode.CannotUseSystemAccount)
    if hotkey_owner(state, hotkey) not in (None, coldkey):
        raise CallError(ErrorCode.NonAssociatedColdKey)
    if choose_slot(state, netuid, ctx.height) is None:
        raise CallError(ErrorCode.NoNeuronIdAvailable)
    events: list[Event] = []
    if associate_hotkey(state, hotkey, coldkey):
        events.append(event(EventKind.HotkeyAssociated, coldkey, hotkey))
    _pay(state, ctx, coldkey, netuid, price)
    _, registered = register_neuron(state, ctx, netuid, hotkey)
    raise_burn(state, netuid)
    return [*events, *registered]


def _pay(state: State, ctx: BlockContext, coldkey: AccountId, netuid: int, price: int) -> None:
    """Buy alpha for the price and destroy it. The TAO stays in the pool, its fee in the subnet's account (13.18).

    The existential deposit is kept and then so much less paid (13.38), but nobody registers for nothing.
    """
    if not price:
        return
    paid = min(price, max(0, free_balance(state, coldkey) - ctx.spec.existential_deposit))
    if not paid:
        raise CallError(ErrorCode.InsufficientBalance)
    debit(state, coldkey, paid)
    state.add("subnets/account", netuid, paid)
    bought = buy(state, netuid, paid).paid_out
    state.add("subnets/alpha_out", netuid, -bought)


def _burned_register(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    netuid, hotkey = args
    return _register(state, ctx, signer, netuid, hotkey, None)


def _register_limit(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    netuid, hotkey, limit = args
    return _register(state, ctx, signer, netuid, hotkey, limit)


def _register_with_work(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    """The old proof of work is not looked at any more: this is burned_register by another name (YUMA 6.1)."""
    netuid, _, _, _, hotkey, _ = args
    return _register(state, ctx, signer, netuid, hotkey, None)


_NETUID: Final = Argument("netuid", ArgumentKind.U16, "subnet")
_HOTKEY: Final = Argument("hotkey", ArgumentKind.ACCOUNT, "hotkey that gets a uid; a new one becomes the signer's")

CALLS: Final = (
    Call(
        number=0x0200,
        name="neuron.burned_register",
        signer=Signer.COLDKEY,
        arguments=(_NETUID, _HOTKEY),
        weight=REGISTER_WEIGHT,
        execute=_burned_register,
        doc="Pay the present price for a uid; in a full subnet the weakest neuron that may go is replaced.",
    ),
    Call(
        number=0x0201,
        name="neuron.register_limit",
        signer=Signer.COLDKEY,
        arguments=(_NETUID, _HOTKEY, Argument("limit", ArgumentKind.RAO, "highest price to pay")),
        weight=REGISTER_WEIGHT,
        execute=_register_limit,
        doc="As burned_register, but only up to a price.",
    ),
    Call(
        number=0x0202,
        name="neuron.register",
        signer=Signer.COLDKEY,
        arguments=(
            _NETUID,
            Argument("block_number", ArgumentKind.U64, "not looked at"),
            Argument("nonce", ArgumentKind.U64, "not looked at"),
            Argument("work", ArgumentKind.BYTES, "not looked at", most=64),
            _HOTKEY,
            Argument("coldkey", ArgumentKind.ACCOUNT, "not looked at: the signer pays"),
        ),
        weight=REGISTER_WEIGHT,
        execute=_register_with_work,
        doc="As burned_register; the proof of work of old is ignored.",
    ),
)
