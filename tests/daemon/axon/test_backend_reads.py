"""What the peer does for a plugin while it is there: reads in turns; keys and subnets until it stops (AXON R24)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock
from yumad.consensus.signature import KeyPair
from yumad.daemon.axon.backend import READS_OF_PLUGIN, ServiceBackend
from yumad.daemon.plugins.backend import PluginIdentity
from yumad.protocols.axon.interfaces import CallTerms, Endpoint, StreamAborted
from yumad.protocols.axon.status import Status
from yumad.protocols.transport import PeerId


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


class Followed:
    """The parts of a service that a plugin's presence touches; they keep what they were told."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.hotkeys: dict[bytes, KeyPair] = {}
        self.subnets: set[int] = set()
        self.versions: dict[bytes, int] = {}
        self.discovery = SimpleNamespace(follow=self.subnets.add, unfollow=self.subnets.discard)
        self.view = SimpleNamespace(unwatch=lambda netuid: None)
        self.blobs = SimpleNamespace(withdraw_all=lambda name: None)
        self.keeping = SimpleNamespace(scheduler=self, scores=self)

    async def load(self, key: object) -> None:
        await trio.sleep(0.1)

    async def add(self, pair: KeyPair, netuid: int, *, version_key: int) -> None:
        await trio.sleep(0.1 if version_key else 5.0)
        self.versions[pair.public_key] = version_key

    def remove(self, hotkey: bytes, netuid: int) -> None:
        self.versions.pop(hotkey, None)

    def status(self, hotkey: bytes, netuid: int) -> None:
        return None


def validator(name: str, key: str, netuid: int) -> PluginIdentity:
    return PluginIdentity(name, netuid, ("validator",), KeyPair(key.encode().ljust(32, b".")))


async def test_stopped_plugin_s_key_and_subnet_are_used_no_more_unless_another_needs_them(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        service = Followed(nursery)
        backend = ServiceBackend(cast(Any, service))
        plugins = [validator("a", "one", 1), validator("b", "one", 2), validator("c", "two", 2)]
        for who in plugins:
            backend.enlist(who)
        assert service.subnets == {1, 2}
        backend.dismiss(plugins[0])
        assert (len(service.hotkeys), service.subnets) == (2, {2})
        backend.dismiss(plugins[1])
        assert (list(service.hotkeys), service.subnets) == ([plugins[2].hotkey], {2})
        backend.dismiss(plugins[2])
        assert (service.hotkeys, service.subnets) == ({}, set())


async def test_r29_validator_that_is_stopped_while_its_notes_are_read_is_left_alone(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        service = Followed(nursery)
        backend = ServiceBackend(cast(Any, service))
        who = validator("a", "one", 1)
        backend.enlist(who)
        await trio.sleep(1)
        backend.dismiss(who)
        await trio.sleep(10)
        assert service.versions == {}


async def test_c8_stream_that_leads_to_nobody_paces_the_next_dial(autojump_clock: MockClock) -> None:
    @asynccontextmanager
    async def stream(*_: Any, **__: Any) -> AsyncIterator[None]:
        raise StreamAborted(Status.DIAL_FAILED, "no answer")
        yield

    failed: list[str] = []
    paced = SimpleNamespace(endpoints=lambda *_: [Endpoint(PeerId("gone"), ())] * 9, failed=failed.append)
    book = SimpleNamespace(of=lambda *_: [])
    peer = SimpleNamespace(clock=SimpleNamespace(now=lambda: 0))
    service = SimpleNamespace(
        client=SimpleNamespace(stream=stream), paced=paced, discovery=SimpleNamespace(book=book), peer=peer
    )
    backend = ServiceBackend(cast(Any, service))
    with pytest.raises(StreamAborted):
        async with backend.stream(identity("a"), identity("b").hotkey, "m", 1, b"", CallTerms(5.0)):
            pass
    assert failed == ["gone"] * 4
