"""Child keys: sets of children, their cooldown, and who becomes a parent by itself (DTAO 7.1)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from dev_chain import DevChain, account, check_conservation, dev_spec, event_names, subnet
from yumad.consensus.profiles import DEV, TAO
from yumad.consensus.rules.v1.calls.children import CALLS
from yumad.consensus.rules.v1.children import (
    childkey_take,
    children_of,
    drop_pending_children,
    parents_of,
    pending_children,
    relations_of_subnet,
)
from yumad.consensus.rules.v1.dtao.distribution import Relation
from yumad.consensus.rules.v1.stakes import position, position_key
from yumad.consensus.types import U64_MAX

N0, N1, N2, N3 = (account(f"neuron-{n}") for n in range(4))
HALF = U64_MAX // 2
COOLDOWN = DEV.parameters.pending_childkey_cooldown
TEMPO = DEV.hyperparameters.tempo

Arrange = Callable[[DevChain], object]


@pytest.fixture
def chain() -> DevChain:
    return DevChain()


def named(*children: tuple[int, bytes]) -> list[list[Any]]:
    """Children as an argument."""
    return [[part, child] for part, child in children]


def set_children(chain: DevChain, hotkey: bytes, *children: tuple[int, bytes], signer: str = "alice") -> str:
    return chain.attempt(signer, "stake.set_children", hotkey, 1, named(*children))


def wait_until_applied(chain: DevChain) -> None:
    """Past the cooldown and the next epoch."""
    chain.skip(COOLDOWN + TEMPO + 1)


def without_subtoken(chain: DevChain) -> None:
    assert chain.command("sudo_set_subtoken_enabled", 1, 0) == "ok"


def nothing(chain: DevChain) -> None:
    pass


def rich_threshold() -> DevChain:
    return DevChain(dev_spec(parameters=replace(DEV.parameters, stake_threshold=10**6 * TAO)))


def parent_already(chain: DevChain) -> None:
    without_subtoken(chain)
    assert set_children(chain, N1, (HALF, N0)) == "ok"


SET = "stake.set_children"
TAKE = "stake.set_childkey_take"
AUTO = "stake.set_auto_parent_delegation_enabled"

FAILURES: list[tuple[str, str, Arrange, str, tuple[Any, ...]]] = [
    (SET, "TxRateLimitExceeded", lambda c: set_children(c, N0, (HALF, N1)), "alice", (N0, 1, named((1, N0)))),
    (SET, "RegistrationNotPermittedOnRootSubnet", nothing, "bob", (N0, 0, [])),
    (SET, "SubnetNotExists", nothing, "bob", (N0, 9, [])),
    (SET, "NonAssociatedColdKey", nothing, "bob", (N0, 1, named((1, N1), (1, N1)))),
    (SET, "DuplicateChild", nothing, "alice", (N0, 1, named((1, N1), (1, N1), (1, N0)))),
    (SET, "InvalidChild", nothing, "alice", (N0, 1, named(*((1, account(f"c{n}")) for n in range(5)), (1, N0)))),
    (SET, "TooManyChildren", nothing, "alice", (N0, 1, named(*((U64_MAX, account(f"c{n}")) for n in range(6))))),
    (SET, "ProportionOverflow", parent_already, "alice", (N0, 1, named((U64_MAX, N1), (1, N2)))),
    (SET, "ChildParentInconsistency", parent_already, "alice", (N0, 1, named((1, N1)))),
    (TAKE, "NonAssociatedColdKey", nothing, "bob", (N0, 9, 1)),
    (TAKE, "SubnetNotExists", nothing, "alice", (N0, 9, 65_535)),
    (TAKE, "InvalidChildkeyTake", nothing, "alice", (N0, 1, 11_797)),
    (TAKE, "TxChildkeyTakeRateLimitExceeded", lambda c: c.attempt("alice", TAKE, N0, 1, 5), "alice", (N0, 1, 6)),
    (AUTO, "NonAssociatedColdKey", nothing, "bob", (N0, True)),
    (AUTO, "HotKeyNotRegisteredInSubNet", nothing, "alice", (N0, True)),
]


@pytest.mark.parametrize(
    ("call", "error", "arrange", "signer", "args"), FAILURES, ids=[f"{f[0]}-{f[1]}" for f in FAILURES]
)
def test_call_that_fails_a_check_reports_it(
    chain: DevChain, call: str, error: str, arrange: Arrange, signer: str, args: tuple[Any, ...]
) -> None:
    arrange(chain)
    assert chain.attempt(signer, call, *args) == error
    check_conservation(chain)


def test_set_children_of_a_hotkey_with_too_little_stake_fails_unless_it_ends_the_relation() -> None:
    chain = rich_threshold()
    assert set_children(chain, N1, (HALF, N2)) == "NotEnoughStakeToSetChildkeys"
    assert set_children(chain, N1) == "ok"


def test_set_children_of_the_owner_hotkey_needs_no_stake() -> None:
    assert set_children(rich_threshold(), N0, (HALF, N1)) == "ok"


def test_stake_threshold_counts_the_worth_on_all_subnets() -> None:
    worth = 2 * TAO  # neuron-1 holds 2 alpha at a price of 1
    chain = DevChain(dev_spec(parameters=replace(DEV.parameters, stake_threshold=worth + 5 * TAO)))
    assert set_children(chain, N1, (HALF, N2)) == "NotEnoughStakeToSetChildkeys"
    assert chain.attempt("bob", "stake.add_stake", N1, 0, 6 * TAO) == "ok"
    assert set_children(chain, N1, (HALF, N2)) == "ok"


def test_set_children_waits_for_the_cooldown_and_the_epoch_after_it(chain: DevChain) -> None:
    outcome = chain.send("alice", SET, N0, 1, named((HALF, N2), (1, N1)))
    assert event_names(outcome.events) == ["SetChildrenScheduled"]
    children = sorted([Relation(HALF, N2), Relation(1, N1)], key=lambda child: child.hotkey)
    cooldown = chain.height + COOLDOWN
    assert pending_children(chain.state, 1, N0) == (cooldown, children)
    while not children_of(chain.state, 1, N0):
        chain.block()
    last_epoch = int(chain.state.read("subnets/last_epoch_block", 1))
    assert chain.height == last_epoch > cooldown >= last_epoch - TEMPO
    assert children_of(chain.state, 1, N0) == children
    assert parents_of(chain.state, 1, N2) == [Relation(HALF, N0)]
    assert pending_children(chain.state, 1, N0) is None
    assert "SetChildren" in event_names(chain.outcomes[-1].block_events)
    check_conservation(chain)


def test_set_children_replaces_a_set_that_waits(chain: DevChain) -> None:
    set_children(chain, N0, (HALF, N1))
    chain.skip(5)
    assert set_children(chain, N0, (1, N2)) == "ok"
    wait_until_applied(chain)
    assert children_of(chain.state, 1, N0) == [Relation(1, N2)]


def test_set_children_where_the_subtoken_is_disabled_takes_effect_at_once(chain: DevChain) -> None:
    without_subtoken(chain)
    outcome = chain.send("alice", SET, N0, 1, named((U64_MAX, N1)))
    assert event_names(outcome.events) == ["SetChildren"]
    assert children_of(chain.state, 1, N0) == [Relation(U64_MAX, N1)]


def test_set_that_waits_takes_effect_at_the_next_epoch_once_the_subtoken_is_disabled(chain: DevChain) -> None:
    set_children(chain, N0, (HALF, N1))
    without_subtoken(chain)
    chain.skip(TEMPO + 1)
    assert children_of(chain.state, 1, N0) == [Relation(HALF, N1)]


def test_set_children_without_any_ends_the_relation(chain: DevChain) -> None:
    without_subtoken(chain)
    set_children(chain, N0, (HALF, N1), (HALF, N2))
    chain.skip(5)
    assert set_children(chain, N0) == "ok"
    assert children_of(chain.state, 1, N0) == []
    assert parents_of(chain.state, 1, N1) == []


def test_sets_that_would_make_two_keys_parents_of_each_other_apply_once(chain: DevChain) -> None:
    set_children(chain, N0, (HALF, N1))
    set_children(chain, N1, (HALF, N0))
    wait_until_applied(chain)
    chain.skip(TEMPO)
    assert sorted([len(children_of(chain.state, 1, N0)), len(children_of(chain.state, 1, N1))]) == [0, 1]
    assert pending_children(chain.state, 1, N0) is pending_children(chain.state, 1, N1) is None


def test_rate_limit_of_sets_ends_after_its_blocks(chain: DevChain) -> None:
    set_children(chain, N0, (HALF, N1))
    chain.skip(DEV.parameters.set_children_rate_limit - 2)
    assert set_children(chain, N0) == "TxRateLimitExceeded"
    assert set_children(chain, N0) == "ok"


def test_relations_of_a_subnet_name_each_edge_from_both_ends(chain: DevChain) -> None:
    without_subtoken(chain)
    set_children(chain, N0, (1, N2), (2, N3))
    set_children(chain, N1, (3, N2))
    parents, children = relations_of_subnet(chain.state, 1)
    assert sorted(children) == sorted([N0, N1])
    assert sorted(parents) == sorted([N2, N3])
    for hotkey in (N0, N1, N2, N3):
        assert parents.get(hotkey, []) == parents_of(chain.state, 1, hotkey)
        assert children.get(hotkey, []) == children_of(chain.state, 1, hotkey)
    assert relations_of_subnet(chain.state, 2) == ({}, {})


def test_popular_child_is_found_with_all_its_parents_and_may_have_children_itself(chain: DevChain) -> None:
    table = chain.state.key_table("childkeys")
    for number in range(50):
        row = table.open(position_key(1, account(f"parent-{number}"), N1))
        chain.state.write("childkeys/proportion", row, number + 1)
    assert sorted(relation.proportion for relation in parents_of(chain.state, 1, N1)) == list(range(1, 51))
    assert set_children(chain, N1, (HALF, account("parent-7"))) == "ChildParentInconsistency"
    assert set_children(chain, N1, (HALF, N2)) == "ok"


def test_dropped_sets_do_not_take_effect(chain: DevChain) -> None:
    set_children(chain, N0, (HALF, N1))
    drop_pending_children(chain.state, N0)
    wait_until_applied(chain)
    assert children_of(chain.state, 1, N0) == []


def test_unstaking_below_the_threshold_drops_the_sets_that_wait() -> None:
    chain = DevChain(dev_spec(parameters=replace(DEV.parameters, stake_threshold=5 * TAO)))
    assert chain.attempt("bob", "stake.add_stake", N1, 0, 4 * TAO) == "ok"
    assert set_children(chain, N1, (HALF, N2)) == "ok"
    assert chain.attempt("bob", "stake.remove_stake", N1, 0, TAO // 2) == "ok"
    assert pending_children(chain.state, 1, N1) is not None
    assert chain.attempt("bob", "stake.remove_stake", N1, 0, 3 * TAO) == "ok"
    assert pending_children(chain.state, 1, N1) is None


def test_epoch_pays_a_parent_through_its_child() -> None:
    """All stake of neuron-3 works for neuron-1, another owner's key: what neuron-3 earns comes through it."""
    foreign = tuple(replace(n, coldkey=account("carol")) if n.hotkey == N3 else n for n in subnet().neurons)
    chain = DevChain(dev_spec(subnets=(replace(subnet(), neurons=foreign),)))
    without_subtoken(chain)
    assert set_children(chain, N3, (U64_MAX, N1), signer="carol") == "ok"
    assert chain.command("sudo_set_subtoken_enabled", 1, 1) == "ok"
    before = position(chain.state, 1, N3, account("carol"))
    chain.skip(2 * TEMPO)
    assert position(chain.state, 1, N3, account("carol")) > before
    check_conservation(chain)


