"""What callers can make a server hold or do: pacing, bodies in flight, replies nobody takes (AXON R6, R9, R11, R14)."""

from __future__ import annotations

import random
from hashlib import sha256

import pytest
import trio
import trio.testing
from axon_world import (
    CALLER,
    GENESIS,
    OPEN,
    OTHER,
    PROTOCOL,
    RawCaller,
    World,
    account,
    echo,
    key,
    memory_world,
    now_ns,
    signed_call,
)
from trio.testing import MockClock
from yumad.protocols.axon import served_stream
from yumad.protocols.axon.body_budget import PATIENCE, ReplyBudget, RequestBudget
from yumad.protocols.axon.certificate import issue_certificate
from yumad.protocols.axon.envelope import Flag
from yumad.protocols.axon.frames import Kind, credit, frame
from yumad.protocols.axon.interfaces import CallReply, IncomingCall, ServedMethod
from yumad.protocols.axon.limits import AxonLimits
from yumad.protocols.axon.status import Reached, Status
from yumad.protocols.limits import Quota
from yumad.protocols.transport import PeerId, StreamClosed

LARGE = 1_000_000


def identifier(number: int) -> bytes:
    return number.to_bytes(16, "big")


# --- pacing -----------------------------------------------------------------------------------------------------------


async def test_r6_r14_ten_thousand_calls_at_default_limits_are_paced_to_the_quota_and_none_fails(
    autojump_clock: MockClock,
) -> None:
    quota = AxonLimits().peer_calls
    async with memory_world(latency=0.001) as world:
        world.serve()
        left, failed = 10_000, 0

        async def some() -> None:
            nonlocal left, failed
            while left > 0:
                left -= 1
                failed += not (await world.call(b"x", timeout=10)).ok

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(64):
                nursery.start_soon(some)
        took = trio.current_time() - began
    assert failed == 0
    least = (10_000 - quota.units) * quota.seconds / quota.units  # after the burst
    assert least - 0.1 <= took < least + 0.5
    assert world.offences.seen == []


async def test_r6_other_peers_do_not_wait_for_one_that_is_paced(autojump_clock: MockClock) -> None:
    async with memory_world(limits=AxonLimits(peer_calls=Quota(100, 5)), latency=0.001) as world:
        world.serve()
        other = world.network.transport("other")  # type: ignore[attr-defined]
        async with trio.open_nursery() as nursery:
            await nursery.start(other.run)

            async def flood() -> None:
                while True:
                    await world.call(timeout=30)

            for _ in range(4):
                nursery.start_soon(flood)
            await trio.sleep(2)
            await other.dial(world.endpoint.addresses[0])
            caller = RawCaller(await other.open_stream(world.endpoint.peer, PROTOCOL, timeout=5))
            began = trio.current_time()
            assert (await caller.ask(signed_call())).status is Status.OK
            assert trio.current_time() - began < 0.01
            nursery.cancel_scope.cancel()


async def test_r6_flood_of_tiny_frames_is_read_at_the_pace_of_its_peer(autojump_clock: MockClock) -> None:
    async def wait(call: IncomingCall) -> CallReply:
        await trio.sleep(200)
        return CallReply()

    async with memory_world(limits=AxonLimits(peer_frames=Quota(1000, 1)), latency=0) as world:
        world.serve(wait, ServedMethod("echo", stream_out=True, policy=OPEN))
        caller = await RawCaller.open(world)
        await caller.send(signed_call(flags=Flag.STREAM_OUT, seconds=300))
        began = trio.current_time()
        for _ in range(60):
            await caller.write(credit(1) * 1000)
        # What is not read lies in the window of the stream, which holds 20 000 of these; 6000 more are read ahead.
        assert trio.current_time() - began > 30


async def test_r4_r6_flood_of_certificates_counts_as_calls(autojump_clock: MockClock) -> None:
    async with memory_world(limits=AxonLimits(allow_channel=True, peer_calls=Quota(10, 1)), latency=0) as world:
        world.serve()
        caller = await RawCaller.open(world)
        good = issue_certificate(CALLER, GENESIS, PeerId("validator"), issued=now_ns())
        began = trio.current_time()
        await caller.write(frame(Kind.CERTIFICATE, good.encode()) * 50)
        await caller.ask(signed_call())
        assert trio.current_time() - began > 3


