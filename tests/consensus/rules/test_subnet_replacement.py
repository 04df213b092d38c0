"""A subnet in place of another: the pot to the rao, the median without the victim, all or nothing (DTAO 8.1, 8.6)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from dev_chain import DevChain, account, check_conservation, dev_spec, event_names, subnet
from failed_calls import failure
from yumad.consensus.chain_spec import NeuronSpec, SubnetSpec
from yumad.consensus.profiles import DEV, TAO
from yumad.consensus.rules.v1.balances import free_balance
from yumad.consensus.rules.v1.dtao.units import DYNAMIC
from yumad.consensus.rules.v1.markets import read_pool, spot
from yumad.consensus.rules.v1.subnet_dissolution import prune_victim
from yumad.consensus.rules.v1.subnets import netuids
from yumad.consensus.types import Netuid, Rao

PEOPLE = ("alice", "bob", "carol")
HOTKEYS = [account(f"neuron-{n}") for n in range(3)]
NEW = account("new/hot")
REGISTER, WITH_IDENTITY = "subnet.register_network", "subnet.register_network_with_identity"
PRICE = 100 * TAO
EMISSION = 10**9
"""Nobody earns in these chains: the emission of each block is recycled."""


def held_by(*stakes: tuple[str, str, int], **fields: Any) -> SubnetSpec:
    """Subnet 1, not started so that it stays as it is: (hotkey, coldkey, stake) of each neuron."""
    neurons = tuple(NeuronSpec(account(hot), account(cold), Rao(stake), 0, 0, False) for hot, cold, stake in stakes)
    return replace(subnet(), **{"neurons": neurons, "started": False, **fields})


def small_pot(alpha_reserve: int) -> DevChain:
    """A pot of 1000 rao, claims of 333, 333 and 335, 500 of the protocol, and the pool's as for a later subnet."""
    stakes = zip((f"neuron-{n}" for n in range(3)), PEOPLE, (333, 333, 335), strict=True)
    spec = held_by(*stakes, tao_reserve=Rao(1000), alpha_reserve=Rao(alpha_reserve))
    chain = DevChain(dev_spec(subnets=(spec,)))
    for name, value in (("registered_at", 1), ("protocol_alpha", 500), ("alpha_out", 1501)):
        chain.state.write(f"subnets/{name}", 1, value)
    return chain


def dissolved(chain: DevChain) -> tuple[list[int], int]:
    """What alice, bob and carol get for subnet 1, fees apart; and what is recycled, the block's emission apart."""

    def books() -> list[int]:
        return [*(free_balance(chain.state, account(p)) for p in PEOPLE), int(chain.state.read("chain/recycled", 0))]

    before = books()
    outcome = chain.send("alice", "admin.execute", *chain.order("sudo_dissolve_network", 1))
    assert outcome.code == 0
    alice, bob, carol, recycled = (now - then for now, then in zip(books(), before, strict=True))
    check_conservation(chain)
    return [alice + outcome.fee, bob, carol], recycled - EMISSION


# --- the pot ----------------------------------------------------------------------------------------------------------


def test_claim_of_the_protocol_includes_the_alpha_of_a_later_subnets_pool() -> None:
    """DTAO 13.33: what the owner locked is in the pool, and is not refunded."""
    paid, recycled = dissolved(small_pot(501))  # claims of 2002: 166.3, 166.3, 167.3 and 500
    assert sorted(paid) == [166, 167, 167] and recycled == 500


def test_equal_remainders_get_their_rao_in_the_order_of_hotkeys() -> None:
    paid, recycled = dissolved(small_pot(499))  # claims of 2000: every remainder is 1000, two rao are left over
    first_two = sorted(HOTKEYS)[:2]
    floors = zip(HOTKEYS, (166, 166, 167), strict=True)
    assert paid == [floor + (hotkey in first_two) for hotkey, floor in floors]
    assert recycled == 499


def test_dissolution_of_a_subnet_without_claims_recycles_everything() -> None:
    chain = DevChain(dev_spec(subnets=(held_by(tao_reserve=Rao(5 * TAO)),)))
    assert dissolved(chain) == ([0, 0, 0], 5 * TAO)