# --- child-key take ---------------------------------------------------------------------------------------------------


def test_childkey_take_is_stored_and_never_below_the_subnets_least(chain: DevChain) -> None:
    outcome = chain.send("alice", TAKE, N0, 1, 500)
    assert event_names(outcome.events) == ["ChildKeyTakeSet"]
    assert childkey_take(chain.state, 1, N0) == 500
    assert chain.command("sudo_set_min_childkey_take", 1, 900) == "ok"
    assert childkey_take(chain.state, 1, N0) == 900
    assert chain.attempt("alice", TAKE, N0, 1, 899) == "InvalidChildkeyTake"


def test_childkey_take_may_be_lowered_at_any_time_but_that_starts_the_wait_anew(chain: DevChain) -> None:
    limit = DEV.parameters.tx_childkey_take_rate_limit
    chain.attempt("alice", TAKE, N0, 1, 500)
    chain.skip(limit - 2)
    assert chain.attempt("alice", TAKE, N0, 1, 400) == "ok"
    assert chain.attempt("alice", TAKE, N0, 1, 401) == "TxChildkeyTakeRateLimitExceeded"
    chain.skip(limit - 2)
    assert chain.attempt("alice", TAKE, N0, 1, 401) == "ok"


def test_childkey_take_raised_to_the_least_in_force_is_no_increase(chain: DevChain) -> None:
    chain.attempt("alice", TAKE, N0, 1, 500)
    chain.command("sudo_set_min_childkey_take", 1, 900)
    assert chain.attempt("alice", TAKE, N0, 1, 900) == "ok"
    assert chain.attempt("alice", TAKE, N0, 1, 901) == "TxChildkeyTakeRateLimitExceeded"


