"""Ownership by conviction: who wins a subnet at an epoch, and what becomes of locks and neurons (DTAO 7.5)."""

from dataclasses import replace

import pytest
from dev_chain import DevChain, account, check_conservation, dev_spec, event_names, subnet
from yumad.consensus.profiles import DEV, TAO
from yumad.consensus.rules.v1.lock_totals import DECAYING, OWNER, read_total, rolled_total, total_key, totals_of_subnet
from yumad.consensus.rules.v1.locks import current_lock
from yumad.consensus.rules.v1.neurons import uid_of
from yumad.consensus.rules.v1.ownership import change_owner_by_conviction
from yumad.consensus.rules.v1.stakes import associate_hotkey
from yumad.consensus.rules.v1.subnets import owner, owner_hotkey

N0, N1 = account("neuron-0"), account("neuron-1")
ALICE, BOB, CAROL = account("alice"), account("bob"), account("carol")
BOB_HOT, CAROL_HOT = account("bob-hot"), account("carol-hot")
AGE = DEV.parameters.subnet_ownership_age


def contested(chain: DevChain) -> DevChain:
    """bob and carol hold about 47 alpha each and have a hotkey, outside of the subnet."""
    for person, hotkey in (("bob", BOB_HOT), ("carol", CAROL_HOT)):
        assert chain.attempt(person, "keys.try_associate_hotkey", hotkey) == "ok"
        assert chain.attempt(person, "stake.add_stake", hotkey, 1, 50 * TAO) == "ok"
    return chain


@pytest.fixture
def chain() -> DevChain:
    return contested(DevChain())


def lock(chain: DevChain, person: str, hotkey: bytes, mass: int) -> None:
    assert chain.attempt(person, "locks.lock_stake", hotkey, 1, mass) == "ok"


def decide(chain: DevChain) -> list[str]:
    """Events of a contest held in the next block."""
    return event_names(change_owner_by_conviction(chain.state, chain.context(), 1))


def test_hotkey_with_a_tenth_of_the_alpha_in_conviction_wins_the_subnet_at_an_epoch(chain: DevChain) -> None:
    lock(chain, "bob", BOB_HOT, 40 * TAO)
    while owner(chain.state, 1) == ALICE:
        chain.block()
    assert chain.height == int(chain.state.read("subnets/last_epoch_block", 1)) >= AGE
    names = event_names(chain.outcomes[-1].block_events)
    assert names.index("NeuronRegistered") < names.index("SubnetOwnerChanged")
    assert (owner(chain.state, 1), owner_hotkey(chain.state, 1)) == (BOB, BOB_HOT)
    assert uid_of(chain.state, 1, BOB_HOT) == 4
    check_conservation(chain)


def test_young_subnet_keeps_its_owner(chain: DevChain) -> None:
    lock(chain, "bob", BOB_HOT, 40 * TAO)
    chain.skip_to(AGE - 1)
    chain.state.write("subnets/registered_at", 1, 1)
    assert decide(chain) == []
    chain.state.write("subnets/registered_at", 1, 0)
    assert "SubnetOwnerChanged" in decide(chain)


def test_quorum_counts_the_conviction_of_all(chain: DevChain) -> None:
    lock(chain, "bob", BOB_HOT, 20 * TAO)
    lock(chain, "carol", CAROL_HOT, 19 * TAO)
    chain.skip_to(AGE - 1)
    height = chain.height + 1
    convictions = [rolled_total(chain.state, key, height).conviction for key in totals_of_subnet(chain.state, 1)]
    least = sum(convictions) * 10 >> 64  # alpha of which these are just a tenth
    chain.state.write("subnets/alpha_out", 1, least + 1)
    assert decide(chain) == []
    chain.state.write("subnets/alpha_out", 1, least)
    assert "SubnetOwnerChanged" in decide(chain)


def test_subnet_without_alpha_keeps_its_owner(chain: DevChain) -> None:
    lock(chain, "bob", BOB_HOT, 40 * TAO)
    chain.skip_to(AGE - 1)
    chain.state.write("subnets/alpha_out", 1, 0)
    assert decide(chain) == []


