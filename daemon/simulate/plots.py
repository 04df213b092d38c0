"""PNG plots of a simulation: one figure for each quantity, a panel for each variant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from .results import EpochRow, VariantResult, share

SIZE: Final = (6.0, 3.6)
"""Inches of one panel."""

MOST_LINES: Final = 16
"""Lines of one panel: those that end highest."""


UNITS: Final = {"emission": "(alpha)"}
MARKET_UNITS: Final = {
    "price": "(TAO for 1 alpha)",
    "moving_price": "(TAO for 1 alpha)",
    "tao_emission": "(TAO a block)",
}
"""Of the quantities that have a value in every block."""


def write_plots(results: list[VariantResult], folder: Path) -> list[Path]:
    """Write the plots; gives the files."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    quantities: dict[str, Callable[[VariantResult], dict[str, list[tuple[int, float]]]]] = {
        "incentive": lambda result: _neuron_series(result, lambda row: share(row.incentive)),
        "dividends": lambda result: _neuron_series(result, lambda row: share(row.dividends)),
        "bonds": _bond_series,
        "emission": lambda result: _neuron_series(result, lambda row: row.emission / 1e9),
    }
    if any(result.market for result in results):
        quantities |= {
            "price": lambda result: _market_series(result, "price", 1e9),
            "moving_price": lambda result: _market_series(result, "moving_price", 1e9),
            "tao_emission": lambda result: _market_series(result, "tao_emission", 1e9),
        }
    files = []
    for name, series_of in quantities.items():
        figure = Figure(figsize=(SIZE[0] * len(results), SIZE[1]), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, len(results), squeeze=False, sharey=True)[0]
        for panel, result in zip(panels, results, strict=True):
            _draw(panel, result.name, series_of(result))
            panel.set_xlabel("block" if name in MARKET_UNITS else "epoch")
        panels[0].set_ylabel(f"{name.replace('_', ' ')} {MARKET_UNITS.get(name, UNITS.get(name, ''))}".rstrip())
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=110, metadata={"Software": None})
        files.append(path)
    return files


def _draw(panel: Any, title: str, series: dict[str, list[tuple[int, float]]]) -> None:
    highest = sorted(series, key=lambda label: -series[label][-1][1])[:MOST_LINES]
    for label, points in series.items():
        if label in highest:
            panel.plot([x for x, _ in points], [y for _, y in points], label=label, linewidth=1.2)
    panel.set_title(title)
    panel.grid(alpha=0.3)
    if highest:
        panel.legend(fontsize="x-small")


def _neuron_series(result: VariantResult, value: Callable[[EpochRow], float]) -> dict[str, list[tuple[int, float]]]:
    series: dict[str, list[tuple[int, float]]] = {}
    for row in result.epochs:
        name = result.neurons.get((row.netuid, row.uid), f"{row.netuid}/{row.uid}")
        series.setdefault(name, []).append((row.epoch, value(row)))
    return {name: points for name, points in series.items() if any(y for _, y in points)}


def _bond_series(result: VariantResult) -> dict[str, list[tuple[int, float]]]:
    series: dict[str, list[tuple[int, float]]] = {}
    for row in result.bonds:
        names = [result.neurons.get((row.netuid, uid), str(uid)) for uid in (row.validator, row.target)]
        series.setdefault(" → ".join(names), []).append((row.epoch, share(row.bond)))
    return series


def _market_series(result: VariantResult, name: str, scale: float) -> dict[str, list[tuple[int, float]]]:
    series: dict[str, list[tuple[int, float]]] = {}
    for row in result.market:
        series.setdefault(f"subnet {row.netuid}", []).append((row.block, getattr(row, name) / scale))
    return series
