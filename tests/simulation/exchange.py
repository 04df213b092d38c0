"""Vote exchange as the simulator models it (CHAIN 1.5): each tick a neighbour is sent what it lacks.

Each side remembers what the neighbour has. A frame that a link lost breaks the stream; when it is open again both
sides forget what they believed of one another, which is what repairs everything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from yumad.consensus.certificate import Certificate
from yumad.consensus.statement import Kind, SignedStatement
from yumad.consensus.timing import VIEW_WINDOW

if TYPE_CHECKING:
    from simulation.node import Node
    from simulation.world import World

Item: TypeAlias = SignedStatement | Certificate
Key: TypeAlias = int
"""Number of an item's content in `World.item_numbers`: hashing statements again and again is what costs most."""

MOST_ITEMS = 128
LATE_VIEWS = 40
"""How long finalize votes below F stay on offer, in views; the engine itself keeps the last eight finalised."""


def key_of(world: World, item: Item) -> Key:
    """Identity of an item by content: statement and signer, or statement and the fact that it is certified."""
    seen = world.item_objects.get(id(item))
    if seen is not None:
        return seen[1]
    content = (item.statement, -1) if isinstance(item, Certificate) else (item.statement, item.index)
    number = world.item_numbers.setdefault(content, len(world.item_numbers))
    world.item_objects[id(item)] = item, number  # the reference keeps the id from being used again
    return number


@dataclass(slots=True)
class Neighbour:
    """What one side believes of the other."""

    known: dict[Key, None] = field(default_factory=dict)
    todo: list[Key] = field(default_factory=list)
    era: int = -1
    final_view: int = 0
    view: int = 0
    is_broken: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """One bundle; the position tells the receiver what the sender can use."""

    era: int
    final_view: int
    view: int
    final_height: int
    items: tuple[Item, ...]


def neighbours_of(position: int, count: int) -> list[int]:
    """Everybody in a small network; eight others in a larger one, near and far on a ring, each mutual."""
    if count <= 10:
        return [other for other in range(count) if other != position]
    steps = dict.fromkeys((1, 2, count // 5, count // 3))
    around = [(position + sign * step) % count for step in steps for sign in (1, -1)]
    return sorted(dict.fromkeys(other for other in around if other != position))


class Exchange:
    """All exchange state of one node's life."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.items: dict[Key, Item] = {}
        count = len(node.world.nodes)
        self._neighbours: dict[int, Neighbour] = {
            position: Neighbour() for position in neighbours_of(node.position, count)
        }
        self._copies: dict[tuple[int, int, int, int], int] = {}
        self._is_ticking = False
        self._era = -1

    def offer(self, item: Item) -> None:
        """Something accepted here: neighbours that lack it get it at the next tick."""
        key = key_of(self._node.world, item)
        if key in self.items:
            return
        self.items[key] = item
        for neighbour in self._neighbours.values():
            if key not in neighbour.known:
                neighbour.todo.append(key)
        self.wake()

    def has(self, item: Item) -> bool:
        """Whether it is on offer already."""
        return key_of(self._node.world, item) in self.items

    def admits(self, signed: SignedStatement) -> bool:
        """Two copies of a vote at most are kept and forwarded (R14)."""
        statement = signed.statement
        place = (statement.era, statement.view, statement.kind, signed.index)
        copies = self._copies.get(place, 0)
        if copies >= 2:
            return False
        self._copies[place] = copies + 1
        return True

    def wake(self) -> None:
        """A tick follows, if none is due already."""
        if not self._is_ticking:
            self._is_ticking = True
            world = self._node.world
            tick = world.setting.tick
            at = (world.now // tick + 1) * tick + self._node.position * 37 % tick
            world.schedule(at, self._tick, node=self._node)

    def _tick(self) -> None:
        self._is_ticking = False
        node = self._node
        engine = node.engine
        is_new_era = engine.era != self._era
        self._era = engine.era
        more = False
        for position, neighbour in self._neighbours.items():
            if neighbour.is_broken or not (neighbour.todo or is_new_era):
                continue
            items, left = self._pick(neighbour)
            more = more or left
            if items or is_new_era:
                frame = Frame(engine.era, engine.finalised_view, engine.view, engine.finalised.height, items)
                if not node.world.network.send(node, node.world.nodes[position], "frame", frame):
                    self._break(position)
        if more:
            self.wake()

    def _pick(self, neighbour: Neighbour) -> tuple[tuple[Item, ...], bool]:
        """What the neighbour lacks and can use; what it cannot use yet stays for later."""
        chosen: list[Item] = []
        later: list[Key] = []
        is_full = False
        for key in neighbour.todo:
            item = self.items.get(key)
            if item is None or key in neighbour.known:
                continue
            statement = item.statement
            if neighbour.era >= 0 and statement.era != neighbour.era:
                if statement.era > neighbour.era:
                    later.append(key)
                continue
            is_vote = isinstance(item, SignedStatement)
            if is_vote and statement.view > neighbour.view + VIEW_WINDOW and neighbour.era >= 0:
                later.append(key)
                continue
            if len(chosen) >= MOST_ITEMS:
                later.append(key)
                is_full = True
                continue
            chosen.append(item)
            neighbour.known[key] = None
        neighbour.todo = later
        chosen.sort(key=lambda item: not isinstance(item, Certificate))
        return tuple(chosen), is_full

    def _break(self, position: int) -> None:
        """The stream broke: redial in a second or three, then both sides start anew."""
        neighbour = self._neighbours[position]
        neighbour.is_broken = True
        world = self._node.world
        if world.setting.driver.repairs:
            world.schedule(world.now + world.span((1_000_000, 3_000_000)), self.reset, position, node=self._node)

    def reset(self, position: int) -> None:
        """The link to a neighbour is new: nothing is known of it."""
        neighbour = self._neighbours.get(position)
        if neighbour is None:
            return
        neighbour.is_broken = False
        neighbour.known = {}
        neighbour.era = -1
        neighbour.todo = list(self.items)
        self.wake()

    def heard(self, position: int, frame: Frame) -> None:
        """Where the neighbour stands; if its F is older, it needs the finality that moves it."""
        neighbour = self._neighbours.get(position)
        if neighbour is None:
            return  # an answer, or an adversary's frame, from somebody who is no neighbour
        was_behind = (neighbour.era, neighbour.view)
        neighbour.era, neighbour.final_view, neighbour.view = frame.era, frame.final_view, frame.view
        if neighbour.todo and (frame.era, frame.view) != was_behind:
            self.wake()

    def knows(self, position: int, item: Item) -> None:
        """The neighbour sent it."""
        if position in self._neighbours:
            self._neighbours[position].known[key_of(self._node.world, item)] = None

    def prune(self, era: int, final_view: int) -> None:
        """F moved: drop what it passed, except finality and late finalize votes."""
        gone = [key for key, item in self.items.items() if _is_passed(item, era, final_view)]
        for key in gone:
            del self.items[key]
            for neighbour in self._neighbours.values():
                neighbour.known.pop(key, None)
        self._copies = {place: n for place, n in self._copies.items() if (place[0], place[1]) > (era, final_view - 40)}


def _is_passed(item: Item, era: int, final_view: int) -> bool:
    """Whether nobody in this era can use the item once F is at `final_view`."""
    statement = item.statement
    is_certificate = isinstance(item, Certificate)
    is_final = statement.kind is Kind.FINALIZE
    if statement.era != era:
        return statement.era < era - 1 or not (is_certificate and is_final)
    if statement.view > final_view:
        return False
    return not is_final or statement.view <= (final_view - 1 if is_certificate else final_view - LATE_VIEWS)
