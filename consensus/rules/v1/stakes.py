"""Stake as a plain balance: who holds how much behind which hotkey on which subnet (issue scope: no pools yet).

On root (netuid 0) a unit of stake is a rao. On a subnet it is a unit of that subnet's token: bought one to one with TAO
that goes to the subnet's reserve, earned as emission, and sold back as far as the reserve lasts. `stakes` holds totals
by (netuid, hotkey), `positions` what each coldkey has of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from ...types import AccountId
from .schema import HOTKEYS, POSITIONS, STAKES

if TYPE_CHECKING:
    from ...state.state import State

ROOT: Final = 0
"""Netuid of the root subnet, whose stake is TAO."""


MAX_SUPPLY: Final = 21_000_000 * 10**9
"""Cap of TAO and of every subnet's token in their units of 1e-9 (DTAO section 1). Emission and the faucet stop there,
which keeps every sum of stakes far below 2^63."""


def stake_key(netuid: int, hotkey: bytes) -> bytes:
    """Key of `stakes`."""
    return netuid.to_bytes(2, "big") + hotkey


def position_key(netuid: int, hotkey: bytes, coldkey: bytes) -> bytes:
    """Key of `positions`."""
    return netuid.to_bytes(2, "big") + hotkey + coldkey


def hotkey_stake(state: State, netuid: int, hotkey: bytes) -> int:
    """All stake behind a hotkey on one subnet."""
    row = state.key_table(STAKES).find(stake_key(netuid, hotkey))
    return 0 if row is None else int(state.read("stakes/amount", row))


def position(state: State, netuid: int, hotkey: bytes, coldkey: bytes) -> int:
    """One coldkey's stake behind a hotkey on one subnet."""
    row = state.key_table(POSITIONS).find(position_key(netuid, hotkey, coldkey))
    return 0 if row is None else int(state.read("positions/amount", row))


def increase_position(state: State, netuid: int, hotkey: bytes, coldkey: bytes, amount: int) -> None:
    """Add stake; the caller took it from somewhere or minted it."""
    if amount == 0:
        return
    row = state.key_table(POSITIONS).open(position_key(netuid, hotkey, coldkey))
    state.add("positions/amount", row, amount)
    state.add("stakes/amount", state.key_table(STAKES).open(stake_key(netuid, hotkey)), amount)
    state.add("subnets/stake", netuid, amount)


def decrease_position(state: State, netuid: int, hotkey: bytes, coldkey: bytes, amount: int) -> None:
    """Take stake the position is known to have; empty rows are released."""
    _subtract(state, POSITIONS, position_key(netuid, hotkey, coldkey), amount)
    _subtract(state, STAKES, stake_key(netuid, hotkey), amount)
    state.add("subnets/stake", netuid, -amount)


def _subtract(state: State, table: str, key: bytes, amount: int) -> None:
    row = state.key_table(table).open(key)
    left = int(state.read(f"{table}/amount", row)) - amount
    if left:
        state.write(f"{table}/amount", row, left)
    else:
        state.key_table(table).release(key)


def positions_of_hotkey(state: State, netuid: int, hotkey: bytes) -> list[tuple[AccountId, int]]:
    """(coldkey, amount) of everybody behind a hotkey, in coldkey order. Reads the whole table: for rare events only."""
    prefix = stake_key(netuid, hotkey)
    return [
        (AccountId(key[34:]), int(state.read("positions/amount", row)))
        for key, row in state.key_table(POSITIONS).items()
        if key.startswith(prefix)
    ]


def cut_hotkey_stake(state: State, netuid: int, hotkey: bytes, amount: int) -> int:
    """Take `amount` (or all there is) from a hotkey's holders in proportion; gives what was taken.

    Each share floors; what is missing comes from the holders in coldkey order, one unit after another's last.
    """
    holders = positions_of_hotkey(state, netuid, hotkey)
    total = sum(held for _, held in holders)
    amount = min(amount, total)
    if amount == 0:
        return 0
    shares = [held * amount // total for _, held in holders]
    missing = amount - sum(shares)
    for index, (_, held) in enumerate(holders):
        more = min(missing, held - shares[index])
        shares[index] += more
        missing -= more
    for (coldkey, _), share in zip(holders, shares, strict=True):
        if share:
            decrease_position(state, netuid, hotkey, coldkey, share)
    return amount


def credit_owners(state: State, netuid: int, credits: Sequence[tuple[bytes, bytes, int]]) -> None:
    """Add emission to many positions at once: (hotkey, its owner, amount > 0), each hotkey once.

    The same as `increase_position` for each, with one write per column.
    """
    positions, stakes = state.key_table(POSITIONS), state.key_table(STAKES)
    amounts = [amount for _, _, amount in credits]
    _add_many(state, "positions/amount", [positions.open(position_key(netuid, h, c)) for h, c, _ in credits], amounts)
    _add_many(state, "stakes/amount", [stakes.open(stake_key(netuid, hotkey)) for hotkey, _, _ in credits], amounts)
    state.add("subnets/stake", netuid, sum(amounts))


def _add_many(state: State, column: str, rows: list[int], amounts: list[int]) -> None:
    order = np.argsort(np.array(rows, dtype=np.int64), kind="stable")
    ascending = np.array(rows, dtype=np.int64)[order]
    added = np.array(amounts, dtype=np.uint64)[order]
    state.write(column, ascending, state.array(column)[ascending] + added)


# --- hotkeys ----------------------------------------------------------------------------------------------------------


def hotkey_owner(state: State, hotkey: bytes) -> AccountId | None:
    """Coldkey that owns a hotkey, or None for an unknown one."""
    row = state.key_table(HOTKEYS).find(hotkey)
    return None if row is None else AccountId(state.read("hotkeys/owner", row).tobytes())


def associate_hotkey(state: State, hotkey: bytes, coldkey: bytes) -> bool:
    """Make `coldkey` the owner of a hotkey that has none; gives whether it did."""
    table = state.key_table(HOTKEYS)
    if table.find(hotkey) is not None:
        return False
    row = table.open(hotkey)
    state.write("hotkeys/owner", row, np.frombuffer(coldkey, dtype=np.uint8))
    return True
