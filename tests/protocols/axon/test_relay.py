"""Calls through a relay, in virtual time: who is reached, what is refused, and that it only copies (AXON R35)."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock
from yumad.consensus import cbor
from yumad.consensus.types import Hash32
from yumad.protocols.axon.relay import LEASE, open_through_relay, relay_protocol, reserve, split_relay_address
from yumad.protocols.axon.relay_service import IDLE_SECONDS, SOURCE_BYTES, STREAM_SECONDS, STREAMS_PER_SOURCE, Relay
from yumad.protocols.framing import frame, read_frame
from yumad.protocols.memory_transport import MemoryNetwork, MemoryTransport
from yumad.protocols.names import NetworkNames
from yumad.protocols.peer_ledger import Offence
from yumad.protocols.transport import NotConnected, PeerId, Stream, StreamClosed, StreamRefused

NAMES = NetworkNames.of(Hash32(bytes.fromhex("ab" * 32)))
TARGET, SOURCE, RELAY = PeerId("target"), PeerId("source"), PeerId("relay")


@dataclass
class Penalties:
    offences: list[tuple[PeerId, Offence]] = field(default_factory=list)

    def offend(self, peer: PeerId, offence: Offence) -> None:
        self.offences.append((peer, offence))

    def useful(self, peer: PeerId) -> None: ...


@dataclass
class World:
    """A source and a target that are both connected to a relay, not to each other."""

    source: MemoryTransport
    target: MemoryTransport
    middle: MemoryTransport
    relay: Relay
    penalties: Penalties
    served: list[PeerId] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    async def echo(self, stream: Stream) -> None:
        """The target's axon protocol in this test."""
        self.served.append(stream.peer)
        try:
            while data := await stream.read_some(1 << 16):
                await stream.write_all(data)
        except StreamClosed:
            self.ended.append("reset")
            raise
        await stream.close_write()
        self.ended.append("end")

    async def open(self) -> Stream:
        return await open_through_relay(self.source, relay_protocol(NAMES), RELAY, TARGET, timeout=5)


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    network = MemoryNetwork(random.Random(1))
    source, target, middle = (MemoryTransport(network, peer) for peer in (SOURCE, TARGET, RELAY))
    penalties = Penalties()
    relay = Relay(middle, NAMES, penalties)
    relay.register()
    made = World(source, target, middle, relay, penalties)
    target.set_stream_handler(NAMES.request("axon"), made.echo)
    async with trio.open_nursery() as nursery:
        for transport in (source, target, middle):
            await nursery.start(transport.run)
        await source.dial(f"/memory/p2p/{RELAY}")
        await target.dial(f"/memory/p2p/{RELAY}")
        yield made
        nursery.cancel_scope.cancel()


async def test_r35_target_that_reserved_is_reached_and_bytes_come_unchanged(autojump_clock: MockClock) -> None:
    async with world() as made:
        assert await reserve(made.target, relay_protocol(NAMES), RELAY) == LEASE
        assert made.relay.reserved() == (TARGET,)
        stream = await made.open()
        assert stream.peer == TARGET
        data = random.Random(1).randbytes(300_000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.write_all, data)
            assert await stream.read_exactly(len(data)) == data
        await stream.close_write()
        assert await stream.read_some(1) == b""
        await stream.close()
        await trio.sleep(1)
        assert made.served == [RELAY], "the target sees the relay: a relayed call cannot use a peer certificate"
        assert made.ended == ["end"]
        assert made.relay.counters["bytes"] == 2 * len(data)
        assert made.middle.stats().streams_open == made.source.stats().streams_open == 0


async def test_r35_target_that_did_not_ask_is_not_reached(autojump_clock: MockClock) -> None:
    async with world() as made:
        with pytest.raises(StreamRefused, match="no reservation"):
            await made.open()
        assert made.served == []
        with pytest.raises(NotConnected):
            await open_through_relay(made.source, relay_protocol(NAMES), PeerId("stranger"), TARGET, timeout=5)


async def test_r35_reservation_ends_with_its_lease_and_with_the_connection(autojump_clock: MockClock) -> None:
    async with world() as made:
        await reserve(made.target, relay_protocol(NAMES), RELAY)
        await trio.sleep(LEASE + 1)
        with pytest.raises(StreamRefused, match="no reservation"):
            await made.open()
        await reserve(made.target, relay_protocol(NAMES), RELAY)
        await made.target.disconnect(RELAY)
        with pytest.raises(StreamRefused, match="no reservation"):
            await made.open()


