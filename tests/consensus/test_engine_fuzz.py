"""Any order of any events: the engine never raises, never contradicts itself, and keeps its promises to the driver.

Events are drawn without regard to what a network could produce; contradictory certificates may stop it, nothing else.
"""

from __future__ import annotations

import random

import pytest
from simulation.bench import SECOND, Bench, ref
from yumad.consensus.effects import (
    AbandonExecution,
    BlockArrived,
    BlockBuilt,
    BlockExecuted,
    BlockFailed,
    Build,
    CastVote,
    CertificateSeen,
    Effect,
    EraContext,
    EraOpened,
    Event,
    Execute,
    ExecutionFailure,
    Finalise,
    Halt,
    PersistCertificate,
    RequestBlock,
    StatementSeen,
    SyncAdvanced,
    Timer,
    TimerFired,
    TimerKind,
)
from yumad.consensus.header import Header, block_hash
from yumad.consensus.statement import Kind, SignedStatement, Statement
from yumad.consensus.types import Era, Hash32, View
from yumad.consensus.vote_guard import refusal


class Fuzz:
    """One engine, one random source, and the promises to check."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.bench = Bench(own=self.rng.choice([0, 0, 0, None]), era_blocks=6)
        self.bench.at_slot(1)
        self.headers: dict[Hash32, Header] = {}
        self.signed: list[Statement] = []
        self.proposals: list[Statement] = []
        """First proposal of each view: what honest quorums would certify."""
        self.executed = {self.bench.context.opening.hash: None}
        self.executing: dict[Hash32, None] = {}
        self.is_stopped = False
        self.pending: list[Event] = []

    def event(self) -> Event:
        """One draw."""
        rng, bench = self.rng, self.bench
        engine = bench.engine
        if self.pending and rng.random() < 0.4:
            return self.pending.pop(rng.randrange(len(self.pending)))
        view = max(1, engine.view + rng.choice([-2, -1, 0, 0, 0, 0, 1, 2, 70]))
        parent_view = rng.choice([engine.finalised_view, max(0, view - 1), max(0, view - 2)])
        parent_view = min(parent_view, view - 1)
        draw = rng.random()
        if draw < 0.2:
            header = self.header(view)
            index = bench.leader(view) if rng.random() < 0.9 else rng.randrange(4)
            if index == bench.own:
                return TimerFired(Timer(TimerKind.START, engine.era, engine.view))
            event = bench.proposal(view, parent_view, header)
            if all(other.view != event.signed.statement.view for other in self.proposals):
                self.proposals.append(event.signed.statement)
            return event
        name = rng.choice([*self.headers, engine.finalised.hash])
        kind = rng.choice([Kind.NOTARIZE, Kind.NULLIFY, Kind.FINALIZE, Kind.NULLIFY])
        if draw < 0.45:
            return bench.seen(rng.randrange(1, 4), kind, view, parent_view, name)
        if draw < 0.6:
            # mostly a certificate of what this view proposes, so that runs are long
            if rng.random() < 0.5 and self.proposals:
                proposed = rng.choice(self.proposals[-3:])
                kind = rng.choice([Kind.NOTARIZE, Kind.NOTARIZE, Kind.FINALIZE])
                if proposed.era == engine.era and proposed.view >= engine.view - 1:
                    return CertificateSeen(
                        bench.certificate(kind, proposed.view, proposed.parent_view, proposed.block_hash, (1, 2, 3))
                    )
            if rng.random() < 0.03:
                return CertificateSeen(bench.certificate(kind, view, parent_view, name, (1, 2, 3)))
            return CertificateSeen(bench.certificate(Kind.NULLIFY, engine.view))
        if draw < 0.75:
            bench.wait(rng.random() * 4)
            timer = Timer(rng.choice(list(TimerKind)), engine.era, View(max(1, engine.view - rng.choice([0, 0, 0, 1]))))
            return TimerFired(timer)
        if draw < 0.85:
            return BlockArrived(self.headers.get(name) or self.header(view))
        if draw < 0.93:
            return BlockExecuted(name)
        if draw < 0.96:
            return BlockFailed(name, rng.choice(list(ExecutionFailure)), "drawn")
        if draw < 0.98:
            return BlockBuilt(View(view), self.header(view))
        if draw < 0.99:
            bench.now -= rng.randrange(20) * SECOND
            return EraOpened(EraContext(Era(engine.era + 1), bench.authorities, engine.finalised))
        header = self.header(view)
        certificate = bench.certificate(Kind.FINALIZE, view, parent_view, header, (1, 2, 3))
        return SyncAdvanced(engine.context, ref(header), View(view), certificate)

    def header(self, view: int) -> Header:
        """A header on something that exists."""
        parents = [self.bench.engine.finalised, *(ref(header) for header in list(self.headers.values())[-3:])]
        made = self.bench.block(view, self.rng.choice(parents), salt=self.rng.randrange(3))
        self.headers[block_hash(made)] = made
        return made

    def step(self) -> None:
        """Feed one event and check every effect."""
        event = self.event()
        if isinstance(event, EraOpened | SyncAdvanced):
            self.executed[self.bench.engine.finalised.hash] = None
        if isinstance(event, BlockExecuted) and event.block_hash in self.executing:
            del self.executing[event.block_hash]
            self.executed[event.block_hash] = None
        if isinstance(event, BlockFailed):
            self.executing.pop(event.block_hash, None)
        effects = self.bench.feed(event)
        if isinstance(event, SyncAdvanced):
            self.executed[self.bench.engine.finalised.hash] = None
        assert not (self.is_stopped and effects)
        for number, effect in enumerate(effects):
            self.check(effect)
            if isinstance(effect, Halt):
                assert number == len(effects) - 1
                self.is_stopped = True

    def check(self, effect: Effect) -> None:
        """One promise for each kind of effect."""
        if isinstance(effect, CastVote):
            statement = effect.statement
            assert refusal(self.signed, None, statement) is None
            assert statement not in self.signed, "cast once"
            self.signed.append(statement)
            if statement.kind in (Kind.NOTARIZE, Kind.FINALIZE):
                assert statement.block_hash in self.executed
            assert (effect.body_hash is not None) == (statement.kind in (Kind.PROPOSE, Kind.NOTARIZE))
            self.pending.append(StatementSeen(SignedStatement(statement, self.bench.own or 0, bytes(64))))
        elif isinstance(effect, Execute):
            name = block_hash(effect.header)
            assert effect.header.parent_hash in self.executed, "parents first"
            assert name not in self.executing
            self.executing[name] = None
            self.pending.append(BlockExecuted(name))
        elif isinstance(effect, AbandonExecution):
            self.executing.pop(effect.block_hash, None)
        elif isinstance(effect, Finalise):
            assert all(name in self.executed for name in effect.chain)
            assert effect.certificate.kind is Kind.FINALIZE
            self.executed[effect.block_hash] = None
        elif isinstance(effect, RequestBlock) and effect.block_hash in self.headers:
            self.pending.append(BlockArrived(self.headers[effect.block_hash]))
        elif isinstance(effect, Build):
            made = self.bench.block(effect.view, effect.parent)
            self.headers[block_hash(made)] = made
            self.pending.append(BlockBuilt(effect.view, made))
        elif isinstance(effect, PersistCertificate):
            assert effect.certificate.statement.era == self.bench.engine.era


@pytest.mark.parametrize("first", range(0, 300, 20))
def test_any_order_of_events_keeps_every_promise_to_the_driver(first: int) -> None:
    for seed in range(first, first + 20):
        fuzz = Fuzz(seed)
        for _ in range(150):
            fuzz.step()
            if fuzz.is_stopped and fuzz.rng.random() < 0.2:
                break
        _, _, blocks = fuzz.bench.engine.held_count
        assert blocks <= 200, f"seed {seed}"
