"""The whole plugin on peers in memory: order of the variants, passed-on requests, hostile jobs and answers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from yumad.plugin.testing import Swarm, play
from yumad.protocols.axon.status import Status

PLUGIN = Path(__file__).resolve().parents[1] / "plugin.py"


def test_incentive_orders_the_variants_by_true_quality():
    variants = {"good": 2, "weak": 1, "lazy": 1, "cheat": 1}
    played = play(PLUGIN, rounds=30, miners=0, validators=2, variants=variants, latency=0.005)
    scores = played.scores
    assert played.failed_rounds == 0, played.log
    assert scores["good/0"] > 0.95 and scores["good/1"] > 0.9 * scores["good/0"]
    assert scores["good/0"] > 1.2 * scores["weak/0"] > 1.2 * 1.2 * scores["lazy/0"] > 0.0
    assert scores["cheat/0"] == 0.0


def test_miner_that_passes_its_job_on_to_an_honest_one_earns_nothing():
    """It is even let in by the honest miner: what it gets is the answer to a job of its own with that miner."""
    played = play(PLUGIN, rounds=12, miners=2, adversaries={"copy": 1, "garbage": 1, "late": 1}, latency=0.005)
    assert played.scores["miner/0"] > 0.5
    assert played.scores["copy/0"] == played.scores["garbage/0"] == 0.0


async def test_r21_request_of_a_miner_is_refused_before_any_work(tmp_path, autojump_clock):
    async with Swarm.of(PLUGIN, tmp_path, miners=2) as swarm:
        product = swarm.node("miner/0").plugin.subnet.methods["product"]
        job = product.signature.request.type(bytes(32), 8, 2)
        result = await swarm.call(product, job, to="miner/0", caller=swarm.node("miner/1"))
        assert result.status == Status.NO_PERMIT


@pytest.mark.parametrize(("size", "length"), [(10_000, 10_000), (0, 1), (-1, 5), (8, 0)])
async def test_job_outside_the_bounds_is_refused(tmp_path, autojump_clock, size, length):
    async with Swarm.of(PLUGIN, tmp_path, miners=1) as swarm:
        product = swarm.node("miner/0").plugin.subnet.methods["product"]
        result = await swarm.call(product, product.signature.request.type(bytes(32), size, length), to="miner/0")
        assert result.status in (Status.HANDLER_ERROR, Status.DENIED)
