"""Peers that break one rule each (CHAIN 1.7, 1.9). They hold one key and can sign anything with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.exchange import Frame, Item
from simulation.node import Node
from simulation.world import FAKE_SIGNATURE
from yumad.consensus.block import Block
from yumad.consensus.effects import BlockRef, Build, PersistCertificate, ViewEntered
from yumad.consensus.statement import Kind, SignedStatement, Statement, nullify
from yumad.consensus.types import Hash32, Slot, View

if TYPE_CHECKING:
    from simulation.stores import ChainStore
    from simulation.world import World


class Byzantine(Node):
    """Tracks the chain with a follower's engine and signs by itself, without a guard."""

    is_honest = False
    has_voting_engine = False
    is_hasty = False
    """Leads before the slot of its turn, while the block before is not final yet: the moment of stale parents."""

    def __init__(self, world: World, position: int, number: int | None, chain: ChainStore) -> None:
        super().__init__(world, position, number, chain)
        self.guard = None

    @property
    def index(self) -> int | None:
        """Own index in the present set."""
        return self.engine.context.authorities.index_of(self.key or b"")

    @property
    def others(self) -> list[Node]:
        """Everybody else."""
        return [node for node in self.world.nodes if node is not self]

    def halves(self) -> tuple[list[Node], list[Node]]:
        """A random split of the others."""
        others = self.others
        self.world.rng.shuffle(others)
        return others[: len(others) // 2], others[len(others) // 2 :]

    def say(self, statement: Statement, targets: list[Node]) -> None:
        """Sign and send to some."""
        index = self.index
        if index is None or statement.era != self.engine.era:
            return
        self.world.sign(self.number or 0, statement)
        signed = SignedStatement(statement, index, FAKE_SIGNATURE)
        for target in targets:
            self.send_items(target, (signed,))

    def send_items(self, target: Node, items: tuple[Item, ...]) -> None:
        """An exchange frame outside the exchange."""
        engine = self.engine
        frame = Frame(engine.era, engine.finalised_view, engine.view, engine.finalised.height, items)
        self.world.network.send(self, target, "frame", frame)

    def propose(self, view: View, parent_view: View, parent: BlockRef, targets: list[Node]) -> Hash32 | None:
        """Build a valid block on any parent whose state is here and send it to some."""
        slot = Slot(max(self.world.timing.slot_at(self.local_now), parent.slot + 1))
        sealed = self.seal(parent, Build(view, parent, slot), with_transactions=True)
        index = self.index
        if sealed is None or index is None:
            return None
        statement = Statement(Kind.PROPOSE, self.engine.era, view, parent_view, sealed.hash)
        self.world.sign(self.number or 0, statement)
        signed = SignedStatement(statement, index, FAKE_SIGNATURE)
        for target in targets:
            self.world.network.send(self, target, "proposal", (signed, sealed.block))
        return sealed.hash

    def parents(self) -> list[tuple[View, BlockRef]]:
        """Everything that could be built upon: F and executed notarised blocks above it."""
        engine = self.engine
        found = [(engine.finalised_view, engine.finalised)]
        for certificate in engine.held_certificates():
            statement = certificate.statement
            block = self.block(statement.block_hash)
            if statement.kind is Kind.NOTARIZE and block is not None and statement.block_hash in self.states:
                found.append((statement.view, BlockRef.of(block.header, statement.block_hash)))
        return found

    def entered(self, effect: ViewEntered) -> None:
        """A new view: lead it if it is ours."""
        if effect.leader_index == self.index:
            start = self.world.timing.start_of(self.engine.head.slot + 1)
            if self.is_hasty and self.world.rng.random() < 0.5:
                start = self.local_now
            self.world.schedule(start - self.local_now + self.world.now, self._lead, effect.view, node=self)
        self.world.schedule(self.world.now + self.world.span((0, 4_000_000)), self.in_view, effect.view, node=self)

    def _lead(self, view: View) -> None:
        if view == self.engine.view:
            self.lead(view)

    def lead(self, view: View) -> None:
        """Our turn to propose."""

    def in_view(self, view: View) -> None:
        """Some time into each view."""

    def take_proposal(self, signed: SignedStatement, block: Block) -> None:
        """React to what leaders say."""
        super().take_proposal(signed, block)
        self.heard(signed.statement)

    def _take_vote(self, signed: SignedStatement) -> None:
        super()._take_vote(signed)
        if signed.statement.kind in (Kind.PROPOSE, Kind.NOTARIZE):
            self.heard(signed.statement)

    def heard(self, statement: Statement) -> None:
        """Somebody names a block for a view."""


class Liar(Byzantine):
    """Signs everything: every notarize, nullify and finalize of each view, to random halves; equivocates, builds on
    stale parents, or keeps silent when it leads."""

    is_hasty = True

    def lead(self, view: View) -> None:
        rng = self.world.rng
        parents = self.parents()
        draw = rng.random()
        if draw < 0.15:
            return
        parent_view, parent = parents[-1] if draw < 0.5 else parents[rng.randrange(len(parents))]
        first, second = self.halves()
        for targets in (first, second) if draw > 0.3 else (self.others, self.others):
            self.propose(view, parent_view, parent, targets)
            if draw > 0.8:
                parent_view, parent = parents[rng.randrange(len(parents))]

    def in_view(self, view: View) -> None:
        if view >= self.engine.view:
            self.say(nullify(self.engine.era, view), self._some())

    def heard(self, statement: Statement) -> None:
        if statement.view < self.engine.finalised_view:
            return
        era, view, parent_view, name = statement.era, statement.view, statement.parent_view, statement.block_hash
        for kind in (Kind.NOTARIZE, Kind.FINALIZE):
            vote = Statement(kind, era, view, parent_view, name)
            if (self.key, vote) not in self.world.signed or self.world.rng.random() < 0.02:
                self.say(vote, self._some())

    def _some(self) -> list[Node]:
        return self.others if self.world.rng.random() < 0.3 else self.halves()[0]


class Equivocator(Byzantine):
    """Leads with two blocks to two halves and notarizes both; silent otherwise."""

    def lead(self, view: View) -> None:
        parent_view, parent = self.parents()[-1]
        for targets in self.halves():
            name = self.propose(view, parent_view, parent, targets)
            if name is not None:
                self.say(Statement(Kind.NOTARIZE, self.engine.era, view, parent_view, name), self.others)


class StaleLeader(Byzantine):
    """Leads with a block on F although later views are notarised; votes nothing."""

    is_hasty = True

    def lead(self, view: View) -> None:
        parent_view, parent = self.parents()[0]
        self.propose(view, parent_view, parent, self.others)


class SilentLeader(Node):
    """Never proposes, votes like everybody."""

    def build(self, effect: Build) -> None:
        """Nothing is built."""


class SelectiveSender(Node):
    """Its votes go to two nodes only, and it forwards nobody else's."""

    def release(self, signed: SignedStatement) -> None:
        targets = [node for node in self.world.nodes if node is not self]
        self.world.rng.shuffle(targets)
        engine = self.engine
        frame = Frame(engine.era, engine.finalised_view, engine.view, engine.finalised.height, (signed,))
        for target in targets[:2]:
            self.world.network.send(self, target, "frame", frame)
        if signed.statement.kind is Kind.PROPOSE:
            block = self.block(signed.statement.block_hash)
            self.world.network.gossip(self, "proposal", (signed, block))


class SelectiveFinalizer(Node):
    """Keeps its finalize votes to itself."""

    def release(self, signed: SignedStatement) -> None:
        if signed.statement.kind is not Kind.FINALIZE:
            super().release(signed)


class WithholdingLeader(Node):
    """Its proposals name a block that it never gives away."""

    def release(self, signed: SignedStatement) -> None:
        self.exchange.admits(signed)
        self.exchange.offer(signed)

    def serve(self, name: Hash32) -> Block | None:
        block = super().serve(name)
        if block is not None and self.engine.context.authorities.index_of(self.key or b"") == (
            block.header.proposer_index
        ):
            return None
        return block


class CertificateHoarder(Node):
    """Forwards no certificate and answers no question for one."""

    def keep_certificate(self, effect: PersistCertificate) -> None:
        if self.guard is not None:
            self.guard.keep(effect.certificate)

    def _answer(self, question: tuple[int, tuple[View, ...]], source: Node) -> None:
        """Silence."""


class LateSender(Node):
    """Everything it signs leaves up to a slot late."""

    def release(self, signed: SignedStatement) -> None:
        delay = self.world.span((0, self.world.setting.slot))
        self.world.schedule(self.world.now + delay, self._release, signed, node=self)

    def _release(self, signed: SignedStatement) -> None:
        if signed.statement.era == self.engine.era and signed.statement.view > self.engine.finalised_view:
            super().release(signed)


HONEST_BUT_ODD = (SilentLeader, SelectiveSender, SelectiveFinalizer, WithholdingLeader, CertificateHoarder, LateSender)
"""They break no signed rule: their keys must never produce evidence."""
