"""Who owns a subnet by conviction: the contest that is decided at an epoch (DTAO 7.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ...types import AccountId
from ..interface import BlockContext, Event
from .errors import CallError
from .events import EventKind, event
from .lock_totals import NO_HOTKEY, OWNER, rename_totals, rolled_total, totals_of_subnet
from .neurons import uid_of
from .registration import register_neuron
from .stakes import hotkey_owner
from .subnets import owner, owner_hotkey

if TYPE_CHECKING:
    from ...state.state import State

QUORUM_PARTS: Final = 10
"""A tenth of the outstanding alpha in conviction decides."""


def change_owner_by_conviction(state: State, ctx: BlockContext, netuid: int) -> list[Event]:
    """Give the subnet to the hotkey with the greatest conviction, once enough of the alpha is convinced."""
    outstanding = int(state.read("subnets/alpha_out", netuid))
    age = ctx.height - int(state.read("subnets/registered_at", netuid))
    if outstanding == 0 or age < ctx.spec.parameters.subnet_ownership_age:
        return []
    convictions = _convictions(state, netuid, ctx.height)
    if QUORUM_PARTS * sum(convictions.values()) < outstanding << 64:
        return []
    king = max(convictions, key=lambda hotkey: (convictions[hotkey], hotkey))
    coldkey, before, old_hotkey = hotkey_owner(state, king), owner(state, netuid), owner_hotkey(state, netuid)
    if coldkey is None or coldkey == before:
        return []
    events: list[Event] = []
    if uid_of(state, netuid, king) is None:
        mark = state.begin()
        try:
            _, events = register_neuron(state, ctx, netuid, king)
        except CallError:
            state.rollback(mark)
            return []
        state.commit(mark)
    rename_totals(state, netuid, (OWNER, NO_HOTKEY), (0, old_hotkey), ctx.height)
    rename_totals(state, netuid, (0, king), (OWNER, NO_HOTKEY), ctx.height)
    state.write("subnets/owner", netuid, np.frombuffer(coldkey, dtype=np.uint8))
    state.write("subnets/owner_hotkey", netuid, np.frombuffer(king, dtype=np.uint8))
    return [*events, event(EventKind.SubnetOwnerChanged, netuid, before, coldkey, king)]


def _convictions(state: State, netuid: int, height: int) -> dict[AccountId, int]:
    """Raw conviction of each hotkey as of now; the owner's locks count for the owner's hotkey."""
    found: dict[AccountId, int] = {}
    for key in totals_of_subnet(state, netuid):
        hotkey = owner_hotkey(state, netuid) if key[2] & OWNER else AccountId(key[3:])
        found[hotkey] = found.get(hotkey, 0) + rolled_total(state, key, height).conviction
    return found
