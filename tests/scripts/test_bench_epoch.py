"""The epoch benchmark prints the document it promises."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


def bench(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "scripts/bench_epoch.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def one_case(repository_root: Path, tmp_path: Path) -> Path:
    """The first shipped epoch record, in a file of its own."""
    import gzip

    with gzip.open(repository_root / "tests/vectors/epoch_small.jsonl.gz", "rt") as lines:
        (tmp_path / "one.jsonl").write_text(lines.readline())
    return tmp_path / "one.jsonl"


def test_bench_json_has_exactly_the_promised_fields(repository_root: Path, one_case: Path) -> None:
    result = bench(repository_root, str(one_case), "--json", "--repeat", "2")
    assert result.returncode == 0
    document = json.loads(result.stdout)
    assert list(document) == ["calibrate_ms", "cases"]
    (case,) = document["cases"]
    assert list(case) == ["id", "min_ms", "median_ms", "ratio", "match"]
    assert case["match"] is True
    assert case["ratio"] == pytest.approx(case["min_ms"] / document["calibrate_ms"])
    assert 0 < case["min_ms"] <= case["median_ms"]


def test_bench_of_a_differing_case_exits_one(repository_root: Path, one_case: Path) -> None:
    body = json.loads(one_case.read_text())
    body["out"]["emission"][0] += 1
    one_case.write_text(json.dumps(body))
    result = bench(repository_root, str(one_case), "--repeat", "1")
    assert result.returncode == 1
    assert "DIFFERS" in result.stdout


def test_bench_of_a_missing_file_exits_two(repository_root: Path) -> None:
    result = bench(repository_root, "nowhere.jsonl")
    assert (result.returncode, result.stdout) == (2, "")
    assert "nowhere.jsonl cannot be read" in result.stderr
