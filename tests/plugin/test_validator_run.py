"""Two methods are all an author writes; the runner survives whatever they do (AXON R28)."""

import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
from yumad import Aggregator, Ema, Result, Round, Status, Subnet, Task, Validator, WindowMean, WinRate
from yumad.consensus.types import InvalidError
from yumad.plugin.load import Plugin
from yumad.plugin.runner import ValidatorRun, checked_scores, run_plugin
from yumad.plugin.testing.chain import dev_hotkey
from yumad.plugin.testing.swarm import Swarm
from yumad.protocols.axon.aggregators import built_in_aggregator

subnet = Subnet("echo")


@dataclass
class Ask:
    text: str


@subnet.method(timeout=5.0)
async def echo(request: Ask) -> Ask:
    return request


@echo.variant("lazy")
async def lazy(request: Ask) -> Ask:
    return Ask("")


class Echo(Validator):
    interval = 2.0
    aggregator = Ema(0.5)

    def task(self, round: Round) -> Task | None:
        return Task(echo, Ask("hi"))

    def score(self, round: Round, task: Task, results: list[Result]) -> dict[str, float]:
        return {r.hotkey: float(r.ok and r.reply == task.request) for r in results}


def swarm_of(kind: type[Validator], tmp_path: Path, **options: Any) -> Any:
    return Swarm.of(subnet, tmp_path, validator=kind, **options)


async def test_r28_scores_of_rounds_become_a_table_by_hotkey(tmp_path: Path, yumad_clock: object) -> None:
    async with swarm_of(Echo, tmp_path, miners=2, variants={"lazy": 1}) as swarm:
        await swarm.rounds(2)
        assert swarm.scores() == {"miner/0": 0.75, "miner/1": 0.75, "lazy/0": 0.0}
        assert set(swarm.validators[0].host.values) == {node.hotkey for node in swarm.miners}


async def test_r28_async_methods_and_request_per_miner_work(tmp_path: Path, yumad_clock: object) -> None:
    class PerMiner(Echo):
        async def task(self, round: Round) -> Task | None:
            return Task(echo, {neuron.hotkey: Ask(str(neuron.uid)) for neuron in round.miners[:1]}, memo="kept")

        async def score(self, round: Round, task: Task, results: list[Result]) -> dict[str, float]:
            assert task.memo == "kept"
            return {r.hotkey: float(r.reply.text == str(r.uid)) for r in results}

    async with swarm_of(PerMiner, tmp_path, miners=2) as swarm:
        await swarm.rounds(1)
        assert swarm.scores() == {"miner/0": 0.5, "miner/1": 0.0}
        assert len(swarm.validators[0].host.values) == 1


@pytest.mark.parametrize("where", ["task", "score", "nan", "type"])
async def test_r28_exception_of_the_author_skips_the_round_and_ends_nothing(
    where: str, tmp_path: Path, yumad_clock: object
) -> None:
    class Broken(Echo):
        def task(self, round: Round) -> Task | None:
            if where == "task" and round.number == 1:
                raise RuntimeError("no task today")
            return super().task(round)

        def score(self, round: Round, task: Task, results: list[Result]) -> dict[str, float]:
            if round.number == 1:
                if where == "score":
                    raise RuntimeError("no score today")
                return {results[0].hotkey: math.nan} if where == "nan" else [1.0]  # type: ignore[return-value]
            return super().score(round, task, results)

    async with swarm_of(Broken, tmp_path, miners=1) as swarm:
        await swarm.rounds(2)
        node = swarm.validators[0]
        assert node.run is not None and node.run.failed_rounds == 1
        assert "Traceback" in node.log[0] and "round 1" in node.log[0]
        assert swarm.scores() == {"miner/0": 0.5}


def test_r28_scores_are_clipped_and_unknown_hotkeys_dropped() -> None:
    lines: list[str] = []
    assert checked_scores({"a": 7, "b": -1.0, "c": 0.5, "x": 1.0}, {"a", "b", "c"}, lines.append) == {
        "a": 1.0,
        "b": 0.0,
        "c": 0.5,
    }
    assert "'x'" in lines[0]
    with pytest.raises(InvalidError, match="score of a is nan"):
        checked_scores({"a": math.nan}, {"a"}, lines.append)


async def test_miner_without_a_score_is_absent_and_counts_zero_unless_told_not_to(
    tmp_path: Path, yumad_clock: object
) -> None:
    class Silent(Echo):
        def score(self, round: Round, task: Task, results: list[Result]) -> dict[str, float]:
            return {}

    class Lenient(Silent):
        absent = None

    async with swarm_of(Silent, tmp_path, miners=1) as swarm:
        await swarm.rounds(1)
        assert swarm.validators[0].host.values == {swarm.miners[0].hotkey: 0.0, **swarm.validators[0].host.values}
    async with swarm_of(Lenient, tmp_path, miners=1) as swarm:
        await swarm.rounds(1)
        assert swarm.validators[0].host.values == {}


