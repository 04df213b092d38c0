"""What a simulated node keeps on disk: guard and chain store, separate files that are flushed separately.

They survive a crash; everything else of a node does not. A lost disk is a new object.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from simulation.toy_chain import GENESIS, ToyState, genesis_state
from yumad.consensus.block import Block
from yumad.consensus.certificate import Certificate
from yumad.consensus.effects import BlockRef, EraContext
from yumad.consensus.header import Header
from yumad.consensus.statement import Kind, SignedStatement, Statement
from yumad.consensus.timing import LATE_FINALIZE, Timing
from yumad.consensus.types import Era, Hash32, Micros, View
from yumad.consensus.vote_guard import may_sign, refusal


class RefusedError(Exception):
    """The guard does not sign that."""


class Guard:
    """Own statements, certificates above F, bodies above F, the floor and the birth (CHAIN 1.3, guard)."""

    refusal: Callable[[Sequence[Statement], tuple[Era, View] | None, Statement], str | None] = staticmethod(refusal)
    checks_birth = True

    def __init__(self, born: Micros | None) -> None:
        self.born = born
        self.floor: tuple[Era, View] | None = None
        self.statements: dict[tuple[Era, View, Kind], SignedStatement] = {}
        self.certificates: dict[tuple[Era, View, Kind], Certificate] = {}
        self.bodies: dict[Hash32, Block] = {}

    def may_sign_in(self, context: EraContext, timing: Timing) -> bool:
        """The birth rule for one era."""
        return not self.checks_birth or may_sign(self.born, context.opening.slot, timing)

    def sign(self, signed: SignedStatement, body: Block | None, body_hash: Hash32 | None) -> None:
        """Body and statement in one flush (R9). Raises RefusedError for what R8 forbids."""
        statement = signed.statement
        place = (statement.era, statement.view)
        existing = [s.statement for kind in Kind if (s := self.statements.get((*place, kind))) is not None]
        reason = self.refusal(existing, self.floor, statement)
        if reason is not None:
            raise RefusedError(reason)
        if body is not None and body_hash is not None:
            self.bodies[body_hash] = body
        self.statements[statement.era, statement.view, statement.kind] = signed

    def keep(self, certificate: Certificate) -> None:
        """R11."""
        statement = certificate.statement
        self.certificates[statement.era, statement.view, statement.kind] = certificate

    def raise_floor(self, era: Era, view: View, height: int) -> None:
        """R7, step 3: nothing at or below is signed again, and what lies there is pruned."""
        if self.floor is None or self.floor < (era, view):
            self.floor = (era, view)
        finals = sorted(place for place in self.statements if place[:2] <= self.floor and place[2] is Kind.FINALIZE)
        late = finals[-LATE_FINALIZE:]
        for place in [place for place in self.statements if place[:2] <= self.floor and place not in late]:
            del self.statements[place]
        for place in [place for place in self.certificates if place[:2] <= self.floor]:
            del self.certificates[place]
        for name in [name for name, block in self.bodies.items() if block.header.height <= height]:
            del self.bodies[name]

    def own_of(self, era: Era) -> tuple[SignedStatement, ...]:
        """Own statements of one era in the order of views."""
        return tuple(signed for place, signed in sorted(self.statements.items()) if place[0] == era)

    def certificates_of(self, era: Era) -> tuple[Certificate, ...]:
        """Stored certificates of one era, finalizations included."""
        return tuple(kept for place, kept in sorted(self.certificates.items()) if place[0] == era)

    def headers(self) -> tuple[Header, ...]:
        """Headers of stored bodies."""
        return tuple(block.header for block in self.bodies.values())


class ChainStore:
    """Finalised blocks with the state at F: one transaction a finalisation."""

    def __init__(self, context: EraContext) -> None:
        self.context = context
        self.finalised: BlockRef = GENESIS
        self.view = View(0)
        self.certificate: Certificate | None = None
        self.state: ToyState = genesis_state()
        self.blocks: list[tuple[Hash32, Block]] = []
        """Index i holds height i+1."""
        self.heights: dict[Hash32, int] = {GENESIS.hash: 0}
        self.certificates: dict[int, Certificate] = {}
        """Height -> finality certificate."""

    def commit(
        self, blocks: list[tuple[Hash32, Block]], certificate: Certificate, state: ToyState, finalised: BlockRef
    ) -> None:
        """Header, body, certificate, state and F in one transaction."""
        for name, block in blocks:
            self.blocks.append((name, block))
            self.heights[name] = block.header.height
        self.finalised, self.view, self.certificate, self.state = (
            finalised,
            certificate.statement.view,
            certificate,
            state,
        )
        self.certificates[finalised.height] = certificate

    def open_era(self, context: EraContext) -> None:
        """The set computed from the boundary's state; F is (0, opening)."""
        self.context = context
        self.view = View(0)
        self.certificate = None

    def block(self, name: Hash32) -> Block | None:
        """A final block by hash."""
        height = self.heights.get(name)
        return None if not height else self.blocks[height - 1][1]
