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
from ..consensus.certificate import Certificate
from ..consensus.leader import leader_index
from ..consensus.statement import Kind, SignedStatement, VoteDomain, verify_statement
from ..consensus.timing import VIEW_WINDOW
from ..consensus.types import Era, InvalidError, View
from .exchange_frames import FRAME_OVERHEAD, STATEMENT_BYTES, ExchangeFrame, Position, certificate_bytes
from .exchange_holdings import (
    CertificateKey,
    Holdings,
    StatementKey,
    certificate_key,
    covers,
    statement_key,
)
from .interfaces import ConsensusView
from .limits import MAX_FRAME_BYTES, MAX_FRAME_ITEMS
from .peer_ledger import Offence
from .transport import PeerId

Item: TypeAlias = SignedStatement | Certificate

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
    unrepairable: tuple[Position, Position] | None = None
    """(theirs, ours) for which there was nothing to repair: not looked up again at each tick."""
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
    """Items left out by reason: era, duplicate, window, conflict."""

    def drop(self, reason: str) -> None:
        """Count one left-out item."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1


class ExchangeState:
    """Holdings of the running era and the bookkeeping per neighbour."""

    def __init__(self, view: ConsensusView) -> None:
        self._view = view
        # The view is asked with the first item or neighbour: peers are put together before their engine has started.
        self._holdings = Holdings(Position(Era(0), View(0), View(0)))
        self._neighbours: dict[PeerId, _Neighbour] = {}

    # --- neighbours -------------------------------------------------------------------------------------------------

    def join(self, peer: PeerId, *, repair_only: bool = False) -> None:
        """A stream to `peer` is up: it lacks everything until it is known better."""
        self.prune()
        self._neighbours[peer] = _Neighbour(
            dict.fromkeys(self._holdings.certificates), dict.fromkeys(self._holdings.statements), repair_only
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
        return len(self._holdings.statements), len(self._holdings.certificates)

    # --- holdings ---------------------------------------------------------------------------------------------------

    def offer(self, item: Item) -> bool:
        """Hold an item of our own engine (verified, durable) and put it on every list. False when it is known."""
        self.prune()
        statement, position = item.statement, self._holdings.position
        if statement.era != position.era:
            return False
        if isinstance(item, Certificate):
            return statement.view > position.finalised_view and self._hold_certificate(item, None)
        if statement.view <= position.finalised_view:
            if statement.kind is not Kind.FINALIZE:
                return False
            self._holdings.note_late(statement.view)  # after a restart the list of finalised views is empty
        return self._hold_statement(item, None)

    def prune(self) -> None:
        """Follow the engine's era and F: what they made useless goes, late finalize votes excepted."""
        dropped = self._holdings.follow(self.position)
        for neighbour in self._neighbours.values():
            if dropped.era_changed:
                neighbour.certificates.clear()
                neighbour.statements.clear()
            if dropped.era_changed or dropped.finalised:
                neighbour.ticks_behind = 0
            for key in dropped.certificates:
                neighbour.certificates.pop(key, None)
            for name in dropped.statements:
                neighbour.statements.pop(name, None)

    def _hold_statement(self, signed: SignedStatement, source: PeerId | None) -> bool:
        if not self._holdings.add_statement(signed):
            return False
        name = statement_key(signed)
        is_covered = self._holdings.is_covered(signed)
        for peer, neighbour in self._neighbours.items():
            has_cover = is_covered and (name[0], name[1]) not in neighbour.certificates
            if peer != source and not has_cover:
                neighbour.statements[name] = None
        return True

    def _hold_certificate(self, certificate: Certificate, source: PeerId | None) -> bool:
        if not self._holdings.add_certificate(certificate):
            return False
        for peer, neighbour in self._neighbours.items():
            if peer == source:
                self._mark_covered(neighbour, certificate)
            else:
                neighbour.certificates[certificate_key(certificate)] = None
        return True

    def _mark_covered(self, neighbour: _Neighbour, certificate: Certificate) -> None:
        """The neighbour has this certificate: the votes it covers are known there."""
        neighbour.certificates.pop(certificate_key(certificate), None)
        held = self._holdings.statements
        for name in [name for name in neighbour.statements if covers(certificate, held[name])]:
            del neighbour.statements[name]

    # --- out --------------------------------------------------------------------------------------------------------

    def tick(self) -> list[PeerId]:
        """An exchange tick has passed: the neighbours that there is something to say to."""
        self.prune()
        for neighbour in self._neighbours.values():
            neighbour.ticks_behind = min(neighbour.ticks_behind + 1, REPAIR_TICKS)
        position = self.position
        return [peer for peer, neighbour in self._neighbours.items() if self._has_news(neighbour, position)]

    def has_news(self, peer: PeerId) -> bool:
        """Whether a frame to `peer` would say something."""
        neighbour = self._neighbours.get(peer)
        return neighbour is not None and self._has_news(neighbour, self.position)

    def _has_news(self, neighbour: _Neighbour, position: Position) -> bool:
        return (
            neighbour.told != position
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
            statements.append(self._holdings.statements[name])
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
        looked_up = (theirs, self.position)
        if neighbour.unrepairable == looked_up:
            return None
        certificate = self._view.finality(theirs.era)
        if certificate is not None and certificate.statement.view > theirs.finalised_view:
            name = (certificate.statement.era, certificate.statement.view)
            if neighbour.repaired != name and name[0] == theirs.era:
                return certificate
        neighbour.unrepairable = looked_up
        return None

    def _wanted_certificates(self, neighbour: _Neighbour) -> Iterator[Certificate]:
        theirs = neighbour.position
        if theirs is None or not self._takes_items(neighbour):
            return
        for key in neighbour.certificates:
            if key[0] > theirs.finalised_view:
                yield self._holdings.certificates[key]

    def _wanted_statements(self, neighbour: _Neighbour) -> list[StatementKey]:
        """Sendable statements: the current view, then older ones downwards, then later ones upwards."""
        current = self.position.view

        def rank(name: StatementKey) -> tuple[int, int]:
            view = name[0]
            return (0, 0) if view == current else (1, -view) if view < current else (2, view)

        return sorted((name for name in neighbour.statements if self._fits(neighbour, name)), key=rank)

    def _takes_items(self, neighbour: _Neighbour) -> bool:
        """Whether the neighbour is in our era, under our rules, and has said where it stands."""
        return (
            neighbour.position is not None
            and neighbour.position.era == self._holdings.position.era
            and not neighbour.repair_only
        )

    def _fits(self, neighbour: _Neighbour, name: StatementKey) -> bool:
        """Whether the neighbour's window takes the statement."""
        theirs = neighbour.position
        if theirs is None or not self._takes_items(neighbour):
            return False
        view = name[0]
        if view <= theirs.finalised_view:
            return name[1] is Kind.FINALIZE and view in self._holdings.late
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
        authorities = self._view.authorities(self._holdings.position.era)
        if neighbour.repair_only or authorities is None:
            return received
        intake = _Intake(peer, neighbour, authorities, self._view.vote_domain, received)
        for certificate in frame.certificates:
            self._receive_certificate(intake, certificate)
            if received.offence is not None:
                return received
        for signed in frame.statements:
            self._receive_statement(intake, signed)
            if received.offence is not None:
                return received
        return received

    def _receive_certificate(self, intake: _Intake, certificate: Certificate) -> None:
        holdings, received = self._holdings, intake.received
        if certificate.statement.era != holdings.position.era:
            return received.drop("era")
        if holdings.says_again(certificate):
            self._mark_covered(intake.neighbour, holdings.certificates[certificate_key(certificate)])
            return received.drop("duplicate")
        if certificate.statement.view <= holdings.position.finalised_view:
            return received.drop("window")
        try:
            holdings.verify(intake.domain, certificate, intake.authorities)
        except InvalidError:
            received.offence = Offence.BAD_CERTIFICATE
            return None
        if not self._hold_certificate(certificate, intake.peer) and not holdings.add_contradiction(certificate):
            return received.drop("duplicate")
        received.items.append(certificate)
        return None

    def _receive_statement(self, intake: _Intake, signed: SignedStatement) -> None:
        holdings, received = self._holdings, intake.received
        statement, name = signed.statement, statement_key(signed)
        if statement.era != holdings.position.era:
            return received.drop("era")
        if name in holdings.statements or holdings.is_covered(signed):
            intake.neighbour.statements.pop(name, None)
            return received.drop("duplicate")
        if not holdings.is_in_window(statement):
            return received.drop("window")
        if holdings.is_place_full(signed):
            return received.drop("conflict")
        members = intake.authorities.members
        is_leader = statement.kind is not Kind.PROPOSE or signed.index == leader_index(
            intake.authorities, statement.view
        )
        if signed.index >= len(members) or not is_leader:
            received.offence = Offence.UNKNOWN_AUTHORITY
            return None
        try:
            verify_statement(intake.domain, signed, members[signed.index].key)
        except InvalidError:
            received.offence = Offence.BAD_VOTE_SIGNATURE
            return None
        self._hold_statement(signed, intake.peer)
        received.items.append(signed)
        return None


@dataclass(frozen=True, slots=True)
class _Intake:
    """What all items of one frame are checked against."""

    peer: PeerId
    neighbour: _Neighbour
    authorities: AuthoritySet
    domain: VoteDomain
    received: Received


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
