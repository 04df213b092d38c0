#!/usr/bin/env python3
"""Send nearly every call there is through a swarm of real peers, and look whether they agree and the ledger adds up.

    scripts/call_tour.py [--peers 4] [--slot 0.5] [--seed N] [--keep FOLDER] [--verbose] [--json]

The calls tell a story (`call_tour_story.py`): each must be included and succeed, except those that are meant to fail
with a named error and to cost the fee and nothing else. At the end all peers must have the same block and state root at
every height, all balances together must be what the chain says was issued, and after the swarm has stopped one peer's
data is executed again with every invariant checked (`yumad verify --invariants`).

It prints a line for each call with its block and result, and a summary. With --json it prints one document:
{"calls_sent", "different_calls_ok", "calls_in_table", "missing", "different_errors", "effects_seen", "heights",
"roots_equal", "balances_sum", "verified", "seconds", "seed", "calls"}. Exit 0 only if all of it holds.
"""

from __future__ import annotations

import argparse
import json
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from swarm_run import ROUND_SECONDS, Stuck, enter_environment

enter_environment("call_tour")

from call_tour_peers import OK, Tour, account_of, tour_spec  # noqa: E402
from call_tour_story import tell  # noqa: E402
from yumad.consensus.rules.v1.calls.table import CALLS  # noqa: E402
from yumad.consensus.types import YumadError  # noqa: E402
from yumad.daemon.swarm import Swarm, SwarmPlan, random_salt  # noqa: E402
from yumad.daemon.swarm_audit import PeerChain, read_chain  # noqa: E402
from yumad.daemon.swarm_spec import MINERS, SUBNET, VALIDATORS  # noqa: E402

LEAST_CALLS = 60
"""Different calls that have to succeed."""

LEAST_ERRORS = 10
"""Different errors that have to be met."""

SUM_TRIES = 40
"""Reads of the whole ledger until one falls between two blocks."""


def balances_sum(tour: Tour) -> tuple[int, int]:
    """(all TAO found, what was issued) at one height: accounts, what subnets and root hold, what was burned."""
    swarm_names = [f"sn{SUBNET}/{uid}" for uid in range(VALIDATORS + MINERS)]
    swarm_names += [f"{peer.account}/{key}" for peer in tour.swarm.authorities for key in ("coldkey", "hotkey")]
    accounts = [account_of(name) for name in dict.fromkeys([*tour.names, *swarm_names])]
    for _ in range(SUM_TRIES):
        height, chain = tour.read_at("chain")
        free = [int(tour.read("balance", account)) for account in accounts]
        held = [int(tour.read("subnet", netuid)["account_tao"]) for netuid in chain["subnets"]]
        if tour.read_at("chain")[0] == height:
            if sum(amount > 0 for amount in free) != chain["accounts"]:
                raise Stuck(f"{chain['accounts']} accounts hold TAO, the tour knows {sum(a > 0 for a in free)} of them")
            return sum(free) + sum(held) + int(chain["root_stake"]) + int(chain["burned"]), int(chain["issuance"])
        time.sleep(ROUND_SECONDS)
    raise Stuck(f"no {len(accounts)} balances could be read between two blocks")


def compare(chains: list[PeerChain]) -> list[str]:
    """Heights at which a peer differs from the first one."""
    first = chains[0]
    return [
        f"height {height}: {chain.name} and {first.name} differ"
        for chain in chains[1:]
        for height, (one, other) in enumerate(
            zip(
                zip(first.hashes, first.state_roots, strict=True),
                zip(chain.hashes, chain.state_roots, strict=True),
                strict=True,
            ),
            start=1,
        )
        if one != other
    ]


