"""The whole plugin on peers in memory: order of the variants, adversaries, holders who ask, streams."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from yumad.plugin.calling import Calls
from yumad.plugin.testing import Swarm, play
from yumad.protocols.axon.status import Status

PLUGIN = Path(__file__).resolve().parents[1] / "plugin.py"


def test_incentive_orders_the_variants_by_true_quality():
    variants = {"good": 2, "weak": 1, "lazy": 1, "cheat": 1}
    played = play(PLUGIN, rounds=48, miners=0, validators=2, variants=variants, latency=0.2)
    scores = played.scores
    assert played.failed_rounds == 0, played.log
    assert min(scores["good/0"], scores["good/1"]) > 1.5 * scores["weak/0"]
    assert scores["weak/0"] > scores["lazy/0"] > 0.0
    assert scores["cheat/0"] < 0.05 * scores["good/0"]


def test_garbage_late_answers_and_questions_passed_on_without_stake_earn_nothing():
    played = play(PLUGIN, rounds=12, miners=1, adversaries={"copy": 1, "garbage": 1, "late": 1}, latency=0.2)
    assert played.scores["miner/0"] > 0.2
    assert played.scores["copy/0"] == played.scores["garbage/0"] == played.scores["late/0"] == 0.0


async def test_r21_holder_with_stake_may_ask_and_one_without_is_told_what_is_missing(tmp_path, autojump_clock):
    async with Swarm.of(PLUGIN, tmp_path, miners=2) as swarm:
        ask = swarm.node("miner/0").plugin.subnet.methods["ask"]
        request = ask.signature.request.type("What did the baker do with the oven last winter?", 7)
        poor = await swarm.call(ask, request, to="miner/0", caller=swarm.node("miner/1"))
        assert poor.status == Status.LOW_STAKE
        assert poor.text
        swarm.chain.neurons[swarm.node("miner/1").hotkey].stake = 2_000_000_000
        rich = await swarm.call(ask, request, to="miner/0", caller=swarm.node("miner/1"))
        assert rich.ok
        assert len(rich.reply.text.split()) > 35


async def test_r9_chat_streams_the_words_of_the_same_answer(tmp_path, autojump_clock):
    async with Swarm.of(PLUGIN, tmp_path, miners=1) as swarm:
        methods = swarm.node("miner/0").plugin.subnet.methods
        request = methods["ask"].signature.request.type("Where did Olga leave the ferry at noon?", 3, 30)
        whole = await swarm.call(methods["ask"], request, to="miner/0")
        validator, miner = swarm.node("validator/0"), swarm.node("miner/0")
        calls = Calls(validator.host, validator.hotkey, {miner.hotkey: miner.uid}, swarm.network.random_bytes)
        async with calls.stream(miner.hotkey, methods["chat"], request, 5.0) as stream:
            tokens = [token.text async for token in stream]
            assert (await stream.result()).ok
        assert "".join(tokens) == whole.reply.text
        assert len(tokens) > 20


@pytest.mark.parametrize("request_", [("", 0, 10**9), ("x" * 100_000, 1, 48), ("?" * 50, -5, -1)])
async def test_odd_requests_are_answered_within_the_limits_or_refused(tmp_path, autojump_clock, request_):
    async with Swarm.of(PLUGIN, tmp_path, miners=1) as swarm:
        ask = swarm.node("miner/0").plugin.subnet.methods["ask"]
        result = await swarm.call(ask, ask.signature.request.type(*request_), to="miner/0")
        assert result.status in (Status.OK, Status.TOO_LARGE)
        assert not result.ok or len(result.reply.text.split()) <= 200
