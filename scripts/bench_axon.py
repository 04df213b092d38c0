#!/usr/bin/env python3
"""What a call costs, beside what it could cost: bare py-libp2p below, and the usual HTTP stack (AXON 6, R13-R19).

    scripts/bench_axon.py [--quick] [--json] [--only ROW …]

Rows, each with a client and a server process of its own on loopback:
  floor      py-libp2p as installed: TCP, Noise, yamux, a kept stream, a length before each body; no signatures
  transport  our hardened transport, the same frames
  axon       our calls over it: signed and verified both ways, replay, quota, queue
  http       FastAPI on uvicorn, called by aiohttp with keep-alive; unsigned

Cases: 1 kB echoes in turn; 64 at once; 4 MiB uploads with the bytes on the wire; 1 kB beside 4 MiB uploads; from
nothing to the first answer; a call to each of 256 peers (axon); memory over many calls (axon). CPU is user and system
time of both processes. Rows take turns in small rounds, so that what else the machine does hits all alike, and a number
is the median of its rounds; ratios are made within a round.

The HTTP row needs packages that yumad does not: they are installed into .venv/bench at the first use (pinned by
requirements/bench.txt), or the row is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench_axon_cases import LARGE_BYTES
from swarm_run import ROOT, enter_environment

enter_environment("bench_axon")

SCRIPTS = Path(__file__).resolve().parent
HTTP_ENVIRONMENT = ROOT / ".venv" / "bench"
HTTP_LOCK = ROOT / "requirements" / "bench.txt"

AT_ONCE = 64
FAN_OUT = 256
START_SECONDS = 30
CASE_SECONDS = 300


@dataclass(frozen=True)
class Size:
    """How much is measured. Pairs are (rounds, calls of a round)."""

    sequential: tuple[int, int] = (12, 250)
    concurrent: tuple[int, int] = (8, 1250)
    upload: tuple[int, int] = (8, 8)
    mixed: tuple[int, int] = (4, 150)
    cold: int = 15
    memory: int = 100_000


QUICK = Size((5, 100), (3, 320), (3, 4), (2, 60), 5, 5000)


class RowFailed(Exception):
    """A process of a row ended or said nothing."""


class Row:
    """A client and a server process."""

    def __init__(self, name: str, python: str, script: str, arguments: list[str]) -> None:
        self.name = name
        self._command = [python, str(SCRIPTS / script)]
        self._arguments = arguments
        self.server = self._start("server", *arguments)
        self._processes = [self.server]
        try:
            address = self._hear(self.server, START_SECONDS)["address"]
            self.client = self._start("client", *arguments, address)
            self._processes.append(self.client)
            self._hear(self.client, START_SECONDS)
        except BaseException:
            self.stop()
            raise

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self._command, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=SCRIPTS
        )

    def _hear(self, process: subprocess.Popen[str], seconds: float = CASE_SECONDS) -> dict[str, Any]:
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], seconds)[0]:
            raise RowFailed(f"a process of row {self.name} said nothing for {seconds} s")
        line = process.stdout.readline()
        if not line:
            raise RowFailed(f"a process of row {self.name} ended with code {process.wait()}")
        document: dict[str, Any] = json.loads(line)
        return document

    def run(self, case: str, count: int, **more: Any) -> dict[str, Any]:
        """One round of a case; `cpu` becomes that of both processes."""
        before = cpu_of(self.server.pid)
        assert self.client.stdin is not None
        self.client.stdin.write(json.dumps({"case": case, "count": count, **more}) + "\n")
        self.client.stdin.flush()
        result = self._hear(self.client)
        if "cpu" in result:
            result["cpu"] += cpu_of(self.server.pid) - before
        return result

    def stop(self) -> None:
        """End both."""
        for process in self._processes:
            process.kill()
            process.wait()


def cpu_of(process: int) -> float:
    """User and system seconds of a process, all its threads: its CPU clock, as clock_getcpuclockid numbers it."""
    return time.clock_gettime(((~process) << 3) | 2)


def resident_mb(process: int) -> float:
    """Resident memory."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def http_python() -> str | None:
    """The interpreter with the HTTP row's packages; None when they cannot be had."""
    python = HTTP_ENVIRONMENT / "bin" / "python"
    stamp = HTTP_ENVIRONMENT / "lock"
    if stamp.exists() and stamp.read_text() == HTTP_LOCK.read_text():
        return str(python)
    print("bench_axon: installing the packages of the HTTP row (once)", file=sys.stderr)
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(HTTP_ENVIRONMENT)], check=True)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet", "install"]
        install = [*pip, "--require-hashes", "--no-deps", "-r", str(HTTP_LOCK)]
        subprocess.run(install, check=True, timeout=300, capture_output=True, text=True)
    except (OSError, subprocess.SubprocessError) as error:
        last = (getattr(error, "stderr", None) or str(error)).strip().rpartition("\n")[2]
        print(f"bench_axon: no HTTP row, its packages could not be installed ({last}); the rest runs", file=sys.stderr)
        return None
    stamp.write_text(HTTP_LOCK.read_text())
    return str(python)


