#!/usr/bin/env python3
"""The real network's genesis with a real subnet, run, joined late, verified, and verified again after damage.

    scripts/prove_real_genesis.py [--blocks 40] [--slot SECONDS] [--json]

Makes the spec of `../shared/data/mainnet` (every balance and stake to the rao, subnet 15 with its 256 neurons), runs
four authorities on it until they have finalised the blocks, lets a fifth peer join by one bootstrap address and nothing
else, compares hash and state root of every height on all peers, re-executes the joiner's chain with `yumad verify`, and
then alters one byte of a stored block and of the stored state in copies of its home and shows what `verify` says.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from swarm_run import ROOT, enter_environment

enter_environment("prove_real_genesis")

from yumad.daemon.commands.swarm import swarm_chain  # noqa: E402
from yumad.daemon.swarm import Swarm, SwarmPeer, SwarmPlan  # noqa: E402
from yumad.daemon.weight_keeper import WeightKeeper  # noqa: E402

DATA = ROOT.parent / "shared" / "data" / "mainnet"
JOIN_SECONDS = 120.0


def yumad(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one command of the installed program."""
    return subprocess.run([sys.executable, "-m", "yumad.daemon.main", *arguments], capture_output=True, text=True)


def make_spec(path: Path) -> dict[str, Any]:
    """Import the real genesis; what `yumad genesis import --json` says about it."""
    made = yumad(
        "genesis",
        "import",
        str(DATA / "finney_genesis_snapshot.json.gz"),
        "--subnet",
        str(DATA / "sn15_metagraph_4769998.npz"),
        "--authorities",
        "4",
        "--dev",
        "alice",
        "--genesis-time",
        "now",
        "--out",
        str(path),
        "--json",
    )
    if made.returncode:
        raise SystemExit(made.stderr)
    return json.loads(made.stdout)


def run_swarm(swarm: Swarm, blocks: int) -> None:
    """Finalise `blocks` on four peers with the subnet's validators kept active."""
    swarm.make()
    swarm.start()
    swarm.watch(blocks, WeightKeeper(swarm.spec.spec).keep)


def join_late(swarm: Swarm) -> tuple[SwarmPeer, float]:
    """A fifth peer joins by one address; it and the seconds until it stood where the others do."""
    joiner = SwarmPeer("late-joiner", swarm.plan.base / "late-joiner")
    swarm.followers.append(joiner)
    started = time.monotonic()
    swarm.start_follower(joiner)
    while time.monotonic() < started + JOIN_SECONDS:
        swarm.check_alive(joiner)
        swarm.poll(swarm.authorities[0])
        if swarm.poll(joiner) and joiner.status["finalised"] >= swarm.authorities[0].status["finalised"] > 0:
            return joiner, time.monotonic() - started
        time.sleep(0.1)
    raise SystemExit(f"the late joiner did not catch up in {JOIN_SECONDS:.0f} s\n{joiner.last_lines()}")


def roots_by_height(swarm: Swarm, common: int) -> int:
    """Compare hash and state root of every height on every peer; how many heights agreed."""
    for height in range(1, common + 1):
        seen = {
            (block["hash"], block["header"]["state_root"])
            for peer in swarm.peers
            if peer.client is not None
            for block in [peer.client.call("block", at=str(height))]
        }
        if len(seen) != 1:
            raise SystemExit(f"peers differ at height {height}: {seen}")
    return common


def damage(home: Path, copy: Path, query: str, update: str, parameters: tuple[int, ...] = ()) -> dict[str, Any]:
    """Alter one byte in the middle of a stored value in a copy of `home`; what `yumad verify --json` finds."""
    shutil.copytree(home, copy)
    database = next(copy.glob("chain/*/chain.db"))
    connection = sqlite3.connect(database)
    key, data = connection.execute(query, parameters).fetchone()
    altered = bytearray(data)
    altered[len(altered) // 2] ^= 1
    connection.execute(update, (bytes(altered), key))
    connection.commit()
    connection.close()
    found = yumad("verify", "--home", str(copy), "--json")
    said = json.loads(found.stdout or found.stderr)
    return {"exit_code": found.returncode, "first_difference": said.get("first_difference", said)}


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=40)
    parser.add_argument("--slot", type=float)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="yumad-real-") as folder:
        base = Path(folder)
        made = make_spec(base / "real.spec")
        swarm = Swarm(SwarmPlan(base / "swarm", swarm_chain(base / "real.spec", "dev", options.slot), 4, 0))
        try:
            run_swarm(swarm, options.blocks)
            joiner, seconds = join_late(swarm)
            report = swarm.report()
            heights = roots_by_height(swarm, report["common_height"])
        finally:
            swarm.stop()
        verified = yumad("verify", "--home", str(joiner.home), "--json")
        middle = report["common_height"] // 2
        result = {
            "genesis": {name: made[name] for name in ("issuance", "balances", "stakes", "subnets")},
            "common_height": report["common_height"],
            "heights_equal_on_all_peers": heights,
            "late_joiner_seconds": round(seconds, 1),
            "peers": report["peers"],
            "verify": json.loads(verified.stdout or verified.stderr),
            "one_byte_of_a_stored_body": damage(
                joiner.home,
                base / "body",
                "SELECT height, bytes FROM body WHERE height >= ? AND length(bytes) > 100 ORDER BY height LIMIT 1",
                "UPDATE body SET bytes = ? WHERE height = ?",
                (middle,),
            ),
            "one_byte_of_a_stored_header": damage(
                joiner.home,
                base / "header",
                "SELECT height, bytes FROM header WHERE height = ?",
                "UPDATE header SET bytes = ? WHERE height = ?",
                (middle,),
            ),
            "one_byte_of_stored_state": damage(
                joiner.home,
                base / "state",
                "SELECT key, data FROM chunk ORDER BY key LIMIT 1 OFFSET 40",
                "UPDATE chunk SET data = ? WHERE key = ?",
            ),
        }
    print(json.dumps(result, indent=None if options.json else 2))
    whole = result["verify"].get("first_difference", "error") is None
    raise SystemExit(0 if whole and min(peer["epochs"] for peer in report["peers"][:4]) >= 2 else 1)


if __name__ == "__main__":
    main()
