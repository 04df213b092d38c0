"""Buying and selling stake: the pool's books, the author's fee, and small nominations (DTAO 6.2, 6.3, 6.5)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from dev_chain import account
from stake_world import ALICE, AUTHORITY, BOB, HOT, StakeWorld, names
from yumad.consensus.profiles import TAO
from yumad.consensus.rules.v1.author import author_coldkey
from yumad.consensus.rules.v1.calls.order_effects import global_parameter_order
from yumad.consensus.rules.v1.dtao.pool import MAX_PRICE, MIN_PRICE, Side, limit_price, swap
from yumad.consensus.rules.v1.errors import CallError, ErrorCode
from yumad.consensus.rules.v1.hyperparameters import GLOBAL
from yumad.consensus.rules.v1.locks import add_lock, current_lock
from yumad.consensus.rules.v1.markets import read_pool
from yumad.consensus.rules.v1.root_index import remove_root_holder, root_holder, root_holders
from yumad.consensus.rules.v1.root_stake import accrue_root_dividend, claimed
from yumad.consensus.rules.v1.stakes import ROOT, grow_stake, has_position, hotkey_stake
from yumad.consensus.rules.v1.trading import close_small_nomination, least_nomination, stake_into, unstake_from
from yumad.consensus.types import Era

BOOKS = ("tao_reserve", "alpha_reserve", "alpha_out", "account")


@pytest.fixture
def world() -> StakeWorld:
    return StakeWorld()


def author_of(world: StakeWorld) -> bytes:
    coldkey = author_coldkey(world.state, world.ctx)
    assert coldkey is not None
    return coldkey


def listed(world: StakeWorld, coldkey: bytes) -> bool:
    places = range(root_holders(world.state))
    return coldkey in [root_holder(world.state, place) for place in places]


# --- buying -----------------------------------------------------------------------------------------------------------


def test_purchase_books_reserves_outstanding_alpha_and_fee(world: StakeWorld) -> None:
    """DTAO 13.17: the fee never enters the reserve; the author has it."""
    expected = swap(read_pool(world.state, 1), Side.BUY, 10 * TAO, MAX_PRICE)
    tao, alpha, outstanding, held = world.of_subnet(1, *BOOKS)
    author = author_of(world)
    done = stake_into(world.state, world.ctx, HOT, BOB, 1, 10 * TAO)
    assert (done.tao, done.alpha, done.fee) == (10 * TAO, expected.paid_out, 5_035_477)
    assert world.of_subnet(1, *BOOKS) == [
        tao + 10 * TAO - done.fee,
        alpha - done.alpha,
        outstanding + done.alpha,
        held + 10 * TAO - done.fee,
    ]
    assert world.free(author) == done.fee  # type: ignore[arg-type]
    assert world.free(BOB) == 990 * TAO
    assert world.held(BOB, 1) == done.alpha
    assert done.event.arguments == (BOB, HOT, 10 * TAO, done.alpha, 1, done.fee)
    assert world.adds_up()


def test_purchase_counts_the_whole_amount_in_total_stake_and_volume(world: StakeWorld) -> None:
    """DTAO 13.16: the fee is counted too."""
    before, volume = world.number("chain/total_stake", 0), world.state.read_wide("subnets/volume", 1)
    stake_into(world.state, world.ctx, HOT, BOB, 1, 10 * TAO)
    assert world.number("chain/total_stake", 0) == before + 10 * TAO
    assert world.state.read_wide("subnets/volume", 1) == volume + 10 * TAO


def test_purchase_without_an_author_burns_the_fee(world: StakeWorld) -> None:
    nobody = replace(world.ctx, era=Era(999))
    done = stake_into(world.state, nobody, HOT, BOB, 1, 10 * TAO)
    assert world.number("chain/burned", 0) == done.fee > 0
    assert world.adds_up()


def test_purchase_of_more_than_there_is_keeps_the_existential_deposit(world: StakeWorld) -> None:
    done = stake_into(world.state, world.ctx, HOT, BOB, 1, 5000 * TAO)
    assert done.tao == 1000 * TAO - 500
    assert world.free(BOB) == 500


def test_purchase_with_nothing_above_the_existential_deposit_fails(world: StakeWorld) -> None:
    stake_into(world.state, world.ctx, HOT, BOB, 1, 5000 * TAO)
    with pytest.raises(CallError) as refused:
        stake_into(world.state, world.ctx, HOT, BOB, 1, 1)
    assert refused.value.number is ErrorCode.InsufficientBalance


def test_purchase_for_nothing_is_too_low(world: StakeWorld) -> None:
    with pytest.raises(CallError) as refused:
        stake_into(world.state, world.ctx, HOT, BOB, 1, 0)
    assert refused.value.number is ErrorCode.AmountTooLow


def test_purchase_that_its_limit_stops_leaves_the_rest_in_the_subnets_account(world: StakeWorld) -> None:
    """DTAO 13.18: stranded until the subnet ends."""
    done = stake_into(world.state, world.ctx, HOT, BOB, 1, 100 * TAO, limit_price(1_010_000_000))
    tao, held = world.of_subnet(1, "tao_reserve", "account")
    assert done.tao == 100 * TAO
    assert held - tao == 100 * TAO - (tao - 1000 * TAO) - done.fee == 95_009_925_148
    assert world.adds_up()


def test_purchase_of_one_unit_from_an_even_pool_gives_one(world: StakeWorld) -> None:
    """DTAO 13.19: outputs are rounded up in effect."""
    assert stake_into(world.state, world.ctx, HOT, BOB, 1, 1, drop_fees=True).alpha == 1


def test_first_purchase_behind_a_key_without_stakers_captures_what_waits_there(world: StakeWorld) -> None:
    """DTAO 13.13."""
    fresh = account("authority-0/hot")
    grow_stake(world.state, 1, fresh, 7 * TAO)
    done = stake_into(world.state, world.ctx, fresh, BOB, 1, TAO)
    assert world.held(BOB, 1, fresh) == 7 * TAO + done.alpha


def test_purchase_on_root_is_one_to_one_and_lists_the_holder(world: StakeWorld) -> None:
    accrue_root_dividend(world.state, 1, AUTHORITY, 10 * TAO)
    done = stake_into(world.state, world.ctx, AUTHORITY, BOB, ROOT, 10 * TAO)
    assert (done.alpha, done.fee) == (10 * TAO, 0)
    assert listed(world, BOB)
    assert claimed(world.state, 1, AUTHORITY, BOB) == 990_099_008  # its share of what accrued before it came
    assert world.of_subnet(ROOT, "account", "tao_reserve", "alpha_out") == [416 * TAO] * 3


# --- selling ----------------------------------------------------------------------------------------------------------


def test_sale_pays_out_and_sells_its_fee_for_the_author(world: StakeWorld) -> None:
    """DTAO 13.17: the fee's sale moves the price a second time."""
    bought = stake_into(world.state, world.ctx, HOT, BOB, 1, 10 * TAO, drop_fees=True).alpha
    first = swap(read_pool(world.state, 1), Side.SELL, bought, MIN_PRICE)
    free, books, author = world.free(BOB), world.of_subnet(1, *BOOKS), author_of(world)
    done = unstake_from(world.state, world.ctx, HOT, BOB, BOB, 1, bought)
    assert (done.tao, done.alpha, done.fee) == (first.paid_out, first.paid_in, first.fee)
    assert done.alpha + done.fee == bought
    proceeds = world.free(author)  # type: ignore[arg-type]
    assert 0 < proceeds < done.fee * 2
    assert world.free(BOB) == free + done.tao
    assert world.of_subnet(1, *BOOKS) == [
        books[0] - done.tao - proceeds,
        books[1] + bought,
        books[2] - bought,
        books[3] - done.tao - proceeds,
    ]
    assert done.event.arguments == (BOB, HOT, done.tao, done.alpha, 1, done.fee)
    assert world.adds_up()


