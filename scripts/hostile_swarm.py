#!/usr/bin/env python3
"""Attack one authority of a live swarm in some hundred ways and look whether anybody notices.

    scripts/hostile_swarm.py --cases 200 [--slot 1] [--seed N] [--keep FOLDER] [--json]

Cases are drawn from the attacks of `tests/adversary`: each transport attack once (malformed protobuf, a protocol name
that is not UTF-8, window overrun, 12 000 streams, 300 connects, 400 silent sockets, ...), each kind of damage on each
gossip topic, request protocol and the vote exchange, forged signatures, other networks, floods, and random fuzz for the
rest. Every case has a fresh identity, since bans are by identity. Transfers flow all the time.

Exit 0 only if the victim stays up and in step, the honest peers finalise at least one block in three slots all the
time, the victim's resident memory grows by less than 50 MB, it logs nothing at level error, and it counts what it
drops by reason. With --json it prints one document with a row for each category.
"""

from __future__ import annotations

import argparse
import json
import random
import secrets
import socket
import sys
import threading
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarm_run import ROOT, LiveSwarm, conclude, enter_environment, live_swarm

if TYPE_CHECKING:
    from adversary.attacks import Attack
    from yumad.daemon.swarm import SwarmPeer

PEERS = 4
MOST_GROWTH = 50_000_000
"""Bytes that the victim's resident memory may grow."""

STALL_SLOTS = 3
"""Slots in which the honest peers must have a new final block."""

CASE_SECONDS = 60.0
"""A case that takes longer is itself stuck."""

PARTS = ("gossip", "exchange", "requests_served", "transport_dropped", "transport_refused", "offences")
"""Parts of a peer whose counters say what was dropped."""

FINE = ("accept", "accepted", "ok", "published", "frames", "items", "duplicate")
"""Words in counters of things that went well."""


@dataclass(slots=True)
class Watch:
    """What a thread sees while the attacks run."""

    live: LiveSwarm
    victim: SwarmPeer
    stop: threading.Event = field(default_factory=threading.Event)
    case: str = ""
    best: int = 0
    longest_stall: float = 0.0
    stall_case: str = ""
    peak: int = 0
    error: BaseException | None = None

    def run(self) -> None:
        """Look until told to stop. A failure ends it and is raised by whoever waits."""
        from adversary.attacks import resident_bytes

        last = time.monotonic()
        cases: list[str] = []
        try:
            while not self.stop.is_set():
                self.live.look()
                now = time.monotonic()
                honest = max(int(p.status.get("finalised", 0)) for p in self.live.swarm.peers if p is not self.victim)
                if not cases or cases[-1] != self.case:
                    cases.append(self.case)
                if now - last > self.longest_stall:
                    self.longest_stall, self.stall_case = now - last, " > ".join(cases[-3:])
                if honest > self.best:
                    self.best, last, cases = honest, now, []
                assert self.victim.process is not None
                self.live.swarm.check_alive(self.victim)
                self.peak = max(self.peak, resident_bytes(self.victim.process.pid))
                self.stop.wait(0.1)
        except BaseException as error:
            self.error = error


@dataclass(slots=True)
class Category:
    """Attacks of one kind, added up."""

    cases: int = 0
    actions: int = 0
    dropped: int = 0
    seconds: float = 0.0


