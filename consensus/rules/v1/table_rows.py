"""Renaming rows of keyed tables: what swaps of keys are made of (DTAO 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...state.state import State


def move_row(state: State, table: str, old: bytes, new: bytes) -> None:
    """Let a row be found under another key, in place of one that is there; nothing happens without the old row."""
    keys = state.key_table(table)
    source = keys.find(old)
    if source is None or old == new:
        return
    columns = [name for name in state.names(f"{table}/") if not name.endswith(("/key", "/used"))]
    values = [state.array(name)[source].copy() for name in columns]
    keys.release(old)
    target = keys.open(new)
    for name, value in zip(columns, values, strict=True):
        state.write(name, target, value if value.shape else int(value))