def test_sale_without_an_author_burns_the_fee_as_alpha(world: StakeWorld) -> None:
    bought = stake_into(world.state, world.ctx, HOT, BOB, 1, 10 * TAO).alpha
    [outstanding] = world.of_subnet(1, "alpha_out")
    done = unstake_from(world.state, replace(world.ctx, era=Era(999)), HOT, BOB, BOB, 1, bought)
    assert world.of_subnet(1, "alpha_out", "alpha_burned") == [outstanding - done.alpha, done.fee]
    assert world.adds_up()


def test_sale_that_its_limit_stops_gives_the_rest_back(world: StakeWorld) -> None:
    bought = stake_into(world.state, world.ctx, HOT, BOB, 1, 100 * TAO).alpha
    floor = limit_price(1_200_000_000)
    done = unstake_from(world.state, world.ctx, HOT, BOB, BOB, 1, bought, floor)
    assert 0 < done.alpha + done.fee < bought
    assert world.held(BOB, 1) in (bought - done.alpha - done.fee, bought - done.alpha - done.fee - 1)


def test_sale_whose_fee_nobody_buys_fails_as_a_whole(world: StakeWorld) -> None:
    stake_into(world.state, world.ctx, HOT, BOB, 1, 10 * TAO)
    world.set_subnet(1, tao_reserve=2_000_000)  # two rao for a million alpha: 503 of fee are worth nothing
    with pytest.raises(CallError) as refused:
        unstake_from(world.state, world.ctx, HOT, BOB, BOB, 1, 1_000_000)
    assert refused.value.number is ErrorCode.ReservesTooLow


