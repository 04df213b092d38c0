"""`yumad simulate` as a subnet designer meets it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result
from yumad.daemon.main import build_app

SMALL = """
name = "small"
epochs = 3
[[neurons]]
name = "validator"
stake = 10
[[neurons]]
name = "miner"
[[weights]]
validator = "validator"
on = { miner = 1 }
[[variants]]
name = "Yuma2"
hyperparameters = { yuma3_on = false }
[[variants]]
name = "Yuma3"
hyperparameters = { yuma3_on = true }
"""

MARKET = """
name = "market"
mode = "economy"
blocks = 12
[chain.dev]
names = ["alice"]
funds = 1000_000_000_000
[[chain.subnets]]
netuid = 1
owner_hotkey = "dev:alice/hot"
owner_coldkey = "dev:alice"
tao_reserve = 1000_000_000_000
alpha_reserve = 20000_000_000_000
neurons = [{ hotkey = "dev:alice/hot", coldkey = "dev:alice", stake = 1000_000_000_000, permit = true }]
hyperparameters = { tempo = 10 }
[[calls]]
block = 2
signer = "alice"
call = "stake.add_stake"
args = { hotkey = "dev:nobody", netuid = 1, amount = "1tao" }
"""


def simulate(*arguments: object) -> Result:
    return CliRunner().invoke(build_app(), ["simulate", *map(str, arguments)])


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


@pytest.fixture
def market(tmp_path: Path) -> Path:
    path = tmp_path / "market.toml"
    path.write_text(MARKET)
    return path


def lines_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_tables_show_the_last_epoch_of_each_variant(small: Path) -> None:
    result = simulate(small)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[:4] == [
        "small · Yuma2: after epoch 2",
        "neuron       stake  consensus  incentive  dividends   vtrust  emission",
        "validator  10.0000    0.00000    0.00000    1.00000  1.00000    0.5000",
        "miner       0.0000    1.00000    1.00000    0.00000  0.00000    0.5000",
    ]
    assert "small · Yuma3: after epoch 2" in result.stdout


def test_tables_of_an_economy_show_the_market_and_calls_that_failed(market: Path) -> None:
    said = simulate(market).stdout
    assert "market at block 12" in said
    assert "block 2: stake.add_stake of alice failed: HotKeyAccountNotExists" in said


def test_json_is_one_document_with_everything(small: Path) -> None:
    document = json.loads(simulate(small, "--json").stdout)
    assert (document["name"], document["files"]) == ("small", [])
    assert [variant["variant"] for variant in document["variants"]] == ["Yuma2", "Yuma3"]
    first = document["variants"][0]
    assert [(row["epoch"], row["uid"]) for row in first["epochs"]] == [(e, u) for e in range(3) for u in range(2)]
    assert first["epochs"][1]["incentive"] == 1.0
    assert first["epochs"][1]["emission"] == "500000000"
    assert first["bonds"][0] == {"epoch": 0, "netuid": 0, "validator": 0, "target": 1, "bond": 1.0}


def test_json_of_an_economy_has_the_market_and_what_came_of_each_call(market: Path) -> None:
    (variant,) = json.loads(simulate(market, "--json").stdout)["variants"]
    assert variant["neurons"] == {"1/0": "1/0 alice/hot"}
    assert variant["calls"] == [
        {"block": 2, "signer": "alice", "call": "stake.add_stake", "result": "HotKeyAccountNotExists"}
    ]
    assert len(variant["market"]) == 12
    assert sorted(variant["market"][0]) == [
        "alpha_out", "alpha_reserve", "block", "moving_price_rao", "netuid", "price_rao", "tao_emission", "tao_reserve",
    ]  # fmt: skip


def test_out_writes_tables_and_plots(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "made" / "here"
    result = simulate(small, "--out", out)
    assert result.exit_code == 0
    names = ["bonds.csv", "bonds.png", "dividends.png", "emission.png", "epochs.csv", "incentive.png"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert all(f"wrote {out / name}" in result.stdout for name in names)
    assert all((out / name).read_bytes().startswith(b"\x89PNG") for name in names if name.endswith("png"))
    rows = lines_of(out / "epochs.csv")
    assert len(rows) == 2 * 3 * 2
    assert rows[1] == {
        "variant": "Yuma2", "epoch": "0", "block": "4", "netuid": "0", "uid": "1", "neuron": "miner", "stake": "0",
        "incentive": "1.000000000", "dividends": "0.000000000", "consensus": "1.000000000",
        "validator_trust": "0.000000000", "emission": "500000000", "prerank": "1.000000000", "rank": "1.000000000",
        "trust": "1.000000000",
    }  # fmt: skip
    assert len(lines_of(out / "bonds.csv")) == 2 * 3


def test_out_of_an_economy_writes_the_market_too(market: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert simulate(market, "--out", out).exit_code == 0
    assert {"price.png", "moving_price.png", "tao_emission.png", "market.csv"} < {path.name for path in out.iterdir()}
    assert [int(row["block"]) for row in lines_of(out / "market.csv")] == list(range(1, 13))


def test_without_plots_only_tables_are_written(small: Path, tmp_path: Path) -> None:
    assert simulate(small, "--out", tmp_path / "out", "--no-plots").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["bonds.csv", "epochs.csv"]


def test_same_scenario_writes_the_same_bytes_again(small: Path, tmp_path: Path) -> None:
    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        simulate(small, "--out", folder)
    first, second = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
    assert first == second


def test_out_that_is_a_file_exits_two(small: Path) -> None:
    result = simulate(small, "--out", small)
    assert result.exit_code == 2
    assert "give a folder that can be written" in result.stderr


def test_wrong_scenario_exits_two_with_place_and_remedy(tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(SMALL.replace("on = { miner", "on = { minor"))
    result = simulate(path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == ("yumad: weights[0].on: there is no neuron 'minor'\n       name one of validator, miner\n")


def test_wrong_scenario_with_json_gives_the_error_document(tmp_path: Path) -> None:
    result = simulate(tmp_path / "none.toml", "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    error = json.loads(result.stderr)["error"]
    assert (error["code"], error["remedy"]) == ("scenario", "give a file")


def test_help_imports_no_plotting_library(repository_root: Path) -> None:
    program = (
        "import sys; from yumad.daemon.main import build_app; build_app(); "
        "print([name for name in ('matplotlib', 'numpy', 'yumad.daemon.simulate') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"
