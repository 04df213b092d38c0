"""Moving a coldkey's whole estate to another key, announced ahead so that it can be disputed (DTAO 9)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import numpy as np

from ...state.key_table import Part
from ...types import AccountId, Hash32
from .balances import credit, debit, free_balance
from .errors import CallError, ErrorCode
from .locks import is_perpetual, remove_lock, roll_lock, stored_lock, write_lock
from .records import NO_SUBNET, RecordTag, delete_record, get_record, put_record
from .root_index import remove_root_holder
from .root_stake import note_root_holder
from .schema_tables import (
    AUTO_STAKES,
    COLDKEYS,
    HOTKEYS,
    LOCKS,
    OF_COLDKEY,
    POSITIONS,
    ROOT_CLAIMED,
    SUBNET_SWAPS,
)
from .stakes import hotkey_owner, owned_hotkeys, position_key
from .table_rows import move_row

if TYPE_CHECKING:
    from ...state.state import State
    from .calls.call import Call

OF_ACCOUNT: Final[Part] = ((2, 34),)
"""Rows by netuid and coldkey, of one coldkey."""


def coldkey_hash(coldkey: bytes) -> Hash32:
    """BLAKE2b-256 of a coldkey: what an announcement names."""
    return Hash32(hashlib.blake2b(coldkey, digest_size=32).digest())


def announced_swap(state: State, coldkey: bytes) -> tuple[int, Hash32, bool] | None:
    """(height, hash of the new coldkey, disputed) of an announced swap, or None."""
    row = state.key_table(COLDKEYS).find(coldkey)
    at = 0 if row is None else int(state.read("coldkeys/swap_announced_at", row))
    if row is None or not at:
        return None
    named = Hash32(state.read("coldkeys/swap_hash", row).tobytes())
    return at, named, bool(state.read("coldkeys/swap_disputed", row))


def check_freeze(state: State, signer: bytes, call: Call) -> None:
    """While a swap is announced the account uses the calls about it only; disputed, none at all. Raises CallError."""
    announced = announced_swap(state, signer)
    if announced is None:
        return
    if announced[2]:
        raise CallError(ErrorCode.ColdkeySwapDisputed)
    if not call.during_swap:
        raise CallError(ErrorCode.ColdkeySwapAnnounced)


def store_announcement(state: State, coldkey: bytes, height: int, named: bytes) -> None:
    """Announce a swap, or another one in its place."""
    row = state.key_table(COLDKEYS).open(coldkey)
    state.write("coldkeys/swap_announced_at", row, height)
    state.write("coldkeys/swap_hash", row, np.frombuffer(named, dtype=np.uint8))


def clear_announcement(state: State, coldkey: bytes) -> None:
    """Forget an announced swap."""
    row = state.key_table(COLDKEYS).open(coldkey)
    for name in ("swap_announced_at", "swap_hash", "swap_disputed"):
        state.write(f"coldkeys/{name}", row, 0)


def check_target(state: State, old: AccountId, new: AccountId, height: int) -> None:
    """Whether a key may take over an estate; locks of it that have become dust are swept away. Raises CallError."""
    if new == old or state.key_table(POSITIONS).matching(OF_COLDKEY, bytes(new)):
        raise CallError(ErrorCode.ColdKeyAlreadyAssociated)
    if hotkey_owner(state, new) is not None:
        raise CallError(ErrorCode.NewColdKeyIsHotkey)
    for key in state.key_table(LOCKS).matching(OF_ACCOUNT, bytes(new)):
        if roll_lock(state, int.from_bytes(key[:2], "big"), new, height) is not None:
            raise CallError(ErrorCode.ActiveLockExists)


def move_estate(state: State, old: AccountId, new: AccountId) -> None:
    """Subnets, hotkeys, stake, claims, locks, choices, identity and the whole balance of a coldkey."""
    replacement = np.frombuffer(new, dtype=np.uint8)
    for netuid in np.flatnonzero(state.array("subnets/exists")).tolist():
        if netuid and state.read("subnets/owner", netuid).tobytes() == old:
            state.write("subnets/owner", netuid, replacement)
    for hotkey in owned_hotkeys(state, old):
        row = state.key_table(HOTKEYS).find(hotkey)
        assert row is not None
        state.write("hotkeys/owner", row, replacement)
    claimed = state.key_table(ROOT_CLAIMED)
    for key in claimed.matching(OF_COLDKEY, bytes(new)):  # of stake that has left: it must not count against the estate
        claimed.release(key)
    for table in (POSITIONS, ROOT_CLAIMED):
        for key in state.key_table(table).matching(OF_COLDKEY, bytes(old)):
            move_row(state, table, key, position_key(int.from_bytes(key[:2], "big"), key[2:34], new))
    _move_locks(state, old, new)
    _move_place_in_root_index(state, old, new)
    for table in (AUTO_STAKES, SUBNET_SWAPS):
        for key in state.key_table(table).matching(OF_ACCOUNT, bytes(old)):
            move_row(state, table, key, key[:2] + new)
    for tag in (RecordTag.IDENTITY, RecordTag.CLAIM_SUBNETS):
        data = get_record(state, tag, NO_SUBNET, old)
        if data is not None:
            delete_record(state, tag, NO_SUBNET, old)
            put_record(state, tag, NO_SUBNET, new, data)
    _move_choices(state, old, new)
    everything = free_balance(state, old)
    debit(state, old, everything)
    credit(state, new, everything)


def _move_locks(state: State, old: AccountId, new: AccountId) -> None:
    """Locks keep their hotkeys, so that the aggregates stay as they are; a mere choice of mode moves too."""
    for key in state.key_table(LOCKS).matching(OF_ACCOUNT, bytes(old)):
        netuid = int.from_bytes(key[:2], "big")
        held = stored_lock(state, netuid, old)
        if held is None:
            if is_perpetual(state, netuid, old):
                move_row(state, LOCKS, key, key[:2] + new)
            continue
        remove_lock(state, netuid, old)
        write_lock(state, netuid, new, held)


def _move_place_in_root_index(state: State, old: AccountId, new: AccountId) -> None:
    """Whoever holds the root stake now is drawn for auto-claim, also where the old key was not yet listed."""
    remove_root_holder(state, old)
    note_root_holder(state, new)


def _move_choices(state: State, old: AccountId, new: AccountId) -> None:
    """What a coldkey chose. The announcement is done with."""
    table = state.key_table(COLDKEYS)
    source, target = table.open(old), table.open(new)
    for name in ("claim_type", "takes_locked_alpha", "hotkey_swapped_at"):
        state.write(f"coldkeys/{name}", target, state.read(f"coldkeys/{name}", source))
        state.write(f"coldkeys/{name}", source, 0)
    clear_announcement(state, old)
