"""A peer that calls itself: a validator and a miner on one peer (AXON R26, R14, R7)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from axon_world import CALLER, NETUID, OPEN, PROTOCOL, SERVER, World, account, echo, memory_world
from trio.testing import MockClock
from yumad.protocols.axon.interfaces import CallReply, IncomingCall, ServedMethod
from yumad.protocols.axon.own_calls import MAX_OWN_STREAMS, WithOwnCalls
from yumad.protocols.axon.receipts import verify_receipt
from yumad.protocols.axon.status import Status
from yumad.protocols.memory_transport import LinkQuality, MemoryNetwork
from yumad.protocols.transport import PeerId, Stream, StreamRefused


@asynccontextmanager
async def own_world(*, running: bool = True) -> AsyncIterator[World]:
    """One peer that is server and client."""
    import random

    network = MemoryNetwork(random.Random(1), LinkQuality(0.02))
    transport = network.transport("both")
    own = WithOwnCalls(transport)
    async with trio.open_nursery() as nursery:
        await nursery.start(transport.run)
        if running:
            await nursery.start(own.run)
        world = World(own, own)  # type: ignore[arg-type]
        world.network = network  # type: ignore[attr-defined]
        world.transport = transport  # type: ignore[attr-defined]
        yield world
        nursery.cancel_scope.cancel()


async def test_r26_peer_calls_a_hotkey_of_its_own_and_gets_a_receipt(autojump_clock: MockClock) -> None:
    async with own_world() as world:
        world.serve()
        result = await world.call(b"hello")
    assert (result.status, result.body, result.peer) == (Status.OK, b"hello", "both")
    assert verify_receipt(result.receipt, request_body=b"hello", reply_body=b"hello").is_valid
    assert result.latency.total == 0.0, "nothing travels"


@pytest.mark.parametrize("size", [0, 65_536, 65_537, 4 << 20])
async def test_r11_r26_bodies_of_every_size_come_back_from_oneself(size: int, autojump_clock: MockClock) -> None:
    async with own_world() as world:
        world.serve()
        body = bytes(range(256)) * (size // 256) + bytes(size % 256)
        assert (await world.call(body, timeout=30)).body == body


async def test_r9_r26_messages_go_both_ways_on_a_call_to_oneself(autojump_clock: MockClock) -> None:
    async def shout(call: IncomingCall) -> CallReply:
        async for message in call.messages():
            await call.send(message.upper())
        return CallReply()

    async with own_world() as world:
        world.serve(shout, ServedMethod("echo", stream_in=True, stream_out=True, policy=OPEN))
        async with world.client.stream(
            CALLER, NETUID, account(SERVER), "echo", timeout=30, stream_in=True, stream_out=True
        ) as stream:
            for word in (b"one", b"two"):
                await stream.send(word)
            await stream.end()
            assert [message async for message in stream] == [b"ONE", b"TWO"]
            assert (await stream.result()).ok


async def test_r7_r26_fault_of_an_own_handler_is_its_status_and_the_next_call_goes_on(
    autojump_clock: MockClock,
) -> None:
    async def fail(call: IncomingCall) -> CallReply:
        if call.body == b"bad":
            raise RuntimeError("broken")
        return CallReply(body=b"fine")

    async with own_world() as world:
        world.serve(fail)
        assert (await world.call(b"bad")).status is Status.HANDLER_ERROR
        assert (await world.call(b"good")).body == b"fine"


async def test_r26_fault_of_a_protocols_handler_ends_its_stream_and_nothing_else(autojump_clock: MockClock) -> None:
    async with own_world() as world:
        world.serve()

        async def broken(stream: Stream) -> None:
            raise RuntimeError("a fault")

        world.server_transport.set_stream_handler("/other/1", broken)
        stream = await world.server_transport.open_stream(PeerId("both"), "/other/1", timeout=5)
        with pytest.raises(Exception, match="reset"):
            await stream.read_some(1)
        assert (await world.call()).ok


async def test_r7_r26_deadline_and_departure_cancel_an_own_handler(autojump_clock: MockClock) -> None:
    cancelled: list[float] = []

    async def hang(call: IncomingCall) -> CallReply:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(trio.current_time())
        return CallReply()

    async with own_world() as world:
        world.serve(hang)
        began = trio.current_time()
        result = await world.call(timeout=2)
        assert result.status in (Status.DEADLINE_EXCEEDED, Status.LOCAL_DEADLINE)
        with trio.move_on_after(1):
            await world.call(timeout=60)
        await trio.sleep(0.1)
        assert cancelled == pytest.approx([began + 2, began + 3], abs=0.01)


async def test_r26_peer_that_does_not_run_yet_refuses_its_own_calls(autojump_clock: MockClock) -> None:
    async with own_world(running=False) as world:
        world.serve()
        result = await world.call()
    assert result.status is Status.DIAL_FAILED
    assert "does not serve" in result.text


async def test_r26_protocol_that_nobody_serves_is_refused(autojump_clock: MockClock) -> None:
    async with own_world() as world:
        with pytest.raises(StreamRefused, match="/nothing/1"):
            await world.server_transport.open_stream(PeerId("both"), "/nothing/1", timeout=5)


async def test_r14_r26_four_hundred_own_calls_at_once_all_succeed_and_free_their_streams(
    autojump_clock: MockClock,
) -> None:
    async def slow(call: IncomingCall) -> CallReply:
        await trio.sleep(0.1)
        return await echo(call)

    async with own_world() as world:
        world.serve(slow)
        results = []

        async def one(number: int) -> None:
            results.append(await world.call(b"%d" % number, timeout=30))

        async with trio.open_nursery() as nursery:
            for number in range(400):
                nursery.start_soon(one, number)
        assert all(result.ok for result in results)
        assert {result.body for result in results} == {b"%d" % number for number in range(400)}
        await world.client.aclose()
        await trio.sleep(1)
        assert world.server_transport._open == 0  # type: ignore[attr-defined]


async def test_r26_own_streams_have_a_cap_and_a_freed_one_is_used_again(autojump_clock: MockClock) -> None:
    async with own_world() as world:
        world.serve()
        own = world.server_transport
        streams = [await own.open_stream(PeerId("both"), PROTOCOL, timeout=5) for _ in range(MAX_OWN_STREAMS)]
        with pytest.raises(StreamRefused):
            await own.open_stream(PeerId("both"), PROTOCOL, timeout=5)
        await streams[0].reset()
        await trio.sleep(0.1)
        await own.open_stream(PeerId("both"), PROTOCOL, timeout=5)


async def test_r26_calls_to_other_peers_go_over_the_network(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve()
        own = WithOwnCalls(world.client_transport)
        assert own.remote_address(PeerId("validator")) == "/ip4/127.0.0.1"
        assert await own.dial("/memory/p2p/validator") == "validator"
        assert await own.dial("/memory/p2p/miner") == "miner"
        stream = await own.open_stream(PeerId("miner"), PROTOCOL, timeout=5)
        assert stream.peer == "miner"
        await stream.reset()
