"""The queue, the quota and the policy as callers meet them: through the server, over a network, in virtual time."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import pytest
import trio
from axon_world import CALLER, NETUID, OPEN, OTHER, SERVER, World, account, memory_world
from trio.testing import MockClock
from yumad.consensus.signature import KeyPair
from yumad.protocols.axon.admission import AdmissionQueue
from yumad.protocols.axon.caller_limiter import CallerLimiter
from yumad.protocols.axon.interfaces import (
    Admission,
    CallReply,
    Freshness,
    IncomingCall,
    ServedMethod,
    Standing,
    StreamAborted,
)
from yumad.protocols.axon.policy import Policy, Quota
from yumad.protocols.axon.status import Reached, Status

TAO = 10**9


def gates() -> Admission:
    return Admission(AdmissionQueue(), CallerLimiter())


async def slow(call: IncomingCall) -> CallReply:
    await trio.sleep(0.05)
    return CallReply(body=b"done")


async def slower(call: IncomingCall) -> CallReply:
    await trio.sleep(0.2)
    return CallReply(body=b"done")


async def call_all_the_time(world: World, key: KeyPair, served: Counter[KeyPair], gaps: Counter[KeyPair]) -> None:
    last = trio.current_time()
    while True:
        result = await world.client.call(key, NETUID, account(SERVER), "slow", b"", timeout=10)
        now = trio.current_time()
        if result.ok:
            served[key] += 1
            gaps[key] = max(gaps[key], now - last)  # type: ignore[assignment]
            last = now
        else:
            assert result.status is Status.BUSY
            await trio.sleep(result.retry_after_ms / 1000)


async def test_r22_priority_by_stake_has_its_effect_at_the_far_end(autojump_clock: MockClock) -> None:
    async with memory_world(admission=gates()) as world:
        world.serve(slower, ServedMethod("slow", concurrency=16, policy=OPEN))
        world.view.standings = {
            account(CALLER): Standing(0, True, 1000 * TAO),
            account(OTHER): Standing(1, True, 100 * TAO),
        }
        served: Counter[KeyPair] = Counter()
        gaps: Counter[KeyPair] = Counter()
        with trio.move_on_after(20):
            async with trio.open_nursery() as nursery:
                for key in (CALLER, OTHER):
                    for _ in range(48):  # three times the slots: fewer leave gaps while replies travel
                        nursery.start_soon(call_all_the_time, world, key, served, gaps)
        assert served[CALLER] / served[OTHER] == pytest.approx(10, rel=0.2)
        assert served.total() > 0.9 * 20 * 16 / 0.2


async def test_r9_r22_a_caller_that_trickles_all_the_streams_it_may_open_does_not_delay_another(
    autojump_clock: MockClock,
) -> None:
    async with memory_world(admission=gates()) as world:

        async def count(call: IncomingCall) -> CallReply:
            async for message in call.messages():
                await call.send(message)
            return CallReply()

        world.serve(count, ServedMethod("slow", stream_in=True, stream_out=True, policy=OPEN))
        world.view.standings = {
            account(CALLER): Standing(0, True, 10**6 * TAO),
            account(OTHER): Standing(1, True, TAO),
        }
        trickling: set[int] = set()

        async def trickle(number: int) -> None:
            call = world.client.stream(CALLER, NETUID, account(SERVER), "slow", b"", stream_in=True, timeout=400)
            with suppress(StreamAborted):  # the one that gets no slot
                async with call as stream:
                    await stream.send(b"x")
                    async for _ in stream:
                        trickling.add(number)
                        await trio.sleep(20)
                        await stream.send(b"x")

        async with trio.open_nursery() as nursery:
            for number in range(16):
                nursery.start_soon(trickle, number)
            for _ in range(10):
                await trio.sleep(20)
                began = trio.current_time()
                async with world.client.stream(
                    OTHER, NETUID, account(SERVER), "slow", b"", stream_in=True, timeout=10
                ) as stream:
                    await stream.send(b"y")
                    await stream.end()
                    assert [message async for message in stream] == [b"y"]
                    assert (await stream.result()).ok
                assert trio.current_time() - began < 0.5
                assert len(trickling) == world.server.context.admission.queue.running == 15
            nursery.cancel_scope.cancel()


async def test_r22_a_call_without_a_chance_is_told_so_at_once_and_reaches_no_handler(
    autojump_clock: MockClock,
) -> None:
    async with memory_world(admission=gates()) as world:
        handled = 0

        async def very_slow(call: IncomingCall) -> CallReply:
            nonlocal handled
            handled += 1
            await trio.sleep(2)
            return CallReply()

        world.serve(very_slow, ServedMethod("slow", concurrency=1, policy=OPEN))
        assert (await world.call(method="slow")).ok
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: world.call(method="slow"))
            await trio.sleep(0.1)
            began = trio.current_time()
            refused = await world.call(method="slow", timeout=3)
            assert trio.current_time() - began < 0.2
        assert refused.status is Status.BUSY
        assert refused.status.reached_handler is Reached.NO
        assert refused.retry_after_ms == 2000
        assert handled == 2


async def test_r21_a_caller_over_its_quota_is_told_when_to_come_again(autojump_clock: MockClock) -> None:
    async with memory_world(admission=gates()) as world:
        world.serve(slow, ServedMethod("slow", policy=Policy(quota=Quota(rate=2, burst=3))))
        results = []
        async with trio.open_nursery() as nursery:

            async def one() -> None:
                results.append(await world.call(method="slow"))

            for _ in range(5):
                nursery.start_soon(one)
        statuses = Counter(result.status for result in results)
        assert statuses == {Status.OK: 3, Status.RATE_LIMITED: 2}
        wait = next(result.retry_after_ms for result in results if not result.ok)
        assert 0 < wait <= 500
        await trio.sleep(wait / 1000)
        assert (await world.call(method="slow")).ok


@pytest.mark.parametrize(
    ("policy", "standing", "status", "text"),
    [
        (Policy(), Standing(None, False, 10**15), Status.NOT_REGISTERED, "register this hotkey on subnet 7 first"),
        (Policy(), Standing(4, False, 10**15), Status.NO_PERMIT, "uid 4 has no validator permit on subnet 7"),
        (Policy(min_stake=5 * TAO), Standing(4, True, 2 * TAO), Status.LOW_STAKE, "stake 3 more on subnet 7"),
        (Policy(False, 5 * TAO), Standing(None, False, 5 * TAO), Status.OK, ""),
        (Policy(deny=frozenset({account(CALLER)})), Standing(4, True, 10**15), Status.DENIED, "deny list"),
    ],
)
async def test_r21_who_may_not_call_is_told_why(
    autojump_clock: MockClock, policy: Policy, standing: Standing, status: Status, text: str
) -> None:
    async with memory_world(admission=gates()) as world:
        world.serve(slow, ServedMethod("slow", policy=policy))
        world.view.default = standing
        result = await world.call(method="slow")
        assert result.status is status
        assert text in result.text


async def test_r23_a_server_far_behind_serves_those_it_has_served_before(autojump_clock: MockClock) -> None:
    async with memory_world(admission=gates()) as world:
        world.serve(slow, ServedMethod("slow", policy=OPEN))
        assert (await world.call(method="slow")).ok
        world.view.age = Freshness.KNOWN_ONLY
        assert (await world.call(method="slow")).ok
        stranger = await world.client.call(OTHER, NETUID, account(SERVER), "slow", b"", timeout=5)
        assert stranger.status is Status.BUSY
        assert stranger.status.retryable
