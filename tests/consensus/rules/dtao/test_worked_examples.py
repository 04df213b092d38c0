"""The worked examples of DTAO section 12, each by its number."""

import pytest
from yumad.consensus.fixed_point import I64F64, I96F32, Q96, U64F64, U96F32, UQ64, UQ96, u64_to_proportion
from yumad.consensus.rules.v1.dtao import safe_float
from yumad.consensus.rules.v1.dtao.accrual import split_alpha
from yumad.consensus.rules.v1.dtao.coinbase import run_block
from yumad.consensus.rules.v1.dtao.conviction import decay, exponential
from yumad.consensus.rules.v1.dtao.distribution import (
    Holder,
    PayoutRules,
    Relation,
    split_among_parents,
    split_local_and_root,
    split_take,
)
from yumad.consensus.rules.v1.dtao.economy import Economy, Pending, Subnet, tao_weight, u16_share
from yumad.consensus.rules.v1.dtao.pool import (
    MAX_PRICE,
    MIN_PRICE,
    Pool,
    Side,
    add_liquidity,
    input_to_price,
    limit_price,
    pool_at_price,
    remaining_share,
    spot_price,
    swap,
    swap_fee,
)
from yumad.consensus.rules.v1.dtao.rational_power import pow_ratio_scaled_1e18
from yumad.consensus.rules.v1.dtao.registration_price import DEFAULT_INCREASE, decay_factor, decayed_price, raised_price
from yumad.consensus.rules.v1.dtao.root_claims import auto_claim_indices, claimable_increment, owed
from yumad.consensus.rules.v1.dtao.share_pool import SharePool, decrease, grow, holding, increase
from yumad.consensus.rules.v1.dtao.shares import moved_price, root_proportion, weighted_root
from yumad.consensus.rules.v1.dtao.subnet_market import LockTerms, lock_cost, share_out_pot
from yumad.consensus.rules.v1.dtao.units import Alpha, Perquintill
from yumad.consensus.rules.v1.schedule import SubnetSchedule
from yumad.consensus.types import AccountId, Hash32, Height, Rao

TAO_WEIGHT = 3_320_413_933_267_719_290
"""0.18 of 2^64-1."""

OWNER_CUT = 11_796


def perquintill(percent_thousandths: int) -> Perquintill:
    return Perquintill(percent_thousandths * 10**15)


def account(letter: str) -> AccountId:
    return AccountId(letter.encode() * 32)


def subnet(netuid: int, pool: Pool, alpha_out: int, price: int, **more: object) -> Subnet:
    schedule = SubnetSchedule(netuid, 360, 1_000_000, 0, 0, 0)
    made = Subnet(pool, schedule, Alpha(alpha_out), I96F32(price), first_emission_block=Height(1))
    return made._replace(**more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((21 * 10**15, 28 * 10**15, 6 * 10**17, 4 * 10**17), 649519052838328985),
        ((21 * 10**15, 21 * 10**15 + 1, 499999999500000000, 500000000500000000), 999999999999999952),
        ((21 * 10**15, 21 * 10**15 + 100, 5 * 10**17, 5 * 10**17), 999999999999995238),
        ((21 * 10**15, 21 * 10**15 + 100, 499999999999500000, 500000000000500000), 999999999999995238),
    ],
)
def test_12_1_power(arguments: tuple[int, int, int, int], expected: int) -> None:
    assert pow_ratio_scaled_1e18(*arguments, 256) == expected


@pytest.mark.parametrize(
    ("quote_thousandths", "reserve", "paid_in", "side", "expected"),
    [
        (250, 500_000, 5_000, Side.SELL, 17904228059285152206),
        (750, 200_000, 2_000, Side.BUY, 17904228059285152206),
        (900, 13_513_642, 1_673, Side.BUY, 18426203291771111799),
        (773, 7 * 10**9, 10_000, Side.SELL, 18446736335016083878),
        (500, 100_000, 100, Side.SELL, 18428315757951599997),
    ],
)
def test_12_2_exponent_factor(quote_thousandths: int, reserve: int, paid_in: int, side: Side, expected: int) -> None:
    quote, base = perquintill(quote_thousandths), perquintill(1000 - quote_thousandths)
    weights = (quote, base) if side is Side.BUY else (base, quote)
    assert remaining_share(reserve, paid_in, *weights) == expected


