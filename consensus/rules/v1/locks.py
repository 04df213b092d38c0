"""Locks on stake: a coldkey binds alpha of a subnet to a hotkey and gains conviction with time (DTAO 7.4).

One lock for each coldkey and subnet. It limits what the coldkey may take out over all its hotkeys there, and counts for
the hotkey in the contest for the subnet's ownership. A decaying lock bleeds out, a perpetual one stays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from ...fixed_point import U64F64, UQ64
from ...types import AccountId, Height
from .dtao.conviction import Lock, rolled
from .dtao.units import Alpha
from .errors import CallError, ErrorCode
from .lock_totals import add_to_total, lock_rates, note_decrease, take_from_total, total_key, totals_of_subnet
from .schema_tables import COLDKEYS, LOCK_TOTALS, LOCKS, OF_NETUID
from .stakes import coldkey_alpha, count_positions, has_position, hotkey_owner, stake_key
from .subnets import owner, owner_hotkey

if TYPE_CHECKING:
    from ...state.state import State


MAX_LOCKED_POSITIONS: Final = 256
"""Hotkeys of one subnet that a coldkey with a lock may stake on: each withdrawal adds them all up."""


@dataclass(frozen=True, slots=True)
class HeldLock:
    """One coldkey's lock on a subnet."""

    hotkey: AccountId
    lock: Lock
    perpetual: bool


# --- reading ----------------------------------------------------------------------------------------------------------


def is_perpetual(state: State, netuid: int, coldkey: bytes) -> bool:
    """Whether locks of the coldkey on the subnet keep their mass."""
    row = state.key_table(LOCKS).find(stake_key(netuid, coldkey))
    return row is not None and bool(state.read("locks/perpetual", row))


def stored_lock(state: State, netuid: int, coldkey: bytes) -> HeldLock | None:
    """The lock as stored, or None."""
    row = state.key_table(LOCKS).find(stake_key(netuid, coldkey))
    if row is None:
        return None
    mass = Alpha(int(state.read("locks/mass", row)))
    conviction = U64F64(state.read_wide("locks/conviction", row))
    if mass == 0 and conviction == 0:
        return None  # only the coldkey's choice of mode is kept
    hotkey = AccountId(state.read("locks/hotkey", row).tobytes())
    last = Height(int(state.read("locks/last", row)))
    return HeldLock(hotkey, Lock(mass, conviction, last), bool(state.read("locks/perpetual", row)))


def current_lock(state: State, netuid: int, coldkey: bytes, height: int) -> HeldLock | None:
    """The lock as of now; nothing is written."""
    held = stored_lock(state, netuid, coldkey)
    return None if held is None else replace(held, lock=_rolled(state, netuid, held, height))


def _rolled(state: State, netuid: int, held: HeldLock, height: int) -> Lock:
    is_owner = held.hotkey == owner_hotkey(state, netuid)
    return rolled(held.lock, Height(height), lock_rates(state), perpetual=held.perpetual, owner=is_owner)


def unlocked_alpha(state: State, netuid: int, coldkey: bytes, height: int) -> int:
    """Alpha that a coldkey may take out on a subnet, over all its hotkeys there."""
    held = current_lock(state, netuid, coldkey, height)
    return max(coldkey_alpha(state, netuid, coldkey) - (0 if held is None else held.lock.mass), 0)


def may_take_out(state: State, netuid: int, coldkey: bytes, alpha: int, height: int) -> bool:
    """Whether the lock leaves a coldkey this much of its stake on a subnet; without a lock nothing is added up."""
    if stored_lock(state, netuid, coldkey) is None:
        return True
    return unlocked_alpha(state, netuid, coldkey, height) >= alpha


def require_room(state: State, netuid: int, hotkey: bytes, coldkey: bytes) -> None:
    """Raise TooManyLockedPositions where a coldkey with a lock would stake on one hotkey more than can be added up."""
    if stored_lock(state, netuid, coldkey) is None or has_position(state, netuid, hotkey, coldkey):
        return
    if count_positions(state, netuid, coldkey) >= MAX_LOCKED_POSITIONS:
        raise CallError(ErrorCode.TooManyLockedPositions)


# --- changing ---------------------------------------------------------------------------------------------------------


