"""The payout of one epoch: owner's cut, incentives, dividends, root dividends, in this order (DTAO 4.1, 4.5).

Every payment is written down as it is made, so that an epoch can be explained to the unit; the amounts that belong to
nobody afterwards stay in the subnet's outstanding alpha.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from ...fixed_point import I96F32, Q96, u64_to_proportion
from ...types import AccountId
from .children import childkey_take, relations_of_subnet
from .dtao.distribution import (
    Distribution,
    Holder,
    HotkeyEmission,
    PayoutRules,
    Relation,
    distribute,
    miner_burned,
    split_take,
    validator_pot,
)
from .dtao.economy import Pending, tao_weight
from .dtao.safe_float import SafeFloat
from .dtao.share_pool import SharePool, grow, holding
from .dtao.units import Alpha
from .events import EventKind, event
from .locks import lock_owner_cut
from .root_stake import accrue_root_dividend
from .schema_tables import AUTO_STAKES
from .stakes import (
    ROOT,
    grow_stake,
    hotkey_owner,
    hotkey_stake,
    increase_position,
    positions_of_hotkey,
    share_pool,
    shares_of_hotkey,
    stake_key,
)
from .subnets import global_parameter, owner, owner_hotkey, parameter
from .takes import delegate_take

if TYPE_CHECKING:
    from ...state.state import State
    from ..interface import Event

NOBODY = AccountId(bytes(32))
"""Owner of a subnet that has none: the payout of an owner's cut is left out."""


class PaymentKind(Enum):
    """Why alpha was paid, or was not."""

    OWNER_CUT = "owner cut"
    INCENTIVE = "incentive"
    WITHHELD_BURNED = "incentive of the owner's keys, burned"
    WITHHELD_RECYCLED = "incentive of the owner's keys, recycled"
    TAKE = "delegate take"
    NOMINATORS = "dividend of everybody behind the hotkey"
    ROOT_TAKE = "delegate take of root dividends"
    ROOT_CLAIMABLE = "root dividend, claimable"
    ROOT_TO_OWNER = "root dividend above the root stake, to the hotkey's owner"


class Payment(NamedTuple):
    """One payment of an epoch."""

    kind: PaymentKind
    earner: AccountId
    """Hotkey that earned it."""
    hotkey: AccountId
    """Hotkey behind which it is staked; another one than the earner where its owner chose so."""
    coldkey: AccountId
    """Who holds it; the hotkey's owner where all holders share it."""
    amount: int


MAX_LISTED_HOLDERS: Final = 4096
"""Holders of a hotkey that the record of an epoch lists; what others gained is the rest of the payment."""


class Growth(NamedTuple):
    """A dividend that everybody behind a hotkey shared: the pool before it, and who had which share."""

    hotkey: AccountId
    pool: SharePool
    amount: int
    holders: tuple[tuple[AccountId, SafeFloat], ...]
    """(coldkey, share) in coldkey order."""

    def gains(self) -> list[tuple[AccountId, int]]:
        """(coldkey, alpha gained); what flooring loses is in the pool and nobody's yet."""
        after = grow(self.pool, self.amount)
        return [(coldkey, holding(after, share) - holding(self.pool, share)) for coldkey, share in self.holders]


class RootAccrual(NamedTuple):
    """A root dividend that root stakers may claim: how much each rao of them earned, and who had how many."""

    hotkey: AccountId
    amount: int
    rate: I96F32
    """Alpha for each rao."""
    holders: tuple[tuple[AccountId, int], ...]
    """(coldkey, root stake) in coldkey order."""

    def gains(self) -> list[tuple[AccountId, int]]:
        """(coldkey, whole alpha that became claimable); fractions add up over epochs."""
        return [(coldkey, Q96.to_u64(Q96.mul(self.rate, Q96.from_int(stake)))) for coldkey, stake in self.holders]


