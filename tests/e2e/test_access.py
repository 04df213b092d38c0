"""Using a subnet's service needs a stake: refused with what is missing, and served once it is there (issue "Access").

A miner runs on one peer, the holder's commands on another; the receipt of the answered call is checked offline.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from processes import DEADLINE, ROOT, yumad
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.types import AccountId
from yumad.daemon.swarm import Swarm, SwarmPlan, random_salt
from yumad.daemon.swarm_spec import SUBNET, played_spec
from yumad.protocols.axon.envelope import Envelope, sign_envelope
from yumad.protocols.axon.payload import encode_payload
from yumad.protocols.axon.status import Status

MINER = "dev:sn1/2"
QUESTION = '{"prompt": "How does a baker make bread?", "seed": 1, "words": 12}'


@pytest.fixture(scope="module")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    """Two peers; on the second runs a miner of the inference example, which the first has heard of."""
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
        until(lambda: bool(services(swarm)), "the miner's record")
        yield swarm
    finally:
        swarm.stop()


def services(swarm: Swarm) -> list[dict[str, Any]]:
    home = swarm.authorities[0].home
    found = json.loads(yumad("axon", "list", "--netuid", "1", "--home", str(home), "--json").stdout)
    return list(found["services"])


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.3)


def test_r21_holder_without_stake_is_refused_with_what_is_missing_and_served_when_it_is_there(
    swarm: Swarm, tmp_path: Path
) -> None:
    receipt = tmp_path / "receipt"
    on = ("--dev", "alice", "--home", str(swarm.authorities[0].home))
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


def signed_call(swarm: Swarm, body: bytes) -> str:
    """A validator's call of the miner, valid for a minute, as hex."""
    caller, now = dev_keypair("sn1/0"), time.time_ns()
    envelope = Envelope(
        genesis_hash=swarm.spec.genesis_hash,
        netuid=SUBNET,
        method="ask",
        method_version=1,
        caller=AccountId(caller.public_key),
        receiver=AccountId(dev_keypair("sn1/2").public_key),
        request_id=os.urandom(16),
        created=now,
        deadline=now + 60_000_000_000,
        body_length=len(body),
        body_hash=sha256(body).digest(),
    )
    return sign_envelope(envelope, caller).encode().hex()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_r2_captured_call_is_refused_again_also_after_a_restart_of_the_miners_daemon(
    swarm: Swarm, how: signal.Signals
) -> None:
    body = b"".join(encode_payload({"prompt": "How does a baker make bread?", "seed": 2, "words": 5}))
    first, second = swarm.authorities

    def forward(envelope: str) -> Status:
        assert first.client is not None
        return Status(first.client.call("axon.forward", envelope=envelope, body=body.hex())["status"])

    captured = signed_call(swarm, body)
    until(lambda: forward(signed_call(swarm, body)) is Status.OK, "a served call")
    assert forward(captured) is Status.OK
    assert forward(captured) is Status.REPLAY
    swarm.kill(second, how)
    swarm.restart(second)
    swarm.wait_for(second)
    seen: set[Status] = set()

    def is_served_again() -> bool:
        seen.add(forward(captured))
        return forward(signed_call(swarm, body)) is Status.OK

    until(is_served_again, "the miner after its restart")
    seen.add(forward(captured))
    assert Status.OK not in seen, "a captured call was served twice"
    assert forward(captured) in (Status.REPLAY, Status.STALE, Status.BUSY)