def test_coldkey_with_several_positions_is_paid_for_each() -> None:
    stakes = (("neuron-0", "alice", 333), ("neuron-1", "bob", 333), ("neuron-2", "bob", 335))
    chain = DevChain(dev_spec(subnets=(held_by(*stakes, tao_reserve=Rao(1001)),)))
    assert dissolved(chain) == ([333, 333 + 335, 0], 0)


# --- in place of another ----------------------------------------------------------------------------------------------


def full_chain() -> DevChain:
    """Two subnets where there may be two; alpha of subnet 2 costs half as much, and alice holds all of it."""
    first = replace(subnet(), started=False)
    second = replace(first, netuid=Netuid(2), tao_reserve=Rao(500 * TAO), moving_price=1 << 31)
    chain = DevChain(dev_spec(subnets=(first, second)))
    chain.state.write("global/subnet_limit", 0, 2)
    chain.skip(DEV.parameters.network_immunity_period - 1)
    return chain


def test_subnet_beyond_the_limit_pays_the_victims_stakers_and_takes_its_number() -> None:
    chain = full_chain()
    before = [free_balance(chain.state, account(person)) for person in PEOPLE]
    outcome = chain.send("bob", REGISTER, NEW)
    assert (event_names(outcome.events)[0], outcome.events[0].arguments) == ("NetworkRemoved", (2,))
    assert outcome.events[-1].arguments == (2, DYNAMIC)
    assert netuids(chain.state) == [1, 2]
    after = [free_balance(chain.state, account(person)) for person in PEOPLE]
    gains = [now - then for now, then in zip(after, before, strict=True)]
    assert gains == [500 * TAO, -outcome.fee - PRICE, 0]
    check_conservation(chain)


def test_price_of_the_victim_is_not_in_the_median_for_its_successor() -> None:
    chain = full_chain()
    assert chain.attempt("bob", REGISTER, NEW) == "ok"
    pool = read_pool(chain.state, 2)
    assert pool.alpha == pool.tao == PRICE
    assert spot(chain.state, 2) == spot(chain.state, 1) == 1 << 64


def test_share_of_the_victims_pot_does_not_pay_for_its_successor() -> None:
    """The price must be there before the victim goes."""
    chain = full_chain()
    row = chain.state.accounts().find(account("alice"), chain.height)
    assert row is not None
    less = int(chain.state.read("accounts/free", row)) - PRICE
    for where, name, at in (("accounts", "free", row), ("chain", "issuance", 0)):
        chain.state.add(f"{where}/{name}", at, -less)
    chain.state.add("chain/recycled", 0, less)
    assert failure(chain, "alice", REGISTER, NEW) == "CannotAffordLockCost"  # the fee is gone already
    check_conservation(chain)


@pytest.mark.parametrize("texts", [[b"x" * 257, *[b""] * 7], [b""] * 9])
def test_registration_that_fails_after_the_choice_of_a_victim_leaves_it_alone(texts: list[bytes]) -> None:
    chain = full_chain()
    assert failure(chain, "bob", WITH_IDENTITY, NEW, texts) == "InvalidIdentity"
    assert int(chain.state.read("subnets/tao_reserve", 2)) == 500 * TAO


@pytest.mark.parametrize(("price", "victim"), [((1 << 32) + 1, 2), ((1 << 32) - 1, 1)])
def test_price_of_a_stable_subnet_reads_as_one_when_a_victim_is_chosen(price: int, victim: int) -> None:
    """DTAO 13.39, whatever is stored."""
    chain = full_chain()
    chain.state.write("subnets/subnet_mechanism", 2, 0)
    chain.state.write_wide("subnets/moving_price", 1, price)
    chain.state.write_wide("subnets/moving_price", 2, 0)
    assert prune_victim(chain.state, chain.height + 1) == victim


def test_successor_starts_trades_and_runs_its_epochs() -> None:
    chain = DevChain()
    chain.skip(25)
    assert chain.command("sudo_dissolve_network", 1) == "ok"
    chain.skip(12)
    assert chain.attempt("bob", REGISTER, NEW) == "ok"
    assert chain.attempt("bob", "subnet.start_call", 1) == "ok"
    assert chain.attempt("alice", "stake.add_stake", NEW, 1, 10 * TAO) == "ok"
    chain.skip(25)
    assert [epoch.netuid for outcome in chain.outcomes[-25:] for epoch in outcome.epochs] == [1, 1]
    check_conservation(chain)
