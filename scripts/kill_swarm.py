#!/usr/bin/env python3
"""Kill -9 one peer of a swarm at random, again and again, while transfers flow; then look whether anything was lost.

    scripts/kill_swarm.py --kills 50 [--peers 4] [--followers 1] [--slot 0.5] [--seed N] [--keep FOLDER] [--json]

A killed peer is started again with the home it has and nothing else; a quarter of the kills hit a peer that is still
starting, and sometimes the next peer is killed before the last one is back. At the end all peers must stand on one
chain, block by block; each transaction that any peer ever reported final must be in everybody's chain, and the balances
must be what those transfers leave. With --json it prints {"kills", "blocks", "transactions_final", "lost", "forks",
"wrong_balances", "longest_stall_s", "common_height", "seconds", "seed"}. Exit 0 only if lost = forks = 0 and balances
are right.
"""

from __future__ import annotations

import argparse
import random
import secrets
import sys
import time
from pathlib import Path
from typing import Any

from swarm_run import LiveSwarm, conclude, enter_environment, live_swarm

DURING_START = 0.25
"""Share of kills that hit the peer again while it starts: recovery must survive its own interruption."""

OVERLAP = 0.15
"""Share of kills after which nobody waits for the peer: the next kill may leave the swarm without a quorum."""

BACK_SECONDS = 90.0
"""Longest wait for a killed peer; seconds on an idle machine, where a start takes two."""


def kill_one(live: LiveSwarm, kills_left: int) -> int:
    """One random kill with its restart; how many kills it was (a second may hit the restart)."""
    swarm, rng = live.swarm, live.rng
    peer = rng.choice(swarm.peers)
    swarm.kill(peer)
    killed = 1
    live.away.add(peer.name)
    live.breathe(rng.uniform(0, 1))
    swarm.restart(peer)
    if kills_left > 1 and rng.random() < DURING_START:
        live.breathe(rng.uniform(0, 2))
        swarm.kill(peer)
        swarm.restart(peer)
        killed += 1
    live.away.discard(peer.name)
    if rng.random() >= OVERLAP:
        goal = live.sightings.best + 1
        live.wait_for_height(peer, goal, BACK_SECONDS)
    return killed


def run(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Do it all; the report, and what is wrong in words."""
    from yumad.daemon.swarm_audit import audit

    seed = secrets.randbits(32) if arguments.seed is None else arguments.seed
    rng = random.Random(seed)
    start = time.monotonic()
    kills = 0
    with live_swarm(arguments.peers, arguments.followers, arguments.slot, rng, arguments.keep) as live:
        while kills < arguments.kills:
            live.breathe(rng.uniform(0, 4 * arguments.slot))
            kills += kill_one(live, arguments.kills - kills)
            if arguments.verbose:
                print(f"{kills} kills, final height {live.sightings.best}", file=sys.stderr, flush=True)
        live.settle(BACK_SECONDS)
        result = audit(live.swarm, live.load, live.sightings)
        report = {
            "kills": kills,
            "blocks": live.sightings.best,
            "transactions_final": result.transactions_final,
            "lost": len(result.lost),
            "forks": len(result.forks),
            "wrong_balances": len(result.wrong_balances),
            "longest_stall_s": round(live.longest_stall, 2),
            "common_height": result.common_height,
            "seconds": round(time.monotonic() - start, 1),
            "seed": seed,
        }
    return report, [*result.forks, *result.lost, *result.wrong_balances]


def main() -> int:
    """Entry point; 0 when nothing was lost, 1 when something was or the swarm got stuck."""

    parser = argparse.ArgumentParser(description="Kill peers of a swarm at random and look for losses.")
    parser.add_argument("--kills", type=int, default=50, help="kill -9 that many times (default: 50)")
    parser.add_argument("--peers", type=int, default=4, help="authorities (default: 4)")
    parser.add_argument("--followers", type=int, default=1, help="peers that only follow (default: 1)")
    parser.add_argument("--slot", type=float, default=0.5, help="seconds of a slot (default: 0.5)")
    parser.add_argument("--seed", type=int, help="choose the same peers and moments again")
    parser.add_argument("--keep", type=Path, help="new folder for the homes, kept at the end")
    parser.add_argument("--verbose", action="store_true", help="a line for each kill on stderr")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    if arguments.kills < 1 or arguments.peers < 1 or arguments.followers < 0:
        parser.error("--kills and --peers must be at least 1, --followers at least 0")
    return conclude("kill_swarm", lambda: run(arguments), as_json=arguments.json)


if __name__ == "__main__":
    enter_environment("kill_swarm")
    raise SystemExit(main())
