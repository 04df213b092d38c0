"""Votes of one era by view: first vote kept, one conflict kept as evidence, weights counted (CHAIN 1.3, R14)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from .authority import AuthoritySet
from .certificate_store import CertificateStore
from .evidence import Evidence, make_evidence
from .statement import Kind, SignedStatement, Statement
from .types import View


@dataclass(slots=True)
class Tally:
    """The votes of one view that carry the very same statement."""

    weight: int = 0
    votes: list[SignedStatement] = field(default_factory=list)
    """In order of arrival."""


@dataclass(slots=True)
class ViewVotes:
    """All votes of one view, at most two for each member and kind."""

    first: dict[tuple[int, int], SignedStatement] = field(default_factory=dict)
    """(kind, index) -> the vote that came first: the only one that counts."""
    second: dict[tuple[int, int], SignedStatement] = field(default_factory=dict)
    """(kind, index) -> one conflicting vote, kept as evidence."""
    tallies: dict[Statement, Tally] = field(default_factory=dict)
    voters: dict[int, None] = field(default_factory=dict)
    """Members of whom any vote (not a proposal) is here."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What recording a vote changed."""

    is_new: bool
    """The vote counts from now on."""
    evidence: Evidence | None
    """An offence that this vote completes; reported once for a member and era."""


_NOTHING = Recorded(False, None)


class VoteTable:
    """Votes inside the engine's window. Iteration order is that of arrival, which the event order fixes."""

    def __init__(self, authorities: AuthoritySet) -> None:
        self._authorities = authorities
        self._views: dict[View, ViewVotes] = {}
        self._offenders: dict[int, Evidence] = {}

    def record(self, signed: SignedStatement) -> Recorded:
        """Keep the vote if it is the first of its (key, view, kind); keep one conflicting vote as evidence (R14)."""
        statement = signed.statement
        votes = self._views.get(statement.view)
        if votes is None:
            votes = self._views[statement.view] = ViewVotes()
        place = (int(statement.kind), signed.index)
        first = votes.first.get(place)
        if first is not None:
            if first.statement == statement or place in votes.second:
                return _NOTHING
            votes.second[place] = signed
            return Recorded(False, self._offence(first, signed))
        votes.first[place] = signed
        if statement.kind is Kind.PROPOSE:
            return Recorded(True, None)
        votes.voters[signed.index] = None
        tally = votes.tallies.get(statement)
        if tally is None:
            tally = votes.tallies[statement] = Tally()
        tally.weight += self._authorities.members[signed.index].weight
        tally.votes.append(signed)
        return Recorded(True, self._exclusive_offence(votes, signed))

    def _exclusive_offence(self, votes: ViewVotes, signed: SignedStatement) -> Evidence | None:
        """Nullify and finalize of one view by one key (R8)."""
        opposite = {Kind.NULLIFY: Kind.FINALIZE, Kind.FINALIZE: Kind.NULLIFY}.get(signed.statement.kind)
        if opposite is None:
            return None
        other = votes.first.get((int(opposite), signed.index))
        return None if other is None else self._offence(other, signed)

    def _offence(self, one: SignedStatement, other: SignedStatement) -> Evidence | None:
        """The pair, unless this member's offence was reported already: one punishment covers the era."""
        if one.index in self._offenders:
            return None
        evidence = self._offenders[one.index] = make_evidence(one, other)
        return evidence

    def quorum_votes(self, statement: Statement) -> list[SignedStatement] | None:
        """The votes for exactly this statement when they weigh a quorum, else None."""
        votes = self._views.get(statement.view)
        tally = votes.tallies.get(statement) if votes is not None else None
        if tally is None or tally.weight < self._authorities.quorum:
            return None
        return tally.votes

    def proposal(self, view: View) -> SignedStatement | None:
        """The first propose statement seen for `view`."""
        votes = self._views.get(view)
        if votes is None:
            return None
        for place, signed in votes.first.items():
            if place[0] == Kind.PROPOSE:
                return signed
        return None

    def finalize_votes(self, statement: Statement) -> tuple[SignedStatement, ...]:
        """Every kept vote for this statement, whatever its weight."""
        votes = self._views.get(statement.view)
        tally = votes.tallies.get(statement) if votes is not None else None
        return () if tally is None else tuple(tally.votes)

    def best_weight(self, view: View) -> int:
        """Weight of the heaviest tally of `view`."""
        votes = self._views.get(view)
        if votes is None:
            return 0
        return max((tally.weight for tally in votes.tallies.values()), default=0)

    def voters(self, view: View) -> tuple[int, ...]:
        """Indices of the members that voted in `view`, ascending."""
        votes = self._views.get(view)
        return () if votes is None else tuple(sorted(votes.voters))

    def drop_through(self, view: View) -> None:
        """Forget `view` and everything below it (R7)."""
        for old in [key for key in self._views if key <= view]:
            del self._views[old]

    def drop_decided(self, below: View, certificates: CertificateStore) -> None:
        """Forget views that left the window with a certificate."""
        for old in [view for view in self._views if view < below and certificates.has_any(view)]:
            del self._views[old]

    def views(self) -> tuple[View, ...]:
        """Views with votes, ascending."""
        return tuple(sorted(self._views))

    def held(self, view: View) -> Iterator[SignedStatement]:
        """First votes of one view, to offer to neighbours."""
        votes = self._views.get(view)
        if votes is not None:
            yield from votes.first.values()

    def __len__(self) -> int:
        """Number of votes kept, second ones included: bounded by members x 4 kinds x 2 x window."""
        return sum(len(votes.first) + len(votes.second) for votes in self._views.values())
