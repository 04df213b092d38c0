"""Links between simulated nodes: latency, loss, duplicates, partitions, and rules for single links."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulation.node import Node
    from simulation.world import World

Filter = Callable[["Node", "Node", str, Any], "int | None"]
"""(from, to, kind, payload) -> extra delay in microseconds, or None to drop."""


class Network:
    """Every message between two nodes goes through `send`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.loss = 0.0
        self.duplicate = 0.0
        self.spike = 0.0
        """Chance of a tenfold delay."""
        self.groups: dict[int, int] | None = None
        """Partition: node position -> group; None when whole."""
        self.filter: Filter | None = None
        self.rewrite: Callable[[Node, Node, str, Any], Any] | None = None
        """What a bad relay or an aimed schedule makes of a payload."""
        self.latency = world.setting.latency
        self.sent = 0

    def is_open(self, source: Node, target: Node) -> bool:
        """Whether the partition lets the two talk."""
        return self.groups is None or self.groups.get(source.position, 0) == self.groups.get(target.position, 0)

    def send(self, source: Node, target: Node, kind: str, payload: Any) -> bool:
        """Deliver after a random delay. False when it was lost: a stream's sender finds out, a gossiper does not."""
        world = self._world
        self.sent += 1
        if not target.is_up or not self.is_open(source, target):
            return False
        if self.loss and world.rng.random() < self.loss:
            return False
        delay = world.span(self.latency)
        if self.spike and world.rng.random() < self.spike:
            delay *= 10
        if self.filter is not None:
            extra = self.filter(source, target, kind, payload)
            if extra is None:
                return False
            delay += extra
        if self.rewrite is not None:
            payload = self.rewrite(source, target, kind, payload)
        world.schedule(world.now + delay, target.receive, kind, payload, source, node=target)
        if self.duplicate and world.rng.random() < self.duplicate:
            world.schedule(world.now + 2 * delay, target.receive, kind, payload, source, node=target)
        return True

    def gossip(self, source: Node, kind: str, payload: Any) -> None:
        """To everybody; nobody is told what was lost."""
        for target in self._world.nodes:
            if target is not source:
                self.send(source, target, kind, payload)
