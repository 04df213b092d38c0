"""What gossip and the vote exchange see of the running consensus (protocols.interfaces.ConsensusView)."""

from __future__ import annotations

from collections.abc import Callable

from ..consensus.authority import AuthoritySet
from ..consensus.certificate import Certificate
from ..consensus.effects import EraContext
from ..consensus.engine import Engine
from ..consensus.statement import VoteDomain
from ..consensus.timing import Timing
from ..consensus.transaction import TransactionDomain
from ..consensus.types import Era, View


class RunningConsensus:
    """Answers from the engine; sets and finality of past eras come from the chain database, a few rows cached."""

    def __init__(
        self,
        timing: Timing,
        vote_domain: VoteDomain,
        transaction_domain: TransactionDomain,
        evidence_eras: int,
        stored_set: Callable[[Era], AuthoritySet | None],
        boundary_certificate: Callable[[Era], Certificate | None],
    ) -> None:
        self._engine: Engine
        self._timing = timing
        self._vote_domain = vote_domain
        self._transaction_domain = transaction_domain
        self._evidence_eras = evidence_eras
        self._stored_set = stored_set
        self._boundary_certificate = boundary_certificate
        self._sets: dict[Era, AuthoritySet] = {}
        self._boundaries: dict[Era, Certificate] = {}

    def attach(self, engine: Engine) -> None:
        """Answer from this engine from now on; before anything asks."""
        self._engine = engine

    @property
    def vote_domain(self) -> VoteDomain:
        """Domain of this chain's votes."""
        return self._vote_domain

    @property
    def transaction_domain(self) -> TransactionDomain:
        """Domain of this chain's transactions."""
        return self._transaction_domain

    @property
    def previous_transaction_domain(self) -> TransactionDomain | None:
        """None: version 1 of the rules has no predecessor."""
        return None

    @property
    def timing(self) -> Timing:
        """Clock arithmetic of the chain."""
        return self._timing

    @property
    def era(self) -> Era:
        """Era being voted in."""
        return self._engine.era

    @property
    def view(self) -> View:
        """Its current view."""
        return self._engine.view

    @property
    def finalised_view(self) -> View:
        """F's view in it."""
        return self._engine.finalised_view

    def authorities(self, era: Era) -> AuthoritySet | None:
        """Set of the running era, or of one whose evidence still counts."""
        context: EraContext = self._engine.context
        if era == context.era:
            return context.authorities
        if not context.era - self._evidence_eras <= era < context.era:
            return None
        known = self._sets.get(era)
        if known is None:
            known = self._stored_set(era)
            if known is None:
                return None
            self._sets = {e: s for e, s in self._sets.items() if e >= context.era - self._evidence_eras}
            self._sets[era] = known
        return known

    def finality(self, era: Era) -> Certificate | None:
        """Certificate of F for the running era, of the boundary block for an era that is over."""
        if era == self._engine.era:
            return self._engine.finality
        if era > self._engine.era:
            return None
        known = self._boundaries.get(era)
        if known is None:
            known = self._boundary_certificate(era)
            if known is None:
                return None
            self._boundaries.clear()  # neighbours lag by one era at most; older ones sync
            self._boundaries[era] = known
        return known
