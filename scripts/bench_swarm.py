#!/usr/bin/env python3
"""Finality, memory and start-up of real peers on loopback.

    scripts/bench_swarm.py [--spec SPEC] [--peers 4] [--blocks 30] [--slot SECONDS] [--json]

Starts a swarm, lets it finalise blocks with the genesis subnets' weights set as in `yumad swarm`, and prints for each
peer the finality percentiles in ms (own receipt or sealing of a proposal to its block final and stored) and its
resident memory in MB at the end, and the seconds that `yumad --help` takes (the least of five).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from swarm_run import enter_environment

enter_environment("bench_swarm")

from yumad.daemon.commands.swarm import swarm_chain  # noqa: E402
from yumad.daemon.swarm import Swarm, SwarmPeer, SwarmPlan  # noqa: E402
from yumad.daemon.weight_keeper import WeightKeeper  # noqa: E402


def resident_mb(peer: SwarmPeer) -> float:
    """Resident memory of a peer's process."""
    assert peer.process is not None
    pages = int(Path(f"/proc/{peer.process.pid}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def help_seconds() -> float:
    """The least of five runs of `yumad --help`."""
    times = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "yumad.daemon.main", "--help"], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - started)
    return round(min(times), 3)


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", type=Path)
    parser.add_argument("--peers", type=int, default=4)
    parser.add_argument("--blocks", type=int, default=30)
    parser.add_argument("--slot", type=float)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="yumad-bench-") as folder:
        chain = swarm_chain(options.spec, "dev", options.slot)
        swarm = Swarm(SwarmPlan(Path(folder) / "swarm", chain, options.peers, 0))
        try:
            swarm.make()
            swarm.start()
            swarm.watch(options.blocks, WeightKeeper(swarm.spec.spec).keep)
            peers = [
                {
                    "name": row["name"],
                    "finality_p50_ms": row["finality_p50_ms"],
                    "finality_p99_ms": row["finality_p99_ms"],
                    "epochs": row["epochs"],
                    "rss_mb": resident_mb(peer),
                }
                for row, peer in zip(swarm.report()["peers"], swarm.peers, strict=True)
            ]
        finally:
            swarm.stop()
    report = {
        "blocks": options.blocks,
        "finality_p50_ms": max(peer["finality_p50_ms"] for peer in peers),
        "finality_p99_ms": max(peer["finality_p99_ms"] for peer in peers),
        "rss_mb": max(peer["rss_mb"] for peer in peers),
        "help_seconds": help_seconds(),
        "peers": peers,
    }
    if options.json:
        print(json.dumps(report))
        return
    for name, value in report.items():
        for line in value if isinstance(value, list) else [value]:
            print(f"{name:<18}{line}")


if __name__ == "__main__":
    main()
