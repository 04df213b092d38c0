"""Renaming rows of keyed tables: what swaps of keys are made of (DTAO 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...state.state import State


def move_row(state: State, table: str, old: bytes, new: bytes) -> None:
    """Let a row be found under another key, in place of one that is there; nothing happens without the old row."""
    keys = state.key_table(table)
    if keys.find(old) is not None:
        keys.rename(old, new)
