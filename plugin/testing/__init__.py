"""Peers in memory: what an author's tests, swarms and simulations run on (AXON R37, R38). No sockets, no wall clock.

    from yumad.plugin.testing import play

    def test_honest_miners_score_one():
        assert play("echo.py", miners=3).scores["miner/0"] > 0.2

Names are loaded when they are asked for: pytest imports this package in every project that has yumad beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .chain import FakeChain
    from .playing import Played, play
    from .swarm import Node, Swarm
    from .traffic import Difference, Recorder, replay

__all__ = ["play", "Played", "Swarm", "Node", "FakeChain", "Recorder", "replay", "Difference"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import chain, playing, swarm, traffic

    value = next(vars(module)[name] for module in (playing, swarm, chain, traffic) if name in vars(module))
    globals()[name] = value
    return value
