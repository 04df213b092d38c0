"""Root dividends on a state: accrual, what is owed, claims of each type, auto-claim and its sweep (DTAO 4.6)."""

from __future__ import annotations

import pytest
from dev_chain import DevChain, account, dev_spec
from yumad.consensus.profiles import TAO
from yumad.consensus.rules.v1.errors import CallError, ErrorCode
from yumad.consensus.rules.v1.events import event_name
from yumad.consensus.rules.v1.invariants import broken_invariants
from yumad.consensus.rules.v1.records import NO_SUBNET, RecordTag, put_record
from yumad.consensus.rules.v1.root_index import remove_root_holder, root_holder, root_holders
from yumad.consensus.rules.v1.root_stake import (
    ClaimType,
    accrue_root_dividend,
    adjust_root_claims,
    claim_by_itself,
    claim_root_dividends,
    claimed,
    forget_root_dividends,
    note_root_holder,
    owed_dividend,
    root_rates,
    sweep_root_holders,
)
from yumad.consensus.rules.v1.stakes import ROOT, decrease_position, increase_position, position
from yumad.consensus.state.state import State
from yumad.consensus.types import Hash32

NETUID = 1
HOTKEY, OWNER = account("authority-0/hot"), account("authority-0/cold")
ALICE = account("alice")


@pytest.fixture
def state() -> State:
    """Authority 0's hotkey with 100 TAO of its owner and 300 of alice on root, and alpha to give away on subnet 1."""
    chain = DevChain(dev_spec())
    state = chain.state
    _stake(state, ALICE, 300 * TAO)
    state.add("subnets/alpha_out", NETUID, 100 * TAO)
    return state


def _stake(state: State, coldkey: bytes, amount: int) -> None:
    """Root stake out of nothing, with root's books in step."""
    increase_position(state, ROOT, HOTKEY, coldkey, amount)
    for name in ("account", "tao_reserve", "alpha_out"):
        state.add(f"subnets/{name}", ROOT, amount)
    state.add("chain/issuance", 0, amount)
    state.add("chain/minted", 0, amount)
    adjust_root_claims(state, HOTKEY, coldkey, amount)
    note_root_holder(state, coldkey)


def whole_owed(state: State, coldkey: bytes) -> int:
    """Whole alpha of subnet 1 that a coldkey may claim."""
    [(netuid, rate)] = root_rates(state, HOTKEY)
    return owed_dividend(state, netuid, HOTKEY, coldkey, rate) >> 32


def choose(state: State, coldkey: bytes, claim_type: ClaimType) -> None:
    row = state.key_table("coldkeys").open(coldkey)
    state.write("coldkeys/claim_type", row, int(claim_type))


def test_accrual_is_owed_by_root_stake(state: State) -> None:
    accrue_root_dividend(state, NETUID, HOTKEY, 4 * TAO)
    assert whole_owed(state, ALICE) == 2_999_999_932  # the rate has 32 fraction bits: 42949672.96 of 2^32 is cut
    assert whole_owed(state, OWNER) == 999_999_977


def test_accrual_example_12_15_is_floored_as_written(state: State) -> None:
    """Rate 530242 for 123456789 alpha over 10^12 rao; a holder of a quarter is owed 30864146."""
    _stake(state, account("bob"), 600 * TAO)  # 10^12 rao with the 400 there are
    accrue_root_dividend(state, NETUID, HOTKEY, 123_456_789)
    [(_, rate)] = root_rates(state, HOTKEY)
    assert rate == 530_242
    _stake(state, account("carol"), 250 * TAO)
    assert whole_owed(state, account("carol")) == 0
    assert rate * 250 * TAO >> 32 == 30_864_146


def test_accrual_above_the_root_stake_goes_to_the_owner_as_alpha(state: State) -> None:
    """DTAO 13.12."""
    assert accrue_root_dividend(state, NETUID, HOTKEY, 400 * TAO + 1) is None
    assert position(state, NETUID, HOTKEY, OWNER) == 400 * TAO + 1
    assert root_rates(state, HOTKEY) == []


def test_accrual_smaller_than_the_rate_can_tell_vanishes(state: State) -> None:
    """DTAO 13.11: less than root_stake / 2^32."""
    assert accrue_root_dividend(state, NETUID, HOTKEY, 93) == 0  # 400 TAO / 2^32 = 93.1


def test_stake_added_later_is_owed_nothing_of_what_accrued_before(state: State) -> None:
    accrue_root_dividend(state, NETUID, HOTKEY, 4 * TAO)
    before = whole_owed(state, ALICE)
    _stake(state, ALICE, 100 * TAO)
    assert whole_owed(state, ALICE) in (before, before + 1)


def test_stake_removed_leaves_what_is_owed_where_it_came_after_the_dividend(state: State) -> None:
    accrue_root_dividend(state, NETUID, HOTKEY, 4 * TAO)
    _stake(state, OWNER, 100 * TAO)
    before = whole_owed(state, OWNER)
    decrease_position(state, ROOT, HOTKEY, OWNER, 40 * TAO)
    adjust_root_claims(state, HOTKEY, OWNER, -40 * TAO)
    assert whole_owed(state, OWNER) in (before, before + 1)


def test_stake_removed_that_earned_a_dividend_loses_it_unclaimed(state: State) -> None:
    """What was claimed cannot fall below zero (DTAO 4.6): claim before unstaking."""
    accrue_root_dividend(state, NETUID, HOTKEY, 4 * TAO)
    decrease_position(state, ROOT, HOTKEY, OWNER, 40 * TAO)
    adjust_root_claims(state, HOTKEY, OWNER, -40 * TAO)
    assert whole_owed(state, OWNER) == 599_999_986


