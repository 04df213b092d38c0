"""`play(…)`: a plugin's validator against its miners in one call of a plain test (AXON R38)."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import trio.testing

from ..load import Plugin
from ..subnet import Subnet
from ..validator import Round, Scores, Task, Validator
from .host import Tap
from .swarm import Swarm


@dataclass(frozen=True, slots=True)
class Played:
    """What came of it."""

    scores: dict[str, float]
    """Name of each miner (`miner/0`, `copy/0`, `lazy/1` …) -> what its scores are worth, mean over the validators."""
    hotkeys: dict[str, str]
    """Name of each neuron -> ss58."""
    last: tuple[Round, Task, Scores] | None
    """The first validator's latest round that ended well."""
    failed_rounds: int
    """Of all validators: rounds in which the author's code raised."""
    log: list[str]
    """What the neurons' code logged, each line after its neuron's name."""
    seconds: float
    """Of virtual time."""


def play(
    plugin: Plugin | Subnet | ModuleType | Path | str,
    *,
    rounds: int = 3,
    miners: int = 3,
    validators: int = 1,
    validator: type[Validator] | None = None,
    variants: Mapping[str, int] | None = None,
    adversaries: Mapping[str, int] | None = None,
    seed: int = 0,
    latency: float = 0.0,
    folder: Path | None = None,
    tap: Tap | None = None,
    wire: bool = False,
) -> Played:
    """Play so many rounds on virtual time, offline. `plugin`: a file, a module, or a Subnet with `validator`.

    Not for async tests, which open a `Swarm` themselves. Nothing is kept unless a folder is given.
    With `wire` calls are signed and framed as between live peers.
    """

    async def main(place: Path) -> Played:
        began = trio.current_time()
        async with Swarm.of(
            plugin, place, miners=miners, validators=validators, validator=validator, variants=variants,
            adversaries=adversaries, seed=seed, latency=latency, tap=tap, wire=wire,
        ) as swarm:  # fmt: skip
            await swarm.rounds(rounds)
            runs = [node.run for node in swarm.validators if node.run is not None]
            return Played(
                swarm.scores(),
                {node.name: node.hotkey for node in swarm.nodes},
                runs[0].last_round if runs else None,
                sum(run.failed_rounds for run in runs),
                [f"{node.name}: {line}" for node in swarm.nodes for line in node.log],
                trio.current_time() - began,
            )

    clock = trio.testing.MockClock(autojump_threshold=0)
    if folder is not None:
        return trio.run(main, folder, clock=clock)
    with tempfile.TemporaryDirectory(prefix="yumad-play-") as place:
        return trio.run(main, Path(place), clock=clock)
