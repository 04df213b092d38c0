"""Whole peers under random crashes, cuts, loss and load, seed by seed (CHAIN 6.3): nothing forks, everything resumes.

Two seeds run by default; `YUMAD_SEEDS=FIRST:COUNT` runs others. A failure names its seed.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
import trio
from whole_peers import ERA_BLOCKS, Member, World, run_virtually
from yumad.protocols.memory_transport import LinkQuality

FAULTY_SECONDS = 25
"""Virtual time with faults: about four eras where nothing goes wrong."""


def seeds() -> range:
    first, _, count = os.environ.get("YUMAD_SEEDS", "11:2").partition(":")
    return range(int(first), int(first) + int(count or 1))


async def crash_and_restart(world: World, member: Member, rng: random.Random) -> None:
    if member.peer is None:
        return
    await world.stop(member)
    await trio.sleep(rng.random() * 6)
    await world.start(member)


async def cut_for_a_while(world: World, rng: random.Random) -> None:
    ids = [member.peer_id for member in world.members]
    rng.shuffle(ids)
    at = rng.randrange(1, len(ids))
    world.network.partition(tuple(ids[:at]), tuple(ids[at:]))  # type: ignore[arg-type]
    await trio.sleep(1 + rng.random() * 5)
    world.network.heal()


async def send_something(world: World, rng: random.Random) -> None:
    running = [member for member in world.authorities if member.peer is not None]
    if running:
        await world.transfer(rng.choice(running), rng.choice(("alice", "eve", "dave")), "bob", rng.randrange(1, 10**9))


async def torment(world: World, rng: random.Random) -> None:
    """Faults, one after the other; each ends before the next begins."""
    until = trio.current_time() + FAULTY_SECONDS
    while trio.current_time() < until:
        fault = rng.random()
        if fault < 0.35:
            await crash_and_restart(world, rng.choice(world.members), rng)
        elif fault < 0.5:
            async with trio.open_nursery() as nursery:
                for member in rng.sample(world.members, 3):
                    nursery.start_soon(crash_and_restart, world, member, rng)
        elif fault < 0.7:
            await cut_for_a_while(world, rng)
        else:
            await send_something(world, rng)
        await trio.sleep(rng.random())


@pytest.mark.parametrize("seed", seeds())
def test_random_faults_neither_fork_nor_end_a_peer_and_the_chain_resumes(tmp_path: Path, seed: int) -> None:
    async def scenario() -> None:
        rng = random.Random(seed)
        quality = LinkQuality(latency=0.01, jitter=0.03 * rng.random(), loss=0.2 * rng.random())
        world = World(tmp_path, followers=1, seed=seed, quality=quality)
        async with world.running(world.members):
            await torment(world, rng)
            assert [(member.name, member.error) for member in world.members if member.error is not None] == []
            height = max(member.height for member in world.members)
            await world.until_height(height + ERA_BLOCKS, within=90)
            world.agree()
            await trio.sleep(1)
            for member in world.members:
                index = member.running.index
                assert index is not None and index.indexed_to() >= height + ERA_BLOCKS - 1
            assert [(member.name, member.error) for member in world.members if member.error is not None] == []

    run_virtually(scenario, seed=seed)
