"""Family 07, from 0x10: a seat on the root network (DTAO 7.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ....types import AccountId
from ...interface import BlockContext, Event
from ..errors import CallError, ErrorCode
from ..events import EventKind, event
from ..markets import is_system_account
from ..neurons import hotkeys_of, uid_of
from ..registration import place_registered
from ..stakes import ROOT, associate_hotkey, hotkey_owner, hotkey_stake
from ..subnets import neuron_count, parameter
from ..takes import become_delegate
from .call import Argument, ArgumentKind, Arguments, Call, Signer

if TYPE_CHECKING:
    from ....state.state import State

INTERVAL_FACTOR: Final = 3
"""Registrations of an interval, times its target."""


def _root_register(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    hotkey, limits = args[0], ctx.spec.parameters
    if int(state.read("subnets/root_registrations_block", ROOT)) >= limits.root_max_registrations_per_block:
        raise CallError(ErrorCode.TooManyRegistrationsThisBlock)
    most = INTERVAL_FACTOR * limits.root_target_registrations_per_interval
    if int(state.read("subnets/root_registrations_interval", ROOT)) >= most:
        raise CallError(ErrorCode.TooManyRegistrationsThisInterval)
    if uid_of(state, ROOT, hotkey) is not None:
        raise CallError(ErrorCode.HotKeyAlreadyRegisteredInSubNet)
    if is_system_account(hotkey):
        raise CallError(ErrorCode.CannotUseSystemAccount)
    if hotkey_owner(state, hotkey) not in (None, signer):
        raise CallError(ErrorCode.NonAssociatedColdKey)
    uid = _seat(state, hotkey)
    events: list[Event] = []
    if associate_hotkey(state, hotkey, signer):
        events.append(event(EventKind.HotkeyAssociated, signer, hotkey))
    events += place_registered(state, ctx, ROOT, uid, hotkey)
    become_delegate(state, hotkey)
    for counter in ("block", "interval"):
        state.add(f"subnets/root_registrations_{counter}", ROOT, 1)
    return events


def _seat(state: State, hotkey: AccountId) -> int:
    """The next uid, or that of the seat with the least root stake if it has less than the newcomer."""
    count = neuron_count(state, ROOT)
    if count < parameter(state, ROOT, "max_allowed_uids"):
        return count
    stakes = [hotkey_stake(state, ROOT, seated) for seated in hotkeys_of(state, ROOT)]
    lowest = min(range(count), key=lambda uid: (stakes[uid], uid))
    if stakes[lowest] >= hotkey_stake(state, ROOT, hotkey):
        raise CallError(ErrorCode.StakeTooLowForRoot)
    return lowest


CALLS: Final = (
    Call(
        number=0x0710,
        name="root.root_register",
        signer=Signer.COLDKEY,
        arguments=(Argument("hotkey", ArgumentKind.ACCOUNT, "hotkey that takes a seat"),),
        weight=1_000,
        execute=_root_register,
        doc="Take a seat on root, in place of the one with less root stake when all are taken.",
    ),
)
