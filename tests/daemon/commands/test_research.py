"""`yumad vectors` and `yumad epoch` as a researcher meets them."""

import copy
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result
from yumad.daemon.commands.research import register

Body = dict[str, Any]


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    application = typer.Typer(rich_markup_mode=None)
    register(application)
    return application


def run(app: typer.Typer, *arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin)


@pytest.fixture(scope="module")
def vectors(repository_root: Path) -> str:
    return str(repository_root / "tests/vectors/epoch_small.jsonl.gz")


@pytest.fixture(scope="module")
def body(vectors: str) -> Body:
    with gzip.open(vectors, "rt") as lines:
        first: Body = json.loads(lines.readline())
        return first


def written(tmp_path: Path, body: Body) -> str:
    path = tmp_path / "case.jsonl"
    path.write_text(json.dumps(body) + "\n")
    return str(path)


def spoiled(body: Body) -> Body:
    result = copy.deepcopy(body)
    result["out"]["dividends"][0] += 1
    return result


def test_vectors_that_match_are_counted_and_exit_zero(app: typer.Typer, vectors: str) -> None:
    result = run(app, "vectors", vectors)
    assert (result.exit_code, result.stdout) == (0, f"{vectors}: 58 checked, 58 matched\n")


def test_vectors_json_has_one_object_for_each_file(app: typer.Typer, vectors: str) -> None:
    result = run(app, "vectors", vectors, vectors, "--json")
    entry = {"file": vectors, "checked": 58, "matched": 58, "first_difference": None}
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"files": [entry, entry]})


def test_vectors_that_differ_name_the_field_and_exit_one(app: typer.Typer, body: Body, tmp_path: Path) -> None:
    path = written(tmp_path, spoiled(body))
    expected = body["out"]["dividends"][0]
    result = run(app, "vectors", path)
    assert result.exit_code == 1
    difference = f"dividends[0]: record {body['id']}: expected {expected + 1}, got {expected}"
    assert f"first difference in {difference}" in result.stdout
    document = json.loads(run(app, "vectors", path, "--json").stdout)
    assert document["files"][0]["first_difference"]["field"] == "dividends"


def test_vectors_of_unknown_kind_exit_one_with_the_known_kinds(app: typer.Typer, tmp_path: Path) -> None:
    path = written(tmp_path, {"id": "a", "kind": "nonsense", "in": {}, "out": []})
    result = run(app, "vectors", path, "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    error = json.loads(result.stderr)["error"]
    assert error["code"] == "unknown_kind"
    assert "line 1: kind 'nonsense' is not known" in error["message"]
    assert "alpha_sigmoid" in error["remedy"]


@pytest.mark.parametrize("command", ["vectors", "epoch"])
def test_missing_file_exits_two_with_one_clear_line(app: typer.Typer, command: str) -> None:
    result = run(app, command, "nowhere.jsonl")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("yumad: nowhere.jsonl cannot be read: No such file or directory\n")


def test_epoch_table_shows_every_uid(app: typer.Typer, vectors: str, body: Body) -> None:
    result = run(app, "epoch", vectors, "--id", body["id"])
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[0].startswith(f"{body['id']}: {body['in']['n']} uids at block {body['in']['current_block']}")
    assert lines[1].split() == [
        "uid", "stake", "active", "permit", "consensus", "incentive", "dividends", "vtrust", "emission",
    ]  # fmt: skip
    assert [int(line.split()[0]) for line in lines[2:]] == list(range(body["in"]["n"]))
    assert [int(line.split()[-1]) for line in lines[2:]] == body["out"]["emission"]


def test_epoch_json_is_the_record_s_out(app: typer.Typer, vectors: str, body: Body) -> None:
    document = json.loads(run(app, "epoch", vectors, "--id", body["id"], "--json").stdout)
    assert document == {
        "id": body["id"],
        "block": body["in"]["current_block"],
        "match": True,
        "out": body["out"],
    }


def test_epoch_reads_standard_input_and_needs_no_expectation(app: typer.Typer, body: Body) -> None:
    case = {"in": body["in"]}
    result = run(app, "epoch", "-", "--json", stdin=json.dumps(case).encode())
    assert result.exit_code == 0
    assert json.loads(result.stdout)["match"] is None


def test_epoch_that_differs_from_its_record_exits_one(app: typer.Typer, body: Body, tmp_path: Path) -> None:
    result = run(app, "epoch", written(tmp_path, spoiled(body)))
    assert result.exit_code == 1
    assert "differs from the file in dividends" in result.stdout


def test_epoch_with_a_bad_field_exits_two_and_names_it(app: typer.Typer, body: Body, tmp_path: Path) -> None:
    path = written(tmp_path, {**body, "in": {**body["in"], "kappa": -1}})
    result = run(app, "epoch", path, "--json")
    assert result.exit_code == 2
    error = json.loads(result.stderr)["error"]
    assert error["code"] == "vector_file"
    assert "line 1: 'in.kappa': -1 is not an integer in 0..65535" in error["message"]
