#!/usr/bin/env python3
"""Take authorities away for a minute: finality must stop, and resume by itself when they come back.

    scripts/pause_swarm.py [--away 60] [--slot 0.5] [--seed N] [--keep FOLDER] [--json]

Rounds on one swarm with transfers flowing: SIGSTOP and SIGKILL, each in the middle of an era and shortly before its
last block, so that the authority set would have to change while nobody can agree; and a last one in which all four are
killed at once, as by a power cut. While they are away no peer may call a new height final; after they are back the next
final block is timed. At the end the chain is audited as after kills. With --json it prints {"rounds": [{"how", "away",
"at_boundary", "height_before", "era_before", "final_while_away", "resumed_s", "resumed_slots"}], "transactions_final",
"lost", "forks", "wrong_balances", "common_height", "seconds", "seed"}. Exit 0 only if nothing became final while they
were away, finality resumed every time, and nothing was lost.
"""

from __future__ import annotations

import argparse
import json
import random
import secrets
import signal
import sys
import time
from pathlib import Path
from typing import Any

from swarm_run import LiveSwarm, conclude, enter_environment, live_swarm

PEERS = 4
AWAY_PEERS = 2
"""Half of equal weights: more than a third is gone, so there is no quorum (CHAIN 6.4)."""

SETTLE_SLOTS = 4
"""Slots after the signal in which votes that were already on their way may still make a block final."""

RESUME_SECONDS = 90.0
"""Longest wait for finality after the return; a few slots on an idle machine."""

ROUNDS = (
    (signal.SIGSTOP, False, AWAY_PEERS),
    (signal.SIGSTOP, True, AWAY_PEERS),
    (signal.SIGKILL, False, AWAY_PEERS),
    (signal.SIGKILL, True, AWAY_PEERS),
    (signal.SIGKILL, True, PEERS),
)
"""How, whether before the last block of an era, and how many."""


def wait_for_place(live: LiveSwarm, at_boundary: bool) -> None:
    """Until the next block is the last of its era, or until the era is a third done."""
    era_blocks = live.swarm.spec.spec.era_blocks
    wanted = era_blocks - 1 if at_boundary else era_blocks // 3
    start = live.sightings.best
    goal = start + (wanted - start) % era_blocks
    live.wait_until(f"height {goal}", lambda: live.sightings.best >= goal, 120 * live.slot + 60)


def one_round(live: LiveSwarm, how: signal.Signals, at_boundary: bool, number: int, away: float) -> dict[str, Any]:
    """Some leave, time passes, they come back. Raises Stuck when finality does not resume."""
    swarm = live.swarm
    victims = live.rng.sample(swarm.authorities, number)
    wait_for_place(live, at_boundary)
    for peer in victims:
        live.away.add(peer.name)
        swarm.kill(peer, how)
    live.breathe(SETTLE_SLOTS * live.slot)
    before = live.sightings.best
    live.breathe(max(0.0, away - SETTLE_SLOTS * live.slot))
    during = live.sightings.best - before
    start = time.monotonic()
    for peer in victims:
        if how is signal.SIGKILL:
            swarm.restart(peer)
        else:
            swarm.kill(peer, signal.SIGCONT)
        live.away.discard(peer.name)
    ready = start
    if how is signal.SIGKILL:  # the start of a process and its two slots of listening are no fault of consensus
        live.wait_until(
            "the killed peers voting again",
            lambda: all(p.client is not None and not p.status["authority"]["abstaining"] for p in victims),
            RESUME_SECONDS,
        )
        ready = time.monotonic()
    live.wait_until("finality after the return", lambda: live.sightings.best > before, RESUME_SECONDS)
    resumed = time.monotonic()
    for peer in swarm.peers:
        live.wait_for_height(peer, before + 2, RESUME_SECONDS)
    return {
        "how": how.name,
        "away": number,
        "at_boundary": at_boundary,
        "height_before": before,
        "era_before": before // swarm.spec.spec.era_blocks,
        "final_while_away": during,
        "resumed_s": round(resumed - start, 2),
        "resumed_slots": round(max(0.0, resumed - ready) / live.slot, 1),
    }


def run(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """All rounds; the report, and what is wrong in words."""
    from yumad.daemon.swarm_audit import audit

    seed = secrets.randbits(32) if arguments.seed is None else arguments.seed
    rng = random.Random(seed)
    start = time.monotonic()
    rounds: list[dict[str, Any]] = []
    with live_swarm(PEERS, arguments.followers, arguments.slot, rng, arguments.keep) as live:
        for number in arguments.only or range(len(ROUNDS)):
            rounds.append(one_round(live, *ROUNDS[number], arguments.away))
            if arguments.verbose:
                print(json.dumps(rounds[-1]), file=sys.stderr, flush=True)
        live.settle(RESUME_SECONDS)
        result = audit(live.swarm, live.load, live.sightings)
    report = {
        "rounds": rounds,
        "transactions_final": result.transactions_final,
        "lost": len(result.lost),
        "forks": len(result.forks),
        "wrong_balances": len(result.wrong_balances),
        "common_height": result.common_height,
        "seconds": round(time.monotonic() - start, 1),
        "seed": seed,
    }
    early = [
        f"{entry['how']}: {entry['final_while_away']} heights became final without a quorum"
        for entry in rounds
        if entry["final_while_away"]
    ]
    return report, [*early, *result.forks, *result.lost, *result.wrong_balances]


def main() -> int:
    """Entry point; 0 when finality stopped and resumed as it must and nothing was lost."""

    parser = argparse.ArgumentParser(description="Take two of four authorities away and watch finality.")
    parser.add_argument("--away", type=float, default=60.0, help="seconds that two are away (default: 60)")
    parser.add_argument("--followers", type=int, default=1, help="peers that only follow (default: 1)")
    parser.add_argument("--slot", type=float, default=0.5, help="seconds of a slot (default: 0.5)")
    parser.add_argument(
        "--only", type=int, choices=range(len(ROUNDS)), action="append", help="this round, from 0; may be repeated"
    )
    parser.add_argument("--seed", type=int, help="choose the same peers again")
    parser.add_argument("--keep", type=Path, help="new folder for the homes, kept at the end")
    parser.add_argument("--verbose", action="store_true", help="a line for each round on stderr")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    if arguments.away < SETTLE_SLOTS * arguments.slot:
        parser.error(f"--away must be at least {SETTLE_SLOTS} slots")
    return conclude("pause_swarm", lambda: run(arguments), as_json=arguments.json)


if __name__ == "__main__":
    enter_environment("pause_swarm")
    raise SystemExit(main())