# --- parents by themselves --------------------------------------------------------------------------------------------


def with_root_validators(chain: DevChain, *hotkeys: str) -> None:
    for name in hotkeys:
        assert chain.attempt("alice", "balances.transfer_keep_alive", account(f"{name}/cold"), TAO) == "ok"
        assert chain.attempt(f"{name}/cold", "root.root_register", account(f"{name}/hot")) == "ok"


def test_new_subnets_owner_hotkey_gets_each_willing_root_validator_as_full_parent(chain: DevChain) -> None:
    with_root_validators(chain, "authority-0", "authority-1")
    outcome = chain.send("authority-1/cold", AUTO, account("authority-1/hot"), False)
    assert event_names(outcome.events) == ["AutoParentDelegationEnabledSet"]
    assert chain.attempt("bob", "subnet.register_network", account("bob-hot")) == "ok"
    assert parents_of(chain.state, 2, account("bob-hot")) == [Relation(U64_MAX, account("authority-0/hot"))]
    check_conservation(chain)


# --- hotkey swaps -----------------------------------------------------------------------------------------------------


def test_swapped_hotkeys_children_take_the_place_of_the_new_keys(chain: DevChain) -> None:
    without_subtoken(chain)
    chain.attempt("alice", "keys.try_associate_hotkey", account("fresh"))
    set_children(chain, account("fresh"), (U64_MAX, N2))
    set_children(chain, N1, (U64_MAX, N3))
    assert chain.attempt("alice", "keys.swap_hotkey", N1, account("fresh"), None) == "ok"
    assert children_of(chain.state, 1, account("fresh")) == [Relation(U64_MAX, N3)]
    assert parents_of(chain.state, 1, N2) == []
    check_conservation(chain)


def test_swapped_hotkeys_parent_is_no_child_of_the_new_key(chain: DevChain) -> None:
    without_subtoken(chain)
    chain.attempt("alice", "keys.try_associate_hotkey", account("fresh"))
    set_children(chain, account("fresh"), (U64_MAX, N2))
    set_children(chain, N2, (U64_MAX, N1))
    assert chain.attempt("alice", "keys.swap_hotkey", N1, account("fresh"), None) == "ok"
    assert parents_of(chain.state, 1, account("fresh")) == [Relation(U64_MAX, N2)]
    assert children_of(chain.state, 1, account("fresh")) == []


UNREACHABLE: dict[tuple[str, str], str] = {}


def test_every_call_of_the_family_has_its_failures_tested() -> None:
    assert {call.name for call in CALLS if call.number <= 0x0442} == {failure[0] for failure in FAILURES}
