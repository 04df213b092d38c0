"""The shipped subnets, alive in a swarm of real processes: paid by quality, cheats caught, a file outlives its holder.

`yumad swarm --example` makes the network, the subnet, its stakes and registrations, and runs the plugins (AXON R39).
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

FIRST_PAID_SECONDS = 90.0
"""From the start of the plugins to the first final epoch that paid a miner by revealed weights."""


def play(example: str, epochs: int) -> dict[str, Any]:
    """The JSON document of one run."""
    command = [sys.executable, "-m", "yumad.daemon.main", "swarm", "--peers", "4", "--followers", "1"]
    done = subprocess.run(
        [*command, "--example", example, "--until-epochs", str(epochs), "--json"],
        capture_output=True,
        text=True,
        timeout=420,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.mark.parametrize("example", ["compute", "inference", "storage"])
def test_r39_example_in_a_swarm_pays_by_quality_and_catches_the_cheat(example: str) -> None:
    document = play(example, 3)
    assert document["seconds_to_first_paid_epoch"] < FIRST_PAID_SECONDS
    assert all(validator["commits"] >= 2 and validator["revealed"] for validator in document["weights"])
    assert document["ordered_by_quality"], document["incentive_by_variant"]
    assert "cheat" in document["caught"], document["incentive_by_variant"]
    roots = {peer["state_root"] for peer in document["peers"]}
    assert len(roots) == 1, "peers disagree"
    if example == "storage":
        assert document["storage"]["killed"]
        assert document["storage"]["restored"], document["storage"]