async def test_r6_stream_call_that_is_put_off_is_not_taken_for_bad_input_by_its_messages(
    autojump_clock: MockClock,
) -> None:
    async with memory_world(limits=AxonLimits(peer_calls=Quota(1, 100))) as world:
        world.serve(echo, ServedMethod("echo", stream_in=True, policy=OPEN))
        await world.call()
        for number in range(12):
            caller = await RawCaller.open(world)
            await caller.send(signed_call(flags=Flag.STREAM_IN, request_id=identifier(number)))
            await caller.write(frame(Kind.MESSAGE, b"on its way"))
            assert (await caller.reply()).status is Status.RATE_LIMITED
            assert await caller.frame() is None
        assert set(world.outcomes()) == {"SCHEMA_MISMATCH", "RATE_LIMITED"}


# --- replies that nobody takes ----------------------------------------------------------------------------------------


async def test_r6_calls_do_not_pile_up_behind_replies_that_are_not_read(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    running = most = 0
    real = served_stream.ServedStream._run_call

    async def counted(*arguments: object) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            await real(*arguments)  # type: ignore[arg-type]
        finally:
            running -= 1

    monkeypatch.setattr(served_stream.ServedStream, "_run_call", counted)

    async def answer(call: IncomingCall) -> CallReply:
        return CallReply(body=bytes(60_000))

    async with memory_world(latency=0) as world:
        world.serve(answer)
        caller = await RawCaller.open(world)

        async def ask_and_never_read() -> None:
            for number in range(2000):
                await caller.send(signed_call(request_id=identifier(number), seconds=60))
                await trio.sleep(0.01)

        with pytest.raises(StreamClosed):
            await ask_and_never_read()
        assert most == 1


async def test_r11_replies_on_their_way_are_bounded_over_all_streams_and_the_slowest_reader_is_cut(
    autojump_clock: MockClock,
) -> None:
    async def answer(call: IncomingCall) -> CallReply:
        return CallReply(body=bytes(LARGE))

    async with memory_world(limits=AxonLimits(held_replies=3 * LARGE), latency=0.001) as world:
        world.serve(answer)
        replies = world.server.context.replies
        slow = [await RawCaller.open(world) for _ in range(6)]
        for number, caller in enumerate(slow):
            await caller.send(signed_call(request_id=identifier(number), seconds=3600))
        most = 0
        async with trio.open_nursery() as nursery:

            async def trickle(caller: RawCaller) -> None:
                try:
                    while True:
                        await caller.stream.read_exactly(60_000)
                        await trio.sleep(8)  # just quick enough to keep the connection
                except StreamClosed:
                    pass

            for caller in slow:
                nursery.start_soon(trickle, caller)
            began = trio.current_time()
            result = await world.call(timeout=60)
            most = max(most, replies.held)
            assert result.ok
            assert trio.current_time() - began < 4 * PATIENCE
            assert most <= 3 * LARGE
            nursery.cancel_scope.cancel()
        for caller in slow:
            await caller.stream.reset()
        await trio.sleep(20)
        assert replies.held == 0


async def test_r11_reply_larger_than_the_whole_budget_still_goes_alone(autojump_clock: MockClock) -> None:
    async with memory_world(limits=AxonLimits(held_replies=10)) as world:
        world.serve()
        assert (await world.call(bytes(LARGE))).ok
        assert world.server.context.replies.held == 0


# --- bodies of requests -----------------------------------------------------------------------------------------------


async def _uploads(world: World, count: int, seconds: float = 3600) -> list[RawCaller]:
    """Callers, a hotkey each, that were allowed to send a large body and send nothing."""
    callers = []
    for number in range(count):
        caller = await RawCaller.open(world)
        body = bytes(LARGE)
        await caller.send(signed_call(body, signer=key(100 + number), seconds=seconds), body)
        callers.append(caller)
    return callers


async def test_r11_bodies_in_flight_are_bounded_over_all_callers_and_small_calls_still_go(
    autojump_clock: MockClock,
) -> None:
    async with memory_world(limits=AxonLimits(held_requests=4 * LARGE - 200_000)) as world:
        world.serve(echo, ServedMethod("echo", policy=OPEN, concurrency=64))
        callers = await _uploads(world, 8)
        outcomes = []
        for caller in callers:
            found = await caller.frame()
            assert found is not None
            outcomes.append(found[0])
        assert outcomes.count(Kind.CREDIT) == 3
        assert outcomes.count(Kind.REPLY) == 5
        requests = world.server.context.requests
        assert 3 * LARGE <= requests.held <= 4 * LARGE
        refused = await world.call(bytes(LARGE))
        assert (refused.status, refused.text) == (Status.BUSY, "no room for bodies")
        assert refused.status.reached_handler is Reached.NO
        assert refused.retry_after_ms > 0
        assert (await world.call(bytes(1000))).ok
        for caller in callers:
            await caller.stream.reset()
        await trio.sleep(1)
        assert requests.held == 0
        assert (await world.call(bytes(LARGE))).ok


async def test_r11_call_waits_a_moment_for_room_before_it_is_busy(autojump_clock: MockClock) -> None:
    async with memory_world(limits=AxonLimits(held_requests=2 * LARGE + 200_000)) as world:
        world.serve(echo, ServedMethod("echo", policy=OPEN, concurrency=64))
        first, second = await _uploads(world, 2)
        await first.frame()
        await second.frame()
        async with trio.open_nursery() as nursery:

            async def leave() -> None:
                await trio.sleep(0.5)
                await first.stream.reset()

            nursery.start_soon(leave)
            assert (await world.call(bytes(LARGE))).ok


def test_r11_one_caller_has_half_of_the_room_for_bodies_at_most() -> None:
    budget = RequestBudget(100)
    assert budget.take(account(CALLER), 50)
    assert not budget.take(account(CALLER), 1)
    assert budget.take(account(OTHER), 50)
    assert budget.take(account(CALLER), 0)
    assert not budget.take(account(key(9)), 1)
    budget.release(account(CALLER), 50)
    budget.release(account(OTHER), 50)
    assert budget.held == 0
    assert not budget._by_caller


async def test_r11_room_is_given_back_however_a_call_ends(autojump_clock: MockClock) -> None:
    async def answer(call: IncomingCall) -> CallReply:
        if call.body[:1] == b"r":
            raise RuntimeError("no")
        if call.body[:1] == b"s":
            await trio.sleep_forever()
        return CallReply(body=bytes(call.body))

    rng = random.Random(3)
    async with memory_world() as world:
        world.serve(answer, ServedMethod("echo", policy=OPEN, concurrency=4, timeout=0.5))
        for _ in range(40):
            size = rng.choice((0, 10, 65_536, 65_537, 300_000))
            body = (rng.choice((b"r", b"s", b"o")) + bytes(size))[:size]
            with trio.move_on_after(rng.random()):
                await world.call(body, timeout=rng.choice((0.2, 5.0)))
        other = await RawCaller.open(world)
        await other.send(signed_call(b"hello", body_hash=sha256(b"hallo").digest()))
        await other.reply()
        await trio.sleep(60)
        assert world.server.context.requests.held == 0
        assert world.server.context.replies.held == 0
        assert not world.server.context.requests._by_caller


async def test_r11_budget_of_replies_waits_for_those_that_are_quick() -> None:
    class Quick:
        async def reset(self) -> None:
            raise AssertionError("it is about to be done")

    budget = ReplyBudget(100)
    quick, next_one = Quick(), Quick()
    await budget.hold(quick, 80)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(budget.hold, next_one, 80)
        await trio.testing.wait_all_tasks_blocked()
        assert budget.held == 80
        budget.release(quick)  # type: ignore[arg-type]
    assert budget.held == 80
    budget.release(quick)  # type: ignore[arg-type]
    budget.release(next_one)  # type: ignore[arg-type]
    assert budget.held == 0
