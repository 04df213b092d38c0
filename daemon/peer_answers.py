"""The running peer as commands see it: `PeerView` over the assembled node (DESIGN section 7, interfaces)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from .. import __version__
from ..consensus.block import Block, decode_block
from ..consensus.chain_spec import ChainSpec
from ..consensus.state.state import State
from ..consensus.transaction import TransactionDomain, decode_transaction, signing_digest
from ..consensus.types import Hash32, Height
from ..protocols.bootstrap import format_bootstrap
from .admission import Admission
from .epoch_records import explanation_of, find_record
from .execution import ExecutionLane
from .mempool import Mempool
from .node import Peer
from .peer_view import (
    FoundBlock,
    FoundTransaction,
    OwnAuthority,
    PeerEntry,
    PeerStatus,
    TransactionResult,
)
from .registry import NotFoundError

T = TypeVar("T")


class PeerAnswers:
    """Answers about one peer. All methods run on the peer's own loop."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    @property
    def spec(self) -> ChainSpec:
        """Of the chain that runs."""
        return self._peer.opened.spec

    @property
    def genesis_hash(self) -> Hash32:
        """Of the chain that runs."""
        return self._peer.opened.genesis_hash

    @property
    def transaction_domain(self) -> TransactionDomain:
        """What transactions for the next block must be signed for."""
        return self._peer.transaction_domain

    @property
    def mempool(self) -> Mempool:
        """The pool."""
        return self._peer.mempool

    @property
    def _lane(self) -> ExecutionLane:
        return self._peer.lane

    def status(self) -> PeerStatus:
        """One look at the whole peer."""
        peer, spec = self._peer, self.spec
        store, engine = peer.opened.store, peer.driver.engine
        point = store.finalised()
        slot = 0 if point.header is None else point.header.slot
        offset = peer.peers.clock_offset()
        p50, p99 = peer.times.percentile(50), peer.times.percentile(99)
        return PeerStatus(
            name=peer.settings.name,
            version=__version__,
            network=spec.name,
            profile=spec.profile,
            genesis_hash=self.genesis_hash,
            fork_digest=peer.digest,
            peer_id=peer.transport.local_peer,
            addresses=tuple(format_bootstrap(a, self.genesis_hash) for a in peer.transport.addresses()),
            started=peer.started,
            now=peer.clock.now(),
            slot_length=spec.slot_length,
            head=engine.head.hash,
            height=engine.head.height,
            finalised=point.hash,
            finalised_height=point.height,
            finalised_time=spec.timing.start_of(slot),
            state_root=store.state_root(),
            era=engine.era,
            view=engine.view,
            level=engine.level,
            authorities=len(engine.context.authorities.members),
            missing_weight=engine.missing_weight()[0],
            total_weight=engine.context.authorities.total_weight,
            peers=len(peer.transport.connected()),
            syncing_to=peer.sync.target,
            epochs=peer.epochs_run,
            finality_p50_ms=p50,
            finality_p99_ms=p99,
            clock_offset_ms=None if offset is None else offset / 1000,
            own_authority=self._own_authority(),
        )

    def _own_authority(self) -> OwnAuthority | None:
        authority, engine = self._peer.authority, self._peer.driver.engine
        if authority is None:
            return None
        key = authority.key.public_key
        weight, abstaining = 0, ""
        index = engine.context.authorities.index_of(key)
        if index is not None:
            weight = engine.context.authorities.members[index].weight
            if self._peer.clock.now() < self._peer.listens_until:
                abstaining = "listening for a second signer"
            elif not engine.is_voter:
                abstaining = "its guard is younger than this era: it votes again in a later one"
        hotkey = self._peer.settings.hotkey
        return OwnAuthority(key, None if hotkey is None else hotkey.public_key, weight > 0, weight, abstaining)

    def peers(self) -> Sequence[PeerEntry]:
        """Connected peers."""
        service, transport = self._peer.peers, self._peer.transport
        statuses, neighbours = service.statuses(), self._peer.exchange.neighbours()
        entries = []
        for peer, connection in service.connections().items():
            status = statuses.get(peer)
            entries.append(
                PeerEntry(
                    peer_id=peer,
                    address=transport.remote_address(peer) or "",
                    outbound=connection.outbound,
                    connected_since=connection.since,
                    agent="" if status is None else status.agent,
                    finalised_height=None if status is None else status.finalised_height,
                    score=self._peer.enforcer.ledger.score(peer),
                    exchanging=peer in neighbours,
                )
            )
        return entries

    async def block(self, at: Height | Hash32) -> FoundBlock | None:
        """The block of a height (final, or on the way to the head) or of a hash."""
        return await self._lane.run(lambda: self._find_block(at))

    def _find_block(self, at: Height | Hash32) -> FoundBlock | None:
        store, working = self._peer.opened.store, self._peer.opened.working
        height = at if isinstance(at, int) else store.height_of(at)
        if height is not None:
            data = store.block_bytes(height)
            if data is not None:
                block = decode_block(data)
                return FoundBlock(block, block.hash, True, self._peer.outcomes.get(height))
        pending = self._pending(at)
        if pending is None:
            return None
        return FoundBlock(pending, pending.hash, False, working.outcome(pending.hash))

    def _pending(self, at: Height | Hash32) -> Block | None:
        working = self._peer.opened.working
        if isinstance(at, bytes):
            return working.block(at) or self._peer.driver.pool.get(at)
        block_hash = working.head.hash
        while (block := working.block(block_hash)) is not None:
            if block.header.height == at:
                return block
            block_hash = block.header.parent_hash
        return None

    async def read(self, reader: Callable[[State], T]) -> T:
        """The result of a read of the finalised state."""
        return await self._lane.run(lambda: reader(self._peer.opened.working.state_at_finalised()))

    async def ask_pool(self, question: Callable[[Mempool], T]) -> T:
        """The result of a question to the pool that looks at the state."""
        return await self._lane.run(lambda: question(self.mempool))

    async def submit(self, data: bytes) -> Admission:
        """Offer an own transaction to the mempool; what is accepted is gossiped, again and again until it is in."""
        return await self._peer.submit(data)

    async def explain(self, netuid: int, uid: int, at: Height | None) -> dict[str, Any]:
        """Why a neuron was paid what it was paid; the epoch runs again in the lane's thread."""
        index = self._peer.index
        if index is None:
            raise NotFoundError("this peer keeps no index", remedy="ask another peer")
        return await self._lane.run(lambda: explanation_of(find_record(index, netuid, at), uid))

    async def find_transaction(self, transaction_id: Hash32) -> FoundTransaction | None:
        """An included transaction by id, above F first."""
        return await self._lane.run(lambda: self._find_transaction(transaction_id))

    def _find_transaction(self, transaction_id: Hash32) -> FoundTransaction | None:
        working, store = self._peer.opened.working, self._peer.opened.store
        block_hash = working.head.hash
        while (block := working.block(block_hash)) is not None:
            for position, data in enumerate(block.body.transactions):
                if signing_digest(self.transaction_domain, decode_transaction(data)) == transaction_id:
                    outcome = working.outcome(block_hash)
                    done = None if outcome is None else outcome.transactions[position]
                    result = None if done is None else TransactionResult(done.code, done.fee, done.events)
                    return FoundTransaction(data, block.header.height, position, block_hash, False, result)
            block_hash = block.header.parent_hash
        found = None if self._peer.index is None else self._peer.index.find(transaction_id)
        body = None if found is None else store.body(found.height)
        name = None if found is None else store.block_hash(found.height)
        if found is None or body is None or name is None:
            return None
        outcome = self._peer.outcomes.get(found.height)
        done = None if outcome is None else outcome.transactions[found.position]
        result = None if done is None else TransactionResult(done.code, done.fee, done.events)
        return FoundTransaction(body.transactions[found.position], found.height, found.position, name, True, result)
