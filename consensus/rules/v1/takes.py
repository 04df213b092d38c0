"""Delegate takes: what a hotkey's owner keeps of its dividends (DTAO 7.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .schema_tables import HOTKEYS

if TYPE_CHECKING:
    from ...state.state import State

DEFAULT_TAKE: Final = 11_796
"""Of 65535, 18 %: the take of a hotkey that never chose one."""


def delegate_take(state: State, hotkey: bytes) -> int:
    """A hotkey's take in parts of 65535."""
    row = state.key_table(HOTKEYS).find(hotkey)
    stored = 0 if row is None else int(state.read("hotkeys/take", row))
    return stored - 1 if stored else DEFAULT_TAKE


def set_delegate_take(state: State, hotkey: bytes, take: int) -> None:
    """Store a known hotkey's take."""
    row = state.key_table(HOTKEYS).find(hotkey)
    assert row is not None, "the caller has checked the hotkey"
    state.write("hotkeys/take", row, take + 1)


def become_delegate(state: State, hotkey: bytes) -> None:
    """Fix the present take of a hotkey that has none of its own."""
    set_delegate_take(state, hotkey, delegate_take(state, hotkey))
