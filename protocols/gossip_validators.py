"""Validators of the four gossip topics (CHAIN 7 "Relay bounds"; CHAIN 1.3 R0; CHAIN 3 "Verdicts").

Each runs on the network's task and is synchronous: size -> strict decode -> duplicates and relay bounds -> the cheap
check of its kind -> a bounded queue. Duplicates go before any signature is checked. What is accepted is relayed and
waits in the queue; heavy checks (parent, gap, execution, pool) happen behind it. "Not now" is ignored, never rejected:
only what can never be right is held against the sender.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import trio

from ..consensus.block import MAX_PROPOSAL_BYTES, Proposal, decode_proposal, verify_body
from ..consensus.certificate import Certificate, decode_certificate, verify_certificate
from ..consensus.evidence import Evidence, decode_evidence, make_evidence, verify_evidence
from ..consensus.leader import leader_index
from ..consensus.statement import Kind, SignedStatement, verify_statement
from ..consensus.transaction import (
    Transaction,
    decode_transaction,
    transaction_bytes_hash,
    verify_transaction,
)
from ..consensus.types import Era, Hash32, InvalidError, MalformedError, View
from .bounded_queue import BoundedQueue
from .gossip_messages import decode_batch
from .interfaces import Clock, ConsensusView
from .limits import (
    ANNOUNCEMENTS,
    HELD_ITEMS,
    HELD_PROPOSAL_BYTES,
    HELD_TRANSACTION_BYTES,
    MAX_EVIDENCE_GOSSIP,
    MAX_FINALITY_GOSSIP,
    MAX_SEEN_TRANSACTIONS,
    MAX_TRANSACTIONS_GOSSIP,
)
from .peer_ledger import Offence
from .penalties import Penalties
from .token_bucket import PeerBuckets
from .transport import GossipVerdict, PeerId

_MAX_REMEMBERED: Final = 1024
"""Keys that a relay bound remembers: eras, views and keys move on long before."""

ACCEPT, IGNORE, REJECT = GossipVerdict.ACCEPT, GossipVerdict.IGNORE, GossipVerdict.REJECT

K = TypeVar("K", bound=Hashable)


class _Recent(OrderedDict[K, None]):
    """The last so many keys."""

    def __init__(self, most: int = _MAX_REMEMBERED) -> None:
        super().__init__()
        self._most = most

    def remember(self, key: K) -> None:
        self[key] = None
        self.move_to_end(key)
        while len(self) > self._most:
            self.popitem(last=False)


class TransactionGate(Protocol):
    """The pool's checks that come before the signature (CHAIN 3 "Admission order"); synchronous and cheap."""

    def judge(self, transaction: Transaction, bytes_hash: Hash32, size: int) -> GossipVerdict:
        """ACCEPT: worth a signature check. IGNORE: seen, nonce, balance, pool full. REJECT: unknown call, over size."""
        ...


class OpenGate:
    """Lets everything through: for a peer without a pool."""

    def judge(self, transaction: Transaction, bytes_hash: Hash32, size: int) -> GossipVerdict:
        """Always worth a look."""
        return ACCEPT


@dataclass(frozen=True, slots=True)
class ReceivedProposal:
    """A proposal that passed R0."""

    proposal: Proposal
    sender: PeerId


@dataclass(frozen=True, slots=True)
class ReceivedTransaction:
    """A transaction whose signature is right."""

    transaction: Transaction
    data: bytes
    bytes_hash: Hash32
    sender: PeerId


@dataclass(frozen=True, slots=True)
class Announcement:
    """Hashes to pull from the peer that announced them."""

    hashes: tuple[Hash32, ...]
    sender: PeerId


