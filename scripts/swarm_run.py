"""What the swarm scripts share: entering the environment, a swarm with transfers flowing, and waiting for things.

    from swarm_run import enter_environment, LiveSwarm

Not a program by itself.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yumad.daemon.swarm import Swarm, SwarmPeer

ROOT = Path(__file__).resolve().parents[1]

ROUND_SECONDS = 0.1
"""Between looks at the peers: a fifth of the shortest slot that the scripts use."""


def enter_environment(program: str) -> None:
    """Continue under the project's own interpreter when this one lacks the package, or say what to do."""
    try:
        import yumad.daemon  # noqa: F401
    except ModuleNotFoundError:
        python = ROOT / ".venv" / "bin" / "python"
        if python.exists() and Path(sys.prefix) != ROOT / ".venv":
            os.execv(python, [str(python), *sys.argv])
        print(f"{program}: the project's environment is missing; run ./scripts/setup first", file=sys.stderr)
        raise SystemExit(2) from None


class Stuck(Exception):
    """Something that had to happen did not; the text says what, and what the peers said last."""


def conclude(program: str, run: Callable[[], tuple[dict[str, Any], list[str]]], *, as_json: bool) -> int:
    """Run a proof and print its report; the exit code, 1 for whatever `run` found wrong or could not bring about."""
    from yumad.consensus.types import YumadError

    try:
        report, wrong = run()
    except (Stuck, YumadError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    for line in wrong[:20]:
        print(f"{program}: {line}", file=sys.stderr)
    if as_json:
        print(json.dumps(report))
    else:
        for entry in report.pop("rounds", []):
            print(" ".join(f"{name}={value}" for name, value in entry.items()))
        for name, value in report.items():
            print(f"{name:20} {value}")
    return 0 if not wrong else 1


class LiveSwarm:
    """A running swarm under load: `breathe` keeps transfers flowing and notes what the peers call final."""

    def __init__(self, swarm: Swarm, rng: random.Random) -> None:
        from yumad.daemon.swarm_audit import Sightings
        from yumad.daemon.swarm_load import TransferLoad
        from yumad.daemon.weight_keeper import WeightKeeper

        self.swarm = swarm
        self.rng = rng
        self.load = TransferLoad(swarm.spec.spec, swarm.spec.genesis_hash, rng)
        self.sightings = Sightings()
        self.away: set[str] = set()
        """Names of peers that cannot answer now: stopped ones would keep a caller waiting."""
        self.longest_stall = 0.0
        """Seconds between two new final heights, at worst."""
        self._keeper = WeightKeeper(swarm.spec.spec)
        self._last_progress = time.monotonic()

    @property
    def slot(self) -> float:
        """Seconds of a slot."""
        return self.swarm.spec.spec.slot_length / 1_000_000

    def look(self) -> None:
        """One round: poll everybody, note progress, move some money."""
        now = time.monotonic()
        answering = []
        for peer in self.swarm.peers:
            if peer.name in self.away or not self.swarm.poll(peer):
                continue
            answering.append((peer.name, peer.client))
            if self.sightings.look(peer):
                self._last_progress = now
        self.longest_stall = max(self.longest_stall, now - self._last_progress)
        height = self.sightings.best
        self.load.step(answering, height)
        if answering:
            self._keeper.look(self.rng.choice(answering)[1], height)

    def breathe(self, seconds: float) -> None:
        """Let that much time pass."""
        end = time.monotonic() + seconds
        while True:
            self.look()
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(ROUND_SECONDS, left))

    def wait_until(self, what: str, condition: Callable[[], bool], seconds: float) -> float:
        """Seconds until a condition holds. Raises Stuck after `seconds`."""
        start = time.monotonic()
        while not condition():
            if time.monotonic() - start > seconds:
                raise Stuck(f"{what}: not within {seconds:.0f} s\n{self.describe()}")
            for peer in self.swarm.peers:
                if peer.name not in self.away:
                    self.swarm.check_alive(peer)
            self.breathe(ROUND_SECONDS)
        return time.monotonic() - start

    def wait_for_height(self, peer: SwarmPeer, height: int, seconds: float) -> float:
        """Seconds until a peer answers and has finalised a height."""
        return self.wait_until(
            f"{peer.name} at height {height}",
            lambda: peer.client is not None and int(peer.status.get("finalised", 0)) >= height,
            seconds,
        )

    def settle(self, seconds: float) -> None:
        """Stop sending, wait until nothing waits and everybody stands at one height that includes all of it."""
        self.load.paused = True
        self.wait_until("transfers becoming final", lambda: self.load.waiting == 0, seconds)
        told = [report.height for report in self.load.reported.values()]
        height = max([self.sightings.best, *told])
        for peer in self.swarm.peers:
            self.wait_for_height(peer, height, seconds)

    def describe(self) -> str:
        """Where everybody stands, for an error."""
        lines = []
        for peer in self.swarm.peers:
            status = peer.status
            shown = {name: status.get(name) for name in ("finalised", "height", "era", "view", "level", "peers")}
            running = peer.process is not None and peer.process.poll() is None
            own = (status.get("authority") or {}).get("abstaining")
            lines.append(
                f"{peer.name}: running={running} answers={peer.client is not None} {shown} abstaining={own!r}\n"
                f"    {peer.last_lines()[-600:]}"
            )
        return "\n".join(lines)


@contextmanager
def live_swarm(
    peers: int, followers: int, slot: float, rng: random.Random, base: Path | None = None
) -> Iterator[LiveSwarm]:
    """Start a development swarm under load in a folder that is removed at the end, unless `base` is given."""
    from yumad.daemon.swarm import Swarm, SwarmPlan, random_salt
    from yumad.daemon.swarm_spec import swarm_spec

    folder = base or Path(tempfile.mkdtemp(prefix="yumad-swarm-"))
    spec = swarm_spec("dev", "swarm", random_salt(), round(slot * 1_000_000))
    swarm = Swarm(SwarmPlan(folder, spec, peers, followers))
    try:
        swarm.make()
        swarm.start()
        live = LiveSwarm(swarm, rng)
        live.wait_until("the first final blocks", lambda: live.sightings.best >= 2, 60)
        live.longest_stall = 0.0
        yield live
    finally:
        swarm.stop()
        if base is None:
            shutil.rmtree(folder, ignore_errors=True)