async def test_sample_takes_so_many_miners_and_is_the_same_for_the_same_seed(
    tmp_path: Path, yumad_clock: object
) -> None:
    class Few(Echo):
        sample = 2

    seen = []
    for _ in range(2):
        async with swarm_of(Few, tmp_path, miners=6, seed=5) as swarm:
            await swarm.rounds(1)
            run = swarm.validators[0].run
            assert run is not None and run.last_round is not None
            seen.append([neuron.uid for neuron in run.last_round[0].miners])
    assert len(seen[0]) == 2 and seen[0] == seen[1]


class Best(Aggregator):
    """An aggregator of an author's own."""

    def initial(self) -> Any:
        return {"best": 0.0}

    def update(self, state: Any, score: float) -> Any:
        return {"best": max(state["best"], score)}

    def value(self, state: Any) -> float:
        return float(state["best"])


async def test_r28_own_aggregator_keeps_its_states_at_the_peer_and_loads_them_before_the_first_round(
    tmp_path: Path, yumad_clock: object
) -> None:
    class Own(Echo):
        aggregator = Best()

        def score(self, round: Round, task: Task, results: list[Result]) -> dict[str, float]:
            return {r.hotkey: 0.8 if round.number == 1 else 0.1 for r in results}

    async with swarm_of(Own, tmp_path, miners=1) as swarm:
        await swarm.rounds(1)
        node = swarm.validators[0]
        again = await ValidatorRun.start(
            Plugin(subnet, Own), node.host, store=tmp_path / "0", threads=False, rng=random.Random(0)
        )
        assert await again.round()
        assert again.last_round is not None and again.last_round[0].number == 2  # goes on after a restart
        assert node.host.values[swarm.miners[0].hotkey] == 0.8


async def test_r28_own_aggregator_that_has_changed_starts_anew(tmp_path: Path, yumad_clock: object) -> None:
    class Worst(Best):
        def __init__(self, start: float = 1.0) -> None:
            self.start = start

        def initial(self) -> Any:
            return self.start

        def update(self, state: Any, score: float) -> Any:
            return min(state, score)

        def value(self, state: Any) -> float:
            return float(state)

        def params(self) -> dict[str, Any]:
            return {"start": self.start}

    def judging_by(chosen: Aggregator) -> type[Validator]:
        class Own(Echo):
            aggregator = chosen

        return Own

    async with swarm_of(judging_by(Best()), tmp_path, miners=1) as swarm:
        await swarm.rounds(1)
        node, [miner] = swarm.validators[0], swarm.miners
        for chosen, value in ((Worst(), 1.0), (Worst(0.5), 0.5), (Ema(0.25), 0.25), (Worst(), 1.0)):
            again = await ValidatorRun.start(
                Plugin(subnet, judging_by(chosen)), node.host, store=tmp_path / "0", threads=False
            )
            assert await again.round(), node.log
            assert node.host.values == {miner.hotkey: value}


async def test_run_plugin_plays_rounds_at_its_interval_until_cancelled(tmp_path: Path, yumad_clock: object) -> None:
    times = []

    class Timed(Echo):
        def task(self, round: Round) -> Task | None:
            times.append(trio.current_time())
            return None

    async with swarm_of(Timed, tmp_path, miners=1) as swarm:
        host = swarm.validators[0].host
        with trio.move_on_after(7.0):
            await run_plugin(Plugin(subnet, Timed), "validator", host, store=tmp_path, threads=False)
    assert times == [0.0, 2.0, 4.0, 6.0]


async def test_r24_r28_new_code_goes_on_after_the_rounds_that_the_old_code_ended_while_it_was_loading(
    tmp_path: Path, yumad_clock: object
) -> None:
    seen = []

    class New(Echo):
        aggregator = Best()

        async def start(self) -> None:
            await trio.sleep(60.0)  # loading a model

        def task(self, round: Round) -> Task | None:
            seen.append(round.number)
            return super().task(round)

        def score(self, round: Round, task: Task, results: list[Result]) -> dict[str, float]:
            return {r.hotkey: 0.1 for r in results}

    async with swarm_of(New, tmp_path, miners=1) as swarm, trio.open_nursery() as nursery:
        node = swarm.validators[0]
        store = tmp_path / "0"
        nursery.start_soon(lambda: run_plugin(Plugin(subnet, New), "validator", node.host, store=store, threads=False))
        await trio.sleep(30.0)
        (store / "round").write_text("41", "ascii")
        row = {"hotkey": swarm.miners[0].hotkey, "value": 0.9, "state": {"best": 0.9}}
        await node.host.scores_store([row], ("Best", New.aggregator.params()), 41)
        await trio.sleep(31.0)
        nursery.cancel_scope.cancel()
    assert seen[0] == 42
    assert node.host.states == {swarm.miners[0].hotkey: {"best": 0.9}}, "what the old code learned is not lost"