class Validators:
    """The four validators, their relay bounds and their queues."""

    def __init__(
        self,
        view: ConsensusView,
        clock: Clock,
        penalties: Penalties,
        *,
        gate: TransactionGate | None = None,
        seconds: Callable[[], float] = trio.current_time,
    ) -> None:
        self._view = view
        self._clock = clock
        self._penalties = penalties
        self._gate = gate or OpenGate()
        self._seconds = seconds
        self.proposals: BoundedQueue[ReceivedProposal] = BoundedQueue(items=HELD_ITEMS, size=HELD_PROPOSAL_BYTES)
        self.transactions: BoundedQueue[ReceivedTransaction] = BoundedQueue(
            items=HELD_ITEMS, size=HELD_TRANSACTION_BYTES
        )
        self.announcements: BoundedQueue[Announcement] = BoundedQueue(items=HELD_ITEMS, size=HELD_ITEMS * 32)
        self.certificates: BoundedQueue[Certificate] = BoundedQueue(items=64, size=64 * MAX_FINALITY_GOSSIP)
        self.evidence: BoundedQueue[Evidence] = BoundedQueue(items=256, size=256 * MAX_EVIDENCE_GOSSIP)
        self._first_proposals: OrderedDict[tuple[Era, View], SignedStatement] = OrderedDict()
        self._certificates_seen: _Recent[tuple[Era, View]] = _Recent()
        self._evidence_seen: _Recent[tuple[Era, bytes]] = _Recent()
        self._transactions_seen: _Recent[Hash32] = _Recent(MAX_SEEN_TRANSACTIONS)
        self._announced_seen: _Recent[Hash32] = _Recent(MAX_SEEN_TRANSACTIONS)
        self._announcers = PeerBuckets(ANNOUNCEMENTS)
        self.counters: Counter[str] = Counter()
        """`<topic>/<verdict or reason>`."""

    # --- proposals --------------------------------------------------------------------------------------------------

    def proposal(self, sender: PeerId, data: bytes) -> GossipVerdict:
        """R0, and of each (era, view) one proposal; only for the current view and the next."""
        return self._judge("proposal", sender, data, MAX_PROPOSAL_BYTES, self._proposal, Offence.BAD_PROPOSAL)

    def _proposal(self, sender: PeerId, data: bytes) -> str:
        proposal = decode_proposal(data)
        statement = proposal.signed.statement
        if statement.era != self._view.era:
            return "other_era"
        if statement.view not in (self._view.view, self._view.view + 1):
            return "other_view"
        place = (statement.era, statement.view)
        first = self._first_proposals.get(place)
        if first is not None and not first.statement.conflicts_with(statement):
            return "duplicate"
        if first is not None and self._evidence_key(statement.era, proposal.signed.index) in self._evidence_seen:
            return "conflict"
        authorities = self._view.authorities(statement.era)
        if authorities is None:
            return "other_era"
        timing = self._view.timing
        if proposal.block.header.slot > timing.slot_at(self._clock.now() + timing.drift):
            return "future_slot"
        if proposal.signed.index != leader_index(authorities, statement.view):
            raise InvalidError(f"signer {proposal.signed.index} does not lead view {statement.view}")
        verify_statement(self._view.vote_domain, proposal.signed, authorities.members[proposal.signed.index].key)
        if first is not None:  # the statement alone proves the offence; the second block is not wanted
            self._keep_evidence(make_evidence(first, proposal.signed))
            return "conflict"
        verify_body(proposal.block.header, proposal.block.body)
        if not self.proposals.put(ReceivedProposal(proposal, sender), len(data)):
            return "queue_full"
        self.note_own_proposal(proposal)
        return "accept"

    def note_own_proposal(self, proposal: Proposal) -> None:
        """A proposal passed, or is our own: the next one of its view is a duplicate or a conflict."""
        statement = proposal.signed.statement
        self._first_proposals[(statement.era, statement.view)] = proposal.signed
        while len(self._first_proposals) > _MAX_REMEMBERED:
            self._first_proposals.popitem(last=False)

    # --- finality ---------------------------------------------------------------------------------------------------

    def finality(self, sender: PeerId, data: bytes) -> GossipVerdict:
        """One finality certificate per (era, view), none at or below F."""
        return self._judge("finality", sender, data, MAX_FINALITY_GOSSIP, self._finality, Offence.BAD_CERTIFICATE)

    def _finality(self, sender: PeerId, data: bytes) -> str:
        certificate = decode_certificate(data)
        statement = certificate.statement
        if certificate.kind is not Kind.FINALIZE:
            raise MalformedError(f"a {certificate.kind.name.lower()} certificate does not belong on the finality topic")
        place = (statement.era, statement.view)
        if place in self._certificates_seen:
            return "duplicate"
        if statement.era != self._view.era:
            return "other_era"
        if statement.view <= self._view.finalised_view:
            return "below_finality"
        authorities = self._view.authorities(statement.era)
        if authorities is None:
            return "other_era"
        if not self.certificates.fits(len(data)):
            return "queue_full"
        verify_certificate(self._view.vote_domain, certificate, authorities)
        self.certificates.put(certificate, len(data))
        self.note_own_certificate(certificate)
        return "accept"

    def note_own_certificate(self, certificate: Certificate) -> None:
        """A certificate passed, or is our own."""
        self._certificates_seen.remember((certificate.statement.era, certificate.statement.view))

    def knows_certificate(self, era: Era, view: View) -> bool:
        """Whether a finality certificate of this view went round already."""
        return (era, view) in self._certificates_seen

    # --- evidence ---------------------------------------------------------------------------------------------------

    def evidence_item(self, sender: PeerId, data: bytes) -> GossipVerdict:
        """One evidence per (key, era), for eras whose set is known."""
        return self._judge("evidence", sender, data, MAX_EVIDENCE_GOSSIP, self._evidence, Offence.BAD_EVIDENCE)

    def _evidence(self, sender: PeerId, data: bytes) -> str:
        evidence = decode_evidence(data)
        era, index = evidence.first.statement.era, evidence.first.index
        authorities = self._view.authorities(era)
        if authorities is None:
            return "other_era"
        if index >= len(authorities.members):
            raise InvalidError(f"evidence names signer {index} of {len(authorities.members)}")
        if self._evidence_key(era, index) in self._evidence_seen:
            return "duplicate"
        if not self.evidence.fits(MAX_EVIDENCE_GOSSIP):
            return "queue_full"
        verify_evidence(self._view.vote_domain, evidence, authorities)
        self._keep_evidence(evidence)
        return "accept"

    def note_own_evidence(self, evidence: Evidence) -> bool:
        """Evidence of our own engine; False when evidence against this key and era went round already."""
        key = self._evidence_key(evidence.first.statement.era, evidence.first.index)
        is_new = key not in self._evidence_seen
        self._evidence_seen.remember(key)
        return is_new

    def _keep_evidence(self, evidence: Evidence) -> None:
        if self.evidence.put(evidence, MAX_EVIDENCE_GOSSIP):  # else it may come again, when the queue has room
            self.note_own_evidence(evidence)

    def _evidence_key(self, era: Era, index: int) -> tuple[Era, bytes]:
        authorities = self._view.authorities(era)
        if authorities is None or index >= len(authorities.members):
            return (era, index.to_bytes(2, "big"))
        return (era, authorities.members[index].key)

    # --- transactions -----------------------------------------------------------------------------------------------

    def batch(self, sender: PeerId, data: bytes) -> GossipVerdict:
        """Transactions with right signatures, and announcements to be pulled."""
        return self._judge(
            "transactions", sender, data, MAX_TRANSACTIONS_GOSSIP, self._batch, Offence.INVALID_TRANSACTION
        )

    def _batch(self, sender: PeerId, data: bytes) -> str:
        batch = decode_batch(data)
        outcomes = [self.take_transaction(sender, item) for item in batch.inline]
        fresh = tuple(name for name in batch.announced if name not in self._announced_seen)
        if fresh:
            outcomes.append(self._announce(sender, fresh))
        if "accept" in outcomes:
            return "accept"
        return outcomes[0] if outcomes else "duplicate"

    def take_transaction(self, sender: PeerId, data: bytes) -> str:
        """Check one transaction and queue it. Raises MalformedError or InvalidError when it can never be right."""
        name = transaction_bytes_hash(data)
        if name in self._transactions_seen:
            return "duplicate"
        transaction = decode_transaction(data)
        verdict = self._gate.judge(transaction, name, len(data))
        if verdict is REJECT:
            raise InvalidError("the pool refuses this kind of transaction")
        if verdict is IGNORE:
            return "not_wanted"
        if not self.transactions.fits(len(data)):
            return "queue_full"
        try:
            verify_transaction(self._view.transaction_domain, transaction)
        except InvalidError:
            previous = self._view.previous_transaction_domain
            if previous is None:
                raise
            verify_transaction(previous, transaction)
            return "former_rules"
        self.transactions.put(ReceivedTransaction(transaction, data, name, sender), len(data))
        self.note_own_transaction(name)
        return "accept"

    def note_own_transaction(self, bytes_hash: Hash32) -> None:
        """A transaction passed, or is our own."""
        self._transactions_seen.remember(bytes_hash)
        self._announced_seen.remember(bytes_hash)

    def forget_transaction(self, bytes_hash: Hash32) -> None:
        """The transaction may come again (it was announced and could not be pulled, or left the pool)."""
        self._transactions_seen.pop(bytes_hash, None)
        self._announced_seen.pop(bytes_hash, None)

    def _announce(self, sender: PeerId, hashes: tuple[Hash32, ...]) -> str:
        now = self._seconds()
        if not self._announcers.of(sender, now).take_if_free(len(hashes), now):
            return "announce_quota"
        if not self.announcements.put(Announcement(hashes, sender), 32 * len(hashes)):
            return "queue_full"
        for name in hashes:
            self._announced_seen.remember(name)
        return "accept"

    # --- verdicts ---------------------------------------------------------------------------------------------------

    def _judge(
        self,
        topic: str,
        sender: PeerId,
        data: bytes,
        most: int,
        check: Callable[[PeerId, bytes], str],
        offence: Offence,
    ) -> GossipVerdict:
        """Run one check and turn its outcome into a verdict, a counter and, when it can never be right, an offence."""
        try:
            if len(data) > most:
                raise MalformedError(f"{len(data)} bytes, at most {most} allowed")
            outcome = check(sender, data)
        except MalformedError:
            outcome, offence = "malformed", Offence.MALFORMED
        except InvalidError as error:
            outcome = error.code
        else:
            self.counters[f"{topic}/{outcome}"] += 1
            if outcome == "accept":
                self._penalties.useful(sender)
                return ACCEPT
            return IGNORE
        self.counters[f"{topic}/{outcome}"] += 1
        self._penalties.offend(sender, offence)
        return REJECT
