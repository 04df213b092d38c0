"""Giving a hotkey another name: everything of it on one subnet, or on all, moves to the new key (DTAO 9, YUMA 6.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ...state.key_table import Part
from ...types import AccountId
from .children import pending_children, store_pending_children
from .dtao.distribution import Relation
from .errors import CallError, ErrorCode
from .lock_totals import NO_HOTKEY, OWNER, rename_totals
from .neurons import neuron_row, uid_of
from .records import RecordTag, delete_record, get_record, put_record, record_accounts
from .root_stake import OF_HOTKEY
from .schema_tables import (
    AUTO_STAKES,
    CHILDKEYS,
    HOLDERS,
    HOTKEY_SUBNETS,
    HOTKEYS,
    LOCKS,
    OF_CHILD,
    OF_PARENT,
    POSITIONS,
    ROOT_CLAIMED,
    ROOT_RATES,
    STAKES,
)
from .stakes import (
    ROOT,
    enough_precision,
    grow_stake,
    hotkey_stake,
    increase_position,
    position_key,
    positions_of_hotkey,
    remove_share_pool,
    stake_key,
)
from .subnets import owner_hotkey, parameter
from .table_rows import move_row
from .weight_commits import swap_commits

if TYPE_CHECKING:
    from ...state.state import State

_PUBLISHED: Final = (RecordTag.AXON, RecordTag.PROMETHEUS, RecordTag.CERTIFICATE)

OF_CLAIMANT_HOTKEY: Final[Part] = ((2, 34),)
"""Root claims under one hotkey, on all subnets."""


def is_touched(state: State, netuid: int, hotkey: bytes) -> bool:
    """Whether a hotkey is a member of a subnet or has children there: what a swap is counted for."""
    if uid_of(state, netuid, hotkey) is not None:
        return True
    return bool(state.key_table(CHILDKEYS).matching(OF_PARENT, stake_key(netuid, hotkey)))


def is_clean_for_root(state: State, hotkey: bytes) -> bool:
    """Whether a hotkey has no root stake, no root dividends and no claims on them."""
    return not (
        hotkey_stake(state, ROOT, hotkey)
        or state.key_table(ROOT_RATES).matching(OF_HOTKEY, bytes(hotkey))
        or state.key_table(ROOT_CLAIMED).matching(OF_CLAIMANT_HOTKEY, bytes(hotkey))
    )


def swap_on_subnet(state: State, netuid: int, old: AccountId, new: AccountId, height: int, *, keep_stake: bool) -> None:
    """Move everything of one subnet; root's claims go with the root stake."""
    _move_neuron(state, netuid, old, new)
    _move_edges(state, netuid, old, new)
    _move_pending(state, netuid, old, new)
    _move_links(state, netuid, old, new, height)
    if not keep_stake:
        _move_stake(state, netuid, old, new)
        if netuid == ROOT:
            _move_root_claims(state, old, new)


def swap_hotkey_itself(state: State, old: AccountId, new: AccountId) -> None:
    """What a hotkey has beside its subnets: take and choices. The old key stays its owner's."""
    table = state.key_table(HOTKEYS)
    source, target = table.find(old), table.find(new)
    assert source is not None and target is not None, "the caller has associated both"
    for name in ("take", "take_changed_at", "no_auto_parent"):
        state.write(f"hotkeys/{name}", target, state.read(f"hotkeys/{name}", source))
        state.write(f"hotkeys/{name}", source, 0)


def _move_neuron(state: State, netuid: int, old: AccountId, new: AccountId) -> None:
    """The uid with all its rows, what was published of where it is served, and hash commits."""
    uid = uid_of(state, netuid, old)
    if uid is not None:
        row = state.key_table(HOTKEYS).find(new)
        assert row is not None
        state.write("neurons/hotkey", neuron_row(netuid, uid), row + 1)
    for tag in (*_PUBLISHED, RecordTag.COMMITMENT):
        data = get_record(state, tag, netuid, old)
        if data is not None:
            delete_record(state, tag, netuid, old)
            put_record(state, tag, netuid, new, data)
    swap_commits(state, netuid, parameter(state, netuid, "mechanism_count"), old, new)
    move_row(state, HOTKEY_SUBNETS, stake_key(netuid, old), stake_key(netuid, new))
    if owner_hotkey(state, netuid) == old:
        state.write("subnets/owner_hotkey", netuid, np.frombuffer(new, dtype=np.uint8))


