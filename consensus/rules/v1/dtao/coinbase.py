"""The block pipeline: mint, inject, accrue, decide the epochs, move the prices (DTAO section 3, steps 3 and 5-7).

`run_block` is a pure function from one block's economy to the next. Its order is the spec's: the terms of all subnets
are computed before any pool is touched, all pools are touched before anything accrues, and the moving prices are
updated after they were used.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from ....fixed_point import U64F64, U96F32, UQ96
from ....types import Height, Netuid, Rao
from ..schedule import SlotOutcome, SubnetSchedule, process_slots
from .accrual import Accrual, accrue
from .economy import Economy, Pending, Subnet
from .emission import tao_emission
from .injection import Injection, Terms, emission_terms, inject_all
from .pool import spot_price
from .shares import demand_shares, enabled_shares, moved_price, root_sells, tao_emissions, weighted_root
from .units import U128_MAX, Alpha, add_alpha, add_rao, sub_rao

I64_MAX: Final = (1 << 63) - 1
"""Bound of SubnetProtocolFlow."""


class SubnetBlock(NamedTuple):
    """What a block did for one emitting subnet, stage by stage.

    The stored statistics are `injection.tao_in`, `.alpha_in`, `.excess` and `alpha_out`; no rule reads them. RootProp
    (step 7) is not kept: `root_proportion` gives it from what is stored, whenever somebody asks.
    """

    netuid: Netuid
    share: U64F64
    """Demand share, before the enable switch."""

    emission: U96F32
    """TAO of this block, fractions included."""

    terms: Terms
    injection: Injection
    accrual: Accrual

    @property
    def alpha_out(self) -> Alpha:
        """SubnetAlphaOutEmission: alpha minted for participants."""
        return Alpha(UQ96.to_u64(self.terms.alpha_out))


@dataclass(frozen=True, slots=True)
class BlockOutcome:
    """What one block's pipeline did."""

    economy: Economy
    """Everything as it stands before the block's transactions."""

    minted: Rao
    """TAO credited."""

    recycled_tao: Rao
    """Credit nobody spent: fractions of a rao, refused injections, or all of it without emitting subnets."""

    root_sells: bool
    """Whether root's part of alpha accrues in this block, or is recycled."""

    recycled_alpha: Alpha
    """Alpha recycled over all subnets."""

    emitting: tuple[SubnetBlock, ...]
    """One entry for each emitting subnet, ascending."""

    slots: SlotOutcome
    """Which epochs run, fired, or were put off."""

    drained: tuple[tuple[Netuid, Pending], ...]
    """What the epochs of this block distribute, ascending."""


def run_block(
    economy: Economy, block: Height, circulating: Rao, with_duplicate_hotkeys: Collection[int] = ()
) -> BlockOutcome:
    """One block start, from the mint to the moving prices; reveals and payouts are the caller's (DTAO 3).

    `circulating`: all TAO in accounts, which caps the mint. `with_duplicate_hotkeys`: as in `process_slots`.
    """
    minted = tao_emission(economy.total_issuance, circulating)
    emitting = [subnet for subnet in economy.subnets if subnet.emits]
    shares = demand_shares(emitting, economy.gate)
    emissions = tao_emissions(minted, enabled_shares(shares, emitting))
    root = weighted_root(economy.root_tao, economy.tao_weight)
    terms = [emission_terms(subnet, tao, root) for subnet, tao in zip(emitting, emissions, strict=True)]

    injections, unspent = inject_all(emitting, terms, minted)

    sells = root_sells(emitting)
    accruals = [
        accrue(subnet, injection, term.alpha_out, economy.owner_cut, root, root_sells=sells)
        for subnet, injection, term in zip(emitting, injections, terms, strict=True)
    ]

    netuids = [subnet.netuid for subnet in emitting]
    done = tuple(map(SubnetBlock, netuids, shares, emissions, terms, injections, accruals))
    slots = process_slots(
        [subnet.schedule for subnet in economy.subnets], block, economy.max_epochs_per_block, with_duplicate_hotkeys
    )
    after, drained = _written_back(economy, block, done, slots)
    return BlockOutcome(
        economy=replace(
            economy,
            total_issuance=sub_rao(add_rao(economy.total_issuance, minted), unspent),
            total_stake=add_rao(economy.total_stake, sum(injection.staked for injection in injections)),
            subnets=after,
        ),
        minted=minted,
        recycled_tao=unspent,
        root_sells=sells,
        recycled_alpha=add_alpha(Alpha(0), sum(accrual.recycled for accrual in accruals)),
        emitting=done,
        slots=slots,
        drained=drained,
    )


def _written_back(
    economy: Economy, block: Height, done: tuple[SubnetBlock, ...], slots: SlotOutcome
) -> tuple[tuple[Subnet, ...], tuple[tuple[Netuid, Pending], ...]]:
    """All subnets after the block, with what the epochs of this block took from their pendings."""
    parts = {part.netuid: part for part in done}
    after, drained = [], []
    for subnet, schedule in zip(economy.subnets, slots.schedules, strict=True):
        part = parts.get(subnet.netuid)
        pending = subnet.pending if part is None else part.accrual.pending
        if schedule.netuid in slots.drained:
            drained.append((subnet.netuid, pending))
            pending = Pending()
        if part is None:
            after.append(subnet._replace(schedule=schedule, pending=pending))
        else:
            after.append(_emitted(subnet, part, schedule, pending, economy, block))
    return tuple(after), tuple(drained)


def _emitted(
    subnet: Subnet, part: SubnetBlock, schedule: SubnetSchedule, pending: Pending, economy: Economy, block: Height
) -> Subnet:
    """An emitting subnet after the block, its moving price last (DTAO 3.7)."""
    injection = part.injection
    return subnet._replace(
        pool=injection.pool,
        schedule=schedule,
        alpha_out=part.accrual.alpha_out,
        moving_price=moved_price(subnet, spot_price(injection.pool), economy.moving_alpha, block),
        pending=pending,
        protocol_alpha=add_alpha(subnet.protocol_alpha, injection.bought),
        protocol_flow=min(subnet.protocol_flow + injection.excess + injection.tao_in, I64_MAX),
        volume=min(subnet.volume + injection.traded, U128_MAX),
    )
