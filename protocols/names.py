"""Protocol ids and gossip topics of one network (CHAIN 2.1, 7).

`net` names the chain and is in every name but the chain spec's, which a joiner asks for before it knows the full
genesis hash. The fork digest names chain, rules and restart domain; it is only in the topics of consensus and in the
vote exchange, so that a peer that missed a change of rules can still sync.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..consensus.types import Hash32

CHAINSPEC_PROTOCOL: Final = "/yumad/chainspec/1"
"""The one id without a network: its request carries the genesis hash, or its beginning."""


@dataclass(frozen=True, slots=True)
class NetworkNames:
    """Names that never change during the life of a chain."""

    net: str
    """First four bytes of the genesis hash in hex."""

    @staticmethod
    def of(genesis_hash: Hash32) -> NetworkNames:
        """The names of the chain with this genesis hash."""
        return NetworkNames(genesis_hash[:4].hex())

    def request(self, name: str) -> str:
        """Protocol id of a request; `chainspec` has the id without a network."""
        return CHAINSPEC_PROTOCOL if name == "chainspec" else f"/yumad/{self.net}/{name}/1"

    def votes(self, fork_digest: bytes) -> str:
        """Protocol id of the vote exchange under a fork digest."""
        return f"/yumad/{self.net}/{fork_digest.hex()}/votes/1"

    def lasting_topic(self, name: str) -> str:
        """A gossip topic that outlives changes of the rules: what it carries says nothing about blocks."""
        return f"/yumad/{self.net}/{name}/1"

    def topics(self, fork_digest: bytes) -> Topics:
        """Gossip topics under a fork digest."""
        prefix = f"/yumad/{self.net}/{fork_digest.hex()}"
        return Topics(
            proposal=f"{prefix}/proposal/1",
            transactions=f"{prefix}/transactions/1",
            finality=f"{prefix}/finality/1",
            evidence=f"{prefix}/evidence/1",
        )


@dataclass(frozen=True, slots=True)
class Topics:
    """The four gossip topics. Votes have none: they travel by the exchange (CHAIN 1.5)."""

    proposal: str
    transactions: str
    finality: str
    evidence: str

    def all(self) -> tuple[str, ...]:
        """In the order in which they are joined."""
        return (self.proposal, self.transactions, self.finality, self.evidence)
