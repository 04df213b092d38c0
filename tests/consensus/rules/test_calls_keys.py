"""Swaps of hotkeys and coldkeys as calls: every check of DTAO 9 in its order, and that a failure changes nothing.

What a swap does is in `test_hotkey_swap.py`, `test_coldkey_swap.py` and `test_swaps.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from dev_chain import DevChain, account, check_conservation
from failed_calls import failure
from free_calls import refusal
from yumad.consensus.profiles import DEV, TAO
from yumad.consensus.rules.v1.balances import free_balance
from yumad.consensus.rules.v1.calls.table import CALLS
from yumad.consensus.rules.v1.coldkey_swap import check_freeze, coldkey_hash
from yumad.consensus.rules.v1.errors import CallError
from yumad.consensus.rules.v1.markets import system_account
from yumad.consensus.rules.v1.neurons import hotkey_of, uid_of
from yumad.consensus.rules.v1.stakes import ROOT

SWAP, SWAP_V2 = "keys.swap_hotkey", "keys.swap_hotkey_v2"
ANNOUNCE, CLEAR = "keys.announce_coldkey_swap", "keys.clear_coldkey_swap_announcement"
SWAP_COLDKEY, DISPUTE = "keys.swap_coldkey_announced", "keys.dispute_coldkey_swap"
RESET = "sudo_reset_coldkey_swap"

N1, N2, AUTHORITY = account("neuron-1"), account("neuron-2"), account("authority-1/hot")
NEW, OTHER = account("new"), account("other")
BOB, HEIR = account("bob"), account("heir")
HASH = coldkey_hash(HEIR)

PARAMETERS = DEV.parameters
INTERVAL, LIMIT = PARAMETERS.hotkey_swap_on_subnet_interval, PARAMETERS.tx_rate_limit
DELAY, MORE = PARAMETERS.coldkey_swap_announcement_delay, PARAMETERS.coldkey_swap_reannouncement_delay

Prepare = Callable[[DevChain], object]


@pytest.fixture
def chain() -> DevChain:
    return DevChain()


def nothing(chain: DevChain) -> None:
    """The chain as it is."""


def swapped(chain: DevChain) -> None:
    assert chain.attempt("alice", SWAP, N2, OTHER, None) == "ok"


def swapped_a_while_ago(chain: DevChain) -> None:
    swapped(chain)
    chain.skip(LIMIT)


def with_root_stake(chain: DevChain) -> None:
    """The new key is alice's already, and bob has root stake behind it."""
    assert chain.attempt("alice", "keys.try_associate_hotkey", NEW) == "ok"
    assert chain.attempt("bob", "stake.add_stake", NEW, ROOT, TAO) == "ok"


def with_money(chain: DevChain) -> None:
    assert chain.attempt("bob", "balances.transfer_keep_alive", account("authority-1/cold"), TAO) == "ok"


def left_with(person: str, rao: int, *, after: int = 0) -> Prepare:
    """All but `rao` and the next fees of a person is given away."""

    def prepare(chain: DevChain) -> None:
        chain.skip_to(after)
        free = free_balance(chain.state, account(person))
        fee = chain.send(person, "balances.transfer_keep_alive", account("carol"), 1).fee
        assert chain.attempt(person, "balances.transfer_keep_alive", account("carol"), free - 1 - 2 * fee - rao) == "ok"

    return prepare


def announced(chain: DevChain) -> None:
    assert chain.attempt("bob", ANNOUNCE, HASH) == "ok"


def matured(chain: DevChain) -> None:
    announced(chain)
    chain.skip(DELAY - 1)


def heir_holds_stake(chain: DevChain) -> None:
    assert chain.attempt("bob", "stake.add_stake", N1, 1, 10 * TAO) == "ok"
    assert chain.attempt("bob", "stake.transfer_stake", HEIR, N1, 1, 1, TAO) == "ok"
    matured(chain)


def heir_is_a_hotkey(chain: DevChain) -> None:
    assert chain.attempt("alice", "keys.try_associate_hotkey", HEIR) == "ok"
    matured(chain)


def heir_has_a_lock(chain: DevChain) -> None:
    """A lock may outlive its stake's shares: here it is written as it would stand."""
    matured(chain)
    row = chain.state.key_table("locks").open(b"\0\1" + HEIR)
    chain.state.write("locks/mass", row, 1000 * TAO)
    chain.state.write("locks/last", row, chain.height)


