"""Coldkeys whose estate moves to another key: announcement, freeze, dispute, and all that moves (DTAO 9)."""

from collections.abc import Callable
from typing import Any

import pytest
from dev_chain import DevChain, account, check_conservation, event_names, packed
from ledger_snapshot import all_pools, all_positions, with_coldkey_renamed
from stake_world import ALICE, BOB, CAROL, StakeWorld, names
from yumad.consensus.profiles import DEV, TAO
from yumad.consensus.rules.v1.balances import free_balance
from yumad.consensus.rules.v1.calls.keys import CALLS
from yumad.consensus.rules.v1.calls.table import CALLS as EVERY_CALL
from yumad.consensus.rules.v1.coldkey_swap import announced_swap, coldkey_hash
from yumad.consensus.rules.v1.identities import identity_of
from yumad.consensus.rules.v1.invariants import broken_invariants
from yumad.consensus.rules.v1.locks import add_lock, is_perpetual, stored_lock
from yumad.consensus.rules.v1.root_index import remove_root_holder, root_holder, root_holders
from yumad.consensus.rules.v1.root_stake import (
    ClaimType,
    accrue_root_dividend,
    keeps_dividends,
    owed_dividend,
    root_rates,
    write_claimed,
)
from yumad.consensus.rules.v1.schema_tables import AUTO_STAKES, SUBNET_SWAPS
from yumad.consensus.rules.v1.stakes import ROOT, hotkey_owner, owned_hotkeys, stake_key
from yumad.consensus.rules.v1.subnets import owner
from yumad.consensus.types import InvalidError

ANNOUNCE, CLEAR = "keys.announce_coldkey_swap", "keys.clear_coldkey_swap_announcement"
SWAP, DISPUTE = "keys.swap_coldkey_announced", "keys.dispute_coldkey_swap"
FAMILY = (ANNOUNCE, CLEAR, SWAP, DISPUTE)
RESET = "sudo_reset_coldkey_swap"
DAVE = account("dave")
N0, N1, N2 = (account(f"neuron-{n}") for n in range(3))
COST = DEV.parameters.key_swap_cost
DELAY = DEV.parameters.coldkey_swap_announcement_delay
AGAIN = DEV.parameters.coldkey_swap_reannouncement_delay

Arrange = Callable[[DevChain], object]


@pytest.fixture
def chain() -> DevChain:
    return DevChain()


@pytest.fixture
def world() -> StakeWorld:
    """Bob behind neuron-1 on subnets 1 and 2 and on root, with dividends from subnet 1 not yet claimed."""
    world = StakeWorld()
    world.chain.skip(1)  # accounts are reaped from height 1 on
    for netuid in (1, 2, ROOT):
        world.run("bob", "stake.add_stake", N1, netuid, 7 * TAO)
    world.run("carol", "stake.add_stake", N1, ROOT, 3 * TAO)
    world.state.add("subnets/alpha_out", 1, 10 * TAO)
    accrue_root_dividend(world.state, 1, N1, 3 * TAO)
    return world


# --- checks -----------------------------------------------------------------------------------------------------------


def nothing(chain: DevChain) -> None:
    pass


def announced(chain: DevChain, target: bytes = DAVE, name: str = "bob") -> None:
    assert chain.attempt(name, ANNOUNCE, coldkey_hash(target)) == "ok"


def ripe(target: bytes = DAVE) -> Arrange:
    """Announced, and the next block is the first in which the swap may be made."""

    def arrange(chain: DevChain) -> None:
        announced(chain, target)
        chain.skip(DELAY - 1)

    return arrange


def almost_ripe(chain: DevChain) -> None:
    announced(chain)
    chain.skip(DELAY - 2)


def almost_settled(chain: DevChain) -> None:
    announced(chain)
    chain.skip(DELAY + AGAIN - 2)


def disputed(chain: DevChain) -> None:
    announced(chain)
    assert chain.attempt("bob", DISPUTE) == "ok"


