"""The score of a peer in gossip: the ledger's, and nothing else (CHAIN 2.3 and 7).

The library's own counters are off: its single-topic gates do not look at the application's score, and it keeps a table
entry for every peer that it was ever asked about.
"""

from __future__ import annotations

from collections.abc import Callable

from libp2p.peer.id import ID
from libp2p.pubsub.score import PeerScorer, ScoreParams

from ..transport import PeerId


class LedgerScorer(PeerScorer):
    """The library's gates over the ledger's score."""

    def __init__(self, params: ScoreParams, score: Callable[[PeerId], float]) -> None:
        super().__init__(params)
        self._score = score

    def ledger_score(self, peer: ID) -> float:
        """The ledger's score of the peer."""
        return self._score(PeerId(peer.to_base58()))

    def score(self, peer: ID, topics: list[str]) -> float:
        """The same, whatever the topics."""
        return self.ledger_score(peer)

    def allow_publish(self, peer: ID, topics: list[str]) -> bool:
        """Whether messages are exchanged with the peer."""
        return self.ledger_score(peer) >= self.params.publish_threshold

    def allow_gossip(self, peer: ID, topics: list[str]) -> bool:
        """Whether IHAVE and IWANT are exchanged with the peer."""
        return self.ledger_score(peer) >= self.params.gossip_threshold

    def is_graylisted(self, peer: ID, topics: list[str]) -> bool:
        """Whether everything that the peer says is dropped unread."""
        return self.ledger_score(peer) < self.params.graylist_threshold

    def allow_px_from(self, peer: ID, topics: list[str]) -> bool:
        """Never: peers are exchanged by our own request."""
        return False

    def on_heartbeat(self, dt_seconds: float = 1.0) -> None:
        """Nothing decays: nothing is counted."""

    def on_join_mesh(self, peer: ID, topic: str) -> None:
        """Not counted."""

    def on_first_delivery(self, peer: ID, topic: str) -> None:
        """Not counted."""

    def on_mesh_delivery(self, peer: ID, topic: str) -> None:
        """Not counted."""

    def on_invalid_message(self, peer: ID, topic: str) -> None:
        """Not counted: the ledger hears of it."""
