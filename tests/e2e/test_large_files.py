"""Files above the limit of a body go both ways between a validator and a miner on two real peers (AXON R11)."""

from __future__ import annotations

import time
from pathlib import Path

from processes import DEADLINE
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.ss58 import encode_address
from yumad.daemon.swarm import Swarm, SwarmPlan, random_salt
from yumad.daemon.swarm_spec import SUBNET, played_spec


def test_r11_validator_and_miner_on_two_peers_exchange_files_of_20_and_40_mib(tmp_path: Path) -> None:
    swarm = Swarm(SwarmPlan(tmp_path / "swarm", played_spec("dev", "files", random_salt(), 500_000, 1), 2, 0))
    swarm.make()
    file = str(Path(__file__).with_name("large_files.py"))
    try:
        swarm.start()
        plugins = [(swarm.authorities[1], "miner", "sn1/2"), (swarm.authorities[0], "validator", "sn1/0")]
        for peer, role, account in plugins:
            assert peer.client is not None
            peer.client.call("plugin.run", name=role, file=file, netuid=SUBNET, role=role, hotkey=f"dev:{account}")
        validator = swarm.authorities[0]
        home = tmp_path / "swarm" / validator.name
        scored = home / "plugins" / "validator" / "store" / "scored"
        deadline = time.monotonic() + DEADLINE
        while not scored.exists():
            log = home / "plugins" / "validator" / "log"
            assert time.monotonic() < deadline, log.read_text() if log.exists() else "no log"
            swarm.check_alive(validator)
            time.sleep(0.2)
        assert scored.read_text() == f"{encode_address(dev_keypair('sn1/2').public_key)} 1.0"
        for peer, _, _ in plugins:
            kept = list((tmp_path / "swarm" / peer.name).glob("axon/*/blobs/*.blob"))
            assert sorted({path.stat().st_size >> 20 for path in kept}) == [20, 40]
    finally:
        swarm.stop()
