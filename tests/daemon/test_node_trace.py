"""The same seed gives the same run of whole peers: what makes a failure in virtual time worth its seed (CHAIN 6.2)."""

from __future__ import annotations

from pathlib import Path

import trio
from whole_peers import World, run_virtually
from yumad.protocols.memory_transport import LinkQuality


def trace(folder: Path, seed: int) -> list[tuple[str, list[tuple[int, bytes]]]]:
    """What each authority heard of as final in ten slots with loss, a crash and a restart."""

    async def scenario() -> list[tuple[str, list[tuple[int, bytes]]]]:
        world = World(folder, seed=seed, quality=LinkQuality(latency=0.01, jitter=0.02, loss=0.1))
        async with world.running():
            await trio.sleep(4)
            await world.stop(world.authorities[1])
            await trio.sleep(1)
            await world.start(world.authorities[1])
            await trio.sleep(5)
        return [(member.name, list(member.finals)) for member in world.authorities]

    return run_virtually(scenario, seed=seed)


def test_same_seed_twice_gives_equal_final_hashes_and_another_seed_others(tmp_path: Path) -> None:
    first = trace(tmp_path / "first", 5)
    assert all(len(finals) >= 5 for _, finals in first)
    assert trace(tmp_path / "again", 5) == first
    assert trace(tmp_path / "other", 6) != first
