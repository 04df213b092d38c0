"""Scenarios published by the original's own tests, several epochs long (data/scenarios)."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from epoch_cases import epoch_case
from yumad.consensus.rules.v1.yuma.epoch import run_epoch
from yumad.consensus.rules.v1.yuma.sparse_rows import rows_from_lists

U16 = 65535


def scenarios(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "data/scenarios/subtensor_yuma3_scenarios.json").read_text())
    return document


def test_yuma3_scenarios_give_the_published_dividends_and_bonds(shared_folder: Path) -> None:
    document = scenarios(shared_folder)
    for scenario in document["scenarios"]:
        servers, stakes = scenario["servers"], scenario["inputs"]["stakes"]
        count, bonds = scenario["n"], rows_from_lists([], scenario["n"])
        pairs = zip(scenario["inputs"]["epochs"], scenario["expected"], strict=True)
        for step, (given, expected) in enumerate(pairs):
            # Explicit zeros stay in the row: they let an old bond decay instead of erasing it.
            rows = [[(server, w) for server, w in zip(servers, row, strict=True)] for row in given["weights_u16"]]
            case = epoch_case(
                stakes,
                rows,
                permits=[uid in scenario["validators"] for uid in range(count)],
                last_update=[step + 2] * count,
                registration=[0] * count,
                block=step + 3,
                tempo=1,
                last_step=step + 2 if step else 0,
                yuma3=True,
                liquid_alpha=scenario["inputs"]["liquid_alpha"],
                alpha_low=6553,
                alpha_high=19660,
                bonds_penalty=0,
                bonds_moving_average=975_000,
                max_allowed_validators=3,
            )
            output = run_epoch(replace(case, bonds=bonds))
            bonds = output.bonds
            where = f"{scenario['name']}, epoch {given['epoch']}"
            dividends = [parts / U16 for parts in output.dividends.tolist()]
            assert dividends == pytest.approx(expected["dividends"], abs=1e-3), where
            stored = [dict(map(tuple, row)) for row in bonds.to_lists()[: len(expected["bonds"])]]
            for row, published in zip(stored, expected["bonds"], strict=True):
                assert [row.get(server, 0) / U16 for server in servers] == pytest.approx(published, abs=1e-3), where


def test_graph_of_512_uids_gives_the_published_integers() -> None:
    """64 equal validators weigh 448 servers equally for three epochs, classic bonds."""
    count, validators = 512, range(64)
    row = [(uid, 1) for uid in range(64, count)]
    bonds = rows_from_lists([], count)
    for step in range(3):
        case = epoch_case(
            [1 if uid in validators else 0 for uid in range(count)],
            [row if uid in validators else [] for uid in range(count)],
            permits=[uid in validators for uid in range(count)],
            last_update=[2] * count,
            registration=[0] * count,
            block=step + 3,
            tempo=1,
            last_step=0,
            max_allowed_validators=count,
        )
        output = run_epoch(replace(case, bonds=bonds))
        bonds = output.bonds
    servers = slice(64, None)
    for column, validator, server in (
        (output.dividends, 1023, 0),
        (output.emission, 7812500, 1116071),
        (output.consensus, 0, 146),
        (output.incentive, 0, 146),
    ):
        assert column[:64].tolist() == [validator] * 64
        assert column[servers].tolist() == [server] * 448
    assert bonds.to_lists()[0] == [[uid, U16] for uid in range(64, count)]
