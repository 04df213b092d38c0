"""The block pipeline: mint, inject, accrue, decide the epochs, move the prices (DTAO section 3, steps 3 and 5-7).

`run_block` is a pure function from one block's economy to the next. Its order is the spec's: the terms of all subnets
are computed before any pool is touched, all pools are touched before anything accrues, and the moving prices are
updated after they were used.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from ....fixed_point import U64F64, U96F32, UQ96
from ....types import Height, Netuid, Rao
from ..schedule import SlotOutcome, process_slots
from .accrual import accrue
from .economy import Economy, Pending, Subnet
from .emission import alpha_issuance, tao_emission
from .injection import Terms, emission_terms, inject_all
from .shares import demand_shares, enabled_shares, moved_price, root_proportion, root_sells, tao_emissions
from .units import Alpha, add_alpha, add_rao, sub_rao


@dataclass(frozen=True, slots=True)
class SubnetBlock:
    """What a block did for one emitting subnet: statistics for display, read by no rule."""

    netuid: Netuid

    share: U64F64
    """Demand share, before the enable switch."""

    emission: U96F32
    """TAO of this block, fractions included."""

    terms: Terms

    tao_in: Rao
    """SubnetTaoInEmission."""

    alpha_in: Alpha
    """SubnetAlphaInEmission."""

    alpha_out: Alpha
    """SubnetAlphaOutEmission."""

    excess: Rao
    """SubnetExcessTao: TAO of the chain buy that entered the pool."""

    root_proportion: U96F32
    """RootProp after the block."""


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
    terms = [emission_terms(subnet, tao, economy) for subnet, tao in zip(emitting, emissions, strict=True)]

    injections, unspent = inject_all(emitting, terms, minted)

    sells = root_sells(emitting)
    recycled = Alpha(0)
    after = {subnet.netuid: subnet for subnet in economy.subnets}
    for injection, term in zip(injections, terms, strict=True):
        subnet, more = accrue(injection.subnet, term.alpha_out, economy, sells)
        recycled = add_alpha(recycled, more)
        after[subnet.netuid] = subnet

    slots = process_slots(
        [subnet.schedule for subnet in after.values()], block, economy.max_epochs_per_block, with_duplicate_hotkeys
    )
    drained = tuple((Netuid(netuid), after[Netuid(netuid)].pending) for netuid in slots.drained)
    subnets = tuple(
        replace(
            subnet,
            schedule=schedule,
            pending=Pending() if schedule.netuid in slots.drained else subnet.pending,
            moving_price=moved_price(subnet, economy.moving_alpha, block) if subnet.emits else subnet.moving_price,
        )
        for subnet, schedule in zip(after.values(), slots.schedules, strict=True)
    )
    report = [
        SubnetBlock(
            netuid=injection.subnet.netuid,
            share=share,
            emission=emission,
            terms=term,
            tao_in=injection.tao_in,
            alpha_in=injection.alpha_in,
            alpha_out=Alpha(UQ96.to_u64(term.alpha_out)),
            excess=injection.excess,
            root_proportion=_root_proportion_of(after[injection.subnet.netuid], economy),
        )
        for injection, share, emission, term in zip(injections, shares, emissions, terms, strict=True)
    ]
    return BlockOutcome(
        economy=replace(
            economy,
            total_issuance=sub_rao(add_rao(economy.total_issuance, minted), unspent),
            total_stake=add_rao(economy.total_stake, sum(injection.staked for injection in injections)),
            subnets=subnets,
        ),
        minted=minted,
        recycled_tao=unspent,
        root_sells=sells,
        recycled_alpha=recycled,
        emitting=tuple(report),
        slots=slots,
        drained=drained,
    )


def _root_proportion_of(subnet: Subnet, economy: Economy) -> U96F32:
    issuance = alpha_issuance(subnet.pool.alpha, subnet.alpha_out)
    return root_proportion(economy.root_tao, economy.tao_weight, issuance)
