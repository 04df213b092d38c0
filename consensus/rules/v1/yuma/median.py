"""Consensus weights: the stake-weighted median of each target's column (YUMA 3.6).

The spec's narrowing search is replaced by its closed form: of the distinct scores in ascending order, the first whose
cumulative stake is strictly greater than `minority`; the largest one when none is. The tests keep the search as oracle.
"""

from typing import Final

import numpy as np

from ....fixed_point import u16_to_proportion
from .q32_arrays import ONE, Q32Array, normalize

LOW_HALF: Final = np.uint64(0xFFFF_FFFF)
HALF_BITS: Final = np.uint64(32)


def consensus_weights(weights: Q32Array, active_stake: Q32Array, kappa: int) -> Q32Array:
    """C, shape (n,): for each target about the largest weight that stake of at least kappa gives it.

    `weights`: shape (n, k); `active_stake`: A of the k voters; `kappa`: stored u16. Voters without active stake do not
    vote; without any, C is 0.
    """
    voting = active_stake > 0
    if not bool(voting.any()):
        return np.zeros(len(weights), dtype=np.int64)
    scores = weights if bool(voting.all()) else weights[:, voting]
    stake = normalize(active_stake[voting])
    total = int(stake.sum())
    minority = total - u16_to_proportion(kappa)
    if minority >= total or len(stake) == 1:
        highest: Q32Array = scores.max(axis=1)
        return highest
    if minority < 0:
        lowest: Q32Array = scores.min(axis=1)
        return lowest
    return weighted_median(scores, stake, minority)


def weighted_median(scores: Q32Array, stake: Q32Array, minority: int) -> Q32Array:
    """First score of each row, ascending, whose cumulative stake exceeds `minority` (0 <= minority < sum of stake).

    Score and stake share one sort key. ONE does not fit into its upper half and is written as ONE - 1, a value no
    weight takes: a share below 1 of a row sum below 2^28 is at most ONE - 16. Stakes fit the lower half because there
    are at least two.
    """
    if int(scores.max(initial=0)) == ONE:
        scores = np.minimum(scores, ONE - 1)
    keys = scores.view(np.uint64) << HALF_BITS
    keys |= stake.view(np.uint64)
    keys.sort(axis=1)
    cumulative = keys & LOW_HALF
    np.cumsum(cumulative, axis=1, out=cumulative)
    first = np.argmax(cumulative > np.uint64(minority), axis=1)
    found: Q32Array = (keys[np.arange(len(keys)), first] >> HALF_BITS).view(np.int64)
    found[found == ONE - 1] = ONE
    return found
