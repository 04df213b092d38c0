"""Who took part in finality: late finalize votes of the last finalised views (CHAIN 1.3, body and idle).

A certificate forms at the quorum, so the slowest third is seldom in it. Votes that come later are still accepted for
LATE_FINALIZE views, and the author of a later block puts the widest certificate it knows into the body.
"""

from __future__ import annotations

from dataclasses import dataclass

from .certificate import Certificate, certificate_from_votes, votes_of
from .effects import BlockRef
from .statement import Kind, SignedStatement
from .timing import LATE_FINALIZE
from .types import View


@dataclass(frozen=True, slots=True)
class FinalisedView:
    """One finalised view with every finalize vote known for it."""

    block: BlockRef
    certificate: Certificate
    """As it made the block final."""
    votes: dict[int, SignedStatement]
    """Index -> finalize vote; at least the quorum."""

    def widest(self) -> Certificate:
        """The certificate with *every* signature known."""
        return certificate_from_votes(list(self.votes.values()))


class FinalityRecords:
    """The last LATE_FINALIZE finalised views of one era, oldest first."""

    def __init__(self) -> None:
        self._views: dict[View, FinalisedView] = {}

    def add(self, block: BlockRef, certificate: Certificate, votes: tuple[SignedStatement, ...]) -> None:
        """A view became final; `votes` are the finalize votes seen for it so far."""
        known = {vote.index: vote for vote in votes_of(certificate)}
        for vote in votes:
            known.setdefault(vote.index, vote)
        self._views[certificate.statement.view] = FinalisedView(block, certificate, known)
        while len(self._views) > LATE_FINALIZE:
            del self._views[min(self._views)]

    def add_late(self, signed: SignedStatement) -> bool:
        """Keep a finalize vote for a view that is final already. True when it is new and says the same."""
        record = self._views.get(signed.statement.view)
        if record is None or signed.statement.kind is not Kind.FINALIZE or signed.index in record.votes:
            return False
        if signed.statement != record.certificate.statement:
            return False
        record.votes[signed.index] = signed
        return True

    def all(self) -> tuple[FinalisedView, ...]:
        """Oldest first."""
        return tuple(self._views[view] for view in sorted(self._views))