def roll_lock(state: State, netuid: int, coldkey: bytes, height: int) -> HeldLock | None:
    """Bring a lock to now and its aggregate with it; one that has become dust is gone."""
    held = stored_lock(state, netuid, coldkey)
    if held is None:
        return None
    now = _rolled(state, netuid, held, height)
    if now.last != held.lock.last:
        key = total_key(state, netuid, held.hotkey, perpetual=held.perpetual)
        lost = max(held.lock.mass - now.mass, 0), max(held.lock.conviction - now.conviction, 0)
        note_decrease(state, key, *lost, height)
        _write(state, netuid, coldkey, replace(held, lock=now))
    return None if now.mass == 0 and now.conviction == 0 else replace(held, lock=now)


clean_up_lock = roll_lock
"""What trades do to their coldkey's lock: bring it to now, and forget it once it is dust (DTAO 6.2, 6.3)."""


def add_lock(state: State, netuid: int, coldkey: bytes, hotkey: AccountId, amount: int, height: int) -> None:
    """Lock more; the caller has checked the hotkey and the stake."""
    held = roll_lock(state, netuid, coldkey, height)
    perpetual = is_perpetual(state, netuid, coldkey)
    if held is None:
        held = HeldLock(hotkey, Lock(Alpha(0), U64F64(0), Height(height)), perpetual)
    gained = UQ64.from_int(amount) if hotkey == owner_hotkey(state, netuid) else U64F64(0)
    lock = Lock(Alpha(held.lock.mass + amount), UQ64.add(held.lock.conviction, gained), Height(height))
    _write(state, netuid, coldkey, replace(held, lock=lock))
    add_to_total(state, total_key(state, netuid, hotkey, perpetual=perpetual), amount, gained, height)


def reduce_lock(state: State, netuid: int, coldkey: bytes, amount: int, height: int) -> None:
    """Take mass from a lock without asking, and conviction in proportion."""
    held = roll_lock(state, netuid, coldkey, height)
    if held is not None:
        _take(state, netuid, coldkey, held, min(amount, held.lock.mass), height)


def _take(state: State, netuid: int, coldkey: bytes, held: HeldLock, mass: int, height: int) -> int:
    """Take mass from a lock of now; gives the conviction that went with it."""
    conviction = held.lock.conviction * mass // held.lock.mass if held.lock.mass else 0
    lock = Lock(Alpha(held.lock.mass - mass), U64F64(held.lock.conviction - conviction), Height(height))
    _write(state, netuid, coldkey, replace(held, lock=lock))
    take_from_total(state, total_key(state, netuid, held.hotkey, perpetual=held.perpetual), mass, conviction, height)
    return conviction


def move_lock(state: State, netuid: int, coldkey: bytes, held: HeldLock, hotkey: AccountId, height: int) -> None:
    """Bind a lock of now to another hotkey; conviction starts anew when that has another owner."""
    take_from_total(
        state,
        total_key(state, netuid, held.hotkey, perpetual=held.perpetual),
        held.lock.mass,
        held.lock.conviction,
        height,
    )
    same_owner = hotkey_owner(state, held.hotkey) == hotkey_owner(state, hotkey)
    conviction = held.lock.conviction if same_owner else U64F64(0)
    if hotkey == owner_hotkey(state, netuid):
        conviction = UQ64.from_int(held.lock.mass)
    lock = Lock(held.lock.mass, conviction, Height(height))
    _write(state, netuid, coldkey, HeldLock(hotkey, lock, held.perpetual))
    key = total_key(state, netuid, hotkey, perpetual=held.perpetual)
    add_to_total(state, key, lock.mass, lock.conviction, height)


def set_perpetual(state: State, netuid: int, coldkey: bytes, perpetual: bool, height: int) -> None:
    """Choose the mode of the coldkey's locks on a subnet; one that is there changes its aggregate."""
    held = roll_lock(state, netuid, coldkey, height)
    if held is not None and held.perpetual != perpetual:
        for mode, change in ((held.perpetual, take_from_total), (perpetual, add_to_total)):
            key = total_key(state, netuid, held.hotkey, perpetual=mode)
            change(state, key, held.lock.mass, held.lock.conviction, height)
        _write(state, netuid, coldkey, replace(held, perpetual=perpetual))
    elif held is None:
        table, key = state.key_table(LOCKS), stake_key(netuid, coldkey)
        if perpetual:
            state.write("locks/perpetual", table.open(key), 1)
        elif table.find(key) is not None:
            table.release(key)


