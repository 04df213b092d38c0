"""Who gets an epoch's payout: child keys' parents, local and root dividends, takes (DTAO section 4).

Everything is by hotkey, in ascending account bytes. Stakes are those of the hotkey itself, before any inheritance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ....fixed_point import U96F32, UQ96, u64_to_proportion
from ....types import AccountId
from .economy import u16_share
from .units import Alpha, add_alpha

ZERO = UQ96.from_int(0)


class Relation(NamedTuple):
    """One edge between a parent hotkey and a child hotkey on a subnet."""

    proportion: int
    """u64, parts of 2^64-1 of the parent's stake."""

    hotkey: AccountId
    """The other end."""


class Holder(NamedTuple):
    """What the payout needs to know of a hotkey."""

    coldkey: AccountId
    alpha: int
    """TotalHotkeyAlpha on the subnet."""

    root_tao: int
    """TotalHotkeyAlpha on root, in rao."""

    childkey_take: int = 0
    """u16, parts of 65535: the largest of the stored one and the two minima."""


@dataclass(frozen=True, slots=True)
class PayoutRules:
    """Chain-wide shares."""

    tao_weight: U96F32
    """What one TAO on root counts in alpha."""

    childkey_burn: U96F32
    """Share of what a child passes to another owner's parent that is recycled instead."""


class HotkeyEmission(NamedTuple):
    """What the epoch gave to one uid's hotkey."""

    hotkey: AccountId
    incentive: Alpha
    dividend: Alpha


@dataclass(frozen=True, slots=True)
class Distribution:
    """The payout of one epoch by hotkey; the keys of every map ascend by account bytes."""

    incentives: dict[AccountId, Alpha]
    alpha_dividends: dict[AccountId, U96F32]
    """Subnet alpha for a hotkey and its nominators, before the take."""

    root_dividends: dict[AccountId, U96F32]
    """Subnet alpha for its root stakers, before the take."""

    recycled: Alpha
    """Taken by the child key burn."""


class TakeSplit(NamedTuple):
    """A dividend after the hotkey's take (DTAO 4.5 steps 3 and 4)."""

    take: Alpha
    """For the hotkey's owner."""

    rest: Alpha
    """For everybody who stakes on it."""


UNKNOWN = Holder(AccountId(bytes(32)), 0, 0)
"""A hotkey nothing is known of: no stake, and nobody's."""


def distribute(
    emissions: Sequence[HotkeyEmission],
    validator_alpha: Alpha,
    root_alpha: Alpha,
    holders: Mapping[AccountId, Holder],
    parents: Mapping[AccountId, Sequence[Relation]],
    children: Mapping[AccountId, Sequence[Relation]],
    rules: PayoutRules,
) -> Distribution:
    """Steps 3 and 4 of DTAO 4.1, from an epoch's result to amounts by hotkey.

    `validator_alpha` is V' (`validator_pot`), `root_alpha` R; `parents` and `children` are the edges of each hotkey in
    stored order. The epoch's dividends count only as ratios, its incentives as amounts.
    """
    incentives: dict[AccountId, Alpha] = {}
    dividends: dict[AccountId, U96F32] = {}
    recycled = Alpha(0)
    for emission in emissions:
        key = emission.hotkey
        incentives[key] = add_alpha(incentives.get(key, Alpha(0)), emission.incentive)
        pieces, burned = split_among_parents(
            key, emission.dividend, holders, parents.get(key, ()), children.get(key, ()), rules
        )
        recycled = add_alpha(recycled, burned)
        for hotkey, amount in pieces:
            dividends[hotkey] = UQ96.add(dividends.get(hotkey, ZERO), UQ96.from_int(amount))
    dividends = dict(sorted(dividends.items()))
    alpha, root = split_local_and_root(dividends, validator_alpha, root_alpha, holders, rules.tao_weight)
    return Distribution(dict(sorted(incentives.items())), alpha, root, recycled)


def validator_pot(server: Alpha, validator: Alpha, incentives: Sequence[int]) -> Alpha:
    """V' of DTAO 4.1 step 2: without any incentive, validators get the miners' part too."""
    return add_alpha(validator, server) if sum(incentives) == 0 else validator


