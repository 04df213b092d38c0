"""A seat on root, and what becomes of root dividends, as calls: checks in order, and effects (DTAO 4.6, 7.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from dev_chain import DevChain, account, check_conservation, event_names, packed
from failed_calls import failure
from yumad.consensus.profiles import TAO
from yumad.consensus.rules.v1.errors import error_name
from yumad.consensus.rules.v1.markets import system_account
from yumad.consensus.rules.v1.neurons import hotkeys_of, uid_of
from yumad.consensus.rules.v1.root_index import root_holder, root_holders
from yumad.consensus.rules.v1.root_stake import accrue_root_dividend, keeps_dividends, owed_dividend, root_rates
from yumad.consensus.rules.v1.stakes import ROOT, hotkey_owner, position
from yumad.consensus.rules.v1.takes import delegate_take

REGISTER, CLAIM, TYPE = "root.root_register", "root.claim_root", "root.set_root_claim_type"
AUTHORITY, NEW = account("authority-1/hot"), account("new/hot")
BOB = account("bob")
SWAP, KEEP, KEEP_SUBNETS = 0, 1, 2

Prepare = Callable[[DevChain], Sequence[bytes] | None]
"""Changes the chain; gives transactions that go before the call in its block."""


@pytest.fixture
def chain() -> DevChain:
    """Bob has 100 TAO behind an authority on root and is owed almost 5 alpha of subnet 1; only he claims them."""
    chain = DevChain()
    assert chain.attempt("bob", "stake.add_stake", AUTHORITY, ROOT, 100 * TAO) == "ok"
    chain.state.write("global/num_root_claim", 0, 0)
    chain.state.add("subnets/alpha_out", 1, 10 * TAO)
    assert accrue_root_dividend(chain.state, 1, AUTHORITY, 10 * TAO) is not None
    return chain


def owed_alpha(chain: DevChain, coldkey: bytes = BOB) -> int:
    """Whole alpha of subnet 1 that a coldkey may claim."""
    [(netuid, rate)] = root_rates(chain.state, AUTHORITY)
    return owed_dividend(chain.state, netuid, AUTHORITY, coldkey, rate) >> 32


def nothing(chain: DevChain) -> None:
    """The chain as it is."""


def having(**values: int) -> Prepare:
    """Numbers of subnet 1; it earns nothing, so that its pool stays as it is written."""

    def prepare(chain: DevChain) -> None:
        for name, value in {"first_emission_block": 0, **values}.items():
            chain.state.write(f"subnets/{name}", 1, value)

    return prepare


def seated(chain: DevChain) -> None:
    """The authority's owner takes a seat for it."""
    chain.block(
        chain.sign("alice", "balances.transfer_keep_alive", account("authority-1/cold"), TAO),
    )
    assert chain.attempt("authority-1/cold", REGISTER, AUTHORITY) == "ok"


def full(chain: DevChain) -> None:
    """The only seat of root is taken by one with stake."""
    seated(chain)
    chain.state.write("subnets/max_allowed_uids", ROOT, 1)


def full_of_poor(chain: DevChain) -> None:
    """The only seat of root is taken by one without stake, as little as the newcomer has."""
    assert chain.attempt("carol", REGISTER, account("poor/hot")) == "ok"
    chain.state.write("subnets/max_allowed_uids", ROOT, 1)


def one_this_block(chain: DevChain) -> Sequence[bytes]:
    return [chain.sign("alice", REGISTER, account("first/hot"))]


def three_this_interval(chain: DevChain) -> None:
    for n in range(3):
        assert chain.attempt("alice", REGISTER, account(f"root-{n}/hot")) == "ok"


