"""Pooled streams: nothing is lost or counted twice, wherever a call is cancelled (AXON R17, R8)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from axon_world import CALLER, NETUID, OPEN, RawCaller, World, echo, memory_world
from trio.testing import MockClock
from yumad.protocols.axon import pool as pool_module
from yumad.protocols.axon.frames import FIRST_PART
from yumad.protocols.axon.interfaces import CallReply, IncomingCall, ServedMethod
from yumad.protocols.axon.pool import Lane
from yumad.protocols.axon.status import Status
from yumad.protocols.transport import DialFailed, PeerId, Stream

SERVER_PEER = PeerId("miner")


async def _slow(call: IncomingCall) -> CallReply:
    await trio.sleep(0.05)
    return await echo(call)


async def _plain(world: World) -> None:
    await world.call(b"x" * 100, timeout=30)


async def _large(world: World) -> None:
    await world.call(bytes(400_000), timeout=30)


async def _many(world: World) -> None:
    hotkeys = list(world.book.rows)
    await world.client.call_many(CALLER, NETUID, hotkeys * 6, "echo", b"x", timeout=30)


async def _stream(world: World) -> None:
    async with world.client.stream(CALLER, NETUID, next(iter(world.book.rows)), "chat", timeout=30) as stream:
        async for _ in stream:
            pass


@pytest.mark.parametrize("action", [_plain, _large, _many, _stream])
@pytest.mark.parametrize("warm", [False, True])
async def test_r17_call_cancelled_at_any_moment_leaks_no_stream_and_no_count(
    action: Callable[[World], object], warm: bool, autojump_clock: MockClock
) -> None:
    async def serve(call: IncomingCall) -> CallReply:
        if call.method.stream_out:
            for _ in range(5):
                await call.send(bytes(100_000))
                await trio.sleep(0.02)
            return CallReply()
        return await _slow(call)

    # Cancelled after so many milliseconds: over dial, negotiation, signing, upload, handler, reply and its end.
    for milliseconds in range(0, 400, 4):
        async with memory_world(latency=0.007) as world:
            world.serve(
                serve,
                ServedMethod("echo", policy=OPEN, concurrency=64),
                ServedMethod("chat", policy=OPEN, stream_out=True),
            )
            if warm:
                await _plain(world)
            with trio.move_on_after(milliseconds / 1000):
                await action(world)  # type: ignore[misc]
            pool = world.client.pool
            assert pool.open(SERVER_PEER) == pool.idle(SERVER_PEER)
            await world.client.aclose()
            assert not pool.uses(SERVER_PEER)
            await trio.sleep(1)
            assert world.server.running == 0
            assert world.server.context.open_streams == {}
            assert world.server.context.requests.held == world.server.context.replies.held == 0


async def test_r17_cancelled_callers_that_waited_for_a_stream_leave_room_for_the_others(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(pool_module, "MAX_STREAMS", 2)
    async with memory_world() as world:
        world.serve(_slow, ServedMethod("echo", policy=OPEN, concurrency=64))
        done: list[Status] = []

        async def one(number: int) -> None:
            with trio.move_on_after(0.01 * number if number % 2 else 60):
                done.append((await world.call(timeout=60)).status)

        async with trio.open_nursery() as nursery:
            for number in range(60):
                nursery.start_soon(one, number)
        assert done.count(Status.OK) >= 30
        assert world.client.pool.open(SERVER_PEER) <= 2
        assert world.client.pool.open(SERVER_PEER) == world.client.pool.idle(SERVER_PEER)


async def test_r17_streams_that_break_together_while_others_wait_are_counted_once(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(pool_module, "MAX_STREAMS", 3)
    async with memory_world() as world:
        world.serve(_slow, ServedMethod("echo", policy=OPEN, concurrency=64))
        pool = world.client.pool
        taken: list[Lane] = [await pool.take(world.endpoint, timeout=5) for _ in range(3)]
        later: list[Lane] = []

        async def wait() -> None:
            later.append(await pool.take(world.endpoint, timeout=5))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait)
            await trio.sleep(0.1)
            for lane in taken:  # all at once, as when their connection breaks
                nursery.start_soon(pool.drop, lane)
        assert pool.open(SERVER_PEER) == 3
        for lane in later:
            await pool.give_back(lane)
        assert pool.open(SERVER_PEER) == pool.idle(SERVER_PEER) == 3
        await pool.aclose()
        assert not pool.uses(SERVER_PEER)


async def test_r8_call_to_a_server_that_reads_no_bodies_ends_at_its_deadline(autojump_clock: MockClock) -> None:
    async with memory_world(latency=0) as world:

        async def lazy(stream: Stream) -> None:
            await trio.sleep_forever()

        world.serve()
        lane = await world.client.pool.take(world.endpoint, timeout=5)
        world.server_transport.set_stream_handler("/lazy", lazy)
        lane.stream = await world.client_transport.open_stream(SERVER_PEER, "/lazy", timeout=5)
        await lane.stream.write(bytes(256 * 1024 - 100))  # its window is full but for a little
        await world.client.pool.give_back(lane)
        began = trio.current_time()
        result = await world.call(bytes(FIRST_PART), timeout=2)
        assert result.status is Status.LOCAL_DEADLINE
        assert trio.current_time() - began == pytest.approx(2)
        assert world.client_transport.connected() == ("miner",), "nobody else on the connection pays for it"


async def test_r26_what_no_envelope_can_say_is_one_plain_error_of_a_fan_out(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        with pytest.raises(ValueError, match="expected 1 to 64"):
            await world.client.call_many(CALLER, NETUID, list(world.book.rows), "No Such", timeout=1)
        assert await RawCaller.open(world)


async def test_r26_peer_that_does_not_answer_is_dialed_once_for_all_that_wait_for_it(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    dials = 0

    async def dial(address: str) -> PeerId:
        nonlocal dials
        dials += 1
        await trio.sleep(5)
        raise DialFailed(address, "no answer within 5 s")

    async with memory_world() as world:
        monkeypatch.setattr(world.client_transport, "dial", dial)
        results = []

        async def one() -> None:
            results.append(await world.call(timeout=60))

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(60):
                nursery.start_soon(one)
        assert {result.status for result in results} == {Status.DIAL_FAILED}
        assert trio.current_time() - began == pytest.approx(5)
        assert dials == 1
        await one()
        assert dials == 2, "a later call tries again"
