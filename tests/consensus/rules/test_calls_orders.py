"""Orders of governance and of a subnet's owner: bounds, windows, rate limits, effects (DTAO 8.5, YUMA 8)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from dev_chain import DevChain, account, check_conservation, event_names
from failed_calls import failure
from yumad.consensus.profiles import DEV, TAO
from yumad.consensus.rules.v1.calls.orders import ORDERS, order_named
from yumad.consensus.rules.v1.lock_totals import read_total, total_key
from yumad.consensus.rules.v1.owner_limits import OWNER_RIGHTS
from yumad.consensus.rules.v1.stakes import ROOT
from yumad.consensus.rules.v1.subnets import owner_hotkey, parameter

EXECUTE, BY_OWNER = "admin.execute", "subnet.owner_order"
TWO_TEMPOS = DEV.parameters.owner_hyperparam_rate_limit * DEV.hyperparameters.tempo
N1 = account("neuron-1")
WINDOW_CLOSED = "AdminActionProhibitedDuringWeightsWindow"

Prepare = Callable[[DevChain], object]


@pytest.fixture
def chain() -> DevChain:
    """Alice owns subnet 1; its tempo is 10, the freeze window 2."""
    return DevChain()


def nothing(chain: DevChain) -> None:
    """The chain as it is."""


def having(**values: int) -> Prepare:
    """Numbers of subnet 1."""

    def prepare(chain: DevChain) -> None:
        for name, value in values.items():
            chain.state.write(f"subnets/{name}", 1, value)

    return prepare


def before_an_epoch(chain: DevChain) -> None:
    chain.skip_to(8)  # the call comes at height 9, the epoch at 10


def immune(chain: DevChain) -> None:
    """All four neurons are too young to go."""
    having(min_allowed_uids=2, immunity_period=50)(chain)


def given(order: str, *values: Any) -> Prepare:
    """The owner gave the same order before."""

    def prepare(chain: DevChain) -> None:
        assert send_as_owner(chain, order, *values) == "ok"

    return prepare


def arguments(chain: DevChain, call: str, order: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Arguments of either call for an order."""
    if call == EXECUTE:
        return chain.order(order, *values)
    entry = order_named(order)
    return (entry.number if entry else 0x0FFF), list(values)


def send_as_owner(chain: DevChain, order: str, *values: Any) -> str:
    return chain.attempt("alice", BY_OWNER, *arguments(chain, BY_OWNER, order, values))