def test_greater_key_wins_on_equal_convictions(chain: DevChain) -> None:
    chain.block(
        chain.sign("bob", "locks.lock_stake", BOB_HOT, 1, 20 * TAO),
        chain.sign("carol", "locks.lock_stake", CAROL_HOT, 1, 20 * TAO),
    )
    chain.skip_to(AGE - 1)
    decide(chain)
    assert owner_hotkey(chain.state, 1) == max(BOB_HOT, CAROL_HOT)


def test_owners_locks_defend_the_subnet(chain: DevChain) -> None:
    lock(chain, "carol", N0, 40 * TAO)
    lock(chain, "bob", BOB_HOT, 40 * TAO)
    chain.skip_to(AGE - 1)
    assert decide(chain) == []
    assert owner(chain.state, 1) == ALICE


def test_other_hotkey_of_the_owner_wins_nothing(chain: DevChain) -> None:
    lock(chain, "bob", N1, 40 * TAO)
    chain.skip_to(AGE - 1)
    assert decide(chain) == []
    assert owner_hotkey(chain.state, 1) == N0


def test_aggregates_change_sides_with_the_ownership(chain: DevChain) -> None:
    lock(chain, "bob", BOB_HOT, 40 * TAO)
    lock(chain, "carol", N0, TAO)
    chain.skip_to(AGE - 1)
    height = chain.height + 1
    of_king = rolled_total(chain.state, total_key(chain.state, 1, BOB_HOT, perpetual=False), height)
    of_owner = rolled_total(chain.state, total_key(chain.state, 1, N0, perpetual=False), height)
    assert "SubnetOwnerChanged" in decide(chain)
    now_owner = read_total(chain.state, total_key(chain.state, 1, BOB_HOT, perpetual=False), height)
    assert total_key(chain.state, 1, BOB_HOT, perpetual=False)[2] == OWNER | DECAYING
    assert (now_owner.mass, now_owner.conviction) == (of_king.mass, of_king.mass << 64)
    assert read_total(chain.state, total_key(chain.state, 1, N0, perpetual=False), height) == of_owner
    later = current_lock(chain.state, 1, BOB, height + 1)
    assert later is not None
    assert later.lock.conviction == later.lock.mass << 64


def test_king_without_a_slot_wins_nothing() -> None:
    """A subnet whose neurons are all immortal: the king cannot be registered, and nothing changes."""
    chain = contested(DevChain(dev_spec(subnets=(subnet({"max_allowed_uids": 4, "immune_owner_uids_limit": 10}),))))
    lock(chain, "bob", BOB_HOT, 40 * TAO)
    chain.skip_to(AGE - 1)
    before = chain.state.root()
    assert decide(chain) == []
    assert chain.state.root() == before
    assert owner(chain.state, 1) == ALICE


def test_king_that_is_registered_keeps_its_uid() -> None:
    mine = tuple(replace(n, coldkey=BOB) if n.hotkey == N1 else n for n in subnet().neurons)
    chain = contested(DevChain(dev_spec(subnets=(replace(subnet(), neurons=mine),))))
    lock(chain, "bob", N1, 40 * TAO)
    chain.skip_to(AGE - 1)
    assert decide(chain) == ["SubnetOwnerChanged"]
    assert uid_of(chain.state, 1, N1) == 1


def test_owner_hotkey_set_by_its_owner_takes_its_locks_to_the_owners_aggregate(chain: DevChain) -> None:
    lock(chain, "bob", N1, 20 * TAO)
    assert chain.command("sudo_set_sn_owner_hotkey", 1, N1) == "ok"
    assert [key[2] for key in totals_of_subnet(chain.state, 1)] == [OWNER | DECAYING]


def test_unknown_king_wins_nothing(chain: DevChain) -> None:
    """Not reachable by calls, which lock on known hotkeys only."""
    lock(chain, "bob", BOB_HOT, 40 * TAO)
    chain.skip_to(AGE - 1)
    stranger = account("stranger")
    key = total_key(chain.state, 1, BOB_HOT, perpetual=False)
    total = read_total(chain.state, key, chain.height)
    row = chain.state.key_table("lock_totals").open(key[:3] + stranger)
    chain.state.write("lock_totals/mass", row, total.mass)
    chain.state.write_wide("lock_totals/conviction", row, total.conviction + (40 * TAO << 64))
    chain.state.write("lock_totals/last", row, total.last)
    assert decide(chain) == []
    associate_hotkey(chain.state, stranger, CAROL)
    assert decide(chain) == ["NeuronRegistered", "SubnetOwnerChanged"]