def staking_target(chain: DevChain) -> None:
    assert chain.attempt("carol", "stake.add_stake", N1, 1, TAO) == "ok"
    ripe(CAROL)(chain)


def locked_target(chain: DevChain) -> None:
    ripe()(chain)
    add_lock(chain.state, 1, DAVE, N1, TAO, chain.height)


def a_rao_too_poor(chain: DevChain) -> None:
    """Bob has a rao less than the cost and the existential deposit once the fee of an announcement is paid."""
    fees = chain.spec.fees
    fee = fees.of(0x0603, len(chain.sign("bob", ANNOUNCE, bytes(32))))
    own = fees.of(0x0000, len(chain.sign("bob", "balances.transfer_keep_alive", ALICE, 900 * TAO)))
    left = COST + chain.spec.existential_deposit - 1
    amount = free_balance(chain.state, BOB) - left - int(fee) - int(own)
    assert chain.attempt("bob", "balances.transfer_keep_alive", ALICE, amount) == "ok"


HASH = coldkey_hash(DAVE)

FAILURES: list[tuple[str, str, Arrange, tuple[Any, ...]]] = [
    (ANNOUNCE, "NotEnoughBalanceToPaySwapColdKey", a_rao_too_poor, (HASH,)),
    (ANNOUNCE, "ColdkeySwapReannouncedTooEarly", almost_settled, (HASH,)),
    (ANNOUNCE, "ColdkeySwapDisputed", disputed, (HASH,)),
    (CLEAR, "ColdkeySwapAnnouncementNotFound", nothing, ()),
    (CLEAR, "ColdkeySwapClearTooEarly", almost_settled, ()),
    (CLEAR, "ColdkeySwapDisputed", disputed, ()),
    (SWAP, "ColdkeySwapAnnouncementNotFound", nothing, (DAVE,)),
    (SWAP, "AnnouncedColdkeyHashDoesNotMatch", announced, (CAROL,)),
    (SWAP, "ColdkeySwapTooEarly", almost_ripe, (DAVE,)),
    (SWAP, "ColdKeyAlreadyAssociated", staking_target, (CAROL,)),
    (SWAP, "ColdKeyAlreadyAssociated", ripe(BOB), (BOB,)),
    (SWAP, "NewColdKeyIsHotkey", ripe(N2), (N2,)),
    (SWAP, "ActiveLockExists", locked_target, (DAVE,)),
    (SWAP, "ColdkeySwapDisputed", disputed, (DAVE,)),
    (DISPUTE, "ColdkeySwapAnnouncementNotFound", nothing, ()),
    (DISPUTE, "ColdkeySwapDisputed", disputed, ()),
    ("balances.transfer_keep_alive", "ColdkeySwapAnnounced", announced, (CAROL, 1)),
    ("balances.transfer_keep_alive", "ColdkeySwapDisputed", disputed, (CAROL, 1)),
    ("keys.swap_hotkey", "ColdkeySwapAnnounced", announced, (N1, N2, None)),
    ("stake.add_stake", "ColdkeySwapAnnounced", announced, (N1, 1, TAO)),
]


@pytest.mark.parametrize(
    ("call", "error", "arrange", "args"),
    FAILURES,
    ids=[f"{call}-{error}-{number}" for number, (call, error, *_) in enumerate(FAILURES)],
)
def test_call_that_fails_a_check_reports_it(
    chain: DevChain, call: str, error: str, arrange: Arrange, args: tuple[Any, ...]
) -> None:
    arrange(chain)
    before = announced_swap(chain.state, BOB)
    assert chain.attempt("bob", call, *args) == error
    assert announced_swap(chain.state, BOB) == before
    check_conservation(chain)


def test_only_the_calls_about_it_are_taken_while_a_swap_is_announced() -> None:
    assert {call.name for call in EVERY_CALL if call.during_swap} == set(FAMILY)
    assert {call.name for call in CALLS} - set(FAMILY) == {"keys.swap_hotkey", "keys.swap_hotkey_v2"}


