"""Plugins read the chain in turns, so that none of them holds up the lane in which blocks are executed (AXON R24)."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import trio
from trio.testing import MockClock
from yumad.consensus.signature import KeyPair
from yumad.daemon.axon.backend import READS_OF_PLUGIN, ServiceBackend
from yumad.daemon.plugins.backend import PluginIdentity


class Lane:
    """Reads take 10 ms, one after the other, as in the execution lane."""

    def __init__(self) -> None:
        self.waiting = self.longest = self.done = 0

    async def read(self, reader: Callable[[Any], Any]) -> Any:
        self.waiting += 1
        self.longest = max(self.longest, self.waiting)
        await trio.sleep(0.01)
        self.waiting -= 1
        self.done += 1
        return {}


def identity(name: str) -> PluginIdentity:
    return PluginIdentity(name, 1, ("miner",), KeyPair(name.encode().ljust(32, b".")))


async def test_r24_plugin_that_floods_reads_has_one_of_them_in_the_lane(autojump_clock: MockClock) -> None:
    lane = Lane()
    backend = ServiceBackend(cast(Any, SimpleNamespace(answers=lane)))
    flooder, other = identity("flooder"), identity("other")
    async with trio.open_nursery() as nursery:
        for _ in range(1000):
            nursery.start_soon(backend.query, flooder, "subnets", ())
        await trio.sleep(0.005)
        began = trio.current_time()
        await backend.query(other, "subnets", ())
        assert trio.current_time() - began < 0.1
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert lane.longest == 2, "one of each plugin"
    assert lane.done <= 10 * READS_OF_PLUGIN.units / READS_OF_PLUGIN.seconds + READS_OF_PLUGIN.units + 1