OF_BOTH: list[tuple[str, str, tuple[Any, ...], Prepare]] = [
    *(("SubnetNotExists", "sudo_set_rho", (netuid, 1), nothing) for netuid in (ROOT, 9, 1 << 40, -1)),
    (WINDOW_CLOSED, "sudo_set_rho", (1, -1), before_an_epoch),
    (WINDOW_CLOSED, "sudo_set_alpha_values", (1, 0, 0), before_an_epoch),
    (WINDOW_CLOSED, "sudo_trim_to_max_allowed_uids", (1, 0), before_an_epoch),
    ("AdminArgumentsMalformed", "sudo_set_rho", (1,), nothing),
    ("AdminArgumentsMalformed", "sudo_set_rho", (1, True), nothing),
    ("AdminArgumentsMalformed", "sudo_set_sn_owner_hotkey", (1, 5), nothing),
    ("AdminArgumentsMalformed", "sudo_set_sn_owner_hotkey", (1, b"short"), nothing),
    ("AdminArgumentsMalformed", "sudo_set_mechanism_emission_split", (1,), nothing),
    ("ValueNotInBounds", "sudo_set_rho", (1, 65_536), nothing),
    ("ValueNotInBounds", "sudo_set_activity_cutoff", (1, 359), nothing),
    ("ValueNotInBounds", "sudo_set_max_allowed_uids", (1, 257), nothing),
    ("ValueNotInBounds", "sudo_set_max_allowed_uids", (1, 3), having(min_allowed_uids=0)),
    ("ValueNotInBounds", "sudo_set_max_allowed_uids", (1, 7), having(min_allowed_uids=8)),
    ("ValueNotInBounds", "sudo_set_max_allowed_uids", (1, 129), having(mechanism_count=2)),
    ("ValueNotInBounds", "sudo_set_min_burn", (1, TAO), nothing),
    ("ValueNotInBounds", "sudo_set_min_burn", (1, 200_000_000), having(max_burn=200_000_000)),
    ("ValueNotInBounds", "sudo_set_max_burn", (1, 100_000_000), nothing),
    ("ValueNotInBounds", "sudo_set_max_burn", (1, 200_000_000), having(min_burn=200_000_000)),
    ("ValueNotInBounds", "sudo_set_immune_owner_uids_limit", (1, 0), nothing),
    ("ValueNotInBounds", "sudo_set_immune_owner_uids_limit", (1, 11), nothing),
    ("ValueNotInBounds", "sudo_set_burn_half_life", (1, 0), nothing),
    ("ValueNotInBounds", "sudo_set_burn_half_life", (1, 36_101), nothing),
    ("ValueNotInBounds", "sudo_set_burn_increase_mult", (1, 0, 0), nothing),
    ("ValueNotInBounds", "sudo_set_burn_increase_mult", (1, 1, 3), nothing),
    ("ValueNotInBounds", "sudo_set_mechanism_count", (1, 0), nothing),
    ("ValueNotInBounds", "sudo_set_mechanism_count", (1, 3), having(max_allowed_uids=64)),
    ("ValueNotInBounds", "sudo_set_mechanism_count", (1, 2), having(max_allowed_uids=129)),
    ("ValueNotInBounds", "sudo_set_mechanism_emission_split", (1, 65_534), nothing),
    ("ValueNotInBounds", "sudo_set_mechanism_emission_split", (1, 65_534, 1), nothing),
    ("ValueNotInBounds", "sudo_trim_to_max_allowed_uids", (1, 3), nothing),
    ("ValueNotInBounds", "sudo_trim_to_max_allowed_uids", (1, 0), having(min_allowed_uids=0)),
    ("ValueNotInBounds", "sudo_trim_to_max_allowed_uids", (1, 257), nothing),
    ("RevealPeriodTooSmall", "sudo_set_reveal_period_epochs", (1, 0), nothing),
    ("RevealPeriodTooLarge", "sudo_set_reveal_period_epochs", (1, 101), nothing),
    ("InvalidRootClaimThreshold", "sudo_set_root_claim_threshold", (1, 10_000_001), nothing),
    ("LiquidAlphaDisabled", "sudo_set_alpha_values", (1, 0, 0), nothing),
    ("AlphaHighTooLow", "sudo_set_alpha_values", (1, 0, 1_637), having(liquid_alpha_on=1)),
    ("AlphaLowOutOfRange", "sudo_set_alpha_values", (1, 1_637, 1_638), having(liquid_alpha_on=1)),
    ("AlphaLowOutOfRange", "sudo_set_alpha_values", (1, 1_639, 1_638), having(liquid_alpha_on=1)),
    ("NonAssociatedColdKey", "sudo_set_sn_owner_hotkey", (1, account("authority-0/hot")), nothing),
    ("NonAssociatedColdKey", "sudo_set_sn_owner_hotkey", (1, account("unknown")), nothing),
    ("TrimmingWouldExceedMaxImmunePercentage", "sudo_trim_to_max_allowed_uids", (1, 2), immune),
]
"""Error, order, its arguments: the same for governance and the owner."""

