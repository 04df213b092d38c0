"""`yumad axon call|ping|list` and the column `reach`: a daemon whose neighbour serves a miner (AXON R31, R43)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from calling_peers import MINER, SUBNET, VALIDATOR, CallingDaemon, account, calling_daemon
from test_cli_chain import address, document, error_of, run
from typer.testing import Result
from yumad.daemon.axon.axon_methods import MAX_FORWARD_BODY
from yumad.daemon.clock import SystemClock
from yumad.daemon.commands.axon_call import _offered
from yumad.daemon.commands.output import CommandError, Exit
from yumad.protocols.axon.reach_reports import make_report
from yumad.storage.keystore import Keystore

AS_VALIDATOR = ["--dev", "authority-hot"]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CallingDaemon]:
    with calling_daemon(tmp_path_factory.mktemp("calling") / "home", SystemClock()) as running:
        yield running


def axon(daemon: CallingDaemon, command: str, *more: str) -> Result:
    return run("axon", command, *more, "--netuid", str(SUBNET), "--home", str(daemon.home))


def call(daemon: CallingDaemon, method: str, *more: str) -> Result:
    who = () if "--dev" in more or "--wallet" in more else AS_VALIDATOR
    to = () if "--to" in more else ("--uid", "1")
    return axon(daemon, "call", method, *to, *who, *more)


# --- call -------------------------------------------------------------------------------------------------------------


def test_call_prints_the_answer_on_stdout_and_the_times_on_stderr(daemon: CallingDaemon) -> None:
    result = call(daemon, "echo.say", "--data", '{"text": "ß", "n": [1, null, 0.5]}')
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"text": "ß", "n": [1, None, 0.5]})
    assert result.stderr.startswith("OK in ") and "network" in result.stderr


def test_call_is_signed_by_a_wallets_hotkey_and_its_key_stays_in_the_command(
    daemon: CallingDaemon, tmp_path: Path
) -> None:
    store = Keystore(tmp_path / "wallets")
    store.new_hotkey("val", "one", VALIDATOR.seed, "correct horse")
    (tmp_path / "password").write_text("correct horse\n")
    wallet = ["--wallet", "val", "--hotkey", "one", "--wallets", str(store.root)]
    assert call(daemon, "say", *wallet, "--password-file", str(tmp_path / "password")).exit_code == 0
    assert call(daemon, "say", *wallet, "--json").exit_code == Exit.USAGE, "there is nobody to ask for a password"


def test_short_name_is_completed_and_the_offered_version_is_called(daemon: CallingDaemon) -> None:
    done = document(call(daemon, "say", "--data", "[]", "--to", address("miner"), "--json"))
    assert (done["method"], done["version"], done["uid"]) == ("echo.say", 2, 1)
    assert (done["status"], done["name"], done["reply"]) == (0, "OK", [])


def test_data_may_come_from_a_file_and_hold_bytes_and_arrays(daemon: CallingDaemon, tmp_path: Path) -> None:
    array = {"$array": {"dtype": "float32", "shape": [2, 1], "values": [[0.5], [1.0]]}}
    data = {"raw": {"$bytes": "00ff"}, "array": array}
    (tmp_path / "request.json").write_text(json.dumps(data))
    assert document(call(daemon, "say", "--data-file", str(tmp_path / "request.json"), "--json"))["reply"] == data


def test_r10_arrays_are_shown_by_type_and_shape_and_bytes_as_hex(daemon: CallingDaemon) -> None:
    reply = document(call(daemon, "tensor", "--json"))["reply"]
    assert reply == {
        "small": {"$array": {"dtype": "float32", "shape": [3], "values": [0.0, 1.0, 2.0]}},
        "large": {"$array": {"dtype": "int8", "shape": [8, 64]}},
        "raw": {"$bytes": "00ff"},
    }


def test_r9_messages_of_a_stream_are_printed_a_line_each(daemon: CallingDaemon) -> None:
    shown = call(daemon, "count", "--data", '{"to": 3}')
    assert [json.loads(line)["number"] for line in shown.stdout.splitlines()] == [0, 1, 2]
    assert len(document(call(daemon, "count", "--stream", "--data", '{"to": 2}', "--json"))["messages"]) == 2


def test_r5_receipt_of_a_call_is_written_once_and_verifies_offline(daemon: CallingDaemon, tmp_path: Path) -> None:
    file = tmp_path / "say.receipt"
    assert call(daemon, "say", "--receipt", str(file)).exit_code == 0
    report = document(run("receipt", "verify", str(file), "--json"))
    assert report["valid"] and (report["caller"], report["receiver"]) == (address("authority-hot"), address("miner"))
    assert error_of(call(daemon, "say", "--receipt", str(file), "--json"), Exit.USAGE)["code"] == "usage"


def test_r5_refusal_of_a_known_caller_leaves_a_receipt_too(daemon: CallingDaemon, tmp_path: Path) -> None:
    file = tmp_path / "failed.receipt"
    assert call(daemon, "fail", "--receipt", str(file)).exit_code == Exit.REFUSED
    assert document(run("receipt", "verify", str(file), "--json"))["name"] == "HANDLER_ERROR"


@pytest.mark.parametrize(
    ("method", "who", "exit_code", "code", "said"),
    [
        ("say", "alice", Exit.NOT_REGISTERED, "not_registered", "status 24"),
        ("say", "miner", Exit.NOT_REGISTERED, "no_permit", "status 25"),
        ("rich", "authority-hot", Exit.NOT_REGISTERED, "low_stake", "status 26"),
        ("fail", "authority-hot", Exit.REFUSED, "handler_error", "status 30"),
        ("nothing", "authority-hot", Exit.REFUSED, "unknown_method", "offers no method"),
        ("feed", "authority-hot", Exit.REFUSED, "needs_plugin", "stream of messages"),
    ],
)
def test_r7_refusal_has_the_statuss_number_name_and_remedy(
    daemon: CallingDaemon, method: str, who: str, exit_code: Exit, code: str, said: str
) -> None:
    error = error_of(call(daemon, method, "--dev", who, "--json"), exit_code)
    assert error["code"] == code
    assert said in error["message"]
    assert error["remedy"]


def test_missing_stake_is_named(daemon: CallingDaemon) -> None:
    assert any(letter.isdigit() for letter in error_of(call(daemon, "rich", "--json"), 3)["message"].split(":")[-1])


def test_strangers_text_cannot_steer_the_terminal(daemon: CallingDaemon) -> None:
    result = call(daemon, "fail")
    assert "\\u001b[31m" in result.stderr and "\x1b" not in result.stderr


def test_deadline_that_passes_is_told_in_time(daemon: CallingDaemon) -> None:
    error = error_of(call(daemon, "sleep", "--timeout", "0.3", "--json"), Exit.REFUSED)
    assert error["code"] in ("local_deadline", "deadline_exceeded")
    assert "--timeout" in error["remedy"]


def test_hotkey_without_a_record_is_told_before_anything_is_signed(daemon: CallingDaemon) -> None:
    error = error_of(call(daemon, "say", "--to", "dev:alice", "--json"), Exit.REFUSED)
    assert error["code"] == "no_record" and "yumad axon list" in error["remedy"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--data", "{"], "is not JSON"),
        (["--data", '{"x": {"$bytes": "0"}}'], "$bytes"),
        (["--data", '{"x": {"$array": {"dtype": "no"}}}'], "$array"),
        (["--data", "1", "--data-file", "x"], "both"),
        (["--data-file", "/nowhere/x.json"], "cannot be read"),
        (["--to", "dev:miner", "--uid", "1"], "both --to and --uid"),
    ],
)
def test_command_that_is_called_wrongly_says_how(daemon: CallingDaemon, more: list[str], said: str) -> None:
    error = error_of(call(daemon, "say", *more, "--json"), Exit.USAGE)
    assert said in error["message"] and error["remedy"]


def test_request_above_the_socket_s_bound_names_the_way_out(daemon: CallingDaemon, tmp_path: Path) -> None:
    (tmp_path / "large.json").write_text(json.dumps("x" * (MAX_FORWARD_BODY + 1)))
    error = error_of(call(daemon, "say", "--data-file", str(tmp_path / "large.json"), "--json"), Exit.USAGE)
    assert str(MAX_FORWARD_BODY) in error["message"] and "plugin" in error["remedy"]


def test_without_a_daemon_the_exit_code_is_four(tmp_path: Path) -> None:
    result = run("axon", "list", "--netuid", "7", "--home", str(tmp_path), "--json")
    assert error_of(result, Exit.NO_DAEMON)["code"] == "no_daemon"


def test_name_that_could_be_two_methods_is_not_completed() -> None:
    offers = [{"name": name, "version": 1, "stream_in": False, "stream_out": False} for name in ("a.say", "b.say")]
    found = {"hotkey": "h", "netuid": 7, "records": [{"methods": offers}]}
    with pytest.raises(CommandError, match="offers no method 'say'"):
        _offered(found, "say", None)
    assert _offered(found, "a.say", None)["name"] == "a.say"
    assert _offered(found, "a.say", 9)["version"] == 9


# --- ping, list, metagraph --------------------------------------------------------------------------------------------


def test_r31_ping_shows_who_is_reached_and_how_fast(daemon: CallingDaemon) -> None:
    [row] = document(axon(daemon, "ping", "--uid", "1", "--count", "2", "--json"))["hotkeys"]
    assert (row["outcome"], row["reached"]) == ("reached", 2)
    assert 0 < row["best_ms"] <= row["median_ms"]
    shown = axon(daemon, "ping", "--all").stdout
    assert "1 hotkeys" in shown and "reached" in shown and "1/1" in shown


def test_ping_of_a_hotkey_that_nobody_serves_fails(daemon: CallingDaemon) -> None:
    result = axon(daemon, "ping", "--to", "dev:alice", "--json")
    assert result.exit_code == Exit.REFUSED
    assert json.loads(result.stdout)["hotkeys"][0]["outcome"] == "no record"
    assert axon(daemon, "ping").exit_code == Exit.USAGE
    assert axon(daemon, "ping", "--all", "--uid", "1").exit_code == Exit.USAGE


def test_list_shows_methods_place_and_expiry(daemon: CallingDaemon) -> None:
    shown = axon(daemon, "list").stdout
    assert "echo.say v2" in shown and "count v1 (stream out)" in shown and "direct" in shown and " min" in shown
    [service] = document(axon(daemon, "list", "--json"))["services"]
    assert service["hotkey"] == address("miner")


def test_r31_metagraph_has_a_column_reach(daemon: CallingDaemon) -> None:
    book, clock = daemon.peers.here.discovery.reach, daemon.peers.here.clock
    report = make_report(daemon.peers.chain.genesis_hash, VALIDATOR, SUBNET, {account(MINER): 12}, clock.now())
    daemon.run(lambda: book.add(report, clock.now()))
    where = ["subnet", "metagraph", "--netuid", str(SUBNET), "--home", str(daemon.home)]
    lines = run(*where).stdout.splitlines()
    assert [line.split()[-1] for line in lines[1:3]] == ["reach", "-"]
    assert lines[3].endswith("1/1 12 ms")
    members = document(run(*where, "--json"))["members"]
    assert [member["reach"] for member in members] == [None, {"reached_by": 1, "probers": 1, "latency_ms": 12}]
