"""What the vote exchange holds of the running era: statements and certificates that verified (CHAIN 1.3 rules, 1.5).

Bounded: statements by the window and by two per signer, view and kind; certificates by one per view and kind. What F
passes goes, except finalize votes of the last finalised views, which count for participation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

from ..consensus.authority import AuthoritySet
from ..consensus.certificate import Certificate, signers_weight
from ..consensus.signature import verify
from ..consensus.statement import Kind, SignedStatement, Statement, VoteDomain, signing_digest
from ..consensus.timing import LATE_FINALIZE, VIEW_WINDOW
from ..consensus.types import Hash32, InvalidError, View
from .exchange_frames import Position

StatementKey: TypeAlias = tuple[View, Kind, int, View, Hash32]
"""(view, kind, index, parent_view, block_hash): another signature over the same words is the same item."""

CertificateKey: TypeAlias = tuple[View, Kind]

_STATEMENTS_PER_PLACE: Final = 2
"""First vote and one that conflicts with it (R14), so that evidence reaches everybody."""


def statement_key(signed: SignedStatement) -> StatementKey:
    """Identity of a statement among the holdings of an era."""
    s = signed.statement
    return (s.view, s.kind, signed.index, s.parent_view, s.block_hash)


def certificate_key(certificate: Certificate) -> CertificateKey:
    """Identity of a certificate among the holdings of an era."""
    return (certificate.statement.view, certificate.kind)


def covers(certificate: Certificate, signed: SignedStatement) -> bool:
    """Whether who has the certificate needs the vote no more.

    Every vote of the same words for notarize and nullify; for finalize only the signers', since late finalize votes
    count for participation.
    """
    if certificate.statement != signed.statement:
        return False
    return certificate.kind is not Kind.FINALIZE or signed.index in certificate.signers


@dataclass(slots=True)
class Dropped:
    """What a move of F or of the era made useless."""

    era_changed: bool = False
    """Everything went."""
    finalised: bool = False
    """F moved."""
    certificates: list[CertificateKey] = field(default_factory=list)
    statements: list[StatementKey] = field(default_factory=list)


class Holdings:
    """Verified items of one era."""

    def __init__(self, position: Position) -> None:
        self.position = position
        """Own position as of the last `follow`."""
        self.certificates: dict[CertificateKey, Certificate] = {}
        self.statements: dict[StatementKey, SignedStatement] = {}
        self.late: list[View] = [position.finalised_view] if position.finalised_view else []
        """The last finalised views of the era, ascending: their finalize votes are still exchanged."""
        self._contradictions: dict[CertificateKey, Statement] = {}
        self._places: dict[tuple[View, Kind, int], int] = {}

    # --- adding -----------------------------------------------------------------------------------------------------

    def add_statement(self, signed: SignedStatement) -> bool:
        """Hold a verified statement; False when it is held already or its place is full."""
        name = statement_key(signed)
        if name in self.statements or self.is_place_full(signed):
            return False
        self.statements[name] = signed
        self._places[name[:3]] = self._places.get(name[:3], 0) + 1
        return True

    def is_place_full(self, signed: SignedStatement) -> bool:
        """Whether two statements of this signer, view and kind are held."""
        return self._places.get(statement_key(signed)[:3], 0) >= _STATEMENTS_PER_PLACE

    def add_certificate(self, certificate: Certificate) -> bool:
        """Hold a verified certificate; False when one of its view and kind is held."""
        key = certificate_key(certificate)
        if key in self.certificates:
            return False
        self.certificates[key] = certificate
        return True

    def add_contradiction(self, certificate: Certificate) -> bool:
        """Note a verified certificate that contradicts a held one; False when one was noted before.

        It is not held, only passed on: the engine stops the process on it (R8).
        """
        key = certificate_key(certificate)
        if key in self._contradictions:
            return False
        self._contradictions[key] = certificate.statement
        return True

    def note_late(self, view: View) -> None:
        """A view became final."""
        if view not in self.late:
            self.late = sorted([*self.late, view])[-LATE_FINALIZE:]

    # --- asking -----------------------------------------------------------------------------------------------------

    def is_covered(self, signed: SignedStatement) -> bool:
        """Whether a held certificate makes the vote superfluous."""
        covering = self.certificates.get((signed.statement.view, signed.statement.kind))
        return covering is not None and covers(covering, signed)

    def says_again(self, certificate: Certificate) -> bool:
        """Whether the words of a certificate are certified here already, or noted as a contradiction."""
        key = certificate_key(certificate)
        held = self.certificates.get(key)
        return held is not None and certificate.statement in (held.statement, self._contradictions.get(key))

    def is_in_window(self, statement: Statement) -> bool:
        """F.view < v <= view + VIEW_WINDOW, less old views with a certificate, plus late finalize votes."""
        view, position = statement.view, self.position
        if view <= position.finalised_view:
            return statement.kind is Kind.FINALIZE and view in self.late
        if view > position.view + VIEW_WINDOW:
            return False
        return view >= position.view - VIEW_WINDOW or not any(held == view for held, _ in self.certificates)

    def verify(self, domain: VoteDomain, certificate: Certificate, authorities: AuthoritySet) -> None:
        """As `verify_certificate`, but a signature that a held vote carries was checked already.

        Raises InvalidError.
        """
        if signers_weight(certificate, authorities) < authorities.quorum:
            raise InvalidError("certificate lacks the quorum")
        message = signing_digest(domain, certificate.statement)
        for index, signature in zip(certificate.signers, certificate.signatures, strict=True):
            known = self.statements.get(statement_key(SignedStatement(certificate.statement, index, signature)))
            if known is not None and known.signature == signature:
                continue
            if not verify(authorities.members[index].key, message, signature):
                raise InvalidError(f"certificate carries a wrong signature of signer {index}")

    # --- following the engine ---------------------------------------------------------------------------------------

    def follow(self, position: Position) -> Dropped:
        """Move to the engine's era, F and view; what that makes useless goes."""
        if position == self.position:
            return Dropped()
        before, self.position = self.position, position
        if position.era != before.era:
            for table in (self.certificates, self.statements, self._places, self._contradictions):
                table.clear()
            self.late = [position.finalised_view] if position.finalised_view else []
            return Dropped(era_changed=True)
        dropped = Dropped(finalised=position.finalised_view > before.finalised_view)
        if dropped.finalised:
            self.note_late(position.finalised_view)
        self._drop_useless(dropped)
        return dropped

    def _drop_useless(self, dropped: Dropped) -> None:
        finalised = self.position.finalised_view
        dropped.certificates = [key for key in self.certificates if key[0] <= finalised]
        for key in dropped.certificates:
            del self.certificates[key]
        for key in [key for key in self._contradictions if key[0] <= finalised]:
            del self._contradictions[key]
        oldest = self.position.view - VIEW_WINDOW
        certified = {view for view, _ in self.certificates}
        dropped.statements = [name for name in self.statements if not self._is_useful(name, oldest, certified)]
        for name in dropped.statements:
            del self.statements[name]
            self._places[name[:3]] -= 1
            if not self._places[name[:3]]:
                del self._places[name[:3]]

    def _is_useful(self, name: StatementKey, oldest: int, certified: set[View]) -> bool:
        view, kind = name[0], name[1]
        if view <= self.position.finalised_view:
            return kind is Kind.FINALIZE and view in self.late
        return view >= oldest or view not in certified
