"""Moving, transferring, swapping, burning and recycling stake, and where mining income goes (DTAO 6.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from dev_chain import account
from stake_world import ALICE, AUTHORITY, BOB, CAROL, HOT, HOT_2, StakeWorld, names
from yumad.consensus.fixed_point import UQ64
from yumad.consensus.profiles import TAO
from yumad.consensus.rules.v1.author import author_coldkey
from yumad.consensus.rules.v1.dtao.pool import MAX_PRICE, MIN_PRICE, Side, swap
from yumad.consensus.rules.v1.locks import add_lock, current_lock
from yumad.consensus.rules.v1.markets import read_pool, spot
from yumad.consensus.rules.v1.root_index import root_holder, root_holders
from yumad.consensus.rules.v1.root_stake import accrue_root_dividend, owed_dividend, root_rates
from yumad.consensus.rules.v1.schema_tables import AUTO_STAKES
from yumad.consensus.rules.v1.stakes import ROOT, decrease_position, hotkey_stake, stake_key

MOVE, TRANSFER = "stake.move_stake", "stake.transfer_stake"
SWAP, SWAP_LIMIT = "stake.swap_stake", "stake.swap_stake_limit"
BURN, RECYCLE, ADD_BURN = "stake.burn_alpha", "stake.recycle_alpha", "stake.add_stake_burn"
AUTO = "stake.set_coldkey_auto_stake_hotkey"
UNKNOWN = account("unknown")
PAR = TAO

Prepare = Callable[[StakeWorld], object]


@pytest.fixture
def world() -> StakeWorld:
    """Bob has about 10 alpha on subnet 1, 20 on subnet 2, and 10 TAO behind an authority on root."""
    world = StakeWorld()
    world.run("bob", "stake.add_stake", HOT, 1, 10 * TAO)
    world.run("bob", "stake.add_stake", HOT, 2, 10 * TAO)
    world.run("bob", "stake.add_stake", AUTHORITY, ROOT, 10 * TAO)
    return world


def nothing(world: StakeWorld) -> None:
    """The world as it is."""


def closed(netuid: int) -> Prepare:
    return lambda world: world.set_subnet(netuid, subtoken_enabled=0)


def held_fast(netuid: int) -> Prepare:
    return lambda world: world.set_subnet(netuid, transfer_toggle=0)


def pool_of(netuid: int, **reserves: int) -> Prepare:
    return lambda world: world.set_subnet(netuid, **reserves)


def locked(world: StakeWorld) -> None:
    """All but one alpha of bob's on subnet 1 is locked."""
    add_lock(world.state, 1, BOB, HOT, world.held(BOB, 1) - TAO, world.ctx.height)


def locked_and_accepted(world: StakeWorld) -> None:
    """Carol takes locked alpha, but has a lock on another hotkey."""
    locked(world)
    world.run("carol", "locks.set_reject_locked_alpha", False)
    world.run("carol", "stake.add_stake", HOT_2, 1, TAO)
    world.run("carol", "locks.lock_stake", HOT_2, 1, 1000)


def bonded(world: StakeWorld) -> None:
    """Bob's stake behind the authority is part of its bond."""
    world.run("authority-1/cold", "stake.remove_stake", AUTHORITY, ROOT, TAO)


def left_by_all(world: StakeWorld) -> None:
    """Behind the second hotkey shares are left that are worth nothing."""
    decrease_position(world.state, 1, HOT_2, ALICE, world.held(ALICE, 1, HOT_2))
    row = world.state.key_table("stakes").open(b"\0\1" + HOT_2)
    world.state.write("stakes/amount", row, 0)
    world.state.write_wide("stakes/shares_mantissa", row, 10**20)