@dataclass(frozen=True, slots=True)
class Payout:
    """What one epoch paid, to the unit."""

    pending: Pending
    """What there was to pay."""
    emissions: tuple[HotkeyEmission, ...]
    """By uid."""
    holders: Mapping[AccountId, Holder]
    """Stakes of every hotkey involved, before the payout."""
    parents: Mapping[AccountId, Sequence[Relation]]
    children: Mapping[AccountId, Sequence[Relation]]
    validator_pot: Alpha
    """V'."""
    rules: PayoutRules
    distribution: Distribution
    payments: tuple[Payment, ...]
    growths: tuple[Growth, ...]
    accruals: tuple[RootAccrual, ...]
    events: tuple[Event, ...]


def pay_epoch(
    state: State,
    netuid: int,
    pending: Pending,
    emissions: Sequence[HotkeyEmission],
    height: int,
) -> Payout:
    """Pay one epoch's result; `emissions` are by uid, `pending` was taken from the subnet already."""
    parents, children = relations_of_subnet(state, netuid)
    holders = _holders(state, netuid, emissions, parents)
    pot = validator_pot(pending.server, pending.validator, [emission.incentive for emission in emissions])
    rules = PayoutRules(
        tao_weight=tao_weight(global_parameter(state, "tao_weight")),
        childkey_burn=u64_to_proportion(global_parameter(state, "ck_burn")),
    )
    distribution = distribute(emissions, pot, pending.root, holders, parents, children, rules)
    payer = _Payer(state, netuid, height)
    payer.recycle(distribution.recycled)
    payer.pay_owner(pending.owner_cut)
    payer.pay_incentives(distribution.incentives)
    payer.pay_dividends(distribution)
    payer.pay_root_dividends(distribution)
    return Payout(
        pending=pending,
        emissions=tuple(emissions),
        holders=holders,
        parents=parents,
        children=children,
        validator_pot=pot,
        rules=rules,
        distribution=distribution,
        payments=tuple(payer.payments),
        growths=tuple(payer.growths),
        accruals=tuple(payer.accruals),
        events=tuple(payer.events),
    )


def _holders(
    state: State,
    netuid: int,
    emissions: Sequence[HotkeyEmission],
    parents: Mapping[AccountId, Sequence[Relation]],
) -> dict[AccountId, Holder]:
    """Everybody who may receive something: the subnet's hotkeys and the parents of those."""
    involved = dict.fromkeys(emission.hotkey for emission in emissions)
    for hotkey in tuple(involved):
        involved.update(dict.fromkeys(relation.hotkey for relation in parents.get(hotkey, ())))
    return {
        hotkey: Holder(
            coldkey=hotkey_owner(state, hotkey) or NOBODY,
            alpha=hotkey_stake(state, netuid, hotkey),
            root_tao=hotkey_stake(state, ROOT, hotkey),
            childkey_take=childkey_take(state, netuid, hotkey) if hotkey in parents else 0,
        )
        for hotkey in involved
    }


