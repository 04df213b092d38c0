"""One peer: assembles engine, driver, network, sync, mempool and stores, and runs them in one nursery.

The same assembly runs in production, in tests in virtual time and in simulations: time, randomness, disk, threads and
sockets come in from outside (DESIGN decision 15). What the parts may not survive, the peer does not: any exception
ends the nursery and with it the process (decision 14).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import trio

from .. import __version__
from ..consensus.authority import AuthoritySet
from ..consensus.block import Block, decode_body
from ..consensus.certificate import Certificate
from ..consensus.effects import SyncAdvanced
from ..consensus.engine import Engine
from ..consensus.signature import KeyPair
from ..consensus.statement import VoteDomain
from ..consensus.transaction import TransactionDomain, fork_digest
from ..consensus.types import AuthorityKey, Era, Height, Micros
from ..consensus.vote_guard import may_sign
from ..protocols.chain_services import ChainServices
from ..protocols.exchange import DEV_EXCHANGE_TICK, EXCHANGE_TICK, Exchange
from ..protocols.gossip import Gossip
from ..protocols.gossip_validators import ReceivedTransaction, Validators
from ..protocols.interfaces import Clock
from ..protocols.messages import Status
from ..protocols.names import NetworkNames
from ..protocols.peer_ledger import PeerLedger
from ..protocols.peer_records import PeerBook
from ..protocols.penalties import LedgerEnforcer
from ..protocols.request_server import RequestServer
from ..protocols.requests import RequestClient
from ..protocols.sync.catch_up import CatchUp
from ..protocols.sync.proven_sets import Span
from ..protocols.sync.range import RangeFailed
from ..protocols.sync.sync_peers import SyncPeers
from ..protocols.transport import Transport
from ..storage.authority_key import Authority
from ..storage.index import IndexStore
from ..storage.peers import PeerStore
from .chain_home import OpenedChain, era_context, finalised_in, restart_event
from .chain_reader import ServedChain
from .consensus_view import RunningConsensus
from .driver import Driver, FinalReport
from .execution import ExecutionLane, Runner
from .finality import FinalityTimes
from .logging import get_logger
from .mempool import Mempool
from .network_link import NetworkLink
from .outcomes import RecentOutcomes
from .peer_service import PeerService
from .pool_state import StatePoolState, following_context
from .transaction_index import catch_up_index, index_blocks

if TYPE_CHECKING:
    from trio_typing import TaskStatus

LISTEN_SLOTS: Final = 2
"""Slots an authority that has signed before listens for a second signer of its key (CHAIN 1.3)."""

SYNC_RETRY: Final = 2.0
"""Seconds between looks at whether others are ahead, and after a failed round."""

_REPORTS: Final = 256


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a peer gets from outside."""

    clock: Clock
    rng: random.Random
    lane_runner: Runner
    guard_runner: Runner


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """What an operator chose."""

    name: str = "peer"
    bootstrap: tuple[str, ...] = ()
    """Multiaddresses with `/p2p/`, kept connected."""
    announce: tuple[str, ...] = ()
    hotkey: KeyPair | None = None
    """Signs the heartbeats of the authority."""
    listen_first: bool = True
    """False only where nobody else can hold the key: tests that own the whole world."""


@dataclass(slots=True)
class SyncState:
    """Where a running catch-up stands, for status and progress."""

    target: Height | None = None
    wanted: trio.Event = field(default_factory=trio.Event)


