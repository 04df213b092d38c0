"""Root dividends that accrue and wait for a claim, and whose claim comes by itself in a block (DTAO 4.6)."""

from ....fixed_point import I96F32, Q96
from ....types import U64_MAX, Hash32
from .units import U128_MAX, Alpha


def claimable_increment(alpha: Alpha, root_stake: int) -> I96F32 | None:
    """What `alpha` adds to the rate of a hotkey with `root_stake` rao on root; None when its owner gets it instead.

    The owner gets it when it exceeds the root stake, hence also when there is none. The rate has 32 fraction bits, so
    that dividends below root_stake / 2^32 vanish.
    """
    if alpha > root_stake:
        return None
    return Q96.div_or_zero(Q96.from_int(alpha), Q96.from_int(root_stake))


def owed(rate: I96F32, root_stake: int, claimed: int) -> I96F32:
    """Alpha a coldkey may claim, with its stake on root under the hotkey and what it has claimed (u128)."""
    return Q96.sub(Q96.mul(rate, Q96.from_int(root_stake)), Q96.from_int(claimed))


def claim_amount(owed_alpha: I96F32, threshold: Alpha) -> Alpha:
    """Whole alpha a claim pays now: nothing while it is below the threshold."""
    return Alpha(0) if owed_alpha < Q96.from_int(threshold) else Alpha(Q96.to_u64(owed_alpha))


def adjusted_claimed(claimed: int, rate: I96F32, stake_change: int) -> int:
    """RootClaimed after the root stake changed, so that what is owed stays the same (stake adjustment)."""
    difference = Q96.to_int(Q96.mul(rate, Q96.from_int(abs(stake_change))), U128_MAX)
    return min(max(claimed + (difference if stake_change >= 0 else -difference), 0), U128_MAX)


def auto_claim_indices(parent_hash: Hash32, draws: int, holders: int) -> tuple[int, ...]:
    """Indices, ascending and each once, of the coldkeys whose root dividends are claimed in this block.

    Each draw adds 8 bytes of the parent's hash to the one before, saturating, modulo the number of root holders.
    Without holders index 0 comes out, which names nobody.
    """
    last = int.from_bytes(parent_hash[:8], "big")
    drawn = []
    for draw in range(draws):
        offset = 8 * draw % 32
        step = int.from_bytes(parent_hash[offset : offset + 8], "big")
        last = min(last + step, U64_MAX) % holders if holders else 0
        if last not in drawn:
            drawn.append(last)
    return tuple(sorted(drawn))
