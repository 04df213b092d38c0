"""Registration: checks in order, price, slot choice and replacement (YUMA section 6)."""

import pytest
from dev_chain import DevChain, account, check_conservation, dev_spec, event_names, packed, subnet
from yumad.consensus.profiles import TAO
from yumad.consensus.rules.v1.balances import free_balance
from yumad.consensus.rules.v1.dtao.registration_price import decay_factor, decayed_price
from yumad.consensus.rules.v1.markets import system_account
from yumad.consensus.rules.v1.neurons import hotkey_of, immortal_uids, uid_of
from yumad.consensus.rules.v1.stakes import hotkey_owner
from yumad.consensus.rules.v1.weights import read_row
from yumad.consensus.types import Rao

NUMBERS = ("account", "tao_reserve", "alpha_reserve", "alpha_out")


def price(chain: DevChain) -> int:
    return int(chain.state.read("subnets/burn", 1))


def full_chain(**parameters: object) -> DevChain:
    chosen = {"max_allowed_uids": 4, "immunity_period": 0, "min_non_immune_uids": 0, **parameters}
    return DevChain(dev_spec(subnets=(subnet(chosen),)))


@pytest.mark.parametrize(
    ("half_life", "factor"), [(1, 2147483648), (2, 3037000500), (360, 4286705684), (36100, 4294884830)]
)
def test_decay_factor_of_a_half_life_is_the_specs(half_life: int, factor: int) -> None:
    assert decay_factor(half_life) == factor


def test_price_bounds_apply_the_lower_one_first() -> None:
    assert decayed_price(Rao(5), 360, Rao(10), Rao(7)) == 7


def test_price_falls_by_a_half_in_a_half_life_and_stops_at_its_floor() -> None:
    chain = DevChain()
    start = price(chain)
    chain.skip(21)
    assert start // 2 - 1000 <= price(chain) <= start // 2
    chain.skip(300)
    assert price(chain) == 500_000


def test_price_rises_by_a_quarter_with_each_registration() -> None:
    chain = DevChain()
    chain.skip(1)
    before = price(chain) * decay_factor(20) >> 32
    assert chain.attempt("alice", "neuron.burned_register", 1, account("miner")) == "ok"
    assert price(chain) == before * 23242897532874035200 >> 64


def test_registration_appends_a_neuron_and_buys_alpha_that_nobody_gets() -> None:
    """DTAO 8.4, 13.18: the TAO stays in the pool, its fee in the subnet's account; the alpha leaves the issuance."""
    chain, empty = DevChain(), DevChain()
    empty.skip(1)
    outcome = chain.send("alice", "neuron.burned_register", 1, account("miner"))
    assert event_names(outcome.events) == ["HotkeyAssociated", "NeuronRegistered"]
    assert uid_of(chain.state, 1, account("miner")) == 4
    assert chain.state.read("sn/1/0/last_update", 4) == chain.height
    now, then = ({name: int(c.state.read(f"subnets/{name}", 1)) for name in NUMBERS} for c in (chain, empty))
    paid = TAO // 10  # no decay in block 1
    assert now["account"] - then["account"] == paid
    assert now["tao_reserve"] - then["tao_reserve"] == paid - paid * 33 // 65_535
    assert now["alpha_reserve"] < then["alpha_reserve"]
    assert now["alpha_out"] == then["alpha_out"]
    check_conservation(chain)


def test_registration_with_exactly_the_price_pays_less_by_the_existential_deposit() -> None:
    """DTAO 13.38. In block 1 the price has not fallen yet."""
    fee, before = DevChain().send("bob", "neuron.burned_register", 1, account("miner")).fee, TAO // 10
    poor, rich = (DevChain(dev_spec(balances=((account("poor"), Rao(fee + free)),))) for free in (before - 1, before))
    assert poor.attempt("poor", "neuron.burned_register", 1, account("miner")) == "NotEnoughBalanceToStake"
    assert rich.attempt("poor", "neuron.burned_register", 1, account("miner")) == "ok"
    assert free_balance(rich.state, account("poor")) == 500
    check_conservation(rich)


def test_registration_by_proof_of_work_ignores_the_work() -> None:
    chain = DevChain()
    args = (1, 0, 0, b"", account("miner"), account("bob"))
    assert chain.attempt("alice", "neuron.register", *args) == "ok"
    assert hotkey_owner(chain.state, account("miner")) == account("alice")


