"""Stake behind hotkeys in share pools: who holds how much on which subnet (DTAO 6.1), and who owns a hotkey.

On root (netuid 0) a unit of stake is a rao, on a subnet a unit of its alpha. `stakes` holds the pools by (netuid,
hotkey), `positions` the share of each coldkey. Only shares and pool values move here: reserves, `alpha_out` and TAO are
the caller's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ...types import AccountId
from .dtao.safe_float import ZERO, SafeFloat
from .dtao.share_pool import SharePool, decrease, grow, holding, increase, precise_enough
from .dtao.units import Alpha
from .schema_tables import HOLDERS, HOTKEYS, OF_COLDKEY, OF_NETUID_COLDKEY, POSITIONS, STAKES

if TYPE_CHECKING:
    from ...state.state import State

ROOT: Final = 0
"""Netuid of the root subnet, whose stake is TAO."""


def stake_key(netuid: int, hotkey: bytes) -> bytes:
    """Key of `stakes`, and of every table by netuid and one account."""
    return netuid.to_bytes(2, "big") + hotkey


def position_key(netuid: int, hotkey: bytes, coldkey: bytes) -> bytes:
    """Key of `positions`, and of every table by netuid and two accounts."""
    return netuid.to_bytes(2, "big") + hotkey + coldkey


# --- reading ----------------------------------------------------------------------------------------------------------


def hotkey_stake(state: State, netuid: int, hotkey: bytes) -> int:
    """TotalHotkeyAlpha: all stake behind a hotkey on one subnet."""
    row = state.key_table(STAKES).find(stake_key(netuid, hotkey))
    return 0 if row is None else int(state.read("stakes/amount", row))


def share_pool(state: State, netuid: int, hotkey: bytes) -> SharePool:
    """The pool of a hotkey on a subnet; empty where there is none."""
    row = state.key_table(STAKES).find(stake_key(netuid, hotkey))
    return SharePool() if row is None else _read_pool(state, row)


def share(state: State, netuid: int, hotkey: bytes, coldkey: bytes) -> SafeFloat:
    """A coldkey's share of a pool; zero where it has none."""
    row = state.key_table(POSITIONS).find(position_key(netuid, hotkey, coldkey))
    return ZERO if row is None else _read_float(state, "positions/share", row)


def position(state: State, netuid: int, hotkey: bytes, coldkey: bytes) -> int:
    """One coldkey's stake behind a hotkey on one subnet."""
    row = state.key_table(POSITIONS).find(position_key(netuid, hotkey, coldkey))
    if row is None:
        return 0
    return holding(share_pool(state, netuid, hotkey), _read_float(state, "positions/share", row))


def has_position(state: State, netuid: int, hotkey: bytes, coldkey: bytes) -> bool:
    """Whether the coldkey has a share, be it worth nothing."""
    return state.key_table(POSITIONS).find(position_key(netuid, hotkey, coldkey)) is not None


def positions_of_hotkey(state: State, netuid: int, hotkey: bytes) -> list[tuple[AccountId, int]]:
    """(coldkey, stake) of everybody with a share behind a hotkey, in coldkey order."""
    pool = share_pool(state, netuid, hotkey)
    table = state.key_table(POSITIONS)
    found: list[tuple[AccountId, int]] = []
    for key in table.matching(HOLDERS, stake_key(netuid, hotkey)):
        row = table.find(key)
        assert row is not None
        found.append((AccountId(key[34:]), holding(pool, _read_float(state, "positions/share", row))))
    return found


def shares_of_hotkey(state: State, netuid: int, hotkey: bytes, most: int) -> tuple[tuple[AccountId, SafeFloat], ...]:
    """(coldkey, share) of the first `most` holders behind a hotkey, in coldkey order."""
    table = state.key_table(POSITIONS)
    found = []
    for key in table.matching(HOLDERS, stake_key(netuid, hotkey))[:most]:
        row = table.find(key)
        assert row is not None
        found.append((AccountId(key[34:]), _read_float(state, "positions/share", row)))
    return tuple(found)


