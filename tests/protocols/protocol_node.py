"""A whole peer without storage and rules: the real engine over gossip, exchange, requests and sync, in virtual time.

Execution is replaced by "always succeeds", the chain database by lists, the guard by nothing; a node never restarts.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import trio
from peer_doubles import DIGEST, DOMAIN, GENESIS, TX_DOMAIN, MadeChain, RecordedPenalties
from sync_world import status_of
from yumad.consensus.authority import NO_SET, AuthoritySet, era_seed
from yumad.consensus.block import Block, Body, Proposal, commit_root, encode_block, tx_root
from yumad.consensus.certificate import Certificate
from yumad.consensus.domains import Domain, digest
from yumad.consensus.effects import (
    BehindFinality,
    BlockArrived,
    BlockBuilt,
    BlockExecuted,
    BlockRef,
    Build,
    CancelRequest,
    CastVote,
    CertificateSeen,
    EraContext,
    EraOpened,
    Event,
    Execute,
    Finalise,
    Halt,
    OfferStatement,
    PersistCertificate,
    ProposalSeen,
    ReportEvidence,
    RequestBlock,
    RequestCertificates,
    Restarted,
    SetTimer,
    StatementSeen,
    SyncAdvanced,
    TimerFired,
)
from yumad.consensus.engine import Engine
from yumad.consensus.header import Header, block_hash
from yumad.consensus.signature import KeyPair
from yumad.consensus.statement import Kind, SignedStatement, signing_digest
from yumad.consensus.timing import Timing
from yumad.consensus.types import ZERO_HASH, AuthorityKey, Era, Hash32, Height, Micros, Slot, View
from yumad.protocols.chain_services import ChainServices
from yumad.protocols.exchange import Exchange
from yumad.protocols.exchange_state import Item
from yumad.protocols.gossip import Gossip
from yumad.protocols.gossip_validators import Validators
from yumad.protocols.memory_transport import MemoryNetwork, MemoryTransport
from yumad.protocols.messages import PeersReply, Status
from yumad.protocols.names import NetworkNames
from yumad.protocols.peer_records import PeerBook
from yumad.protocols.request_server import RequestServer
from yumad.protocols.requests import RequestClient
from yumad.protocols.sync.catch_up import CatchUp
from yumad.protocols.sync.follow import BlockFetcher, fetch_certificates
from yumad.protocols.sync.proven_sets import Span
from yumad.protocols.sync.range import RangeFailed
from yumad.protocols.sync.sync_peers import SyncPeers
from yumad.protocols.transport import PeerConnected, PeerId, Transport

NAMES = NetworkNames.of(GENESIS)


@dataclass
class VirtualClock:
    """Wall clock that runs with trio's."""

    start: Micros

    def now(self) -> Micros:
        return Micros(self.start + int(trio.current_time() * 1_000_000))


class NodeChain(MadeChain):
    """The lists of `MadeChain`, grown by a node."""

    def __init__(self, timing: Timing, first: AuthoritySet) -> None:
        super().__init__(era_blocks=timing.era_blocks)
        self.timing = timing
        self.sets: dict[int, AuthoritySet] = {0: first}
        self.pending: dict[Hash32, Block] = {}

    def append(self, block: Block) -> None:
        assert block.header.parent_hash == self.hash_at(len(self.blocks))
        self.blocks.append(block)
        era = block.header.era
        if block.header.height == self.timing.boundary_of(era):
            self.sets[era + 1] = self.next_set(era)
            self.boundaries[era] = block.hash

    def next_set(self, era: int) -> AuthoritySet:
        """The same members under the next seed."""
        return AuthoritySet(self.sets[era].members, era_seed(self.genesis, Era(era + 1), self.boundaries.get(era - 1)))

    def boundary_proof(self, era: Era) -> tuple[Header, Certificate, AuthoritySet] | None:
        height = self.timing.boundary_of(era)
        if height > len(self.blocks) or height not in self.certificates:
            return None
        return self.blocks[height - 1].header, self.certificates[height], self.sets[era + 1]

    def pending_block(self, name: Hash32) -> bytes | None:
        block = self.pending.get(name)
        return None if block is None else encode_block(block)


