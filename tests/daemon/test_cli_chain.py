"""Commands against a running daemon: what they print, their JSON, and how each goes wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from daemon_thread import Daemon
from typer.testing import CliRunner, Result
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.ss58 import encode_address
from yumad.daemon.commands.output import Exit
from yumad.daemon.main import build_app

FUNDS = 10**12


def run(*arguments: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(build_app(), list(arguments), env=env)


def address(name: str) -> str:
    return encode_address(dev_keypair(name).public_key)


def document(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def error_of(result: Result, exit_code: int) -> dict[str, str]:
    """The one JSON document on stderr of a failed `--json` command; nothing is on stdout."""
    assert (result.exit_code, result.stdout) == (exit_code, ""), result.stderr
    error: dict[str, str] = json.loads(result.stderr)["error"]
    assert set(error) == {"code", "message", "remedy"}
    return error


# --- looking ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["peers"],
        ["block", "head"],
        ["block", "1"],
        ["mempool"],
        ["query", "balance", "dev:alice"],
        ["query", "account", "dev:authority"],
        ["query", "subnets"],
        ["query", "chain"],
        ["query", "list"],
        ["tx", "calls"],
        ["subnet", "list"],
        ["subnet", "show", "--netuid", "7"],
        ["subnet", "metagraph", "--netuid", "7"],
        ["subnet", "hyperparams", "--netuid", "7"],
        ["wallet", "balance", "dev:alice", "dev:authority"],
    ],
)
def test_looking_commands_print_for_people_and_one_document_with_json(daemon: Daemon, arguments: list[str]) -> None:
    local = arguments[:2] in (["query", "list"], ["tx", "calls"])
    home = [] if local and arguments[0] == "tx" else ["--home", str(daemon.home)]
    human = run(*arguments, *home)
    assert (human.exit_code, human.stderr) == (0, "")
    assert human.stdout.strip()
    assert document(run(*arguments, *home, "--json"))


def test_status_document_has_heights_root_and_finality(daemon: Daemon) -> None:
    status = document(run("status", "--home", str(daemon.home), "--json"))
    assert {"height", "finalised", "state_root", "finality_p50_ms", "epochs", "peers", "genesis_hash"} <= set(status)


def test_home_may_come_from_the_environment(daemon: Daemon) -> None:
    assert run("status", env={"YUMAD_HOME": str(daemon.home)}).exit_code == 0


def test_balance_of_dev_accounts_is_shown_in_rao_strings(daemon: Daemon) -> None:
    rows = document(run("wallet", "balance", "dev:authority", "dev:alice", "--home", str(daemon.home), "--json"))
    authority, alice = rows["balances"]
    assert (authority["root_stake"], authority["subnets"]) == (str(50 * 10**9), {"7": str(10**12)})
    assert (alice["address"], alice["free"]) == (address("alice"), str(FUNDS))


# --- sending ----------------------------------------------------------------------------------------------------------


def test_transfer_waits_until_final_and_tells_the_fee(daemon: Daemon) -> None:
    sent = document(
        run("transfer", address("bob"), "1.5", "--dev", "alice", "--wait", "--home", str(daemon.home), "--json")
    )
    assert (sent["state"], sent["result"], sent["args"]["amount"]) == ("final", "ok", "1500000000")
    shown = document(run("tx", "show", sent["id"], "--home", str(daemon.home), "--json"))
    assert shown == sent
    free = document(run("query", "balance", "dev:alice", "--home", str(daemon.home), "--json"))["answer"]
    assert int(free) == FUNDS - 1_500_000_000 - int(sent["fee"])
    human = run("transfer", "dev:bob", "10rao", "--dev", "carol", "--wait", "--home", str(daemon.home))
    assert human.exit_code == 0 and "ok in block" in human.stdout


def test_transfer_without_waiting_leaves_it_in_the_pool_with_a_reason(daemon: Daemon) -> None:
    daemon.making_blocks = False
    sent = document(run("transfer", "dev:bob", "1", "--dev", "alice", "--home", str(daemon.home), "--json"))
    assert sent["state"] == "waiting"
    shown = run("tx", "show", sent["id"], "--home", str(daemon.home))
    assert "it is ready; 0 transactions come before it" in shown.stdout
    pool = document(run("mempool", "--home", str(daemon.home), "--json"))
    assert [entry["id"] for entry in pool["entries"]] == [sent["id"]]


def test_transfer_all_empties_the_account(daemon: Daemon) -> None:
    run("transfer", "dev:bob", "--all", "--allow-death", "--dev", "alice", "--wait", "--home", str(daemon.home))
    assert document(run("query", "balance", "dev:alice", "--home", str(daemon.home), "--json"))["answer"] == "0"


def test_call_that_fails_in_a_block_is_the_commands_failure_by_the_errors_name(daemon: Daemon) -> None:
    arguments = ["transfer", "dev:bob", "5000", "--dev", "alice", "--wait", "--home", str(daemon.home)]
    error = error_of(run(*arguments, "--json"), Exit.REFUSED)
    assert error["code"] == "InsufficientBalance"
    assert "tx show" in error["remedy"]
    assert run(*arguments).stderr.startswith("yumad: balances.transfer_keep_alive failed in block")


def test_any_call_of_the_registry_can_be_sent_by_name(daemon: Daemon) -> None:
    common = ["--wait", "--home", str(daemon.home), "--json"]
    staked = document(
        run("tx", "send", "stake.add_stake", "hotkey=dev:miner", "netuid=7", "amount=2.5", "--dev", "alice", *common)
    )
    assert (staked["result"], staked["args"]["hotkey"]) == ("ok", address("miner"))
    beat = document(run("tx", "send", "authority.heartbeat", "peer_id=0024", "--dev", "authority-hot", *common))
    assert (beat["result"], beat["fee"], beat["args"]) == ("ok", "0", {"peer_id": "0024"})


def test_order_of_an_admin_key_is_signed_and_carried_out(daemon: Daemon) -> None:
    home = ["--home", str(daemon.home), "--json"]
    order = document(run("tx", "order", "sudo_set_kappa", "7", "20000", "--dev", "admin", *home))
    arguments = [f"{name}={value}" for name, value in order.items()]
    sent = document(run("tx", "send", "admin.execute", *arguments, "--dev", "alice", "--wait", *home))
    assert sent["result"] == "ok"
    parameters = document(run("subnet", "hyperparams", "--netuid", "7", *home))["hyperparameters"]
    assert parameters["kappa"] == 20000
    arguments[-1] = arguments[-1][:-1] + ("0" if arguments[-1][-1] != "0" else "1")
    again = run("tx", "send", "admin.execute", *arguments, "--dev", "alice", "--wait", *home)
    assert error_of(again, Exit.REFUSED)["code"] in ("BadOrigin", "AdminNonceMismatch")


def test_weights_are_set_and_shown(daemon: Daemon) -> None:
    common = ["--home", str(daemon.home), "--json"]
    sent = document(
        run("weights", "set", "--netuid", "7", "--uids", "1,0", "--weights", "0.75,0.25", "--dev", "authority-hot",
            "--wait", *common)
    )  # fmt: skip
    assert (sent["result"], sent["args"]["uids"], sent["args"]["values"]) == ("ok", [1, 0], [65535, 21845])
    shown = document(run("weights", "show", "--netuid", "7", "--uid", "0", *common))
    assert shown["weights"] == [[1, 65535], [0, 21845]]


def test_weights_of_a_hotkey_without_a_uid_are_not_authorised(daemon: Daemon) -> None:
    result = run("weights", "set", "--netuid", "7", "--uids", "0", "--weights", "1", "--dev", "alice",
                 "--home", str(daemon.home), "--json")  # fmt: skip
    assert error_of(result, Exit.NOT_REGISTERED)["code"] in (
        "HotKeyNotRegisteredInSubNet",
        "NotEnoughStakeToSetWeights",
    )


# --- going wrong ------------------------------------------------------------------------------------------------------

NEED_DAEMON = [
    ["status"],
    ["peers"],
    ["block", "1"],
    ["mempool"],
    ["query", "chain"],
    ["tx", "show", "00" * 32],
    ["transfer", "dev:bob", "1", "--dev", "alice"],
    ["tx", "send", "balances.faucet", "--dev", "alice"],
    ["subnet", "list"],
    ["subnet", "metagraph", "--netuid", "1"],
    ["weights", "set", "--netuid", "1", "--uids", "0", "--weights", "1", "--dev", "alice"],
    ["wallet", "balance", "dev:alice"],
]


@pytest.mark.parametrize("arguments", NEED_DAEMON, ids=lambda a: " ".join(a[:2]))
def test_command_without_a_daemon_exits_4_with_the_remedy(tmp_path: Path, arguments: list[str]) -> None:
    error = error_of(run(*arguments, "--home", str(tmp_path), "--json"), Exit.NO_DAEMON)
    assert error["code"] == "no_daemon" and "yumad run" in error["remedy"]
    human = run(*arguments, "--home", str(tmp_path))
    assert (human.exit_code, human.stdout) == (Exit.NO_DAEMON, "")
    assert human.stderr.splitlines()[0].startswith("yumad: no daemon answers for the home")


WRONG_USE = [
    (["transfer", "5GrwvaEF", "1", "--dev", "alice"], "dest"),
    (["transfer", "dev:bob", "1.2.3", "--dev", "alice"], "amount"),
    (["transfer", "dev:bob", "-1", "--dev", "alice"], ""),
    (["transfer", "dev:bob", "0.0000000001", "--dev", "alice"], "nine decimals"),
    (["transfer", "dev:bob", "1e3", "--dev", "alice"], "amount"),
    (["transfer", "dev:bob", "99999999999999", "--dev", "alice"], "out of range"),
    (["transfer", "dev:bob", "--dev", "alice"], "no amount"),
    (["transfer", "dev:bob", "1", "--all", "--dev", "alice"], "both"),
    (["transfer", "dev:bob", "1"], "no key to sign with"),
    (["transfer", "dev:bob", "1", "--dev", "alice", "--wallet", "w"], "both --wallet and --dev"),
    (["transfer", "dev:bob", "1", "--dev", "alice", "--tip", "x"], "tip"),
    (["tx", "send", "balances.transfer", "--dev", "alice"], "did you mean balances.transfer"),
    (["tx", "send", "balances.transfer_keep_alive", "dest=dev:bob", "--dev", "alice"], "'amount' is missing"),
    (["tx", "send", "balances.transfer_keep_alive", "dest=dev:bob", "amount=1", "x=1"], "no argument 'x'"),
    (["tx", "send", "balances.faucet", "loose", "--dev", "alice"], "NAME=VALUE"),
    (["tx", "send", "authority.heartbeat", "peer_id=xyz", "--dev", "alice"], "peer_id"),
    (["tx", "send", "authority.register", "authority_key=00", "possession=00", "--dev", "alice"], "expected 32"),
    (["tx", "send", "stake.add_stake", "hotkey=dev:x", "netuid=70000", "amount=1", "--dev", "a"], "out of range"),
    (["weights", "set", "--netuid", "1", "--uids", "a", "--weights", "1", "--dev", "alice"], "--uids"),
    (["weights", "set", "--netuid", "1", "--uids", "1", "--weights", "1e9", "--dev", "alice"], "--weights"),
    (["weights", "set", "--netuid", "1", "--uids", "1,2", "--weights", "1", "--dev", "alice"], "one weight for each"),
    (["weights", "set", "--netuid", "1", "--uids", "1", "--weights", "0", "--dev", "alice"], "zero"),
    (["tx", "order", "sudo_set_temp", "1", "2", "--dev", "admin"], "did you mean sudo_set_tempo"),
    (["tx", "order", "sudo_set_tempo", "1", "--dev", "admin"], "netuid and value"),
    (["wallet", "balance", "nobody"], "neither a wallet"),
]


@pytest.mark.parametrize(("arguments", "text"), WRONG_USE, ids=[" ".join(case[0])[:60] for case in WRONG_USE])
def test_wrong_use_exits_2_and_says_what_and_how_before_any_daemon_is_asked(
    tmp_path: Path, arguments: list[str], text: str
) -> None:
    result = run(*arguments, "--home", str(tmp_path), "--json", env={"YUMAD_WALLETS": str(tmp_path / "wallets")})
    assert (result.exit_code, result.stdout) == (Exit.USAGE, ""), result.stderr
    assert text in result.stderr


def test_wrong_parameters_that_the_daemon_finds_exit_2_too(daemon: Daemon) -> None:
    home = ["--home", str(daemon.home), "--json"]
    assert "did you mean 'balance'" in error_of(run("query", "balances", "x", *home), Exit.USAGE)["remedy"]
    assert "account" in error_of(run("query", "balance", "5Grw", *home), Exit.USAGE)["message"]
    assert "names no block" in error_of(run("block", "latest", *home), Exit.USAGE)["message"]
    assert "64 hex digits" in error_of(run("tx", "show", "abc", *home), Exit.USAGE)["remedy"]


def test_what_is_not_there_exits_1(daemon: Daemon) -> None:
    home = ["--home", str(daemon.home), "--json"]
    assert error_of(run("block", "999999", *home), Exit.REFUSED)["code"] == "not_found"
    assert error_of(run("tx", "show", "11" * 32, *home), Exit.REFUSED)["code"] == "not_found"
    assert error_of(run("subnet", "metagraph", "--netuid", "9", *home), Exit.REFUSED)["code"] == "SubnetNotExists"


def test_refused_transaction_says_why(daemon: Daemon) -> None:
    error = error_of(run("transfer", "dev:bob", "1", "--dev", "pauper", "--home", str(daemon.home), "--json"), 1)
    assert error["code"] == "cannot_pay" and "can be spent" in error["message"]
