#!/usr/bin/env python3
"""How fast a peer re-executes a chain: near-empty blocks on a spec, executed, finalised and stored as sync does.

    scripts/bench_replay.py SPEC [--blocks 2000] [--json]

SPEC is a file of `yumad genesis import`. One authority makes the blocks first (each with one transfer, heartbeats and
certificates as on a real chain); then a fresh store replays them in batches of 64, every root compared, every
transaction signature checked, each batch one durable commit and an entry of the index. Prints blocks per second and
the process's memory.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from swarm_run import enter_environment

enter_environment("bench_replay")

from lone_authority import LoneAuthority, replay, signed_call  # noqa: E402
from yumad.consensus.dev_accounts import dev_keypair  # noqa: E402
from yumad.daemon.metrics import resident_bytes  # noqa: E402
from yumad.daemon.spec_file import read_spec_file  # noqa: E402


def make(maker: LoneAuthority, blocks: int) -> None:
    """That many blocks, each with a transfer."""
    alice, bob = dev_keypair("alice"), dev_keypair("bob").public_key
    for nonce in range(blocks):
        amount, until = 1_000_001 + nonce, maker.height + 10
        call = "balances.transfer_keep_alive"
        outcome = maker.make([signed_call(maker.domain, alice, call, bob, amount, nonce=nonce, valid_until=until)])
        if not any(transaction.fee for transaction in outcome.transactions):
            raise SystemExit("bench_replay: the development account alice cannot pay: give a spec that funds her")


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", type=Path)
    parser.add_argument("--blocks", type=int, default=2000)
    parser.add_argument("--profile", action="store_true", help="print where the replay's time goes")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    maker = LoneAuthority(read_spec_file(options.spec).spec)
    started = time.perf_counter()
    make(maker, options.blocks)
    built = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        if options.profile:
            import cProfile
            import pstats

            profiler = cProfile.Profile()
            seconds = profiler.runcall(replay, maker, Path(folder))
            pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(25)
        else:
            seconds = replay(maker, Path(folder))
    report = {
        "blocks": options.blocks,
        "seconds": round(seconds, 3),
        "blocks_per_second": round(options.blocks / seconds, 1),
        "build_blocks_per_second": round(options.blocks / built, 1),
        "rss_mb": round(resident_bytes() / 1e6, 1),
    }
    if options.json:
        print(json.dumps(report))
    else:
        print("\n".join(f"{name:<26}{value}" for name, value in report.items()))


if __name__ == "__main__":
    main()