def disputed(chain: DevChain) -> None:
    announced(chain)
    assert chain.attempt("bob", DISPUTE) == "ok"


def announced_to_itself(chain: DevChain) -> None:
    assert chain.attempt("bob", ANNOUNCE, coldkey_hash(BOB)) == "ok"
    chain.skip(DELAY - 1)


Keys = tuple[bytes, bytes, int | None]

HOTKEY_CASES: list[tuple[str, Prepare, str, Keys]] = [
    ("NonAssociatedColdKey", nothing, "bob", (N1, N1, 9)),
    ("NonAssociatedColdKey", nothing, "bob", (account("unknown"), NEW, None)),
    ("NonAssociatedColdKey", nothing, "alice", (N1, AUTHORITY, None)),
    ("NewHotKeyIsSameWithOld", nothing, "alice", (N1, N1, 9)),
    ("CannotUseSystemAccount", nothing, "alice", (N1, system_account(7), 9)),
    ("SubnetNotExists", nothing, "alice", (N1, NEW, 9)),
    ("HotKeyAlreadyRegisteredInSubNet", swapped, "alice", (N1, account("neuron-3"), None)),
    ("HotKeyAlreadyRegisteredInSubNet", swapped, "alice", (N1, account("neuron-3"), 1)),
    ("HotKeySetTxRateLimitExceeded", swapped, "alice", (N1, NEW, None)),
    ("HotKeySetTxRateLimitExceeded", swapped, "alice", (N1, NEW, 1)),
    ("HotkeyIsAuthority", with_money, "authority-1/cold", (AUTHORITY, NEW, None)),
    ("HotkeyIsAuthority", with_money, "authority-1/cold", (AUTHORITY, NEW, 1)),
    ("NewHotKeyNotCleanForRootSwap", with_root_stake, "alice", (N1, NEW, None)),
    ("NewHotKeyNotCleanForRootSwap", with_root_stake, "alice", (N1, NEW, ROOT)),
    ("HotKeySwapOnSubnetIntervalNotPassed", swapped_a_while_ago, "alice", (N1, NEW, None)),
    ("HotKeySwapOnSubnetIntervalNotPassed", nothing, "alice", (N1, NEW, 1)),
    ("NotEnoughBalanceToPaySwapHotKey", left_with("alice", TAO // 10 + 400), "alice", (N1, NEW, None)),
    ("NotEnoughBalanceToPaySwapHotKey", left_with("alice", TAO // 1000, after=INTERVAL), "alice", (N1, NEW, 1)),
]

FAILURES: list[tuple[str, str, Prepare, str, tuple[Any, ...]]] = [
    *((SWAP, error, prepare, signer, keys) for error, prepare, signer, keys in HOTKEY_CASES),
    *((SWAP_V2, error, prepare, signer, (*keys, True)) for error, prepare, signer, keys in HOTKEY_CASES),
    (ANNOUNCE, "NotEnoughBalanceToPaySwapColdKey", left_with("bob", TAO // 10 + 400), "bob", (HASH,)),
    (ANNOUNCE, "ColdkeySwapReannouncedTooEarly", matured, "bob", (HASH,)),
    (ANNOUNCE, "ColdkeySwapDisputed", disputed, "bob", (HASH,)),
    (CLEAR, "ColdkeySwapAnnouncementNotFound", nothing, "bob", ()),
    (CLEAR, "ColdkeySwapClearTooEarly", matured, "bob", ()),
    (CLEAR, "ColdkeySwapDisputed", disputed, "bob", ()),
    (SWAP_COLDKEY, "ColdkeySwapAnnouncementNotFound", nothing, "bob", (HEIR,)),
    (SWAP_COLDKEY, "AnnouncedColdkeyHashDoesNotMatch", announced, "bob", (OTHER,)),
    (SWAP_COLDKEY, "ColdkeySwapTooEarly", announced, "bob", (HEIR,)),
    (SWAP_COLDKEY, "ColdKeyAlreadyAssociated", heir_holds_stake, "bob", (HEIR,)),
    (SWAP_COLDKEY, "ColdKeyAlreadyAssociated", announced_to_itself, "bob", (BOB,)),
    (SWAP_COLDKEY, "NewColdKeyIsHotkey", heir_is_a_hotkey, "bob", (HEIR,)),
    (SWAP_COLDKEY, "ActiveLockExists", heir_has_a_lock, "bob", (HEIR,)),
    (SWAP_COLDKEY, "ColdkeySwapDisputed", disputed, "bob", (HEIR,)),
    (DISPUTE, "ColdkeySwapAnnouncementNotFound", nothing, "bob", ()),
    (DISPUTE, "ColdkeySwapDisputed", disputed, "bob", ()),
    (SWAP, "ColdkeySwapAnnounced", announced, "bob", (N1, NEW, None)),
    (SWAP_V2, "ColdkeySwapAnnounced", announced, "bob", (N1, NEW, None, False)),
]

UNREACHABLE: dict[tuple[str, str], str] = dict.fromkeys(
    [(SWAP, "InsufficientLiquidity"), (SWAP_V2, "InsufficientLiquidity")],
    "with stake behind the new key its pool is worth something, and then every purchase gives a share",
)


@pytest.mark.parametrize(
    ("call", "error", "prepare", "signer", "args"), FAILURES, ids=[f"{f[0]}-{f[1]}" for f in FAILURES]
)
def test_call_that_fails_a_check_leaves_its_fee_and_nonce(
    chain: DevChain, call: str, error: str, prepare: Prepare, signer: str, args: tuple[Any, ...]
) -> None:
    prepare(chain)
    assert failure(chain, signer, call, *args) == error
    assert (call, error) not in UNREACHABLE


# --- hotkeys ----------------------------------------------------------------------------------------------------------


def test_next_swap_needs_more_blocks_than_either_limit(chain: DevChain) -> None:
    swapped(chain)
    chain.skip(LIMIT - 1)
    assert failure(chain, "alice", SWAP, N1, NEW, None) == "HotKeySetTxRateLimitExceeded"
    assert failure(chain, "alice", SWAP, N1, NEW, None) == "HotKeySwapOnSubnetIntervalNotPassed"
    chain.skip_to(INTERVAL)
    assert failure(chain, "alice", SWAP, N1, NEW, None) == "HotKeySwapOnSubnetIntervalNotPassed"
    assert failure(chain, "alice", SWAP, N1, NEW, None) == "ok"


def test_swap_of_a_hotkey_without_any_subnet_is_bound_by_the_general_limit_only(chain: DevChain) -> None:
    assert chain.attempt("alice", "keys.try_associate_hotkey", account("spare")) == "ok"
    swapped(chain)
    chain.skip(LIMIT)
    assert failure(chain, "alice", SWAP, account("spare"), NEW, None) == "ok"


def test_swapped_key_may_be_swapped_back(chain: DevChain) -> None:
    swapped(chain)
    chain.skip(INTERVAL)
    assert failure(chain, "alice", SWAP, OTHER, N2, None) == "ok"
    assert hotkey_of(chain.state, 1, 2) == N2
    assert uid_of(chain.state, 1, OTHER) is None
    check_conservation(chain)


# --- coldkeys ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", CALLS, ids=[call.name for call in CALLS])
def test_account_whose_swap_is_announced_uses_the_calls_about_it_only(chain: DevChain, call: Any) -> None:
    check_freeze(chain.state, BOB, call)
    announced(chain)
    about_it = call.name in (ANNOUNCE, CLEAR, SWAP_COLDKEY, DISPUTE)
    assert frozen(chain, call) == (None if about_it else "ColdkeySwapAnnounced")
    assert chain.attempt("bob", DISPUTE) == "ok"
    assert frozen(chain, call) == "ColdkeySwapDisputed"


def frozen(chain: DevChain, call: Any) -> str | None:
    try:
        check_freeze(chain.state, BOB, call)
    except CallError as failed:
        return failed.number.name
    return None


def test_frozen_account_pays_for_what_it_may_not_do_and_its_free_calls_stay_out(chain: DevChain) -> None:
    announced(chain)
    assert failure(chain, "bob", "balances.transfer_keep_alive", HEIR, TAO) == "ColdkeySwapAnnounced"
    assert refusal(chain, "bob", "weights.commit_weights", 1, HASH) == "ColdkeySwapAnnounced"
    assert chain.attempt("bob", DISPUTE) == "ok"
    assert failure(chain, "bob", "balances.transfer_keep_alive", HEIR, TAO) == "ColdkeySwapDisputed"
    assert refusal(chain, "bob", "weights.commit_weights", 1, HASH) == "ColdkeySwapDisputed"
