"""`yumad plugin new NAME`: a subnet that works, to start from (AXON R36): messages, miner, validator and tests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from .method import DefinitionError

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,40}")

_PLUGIN: Final = '''"""Subnet NAME: miners square numbers, validators check them."""

from dataclasses import dataclass

from yumad import Call, Ema, Result, Round, Subnet, Task, Validator

subnet = Subnet("NAME", version=1)


@dataclass
class Ask:
    numbers: list[int]


@dataclass
class Answer:
    squares: list[int]


@subnet.method(timeout=5.0)
async def square(request: Ask, call: Call) -> Answer:
    """The miner."""
    return Answer([number * number for number in request.numbers])


@square.variant("lazy")
async def square_lazily(request: Ask, call: Call) -> Answer:
    """A bad miner, for tests and `yumad simulate`: answers without work."""
    return Answer([0] * len(request.numbers))


class Checker(Validator):
    """The validator."""

    interval = 12.0  # seconds between rounds
    sample = 16  # miners in each
    aggregator = Ema(0.2)

    def task(self, round: Round) -> Task:
        return Task(square, Ask([round.rng.randrange(1000) for _ in range(4)]), timeout=3.0)

    def score(self, round: Round, task: Task, results: list[Result]) -> dict[str, float]:
        expected = [number * number for number in task.request.numbers]
        return {r.hotkey: float(r.ok and r.reply.squares == expected) for r in results}
'''

_TESTS: Final = '''"""Run with `pytest`: no network, no waiting."""

from pathlib import Path

from yumad.plugin.testing import play

PLUGIN = Path(__file__).with_name("NAME.py")


def test_honest_miners_outscore_lazy_and_garbage_ones() -> None:
    played = play(PLUGIN, miners=3, variants={"lazy": 1}, adversaries={"garbage": 1}, rounds=5)
    assert played.failed_rounds == 0, played.log
    assert min(played.scores[f"miner/{n}"] for n in range(3)) > 0.5
    assert played.scores["lazy/0"] == played.scores["garbage/0"] == 0.0


def test_late_answers_score_nothing() -> None:
    assert play(PLUGIN, miners=1, adversaries={"late": 1}).scores["late/0"] == 0.0
'''


def scaffold(folder: Path, name: str) -> list[Path]:
    """Write `NAME.py` and `test_NAME.py` into a folder, made if need be; gives the files.

    Raises DefinitionError for a name that cannot be a subnet's, and when a file is there already.
    """
    if not _NAME.fullmatch(name):
        raise DefinitionError(f"a plugin cannot be called {name!r}", remedy="use a-z, 0-9 and _, first a letter")
    files = {folder / f"{name}.py": _PLUGIN, folder / f"test_{name}.py": _TESTS}
    for file in files:
        if file.exists():
            raise DefinitionError(f"{file} exists", remedy="choose another name or folder")
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        file.write_text(text.replace("NAME", name), encoding="utf-8")
    return list(files)
