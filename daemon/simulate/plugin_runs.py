"""`yumad simulate FILE.py`: a plugin's miners and validators in memory, paid by a chain in memory (AXON R37).

Each epoch every validator plays its rounds on virtual time; then its score table becomes weights in a signed call, and
the chain's own rules run the blocks up to the next Yuma epoch, with the subnet's pool and emission.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Final

import trio
import trio.testing

from ...plugin.load import Plugin, load_plugin
from ...plugin.testing.swarm import STAKE, Node, Swarm, check_adversaries
from .economy_runs import EconomyRun
from .epoch_runs import scaled_to_u16
from .results import EpochRow, VariantResult, share
from .scenario import EconomyScenario, ScenarioCall, ScenarioError

NETUID: Final = 1
MAX_NEURONS: Final = 256
MAX_EPOCHS: Final = 10_000
BLOCK_SECONDS: Final = 12.0

_LOG_LINES: Final = 20
"""Of the authors' code, kept for the table: one bug says the same thing each round."""


@dataclass(frozen=True, slots=True)
class PluginScenario:
    """What is simulated."""

    file: Path
    miners: int = 16
    """All that serve: honest ones, adversaries and variants."""
    validators: int = 4
    epochs: int = 20
    rounds: int = 1
    """Of each validator in one epoch."""
    tempo: int = 10
    """Blocks between epochs."""
    adversaries: Mapping[str, int] = field(default_factory=dict)
    variants: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class NeuronOutcome:
    """One neuron after the last epoch."""

    uid: int
    name: str
    kind: str
    score: float | None
    """Mean over the validators of what its scores are worth; None for a validator."""
    incentive: float
    dividends: float
    emission: int
    """Units of alpha over all epochs."""
    refused: int
    """Calls that it turned away."""


@dataclass(frozen=True, slots=True)
class PluginOutcome:
    """What came of it."""

    neurons: list[NeuronOutcome]
    failed_rounds: int
    log: list[str]
    seconds: float
    """Of virtual time."""
    chain: VariantResult
    """Epochs and market, for tables and plots."""


def run_plugin_scenario(scenario: PluginScenario) -> PluginOutcome:
    """Simulate a plugin. Raises ScenarioError for numbers that cannot be, DefinitionError for a file that is none."""
    honest = scenario.miners - sum(scenario.adversaries.values()) - sum(scenario.variants.values())
    check_adversaries(scenario.adversaries)
    _check(scenario, honest)
    plugin = load_plugin(scenario.file, anew=True)
    if plugin.validator is None or not plugin.subnet.methods:
        raise ScenarioError(
            f"{scenario.file} has only the role {plugin.roles[0]}",
            remedy="a simulation needs methods and a Validator in one file",
        )
    _check_variants(scenario, plugin)
    clock = trio.testing.MockClock(autojump_threshold=0)
    with tempfile.TemporaryDirectory(prefix="yumad-simulate-") as folder:
        return trio.run(_run, scenario, plugin.subnet.name, honest, Path(folder), clock=clock)


def _check(scenario: PluginScenario, honest: int) -> None:
    if honest < 0:
        raise ScenarioError(
            f"{scenario.miners} miners are fewer than the adversaries and variants", remedy="raise --miners"
        )
    if scenario.validators < 1 or scenario.miners < 1 or scenario.miners + scenario.validators > MAX_NEURONS:
        raise ScenarioError(
            f"{scenario.miners} miners and {scenario.validators} validators",
            remedy=f"give at least one of each, and at most {MAX_NEURONS} together",
        )
    for name, value, most in (
        ("epochs", scenario.epochs, MAX_EPOCHS),
        ("rounds", scenario.rounds, 1000),
        ("tempo", scenario.tempo, 360),
    ):
        least = 4 if name == "tempo" else 1
        if not least <= value <= most:
            raise ScenarioError(f"{name} is {value}", remedy=f"give {least} to {most}")


def _check_variants(scenario: PluginScenario, plugin: Plugin) -> None:
    for name in scenario.variants:
        if name not in plugin.subnet.variant_names():
            known = ", ".join(plugin.subnet.variant_names()) or "none; decorate one with @method.variant"
            raise ScenarioError(f"there is no variant {name!r}", remedy=f"{scenario.file.name} has {known}")


