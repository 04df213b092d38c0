"""What every block start keeps, whatever the subnets look like; and the single rules of the pipeline (DTAO 3)."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yumad.consensus.fixed_point import I96F32, U64F64, U96F32, UQ64, UQ96
from yumad.consensus.rules.v1.dtao.coinbase import BlockOutcome, run_block
from yumad.consensus.rules.v1.dtao.economy import Economy, EmissionGate, Pending, Subnet, tao_weight, u16_share
from yumad.consensus.rules.v1.dtao.emission import alpha_issuance
from yumad.consensus.rules.v1.dtao.injection import Terms, inject
from yumad.consensus.rules.v1.dtao.pool import MIN_WEIGHT, Pool, spot_price
from yumad.consensus.rules.v1.dtao.shares import demand_shares, enabled_shares, gated_shares, root_sells
from yumad.consensus.rules.v1.dtao.units import PERQUINTILL_ONE, Alpha, Perquintill
from yumad.consensus.rules.v1.schedule import SubnetSchedule
from yumad.consensus.types import Height, InvalidError, Rao

BLOCK = Height(5_000_000)
TEMPO = 360


def make_subnet(netuid: int, tao: int, alpha: int, alpha_out: int, price: int, **more: object) -> Subnet:
    """An emitting subnet that is not due for an epoch."""
    pool = Pool(1, Rao(tao), Alpha(alpha))
    schedule = SubnetSchedule(netuid, TEMPO, BLOCK - 1, 0, 0, 0)
    made = Subnet(pool, schedule, Alpha(alpha_out), I96F32(price), first_emission_block=Height(1_000_000))
    return made._replace(**more)  # type: ignore[arg-type]


def make_economy(*subnets: Subnet, root_tao: int = 6 * 10**15) -> Economy:
    return Economy(
        total_issuance=Rao(9 * 10**15),
        total_stake=Rao(4 * 10**15),
        root_tao=Rao(root_tao),
        tao_weight=tao_weight(3_320_413_933_267_719_290),
        owner_cut=u16_share(11_796),
        subnets=subnets,
    )


def run(economy: Economy) -> BlockOutcome:
    return run_block(economy, BLOCK, economy.total_issuance)


SUBNETS = st.lists(
    st.builds(
        make_subnet,
        st.just(1),
        tao=st.integers(0, 10**16),
        alpha=st.integers(0, 10**16),
        alpha_out=st.integers(0, 10**16),
        price=st.integers(0, 1 << 32),
        miner_burned=st.integers(0, 1 << 32).map(U96F32),
        emission_enabled=st.booleans(),
        subtoken_enabled=st.sampled_from((True, True, True, False)),
        registration_allowed=st.sampled_from((True, True, True, False)),
        owner_cut_enabled=st.booleans(),
    ),
    max_size=6,
)


@settings(max_examples=150)
@given(subnets=SUBNETS, data=st.data())
def test_block_creates_and_loses_nothing_it_does_not_report(subnets: list[Subnet], data: st.DataObject) -> None:
    weights = st.integers(MIN_WEIGHT, PERQUINTILL_ONE - MIN_WEIGHT)
    drifted = [
        subnet._replace(
            pool=subnet.pool._replace(quote_weight=Perquintill(data.draw(weights))),
            schedule=subnet.schedule._replace(netuid=netuid),
        )
        for netuid, subnet in enumerate(subnets, 1)
    ]
    gate = data.draw(st.sampled_from((None, EmissionGate(3, U64F64((1 << 64) // 100)))))
    issuance = data.draw(st.integers(0, 21 * 10**15))
    economy = make_economy(*drifted, root_tao=data.draw(st.integers(0, 10**16)))
    economy = replace(economy, total_issuance=Rao(issuance), gate=gate)
    done = run(economy)
    after = done.economy

    assert after.total_issuance == economy.total_issuance + done.minted - done.recycled_tao
    grown = sum(new.pool.tao - old.pool.tao for new, old in zip(after.subnets, economy.subnets, strict=True))
    assert 0 <= grown <= done.minted - done.recycled_tao  # the difference is what refused buys left outside the pools
    assert grown == sum(part.injection.tao_in + part.injection.excess for part in done.emitting)

    blocks = {part.netuid: part for part in done.emitting}
    recycled = 0
    for new, old in zip(after.subnets, economy.subnets, strict=True):
        part = blocks.get(new.netuid)
        if part is None:
            assert new == old._replace(schedule=new.schedule)
            continue
        before, now = (alpha_issuance(s.pool.alpha, s.alpha_out) for s in (old, new))
        lost = before + part.injection.alpha_in + part.alpha_out - now
        assert lost >= 0
        recycled += lost
        assert sum(new.pending) + lost <= part.alpha_out
        assert part.alpha_out - sum(new.pending) - lost <= 4  # each of the four parts drops less than a unit
        assert MIN_WEIGHT <= new.pool.quote_weight <= PERQUINTILL_ONE - MIN_WEIGHT
    assert recycled == done.recycled_alpha
    assert done.root_sells <= (recycled == 0)


@given(st.lists(st.integers(0, 1 << 33), max_size=8), st.integers(1, 5), st.integers(1, 1 << 64))
def test_shares_add_up_to_at_most_one_and_lose_only_rounding(prices: list[int], exponent: int, bar: int) -> None:
    subnets = [make_subnet(netuid, 1, 1, 1, price) for netuid, price in enumerate(prices, 1)]
    for gate in (None, EmissionGate(exponent, U64F64(bar))):
        shares = demand_shares(subnets, gate)
        assert sum(shares) <= UQ64.one
        if gate is None and any(prices):
            assert UQ64.one - sum(shares) <= 2 * len(prices)


def test_burned_part_of_the_incentive_lowers_demand_but_never_to_nothing_for_all() -> None:
    burned = [make_subnet(n, 1, 1, 1, 1 << 30, miner_burned=UQ96.one) for n in (1, 2)]
    assert demand_shares(burned, None) == [UQ64.one >> 1] * 2
    half = [burned[0]._replace(miner_burned=U96F32(UQ96.one >> 1)), burned[1]._replace(miner_burned=U96F32(0))]
    assert demand_shares(half, None) == [(1 << 64) // 3, (2 << 64) // 3]


def test_gate_keeps_half_of_a_share_at_the_bar_and_favours_the_large() -> None:
    bar = U64F64(UQ64.one >> 2)
    shares = [U64F64(UQ64.one >> 2), U64F64(3 * (UQ64.one >> 2))]
    small, large = gated_shares(shares, EmissionGate(3, bar))
    # 1/4 * 1/2 against 3/4 * 27/28, normalised
    assert abs(small - (UQ64.one * 28) // (28 + 162)) <= 4
    assert abs(small + large - UQ64.one) <= 2


@pytest.mark.parametrize(("exponent", "bar"), [(0, 1), (9, 1), (3, 0), (3, UQ64.one + 1)])
def test_gate_outside_its_bounds_is_refused(exponent: int, bar: int) -> None:
    with pytest.raises(InvalidError, match="an emission gate"):
        EmissionGate(exponent, U64F64(bar))


def test_disabled_subnet_gets_no_tao_but_mints_alpha() -> None:
    disabled = make_subnet(1, 10**13, 10**14, 10**14, 1 << 30, emission_enabled=False)
    other = make_subnet(2, 10**13, 10**14, 10**14, 1 << 30)
    done = run(make_economy(disabled, other))
    assert [part.emission > 0 for part in done.emitting] == [False, True]
    assert [part.alpha_out for part in done.emitting] == [10**9, 10**9]
    assert done.economy.subnets[0].pool == disabled.pool
    shares = enabled_shares([U64F64(3), U64F64(7)], [disabled, other._replace(emission_enabled=False)])
    assert shares == [0, 0]


def test_enabled_subnets_are_not_normalised_again() -> None:
    subnets = [make_subnet(n, 1, 1, 1, 1) for n in (1, 2, 3)]
    shares = demand_shares(subnets, None)
    assert sum(shares) < UQ64.one
    assert enabled_shares(shares, subnets) == shares


@pytest.mark.parametrize(
    "change",
    [{"first_emission_block": None}, {"subtoken_enabled": False}, {"registration_allowed": False}],
)
def test_subnet_outside_the_emitting_set_mints_nothing_while_its_clock_runs(change: dict[str, object]) -> None:
    idle = make_subnet(1, 10**13, 10**14, 10**14, 1 << 30, **change)
    done = run(make_economy(idle))
    assert done.emitting == ()
    assert done.recycled_tao == done.minted == 10**9
    (after,) = done.economy.subnets
    assert after == idle._replace(schedule=idle.schedule._replace(blocks_since_last_step=1))


def test_pool_without_alpha_takes_tao_alone() -> None:
    done = run(make_economy(make_subnet(1, 10**13, 0, 10**14, 1 << 30)))
    (part,) = done.emitting
    assert part.terms.alpha_in == 0
    assert part.terms.tao_in == part.emission


def test_weight_outside_its_bounds_cancels_the_injection_and_keeps_the_weight() -> None:
    lopsided = make_subnet(1, 10, 10**14, 10**14, 1 << 30)
    done = run(make_economy(lopsided))
    (part,) = done.emitting
    assert part.terms.tao_in >> 32 > 0
    assert (part.injection.tao_in, part.injection.alpha_in) == (0, 0)
    assert done.economy.subnets[0].pool.quote_weight == lopsided.pool.quote_weight


def test_refused_chain_buy_is_spent_all_the_same() -> None:
    """Too little alpha for a swap: the TAO lies in the subnet's account, outside the pool."""
    scarce = make_subnet(1, 10**6, 999_999, 20 * 10**15, 1 << 30)
    excess = UQ96.from_int(5000)
    terms = Terms(UQ96.from_int(0), UQ96.from_int(0), UQ96.one, excess)
    done = inject(scarce.pool, terms, Rao(10**9))
    assert (done.spent, done.staked, done.excess) == (5000, 0, 0)
    assert (done.pool, done.traded) == (scarce.pool, 0)