FAILURES: list[tuple[str, str, tuple[Any, ...], Prepare]] = [
    (REGISTER, "TooManyRegistrationsThisBlock", (NEW,), one_this_block),
    (REGISTER, "TooManyRegistrationsThisInterval", (NEW,), three_this_interval),
    (REGISTER, "TooManyRegistrationsThisInterval", (account("root-0/hot"),), three_this_interval),
    (REGISTER, "HotKeyAlreadyRegisteredInSubNet", (AUTHORITY,), seated),
    (REGISTER, "CannotUseSystemAccount", (system_account(0),), nothing),
    (REGISTER, "NonAssociatedColdKey", (account("neuron-0"),), nothing),
    (REGISTER, "StakeTooLowForRoot", (NEW,), full),
    (REGISTER, "StakeTooLowForRoot", (NEW,), full_of_poor),
    (CLAIM, "InvalidSubnetNumber", (packed([]),), nothing),
    (CLAIM, "InvalidSubnetNumber", (packed([1, 2, 3, 4, 5, 6]),), nothing),
    (CLAIM, "SwapInputTooLarge", (packed([1]),), having(alpha_reserve=1_000_000)),
    (CLAIM, "ReservesTooLow", (packed([1]),), having(tao_reserve=999_999)),
    (CLAIM, "PriceLimitExceeded", (packed([1]),), having(tao_reserve=10**9, alpha_reserve=10**16)),
    (TYPE, "InvalidSubnetNumber", (KEEP_SUBNETS, packed([])), nothing),
    (TYPE, "InvalidSubnetNumber", (SWAP, packed([1])), nothing),
    (TYPE, "InvalidSubnetNumber", (KEEP, packed([1])), nothing),
    (TYPE, "InvalidSubnetNumber", (3, packed([1])), nothing),
]

UNREACHABLE: dict[tuple[str, str], str] = {
    (REGISTER, "HotKeyAccountNotExists"): "a new hotkey becomes the signer's",
    (REGISTER, "NoNeuronIdAvailable"): "a full root makes room by stake: StakeTooLowForRoot",
    (CLAIM, "InsufficientLiquidity"): "a sale never takes the whole reserve",
    (CLAIM, "SubnetNotExists"): "there are no dividends of what does not exist",
}


@pytest.mark.parametrize(("call", "error", "args", "prepare"), FAILURES)
def test_call_that_fails_a_check_reports_it(
    chain: DevChain, call: str, error: str, args: tuple[Any, ...], prepare: Prepare
) -> None:
    before = prepare(chain) or ()
    assert failure(chain, "bob", call, *args, after=before) == error
    assert (call, error) not in UNREACHABLE


# --- a seat -----------------------------------------------------------------------------------------------------------


def test_root_register_costs_nothing_and_makes_a_delegate_with_the_default_take(chain: DevChain) -> None:
    free = int(chain.state.array("accounts/free").sum())
    outcome = chain.send("bob", REGISTER, NEW)
    assert event_names(outcome.events) == ["HotkeyAssociated", "NeuronRegistered"]
    assert outcome.events[1].arguments == (ROOT, 0, NEW)
    assert (hotkey_owner(chain.state, NEW), delegate_take(chain.state, NEW)) == (BOB, 11_796)
    assert int(chain.state.array("accounts/free").sum()) == free
    check_conservation(chain)


def test_root_register_leaves_a_take_that_was_chosen(chain: DevChain) -> None:
    assert chain.attempt("bob", "keys.try_associate_hotkey", NEW) == "ok"
    assert chain.attempt("bob", "stake.decrease_take", NEW, 500) == "ok"
    assert chain.attempt("bob", REGISTER, NEW) == "ok"
    assert delegate_take(chain.state, NEW) == 500


def test_full_root_gives_the_seat_with_the_least_stake_to_one_with_more(chain: DevChain) -> None:
    for name in ("first/hot", "second/hot"):
        assert chain.attempt("alice", REGISTER, account(name)) == "ok"
    assert chain.attempt("alice", "stake.add_stake", account("first/hot"), ROOT, 5 * TAO) == "ok"
    assert chain.attempt("bob", "keys.try_associate_hotkey", NEW) == "ok"
    assert chain.attempt("bob", "stake.add_stake", NEW, ROOT, 2 * TAO) == "ok"
    chain.state.write("subnets/max_allowed_uids", ROOT, 2)
    outcome = chain.send("bob", REGISTER, NEW)
    assert event_names(outcome.events) == ["NeuronReplaced", "NeuronRegistered"]
    assert hotkeys_of(chain.state, ROOT) == [account("first/hot"), NEW]


def test_full_root_gives_the_lower_of_two_equal_seats(chain: DevChain) -> None:
    for name in ("first/hot", "second/hot"):
        assert chain.attempt("alice", REGISTER, account(name)) == "ok"
    chain.state.write("subnets/max_allowed_uids", ROOT, 2)
    assert chain.attempt("bob", "keys.try_associate_hotkey", NEW) == "ok"
    assert chain.attempt("bob", "stake.add_stake", NEW, ROOT, 2 * TAO) == "ok"
    assert chain.attempt("bob", REGISTER, NEW) == "ok"
    assert uid_of(chain.state, ROOT, NEW) == 0


