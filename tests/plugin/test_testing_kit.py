"""The kit an author tests with (AXON R38)."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from yumad.consensus.types import InvalidError, MalformedError
from yumad.plugin.load import load_plugin
from yumad.plugin.method import DefinitionError
from yumad.plugin.testing import FakeChain, Recorder, replay
from yumad.plugin.testing.chain import dev_hotkey

ECHO = Path(__file__).with_name("plugins") / "echo.py"


def test_r38_play_needs_no_network_no_waiting_and_no_async(play: Callable[..., Any]) -> None:
    played = play(ECHO, miners=2, variants={"lazy": 1}, rounds=4, latency=0.25)
    assert played.scores["miner/0"] == pytest.approx(1 - 0.8**4)
    assert played.scores["lazy/0"] == 0.0
    assert played.seconds == pytest.approx(4 * 0.5)
    assert played.failed_rounds == 0 and played.log == []


def test_r37_adversary_presets_behave_as_named(play: Callable[..., Any]) -> None:
    played = play(ECHO, miners=1, adversaries={"copy": 1, "late": 1, "garbage": 1, "flood": 1}, rounds=1)
    assert {name: score > 0 for name, score in played.scores.items()} == {
        "miner/0": True, "copy/0": True, "late/0": False, "garbage/0": False, "flood/0": True,
    }  # fmt: skip


def test_unknown_adversary_and_variant_are_refused_with_those_there_are(play: Callable[..., Any]) -> None:
    with pytest.raises(InvalidError, match="greedy"):
        play(ECHO, adversaries={"greedy": 1})
    with pytest.raises(DefinitionError, match="slow") as caught:
        play(ECHO, variants={"slow": 1})
    assert "lazy" in caught.value.remedy


async def test_r38_swarm_fixture_runs_on_virtual_time_with_dev_keys(
    swarm: Callable[..., Any], yumad_clock: trio.testing.MockClock, dev_keys: Callable[[str], Any]
) -> None:
    async with swarm(ECHO, miners=2) as opened:
        await opened.rounds(2)
        assert opened.scores()["miner/0"] == pytest.approx(0.36)
        from yumad.consensus.ss58 import encode_address

        assert opened.node("miner/0").hotkey == encode_address(dev_keys("miner/0").public_key)


def test_r37_file_is_loaded_anew_for_each_neuron(tmp_path: Path, play: Callable[..., Any]) -> None:
    file = tmp_path / "counting.py"
    source = ECHO.read_text().replace("return Answer(request.text)", "return Answer(count())")
    source = source.replace('r.reply.text == "hi"', 'r.reply.text == "1"')
    count = "def count() -> str:\n    counter.value += 1\n    return str(counter.value)\n"
    file.write_text(f"{source}\n\nimport counter\n\n\n{count}")
    (tmp_path / "counter.py").write_text("value = 0\n")
    played = play(file, miners=3, rounds=1)
    assert list(played.scores.values()) == pytest.approx([0.2] * 3), played.log


async def test_r38_recorded_traffic_replays_equal_and_a_changed_handler_shows(
    swarm: Callable[..., Any], yumad_clock: object, tmp_path: Path
) -> None:
    file = tmp_path / "calls.jsonl"
    async with swarm(ECHO, miners=1, tap=Recorder(file)) as opened:
        await opened.rounds(2)
    assert len(file.read_text().splitlines()) == 2
    plugin = load_plugin(ECHO)
    assert await replay(file, plugin, tmp_path) == []
    differences = await replay(file, plugin, tmp_path, variant="lazy")
    assert [(d.line, d.method) for d in differences] == [(1, "echo"), (2, "echo")]
    assert "hi" in differences[0].recorded and "hi" not in differences[0].now


async def test_recorded_traffic_that_is_damaged_names_its_line(tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    file.write_text(json.dumps({"method": "echo"}) + "\n")
    with pytest.raises(MalformedError, match="line 1"):
        await replay(file, load_plugin(ECHO), tmp_path)


def test_r38_fake_chain_replaces_the_owner_of_a_uid() -> None:
    chain = FakeChain(netuid=7)
    chain.register(dev_hotkey("a"), stake=5, permit=True)
    chain.register(dev_hotkey("b"))
    chain.replace(1, dev_hotkey("c"))
    assert [neuron.hotkey for neuron in chain] == [dev_hotkey("a"), dev_hotkey("c")]
    assert chain.standing(dev_hotkey("b")).uid is None
    graph = chain.metagraph(dev_hotkey("a"))
    assert (graph["netuid"], graph["neurons"][0]["stake"]) == (7, 5)


def test_file_that_cannot_be_loaded_names_its_line(tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text("from yumad import Subnet\nsubnet = Subnet('x')\n1 / 0\n")
    with pytest.raises(DefinitionError, match=r"broken.py, line 3: ZeroDivisionError"):
        load_plugin(file)
    file.write_text("x = 1\n")
    with pytest.raises(DefinitionError, match="no Subnet"):
        load_plugin(file, anew=True)


async def test_policy_is_judged_as_on_a_live_peer(swarm: Callable[..., Any], yumad_clock: object) -> None:
    async with swarm(ECHO, miners=2) as opened:
        echo = opened.miners[0].plugin.subnet.methods["echo"]
        request = echo.signature.request.type("x")
        refused = await opened.call(echo, request, to="miner/0", caller=opened.node("miner/1"))
        assert refused.status.name == "NO_PERMIT"
        assert opened.node("miner/0").host.refused == {refused.status: 1}
        flood = [await opened.call(echo, request, to="miner/0") for _ in range(60)]
        assert flood[0].ok and flood[-1].status.name == "RATE_LIMITED"
        assert flood[-1].retry_after_ms > 0


async def test_r38_swarm_on_the_real_call_protocol_scores_the_same(
    swarm: Callable[..., Any], yumad_clock: object
) -> None:
    tables = []
    for wire in (False, True):
        async with swarm(ECHO, miners=2, adversaries={"copy": 1, "late": 1, "garbage": 1}, wire=wire) as opened:
            await opened.rounds(2)
            assert opened.validators[0].run.failed_rounds == 0, opened.validators[0].log
            tables.append(opened.scores())
            results = {}
            for node in opened.miners:
                echo = node.plugin.subnet.methods["echo"]
                results[node.kind] = await opened.call(echo, echo.signature.request.type("x"), to=node)
            assert results["miner"].ok and results["garbage"].status.name == "BAD_REPLY"
            assert bool(results["miner"].receipt) is wire
    assert tables[0] == tables[1]


async def test_r38_swarm_without_the_virtual_clock_says_what_to_ask_for(swarm: Callable[..., Any]) -> None:
    with pytest.raises(InvalidError, match="wall clock") as caught:
        swarm(ECHO)
    assert "yumad_clock" in caught.value.remedy
