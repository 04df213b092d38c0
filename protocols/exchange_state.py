"""The vote exchange without its streams: what is held, what each neighbour lacks, what may come in (CHAIN 1.5).

Sans I/O. One `ExchangeState` serves all neighbours of a peer:

* **Out.** Every held item is on a neighbour's list until it is known that the neighbour has it: because we sent it,
  because it sent it, or because a certificate that covers it went over. A frame takes from the list, certificates
  first, then the current view, then older views, then later ones. What lies outside the neighbour's window or era stays
  on the list: it is neither sent nor known.
* **In.** Checks in order: era, duplicate, window, index, signature. Only what verified is held, and so forwarded. A bad
  signature or an unknown index is fatal for the sender.
* **Repair.** A neighbour with an older F gets the certificate of F; one in an older era gets the certificate of the
  boundary that ends its era. If that leaves it without blocks, its engine hands over to sync.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from ..consensus.authority import AuthoritySet
from ..consensus.certificate import Certificate, signers_weight
from ..consensus.leader import leader_index
from ..consensus.signature import verify
from ..consensus.statement import Kind, SignedStatement, Statement, VoteDomain, signing_digest, verify_statement
from ..consensus.timing import LATE_FINALIZE, VIEW_WINDOW
from ..consensus.types import Era, Hash32, InvalidError, View
from .exchange_frames import (
    FRAME_OVERHEAD,
    STATEMENT_BYTES,
    ExchangeFrame,
    Position,
    certificate_bytes,
)
from .interfaces import ConsensusView
from .limits import MAX_FRAME_BYTES, MAX_FRAME_ITEMS
from .peer_ledger import Offence
from .transport import PeerId

Item: TypeAlias = SignedStatement | Certificate

StatementKey: TypeAlias = tuple[View, Kind, int, View, Hash32]
"""(view, kind, index, parent_view, block_hash): another signature over the same words is the same item."""

CertificateKey: TypeAlias = tuple[View, Kind]

_STATEMENTS_PER_PLACE: Final = 2
"""First vote and one that conflicts with it (R14), so that evidence reaches everybody."""

REPAIR_TICKS: Final = 2
"""Ticks that a neighbour may stand below our F before it is sent the certificate: most finalise by themselves just now.
"""


@dataclass(slots=True)
class _Neighbour:
    """What one neighbour lacks of what is held."""

    certificates: dict[CertificateKey, None]
    statements: dict[StatementKey, None]
    repair_only: bool
    """Speaks a former fork digest: gets finality certificates, and nothing it says is used."""
    position: Position | None = None
    told: Position | None = None
    """Own position in the last frame sent."""
    repaired: tuple[Era, View] | None = None
    """Finality certificate sent last as a repair."""
    ticks_behind: int = REPAIR_TICKS
    """Ticks since our F last moved; a new neighbour is repaired at once."""


@dataclass(slots=True)
class Received:
    """What a frame brought."""

    items: list[Item] = field(default_factory=list)
    """Verified and new, in the order of the frame."""
    offence: Offence | None = None
    """Fatal misbehaviour; items before it are good."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Items left out by reason: era, duplicate, window."""

    def drop(self, reason: str) -> None:
        """Count one left-out item."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1


class ExchangeState:
    """Holdings of the running era and the bookkeeping per neighbour."""

    def __init__(self, view: ConsensusView) -> None:
        self._view = view
        self._era = view.era
        self._finalised_view = view.finalised_view
        self._late: list[View] = []
        """The last finalised views of the era, ascending: their finalize votes are still exchanged."""
        self._certificates: dict[CertificateKey, Certificate] = {}
        self._contradictions: dict[CertificateKey, Statement] = {}
        """Second statement certified for a view and kind: passed on to the engine once, never held."""
        self._statements: dict[StatementKey, SignedStatement] = {}
        self._places: dict[tuple[View, Kind, int], int] = {}
        self._neighbours: dict[PeerId, _Neighbour] = {}
        self._pruned_at: Position | None = None
        self.prune()

    # --- neighbours -------------------------------------------------------------------------------------------------

    def join(self, peer: PeerId, *, repair_only: bool = False) -> None:
        """A stream to `peer` is up: it lacks everything until it is known better."""
        self._neighbours[peer] = _Neighbour(
            dict.fromkeys(self._certificates), dict.fromkeys(self._statements), repair_only
        )

    def leave(self, peer: PeerId) -> None:
        """The stream is gone, and with it what we know about the neighbour."""
        self._neighbours.pop(peer, None)

    def position_of(self, peer: PeerId) -> Position | None:
        """What the neighbour last said about itself."""
        neighbour = self._neighbours.get(peer)
        return None if neighbour is None else neighbour.position

    @property
    def position(self) -> Position:
        """Own position."""
        finalised = self._view.finalised_view
        return Position(self._view.era, finalised, View(max(self._view.view, finalised)))

    def held(self) -> tuple[int, int]:
        """(statements, certificates) held, for metrics and bounds."""
        return len(self._statements), len(self._certificates)

    # --- holdings ---------------------------------------------------------------------------------------------------

    def offer(self, item: Item) -> bool:
        """Hold an item of our own engine (verified, durable) and put it on every list. False when it is known."""
        self.prune()
        statement = item.statement
        if statement.era != self._era:
            return False
        if isinstance(item, Certificate):
            return statement.view > self._finalised_view and self._hold_certificate(item, None)
        if statement.view <= self._finalised_view:
            if statement.kind is not Kind.FINALIZE:
                return False
            self._note_late(statement.view)  # after a restart the list of finalised views is empty
        return self._hold_statement(item, None)

    def prune(self) -> None:
        """Follow the engine's era and F: what they made useless goes, late finalize votes excepted."""
        position = self.position
        if position == self._pruned_at:
            return
        self._pruned_at = position
        era, finalised = position.era, position.finalised_view
        if era != self._era:
            self._era, self._finalised_view, self._late = era, View(0), []
            for table in (self._certificates, self._statements, self._places, self._contradictions):
                table.clear()
            for neighbour in self._neighbours.values():
                neighbour.certificates.clear()
                neighbour.statements.clear()
                neighbour.ticks_behind = 0
        if finalised > self._finalised_view:
            self._finalised_view = finalised
            self._note_late(finalised)
            for neighbour in self._neighbours.values():
                neighbour.ticks_behind = 0
        self._drop_useless()

    def _note_late(self, view: View) -> None:
        if view not in self._late:
            self._late = sorted([*self._late, view])[-LATE_FINALIZE:]

    def _drop_useless(self) -> None:
        gone = [key for key in self._certificates if key[0] <= self._finalised_view]
        for key in gone:
            del self._certificates[key]
            for neighbour in self._neighbours.values():
                neighbour.certificates.pop(key, None)
        for contradiction in [key for key in self._contradictions if key[0] <= self._finalised_view]:
            del self._contradictions[contradiction]
        oldest = self.position.view - VIEW_WINDOW
        certified = {view for view, _ in self._certificates}
        for name in [name for name in self._statements if not self._is_useful(name, oldest, certified)]:
            del self._statements[name]
            place = name[:3]
            self._places[place] -= 1
            if not self._places[place]:
                del self._places[place]
            for neighbour in self._neighbours.values():
                neighbour.statements.pop(name, None)

    def _is_useful(self, name: StatementKey, oldest: int, certified: set[View]) -> bool:
        view, kind = name[0], name[1]
        if view <= self._finalised_view:
            return kind is Kind.FINALIZE and view in self._late
        return view >= oldest or view not in certified

    def _hold_statement(self, signed: SignedStatement, source: PeerId | None) -> bool:
        name, place = _statement_key(signed), _place(signed)
        if name in self._statements or self._places.get(place, 0) >= _STATEMENTS_PER_PLACE:
            return False
        self._statements[name] = signed
        self._places[place] = self._places.get(place, 0) + 1
        covering = self._certificates.get((signed.statement.view, signed.statement.kind))
        for peer, neighbour in self._neighbours.items():
            has_cover = (
                covering is not None
                and (signed.statement.view, signed.statement.kind) not in neighbour.certificates
                and _covers(covering, signed)
            )
            if peer != source and not has_cover:
                neighbour.statements[name] = None
        return True

    def _hold_certificate(self, certificate: Certificate, source: PeerId | None) -> bool:
        key = _certificate_key(certificate)
        if key in self._certificates:
            return False
        self._certificates[key] = certificate
        for peer, neighbour in self._neighbours.items():
            if peer == source:
                self._mark_covered(neighbour, certificate)
            else:
                neighbour.certificates[key] = None
        return True

    def _mark_covered(self, neighbour: _Neighbour, certificate: Certificate) -> None:
        """The neighbour has this certificate: the votes it covers are known there."""
        neighbour.certificates.pop(_certificate_key(certificate), None)
        for name in [name for name in neighbour.statements if _covers(certificate, self._statements[name])]:
            del neighbour.statements[name]

    # --- out --------------------------------------------------------------------------------------------------------

    def tick(self) -> list[PeerId]:
        """An exchange tick has passed: the neighbours that there is something to say to."""
        self.prune()
        for neighbour in self._neighbours.values():
            neighbour.ticks_behind = min(neighbour.ticks_behind + 1, REPAIR_TICKS)
        return [peer for peer in self._neighbours if self.has_news(peer)]

    def has_news(self, peer: PeerId) -> bool:
        """Whether a frame to `peer` would say something."""
        neighbour = self._neighbours.get(peer)
        if neighbour is None:
            return False
        return (
            neighbour.told != self.position
            or self._repair(neighbour) is not None
            or next(self._wanted_certificates(neighbour), None) is not None
            or (self._takes_items(neighbour) and any(self._fits(neighbour, name) for name in neighbour.statements))
        )

    def next_frame(self, peer: PeerId) -> ExchangeFrame | None:
        """The next frame for `peer`, its items marked as known there; None when there is nothing to say."""
        neighbour = self._neighbours.get(peer)
        if neighbour is None:
            return None
        self.prune()
        room = _Room()
        certificates, statements = [], []
        repair = self._repair(neighbour)
        if repair is not None and room.take(certificate_bytes(repair)):
            neighbour.repaired = (repair.statement.era, repair.statement.view)
            certificates.append(repair)
        for certificate in list(self._wanted_certificates(neighbour)):
            if not room.take(certificate_bytes(certificate)):
                break
            certificates.append(certificate)
            self._mark_covered(neighbour, certificate)
        for name in self._wanted_statements(neighbour):
            if not room.take(STATEMENT_BYTES):
                break
            statements.append(self._statements[name])
            del neighbour.statements[name]
        position = self.position
        if not certificates and not statements and neighbour.told == position:
            return None
        neighbour.told = position
        return ExchangeFrame(position, tuple(certificates), tuple(statements))

    def _repair(self, neighbour: _Neighbour) -> Certificate | None:
        """Finality certificate for a neighbour whose F or era is older, once."""
        theirs = neighbour.position
        if theirs is None or theirs.era > self._view.era or neighbour.ticks_behind < REPAIR_TICKS:
            return None
        if theirs.era == self._view.era and theirs.finalised_view >= self._view.finalised_view:
            return None
        certificate = self._view.finality(theirs.era)
        if certificate is None or certificate.statement.view <= theirs.finalised_view:
            return None
        name = (certificate.statement.era, certificate.statement.view)
        return None if neighbour.repaired == name or name[0] != theirs.era else certificate

    def _wanted_certificates(self, neighbour: _Neighbour) -> Iterator[Certificate]:
        theirs = neighbour.position
        if theirs is None or not self._takes_items(neighbour):
            return
        for key in neighbour.certificates:
            if key[0] > theirs.finalised_view:
                yield self._certificates[key]

    def _wanted_statements(self, neighbour: _Neighbour) -> list[StatementKey]:
        """Sendable statements: the current view, then older ones downwards, then later ones upwards."""
        current = self.position.view

        def rank(name: StatementKey) -> tuple[int, int]:
            view = name[0]
            return (0, 0) if view == current else (1, -view) if view < current else (2, view)

        return sorted((name for name in neighbour.statements if self._fits(neighbour, name)), key=rank)

    def _takes_items(self, neighbour: _Neighbour) -> bool:
        """Whether the neighbour is in our era, under our rules, and has said where it stands."""
        return neighbour.position is not None and neighbour.position.era == self._era and not neighbour.repair_only

    def _fits(self, neighbour: _Neighbour, name: StatementKey) -> bool:
        """Whether the neighbour's window takes the statement."""
        theirs = neighbour.position
        if theirs is None or not self._takes_items(neighbour):
            return False
        view = name[0]
        if view <= theirs.finalised_view:
            return name[1] is Kind.FINALIZE and view in self._late
        return view <= theirs.view + VIEW_WINDOW

    # --- in ---------------------------------------------------------------------------------------------------------

    def receive(self, peer: PeerId, frame: ExchangeFrame) -> Received:
        """Take a neighbour's frame: verify, hold, and say what is new."""
        received = Received()
        neighbour = self._neighbours.get(peer)
        if neighbour is None:
            return received
        self.prune()
        neighbour.position = frame.position
        if neighbour.repair_only:
            return received
        authorities = self._view.authorities(self._era)
        if authorities is None:
            return received
        domain = self._view.vote_domain
        for certificate in frame.certificates:
            if not self._receive_certificate(peer, neighbour, certificate, authorities, domain, received):
                return received
        for signed in frame.statements:
            if not self._receive_statement(peer, neighbour, signed, authorities, domain, received):
                return received
        return received

    def _receive_certificate(
        self,
        peer: PeerId,
        neighbour: _Neighbour,
        certificate: Certificate,
        authorities: AuthoritySet,
        domain: VoteDomain,
        received: Received,
    ) -> bool:
        """False when the sender must be banned."""
        statement, key = certificate.statement, _certificate_key(certificate)
        if statement.era != self._era:
            received.drop("era")
            return True
        if statement.view <= self._finalised_view:
            received.drop("window")
            return True
        held = self._certificates.get(key)
        if held is not None and statement in (held.statement, self._contradictions.get(key)):
            self._mark_covered(neighbour, held)
            received.drop("duplicate")
            return True
        try:
            self._verify_certificate(domain, certificate, authorities)
        except InvalidError:
            received.offence = Offence.BAD_CERTIFICATE
            return False
        if held is not None:
            if key in self._contradictions:
                received.drop("duplicate")
                return True
            self._contradictions[key] = statement  # two quorums contradict: the engine stops the process (R8)
        else:
            self._hold_certificate(certificate, peer)
        received.items.append(certificate)
        return True

    def _verify_certificate(self, domain: VoteDomain, certificate: Certificate, authorities: AuthoritySet) -> None:
        """As `verify_certificate`, but a signature that a held vote carries was checked already."""
        if signers_weight(certificate, authorities) < authorities.quorum:
            raise InvalidError("certificate lacks the quorum")
        message = signing_digest(domain, certificate.statement)
        for index, signature in zip(certificate.signers, certificate.signatures, strict=True):
            known = self._statements.get(_statement_key(SignedStatement(certificate.statement, index, signature)))
            if known is not None and known.signature == signature:
                continue
            if not verify(authorities.members[index].key, message, signature):
                raise InvalidError(f"certificate carries a wrong signature of signer {index}")

    def _receive_statement(
        self,
        peer: PeerId,
        neighbour: _Neighbour,
        signed: SignedStatement,
        authorities: AuthoritySet,
        domain: VoteDomain,
        received: Received,
    ) -> bool:
        """False when the sender must be banned."""
        statement, name = signed.statement, _statement_key(signed)
        if statement.era != self._era:
            received.drop("era")
            return True
        if name in self._statements:
            neighbour.statements.pop(name, None)
            received.drop("duplicate")
            return True
        covering = self._certificates.get((statement.view, statement.kind))
        if covering is not None and _covers(covering, signed):
            received.drop("duplicate")
            return True
        if not self._is_in_own_window(statement):
            received.drop("window")
            return True
        if self._places.get(_place(signed), 0) >= _STATEMENTS_PER_PLACE:
            received.drop("conflict")
            return True
        is_leader = statement.kind is not Kind.PROPOSE or signed.index == leader_index(authorities, statement.view)
        if signed.index >= len(authorities.members) or not is_leader:
            received.offence = Offence.UNKNOWN_AUTHORITY
            return False
        try:
            verify_statement(domain, signed, authorities.members[signed.index].key)
        except InvalidError:
            received.offence = Offence.BAD_VOTE_SIGNATURE
            return False
        self._hold_statement(signed, peer)
        received.items.append(signed)
        return True

    def _is_in_own_window(self, statement: Statement) -> bool:
        view = statement.view
        if view <= self._finalised_view:
            return statement.kind is Kind.FINALIZE and view in self._late
        current = self.position.view
        if view > current + VIEW_WINDOW:
            return False
        return view >= current - VIEW_WINDOW or not any(held == view for held, _ in self._certificates)


class _Room:
    """Items and bytes left in a frame."""

    def __init__(self) -> None:
        self._items = MAX_FRAME_ITEMS
        self._bytes = MAX_FRAME_BYTES - FRAME_OVERHEAD

    def take(self, size: int) -> bool:
        if not self._items or size > self._bytes:
            return False
        self._items -= 1
        self._bytes -= size
        return True


def _statement_key(signed: SignedStatement) -> StatementKey:
    s = signed.statement
    return (s.view, s.kind, signed.index, s.parent_view, s.block_hash)


def _place(signed: SignedStatement) -> tuple[View, Kind, int]:
    return (signed.statement.view, signed.statement.kind, signed.index)


def _certificate_key(certificate: Certificate) -> CertificateKey:
    return (certificate.statement.view, certificate.kind)


def _covers(certificate: Certificate, signed: SignedStatement) -> bool:
    """Whether who has the certificate needs the vote no more.

    Every vote of the same words for notarize and nullify; for finalize only the signers', since late finalize votes
    count for participation.
    """
    if certificate.statement != signed.statement:
        return False
    return certificate.kind is not Kind.FINALIZE or signed.index in certificate.signers
