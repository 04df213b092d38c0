"""What the consensus driver says to the network; `network_link` says it to peers (CHAIN 1.4, effects)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..consensus.block import Proposal
from ..consensus.certificate import Certificate
from ..consensus.effects import EraContext
from ..consensus.evidence import Evidence
from ..consensus.statement import SignedStatement
from ..consensus.types import Era, Hash32, Height, View


class Network(Protocol):
    """What the driver sends; nothing here waits for a peer."""

    def offer(self, item: SignedStatement | Certificate) -> None:
        """Give a statement or certificate to the vote exchange."""

    async def publish_proposal(self, proposal: Proposal) -> None:
        """Gossip an own proposal."""

    async def publish_finality(self, certificate: Certificate) -> None:
        """Gossip the certificate of F."""

    async def publish_evidence(self, evidence: Evidence) -> None:
        """Gossip evidence."""

    def fetch_block(self, wanted: Hash32) -> None:
        """Fetch by hash in the background; the block comes back through `Driver.block_arrived`."""

    def drop_fetch(self, unwanted: Hash32) -> None:
        """The engine no longer needs a block that it asked for."""

    def fetch_certificates(self, era: Era, views: Sequence[View]) -> None:
        """Ask peers for certificates in the background; they come back as events."""

    def sync_to(self, certificate: Certificate) -> None:
        """The chain of this certificate's block is not here."""

    def era_changed(self, context: EraContext) -> None:
        """Votes of a new era are spoken from now on."""

    def passed(self, certificate: Certificate, height: Height) -> None:
        """The finalised point moved."""
