"""Creating a subnet and what its owner decides, as calls: checks in the spec's order, effects (DTAO 8, YUMA 7.5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from dev_chain import DevChain, account, check_conservation, dev_spec, event_names, subnet
from failed_calls import failure
from yumad.consensus.profiles import DEV, TAO
from yumad.consensus.rules.v1.balances import free_balance
from yumad.consensus.rules.v1.calls.table import call_named
from yumad.consensus.rules.v1.dtao.units import DYNAMIC
from yumad.consensus.rules.v1.identities import subnet_identity_of
from yumad.consensus.rules.v1.markets import read_pool, spot, system_account
from yumad.consensus.rules.v1.neurons import hotkeys_of
from yumad.consensus.rules.v1.stakes import ROOT, hotkey_owner
from yumad.consensus.rules.v1.subnets import netuids, owner, owner_hotkey, parameter
from yumad.consensus.rules.v1.symbols import SYMBOLS, symbol_of
from yumad.consensus.types import Height, Netuid, Rao

REGISTER, WITH_IDENTITY = "subnet.register_network", "subnet.register_network_with_identity"
START, TEMPO, TRIGGER = "subnet.start_call", "subnet.set_tempo", "subnet.trigger_epoch"
ACTIVITY, SYMBOL = "subnet.set_activity_cutoff_factor", "subnet.update_symbol"
NEW = account("new/hot")
IDENTITY = [b"name", b"", b"", b"", b"", b"what it is", b"", b""]
LIMIT = DEV.parameters.owner_hyperparam_rate_limit * DEV.hyperparameters.tempo
WINDOW = DEV.parameters.admin_freeze_window

Prepare = Callable[[DevChain], object]


@pytest.fixture
def chain() -> DevChain:
    """Alice owns subnet 1, which trades and earns; its tempo is 10, the freeze window 2."""
    return DevChain()


def nothing(chain: DevChain) -> None:
    """The chain as it is."""


def everywhere(**values: int) -> Prepare:
    """Parameters of the network."""

    def prepare(chain: DevChain) -> None:
        for name, value in values.items():
            chain.state.write(f"global/{name}", 0, value)

    return prepare


def having(**values: int) -> Prepare:
    """Numbers of subnet 1."""

    def prepare(chain: DevChain) -> None:
        for name, value in values.items():
            chain.state.write(f"subnets/{name}", 1, value)

    return prepare


def registered(chain: DevChain) -> None:
    assert chain.attempt("bob", REGISTER, account("bob/hot")) == "ok"


def not_started(chain: DevChain) -> None:
    having(first_emission_block=0)(chain)
    everywhere(start_call_delay=2)(chain)


def before_an_epoch(chain: DevChain) -> None:
    chain.skip_to(8)  # the call comes at height 9, the epoch at 10


def done(call: str, *args: Any) -> Prepare:
    """The same call succeeded before, an epoch ago."""

    def prepare(chain: DevChain) -> None:
        assert chain.attempt("alice", call, *args) == "ok"
        chain.skip(12)

    return prepare


def with_the_deposit_only(*signed: Any) -> Prepare:
    """A subnet costs as little as the existential deposit, and that is all alice has after the fee."""

    def prepare(chain: DevChain) -> None:
        everywhere(network_min_lock_cost=500)(chain)
        chain.state.write("chain/last_lock_cost", 0, 500)
        call, row = call_named(signed[0]), chain.state.accounts().find(account("alice"), 0)
        assert call is not None and row is not None
        fee = chain.spec.fees.of(call.number, len(chain.sign("alice", *signed)))
        chain.state.write("accounts/free", row, fee + 500)

    return prepare


OWNERS: list[tuple[str, tuple[Any, ...]]] = [
    (START, ()),
    (TEMPO, (9,)),
    (TRIGGER, ()),
    (ACTIVITY, (999,)),
    (SYMBOL, (b"?",)),
]
"""Calls of an owner, with what would fail the next check."""

FAILURES: list[tuple[str, str, str, tuple[Any, ...], Prepare]] = [
    *(
        (call, error, signer, (hotkey, *identity), prepare)
        for call, identity in ((REGISTER, ()), (WITH_IDENTITY, ([b""],)))
        for error, signer, hotkey, prepare in [
            ("NonAssociatedColdKey", "bob", account("neuron-0"), everywhere(network_registration_start_block=9)),
            ("CannotUseSystemAccount", "alice", system_account(5), everywhere(network_registration_start_block=9)),
            ("SubNetRegistrationDisabled", "alice", NEW, everywhere(network_registration_start_block=2)),
            ("NetworkTxRateLimitExceeded", "alice", NEW, registered),
            ("SubnetLimitReached", "alice", NEW, everywhere(subnet_limit=1, network_min_lock_cost=1000 * TAO)),
            ("CannotAffordLockCost", "alice", NEW, everywhere(network_min_lock_cost=1000 * TAO)),
            ("InsufficientBalance", "alice", NEW, with_the_deposit_only(call, NEW, *identity)),
        ]
    ),
    (WITH_IDENTITY, "InvalidIdentity", "alice", (NEW, IDENTITY[:7]), nothing),
    (WITH_IDENTITY, "InvalidIdentity", "alice", (NEW, [b"x" * 257, *IDENTITY[1:]]), nothing),
    *((call, "SubnetNotExists", "bob", (netuid, *rest), nothing) for call, rest in OWNERS for netuid in (ROOT, 9)),
    *((call, "BadOrigin", "bob", (1, *rest), nothing) for call, rest in OWNERS),
    (START, "FirstEmissionBlockNumberAlreadySet", "alice", (1,), everywhere(start_call_delay=2)),
    (START, "NeedWaitingMoreBlocksToStarCall", "alice", (1,), not_started),
    (TEMPO, "TempoOutOfBounds", "alice", (1, 9), before_an_epoch),
    (TEMPO, "TempoOutOfBounds", "alice", (1, 50_401), before_an_epoch),
    (TEMPO, "AdminActionProhibitedDuringWeightsWindow", "alice", (1, 10), before_an_epoch),
    (TEMPO, "TxRateLimitExceeded", "alice", (1, 11), done(TEMPO, 1, 10)),
    (TRIGGER, "DynamicTempoBlockedByCommitReveal", "alice", (1,), having(commit_reveal_weights_enabled=1)),
    (TRIGGER, "EpochTriggerAlreadyPending", "alice", (1,), having(pending_epoch_at=2)),
    (TRIGGER, "AutoEpochAlreadyImminent", "alice", (1,), before_an_epoch),
    (TRIGGER, "TxRateLimitExceeded", "alice", (1,), done(TRIGGER, 1)),
    (ACTIVITY, "ValueNotInBounds", "alice", (1, 999), before_an_epoch),
    (ACTIVITY, "ValueNotInBounds", "alice", (1, 50_001), before_an_epoch),
    (ACTIVITY, "AdminActionProhibitedDuringWeightsWindow", "alice", (1, 1_000), before_an_epoch),
    (ACTIVITY, "TxRateLimitExceeded", "alice", (1, 1_000), done(ACTIVITY, 1, 2_000)),
    (SYMBOL, "SymbolDoesNotExist", "alice", (1, b"?"), nothing),
    (SYMBOL, "SymbolDoesNotExist", "alice", (1, b""), nothing),
    (SYMBOL, "SymbolAlreadyInUse", "alice", (1, "τ".encode()), nothing),
    (SYMBOL, "SymbolAlreadyInUse", "alice", (1, SYMBOLS[1].encode()), nothing),
]

UNREACHABLE: dict[tuple[str, str], str] = {
    (REGISTER, "InvalidIdentity"): "there is none",
    (SYMBOL, "NotSubnetOwner"): "owners' calls answer BadOrigin (DTAO 10)",
    (TRIGGER, "AdminActionProhibitedDuringWeightsWindow"): "the window has an error of its own here",
}


@pytest.mark.parametrize(
    ("call", "error", "signer", "args", "prepare"),
    FAILURES,
    ids=[f"{call}-{error}-{number}" for number, (call, error, *_) in enumerate(FAILURES)],
)
def test_call_that_fails_a_check_reports_it(
    chain: DevChain, call: str, error: str, signer: str, args: tuple[Any, ...], prepare: Prepare
) -> None:
    prepare(chain)
    assert failure(chain, signer, call, *args) == error
    assert (call, error) not in UNREACHABLE


# --- a new subnet -----------------------------------------------------------------------------------------------------


def test_new_subnet_has_its_price_as_pool_at_the_median_price_and_its_owner_as_first_neuron(chain: DevChain) -> None:
    free = free_balance(chain.state, account("bob"))
    outcome = chain.send("bob", REGISTER, NEW)
    assert event_names(outcome.events) == [
        "HotkeyAssociated",
        "NeuronRegistered",
        "SubnetOwnerHotkeySet",
        "NetworkAdded",
    ]
    assert outcome.events[-1].arguments == (2, DYNAMIC)
    cost = 100 * TAO
    assert free_balance(chain.state, account("bob")) == free - outcome.fee - cost
    pool = read_pool(chain.state, 2)
    assert (pool.tao, pool.quote_weight, pool.initialised) == (cost, 5 * 10**17, False)
    median = spot(chain.state, 1)
    assert pool.alpha == (cost << 128) // median >> 64
    assert abs(spot(chain.state, 2) - median) <= median >> 32
    numbers = ("account", "locked", "alpha_out", "registered_at", "last_epoch_block", "first_emission_block")
    assert [parameter(chain.state, 2, name) for name in numbers] == [cost, cost, 0, 1, 0, 0]
    assert (owner(chain.state, 2), owner_hotkey(chain.state, 2)) == (account("bob"), NEW)
    assert (hotkeys_of(chain.state, 2), hotkey_owner(chain.state, NEW)) == ([NEW], account("bob"))
    assert [parameter(chain.state, 2, name) for name in ("subtoken_enabled", "emission_enabled")] == [0, 1]
    assert symbol_of(chain.state, 2) == SYMBOLS[2]
    check_conservation(chain)


def test_new_subnet_earns_only_where_the_spec_says_so() -> None:
    chain = DevChain(dev_spec(emission_on_registration=False))
    registered(chain)
    assert parameter(chain.state, 2, "emission_enabled") == 0


def test_new_subnet_has_the_profiles_parameters_whatever_others_have() -> None:
    chain = DevChain(dev_spec(subnets=(subnet({"tempo": 77, "kappa": 5}),)))
    registered(chain)
    assert [parameter(chain.state, 2, name) for name in ("tempo", "kappa", "burn")] == [10, 32_767, TAO // 10]


def test_new_subnet_says_what_it_is(chain: DevChain) -> None:
    outcome = chain.send("bob", WITH_IDENTITY, NEW, IDENTITY)
    assert event_names(outcome.events)[2] == "SubnetIdentitySet"
    identity = subnet_identity_of(chain.state, 2)
    assert identity is not None
    assert (identity["subnet_name"], identity["description"]) == ("name", "what it is")


def test_subnet_can_be_registered_again_after_the_rate_limit_for_twice_the_falling_price(chain: DevChain) -> None:
    registered(chain)
    chain.skip(DEV.parameters.network_rate_limit - 2)
    assert chain.attempt("bob", REGISTER, NEW) == "NetworkTxRateLimitExceeded"
    assert chain.attempt("bob", REGISTER, NEW) == "ok"
    each_block = 100 * TAO // DEV.parameters.network_lock_reduction_interval
    assert parameter(chain.state, 3, "locked") == 200 * TAO - 5 * each_block
    assert netuids(chain.state) == [1, 2, 3]


def test_subnet_bought_with_exactly_its_price_costs_less_by_the_existential_deposit(chain: DevChain) -> None:
    """DTAO 13.38."""
    call, size = call_named(REGISTER), len(chain.sign("poor", REGISTER, NEW))
    assert call is not None
    fee, cost = chain.spec.fees.of(call.number, size), 100 * TAO
    poor, rich = (DevChain(dev_spec(balances=((account("poor"), Rao(fee + free)),))) for free in (cost - 1, cost))
    assert poor.attempt("poor", REGISTER, NEW) == "CannotAffordLockCost"
    assert rich.attempt("poor", REGISTER, NEW) == "ok"
    assert free_balance(rich.state, account("poor")) == 500
    assert [parameter(rich.state, 2, name) for name in ("account", "tao_reserve", "locked")] == [cost - 500] * 3
    check_conservation(rich)


@pytest.mark.parametrize(
    ("later", "cost"),
    [
        (0, 3_000_000_000_000),
        (7_200, 2_892_857_145_600),
        (50_400, 2_250_000_019_200),
        (100_800, 1_500_000_038_400),
        (201_600, 1_000_000_000_000),
    ],
)
def test_cost_of_a_subnet_is_the_specs(later: int, cost: int) -> None:
    """DTAO 12.13."""
    chain = DevChain(dev_spec(balances=((account("alice"), Rao(cost + 500)),)))
    terms = {"network_min_lock_cost": 1000 * TAO, "network_lock_reduction_interval": 100_800, "network_rate_limit": 0}
    everywhere(**terms)(chain)
    chain.state.write("chain/last_lock_cost", 0, 1500 * TAO)
    chain.state.write("chain/last_lock_block", 0, 1000)
    call, ctx = call_named(REGISTER), replace(chain.context(), height=Height(1000 + later))
    assert call is not None
    call.execute(chain.state, ctx, account("alice"), (NEW,))
    assert (free_balance(chain.state, account("alice")), parameter(chain.state, 2, "tao_reserve")) == (500, cost)
    assert [chain.state.read(f"chain/last_lock_{what}", 0) for what in ("cost", "block")] == [cost, 1000 + later]


# --- what owners decide -----------------------------------------------------------------------------------------------


def test_started_subnet_trades_at_once_and_earns_from_the_next_block(chain: DevChain) -> None:
    registered(chain)
    assert chain.attempt("alice", "stake.add_stake", NEW, 2, TAO) == "SubtokenDisabled"
    outcome = chain.send("bob", START, 2)
    assert [(e.arguments, *event_names([e])) for e in outcome.events] == [
        ((2, chain.height + 1), "FirstEmissionBlockNumberSet")
    ]
    assert parameter(chain.state, 2, "alpha_out") == 0
    assert chain.attempt("alice", "stake.add_stake", account("bob/hot"), 2, TAO) == "ok"
    assert parameter(chain.state, 2, "alpha_out_emission") > 0
    check_conservation(chain)


def test_subnet_can_be_started_when_the_delay_is_over(chain: DevChain) -> None:
    registered(chain)
    everywhere(start_call_delay=3)(chain)
    assert [chain.attempt("bob", START, 2) for _ in range(3)] == [*["NeedWaitingMoreBlocksToStarCall"] * 2, "ok"]


def test_tempo_of_an_owner_starts_a_new_period(chain: DevChain) -> None:
    chain.skip(5)
    outcome = chain.send("alice", TEMPO, 1, 12)
    assert [(e.arguments, *event_names([e])) for e in outcome.events] == [((1, 12), "TempoSet")]
    assert [parameter(chain.state, 1, name) for name in ("tempo", "last_epoch_block")] == [12, 6]


def test_tempo_can_be_set_again_after_its_rate_limit(chain: DevChain) -> None:
    assert chain.attempt("alice", TEMPO, 1, 50_400) == "ok"
    chain.skip(DEV.parameters.tempo_rate_limit - 2)
    assert chain.attempt("alice", TEMPO, 1, 10) == "TxRateLimitExceeded"
    assert chain.attempt("alice", TEMPO, 1, 10) == "ok"


def test_triggered_epoch_runs_after_the_window_in_which_parameters_rest(chain: DevChain) -> None:
    outcome = chain.send("alice", TRIGGER, 1)
    assert [(e.arguments, *event_names([e])) for e in outcome.events] == [((1, 1 + WINDOW), "EpochTriggered")]
    assert chain.attempt("alice", TEMPO, 1, 10) == "AdminActionProhibitedDuringWeightsWindow"
    chain.skip(1)
    assert [epoch.netuid for epoch in chain.outcomes[-1].epochs] == [1]
    assert parameter(chain.state, 1, "pending_epoch_at") == 0


def test_epoch_is_triggered_up_to_the_window_before_the_next_one(chain: DevChain) -> None:
    chain.skip_to(10 - WINDOW - 1)
    assert chain.attempt("alice", TRIGGER, 1) == "ok"


def test_activity_cutoff_can_be_set_again_after_two_tempos(chain: DevChain) -> None:
    assert chain.attempt("alice", ACTIVITY, 1, 1_000) == "ok"
    assert parameter(chain.state, 1, "activity_cutoff_factor_milli") == 1_000
    chain.skip_to(LIMIT)
    assert chain.attempt("alice", ACTIVITY, 1, 50_000) == "ok"


def test_symbol_is_changed_and_the_old_one_is_free_for_others(chain: DevChain) -> None:
    outcome = chain.send("alice", SYMBOL, 1, "ж".encode())
    assert [(e.arguments, *event_names([e])) for e in outcome.events] == [((1, "ж".encode()), "SymbolUpdated")]
    assert symbol_of(chain.state, 1) == "ж"
    registered(chain)
    assert symbol_of(chain.state, 2) == SYMBOLS[1] == "α"


def test_subnets_of_the_genesis_have_symbols_of_their_own() -> None:
    chain = DevChain(dev_spec(subnets=(subnet(), replace(subnet(), netuid=Netuid(5)))))
    assert [symbol_of(chain.state, netuid) for netuid in (ROOT, 1, 5)] == list(SYMBOLS[:3])
