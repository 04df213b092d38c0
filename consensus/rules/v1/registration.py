"""Registering a neuron: the slot, whom it replaces, and what goes with the replaced one (YUMA 6.3, 6.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...types import AccountId, Uid
from ..interface import BlockContext, Event
from .errors import CallError, ErrorCode
from .events import EventKind, event
from .neurons import choose_slot, hotkey_of, place_neuron
from .records import RecordTag, delete_record
from .subnets import neuron_count

if TYPE_CHECKING:
    from ...state.state import State


def forget_serving(state: State, netuid: int, hotkey: bytes) -> None:
    """Delete what a hotkey published of where it is served."""
    for tag in (RecordTag.AXON, RecordTag.PROMETHEUS, RecordTag.CERTIFICATE):
        delete_record(state, tag, netuid, hotkey)


def register_neuron(state: State, ctx: BlockContext, netuid: int, hotkey: AccountId) -> tuple[Uid, list[Event]]:
    """Give a known hotkey a uid: the next one, or that of the neuron to replace. Raises CallError without a slot."""
    uid = choose_slot(state, netuid, ctx.height)
    if uid is None:
        raise CallError(ErrorCode.NoNeuronIdAvailable)
    return uid, place_registered(state, ctx, netuid, uid, hotkey)


def place_registered(state: State, ctx: BlockContext, netuid: int, uid: int, hotkey: AccountId) -> list[Event]:
    """Put a hotkey on a uid, with the events and what is forgotten of whoever held it."""
    events: list[Event] = []
    if uid < neuron_count(state, netuid):
        replaced = hotkey_of(state, netuid, uid)
        forget_serving(state, netuid, replaced)
        events.append(event(EventKind.NeuronReplaced, netuid, uid, replaced))
    place_neuron(state, netuid, uid, hotkey, ctx.height)
    events.append(event(EventKind.NeuronRegistered, netuid, uid, hotkey))
    return events
