"""The end of an era: punishments, the next authority set, bonds and a new participation count (CHAIN 1.3, set change).

The choice of the set itself is pure and stands in `set_change`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ...authority import MAX_AUTHORITIES, AuthoritySet, era_seed
from ...types import AccountId, AuthorityKey, Era, Hash32, Rao
from ..interface import BlockContext, Event
from .authorities import bond_members
from .balances import burn
from .era_sets import era_hotkeys, forget_era_set, write_era_set
from .events import EventKind, event
from .markets import add_total_stake
from .root_stake import adjust_root_claims, note_root_holder
from .schema import AUTHORITIES
from .set_change import Candidate, next_members, next_set
from .stakes import ROOT, decrease_position, hotkey_stake, positions_of_hotkey, shares_of_cut

if TYPE_CHECKING:
    from ...state.state import State

MILLION: Final = 1_000_000


def close_era(state: State, ctx: BlockContext) -> tuple[AuthoritySet, list[Event]]:
    """What the boundary block does after its transactions: punish, choose the next set, start a new count.

    The seed of era e+1 comes from the boundary block of era e-1, whose hash the present era's first block carries.
    """
    events = _punish(state, ctx)
    candidates = _candidates(state, ctx)
    members = next_members(candidates, ctx.spec.min_authority_weight, ctx.spec.min_set)
    upcoming = Era(ctx.era + 1)
    boundary = Hash32(state.read("chain/boundary_hash", 0).tobytes()) if ctx.era > 0 else None
    authorities = next_set(members, ctx.authorities, era_seed(ctx.genesis_hash, upcoming, boundary))
    hotkeys = [c.hotkey for c in members] if members else list(era_hotkeys(state, ctx.era))
    write_era_set(state, upcoming, authorities, hotkeys)
    forget_era_set(state, ctx.era - ctx.spec.evidence_eras)
    bond_members(state, ctx, upcoming, authorities, hotkeys)
    _note_boundary_stakes(state)
    state.write("era/participation", slice(0, MAX_AUTHORITIES), 0)
    events.append(event(EventKind.NewAuthoritySet, upcoming, len(authorities.members), authorities.total_weight))
    return authorities, events


def _punish(state: State, ctx: BlockContext) -> list[Event]:
    """Jail and cut the hotkeys against which evidence came in during this era."""
    events: list[Event] = []
    due = np.flatnonzero(state.array("authorities/punished_through") == ctx.era + 1).tolist()
    table = state.key_table(AUTHORITIES)
    for hotkey, row in sorted((table.key(row), row) for row in due):
        until = ctx.era + 1 + ctx.spec.jail_eras
        state.write("authorities/jailed_until", row, until)
        events.append(event(EventKind.AuthorityJailed, hotkey, until))
        bonded = int(state.read("authorities/bonded_stake", row))
        cut = cut_root_stake(state, hotkey, bonded * ctx.spec.slash_ppm // MILLION)
        if cut:
            state.write("authorities/bonded_stake", row, bonded - cut)
            events.append(event(EventKind.AuthoritySlashed, hotkey, cut))
    return events


def cut_root_stake(state: State, hotkey: bytes, amount: int) -> int:
    """Burn up to `amount` of a hotkey's root stake, from all its holders in proportion; gives what was burned."""
    cuts = shares_of_cut(positions_of_hotkey(state, ROOT, hotkey), amount)
    for coldkey, part in cuts:
        decrease_position(state, ROOT, hotkey, coldkey, part)
        adjust_root_claims(state, hotkey, coldkey, -part)
        note_root_holder(state, coldkey)
    cut = sum(part for _, part in cuts)
    for name in ("account", "tao_reserve", "alpha_out"):
        state.add(f"subnets/{name}", ROOT, -cut)
    add_total_stake(state, -cut)
    burn(state, cut)
    return cut


def _candidates(state: State, ctx: BlockContext) -> list[Candidate]:
    """Every hotkey that had stake at the boundary before, with a key older than that boundary, in hotkey order.

    Rows without that stake have no weight and are passed over at once: registered and left again, there may be many.
    """
    earlier_boundary = ctx.era * ctx.spec.era_blocks
    _promote_keys(state, earlier_boundary)
    present = {hotkey: index for index, hotkey in enumerate(era_hotkeys(state, ctx.era))}
    participation = state.array("era/participation")
    table = state.key_table(AUTHORITIES)
    candidates = []
    for key, row in sorted((table.key(row), row) for row in _rows_with(state, "boundary_stake")):
        hotkey = AccountId(key)
        registered = int(state.read("authorities/registered_at", row))
        if registered and registered >= earlier_boundary:
            continue
        index = present.get(hotkey)
        heartbeat = int(state.read("authorities/heartbeat_at", row))
        weight = min(int(state.read("authorities/boundary_stake", row)), hotkey_stake(state, ROOT, hotkey))
        candidates.append(
            Candidate(
                hotkey=hotkey,
                key=AuthorityKey(state.read("authorities/authority_key", row).tobytes()),
                weight=Rao(weight),
                heartbeat=heartbeat > earlier_boundary,
                member=index is not None,
                idle=index is not None and not participation[index],
                jailed=ctx.era + 1 < int(state.read("authorities/jailed_until", row)),
            )
        )
    return candidates


def _rows_with(state: State, column: str) -> list[int]:
    """Rows of the authorities table whose number in `column` is not zero."""
    return np.flatnonzero(state.array(f"authorities/{column}")).tolist()


def _promote_keys(state: State, earlier_boundary: int) -> None:
    """Replacement keys that are old enough by now take their places."""
    for row in _rows_with(state, "next_registered_at"):
        if int(state.read("authorities/next_registered_at", row)) < earlier_boundary:
            _promote_key(state, row)


def _promote_key(state: State, row: int) -> None:
    state.write("authorities/authority_key", row, state.read("authorities/next_key", row))
    state.write("authorities/registered_at", row, state.read("authorities/next_registered_at", row))
    state.write("authorities/next_key", row, 0)
    state.write("authorities/next_registered_at", row, 0)


def _note_boundary_stakes(state: State) -> None:
    known = state.array("authorities/boundary_stake")
    for hotkey, row in state.key_table(AUTHORITIES).items():
        stake = hotkey_stake(state, ROOT, hotkey)
        if stake != known.item(row):
            state.write("authorities/boundary_stake", row, stake)
