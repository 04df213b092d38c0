"""The list of coldkeys with root stake from which auto-claim draws, and what a coldkey chose about claims (DTAO 4.6).

The list is dense: a newcomer is appended, the last one takes the place of one that leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...types import AccountId
from .schema_tables import COLDKEYS, ROOT_INDEX

if TYPE_CHECKING:
    from ...state.state import State


def fill_root_index(state: State, coldkeys: Sequence[bytes]) -> None:
    """Write the whole list in the genesis state."""
    state.resize(ROOT_INDEX.name, len(coldkeys))
    if not coldkeys:
        return
    packed = np.frombuffer(b"".join(coldkeys), dtype=np.uint8).reshape(-1, 32)
    state.write(ROOT_INDEX.name, slice(0, len(coldkeys)), packed)
    table = state.key_table(COLDKEYS)
    for place, coldkey in enumerate(coldkeys):
        state.write("coldkeys/root_index", table.open(coldkey), place + 1)


def root_holders(state: State) -> int:
    """Length of the list."""
    return state.rows(ROOT_INDEX.name)


def root_holder(state: State, place: int) -> AccountId | None:
    """The coldkey at a place of the list, or None behind its end."""
    if place >= state.rows(ROOT_INDEX.name):
        return None
    return AccountId(state.read(ROOT_INDEX.name, place).tobytes())


def add_root_holder(state: State, coldkey: bytes) -> None:
    """Append a coldkey, unless it is there."""
    row = state.key_table(COLDKEYS).open(coldkey)
    if state.read("coldkeys/root_index", row):
        return
    place = state.append(ROOT_INDEX.name, np.frombuffer(coldkey, dtype=np.uint8))
    state.write("coldkeys/root_index", row, place + 1)


def remove_root_holder(state: State, coldkey: bytes) -> None:
    """Take a coldkey from the list, if it is there; the last one moves to its place."""
    table = state.key_table(COLDKEYS)
    row = table.find(coldkey)
    place = 0 if row is None else int(state.read("coldkeys/root_index", row))
    if row is None or place == 0:
        return
    last = state.rows(ROOT_INDEX.name) - 1
    moved = state.read(ROOT_INDEX.name, last).tobytes()
    if moved != coldkey:
        state.write(ROOT_INDEX.name, place - 1, np.frombuffer(moved, dtype=np.uint8))
        state.write("coldkeys/root_index", table.open(moved), place)
    state.resize(ROOT_INDEX.name, last)
    state.write("coldkeys/root_index", row, 0)