class Peer:
    """See the module text. Build, then `run`."""

    def __init__(
        self,
        opened: OpenedChain,
        transport: Transport,
        peer_key: KeyPair,
        surroundings: Surroundings,
        settings: PeerSettings,
        authority: Authority | None = None,
        peer_store: PeerStore | None = None,
        index: IndexStore | None = None,
        ledger: PeerLedger | None = None,
    ) -> None:
        self.opened = opened
        self.settings = settings
        self.authority = authority
        self.transport = transport
        self.clock = surroundings.clock
        self.started = surroundings.clock.now()
        self.listens_until = Micros(0)
        """Until then the own authority key only listens for a second signer (CHAIN 1.3)."""
        self.epochs_run = 0
        self.outcomes = RecentOutcomes()
        self.times = FinalityTimes()
        self.sync = SyncState()
        self.index = index
        self._surroundings = surroundings
        self._log = get_logger("peer")
        spec, store = opened.spec, opened.store
        self.vote_domain = VoteDomain(opened.genesis_hash)
        self.digest = fork_digest(opened.genesis_hash, spec.rules_version, self.vote_domain.restart_hash)
        self.transaction_domain = TransactionDomain(opened.genesis_hash, self.digest)
        self.pool_state = StatePoolState()
        self.mempool = Mempool(self.transaction_domain, spec, self.pool_state)
        self.lane = ExecutionLane(opened.working, store, surroundings.lane_runner)
        self.view = RunningConsensus(
            spec.timing,
            self.vote_domain,
            self.transaction_domain,
            spec.evidence_eras,
            self._stored_set,
            self._boundary_certificate,
        )
        names = NetworkNames.of(opened.genesis_hash)
        self.enforcer = LedgerEnforcer(ledger or PeerLedger(self.clock), transport)
        self.requests = RequestClient(transport, names, self.enforcer)
        self.validators = Validators(self.view, self.clock, self.enforcer, gate=self.mempool)
        self.gossip = Gossip(transport, names, self.validators, self.requests, self.enforcer, digest=self.digest)
        self.link = NetworkLink(
            transport, self.gossip, self.requests, self.enforcer, self.view, surroundings.rng, self._want_sync
        )
        self.driver = self._make_driver()
        self.exchange = Exchange(
            transport,
            names,
            self.view,
            self.link.deliver,
            self.enforcer,
            surroundings.rng,
            digest=self.digest,
            tick=DEV_EXCHANGE_TICK if spec.profile == "dev" else EXCHANGE_TICK,
            behind=lambda peer, era: self._want_sync(),
        )
        self.link.exchange = self.exchange
        self.book = PeerBook(opened.genesis_hash)
        sync_peers = SyncPeers(surroundings.rng, self.enforcer)
        self.peers = PeerService(
            transport,
            self.requests,
            self.enforcer,
            self.book,
            peer_store,
            peer_key,
            self.clock,
            surroundings.rng,
            self.own_status,
            sync_peers,
            settings.announce,
        )
        self._catch_up = CatchUp(
            self.requests,
            sync_peers,
            self,
            spec.timing,
            self._sync_start,
            self.own_status,
            on_progress=lambda progress: self.on_sync_progress(progress.stage.value, progress.done, progress.total),
        )
        self.on_sync_progress: Callable[[str, int, int], None] = lambda stage, done, total: None
        self.on_final: list[Callable[[FinalReport], None]] = []
        """Told of every finalisation, after mempool and index have taken it; must not raise or block."""
        self._reports, self._to_digest = trio.open_memory_channel[FinalReport](_REPORTS)
        self.served = ServedChain(store, lambda: self.driver.engine, lambda: self.driver.pool, self.mempool.get)
        self.request_server = RequestServer(
            transport,
            names,
            ChainServices(
                self.served,
                self.own_status,
                self.peers.hear,
                self.book,
                self.peers.own_records,
                self.clock,
                surroundings.rng,
            ).services(),
            self.enforcer,
        )

    # --- life -------------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled. Raises what must end a peer: StorageError, ConsensusHalted, a failed transport."""
        self.request_server.register()
        self.exchange.register()
        self.gossip.subscribe()
        await self._stand_pool_on_final()
        index = self.index
        if index is not None:
            await self.lane.run(lambda: catch_up_index(index, self.opened.store, self.transaction_domain))
        for address in self.settings.bootstrap:
            self.peers.want(address)
        async with trio.open_nursery() as nursery:
            await nursery.start(self.transport.run)
            nursery.start_soon(self.peers.run)
            nursery.start_soon(self.link.run, self._take_transaction)
            nursery.start_soon(self._digest_reports)
            nursery.start_soon(self._keep_synced)
            nursery.start_soon(self._reoffer_own_transactions)
            task_status.started()
            await self.driver.run(self.link)

    def _must_listen(self) -> bool:
        """Whether this key has signed before: a copy of it may be at work elsewhere."""
        authority = self.authority
        if authority is None or not self.settings.listen_first:
            return False
        genesis_hash, restart_hash = self.opened.genesis_hash, self.vote_domain.restart_hash
        if authority.guard.floor(genesis_hash, restart_hash) is None:
            return False
        context = era_context(self.opened.store, self.opened.spec)
        return len(context.authorities.members) > 1

    def _make_driver(self) -> Driver:
        authority = self.authority
        timing = self.opened.spec.timing
        engine = Engine(
            timing,
            None if authority is None else AuthorityKey(authority.key.public_key),
            lambda context: authority is not None and not may_sign(authority.guard.born, context.opening.slot, timing),
        )
        guard = None if authority is None else authority.guard
        first = restart_event(self.opened.store, self.opened.spec, guard)
        if self._must_listen():
            seconds = LISTEN_SLOTS * self.opened.spec.slot_length / 1_000_000
            self._log.info("listening for a second signer before voting", seconds=seconds)
            self.listens_until = Micros(self.clock.now() + LISTEN_SLOTS * timing.slot_length)
            first = replace(first, listens_until=self.listens_until)
        driver = Driver(
            engine=engine,
            first=first,
            lane=self.lane,
            guard=guard,
            guard_runner=self._surroundings.guard_runner,
            key=None if authority is None else authority.key,
            domain=self.vote_domain,
            clock=self.clock,
            candidates=self._candidates,
            on_final=self._on_final,
            times=self.times,
        )
        if guard is not None:
            for block in guard.load(self.opened.genesis_hash, self.vote_domain.restart_hash, first.context.era).blocks:
                driver.pool.pin(block)
        self.view.attach(engine)
        self.link.connect(driver)
        return driver

    # --- transactions -----------------------------------------------------------------------------------------------

    def _candidates(self) -> Sequence[bytes]:
        return self.mempool.candidates(512 * 1024)

    async def _take_transaction(self, received: ReceivedTransaction) -> None:
        domain = self.transaction_domain
        await self.lane.run(lambda: self.mempool.admit(received.data, verified_for=domain))

    async def _reoffer_own_transactions(self) -> None:
        """Own transactions are gossiped again until they are in: a lost message must not lose them."""
        while True:
            await trio.sleep(2 * self.opened.spec.slot_length / 1_000_000 + 1)
            for data in self.mempool.own():
                self.gossip.offer_transaction(data)

    async def _stand_pool_on_final(self) -> None:
        spec, store = self.opened.spec, self.opened.store

        def work() -> None:
            context = era_context(store, spec)
            self.pool_state.stand_on(
                self.opened.working.state_at_finalised(),
                following_context(
                    spec,
                    self.opened.genesis_hash,
                    self.transaction_domain,
                    self.vote_domain,
                    self.opened.working.finalised,
                    context.authorities,
                ),
            )

        await self.lane.run(work)

    # --- finality ---------------------------------------------------------------------------------------------------

    def _on_final(self, report: FinalReport) -> None:
        self._reports.send_nowait(report)

    async def _digest_reports(self) -> None:
        """Mempool, index and watchers learn of final blocks in order, beside consensus."""
        async for report in self._to_digest:
            await self._stand_pool_on_final()
            await self.lane.run(lambda report=report: self._take_final(report))  # type: ignore[misc]
            self.epochs_run += sum(len(block.outcome.epochs) for block in report.blocks)
            for watcher in self.on_final:
                watcher(report)

    def _take_final(self, report: FinalReport) -> None:
        included = [decode_body(block.body).transactions for block in report.blocks]
        last = report.blocks[-1]
        self.mempool.after_block([data for body in included for data in body], last.header.height)
        if last.outcome.next_authorities is not None:
            self.mempool.new_era()
        for block in report.blocks:
            self.outcomes.add(block.header.height, block.outcome)
        if self.index is not None:
            index_blocks(self.index, self.transaction_domain, report.blocks)

    # --- sync -------------------------------------------------------------------------------------------------------

    async def apply_range(self, blocks: Sequence[Block], certificate: Certificate, authorities: AuthoritySet) -> None:
        """`ChainSink`: execute and finalise proven blocks, then tell the engine. Raises BadBlock."""
        done = await self.lane.apply_final(blocks, certificate, authorities)
        if not done:
            return
        context = era_context(self.opened.store, self.opened.spec)
        finalised, view, finality = finalised_in(self.opened.store, context)
        await self.driver.advance_by_sync(SyncAdvanced(context, finalised, view, finality), certificate)
        await self._reports.send(FinalReport(done, certificate))

    def _want_sync(self) -> None:
        self.sync.wanted.set()

    async def _keep_synced(self) -> None:
        """Catch up whenever somebody proves to be ahead."""
        while True:
            with trio.move_on_after(SYNC_RETRY):
                await self.sync.wanted.wait()
            wanted, self.sync.wanted = self.sync.wanted.is_set(), trio.Event()
            if wanted:
                await self.peers.refresh()
            if not self._catch_up.is_behind():
                continue
            try:
                await self._catch_up.run_once()
            except RangeFailed as error:
                self._log.warning("sync round failed", reason=error.message)
                await trio.sleep(SYNC_RETRY)
            finally:
                self.sync.target = None

    def _sync_start(self) -> tuple[Height, Span]:
        context = era_context(self.opened.store, self.opened.spec)
        height = self.opened.store.finalised().height
        return height, Span(Height(height + 1), context.era, self.vote_domain, context.authorities)

    # --- what others read -------------------------------------------------------------------------------------------

    def own_status(self) -> Status:
        """What this peer says about itself (CHAIN 2.1)."""
        store = self.opened.store
        point = store.finalised()
        head = self.driver.engine.head
        return Status(
            genesis_hash=self.opened.genesis_hash,
            restart_hash=self.vote_domain.restart_hash,
            fork_digest=self.digest,
            rules_version=self.opened.spec.rules_version,
            era=Era(self.opened.spec.timing.era_of(point.height + 1)),
            finalised_height=point.height,
            finalised_hash=point.hash,
            finalised_view=point.view,
            head_height=head.height,
            head_hash=head.hash,
            earliest_header=Height(1),
            earliest_body=store.earliest_body(),
            snapshots=(),
            time=self.clock.now(),
            agent=f"yumad/{__version__}",
        )

    def _stored_set(self, era: Era) -> AuthoritySet | None:
        record = self.opened.store.era_record(era)
        return None if record is None else record.authorities

    def _boundary_certificate(self, era: Era) -> Certificate | None:
        proof = self.opened.store.boundary_proof(era)
        return None if proof is None else proof[1]