def verify(home: Path) -> dict[str, Any]:
    """What `yumad verify --invariants` says of a stopped peer."""
    command = [sys.executable, "-m", "yumad.daemon.main", "verify", "--invariants", "--json", "--home", str(home)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout.strip():
        raise Stuck(f"verify of {home.name}: {done.stderr.strip()[-400:]}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def run(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Do it all; the report, and what is wrong in words."""
    seed = secrets.randbits(32) if arguments.seed is None else arguments.seed
    start = time.monotonic()
    base = arguments.keep or Path(tempfile.mkdtemp(prefix="yumad-tour-"))
    spec = tour_spec(random_salt(), round(arguments.slot * 1_000_000))
    swarm = Swarm(SwarmPlan(base, spec, arguments.peers, 0))
    try:
        swarm.make()
        swarm.start()
        tour = Tour(swarm, random.Random(seed), verbose=arguments.verbose)
        tour.wait_for_height(2)
        wrong = []
        try:
            tell(tour)
        except Stuck as error:
            wrong.append(str(error))
        common = tour.height()
        tour.wait_for_height(common)
        chains = [read_chain(peer, common) for peer in swarm.peers]
        differences = compare(chains)
        found, issued = balances_sum(tour)
        swarm.stop()
        verified = verify(swarm.peers[-1].home)
    finally:
        swarm.stop()
        if arguments.keep is None:
            shutil.rmtree(base, ignore_errors=True)
    good = dict.fromkeys(sent.call for sent in tour.done if sent.result == OK)
    errors = dict.fromkeys(sent.result for sent in tour.done if sent.result not in (OK, ""))
    wrong += differences[:5]
    if found != issued:
        wrong.append(f"{found} rao were found, {issued} issued")
    if verified["first_difference"] is not None:
        wrong.append(f"verify: {verified['first_difference']}")
    if verified["verified"] < common:
        wrong.append(f"verify executed {verified['verified']} blocks again, all peers had {common}")
    if len(good) < LEAST_CALLS or len(errors) < LEAST_ERRORS:
        wrong.append(f"{len(good)} different calls and {len(errors)} errors, expected {LEAST_CALLS} and {LEAST_ERRORS}")
    report = {
        "calls_sent": len(tour.done),
        "different_calls_ok": len(good),
        "calls_in_table": len(CALLS),
        "missing": [call.name for call in CALLS if call.name not in good],
        "different_errors": len(errors),
        "effects_seen": tour.effects,
        "heights": common,
        "roots_equal": not differences,
        "balances_sum": str(found) if found == issued else f"{found} of {issued}",
        "verified": verified["verified"] if verified["first_difference"] is None else 0,
        "seconds": round(time.monotonic() - start, 1),
        "seed": seed,
        "calls": [[sent.call, sent.height, sent.result] for sent in tour.done],
    }
    return report, wrong


def main() -> int:
    """Entry point; 0 when everything holds, 1 when something does not or the swarm got stuck."""
    parser = argparse.ArgumentParser(description="Send nearly every call through a swarm of real peers.")
    parser.add_argument("--peers", type=int, default=4, help="authorities (default: 4)")
    parser.add_argument("--slot", type=float, default=0.5, help="seconds of a slot (default: 0.5)")
    parser.add_argument("--seed", type=int, help="choose the same peers and admins again")
    parser.add_argument("--keep", type=Path, help="new folder for the homes, kept at the end")
    parser.add_argument("--verbose", action="store_true", help="a line for each batch on stderr")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    if arguments.peers < 1 or arguments.slot <= 0:
        parser.error("--peers must be at least 1, --slot above 0")
    try:
        report, wrong = run(arguments)
    except (Stuck, YumadError) as error:
        print(f"call_tour: {error}", file=sys.stderr)
        return 1
    for line in wrong:
        print(f"call_tour: {line}", file=sys.stderr)
    if arguments.json:
        print(json.dumps(report))
    else:
        for call, height, result in report.pop("calls"):
            print(f"{call:45} {height:>6}  {result}")
        print(", ".join(f"{name} {value}" for name, value in report.items()))
    return 0 if not wrong else 1


if __name__ == "__main__":
    raise SystemExit(main())