async def _run(scenario: PluginScenario, name: str, honest: int, folder: Path) -> PluginOutcome:
    async with Swarm.of(
        scenario.file, folder, miners=honest, validators=scenario.validators, variants=scenario.variants,
        adversaries=scenario.adversaries, seed=scenario.seed,
    ) as swarm:  # fmt: skip
        economy = EconomyRun(_economy(scenario, swarm), name, {})
        paid: dict[int, int] = {}
        row: dict[int, EpochRow] = {}
        seen = 0
        for _ in range(scenario.epochs):
            await swarm.rounds(scenario.rounds)
            await trio.sleep(scenario.tempo * BLOCK_SECONDS)
            calls = [call for node in swarm.validators if (call := _weights(node, swarm, economy.height + 1))]
            reached = len(economy.result.epochs)
            while len(economy.result.epochs) == reached:
                economy.block(calls)
                calls = []
            row = {entry.uid: entry for entry in economy.result.epochs[seen:]}
            seen = len(economy.result.epochs)
            for uid, entry in row.items():
                paid[uid] = paid.get(uid, 0) + entry.emission
            _show(swarm, economy, row)
        scores = swarm.scores()
        neurons = [
            NeuronOutcome(
                node.uid, node.name, node.kind, scores.get(node.name), share(row[node.uid].incentive),
                share(row[node.uid].dividends), paid.get(node.uid, 0), sum(node.host.refused.values()),
            )
            for node in swarm.nodes
        ]  # fmt: skip
        failed = sum(node.run.failed_rounds for node in swarm.validators if node.run is not None)
        log = [f"{node.name}: {line}" for node in swarm.nodes for line in node.log][:_LOG_LINES]
        return PluginOutcome(neurons, failed, log, trio.current_time(), economy.result)


def _show(swarm: Swarm, economy: EconomyRun, rows: Mapping[int, EpochRow]) -> None:
    """Let the plugins' metagraph say what the chain says."""
    swarm.chain.block = economy.height
    for neuron in swarm.chain:
        neuron.incentive = share(rows[neuron.uid].incentive)
        neuron.dividends = share(rows[neuron.uid].dividends)
        neuron.stake = rows[neuron.uid].stake


def _weights(node: Node, swarm: Swarm, block: int) -> ScenarioCall | None:
    """A validator's call; None while it has nothing to say, which the chain would refuse."""
    uids = {other.hotkey: other.uid for other in swarm.miners}
    judged = sorted((uids[hotkey], value) for hotkey, value in node.host.values.items() if hotkey in uids)
    values = scaled_to_u16([Fraction(value) for _, value in judged])
    kept = [(uid, value) for (uid, _), value in zip(judged, values, strict=True) if value]
    if not kept:
        return None
    args = {
        "netuid": str(NETUID),
        "uids": ",".join(str(uid) for uid, _ in kept),
        "values": ",".join(str(value) for _, value in kept),
        "version_key": "0",
    }
    return ScenarioCall(block, node.name, "weights.set_weights", args, node.name)


def _economy(scenario: PluginScenario, swarm: Swarm) -> EconomyScenario:
    """A chain whose subnet 1 has the swarm's neurons, uid by uid."""
    neurons = [
        {
            "hotkey": f"dev:{node.name}",
            "coldkey": f"dev:{node.name}/cold",
            "stake": STAKE if node.kind == "validator" else 0,
            "permit": node.kind == "validator",
            "last_update": 1,
        }
        for node in swarm.nodes
    ]
    spec = {
        "dev": {"names": ["owner"], "funds": 10**12},
        "subnets": [
            {
                "netuid": NETUID,
                "owner_hotkey": "dev:owner/hot",
                "owner_coldkey": "dev:owner",
                "tao_reserve": 10**15,
                "alpha_reserve": 2 * 10**15,
                "neurons": neurons,
                "hyperparameters": {
                    "tempo": scenario.tempo,
                    "commit_reveal_weights_enabled": False,
                    "weights_set_rate_limit": 0,
                    "min_allowed_weights": 1,
                    "max_allowed_uids": MAX_NEURONS,
                    "activity_cutoff_factor_milli": 50_000,
                },
            }
        ],
    }
    return EconomyScenario(scenario.file.stem, spec, scenario.epochs * scenario.tempo, (), ((scenario.file.stem, {}),))
