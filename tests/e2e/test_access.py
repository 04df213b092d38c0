"""Using a subnet's service needs a stake: refused with what is missing, and served once it is there (issue "Access").

A miner runs on one peer, the holder's commands on another; the receipt of the answered call is checked offline.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import DEADLINE, ROOT, yumad
from yumad.daemon.swarm import Swarm, SwarmPlan, random_salt
from yumad.daemon.swarm_spec import SUBNET, played_spec

MINER = "dev:sn1/2"
QUESTION = '{"prompt": "How does a baker make bread?", "seed": 1, "words": 12}'


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Home of a peer beside the one where a miner of the inference example runs."""
    folder = tmp_path_factory.mktemp("access")
    swarm = Swarm(SwarmPlan(folder / "swarm", played_spec("dev", "access", random_salt(), 500_000, 1), 2, 0))
    swarm.make()
    try:
        swarm.start()
        client = swarm.authorities[1].client
        assert client is not None
        client.call(
            "plugin.run",
            name="miner",
            file=str(ROOT / "examples" / "inference" / "plugin.py"),
            netuid=SUBNET,
            role="miner",
            hotkey=MINER,
        )
        home = swarm.authorities[0].home
        deadline = time.monotonic() + DEADLINE
        while not json.loads(yumad("axon", "list", "--netuid", "1", "--home", str(home), "--json").stdout)["services"]:
            assert time.monotonic() < deadline, "the miner's record did not come"
            time.sleep(0.3)
        yield home
    finally:
        swarm.stop()


def test_r21_holder_without_stake_is_refused_with_what_is_missing_and_served_when_it_is_there(
    home: Path, tmp_path: Path
) -> None:
    receipt = tmp_path / "receipt"
    on = ("--dev", "alice", "--home", str(home))
    ask = ("axon", "call", "ask", "--netuid", "1", "--to", MINER, "--data", QUESTION, "--receipt", str(receipt))
    refused = yumad(*ask, *on, "--json")
    assert refused.returncode == 3, refused.stderr
    error = json.loads(refused.stderr)["error"]
    assert "26" in error["message"]
    assert "1000000000" in error["message"], "the amount that is missing, in rao"
    assert "stake add" in error["remedy"]

    assert yumad("tx", "send", "keys.try_associate_hotkey", "hotkey=dev:alice", *on, "--wait").returncode == 0
    staked = yumad("stake", "add", "--hotkey-ss58", "dev:alice", "--netuid", "1", "--amount", "5", *on, "--wait")
    assert staked.returncode == 0, staked.stderr

    answered = yumad(*ask, *on, "--json")
    assert answered.returncode == 0, answered.stderr
    assert json.loads(answered.stdout)["status"] == 0

    good = yumad("receipt", "verify", str(receipt))
    assert good.returncode == 0, good.stderr
    data = bytearray(receipt.read_bytes())
    data[len(data) // 2] ^= 1
    receipt.write_bytes(data)
    assert yumad("receipt", "verify", str(receipt)).returncode == 1