def split_among_parents(
    child: AccountId,
    dividend: Alpha,
    holders: Mapping[AccountId, Holder],
    parents: Sequence[Relation],
    children: Sequence[Relation],
    rules: PayoutRules,
) -> tuple[list[tuple[AccountId, Alpha]], Alpha]:
    """One hotkey's dividend split by the stake behind it, and what was recycled (DTAO 4.2).

    The child takes its commission from parents of other owners only. The last piece is the child's own. Nothing splits
    into nothing: most hotkeys of a subnet are miners.
    """
    if not dividend:
        return [(hotkey, Alpha(0)) for hotkey in (*(relation.hotkey for relation in parents), child)], Alpha(0)
    own = holders.get(child, UNKNOWN)
    given = ZERO
    for relation in children:
        given = UQ96.add(given, u64_to_proportion(relation.proportion))
    kept_share = UQ96.sub(UQ96.one, given)
    kept = UQ96.from_int(UQ96.to_u64(_weighted_stake(own, kept_share, rules.tao_weight)))

    contributions = []
    total = kept
    for relation in parents:
        parent = holders.get(relation.hotkey, UNKNOWN)
        stake = _weighted_stake(parent, u64_to_proportion(relation.proportion), rules.tao_weight)
        contributions.append((relation.hotkey, parent.coldkey, stake))
        total = UQ96.add(total, stake)

    whole = left = UQ96.from_int(dividend)
    commission, take, recycled = ZERO, u16_share(own.childkey_take), Alpha(0)
    pieces = []
    for hotkey, coldkey, stake in contributions:
        part = UQ96.mul(whole, UQ96.div_or_zero(stake, total))
        left = UQ96.sub(left, part)
        if coldkey != own.coldkey:
            burned, taken = UQ96.mul(rules.childkey_burn, part), UQ96.mul(take, part)
            part = UQ96.sub(UQ96.sub(part, burned), taken)
            commission = UQ96.add(commission, taken)
            recycled = add_alpha(recycled, UQ96.to_u64(burned))
        pieces.append((hotkey, Alpha(UQ96.to_u64(part))))
    pieces.append((child, Alpha(UQ96.to_u64(UQ96.add(left, commission)))))
    return pieces, recycled


def _weighted_stake(holder: Holder, share: U96F32, tao_weight: U96F32) -> U96F32:
    """A share of a hotkey's alpha, plus the same share of its root TAO at the TAO weight."""
    alpha = UQ96.mul(UQ96.from_int(holder.alpha), share)
    return UQ96.add(alpha, UQ96.mul(UQ96.mul(UQ96.from_int(holder.root_tao), share), tao_weight))


def split_local_and_root(
    dividends: Mapping[AccountId, U96F32],
    validator_alpha: Alpha,
    root_alpha: Alpha,
    holders: Mapping[AccountId, Holder],
    tao_weight: U96F32,
) -> tuple[dict[AccountId, U96F32], dict[AccountId, U96F32]]:
    """(alpha dividends, root dividends) by hotkey, in the order given (DTAO 4.4).

    Each hotkey's dividend is attributed to its root TAO and to its alpha by weight; both pots are then shared by those
    two attributions.
    """
    local: dict[AccountId, U96F32] = {}
    root: dict[AccountId, U96F32] = {}
    for hotkey, dividend in dividends.items():
        if not dividend:
            local[hotkey] = root[hotkey] = ZERO
            continue
        holder = holders.get(hotkey, UNKNOWN)
        root_stake = UQ96.mul(UQ96.from_int(holder.root_tao), tao_weight)
        share = UQ96.div_or_zero(root_stake, UQ96.add(UQ96.from_int(holder.alpha), root_stake))
        root[hotkey] = UQ96.mul(dividend, share)
        local[hotkey] = UQ96.sub(dividend, root[hotkey])
    return _share_out(validator_alpha, local), _share_out(root_alpha, root)


def _share_out(pot: Alpha, parts: Mapping[AccountId, U96F32]) -> dict[AccountId, U96F32]:
    """The pot by the parts' ratio; nothing to anybody when all parts are 0 (the pot is then lost, DTAO 4.5)."""
    total, whole = UQ96.clamp(sum(parts.values())), UQ96.from_int(pot)
    return {hotkey: UQ96.mul(whole, UQ96.div_or_zero(part, total)) if part else ZERO for hotkey, part in parts.items()}


def split_take(dividend: U96F32, take: int) -> TakeSplit:
    """A hotkey's take, a u16, and the rest, each floored to whole units (DTAO 4.5 steps 3 and 4)."""
    taken = UQ96.mul(u16_share(take), dividend)
    return TakeSplit(Alpha(UQ96.to_u64(taken)), Alpha(UQ96.to_u64(UQ96.sub(dividend, taken))))


def miner_burned(withheld: int, incentives: int) -> U96F32:
    """MinerBurned: share of all incentives that the owner's keys earned and were not paid (DTAO 4.5 step 2)."""
    return UQ96.div_or_zero(UQ96.from_int(withheld), UQ96.from_int(incentives))
