"""What a block's TAO does to the pools: terms, injection and chain buys (DTAO 3.3 and 3.5, phase 1)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from ....fixed_point import U96F32, UQ96
from ....types import Rao
from .economy import Economy, Subnet
from .emission import alpha_issuance, block_emission
from .pool import (
    MAX_PRICE,
    Pool,
    Side,
    SwapError,
    SwapRefusal,
    add_liquidity,
    initialised_pool,
    spot_price,
    swap,
    traded_pool,
)
from .shares import root_proportion
from .units import U128_MAX, Alpha, add_alpha, add_rao

I64_MAX: Final = (1 << 63) - 1


class Terms(NamedTuple):
    """One emitting subnet's amounts of a block, fractions included (DTAO 3.3)."""

    tao_in: U96F32
    """TAO to inject."""

    alpha_in: U96F32
    """Alpha to inject beside it, minted for that."""

    alpha_out: U96F32
    """Alpha minted for participants."""

    excess: U96F32
    """TAO that buys alpha instead."""


@dataclass(frozen=True, slots=True)
class Injection:
    """What phase 1 did to one subnet."""

    subnet: Subnet
    """With its pool, outstanding alpha and counters after injection and buy."""

    tao_in: Rao
    """SubnetTaoInEmission: injected TAO."""

    alpha_in: Alpha
    """SubnetAlphaInEmission: injected alpha."""

    excess: Rao
    """SubnetExcessTao: TAO of the chain buy that entered the pool."""

    spent: Rao
    """Credit used: injected TAO and the whole of what the buy was given."""

    staked: Rao
    """What TotalStake grows by: the same without a buy the pool refused."""


def emission_terms(subnet: Subnet, emission: U96F32, economy: Economy) -> Terms:
    """Amounts for one subnet, from its pool before the block (DTAO 3.3).

    Alpha is injected in the price's proportion, up to root's share of the alpha emission; the TAO that this cap leaves
    over goes to a chain buy. Without a price, TAO goes in alone.
    """
    issuance = alpha_issuance(subnet.pool.alpha, subnet.alpha_out)
    alpha_out = UQ96.from_int(block_emission(issuance))
    price = UQ96.from_fraction_bits(spot_price(subnet.pool), 64)
    cap = UQ96.mul(root_proportion(economy.root_tao, economy.tao_weight, issuance), alpha_out)
    tao_in, alpha_in = emission, UQ96.div_or_zero(emission, price)
    if alpha_in > cap:
        alpha_in = cap
        tao_in = UQ96.mul(alpha_in, price)
    return Terms(tao_in, alpha_in, alpha_out, UQ96.sub(emission, tao_in))


def inject_all(subnets: Sequence[Subnet], terms: Sequence[Terms], credit: Rao) -> tuple[list[Injection], Rao]:
    """Phase 1 of DTAO 3.5 on the emitting subnets in order; gives the credit nobody spent too."""
    done = []
    for subnet, term in zip(subnets, terms, strict=True):
        injection = inject(subnet, term, credit)
        credit = Rao(credit - injection.spent)
        done.append(injection)
    return done, credit


def inject(subnet: Subnet, terms: Terms, credit: Rao) -> Injection:
    """Phase 1 of DTAO 3.5 for one subnet: new weight, then the chain buy on old reserves, then the new reserves.

    A buy or an injection that the credit does not cover is left out.
    """
    tao_in, alpha_in = Rao(UQ96.to_u64(terms.tao_in)), Alpha(UQ96.to_u64(terms.alpha_in))
    budget = Rao(UQ96.to_u64(terms.excess))
    pool = add_liquidity(subnet.pool, tao_in, alpha_in)
    if pool is None:
        pool, tao_in, alpha_in = subnet.pool, Rao(0), Alpha(0)

    spent, excess, bought = Rao(0), Rao(0), Alpha(0)
    if 0 < budget <= credit:
        spent = budget  # also when the pool refuses: the TAO then lies in the subnet's account, outside the reserve
        pool, excess, bought = _chain_buy(pool, budget)
    executed = budget if excess or bought else Rao(0)

    pool = replace(pool, alpha=add_alpha(pool.alpha, alpha_in))
    if tao_in > credit - spent:
        tao_in = Rao(0)
    pool = replace(pool, tao=add_rao(pool.tao, tao_in))
    after = replace(
        subnet,
        pool=pool,
        alpha_out=add_alpha(subnet.alpha_out, bought),
        protocol_alpha=add_alpha(subnet.protocol_alpha, bought),
        protocol_flow=min(subnet.protocol_flow + excess + tao_in, I64_MAX),
        volume=min(subnet.volume + executed, U128_MAX),
    )
    return Injection(after, tao_in, alpha_in, excess, Rao(spent + tao_in), Rao(executed + tao_in))


def _chain_buy(pool: Pool, budget: Rao) -> tuple[Pool, Rao, Alpha]:
    """(pool, TAO that entered it, alpha bought) of a buy without fee (DTAO 3.5 phase 1 step 3)."""
    if not pool.dynamic:
        alpha = Alpha(max(pool.alpha - budget, 0))
        return replace(pool, tao=add_rao(pool.tao, budget), alpha=alpha), budget, Alpha(budget)
    try:
        done = swap(pool, Side.BUY, budget, MAX_PRICE, drop_fees=True)
    except SwapError as refused:
        kept = refused.reason is SwapRefusal.InsufficientLiquidity
        return initialised_pool(pool) if kept else pool, Rao(0), Alpha(0)
    return traded_pool(done, Side.BUY), Rao(done.paid_in), Alpha(done.paid_out)
