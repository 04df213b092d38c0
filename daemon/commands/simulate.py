"""`yumad simulate FILE`: try an incentive mechanism without a network (DESIGN 1, "researcher")."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .grid import print_grid, short_amount
from .options import JsonOption
from .output import print_json, reporting, usage_error

if TYPE_CHECKING:
    from ..simulate.results import VariantResult


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(simulate)


def simulate(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Scenario (.toml, .json) or plugin (.py); see docs/simulate.md.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for CSV files and PNG plots; made if need be.")
    ] = None,
    plots: Annotated[bool, typer.Option("--plots/--no-plots", help="Draw the plots.")] = True,
    miners: Annotated[int | None, typer.Option(help="Plugin: neurons that serve, bad ones included (16).")] = None,
    validators: Annotated[int | None, typer.Option(help="Plugin: validators (4).")] = None,
    epochs: Annotated[int | None, typer.Option(help="Plugin: Yuma epochs (20).")] = None,
    rounds: Annotated[int | None, typer.Option(help="Plugin: rounds of each validator in an epoch (1).")] = None,
    tempo: Annotated[int | None, typer.Option(help="Plugin: blocks between epochs (10).")] = None,
    seed: Annotated[int | None, typer.Option(help="Plugin: of all that is random (0).")] = None,
    adversary: Annotated[str, typer.Option(help="Plugin: such as copy=2,late=2,garbage=2,flood=1.")] = "",
    variant: Annotated[str, typer.Option(help="Plugin: miners of its own variants, such as lazy=3.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Run a scenario through the chain's own rules (Yuma variants, or an economy), or a plugin's miners and validators
    against each other."""
    numbers = {
        "miners": miners, "validators": validators, "epochs": epochs, "rounds": rounds, "tempo": tempo, "seed": seed,
    }  # fmt: skip
    with reporting(as_json):
        from ..simulate.results import write_csv

        if file.suffix == ".py":
            from .simulate_plugin import simulate_plugin

            name, results = simulate_plugin(file, numbers, adversary, variant, as_json)
        else:
            given = [f"--{option}" for option, number in numbers.items() if number is not None]
            if given or adversary or variant:
                given += ["--adversary"] * bool(adversary) + ["--variant"] * bool(variant)
                raise usage_error(f"{', '.join(given)}: {file} is no plugin", remedy="write it into the scenario")
            name, results = _scenario_results(file)
        files: list[Path] = []
        if out is not None:
            try:
                out.mkdir(parents=True, exist_ok=True)
                files = write_csv(results, out)
                if plots:
                    from ..simulate.plots import write_plots

                    files += write_plots(results, out)
            except OSError as error:
                raise usage_error(f"{out}: {error.strerror}", remedy="give a folder that can be written") from None
        if file.suffix == ".py":
            for path in () if as_json else files:
                print(f"wrote {path}")
            return
        if as_json:
            variants = [_document(result) for result in results]
            print_json({"name": name, "variants": variants, "files": [str(path) for path in files]})
            return
        for result in results:
            _print(name, result)
        for path in files:
            print(f"wrote {path}")


def _scenario_results(file: Path) -> tuple[str, list[VariantResult]]:
    from ..simulate.economy_runs import run_economy
    from ..simulate.epoch_runs import run_epochs
    from ..simulate.scenario import EpochScenario
    from ..simulate.scenario_file import read_scenario

    scenario = read_scenario(file)
    return scenario.name, run_epochs(scenario) if isinstance(scenario, EpochScenario) else run_economy(scenario)


def _document(result: VariantResult) -> dict[str, Any]:
    """Everything of one variant; shares as numbers, amounts as strings of units."""
    from ..simulate.results import share

    return {
        "variant": result.name,
        "neurons": {f"{netuid}/{uid}": name for (netuid, uid), name in result.neurons.items()},
        "calls": result.calls,
        "epochs": [
            {
                "epoch": row.epoch,
                "block": row.block,
                "netuid": row.netuid,
                "uid": row.uid,
                "stake": str(row.stake),
                "incentive": share(row.incentive),
                "dividends": share(row.dividends),
                "consensus": share(row.consensus),
                "validator_trust": share(row.validator_trust),
                "emission": str(row.emission),
                "prerank": share(row.prerank),
                "rank": share(row.rank),
                "trust": share(row.trust),
            }
            for row in result.epochs
        ],
        "bonds": [
            {"epoch": b.epoch, "netuid": b.netuid, "validator": b.validator, "target": b.target, "bond": share(b.bond)}
            for b in result.bonds
        ],
        "market": [
            {
                "block": row.block,
                "netuid": row.netuid,
                "price_rao": str(row.price),
                "moving_price_rao": str(row.moving_price),
                "tao_reserve": str(row.tao_reserve),
                "alpha_reserve": str(row.alpha_reserve),
                "alpha_out": str(row.alpha_out),
                "tao_emission": str(row.tao_emission),
            }
            for row in result.market
        ],
    }


def _print(name: str, result: VariantResult) -> None:
    """The last epoch of every subnet, the market at the end, and calls that failed."""
    from ..simulate.results import share

    rows = result.last_epoch()
    epoch = max((row.epoch for row in rows), default=0)
    print_grid(
        f"{name} · {result.name}: after epoch {epoch}",
        ("neuron", "stake", "consensus", "incentive", "dividends", "vtrust", "emission"),
        [
            (
                result.neurons.get((row.netuid, row.uid), row.uid),
                short_amount(row.stake, ""),
                *(f"{share(raw):.5f}" for raw in (row.consensus, row.incentive, row.dividends, row.validator_trust)),
                short_amount(row.emission, ""),
            )
            for row in rows
        ],
    )
    if result.market:
        last = result.market[-1].block
        print_grid(
            f"market at block {last}",
            ("netuid", "price", "moving", "TAO in pool", "alpha in pool", "alpha out"),
            [
                (
                    row.netuid,
                    short_amount(row.price),
                    short_amount(row.moving_price),
                    short_amount(row.tao_reserve),
                    short_amount(row.alpha_reserve, "α"),
                    short_amount(row.alpha_out, "α"),
                )
                for row in result.market
                if row.block == last
            ],
        )
    for call in result.calls:
        if call["result"] != "ok":
            print(f"block {call['block']}: {call['call']} of {call['signer']} failed: {call['result']}")
    print()
