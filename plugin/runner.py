"""Runs a plugin on a peer, as a miner or as a validator, until it is cancelled (AXON R28).

Nothing an author's code raises ends a validator: the round is logged and left out. Scores go to the peer by hotkey;
aggregators that only the plugin knows are computed here, their states kept by the peer all the same.
"""

from __future__ import annotations

import inspect
import math
import random
import traceback
from collections.abc import Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from ..consensus.types import InvalidError
from ..protocols.axon.aggregators import BUILT_IN
from .blobs import Blobs
from .call import running_store
from .calling import Calls
from .host_interface import HostClient
from .load import ROLES, Plugin
from .method import DefinitionError
from .serving import Log, MinerService, in_thread, log_to_stderr
from .validator import Neuron, Round, Scores, Task, Validator

if TYPE_CHECKING:
    from trio_typing import TaskStatus

_ROUND_FILE: Final = "round"
"""Number of the last round, in the plugin's folder."""

BLOCK_POLL: Final = 3.0
"""Seconds between looks at the height for a validator that counts blocks: a quarter of one."""


async def run_plugin(
    plugin: Plugin,
    role: str,
    client: HostClient,
    *,
    store: Path,
    rng: random.Random | None = None,
    variant: str | None = None,
    threads: bool = True,
    log: Log = log_to_stderr,
    task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve calls or run rounds until cancelled; started once the peer knows that it is ready.

    `store` is the folder of this plugin and hotkey. `rng` None: seeded by the system. `variant` names a bad miner of
    the file. Without `threads` all code of the author runs inline (fake clocks need it). Raises DefinitionError for a
    role the plugin has not, and whatever a start hook raises.
    """
    if role not in plugin.roles:
        raise DefinitionError(
            f"{plugin.file or plugin.subnet.name} cannot be run as {role!r}",
            remedy=f"its roles are {', '.join(plugin.roles)}" if role in ROLES else f"roles are {', '.join(ROLES)}",
        )
    running_store.set(store)
    if role == "miner":
        async with miner_service(plugin, client, store=store, variant=variant, threads=threads, log=log):
            task_status.started()
            await trio.sleep_forever()
    validator = await ValidatorRun.start(plugin, client, store=store, rng=rng, threads=threads, log=log)
    name = type(validator.validator).__name__
    await client.ready(plugin.subnet.name, plugin.subnet.version, role, [], validator=name)
    await validator.catch_up()
    task_status.started()
    await validator.forever()


@asynccontextmanager
async def miner_service(
    plugin: Plugin,
    client: HostClient,
    *,
    store: Path,
    variant: str | None = None,
    threads: bool = True,
    log: Log = log_to_stderr,
) -> Any:
    """A miner that serves inside the block."""
    service = MinerService(plugin.subnet, store, variant=variant, threads=threads, log=log, blobs=Blobs(client))
    try:
        await service.start()
        client.set_handler(service.handle)
        await client.ready(plugin.subnet.name, plugin.subnet.version, "miner", plugin.subnet.served_methods())
        yield service
    finally:
        await service.stop()


class ValidatorRun:
    """One validator's rounds."""

    def __init__(
        self,
        plugin: Plugin,
        client: HostClient,
        *,
        store: Path,
        rng: random.Random | None = None,
        threads: bool = True,
        log: Log = log_to_stderr,
    ) -> None:
        assert plugin.validator is not None
        self.validator: Validator = plugin.validator()
        self.last_round: tuple[Round, Task, Scores] | None = None
        """The latest that ended well."""
        self.failed_rounds = 0
        self._client, self._store, self._threads, self._log = client, store, threads, log
        self._rng = rng or random.Random()
        self._states: dict[str, Any] = {}
        self._number = _last_number(store)

    @classmethod
    async def start(cls, plugin: Plugin, client: HostClient, **options: Any) -> ValidatorRun:
        """Made, and its states loaded: load always comes before the first save."""
        run = cls(plugin, client, **options)
        await run.catch_up()
        starting = run.validator.start()
        if starting is not None:
            await starting
        return run

    async def catch_up(self) -> None:
        """Go on where the rounds are now: while this process was loading, the one before it may have ended some."""
        self._number = _last_number(self._store)
        if not self._built_in:
            self._states = {row["hotkey"]: row["state"] for row in await self._client.scores_load(self._custom)}

    @property
    def _built_in(self) -> bool:
        """Whether the peer can aggregate by itself: exactly one of its classes, no subclass."""
        return type(self.validator.aggregator) in BUILT_IN.values()

    @property
    def _custom(self) -> tuple[str, Mapping[str, Any]]:
        """Name and parameters of an aggregator that only the plugin knows."""
        aggregator = self.validator.aggregator
        return type(aggregator).__name__, aggregator.params()

    async def forever(self) -> None:
        """Rounds at their times; one that takes longer than the interval is followed by the next at once."""
        block = -1
        while True:
            began = trio.current_time()
            if self.validator.blocks:
                block = await self._next_block(block)
            await self.round()
            if not self.validator.blocks:
                await trio.sleep_until(max(began + self.validator.interval, trio.current_time()))

    async def _next_block(self, last: int) -> int:
        while True:
            block = int((await self._client.metagraph())["block"])
            if last < 0 or block >= last + self.validator.blocks:
                return block
            await trio.sleep(BLOCK_POLL)

    async def round(self) -> bool:
        """One round. False when it was left out, by the author's choice or by an error, which is logged."""
        number = self._number + 1
        token = running_store.set(self._store)
        try:
            with trio.fail_after(self.validator.round_timeout):
                made = await self._round(number)
        except trio.TooSlowError:
            self.failed_rounds += 1
            self._log(f"round {number}: given up after {self.validator.round_timeout} s (round_timeout)")
            return False
        except Exception as error:
            self.failed_rounds += 1
            self._log(f"round {number}: " + "".join(traceback.format_exception(error)).rstrip())
            return False
        finally:
            running_store.reset(token)
            self._number = number
            _keep_number(self._store, number)
        return made

    async def _round(self, number: int) -> bool:
        graph = await self._client.metagraph()
        neurons = [neuron_of(row) for row in graph["neurons"]]
        others = [neuron for neuron in neurons if neuron.hotkey != graph["hotkey"]]
        codecs = {row["hotkey"]: row["codecs"] for row in graph["neurons"] if row.get("codecs")}
        calls = Calls(self._client, graph["hotkey"], {n.hotkey: n.uid for n in neurons}, self._rng.randbytes, codecs)
        round = Round(
            number, int(graph["block"]), int(graph["netuid"]), graph["hotkey"],
            [neuron for neuron in others if neuron.reachable], self._rng, self._store, neurons, calls,
        )  # fmt: skip
        round = replace(round, miners=self.validator.choose(round))
        task = await self._author(self.validator.task, round)
        if task is None:
            return False
        if not isinstance(task, Task):
            raise DefinitionError(f"task() gave {task!r}", remedy="return a Task, or None to leave the round out")
        requests = task.requests([neuron.hotkey for neuron in round.miners])
        results = await calls.call_many(requests, task.method, task.timeout)
        given = await self._author(self.validator.score, round, task, results)
        known = {neuron.hotkey for neuron in neurons}
        scores = checked_scores(given, known, self._log)
        absent = self.validator.absent
        if absent is not None:
            silent = [n.hotkey for n in others if not n.reachable]
            for hotkey in [*requests, *silent]:
                scores.setdefault(hotkey, absent)
        await self._hand_over(scores, known, number)
        self.last_round = (round, task, scores)
        return True

    async def _author(self, function: Any, *arguments: Any) -> Any:
        """Call the author's method: a coroutine here, anything else in a thread, so that it cannot hold up calls."""
        if inspect.iscoroutinefunction(function) or not self._threads:
            answer = function(*arguments)
        else:
            answer = await in_thread(function, *arguments)
        return await answer if inspect.isawaitable(answer) else answer

    async def _hand_over(self, scores: dict[str, float], known: set[str], number: int) -> None:
        aggregator = self.validator.aggregator
        if self._built_in:
            await self._client.scores_update(scores, (aggregator.name, aggregator.params()), number)
            return
        rows = []
        self._states = {hotkey: state for hotkey, state in self._states.items() if hotkey in known}
        for hotkey, score in scores.items():
            state = self._states[hotkey] if hotkey in self._states else aggregator.initial()
            self._states[hotkey] = state = aggregator.update(state, score)
            value = checked_score(aggregator.value(state), f"{aggregator!r}.value")
            rows.append({"hotkey": hotkey, "value": value, "state": state})
        await self._client.scores_store(rows, self._custom, number)


def neuron_of(row: Mapping[str, Any]) -> Neuron:
    """A neuron of the peer's metagraph. What is not said to be unreachable may be called."""
    return Neuron(
        int(row["uid"]), row["hotkey"], int(row.get("stake", 0)), float(row.get("incentive", 0.0)),
        float(row.get("dividends", 0.0)), bool(row.get("permit", False)), row.get("reachable") is not False,
    )  # fmt: skip


def checked_scores(given: Any, known: set[str], log: Log) -> dict[str, float]:
    """Scores an author gave, clipped to 0..1. Raises InvalidError for what is no number; drops unknown hotkeys."""
    if not isinstance(given, Mapping):
        raise InvalidError(f"score() gave {type(given).__name__}", remedy="return a dict of hotkey to 0..1")
    scores = {}
    for hotkey, score in given.items():
        if hotkey not in known:
            log(f"score() names {hotkey!r}, which is no hotkey of this subnet; use result.hotkey")
            continue
        scores[hotkey] = checked_score(score, f"score of {hotkey}")
    return scores


def checked_score(score: Any, where: str) -> float:
    """A number clipped to 0..1. Raises InvalidError for NaN and for anything else."""
    try:
        number = float(score)
    except (TypeError, ValueError):
        number = math.nan
    if math.isnan(number):
        raise InvalidError(f"{where} is {score!r}", remedy="give a number from 0 to 1")
    return min(max(number, 0.0), 1.0)


def _last_number(store: Path) -> int:
    try:
        return int((store / _ROUND_FILE).read_text("ascii"))
    except (OSError, ValueError):
        return 0


def _keep_number(store: Path, number: int) -> None:
    """Written beside and moved over, so that a crash leaves the old number."""
    try:
        beside = store / f"{_ROUND_FILE}.new"
        beside.write_text(str(number), "ascii")
        beside.replace(store / _ROUND_FILE)
    except OSError:
        pass  # rounds then count from an earlier number again, which harms nothing