def _move_edges(state: State, netuid: int, old: AccountId, new: AccountId) -> None:
    """Child and parent edges; one between the two keys would lead from the new key to itself and is dropped.

    Children of the old key take the place of those the new key had: together they might be too many, or be given more
    than all. A child that is also a parent of the new key afterwards is dropped.
    """
    table = state.key_table(CHILDKEYS)
    if table.matching(OF_PARENT, stake_key(netuid, old)):
        for key in table.matching(OF_PARENT, stake_key(netuid, new)):
            if key[34:] != old:
                table.release(key)
    for key in table.matching(OF_PARENT, stake_key(netuid, old)):
        _rename_edge(state, key, position_key(netuid, new, key[34:]), drop=key[34:] == new)
    for key in table.matching(OF_CHILD, stake_key(netuid, old)):
        _rename_edge(state, key, position_key(netuid, key[2:34], new), drop=key[2:34] == new)
    parents = [key[2:34] for key in table.matching(OF_CHILD, stake_key(netuid, new))]
    for key in table.matching(OF_PARENT, stake_key(netuid, new)):
        if key[34:] in parents:
            table.release(key)


def _rename_edge(state: State, key: bytes, renamed: bytes, *, drop: bool) -> None:
    if drop:
        state.key_table(CHILDKEYS).release(key)
    else:
        move_row(state, CHILDKEYS, key, renamed)


def _move_pending(state: State, netuid: int, old: AccountId, new: AccountId) -> None:
    """Sets of children that wait: the key's own, and those of others that name it; one that would name its own parent
    or a child twice is dropped."""
    for parent in record_accounts(state, RecordTag.PENDING_CHILDREN, netuid):
        waiting = pending_children(state, netuid, parent)
        assert waiting is not None
        cooldown, children = waiting
        if parent != old and all(relation.hotkey != old for relation in children):
            continue
        delete_record(state, RecordTag.PENDING_CHILDREN, netuid, parent)
        owner = new if parent == old else parent
        renamed = [Relation(part, new if child == old else child) for part, child in children]
        named = [relation.hotkey for relation in renamed]
        if owner not in named and len(dict.fromkeys(named)) == len(named):
            store_pending_children(state, netuid, owner, cooldown, renamed)


def _move_links(state: State, netuid: int, old: AccountId, new: AccountId, height: int) -> None:
    """Automatic stake destinations, and locks with their aggregates."""
    replacement = np.frombuffer(new, dtype=np.uint8)
    for row in _rows_naming(state, AUTO_STAKES, netuid, old):
        state.write("auto_stakes/hotkey", row, replacement)
    for row in _rows_naming(state, LOCKS, netuid, old):
        state.write("locks/hotkey", row, replacement)
    rename_totals(state, netuid, (0, old), (0, new), height)
    if owner_hotkey(state, netuid) == new:  # what was locked on the new key counts for the owner from now on
        rename_totals(state, netuid, (0, new), (OWNER, NO_HOTKEY), height)


def _rows_naming(state: State, table: str, netuid: int, hotkey: bytes) -> list[int]:
    """Rows of one subnet that name a hotkey. Whole columns are compared: a subnet may have thousands of rows."""
    names = state.array(f"{table}/hotkey")
    rows = np.flatnonzero((names == np.frombuffer(hotkey, dtype=np.uint8)).all(axis=1)).tolist()
    keys, prefix = state.key_table(table), netuid.to_bytes(2, "big")
    return sorted((row for row in rows if keys.key(row)[:2] == prefix), key=keys.key)


def _move_stake(state: State, netuid: int, old: AccountId, new: AccountId) -> None:
    """Shares move as they are when nothing is behind the new key; otherwise holders buy in with their shares' worth.

    Raises CallError(InsufficientLiquidity) where the new key's pool is so odd that a purchase would give no share.
    """
    old_key, new_key = stake_key(netuid, old), stake_key(netuid, new)
    if state.key_table(STAKES).find(old_key) is None:
        return
    positions = state.key_table(POSITIONS)
    if hotkey_stake(state, netuid, new) == 0:
        for key in positions.matching(HOLDERS, new_key):  # shares that are worth nothing
            positions.release(key)
        move_row(state, STAKES, old_key, new_key)
        for key in positions.matching(HOLDERS, old_key):
            move_row(state, POSITIONS, key, position_key(netuid, new, key[34:]))
        return
    whole = hotkey_stake(state, netuid, old)
    moved = 0
    for coldkey, held in positions_of_hotkey(state, netuid, old):
        if held and not enough_precision(state, netuid, new, held):
            raise CallError(ErrorCode.InsufficientLiquidity)
        increase_position(state, netuid, new, coldkey, held)
        moved += held
    grow_stake(state, netuid, new, whole - moved)
    for key in positions.matching(HOLDERS, old_key):
        positions.release(key)
    remove_share_pool(state, netuid, old)


def _move_root_claims(state: State, old: AccountId, new: AccountId) -> None:
    """Rates and claims of every subnet follow the root stake; the new key is clean."""
    for key in state.key_table(ROOT_RATES).matching(OF_HOTKEY, bytes(old)):
        move_row(state, ROOT_RATES, key, key[:2] + new)
    for key in state.key_table(ROOT_CLAIMED).matching(OF_CLAIMANT_HOTKEY, bytes(old)):
        move_row(state, ROOT_CLAIMED, key, key[:2] + new + key[34:])
