"""The validators of a swarm's genesis subnet stay active: their rows are set again through a control socket."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import daemon_thread
import pytest
from daemon_thread import Daemon, running_daemon
from test_swarm_spec import with_authority
from yumad.consensus.chain_spec import ChainSpec
from yumad.daemon.control_client import ControlClient
from yumad.daemon.swarm_spec import VALIDATORS, swarm_spec
from yumad.daemon.weight_keeper import PER_ROUND, WeightKeeper

SPEC = with_authority(swarm_spec("dev", "kept", b"\x01", None))


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A running daemon of the swarm's chain that makes no blocks by itself."""
    monkeypatch.setattr(daemon_thread, "BLOCK_INTERVAL", 1000.0)
    with running_daemon(tmp_path / "home", SPEC) as running:
        yield running


def test_rows_are_set_again_with_the_derived_keys_and_then_rest_for_their_interval(daemon: Daemon) -> None:
    keeper = WeightKeeper(SPEC)
    with ControlClient.connect(daemon.home) as client:
        height = daemon.peer.status().finalised_height
        for _ in range(10):  # genesis rows are fresh: their rate limit has to pass first
            sent = keeper.look(client, height)
            if sent:
                break
            daemon.peer.make_block()
            height += 1
        assert sent == VALIDATORS
        assert keeper.look(client, height) == 0
        kept = daemon.peer.make_block()
        assert len(kept.block.body.transactions) == VALIDATORS
        assert all(outcome.code == 0 for outcome in kept.outcome.transactions)
        interval = keeper.rows[0].due - height
        assert 0 < interval <= SPEC.subnets[0].hyperparameters.tempo


def test_refused_row_is_tried_again_soon(daemon: Daemon) -> None:
    keeper = WeightKeeper(SPEC)
    for row in keeper.rows:
        row.weights = replace(row.weights, uids=b"\xff\xff")  # no such neuron
    with ControlClient.connect(daemon.home) as client:
        assert keeper.look(client, 20) == 0
    assert all(row.due == 22 for row in keeper.rows)


def test_one_look_sends_a_few_rows_at_most() -> None:
    keeper = WeightKeeper(SPEC)
    keeper.rows = [replace(row) for _ in range(5) for row in keeper.rows]
    sent = keeper.look(Accepting(), 1)  # type: ignore[arg-type]
    assert sent == PER_ROUND


class Accepting:
    """A control socket that takes everything."""

    def call(self, method: str, **arguments: object) -> dict[str, object]:
        return {"genesis_hash": "00" * 32, "fork_digest": "00" * 4, "nonce": 0}


def without_derived_keys(spec: ChainSpec) -> ChainSpec:
    (subnet,) = spec.subnets
    neurons = tuple(replace(neuron, hotkey=bytes([uid]) * 32) for uid, neuron in enumerate(subnet.neurons))
    return replace(spec, subnets=(replace(subnet, neurons=neurons),))


def test_rows_of_keys_that_nobody_here_has_are_left_alone() -> None:
    assert WeightKeeper(without_derived_keys(SPEC)).rows == []


def test_subnet_with_commit_reveal_is_left_alone() -> None:
    (subnet,) = SPEC.subnets
    hidden = replace(subnet, hyperparameters=replace(subnet.hyperparameters, commit_reveal_weights_enabled=True))
    assert WeightKeeper(replace(SPEC, subnets=(hidden,))).rows == []
