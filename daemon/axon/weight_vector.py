"""From scores to the numbers a weights call carries: exact, with the largest at 65535 (AXON R29, YUMA 5.1).

The chain scales a row up to its largest number. Since ours has 65535 in it already, what is sent is what is stored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from ...consensus.types import U16_MAX, AccountId
from ...storage.sealed_weights import BOUND_BYTES, CommittedWeights


class Vector(NamedTuple):
    """Weights that can be sent, ascending by uid, and whom they mean."""

    uids: tuple[int, ...]
    values: tuple[int, ...]
    bound: tuple[bytes, ...]
    """The first 16 bytes of each uid's hotkey."""


def weigh(
    scores: Mapping[AccountId, float],
    hotkeys: Sequence[AccountId],
    own_uid: int,
    least: int,
    limit: int = U16_MAX,
) -> Vector | None:
    """The weights for a subnet whose uids have these `hotkeys`; None when nobody in it has a score above zero.

    Hotkeys outside the subnet, the validator's own uid and numbers that are negative or not finite count as nothing.
    `least` uids are named at least (MinAllowedWeights), with zeros where there are no more scores; `limit` of 65535 is
    the largest share of the whole that one uid may have, and what is above it goes to the others.
    """
    shares = {
        uid: Fraction(scores[hotkey])
        for uid, hotkey in enumerate(hotkeys)
        if uid != own_uid and hotkey in scores and math.isfinite(scores[hotkey]) and scores[hotkey] > 0
    }
    if not shares:
        return None
    shares = _clipped(shares, Fraction(limit, U16_MAX))
    largest = max(shares.values())
    numbers = {uid: math.floor(share * U16_MAX / largest + Fraction(1, 2)) for uid, share in shares.items()}
    chosen = {uid: number for uid, number in numbers.items() if number}
    # The own uid last: the chain drops what a neuron says of itself, so there it only fills the row.
    for uid in [*(uid for uid in range(len(hotkeys)) if uid != own_uid), own_uid]:
        if len(chosen) >= min(least, len(hotkeys)):
            break
        chosen.setdefault(uid, 0)
    uids = tuple(sorted(chosen))
    return Vector(uids, tuple(chosen[uid] for uid in uids), tuple(bytes(hotkeys[uid][:BOUND_BYTES]) for uid in uids))


def _clipped(shares: dict[int, Fraction], limit: Fraction) -> dict[int, Fraction]:
    """Shares of which none is above `limit` of their sum; as even as can be where that is impossible."""
    if limit >= 1 or limit * len(shares) <= 1:
        return shares if limit >= 1 else dict.fromkeys(shares, Fraction(1))
    ascending = sorted(shares.values())
    below = sum(ascending)
    for over in range(len(ascending)):
        if ascending[-1 - over] <= limit * (below / (1 - limit * over)):
            break
        below -= ascending[-1 - over]
    cap = limit * (below / (1 - limit * over))
    return {uid: min(share, cap) for uid, share in shares.items()} if over else shares


def strangers(weights: CommittedWeights, hotkeys: Sequence[AccountId]) -> tuple[int, ...]:
    """Uids that would get weight although another hotkey holds them than when the weights were chosen.

    Weights that were committed without looking at hotkeys (by hand) name nobody, so they have no strangers.
    """
    if not weights.bound:
        return ()
    return tuple(
        uid
        for uid, value, bound in zip(weights.uids, weights.values, weights.bound, strict=True)
        if value and (uid >= len(hotkeys) or bytes(hotkeys[uid][:BOUND_BYTES]) != bound)
    )