class ProtocolNode:
    """One peer; `key` is None for a follower."""

    def __init__(
        self,
        transport: Transport,
        authorities: AuthoritySet,
        key: KeyPair | None,
        timing: Timing,
        clock: Any,
        *,
        seed: int = 1,
        tick: float = 0.05,
    ) -> None:
        rng = random.Random(seed)
        self.transport, self.key, self.timing, self.clock = transport, key, timing, clock
        self.chain = NodeChain(timing, authorities)
        self.engine = Engine(timing, None if key is None else AuthorityKey(key.public_key))
        self.penalties = RecordedPenalties()
        self.client = RequestClient(transport, NAMES, self.penalties)
        self.peers = SyncPeers(rng, self.penalties)
        self.catch_up = CatchUp(self.client, self.peers, self, timing, self._sync_start, self.status)
        self.book = PeerBook(GENESIS)
        services = ChainServices(
            self.chain, self.status, self.catch_up.hear_status, self.book, lambda: PeersReply(()), clock, rng
        )
        self.server = RequestServer(transport, NAMES, services.services(), self.penalties)
        self.server.register()
        self.exchange = Exchange(
            transport,
            NAMES,
            self,
            self._deliver,
            self.penalties,
            rng,
            digest=DIGEST,
            tick=tick,
            behind=lambda peer, era: self._wants_sync.set(),
        )
        self.exchange.register()
        self.gossip = Gossip(
            transport, NAMES, Validators(self, clock, self.penalties), self.client, self.penalties, digest=DIGEST
        )
        self.gossip.subscribe()
        self.fetcher = BlockFetcher(self.client, transport.connected, self._block_arrived, self.penalties, rng)
        self._inbox_in, self._inbox_out = trio.open_memory_channel[Event](1000)
        self._wants_sync = trio.Event()
        self._first_seen: dict[Hash32, float] = {}
        self.finality_seconds: list[float] = []
        """Own receipt or sealing of a block to its finality here."""

    # --- ConsensusView ----------------------------------------------------------------------------------------------

    vote_domain = DOMAIN
    transaction_domain = TX_DOMAIN
    previous_transaction_domain = None

    @property
    def era(self) -> Era:
        return self.engine.era

    @property
    def view(self) -> View:
        return self.engine.view

    @property
    def finalised_view(self) -> View:
        return self.engine.finalised_view

    def authorities(self, era: Era) -> AuthoritySet | None:
        return self.chain.sets.get(era)

    def finality(self, era: Era) -> Certificate | None:
        if era == self.engine.era:
            return self.engine.finality
        proof = self.chain.boundary_proof(era)
        return None if proof is None else proof[1]

    # --- running ----------------------------------------------------------------------------------------------------

    @property
    def height(self) -> int:
        return len(self.chain.blocks)

    def status(self) -> Status:
        return status_of(self.chain, era=self.engine.era)

    async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        opening = BlockRef(GENESIS, Height(0), Slot(0), GENESIS)
        context = EraContext(Era(0), self.chain.sets[0], opening)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await self._handle(Restarted(context, opening, View(0), None, (), (), ()))
            await nursery.start(self.transport.run)
            await nursery.start(self.exchange.run)
            await nursery.start(self.gossip.run)
            await nursery.start(self.fetcher.run)
            for task in (self._drive, self._greet, self._sync, self._proposals, self._certificates):
                nursery.start_soon(task)
            task_status.started()

    async def _drive(self) -> None:
        async for event in self._inbox_out:
            await self._handle(event)

    async def _handle(self, event: Event) -> None:
        for effect in self.engine.handle(event, self.clock.now()):
            await self._apply(effect)
        self.exchange.prune()

    async def _greet(self) -> None:
        while True:
            event = await self.transport.next_event()
            if isinstance(event, PeerConnected):
                self._nursery.start_soon(self._ask_and_sync, event.peer)
            else:
                self.peers.left(event.peer)

    async def _ask_and_sync(self, peer: PeerId) -> None:
        await self.catch_up.ask_status(peer)
        if self.catch_up.is_behind():
            self._wants_sync.set()

    async def _sync(self) -> None:
        while True:
            await self._wants_sync.wait()
            self._wants_sync = trio.Event()
            for peer in self.transport.connected():
                await self.catch_up.ask_status(peer)
            try:
                await self.catch_up.run_once()
            except RangeFailed:
                await trio.sleep(1)

    async def _proposals(self) -> None:
        while True:
            received = await self.gossip.validators.proposals.get()
            block = received.proposal.block
            self._keep(block)
            self.exchange.offer(received.proposal.signed)
            await self._inbox_in.send(ProposalSeen(received.proposal.signed, block.header))

    async def _certificates(self) -> None:
        while True:
            await self._inbox_in.send(CertificateSeen(await self.gossip.validators.certificates.get()))

    async def _deliver(self, items: Sequence[Item], peer: PeerId) -> None:
        for item in items:
            event = StatementSeen(item) if isinstance(item, SignedStatement) else CertificateSeen(item)
            await self._inbox_in.send(event)

    async def _block_arrived(self, block: Block, peer: PeerId) -> None:
        self._keep(block)
        await self._inbox_in.send(BlockArrived(block.header))

    def _keep(self, block: Block) -> None:
        self.chain.pending[block.hash] = block
        self._first_seen.setdefault(block.hash, trio.current_time())
        self.fetcher.drop(block.hash)

    # --- effects ----------------------------------------------------------------------------------------------------

    async def _apply(self, effect: Any) -> None:
        match effect:
            case SetTimer(timer, at):
                self._nursery.start_soon(self._fire, TimerFired(timer), at)
            case CastVote(words, _):
                await self._cast(words)
            case OfferStatement(signed):
                self.exchange.offer(signed)
            case PersistCertificate(certificate):
                self.exchange.offer(certificate)
            case Execute(header, _):
                await self._inbox_in.send(BlockExecuted(block_hash(header)))
            case Build(view, parent, slot):
                await self._inbox_in.send(BlockBuilt(view, self._build(view, parent, slot)))
            case RequestBlock(name):
                if name in self.chain.pending:
                    await self._inbox_in.send(BlockArrived(self.chain.pending[name].header))
                else:
                    self.fetcher.want(name)
            case CancelRequest(name):
                self.fetcher.drop(name)
            case RequestCertificates(era, views):
                self._nursery.start_soon(self._fetch_certificates, era, views)
            case Finalise(certificate, _, chain):
                await self._finalise(certificate, chain)
            case ReportEvidence(evidence):
                await self.gossip.publish_evidence(evidence)
            case BehindFinality():
                self._wants_sync.set()
            case Halt(reason, certificates):
                raise AssertionError(f"halted: {reason} {certificates}")

    async def _fire(self, event: TimerFired, at: Micros) -> None:
        await trio.sleep(max(0, at - self.clock.now()) / 1_000_000)
        await self._inbox_in.send(event)

    async def _cast(self, words: Any) -> None:
        assert self.key is not None
        index = self.engine.context.authorities.index_of(AuthorityKey(self.key.public_key))
        assert index is not None
        signed = SignedStatement(words, index, self.key.sign(signing_digest(DOMAIN, words)))
        if words.kind is Kind.PROPOSE:
            proposal = Proposal(signed, self.chain.pending[words.block_hash])
            self._nursery.start_soon(self.gossip.publish_proposal, proposal)
            await self._inbox_in.send(ProposalSeen(signed, proposal.block.header))
        self.exchange.offer(signed)
        await self._inbox_in.send(StatementSeen(signed))

    def _build(self, view: View, parent: BlockRef, slot: Slot) -> Header:
        era = self.engine.era
        body = Body(None, (), (b"%d/%d" % (parent.height + 1, slot),))
        is_boundary = parent.height + 1 == self.timing.boundary_of(era)
        header = Header(
            rules_version=1,
            height=Height(parent.height + 1),
            era=era,
            slot=slot,
            parent_hash=parent.hash,
            proposer_index=self.engine.leader_of(view),
            tx_root=tx_root(body),
            results_root=ZERO_HASH,
            state_root=digest(Domain.NODE, parent.hash),
            authorities_hash=self.engine.context.authorities.hash,
            next_authorities_hash=self.chain.next_set(era).hash if is_boundary else NO_SET,
            commit_root=commit_root(body),
            signal=1,
        )
        self._keep(Block(header, body))
        return header

    async def _fetch_certificates(self, era: Era, views: Sequence[View]) -> None:
        peers = self.transport.connected()
        for certificate in await fetch_certificates(self.client, peers, self, self.penalties, era, views):
            await self._inbox_in.send(CertificateSeen(certificate))

    async def _finalise(self, certificate: Certificate, chain: Sequence[Hash32]) -> None:
        for name in chain:
            block = self.chain.pending.pop(name)
            self.chain.append(block)
            self.finality_seconds.append(trio.current_time() - self._first_seen.pop(name))
        last = self.chain.blocks[-1]
        self.chain.certificates[last.header.height] = certificate
        if self.key is not None and certificate.statement.view % 4 == self.engine.leader_of(View(1)):
            self._nursery.start_soon(self.gossip.publish_certificate, certificate)
        context = self._next_context()
        if context is not None:
            await self._inbox_in.send(EraOpened(context))

    def _next_context(self) -> EraContext | None:
        """The next era when F is a boundary."""
        last = self.chain.blocks[-1].header
        if last.height != self.timing.boundary_of(last.era):
            return None
        following = Era(last.era + 1)
        return EraContext(following, self.chain.sets[following], BlockRef.of(last, block_hash(last)))

    # --- ChainSink and sync start -----------------------------------------------------------------------------------

    def _sync_start(self) -> tuple[Height, Span]:
        height = self.height
        era = Era(self.timing.era_of(height + 1))
        return Height(height), Span(Height(height + 1), era, DOMAIN, self.chain.sets[era])

    async def apply_range(self, blocks: Sequence[Block], certificate: Certificate, authorities: AuthoritySet) -> None:
        fresh = [block for block in blocks if block.header.height > self.height]
        for block in fresh:
            self.chain.append(block)
            self.chain.pending.pop(block.hash, None)
        if not fresh:
            return
        last = fresh[-1].header
        self.chain.certificates[last.height] = certificate
        reference = BlockRef.of(last, block_hash(last))
        following = self._next_context()
        if following is not None:
            await self._inbox_in.send(SyncAdvanced(following, reference, View(0), None))
            return
        boundary = self.timing.boundary_of(last.era - 1)
        opening = (
            BlockRef(GENESIS, Height(0), Slot(0), GENESIS)
            if last.era == 0
            else BlockRef.of(self.chain.blocks[boundary - 1].header, self.chain.hash_at(boundary))
        )
        context = EraContext(last.era, self.chain.sets[last.era], opening)
        await self._inbox_in.send(SyncAdvanced(context, reference, certificate.statement.view, certificate))


def memory_node(
    network: MemoryNetwork, name: str, authorities: AuthoritySet, key: KeyPair | None, timing: Timing, seed: int
) -> ProtocolNode:
    """A node on a memory transport whose clock runs with trio's."""
    transport = MemoryTransport(network, PeerId(name))
    return ProtocolNode(transport, authorities, key, timing, VirtualClock(timing.genesis_time), seed=seed)
