"""The author of a block: the proposer's coldkey, which gets transaction and swap fees (DESIGN decision 7, DTAO 14)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...types import AccountId
from ..interface import BlockContext
from .balances import burn, can_receive, credit
from .era_sets import NO_HOTKEY, era_hotkeys
from .stakes import hotkey_owner

if TYPE_CHECKING:
    from ...state.state import State


def author_coldkey(state: State, ctx: BlockContext) -> AccountId | None:
    """Owner of the proposing authority's hotkey; None when that hotkey is not known any more."""
    hotkeys = era_hotkeys(state, ctx.era)
    author = hotkeys[ctx.proposer_index] if hotkeys else NO_HOTKEY
    # Anybody may associate the account of all zeros: owning it must not mean owning what belongs to nobody.
    return None if author == NO_HOTKEY else hotkey_owner(state, author)


def pay_author(state: State, ctx: BlockContext, amount: int) -> None:
    """Give the author rao that were taken from somebody; what would not keep its account alive is burned."""
    if not amount:
        return
    coldkey = author_coldkey(state, ctx)
    if coldkey is not None and can_receive(state, coldkey, amount, ctx.spec.existential_deposit):
        credit(state, coldkey, amount)
    else:
        burn(state, amount)