def choose_cases(material: Any, count: int, seed: int) -> list[tuple[str, Attack]]:
    """`count` cases: the transport attacks first in line, then a sample of everything else, in random order."""
    from adversary.attacks import ATTACKS, hostile_cases
    from adversary.payload_attacks import REQUEST_NAMES, payload_cases

    rng = random.Random(seed)
    topics = material.topics.all()
    protocols = [material.protocol(name).encode() for name in REQUEST_NAMES]
    ours = payload_cases(material, seed)
    rng.shuffle(ours)
    transport: list[tuple[str, Attack]] = list(ATTACKS.items())
    fuzz = [
        (" ".join(name.split()[:2]).replace(f"/yumad/{material.names.net}", ""), attack)
        for name, attack in hostile_cases(seed, len(transport) + count, topics=topics, protocols=protocols)
        if name not in ATTACKS
    ]
    fuzz = [(name if not name.startswith("fuzz") else "stream fuzz", attack) for name, attack in fuzz]
    cases = [*transport, *ours, *fuzz]
    if count < len(cases):
        cases = [*transport, *[*ours, *fuzz[: len(ours) // 2]]][:count]
    rng.shuffle(cases)
    return cases


def free_port() -> int:
    """A port that nothing uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def scrape(port: int) -> Counter[str]:
    """Counters of the victim's drops, `part/kind` -> count."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    found: Counter[str] = Counter()
    for line in text.splitlines():
        for part in PARTS:
            if line.startswith(f"yumad_{part}_total{{"):
                kind = line.partition('kind="')[2].partition('"')[0]
                found[f"{part}/{kind}"] = int(float(line.rpartition(" ")[2]))
    return found


def logged_errors(log: Path) -> list[str]:
    """Lines of a JSON log at level error or worse, and lines that are no JSON at all (tracebacks)."""
    found = []
    for line in log.read_text("utf-8", "replace").splitlines():
        try:
            level = json.loads(line).get("level")
        except ValueError:
            found.append(line[:200])
            continue
        if level in ("error", "critical", "exception"):
            found.append(line[:300])
    return found


def restart_with_metrics(live: LiveSwarm, victim: SwarmPeer) -> int:
    """Start the victim again with a metrics endpoint; its port."""
    import signal

    from yumad.storage.home import Home

    port = free_port()
    live.away.add(victim.name)
    live.swarm.kill(victim, signal.SIGTERM)
    with Home(victim.home).config_file.open("a", encoding="utf-8") as config:
        config.write(f'metrics = "127.0.0.1:{port}"\n')
    live.swarm.restart(victim)
    live.away.discard(victim.name)
    live.wait_for_height(victim, live.sightings.best + 3, 90)
    return port


def run_cases(watch: Watch, cases: list[tuple[str, Attack]], address: str, verbose: bool) -> dict[str, Category]:
    """One case after the other, each with its own event loop and identity."""
    import trio

    done: dict[str, Category] = {}
    for number, (category, attack) in enumerate(cases, start=1):
        watch.case = category

        async def one(attack: Attack = attack) -> Any:
            with trio.fail_after(CASE_SECONDS):
                return await attack(address)

        report = trio.run(one)
        entry = done.setdefault(category, Category())
        entry.cases += 1
        entry.actions += report.actions
        entry.dropped += report.dropped
        entry.seconds += report.seconds
        if verbose:
            print(
                f"{number}/{len(cases)} {category}: {report.actions} in {report.seconds:.1f} s, height {watch.best}, "
                f"{watch.peak / 1e6:.0f} MB, stall {watch.longest_stall:.1f} s",
                file=sys.stderr,
                flush=True,
            )
        if watch.error is not None:
            raise watch.error
    watch.case = ""
    return done


def run(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Start, attack, judge: the report, and what is wrong in words."""
    import trio
    from adversary.attacks import resident_bytes
    from adversary.payload_attacks import gather_material

    seed = secrets.randbits(32) if arguments.seed is None else arguments.seed
    start = time.monotonic()
    with live_swarm(PEERS, 0, arguments.slot, random.Random(seed), arguments.keep) as live:
        victim = live.swarm.authorities[1]
        port = restart_with_metrics(live, victim)
        address = victim.status["addresses"][0].partition("#")[0]
        genesis_hash = live.swarm.spec.genesis_hash
        material = trio.run(gather_material, address, genesis_hash)
        cases = choose_cases(material, arguments.cases, seed)
        assert victim.process is not None
        before, counted, height = resident_bytes(victim.process.pid), scrape(port), live.sightings.best
        watch = Watch(live, victim)
        thread = threading.Thread(target=watch.run, name="watch")
        thread.start()
        try:
            categories = run_cases(watch, cases, address, arguments.verbose)
        finally:
            watch.stop.set()
            thread.join()
        if watch.error is not None:
            raise watch.error
        live.wait_for_height(victim, live.sightings.best + 1, 60)
        after = resident_bytes(victim.process.pid)
        drops = scrape(port) - counted
        errors = logged_errors(victim.log)
        final = live.sightings.best
    drops = Counter({name: n for name, n in drops.items() if not name.rpartition("/")[2].startswith(FINE)})
    slots = watch.longest_stall / arguments.slot
    report = {
        "cases": len(cases),
        "categories": {
            name: {"cases": c.cases, "actions": c.actions, "dropped": c.dropped, "seconds": round(c.seconds, 1)}
            for name, c in sorted(categories.items())
        },
        "victim_up": True,
        "blocks": final - height,
        "longest_stall_s": round(watch.longest_stall, 2),
        "longest_stall_slots": round(slots, 2),
        "longest_stall_case": watch.stall_case,
        "rss_before_mb": round(before / 1e6, 1),
        "rss_after_mb": round(after / 1e6, 1),
        "rss_peak_mb": round(watch.peak / 1e6, 1),
        "errors_logged": len(errors),
        "drops": dict(sorted(drops.items())),
        "seconds": round(time.monotonic() - start, 1),
        "seed": seed,
    }
    wrong = [f"logged at error: {line}" for line in errors]
    if after - before >= MOST_GROWTH:
        wrong.append(f"resident memory grew from {before / 1e6:.0f} MB to {after / 1e6:.0f} MB")
    if slots > STALL_SLOTS:
        wrong.append(f"no new final block for {slots:.1f} slots, during {watch.stall_case}")
    if not drops:
        wrong.append("nothing was counted as dropped")
    return report, wrong


def main() -> int:
    """Entry point; 0 when the attacks changed nothing, 1 when something is wrong."""

    parser = argparse.ArgumentParser(description="Attack one authority of a live swarm.")
    parser.add_argument("--cases", type=int, default=200, help="attacks (default: 200)")
    parser.add_argument("--slot", type=float, default=1.0, help="seconds of a slot (default: 1)")
    parser.add_argument("--seed", type=int, help="draw the same cases again")
    parser.add_argument("--keep", type=Path, help="new folder for the homes, kept at the end")
    parser.add_argument("--verbose", action="store_true", help="a line for each case on stderr")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    if arguments.cases < 1:
        parser.error(f"--cases is {arguments.cases}; expected at least 1")
    return conclude("hostile_swarm", lambda: run(arguments), as_json=arguments.json)


if __name__ == "__main__":
    enter_environment("hostile_swarm")
    sys.path.append(str(ROOT / "tests"))
    raise SystemExit(main())
