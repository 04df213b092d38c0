"""What a plugin offers is announced as one record, or refused to the plugin itself (AXON R24, R33)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock
from yumad.consensus.signature import KeyPair
from yumad.consensus.types import AccountId, Hash32, MalformedError, Micros
from yumad.daemon.axon.announcer import Announcer
from yumad.daemon.axon.served_place import ServedPlace
from yumad.daemon.clock import TrioClock
from yumad.protocols.axon.interfaces import CallReply, Handler, IncomingCall, ServedMethod
from yumad.protocols.axon.record_book import RecordBook
from yumad.protocols.axon.record_gossip import RecordGossip
from yumad.protocols.axon.records import MAX_METHODS, OfferedMethod
from yumad.protocols.memory_transport import MemoryNetwork, MemoryTransport
from yumad.protocols.names import NetworkNames
from yumad.protocols.peer_records import peer_id_of

GENESIS = Hash32(bytes.fromhex("ab" * 32))
KEY = KeyPair(b"k" * 32)
PEER = peer_id_of(KeyPair(b"p" * 32).public_key)


async def answer(call: IncomingCall) -> CallReply:
    return CallReply()


class Place:
    """A service of which only the announcer is real; it keeps what is served."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.served: list[Sequence[ServedMethod]] = []
        self.announced: list[list[tuple[str, int]]] = []
        self.nursery = nursery
        self.hotkeys: dict[AccountId, KeyPair] = {}
        self.view = self.server = self
        self.blobs = SimpleNamespace(noting=lambda handler: handler)
        transport = MemoryTransport(MemoryNetwork(random.Random(1)), PEER)
        names, clock = NetworkNames.of(GENESIS), TrioClock(Micros(1_700_000_000_000_000))
        book = RecordBook(GENESIS, lambda netuid, hotkey: True)
        penalties = SimpleNamespace(offend=lambda *_: None, useful=lambda _: None)
        gossip = RecordGossip(transport, names, book, clock, penalties)
        announcer = Announcer(transport, GENESIS, gossip, clock, lambda netuid: (), tuple)
        self.discovery = SimpleNamespace(announcer=announcer, announce=self._announce)

    async def watch(self, netuid: int, *, holders: bool) -> None:
        await trio.lowlevel.checkpoint()

    def register(self, key: KeyPair, netuid: int, methods: Sequence[ServedMethod], handler: Handler) -> Any:
        self.served.append(methods)
        return SimpleNamespace(replace=lambda methods, handler: self.served.append(methods))

    def _announce(self, key: KeyPair, netuid: int, methods: Sequence[OfferedMethod], *, sealed: bool) -> None:
        self.announced.append([(method.name, method.version) for method in methods])

    def serve(self, *methods: ServedMethod) -> ServedPlace:
        return ServedPlace(cast(Any, self), KEY, 1, methods, answer, sealed=False)


async def test_r24_more_methods_than_a_record_holds_are_refused_to_the_plugin_and_to_nobody_else(
    autojump_clock: MockClock,
) -> None:
    many = [ServedMethod(f"method_{number}") for number in range(MAX_METHODS + 1)]
    async with trio.open_nursery() as nursery:
        place = Place(nursery)
        with pytest.raises(MalformedError, match="at most 24"):
            place.serve(*many)
        with pytest.raises(MalformedError) as refused:
            place.serve(*(ServedMethod(f"{number:_>64}") for number in range(MAX_METHODS)), ServedMethod("x" * 64))
        assert "fit into a record" in refused.value.remedy
        served = place.serve(*many[:-1])
        await trio.sleep(1)
        with pytest.raises(MalformedError):
            served.replace(many, answer)
        await trio.sleep(1)
        assert place.served == [tuple(many[:-1])], "what was served before still is"


async def test_r12_of_several_versions_of_a_method_the_newest_is_announced(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        place = Place(nursery)
        served = place.serve(*(ServedMethod("echo", version) for version in (1, 3, 2)), ServedMethod("ping"))
        await trio.sleep(1)
        served.replace((ServedMethod("echo", 4),), answer)
        await trio.sleep(1)
        assert place.announced == [[("echo", 3), ("ping", 1)], [("echo", 4)]]
        assert [method.version for method in place.served[0]] == [1, 3, 2, 1], "all of them are served"
