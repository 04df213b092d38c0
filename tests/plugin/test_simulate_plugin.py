"""`yumad simulate FILE.py`: scoring against bad miners, paid by the chain's own rules (AXON R37)."""

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner
from yumad.consensus.types import YumadError
from yumad.daemon.main import build_app
from yumad.daemon.simulate.plugin_runs import PluginScenario, run_plugin_scenario

ECHO = Path(__file__).with_name("plugins") / "echo.py"


def test_r37_incentive_follows_the_scores_and_bad_miners_earn_nothing() -> None:
    outcome = run_plugin_scenario(
        PluginScenario(
            ECHO, miners=7, validators=2, epochs=8, adversaries={"late": 1, "garbage": 1, "flood": 1},
            variants={"lazy": 1},
        )
    )  # fmt: skip
    row = {neuron.name: neuron for neuron in outcome.neurons}
    assert outcome.failed_rounds == 0, outcome.log
    assert [call for call in outcome.chain.calls if call["result"] != "ok"] == []
    for name in ("late/0", "garbage/0", "lazy/0"):
        assert (row[name].score, row[name].incentive, row[name].emission) == (0.0, 0.0, 0)
    honest = [row[f"miner/{number}"].incentive for number in range(3)] + [row["flood/0"].incentive]
    assert honest == pytest.approx([0.25] * 4, abs=1e-3)
    assert row["validator/0"].dividends == pytest.approx(0.5, abs=1e-3)
    assert sum(neuron.emission for neuron in outcome.neurons) > 0
    assert row["miner/0"].refused > 0  # what the flooding neuron tried
    assert outcome.chain.market[-1].price > 0


def test_r37_same_seed_gives_the_same_table() -> None:
    first, second = (
        run_plugin_scenario(PluginScenario(ECHO, miners=24, validators=2, epochs=3, seed=3)).neurons for _ in range(2)
    )
    assert first == second


def test_r37_hundred_epochs_of_64_neurons_take_less_than_30_seconds() -> None:
    began = time.monotonic()
    outcome = run_plugin_scenario(
        PluginScenario(
            ECHO, miners=60, validators=4, epochs=100,
            adversaries={"copy": 2, "late": 2, "garbage": 2, "flood": 1},
        )
    )  # fmt: skip
    assert time.monotonic() - began < 30.0
    assert len(outcome.neurons) == 64
    assert max(row.epoch for row in outcome.chain.epochs) + 1 >= 100


def test_r37_command_prints_the_table_and_json() -> None:
    command = ["simulate", str(ECHO), "--miners", "4", "--validators", "1", "--epochs", "2", "--adversary", "late=1"]
    shown = CliRunner().invoke(build_app(), command)
    assert shown.exit_code == 0, shown.output
    assert "incentive" in shown.output and "late/0" in shown.output
    document = json.loads(CliRunner().invoke(build_app(), [*command, "--json"]).stdout)
    assert document["epochs"] == 2 and len(document["neurons"]) == 5
    assert document["failed_calls"] == []


def test_options_of_plugins_are_refused_for_a_scenario_file(repository_root: Path) -> None:
    scenario = repository_root / "docs" / "scenarios" / "newcomer.toml"
    refused = CliRunner().invoke(build_app(), ["simulate", str(scenario), "--epochs", "3", "--adversary", "copy=1"])
    assert refused.exit_code != 0
    assert "--epochs" in refused.output and "--adversary" in refused.output


@pytest.mark.parametrize(
    "scenario",
    [
        PluginScenario(ECHO, miners=1, adversaries={"copy": 2}),
        PluginScenario(ECHO, miners=4, adversaries={"greedy": 1}),
        PluginScenario(ECHO, miners=4, variants={"slow": 1}),
        PluginScenario(ECHO, miners=500),
        PluginScenario(ECHO, epochs=0),
        PluginScenario(ECHO.with_name("missing.py")),
    ],
)
def test_scenario_that_cannot_be_is_refused_with_a_remedy(scenario: PluginScenario) -> None:
    with pytest.raises(YumadError) as caught:
        run_plugin_scenario(scenario)
    assert caught.value.remedy
