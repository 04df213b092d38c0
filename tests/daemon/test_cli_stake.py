"""`yumad stake` against a running daemon: the quote that is shown, limits by price and tolerance, and what is held."""

from __future__ import annotations

from typing import Any

import pytest
from daemon_thread import Daemon
from test_cli_chain import address, document, error_of, run
from yumad.daemon.commands.output import Exit

TAO = 10**9
ALICE = ["--dev", "alice", "--wait"]


def home_of(daemon: Daemon, *more: str) -> list[str]:
    return ["--home", str(daemon.home), *more]


def bought(daemon: Daemon, *more: str, netuid: int = 7, amount: str = "2") -> Any:
    order = ["stake", "add", "--hotkey-ss58", "dev:miner", "--netuid", str(netuid), "--amount", amount]
    return document(run(*order, *more, *ALICE, *home_of(daemon, "--json")))


def held(daemon: Daemon, name: str = "alice") -> dict[tuple[int, str], int]:
    rows = document(run("stake", "list", f"dev:{name}", *home_of(daemon, "--json")))["positions"]
    return {(row["netuid"], row["hotkey"]): int(row["amount"]) for row in rows}


def test_purchase_shows_price_expectation_fee_and_slippage_first(daemon: Daemon) -> None:
    order = ["stake", "add", "--hotkey-ss58", "dev:miner", "--netuid", "7", "--amount", "1.5"]
    result = run(*order, *ALICE, *home_of(daemon))
    assert result.exit_code == 0, result.stderr
    first = result.stdout.splitlines()[0]
    assert first.startswith("price ") and "expected" in first and "fee" in first and "slippage" in first
    assert "stake.add_stake: ok in block" in result.stdout


@pytest.mark.parametrize(
    ("more", "call"),
    [
        ([], "stake.add_stake"),
        (["--tolerance", "0.2"], "stake.add_stake_limit"),
        (["--limit-price", "900"], "stake.add_stake_limit"),
    ],
)
def test_purchase_with_a_bound_is_the_call_with_a_limit(daemon: Daemon, more: list[str], call: str) -> None:
    sent = bought(daemon, *more)
    assert (sent["call"], sent["result"]) == (call, "ok")
    assert held(daemon)[7, address("miner")] > 0


def test_purchase_beyond_the_limit_is_refused_by_the_chain(daemon: Daemon) -> None:
    order = ["stake", "add", "--hotkey-ss58", "dev:miner", "--netuid", "7", "--amount", "2", "--limit-price", "1rao"]
    error = error_of(run(*order, *ALICE, *home_of(daemon, "--json")), Exit.REFUSED)
    assert error["code"] in ("SlippageTooHigh", "PriceLimitExceeded")


def test_sale_moves_swaps_and_transfers_change_what_is_held(daemon: Daemon) -> None:
    home = home_of(daemon, "--json")
    bought(daemon, netuid=0, amount="10")
    miner, other = address("miner"), address("authority-hot")
    way = ["--origin-netuid", "0", "--destination-netuid", "0", "--amount", "4"]
    move = ["stake", "move", "--origin-hotkey", "dev:miner", "--destination-hotkey", "dev:authority-hot", *way]
    assert document(run(*move, *ALICE, *home))["result"] == "ok"
    assert held(daemon) == {(0, miner): 6 * TAO, (0, other): 4 * TAO}

    way = ["--origin-netuid", "0", "--destination-netuid", "7", "--amount", "2", "--tolerance", "0.2"]
    swapped = document(run("stake", "swap", "--hotkey-ss58", "dev:miner", *way, *ALICE, *home))
    assert (swapped["call"], swapped["result"]) == ("stake.swap_stake_limit", "ok")
    after = held(daemon)
    assert after[0, miner] == 4 * TAO and after[7, miner] > 0

    way = ["--origin-netuid", "0", "--destination-netuid", "0", "--amount", "1"]
    give = ["stake", "transfer", "--destination-coldkey", "dev:carol", "--hotkey-ss58", "dev:miner", *way]
    assert document(run(*give, *ALICE, *home))["result"] == "ok"
    assert held(daemon, "carol") == {(0, miner): TAO}

    sell = ["stake", "remove", "--hotkey-ss58", "dev:miner", "--netuid", "0", "--amount", "3"]
    assert document(run(*sell, *ALICE, *home))["result"] == "ok"
    assert (0, miner) not in held(daemon)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--tolerance", "1e999999999"], "no number"),
        (["--tolerance", "-0.1"], "no number"),
        (["--tolerance", "1"], "a share from 0 to 1"),
        (["--limit-price", "cheap"], "no number"),
        (["--limit-price", "1", "--tolerance", "0.1"], "both given"),
    ],
)
def test_bound_that_cannot_be_meant_exits_2_before_anything_is_sent(daemon: Daemon, more: list[str], text: str) -> None:
    order = ["stake", "add", "--hotkey-ss58", "dev:miner", "--netuid", "7", "--amount", "2"]
    result = run(*order, *more, *ALICE, *home_of(daemon, "--json"))
    error = error_of(result, Exit.USAGE)
    assert text in f"{error['message']} {error['remedy']}"
    assert held(daemon) == {}


def test_order_that_the_pool_would_not_take_is_refused_with_its_reason(daemon: Daemon) -> None:
    order = ["stake", "swap", "--hotkey-ss58", "dev:miner", "--origin-netuid", "0", "--destination-netuid", "7"]
    error = error_of(run(*order, "--amount", "1rao", *ALICE, *home_of(daemon, "--json")), Exit.REFUSED)
    assert error["code"] == "AmountTooLow" and "larger amount" in error["remedy"]


def test_commands_for_children_takes_and_locks_reach_their_calls(daemon: Daemon) -> None:
    home = home_of(daemon, "--json")
    signed = ["--dev", "bob", "--wait"]
    take = ["take", "decrease", "--hotkey-ss58", "dev:miner", "--take", "100"]
    assert document(run(*take, *signed, *home))["call"] == "stake.decrease_take"
    lock = ["lock", "add", "--hotkey-ss58", "dev:miner", "--netuid", "7", "--amount", "0.5"]
    assert document(run(*lock, *signed, *home))["call"] == "locks.lock_stake"
    child = ["children", "set", "--hotkey-ss58", "dev:miner", "--netuid", "7", "--children", "5:dev:authority-hot"]
    assert document(run(*child, *signed, *home))["call"] == "stake.set_children"
