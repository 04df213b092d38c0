"""A copied authority key beside the original: the copy abstains and nobody ever sees two votes (CHAIN 1.3)."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import DEADLINE, peer
from yumad.daemon.swarm import Swarm, SwarmPlan, random_salt
from yumad.daemon.swarm_spec import swarm_spec

SLOT = 500_000
"""Microseconds: an era of twenty blocks takes ten seconds."""


@pytest.fixture
def swarm(tmp_path: Path) -> Iterator[Swarm]:
    made = Swarm(SwarmPlan(tmp_path / "swarm", swarm_spec("dev", "copied", random_salt(), SLOT), 4, 0))
    made.make()
    try:
        made.start()
        yield made
    finally:
        made.stop()


def wait_for_height(swarm: Swarm, height: int) -> None:
    deadline = time.monotonic() + DEADLINE
    while not all(swarm.poll(each) and each.status["finalised"] >= height for each in swarm.authorities):
        assert time.monotonic() < deadline, [each.status for each in swarm.authorities]
        time.sleep(0.1)


@pytest.mark.parametrize("stale", [False, True], ids=["same era", "an era later"])
def test_copied_authority_home_abstains_and_no_conflict_appears(swarm: Swarm, tmp_path: Path, stale: bool) -> None:
    original = swarm.authorities[1]
    wait_for_height(swarm, 3)
    copy = tmp_path / "copy"
    shutil.copytree(original.home, copy, ignore=shutil.ignore_patterns("peer_key", "lock", "log.jsonl", "control*"))
    wait_for_height(swarm, 25 if stale else 6)
    command = ("run", "--hotkey", "dev:authority/2/hotkey", "--listen", "/ip4/127.0.0.1/tcp/0")
    with peer(copy, *command, "--join", swarm.bootstrap) as second:
        status = second.until(lambda status: status["finalised"] >= (28 if stale else 9))
        status = second.until(lambda status: "listening" not in status["authority"]["abstaining"])
        assert status["authority"]["abstaining"], status
        wait_for_height(swarm, int(status["finalised"]) + 4)
        for each in swarm.authorities:
            assert each.client is not None
            for height in range(1, int(status["finalised"]) + 3):
                assert each.client.call("block", at=str(height))["evidence"] == 0
        assert original.process is not None and original.process.poll() is None
