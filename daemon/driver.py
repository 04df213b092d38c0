"""The consensus driver: feeds the engine one event at a time and applies its effects in order (CHAIN 1.4).

Persist first: a vote's bytes leave only after the guard has flushed them, with the block's body in the same flush (R9).
Execution, building and finalising run beside the driver and come back as events, so timers are always served. A failure
here ends the process: fail-stop is part of the safety argument (DESIGN decision 14).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import trio

from ..consensus.authority import AuthoritySet
from ..consensus.block import Block, Proposal
from ..consensus.certificate import Certificate, encode_certificate
from ..consensus.effects import (
    AbandonExecution,
    BehindFinality,
    BlockArrived,
    BlockBuilt,
    BlockExecuted,
    BlockFailed,
    BlockRef,
    Build,
    CancelRequest,
    CastVote,
    Effect,
    EraContext,
    EraOpened,
    Event,
    Execute,
    ExecutionFailure,
    Finalise,
    Halt,
    OfferStatement,
    PersistCertificate,
    ProposalSeen,
    ReportEvidence,
    RequestBlock,
    RequestCertificates,
    Restarted,
    SecondSigner,
    SetTimer,
    StatementSeen,
    SyncAdvanced,
    TimerFired,
    ViewEntered,
)
from ..consensus.engine import Engine
from ..consensus.header import Header, block_hash
from ..consensus.statement import Kind, SignedStatement
from ..consensus.types import Era, Hash32, Height, InvalidError, View, YumadError
from ..consensus.working_chain import UnknownParentError
from ..protocols.interfaces import Clock
from .block_pool import BlockPool
from .chain_home import StandingPoint
from .consensus_network import Network
from .evidence_pool import EvidencePool
from .execution import Candidates, ExecutionLane
from .finality import FinalityTimes
from .guarded_key import GuardedKey
from .logging import get_logger
from .timers import Timers

INBOX: Final = 4096
"""Events waiting for the engine. Senders wait when it is full, so a flood slows its reader and nothing is dropped."""

_FINALISING: Final = 1024
"""Finalisations waiting for the chain database; the engine is far ahead of a disk that lets so many gather."""

_ABANDONED: Final = 256


class ConsensusHalted(YumadError):
    """The engine found a contradiction or a differing root: the process must stop (R8, R3)."""

    code = "halted"


@dataclass(frozen=True, slots=True)
class _Execution:
    """An `Execute` effect with the authority set of the era in which it was given."""

    header: Header
    hash: Hash32
    must_succeed: bool
    authorities: AuthoritySet


class Driver:
    """One per peer. `run` until cancelled; every other method may be called from any task of the same loop."""

    def __init__(
        self,
        *,
        engine: Engine,
        first: Restarted,
        lane: ExecutionLane,
        own_key: GuardedKey | None,
        clock: Clock,
        candidates: Candidates,
        times: FinalityTimes,
    ) -> None:
        """`first` is what storage remembers; the engine hears it here, so it can be asked at once.

        `own_key` is None for a follower; `candidates` gives transactions for an own block."""
        self.engine = engine
        self.pool = BlockPool()
        self.times = times
        self.evidence = EvidencePool()
        self.entered: ViewEntered | None = None
        self._lane = lane
        self._own_key = own_key
        self._clock = clock
        self._candidates = candidates
        self._timers = Timers()
        self._abandoned: OrderedDict[Hash32, None] = OrderedDict()
        self._lacking: dict[Hash32, _Execution] = {}
        """Ordered executions whose body the pool gave up: they go on once it is fetched again."""
        self._listens_until = first.listens_until
        self._synced: deque[Certificate] = deque()
        """Certificates of the SyncAdvanced events that wait for the engine, in their order."""
        self._send, self._receive = trio.open_memory_channel[Event](INBOX)
        self._finalising, self._to_finalise = trio.open_memory_channel[Finalise](_FINALISING)
        self._log = get_logger("consensus")
        self._first_effects = engine.handle(first, clock.now())
        self._network: Network
        self._nursery: trio.Nursery

    # --- input ------------------------------------------------------------------------------------------------------

    async def post(self, event: Event) -> None:
        """Queue an event; waits while the queue is full."""
        await self._send.send(event)

    async def proposal_seen(self, proposal: Proposal) -> None:
        """A proposal passed R0."""
        self.pool.hold(proposal.block)
        self._resume(proposal.block)
        self.times.proposed(proposal.signed.statement.block_hash, self._clock.now())
        await self.post(ProposalSeen(proposal.signed, proposal.block.header))

    async def block_arrived(self, block: Block) -> None:
        """A block fetched by hash came, with a body that matches."""
        self.pool.pin(block)
        self.times.proposed(block.hash, self._clock.now())
        self._resume(block)
        await self.post(BlockArrived(block.header))

    def _resume(self, block: Block) -> None:
        lacking = self._lacking.pop(block.hash, None)
        if lacking is not None:
            self.pool.pin_held(block.hash)
            self._nursery.start_soon(self._execute, lacking)

    async def advance_by_sync(self, event: SyncAdvanced, certificate: Certificate) -> None:
        """Sync made blocks final without the engine; `certificate` is the one that did.

        Era and floor change only when the engine takes the event: until then it may vote where it stands, and the
        guard must not have moved past it.
        """
        self._synced.append(certificate)
        await self.post(event)

    # --- the loop ---------------------------------------------------------------------------------------------------

    async def run(self, network: Network) -> None:
        """Drive the engine until cancelled. Raises ConsensusHalted, StorageError or what else must stop a peer."""
        self._network = network
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._finalise_in_order)
            await self._apply_all(self._first_effects)
            while True:
                await self._handle(await self._next_event())

    async def _next_event(self) -> Event:
        while True:
            now = self._clock.now()
            due = self._timers.pop_due(now)
            if due is not None:
                return TimerFired(due)
            at = self._timers.next_at()
            with trio.move_on_after(float("inf") if at is None else (at - now) / 1_000_000):
                return await self._receive.receive()

    async def _handle(self, event: Event) -> None:
        match event:
            case SyncAdvanced():
                await self._take_sync(event, self._synced.popleft())
            case EraOpened(context):
                await self._open_era(StandingPoint(context, context.opening, View(0), None))
            case _:
                await self._apply_all(self.engine.handle(event, self._clock.now()))

    async def _take_sync(self, event: SyncAdvanced, certificate: Certificate) -> None:
        """The engine moves to the F that sync reached, and with it what stands beside it (R7, step 3)."""
        if event.context.era > self.engine.era:
            await self._open_era(StandingPoint(event.context, event.finalised, event.finalised_view, event.finality))
        else:
            await self._apply_all(self.engine.handle(event, self._clock.now()))
        self._forget_through(event.finalised.height)
        await self._raise_floor(certificate, event.finalised.height)
        self._network.passed(certificate, event.finalised.height)

    async def _open_era(self, point: StandingPoint) -> None:
        """Enter the era of `point`, unless it was entered already.

        What the guard knows of an era that this process never saw, because the chain folder was deleted or is an older
        one, the engine hears again: a key never contradicts itself.
        """
        if point.context.era <= self.engine.era:
            return
        event: Event = SyncAdvanced(point.context, point.finalised, point.view, point.finality)
        if self._own_key is not None:
            known = await self._own_key.remembered(point, self._listens_until)
            if known.own_statements or known.certificates or known.vote_floor:
                event = known
                await self._pin_guarded(self._own_key, known)
        effects = self.engine.handle(event, self._clock.now())
        self._network.era_changed(self.engine.context)
        await self._apply_all(effects)

    async def _pin_guarded(self, own_key: GuardedKey, known: Restarted) -> None:
        """Have the bodies at hand that this key vouched for (R9)."""
        for header in known.blocks:
            block = await own_key.block(block_hash(header))
            if block is not None:
                self.pool.pin(block)

    def _forget_through(self, height: Height) -> None:
        self.pool.prune(height)
        for name in [name for name, lacking in self._lacking.items() if lacking.header.height <= height]:
            del self._lacking[name]

    async def _apply_all(self, effects: Sequence[Effect]) -> None:
        """Apply effects in order, and then those of the events that can be answered at once."""
        answers: deque[Event] = deque()
        while True:
            for effect in effects:
                answer = await self._apply(effect)
                if answer is not None:
                    answers.append(answer)
            if not answers:
                return
            effects = self.engine.handle(answers.popleft(), self._clock.now())

    async def _apply(self, effect: Effect) -> Event | None:
        """Apply one effect; what can be answered at once (an own vote, a block at hand) is fed back next."""
        match effect:
            case SetTimer(timer, at):
                self._timers.set(timer, at)
            case CastVote():
                return await self._cast(effect)
            case OfferStatement(signed):
                self._network.offer(signed)
            case PersistCertificate(certificate):
                if self._own_key is not None:
                    await self._own_key.store_certificate(certificate)
                self._network.offer(certificate)
            case Execute(header, must_succeed):
                wanted = block_hash(header)
                self._abandoned.pop(wanted, None)
                self.pool.pin_held(wanted)
                execution = _Execution(header, wanted, must_succeed, self.engine.context.authorities)
                self._nursery.start_soon(self._execute, execution)
            case AbandonExecution(unwanted):
                self._abandoned[unwanted] = None
                if len(self._abandoned) > _ABANDONED:
                    self._abandoned.popitem(last=False)
            case Build():
                self._nursery.start_soon(self._build, effect, self.engine.context)
            case RequestBlock(wanted):
                block = self.pool.get(wanted)
                if block is not None:
                    self.pool.pin_held(wanted)
                    return BlockArrived(block.header)
                self._network.fetch_block(wanted)
            case CancelRequest(unwanted):
                self._network.drop_fetch(unwanted)
            case RequestCertificates(era, views):
                self._network.fetch_certificates(era, views)
            case Finalise():
                await self._finalising.send(effect)
            case ReportEvidence(evidence):
                if self.evidence.add(evidence):
                    self._nursery.start_soon(self._network.publish_evidence, evidence)
            case SecondSigner(signed):
                await self._second_signer(signed)
            case ViewEntered():
                self.entered = effect
            case BehindFinality(certificate):
                self._network.sync_to(certificate)
            case Halt(reason, certificates):
                for certificate in certificates:  # whole, since two that contradict each other are proof
                    self._log.error("certificate at the halt", bytes=encode_certificate(certificate).hex())
                raise ConsensusHalted(
                    f"consensus stopped: {reason} ({'; '.join(map(_in_words, certificates)) or 'no certificate'})",
                    remedy="keep this home as it is and compare `yumad verify` with other peers",
                )
        return None

    async def _cast(self, effect: CastVote) -> Event | None:
        own_key = self._own_key
        assert own_key is not None, "the engine of a follower cast a vote"
        index = self.engine.context.authorities.index_of(own_key.public_key)
        assert index is not None, "the engine voted with a key outside the set"
        block = None if effect.body_hash is None else self.pool.get(effect.body_hash)
        signed = await own_key.sign(effect.statement, index, block)
        if signed is None:
            return None  # below the guard's floor: to the engine the vote counts as cast
        self._network.offer(signed)
        if effect.statement.kind is Kind.PROPOSE and block is not None:
            self.times.proposed(effect.statement.block_hash, self._clock.now())
            self._nursery.start_soon(self._network.publish_proposal, Proposal(signed, block))
        return StatementSeen(signed)

    async def _raise_floor(self, certificate: Certificate, height: Height) -> None:
        if self._own_key is not None:
            await self._own_key.raise_floor(certificate, height)

    async def _second_signer(self, signed: SignedStatement) -> None:
        own_key = self._own_key
        if own_key is not None and await own_key.judge_foreign(self.engine.era, signed, self._clock.now()):
            self._log.error(
                "another process signs with this authority key; abstaining until a later era",
                era=self.engine.era,
                view=signed.statement.view,
            )

    # --- beside the loop --------------------------------------------------------------------------------------------

    async def _execute(self, order: _Execution) -> None:
        """Execute and tell the engine; nothing is said when F has passed the height or the engine changed its mind."""
        block = self.pool.get(order.hash)
        if block is None:
            self._lacking[order.hash] = order
            self._network.fetch_block(order.hash)
            return
        try:
            outcome = await self._lane.execute(
                block, order.authorities, is_wanted=lambda: order.hash not in self._abandoned
            )
        except UnknownParentError as error:  # says nothing about the block: its branch was dropped meanwhile
            await self._failed(order.hash, ExecutionFailure.RAISED, error.message, must_succeed=False)
        except InvalidError as error:
            await self._failed(order.hash, ExecutionFailure.REJECTED, error.message, order.must_succeed)
        except YumadError:
            raise
        except Exception as error:  # our own code failed on outside data: "cannot check" (R3)
            await self._failed(order.hash, ExecutionFailure.RAISED, repr(error), order.must_succeed)
        else:
            if outcome is not None:
                await self.post(BlockExecuted(order.hash))

    async def _failed(self, failed: Hash32, failure: ExecutionFailure, reason: str, must_succeed: bool) -> None:
        if must_succeed:
            raise ConsensusHalted(
                f"block {failed.hex()[:16]} has a quorum but fails here: {reason}",
                remedy="this peer's rules or state differ from the network's; run `yumad verify`",
            )
        self._log.warning("block refused", block=failed.hex()[:16], failure=failure.value, reason=reason)
        await self.post(BlockFailed(failed, failure, reason))

    async def _build(self, effect: Build, context: EraContext) -> None:
        own_key = self._own_key
        index = None if own_key is None else context.authorities.index_of(own_key.public_key)
        if index is None:
            return
        try:
            made = await self._lane.build(
                effect.parent,
                context.era,
                effect.slot,
                index,
                context.authorities,
                self._candidates,
                self._participation(Height(effect.parent.height + 1)),
                self.evidence.for_block(),
            )
        except InvalidError as error:  # the tip moved while the lane was busy: the view ends by its timer
            self._log.warning("no block built", view=effect.view, reason=error.message)
            return
        except YumadError:
            raise
        except Exception as error:  # our own code failed on what peers sent: the view ends by its timer (R3)
            self._log.error("building a block failed", view=effect.view, reason=repr(error))
            return
        self.pool.pin(made.block)
        await self.post(BlockBuilt(effect.view, made.block.header))

    def _participation(self, height: Height) -> Certificate | None:
        """What a body of `height` says about who takes part: the widest certificate at least two heights back."""
        records = [record for record in self.engine.finality_records() if record.block.height + 2 <= height]
        return records[-1].widest() if records else None

    async def _finalise_in_order(self) -> None:
        """R7: the certificate is in the guard; now the chain database commits, then the guard's floor rises.

        A block of F proposed again and final in a later view changes nothing on disk: its floor stays with the
        certificate that the chain database holds, or a lone authority could not reach its own view after a restart.
        """
        async for effect in self._to_finalise:
            done = await self._lane.finalise(effect.chain, effect.certificate)
            if not done:
                continue
            last, certificate = done[-1], effect.certificate
            self.times.finalised([block.hash for block in done], self._clock.now())
            await self._raise_floor(certificate, last.header.height)
            self._forget_through(last.header.height)
            self._network.passed(certificate, last.header.height)
            self._nursery.start_soon(self._network.publish_finality, certificate)
            if last.outcome.next_authorities is not None:
                opening = BlockRef.of(last.header, last.hash)
                following = EraContext(Era(last.header.era + 1), last.outcome.next_authorities, opening)
                await self.post(EraOpened(following))


def _in_words(certificate: Certificate) -> str:
    statement = certificate.statement
    named = "" if statement.kind is Kind.NULLIFY else f" of block {statement.block_hash.hex()[:16]}"
    signers = ", ".join(map(str, certificate.signers))
    return f"{statement.kind.name.lower()} certificate{named}, era {statement.era} view {statement.view}, by {signers}"