class _Payer:
    """Makes the payments of DTAO 4.5 one after another."""

    def __init__(self, state: State, netuid: int, height: int) -> None:
        self._state = state
        self._netuid = netuid
        self._height = height
        self._owner = owner(state, netuid)
        self._owner_hotkey = owner_hotkey(state, netuid)
        self.payments: list[Payment] = []
        self.growths: list[Growth] = []
        self.accruals: list[RootAccrual] = []
        self.events: list[Event] = []

    def recycle(self, alpha: int) -> None:
        """Alpha that leaves the issuance; the outstanding amount stops at zero (DTAO 13.37)."""
        if alpha:
            left = int(self._state.read("subnets/alpha_out", self._netuid)) - alpha
            self._state.write("subnets/alpha_out", self._netuid, max(left, 0))

    def pay_owner(self, cut: int) -> None:
        """Step 1. Without an owner the cut vanishes."""
        if not cut or NOBODY in (self._owner, self._owner_hotkey):
            return
        self._stake(PaymentKind.OWNER_CUT, self._owner_hotkey, self._owner_hotkey, self._owner, cut)
        if parameter(self._state, self._netuid, "owner_cut_auto_lock_enabled"):
            lock_owner_cut(self._state, self._netuid, cut, self._height)

    def pay_incentives(self, incentives: Mapping[AccountId, Alpha]) -> None:
        """Step 2: the owner's keys earn nothing, everybody else is paid where their coldkey wants it."""
        state, netuid = self._state, self._netuid
        recycles = bool(parameter(state, netuid, "recycle_or_burn"))
        withheld = 0
        for hotkey, amount in incentives.items():
            coldkey = hotkey_owner(state, hotkey) if amount else None
            if coldkey is None:
                continue
            if coldkey == self._owner or hotkey == self._owner_hotkey:
                withheld += amount
                self._withhold(hotkey, coldkey, amount, recycles)
                continue
            destination = self._destination(coldkey)
            self._stake(PaymentKind.INCENTIVE, hotkey, destination or hotkey, coldkey, amount)
            if destination is not None:
                self.events.append(event(EventKind.AutoStakeAdded, netuid, hotkey, destination, coldkey, amount))
        state.write("subnets/miner_burned", netuid, miner_burned(withheld, sum(incentives.values())))

    def _withhold(self, hotkey: AccountId, coldkey: AccountId, amount: int, recycles: bool) -> None:
        if recycles:
            self.recycle(amount)
        else:
            self._state.add("subnets/alpha_burned", self._netuid, amount)
        kind = PaymentKind.WITHHELD_RECYCLED if recycles else PaymentKind.WITHHELD_BURNED
        self.payments.append(Payment(kind, hotkey, hotkey, coldkey, amount))

    def _destination(self, coldkey: AccountId) -> AccountId | None:
        row = self._state.key_table(AUTO_STAKES).find(stake_key(self._netuid, coldkey))
        return None if row is None else AccountId(self._state.read("auto_stakes/hotkey", row).tobytes())

    def pay_dividends(self, distribution: Distribution) -> None:
        """Step 3: the take buys a share for the owner, the rest makes everybody's grow."""
        for hotkey, dividend in distribution.alpha_dividends.items():
            coldkey = hotkey_owner(self._state, hotkey) if dividend else None
            if coldkey is None:
                continue
            split = split_take(dividend, delegate_take(self._state, hotkey))
            self._stake(PaymentKind.TAKE, hotkey, hotkey, coldkey, split.take)
            if split.rest:
                pool = share_pool(self._state, self._netuid, hotkey)
                holders = shares_of_hotkey(self._state, self._netuid, hotkey, MAX_LISTED_HOLDERS)
                self.growths.append(Growth(hotkey, pool, split.rest, holders))
                grow_stake(self._state, self._netuid, hotkey, split.rest)
                self.payments.append(Payment(PaymentKind.NOMINATORS, hotkey, hotkey, coldkey, split.rest))

    def pay_root_dividends(self, distribution: Distribution) -> None:
        """Step 4: the same take; the rest waits for root stakers to claim it."""
        for hotkey, dividend in distribution.root_dividends.items():
            coldkey = hotkey_owner(self._state, hotkey) if dividend else None
            if coldkey is None:
                continue
            split = split_take(dividend, delegate_take(self._state, hotkey))
            self._stake(PaymentKind.ROOT_TAKE, hotkey, hotkey, coldkey, split.take)
            if split.rest:
                increment = accrue_root_dividend(self._state, self._netuid, hotkey, split.rest)
                if increment is not None:
                    holders = tuple(positions_of_hotkey(self._state, ROOT, hotkey)[:MAX_LISTED_HOLDERS])
                    self.accruals.append(RootAccrual(hotkey, split.rest, increment, holders))
                kind = PaymentKind.ROOT_TO_OWNER if increment is None else PaymentKind.ROOT_CLAIMABLE
                self.payments.append(Payment(kind, hotkey, hotkey, coldkey, split.rest))

    def _stake(self, kind: PaymentKind, earner: AccountId, hotkey: AccountId, coldkey: AccountId, amount: int) -> None:
        if amount:
            increase_position(self._state, self._netuid, hotkey, coldkey, amount)
            self.payments.append(Payment(kind, earner, hotkey, coldkey, amount))
