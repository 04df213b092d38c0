"""Between the driver and the network: what peers send becomes events, what the engine wants becomes messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final

import trio

from ..consensus.block import Block, Proposal
from ..consensus.certificate import Certificate
from ..consensus.effects import CertificateSeen, EraContext, StatementSeen
from ..consensus.evidence import Evidence
from ..consensus.statement import SignedStatement
from ..consensus.types import Era, Hash32, Height, View
from ..protocols.exchange import Exchange
from ..protocols.gossip import Gossip
from ..protocols.gossip_validators import ReceivedTransaction
from ..protocols.interfaces import ConsensusView, Rng
from ..protocols.penalties import Penalties
from ..protocols.requests import RequestClient
from ..protocols.sync.follow import BlockFetcher, fetch_certificates
from ..protocols.transport import PeerId, Transport
from .driver import Driver

if TYPE_CHECKING:
    from trio_typing import TaskStatus

MAX_ASKS: Final = 4
"""Certificate requests in flight; the engine asks again while it lacks something."""

ASKED_PEERS: Final = 4
"""Peers asked for one set of certificates, one after the other: a silent one costs its timeout."""


class NetworkLink:
    """Implements the driver's `Network` over gossip, vote exchange and requests."""

    def __init__(
        self,
        transport: Transport,
        gossip: Gossip,
        client: RequestClient,
        penalties: Penalties,
        view: ConsensusView,
        rng: Rng,
        sync_wanted: Callable[[], None],
    ) -> None:
        """`sync_wanted` hears that finality is known of blocks that are not here."""
        self._transport = transport
        self._gossip = gossip
        self._client = client
        self._penalties = penalties
        self._view = view
        self._rng = rng
        self._sync_wanted = sync_wanted
        self._fetcher = BlockFetcher(client, transport.connected, self._block_fetched, penalties, rng)
        self._asks = 0
        self.exchange: Exchange
        """Set before anything runs; it needs this link to deliver to."""
        self._driver: Driver
        self._nursery: trio.Nursery

    def connect(self, driver: Driver) -> None:
        """Feed this driver; before anything runs."""
        self._driver = driver

    async def run(
        self,
        take_transaction: Callable[[ReceivedTransaction], Awaitable[None]],
        *,
        task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Feed the driver from gossip and exchange until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._gossip.run)
            nursery.start_soon(self.exchange.run)
            nursery.start_soon(self._fetcher.run)
            nursery.start_soon(self._take_proposals)
            nursery.start_soon(self._take_certificates)
            nursery.start_soon(self._take_evidence)
            task_status.started()
            while True:
                await take_transaction(await self._gossip.validators.transactions.get())

    async def deliver(self, items: Sequence[SignedStatement | Certificate], peer: PeerId) -> None:
        """Verified items of the vote exchange."""
        for item in items:
            await self._driver.post(CertificateSeen(item) if isinstance(item, Certificate) else StatementSeen(item))

    async def _take_proposals(self) -> None:
        while True:
            proposal = (await self._gossip.validators.proposals.get()).proposal
            self._fetcher.drop(proposal.signed.statement.block_hash)
            await self._driver.proposal_seen(proposal)
            self.exchange.offer(proposal.signed)  # whom gossip missed learns of it here and pulls the block

    async def _take_certificates(self) -> None:
        while True:
            await self._driver.post(CertificateSeen(await self._gossip.validators.certificates.get()))

    async def _take_evidence(self) -> None:
        while True:
            self._driver.evidence.add(await self._gossip.validators.evidence.get())

    async def _block_fetched(self, block: Block, peer: PeerId) -> None:
        await self._driver.block_arrived(block)

    # --- driver.Network ---------------------------------------------------------------------------------------------

    def offer(self, item: SignedStatement | Certificate) -> None:
        """Give a statement or certificate to the vote exchange."""
        self.exchange.offer(item)

    async def publish_proposal(self, proposal: Proposal) -> None:
        """Gossip an own proposal."""
        await self._gossip.publish_proposal(proposal)

    async def publish_finality(self, certificate: Certificate) -> None:
        """Gossip the certificate of F unless it went round already."""
        await self._gossip.publish_certificate(certificate)

    async def publish_evidence(self, evidence: Evidence) -> None:
        """Gossip evidence unless it went round already."""
        await self._gossip.publish_evidence(evidence)

    def fetch_block(self, wanted: Hash32) -> None:
        """Fetch by hash in the background."""
        self._fetcher.want(wanted)

    def drop_fetch(self, unwanted: Hash32) -> None:
        """The engine no longer needs a block that it asked for."""
        self._fetcher.drop(unwanted)

    def fetch_certificates(self, era: Era, views: Sequence[View]) -> None:
        """Ask peers for certificates in the background."""
        if self._asks < MAX_ASKS:
            self._asks += 1
            self._nursery.start_soon(self._ask_certificates, era, tuple(views))

    def sync_to(self, certificate: Certificate) -> None:
        """The chain of this certificate's block is not here."""
        self._sync_wanted()

    def era_changed(self, context: EraContext) -> None:
        """Votes of a new era are spoken from now on; blocks wanted in the last one are forgotten."""
        self.exchange.prune()
        for unwanted in self._fetcher.wanted():
            self._fetcher.drop(unwanted)

    def passed(self, certificate: Certificate, height: Height) -> None:
        """The finalised point moved: what is still being fetched below it is no longer wanted."""
        self.exchange.prune()
        self._fetcher.drop(certificate.statement.block_hash)

    async def _ask_certificates(self, era: Era, views: tuple[View, ...]) -> None:
        try:
            for certificate in await fetch_certificates(
                self._client, self._some_peers(), self._view, self._penalties, era, views
            ):
                await self._driver.post(CertificateSeen(certificate))
        finally:
            self._asks -= 1

    def _some_peers(self) -> list[PeerId]:
        """A few connected peers at random, so that nobody's id puts it first."""
        peers = list(self._transport.connected())
        return [peers.pop(self._rng.randrange(0, len(peers))) for _ in range(min(ASKED_PEERS, len(peers)))]
