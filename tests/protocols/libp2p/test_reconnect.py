"""The redial loop over the in-memory network in virtual time."""

from __future__ import annotations

import itertools
import random

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from yumad.protocols.libp2p import reconnect
from yumad.protocols.libp2p.identity import identity_from_seed
from yumad.protocols.libp2p.reconnect import MAX_ADDRESSES, Reconnector
from yumad.protocols.memory_transport import MemoryNetwork, MemoryTransport
from yumad.protocols.transport import DialFailed, PeerId

IDS = [identity_from_seed(bytes((number,)) * 32).peer for number in range(12)]


def _address(peer: PeerId, port: int = 1) -> str:
    return f"/ip4/127.0.0.1/tcp/{port}/p2p/{peer}"


def _count_dials(transport: MemoryTransport, monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, str]]:
    dials: list[tuple[float, str]] = []
    original = transport.dial

    async def counting(address: str) -> PeerId:
        dials.append((trio.current_time(), address))
        return await original(address)

    monkeypatch.setattr(transport, "dial", counting)
    return dials


async def test_wanted_peer_is_dialed_and_dialed_again_within_a_second_when_lost(autojump_clock) -> None:
    network = MemoryNetwork(random.Random(1))
    a, b = network.transport(IDS[0]), network.transport(IDS[1])
    reconnector = Reconnector(a, random.Random(1))
    reconnector.want(_address(IDS[1]))
    async with trio.open_nursery() as nursery:
        await nursery.start(a.run)
        await nursery.start(b.run)
        nursery.start_soon(reconnector.run)
        await trio.sleep(1)
        assert a.connected() == (IDS[1],)
        b.break_connection(IDS[0])
        await trio.sleep(1)
        assert a.connected() == (IDS[1],)
        nursery.cancel_scope.cancel()


async def test_absent_peer_is_dialed_ever_less_often_with_jitter(autojump_clock, monkeypatch) -> None:
    a = MemoryNetwork(random.Random(1)).transport(IDS[0])
    dials = _count_dials(a, monkeypatch)
    reconnector = Reconnector(a, random.Random(1))
    reconnector.want(_address(IDS[1]))
    async with trio.open_nursery() as nursery:
        await nursery.start(a.run)
        nursery.start_soon(reconnector.run)
        await trio.sleep(600)
        nursery.cancel_scope.cancel()
    gaps = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(dials)]
    assert gaps[0] < 1.1
    assert all(gap <= 1.5 * reconnect.LAST_PAUSE + 1 for gap in gaps)
    assert 10 <= len(dials) <= 25
    assert len({round(gap, 2) for gap in gaps[-5:]}) > 1


async def test_addresses_of_one_peer_are_tried_in_turn_and_the_working_one_first(autojump_clock, monkeypatch) -> None:
    network = MemoryNetwork(random.Random(1))
    a, b = network.transport(IDS[0]), network.transport(IDS[1])
    good = _address(IDS[1], 3)

    async def picky(address: str) -> PeerId:
        tried.append(address)
        if address != good:
            raise DialFailed(address, "wrong port")
        return await original(address)

    tried: list[str] = []
    original = a.dial
    monkeypatch.setattr(a, "dial", picky)
    reconnector = Reconnector(a, random.Random(1))
    for port in (3, 2, 1):
        reconnector.want(_address(IDS[1], port))
    async with trio.open_nursery() as nursery:
        await nursery.start(a.run)
        await nursery.start(b.run)
        nursery.start_soon(reconnector.run)
        await trio.sleep(30)
        assert tried == [_address(IDS[1], port) for port in (1, 2, 3)]
        assert reconnector.known_address(IDS[1]) == good
        nursery.cancel_scope.cancel()


async def test_at_most_eight_dials_are_in_flight(autojump_clock, monkeypatch) -> None:
    a = MemoryNetwork(random.Random(1)).transport(IDS[0])
    in_flight = most = 0

    async def slow(address: str) -> PeerId:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        try:
            await trio.sleep(5)
        finally:
            in_flight -= 1
        raise DialFailed(address, "no answer")

    monkeypatch.setattr(a, "dial", slow)
    reconnector = Reconnector(a, random.Random(1))
    for peer in IDS[1:]:
        reconnector.want(_address(peer))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reconnector.run)
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert most == reconnect.MAX_DIALS


async def test_banned_and_dropped_peers_are_left_alone(autojump_clock, monkeypatch) -> None:
    a = MemoryNetwork(random.Random(1)).transport(IDS[0])
    dials = _count_dials(a, monkeypatch)
    reconnector = Reconnector(a, random.Random(1))
    reconnector.want(_address(IDS[1]))
    reconnector.want(_address(IDS[2]))
    reconnector.drop(IDS[2])
    a.ban(IDS[1], 20)
    async with trio.open_nursery() as nursery:
        await nursery.start(a.run)
        nursery.start_soon(reconnector.run)
        await trio.sleep(19)
        assert dials == []
        await trio.sleep(3)
        assert dials != []
        nursery.cancel_scope.cancel()


def test_want_refuses_what_cannot_be_dialed() -> None:
    a = MemoryNetwork(random.Random(1)).transport(IDS[0])
    reconnector = Reconnector(a, random.Random(1))
    for address, why in (
        ("/ip4/127.0.0.1/tcp/1", "does not end in /p2p/"),
        (_address(IDS[0]), "this peer itself"),
        ("nonsense", "is not /ip4"),
    ):
        with pytest.raises(ValueError, match=why):
            reconnector.want(address)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=30))
def test_addresses_per_peer_are_bounded_and_newest_first(ports: list[int]) -> None:
    reconnector = Reconnector(MemoryNetwork(random.Random(1)).transport(IDS[0]), random.Random(1))
    for port in ports:
        reconnector.want(_address(IDS[1], port))
    assert reconnector.known_address(IDS[1]) == _address(IDS[1], ports[-1])
    assert len(reconnector._wanted[IDS[1]].addresses) <= MAX_ADDRESSES