def test_12_3_input_to_a_limit_price() -> None:
    low, high = U64F64(round(0.1 * 2**64)), U64F64(round(0.2 * 2**64))
    quarter = perquintill(250)
    assert input_to_price(10**9, low, high, Side.BUY, quarter) == 681792830
    assert input_to_price(10**9, high, low, Side.SELL, quarter) == 189207115
    assert input_to_price(10**9, high, low, Side.BUY, quarter) == 0
    assert input_to_price(10**9, low, high, Side.SELL, quarter) == 0


@pytest.mark.parametrize(
    ("quote_thousandths", "side", "amount", "limit", "expected"),
    [
        (500, Side.BUY, 10**9, None, (999496453, 3993993829, 503547)),
        (500, Side.SELL, 10**9, None, (999496453, 249811691, 503547)),
        (500, Side.BUY, 10**11, 260_000_000, (19803902718, 77677297234, 9977234)),
        (500, Side.SELL, 10**12, 240_000_000, (82482904638, 20204102886, 41555003)),
        (600, Side.BUY, 10**9, None, (999496453, 5989494996, 503547)),
        (600, Side.SELL, 10**9, None, (999496453, 166548062, 503547)),
    ],
)
def test_12_4_swaps(
    quote_thousandths: int, side: Side, amount: int, limit: int | None, expected: tuple[int, int, int]
) -> None:
    pool = Pool(1, Rao(10**12), Alpha(4 * 10**12), perquintill(quote_thousandths))
    assert spot_price(pool) == {500: 4611686018427387904, 600: 3074457345618258602}[quote_thousandths]
    open_limit = MAX_PRICE if side is Side.BUY else MIN_PRICE
    done = swap(pool, side, amount, open_limit if limit is None else limit_price(limit))
    assert (done.paid_in, done.paid_out, done.fee) == expected


@pytest.mark.parametrize(
    ("tao_in", "alpha_in", "weight", "price"),
    [
        (1234567, 2432765, 500000156593793217, 4611686018427387917),
        (1234567, 2432765890, 499848306996458184, 4611686018427387906),
        (10**12, 0, 666666666666666666, 4611686018427387917),
        (0, 10**12, 444444444444444444, 4611686018427387911),
        (10**9, 2 * 10**9, 500124906320259805, 4611686018427387906),
    ],
)
def test_12_5_reweighting_keeps_the_price(tao_in: int, alpha_in: int, weight: int, price: int) -> None:
    pool = Pool(1, Rao(10**12), Alpha(4 * 10**12))
    after = add_liquidity(pool, tao_in, alpha_in)
    assert after is not None
    assert after.quote_weight == weight
    grown = after._replace(tao=Rao(pool.tao + tao_in), alpha=Alpha(pool.alpha + alpha_in))
    assert spot_price(grown) == price


def test_12_5_pool_made_for_a_price() -> None:
    pool = pool_at_price(1, Rao(10**9), Alpha(4 * 10**9), UQ64.div_or_zero(UQ64.one, UQ64.from_int(5)))
    assert (pool.quote_weight, spot_price(pool)) == (555555555864197531, 3689348810130224305)


def test_12_6_root_proportion() -> None:
    weight = tao_weight(TAO_WEIGHT)
    assert weight == 773094113
    assert root_proportion(weighted_root(Rao(10**12), weight), 10**11) == 2761050404