def start_rows(names: list[str]) -> list[Row]:
    """The rows that were asked for and can run."""
    rows: list[Row] = []
    try:
        for name in names:
            if name != "http":
                rows.append(Row(name, sys.executable, "bench_axon_rows.py", [name]))
            elif (python := http_python()) is not None:
                rows.append(Row(name, python, "bench_axon_http.py", []))
    except BaseException:
        for row in rows:
            row.stop()
        raise
    return rows


@dataclass
class Rounds:
    """Results of one case, by row."""

    results: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def median(self, row: str, value: Any) -> float:
        """Median over a row's rounds."""
        return statistics.median(value(result) for result in self.results[row])

    def ratio(self, row: str, other: str, value: Any) -> float | None:
        """Median over the rounds of `row`'s value over that of `other` in the same round."""
        if row not in self.results or other not in self.results:
            return None
        pairs = zip(self.results[row], self.results[other], strict=True)
        return statistics.median(value(own) / value(theirs) for own, theirs in pairs)

    def failures(self, row: str) -> int:
        """Over all rounds."""
        return sum(result["failures"] for result in self.results.get(row, []))

    def times(self, row: str) -> list[float]:
        """Every call's milliseconds, ascending."""
        return sorted(1000 * seconds for result in self.results[row] for seconds in result["times"])


def measure(rows: list[Row], case: str, rounds: int, count: int, **more: Any) -> Rounds:
    """`rounds` rounds; in each, every row in turn."""
    found = Rounds({row.name: [] for row in rows})
    for row in rows:  # streams are opened and caches filled outside the count
        row.run(case, min(count, more.get("at_once", 2)), **more)
    for number in range(rounds):
        for row in rows if number % 2 else rows[::-1]:
            found.results[row.name].append(row.run(case, count, **more))
    return found


def percentile(times: list[float], share: float) -> float:
    """Of ascending times."""
    return times[min(len(times) - 1, int(len(times) * share))]


def cpu_per_call(result: dict[str, Any]) -> float:
    """Milliseconds of both processes."""
    return 1000 * result["cpu"] / max(1, len(result["times"]))


def rate(result: dict[str, Any]) -> float:
    """Calls per second."""
    return len(result["times"]) / result["seconds"]


def wire_overhead(result: dict[str, Any]) -> float:
    """Bytes the client's sockets sent over bytes of the bodies."""
    return result["sent"] / (LARGE_BYTES * max(1, len(result["times"])))


def spread(times: list[float]) -> dict[str, float]:
    """Milliseconds."""
    return {"best_ms": times[0], "p50_ms": percentile(times, 0.5), "p99_ms": percentile(times, 0.99)}


