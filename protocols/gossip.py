"""Gossip of proposals, transactions, finality certificates and evidence (CHAIN 3 "Spread", CHAIN 7 "Topics").

Ties the validators to the transport's topics and publishes our own. Transactions are gathered into batches of 32 or a
tenth of a second; those above 1 KiB are announced by hash and pulled by whoever wants them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import trio

from ..consensus.block import Proposal, encode_proposal
from ..consensus.certificate import Certificate, encode_certificate
from ..consensus.evidence import Evidence, encode_evidence
from ..consensus.transaction import transaction_bytes_hash
from ..consensus.types import Hash32, InvalidError, MalformedError
from .bounded_queue import BoundedQueue
from .gossip_messages import TransactionBatch, encode_batch
from .gossip_validators import Announcement, Validators
from .limits import (
    BATCH_DELAY,
    HELD_ITEMS,
    HELD_TRANSACTION_BYTES,
    INLINE_TRANSACTION,
    MAX_BATCH,
    MAX_BATCHES_PER_SECOND,
)
from .messages import TRANSACTIONS, TransactionsRequest
from .names import NetworkNames, Topics
from .peer_ledger import Offence
from .penalties import Penalties
from .requests import RequestClient, RequestError
from .transport import PayloadTooLarge, PeerId, Transport

if TYPE_CHECKING:
    from trio_typing import TaskStatus

_PULLERS: Final = 4
"""Announcements pulled at one time."""

_PULL_DELAYS: Final = (0.0, 0.15, 0.3, 0.6, 1.2, 2.4)
"""Seconds before each try: a relay passes an announcement on before it has pulled the transaction itself."""

_EVERY_THIRD: Final = 3
"""Of the tries, every third goes to another peer than the announcer."""


class Gossip:
    """One peer's gossip under one fork digest at a time."""

    def __init__(
        self,
        transport: Transport,
        names: NetworkNames,
        validators: Validators,
        client: RequestClient,
        penalties: Penalties,
        *,
        digest: bytes,
    ) -> None:
        self._transport = transport
        self._names = names
        self._client = client
        self._penalties = penalties
        self.validators = validators
        self._topics: Topics = names.topics(digest)
        self._own: BoundedQueue[bytes] = BoundedQueue(items=HELD_ITEMS, size=HELD_TRANSACTION_BYTES)
        self.counters: Counter[str] = Counter()
        """Published messages by topic, pulls by outcome."""

    def subscribe(self) -> None:
        """Join the four topics of the digest."""
        validators = self.validators
        self._transport.subscribe(self._topics.proposal, validators.proposal)
        self._transport.subscribe(self._topics.transactions, validators.batch)
        self._transport.subscribe(self._topics.finality, validators.finality)
        self._transport.subscribe(self._topics.evidence, validators.evidence_item)

    def set_digest(self, digest: bytes) -> None:
        """The rules or the restart domain changed: leave the old topics, join the new."""
        topics = self._names.topics(digest)
        if topics != self._topics:
            for topic in self._topics.all():
                self._transport.unsubscribe(topic)
            self._topics = topics
            self.subscribe()

    async def publish_proposal(self, proposal: Proposal) -> None:
        """Spread our own proposal."""
        self.validators.note_own_proposal(proposal)
        await self._publish("proposal", self._topics.proposal, encode_proposal(proposal))

    async def publish_certificate(self, certificate: Certificate) -> None:
        """Spread a finality certificate that we made or got by exchange, unless it went round already."""
        place = (certificate.statement.era, certificate.statement.view)
        if not self.validators.knows_certificate(*place):
            self.validators.note_own_certificate(certificate)
            await self._publish("finality", self._topics.finality, encode_certificate(certificate))

    async def publish_evidence(self, evidence: Evidence) -> None:
        """Spread evidence that our engine found."""
        if self.validators.note_own_evidence(evidence):
            await self._publish("evidence", self._topics.evidence, encode_evidence(evidence))

    def offer_transaction(self, data: bytes) -> bool:
        """Put a pooled transaction of our own into the next batch. False when too many wait already."""
        if not self._own.put(data, len(data)):
            return False
        self.validators.note_own_transaction(transaction_bytes_hash(data))
        return True

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Publish batches and pull what is announced, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._publish_batches)
            for _ in range(_PULLERS):
                nursery.start_soon(self._pull_announced)
            task_status.started()

    async def _publish(self, name: str, topic: str, data: bytes) -> None:
        try:
            await self._transport.publish(topic, data)
        except PayloadTooLarge:  # cannot be: every kind is bounded far below; counted so that it would be seen
            self.counters[f"{name}/too_large"] += 1
        else:
            self.counters[f"{name}/published"] += 1

    # --- transactions -----------------------------------------------------------------------------------------------

    async def _publish_batches(self) -> None:
        while True:
            inline: list[bytes] = []
            announced: list[Hash32] = []
            self._sort(await self._own.get(), inline, announced)
            with trio.move_on_after(BATCH_DELAY):
                while len(inline) + len(announced) < MAX_BATCH:
                    self._sort(await self._own.get(), inline, announced)
            batch = TransactionBatch(tuple(dict.fromkeys(inline)), tuple(dict.fromkeys(announced)))
            await self._publish("transactions", self._topics.transactions, encode_batch(batch))
            await trio.sleep(1 / MAX_BATCHES_PER_SECOND)

    @staticmethod
    def _sort(data: bytes, inline: list[bytes], announced: list[Hash32]) -> None:
        if len(data) <= INLINE_TRANSACTION:
            inline.append(data)
        else:
            announced.append(transaction_bytes_hash(data))

    async def _pull_announced(self) -> None:
        while True:
            await self._pull(await self.validators.announcements.get())

    async def _pull(self, announcement: Announcement) -> None:
        """Fetch announced transactions: from the announcer, now and then from others that may have them by now."""
        missing = dict.fromkeys(announcement.hashes)
        for number, delay in enumerate(_PULL_DELAYS, start=1):
            await trio.sleep(delay)
            others = [peer for peer in self._transport.connected() if peer != announcement.sender]
            peer = others[number % len(others)] if others and number % _EVERY_THIRD == 0 else announcement.sender
            try:
                got = await self._client.request(peer, TRANSACTIONS, TransactionsRequest(tuple(missing)))
            except RequestError as error:
                self.counters[f"pull/{error.code}"] += 1
                continue
            self._take_pulled(peer, got, missing)
            if not missing:
                return
        self.counters["pull/missing"] += len(missing)
        for name in missing:
            self.validators.forget_transaction(name)

    def _take_pulled(self, peer: PeerId, got: list[bytes], missing: dict[Hash32, None]) -> None:
        for data in got:
            name = transaction_bytes_hash(data)
            if name not in missing:
                self._penalties.offend(peer, Offence.BAD_REPLY)
                return
            del missing[name]
            try:
                self.counters[f"pull/{self.validators.take_transaction(peer, data)}"] += 1
            except (MalformedError, InvalidError):
                self._penalties.offend(peer, Offence.INVALID_TRANSACTION)
                self.counters["pull/invalid"] += 1
