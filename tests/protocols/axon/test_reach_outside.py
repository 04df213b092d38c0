"""The own outside address, from peers only, and from more than one network (AXON R35, C16)."""

from __future__ import annotations

import random

import pytest
import trio
from trio.testing import MockClock
from yumad.consensus.types import Hash32
from yumad.protocols.axon.outside_address import MAX_VOICES, OBSERVED, OutsideAddress, observed_service
from yumad.protocols.memory_transport import MemoryNetwork, MemoryTransport
from yumad.protocols.names import NetworkNames
from yumad.protocols.peer_ledger import Offence
from yumad.protocols.request_server import RequestServer
from yumad.protocols.requests import BadReply, NotAvailable, RequestClient
from yumad.protocols.transport import PeerId

NAMES = NetworkNames.of(Hash32(bytes.fromhex("ab" * 32)))
OURS = "/ip4/8.8.4.4/tcp/55555"
OTHER = "/ip4/9.9.9.9/tcp/1"


def test_r35_address_needs_voices_of_two_networks() -> None:
    outside = OutsideAddress()
    for host in range(1, 200):
        outside.hear(f"/ip4/1.2.3.{host}/tcp/1", OURS)
    assert outside.host() is None, "one network can be one person"
    outside.hear("/ip4/5.6.7.8/tcp/1", OURS)
    assert outside.host() == "/ip4/8.8.4.4"
    assert outside.address(30333) == "/ip4/8.8.4.4/tcp/30333"


def test_r35_minority_of_liars_does_not_move_the_address_and_a_tie_gives_none() -> None:
    outside = OutsideAddress()
    for network in range(1, 5):
        outside.hear(f"/ip4/1.{network}.0.1/tcp/1", OURS)
    for network in range(5, 8):
        outside.hear(f"/ip4/1.{network}.0.1/tcp/1", OTHER)
    assert outside.host() == "/ip4/8.8.4.4"
    outside.hear("/ip4/1.9.0.1/tcp/1", OTHER)
    assert outside.host() is None


def test_r35_local_addresses_have_no_voice_and_old_voices_are_forgotten() -> None:
    outside = OutsideAddress()
    for observer, observed in (
        ("/ip4/1.2.3.4/tcp/1", "/ip4/192.168.1.2/tcp/1"),
        ("/ip4/2.2.3.4/tcp/1", "/ip4/127.0.0.1/tcp/1"),
        (None, OURS),
        ("/dns4/example.org/tcp/1", OURS),
        ("/memory", OURS),
        ("/ip4/3.2.3.4/tcp/1", "/dns4/example.org/tcp/1"),
        ("/ip4/nonsense/tcp/1", OURS),
    ):
        outside.hear(observer, observed)
    assert outside.host() is None
    for network in range(2):
        outside.hear(f"/ip4/1.{network}.0.1/tcp/1", OURS)
    for network in range(MAX_VOICES):
        outside.hear(f"/ip4/2.{network}.0.1/tcp/1", OTHER)
    assert outside.host() == "/ip4/9.9.9.9", "an address that changed is learned anew"


def test_r35_ip6_is_counted_by_operator() -> None:
    outside = OutsideAddress()
    outside.hear("/ip6/2a00:1:1::1/tcp/1", "/ip6/2a02:99::1/tcp/5")
    outside.hear("/ip6/2a00:1:2::1/tcp/1", "/ip6/2a02:99::1/tcp/5")
    assert outside.host() is None
    outside.hear("/ip6/2a01:1::1/tcp/1", "/ip6/2a02:99::1/tcp/6")
    assert outside.host() == "/ip6/2a02:99::1"


class _Penalties:
    def __init__(self) -> None:
        self.offences: list[Offence] = []

    def offend(self, peer: PeerId, offence: Offence) -> None:
        self.offences.append(offence)

    def useful(self, peer: PeerId) -> None: ...


async def test_r35_peer_tells_the_asker_where_it_sees_it(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, penalties = MemoryNetwork(random.Random(1)), _Penalties()
    asker, server = MemoryTransport(network, PeerId("asker")), MemoryTransport(network, PeerId("server"))
    RequestServer(server, NAMES, [observed_service(server)], penalties).register()
    client = RequestClient(asker, NAMES, penalties)
    async with trio.open_nursery() as nursery:
        await nursery.start(asker.run)
        await nursery.start(server.run)
        await asker.dial("/memory/p2p/server")
        monkeypatch.setattr(server, "remote_address", lambda peer: OURS)
        assert await client.request(PeerId("server"), OBSERVED, None) == [OURS]
        monkeypatch.setattr(server, "remote_address", lambda peer: None)
        with pytest.raises(NotAvailable):
            await client.request(PeerId("server"), OBSERVED, None)
        monkeypatch.setattr(server, "remote_address", lambda peer: "/ip4/8.8.4.4/udp/1")
        with pytest.raises(BadReply):
            await client.request(PeerId("server"), OBSERVED, None)
        assert penalties.offences == [Offence.BAD_REPLY]
        nursery.cancel_scope.cancel()
