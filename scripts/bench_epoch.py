#!/usr/bin/env python3
"""Benchmark of the Yuma epoch on recorded cases, relative to this machine's yardstick.

    scripts/bench_epoch.py FILE [--json] [--repeat N]

Epoch time runs from stored column arrays to arrays as stored; reading the file and comparing the result are outside.
With --json it prints exactly {"calibrate_ms", "cases": [{"id", "min_ms", "median_ms", "ratio", "match"}]}, where
`ratio` is min_ms / calibrate_ms of the same run and `match` says that every field of the result equals the case's.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yumad.daemon.vector_record import Record

ROOT = Path(__file__).resolve().parents[1]
YARDSTICK = ROOT.parent / "shared" / "bench" / "calibrate.py"
"""The yardstick program, when it lies beside the repository."""


def enter_environment() -> None:
    """Continue under the project's own interpreter when this one lacks the package, or say what to do."""
    try:
        import yumad.daemon  # noqa: F401
    except ModuleNotFoundError:
        python = ROOT / ".venv" / "bin" / "python"
        if python.exists() and Path(sys.prefix) != ROOT / ".venv":
            os.execv(python, [str(python), *sys.argv])
        print("bench_epoch: the project's environment is missing; run ./scripts/setup first", file=sys.stderr)
        raise SystemExit(2) from None


def yardstick_work() -> float:
    """The yardstick's workload, for a clone without that file: milliseconds of one run."""
    import numpy as np

    generator = np.random.default_rng(7)
    values = generator.integers(0, 1 << 31, size=400_000, dtype=np.int64)
    begin = time.perf_counter()
    for _ in range(3):
        ordered = np.sort(values, kind="stable")
        mixed = (ordered * 31 + values) >> 7
        np.cumsum(mixed) // 3
        total = 0
        for step in range(60_000):
            total = (total * 31 + step) & 0xFFFFFFFF
    return (time.perf_counter() - begin) * 1000


def load_yardstick() -> Callable[[], float]:
    """The yardstick's `work`, from its own file when it is there."""
    if YARDSTICK.is_file():
        work: Callable[[], float] = runpy.run_path(str(YARDSTICK))["work"]
        return work
    return yardstick_work


def measure(record: Record, repeat: int) -> tuple[list[float], bool]:
    """Milliseconds of each of `repeat` runs after a warm-up, and whether the result matches the record."""
    from yumad.consensus.rules.v1.yuma.epoch import run_epoch
    from yumad.daemon.vector_epochs import check_epoch, decode_epoch

    case = decode_epoch(record.inputs())
    matches = not list(check_epoch(record))
    run_epoch(case)
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        run_epoch(case)
        times.append((time.perf_counter() - begin) * 1000)
    return times, matches


def run(path: str, repeat: int) -> dict[str, Any]:
    """Measure every case of a file; the yardstick runs before, between and after, and its minimum counts."""
    from yumad.daemon.vector_files import read_records

    work = load_yardstick()
    yardstick = [work() for _ in range(8)]
    cases: list[dict[str, Any]] = []
    for record in read_records(path):
        times, matches = measure(record, repeat)
        cases.append({"id": record.id, "min_ms": min(times), "median_ms": statistics.median(times), "match": matches})
        yardstick += [work() for _ in range(2)]
    calibrate = min(yardstick)
    for case in cases:
        case["ratio"] = case["min_ms"] / calibrate
    order = ("id", "min_ms", "median_ms", "ratio", "match")
    return {"calibrate_ms": calibrate, "cases": [{name: case[name] for name in order} for case in cases]}


def main() -> int:
    """Entry point; 0 when every case matches, 1 when one does not, 2 for a file that cannot be read."""
    from yumad.consensus.types import YumadError

    parser = argparse.ArgumentParser(description="Benchmark the Yuma epoch on recorded cases.")
    parser.add_argument("file", help="epoch records, .jsonl or .jsonl.gz")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--repeat", type=int, default=200, help="runs of each case (default: 200)")
    arguments = parser.parse_args()
    if arguments.repeat < 1:
        parser.error(f"--repeat is {arguments.repeat}; expected at least 1")
    try:
        result = run(arguments.file, arguments.repeat)
    except YumadError as error:
        print(f"bench_epoch: {error.message}", file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps(result))
    else:
        print(f"yardstick C {result['calibrate_ms']:.2f} ms")
        for case in result["cases"]:
            verdict = "match" if case["match"] else "DIFFERS"
            print(
                f"{case['id']:36}  min {case['min_ms']:8.3f} ms  median {case['median_ms']:8.3f} ms"
                f"  {case['ratio']:.4f} C  {verdict}"
            )
    return 0 if all(case["match"] for case in result["cases"]) else 1


if __name__ == "__main__":
    enter_environment()
    raise SystemExit(main())
