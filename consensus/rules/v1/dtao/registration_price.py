"""Price of a neuron's registration: it decays with every block and rises with every registration (DTAO 8.4)."""

from functools import lru_cache
from typing import Final

from ....fixed_point import U64F64, UQ64
from ....types import U64_MAX, Rao

ONE_Q32: Final = 1 << 32
HALF_Q32: Final = 1 << 31

DEFAULT_INCREASE: Final = U64F64(23242897532874035200)
"""BurnIncreaseMult: 1.26 as the nearest double, a little above."""


@lru_cache(maxsize=256)  # one entry for each half-life in use; finding it takes 32 powers
def decay_factor(half_life: int) -> int:
    """Largest Q32 factor whose `half_life`-th power is at most one half, found by bisection; 0 when there is none."""
    low, high = 0, ONE_Q32
    while low + 1 < high:
        middle = low + ((high - low) >> 1)
        if _power_q32(middle, half_life) > HALF_Q32:
            high = middle
        else:
            low = middle
    return low


def decayed_price(price: Rao, half_life: int, lowest: Rao, highest: Rao) -> Rao:
    """The price one block later, inside its bounds; a half-life of 0 switches the decay off. Root's decays too."""
    if half_life == 0:
        return price
    return _clamped((price * decay_factor(half_life)) >> 32, lowest, highest)


def raised_price(price: Rao, increase: U64F64, lowest: Rao, highest: Rao) -> Rao:
    """The price after a registration, inside its bounds; a factor below 1 counts as 1."""
    raised = UQ64.to_u64(UQ64.mul(UQ64.from_int(price), max(increase, UQ64.one)))
    return _clamped(raised, lowest, highest)


def _clamped(price: int, lowest: Rao, highest: Rao) -> Rao:
    return Rao(min(max(price, lowest), highest))


def _power_q32(base: int, exponent: int) -> int:
    """Square and multiply from the lowest bit, each product floored to Q32 and capped at a u64."""
    result = ONE_Q32
    while exponent:
        if exponent & 1:
            result = min((result * base) >> 32, U64_MAX)
        base = min((base * base) >> 32, U64_MAX)
        exponent >>= 1
    return result