def test_sale_of_the_last_root_stake_leaves_the_list(world: StakeWorld) -> None:
    stake_into(world.state, world.ctx, AUTHORITY, BOB, ROOT, 10 * TAO)
    stake_into(world.state, world.ctx, HOT, BOB, ROOT, 10 * TAO)
    unstake_from(world.state, world.ctx, HOT, BOB, BOB, ROOT, 10 * TAO)
    assert listed(world, BOB)
    unstake_from(world.state, world.ctx, AUTHORITY, BOB, BOB, ROOT, 10 * TAO)
    assert not listed(world, BOB)


def test_sale_of_everything_may_leave_a_share_worth_nothing(world: StakeWorld) -> None:
    """DTAO 13.14: "value 0" is not "no entry"."""
    grow_stake(world.state, 1, HOT, 333_333_333)
    bought = stake_into(world.state, world.ctx, HOT, BOB, 1, 10 * TAO).alpha
    world.state.add("subnets/alpha_out", 1, 333_333_333)
    unstake_from(world.state, world.ctx, HOT, BOB, BOB, 1, world.held(BOB, 1))
    assert (world.held(BOB, 1), has_position(world.state, 1, HOT, BOB)) == (0, True)
    assert bought > 0


# --- small nominations ------------------------------------------------------------------------------------------------


def set_factor(world: StakeWorld, factor: int) -> list[str]:
    [entry] = [entry for entry in GLOBAL if entry.name == "nominator_min_required_stake"]
    return names(global_parameter_order(entry)(world.state, world.ctx, 0, (factor,)))


def test_least_nomination_is_a_share_of_the_minimum_stake() -> None:
    assert [least_nomination(factor) for factor in (0, 1, 500_000, 10**9)] == [0, 2, 1_000_000, 2 * TAO]


def test_removal_that_leaves_too_little_closes_the_nomination(world: StakeWorld) -> None:
    set_factor(world, 10**9)
    bought = stake_into(world.state, world.ctx, HOT, BOB, 1, 10 * TAO).alpha
    assert names(world.run("bob", "stake.remove_stake", HOT, 1, bought - TAO)) == ["StakeRemoved"] * 2
    assert world.held(BOB, 1) == 0


