"""A peer without a network: real rules, real state, real mempool, one authority, blocks on demand.

It implements `PeerView`, so the control interface and the commands run against it exactly as against a whole node.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from yumad.consensus.block import Block
from yumad.consensus.chain_spec import AuthoritySpec, ChainSpec, check_chain_spec, genesis_hash, prove_possession
from yumad.consensus.chain_spec_toml import load_chain_spec_toml
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.effects import BlockRef
from yumad.consensus.rules.interface import BlockOutcome
from yumad.consensus.rules.registry import rules_for
from yumad.consensus.state.state import State
from yumad.consensus.statement import VoteDomain
from yumad.consensus.transaction import TransactionDomain, decode_transaction, signing_digest
from yumad.consensus.types import (
    ZERO_HASH,
    AccountId,
    AuthorityKey,
    Era,
    Hash32,
    Height,
    Micros,
    Rao,
    Slot,
)
from yumad.consensus.working_chain import WorkingChain
from yumad.daemon.admission import Admission
from yumad.daemon.block_documents import epoch_documents
from yumad.daemon.head_feed import HeadFeed, HeadNews
from yumad.daemon.mempool import Mempool
from yumad.daemon.peer_view import FoundBlock, FoundTransaction, PeerEntry, PeerStatus, TransactionResult
from yumad.daemon.pool_state import StatePoolState, following_context

T = TypeVar("T")

SPEC = """
name = "small"
profile = "dev"
genesis_time = 1_000_000
salt = "00"

[chain]
era_blocks = 8

[dev]
names = ["alice", "bob", "carol"]
funds = 1_000_000_000_000

[admin]
threshold = 1
keys = ["dev:admin"]

[[stakes]]
hotkey = "dev:authority-hot"
coldkey = "dev:authority"
amount = 50_000_000_000