def test_12_6_pending_accrual() -> None:
    share = root_proportion(weighted_root(Rao(10**9), UQ96.one), 3 * 10**9 + 1)
    split = split_alpha(UQ96.from_int(10**9), UQ96.from_int(0), share)
    assert (split.server, split.validator, split.root) == (500000000, 375000000, 124999999)


def test_12_7_shares_and_injection() -> None:
    """A tenth of a TAO among two young subnets, in the ratio of their prices."""
    tenth, fifth = (round(0.1 * 2**32), round(0.2 * 2**32))
    subnets = (
        subnet(1, Pool(1, Rao(10**5), Alpha(10**6)), 0, tenth),
        subnet(2, Pool(1, Rao(10**5), Alpha(5 * 10**5)), 0, fifth),
    )
    issuance = 18_375_000_000_000_000  # an eighth of a TAO would be minted
    economy = Economy(Rao(issuance), Rao(0), Rao(10**15), UQ96.one, u16_share(0), subnets)
    # The mint is capped at what accounts may still hold, which gives the example's 10^8.
    done = run_block(economy, Height(10), Rao(21 * 10**15 - 10**8))
    assert done.minted == 10**8
    assert [after.pool.tao for after in done.economy.subnets] == [33433333, 66766666]


@pytest.fixture(name="full_block")
def full_block_fixture() -> Economy:
    """The economy of 12.8."""
    first = Pool(1, Rao(5 * 10**13), Alpha(5 * 10**14))
    second = Pool(1, Rao(2 * 10**13), Alpha(4 * 10**14))
    return Economy(
        total_issuance=Rao(9 * 10**15),
        total_stake=Rao(0),
        root_tao=Rao(6 * 10**15),
        tao_weight=tao_weight(TAO_WEIGHT),
        owner_cut=u16_share(OWNER_CUT),
        subnets=(
            subnet(1, first, 7 * 10**14, 386547057),
            subnet(2, second, 10**14, 193273528, miner_burned=U96F32(UQ96.one >> 1)),
        ),
    )


def test_12_8_full_block(full_block: Economy) -> None:
    assert full_block.owner_cut == 773074452
    done = run_block(full_block, Height(1_000_001), full_block.total_issuance)
    first, second = done.emitting
    assert (first.share, second.share) == (14757395266603138705, 3689348807106412910)
    assert (first.emission, second.emission) == (3435973838577777777, 858993457422222222)
    assert [spot_price(before.pool) >> 32 for before in full_block.subnets] == [429496729, 214748364]
    assert (first.injection.tao_in, first.injection.alpha_in) == (47368420, 473684210)
    assert (second.injection.tao_in, second.injection.alpha_in) == (34177215, 683544303)
    assert (first.terms.excess >> 32, second.terms.excess >> 32) == (752631579, 165822784)
    one, two = done.economy.subnets
    assert (one.pool.quote_weight, two.pool.quote_weight) == (499999999999995000, 499999999999998125)
    assert (one.protocol_alpha, two.protocol_alpha) == (7526202500, 3316428183)
    assert one.pending == Pending(Alpha(410002288), Alpha(215790803), Alpha(0), Alpha(179995422))
    assert two.pending == Pending(Alpha(410002288), Alpha(129747858), Alpha(0), Alpha(179995422))
    assert not done.root_sells
    assert done.recycled_alpha == 194211484 + 280254430
    assert (one.pool.tao, one.pool.alpha, one.alpha_out) == (50000799999999, 499992947481710, 700008331991016)
    assert (two.pool.tao, two.pool.alpha, two.alpha_out) == (20000199999999, 399997367116120, 100004036173753)
    assert [spot_price(after.pool) for after in (one, two)] == [1844729942144787270, 922352498175035542]
    assert done.recycled_tao == 2
    assert done.economy.total_issuance == 9 * 10**15 + 999_999_998


