"""Adding and removing stake as calls: checks in the spec's order, limits, hotkey ownership, bonds (DTAO 6.4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from dev_chain import DevChain, account, check_conservation, dev_spec, event_names, subnet
from stake_world import AUTHORITY, BOB, HOT, HOT_2, StakeWorld, names
from yumad.consensus.chain_spec_parameters import FeeSchedule
from yumad.consensus.profiles import TAO
from yumad.consensus.rules.v1.balances import free_balance
from yumad.consensus.rules.v1.children import pending_children
from yumad.consensus.rules.v1.locks import add_lock
from yumad.consensus.rules.v1.root_stake import accrue_root_dividend
from yumad.consensus.rules.v1.schema_tables import HOTKEYS
from yumad.consensus.rules.v1.stakes import ROOT, decrease_position, hotkey_owner, hotkey_stake, position
from yumad.consensus.types import Rao

PAR = TAO
"""A price of one TAO for one alpha, in rao."""

CHEAP, DEAR = PAR // 2, 2 * PAR


@pytest.fixture
def chain() -> DevChain:
    return DevChain()


@pytest.fixture
def world() -> StakeWorld:
    """Bob has about 10 alpha on subnet 1, 20 on subnet 2, and 10 TAO behind an authority on root."""
    world = StakeWorld()
    world.run("bob", "stake.add_stake", HOT, 1, 10 * TAO)
    world.run("bob", "stake.add_stake", HOT, 2, 10 * TAO)
    world.run("bob", "stake.add_stake", AUTHORITY, ROOT, 10 * TAO)
    return world


Prepare = Callable[[StakeWorld], object]


def nothing(world: StakeWorld) -> None:
    """The world as it is."""


def closed(netuid: int) -> Prepare:
    return lambda world: world.set_subnet(netuid, subtoken_enabled=0)


def no_alpha(world: StakeWorld) -> None:
    world.set_subnet(1, alpha_reserve=999_999)


def no_tao(world: StakeWorld) -> None:
    world.set_subnet(1, tao_reserve=999_999)


def cheap(world: StakeWorld) -> None:
    """Two rao for a million alpha, which is all bob has: the fee of 503 is worth nothing."""
    world.run("bob", REMOVE, HOT, 1, world.held(BOB, 1) - 1_000_000)
    world.set_subnet(1, tao_reserve=2_000_000)


def locked(world: StakeWorld) -> None:
    """All but one alpha of bob's on subnet 1 is locked, to a hotkey that has none of it."""
    add_lock(world.state, 1, BOB, HOT_2, world.held(BOB, 1) - TAO, world.ctx.height)


def left_by_all(world: StakeWorld) -> None:
    """Behind the hotkey shares are left that are worth nothing."""
    for coldkey in ("alice", "bob"):
        decrease_position(world.state, 1, HOT, account(coldkey), world.held(account(coldkey), 1))
    row = world.state.key_table("stakes").open(b"\0\1" + HOT)
    world.state.write("stakes/amount", row, 0)
    world.state.write_wide("stakes/shares_mantissa", row, 10**20)


ADD, REMOVE = "stake.add_stake", "stake.remove_stake"
ADD_LIMIT, REMOVE_LIMIT, FULL = "stake.add_stake_limit", "stake.remove_stake_limit", "stake.remove_stake_full_limit"
ALL, ALL_ALPHA = "stake.unstake_all", "stake.unstake_all_alpha"
UNKNOWN = account("unknown")