@pytest.mark.parametrize(
    ("signer", "call", "args", "error"),
    [
        ("alice", "neuron.burned_register", (0, account("miner")), "RegistrationNotPermittedOnRootSubnet"),
        ("alice", "neuron.burned_register", (7, account("miner")), "SubnetNotExists"),
        ("alice", "neuron.register_limit", (1, account("miner"), 1000), "RegistrationPriceLimitExceeded"),
        ("alice", "neuron.burned_register", (1, account("neuron-2")), "HotKeyAlreadyRegisteredInSubNet"),
        ("alice", "neuron.burned_register", (1, account("authority-0/hot")), "NonAssociatedColdKey"),
        ("alice", "neuron.burned_register", (1, system_account(3)), "CannotUseSystemAccount"),
    ],
)
def test_registration_that_fails_a_check_reports_it(
    signer: str, call: str, args: tuple[object, ...], error: str
) -> None:
    chain = DevChain()
    assert chain.attempt(signer, call, *args) == error
    assert chain.state.read("subnets/neurons", 1) == 4
    check_conservation(chain)


def test_registration_where_it_is_switched_off_is_disabled() -> None:
    chain = DevChain(dev_spec(subnets=(subnet({"network_registration_allowed": False}),)))
    assert chain.attempt("alice", "neuron.burned_register", 1, account("miner")) == "SubNetRegistrationDisabled"


def test_registration_dearer_than_the_balance_is_refused() -> None:
    chain = DevChain(dev_spec(balances=((account("alice"), Rao(TAO // 100)),)))
    assert chain.attempt("alice", "neuron.burned_register", 1, account("miner")) == "NotEnoughBalanceToStake"


def test_registration_with_a_limit_at_the_price_succeeds() -> None:
    chain = DevChain()
    assert chain.attempt("alice", "neuron.register_limit", 1, account("miner"), TAO) == "ok"


def test_registration_in_a_full_subnet_replaces_the_least_paid_of_the_oldest() -> None:
    chain = full_chain()
    outcome = chain.send("bob", "neuron.burned_register", 1, account("miner"))
    assert event_names(outcome.events) == ["HotkeyAssociated", "NeuronReplaced", "NeuronRegistered"]
    assert hotkey_of(chain.state, 1, 1) == account("miner")  # uid 0 is the owner's and never goes
    assert uid_of(chain.state, 1, account("neuron-1")) is None


def test_registration_in_a_full_subnet_with_few_exposed_neurons_evicts_an_immune_one() -> None:
    chain = full_chain(immunity_period=1000, min_non_immune_uids=2)
    assert chain.attempt("bob", "neuron.burned_register", 1, account("miner")) == "ok"
    assert uid_of(chain.state, 1, account("miner")) == 1


def test_registration_where_every_neuron_is_the_owners_finds_no_slot() -> None:
    chain = full_chain(immune_owner_uids_limit=10)
    assert chain.attempt("bob", "neuron.burned_register", 1, account("miner")) == "NoNeuronIdAvailable"


def test_replacement_clears_the_row_and_zeroes_weights_on_the_slot_in_place() -> None:
    chain = full_chain(weights_set_rate_limit=0)
    assert chain.attempt("neuron-0", "weights.set_weights", 1, packed([3, 1, 2]), packed([10, 20, 40]), 0) == "ok"
    assert chain.attempt("neuron-1", "weights.set_weights", 1, packed([0, 2]), packed([1, 1]), 0) == "ok"
    assert chain.attempt("bob", "neuron.burned_register", 1, account("miner")) == "ok"
    assert read_row(chain.state, "sn/1/0", "weight", 0) == [(3, 16384), (1, 0), (2, 65535)]
    assert read_row(chain.state, "sn/1/0", "weight", 1) == []
    assert not chain.state.read("neurons/permit", 257)


def test_owner_hotkey_is_kept_even_when_older_ones_of_the_owner_take_its_place() -> None:
    chosen = {"max_allowed_uids": 4, "immunity_period": 0, "min_non_immune_uids": 0, "immune_owner_uids_limit": 2}
    base = subnet(chosen, owner_hotkey=account("neuron-3"))
    chain = DevChain(dev_spec(subnets=(base,)))
    assert immortal_uids(chain.state, 1) == [3, 0]
    assert chain.attempt("bob", "neuron.burned_register", 1, account("miner")) == "ok"
    assert uid_of(chain.state, 1, account("miner")) == 1
