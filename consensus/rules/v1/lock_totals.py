"""Aggregates of locks on one subnet: each hotkey's perpetual and decaying ones, and the owner's two (DTAO 7.4)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ...fixed_point import U64F64, UQ64
from ...types import AccountId, Height
from .dtao.conviction import Lock, LockRates, rolled
from .dtao.units import Alpha
from .schema_tables import LOCK_TOTALS, OF_NETUID
from .subnets import global_parameter, owner_hotkey

if TYPE_CHECKING:
    from ...state.state import State

OWNER: Final = 2
"""Bit of a kind: locks on the subnet owner's hotkey."""

DECAYING: Final = 1
"""Bit of a kind: locks that bleed out."""

NO_HOTKEY: Final = AccountId(bytes(32))


def lock_rates(state: State) -> LockRates:
    """Time constants of all locks."""
    return LockRates(global_parameter(state, "unlock_rate"), global_parameter(state, "maturity_rate"))


def total_key(state: State, netuid: int, hotkey: bytes, *, perpetual: bool) -> bytes:
    """Key of the aggregate to which a lock on `hotkey` belongs."""
    is_owner = hotkey == owner_hotkey(state, netuid)
    kind = (OWNER if is_owner else 0) | (0 if perpetual else DECAYING)
    return netuid.to_bytes(2, "big") + bytes([kind]) + (NO_HOTKEY if is_owner else bytes(hotkey))


def read_total(state: State, key: bytes, height: int) -> Lock:
    """An aggregate as stored; an empty one of now where there is none."""
    row = state.key_table(LOCK_TOTALS).find(key)
    if row is None:
        return Lock(Alpha(0), U64F64(0), Height(height))
    return Lock(
        Alpha(int(state.read("lock_totals/mass", row))),
        U64F64(state.read_wide("lock_totals/conviction", row)),
        Height(int(state.read("lock_totals/last", row))),
    )


def write_total(state: State, key: bytes, total: Lock) -> None:
    """Store an aggregate; an empty one has no row."""
    table = state.key_table(LOCK_TOTALS)
    if total.mass == 0 and total.conviction == 0:
        if table.find(key) is not None:
            table.release(key)
        return
    row = table.open(key)
    state.write("lock_totals/mass", row, total.mass)
    state.write_wide("lock_totals/conviction", row, total.conviction)
    state.write("lock_totals/last", row, total.last)


def rolled_total(state: State, key: bytes, height: int) -> Lock:
    """An aggregate as of now, by the formulas of a single lock; nothing is written."""
    kind = key[2]
    return rolled(
        read_total(state, key, height),
        Height(height),
        lock_rates(state),
        perpetual=not kind & DECAYING,
        owner=bool(kind & OWNER),
    )


def add_to_total(state: State, key: bytes, mass: int, conviction: int, height: int) -> None:
    """Bring an aggregate to now and add to it."""
    total = rolled_total(state, key, height)
    more = UQ64.add(total.conviction, U64F64(conviction))
    write_total(state, key, Lock(Alpha(total.mass + mass), more, Height(height)))


def take_from_total(state: State, key: bytes, mass: int, conviction: int, height: int) -> None:
    """Bring an aggregate to now and take from it, down to nothing."""
    total = rolled_total(state, key, height)
    less = UQ64.sub(total.conviction, U64F64(conviction))
    write_total(state, key, Lock(Alpha(max(total.mass - mass, 0)), less, Height(height)))


def note_decrease(state: State, key: bytes, mass: int, conviction: int, height: int) -> None:
    """A single lock was brought to now and lost `mass` and `conviction`.

    A loss is taken from the aggregate as it stands, which is then dated now; without a loss it is brought to now. So a
    decaying lock's growth of conviction is lost from the aggregate each time it is rolled (DTAO 13.31).
    """
    if mass == 0 and conviction == 0:
        write_total(state, key, rolled_total(state, key, height))
        return
    total = read_total(state, key, height)
    less = UQ64.sub(total.conviction, U64F64(conviction))
    write_total(state, key, Lock(Alpha(max(total.mass - mass, 0)), less, Height(height)))


def totals_of_subnet(state: State, netuid: int) -> list[bytes]:
    """Keys of all aggregates of a subnet, ascending."""
    return state.key_table(LOCK_TOTALS).matching(OF_NETUID, netuid.to_bytes(2, "big"))


def rename_totals(state: State, netuid: int, source: tuple[int, bytes], target: tuple[int, bytes], height: int) -> None:
    """Let both aggregates of a hotkey, (OWNER or 0, hotkey), become those of another one, joined with what is there."""
    for decaying in (0, DECAYING):
        prefix = netuid.to_bytes(2, "big")
        old, new = (prefix + bytes([bit | decaying]) + bytes(hotkey) for bit, hotkey in (source, target))
        total = rolled_total(state, old, height)
        write_total(state, old, Lock(Alpha(0), U64F64(0), Height(height)))
        conviction = UQ64.from_int(total.mass) if target[0] & OWNER else total.conviction
        if total.mass or conviction:
            add_to_total(state, new, total.mass, replace(total, conviction=conviction).conviction, height)
