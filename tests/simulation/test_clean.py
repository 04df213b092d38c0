"""Clean networks: one block a slot, quick finality, set changes (CHAIN 6.4, first row)."""

import pytest
from simulation.world import SECOND, Setting, World

SLOTS = 20


def run(members: int, **changes: object) -> World:
    setting = Setting(members=range(members), weights=lambda _: dict.fromkeys(range(members), 1), **changes)  # type: ignore[arg-type]
    world = World(setting)
    world.start()
    world.run((SLOTS + 1) * 12 * SECOND - 1)
    return world


@pytest.mark.parametrize("members", [1, 2, 3, 4, 7, 10])
def test_network_without_faults_finalises_one_block_a_slot(members: int) -> None:
    world = run(members)
    assert [node.chain.finalised.height for node in world.nodes] == [SLOTS] * members
    assert not world.truth.halts


def test_era_change_without_faults_loses_no_slot() -> None:
    world = run(4, era_blocks=5)
    assert [node.chain.finalised.height for node in world.nodes] == [SLOTS] * 4
    assert {node.chain.context.era for node in world.nodes} == {4}


def test_follower_without_key_finalises_with_the_authorities() -> None:
    world = run(4, era_blocks=5, followers=2)
    assert [node.chain.finalised.height for node in world.nodes] == [SLOTS] * 6


def test_same_seed_gives_the_same_run() -> None:
    first, second = run(4, seed=9), run(4, seed=9)
    assert first.truth.final == second.truth.final
    assert first.sequence == second.sequence
