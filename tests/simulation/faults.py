"""Fault plans: what the network, the power and the clocks do until the heal; and the verdict on a run (CHAIN 1.9)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulation.invariants import Fork, Violation
from simulation.world import SECOND, Crash, Setting, World

if TYPE_CHECKING:
    from simulation.node import Node


@dataclass(frozen=True, slots=True)
class Plan:
    """Faults from `start` to `heal`, then health until `end`. Times in seconds, chances as fractions."""

    heal: int = 120
    end: int = 300
    loss: float = 0.0
    duplicate: float = 0.0
    spike: float = 0.0
    partition: float = 0.0
    """Chance, each 10 s, that the partition changes."""
    crash_at_vote: float = 0.0
    """Chance of a crash between persist and send, or right after the send, of each vote."""
    crash_at_effect: float = 0.0
    """Chance of a crash before each effect."""
    crash_at_finality: float = 0.0
    """Chance of a crash at each point between R7's steps."""
    downtime: tuple[int, int] = (100_000, 30_000_000)
    skew: int = 0
    """Largest clock offset in microseconds, either way, also after the heal."""
    jumps: float = 0.0
    """Chance, each 10 s, that one clock jumps by up to five seconds until the heal."""
    least_gain: int = 4
    """Blocks each honest node must gain after the heal."""


@dataclass(slots=True)
class Outcome:
    """How a run ended."""

    violation: str = ""
    is_fork: bool = False
    gains: list[int] = field(default_factory=list)
    halts: list[tuple[int, int, str]] = field(default_factory=list)
    height: int = 0
    crashes: int = 0
    world: World | None = None
    least_gain: int = 5

    @property
    def is_stuck(self) -> bool:
        """Some honest node gained too little, or stopped."""
        return not self.violation and (not self.gains or min(self.gains) < self.least_gain)

    @property
    def is_good(self) -> bool:
        """Neither fork nor any other violation, and the chain goes on."""
        return not self.violation and not self.is_stuck

    def __str__(self) -> str:
        return f"violation={self.violation!r} gains={self.gains} halts={self.halts[:2]} height={self.height}"


def play(setting: Setting, plan: Plan, prepare: Callable[[World], None] | None = None) -> Outcome:
    """Run one seed through a plan."""
    world = World(setting)
    outcome = Outcome(world=world, least_gain=plan.least_gain)
    _arrange(world, plan, outcome)
    if prepare is not None:
        prepare(world)
    try:
        world.start()
        world.run(plan.heal * SECOND)
        heal(world, plan)
        before = {node.position: node.chain.finalised.height for node in world.correct}
        world.run(plan.end * SECOND)
        outcome.gains = [node.chain.finalised.height - before[node.position] for node in world.honest]
    except Fork as error:
        outcome.violation, outcome.is_fork = str(error), True
    except Violation as error:
        outcome.violation = str(error)
    outcome.halts = world.truth.halts
    outcome.height = max(world.truth.final, default=0)
    return outcome


def heal(world: World, plan: Plan) -> None:
    """The network is whole, nobody crashes any more, clocks are within their skew."""
    network = world.network
    network.loss = network.duplicate = network.spike = 0.0
    network.groups = None
    world.effect_hook = world.crash_hook = None
    for node in world.nodes:
        if abs(node.clock_offset) > plan.skew:
            node.set_clock(0)


def _arrange(world: World, plan: Plan, outcome: Outcome) -> None:
    rng, network = world.rng, world.network
    network.loss, network.duplicate, network.spike = plan.loss, plan.duplicate, plan.spike
    world.downtime = lambda _: world.span(plan.downtime)
    for node in world.nodes:
        node.clock_offset = rng.randint(-plan.skew, plan.skew) if plan.skew else 0

    def crash(node: Node) -> None:
        outcome.crashes += 1
        raise Crash

    def at_point(node: Node, name: str) -> None:
        chance = plan.crash_at_finality if name.startswith("finalise") else plan.crash_at_vote / 2
        if chance and rng.random() < chance:
            crash(node)

    def at_effect(node: Node, _: object) -> None:
        if rng.random() < plan.crash_at_effect:
            crash(node)

    if plan.crash_at_vote or plan.crash_at_finality:
        world.crash_hook = at_point
    if plan.crash_at_effect:
        world.effect_hook = at_effect

    def shake() -> None:
        if world.now >= plan.heal * SECOND:
            return
        if plan.partition and rng.random() < plan.partition:
            groups = rng.choice((1, 2, 2, 3))
            network.groups = None if groups == 1 else {node.position: rng.randrange(groups) for node in world.nodes}
        if plan.jumps and rng.random() < plan.jumps:
            rng.choice(world.nodes).set_clock(rng.randint(-5 * SECOND, 5 * SECOND))
        world.schedule(world.now + 10 * SECOND, shake)

    if plan.partition or plan.jumps:
        world.schedule(5 * SECOND, shake)
