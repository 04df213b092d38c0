"""What one epoch read, computed and paid: the record from which a payout is explained (`yumad explain`)."""

from __future__ import annotations

from dataclasses import dataclass

from .payout import Payout
from .yuma.inputs import EpochInput
from .yuma.mechanisms import SubnetEpoch


@dataclass(frozen=True, slots=True)
class EpochTrace:
    """One subnet's epoch. The arrays are its own: later blocks do not change them."""

    netuid: int
    height: int
    inputs: tuple[EpochInput, ...]
    """Of each mechanism, in order; none for a subnet without neurons."""
    result: SubnetEpoch | None
    payout: Payout