def positions_of_coldkey(state: State, coldkey: bytes) -> list[tuple[int, AccountId, int]]:
    """(netuid, hotkey, stake) of every share a coldkey has, by netuid, then hotkey."""
    keys = state.key_table(POSITIONS).matching(OF_COLDKEY, bytes(coldkey))
    netuids_and_hotkeys = [(int.from_bytes(key[:2], "big"), AccountId(key[2:34])) for key in keys]
    return [(netuid, hotkey, position(state, netuid, hotkey, coldkey)) for netuid, hotkey in netuids_and_hotkeys]


def positions_on_subnet(state: State, netuid: int, coldkey: bytes) -> list[tuple[AccountId, int]]:
    """(hotkey, stake) of every share a coldkey has on one subnet, in hotkey order."""
    keys = state.key_table(POSITIONS).matching(OF_NETUID_COLDKEY, netuid.to_bytes(2, "big") + coldkey)
    return [(AccountId(key[2:34]), position(state, netuid, key[2:34], coldkey)) for key in keys]


def count_positions(state: State, netuid: int, coldkey: bytes) -> int:
    """How many hotkeys of a subnet a coldkey has stake on."""
    return state.key_table(POSITIONS).count(OF_NETUID_COLDKEY, netuid.to_bytes(2, "big") + coldkey)


def coldkey_alpha(state: State, netuid: int, coldkey: bytes) -> int:
    """All stake of a coldkey on one subnet, over its hotkeys."""
    return sum(held for _, held in positions_on_subnet(state, netuid, coldkey))


def staking_hotkeys(state: State, coldkey: bytes) -> list[AccountId]:
    """Hotkeys behind which a coldkey has a share anywhere, in hotkey order (StakingHotkeys, DESIGN decision 3)."""
    keys = state.key_table(POSITIONS).matching(OF_COLDKEY, bytes(coldkey))
    return sorted(dict.fromkeys(AccountId(key[2:34]) for key in keys))


def enough_precision(state: State, netuid: int, hotkey: bytes, amount: int) -> bool:
    """Whether a purchase of `amount` gives any share at all (DTAO 6.1, "precise enough")."""
    return precise_enough(share_pool(state, netuid, hotkey), Alpha(amount))


# --- changing ---------------------------------------------------------------------------------------------------------


def increase_position(state: State, netuid: int, hotkey: bytes, coldkey: bytes, amount: int) -> None:
    """`one(c, +u)`: the coldkey buys in; the caller took the stake from somewhere or minted it."""
    if amount == 0:
        return
    pool_row = state.key_table(STAKES).open(stake_key(netuid, hotkey))
    row = state.key_table(POSITIONS).open(position_key(netuid, hotkey, coldkey))
    before, held = _read_pool(state, pool_row), _read_float(state, "positions/share", row)
    pool, bought = increase(before, held, Alpha(amount))
    _write_pool(state, pool_row, pool, before)
    if bought == ZERO:
        state.key_table(POSITIONS).release(position_key(netuid, hotkey, coldkey))
    else:
        _write_float(state, "positions/share", row, bought, held)


def decrease_position(state: State, netuid: int, hotkey: bytes, coldkey: bytes, amount: int) -> None:
    """`one(c, -u)`: nothing happens when the coldkey holds less. What becomes exactly zero is deleted."""
    positions, stakes = state.key_table(POSITIONS), state.key_table(STAKES)
    key, pool_key = position_key(netuid, hotkey, coldkey), stake_key(netuid, hotkey)
    row, pool_row = positions.find(key), stakes.find(pool_key)
    if amount == 0 or row is None or pool_row is None:
        return
    before, held = _read_pool(state, pool_row), _read_float(state, "positions/share", row)
    pool, left = decrease(before, held, Alpha(amount))
    if left == ZERO:
        positions.release(key)
    else:
        _write_float(state, "positions/share", row, left, held)
    if pool == SharePool():
        stakes.release(pool_key)
    else:
        _write_pool(state, pool_row, pool, before)


