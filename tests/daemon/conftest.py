"""Makes the small peer of this folder importable, and gives tests a daemon around it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent))

from daemon_thread import Daemon, running_daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A running daemon of a small peer that makes blocks."""
    with running_daemon(tmp_path / "home") as running:
        yield running
