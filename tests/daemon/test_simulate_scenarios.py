"""`yumad simulate` reproduces every record of data/scenarios within the tolerances of its SCHEMA.

The two smaller files are also in tests/data/scenarios, so that a clone without the shared folder tests them too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from published_scenarios import (
    U16,
    equal_graph_of_512,
    from_bonds_trace,
    from_outdated_trace,
    from_simulator,
    from_yuma3,
)
from yumad.daemon.simulate.epoch_runs import run_epochs
from yumad.daemon.simulate.results import EpochRow, VariantResult, share
from yumad.daemon.simulate.scenario import EpochScenario
from yumad.daemon.simulate.scenario_file import scenario_from_document

COPIES = ("subtensor_epoch_traces.json", "subtensor_yuma3_scenarios.json")


def load(folder: Path, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / name).read_text())
    return document


@pytest.fixture(scope="module")
def copies(repository_root: Path) -> Path:
    return repository_root / "tests/data/scenarios"


@pytest.fixture(scope="module")
def published(shared_folder: Path) -> Path:
    return shared_folder / "data/scenarios"


def run(document: dict[str, Any]) -> dict[str, VariantResult]:
    """Results by variant, through JSON as a file would be."""
    scenario = scenario_from_document(json.loads(json.dumps(document)))
    assert isinstance(scenario, EpochScenario)
    return {result.name: result for result in run_epochs(scenario)}


def rows_at(result: VariantResult, epoch: int) -> list[EpochRow]:
    return [row for row in result.epochs if row.epoch == epoch]


def column(result: VariantResult, epoch: int, name: str) -> list[float]:
    return [share(getattr(row, name)) for row in rows_at(result, epoch)]


def bonds_at(result: VariantResult, epoch: int) -> dict[tuple[int, int], float]:
    return {(row.validator, row.target): share(row.bond) for row in result.bonds if row.epoch == epoch}


def farthest(got: Sequence[float], wanted: Sequence[float]) -> float:
    return max((abs(a - b) for a, b in zip(got, wanted, strict=True)), default=0.0)


def within(error: float, stated: str) -> bool:
    """Whether an error, rounded to as many digits as SCHEMA states, is within it (5.616e-5 is stated as 5.6e-5)."""
    decimals = len(stated.partition("e")[0].partition(".")[2])
    return float(f"{error:.{decimals}e}") <= float(stated)


def test_the_published_folder_holds_the_files_tested_here(published: Path) -> None:
    assert sorted(path.name for path in published.iterdir()) == [*COPIES, "yumasim_cases_odd.json"]


@pytest.mark.parametrize("name", COPIES)
def test_copy_equals_the_published_file(published: Path, copies: Path, name: str) -> None:
    assert load(copies, name) == load(published, name)


def test_every_part_of_the_published_files_is_tested_here(copies: Path, published: Path) -> None:
    """A part that a new version of the data adds would otherwise be passed over in silence."""
    described = {"source", "licence", "params", "tolerance"}
    traces, yuma3 = (load(copies, name) for name in COPIES)
    simulator = load(published, "yumasim_cases_odd.json")
    assert traces.keys() - described == {"test_bonds_stored_u16", "closed_form_512", "traces"}
    assert yuma3.keys() - described == {"scenarios"}
    assert simulator.keys() - described == {"cases"}
    assert (len(traces["traces"]), len(yuma3["scenarios"]), len(simulator["cases"])) == (7, 5, 11)
    assert not any(case["reset"]["flag"] for case in simulator["cases"])


def test_yuma3_scenarios_of_the_original(copies: Path) -> None:
    records = 0
    for scenario in load(copies, "subtensor_yuma3_scenarios.json")["scenarios"]:
        (result,) = run(from_yuma3(scenario)).values()
        for expected in scenario["expected"]:
            epoch, where = expected["epoch"], f"{scenario['name']}, epoch {expected['epoch']}"
            assert within(farthest(column(result, epoch, "dividends"), expected["dividends"]), "5.6e-5"), where
            bonds = bonds_at(result, epoch)
            for validator, published in zip(scenario["validators"], expected["bonds"], strict=True):
                got = [bonds.get((validator, server), 0.0) for server in scenario["servers"]]
                assert within(farthest(got, published), "1.0e-4"), where
            records += 1
    assert records == 5 * 6


def test_reference_simulator_cases(published: Path) -> None:
    compared = 0
    for case in load(published, "yumasim_cases_odd.json")["cases"]:
        if case["winner_takes_all"]:
            continue  # the test after this one
        results = run(from_simulator(case))
        for name, expected in case["expected"].items():
            count = len(case["validators"])
            for epoch in range(case["num_epochs"]):
                where = f"{case['name']}, {name}, epoch {epoch}"
                dividends = column(results[name], epoch, "dividends")[:count]
                assert within(farthest(dividends, expected["dividends"][epoch]), "5e-6"), where
                incentive = column(results[name], epoch, "incentive")[count:]
                assert within(farthest(incentive, expected["incentive"][epoch]), "8e-6"), where
                assert within(farthest_bond(results[name], count, epoch, expected), bond_tolerance(name)), where
                compared += 1
    assert compared == 10 * 4 * 40


def farthest_bond(result: VariantResult, validators: int, epoch: int, expected: dict[str, Any]) -> float:
    bonds = bonds_at(result, epoch)
    return max(
        farthest([bonds.get((validator, validators + server), 0.0) for server in range(len(wanted))], wanted)
        for validator, wanted in enumerate(expected["bonds"][epoch])
    )


def bond_tolerance(variant: str) -> str:
    return "1.1e-5" if variant == "yuma1_bp1" else "1e-6"


def test_reference_simulator_case_in_which_the_winner_takes_all(published: Path) -> None:
    """The chain has no such rule, so incentive is compared after giving all of it to our top servers.

    It does not reach the bonds where neither clipping nor the liquid rate depend on it; these are compared as they are.
    """
    compared = 0
    for case in load(published, "yumasim_cases_odd.json")["cases"]:
        if not case["winner_takes_all"]:
            continue
        results, count = run(from_simulator(case)), len(case["validators"])
        for name, expected in case["expected"].items():
            for epoch in range(case["num_epochs"]):
                where = f"{case['name']}, {name}, epoch {epoch}"
                incentive = column(results[name], epoch, "incentive")[count:]
                tops = [value > max(incentive) - 8e-6 for value in incentive]
                winners = [top / sum(tops) for top in tops]
                assert within(farthest(winners, expected["incentive"][epoch]), "8e-6"), where
                if name in ("yuma1_bp0", "yuma3"):
                    assert within(farthest_bond(results[name], count, epoch, expected), bond_tolerance(name)), where
                compared += 1
    assert compared == 4 * 40


def compare_trace(trace: dict[str, Any], results: dict[str, VariantResult], epoch: int, *, newcomer: int = -1) -> None:
    """Every field of a trace's expectation; bonds on `newcomer` are left out (see the test that names one)."""
    classic, expected = results["classic"], dict(trace["expected"])
    rows = rows_at(classic, epoch)
    where = f"{trace['test']}, epoch {epoch}"
    for name in ("consensus", "validator_trust", "prerank", "rank", "trust", "incentive", "dividends"):
        assert farthest(column(classic, epoch, name), expected.pop(name)) <= 1e-6, (where, name)
    paid = [row.emission for row in rows]
    assert farthest(paid, expected.pop("emission_rao")) <= 1, where
    assert farthest([amount / 10**9 for amount in paid], expected.pop("normalised_emission")) <= 1e-6, where
    for name, variant in (("ema_bonds_normalised_sparse", "classic"), ("delta_bonds_normalised_sparse", "delta")):
        wanted = {(v, t): bond for v, entries in enumerate(expected.pop(name)) for t, bond in entries if t != newcomer}
        got = {place: bond for place, bond in bonds_at(results[variant], epoch).items() if bond or place in wanted}
        assert sorted(got) == sorted(wanted), (where, name)
        assert farthest([got[place] for place in wanted], list(wanted.values())) <= 1e-6, (where, name)
    assert not expected, f"fields not compared: {list(expected)}"


