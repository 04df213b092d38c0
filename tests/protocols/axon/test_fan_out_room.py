"""Replies of one fan-out: a bound for all of them, and a part of it for each target (AXON R11, R26)."""

from __future__ import annotations

import random

import pytest
import trio
from axon_world import CALLER, NETUID, OPEN, World, account, key, memory_world
from trio.testing import MockClock, wait_all_tasks_blocked
from yumad.consensus.types import AccountId
from yumad.protocols.axon.fan_out import ReplyPart, ReplyRoom
from yumad.protocols.axon.interfaces import CallReply, IncomingCall, ServedMethod
from yumad.protocols.axon.limits import AxonLimits
from yumad.protocols.axon.status import Status

PART = 100_000
TARGETS = 10
LIMITS = AxonLimits(fan_out_replies=TARGETS * PART)


def targets(world: World, sizes: list[int], after: float = 0.0) -> list[AccountId]:
    """Miners with replies of these sizes; those with less than a part answer `after` seconds."""
    hotkeys = []
    for number, size in enumerate(sizes):
        pair = key(60 + number)

        async def answer(call: IncomingCall, size: int = size) -> CallReply:
            await trio.sleep(after if size <= PART else 0.0)
            return CallReply(body=bytes(size))

        world.server.register(pair, NETUID, (ServedMethod("echo", policy=OPEN),), answer)
        world.book.rows[account(pair)] = [world.endpoint]
        hotkeys.append(account(pair))
    return hotkeys


async def test_r11_fan_out_holds_no_more_replies_than_its_bound(autojump_clock: MockClock) -> None:
    async with memory_world(limits=LIMITS) as world:
        hotkeys = targets(world, [3 * PART] * TARGETS)
        results = await world.client.call_many(CALLER, NETUID, hotkeys, "echo", timeout=4)
    assert sum(result.ok for result in results) == TARGETS // 3
    assert sum(len(result.body) for result in results) <= LIMITS.fan_out_replies
    late = [result for result in results if not result.ok]
    assert {result.status for result in late} <= {Status.LOCAL_DEADLINE}
    assert "no room for one of 300000 bytes within 4 s" in late[0].text


async def test_r26_targets_with_large_replies_cost_the_others_nothing(autojump_clock: MockClock) -> None:
    async with memory_world(limits=LIMITS) as world:
        hotkeys = targets(world, [8 * PART] * 8 + [PART] * 2, after=2.0)
        results = await world.client.call_many(CALLER, NETUID, hotkeys, "echo", timeout=4)
    assert [result.status for result in results[8:]] == [Status.OK] * 2
    assert sum(result.ok for result in results[:8]) == 1


async def test_r11_larger_reply_waits_for_what_others_leave(autojump_clock: MockClock) -> None:
    async with memory_world(limits=LIMITS) as world:
        hotkeys = targets(world, [7 * PART] + [1000] * 9, after=2.0)
        results = await world.client.call_many(CALLER, NETUID, hotkeys, "echo", timeout=5)
    assert [len(result.body) for result in results] == [7 * PART] + [1000] * 9
    assert results[0].latency.total > 2.0


async def test_r11_fan_outs_do_not_share_their_room(autojump_clock: MockClock) -> None:
    async with memory_world(limits=LIMITS) as world:
        hotkeys = targets(world, [PART] * TARGETS)
        for _ in range(3):
            results = await world.client.call_many(CALLER, NETUID, hotkeys, "echo", timeout=4)
            assert all(result.ok for result in results)
        assert await world.client.call_many(CALLER, NETUID, [], "echo", timeout=4) == []


@pytest.mark.parametrize("seed", range(5))
async def test_r11_parts_never_exceed_the_room_and_every_wait_ends(seed: int, autojump_clock: MockClock) -> None:
    rng = random.Random(seed)
    room = ReplyRoom(1000, 20)
    parts = [ReplyPart(room) for _ in range(20)]
    held = [0] * 20
    ended = 0

    async def one(number: int) -> None:
        nonlocal ended
        await trio.sleep(rng.random())
        size = rng.choice([0, 10, 50, 200, 900])
        with trio.move_on_after(rng.random() * 3):
            await parts[number].grow(size)
            held[number] = size
            assert sum(held) <= 1000
        parts[number].settle(held[number])
        ended += 1

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(one, number)
    assert ended == 20
    assert room.spare == 1000 - sum(held) >= 0


async def test_r11_reply_of_a_part_never_waits() -> None:
    room = ReplyRoom(1000, 10)
    parts = [ReplyPart(room) for _ in range(10)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(parts[0].grow, 101)
        await wait_all_tasks_blocked()
        assert parts[0].wanted == 101
        for part in parts[1:]:
            await part.grow(100)
        parts[1].settle(99)
        assert room.spare == 101
    assert parts[0].wanted == 0
    assert room.spare == 0
