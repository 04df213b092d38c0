"""What stake is worth in TAO at the spot price (DTAO 6.4, 7.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ...fixed_point import UQ64
from ...state.key_table import Part
from .markets import spot
from .schema_tables import STAKES

if TYPE_CHECKING:
    from ...state.state import State

OF_HOTKEY: Final[Part] = ((2, 34),)
"""Share pools of one hotkey, on all subnets."""


def alpha_value(state: State, netuid: int, alpha: int) -> int:
    """Rao that alpha of a subnet is worth at the spot price, floored; on root and stable subnets as many."""
    return UQ64.to_u64(UQ64.mul(spot(state, netuid), UQ64.from_int(alpha)))


def total_stake_value(state: State, hotkey: bytes) -> int:
    """Rao that all stake behind a hotkey is worth, over all subnets."""
    table = state.key_table(STAKES)
    total = 0
    for key in table.matching(OF_HOTKEY, bytes(hotkey)):
        row = table.find(key)
        assert row is not None
        total += alpha_value(state, int.from_bytes(key[:2], "big"), int(state.read("stakes/amount", row)))
    return total