def test_claim_swaps_by_default_and_stakes_the_proceeds_on_root(state: State) -> None:
    accrue_root_dividend(state, NETUID, HOTKEY, 4 * TAO)
    owed, staked = whole_owed(state, ALICE), position(state, ROOT, HOTKEY, ALICE)
    held = int(state.read("subnets/account", ROOT))
    [happened] = claim_root_dividends(state, ALICE, None)
    _, _, netuid, alpha, tao = happened.arguments
    assert (event_name(happened.number), netuid, alpha) == ("RootClaimed", NETUID, owed)
    assert position(state, ROOT, HOTKEY, ALICE) == staked + int(tao)
    assert int(state.read("subnets/account", ROOT)) == held + int(tao)
    assert int(state.read("subnets/root_sell_tao", NETUID)) == tao
    assert int(state.read("subnets/protocol_flow", NETUID)) == -int(tao)
    assert whole_owed(state, ALICE) <= 1  # the adjustment for the new stake is floored


def test_claim_of_a_keeper_becomes_stake_on_the_subnet(state: State) -> None:
    choose(state, ALICE, ClaimType.KEEP)
    accrue_root_dividend(state, NETUID, HOTKEY, 4 * TAO)
    owed = whole_owed(state, ALICE)
    claim_root_dividends(state, ALICE, None)
    assert position(state, NETUID, HOTKEY, ALICE) == owed
    assert claimed(state, NETUID, HOTKEY, ALICE) >= owed


@pytest.mark.parametrize(("kept", "stays"), [(NETUID, True), (2, False)])
def test_claim_of_a_keeper_of_some_subnets_keeps_those_only(state: State, kept: int, stays: bool) -> None:
    choose(state, ALICE, ClaimType.KEEP_SUBNETS)
    put_record(state, RecordTag.CLAIM_SUBNETS, NO_SUBNET, ALICE, kept.to_bytes(2, "little"))
    accrue_root_dividend(state, NETUID, HOTKEY, 4 * TAO)
    claim_root_dividends(state, ALICE, None)
    assert (position(state, NETUID, HOTKEY, ALICE) > 0) is stays


def test_claim_below_the_threshold_does_nothing(state: State) -> None:
    state.write("subnets/root_claim_threshold", NETUID, 500_000)
    accrue_root_dividend(state, NETUID, HOTKEY, 600_000)
    assert claim_root_dividends(state, ALICE, None) == []  # owed 450 000
    state.write("subnets/root_claim_threshold", NETUID, 400_000)
    assert len(claim_root_dividends(state, ALICE, None)) == 1


def test_claim_of_other_subnets_leaves_this_one(state: State) -> None:
    accrue_root_dividend(state, NETUID, HOTKEY, 4 * TAO)
    assert claim_root_dividends(state, ALICE, [2, 3]) == []


def test_claim_that_a_pool_refuses_raises(state: State) -> None:
    accrue_root_dividend(state, NETUID, HOTKEY, 4 * TAO)
    state.write("subnets/tao_reserve", NETUID, 10)
    with pytest.raises(CallError) as refused:
        claim_root_dividends(state, ALICE, None)
    assert refused.value.number is ErrorCode.ReservesTooLow


def test_auto_claim_serves_the_drawn_holder_and_ignores_one_that_fails(state: State) -> None:
    accrue_root_dividend(state, NETUID, HOTKEY, 4 * TAO)
    parent = Hash32(bytes(32))  # draws place 0 again and again
    first = root_holder(state, 0)
    assert first is not None
    events = claim_by_itself(state, parent)
    assert [event_name(happened.number) for happened in events] in ([], ["RootClaimed"])
    state.write("subnets/tao_reserve", NETUID, 10)
    accrue_root_dividend(state, NETUID, HOTKEY, 40 * TAO)
    for place in range(root_holders(state)):
        seed = Hash32(place.to_bytes(8, "big") + bytes(24))
        assert claim_by_itself(state, seed) == []


def test_sweep_finds_root_holders_that_are_not_in_the_list(state: State) -> None:
    """DTAO 13.15: root stake that arrived by a transfer enters the list only so."""
    remove_root_holder(state, ALICE)
    before = root_holders(state)
    for _ in range(state.rows("positions/used")):
        sweep_root_holders(state)
    assert root_holders(state) == before + 1


def test_root_index_replaces_one_that_leaves_by_the_last(state: State) -> None:
    places = root_holders(state)
    last, first = root_holder(state, places - 1), root_holder(state, 0)
    assert first is not None
    remove_root_holder(state, first)
    assert root_holder(state, 0) == last
    assert root_holders(state) == places - 1
    assert root_holder(state, places - 1) is None


def test_forgotten_dividends_of_a_subnet_are_owed_to_nobody(state: State) -> None:
    accrue_root_dividend(state, NETUID, HOTKEY, 4 * TAO)
    claim_root_dividends(state, ALICE, None)
    forget_root_dividends(state, NETUID)
    assert root_rates(state, HOTKEY) == []
    assert claimed(state, NETUID, HOTKEY, ALICE) == 0


def test_state_after_all_this_adds_up(state: State) -> None:
    accrue_root_dividend(state, NETUID, HOTKEY, 4 * TAO)
    claim_root_dividends(state, ALICE, None)
    choose(state, OWNER, ClaimType.KEEP)
    claim_root_dividends(state, OWNER, None)
    assert broken_invariants(state, dev_spec()) == []