def test_epoch_traces_of_bonds(copies: Path) -> None:
    document = load(copies, "subtensor_epoch_traces.json")
    assert [trace["test"] for trace in document["traces"]] == ["test_bonds"] * 5 + ["test_outdated_weights"] * 2
    results = run(from_bonds_trace(document))
    for epoch, trace in enumerate(document["traces"][:5]):
        compare_trace(trace, results, epoch)
    stored = document["test_bonds_stored_u16"]["expected_rows"]
    assert len(stored) == 7
    for epoch, (server, *units) in enumerate(stored):
        bonds = bonds_at(results["classic"], epoch)
        column_of = [bonds.get((validator, server), 0.0) for validator in range(4)]
        largest = max(column_of)
        assert farthest([bond * U16 / largest for bond in column_of], units) <= 1.0


def test_epoch_traces_of_outdated_weights(copies: Path) -> None:
    """The trace is older than the rule that drops a newcomer's bonds whole (YUMA 3.11): those are not compared."""
    traces = load(copies, "subtensor_epoch_traces.json")["traces"][5:]
    results = run(from_outdated_trace(traces))
    compare_trace(traces[0], results, 0)
    compare_trace(traces[1], results, 1, newcomer=3)
    assert not [place for place, bond in bonds_at(results["classic"], 1).items() if place[1] == 3 and bond]


def test_graph_of_512_uids(copies: Path) -> None:
    expected = load(copies, "subtensor_epoch_traces.json")["closed_form_512"]
    result = run(equal_graph_of_512())["classic"]
    rows = rows_at(result, 2)
    for name, uids in (("validator", range(64)), ("server", range(64, 512))):
        wanted = expected[name]
        for uid in uids:
            for field in ("dividends", "consensus", "incentive"):
                assert getattr(rows[uid], field) * U16 >> 32 == wanted[f"{field}_u16"], (name, uid, field)
            assert rows[uid].emission == wanted["emission_rao"]
    bonds = bonds_at(result, 2)
    largest = max(bonds.values())
    assert expected["validator"]["bond_to_server_u16"] == U16
    assert len(bonds) == 64 * 448 and min(bonds.values()) == largest
