"""Joining by a bootstrap address, good or bad, with whole peers in virtual time (AXON R32)."""

from __future__ import annotations

from pathlib import Path

import trio
from whole_peers import World, run_virtually

NEIGHBOURS = 4


def test_r32_joiner_has_a_peer_within_5_s_and_the_tip_within_60_s(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with World(tmp_path, followers=1).running() as world:
            await world.until_height(20, within=60)
            (joiner,) = world.followers
            started = trio.current_time()
            peer = await world.start(joiner)
            await world.until(lambda: bool(peer.transport.connected()), 5)
            first = world.authorities[0]
            await world.until(lambda: joiner.height >= first.height - 1, 60 - (trio.current_time() - started))
            await world.until(lambda: len(peer.transport.connected()) == NEIGHBOURS, 120)
            world.agree()

    run_virtually(scenario)


def test_r32_joiner_whose_bootstrap_is_not_there_goes_on_trying_and_never_ends(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path, followers=1)
        async with world.running([]):
            (joiner,) = world.followers
            peer = await world.start(joiner)
            await trio.sleep(600)
            assert joiner.error is None
            assert not joiner.ended.is_set()
            assert peer.transport.connected() == ()
            for member in world.authorities:
                await world.start(member)
            await world.until(lambda: bool(peer.transport.connected()), 100)
            await world.until(lambda: joiner.height >= world.authorities[0].height - 1 > 0, 60)

    run_virtually(scenario)