FAILURES: list[tuple[str, str, str, tuple[Any, ...], Prepare]] = [
    *((call, *case) for call in (EXECUTE, BY_OWNER) for case in OF_BOTH),
    (EXECUTE, "TempoOutOfBounds", "sudo_set_tempo", (1, 65_536), nothing),
    (EXECUTE, "TempoOutOfBounds", "sudo_set_tempo", (1, -1), nothing),
    (EXECUTE, WINDOW_CLOSED, "sudo_set_tempo", (1, 10), before_an_epoch),
    (EXECUTE, "FeeRateTooHigh", "sudo_set_fee_rate", (1, 10_001), nothing),
    (EXECUTE, "ValueNotInBounds", "sudo_set_min_allowed_uids", (1, 4), nothing),
    (EXECUTE, "ValueNotInBounds", "sudo_set_max_allowed_validators", (1, 65), having(max_allowed_uids=64)),
    (EXECUTE, "ValueNotInBounds", "sudo_set_num_root_claim", (51,), nothing),
    (EXECUTE, "ColdkeySwapAnnouncementNotFound", "sudo_reset_coldkey_swap", (account("alice"),), nothing),
    (EXECUTE, "ColdkeySwapAnnouncementNotFound", "sudo_reset_coldkey_swap", (account("unknown"),), nothing),
    (EXECUTE, "SubnetNotExists", "sudo_dissolve_network", (9,), nothing),
    (EXECUTE, "SubnetNotExists", "sudo_dissolve_network", (ROOT,), nothing),
    (BY_OWNER, "AdminCallUnknown", "of no order", (1, 1), nothing),
    (BY_OWNER, "AdminCallUnknown", "sudo_set_kappa", (1, 1), nothing),
    (BY_OWNER, "AdminCallUnknown", "sudo_set_tempo", (1, 360), nothing),
    (BY_OWNER, "AdminCallUnknown", "sudo_dissolve_network", (1,), nothing),
    (BY_OWNER, "AdminCallUnknown", "sudo_set_stake_threshold", (1,), nothing),
    (BY_OWNER, "BadOrigin", "sudo_set_rho", (1, -1), lambda chain: chain.state.write("subnets/owner", 1, 0)),
    (BY_OWNER, "ValueNotInBounds", "sudo_set_bonds_moving_average", (1, 975_001), before_an_epoch),
    (BY_OWNER, "ValueNotInBounds", "sudo_set_alpha_sigmoid_steepness", (1, -1), before_an_epoch),
    (BY_OWNER, "TxRateLimitExceeded", "sudo_set_rho", (1, -1), given("sudo_set_rho", 1, 1)),
]

UNREACHABLE: dict[tuple[str, str], str] = {
    (BY_OWNER, "TempoOutOfBounds"): "owners have subnet.set_tempo",
    (BY_OWNER, "FeeRateTooHigh"): "governance's alone",
    (BY_OWNER, "ColdkeySwapAnnouncementNotFound"): "governance's alone",
    (EXECUTE, "TxRateLimitExceeded"): "governance waits for nothing",
}


@pytest.mark.parametrize(
    ("call", "error", "order", "values", "prepare"),
    FAILURES,
    ids=[f"{call}-{error}-{order}-{number}" for number, (call, error, order, *_) in enumerate(FAILURES)],
)
def test_order_that_fails_a_check_reports_it(
    chain: DevChain, call: str, error: str, order: str, values: tuple[Any, ...], prepare: Prepare
) -> None:
    prepare(chain)
    assert failure(chain, "alice", call, *arguments(chain, call, order, values)) == error
    assert (call, error) not in UNREACHABLE


# --- what owners may set ----------------------------------------------------------------------------------------------

ALLOWED: dict[str, tuple[Any, ...]] = {
    "sudo_set_alpha_values": (2_000, 3_000),
    "sudo_set_burn_increase_mult": (0, 2),
    "sudo_set_mechanism_emission_split": (65_535,),
    "sudo_trim_to_max_allowed_uids": (64,),
    "sudo_set_sn_owner_hotkey": (N1,),
    "sudo_set_bonds_moving_average": (975_000,),
    "sudo_set_alpha_sigmoid_steepness": (0,),
    "sudo_set_max_allowed_uids": (128,),
    "sudo_set_activity_cutoff": (360,),
    "sudo_set_max_burn": (2 * TAO,),
}
"""A value that the owner may give, where it is not 1."""

WAITS = {
    **dict.fromkeys(OWNER_RIGHTS, TWO_TEMPOS),
    "sudo_set_weights_version_key": 5 * DEV.hyperparameters.tempo,
    "sudo_set_mechanism_count": DEV.parameters.mechanism_rate_limit,
    "sudo_set_mechanism_emission_split": DEV.parameters.mechanism_rate_limit,
    "sudo_trim_to_max_allowed_uids": DEV.parameters.trim_rate_limit,
    "sudo_set_sn_owner_hotkey": DEV.parameters.sn_owner_hotkey_rate_limit,
    "sudo_set_owner_cut_enabled": 0,
    "sudo_set_owner_cut_auto_lock_enabled": 0,
    "sudo_set_root_claim_threshold": 0,
}
"""Blocks between two uses of a right (DTAO 8.5)."""


