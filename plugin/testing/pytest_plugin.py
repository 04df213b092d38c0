"""Fixtures for an author's tests, found by pytest on its own where yumad is installed (AXON R38).

Nothing but pytest is needed for `play`. Async tests with `yumad_clock` and `swarm` need pytest-trio.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import trio.testing

    from ...consensus.signature import KeyPair
    from ..load import Plugin
    from ..subnet import Subnet
    from .playing import Played
    from .swarm import Swarm


@pytest.fixture
def yumad_clock() -> trio.testing.MockClock:
    """Virtual time for an async test: it jumps to the next deadline whenever everybody waits."""
    import trio.testing

    return trio.testing.MockClock(autojump_threshold=0)


@pytest.fixture
def dev_keys() -> Callable[[str], KeyPair]:
    """`dev_keys("alice")`: the key pair of a development account, the same everywhere."""
    from ...consensus.dev_accounts import dev_keypair

    return dev_keypair


@pytest.fixture
def play() -> Callable[..., Played]:
    """`play(file_or_module, miners=3, rounds=3)`: the validator against miners, on virtual time (playing.py)."""
    from .playing import play

    return play


@pytest.fixture
def swarm(tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Swarm]]:
    """`async with swarm(module, miners=2) as s:` in an async test that also asks for `yumad_clock` (swarm.py)."""
    import trio
    import trio.testing

    from ...consensus.types import InvalidError
    from .swarm import Swarm

    def opened(plugin: Plugin | Subnet | ModuleType | Path | str, **options: Any) -> AbstractAsyncContextManager[Swarm]:
        if not isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock):
            raise InvalidError("this swarm would wait on the wall clock", remedy="let the test take yumad_clock too")
        return Swarm.of(plugin, tmp_path, **options)

    return opened