FAILURES: list[tuple[str, str, tuple[Any, ...], Prepare]] = [
    (MOVE, "SameNetuid", (HOT, HOT, 1, 1, TAO), nothing),
    (MOVE, "SubnetNotExists", (HOT, HOT, 9, 1, TAO), nothing),
    (MOVE, "SubnetNotExists", (HOT, HOT, 1, 9, TAO), nothing),
    (MOVE, "SubtokenDisabled", (HOT, HOT, 1, 2, TAO), closed(1)),
    (MOVE, "SubtokenDisabled", (HOT, HOT, 1, 2, TAO), closed(2)),
    (MOVE, "HotKeyAccountNotExists", (UNKNOWN, HOT, 1, 2, TAO), nothing),
    (MOVE, "HotKeyAccountNotExists", (HOT, UNKNOWN, 1, 2, TAO), nothing),
    (MOVE, "InsufficientLiquidity", (HOT, HOT, 1, 2, TAO), pool_of(1, tao_reserve=999_999)),
    (MOVE, "InsufficientLiquidity", (HOT, HOT_2, 1, 1, TAO), left_by_all),
    (MOVE, "InsufficientLiquidity", (HOT, HOT_2, 2, 1, TAO), left_by_all),
    (MOVE, "AmountTooLow", (HOT, HOT, 1, 2, 0), nothing),
    (MOVE, "AmountTooLow", (HOT_2, HOT, 1, 2, TAO), nothing),
    (MOVE, "AmountTooLow", (HOT, HOT, 1, 2, 1_900_000), nothing),
    (MOVE, "AmountTooLow", (AUTHORITY, HOT, ROOT, 1, 2_000_000), nothing),
    (MOVE, "AmountTooLow", (HOT, HOT_2, 2, 2, 3_800_000), nothing),
    (MOVE, "StakeUnavailable", (HOT, HOT, 1, 2, TAO + 1), locked),
    (MOVE, "AuthorityBonded", (AUTHORITY, HOT, ROOT, 1, 10 * TAO), bonded),
    (MOVE, "AuthorityBonded", (AUTHORITY, HOT, ROOT, ROOT, 10 * TAO), bonded),
    (MOVE, "ReservesTooLow", (HOT, HOT, 1, 2, TAO), pool_of(2, alpha_reserve=999_999)),
    (MOVE, "SwapInputTooLarge", (HOT, HOT, 1, 2, TAO), pool_of(2, tao_reserve=100_000)),
    (MOVE, "PriceLimitExceeded", (HOT, HOT, 1, 2, TAO), pool_of(2, alpha_reserve=10**6, tao_reserve=10**13)),
    (TRANSFER, "SameNetuid", (BOB, HOT, 1, 1, TAO), nothing),
    (TRANSFER, "SubnetNotExists", (CAROL, HOT, 1, 9, TAO), nothing),
    (TRANSFER, "SubtokenDisabled", (CAROL, HOT, 1, 1, TAO), closed(1)),
    (TRANSFER, "HotKeyAccountNotExists", (CAROL, UNKNOWN, 1, 1, TAO), nothing),
    (TRANSFER, "InsufficientLiquidity", (CAROL, HOT, 1, 2, TAO), pool_of(1, tao_reserve=999_999)),
    (TRANSFER, "AmountTooLow", (CAROL, HOT, 1, 1, 1_900_000), nothing),
    (TRANSFER, "AmountTooLow", (CAROL, HOT, 1, 2, 1_900_000), held_fast(1)),
    (TRANSFER, "StakeUnavailable", (CAROL, HOT, 1, 2, TAO + 1), locked),
    (TRANSFER, "TransferDisallowed", (CAROL, HOT, 1, 1, TAO), held_fast(1)),
    (TRANSFER, "TransferDisallowed", (CAROL, HOT, 1, 2, TAO), held_fast(1)),
    (TRANSFER, "TransferDisallowed", (CAROL, HOT, 1, 2, TAO), held_fast(2)),
    (TRANSFER, "TransferDisallowed", (BOB, HOT, 1, 2, TAO), held_fast(2)),
    (TRANSFER, "AccountRejectsLockedAlpha", (CAROL, HOT, 1, 1, 2 * TAO), locked),
    (TRANSFER, "LockHotkeyMismatch", (CAROL, HOT, 1, 1, 2 * TAO), locked_and_accepted),
    (TRANSFER, "AuthorityBonded", (CAROL, AUTHORITY, ROOT, 1, 10 * TAO), bonded),
    (TRANSFER, "ReservesTooLow", (CAROL, HOT, 1, 2, TAO), pool_of(2, alpha_reserve=999_999)),
    (TRANSFER, "SwapInputTooLarge", (CAROL, HOT, 1, 2, TAO), pool_of(2, tao_reserve=100_000)),
    (TRANSFER, "PriceLimitExceeded", (CAROL, HOT, 1, 2, TAO), pool_of(2, alpha_reserve=10**6, tao_reserve=10**13)),
    (SWAP, "SameNetuid", (HOT, 1, 1, TAO), nothing),
    (SWAP, "SubnetNotExists", (HOT, 1, 9, TAO), nothing),
    (SWAP, "SubtokenDisabled", (HOT, 1, 2, TAO), closed(2)),
    (SWAP, "HotKeyAccountNotExists", (UNKNOWN, 1, 2, TAO), nothing),
    (SWAP, "InsufficientLiquidity", (HOT, 1, 2, TAO), pool_of(1, tao_reserve=999_999)),
    (SWAP, "AmountTooLow", (HOT, 1, 2, 1_900_000), nothing),
    (SWAP, "StakeUnavailable", (HOT, 1, 2, TAO + 1), locked),
    (SWAP, "AuthorityBonded", (AUTHORITY, ROOT, 1, 10 * TAO), bonded),
    (SWAP, "ReservesTooLow", (HOT, 1, 2, TAO), pool_of(2, alpha_reserve=999_999)),
    (SWAP, "SwapInputTooLarge", (HOT, 1, 2, TAO), pool_of(2, tao_reserve=100_000)),
    (SWAP, "PriceLimitExceeded", (HOT, 1, 2, TAO), pool_of(2, alpha_reserve=10**6, tao_reserve=10**13)),
    (SWAP_LIMIT, "SameNetuid", (HOT, 1, 1, TAO, 0, False), nothing),
    (SWAP_LIMIT, "SubnetNotExists", (HOT, 1, 9, TAO, 0, False), nothing),
    (SWAP_LIMIT, "SubtokenDisabled", (HOT, 1, 2, TAO, 0, False), closed(1)),
    (SWAP_LIMIT, "HotKeyAccountNotExists", (UNKNOWN, 1, 2, TAO, 0, False), nothing),
    (SWAP_LIMIT, "AmountTooLow", (HOT, 1, 2, 1_900_000, 0, False), nothing),
    (SWAP_LIMIT, "SlippageTooHigh", (HOT, 1, 2, TAO, 3 * PAR, False), nothing),
    (SWAP_LIMIT, "SlippageTooHigh", (HOT, 1, ROOT, 9 * TAO, PAR + PAR // 100, False), nothing),
    (SWAP_LIMIT, "SlippageTooHigh", (AUTHORITY, ROOT, 1, 10 * TAO, PAR * 975 // 1000, False), nothing),
    (SWAP_LIMIT, "PriceLimitExceeded", (HOT, 1, ROOT, TAO, 2 * PAR, True), nothing),
    (SWAP_LIMIT, "PriceLimitExceeded", (AUTHORITY, ROOT, 1, TAO, PAR, True), nothing),
    (SWAP_LIMIT, "ReservesTooLow", (AUTHORITY, ROOT, 1, TAO, PAR // 2, True), pool_of(1, alpha_reserve=999_999)),
    (SWAP_LIMIT, "InsufficientLiquidity", (HOT, 1, ROOT, TAO, PAR // 2, True), pool_of(1, tao_reserve=999_999)),
    (SWAP_LIMIT, "StakeUnavailable", (HOT, 1, 2, TAO + 1, 0, False), locked),
    (SWAP_LIMIT, "AuthorityBonded", (AUTHORITY, ROOT, 1, 10 * TAO, 0, False), bonded),
    *(
        (call, error, args, prepare)
        for call in (BURN, RECYCLE)
        for error, args, prepare in [
            ("CannotBurnOrRecycleOnRootSubnet", (AUTHORITY, TAO, ROOT), nothing),
            ("SubnetNotExists", (HOT, TAO, 9), nothing),
            ("SubtokenDisabled", (HOT, TAO, 1), closed(1)),
            ("HotKeyAccountNotExists", (UNKNOWN, TAO, 1), nothing),
            ("StakeUnavailable", (HOT, TAO + 1, 1), locked),
        ]
    ),
    (ADD_BURN, "SubnetNotExists", (HOT, 9, TAO, None), nothing),
    (ADD_BURN, "SubtokenDisabled", (HOT, 1, TAO, None), closed(1)),
    (ADD_BURN, "AmountTooLow", (HOT, 1, 2_001_006, None), nothing),
    (ADD_BURN, "NotEnoughBalanceToStake", (HOT, 1, 999 * TAO, None), nothing),
    (ADD_BURN, "HotKeyAccountNotExists", (UNKNOWN, 1, TAO, None), nothing),
    (ADD_BURN, "InsufficientLiquidity", (HOT, 1, TAO, None), pool_of(1, alpha_reserve=999_999)),
    (ADD_BURN, "ReservesTooLow", (HOT, 1, TAO, 2 * PAR), pool_of(1, alpha_reserve=999_999)),
    (ADD_BURN, "PriceLimitExceeded", (HOT, 1, TAO, PAR // 2), nothing),
    (ADD_BURN, "SlippageTooHigh", (HOT, 1, 900 * TAO, 2 * PAR), nothing),
    (ADD_BURN, "CannotBurnOrRecycleOnRootSubnet", (HOT, ROOT, TAO, None), nothing),
    (AUTO, "SubnetNotExists", (9, HOT), nothing),
    (AUTO, "HotKeyNotRegisteredInSubNet", (1, AUTHORITY), nothing),
    (AUTO, "SameAutoStakeHotkeyAlreadySet", (1, HOT), lambda world: world.run("bob", AUTO, 1, HOT)),
]

UNREACHABLE = {
    **dict.fromkeys(
        [(call, "NotEnoughStakeToWithdraw") for call in (MOVE, TRANSFER, SWAP, SWAP_LIMIT, BURN, RECYCLE)],
        "more than there is means all there is",
    ),
    **dict.fromkeys([(call, "TransferDisallowed") for call in (MOVE, SWAP, SWAP_LIMIT)], "the coldkey stays"),
    **dict.fromkeys(
        [(call, "InsufficientLiquidity") for call in (BURN, RECYCLE)],
        "all stake of a subnet is covered by its outstanding alpha (an invariant)",
    ),
    (SWAP_LIMIT, "SwapInputTooLarge"): "the order that looks for the limit is a thousand reserves less its fee",
    (ADD_BURN, "StakeUnavailable"): "what was just bought is not locked",
    (TRANSFER, "ExistentialDeposit"): "what crosses subnets is worth more than the minimum stake",
}


@pytest.mark.parametrize(("call", "error", "args", "prepare"), FAILURES)
def test_call_that_fails_a_check_reports_it(
    world: StakeWorld, call: str, error: str, args: tuple[Any, ...], prepare: Prepare
) -> None:
    prepare(world)
    assert world.attempt("bob", call, *args) == error
    assert (call, error) not in UNREACHABLE


# --- within a subnet --------------------------------------------------------------------------------------------------


def test_move_within_a_subnet_is_free_and_touches_no_pool(world: StakeWorld) -> None:
    held, pool = world.held(BOB, 1), read_pool(world.state, 1)
    removed, added, moved = world.run("bob", MOVE, HOT, HOT_2, 1, 1, 4 * TAO)
    assert names([removed, added, moved]) == ["StakeRemoved", "StakeAdded", "StakeMoved"]
    worth = UQ64.to_u64(UQ64.mul(spot(world.state, 1), UQ64.from_int(4 * TAO)))
    assert removed.arguments[2] == added.arguments[2] == worth > 4 * TAO
    assert (removed.arguments[3:], added.arguments[3:]) == ((4 * TAO, 1, 0), (4 * TAO, 1, 0))
    assert moved.arguments == (BOB, HOT, 1, HOT_2, 1, removed.arguments[2])
    assert (world.held(BOB, 1), world.held(BOB, 1, HOT_2)) == (held - 4 * TAO, 4 * TAO)
    assert read_pool(world.state, 1) == pool


def test_move_within_a_subnet_of_more_than_there_is_takes_what_there_is(world: StakeWorld) -> None:
    held = world.held(BOB, 1)
    world.run("bob", MOVE, HOT, HOT_2, 1, 1, 500 * TAO)
    assert world.held(BOB, 1, HOT_2) == held


def test_move_within_a_subnet_that_is_too_small_changes_nothing(world: StakeWorld) -> None:
    """DTAO 13.23: the least amount is asked after the change, which is then undone."""
    root = world.state.root()
    assert world.attempt("bob", MOVE, HOT, HOT_2, 1, 1, 1_000_000) == "AmountTooLow"
    assert world.state.root() == root


def test_move_within_a_subnet_keeps_the_coldkeys_lock(world: StakeWorld) -> None:
    locked(world)
    before = current_lock(world.state, 1, BOB, world.ctx.height)
    assert world.attempt("bob", MOVE, HOT, HOT_2, 1, 1, 5 * TAO) == "ok"
    assert current_lock(world.state, 1, BOB, world.ctx.height) == before


def test_transfer_within_a_subnet_takes_free_alpha_first_and_then_the_lock(world: StakeWorld) -> None:
    locked(world)
    world.run("carol", "locks.set_reject_locked_alpha", False)
    before = current_lock(world.state, 1, BOB, world.ctx.height)
    world.run("bob", TRANSFER, CAROL, HOT, 1, 1, TAO)
    assert current_lock(world.state, 1, CAROL, world.ctx.height) is None
    world.run("bob", TRANSFER, CAROL, HOT, 1, 1, 3 * TAO)
    theirs, mine = (current_lock(world.state, 1, key, world.ctx.height) for key in (CAROL, BOB))
    assert theirs is not None and mine is not None and before is not None
    assert (theirs.lock.mass, mine.lock.mass) == (3 * TAO, before.lock.mass - 3 * TAO)
    assert world.held(CAROL, 1) == 4 * TAO


def test_transfer_on_root_leaves_what_is_owed_and_is_not_listed(world: StakeWorld) -> None:
    """DTAO 4.6 and 13.15: only the sweep finds the receiver."""
    world.state.add("subnets/alpha_out", 1, 50 * TAO)
    accrue_root_dividend(world.state, 1, AUTHORITY, 50 * TAO)
    [(_, rate)] = root_rates(world.state, AUTHORITY)
    assert world.attempt("bob", TRANSFER, CAROL, AUTHORITY, ROOT, ROOT, 4 * TAO) == "ok"
    assert owed_dividend(world.state, 1, AUTHORITY, CAROL, rate) >> 32 <= 1
    places = range(root_holders(world.state))
    assert CAROL not in [root_holder(world.state, place) for place in places]


def test_transfer_of_bonded_root_stake_to_another_coldkey_keeps_the_bond(world: StakeWorld) -> None:
    bonded(world)
    before = hotkey_stake(world.state, ROOT, AUTHORITY)
    assert world.attempt("bob", TRANSFER, CAROL, AUTHORITY, ROOT, ROOT, 4 * TAO) == "ok"
    assert hotkey_stake(world.state, ROOT, AUTHORITY) == before


# --- across subnets ---------------------------------------------------------------------------------------------------


def test_move_across_subnets_pays_one_fee_on_the_sale(world: StakeWorld) -> None:
    """DTAO 13.24."""
    sold = swap(read_pool(world.state, 1), Side.SELL, 5 * TAO, MIN_PRICE)
    bought = swap(read_pool(world.state, 2), Side.BUY, sold.paid_out, MAX_PRICE, drop_fees=True)
    free = world.free(BOB)
    removed, added, moved = world.run("bob", MOVE, HOT, HOT_2, 1, 2, 5 * TAO)
    assert removed.arguments == (BOB, HOT, sold.paid_out, sold.paid_in, 1, sold.fee)
    assert added.arguments == (BOB, HOT_2, sold.paid_out, bought.paid_out, 2, 0)
    assert moved.arguments == (BOB, HOT, 1, HOT_2, 2, sold.paid_out)
    assert sold.fee > 0
    assert world.free(BOB) == free


def test_move_out_of_root_pays_its_one_fee_on_the_purchase(world: StakeWorld) -> None:
    author = author_coldkey(world.state, world.ctx)
    assert author is not None
    before = world.free(author)
    removed, added, _ = world.run("bob", MOVE, AUTHORITY, HOT, ROOT, 1, 5 * TAO)
    assert removed.arguments[2:] == (5 * TAO, 5 * TAO, ROOT, 0)
    assert (added.arguments[2], added.arguments[5]) == (5 * TAO, 2_517_738)
    assert world.free(author) == before + 2_517_738


def test_move_into_root_pays_on_the_sale_only(world: StakeWorld) -> None:
    removed, added, _ = world.run("bob", MOVE, HOT, HOT, 1, ROOT, 5 * TAO)
    assert (removed.arguments[5], added.arguments[5]) == (2_517_738, 0)
    assert added.arguments[2] == added.arguments[3] == removed.arguments[2]


def test_transfer_across_subnets_gives_the_stake_to_the_other_coldkey(world: StakeWorld) -> None:
    free = world.free(CAROL)
    removed, added, moved = world.run("bob", TRANSFER, CAROL, HOT, 1, 2, 5 * TAO)
    assert (removed.arguments[0], added.arguments[0]) == (BOB, CAROL)
    assert moved.arguments == (BOB, CAROL, HOT, 1, 2, removed.arguments[2])
    assert world.held(CAROL, 2) == added.arguments[3]
    assert world.free(CAROL) == free


def test_transfer_across_subnets_to_a_new_account_keeps_it_alive(world: StakeWorld) -> None:
    newcomer = account("newcomer")
    removed, added, _ = world.run("bob", TRANSFER, newcomer, HOT, 1, 2, 5 * TAO)
    assert int(added.arguments[2]) == int(removed.arguments[2]) - 500  # type: ignore[call-overload]
    assert world.free(newcomer) == 500


def test_swap_moves_to_the_other_subnet_behind_the_same_hotkey(world: StakeWorld) -> None:
    removed, added, swapped = world.run("bob", SWAP, HOT, 1, 2, 5 * TAO)
    assert names([removed, added, swapped]) == ["StakeRemoved", "StakeAdded", "StakeSwapped"]
    assert swapped.arguments == (BOB, HOT, 1, 2, removed.arguments[2])


@pytest.mark.parametrize(
    ("hotkey", "origin", "target", "limit"),
    [(HOT, 1, ROOT, PAR + PAR // 100), (AUTHORITY, ROOT, 1, PAR * 975 // 1000), (HOT, 1, 2, PAR * 195 // 100)],
)
def test_partial_swap_takes_what_the_limit_lets_through(
    world: StakeWorld, hotkey: bytes, origin: int, target: int, limit: int
) -> None:
    assert world.attempt("bob", SWAP_LIMIT, hotkey, origin, target, 9 * TAO, limit, False) == "SlippageTooHigh"
    removed, *_ = world.run("bob", SWAP_LIMIT, hotkey, origin, target, 9 * TAO, limit, True)
    assert 0 < int(removed.arguments[3]) < 9 * TAO  # type: ignore[call-overload]


def test_partial_swap_whose_proceeds_are_too_small_leaves_them_free(world: StakeWorld) -> None:
    """DTAO 13.24: below the minimum stake they stay TAO."""
    free, (one, two) = world.free(BOB), (read_pool(world.state, netuid) for netuid in (1, 2))
    ratio = PAR * two.alpha * one.tao // (one.alpha * two.tao)
    removed, swapped = world.run("bob", SWAP_LIMIT, HOT, 1, 2, 9 * TAO, ratio - 4000, True)
    assert names([removed, swapped]) == ["StakeRemoved", "StakeSwapped"]
    assert 0 < int(removed.arguments[2]) < 2_000_000  # type: ignore[call-overload]
    assert world.free(BOB) == free + int(removed.arguments[2])  # type: ignore[call-overload]


def test_partial_swap_asks_the_bond_of_its_part_only(world: StakeWorld) -> None:
    world.run("authority-1/cold", "stake.remove_stake", AUTHORITY, ROOT, TAO)
    before = world.held(BOB, ROOT, AUTHORITY)
    assert world.attempt("bob", SWAP_LIMIT, AUTHORITY, ROOT, 1, 10 * TAO, PAR * 975 // 1000, True) == "ok"
    assert world.held(BOB, ROOT, AUTHORITY) < before


# --- burning ----------------------------------------------------------------------------------------------------------


def test_burned_alpha_stays_outstanding_and_recycled_alpha_does_not(world: StakeWorld) -> None:
    """DTAO 13.8."""
    held, [outstanding] = world.held(BOB, 1), world.of_subnet(1, "alpha_out")
    [burned] = world.run("bob", BURN, HOT, TAO, 1)
    assert burned.arguments == (BOB, HOT, TAO, 1)
    assert world.of_subnet(1, "alpha_out", "alpha_burned") == [outstanding, TAO]
    [recycled] = world.run("bob", RECYCLE, HOT, TAO, 1)
    assert recycled.arguments == (BOB, HOT, TAO, 1)
    assert world.of_subnet(1, "alpha_out", "alpha_burned") == [outstanding - TAO, TAO]
    assert world.held(BOB, 1) in (held - 2 * TAO, held - 2 * TAO - 1)


@pytest.mark.parametrize("call", [BURN, RECYCLE])
def test_burning_more_than_there_is_takes_what_there_is(world: StakeWorld, call: str) -> None:
    held = world.held(BOB, 1)
    [done] = world.run("bob", call, HOT, 500 * TAO, 1)
    assert (done.arguments[2], world.held(BOB, 1)) == (held, 0)


@pytest.mark.parametrize("limit", [None, 2 * PAR])
def test_purchase_that_is_burned_leaves_no_stake(world: StakeWorld, limit: int | None) -> None:
    held, free = world.held(BOB, 1), world.free(BOB)
    added, burned, both = world.run("bob", ADD_BURN, HOT, 1, TAO, limit)
    assert names([added, burned, both]) == ["StakeAdded", "AlphaBurned", "AddStakeBurn"]
    assert both.arguments == (1, HOT, TAO, burned.arguments[2])
    assert int(added.arguments[3]) - int(burned.arguments[2]) in (0, 1)  # type: ignore[call-overload]
    assert (world.held(BOB, 1) - held in (-1, 0, 1), world.free(BOB)) == (True, free - TAO)


# --- destination of income --------------------------------------------------------------------------------------------


def test_destination_of_mining_income_is_kept_by_subnet(world: StakeWorld) -> None:
    [chosen] = world.run("bob", AUTO, 1, HOT)
    assert (names([chosen]), chosen.arguments) == (["AutoStakeDestinationSet"], (BOB, 1, HOT))
    world.run("bob", AUTO, 1, HOT_2)
    row = world.state.key_table(AUTO_STAKES).find(stake_key(1, BOB))
    assert row is not None
    assert world.state.read("auto_stakes/hotkey", row).tobytes() == HOT_2
    assert world.state.key_table(AUTO_STAKES).find(stake_key(2, BOB)) is None
