"""Small networks that the fault list starts, and how their progress is read."""

from __future__ import annotations

from typing import Any

from simulation.campaigns import equal
from simulation.world import SECOND, Setting, World

SLOT = 12 * SECOND


def started(**changes: Any) -> World:
    """A running network: four equal authorities unless changed."""
    world = World(Setting(**{"weights": equal(4), **changes}))
    world.start()
    return world


def heights(world: World) -> list[int]:
    """Final height of each honest node."""
    return [node.chain.finalised.height for node in world.honest]


def run_slots(world: World, slots: int) -> None:
    """Let a number of slots pass."""
    world.run(world.now + slots * SLOT)
