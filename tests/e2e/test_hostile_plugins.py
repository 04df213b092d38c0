"""Plugins that hang, flood their log, fork or exit, all on one real peer: it goes on as if they were not there.

That a hanging one is found and started anew takes 20 s; tests/daemon/plugins has it with shorter times.
"""

from __future__ import annotations

import time
from pathlib import Path

from processes import DEADLINE
from yumad.daemon.swarm import Swarm, SwarmPlan, random_salt
from yumad.daemon.swarm_spec import SUBNET, played_spec

SLOT = 500_000
HOW = ("hangs", "floods", "forks", "exits")
WATCHED_SECONDS = 12.0
MOST_MEMORY = 32 << 20


def resident(pid: int) -> int:
    fields = Path(f"/proc/{pid}/statm").read_text("ascii").split()
    return int(fields[1]) * 4096


def children_marked(name: str) -> list[int]:
    """Processes whose working folder is that plugin's store."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if f"/plugins/{name}/" in str((entry / "cwd").readlink()) + "/":
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def test_r24_plugins_that_hang_flood_fork_and_exit_leave_the_daemon_untouched(tmp_path: Path) -> None:
    swarm = Swarm(SwarmPlan(tmp_path / "swarm", played_spec("dev", "hostile", random_salt(), SLOT, len(HOW)), 1, 0))
    swarm.make()
    try:
        swarm.start()
        (peer,) = swarm.authorities
        assert peer.client is not None and peer.process is not None
        deadline = time.monotonic() + DEADLINE
        while not (swarm.poll(peer) and peer.status["finalised"] >= 3):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        before, height = resident(peer.process.pid), int(peer.status["finalised"])
        began = time.monotonic()
        for uid, how in enumerate(HOW, 2):
            peer.client.call(
                "plugin.run",
                name=how,
                file=str(Path(__file__).with_name("hostile_plugins.py")),
                netuid=SUBNET,
                role="miner",
                hotkey=f"dev:sn1/{uid}",
                arguments=[how],
            )
        longest = 0.0
        while time.monotonic() - began < WATCHED_SECONDS:
            asked = time.monotonic()
            assert swarm.poll(peer), "the peer stopped answering"
            longest = max(longest, time.monotonic() - asked)
            swarm.check_alive(peer)
            time.sleep(0.2)
        blocks = int(peer.status["finalised"]) - height
        assert blocks >= 0.8 * (time.monotonic() - began) / (SLOT / 1e6), f"only {blocks} blocks"
        assert longest < 2.0, f"a status took {longest:.1f} s"
        assert resident(peer.process.pid) - before < MOST_MEMORY
        states = {plugin["name"]: plugin for plugin in peer.client.call("plugin.list")}
        assert states["exits"]["restarts"] >= 2, states["exits"]
        log = tmp_path / "swarm" / peer.name / "plugins" / "floods" / "log"
        assert sum(file.stat().st_size for file in log.parent.glob("log*")) < 16 << 20
        for how in HOW:
            peer.client.call("plugin.stop", name=how)
        assert [pid for how in HOW for pid in children_marked(how)] == [], "a descendant outlived its plugin"
    finally:
        swarm.stop()
