"""Aimed runs of CHAIN 1.9: the few schedules that random faults do not reach, each with the rule it is about."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from simulation.adversaries import Byzantine, StaleLeader
from simulation.exchange import Frame
from simulation.faults import Outcome
from simulation.invariants import Fork, Violation
from simulation.node import Node
from simulation.stores import ChainStore, Guard
from simulation.world import SECOND, Crash, Driver, Setting, World
from yumad.consensus.effects import BlockRef, ViewEntered
from yumad.consensus.engine import Engine
from yumad.consensus.statement import Kind, Statement
from yumad.consensus.timing import VIEW_WINDOW
from yumad.consensus.types import Hash32, View


def run(world: World, seconds: int, since: int = 0) -> Outcome:
    """Start nothing, run on, and judge what was gained since height `since`."""
    outcome = Outcome(world=world)
    try:
        world.run(world.now + seconds * SECOND)
    except Fork as error:
        outcome.violation, outcome.is_fork = str(error), True
    except Violation as error:
        outcome.violation = str(error)
    outcome.gains = [node.chain.finalised.height - since for node in world.honest]
    outcome.halts = world.truth.halts
    outcome.height = max(world.truth.final, default=0)
    return outcome


def names(payload: Any, kind: Kind) -> list[Statement]:
    """Statements of a kind in a frame, single or certified."""
    if not isinstance(payload, Frame):
        return []
    return [item.statement for item in payload.items if item.statement.kind is kind]


def constant_latency(
    engine: type[Engine], latency: tuple[int, int], slots: int, members: int = 4, seed: int = 0
) -> Outcome:
    """All links alike, nothing lost, nobody bad (R12, R3)."""
    setting = Setting(
        seed=seed,
        members=range(members),
        weights=lambda _: dict.fromkeys(range(members), 1),
        latency=latency,
        engine=engine,
    )
    world = World(setting)
    world.start()
    return run(world, slots * 12)


@dataclass(slots=True)
class _Act:
    """What the double leader has done."""

    view: View = View(0)
    parent_view: View = View(0)
    first: Hash32 | None = None
    second: Hash32 | None = None
    is_done: bool = False


class DoubleLeader(Byzantine):
    """Leads two views in a row: shows everybody two blocks in the first, builds on the second in the next, and hands
    its finalize vote for the first block to one victim only. Silent before and after."""

    def __init__(self, world: World, position: int, number: int | None, chain: ChainStore) -> None:
        super().__init__(world, position, number, chain)
        self.act = _Act()

    def entered(self, effect: ViewEntered) -> None:
        leads_twice = effect.leader_index == self.index and self.engine.leader_of(View(effect.view + 1)) == self.index
        if leads_twice and not self.act.is_done:
            self.act.is_done = True
            self.act.view = effect.view
            self.act.parent_view = self.engine.finalised_view
            delay = self.world.timing.start_of(self.engine.head.slot + 1) - self.local_now
            self.world.schedule(self.world.now + delay, self._first, node=self)
        elif self.act.view and effect.view == self.act.view + 1:
            self.world.schedule(self.world.now + 2 * SECOND, self._second, node=self)

    def _first(self) -> None:
        act, engine = self.act, self.engine
        act.first = self.propose(act.view, engine.finalised_view, engine.finalised, self.others)
        act.second = self.propose(act.view, engine.finalised_view, engine.finalised, self.others)
        assert act.first is not None
        assert act.second is not None
        dupe, others = self.world.honest[1], [node for node in self.others if node is not self.world.honest[1]]

        def hide_first(_s: Node, target: Node, _k: str, payload: Any) -> Any:
            """One node gets the votes for the second block only: so each block is notarised somewhere."""
            if target is not dupe or not isinstance(payload, Frame):
                return payload
            return replace(payload, items=tuple(i for i in payload.items if i.statement.block_hash != act.first))

        def mend() -> None:
            self.world.network.rewrite = None
            for node in self.world.nodes:
                if node.is_up and node is not dupe:
                    node.exchange.reset(dupe.position)

        self.world.network.rewrite = hide_first
        self.world.schedule(self.world.now + 30 * SECOND, mend)
        for name, targets in ((act.first, others), (act.second, [dupe])):
            self.say(Statement(Kind.NOTARIZE, engine.era, act.view, engine.finalised_view, name), targets)

    def _second(self) -> None:
        """Build on the block of which fewer finalize votes are on their way."""
        act, world = self.act, self.world
        victim = world.honest[0]
        finalised = [
            signed.statement.block_hash
            for signed in victim.engine.held_statements()
            if signed.statement.kind is Kind.FINALIZE and signed.statement.view == act.view
        ]
        if act.first is None or act.second is None:
            return
        favourite = act.first if finalised.count(act.first) >= finalised.count(act.second) else act.second
        other = act.second if favourite == act.first else act.first
        block = world.blocks[other]
        state = victim.states.get(other)
        if state is None:
            return
        self.states[other] = state
        name = self.propose(View(act.view + 1), act.view, BlockRef.of(block.header, other), self.others)
        assert name is not None
        era = self.engine.era
        for kind in (Kind.NOTARIZE, Kind.FINALIZE):
            self.say(Statement(kind, era, View(act.view + 1), act.view, name), world.honest[1:])
        world.network.filter = lambda source, target, _k, _p: 0 if target is not victim or source is self else None
        vote = Statement(Kind.FINALIZE, era, act.view, act.parent_view, favourite)
        self.say(vote, [victim])


def double_leader(engine: type[Engine], guard: type[Guard], seed: int = 0) -> Outcome:
    """Two notarize votes in one view (R3), with or without two notarizations kept (R8)."""
    weights = {0: 10, 1: 10, 2: 10, 3: 11}  # the genesis seed then gives the bad key views 1 to 3
    setting = Setting(
        seed=seed,
        kinds={3: DoubleLeader},
        engine=engine,
        guard=guard,
        weights=lambda _: weights,
        latency=(100_000, 100_000),
        execution=(20_000, 20_000),
    )
    world = World(setting)
    world.truth.checks_votes = False
    world.start()
    return run(world, 600)


def era_stop(engine: type[Engine], seed: int = 0) -> Outcome:
    """R13: old set 0..3, new set 4..7, nobody bad; the old members' finalize votes for the boundary reach the new set
    at once and one another a minute late."""
    setting = Setting(
        seed=seed,
        members=range(8),
        weights=lambda era: dict.fromkeys(range(4) if era == 0 else range(4, 8), 1),
        era_blocks=5,
        engine=engine,
    )
    world = World(setting)

    def delay(source: Node, target: Node, _: str, payload: Any) -> int:
        finals = names(payload, Kind.FINALIZE)
        is_boundary = any(
            world.blocks[statement.block_hash].header.height == 5 for statement in finals if statement.era == 0
        )
        return 60 * SECOND if is_boundary and target.position < 4 else 0

    world.network.filter = delay
    world.start()
    return run(world, 400)


def two_disks_replaced(guard: type[Guard], engine: type[Engine], seed: int = 0) -> Outcome:
    """Guard birth: n = 4, nobody bad. Height 6 is final on 0, 1 and 2; then 2 is cut off, and 0 and 1 come back with
    new disks beside 3, which never heard of height 6."""
    setting = Setting(seed=seed, guard=guard, engine=engine, weights=lambda _: dict.fromkeys(range(4), 1))
    world = World(setting)
    world.truth.checks_votes = False
    world.start()
    while world.nodes[3].chain.finalised.height < 5:
        world.run(world.now + SECOND // 10)
    world.network.groups = {0: 0, 1: 0, 2: 0, 3: 1}
    while world.nodes[2].chain.finalised.height < 6:
        world.run(world.now + SECOND // 10)
    world.network.groups = {0: 0, 1: 0, 2: 1, 3: 0}
    for node in world.nodes[:2]:
        node.power_off()
        node.guard = guard(node.local_now)
        node.chain = ChainStore(world.rules.genesis_context())
        world.schedule(world.now + SECOND, node.boot)
    return run(world, 400, since=6)


def proposals_lost(engine: type[Engine], seed: int = 0) -> Outcome:
    """VIEW_WINDOW: no proposal and no block arrives for more than 64 views, votes do; then all is well."""
    setting = Setting(seed=seed, engine=engine, weights=lambda _: dict.fromkeys(range(4), 1))
    world = World(setting)
    world.network.filter = lambda _s, _t, kind, _p: None if kind in ("proposal", "block", "fetch") else 0
    world.start()
    world.run(0)
    while min(node.engine.view for node in world.nodes) < 1 + VIEW_WINDOW + 6 and world.now < 3 * 3600 * SECOND:
        world.run(world.now + 60 * SECOND)
    world.network.filter = None
    views = max(node.engine.view for node in world.nodes)
    before = min(node.chain.finalised.height for node in world.nodes)
    outcome = run(world, 1800, since=before)
    outcome.height = views
    return outcome


def stale_parent(engine: type[Engine], seed: int = 0) -> Outcome:
    """R3, parent rule: finalize votes travel slowly, and a bad leader builds beside the notarised block."""
    setting = Setting(seed=seed, kinds={3: StaleLeader}, engine=engine, weights=lambda _: dict.fromkeys(range(4), 1))
    world = World(setting)
    world.truth.checks_votes = False

    def slow(_s: Node, _t: Node, _k: str, payload: Any) -> int:
        return 3 * SECOND if names(payload, Kind.FINALIZE) else 0

    world.network.filter = slow
    world.start()
    return run(world, 600)


def resync_behind_the_guard(driver: Driver, seed: int = 0) -> Outcome:
    """`rm -rf chain/` on one of four while the only neighbour in reach lags behind what its guard has seen."""
    setting = Setting(seed=seed, era_blocks=6, weights=lambda _: dict.fromkeys(range(4), 1), driver=driver)
    world = World(setting)
    world.start()
    world.run(9 * 12 * SECOND)
    victim, laggard = world.nodes[1], world.nodes[3]
    world.network.groups = {0: 0, 1: 0, 2: 0, 3: 1}
    while victim.chain.finalised.height < laggard.chain.finalised.height + 2:
        world.run(world.now + SECOND // 2)
    victim.power_off()
    victim.chain = ChainStore(world.rules.genesis_context())
    world.network.groups = {0: 0, 1: 1, 2: 0, 3: 1}
    world.schedule(world.now + SECOND, victim.boot)
    outcome = run(world, 20)
    if outcome.violation:
        return outcome
    world.network.groups = None
    outcome = run(world, 20)
    outcome.gains = [int(victim.engine.is_voter)]
    return outcome


class Betrayer(Byzantine):
    """Helps two of three to notarise and finalise one view, then says nothing for ever."""

    view = View(0)

    def keep_certificate(self, effect: object) -> None:
        """Nothing is forwarded."""

    def entered(self, effect: ViewEntered) -> None:
        if not self.view and effect.view >= 3 and effect.leader_index in (0, 1):
            self.view = effect.view

    def heard(self, statement: Statement) -> None:
        if statement.view != self.view:
            return
        friends = self.world.honest[:2]
        for kind, delay in ((Kind.NOTARIZE, 0), (Kind.FINALIZE, 2 * SECOND)):
            vote = Statement(kind, statement.era, statement.view, statement.parent_view, statement.block_hash)
            if (self.key, vote) not in self.world.signed:
                self.world.schedule(self.world.now + delay, self.say, vote, friends, node=self)


def finalization_stored_then_crash(setting: Setting) -> Outcome:
    """R7: two nodes store a finalization and lose power before the chain store commits; the third nullified the view,
    the fourth keeps silent. Only the stored finalization can move them on."""
    setting.kinds = {3: Betrayer}
    world = World(setting)
    betrayer, third = world.nodes[3], world.nodes[2]
    assert isinstance(betrayer, Betrayer)
    crashed: dict[int, None] = {}

    def hide(source: Node, target: Node, kind: str, payload: Any) -> int | None:
        """The third sees the view's proposal too late, and nobody's certificate of it before the crash."""
        if len(crashed) == 2:
            return None if source is betrayer else 0
        if betrayer.view and (target is third or source is third):
            return None
        return 0

    def crash(node: Node, name: str) -> None:
        is_aimed = name == "finalise: certificate stored" and node.engine.finalised_view == betrayer.view
        if betrayer.view and is_aimed and node.position < 2 and node.position not in crashed:
            crashed[node.position] = None
            raise Crash

    world.network.filter = hide
    world.crash_hook = crash
    world.downtime = lambda _: 30 * SECOND
    world.start()
    return run(world, 600)