@pytest.mark.parametrize("freeze", [announced, disputed])
def test_free_call_of_a_frozen_account_makes_its_block_invalid(chain: DevChain, freeze: Arrange) -> None:
    chain.send("alice", "balances.transfer_keep_alive", N1, 10 * TAO)
    assert chain.attempt("neuron-1", ANNOUNCE, HASH) == "ok"
    if freeze is disputed:
        assert chain.attempt("neuron-1", DISPUTE) == "ok"
    with pytest.raises(InvalidError) as refused:
        chain.send("neuron-1", "weights.set_weights", 1, packed([2]), packed([9]), 0)
    assert refused.value.code == "precheck"
    assert ("Disputed" if freeze is disputed else "Announced") in refused.value.message


# --- announcing -------------------------------------------------------------------------------------------------------


def test_announcement_is_paid_once_and_recycled(chain: DevChain) -> None:
    before = free_balance(chain.state, BOB)
    outcome = chain.send("bob", ANNOUNCE, HASH)
    assert event_names(outcome.events) == ["ColdkeySwapAnnounced"]
    assert outcome.events[0].arguments == (BOB, HASH)
    assert free_balance(chain.state, BOB) == before - outcome.fee - COST
    assert announced_swap(chain.state, BOB) == (1, HASH, False)
    chain.skip(DELAY + AGAIN - 1)
    before = free_balance(chain.state, BOB)
    outcome = chain.send("bob", ANNOUNCE, coldkey_hash(CAROL))
    assert free_balance(chain.state, BOB) == before - outcome.fee
    assert announced_swap(chain.state, BOB) == (chain.height, coldkey_hash(CAROL), False)
    check_conservation(chain)


def test_another_announcement_waits_as_long_as_the_first(chain: DevChain) -> None:
    announced(chain, CAROL)
    chain.skip(DELAY + AGAIN - 1)
    ripe()(chain)
    assert chain.attempt("bob", SWAP, DAVE) == "ok"


def test_announcement_is_taken_back_once_it_has_stood_long_enough(chain: DevChain) -> None:
    announced(chain)
    chain.skip(DELAY + AGAIN - 1)
    outcome = chain.send("bob", CLEAR)
    assert event_names(outcome.events) == ["ColdkeySwapCleared"]
    assert announced_swap(chain.state, BOB) is None
    assert chain.attempt("bob", "balances.transfer_keep_alive", CAROL, 1) == "ok"


def test_hash_is_unkeyed_blake2b_of_the_key() -> None:
    assert coldkey_hash(bytes(32)).hex() == "89eb0d6a8a691dae2cd15ed0369931ce0a949ecafa5c3f93f8121833646e15c3"


def test_dispute_freezes_the_account_until_governance_ends_it(chain: DevChain) -> None:
    announced(chain)
    outcome = chain.send("bob", DISPUTE)
    assert event_names(outcome.events) == ["ColdkeySwapDisputed"]
    chain.skip(DELAY + AGAIN)
    for call, args in ((SWAP, (DAVE,)), (CLEAR, ()), (ANNOUNCE, (HASH,)), (DISPUTE, ())):
        assert chain.attempt("bob", call, *args) == "ColdkeySwapDisputed"
    assert chain.command(RESET, BOB) == "ok"
    assert announced_swap(chain.state, BOB) is None
    assert chain.attempt("bob", "balances.transfer_keep_alive", CAROL, 1) == "ok"


def test_governance_ends_an_announcement_that_nobody_disputed_but_none_that_is_not_there(chain: DevChain) -> None:
    assert chain.command(RESET, BOB) == "ColdkeySwapAnnouncementNotFound"
    announced(chain)
    assert chain.command(RESET, BOB) == "ok"
    assert chain.attempt("bob", SWAP, DAVE) == "ColdkeySwapAnnouncementNotFound"


# --- what moves -------------------------------------------------------------------------------------------------------