@pytest.mark.parametrize("order", OWNER_RIGHTS)
def test_owner_sets_a_parameter_again_after_its_rate_limit(chain: DevChain, order: str) -> None:
    having(liquid_alpha_on=1)(chain)
    values = (1, *ALLOWED.get(order, (1,)))
    numbers = arguments(chain, BY_OWNER, order, values)
    outcome = chain.send("alice", BY_OWNER, *numbers)
    assert (outcome.code, event_names(outcome.events)[-1]) == (0, "ParameterSet")
    assert outcome.events[-1].arguments == (1, numbers[0], values[-1])
    wait = WAITS[order]
    if wait:
        assert send_as_owner(chain, order, *values) == "TxRateLimitExceeded"
        chain.skip_to(wait - 1)
        assert send_as_owner(chain, order, *values) == "TxRateLimitExceeded"
    assert send_as_owner(chain, order, *values) == "ok"


def test_rate_limit_of_an_owner_counts_for_each_parameter_alone(chain: DevChain) -> None:
    assert send_as_owner(chain, "sudo_set_rho", 1, 5) == "ok"
    assert send_as_owner(chain, "sudo_set_immunity_period", 1, 5) == "ok"
    assert [parameter(chain.state, 1, name) for name in ("rho", "immunity_period")] == [5, 5]


def test_governance_sets_what_an_owner_just_set(chain: DevChain) -> None:
    assert send_as_owner(chain, "sudo_set_bonds_moving_average", 1, 5) == "ok"
    assert chain.command("sudo_set_bonds_moving_average", 1, 1_000_000) == "ok"
    assert chain.command("sudo_set_alpha_sigmoid_steepness", 1, -32_768) == "ok"


def test_owner_has_no_right_to_what_is_governances() -> None:
    """DTAO 8.5, and all that is global."""
    rest = {order.name for order in ORDERS} - set(OWNER_RIGHTS)
    kept = ("kappa", "max_allowed_validators", "network_registration_allowed", "subtoken_enabled", "emission_enabled")
    kept += ("ema_price_halving_blocks", "fee_rate", "weights_set_rate_limit", "min_non_immune_uids", "tempo")
    assert {f"sudo_set_{name}" for name in kept} < rest
    assert all(order.of_subnet for order in ORDERS if order.name in OWNER_RIGHTS)


# --- orders that do more than set a number ----------------------------------------------------------------------------


def test_owner_names_another_hotkey_of_its_own_for_the_subnet_and_locks_change_their_aggregate(chain: DevChain) -> None:
    """DTAO 7.4: locks on the owner's hotkey are counted apart."""
    assert chain.attempt("bob", "stake.add_stake", N1, 1, 20 * TAO) == "ok"
    assert chain.attempt("bob", "locks.lock_stake", N1, 1, 10 * TAO) == "ok"
    key = total_key(chain.state, 1, N1, perpetual=False)
    before = read_total(chain.state, key, chain.height)
    outcome = chain.send("alice", BY_OWNER, *arguments(chain, BY_OWNER, "sudo_set_sn_owner_hotkey", (1, N1)))
    assert event_names(outcome.events) == ["SubnetOwnerHotkeySet", "ParameterSet"]
    assert owner_hotkey(chain.state, 1) == N1
    assert before.mass > 0 and read_total(chain.state, key, chain.height).mass == 0
    moved = read_total(chain.state, total_key(chain.state, 1, N1, perpetual=False), chain.height)
    assert 0 < moved.mass <= before.mass
    check_conservation(chain)


def test_governance_ends_an_announced_coldkey_swap(chain: DevChain) -> None:
    assert chain.attempt("bob", "keys.announce_coldkey_swap", bytes(32)) == "ok"
    assert chain.attempt("bob", "keys.dispute_coldkey_swap") == "ok"
    assert chain.attempt("bob", "balances.transfer_keep_alive", account("alice"), TAO) == "ColdkeySwapDisputed"
    assert chain.command("sudo_reset_coldkey_swap", account("bob")) == "ok"
    assert chain.attempt("bob", "balances.transfer_keep_alive", account("alice"), TAO) == "ok"


def test_raised_least_nomination_closes_what_is_too_small(chain: DevChain) -> None:
    """DTAO 6.5: factor in millionths of 2 000 000 rao."""
    assert chain.attempt("bob", "stake.add_stake", N1, 1, TAO) == "ok"
    outcome = chain.send("alice", EXECUTE, *chain.order("sudo_set_nominator_min_required_stake", 1_000_000_000))
    assert event_names(outcome.events) == ["StakeRemoved", "ParameterSet"]
    check_conservation(chain)
