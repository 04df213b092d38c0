"""Family 02: registering a neuron for the present price (YUMA section 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ....types import AccountId
from ...interface import BlockContext, Event
from ..balances import burn, debit, free_balance
from ..errors import CallError, ErrorCode
from ..events import EventKind, event
from ..neurons import choose_slot, hotkey_of, place_neuron, uid_of
from ..stakes import ROOT, associate_hotkey, hotkey_owner
from ..subnets import neuron_count, parameter, raise_burn, subnet_exists
from .call import Argument, ArgumentKind, Arguments, Call, Signer

if TYPE_CHECKING:
    from ....state.state import State


REGISTER_WEIGHT: Final = 2_000
"""Microseconds in a full subnet: 256 neurons compared, and a weight matrix searched for the replaced uid."""


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
    free = free_balance(state, coldkey)
    if free < price:
        raise CallError(ErrorCode.NotEnoughBalanceToStake)
    if hotkey_owner(state, hotkey) not in (None, coldkey):
        raise CallError(ErrorCode.NonAssociatedColdKey)
    uid = choose_slot(state, netuid, ctx.height)
    if uid is None:
        raise CallError(ErrorCode.NoNeuronIdAvailable)
    events: list[Event] = []
    if associate_hotkey(state, hotkey, coldkey):
        events.append(event(EventKind.HotkeyAssociated, coldkey, hotkey))
    paid = min(price, max(0, free - ctx.spec.existential_deposit))
    debit(state, coldkey, paid)
    burn(state, paid)
    if uid < neuron_count(state, netuid):
        events.append(event(EventKind.NeuronReplaced, netuid, uid, hotkey_of(state, netuid, uid)))
    place_neuron(state, netuid, uid, hotkey, ctx.height)
    raise_burn(state, netuid)
    events.append(event(EventKind.NeuronRegistered, netuid, uid, hotkey))
    return events


def _burned_register(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    netuid, hotkey = args
    return _register(state, ctx, signer, netuid, hotkey, None)


def _register_limit(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    netuid, hotkey, limit = args
    return _register(state, ctx, signer, netuid, hotkey, limit)


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
)