def grow_stake(state: State, netuid: int, hotkey: bytes, amount: int) -> None:
    """`all(u)`: everybody behind the hotkey grows in proportion; how nominators are paid."""
    if amount == 0:
        return
    row = state.key_table(STAKES).open(stake_key(netuid, hotkey))
    state.write("stakes/amount", row, grow(SharePool(Alpha(int(state.read("stakes/amount", row)))), amount).value)


def remove_share_pool(state: State, netuid: int, hotkey: bytes) -> None:
    """Forget a hotkey's pool on a subnet, if there is one."""
    if state.key_table(STAKES).find(stake_key(netuid, hotkey)) is not None:
        state.key_table(STAKES).release(stake_key(netuid, hotkey))


def shares_of_cut(holders: list[tuple[AccountId, int]], amount: int) -> list[tuple[AccountId, int]]:
    """`amount` (or all there is) taken from a hotkey's holders in proportion: (coldkey, part > 0).

    Each part floors; what is missing comes from the holders in coldkey order, one unit after another's last.
    """
    total = sum(held for _, held in holders)
    amount = min(amount, total)
    if amount == 0:
        return []
    parts = [held * amount // total for _, held in holders]
    missing = amount - sum(parts)
    for index, (_, held) in enumerate(holders):
        more = min(missing, held - parts[index])
        parts[index] += more
        missing -= more
    return [(coldkey, part) for (coldkey, _), part in zip(holders, parts, strict=True) if part]


def _read_pool(state: State, row: int) -> SharePool:
    return SharePool(Alpha(int(state.read("stakes/amount", row))), _read_float(state, "stakes/shares", row))


def _write_pool(state: State, row: int, pool: SharePool, before: SharePool) -> None:
    state.write("stakes/amount", row, pool.value)
    _write_float(state, "stakes/shares", row, pool.denominator, before.denominator)


def _read_float(state: State, name: str, row: int) -> SafeFloat:
    return SafeFloat(state.read_wide(f"{name}_mantissa", row), state.read(f"{name}_exponent", row))


def _write_float(state: State, name: str, row: int, value: SafeFloat, before: SafeFloat) -> None:
    """Store a share; the exponent, which seldom moves, only when it is another one."""
    state.write_wide(f"{name}_mantissa", row, value.mantissa)
    if value.exponent != before.exponent:
        state.write(f"{name}_exponent", row, value.exponent)


# --- hotkeys ----------------------------------------------------------------------------------------------------------


def hotkey_owner(state: State, hotkey: bytes) -> AccountId | None:
    """Coldkey that owns a hotkey, or None for an unknown one."""
    row = state.key_table(HOTKEYS).find(hotkey)
    return None if row is None else AccountId(state.read_bytes("hotkeys/owner", row))


def owned_hotkeys(state: State, coldkey: bytes) -> list[AccountId]:
    """Hotkeys a coldkey owns, in hotkey order (OwnedHotkeys)."""
    owners = state.array("hotkeys/owner")
    used = state.array("hotkeys/used").astype(np.bool_)
    rows = np.flatnonzero(used & (owners == np.frombuffer(coldkey, dtype=np.uint8)).all(axis=1)).tolist()
    table = state.key_table(HOTKEYS)
    return sorted(AccountId(table.key(row)) for row in rows)


def associate_hotkey(state: State, hotkey: bytes, coldkey: bytes) -> bool:
    """Make `coldkey` the owner of a hotkey that has none; gives whether it did."""
    table = state.key_table(HOTKEYS)
    if table.find(hotkey) is not None:
        return False
    row = table.open(hotkey)
    state.write("hotkeys/owner", row, np.frombuffer(coldkey, dtype=np.uint8))
    return True