def takes_locked_alpha(state: State, coldkey: bytes) -> bool:
    """Whether an account accepts transfers of locked stake; accounts do not unless they say so."""
    row = state.key_table(COLDKEYS).find(coldkey)
    return row is not None and bool(state.read("coldkeys/takes_locked_alpha", row))


def move_lock_for_transfer(
    state: State, netuid: int, source: AccountId, target: AccountId, alpha: int, height: int
) -> None:
    """Before stake goes to another coldkey on the same subnet: what free alpha does not cover takes its lock along.

    Raises CallError when the receiver rejects locked alpha or has a lock on another hotkey.
    """
    if source == target:
        return
    held = roll_lock(state, netuid, source, height)
    free = coldkey_alpha(state, netuid, source) - (0 if held is None else held.lock.mass)
    short = alpha - max(free, 0)
    if held is None or short <= 0:
        return
    if not takes_locked_alpha(state, target):
        raise CallError(ErrorCode.AccountRejectsLockedAlpha)
    theirs = roll_lock(state, netuid, target, height)
    if theirs is not None and theirs.hotkey != held.hotkey:
        raise CallError(ErrorCode.LockHotkeyMismatch)
    mass = min(short, held.lock.mass)
    conviction = _take(state, netuid, source, held, mass, height)
    perpetual = is_perpetual(state, netuid, target)
    before = Lock(Alpha(0), U64F64(0), Height(height)) if theirs is None else theirs.lock
    lock = Lock(Alpha(before.mass + mass), UQ64.add(before.conviction, U64F64(conviction)), Height(height))
    _write(state, netuid, target, HeldLock(held.hotkey, lock, perpetual))
    add_to_total(state, total_key(state, netuid, held.hotkey, perpetual=perpetual), mass, conviction, height)


def lock_owner_cut(state: State, netuid: int, amount: int, height: int) -> None:
    """Lock an owner's cut that was just paid (DTAO 4.5): where the owner's lock is bound, else on the owner's hotkey.

    As with `lock_stake` nothing is locked that the owner does not hold; the cut is then merely paid.
    """
    if amount == 0:
        return
    coldkey = owner(state, netuid)
    held = roll_lock(state, netuid, coldkey, height)
    hotkey, locked = (owner_hotkey(state, netuid), 0) if held is None else (held.hotkey, held.lock.mass)
    if coldkey_alpha(state, netuid, coldkey) >= locked + amount:
        add_lock(state, netuid, coldkey, hotkey, amount, height)


def remove_locks(state: State, netuid: int) -> None:
    """Forget all locks of a subnet and their aggregates."""
    locks = state.key_table(LOCKS)
    for key in locks.matching(OF_NETUID, netuid.to_bytes(2, "big")):
        locks.release(key)
    for key in totals_of_subnet(state, netuid):
        state.key_table(LOCK_TOTALS).release(key)


def write_lock(state: State, netuid: int, coldkey: bytes, held: HeldLock) -> None:
    """Store a lock as it is; aggregates are the caller's business (swaps of keys)."""
    _write(state, netuid, coldkey, held)


def remove_lock(state: State, netuid: int, coldkey: bytes) -> None:
    """Forget a lock row with the choice of its mode; aggregates are the caller's business."""
    if state.key_table(LOCKS).find(stake_key(netuid, coldkey)) is not None:
        state.key_table(LOCKS).release(stake_key(netuid, coldkey))


def _write(state: State, netuid: int, coldkey: bytes, held: HeldLock) -> None:
    """Store a lock; without mass and conviction only a choice of mode keeps its row."""
    table, key = state.key_table(LOCKS), stake_key(netuid, coldkey)
    gone = held.lock.mass == 0 and held.lock.conviction == 0
    if gone and not held.perpetual:
        if table.find(key) is not None:
            table.release(key)
        return
    row = table.open(key)
    hotkey = bytes(32) if gone else held.hotkey
    state.write("locks/hotkey", row, np.frombuffer(hotkey, dtype=np.uint8))
    state.write("locks/mass", row, held.lock.mass)
    state.write_wide("locks/conviction", row, held.lock.conviction)
    state.write("locks/last", row, 0 if gone else held.lock.last)
    state.write("locks/perpetual", row, int(held.perpetual))
