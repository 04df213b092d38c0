"""A simulated peer: the real engine behind a driver that applies its effects, with crash points between the steps.

Volatile things (engine, states above F, fetched bodies, exchange) die with `power_off`; guard and chain store remain.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from simulation.exchange import Exchange, Frame
from simulation.invariants import Violation
from simulation.node_finality import SYNC_BLOCKS, FinalityWork
from simulation.stores import RefusedError
from simulation.toy_chain import ToyState
from simulation.world import EPOCH, FAKE_SIGNATURE, SECOND
from yumad.consensus.block import Block, verify_body
from yumad.consensus.certificate import Certificate
from yumad.consensus.effects import (
    VOTES_AT_ONCE,
    AbandonExecution,
    BehindFinality,
    BlockArrived,
    Build,
    CancelRequest,
    CastVote,
    CertificateSeen,
    EraContext,
    EraOpened,
    Event,
    Execute,
    Finalise,
    Halt,
    OfferStatement,
    PersistCertificate,
    ProposalSeen,
    ReportEvidence,
    RequestBlock,
    RequestCertificates,
    Restarted,
    SecondSigner,
    SetTimer,
    StatementSeen,
    SyncAdvanced,
    Timer,
    TimerFired,
    ViewEntered,
)
from yumad.consensus.evidence import Evidence
from yumad.consensus.leader import leader_index
from yumad.consensus.statement import Kind, SignedStatement
from yumad.consensus.types import U64_MAX, Era, Hash32, InvalidError, Micros, View

if TYPE_CHECKING:
    pass


STATUS_EACH = 60 * SECOND
"""CHAIN 2.1: `status` goes to each peer on connect and each minute. One in turn is less than that."""


class Node(FinalityWork):
    """An honest peer."""

    is_honest = True
    has_voting_engine = True
    """False: the engine only tracks; the adversary signs by itself."""

    def power_off(self) -> None:
        """Everything volatile is gone."""
        self.is_up = False
        self.life += 1
        if not self.world.setting.driver.keeps_guard and self.guard is not None:
            self.guard = self.world.setting.guard(None)

    def boot(self) -> None:
        """Start the process on what the disk holds."""
        self.life += 1
        self.is_up = True
        self.boots += 1
        world = self.world
        engine_class = world.setting.engine_of.get(self.number or 0, world.setting.engine)
        self.engine = engine_class(world.timing, self.key if self.has_voting_engine else None, self._abstains)
        self._inbox: deque[Event] = deque()
        self._is_busy = False
        self.states: dict[Hash32, ToyState] = {}
        self.cache: dict[Hash32, Block] = {}
        self._executing: dict[Hash32, int] = {}
        self._timers: dict[Timer, int] = {}
        self._timer_token = 0
        self._fetching: dict[Hash32, None] = {}
        self.evidence: list[Evidence] = []
        self._sync_target: int | None = None
        self.exchange: Exchange = world.setting.exchange(self)
        for other in world.nodes:
            if other is not self and other.is_up:
                other.exchange.reset(self.position)
        world.schedule(world.now + world.span((0, STATUS_EACH)), self._status, node=self)
        self.feed(self._restarted())

    def _status(self) -> None:
        """Where this node stands, to one other: a peer that is behind finds out although nothing else is said."""
        world = self.world
        world.schedule(world.now + STATUS_EACH, self._status, node=self)
        others = [node for node in world.nodes if node is not self]
        if others:
            engine = self.engine
            frame = Frame(engine.era, engine.finalised_view, engine.view, engine.finalised.height, ())
            world.network.send(self, others[world.rng.randrange(len(others))], "frame", frame)

    def _abstains(self, context: EraContext) -> bool:
        return self.guard is None or not self.guard.may_sign_in(context, self.world.timing)

    def _restarted(self) -> Restarted:
        driver, chain = self.world.setting.driver, self.chain
        if chain.finalised.height == self.world.timing.boundary_of(chain.context.era):
            chain.open_era(self.world.rules.next_context(chain.state, chain.context, chain.finalised))
        guard, era = self.guard, chain.context.era
        boundary = chain.certificates.get(era * self.world.setting.era_blocks)
        for certificate in (chain.certificate, boundary):
            if certificate is not None:
                self.exchange.offer(certificate)
        certificates = () if guard is None or not driver.feeds_certificates else guard.certificates_of(era)
        if not driver.feeds_finalizations:
            certificates = tuple(kept for kept in certificates if kept.kind is not Kind.FINALIZE)
        return Restarted(
            context=chain.context,
            finalised=chain.finalised,
            finalised_view=chain.view,
            finality=chain.certificate,
            certificates=certificates,
            own_statements=() if guard is None or not driver.offers_own_votes else guard.own_of(era),
            blocks=() if guard is None else guard.headers(),
            vote_floor=self._vote_floor(era),
            listens_until=Micros(self.local_now + 2 * self.world.setting.slot) if driver.listens else VOTES_AT_ONCE,
        )

    def _vote_floor(self, era: Era) -> View:
        floor = None if self.guard is None else self.guard.floor
        if floor is None or floor[0] < era:
            return View(0)
        return floor[1] if floor[0] == era else View(U64_MAX)

    def _in_era(self, event: EraOpened | SyncAdvanced) -> Event:
        """The event itself, or what storage remembers where the guard has voted in the era that it opens."""
        era, guard = event.context.era, self.guard
        if era == self.engine.era or guard is None or not self.world.setting.driver.recalls_in_new_eras:
            return event
        return self._restarted() if guard.own_of(era) or self._vote_floor(era) else event

    # --- clock ------------------------------------------------------------------------------------------------------

    @property
    def local_now(self) -> Micros:
        """What this node's clock shows."""
        return Micros(EPOCH + self.world.now + self.clock_offset)

    def set_clock(self, offset: int) -> None:
        """The clock jumps; timers are wall-clock deadlines and move with it."""
        moved = self.clock_offset - offset
        self.clock_offset = offset
        for timer, at in list(self._timers.items()) if self.is_up else []:
            self._arm(timer, at + moved)

    def _arm(self, timer: Timer, at: int) -> None:
        self._timers[timer] = at
        self.world.schedule(at, self._fire, timer, at, node=self)

    def _fire(self, timer: Timer, at: int) -> None:
        if self._timers.get(timer) == at:
            del self._timers[timer]
            self.feed(TimerFired(timer))

    # --- the driver loop --------------------------------------------------------------------------------------------

    def feed(self, event: Event) -> None:
        """One event at a time; effects in order before the next event."""
        self._inbox.append(event)
        if self._is_busy:
            return
        self._is_busy = True
        hook = self.world.effect_hook
        while self._inbox:
            for effect in self.engine.handle(self._inbox.popleft(), self.local_now):
                if hook is not None:
                    hook(self, effect)
                _APPLY[type(effect)](self, effect)
                if not self.is_up:
                    return
        self._is_busy = False

    def point(self, name: str) -> None:
        """A place inside an effect where the power may fail."""
        if self.world.crash_hook is not None:
            self.world.crash_hook(self, name)

    # --- votes and certificates -------------------------------------------------------------------------------------

    def cast(self, effect: CastVote) -> None:
        """Sign, persist with the body, send, feed back (R9)."""
        statement = effect.statement
        index = self.engine.context.authorities.index_of(self.key or b"")
        assert index is not None
        signed = SignedStatement(statement, index, FAKE_SIGNATURE)
        if not self._persist(signed, effect.body_hash):
            return
        self.world.truth.signed(self, statement)
        self.world.sign(self.number or 0, statement)
        self.point("persisted")
        self.release(signed)
        self.point("sent")
        self.feed(StatementSeen(signed))

    def _persist(self, signed: SignedStatement, body_hash: Hash32 | None) -> bool:
        guard, delay = self.guard, self.world.setting.driver.body_delay
        assert guard is not None
        body = None if body_hash is None else self.block(body_hash)
        if body_hash is not None and body is None:
            raise Violation(f"node {self.position} votes for a block without a body")
        try:
            guard.sign(signed, None if delay else body, body_hash)
        except RefusedError as error:
            if self.world.setting.checks_refusals and "floor" not in str(error):
                raise Violation(f"the guard of node {self.position} refused its engine: {error}") from error
            return False
        if delay and body is not None and body_hash is not None:
            self.world.schedule(self.world.now + delay, guard.bodies.__setitem__, body_hash, body, node=self)
        return True

    def release(self, signed: SignedStatement) -> None:
        """The bytes leave."""
        self.world.truth.sent(self, signed.statement)
        self.exchange.admits(signed)
        self.exchange.offer(signed)
        if signed.statement.kind is Kind.PROPOSE:
            block = self.block(signed.statement.block_hash)
            assert block is not None
            self.world.network.gossip(self, "proposal", (signed, block))

    def offer_again(self, effect: OfferStatement) -> None:
        """R10."""
        self.exchange.offer(effect.signed)

    def keep_certificate(self, effect: PersistCertificate) -> None:
        """R11: durable, then forwarded."""
        if self.guard is not None:
            self.guard.keep(effect.certificate)
        self.point("certificate")
        self.exchange.offer(effect.certificate)

    def ask_certificates(self, effect: RequestCertificates) -> None:
        """Ask one neighbour."""
        others = [node for node in self.world.nodes if node is not self]
        if others:
            target = others[self.world.rng.randrange(len(others))]
            self.world.network.send(self, target, "ask", (effect.era, effect.views))

    def report(self, effect: ReportEvidence) -> None:
        """Keep and gossip."""
        self.evidence.append(effect.evidence)
        self.world.truth.evidence += 1
        self.world.network.gossip(self, "evidence", (self.engine.era, effect.evidence))

    def second_signer(self, _: SecondSigner) -> None:
        """An older copy or a second machine signs with this key: born now."""
        assert self.guard is not None
        self.guard.born = self.local_now

    # --- network ----------------------------------------------------------------------------------------------------

    def receive(self, kind: str, payload: Any, source: Node) -> None:
        """A message arrived."""
        if kind == "frame":
            self.take_frame(payload, source)
        elif kind == "proposal":
            self.take_proposal(*payload)
        elif kind == "fetch":
            block = self.serve(payload)
            if block is not None:
                self.world.network.send(self, source, "block", (payload, block))
        elif kind == "block":
            name, block = payload
            if name in self._fetching and self._is_whole(name, block):
                del self._fetching[name]
                self.cache[name] = block
                self.feed(BlockArrived(block.header))
        elif kind == "ask":
            self._answer(payload, source)
        elif kind == "evidence":
            era, evidence = payload
            if era == self.engine.era and all(item.first.index != evidence.first.index for item in self.evidence):
                self.evidence.append(evidence)
        elif kind == "sync":
            self.world.network.send(self, source, "range", self._range(payload))
        elif kind == "range":
            self._take_sync(payload)

    def serve(self, name: Hash32) -> Block | None:
        """A body for a peer."""
        return self.block(name)

    def _is_whole(self, name: Hash32, block: Block) -> bool:
        """R0: the body is the one the header commits to."""
        registered = self.world.blocks.get(name)
        if registered is block:
            return True
        try:
            verify_body(block.header, block.body)
        except InvalidError:
            return False
        return block.hash == name

    def take_proposal(self, signed: SignedStatement, block: Block) -> None:
        """R0, then the engine."""
        statement = signed.statement
        context = self.engine.context
        if statement.era != context.era or signed.index >= len(context.authorities.members):
            return
        if leader_index(context.authorities, statement.view) != signed.index:
            return
        if (context.authorities.members[signed.index].key, statement) not in self.world.signed:
            return
        if not self._is_whole(statement.block_hash, block):
            return
        self.cache[statement.block_hash] = block
        self._fetching.pop(statement.block_hash, None)
        if self.exchange.admits(signed):
            self.exchange.offer(signed)
        self.feed(ProposalSeen(signed, block.header))

    def take_frame(self, frame: Frame, source: Node) -> None:
        """Items in the order of CHAIN 1.5: era, duplicate, window, index, signature; then forward."""
        self.exchange.heard(source.position, frame)
        for item in frame.items:
            engine = self.engine
            if item.statement.era != engine.era:
                continue
            self.exchange.knows(source.position, item)
            if isinstance(item, Certificate):
                if item.statement.view >= engine.finalised_view and self.world.is_certified(
                    item, engine.context.authorities
                ):
                    self.feed(CertificateSeen(item))
            else:
                self._take_vote(item)
            if not self.is_up:
                return
        if frame.era > self.chain.context.era or frame.final_height > self.chain.finalised.height + 8:
            self._want_sync(source.position)

    def _take_vote(self, signed: SignedStatement) -> None:
        statement, engine = signed.statement, self.engine
        members = engine.context.authorities.members
        if signed.index >= len(members) or self.exchange.has(signed):
            return
        if statement.view > engine.view + 64 or (
            statement.view <= engine.finalised_view and statement.kind is not Kind.FINALIZE
        ):
            return
        if (members[signed.index].key, statement) not in self.world.signed:
            return
        if self.exchange.admits(signed):
            self.exchange.offer(signed)
            self.feed(StatementSeen(signed))

    def _answer(self, question: tuple[int, tuple[View, ...]], source: Node) -> None:
        era, views = question
        engine = self.engine
        if era != engine.era:
            return
        held = tuple(kept for kept in engine.held_certificates() if kept.statement.view in views)
        if held:
            frame = Frame(engine.era, engine.finalised_view, engine.view, engine.finalised.height, held)
            self.world.network.send(self, source, "frame", frame)

    def _range(self, above: int) -> list[tuple[Hash32, Block, Certificate | None]]:
        chain = self.chain
        rows = chain.blocks[above : above + SYNC_BLOCKS]
        return [(name, block, chain.certificates.get(block.header.height)) for name, block in rows]

    # --- the end ----------------------------------------------------------------------------------------------------

    def halt(self, effect: Halt) -> None:
        """Fail-stop: this process does not come back."""
        self.world.truth.halts.append((self.world.now, self.position, effect.reason))
        self.is_up = False
        self.life += 1

    def entered(self, effect: ViewEntered) -> None:
        """For adversaries."""

    def set_timer(self, effect: SetTimer) -> None:
        """A wall-clock deadline of this node's clock."""
        self._arm(effect.timer, max(self.world.now, effect.at - EPOCH - self.clock_offset))


_APPLY: dict[type, Any] = {
    SetTimer: lambda node, effect: node.set_timer(effect),
    CastVote: lambda node, effect: node.cast(effect),
    OfferStatement: lambda node, effect: node.offer_again(effect),
    PersistCertificate: lambda node, effect: node.keep_certificate(effect),
    Execute: lambda node, effect: node.execute(effect),
    AbandonExecution: lambda node, effect: node.abandon(effect),
    Build: lambda node, effect: node.build(effect),
    RequestBlock: lambda node, effect: node.fetch(effect),
    CancelRequest: lambda node, effect: node.cancel_fetch(effect),
    RequestCertificates: lambda node, effect: node.ask_certificates(effect),
    Finalise: lambda node, effect: node.finalise(effect),
    ReportEvidence: lambda node, effect: node.report(effect),
    SecondSigner: lambda node, effect: node.second_signer(effect),
    ViewEntered: lambda node, effect: node.entered(effect),
    BehindFinality: lambda node, effect: node.behind(effect),
    Halt: lambda node, effect: node.halt(effect),
}