def test_registrations_of_root_are_counted_by_block_and_forgotten_by_interval(chain: DevChain) -> None:
    """DTAO 13.26: root is due from its tempo on and runs no epoch, so that the interval is a block from then on."""
    three_this_interval(chain)
    chain.skip_to(98)
    assert chain.attempt("bob", REGISTER, NEW) == "TooManyRegistrationsThisInterval"
    for n in range(4):
        assert chain.attempt("bob", REGISTER, account(f"late-{n}/hot")) == "ok"


def test_second_registration_of_a_block_has_to_wait(chain: DevChain) -> None:
    block = [chain.sign(name, REGISTER, account(f"{name}/hot")) for name in ("alice", "bob")]
    assert [error_name(t.code) for t in chain.block(*block).transactions] == ["ok", "TooManyRegistrationsThisBlock"]
    assert chain.attempt("bob", REGISTER, account("bob/hot")) == "ok"


# --- dividends --------------------------------------------------------------------------------------------------------


def test_claim_sells_what_is_owed_without_a_fee_and_stakes_it_on_root(chain: DevChain) -> None:
    owed, staked = owed_alpha(chain), position(chain.state, ROOT, AUTHORITY, BOB)
    assert 4 * TAO < owed < 5 * TAO
    outcome = chain.send("bob", CLAIM, packed([1, 7]))
    assert event_names(outcome.events) == ["RootClaimed"]
    coldkey, hotkey, netuid, alpha, tao = outcome.events[0].arguments
    assert (coldkey, hotkey, netuid, alpha) == (BOB, AUTHORITY, 1, owed)
    assert position(chain.state, ROOT, AUTHORITY, BOB) == staked + tao
    assert owed_alpha(chain) <= 1  # what flooring the rate leaves
    check_conservation(chain)


def test_claim_of_other_subnets_leaves_what_is_owed(chain: DevChain) -> None:
    owed = owed_alpha(chain)
    assert chain.send("bob", CLAIM, packed([2, 3])).events == ()
    assert owed_alpha(chain) == owed


def test_claim_names_a_subnet_twice_and_counts_it_once(chain: DevChain) -> None:
    assert chain.attempt("bob", CLAIM, packed([1, 1, 2, 3, 4, 5])) == "ok"
    assert owed_alpha(chain) <= 1  # what flooring the rate leaves


def test_claim_of_one_whose_root_stake_came_by_a_transfer_puts_it_on_the_list(chain: DevChain) -> None:
    """DTAO 13.15."""
    assert chain.attempt("bob", "stake.transfer_stake", account("carol"), AUTHORITY, ROOT, ROOT, 5 * TAO) == "ok"
    assert chain.attempt("carol", CLAIM, packed([1])) == "ok"
    assert account("carol") in [root_holder(chain.state, place) for place in range(root_holders(chain.state))]


@pytest.mark.parametrize(
    ("claim_type", "named", "kept"),
    [(SWAP, [], False), (KEEP, [], True), (KEEP_SUBNETS, [1], True), (KEEP_SUBNETS, [2, 3], False)],
)
def test_claim_type_says_whether_dividends_are_kept(
    chain: DevChain, claim_type: int, named: list[int], kept: bool
) -> None:
    outcome = chain.send("bob", TYPE, claim_type, packed(named))
    assert [(e.arguments, *event_names([e])) for e in outcome.events] == [((BOB, claim_type), "RootClaimTypeSet")]
    assert keeps_dividends(chain.state, BOB, 1) is kept
    owed, claimed = owed_alpha(chain), chain.send("bob", CLAIM, packed([1])).events[0]
    assert (claimed.arguments[4] == 0) is kept
    assert position(chain.state, 1, AUTHORITY, BOB) == (owed if kept else 0)
    check_conservation(chain)


def test_claim_type_chosen_anew_forgets_the_named_subnets(chain: DevChain) -> None:
    assert chain.attempt("bob", TYPE, KEEP_SUBNETS, packed([1])) == "ok"
    assert chain.attempt("bob", TYPE, SWAP, packed([])) == "ok"
    assert not keeps_dividends(chain.state, BOB, 1)