def test_credit_that_does_not_cover_a_step_leaves_it_out_but_keeps_the_alpha() -> None:
    pool = make_subnet(1, 10**12, 10**12, 0, 1 << 30)
    terms = Terms(UQ96.from_int(600), UQ96.from_int(600), UQ96.one, UQ96.from_int(500))
    done = inject(pool.pool, terms, Rao(1000))
    assert (done.spent, done.tao_in, done.alpha_in) == (500, 0, 600)
    assert inject(pool.pool, terms, Rao(499)).spent == 0


def test_stable_subnet_buys_one_to_one_and_its_price_reads_as_one() -> None:
    stable = make_subnet(1, 10**13, 10**14, 10**14, 77, pool=Pool(0, Rao(10**13), Alpha(10**14)))
    assert stable.price == UQ64.one
    done = run(make_economy(stable, root_tao=0))
    (after,) = done.economy.subnets
    assert (after.pool.tao, after.pool.alpha) == (10**13 + 10**9, 10**14 - 10**9)
    assert after.protocol_alpha == 10**9
    assert after.moving_price == 1 << 32


def test_root_sells_only_above_one_exactly() -> None:
    halves = [make_subnet(n, 1, 1, 1, 1 << 31) for n in (1, 2)]
    assert not root_sells(halves)
    assert root_sells([halves[0], halves[1]._replace(moving_price=I96F32((1 << 31) + 1))])


