"""Units of Dynamic TAO: alpha, perquintill weights, and saturating balances (DTAO 0.1 and 0.3)."""

from typing import Final, NewType

from ....types import U64_MAX, Rao

Alpha = NewType("Alpha", int)
"""A subnet's own token in units of 1e-9, a u64. On root (netuid 0) one unit is one rao."""

Perquintill = NewType("Perquintill", int)
"""A share in parts of 10^18."""

PERQUINTILL_ONE: Final = Perquintill(10**18)

U128_MAX: Final = (1 << 128) - 1

MAX_SUPPLY: Final = 21 * 10**15
"""Cap of TAO in rao, and of every subnet's alpha in its own units (DTAO 1)."""

ROOT_NETUID: Final = 0
"""The root subnet: no pool, no epoch, its stake is TAO."""

DYNAMIC: Final = 1
"""`SubnetMechanism` of a subnet with a pool. Any other value is stable: one alpha is one TAO."""


def add_rao(amount: Rao, more: int) -> Rao:
    """Saturating u64 sum."""
    total = amount + more
    return Rao(total if total <= U64_MAX else U64_MAX)


def sub_rao(amount: Rao, less: int) -> Rao:
    """Difference, 0 where it would be negative."""
    return Rao(max(amount - less, 0))


def add_alpha(amount: Alpha, more: int) -> Alpha:
    """Saturating u64 sum."""
    total = amount + more
    return Alpha(total if total <= U64_MAX else U64_MAX)


def sub_alpha(amount: Alpha, less: int) -> Alpha:
    """Difference, 0 where it would be negative."""
    return Alpha(max(amount - less, 0))


def perquintill_ratio(part: int, whole: int) -> Perquintill:
    """`ratio(a, b)`: floored exactly, whatever the size; 1 when b is 0 or a exceeds b (DTAO 0.3)."""
    if whole == 0 or part > whole:
        return PERQUINTILL_ONE
    return Perquintill(PERQUINTILL_ONE * part // whole)


def perquintill_mul(share: Perquintill, value: int) -> int:
    """`mulround(p, v)`: a share of an integer, rounded half up (DTAO 0.3)."""
    return (share * value + PERQUINTILL_ONE // 2) // PERQUINTILL_ONE
