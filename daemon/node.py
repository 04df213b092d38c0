"""One peer: assembles engine, driver, network, sync, mempool and stores, and runs them in one nursery.

The same assembly runs in production, in tests in virtual time and in simulations: time, randomness, disk, threads and
sockets come in from outside (DESIGN decision 15). What the parts may not survive, the peer does not: any exception
ends the nursery and with it the process (decision 14).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import trio

from .. import __version__
from ..consensus.authority import AuthoritySet
from ..consensus.block import decode_body
from ..consensus.certificate import Certificate
from ..consensus.engine import Engine
from ..consensus.evidence import Evidence
from ..consensus.rules.interface import BlockContext
from ..consensus.signature import KeyPair
from ..consensus.state.state import State
from ..consensus.statement import VoteDomain
from ..consensus.transaction import TransactionDomain, fork_digest
from ..consensus.types import AuthorityKey, Era, Height, Micros
from ..consensus.vote_guard import may_sign
from ..protocols.bootstrap import Anchor
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
from ..protocols.sync.sync_peers import SyncPeers
from ..protocols.transport import Transport
from ..storage.authority_key import Authority
from ..storage.index import IndexStore
from ..storage.peers import PeerStore
from .admission import Admission, Verdict
from .chain_home import OpenedChain, era_context, restart_event
from .chain_reader import ServedChain
from .chain_sync import ChainSync
from .consensus_view import RunningConsensus
from .driver import Driver
from .epoch_records import keep_epochs, without_records
from .execution import ExecutionLane, Flushes, Runner
from .final_reports import FinalReport, FinalReports
from .finality import FinalityTimes
from .guarded_key import GuardedKey
from .logging import get_logger
from .mempool import Mempool
from .network_link import NetworkLink
from .outcomes import RecentOutcomes
from .own_transactions import OwnTransactions
from .peer_service import PeerService
from .pool_state import StatePoolState, following_context
from .transaction_index import catch_up_index, index_blocks

if TYPE_CHECKING:
    from trio_typing import TaskStatus

LISTEN_SLOTS: Final = 2
"""Slots an authority that has signed before listens for a second signer of its key (CHAIN 1.3)."""

LEAST_LISTENING: Final = 3_000_000
"""Microseconds it listens at least: neighbours are dialled and an exchange is opened before there is a word to hear."""

QUOTA_SLOT: Final = 12_000_000
"""Slot length in microseconds for which the request quotas of CHAIN 2.1 are meant; faster chains serve more."""


KEPT_BODIES: Final = 30 * 86_400 * 1_000_000
"""Microseconds for which block bodies are kept unless the peer is an archive (CHAIN 4.5): what a joiner may lag."""

PRUNE_EVERY: Final = 256
"""Blocks between looks at what is too old."""


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
    trusted: tuple[Anchor, ...] = ()
    """Blocks that the chain must contain: what the operator vouches for beside the genesis."""
    hotkey: KeyPair | None = None
    """Signs the heartbeats of the authority."""
    archive: bool = False
    """Keep every block body."""
    listen_first: bool = True
    """False only where nobody else can hold the key: tests that own the whole world."""


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
        own_transactions: OwnTransactions | None = None,
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
        self.index = index
        self._own_transactions = own_transactions
        self._surroundings = surroundings
        self._log = get_logger("peer")
        spec, store = opened.spec, opened.store
        self.vote_domain = VoteDomain(opened.genesis_hash)
        self.digest = fork_digest(opened.genesis_hash, spec.rules_version, self.vote_domain.restart_hash)
        self.transaction_domain = TransactionDomain(opened.genesis_hash, self.digest)
        self._following: BlockContext | None = None
        self.pool_state = StatePoolState(self._ground)
        self.mempool = Mempool(self.transaction_domain, spec, self.pool_state)
        opened.working.verified = self.mempool.is_verified
        self.flushes = Flushes()
        self._reports = FinalReports()
        self.lane = ExecutionLane(opened.working, store, surroundings.lane_runner, self._reports, self.flushes)
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
            transport, self.gossip, self.requests, self.enforcer, self.view, surroundings.rng, lambda: self.sync.want()
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
            behind=lambda peer, era: self.sync.want(),
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
        self.sync = ChainSync(
            opened,
            self.lane,
            self.driver,
            self.vote_domain,
            self.requests,
            self.peers,
            sync_peers,
            self.own_status,
            settings.trusted,
        )
        self.on_final: list[Callable[[FinalReport], None]] = []
        """Told of every finalisation, after mempool and index have taken it; must not raise or block."""
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
            pace=max(1, QUOTA_SLOT // spec.slot_length),
        )

    # --- life -------------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled. Raises what must end a peer: StorageError, ConsensusHalted, a failed transport."""
        self.request_server.register()
        self.exchange.register()
        self.gossip.subscribe()
        await self.lane.run(self._fill_pool)
        index = self.index
        if index is not None:
            await self.lane.run(lambda: catch_up_index(index, self.opened.store, self.transaction_domain))
        for address in self.settings.bootstrap:
            self.peers.want(address)
        async with trio.open_nursery() as nursery:
            await nursery.start(self.transport.run)
            nursery.start_soon(self.peers.run)
            await nursery.start(self.link.run, self._take_transaction)
            nursery.start_soon(self._digest_reports)
            nursery.start_soon(self.sync.run)
            nursery.start_soon(self._reoffer_own_transactions)
            task_status.started()
            await self.driver.run(self.link)

    def _must_listen(self) -> bool:
        """Whether this key has signed before: a copy of it may be at work elsewhere."""
        authority = self.authority
        if authority is None or not self.settings.listen_first:
            return False
        genesis_hash, restart_hash = self.opened.genesis_hash, self.vote_domain.restart_hash
        context = era_context(self.opened.store, self.opened.spec)
        has_signed = (
            authority.guard.floor(genesis_hash, restart_hash) is not None
            or authority.guard.load(genesis_hash, restart_hash, context.era).own_statements != ()
        )
        return has_signed and len(context.authorities.members) > 1

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
            duration = max(LISTEN_SLOTS * timing.slot_length, LEAST_LISTENING)
            self._log.info("listening for a second signer before voting", seconds=duration / 1_000_000)
            self.listens_until = Micros(self.clock.now() + duration)
            first = replace(first, listens_until=self.listens_until)
        own_key = None
        if authority is not None:
            runner = self._surroundings.guard_runner
            own_key = GuardedKey(authority.key, authority.guard, self.vote_domain, runner, self.flushes)
        driver = Driver(
            engine=engine,
            first=first,
            lane=self.lane,
            own_key=own_key,
            clock=self.clock,
            candidates=self.mempool,
            times=self.times,
        )
        if guard is not None:
            for block in guard.load(self.opened.genesis_hash, self.vote_domain.restart_hash, first.context.era).blocks:
                driver.pool.pin(block)
        self.view.attach(engine)
        self.link.connect(driver)
        return driver

    # --- transactions -----------------------------------------------------------------------------------------------

    def _fill_pool(self) -> None:
        """Inside the lane: stand on F and take in again what was submitted here before the last end."""
        self.pool_state.refresh()
        if self._own_transactions is not None:
            for data in self._own_transactions.load():
                self.mempool.admit(data, own=True)

    async def submit(self, data: bytes) -> Admission:
        """Take in a transaction of this machine; one that enters is kept over a restart and gossiped until it is in."""

        def work() -> Admission:
            admission = self.mempool.admit(data, own=True)
            self._keep_own_transactions()
            return admission

        admission = await self.lane.run(work)
        if admission.verdict is Verdict.ACCEPT:
            self.gossip.offer_transaction(data)
        return admission

    def _keep_own_transactions(self) -> None:
        if self._own_transactions is not None:
            self._own_transactions.save(self.mempool.own())

    async def _take_transaction(self, received: ReceivedTransaction) -> None:
        domain = self.transaction_domain
        await self.lane.run(lambda: self.mempool.admit(received.data, verified_for=domain))

    async def _reoffer_own_transactions(self) -> None:
        """Own transactions are gossiped again until they are in: a lost message must not lose them."""
        while True:
            await trio.sleep(2 * self.opened.spec.slot_length / 1_000_000 + 1)
            for data in self.mempool.own():
                self.gossip.offer_transaction(data)

    def _ground(self) -> tuple[State, BlockContext]:
        """What the pool asks about: the state at F as it is now, and the block after it. Inside the lane only."""
        working, spec = self.opened.working, self.opened.spec
        following = self._following
        if following is None or following.parent_hash != working.finalised.hash:
            following = self._following = following_context(
                spec,
                self.opened.genesis_hash,
                self.transaction_domain,
                self.vote_domain,
                working.finalised,
                era_context(self.opened.store, spec).authorities,
            )
        return working.state_at_finalised(), following

    # --- finality ---------------------------------------------------------------------------------------------------

    async def _digest_reports(self) -> None:
        """Mempool, index and watchers learn of final blocks in order, beside consensus."""
        while True:
            report = await self._reports.get()
            included = await self.lane.run(lambda report=report: self._take_final(report))  # type: ignore[misc]
            self.driver.evidence.drop(included, report.blocks[-1].header.era - self.opened.spec.evidence_eras)
            self.epochs_run += sum(len(block.outcome.epochs) for block in report.blocks)
            for watcher in self.on_final:
                watcher(report)

    def _take_final(self, report: FinalReport) -> list[Evidence]:
        """Inside the lane. Gives the evidence that the blocks included."""
        bodies = [decode_body(block.body) for block in report.blocks]
        last = report.blocks[-1]
        self.mempool.after_block([data for body in bodies for data in body.transactions], last.header.height)
        if last.outcome.next_authorities is not None:
            self.mempool.new_era()
        self._keep_own_transactions()
        for block in report.blocks:
            self.outcomes.add(block.header.height, without_records(block.outcome))
        if self.index is not None:
            index_blocks(self.index, self.transaction_domain, report.blocks)
            keep_epochs(self.index, report.blocks, archive=self.settings.archive)
        if (
            not self.settings.archive
            and last.header.height // PRUNE_EVERY > (report.blocks[0].header.height - 1) // PRUNE_EVERY
        ):
            self._prune(last.header.height)
        return [evidence for body in bodies for evidence in body.evidence]

    def _prune(self, height: Height) -> None:
        """Inside the lane: forget the bodies that are too old; headers stay for ever."""
        keep_from = height - KEPT_BODIES // self.opened.spec.slot_length
        if keep_from > self.opened.store.earliest_body():
            self.opened.store.prune(Height(keep_from))

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
