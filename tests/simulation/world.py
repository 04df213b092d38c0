"""The simulated world: one heap of (time, sequence, event), one random source, nodes, network, truth (CHAIN 6.2).

Time is in microseconds since genesis. Nothing outside `World.rng` is random and nothing waits: the same seed gives the
same run. Signatures are membership in `World.signed`; only the holder of a key can put its statements there.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from simulation.exchange import Exchange
from simulation.invariants import Truth
from simulation.stores import ChainStore, Guard
from simulation.toy_chain import ToyRules, authority_key
from yumad.consensus.block import Block
from yumad.consensus.certificate import Certificate
from yumad.consensus.effects import Effect
from yumad.consensus.engine import Engine
from yumad.consensus.statement import Statement
from yumad.consensus.timing import Timing
from yumad.consensus.types import Hash32, Micros, Signature

if TYPE_CHECKING:
    from simulation.node import Node

MS = 1_000
SECOND = 1_000_000
EPOCH = Micros(1_700_000_000 * SECOND)
"""Unix time of genesis."""

FAKE_SIGNATURE = Signature(bytes(64))


class Crash(Exception):
    """The power of the node that is running fails now."""


@dataclass(slots=True)
class Driver:
    """How drivers apply effects. The defaults are the rules; mutants change one field each."""

    body_delay: int = 0
    """R9 broken: the body is stored this long after the vote."""
    prunes_before_commit: bool = False
    """R7 broken: the guard prunes and raises its floor before the chain store commits."""
    floor_gap: int = 0
    """With `prunes_before_commit`: time between prune and commit, in which a crash may fall."""
    has_floor: bool = True
    """False: the guard forgets pruned views altogether."""
    feeds_finalizations: bool = True
    """R7 broken: stored finalizations are not given to the engine at start."""
    feeds_certificates: bool = True
    """R11 broken: no stored certificate is given back."""
    recalls_in_new_eras: bool = True
    """R8 broken after a resync: an era that opens is entered without what the guard remembers of it."""
    offers_own_votes: bool = True
    """R10 broken: own votes of the guard are not given back or offered."""
    repairs: bool = True
    """False: what a link lost is never sent again."""
    listens: bool = False
    """Whether a start listens two slots before it votes; off by default, so that crashes cost the runs little."""
    keeps_guard: bool = True
    """False: the guard is lost in each crash."""


@dataclass(slots=True)
class Setting:
    """One simulated network."""

    seed: int = 0
    weights: Callable[[int], dict[int, int]] = lambda _: dict.fromkeys(range(4), 1)
    """Era -> weight of each authority number."""
    members: Sequence[int] = (0, 1, 2, 3)
    """Authorities that exist as nodes."""
    followers: int = 0
    slot: int = 12 * SECOND
    era_blocks: int = 1_000
    latency: tuple[int, int] = (50 * MS, 400 * MS)
    execution: tuple[int, int] = (5 * MS, 60 * MS)
    build: tuple[int, int] = (5 * MS, 30 * MS)
    tick: int = 100 * MS
    kinds: dict[int, type[Node]] = field(default_factory=dict)
    """Node class of an authority, honest unless named."""
    twins: Sequence[int] = ()
    """Authorities that run twice with one key."""
    engine: type[Engine] = Engine
    engine_of: dict[int, type[Engine]] = field(default_factory=dict)
    guard: type[Guard] = Guard
    driver: Driver = field(default_factory=Driver)
    exchange: type[Exchange] = Exchange
    ejects_idle: bool = False
    checks_refusals: bool = True
    """A guard that refuses its engine is a bug, except at or below the floor."""


class World:
    """Everything that exists in one run."""

    def __init__(self, setting: Setting) -> None:
        from simulation.network import Network
        from simulation.node import Node

        self.setting = setting
        self.rng = random.Random(setting.seed)
        self.now = 0
        self.sequence = 0
        self.heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...], Node | None, int]] = []
        self.rules = ToyRules(setting.era_blocks, setting.weights, ejects_idle=setting.ejects_idle)
        self.timing = Timing(EPOCH, Micros(setting.slot), setting.era_blocks)
        self.signed: dict[tuple[bytes, Statement], None] = {}
        self.blocks: dict[Hash32, Block] = {}
        self.results: dict[Hash32, object] = {}
        self.item_numbers: dict[object, int] = {}
        self.item_objects: dict[int, tuple[object, int]] = {}
        self.verified: dict[tuple[Statement, tuple[int, ...], bytes], bool] = {}
        self.truth = Truth(self)
        self.network = Network(self)
        self.effect_hook: Callable[[Node, Effect], None] | None = None
        """May raise Crash: called before each effect is applied."""
        self.crash_hook: Callable[[Node, str], None] | None = None
        """May raise Crash: called at named points inside an effect."""
        self.downtime: Callable[[Node], int] = lambda _: SECOND
        """How long a crashed node stays down."""
        context = self.rules.genesis_context()
        self.nodes: list[Node] = []
        for number in setting.members:
            self.nodes.append(setting.kinds.get(number, Node)(self, len(self.nodes), number, ChainStore(context)))
        for number in setting.twins:
            self.nodes.append(Node(self, len(self.nodes), number, ChainStore(context)))
        for _ in range(setting.followers):
            self.nodes.append(Node(self, len(self.nodes), None, ChainStore(context)))
        twins = list(setting.twins)
        for node in self.nodes:
            node.is_twin = node.number in twins

    # --- time -------------------------------------------------------------------------------------------------------

    def schedule(self, at: int, action: Callable[..., None], *args: Any, node: Node | None = None) -> None:
        """Run `action(*args)` at time `at`; if it belongs to a node, only in the node's present life."""
        self.sequence += 1
        life = -1 if node is None else node.life
        heappush(self.heap, (max(at, self.now), self.sequence, action, args, node, life))

    def start(self, delay: int = 0) -> None:
        """Start every node."""
        for node in self.nodes:
            self.schedule(self.now + delay, self._guarded, node.boot, (), node)

    def _guarded(self, action: Callable[..., None], args: tuple[Any, ...], node: Node) -> None:
        try:
            action(*args)
        except Crash:
            self.crash(node)

    def run(self, until: int) -> None:
        """Process events up to and including `until`."""
        heap = self.heap
        while heap and heap[0][0] <= until:
            at, _, action, args, node, life = heappop(heap)
            self.now = at
            if node is None:
                action(*args)
            elif node.life == life:
                try:
                    action(*args)
                except Crash:
                    self.crash(node)
        self.now = until

    # --- nodes ------------------------------------------------------------------------------------------------------

    def crash(self, node: Node, downtime: int | None = None) -> None:
        """Power off; power on later."""
        node.power_off()
        wait = self.downtime(node) if downtime is None else downtime
        self.schedule(self.now + wait, self._guarded, node.boot, (), node)

    @property
    def honest(self) -> list[Node]:
        """Nodes whose keys follow the rules."""
        return [node for node in self.nodes if node.is_honest and not node.is_twin]

    @property
    def correct(self) -> list[Node]:
        """Nodes that run the real engine, twins included: none of them may ever fork."""
        return [node for node in self.nodes if node.is_honest]

    def span(self, bounds: tuple[int, int]) -> int:
        """A random duration."""
        low, high = bounds
        return low if low >= high else low + int(self.rng.random() * (high - low))

    # --- signatures -------------------------------------------------------------------------------------------------

    def sign(self, number: int, statement: Statement) -> None:
        """The holder of key `number` signs."""
        self.signed[authority_key(number), statement] = None

    def is_certified(self, certificate: Certificate, authorities: Any) -> bool:
        """What `verify_certificate` checks, with membership for signatures."""
        place = (certificate.statement, certificate.signers, authorities.hash)
        known = self.verified.get(place)
        if known is None:
            members = authorities.members
            known = (
                bool(certificate.signers)
                and certificate.signers[-1] < len(members)
                and sum(members[index].weight for index in certificate.signers) >= authorities.quorum
                and all((members[index].key, certificate.statement) in self.signed for index in certificate.signers)
            )
            self.verified[place] = known
        return known
