"""Records that name somebody else's addresses cost that somebody little (AXON R33, complaint C8)."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock
from yumad.consensus.signature import KeyPair
from yumad.consensus.types import AccountId, Hash32, Micros
from yumad.daemon.axon.dial_pace import LONGEST_PAUSE, PacedDirectory, Scope, dialable, scope_of
from yumad.daemon.axon.directory import Latencies
from yumad.daemon.axon.reachability import MAX_DIALED, MAX_TRIED, Prober
from yumad.daemon.clock import TrioClock
from yumad.protocols.axon.interfaces import Endpoint
from yumad.protocols.memory_transport import MemoryNetwork, MemoryTransport
from yumad.protocols.names import NetworkNames
from yumad.protocols.transport import DialFailed, PeerId

NAMES = NetworkNames.of(Hash32(bytes.fromhex("ab" * 32)))
HOTKEY = AccountId(KeyPair(b"h" * 32).public_key)
EPOCH = Micros(1_700_000_000_000_000)
VICTIM = "/ip4/93.184.216.34/tcp/443"
LAN, MACHINE = "/ip4/192.168.1.1/tcp/80", "/ip4/127.0.0.1/tcp/6379"


class Named:
    """A directory in which one hotkey has eight peers, all at the victim's ports."""

    def endpoints(self, netuid: int, hotkey: AccountId) -> Sequence[Endpoint]:
        ports = range(8)
        return [
            Endpoint(
                PeerId(f"peer{peer}"), tuple(f"/ip4/93.184.216.34/tcp/{port + 1}/p2p/peer{peer}" for port in ports)
            )
            for peer in range(8)
        ]


def dialer(dialed: list[str]) -> MemoryTransport:
    transport = MemoryTransport(MemoryNetwork(random.Random(1)), PeerId("own"))

    async def dial(address: str) -> PeerId:
        dialed.append(address)
        raise DialFailed(address, "no answer")

    transport.dial = dial  # type: ignore[method-assign]
    return transport


async def test_r31_hotkey_whose_records_name_a_victim_costs_it_nine_dials_of_a_prober_in_a_round(
    autojump_clock: MockClock,
) -> None:
    dialed: list[str] = []
    transport = dialer(dialed)
    async with trio.open_nursery() as nursery:
        await nursery.start(transport.run)
        prober = Prober(transport, NAMES, Named(), Latencies(), random.Random(1))
        assert await prober.round(1, [HOTKEY], 300.0) == {HOTKEY: None}
        nursery.cancel_scope.cancel()
    assert len(dialed) == MAX_DIALED * MAX_TRIED


async def test_c8_peer_that_cannot_be_dialed_is_dialed_ever_less_often_and_at_once_when_it_is_there(
    autojump_clock: MockClock,
) -> None:
    transport = dialer([])
    clock = TrioClock(EPOCH)
    paced = PacedDirectory(Named(), transport, clock)
    peer = PeerId("peer0")
    tried = 0
    for _ in range(600):  # a call a second for ten minutes
        if next(e for e in paced.endpoints(1, HOTKEY) if e.peer == peer).addresses:
            tried += 1
        paced.failed(peer)
        await trio.sleep(1)
    assert 10 <= tried <= 16
    first, *_, last = paced.endpoints(1, HOTKEY)
    assert (last.peer, last.addresses) == (peer, ()), "the others come first"
    assert first.addresses
    paced.reached(peer)
    assert all(endpoint.addresses for endpoint in paced.endpoints(1, HOTKEY))


async def test_c8_clock_that_is_set_back_keeps_nobody_from_being_called(autojump_clock: MockClock) -> None:
    class Clock:
        at = int(EPOCH)

        def now(self) -> Micros:
            return Micros(self.at)

    clock = Clock()
    paced = PacedDirectory(Named(), dialer([]), clock)
    paced.failed(PeerId("peer0"))
    assert not all(endpoint.addresses for endpoint in paced.endpoints(1, HOTKEY))
    clock.at -= 2 * LONGEST_PAUSE
    assert all(endpoint.addresses for endpoint in paced.endpoints(1, HOTKEY))


@pytest.mark.parametrize(
    ("own", "is_public", "expected"),
    [
        (["/ip4/203.0.114.9/tcp/30333"], True, [VICTIM]),
        (["/ip4/192.168.1.7/tcp/30333"], False, [VICTIM, LAN]),
        (["/ip4/127.0.0.1/tcp/30333"], False, [VICTIM, MACHINE]),
        (["/ip4/0.0.0.0/tcp/30333"], True, [VICTIM]),
        (["/ip4/0.0.0.0/tcp/30333"], False, [VICTIM, LAN, MACHINE]),
        ([], False, [VICTIM, LAN, MACHINE]),
    ],
)
def test_r33_private_addresses_are_dialed_from_such_a_network_only(
    own: list[str], is_public: bool, expected: list[str]
) -> None:
    assert list(dialable((VICTIM, LAN, MACHINE, "/ip4/0.0.0.0/tcp/1"), own, is_public=is_public)) == expected


def test_scope_is_that_of_the_first_host_also_of_a_relay() -> None:
    assert scope_of(f"{LAN}/p2p/relay/relay/p2p/target") is Scope.LOCAL
    assert scope_of("/ip6/::ffff:127.0.0.1/tcp/1") is Scope.MACHINE
    assert scope_of("/ip6/fe80::1/tcp/1") is Scope.LOCAL
    assert scope_of("/dns4/peer.example.org/tcp/1") is Scope.PUBLIC
    assert scope_of("/memory/p2p/x") is Scope.PUBLIC
