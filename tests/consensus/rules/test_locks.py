"""Locks on stake: what they bind, how they age, their aggregates, and what moves them (DTAO 7.4)."""

from collections.abc import Callable
from typing import Any

import pytest
from dev_chain import DevChain, account, check_conservation, event_names
from yumad.consensus.profiles import TAO
from yumad.consensus.rules.v1 import locks
from yumad.consensus.rules.v1.calls.locks import CALLS
from yumad.consensus.rules.v1.coldkey_swap import check_target
from yumad.consensus.rules.v1.dtao.conviction import Lock
from yumad.consensus.rules.v1.errors import CallError
from yumad.consensus.rules.v1.lock_totals import read_total, rolled_total, total_key, totals_of_subnet
from yumad.consensus.rules.v1.locks import (
    MAX_LOCKED_POSITIONS,
    add_lock,
    current_lock,
    is_perpetual,
    lock_owner_cut,
    reduce_lock,
    remove_locks,
    roll_lock,
    stored_lock,
    unlocked_alpha,
)
from yumad.consensus.rules.v1.stakes import (
    associate_hotkey,
    coldkey_alpha,
    decrease_position,
    increase_position,
    position,
)

N0, N1, N2, N3 = (account(f"neuron-{n}") for n in range(4))
ALICE, BOB, CAROL = account("alice"), account("bob"), account("carol")
MASS = 10 * TAO
RATE = 20
E_MINUS_ONE = 6_786_177_901_268_885_275
"""decay(20, 20), the raw number of DTAO 12.14."""

LOCK, MOVE, PERPETUAL, REJECT = (call.name for call in CALLS)

Arrange = Callable[[DevChain], object]


@pytest.fixture
def chain() -> DevChain:
    """bob holds about 47 alpha behind neuron-1, carol as much behind neuron-2."""
    chain = DevChain()
    for person, hotkey in (("bob", N1), ("carol", N2)):
        assert chain.attempt(person, "stake.add_stake", hotkey, 1, 50 * TAO) == "ok"
    return chain


def locked(chain: DevChain, hotkey: bytes = N2, mass: int = MASS, person: str = "bob") -> None:
    assert chain.attempt(person, LOCK, hotkey, 1, mass) == "ok"


def accepting(chain: DevChain) -> None:
    assert chain.attempt("carol", REJECT, False) == "ok"


def both_locked(chain: DevChain) -> None:
    accepting(chain)
    locked(chain, N3, TAO, "carol")
    locked(chain)


