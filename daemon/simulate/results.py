"""What a simulation gives: series over time, for tables, files and plots."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

ONE: Final = 1 << 32
"""One in raw Q32."""


@dataclass(frozen=True, slots=True)
class EpochRow:
    """One neuron at one epoch; shares are raw Q32."""

    epoch: int
    block: int
    netuid: int
    uid: int
    stake: int
    incentive: int
    dividends: int
    consensus: int
    validator_trust: int
    emission: int
    """Units of alpha; without the owner's cut and what is withheld from an owner's keys."""
    prerank: int = 0
    """Stake-weighted weights received, before clipping; `epochs` mode only, as rank."""
    rank: int = 0
    """The same after clipping."""

    @property
    def trust(self) -> int:
        """Rank over prerank: how much of what was given was left by the clipping."""
        return self.rank * ONE // self.prerank if self.prerank else 0


@dataclass(frozen=True, slots=True)
class BondRow:
    """One bond after an epoch, raw Q32: absolute under Yuma3, a share of its target under Yuma2."""

    epoch: int
    netuid: int
    validator: int
    target: int
    bond: int


@dataclass(frozen=True, slots=True)
class MarketRow:
    """One subnet after one block of an economy."""

    block: int
    netuid: int
    price: int
    """Rao for one alpha."""
    moving_price: int
    tao_reserve: int
    alpha_reserve: int
    alpha_out: int
    tao_emission: int
    """Injected and spent on chain buys in this block."""


@dataclass(slots=True)
class VariantResult:
    """One variant's run."""

    name: str
    neurons: dict[tuple[int, int], str] = field(default_factory=dict)
    """(netuid, uid) -> name; in an economy that of the uid's latest hotkey."""
    epochs: list[EpochRow] = field(default_factory=list)
    bonds: list[BondRow] = field(default_factory=list)
    market: list[MarketRow] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    """What came of each call."""

    def last_epoch(self) -> list[EpochRow]:
        """Rows of each subnet's last epoch."""
        newest: dict[int, int] = {}
        for row in self.epochs:
            newest[row.netuid] = max(newest.get(row.netuid, 0), row.epoch)
        return [row for row in self.epochs if row.epoch == newest[row.netuid]]


def share(raw: int) -> float:
    """A raw Q32 share as a number for people."""
    return raw / ONE


def write_csv(results: list[VariantResult], folder: Path) -> list[Path]:
    """Write `epochs.csv`, `bonds.csv` and, for an economy, `market.csv`; gives the files."""
    tables: dict[str, tuple[list[str], Iterator[list[Any]]]] = {
        "epochs": (
            ["variant", "epoch", "block", "netuid", "uid", "neuron", "stake", "incentive", "dividends", "consensus",
             "validator_trust", "emission", "prerank", "rank", "trust"],
            _epoch_lines(results),
        ),
        "bonds": (["variant", "epoch", "netuid", "validator", "target", "bond"], _bond_lines(results)),
    }  # fmt: skip
    if any(result.market for result in results):
        tables["market"] = (
            ["variant", "block", "netuid", "price_rao", "moving_price_rao", "tao_reserve", "alpha_reserve", "alpha_out",
             "tao_emission"],
            _market_lines(results),
        )  # fmt: skip
    files = []
    for name, (head, lines) in tables.items():
        path = folder / f"{name}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(head)
            writer.writerows(lines)
        files.append(path)
    return files


def _epoch_lines(results: list[VariantResult]) -> Iterator[list[Any]]:
    for result in results:
        for row in result.epochs:
            shares = [f"{share(raw):.9f}" for raw in (row.incentive, row.dividends, row.consensus, row.validator_trust)]
            name = result.neurons.get((row.netuid, row.uid), "")
            yield [
                result.name, row.epoch, row.block, row.netuid, row.uid, name, row.stake, *shares, row.emission,
                *(f"{share(raw):.9f}" for raw in (row.prerank, row.rank, row.trust)),
            ]  # fmt: skip


def _bond_lines(results: list[VariantResult]) -> Iterator[list[Any]]:
    for result in results:
        for row in result.bonds:
            yield [result.name, row.epoch, row.netuid, row.validator, row.target, f"{share(row.bond):.9f}"]


def _market_lines(results: list[VariantResult]) -> Iterator[list[Any]]:
    for result in results:
        for row in result.market:
            yield [
                result.name,
                row.block,
                row.netuid,
                row.price,
                row.moving_price,
                row.tao_reserve,
                row.alpha_reserve,
                row.alpha_out,
                row.tao_emission,
            ]
