"""Registration: checks in order, price, slot choice and replacement (YUMA section 6)."""

from collections.abc import Callable
from typing import Any

import pytest
from dev_chain import DevChain, account, check_conservation, dev_spec, event_names, packed, subnet
from failed_calls import failure
from yumad.consensus.profiles import TAO
from yumad.consensus.rules.v1.balances import free_balance
from yumad.consensus.rules.v1.dtao.registration_price import decay_factor, decayed_price
from yumad.consensus.rules.v1.markets import system_account
from yumad.consensus.rules.v1.neurons import hotkey_of, immortal_uids, uid_of
from yumad.consensus.rules.v1.stakes import hotkey_owner
from yumad.consensus.rules.v1.weights import read_row
from yumad.consensus.types import AccountId, Rao

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


BURNED, LIMIT, WORK = "neuron.burned_register", "neuron.register_limit", "neuron.register"
MINER = account("miner")

Prepare = Callable[[DevChain], object]


def nothing(chain: DevChain) -> None:
    """The chain as it is."""


def having(**values: int) -> Prepare:
    """Numbers of the subnet; it earns nothing, so that its pool stays as it is written."""

    def prepare(chain: DevChain) -> None:
        for name, value in {"first_emission_block": 0, **values}.items():
            chain.state.write(f"subnets/{name}", 1, value)

    return prepare


CASES: list[tuple[str, int, AccountId, Prepare]] = [
    ("RegistrationNotPermittedOnRootSubnet", 0, MINER, nothing),
    ("SubnetNotExists", 7, MINER, nothing),
    ("SubNetRegistrationDisabled", 1, account("neuron-2"), having(network_registration_allowed=0)),
    ("HotKeyAlreadyRegisteredInSubNet", 1, account("neuron-2"), having(burn=2000 * TAO)),
    ("NotEnoughBalanceToStake", 1, system_account(3), having(burn=2000 * TAO, max_burn=2000 * TAO)),
    ("CannotUseSystemAccount", 1, system_account(3), nothing),
    ("NonAssociatedColdKey", 1, account("authority-0/hot"), having(max_allowed_uids=4, immune_owner_uids_limit=10)),
    ("NoNeuronIdAvailable", 1, MINER, having(max_allowed_uids=4, immune_owner_uids_limit=10)),
    ("SwapInputTooLarge", 1, MINER, having(tao_reserve=TAO // 10_010)),
    ("ReservesTooLow", 1, MINER, having(alpha_reserve=999_999)),
    ("PriceLimitExceeded", 1, MINER, having(alpha_reserve=10**6, tao_reserve=10**12)),
]
"""Error, netuid, hotkey and how it comes to it, the same for every way to register; one check before the next."""


def arguments(call: str, netuid: int, hotkey: AccountId) -> tuple[Any, ...]:
    """Arguments of each call that registers a neuron."""
    return {
        BURNED: (netuid, hotkey),
        LIMIT: (netuid, hotkey, 2000 * TAO),
        WORK: (netuid, 0, 0, b"", hotkey, account("bob")),
    }[call]


FAILURES: list[tuple[str, str, tuple[Any, ...], Prepare]] = [
    *(
        (call, error, arguments(call, netuid, hotkey), prepare)
        for call in (BURNED, LIMIT, WORK)
        for error, netuid, hotkey, prepare in CASES
    ),
    (LIMIT, "RegistrationPriceLimitExceeded", (1, account("neuron-2"), TAO // 10 - 1), nothing),
]

UNREACHABLE: dict[tuple[str, str], str] = {
    **dict.fromkeys(
        [(call, "InsufficientLiquidity") for call in (BURNED, LIMIT, WORK)], "a purchase never takes the whole reserve"
    ),
    **dict.fromkeys([(call, "RegistrationPriceLimitExceeded") for call in (BURNED, WORK)], "there is no limit"),
}


@pytest.mark.parametrize(("call", "error", "args", "prepare"), FAILURES)
def test_registration_that_fails_a_check_reports_it(
    call: str, error: str, args: tuple[Any, ...], prepare: Prepare
) -> None:
    chain = DevChain()
    prepare(chain)
    assert failure(chain, "alice", call, *args) == error
    assert (call, error) not in UNREACHABLE
    assert chain.state.read("subnets/neurons", 1) == 4


DEPOSIT_FAILURES: list[tuple[str, str]] = [(call, "InsufficientBalance") for call in (BURNED, LIMIT, WORK)]


@pytest.mark.parametrize(("call", "error"), DEPOSIT_FAILURES)
def test_registration_by_one_who_has_only_the_existential_deposit_fails_however_low_the_price(
    call: str, error: str
) -> None:
    fee = 100_000 + 100 * len(DevChain().sign("poor", call, *arguments(call, 1, MINER)))
    chain = DevChain(dev_spec(balances=((account("poor"), Rao(fee + 500)),)))
    having(burn=500, min_burn=0)(chain)
    assert failure(chain, "poor", call, *arguments(call, 1, MINER)) == error


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
