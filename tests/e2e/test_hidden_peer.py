"""What the settings of a running peer do to what it shows of itself (AXON R33, R35, complaint C8)."""

from __future__ import annotations

import time
from pathlib import Path

from processes import DEADLINE, peer, yumad
from yumad.daemon.swarm import Swarm, SwarmPlan, random_salt
from yumad.daemon.swarm_spec import SUBNET, played_spec, swarm_spec

SLOT = 500_000
"""Microseconds."""

ECHO = """
from dataclasses import dataclass

from yumad import Subnet

subnet = Subnet("echo", version=1)


@dataclass
class Text:
    text: str


@subnet.method
async def echo(request: Text) -> Text:
    return request
"""

COMMAND = ("run", "--hotkey", "dev:authority/1/hotkey", "--listen", "/ip4/127.0.0.1/tcp/0")


def test_r33_r35_peer_that_is_relay_only_shows_no_address_and_does_not_relay(tmp_path: Path) -> None:
    swarm = Swarm(SwarmPlan(tmp_path, swarm_spec("dev", "hidden", random_salt(), SLOT), 1, 0))
    swarm.make()
    home = tmp_path / "authority-1"
    with peer(home, *COMMAND) as running:
        running.until(lambda status: bool(status["addresses"]))
        assert running.ask("axon.status")["shown_addresses"]
        running.terminate()
    with peer(home, *COMMAND, "--relay-only") as running:
        running.until(lambda status: bool(status["addresses"]))
        assert running.ask("axon.status")["shown_addresses"] == []


def test_r33_plugin_that_is_run_sealed_is_announced_without_its_address(tmp_path: Path) -> None:
    swarm = Swarm(SwarmPlan(tmp_path / "swarm", played_spec("dev", "sealed", random_salt(), SLOT, 1), 2, 0))
    swarm.make()
    file = tmp_path / "echo.py"
    file.write_text(ECHO)
    try:
        swarm.start()
        home = swarm.authorities[1].home
        where = ("--netuid", str(SUBNET), "--hotkey", "dev:sn1/2", "--home", str(home))
        done = yumad("plugin", "run", str(file), *where, "--sealed")
        assert done.returncode == 0, done.stderr
        assert "sealed = true" in (home / "plugins" / "echo" / "plugin.toml").read_text()
        other = swarm.authorities[0].client
        assert other is not None
        deadline = time.monotonic() + DEADLINE
        while not (services := other.call("axon.services", netuid=SUBNET)["services"]):
            assert time.monotonic() < deadline, "the miner's record did not come"
            time.sleep(0.3)
        ((record,),) = [service["records"] for service in services]
        assert record["sealed"] and record["addresses"] == []
    finally:
        swarm.stop()
