"""Running scripts and peers as an operator does: a process, its exit code, what it said."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from yumad.consensus.types import YumadError
from yumad.daemon.control_client import ControlClient

ROOT = Path(__file__).resolve().parents[2]

DEADLINE = 120.0
"""Seconds for things that take a few: a busy machine is no failure."""


def run_script(name: str, *arguments: str, timeout: float = 300.0) -> tuple[int, dict[str, Any], str]:
    """Exit code, JSON document and stderr of a script under `scripts/`."""
    command = [sys.executable, str(ROOT / "scripts" / name), *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    document = json.loads(done.stdout) if done.stdout.strip() else {}
    return done.returncode, document, done.stderr


def yumad(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """One command to its end."""
    command = [sys.executable, "-m", "yumad.daemon.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False, **options)


def complaint(done: subprocess.CompletedProcess[str]) -> tuple[str, str]:
    """The error and the remedy of a command that failed: exactly two lines, nothing of a traceback."""
    assert done.returncode != 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    said = [line for line in lines if line.startswith("yumad: ")]
    assert len(said) == 1, done.stderr
    at = lines.index(said[0])
    assert len(lines) > at + 1 and lines[at + 1].startswith("       "), f"no remedy in {done.stderr!r}"
    return said[0].removeprefix("yumad: "), lines[at + 1].strip()


class RunningPeer:
    """A peer's process, its log on stderr collected in a file beside the home."""

    def __init__(self, home: Path, arguments: Sequence[str], **options: Any) -> None:
        self.home = home
        self.log = home.parent / f"{home.name}.{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "yumad.daemon.main", *arguments, "--home", str(home), "--log-format", "json"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=options.pop("stderr", log),
                env={**os.environ, "YUMAD_PRIVATE": "true"},
                **options,
            )

    def ask(self, method: str, **params: Any) -> Any:
        """One answer of its control socket. Raises YumadError while it does not answer."""
        with ControlClient.connect(self.home) as client:
            return client.call(method, **params)

    def status(self) -> dict[str, Any] | None:
        """Its status, None while it does not answer."""
        try:
            found: dict[str, Any] = self.ask("status")
        except YumadError:
            return None
        return found

    def until(self, condition: Callable[[dict[str, Any]], bool], seconds: float = DEADLINE) -> dict[str, Any]:
        """Its status once the condition holds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            status = self.status()
            if status is not None and condition(status):
                return status
            assert self.process.poll() is None, self.log.read_text("utf-8", "replace")[-2000:]
            time.sleep(0.1)
        raise AssertionError(f"not within {seconds:.0f} s; {status}\n{self.log.read_text('utf-8', 'replace')[-2000:]}")

    def terminate(self) -> float:
        """SIGTERM; seconds until it has ended."""
        start = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(DEADLINE)
        return time.monotonic() - start


@contextmanager
def peer(home: Path, *arguments: str, **options: Any) -> Iterator[RunningPeer]:
    """A peer that is gone at the end, whatever happens."""
    running = RunningPeer(home, arguments, **options)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.send_signal(signal.SIGCONT)
            running.process.kill()
            running.process.wait()