def test_12_8_root_share_and_cap(full_block: Economy) -> None:
    done = run_block(full_block, Height(1_000_001), full_block.total_issuance)
    root = weighted_root(full_block.root_tao, full_block.tao_weight)
    caps = [UQ96.mul(root_proportion(root, issuance), UQ96.from_int(10**9)) for issuance in (12 * 10**14, 5 * 10**14)]
    assert caps == [2034458192000000000, 2935800429000000000]
    after = done.economy.subnets
    # The proportion used for the split is live, before the recycling that the stored one already sees.
    live = [
        root_proportion(root, s.pool.alpha + s.alpha_out + recycled)
        for s, recycled in zip(after, (194211484, 280254430), strict=True)
    ]
    assert live == [2034456877, 2935797301]


def test_12_9_moving_price_after_fourteen_blocks() -> None:
    moving_alpha = I96F32(round(0.1 * 2**32))
    young = subnet(1, Pool(1, Rao(10**12), Alpha(10**12)), 0, 0)
    for _ in range(14):
        young = young._replace(moving_price=moved_price(young, spot_price(young.pool), moving_alpha, Height(201_600)))
    assert young.moving_price == 2200419206


def test_12_9_new_subnet_stays_at_zero_for_a_while() -> None:
    quarter = Pool(1, Rao(10**12), Alpha(4 * 10**12))
    young = subnet(1, quarter, 0, 0)._replace(first_emission_block=Height(101))
    for block in range(101, 163):
        young = young._replace(moving_price=moved_price(young, spot_price(young.pool), I96F32(12885), Height(block)))
        assert young.moving_price == 0
    assert moved_price(young, spot_price(young.pool), I96F32(12885), Height(163)) == 1


def test_12_9_rising_price_of_an_old_subnet() -> None:
    old = subnet(1, Pool(1, Rao(10**12), Alpha(4 * 10**12)), 0, 858993459)._replace(first_emission_block=Height(101))
    assert moved_price(old, spot_price(old.pool), I96F32(12885), Height(10**6)) == 858993995


def test_12_10_dividends_split() -> None:
    a, b, owner = account("a"), account("b"), account("o")
    holders = {a: Holder(owner, 4859302, 2342352), b: Holder(owner, 23423, 859273)}
    dividends = {a: UQ96.from_int(77783738), b: UQ96.from_int(19283940)}
    weight = U96F32(round(0.18 * 2**32))
    alpha, root = split_local_and_root(dividends, Alpha(183123567452), Alpha(837120949872), holders, weight)
    assert [bits >> 32 for bits in alpha.values()] == [176856534496, 6267032912]
    assert sum(alpha.values()) >> 32 == 183123567409
    assert [bits >> 32 for bits in root.values()] == [226443796624, 610677153052]
    assert sum(root.values()) >> 32 == 837120949677


def test_12_11_share_pool() -> None:
    pool, a = increase(SharePool(), safe_float.ZERO, Alpha(1000))
    pool, b = increase(pool, safe_float.ZERO, Alpha(2000))
    pool = grow(pool, 100)
    assert (pool.value, holding(pool, a), holding(pool, b)) == (3100, 1033, 2066)
    pool, c = increase(pool, safe_float.ZERO, Alpha(500))
    assert c == (483870967741935483870, -18)
    assert pool.denominator == (348387096774193548387, -17)
    assert holding(pool, c) == 499
    pool, a = decrease(pool, a, Alpha(1033))
    assert (a, holding(pool, a), pool.value) == ((322580645161290330000, -21), 0, 2567)


def test_12_12_burn_price() -> None:
    low, high = Rao(500_000), Rao(10**11)
    assert decay_factor(360) == 4286705684
    price = decayed_price(Rao(10**9), 360, low, high)
    assert price == 998076443
    for _ in range(359):
        price = decayed_price(price, 360, low, high)
    assert price == 499999865
    assert raised_price(Rao(10**9), DEFAULT_INCREASE, low, high) == 1260000000


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (0, 3000000000000),
        (7200, 2892857145600),
        (50400, 2250000019200),
        (100800, 1500000038400),
        (201600, 1000000000000),
    ],
)
def test_12_13_lock_cost(later: int, expected: int) -> None:
    terms = LockTerms(Rao(1000 * 10**9), Rao(1500 * 10**9), 1000, 100_800)
    assert lock_cost(terms, 1000 + later, Rao(9 * 10**15)) == expected