def spread(chain: DevChain, hotkeys: int = MAX_LOCKED_POSITIONS - 1, source: bytes = N1, coldkey: bytes = BOB) -> None:
    """A coldkey's stake behind the hotkey it is on and that many more."""
    for number in range(hotkeys):
        hotkey = account(f"many-{number}")
        associate_hotkey(chain.state, hotkey, coldkey)
        decrease_position(chain.state, 1, source, coldkey, TAO // 100)
        increase_position(chain.state, 1, hotkey, coldkey, TAO // 100)


def spread_and_locked(chain: DevChain) -> None:
    spread(chain)
    locked(chain)


def spread_and_on_root(chain: DevChain) -> None:
    assert chain.attempt("bob", "stake.add_stake", N3, 0, 5 * TAO) == "ok"
    spread_and_locked(chain)


def carol_spread(chain: DevChain) -> None:
    spread(chain, source=N2, coldkey=CAROL)
    locked(chain, person="carol")


def spread_too_far(chain: DevChain) -> None:
    spread(chain, MAX_LOCKED_POSITIONS)


def nothing(chain: DevChain) -> None:
    pass


def total(chain: DevChain, hotkey: bytes, *, perpetual: bool = False) -> Lock:
    return read_total(chain.state, total_key(chain.state, 1, hotkey, perpetual=perpetual), chain.height)


def held(chain: DevChain, coldkey: bytes = BOB, hotkey: bytes = N1) -> int:
    return position(chain.state, 1, hotkey, coldkey)


UNKNOWN = account("unknown")

FAILURES: list[tuple[str, str, Arrange, tuple[Any, ...]]] = [
    (LOCK, "AmountTooLow", nothing, (UNKNOWN, 9, 0)),
    (LOCK, "HotKeyAccountNotExists", nothing, (UNKNOWN, 9, 1)),
    (LOCK, "SubnetNotExists", nothing, (N1, 9, 1)),
    (LOCK, "LockHotkeyMismatch", locked, (N3, 1, 10**6 * TAO)),
    (LOCK, "InsufficientStakeForLock", nothing, (N1, 1, 50 * TAO)),
    (LOCK, "InsufficientStakeForLock", locked, (N2, 1, 40 * TAO)),
    (LOCK, "TooManyLockedPositions", spread_too_far, (N1, 1, TAO)),
    ("stake.add_stake", "TooManyLockedPositions", spread_and_locked, (N3, 1, TAO)),
    ("stake.add_stake_limit", "TooManyLockedPositions", spread_and_locked, (N3, 1, TAO, 2**60, False)),
    ("stake.add_stake_burn", "TooManyLockedPositions", spread_and_locked, (N3, 1, TAO, None)),
    ("stake.swap_stake", "TooManyLockedPositions", spread_and_on_root, (N3, 0, 1, TAO)),
    ("stake.swap_stake_limit", "TooManyLockedPositions", spread_and_on_root, (N3, 0, 1, TAO, 0, False)),
    ("stake.transfer_stake", "TooManyLockedPositions", carol_spread, (CAROL, N1, 1, 1, TAO)),
    ("stake.move_stake", "TooManyLockedPositions", spread_and_locked, (N1, N3, 1, 1, TAO)),
    (MOVE, "HotKeyAccountNotExists", nothing, (UNKNOWN, 9)),
    (MOVE, "SubnetNotExists", nothing, (N1, 9)),
    (MOVE, "NoExistingLock", nothing, (N1, 1)),
    (PERPETUAL, "SubnetNotExists", nothing, (9, True)),
    ("stake.transfer_stake", "AccountRejectsLockedAlpha", locked, (CAROL, N1, 1, 1, 40 * TAO)),
    ("stake.transfer_stake", "LockHotkeyMismatch", both_locked, (CAROL, N1, 1, 1, 40 * TAO)),
    ("stake.remove_stake", "StakeUnavailable", locked, (N1, 1, 40 * TAO)),
    ("stake.swap_stake", "StakeUnavailable", locked, (N1, 1, 0, 40 * TAO)),
    ("stake.burn_alpha", "StakeUnavailable", locked, (N1, 40 * TAO, 1)),
    ("stake.recycle_alpha", "StakeUnavailable", locked, (N1, 40 * TAO, 1)),
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
    assert chain.attempt("bob", call, *args) == error
    check_conservation(chain)


def test_coldkey_with_a_lock_on_many_hotkeys_still_adds_to_those_it_has_and_takes_out(chain: DevChain) -> None:
    spread_and_locked(chain)
    assert chain.attempt("bob", "stake.add_stake", N1, 1, TAO) == "ok"
    assert chain.attempt("bob", "stake.remove_stake", N1, 1, TAO) == "ok"


def test_without_a_lock_no_stake_is_added_up(chain: DevChain, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else somebody with ten thousand hotkeys would make everybody add them up for the fee of one withdrawal."""
    spread_too_far(chain)
    monkeypatch.setattr(locks, "coldkey_alpha", lambda *_: pytest.fail("stake was added up"))
    assert chain.attempt("bob", "stake.remove_stake", N1, 1, TAO) == "ok"


# --- locking and ageing -----------------------------------------------------------------------------------------------


def test_lock_starts_with_its_mass_and_no_conviction(chain: DevChain) -> None:
    outcome = chain.send("bob", LOCK, N2, 1, MASS)
    assert event_names(outcome.events) == ["StakeLocked"]
    lock = stored_lock(chain.state, 1, BOB)
    assert lock is not None
    assert (lock.hotkey, lock.lock, lock.perpetual) == (N2, Lock(MASS, 0, chain.height), False)
    assert total(chain, N2) == lock.lock


def test_decaying_lock_bleeds_out_while_conviction_grows(chain: DevChain) -> None:
    """DTAO 12.14: e^-1 of the mass is left after one time constant, and as much conviction is gained."""
    locked(chain)
    lock = current_lock(chain.state, 1, BOB, chain.height + RATE)
    assert lock is not None
    assert lock.lock == Lock(MASS * E_MINUS_ONE >> 64, MASS * E_MINUS_ONE, chain.height + RATE)


def test_perpetual_lock_keeps_its_mass_and_matures(chain: DevChain) -> None:
    assert chain.attempt("bob", PERPETUAL, 1, True) == "ok"
    locked(chain)
    lock = current_lock(chain.state, 1, BOB, chain.height + RATE)
    assert lock is not None
    assert lock.lock == Lock(MASS, MASS * ((1 << 64) - E_MINUS_ONE), chain.height + RATE)


def test_lock_on_the_owners_hotkey_has_its_mass_as_conviction(chain: DevChain) -> None:
    locked(chain, N0)
    lock = current_lock(chain.state, 1, BOB, chain.height + RATE)
    assert lock is not None
    assert lock.lock.conviction == (MASS * E_MINUS_ONE >> 64) << 64


def test_lock_that_has_become_dust_is_gone_and_frees_its_hotkey(chain: DevChain) -> None:
    locked(chain, N2, 200)
    chain.skip(8 * RATE)
    assert chain.attempt("bob", LOCK, N3, 1, MASS) == "ok"
    assert total(chain, N2).mass == 0
    check_conservation(chain)


def test_second_lock_adds_to_what_is_left_of_the_first(chain: DevChain) -> None:
    locked(chain)
    chain.skip(RATE - 1)
    locked(chain, mass=TAO)
    lock = stored_lock(chain.state, 1, BOB)
    assert lock is not None
    assert lock.lock.mass == (MASS * E_MINUS_ONE >> 64) + TAO
    assert total(chain, N2).mass == lock.lock.mass


def test_aggregate_of_decaying_locks_loses_conviction_growth_when_one_is_rolled(chain: DevChain) -> None:
    """Gotcha 31: mass went down, so the aggregate is only decreased and dated now."""
    locked(chain)
    key = total_key(chain.state, 1, N2, perpetual=False)
    later = chain.height + RATE
    assert rolled_total(chain.state, key, later).conviction == MASS * E_MINUS_ONE
    roll_lock(chain.state, 1, BOB, later)
    assert read_total(chain.state, key, later) == Lock(MASS * E_MINUS_ONE >> 64, 0, later)


def test_aggregate_of_perpetual_locks_matures_when_one_is_rolled(chain: DevChain) -> None:
    chain.attempt("bob", PERPETUAL, 1, True)
    locked(chain)
    later = chain.height + RATE
    lock = roll_lock(chain.state, 1, BOB, later)
    assert lock is not None
    assert read_total(chain.state, total_key(chain.state, 1, N2, perpetual=True), later) == lock.lock


# --- what a lock binds ------------------------------------------------------------------------------------------------


def test_lock_counts_over_all_hotkeys_of_its_coldkey(chain: DevChain) -> None:
    """Gotcha 22: stake behind another hotkey may leave as long as enough stays."""
    assert chain.attempt("bob", "stake.add_stake", N3, 1, 20 * TAO) == "ok"
    locked(chain, N3, 40 * TAO)
    free = coldkey_alpha(chain.state, 1, BOB) - 40 * TAO
    assert unlocked_alpha(chain.state, 1, BOB, chain.height) == free
    assert chain.attempt("bob", "stake.remove_stake", N1, 1, 15 * TAO) == "ok"
    assert chain.attempt("bob", "stake.remove_stake", N3, 1, 17 * TAO) == "StakeUnavailable"
    check_conservation(chain)


def test_locks_bind_their_own_subnet_only(chain: DevChain) -> None:
    locked(chain)
    assert unlocked_alpha(chain.state, 0, BOB, chain.height) == 0
    assert chain.attempt("bob", "stake.add_stake", N1, 0, TAO) == "ok"
    assert unlocked_alpha(chain.state, 0, BOB, chain.height) == TAO


def test_move_between_own_hotkeys_on_a_subnet_leaves_the_lock(chain: DevChain) -> None:
    locked(chain)
    before = stored_lock(chain.state, 1, BOB)
    assert chain.attempt("bob", "stake.move_stake", N1, N3, 1, 1, 40 * TAO) == "ok"
    assert stored_lock(chain.state, 1, BOB) == before


def test_transfer_of_free_stake_leaves_the_lock_with_its_holder(chain: DevChain) -> None:
    locked(chain)
    assert chain.attempt("bob", "stake.transfer_stake", CAROL, N1, 1, 1, 30 * TAO) == "ok"
    lock = stored_lock(chain.state, 1, BOB)
    assert lock is not None
    assert lock.lock.mass > 9 * TAO
    assert stored_lock(chain.state, 1, CAROL) is None


def test_transfer_takes_along_the_locked_part_that_free_stake_does_not_cover(chain: DevChain) -> None:
    accepting(chain)
    locked(chain)
    chain.skip(4)
    everything = held(chain)
    now = current_lock(chain.state, 1, BOB, chain.height + 1)
    assert now is not None
    amount = everything - now.lock.mass + TAO
    assert chain.attempt("bob", "stake.transfer_stake", CAROL, N1, 1, 1, amount) == "ok"
    moved = now.lock.conviction * TAO // now.lock.mass
    left, theirs = stored_lock(chain.state, 1, BOB), stored_lock(chain.state, 1, CAROL)
    assert left is not None and theirs is not None
    assert left.lock == Lock(now.lock.mass - TAO, now.lock.conviction - moved, chain.height)
    assert (theirs.hotkey, theirs.lock) == (N2, Lock(TAO, moved, chain.height))
    assert total(chain, N2).mass == now.lock.mass
    check_conservation(chain)


def test_transferred_lock_takes_the_mode_of_its_receiver(chain: DevChain) -> None:
    accepting(chain)
    assert chain.attempt("carol", PERPETUAL, 1, True) == "ok"
    locked(chain)
    assert chain.attempt("bob", "stake.transfer_stake", CAROL, N1, 1, 1, held(chain)) == "ok"
    theirs = stored_lock(chain.state, 1, CAROL)
    assert theirs is not None and theirs.perpetual
    assert stored_lock(chain.state, 1, BOB) is None
    assert total(chain, N2).mass == 0
    assert total(chain, N2, perpetual=True) == theirs.lock


def test_account_accepts_locked_stake_only_while_it_says_so(chain: DevChain) -> None:
    accepting(chain)
    outcome = chain.send("carol", REJECT, True)
    assert event_names(outcome.events) == ["RejectLockedAlphaUpdated"]
    locked(chain)
    assert chain.attempt("bob", "stake.transfer_stake", CAROL, N1, 1, 1, held(chain)) == "AccountRejectsLockedAlpha"


# --- moving and switching ---------------------------------------------------------------------------------------------


def test_moved_lock_keeps_conviction_between_hotkeys_of_one_owner(chain: DevChain) -> None:
    locked(chain)
    chain.skip(RATE - 1)
    outcome = chain.send("bob", MOVE, N3, 1)
    assert event_names(outcome.events) == ["LockMoved"]
    lock = stored_lock(chain.state, 1, BOB)
    assert lock is not None
    assert (lock.hotkey, lock.lock) == (N3, Lock(MASS * E_MINUS_ONE >> 64, MASS * E_MINUS_ONE, chain.height))
    assert total(chain, N3) == lock.lock
    assert total(chain, N2).mass == 0


def test_moved_lock_starts_anew_between_hotkeys_of_two_owners(chain: DevChain) -> None:
    chain.attempt("carol", "keys.try_associate_hotkey", account("carol-hot"))
    locked(chain)
    chain.skip(RATE)
    assert chain.attempt("bob", MOVE, account("carol-hot"), 1) == "ok"
    lock = stored_lock(chain.state, 1, BOB)
    assert lock is not None
    assert lock.lock.mass > 0
    assert lock.lock.conviction == 0


def test_switching_the_mode_moves_a_lock_between_aggregates(chain: DevChain) -> None:
    locked(chain)
    outcome = chain.send("bob", PERPETUAL, 1, True)
    assert event_names(outcome.events) == ["PerpetualLockUpdated"]
    lock = stored_lock(chain.state, 1, BOB)
    assert lock is not None and lock.perpetual
    assert (total(chain, N2).mass, total(chain, N2, perpetual=True).mass) == (0, lock.lock.mass)
    assert chain.attempt("bob", PERPETUAL, 1, False) == "ok"
    assert total(chain, N2, perpetual=True).mass == 0


def test_mode_may_be_chosen_before_there_is_a_lock_and_taken_back(chain: DevChain) -> None:
    assert chain.attempt("bob", PERPETUAL, 1, True) == "ok"
    assert is_perpetual(chain.state, 1, BOB)
    assert stored_lock(chain.state, 1, BOB) is None
    assert chain.attempt("bob", PERPETUAL, 1, False) == "ok"
    assert not is_perpetual(chain.state, 1, BOB)


def test_reduced_lock_loses_conviction_in_proportion(chain: DevChain) -> None:
    locked(chain)
    later = chain.height + RATE
    mass, conviction = MASS * E_MINUS_ONE >> 64, MASS * E_MINUS_ONE
    reduce_lock(chain.state, 1, BOB, TAO, later)
    lock = stored_lock(chain.state, 1, BOB)
    assert lock is not None
    assert lock.lock == Lock(mass - TAO, conviction - conviction * TAO // mass, later)


def test_lock_reduced_by_more_than_it_has_is_gone(chain: DevChain) -> None:
    locked(chain)
    reduce_lock(chain.state, 1, BOB, 10**18, chain.height + RATE)
    assert stored_lock(chain.state, 1, BOB) is None
    assert totals_of_subnet(chain.state, 1) == []


# --- the owner's cut, and the end -------------------------------------------------------------------------------------


def test_owner_cut_is_locked_on_the_owners_hotkey(chain: DevChain) -> None:
    lock_owner_cut(chain.state, 1, TAO, chain.height)
    lock = stored_lock(chain.state, 1, ALICE)
    assert lock is not None
    assert (lock.hotkey, lock.lock) == (N0, Lock(TAO, TAO << 64, chain.height))


def test_owner_cut_joins_the_lock_that_the_owner_has(chain: DevChain) -> None:
    locked(chain, N3, TAO, "alice")
    lock_owner_cut(chain.state, 1, TAO, chain.height)
    lock = stored_lock(chain.state, 1, ALICE)
    assert lock is not None
    assert (lock.hotkey, lock.lock.mass) == (N3, 2 * TAO)


def test_owner_cut_is_locked_at_epochs_once_that_is_switched_on(chain: DevChain) -> None:
    assert chain.command("sudo_set_owner_cut_auto_lock_enabled", 1, 1) == "ok"
    chain.skip(25)
    assert stored_lock(chain.state, 1, ALICE) is not None
    check_conservation(chain)


def test_dissolved_subnet_keeps_no_lock(chain: DevChain) -> None:
    locked(chain)
    remove_locks(chain.state, 1)
    assert stored_lock(chain.state, 1, BOB) is None
    assert totals_of_subnet(chain.state, 1) == []


# --- hotkey swaps -----------------------------------------------------------------------------------------------------


def test_lock_follows_its_swapped_hotkey(chain: DevChain) -> None:
    locked(chain)
    assert chain.attempt("alice", "keys.swap_hotkey", N2, account("fresh"), None) == "ok"
    lock = stored_lock(chain.state, 1, BOB)
    assert lock is not None and lock.hotkey == account("fresh")
    assert total(chain, N2).mass == 0
    assert total(chain, account("fresh")).mass > 0


def test_locks_on_the_key_that_becomes_the_owners_count_for_the_owner(chain: DevChain) -> None:
    chain.attempt("alice", "keys.try_associate_hotkey", account("fresh"))
    locked(chain, account("fresh"))
    locked(chain, N0, TAO, "carol")
    assert chain.attempt("alice", "keys.swap_hotkey", N0, account("fresh"), None) == "ok"
    assert [key[2] for key in totals_of_subnet(chain.state, 1)] == [3]  # the owner's decaying aggregate, no other
    mass = total(chain, account("fresh")).mass
    bob, carol = (current_lock(chain.state, 1, person, chain.height) for person in (BOB, CAROL))
    assert bob is not None and carol is not None
    assert abs(mass - bob.lock.mass - carol.lock.mass) <= 4  # aggregate and locks floor by themselves


def test_estate_goes_to_a_key_whose_lock_is_dust_but_not_to_one_that_is_bound(chain: DevChain) -> None:
    target = account("dave")
    add_lock(chain.state, 1, target, N2, 200, chain.height)
    with pytest.raises(CallError, match="ActiveLockExists"):
        check_target(chain.state, BOB, target, chain.height)
    check_target(chain.state, BOB, target, chain.height + 8 * RATE)
    assert totals_of_subnet(chain.state, 1) == []


UNREACHABLE: dict[tuple[str, str], str] = {
    (REJECT, "any"): "it sets a choice of the signer's own account and checks nothing",
}
