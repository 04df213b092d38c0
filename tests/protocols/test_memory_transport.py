"""MemoryTransport: the contract of transport.Transport in virtual time, faults, and determinism."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from yumad.protocols.memory_transport import LinkQuality, MemoryNetwork, MemoryTransport
from yumad.protocols.transport import (
    MAX_GOSSIP,
    DialFailed,
    GossipVerdict,
    NotConnected,
    PayloadTooLarge,
    PeerConnected,
    PeerDisconnected,
    PeerId,
    Stream,
    StreamClosed,
    StreamRefused,
)

TOPIC = "/yumad/test/proposal/1"


@asynccontextmanager
async def running(*transports: MemoryTransport) -> AsyncIterator[trio.Nursery]:
    async with trio.open_nursery() as nursery:
        for transport in transports:
            await nursery.start(transport.run)
        yield nursery
        nursery.cancel_scope.cancel()


async def echo(stream: Stream) -> None:
    while data := await stream.read_some(4096):
        await stream.write_all(data)


async def test_dial_both_up_connects_both_and_tells_events(autojump_clock) -> None:
    network = MemoryNetwork(random.Random(1))
    a, b = network.transport("A"), network.transport("B")
    async with running(a, b):
        assert await a.dial(b.addresses()[0]) == "B"
        assert a.connected() == ("B",)
        assert b.connected() == ("A",)
        assert await a.next_event() == PeerConnected(PeerId("B"), outbound=True, address="/memory")
        assert await b.next_event() == PeerConnected(PeerId("A"), outbound=False, address="/memory")
        await b.disconnect(PeerId("A"))
        assert await a.next_event() == PeerDisconnected(PeerId("B"))


async def test_dial_absent_peer_fails_with_reason(autojump_clock) -> None:
    a = MemoryNetwork(random.Random(1)).transport("A")
    async with running(a):
        with pytest.raises(DialFailed, match="no answer"):
            await a.dial("/memory/p2p/B")


async def test_stream_echo_after_half_close_returns_all_bytes(autojump_clock) -> None:
    network = MemoryNetwork(random.Random(1), LinkQuality(latency=0.05, jitter=0.04, loss=0.2))
    a, b = network.transport("A"), network.transport("B")
    b.set_stream_handler("/echo", echo)
    payload = random.Random(7).randbytes(700_000)
    async with running(a, b) as nursery:
        await a.dial(b.addresses()[0])
        stream = await a.open_stream(PeerId("B"), "/echo", timeout=5)

        async def write() -> None:
            await stream.write_all(payload)
            await stream.close_write()

        nursery.start_soon(write)
        assert await stream.read_exactly(len(payload)) == payload
        assert await stream.read_some(1) == b""
        await stream.close()
        await trio.sleep(5)
        assert a.stats().streams_open == b.stats().streams_open == 0


async def test_stream_unknown_protocol_is_refused(autojump_clock) -> None:
    network = MemoryNetwork(random.Random(1))
    a, b = network.transport("A"), network.transport("B")
    async with running(a, b):
        with pytest.raises(NotConnected):
            await a.open_stream(PeerId("B"), "/echo", timeout=5)
        await a.dial(b.addresses()[0])
        with pytest.raises(StreamRefused, match="does not speak /echo"):
            await a.open_stream(PeerId("B"), "/echo", timeout=5)


async def test_stream_handler_that_raises_resets_only_its_stream(autojump_clock) -> None:
    network = MemoryNetwork(random.Random(1))
    a, b = network.transport("A"), network.transport("B")

    async def broken(stream: Stream) -> None:
        raise RuntimeError("bug")

    b.set_stream_handler("/broken", broken)
    async with running(a, b):
        await a.dial(b.addresses()[0])
        stream = await a.open_stream(PeerId("B"), "/broken", timeout=5)
        with pytest.raises(StreamClosed):
            await stream.read_exactly(1)
        assert a.connected() == ("B",)
        assert b.stats().dropped == {"stream handler raised": 1}


async def test_write_to_peer_that_never_reads_drops_the_connection_at_the_deadline(autojump_clock) -> None:
    network = MemoryNetwork(random.Random(1))
    a, b = network.transport("A"), network.transport("B")

    async def deaf(stream: Stream) -> None:
        await trio.sleep_forever()

    b.set_stream_handler("/deaf", deaf)
    async with running(a, b):
        await a.dial(b.addresses()[0])
        stream = await a.open_stream(PeerId("B"), "/deaf", timeout=5)
        started = trio.current_time()
        with pytest.raises(StreamClosed, match="within 10 s"):
            await stream.write_all(bytes(1_000_000))
        assert trio.current_time() - started == pytest.approx(10.0)
        assert a.connected() == ()


async def test_write_cancelled_meanwhile_is_still_whole(autojump_clock) -> None:
    network = MemoryNetwork(random.Random(1))
    a, b = network.transport("A"), network.transport("B")
    received = []

    async def slow(stream: Stream) -> None:
        await trio.sleep(3)
        received.append(await stream.read_exactly(400_000))

    b.set_stream_handler("/slow", slow)
    async with running(a, b):
        await a.dial(b.addresses()[0])
        stream = await a.open_stream(PeerId("B"), "/slow", timeout=5)
        with trio.move_on_after(1) as scope:
            await stream.write_all(bytes(400_000))
        assert not scope.cancelled_caught  # nothing after the shielded write was left to cancel
        await trio.sleep(1)
        assert len(received[0]) == 400_000


async def test_gossip_line_of_peers_reaches_all_once_and_not_the_publisher(autojump_clock) -> None:
    network = MemoryNetwork(random.Random(1), LinkQuality(latency=0.1))
    peers = [network.transport(name) for name in "ABCDE"]
    seen: list[tuple[str, PeerId, float]] = []

    def watch(name: str):
        def validator(sender: PeerId, data: bytes) -> GossipVerdict:
            seen.append((name, sender, round(trio.current_time() - start, 3)))
            return GossipVerdict.ACCEPT

        return validator

    for peer in peers:
        peer.subscribe(TOPIC, watch(peer.local_peer))
    async with running(*peers):
        for left, right in itertools.pairwise(peers):
            await left.dial(right.addresses()[0])
        await peers[0].dial(peers[4].addresses()[0])
        start = trio.current_time()
        await peers[0].publish(TOPIC, b"block")
        await peers[0].publish(TOPIC, b"block")
        await trio.sleep(2)
    assert sorted((name, at) for name, _, at in seen) == [("B", 0.1), ("C", 0.2), ("D", 0.2), ("E", 0.1)]


async def test_gossip_verdicts_decide_relay_and_repeat(autojump_clock) -> None:
    network = MemoryNetwork(random.Random(1))
    a, b, c = (network.transport(name) for name in "ABC")
    verdicts = iter([GossipVerdict.IGNORE, GossipVerdict.ACCEPT, GossipVerdict.REJECT])
    at_c: list[bytes] = []
    b.subscribe(TOPIC, lambda sender, data: next(verdicts))
    c.subscribe(TOPIC, lambda sender, data: at_c.append(data) or GossipVerdict.ACCEPT)
    async with running(a, b, c):
        await a.dial(b.addresses()[0])
        await b.dial(c.addresses()[0])
        await a.publish(TOPIC, b"one")
        await trio.sleep(1)
        assert at_c == []
        # Ignored is not seen: the same bytes from another peer are judged again.
        await c.publish(TOPIC, b"one")
        await trio.sleep(1)
        await a.publish(TOPIC, b"two")
        await trio.sleep(1)
    assert at_c == []
    stats = b.stats()
    assert (stats.gossip_ignored, stats.gossip_accepted, stats.gossip_rejected) == (1, 1, 1)


async def test_gossip_validator_that_raises_is_counted_and_harmless(autojump_clock) -> None:
    network = MemoryNetwork(random.Random(1))
    a, b = network.transport("A"), network.transport("B")

    def broken(sender: PeerId, data: bytes) -> GossipVerdict:
        raise RuntimeError("bug")

    b.subscribe(TOPIC, broken)
    async with running(a, b):
        await a.dial(b.addresses()[0])
        await a.publish(TOPIC, b"x")
        await trio.sleep(1)
        assert b.stats().dropped == {"gossip validator raised": 1}
        assert a.connected() == ("B",)


async def test_publish_over_the_limit_raises(autojump_clock) -> None:
    a = MemoryNetwork(random.Random(1)).transport("A")
    async with running(a):
        with pytest.raises(PayloadTooLarge):
            await a.publish(TOPIC, bytes(MAX_GOSSIP + 1))


async def test_partition_breaks_connections_and_heal_lets_dial_again(autojump_clock) -> None:
    network = MemoryNetwork(random.Random(1))
    a, b, c = (network.transport(name) for name in "ABC")
    async with running(a, b, c):
        await a.dial(b.addresses()[0])
        await a.dial(c.addresses()[0])
        network.partition((PeerId("A"), PeerId("B")), (PeerId("C"),))
        assert a.connected() == ("B",)
        with pytest.raises(DialFailed):
            await a.dial(c.addresses()[0])
        network.heal()
        await a.dial(c.addresses()[0])
        assert a.connected() == ("B", "C")


async def test_stopped_peer_disconnects_others_and_may_start_again(autojump_clock) -> None:
    network = MemoryNetwork(random.Random(1))
    a, b = network.transport("A"), network.transport("B")
    async with running(a):
        async with running(b):
            await a.dial(b.addresses()[0])
        assert a.connected() == ()
        again = network.transport("B")
        async with running(again):
            await a.dial(again.addresses()[0])
            assert a.connected() == ("B",)


async def test_ban_refuses_both_directions_until_it_ends(autojump_clock) -> None:
    network = MemoryNetwork(random.Random(1))
    a, b = network.transport("A"), network.transport("B")
    async with running(a, b):
        await a.dial(b.addresses()[0])
        b.ban(PeerId("A"), 30)
        assert a.connected() == ()
        with pytest.raises(DialFailed, match="closed by the other side"):
            await a.dial(b.addresses()[0])
        with pytest.raises(DialFailed, match="banned"):
            await b.dial(a.addresses()[0])
        await trio.sleep(31)
        await a.dial(b.addresses()[0])
        assert b.stats().inbound_refused == {"banned": 1}


def test_same_seed_gives_the_same_run() -> None:
    def trace(seed: int) -> list[tuple[str, str, float]]:
        events: list[tuple[str, str, float]] = []

        async def run() -> None:
            network = MemoryNetwork(random.Random(seed), LinkQuality(latency=0.05, jitter=0.05, loss=0.3))
            peers = [network.transport(f"P{i}") for i in range(8)]

            def watch(name: str):
                def validator(sender: PeerId, data: bytes) -> GossipVerdict:
                    events.append((name, sender, trio.current_time()))
                    return GossipVerdict.ACCEPT

                return validator

            for peer in peers:
                peer.subscribe(TOPIC, watch(peer.local_peer))
            async with running(*peers):
                for i, peer in enumerate(peers):
                    for step in (1, 3):
                        await peer.dial(peers[(i + step) % 8].addresses()[0])
                for number in range(20):
                    await peers[number % 8].publish(TOPIC, b"%d" % number)
                    await trio.sleep(0.1)
                await trio.sleep(2)

        trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
        start = events[0][2]
        return [(name, sender, round(at - start, 6)) for name, sender, at in events]

    assert trace(5) == trace(5)
    assert trace(5) != trace(6)
