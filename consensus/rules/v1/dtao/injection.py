"""What a block's TAO does to the pools: terms, injection and chain buys (DTAO 3.3 and 3.5, phase 1)."""

from collections.abc import Sequence
from typing import NamedTuple

from ....fixed_point import U96F32, UQ96
from ....types import Rao
from .economy import Subnet
from .emission import alpha_issuance, block_emission
from .pool import (
    MAX_PRICE,
    Pool,
    Side,
    SwapError,
    SwapRefusal,
    initialised_pool,
    spot_price,
    swap,
    traded_pool,
    weight_after_injection,
)
from .shares import root_proportion
from .units import Alpha, add_alpha, add_rao


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


class Injection(NamedTuple):
    """What phase 1 did to one subnet."""

    pool: Pool
    """After injection and buy."""

    tao_in: Rao
    """SubnetTaoInEmission: injected TAO."""

    alpha_in: Alpha
    """SubnetAlphaInEmission: injected alpha."""

    excess: Rao
    """SubnetExcessTao: TAO of the chain buy that entered the pool."""

    bought: Alpha
    """Alpha of the chain buy; it leaves the pool and belongs to nobody."""

    traded: Rao
    """What the buy was given, when the pool did not refuse it; all of it counts as volume."""

    spent: Rao
    """Credit used: injected TAO, and what the buy was given even where the pool refused."""

    @property
    def staked(self) -> Rao:
        """What TotalStake grows by."""
        return Rao(self.tao_in + self.traded)


def emission_terms(subnet: Subnet, emission: U96F32, root: U96F32) -> Terms:
    """Amounts for one subnet from its pool before the block; `root` is root's weighted TAO (DTAO 3.3).

    Alpha is injected in the price's proportion, up to root's share of the alpha emission; the TAO that this cap leaves
    over goes to a chain buy. Without a price, TAO goes in alone. All in U96F32: a block's emission is at most 2^62
    there, and what is divided by the price is at most multiplied by it again.
    """
    issuance = alpha_issuance(subnet.pool.alpha, subnet.alpha_out)
    alpha_out = UQ96.from_int(block_emission(issuance))
    price = spot_price(subnet.pool) >> 32
    cap = root_proportion(root, issuance) * alpha_out >> 32
    tao_in, alpha_in = int(emission), (emission << 32) // price if price else 0
    if alpha_in > cap:
        alpha_in = cap
        tao_in = alpha_in * price >> 32
    return Terms(U96F32(tao_in), U96F32(alpha_in), alpha_out, U96F32(emission - tao_in))


def inject_all(subnets: Sequence[Subnet], terms: Sequence[Terms], credit: Rao) -> tuple[list[Injection], Rao]:
    """Phase 1 of DTAO 3.5 on the emitting subnets in order; gives the credit nobody spent too."""
    done = []
    for subnet, term in zip(subnets, terms, strict=True):
        injection = inject(subnet.pool, term, credit)
        credit = Rao(credit - injection.spent)
        done.append(injection)
    return done, credit


def inject(pool: Pool, terms: Terms, credit: Rao) -> Injection:
    """Phase 1 of DTAO 3.5 for one subnet: new weight, then the chain buy on old reserves, then the new reserves.

    A buy or an injection that the credit does not cover is left out.
    """
    tao_in, alpha_in = Rao(UQ96.to_u64(terms.tao_in)), Alpha(UQ96.to_u64(terms.alpha_in))
    budget = Rao(UQ96.to_u64(terms.excess))
    weight = weight_after_injection(pool, tao_in, alpha_in)
    if weight is None:
        weight, tao_in, alpha_in = pool.quote_weight, Rao(0), Alpha(0)

    spent, excess, bought, traded = Rao(0), Rao(0), Alpha(0), Rao(0)
    if 0 < budget <= credit:
        spent = budget  # also when the pool refuses: the TAO then lies in the subnet's account, outside the reserve
        pool, excess, bought, traded = _chain_buy(pool._replace(quote_weight=weight), budget)
        weight = pool.quote_weight

    if tao_in > credit - spent:
        tao_in = Rao(0)
    tao, alpha = add_rao(pool.tao, tao_in), add_alpha(pool.alpha, alpha_in)
    pool = Pool(pool.mechanism, tao, alpha, weight, pool.initialised, pool.fee_rate)
    return Injection(pool, tao_in, alpha_in, excess, bought, traded, Rao(spent + tao_in))


def _chain_buy(pool: Pool, budget: Rao) -> tuple[Pool, Rao, Alpha, Rao]:
    """(pool, TAO that entered it, alpha bought, TAO traded) of a buy without fee (DTAO 3.5 phase 1 step 3)."""
    if not pool.dynamic:
        alpha = Alpha(max(pool.alpha - budget, 0))
        return pool._replace(tao=add_rao(pool.tao, budget), alpha=alpha), budget, Alpha(budget), budget
    try:
        done = swap(pool, Side.BUY, budget, MAX_PRICE, drop_fees=True)
    except SwapError as refused:
        kept = refused.reason is SwapRefusal.InsufficientLiquidity
        return initialised_pool(pool) if kept else pool, Rao(0), Alpha(0), Rao(0)
    return traded_pool(done, Side.BUY), Rao(done.paid_in), Alpha(done.paid_out), budget