def test_removal_that_leaves_enough_keeps_the_nomination(world: StakeWorld) -> None:
    set_factor(world, 10**9)
    bought = stake_into(world.state, world.ctx, HOT, BOB, 1, 10 * TAO).alpha
    assert names(world.run("bob", "stake.remove_stake", HOT, 1, bought - 3 * TAO)) == ["StakeRemoved"]


def test_removal_by_the_owner_may_leave_anything(world: StakeWorld) -> None:
    set_factor(world, 10**9)
    assert names(world.run("alice", "stake.remove_stake", HOT, 1, TAO)) == ["StakeRemoved"]
    assert world.held(ALICE, 1) == TAO


def test_small_nomination_that_nobody_buys_is_deleted_and_its_lock_reduced(world: StakeWorld) -> None:
    stake_into(world.state, world.ctx, HOT, BOB, 1, TAO)
    held = world.held(BOB, 1)
    add_lock(world.state, 1, BOB, HOT, held, world.ctx.height)
    [outstanding] = world.of_subnet(1, "alpha_out")
    world.set_subnet(1, tao_reserve=900_000)  # too little to trade
    set_factor(world, 10**9)
    assert world.held(BOB, 1) == 0
    assert world.of_subnet(1, "alpha_out") == [outstanding]
    assert current_lock(world.state, 1, BOB, world.ctx.height) is None


def test_small_nomination_that_is_an_authoritys_bond_stays(world: StakeWorld) -> None:
    """The bond is DESIGN decision 7: no path lowers root stake below it."""
    stake_into(world.state, world.ctx, AUTHORITY, BOB, ROOT, TAO)
    assert names(world.run("authority-1/cold", "stake.remove_stake", AUTHORITY, ROOT, TAO)) == ["StakeRemoved"]
    set_factor(world, 10**9)
    assert world.held(BOB, ROOT, AUTHORITY) == TAO
    assert hotkey_stake(world.state, ROOT, AUTHORITY) == 101 * TAO


def test_raised_factor_sweeps_small_nominations_of_others(world: StakeWorld) -> None:
    stake_into(world.state, world.ctx, HOT, BOB, 1, TAO)
    stake_into(world.state, world.ctx, HOT, BOB, 2, 5 * TAO)
    assert set_factor(world, 10**9) == ["StakeRemoved"]
    assert (world.held(BOB, 1), world.held(BOB, 2) > 0, world.held(ALICE, 1)) == (0, True, 2 * TAO)
    assert world.adds_up()


@pytest.mark.parametrize(("factor", "swept"), [(1_000_000_002, False), (2_000_000_001, True)])
def test_factor_is_compared_with_the_minimum_that_the_old_one_gave(world: StakeWorld, factor: int, swept: bool) -> None:
    """DTAO 6.5: raising it above the computed previous value sweeps; 10^9 gave 2 * 10^9 rao."""
    set_factor(world, 10**9)
    stake_into(world.state, world.ctx, HOT, BOB, 1, TAO)
    assert (set_factor(world, factor) == ["StakeRemoved"]) is swept


def test_closing_a_position_of_enough_does_nothing(world: StakeWorld) -> None:
    stake_into(world.state, world.ctx, HOT, BOB, 1, 10 * TAO)
    assert close_small_nomination(world.state, world.ctx, HOT, BOB, 1) == []


# --- the list of root holders -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["root.claim_root", "root.set_root_claim_type"])
def test_claim_calls_list_a_root_holder_that_came_by_a_transfer(world: StakeWorld, call: str) -> None:
    """DTAO 13.15."""
    stake_into(world.state, world.ctx, AUTHORITY, BOB, ROOT, 10 * TAO)
    remove_root_holder(world.state, BOB)
    world.run("bob", call, *([[1]] if call == "root.claim_root" else [1, []]))
    assert listed(world, BOB)


def test_claim_of_one_without_root_stake_lists_nobody(world: StakeWorld) -> None:
    world.run("carol", "root.claim_root", [1])
    assert not listed(world, account("carol"))
