"""Authority sets that are proven, and what they prove (CHAIN 2.2 step 2).

The chain of sets starts at one the peer trusts already (genesis, or its own F) and grows by one era proof at a time.
Step e: the certificate verifies under set e, with era = e, on the boundary header of e; the header's `authorities_hash`
is that of set e; the next set, with its seed, hashes to the header's `next_authorities_hash`. Nothing else is a link,
and no era can be left out.

A restart file splits its era: certificates of the older vote domain count only up to the height that it names.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

from ...consensus.authority import AuthoritySet
from ...consensus.certificate import Certificate, verify_certificate
from ...consensus.header import Header, block_hash
from ...consensus.statement import Kind, VoteDomain
from ...consensus.timing import Timing
from ...consensus.types import Era, Hash32, Height, InvalidError, View
from ..messages import EraProof


@dataclass(frozen=True, slots=True)
class RestartPoint:
    """What a verified restart file says."""

    height: Height
    """Last block of the old domain."""
    authorities: AuthoritySet
    """Votes from `height + 1` to the end of that era."""
    restart_hash: Hash32


RestartCheck = Callable[[bytes, Hash32], RestartPoint]
"""`(file, restart hash before it)`: verifies recovery signatures and predecessor. Raises InvalidError."""


@dataclass(frozen=True, slots=True)
class Span:
    """Heights that one set decides in one vote domain."""

    first: Height
    era: Era
    domain: VoteDomain
    authorities: AuthoritySet


@dataclass(frozen=True, slots=True)
class ProvenPoint:
    """A block that is proven to be final."""

    height: Height
    hash: Hash32
    era: Era
    view: View
    certificate: Certificate


class ProvenSets:
    """The proven sets from a trusted one upwards, by height."""

    def __init__(self, timing: Timing, start: Span, restart_check: RestartCheck | None = None) -> None:
        """`start` is the set of the first era not yet final here, from the first height that is wanted of it."""
        self.timing = timing
        self._spans = [start]
        self._restart_check = restart_check
        self._boundaries: dict[Height, ProvenPoint] = {}

    @property
    def era(self) -> Era:
        """Newest era whose set is known; its own boundary is not proven yet."""
        return self._spans[-1].era

    @property
    def boundary(self) -> ProvenPoint | None:
        """Boundary block of the newest proven era; None before the first proof."""
        return self._boundaries.get(self.timing.boundary_of(self.era - 1))

    def boundary_at(self, height: Height) -> ProvenPoint | None:
        """The proven boundary block of this height."""
        return self._boundaries.get(height)

    @property
    def last_provable(self) -> Height:
        """Highest height that a known set can decide."""
        return self.timing.boundary_of(self.era)

    def at(self, height: Height) -> Span:
        """The span that decides `height`. Raises InvalidError outside the proven range."""
        index = bisect_right(self._spans, height, key=lambda span: span.first) - 1
        if index < 0 or height > self.last_provable:
            raise InvalidError(f"no proven authority set decides height {height}")
        return self._spans[index]

    def prove(self, header: Header, certificate: Certificate) -> ProvenPoint:
        """The proven point of a header by its finality certificate. Raises InvalidError naming what is wrong."""
        span = self.at(header.height)
        name, statement = block_hash(header), certificate.statement
        if header.era != span.era or statement.era != span.era:
            raise InvalidError(
                f"height {header.height} lies in era {span.era}; header says {header.era}, certificate {statement.era}"
            )
        if header.authorities_hash != span.authorities.hash:
            raise InvalidError(f"header {header.height} names another authority set than the proven one")
        if certificate.kind is not Kind.FINALIZE:
            raise InvalidError(f"a {certificate.kind.name.lower()} certificate makes nothing final")
        if statement.block_hash != name:
            raise InvalidError(f"the certificate is for another block than header {header.height}")
        verify_certificate(span.domain, certificate, span.authorities)
        return ProvenPoint(header.height, name, span.era, statement.view, certificate)

    def extend(self, proof: EraProof) -> ProvenPoint:
        """Take the proof of exactly the next era. Raises InvalidError and keeps nothing of a bad one."""
        era = self.era
        spans = [*self._restarts(era, proof)]
        before = self._spans
        self._spans = [*before, *spans] if spans else before
        try:
            point = self._prove_boundary(era, proof)
        except InvalidError:
            self._spans = before
            raise
        following = Height(point.height + 1)
        self._spans.append(Span(following, Era(era + 1), self._spans[-1].domain, proof.next_set))
        self._boundaries[point.height] = point
        return point

    def _prove_boundary(self, era: Era, proof: EraProof) -> ProvenPoint:
        header = proof.boundary
        if header.era != era or header.height != self.timing.boundary_of(era):
            raise InvalidError(
                f"expected the boundary of era {era} at height {self.timing.boundary_of(era)}, "
                f"got era {header.era} at height {header.height}: no era may be left out"
            )
        point = self.prove(header, proof.certificate)
        if proof.next_set.hash != header.next_authorities_hash:
            raise InvalidError(f"the set after era {era} is not the one that its boundary block commits to")
        return point

    def _restarts(self, era: Era, proof: EraProof) -> list[Span]:
        spans: list[Span] = []
        last = self._spans[-1]
        for data in proof.restart_files:
            if self._restart_check is None:
                raise InvalidError(f"era {era} comes with a restart file, this chain has no recovery keys")
            point = self._restart_check(data, last.domain.restart_hash)
            if not last.first <= point.height + 1 or point.height >= self.timing.boundary_of(era):
                raise InvalidError(f"a restart file for height {point.height} does not belong into era {era}")
            domain = VoteDomain(last.domain.genesis_hash, point.restart_hash)
            last = Span(Height(point.height + 1), era, domain, point.authorities)
            spans.append(last)
        return spans