def swap_in(world: StakeWorld, name: str, target: bytes = DAVE) -> list[Any]:
    """Announce and swap without a block between, where no delay is set."""
    world.run(name, ANNOUNCE, coldkey_hash(target))
    world.state.write("global/coldkey_swap_announcement_delay", 0, 0)
    return world.run(name, SWAP, target)


def test_swap_is_made_in_the_first_block_after_the_delay(chain: DevChain) -> None:
    ripe()(chain)
    outcome = chain.send("bob", SWAP, DAVE)
    assert event_names(outcome.events) == ["ColdkeySwapped"]
    assert outcome.events[0].arguments == (BOB, DAVE)
    assert announced_swap(chain.state, BOB) is None
    check_conservation(chain)


def test_whole_balance_moves_to_the_rao(chain: DevChain) -> None:
    ripe()(chain)
    before = free_balance(chain.state, BOB)
    outcome = chain.send("bob", SWAP, DAVE)
    assert (free_balance(chain.state, BOB), free_balance(chain.state, DAVE)) == (0, before - outcome.fee)
    check_conservation(chain)


def test_balance_joins_what_the_new_key_has(chain: DevChain) -> None:
    chain.attempt("alice", "balances.transfer_keep_alive", DAVE, TAO)
    ripe()(chain)
    before = free_balance(chain.state, BOB)
    outcome = chain.send("bob", SWAP, DAVE)
    assert free_balance(chain.state, DAVE) == TAO + before - outcome.fee


def test_stake_moves_with_its_shares_and_pools_stay(world: StakeWorld) -> None:
    positions, pools = all_positions(world.state), all_pools(world.state)
    assert names(swap_in(world, "bob")) == ["ColdkeySwapped"]
    assert all_positions(world.state) == with_coldkey_renamed(positions, BOB, DAVE)
    assert all_pools(world.state) == pools


def test_root_dividends_stay_owed_to_the_estate(world: StakeWorld) -> None:
    world.run("bob", "stake.add_stake", N1, ROOT, 5 * TAO)  # bought after the dividend: part is not bob's
    [(netuid, rate)] = root_rates(world.state, N1)
    owed = owed_dividend(world.state, netuid, N1, BOB, rate)
    write_claimed(world.state, netuid, N1, DAVE, 10**9)  # of stake that dave had and withdrew
    swap_in(world, "bob")
    assert owed_dividend(world.state, netuid, N1, DAVE, rate) == owed > 0


def test_new_key_takes_the_place_in_the_draw_of_automatic_claims(world: StakeWorld) -> None:
    listed = [root_holder(world.state, place) for place in range(root_holders(world.state))]
    assert BOB in listed
    swap_in(world, "bob")
    now = [root_holder(world.state, place) for place in range(root_holders(world.state))]
    assert sorted(now) == sorted(DAVE if coldkey == BOB else coldkey for coldkey in listed)


def test_new_key_is_drawn_also_where_the_old_one_was_not_listed(world: StakeWorld) -> None:
    """Gotcha 15: a coldkey swap updates the list."""
    remove_root_holder(world.state, BOB)
    swap_in(world, "bob")
    assert DAVE in [root_holder(world.state, place) for place in range(root_holders(world.state))]


def test_key_without_root_stake_is_not_listed_for_its_successor(world: StakeWorld) -> None:
    before = root_holders(world.state)
    swap_in(world, "alice")
    assert root_holders(world.state) == before


def test_subnets_and_hotkeys_move(world: StakeWorld) -> None:
    hotkeys = owned_hotkeys(world.state, ALICE)
    swap_in(world, "alice")
    assert (owner(world.state, 1), owner(world.state, 2)) == (DAVE, DAVE)
    assert owned_hotkeys(world.state, DAVE) == hotkeys
    assert owned_hotkeys(world.state, ALICE) == []
    assert hotkey_owner(world.state, N0) == DAVE