async def test_r35_target_that_refuses_the_stream_is_told_to_the_caller(autojump_clock: MockClock) -> None:
    async with world() as made:
        await reserve(made.source, relay_protocol(NAMES), RELAY)
        with pytest.raises(StreamRefused, match="does not take"):
            await open_through_relay(made.target, relay_protocol(NAMES), RELAY, SOURCE, timeout=5)


async def test_r35_one_source_gets_so_many_streams_and_a_closed_one_makes_room(autojump_clock: MockClock) -> None:
    async with world() as made:
        await reserve(made.target, relay_protocol(NAMES), RELAY)
        streams = [await made.open() for _ in range(STREAMS_PER_SOURCE)]
        with pytest.raises(StreamRefused, match="too many"):
            await made.open()
        await streams[0].reset()
        await trio.sleep(1)
        await made.open()


async def test_r35_reset_on_one_side_resets_the_other(autojump_clock: MockClock) -> None:
    async with world() as made:
        await reserve(made.target, relay_protocol(NAMES), RELAY)
        stream = await made.open()
        await stream.write_all(b"call")
        assert await stream.read_exactly(4) == b"call"
        await stream.reset()
        await trio.sleep(1)
        assert made.ended == ["reset"], "a cancelled call reaches the handler"
        stream = await made.open()
        await made.target.disconnect(RELAY)
        with pytest.raises(StreamClosed):
            await stream.read_exactly(1)


async def test_r35_idle_and_long_streams_are_cut(autojump_clock: MockClock) -> None:
    async with world() as made:
        await reserve(made.target, relay_protocol(NAMES), RELAY)
        idle = await made.open()
        started = trio.current_time()
        with pytest.raises(StreamClosed):
            await idle.read_exactly(1)
        assert IDLE_SECONDS - 1 <= trio.current_time() - started <= 2 * IDLE_SECONDS
        long, started = await made.open(), trio.current_time()

        async def talk() -> None:
            while True:
                await long.write_all(b"x")
                await long.read_exactly(1)
                await trio.sleep(IDLE_SECONDS / 2)

        with pytest.raises(StreamClosed):
            await talk()
        assert STREAM_SECONDS - IDLE_SECONDS <= trio.current_time() - started <= STREAM_SECONDS + IDLE_SECONDS


async def test_r35_source_above_its_bytes_is_slowed_down(autojump_clock: MockClock) -> None:
    async with world() as made:
        await reserve(made.target, relay_protocol(NAMES), RELAY)
        stream = await made.open()
        made.relay._bytes.of(SOURCE, trio.current_time()).take(SOURCE_BYTES.units, trio.current_time())
        started = trio.current_time()
        await stream.write_all(bytes(1 << 20))
        await stream.read_exactly(1 << 20)
        assert trio.current_time() - started > 1.5, "1 MiB there and back at 64 MiB a minute"


@pytest.mark.parametrize(
    "request_bytes", [cbor.encode([]), cbor.encode([3]), cbor.encode([2]), cbor.encode([2, b"\xff"]), b"\xff"]
)
async def test_r35_malformed_request_costs_its_sender(request_bytes: bytes, autojump_clock: MockClock) -> None:
    async with world() as made:
        stream = await made.source.open_stream(RELAY, relay_protocol(NAMES), timeout=5)
        await stream.write_all(frame(request_bytes))
        code, _ = cbor.decode(await read_frame(stream, 256), max_bytes=256)
        assert code == 1
        assert made.penalties.offences == [(SOURCE, Offence.MALFORMED)]


async def test_r35_relay_that_is_silent_or_talks_nonsense_is_a_refusal(autojump_clock: MockClock) -> None:
    async with world() as made:
        answers = [None, frame(b"\xff"), frame(cbor.encode([0, b"soon"])), (1 << 30).to_bytes(4, "big")]
        for answer in answers:

            async def hostile(stream: Stream, answer: bytes | None = answer) -> None:
                if answer is not None:
                    await stream.write_all(answer)
                await trio.sleep_forever()

            made.middle.set_stream_handler(relay_protocol(NAMES), hostile)
            with pytest.raises(StreamRefused):
                await made.open()
        await trio.sleep(1)
        assert made.source.stats().streams_open == 0


def test_r35_relay_address_splits_into_relay_and_target() -> None:
    via = "/ip4/198.51.100.1/tcp/30333/p2p/R"
    assert split_relay_address(f"{via}/relay/p2p/T") == (via, PeerId("R"), PeerId("T"))
    assert split_relay_address("/ip4/198.51.100.1/tcp/30333/p2p/T") is None
