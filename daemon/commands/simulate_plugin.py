"""`yumad simulate FILE.py`: what of a plugin's simulation is asked and shown (AXON R37)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .grid import print_grid, short_amount
from .output import print_json, usage_error

if TYPE_CHECKING:
    from ..simulate.plugin_runs import PluginOutcome
    from ..simulate.results import VariantResult


def simulate_plugin(
    file: Path, numbers: Mapping[str, int | None], adversary: str, variant: str, as_json: bool
) -> tuple[str, list[VariantResult]]:
    """Simulate a plugin and print the incentive table; gives the chain's results for files. Options that are None
    keep their defaults."""
    from ..simulate.plugin_runs import PluginScenario, run_plugin_scenario

    scenario = PluginScenario(
        file,
        adversaries=counts(adversary, "--adversary"),
        variants=counts(variant, "--variant"),
        **{name: number for name, number in numbers.items() if number is not None},
    )
    outcome = run_plugin_scenario(scenario)
    if as_json:
        print_json(_document(scenario.epochs, outcome))
    else:
        _print(scenario.epochs, outcome)
    return outcome.chain.name, [outcome.chain]


def counts(text: str, option: str) -> dict[str, int]:
    """`copy=2,late=1` as numbers by name. Raises a usage error."""
    found: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = part.partition("=")
        if not number.isdecimal() or not name or name in found:
            raise usage_error(f"{option} {part!r}", remedy=f"write {option} copy=2,late=1")
        found[name] = int(number)
    return found


def _document(epochs: int, outcome: PluginOutcome) -> dict[str, Any]:
    rows = [{**asdict(neuron), "emission": str(neuron.emission)} for neuron in outcome.neurons]
    market = outcome.chain.market[-1]
    return {
        "name": outcome.chain.name,
        "epochs": epochs,
        "neurons": rows,
        "failed_rounds": outcome.failed_rounds,
        "log": outcome.log,
        "seconds": outcome.seconds,
        "price_rao": str(market.price),
        "failed_calls": [call for call in outcome.chain.calls if call["result"] != "ok"],
    }


def _print(epochs: int, outcome: PluginOutcome) -> None:
    print_grid(
        f"{outcome.chain.name}: after {epochs} epochs, {outcome.seconds / 3600:.1f} h of virtual time",
        ("uid", "neuron", "kind", "score", "incentive", "dividends", "emission", "refused"),
        [
            (
                neuron.uid,
                neuron.name,
                neuron.kind,
                "-" if neuron.score is None else f"{neuron.score:.4f}",
                f"{neuron.incentive:.5f}",
                f"{neuron.dividends:.5f}",
                short_amount(neuron.emission, ""),
                neuron.refused,
            )
            for neuron in outcome.neurons
        ],
    )
    market = outcome.chain.market[-1]
    print(f"price {short_amount(market.price)}, moving price {short_amount(market.moving_price)}")
    if outcome.failed_rounds:
        print(f"{outcome.failed_rounds} rounds failed in the validator's code; the first lines of its log:")
        for line in outcome.log[:3]:
            print(line)
    for call in outcome.chain.calls:
        if call["result"] != "ok":
            print(f"block {call['block']}: {call['call']} of {call['signer']} failed: {call['result']}")