def test_hotkeys_join_those_of_the_new_key(world: StakeWorld) -> None:
    world.run("dave", "keys.try_associate_hotkey", account("dave-hot"))
    swap_in(world, "alice")
    assert account("dave-hot") in owned_hotkeys(world.state, DAVE)
    assert N0 in owned_hotkeys(world.state, DAVE)


def lock_totals(world: StakeWorld) -> list[Any]:
    return [world.state.array(f"lock_totals/{name}").tolist() for name in ("key", "mass", "conviction", "last")]


def test_locks_move_and_aggregates_stay(world: StakeWorld) -> None:
    world.run("bob", "locks.set_perpetual_lock", 1, True)
    world.run("bob", "locks.set_perpetual_lock", 2, True)
    world.run("bob", "locks.lock_stake", N1, 1, TAO)
    lock = stored_lock(world.state, 1, BOB)
    totals = lock_totals(world)
    swap_in(world, "bob")
    assert stored_lock(world.state, 1, DAVE) == lock is not None
    assert stored_lock(world.state, 1, BOB) is None
    assert (is_perpetual(world.state, 2, DAVE), is_perpetual(world.state, 2, BOB)) == (True, False)
    assert lock_totals(world) == totals


def test_choices_and_identity_move(world: StakeWorld) -> None:
    world.run("alice", "identity.set_identity", [b"Alice", *[b""] * 6])
    world.run("alice", "stake.set_coldkey_auto_stake_hotkey", 1, N2)
    world.run("alice", "root.set_root_claim_type", int(ClaimType.KEEP_SUBNETS), packed([2]))
    world.run("alice", "locks.set_reject_locked_alpha", False)
    swap_in(world, "alice")
    identity = identity_of(world.state, DAVE)
    assert identity is not None and identity["name"] == "Alice"
    assert identity_of(world.state, ALICE) is None
    assert [keeps_dividends(world.state, DAVE, netuid) for netuid in (1, 2)] == [False, True]
    assert [keeps_dividends(world.state, ALICE, netuid) for netuid in (1, 2)] == [False, False]
    table = world.state.key_table(AUTO_STAKES)
    row = table.find(stake_key(1, DAVE))
    assert row is not None
    assert world.state.read("auto_stakes/hotkey", row).tobytes() == N2
    assert table.find(stake_key(1, ALICE)) is None
    coldkeys = world.state.key_table("coldkeys")
    assert [world.number("coldkeys/takes_locked_alpha", coldkeys.open(key)) for key in (ALICE, DAVE)] == [0, 1]


def test_limits_of_hotkey_swaps_move(world: StakeWorld) -> None:
    """Else a fresh coldkey would be a way around them."""
    world.run("alice", "keys.swap_hotkey", N1, account("fresh"), None)
    swap_in(world, "alice")
    assert world.attempt("dave", "keys.swap_hotkey", N2, N1, None) == "HotKeySetTxRateLimitExceeded"
    assert world.state.key_table(SUBNET_SWAPS).find(stake_key(1, DAVE)) is not None
    assert world.state.key_table(SUBNET_SWAPS).find(stake_key(1, ALICE)) is None


def test_chain_goes_on_soundly_with_the_owners_estate_under_another_key(chain: DevChain) -> None:
    for netuid in (1, ROOT):
        assert chain.attempt("alice", "stake.add_stake", N0, netuid, 10 * TAO) == "ok"
    announced(chain, DAVE, "alice")
    chain.skip(DELAY - 1)
    assert chain.attempt("alice", SWAP, DAVE) == "ok"
    chain.skip(2 * DEV.hyperparameters.tempo + 5)
    assert chain.attempt("dave", "balances.transfer_keep_alive", ALICE, TAO) == "ok"
    assert chain.attempt("dave", "stake.remove_stake", N0, 1, TAO) == "ok"
    assert broken_invariants(chain.state, chain.spec) == []
    check_conservation(chain)


UNREACHABLE: dict[tuple[str, str], str] = {
    (call, "ColdkeySwapAnnounced"): "these are the calls that an announcement leaves" for call in FAMILY
}