def test_root_share_accrues_when_root_sells() -> None:
    dear = make_subnet(1, 10**14, 10**14, 10**14, (1 << 32) + 1)
    done = run(make_economy(dear))
    assert done.root_sells
    assert done.recycled_alpha == 0
    assert done.economy.subnets[0].pending.root > 0


def test_due_subnet_is_drained_after_this_blocks_accrual() -> None:
    waiting = Pending(Alpha(5), Alpha(6), Alpha(7), Alpha(8))
    due = make_subnet(1, 10**14, 10**14, 10**14, 1 << 30, pending=waiting)
    due = due._replace(schedule=due.schedule._replace(last_epoch_block=BLOCK - TEMPO))
    done = run(make_economy(due))
    ((netuid, drained),) = done.drained
    assert netuid == 1
    assert drained.server > waiting.server
    assert drained.root == waiting.root
    assert done.economy.subnets[0].pending == Pending()
    assert done.economy.subnets[0].schedule.epoch_index == 1


def test_block_with_more_due_subnets_than_slots_defers_the_rest() -> None:
    subnets = [make_subnet(n, 10**14, 10**14, 10**14, 1 << 30) for n in (1, 2, 3)]
    due = [s._replace(schedule=s.schedule._replace(last_epoch_block=BLOCK - TEMPO)) for s in subnets]
    done = run(make_economy(*due))
    assert [netuid for netuid, _ in done.drained] == [1, 2]
    assert done.slots.deferred == (3,)
    assert sum(done.economy.subnets[2].pending) > 0


def test_price_is_kept_by_an_injection_without_excess() -> None:
    young = make_subnet(1, 10**15, 10**14, 0, 1 << 30)
    before = spot_price(young.pool)
    done = run(make_economy(young, root_tao=10**18))
    (part,) = done.emitting
    assert part.injection.excess == 0 < part.injection.tao_in
    after = spot_price(done.economy.subnets[0].pool)
    assert abs(after - before) <= before // 10**12