def test_12_14_lock_decay() -> None:
    assert decay(216_000, 216_000) == 6786177901268885275
    assert decay(40 * 216_000, 216_000) == 78
    assert abs(decay(648_000, 934_866) - 4999998567 * 2**64 // 10**10) < 2**64 // 10**10
    assert exponential(I64F64(0)) == 1 << 64


def test_12_15_root_claim() -> None:
    rate = claimable_increment(Alpha(123456789), 10**12)
    assert rate == 530242
    assert Q96.to_u64(owed(rate, 25 * 10**10, 0)) == 30864146


def test_12_16_auto_claim_indices() -> None:
    assert auto_claim_indices(Hash32(bytes(range(32))), 5, 1000) == (219, 366, 402, 884, 933)


def test_12_17_dissolve() -> None:
    assert share_out_pot(Rao(1000), [333, 333, 335, 500]) == [222, 222, 223, 333]


def test_12_18_minimum_stake_fee() -> None:
    assert swap_fee(2_000_000, 33) == 1007


def test_12_19_child_without_stake_passes_all_but_its_take() -> None:
    parent, child = account("p"), account("c")
    holders = {parent: Holder(account("x"), 10**9, 0), child: Holder(account("y"), 0, 0, childkey_take=6553)}
    rules = PayoutRules(tao_weight(TAO_WEIGHT), u64_to_proportion(0))
    pieces, recycled = split_among_parents(child, Alpha(10**9), holders, [Relation(2**64 - 1, parent)], [], rules)
    assert (pieces, recycled) == ([(parent, 900007629), (child, 99992370)], 0)


def test_12_19_child_with_stake_shares_with_half_a_parent() -> None:
    parent, child = account("p"), account("c")
    holders = {
        parent: Holder(account("x"), 3 * 10**9, 10**10),
        child: Holder(account("y"), 10**9, 0, childkey_take=11796),
    }
    rules = PayoutRules(tao_weight(TAO_WEIGHT), u64_to_proportion(0))
    pieces, recycled = split_among_parents(child, Alpha(10**9), holders, [Relation(2**63 - 1, parent)], [], rules)
    assert (pieces, recycled) == ([(parent, 578826760), (child, 421173239)], 0)


def test_12_20_payout() -> None:
    server, validator, root = 360 * 410002288, 360 * 129747858, 360 * 280254430
    total = server + validator + root
    assert (server, validator, root, total) == (147600823680, 46709228880, 100891594800, 295201647360)
    assert 360 * 179995422 == 64798351920

    def of_total(fraction: int) -> int:
        return Q96.to_u64(Q96.mul(I96F32(fraction), Q96.from_int(total)))

    assert of_total(2**31 - 1) == 147600823611
    first, second, owner = account("a"), account("b"), account("o")
    holders = {first: Holder(owner, 5 * 10**13, 10**13), second: Holder(owner, 2 * 10**13, 0)}
    amounts = of_total(1288490188), of_total(858993459)
    assert amounts == (88560494153, 59040329458)
    dividends = {key: UQ96.from_int(amount) for key, amount in zip(holders, amounts, strict=True)}
    alpha, claimable = split_local_and_root(dividends, Alpha(validator), Alpha(root), holders, tao_weight(TAO_WEIGHT))
    assert [bits >> 32 for bits in alpha.values()] == [27627698467, 19081530401]
    assert split_take(alpha[first], 11_796) == (4972859251, 22654839216)
    assert split_take(alpha[second], 11_796) == (3434588121, 15646942279)
    assert split_take(claimable[first], 11_796) == (18160025207, 82731569592)
    assert claimable[second] == 0
