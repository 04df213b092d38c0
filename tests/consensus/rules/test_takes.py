"""Delegate takes: raising is rare, lowering is free, and both stay between the network's bounds (DTAO 7.2)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from dev_chain import DevChain, account, check_conservation, dev_spec, event_names
from yumad.consensus.profiles import DEV
from yumad.consensus.rules.v1.takes import DEFAULT_TAKE, delegate_take

HOT = account("neuron-1")
RAISE, LOWER = "stake.increase_take", "stake.decrease_take"
LIMIT = DEV.parameters.tx_delegate_take_rate_limit

Arrange = Callable[[DevChain], object]


@pytest.fixture
def chain() -> DevChain:
    """Takes from 100 to the default."""
    return DevChain(dev_spec(parameters=replace(DEV.parameters, min_delegate_take=100)))


def nothing(chain: DevChain) -> None:
    pass


def lowered(chain: DevChain) -> None:
    assert chain.attempt("alice", LOWER, HOT, 500) == "ok"


FAILURES: list[tuple[str, str, Arrange, str, tuple[Any, ...]]] = [
    (RAISE, "DelegateTakeTooLow", nothing, "bob", (account("unknown"), 99)),
    (RAISE, "DelegateTakeTooHigh", nothing, "bob", (account("unknown"), DEFAULT_TAKE + 1)),
    (RAISE, "HotKeyAccountNotExists", nothing, "alice", (account("unknown"), 500)),
    (RAISE, "NonAssociatedColdKey", lowered, "bob", (HOT, 400)),
    (RAISE, "DelegateTakeTooLow", lowered, "alice", (HOT, 500)),
    (RAISE, "DelegateTxRateLimitExceeded", lowered, "alice", (HOT, 501)),
    (LOWER, "DelegateTakeTooLow", nothing, "bob", (account("unknown"), 99)),
    (LOWER, "DelegateTakeTooHigh", nothing, "bob", (account("unknown"), DEFAULT_TAKE + 1)),
    (LOWER, "HotKeyAccountNotExists", nothing, "alice", (account("unknown"), 500)),
    (LOWER, "NonAssociatedColdKey", nothing, "bob", (HOT, 500)),
    (LOWER, "DelegateTakeTooLow", nothing, "alice", (HOT, DEFAULT_TAKE)),
]


@pytest.mark.parametrize(
    ("call", "error", "arrange", "signer", "args"),
    FAILURES,
    ids=[f"{call}-{error}-{signer}" for call, error, _, signer, _ in FAILURES],
)
def test_call_that_fails_a_check_reports_it(
    chain: DevChain, call: str, error: str, arrange: Arrange, signer: str, args: tuple[Any, ...]
) -> None:
    arrange(chain)
    assert chain.attempt(signer, call, *args) == error
    check_conservation(chain)


def test_hotkey_that_never_chose_has_the_default(chain: DevChain) -> None:
    assert delegate_take(chain.state, HOT) == delegate_take(chain.state, account("unknown")) == DEFAULT_TAKE == 11_796


def test_decrease_takes_effect_at_once_and_as_often_as_wanted(chain: DevChain) -> None:
    outcome = chain.send("alice", LOWER, HOT, 500)
    assert event_names(outcome.events) == ["TakeDecreased"]
    assert outcome.events[0].arguments == (account("alice"), HOT, 500)
    assert chain.attempt("alice", LOWER, HOT, 100) == "ok"
    assert delegate_take(chain.state, HOT) == 100


def test_take_of_zero_is_a_choice_of_its_own() -> None:
    chain = DevChain()
    assert chain.attempt("alice", LOWER, HOT, 0) == "ok"
    assert delegate_take(chain.state, HOT) == 0


def test_increase_needs_more_blocks_than_the_limit_since_any_change(chain: DevChain) -> None:
    lowered(chain)
    chain.skip(LIMIT - 1)
    assert chain.attempt("alice", RAISE, HOT, 501) == "DelegateTxRateLimitExceeded"  # exactly the limit later
    outcome = chain.send("alice", RAISE, HOT, 501)
    assert event_names(outcome.events) == ["TakeIncreased"]
    assert delegate_take(chain.state, HOT) == 501
    assert chain.attempt("alice", RAISE, HOT, 502) == "DelegateTxRateLimitExceeded"


def test_lower_highest_take_binds_new_choices_only() -> None:
    chain = DevChain()
    assert chain.command("sudo_set_max_delegate_take", 500) == "ok"
    assert chain.attempt("alice", RAISE, HOT, 501) == "DelegateTakeTooHigh"
    assert delegate_take(chain.state, HOT) == DEFAULT_TAKE


UNREACHABLE: dict[tuple[str, str], str] = {}