def memory_drift(row: Row, calls: int) -> dict[str, Any]:
    """Resident memory of both processes after a tenth of the calls and at the end; the change in percent.

    In portions: what this program itself remembers of a portion must not count.
    """
    processes = {"client": row.client.pid, "server": row.server.pid}
    portion = min(2500, calls // 10)
    failures = 0

    def run(count: int) -> dict[str, float]:
        nonlocal failures
        for _ in range(count // portion):
            failures += row.run("concurrent", portion, at_once=AT_ONCE)["failures"]
        return {side: resident_mb(process) for side, process in processes.items()}

    before = run(calls // 10)
    after = run(calls - calls // 10)
    drift = {side: 100 * (after[side] / before[side] - 1) for side in processes}
    return {"calls": calls, "failures": failures, "rss_mb": after, "drift_percent": drift}


def fan_outs() -> dict[str, Any]:
    """A call to each of 256 peers: of the same process over a network in memory, and of another one over TCP."""
    program = [sys.executable, str(SCRIPTS / "bench_axon_rows.py")]

    def run(*arguments: str) -> dict[str, Any]:
        command = [*program, "fanout", *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=SCRIPTS, timeout=CASE_SECONDS)
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    with subprocess.Popen([*program, "peers", str(FAN_OUT)], stdout=subprocess.PIPE, text=True, cwd=SCRIPTS) as peers:
        try:
            assert peers.stdout is not None
            addresses = json.loads(peers.stdout.readline())["addresses"]
            return {"memory": run("memory", str(FAN_OUT)), "tcp": run("tcp", *addresses)}
        finally:
            peers.kill()


def run(size: Size, names: list[str]) -> dict[str, Any]:
    """Everything, as the report."""
    rows: list[Row] = []
    try:
        rows = start_rows(names)
        sequential = measure(rows, "sequential", *size.sequential)
        concurrent = measure(rows, "concurrent", *size.concurrent, at_once=AT_ONCE)
        upload = measure(rows, "upload", *size.upload)
        mixed = measure(rows, "mixed", *size.mixed)
        cold = {row.name: row.run("cold", size.cold if row.name != "floor" else 3) for row in rows}
        report: dict[str, Any] = {"rows": {}}
        for row in rows:
            name = row.name
            idle_p99, busy = percentile(sequential.times(name), 0.99), spread(mixed.times(name))
            report["rows"][name] = {
                "sequential_1k": spread(sequential.times(name))
                | {"cpu_ms": sequential.median(name, cpu_per_call), "per_s": sequential.median(name, rate)},
                "concurrent_1k": spread(concurrent.times(name))
                | {"cpu_ms": concurrent.median(name, cpu_per_call), "per_s": concurrent.median(name, rate)},
                "upload_4m": spread(upload.times(name))
                | {
                    "cpu_ms": upload.median(name, cpu_per_call),
                    "per_s": upload.median(name, rate),
                    "wire_overhead": upload.median(name, wire_overhead),
                },
                "small_beside_large": busy | {"p99_over_idle_p99": busy["p99_ms"] / idle_p99},
                "cold": {"best_ms": 1000 * min(cold[name]["times"])},
                "failures": sum(case.failures(name) for case in (sequential, concurrent, upload, mixed))
                + cold[name]["failures"],
            }
        axon = next((row for row in rows if row.name == "axon"), None)
        if axon is not None:
            report["memory"] = memory_drift(axon, size.memory)
            report["fan_out"] = fan_outs()
    finally:
        for row in rows:
            row.stop()
    report["ratios"] = {
        "sequential_1k_cpu_vs_floor": sequential.ratio("axon", "floor", cpu_per_call),
        "concurrent_1k_rate_vs_floor": concurrent.ratio("axon", "floor", rate),
        "upload_4m_cpu_vs_floor": upload.ratio("axon", "floor", cpu_per_call),
        "sequential_1k_cpu_vs_http": sequential.ratio("axon", "http", cpu_per_call),
        "sequential_1k_cpu_vs_transport": sequential.ratio("axon", "transport", cpu_per_call),
        "upload_4m_cpu_vs_transport": upload.ratio("axon", "transport", cpu_per_call),
        "failures": report["rows"].get("axon", {}).get("failures", 0) + report.get("memory", {}).get("failures", 0),
    }
    report["gates"] = gates(report)
    return report


NO_LIMIT = float("inf")


def gates(report: dict[str, Any]) -> list[dict[str, Any]]:
    """What R13 to R19 of AXON ask, as far as it was measured."""
    ratios, axon = report["ratios"], report["rows"].get("axon")
    asked: list[tuple[str, str, float | None, float, float]] = [
        ("R13", "1 kB in turn, CPU over the floor's", ratios["sequential_1k_cpu_vs_floor"], 0, 2.0),
        ("R14", "64 at once, rate over the floor's", ratios["concurrent_1k_rate_vs_floor"], 0.4, NO_LIMIT),
        ("R14", "failed calls", ratios["failures"], 0, 0),
        ("R15", "4 MiB upload, CPU over the floor's", ratios["upload_4m_cpu_vs_floor"], 0, 1.6),
    ]
    if axon is not None:
        beside, fan, memory = axon["small_beside_large"], report["fan_out"]["tcp"]["warm"], report["memory"]
        asked += [
            ("R10", "4 MiB upload, bytes on the wire over its size", axon["upload_4m"]["wire_overhead"], 0, 1.01),
            ("R16", "1 kB beside 4 MiB, p99 over the idle p99", beside["p99_over_idle_p99"], 0, 10),
            ("R16", "1 kB beside 4 MiB, best ms", beside["best_ms"], 0, 8),
            ("R17", "cold to the first answer, best ms", axon["cold"]["best_ms"], 0, 60),
            ("R18", "256 peers, failed calls", fan["failures"], 0, 0),
            ("R18", "256 peers, all sent within ms", fan["sent_in_ms"], 0, 300),
            ("R18", "256 peers, all done within ms", fan["done_in_ms"], 0, 2000),
            ("R19", "memory over many calls, percent", max(memory["drift_percent"].values()), -NO_LIMIT, 5),
        ]
    return [
        {
            "requirement": requirement,
            "what": what,
            "value": value,
            "least": low,
            "most": high,
            "ok": low <= value <= high,
        }
        for requirement, what, value, low, high in asked
        if value is not None
    ]


def print_table(report: dict[str, Any]) -> None:
    """For people."""
    cases = f"{'1 kB in turn':>28}{'64 at once':>26}{'4 MiB upload':>32}{'1 kB beside':>22}{'cold':>10}{'failed':>8}"
    print(f"{'':<10}{cases}")
    print(
        f"{'':<10}{'cpu ms':>8}{'p50 ms':>10}{'p99 ms':>10}{'cpu ms':>8}{'per s':>9}{'p99 ms':>9}"
        f"{'cpu ms':>9}{'p50 ms':>9}{'per s':>7}{'wire':>7}{'p50 ms':>9}{'p99 ms':>8}{'x':>5}{'best ms':>10}{'':>8}"
    )
    for name, row in report["rows"].items():
        one, many, large, beside = (
            row[case] for case in ("sequential_1k", "concurrent_1k", "upload_4m", "small_beside_large")
        )
        print(
            f"{name:<10}{one['cpu_ms']:>8.2f}{one['p50_ms']:>10.2f}{one['p99_ms']:>10.2f}"
            f"{many['cpu_ms']:>8.2f}{many['per_s']:>9.0f}{many['p99_ms']:>9.1f}"
            f"{large['cpu_ms']:>9.1f}{large['p50_ms']:>9.1f}{large['per_s']:>7.1f}{large['wire_overhead']:>7.3f}"
            f"{beside['p50_ms']:>9.2f}{beside['p99_ms']:>8.1f}{beside['p99_over_idle_p99']:>5.1f}"
            f"{row['cold']['best_ms']:>10.1f}{row['failures']:>8}"
        )
    for kind, result in report.get("fan_out", {}).items():
        for state in ("cold", "warm"):
            numbers = result[state]
            print(
                f"fan-out to {result['peers']} peers, {kind}, {state}: sent in {numbers['sent_in_ms']:.0f} ms (skew "
                f"{numbers['skew_ms']:.0f}), done in {numbers['done_in_ms']:.0f} ms, {numbers['failures']} failed"
            )
    if "memory" in report:
        memory = report["memory"]
        sides = ", ".join(f"{side} {memory['rss_mb'][side]:.0f} MB ({memory['drift_percent'][side]:+.2f} %)"
                          for side in memory["rss_mb"])  # fmt: skip
        print(f"memory after {memory['calls']} calls: {sides}")
    for name, value in report["ratios"].items():
        if value is not None:
            print(f"{name:<34}{value:>8.2f}")
    for gate in report["gates"]:
        bound = f">= {gate['least']:g}" if gate["most"] == NO_LIMIT else f"<= {gate['most']:g}"
        verdict = "ok" if gate["ok"] else "MISSED"
        print(f"{gate['requirement']:<5}{gate['what']:<48}{gate['value']:>9.2f}  {bound:<9}{verdict}")


def _finite(value: Any) -> Any:
    """JSON has no infinity: null is "no bound"."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    return None if value in (NO_LIMIT, -NO_LIMIT) else value


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    names = ["floor", "transport", "axon", "http"]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="yumad-axon-") as folder:
            os.environ["YUMAD_BENCH_FOLDER"] = folder
            report = run(QUICK if options.quick else Size(), options.only)
    except RowFailed as error:
        raise SystemExit(f"bench_axon: {error}") from None
    if options.json:
        print(json.dumps(_finite(report)))
    else:
        print_table(report)


if __name__ == "__main__":
    main()
