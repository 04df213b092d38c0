"""How much is minted in a block: the emission curve with its halvings (DTAO section 1).

TAO halves by its total issuance, every subnet's alpha by its own; both on the same curve.
"""

from typing import Final

from ....types import Rao
from .units import MAX_SUPPLY, Alpha

FIRST_EMISSION: Final = 10**9
"""DefaultBlockEmission: one TAO, or one alpha, a block before the first halving."""


def block_emission(issuance: int) -> int:
    """Units of 1e-9 minted in a block, at an issuance of the same token (DTAO 1.1).

    `10^9 >> k` with the largest k such that I * 2^k >= 21e15 * (2^k - 1), that is 2^k <= 21e15 / (21e15 - I). The
    original takes the logarithm in 32 fraction bits and floors it, which is the same at every threshold.
    """
    if issuance >= MAX_SUPPLY:
        return 0
    halvings = (MAX_SUPPLY // (MAX_SUPPLY - issuance)).bit_length() - 1
    return FIRST_EMISSION >> halvings


def halving_threshold(halvings: int) -> int:
    """Least issuance at which the emission has halved so often: ceil(21e15 * (1 - 2^-k)) (DTAO 1.1)."""
    return MAX_SUPPLY - (MAX_SUPPLY >> halvings)


def tao_emission(total_issuance: Rao, circulating: Rao) -> Rao:
    """TAO minted in a block, at most up to the supply's cap on what accounts hold (DTAO 1.1)."""
    return Rao(min(block_emission(total_issuance), max(MAX_SUPPLY - circulating, 0)))


def alpha_issuance(alpha_in: Alpha, alpha_out: Alpha) -> int:
    """Issuance of a subnet's alpha: its pool reserve and what is outstanding, burned alpha included (DTAO 1.1)."""
    return alpha_in + alpha_out
