"""Finalize votes of the last finalised views, merged into the certificate a body carries (CHAIN 1.3, header section).

A certificate forms at the quorum, so the slowest third is seldom in it; with late votes and two heights of delay
the chain sees who took part, and nobody online is called idle.
"""

from __future__ import annotations

from collections import OrderedDict

from ..consensus.certificate import Certificate, certificate_from_votes, votes_of
from ..consensus.statement import Kind, SignedStatement, Statement
from ..consensus.timing import LATE_FINALIZE
from ..consensus.types import Era, Height


class Participation:
    """Who voted finalize for the last finalised blocks of the era."""

    def __init__(self) -> None:
        self._era: Era | None = None
        self._votes: OrderedDict[Statement, dict[int, SignedStatement]] = OrderedDict()
        self._heights: dict[Statement, Height] = {}

    def finalised(self, certificate: Certificate, height: Height) -> None:
        """A block of `height` became final by `certificate`."""
        statement = certificate.statement
        if statement.era != self._era:
            self._era = statement.era
            self._votes.clear()
            self._heights.clear()
        self._heights[statement] = height
        known = self._votes.setdefault(statement, {})
        for vote in votes_of(certificate):
            known.setdefault(vote.index, vote)
        while len(self._heights) > LATE_FINALIZE:
            oldest = min(self._heights, key=lambda s: self._heights[s])
            self._heights.pop(oldest)
            self._votes.pop(oldest, None)

    def late(self, vote: SignedStatement) -> None:
        """A verified finalize vote arrived; it counts only for a block already final."""
        known = self._votes.get(vote.statement)
        if known is not None and vote.statement.kind is Kind.FINALIZE:
            known.setdefault(vote.index, vote)

    def certificate_for(self, height: Height) -> tuple[Height, Certificate] | None:
        """The certificate a body of `height` may carry: of the newest final block at least two heights back."""
        candidates = [(h, s) for s, h in self._heights.items() if h <= height - 2]
        if not candidates:
            return None
        best, statement = max(candidates, key=lambda pair: pair[0])
        return best, certificate_from_votes(list(self._votes[statement].values()))