FAILURES: list[tuple[str, str, tuple[Any, ...], Prepare]] = [
    (ADD, "InsufficientLiquidity", (HOT, 1, 1000 * 1010 * TAO), nothing),
    (ADD, "SubnetNotExists", (HOT, 9, TAO), nothing),
    (ADD, "SubtokenDisabled", (HOT, 1, TAO), closed(1)),
    (ADD, "AmountTooLow", (HOT, 1, 2_001_006), nothing),
    (ADD, "AmountTooLow", (HOT, ROOT, 1_999_999), nothing),
    (ADD, "NotEnoughBalanceToStake", (HOT, 1, 970 * TAO - 499), nothing),
    (ADD, "HotKeyAccountNotExists", (UNKNOWN, 1, TAO), nothing),
    (ADD, "InsufficientLiquidity", (HOT, 1, TAO), no_alpha),
    (ADD, "InsufficientLiquidity", (HOT, 1, TAO), left_by_all),
    (ADD_LIMIT, "InsufficientLiquidity", (HOT, 1, 1000 * 1010 * TAO, 1, True), nothing),
    (ADD_LIMIT, "SubnetNotExists", (HOT, 9, TAO, DEAR, False), nothing),
    (ADD_LIMIT, "PriceLimitExceeded", (HOT, 1, TAO, CHEAP, True), nothing),
    (ADD_LIMIT, "ReservesTooLow", (HOT, 1, TAO, DEAR, True), no_alpha),
    (ADD_LIMIT, "SubtokenDisabled", (HOT, 1, TAO, DEAR, False), closed(1)),
    (ADD_LIMIT, "AmountTooLow", (HOT, 1, 2_001_006, DEAR, False), nothing),
    (ADD_LIMIT, "AmountTooLow", (HOT, ROOT, TAO, PAR - 1, True), nothing),
    (ADD_LIMIT, "SlippageTooHigh", (HOT, ROOT, TAO, PAR - 1, False), nothing),
    (ADD_LIMIT, "SlippageTooHigh", (HOT, 1, 900 * TAO, DEAR, False), nothing),
    (ADD_LIMIT, "NotEnoughBalanceToStake", (HOT, 1, 970 * TAO - 499, 100 * PAR, False), nothing),
    (ADD_LIMIT, "HotKeyAccountNotExists", (UNKNOWN, 1, TAO, DEAR, False), nothing),
    (ADD_LIMIT, "InsufficientLiquidity", (HOT, 1, TAO, DEAR, False), left_by_all),
    (REMOVE, "SubtokenDisabled", (HOT, 9, TAO), nothing),
    (REMOVE, "SubtokenDisabled", (HOT, 1, TAO), closed(1)),
    (REMOVE, "InsufficientLiquidity", (HOT, 1, TAO), no_tao),
    (REMOVE, "InsufficientLiquidity", (HOT, 1, TAO), lambda world: world.set_subnet(1, alpha_reserve=TAO // 1001)),
    (REMOVE, "AmountTooLow", (HOT, 1, 0), nothing),
    (REMOVE, "AmountTooLow", (HOT_2, 1, TAO), nothing),
    (REMOVE, "AmountTooLow", (UNKNOWN, 1, TAO), nothing),
    (REMOVE, "AmountTooLow", (HOT, 1, 1_900_000), nothing),
    (REMOVE, "StakeUnavailable", (HOT, 1, TAO + 1), locked),
    (
        REMOVE,
        "AuthorityBonded",
        (AUTHORITY, ROOT, 10 * TAO),
        lambda world: world.run("authority-1/cold", REMOVE, AUTHORITY, ROOT, TAO),
    ),
    (REMOVE, "ReservesTooLow", (HOT, 1, 10**12), cheap),
    (REMOVE_LIMIT, "InsufficientLiquidity", (HOT, 1, 10**15, DEAR, False), nothing),
    (REMOVE_LIMIT, "SubnetNotExists", (HOT, 9, TAO, CHEAP, False), nothing),
    (REMOVE_LIMIT, "PriceLimitExceeded", (HOT, 1, TAO, DEAR, True), nothing),
    (REMOVE_LIMIT, "ReservesTooLow", (HOT, 1, TAO, CHEAP, True), no_tao),
    (REMOVE_LIMIT, "AmountTooLow", (HOT, 1, 0, CHEAP, False), nothing),
    (REMOVE_LIMIT, "AmountTooLow", (HOT, 1, 1_900_000, CHEAP, False), nothing),
    (REMOVE_LIMIT, "NotEnoughStakeToWithdraw", (HOT, 1, 10 * TAO, CHEAP, False), nothing),
    (REMOVE_LIMIT, "NotEnoughStakeToWithdraw", (UNKNOWN, 1, TAO, CHEAP, False), nothing),
    (REMOVE_LIMIT, "SlippageTooHigh", (HOT, 1, 9 * TAO, PAR + PAR // 100, False), nothing),
    (REMOVE_LIMIT, "SlippageTooHigh", (AUTHORITY, ROOT, TAO, PAR + 1, False), nothing),
    (REMOVE_LIMIT, "StakeUnavailable", (HOT, 1, TAO + 1, CHEAP, False), locked),
    (
        REMOVE_LIMIT,
        "AuthorityBonded",
        (AUTHORITY, ROOT, 10 * TAO, PAR, False),
        lambda world: world.run("authority-1/cold", REMOVE, AUTHORITY, ROOT, TAO),
    ),
    (FULL, "SubtokenDisabled", (HOT, 1, None), closed(1)),
    (FULL, "InsufficientLiquidity", (HOT, 1, None), no_tao),
    (FULL, "AmountTooLow", (HOT_2, 1, None), nothing),
    (FULL, "StakeUnavailable", (HOT, 1, None), locked),
    (
        FULL,
        "AuthorityBonded",
        (AUTHORITY, ROOT, None),
        lambda world: world.run("authority-1/cold", REMOVE, AUTHORITY, ROOT, TAO),
    ),
    (FULL, "ReservesTooLow", (HOT, 1, None), cheap),
    (FULL, "SubnetNotExists", (HOT, 9, CHEAP), nothing),
    (FULL, "PriceLimitExceeded", (HOT, 1, DEAR), nothing),
    (FULL, "SlippageTooHigh", (HOT, 1, PAR + PAR // 100), nothing),
    (ALL, "ReservesTooLow", (HOT,), cheap),
    (ALL_ALPHA, "ReservesTooLow", (HOT,), cheap),
    (ALL_ALPHA, "AmountTooLow", (AUTHORITY,), nothing),
    (ALL_ALPHA, "AmountTooLow", (UNKNOWN,), nothing),
    ("keys.try_associate_hotkey", "CannotUseSystemAccount", (b"modlsubtensr\1".ljust(32, b"\0"),), nothing),
]

UNREACHABLE = {
    (ADD, "InsufficientBalance"): "the balance was checked, with the existential deposit",
    (ADD, "SlippageTooHigh"): "there is no limit",
    (ADD_LIMIT, "SwapInputTooLarge"): "the order that looks for the limit is a thousand reserves less its fee",
    (ADD_LIMIT, "InsufficientBalance"): "the balance was checked, with the existential deposit",
    (REMOVE, "SubnetNotExists"): "what does not exist does not trade: SubtokenDisabled",
    (REMOVE, "NotEnoughStakeToWithdraw"): "more than there is means all there is",
    (REMOVE, "HotKeyAccountNotExists"): "nobody has stake behind an unknown hotkey: AmountTooLow",
    (REMOVE_LIMIT, "SubtokenDisabled"): "a limited sale is not refused by it (DTAO 6.4)",
    (REMOVE_LIMIT, "HotKeyAccountNotExists"): "nobody has stake behind an unknown hotkey: NotEnoughStakeToWithdraw",
    (ALL, "AmountTooLow"): "positions that fail a check stay, be it all of them",
}


@pytest.mark.parametrize(("call", "error", "args", "prepare"), FAILURES)
def test_call_that_fails_a_check_reports_it(
    world: StakeWorld, call: str, error: str, args: tuple[Any, ...], prepare: Prepare
) -> None:
    prepare(world)
    assert world.attempt("bob", call, *args) == error
    assert (call, error) not in UNREACHABLE


# --- adding -----------------------------------------------------------------------------------------------------------


def test_least_purchase_is_the_minimum_and_its_fee(world: StakeWorld) -> None:
    """DTAO 12.18."""
    [added] = world.run("bob", ADD, HOT, 1, 2_001_007)
    assert (added.arguments[2], added.arguments[5]) == (2_001_007, 1007)


def test_limit_must_be_beyond_the_price_and_equality_fails() -> None:
    """DTAO 13.20."""
    fresh = StakeWorld()
    assert fresh.attempt("bob", ADD_LIMIT, HOT, 1, TAO, PAR, True) == "PriceLimitExceeded"
    assert fresh.attempt("bob", ADD_LIMIT, HOT, 1, TAO, PAR + 10**7, True) == "ok"
    assert fresh.attempt("alice", REMOVE_LIMIT, HOT, 1, TAO, CHEAP, False) == "ok"
    assert StakeWorld().attempt("alice", REMOVE_LIMIT, HOT, 1, TAO, PAR, True) == "PriceLimitExceeded"


def test_partial_purchase_takes_what_the_limit_lets_through() -> None:
    """DTAO 13.21: the order of a thousand reserves finds the most, whose few units that stay are stranded."""
    fresh = StakeWorld()
    [added] = fresh.run("bob", ADD_LIMIT, HOT, 1, 100 * TAO, PAR + 10**7, True)
    paid = int(added.arguments[2])
    assert paid == 4_987_562_112 + 2_512_740
    tao, held = fresh.of_subnet(1, "tao_reserve", "account")
    assert 0 <= held - tao <= 4


def test_partial_purchase_needs_the_balance_of_its_part_only() -> None:
    fresh = StakeWorld()
    assert fresh.attempt("bob", ADD_LIMIT, HOT, 1, 5000 * TAO, PAR + 10**7, True) == "ok"
    assert fresh.attempt("bob", ADD_LIMIT, HOT, 1, 5000 * TAO, 100 * PAR, False) == "NotEnoughBalanceToStake"


def test_limited_purchase_behind_a_strangers_hotkey_makes_it_a_delegate(world: StakeWorld) -> None:
    def own_take() -> int:
        return world.number("hotkeys/take", world.state.key_table(HOTKEYS).open(HOT))

    world.run("alice", ADD_LIMIT, HOT, 1, TAO, DEAR, False)
    world.run("bob", ADD, HOT, 1, TAO)
    assert own_take() == 0
    world.run("bob", ADD_LIMIT, HOT, 1, TAO, DEAR, False)
    assert own_take() == 11_796 + 1


# --- removing ---------------------------------------------------------------------------------------------------------


def test_removal_of_more_than_there_is_takes_what_there_is(world: StakeWorld) -> None:
    held = world.held(BOB, 1)
    [removed] = world.run("bob", REMOVE, HOT, 1, 50 * TAO)
    assert int(removed.arguments[3]) + int(removed.arguments[5]) == held  # type: ignore[call-overload]
    assert world.held(BOB, 1) == 0


def test_removal_of_a_whole_position_may_be_below_the_minimum(world: StakeWorld) -> None:
    world.run("bob", REMOVE, HOT, 1, world.held(BOB, 1) - 1_000_000)
    assert world.attempt("bob", REMOVE, HOT, 1, 999_999) == "AmountTooLow"
    assert world.attempt("bob", REMOVE, HOT, 1, 1_000_000) == "ok"


def test_partial_removal_takes_what_the_limit_lets_through(world: StakeWorld) -> None:
    held = world.held(BOB, 1)
    [removed] = world.run("bob", REMOVE_LIMIT, HOT, 1, 9 * TAO, PAR + PAR // 100, True)
    sold = int(removed.arguments[3]) + int(removed.arguments[5])  # type: ignore[call-overload]
    assert 0 < sold < 9 * TAO
    assert world.held(BOB, 1) in (held - sold, held - sold - 1)


def test_limited_removal_works_on_a_subnet_that_is_closed(world: StakeWorld) -> None:
    world.set_subnet(1, subtoken_enabled=0)
    assert world.attempt("bob", REMOVE_LIMIT, HOT, 1, TAO, CHEAP, False) == "ok"


@pytest.mark.parametrize("limit", [None, CHEAP])
def test_full_removal_empties_the_position(world: StakeWorld, limit: int | None) -> None:
    assert names(world.run("bob", FULL, HOT, 1, limit)) == ["StakeRemoved"]
    assert world.held(BOB, 1) == 0


def test_lock_counts_all_hotkeys_of_a_coldkey(world: StakeWorld) -> None:
    """DTAO 13.22: what is locked behind one hotkey may leave as long as another covers it."""
    held = world.held(BOB, 1)
    world.run("bob", ADD, HOT_2, 1, 20 * TAO)
    add_lock(world.state, 1, BOB, HOT, held, world.ctx.height)
    assert world.attempt("bob", REMOVE, HOT, 1, held) == "ok"
    assert world.attempt("bob", REMOVE, HOT_2, 1, 15 * TAO) == "StakeUnavailable"


def test_removal_below_the_stake_threshold_drops_waiting_children(world: StakeWorld) -> None:
    world.state.write("global/stake_threshold", 0, 5 * TAO)
    assert world.attempt("alice", "stake.set_children", HOT, 1, [[2**63, HOT_2]]) == "ok"
    world.run("alice", REMOVE, HOT, 1, TAO)
    assert pending_children(world.state, 1, HOT) is not None
    world.run("bob", REMOVE, HOT, 2, 20 * TAO)
    world.run("bob", REMOVE, HOT, 1, 10 * TAO)
    assert pending_children(world.state, 1, HOT) is None


def test_unstake_all_sells_by_netuid_what_passes_and_leaves_the_rest(world: StakeWorld) -> None:
    world.run("bob", ADD, HOT, ROOT, TAO)
    events = world.run("bob", ALL, HOT)
    assert [happened.arguments[4] for happened in events] == [0, 1, 2]
    assert [world.held(BOB, netuid) for netuid in (0, 1, 2)] == [0, 0, 0]
    world.run("bob", ADD, HOT, 1, 10 * TAO)
    world.run("bob", ADD, HOT, 2, 10 * TAO)
    locked(world)
    world.set_subnet(2, subtoken_enabled=0)
    assert world.run("bob", ALL, HOT) == []


def test_unstake_all_leaves_a_bond(world: StakeWorld) -> None:
    assert world.run("authority-1/cold", ALL, AUTHORITY) == []
    assert names(world.run("bob", ALL, AUTHORITY)) == ["StakeRemoved"]


def test_unstake_all_alpha_stakes_the_proceeds_on_root(world: StakeWorld) -> None:
    free = world.free(BOB)
    *removed, added = world.run("bob", ALL_ALPHA, HOT)
    assert names([*removed, added]) == ["StakeRemoved", "StakeRemoved", "StakeAdded"]
    proceeds = sum(int(happened.arguments[2]) for happened in removed)  # type: ignore[call-overload]
    assert added.arguments[2:] == (proceeds, proceeds, ROOT, 0)
    assert (world.held(BOB, ROOT), world.free(BOB)) == (proceeds, free)


# --- root claims ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "args"),
    [
        ("root.claim_root", ([],)),
        ("root.claim_root", ([1, 2, 3, 4, 5, 6],)),
        ("root.set_root_claim_type", (3, [])),
        ("root.set_root_claim_type", (2, [])),
        ("root.set_root_claim_type", (1, [1])),
    ],
)
def test_claim_call_with_the_wrong_subnets_fails(world: StakeWorld, call: str, args: tuple[Any, ...]) -> None:
    assert world.attempt("bob", call, *args) == "InvalidSubnetNumber"


def test_claim_is_of_the_named_subnets_and_all_or_nothing(world: StakeWorld) -> None:
    for netuid in (1, 2):
        world.state.add("subnets/alpha_out", netuid, 50 * TAO)
        accrue_root_dividend(world.state, netuid, AUTHORITY, 50 * TAO)
    before = world.held(BOB, ROOT, AUTHORITY)
    [claimed] = world.run("bob", "root.claim_root", [2])
    assert claimed.arguments[:3] == (BOB, AUTHORITY, 2)
    assert world.held(BOB, ROOT, AUTHORITY) == before + int(claimed.arguments[4])  # type: ignore[call-overload]
    accrue_root_dividend(world.state, 2, AUTHORITY, 50 * TAO)
    world.state.add("subnets/alpha_out", 2, 50 * TAO)
    no_tao(world)
    assert world.attempt("bob", "root.claim_root", [1, 2]) == "ReservesTooLow"
    assert world.attempt("bob", "root.claim_root", [2]) == "ok"


def test_claim_type_keeps_the_dividends_of_the_named_subnets(world: StakeWorld) -> None:
    for netuid in (1, 2):
        world.state.add("subnets/alpha_out", netuid, 50 * TAO)
        accrue_root_dividend(world.state, netuid, AUTHORITY, 50 * TAO)
    assert names(world.run("bob", "root.set_root_claim_type", 2, [1])) == ["RootClaimTypeSet"]
    events = world.run("bob", "root.claim_root", [1, 2])
    assert [int(happened.arguments[4]) > 0 for happened in events] == [False, True]  # type: ignore[call-overload]
    assert world.held(BOB, 1, AUTHORITY) > 0


# --- in blocks --------------------------------------------------------------------------------------------------------


def test_root_stake_goes_in_and_comes_back_one_to_one(chain: DevChain) -> None:
    before = hotkey_stake(chain.state, ROOT, HOT)
    added = chain.send("bob", ADD, HOT, ROOT, 7 * TAO)
    assert event_names(added.events) == ["StakeAdded"]
    assert hotkey_stake(chain.state, ROOT, HOT) == before + 7 * TAO
    check_conservation(chain)
    removed = chain.send("bob", REMOVE, HOT, ROOT, 7 * TAO)
    assert event_names(removed.events) == ["StakeRemoved"]
    assert position(chain.state, ROOT, HOT, BOB) == 0
    assert free_balance(chain.state, BOB) == 1000 * TAO - added.fee - removed.fee
    check_conservation(chain)


def test_failing_call_in_a_block_costs_its_fee_and_nothing_else(chain: DevChain) -> None:
    outcome = chain.send("bob", ADD, HOT, 9, TAO)
    assert outcome.code != 0
    assert free_balance(chain.state, BOB) == 1000 * TAO - outcome.fee
    check_conservation(chain)


def test_associate_makes_an_unowned_hotkey_mine_and_leaves_an_owned_one(chain: DevChain) -> None:
    outcome = chain.send("bob", "keys.try_associate_hotkey", account("fresh"))
    assert event_names(outcome.events) == ["HotkeyAssociated"]
    outcome = chain.send("carol", "keys.try_associate_hotkey", account("fresh"))
    assert (outcome.code, outcome.events) == (0, ())
    assert hotkey_owner(chain.state, account("fresh")) == BOB


def fund_authority(chain: DevChain) -> None:
    assert chain.attempt("alice", "balances.transfer_keep_alive", account("authority-1/cold"), TAO) == "ok"


def test_authority_cannot_take_its_bond_but_may_take_what_is_above_it(chain: DevChain) -> None:
    fund_authority(chain)
    assert chain.attempt("bob", ADD, AUTHORITY, 0, 5 * TAO) == "ok"
    assert chain.attempt("authority-1/cold", REMOVE, AUTHORITY, 0, 6 * TAO) == "AuthorityBonded"
    assert chain.attempt("authority-1/cold", REMOVE, AUTHORITY, 0, 5 * TAO) == "ok"
    assert chain.attempt("bob", REMOVE, AUTHORITY, 0, 5 * TAO) == "AuthorityBonded"
    check_conservation(chain)


def test_bond_ends_when_the_authority_has_been_out_of_the_set_for_the_unbonding_eras(chain: DevChain) -> None:
    fund_authority(chain)
    extra = [f"authority-{n}/hot" for n in (0, 2, 3)]
    for era in range(4):
        if era == 0:  # five heavier newcomers would be needed to drop it from four; jail does it at once
            mark = chain.state.begin()
            row = chain.state.key_table("authorities").find(AUTHORITY)
            chain.state.write("authorities/jailed_until", row, 100)
            chain.state.commit(mark)
        chain.block(*(chain.sign(name, "authority.heartbeat", b"p") for name in extra))
        expected = "AuthorityBonded" if era <= 2 else "ok"  # last sat in era 0, unbond_eras is 2
        assert chain.attempt("authority-1/cold", REMOVE, AUTHORITY, 0, 50 * TAO) == expected, era
        chain.skip_to((era + 1) * chain.spec.era_blocks)


def test_position_too_small_to_keep_an_account_alive_stays_where_fees_are_nothing() -> None:
    tiny = (*subnet().neurons[:1], replace(subnet().neurons[1], coldkey=account("pauper"), stake=Rao(499)))
    spec = dev_spec(fees=FeeSchedule(Rao(0), Rao(0)), subnets=(replace(subnet(), neurons=tiny),))
    chain = DevChain(spec)
    assert chain.attempt("pauper", REMOVE, HOT, 1, TAO) == "ExistentialDeposit"
    check_conservation(chain)