[[subnets]]
netuid = 7
owner_hotkey = "dev:authority-hot"
owner_coldkey = "dev:authority"
neurons = [
  { hotkey = "dev:authority-hot", coldkey = "dev:authority", stake = 1_000_000_000_000, permit = true },
  { hotkey = "dev:miner", coldkey = "dev:bob", stake = 1_000_000_000 },
]
"""


def small_spec(text: str = SPEC) -> ChainSpec:
    """A development chain with three funded accounts, one authority and one subnet of a validator and a miner."""
    bare = load_chain_spec_toml(text, check=False)
    hotkey, key = AccountId(dev_keypair("authority-hot").public_key), dev_keypair("authority-key")
    authority = AuthoritySpec(
        hotkey,
        AccountId(dev_keypair("authority").public_key),
        AuthorityKey(key.public_key),
        prove_possession(key, bare.name, bare.salt, hotkey),
        b"",
    )
    spec = replace(bare, authorities=(authority,))
    check_chain_spec(spec)
    return spec


@dataclass(frozen=True, slots=True)
class Kept:
    """One final block."""

    block: Block
    hash: Hash32
    outcome: BlockOutcome


class SmallPeer:
    """See the module text. `make_block` takes what the pool offers and makes it final at once."""

    def __init__(self, spec: ChainSpec | None = None) -> None:
        self.spec = spec or small_spec()
        self.genesis_hash = genesis_hash(self.spec)
        rules = rules_for(self.spec.rules_version)
        self._authorities = rules.genesis_authorities(self.spec, self.genesis_hash)
        genesis = BlockRef(self.genesis_hash, Height(0), Slot(0), ZERO_HASH)
        self.chain = WorkingChain(
            self.spec,
            self.genesis_hash,
            rules.build_genesis(self.spec),
            genesis,
            verified=lambda name: self.mempool.is_verified(name),
        )
        self.mempool = Mempool(self.transaction_domain, self.spec, StatePoolState(self._ground))
        self.feed = HeadFeed()
        self.blocks: list[Kept] = []
        self.connected: list[PeerEntry] = []
        self.submitted: list[bytes] = []
        self.syncing_to: Height | None = None

    @property
    def transaction_domain(self) -> TransactionDomain:
        return self.chain.transaction_domain

    def _ground(self):  # type: ignore[no-untyped-def]
        context = following_context(
            self.spec,
            self.genesis_hash,
            self.transaction_domain,
            VoteDomain(self.genesis_hash),
            self.chain.finalised,
            self._authorities,
        )
        return self.chain.state_at_finalised(), context

    def make_block(self) -> Kept:
        """One block with what waits."""
        parent = self.chain.finalised
        height = parent.height + 1
        block, outcome = self.chain.build(
            parent.hash,
            Slot(parent.slot + 1),
            Era(self.spec.timing.era_of(height)),
            0,
            self._authorities,
            self.mempool.candidates(512 * 1024),
        )
        done = self.chain.finalise(block.hash)
        if outcome.next_authorities is not None:
            self._authorities = outcome.next_authorities
            self.mempool.new_era()
        self.mempool.after_block(block.body.transactions, Height(height))
        kept = Kept(block, done.hash, outcome)
        self.blocks.append(kept)
        self.feed.publish(
            HeadNews(
                Height(height),
                kept.hash,
                block.header.state_root,
                Height(height),
                len(block.body.transactions),
                tuple(epoch_documents(outcome)),
            )
        )
        return kept

    # --- PeerView -----------------------------------------------------------------------------------------------------

    def status(self) -> PeerStatus:
        point = self.chain.finalised
        return PeerStatus(
            name="small",
            version="0.0",
            network=self.spec.name,
            profile=self.spec.profile,
            genesis_hash=self.genesis_hash,
            fork_digest=self.transaction_domain.fork_digest,
            peer_id="12D3KooWsmall",
            addresses=("/ip4/127.0.0.1/tcp/1/p2p/12D3KooWsmall#" + self.genesis_hash.hex(),),
            started=Micros(0),
            now=Micros(5_000_000),
            slot_length=self.spec.slot_length,
            head=point.hash,
            height=point.height,
            finalised=point.hash,
            finalised_height=point.height,
            finalised_time=self.spec.timing.start_of(point.slot),
            state_root=self.chain.state_at_finalised().root(),
            era=self.spec.timing.era_of(point.height + 1),
            view=1,
            level=0,
            authorities=1,
            missing_weight=0,
            total_weight=self._authorities.total_weight,
            peers=len(self.connected),
            syncing_to=self.syncing_to,
            epochs=sum(len(kept.outcome.epochs) for kept in self.blocks),
            finality_p50_ms=12.5,
            finality_p99_ms=80.0,
            clock_offset_ms=None,
            own_authority=None,
        )

    def peers(self) -> Sequence[PeerEntry]:
        return self.connected

    async def block(self, at: Height | Hash32) -> FoundBlock | None:
        for kept in self.blocks:
            if at in (kept.block.header.height, kept.hash):
                return FoundBlock(kept.block, kept.hash, True, kept.outcome)
        return None

    async def read(self, reader: Callable[[State], T]) -> T:
        return reader(self.chain.state_at_finalised())

    async def ask_pool(self, question: Callable[[Mempool], T]) -> T:
        return question(self.mempool)

    async def submit(self, data: bytes) -> Admission:
        self.submitted.append(data)
        return self.mempool.admit(data, own=True)

    async def find_transaction(self, transaction_id: Hash32) -> FoundTransaction | None:
        for kept in self.blocks:
            for position, data in enumerate(kept.block.body.transactions):
                if signing_digest(self.transaction_domain, decode_transaction(data)) == transaction_id:
                    done = kept.outcome.transactions[position]
                    result = TransactionResult(done.code, done.fee, done.events)
                    return FoundTransaction(data, kept.block.header.height, position, kept.hash, True, result)
        return None


FUNDS = Rao(1_000_000_000_000)
"""What each development account of the spec has."""
