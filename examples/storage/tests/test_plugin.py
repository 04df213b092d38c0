"""The whole plugin on peers in memory: order of the variants, a user's file, a restart, refusals."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vault import SHARD_BYTES
from yumad.plugin.load import load_plugin
from yumad.plugin.runner import ValidatorRun
from yumad.plugin.testing import Swarm, play
from yumad.protocols.axon.status import Status

PLUGIN = Path(__file__).resolve().parents[1] / "plugin.py"


def test_incentive_orders_the_variants_by_true_quality():
    played = play(
        PLUGIN, rounds=60, miners=0, validators=2, variants={"good": 2, "weak": 1, "lazy": 1, "cheat": 1}, latency=0.1
    )
    scores = played.scores
    assert played.failed_rounds == 0, played.log
    assert scores["good/0"] > 0.9 and scores["good/1"] > 0.9 * scores["good/0"]
    assert scores["good/0"] > 1.5 * scores["weak/0"] > 1.5 * scores["lazy/0"] > 0.0
    assert scores["cheat/0"] == 0.0


def test_miner_that_hands_shards_and_audits_on_earns_nothing():
    """It is even let in by the honest miner, as a permit would."""
    adversaries = {"copy": 1, "garbage": 1, "late": 1, "flood": 1}
    played = play(PLUGIN, rounds=30, miners=3, adversaries=adversaries, latency=0.2)
    assert played.scores["miner/0"] > 0.9
    assert played.scores["copy/0"] == played.scores["garbage/0"] == played.scores["late/0"] == 0.0


async def test_users_file_comes_back_after_a_miner_died_and_the_validator_restarted(tmp_path, autojump_clock):
    content = random.Random(1).randbytes(5 * SHARD_BYTES + 77)
    async with Swarm.of(PLUGIN, tmp_path, miners=5, variants={"weak": 1, "cheat": 2}, latency=0.1) as swarm:
        validator = swarm.validators[0]
        store = tmp_path / str(validator.uid)
        await swarm.rounds(20)
        (store / "inbox" / "report.pdf").write_bytes(content)
        await swarm.rounds(10)
        assert not list((store / "inbox").iterdir())
        swarm.node("miner/2").host.handler = None  # dead from here on
        validator.run = await ValidatorRun.start(
            load_plugin(PLUGIN, anew=True),
            validator.host,
            store=store,
            threads=False,
            rng=random.Random(2),
            log=validator.log.append,
        )
        await swarm.rounds(15)
        (store / "wanted" / "report.pdf").touch()
        await swarm.rounds(2)
        assert (store / "restored" / "report.pdf").read_bytes() == content
        assert not list((store / "wanted").iterdir())
        assert validator.run.failed_rounds == 0, validator.log


@pytest.mark.parametrize("seed", range(3))
async def test_users_file_outlives_a_good_miner_among_bad_ones(tmp_path, autojump_clock, seed):
    content = random.Random(seed).randbytes(200_000)
    variants = {"good": 2, "weak": 1, "lazy": 1, "cheat": 1}
    async with Swarm.of(PLUGIN, tmp_path, miners=0, validators=2, variants=variants, seed=seed, latency=0.1) as swarm:
        store = tmp_path / str(swarm.validators[0].uid)
        (store / "inbox").mkdir()
        (store / "inbox" / "letters.bin").write_bytes(content)
        for _ in range(60):
            await swarm.rounds(1)
            if not (store / "inbox" / "letters.bin").exists():
                break
        else:
            pytest.fail("the file was not taken in sixty rounds")
        swarm.node("good/1").host.handler = None
        await swarm.rounds(20)
        (store / "wanted" / "letters.bin").touch()
        await swarm.rounds(6)
        assert (store / "restored" / "letters.bin").read_bytes() == content
        state = json.loads((store / "manifest.json").read_text())
        assert state["repairs"] > 0


async def test_validator_that_reaches_nobody_for_a_while_counts_nothing_as_lost(tmp_path, autojump_clock):
    async with Swarm.of(PLUGIN, tmp_path, miners=4, latency=0.1) as swarm:
        store = tmp_path / str(swarm.validators[0].uid)
        await swarm.rounds(25)
        before = json.loads((store / "manifest.json").read_text())
        handlers = {node.name: node.host.handler for node in swarm.miners}
        for node in swarm.miners:
            node.host.handler = None
        await swarm.rounds(10)
        for node in swarm.miners:
            node.host.handler = handlers[node.name]
        await swarm.rounds(2)
        after = json.loads((store / "manifest.json").read_text())
        assert after["stripes"].keys() == before["stripes"].keys()
        assert all(standing["credit"] == 10.0 and standing["proven"] for standing in after["miners"].values())


async def test_shard_is_shown_only_to_the_validator_that_stored_it(tmp_path, autojump_clock):
    async with Swarm.of(PLUGIN, tmp_path, miners=1, validators=2, adversaries={"copy": 1}, latency=0.1) as swarm:
        methods = swarm.node("validator/0").plugin.subnet.methods
        hints = {name: method.signature.request.type for name, method in methods.items()}
        first, second = swarm.validators
        shard, data = b"s" * 16, bytes(SHARD_BYTES)
        put = await swarm.call(methods["put"], hints["put"](shard, data), to="miner/0", caller=first)
        assert put.ok
        own = await swarm.call(methods["get"], hints["get"](shard), to="miner/0", caller=first)
        other = await swarm.call(methods["get"], hints["get"](shard), to="miner/0", caller=second)
        assert own.reply.data == data and other.reply.data is None
        short = await swarm.call(methods["put"], hints["put"](shard, data[1:]), to="miner/0", caller=first)
        large = await swarm.call(methods["put"], hints["put"](shard, data * 2), to="miner/0", caller=first)
        miner = await swarm.call(methods["get"], hints["get"](shard), to="miner/0", caller=swarm.node("miner/0"))
        assert (short.status, large.status) == (Status.DENIED, Status.TOO_LARGE)
        assert miner.status == Status.NO_PERMIT
