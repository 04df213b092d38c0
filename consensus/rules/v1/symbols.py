"""Symbols of subnet tokens: the list that subnets choose from, in the order they are given out (DTAO 8.1, 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from ...state.state import State


def _letters(first: str, last: str) -> list[str]:
    return [chr(code) for code in range(ord(first), ord(last) + 1)]


SYMBOLS: Final[tuple[str, ...]] = (
    "τ",  # root
    *(letter for letter in _letters("α", "ω") if letter not in "ςτ"),
    *_letters("א", "ת"),
    *_letters("ა", "ჰ"),
    *_letters("ա", "ֆ"),
    *_letters("а", "я"),
)
"""τ is root's; Greek first, then Hebrew, Georgian, Armenian and Cyrillic letters."""

_BYTES: Final = {symbol.encode(): number for number, symbol in enumerate(SYMBOLS)}


def symbol_of(state: State, netuid: int) -> str:
    """The symbol of a subnet's token."""
    return SYMBOLS[int(state.read("subnets/symbol", netuid)) % len(SYMBOLS)]


def symbol_number(symbol: bytes) -> int | None:
    """Index of a symbol given as UTF-8, or None for one that is not in the list."""
    return _BYTES.get(symbol)


def used_symbols(state: State) -> list[int]:
    """Symbols that subnets have, root's included."""
    exists = np.flatnonzero(state.array("subnets/exists"))
    return [0, *state.array("subnets/symbol")[exists].tolist()]


def next_symbol(state: State) -> int:
    """The first symbol that no subnet has; α again when all are taken."""
    used = used_symbols(state)
    return next((number for number in range(1, len(SYMBOLS)) if number not in used), 1)
