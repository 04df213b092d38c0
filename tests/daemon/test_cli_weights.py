"""`yumad weights commit|reveal|status` against a daemon whose blocks come one by one, so that no window is missed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from daemon_thread import Daemon, running_daemon
from small_peer import small_spec
from test_cli_chain import document, error_of, run
from typer.testing import Result
from weighing_peer import weighing_spec
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.rules.v1.calls.table import call_named
from yumad.daemon.axon.weight_transactions import submit_through
from yumad.daemon.commands.output import Exit
from yumad.daemon.commands.sending import VALID_BLOCKS

VALIDATOR = ["--dev", "authority-hot", "--no-wait"]
EPOCH = 10
"""Tempo of the development profile."""


@pytest.fixture
def still(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon whose subnet 7 takes weights by commit and reveal, and that makes no block by itself."""
    spec = small_spec()
    [subnet] = spec.subnets
    chosen = replace(subnet.hyperparameters, commit_reveal_weights_enabled=True, weights_set_rate_limit=0)
    spec = replace(spec, subnets=(replace(subnet, hyperparameters=chosen),))
    with running_daemon(tmp_path / "home", spec) as running:
        running.making_blocks = False
        yield running


def weights(daemon: Daemon, command: str, *more: str) -> Result:
    return run("weights", command, "--netuid", "7", *more, "--home", str(daemon.home), "--json")


def commit(daemon: Daemon, values: str = "0.75,0.25", *more: str) -> Any:
    """Commit in the next block."""
    sent = document(weights(daemon, "commit", "--uids", "1,0", "--weights", values, *VALIDATOR, *more))
    daemon.peer.make_block()
    return sent


def waiting(daemon: Daemon) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = document(weights(daemon, "status", "--dev", "authority-hot"))["commits"]
    return rows


def open_window(daemon: Daemon) -> None:
    """Empty blocks until the newest commit may be revealed."""
    for _ in range(2 * EPOCH):
        if waiting(daemon)[-1]["revealable"]:
            return
        daemon.peer.make_block()
    raise AssertionError("the window never opened")


def reveal(daemon: Daemon) -> Any:
    sent = document(weights(daemon, "reveal", *VALIDATOR))
    daemon.peer.make_block()
    return sent


def kept(daemon: Daemon) -> list[Path]:
    return sorted((daemon.home / "weights").rglob("*.json"))


def stored(daemon: Daemon) -> Any:
    return document(weights(daemon, "show", "--uid", "0"))["weights"]


def test_commit_is_on_the_chain_as_a_hash_and_kept_sealed_in_the_home(still: Daemon) -> None:
    commit(still)
    [row] = waiting(still)
    assert (row["here"], row["revealable"], row["reveal_epoch"]) == (True, False, row["epoch"] + 1)
    [file] = kept(still)
    assert file.stem == row["hash"]
    assert file.stat().st_mode & 0o077 == 0
    assert stored(still) == []


def test_reveal_in_its_epoch_sets_the_weights(still: Daemon) -> None:
    commit(still)
    open_window(still)
    assert reveal(still)["call"] == "weights.reveal_weights"
    assert (stored(still), waiting(still)) == ([[1, 65535], [0, 21845]], [])


def test_what_is_gone_from_the_chain_is_not_kept_for_ever(still: Daemon) -> None:
    commit(still)
    open_window(still)
    reveal(still)
    commit(still)
    weights(still, "reveal", *VALIDATOR)
    assert len(kept(still)) == 2, "a commit may be on its way as long as it is valid"
    for _ in range(2 * VALID_BLOCKS + 1):
        still.peer.make_block()
    weights(still, "reveal", *VALIDATOR)
    assert (kept(still), waiting(still)) == ([], [])


def test_newest_of_several_commits_is_revealed(still: Daemon) -> None:
    commit(still, "1,0")
    commit(still, "0,1")
    open_window(still)
    reveal(still)
    assert (stored(still), waiting(still)) == ([[1, 0], [0, 65535]], [])


def test_reveal_that_waits_is_final_and_free(still: Daemon) -> None:
    commit(still)
    open_window(still)
    still.making_blocks = True
    sent = document(weights(still, "reveal", "--dev", "authority-hot", "--wait"))
    assert (sent["result"], sent["fee"]) == ("ok", "0")


@pytest.mark.parametrize("committed", [False, True])
def test_reveal_before_its_epoch_or_without_a_commit_says_so(still: Daemon, committed: bool) -> None:
    if committed:
        commit(still)
    error = error_of(weights(still, "reveal", *VALIDATOR), Exit.REFUSED)
    assert error["code"] == ("RevealTooEarly" if committed else "NoWeightsCommitFound")


def test_r29_reveal_that_would_give_weight_to_a_new_owner_of_a_uid_is_refused(tmp_path: Path) -> None:
    with running_daemon(tmp_path / "full", weighing_spec()) as full:
        full.making_blocks = False
        commit(full)
        call = call_named("neuron.burned_register")
        assert call is not None
        newcomer = dev_keypair("newcomer").public_key
        sent = trio.run(submit_through(full.peer), call, [7, newcomer], dev_keypair("carol"), 20)
        assert sent.taken
        open_window(full)
        error = error_of(weights(full, "reveal", *VALIDATOR), Exit.REFUSED)
        assert (error["code"], "uid 1 changed owner" in error["message"]) == ("uid_changed_owner", True)


def test_reveal_from_another_home_names_what_is_missing(still: Daemon) -> None:
    commit(still)
    open_window(still)
    [file] = kept(still)
    file.unlink()
    assert not waiting(still)[0]["here"]
    assert error_of(weights(still, "reveal", *VALIDATOR), Exit.REFUSED)["code"] == "weights_not_here"


def test_commit_that_is_refused_leaves_no_file(still: Daemon) -> None:
    result = weights(still, "commit", "--uids", "0", "--weights", "1", "--dev", "alice", "--no-wait")
    assert error_of(result, Exit.NOT_REGISTERED)["code"] == "HotKeyNotRegisteredInSubNet"
    assert kept(still) == []


def test_status_is_a_table_for_people(still: Daemon) -> None:
    common = ["weights", "status", "--netuid", "7", "--dev", "authority-hot", "--home", str(still.home)]
    assert run(*common).stdout.startswith("no commit waits in subnet 7")
    commit(still)
    shown = run(*common).stdout
    assert "reveal in epoch" in shown and waiting(still)[0]["hash"][:16] in shown
