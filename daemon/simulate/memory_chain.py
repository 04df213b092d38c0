"""A chain of one author in memory: no votes, no storage, only the rules."""

from __future__ import annotations

from ...consensus.chain_spec import ChainSpec, genesis_hash
from ...consensus.rules.interface import BlockContext, BlockOutcome
from ...consensus.rules.registry import rules_for
from ...consensus.statement import VoteDomain
from ...consensus.transaction import TransactionDomain, fork_digest
from ...consensus.types import ZERO_HASH, Era, Hash32, Height, Slot


class MemoryChain:
    """The state after the newest block, and the context of the next; a block's state root stands for its hash."""

    def __init__(self, spec: ChainSpec) -> None:
        self.spec = spec
        self.rules = rules_for(spec.rules_version)
        self.state = self.rules.build_genesis(spec)
        self.genesis = genesis_hash(spec)
        self.authorities = self.rules.genesis_authorities(spec, self.genesis)
        self.domain = TransactionDomain(self.genesis, fork_digest(self.genesis, spec.rules_version, ZERO_HASH))
        self.height, self.parent = 0, self.genesis

    def context(self) -> BlockContext:
        """Context of the next block."""
        return BlockContext(
            spec=self.spec,
            genesis_hash=self.genesis,
            domain=self.domain,
            vote_domain=VoteDomain(self.genesis),
            height=Height(self.height + 1),
            era=Era(self.height // self.spec.era_blocks),
            slot=Slot(self.height + 1),
            parent_hash=self.parent,
            proposer_index=0,
            authorities=self.authorities,
        )

    def advance(self, outcome: BlockOutcome, root: Hash32) -> None:
        """The next block was executed, with this state root."""
        self.height += 1
        self.parent = root
        if outcome.next_authorities is not None:
            self.authorities = outcome.next_authorities