async def test_validator_that_counts_blocks_waits_for_them(tmp_path: Path, yumad_clock: object) -> None:
    seen = []

    class Blocks(Echo):
        blocks = 3

        def task(self, round: Round) -> Task | None:
            seen.append(round.block)
            return None

    async with swarm_of(Blocks, tmp_path, miners=1) as swarm, trio.open_nursery() as nursery:
        host = swarm.validators[0].host
        nursery.start_soon(lambda: run_plugin(Plugin(subnet, Blocks), "validator", host, store=tmp_path, threads=False))
        for _ in range(9):
            await trio.sleep(12.0)
            swarm.chain.block += 1
        nursery.cancel_scope.cancel()
    assert seen == [1, 4, 7, 10][: len(seen)] and len(seen) >= 3


async def test_r26_one_bad_target_is_a_result_and_never_an_exception(tmp_path: Path, yumad_clock: object) -> None:
    async with swarm_of(Echo, tmp_path, miners=2, adversaries={"garbage": 1, "late": 1}) as swarm:
        swarm.network.hosts.pop(swarm.miners[1].hotkey)
        await swarm.rounds(1)
        run = swarm.validators[0].run
        assert run is not None and run.last_round is not None
        statuses = {}
        for node in swarm.miners:
            statuses[node.name] = (await swarm.call(echo, Ask("x"), to=node)).status
        assert statuses == {
            "miner/0": Status.OK,
            "miner/1": Status.NO_RECORD,
            "garbage/0": Status.BAD_REPLY,
            "late/0": Status.DEADLINE_EXCEEDED,
        }


@pytest.mark.parametrize(
    ("aggregator", "scores", "value"),
    [
        (Ema(0.5), [1.0, 1.0], 0.75),
        (WindowMean(2), [0.0, 1.0, 0.5], 0.75),
        (WindowMean(4, full=True), [1.0], 0.25),
        (WinRate(4, threshold=0.5), [0.4, 0.5, 1.0, 0.0, 1.0], 0.75),
    ],
)
def test_r28_built_in_aggregators_follow_their_definitions(
    aggregator: Aggregator, scores: list[float], value: float
) -> None:
    state = aggregator.initial()
    for score in scores:
        state = aggregator.update(state, score)
    assert aggregator.value(state) == pytest.approx(value)
    same = built_in_aggregator(aggregator.name, aggregator.params())
    assert same.params() == aggregator.params() and type(same) is type(aggregator)


@pytest.mark.parametrize(
    ("name", "params"), [("nope", {}), ("ema", {"alpha": 2.0}), ("ema", {"beta": 1}), ("window_mean", {"size": 0})]
)
def test_aggregator_from_outside_that_is_none_is_refused(name: str, params: dict[str, Any]) -> None:
    with pytest.raises(InvalidError):
        built_in_aggregator(name, params)


async def test_r28_round_that_does_not_end_is_given_up(tmp_path: Path, yumad_clock: object) -> None:
    class Endless(Echo):
        round_timeout = 30.0

        async def task(self, round: Round) -> Task | None:
            if round.number == 1:
                await trio.sleep_forever()
            return super().task(round)

    async with swarm_of(Endless, tmp_path, miners=1) as swarm:
        await swarm.rounds(2)
        node = swarm.validators[0]
        assert node.run is not None and node.run.failed_rounds == 1
        assert "round_timeout" in node.log[0]
        assert trio.current_time() == 30.0
        assert swarm.scores() == {"miner/0": 0.5}


async def test_own_aggregator_forgets_hotkeys_that_have_left(tmp_path: Path, yumad_clock: object) -> None:
    class Own(Echo):
        aggregator = Best()

    async with swarm_of(Own, tmp_path, miners=2) as swarm:
        await swarm.rounds(1)
        run = swarm.validators[0].run
        assert run is not None and len(run._states) == 2
        swarm.chain.replace(swarm.miners[0].uid, dev_hotkey("newcomer"))
        await swarm.rounds(1)
        assert swarm.miners[0].hotkey not in run._states


async def test_round_reads_the_chain_through_the_peer(tmp_path: Path, yumad_clock: object) -> None:
    class Reading(Echo):
        async def task(self, round: Round) -> Task | None:
            return Task(echo, Ask(str(await round.query("chain.height", 1))))

    async with swarm_of(Reading, tmp_path, miners=1) as swarm:
        asked = []

        async def query(read: str, params: Any) -> Any:
            asked.append((read, tuple(params)))
            return 7

        swarm.validators[0].host.query = query
        await swarm.rounds(1)
        assert asked == [("chain.height", (1,))]
        assert swarm.scores() == {"miner/0": 0.5}
