"""One lane through the working chain: executing, building, finalising and reading never overlap (CHAIN 1.4, 4.2).

Work runs in a worker thread, so a long block delays no timer and no vote; a test in virtual time runs it inline.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import trio

from ..consensus.authority import AuthoritySet
from ..consensus.block import Block
from ..consensus.certificate import Certificate
from ..consensus.effects import BlockRef
from ..consensus.evidence import Evidence
from ..consensus.rules.interface import BlockOutcome
from ..consensus.types import Era, Hash32, InvalidError, Slot
from ..consensus.working_chain import FinalisedBlock, WorkingChain
from ..protocols.interfaces import BadBlock
from ..storage.chain import ChainStore
from .final_reports import FinalReport, FinalReports

T = TypeVar("T")


class Runner(Protocol):
    """Where blocking work runs."""

    async def run(self, work: Callable[[], T]) -> T:
        """The result of `work()`; whatever it raises."""
        ...


class ThreadRunner:
    """A worker thread for real peers; one at a time, so that its users need no lock of their own."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(1)

    async def run(self, work: Callable[[], T]) -> T:
        """Run in the thread; not cancelled half way."""
        return await trio.to_thread.run_sync(work, limiter=self._limiter)


class InlineRunner:
    """The same thread, for virtual time."""

    async def run(self, work: Callable[[], T]) -> T:
        """Run at once."""
        await trio.lowlevel.checkpoint()
        return work()


class Candidates(Protocol):
    """Where the transactions of an own block come from; asked inside the lane."""

    def best(self) -> Sequence[bytes]:
        """Transactions for a block, best first."""
        ...

    def note_skipped(self, skipped: Sequence[tuple[Hash32, str]]) -> None:
        """These were passed over, with the error's name."""
        ...


class Observer(Protocol):
    """Hears how long durable commits take."""

    def __call__(self, file: str, seconds: float) -> None:
        """One commit of `guard` or `store`."""
        ...


class Flushes:
    """Times of durable commits, for whoever listens."""

    def __init__(self) -> None:
        self.observer: Observer | None = None

    @contextmanager
    def timed(self, file: str) -> Iterator[None]:
        """Time what is written inside."""
        started = time.perf_counter()
        yield
        if self.observer is not None:
            self.observer(file, time.perf_counter() - started)


@dataclass(frozen=True, slots=True)
class Made:
    """A block built here, with what its execution gave."""

    block: Block
    outcome: BlockOutcome


class ExecutionLane:
    """The working chain and its store behind one first-come lane."""

    def __init__(
        self,
        chain: WorkingChain,
        store: ChainStore,
        runner: Runner,
        reports: FinalReports,
        flushes: Flushes | None = None,
    ) -> None:
        """`reports` hears of everything that becomes final, in the order of the chain."""
        self._flushes = flushes or Flushes()
        self._chain = chain
        self._store = store
        self._runner = runner
        self._reports = reports
        self._lane = trio.Lock()

    async def execute(
        self, block: Block, authorities: AuthoritySet, is_wanted: Callable[[], bool] = lambda: True
    ) -> BlockOutcome | None:
        """Execute a block on its parent's state. Raises InvalidError when it breaks a rule or its roots differ.

        None when, as the lane is reached, the block is no longer wanted or a block of its height is final: sync was
        faster, and the execution says nothing any more.
        """

        def work() -> BlockOutcome | None:
            if not is_wanted() or block.header.height <= self._chain.finalised.height:
                return None
            return self._chain.execute(block, authorities)

        return await self.run(work)

    async def build(
        self,
        parent: BlockRef,
        era: Era,
        slot: Slot,
        proposer_index: int,
        authorities: AuthoritySet,
        candidates: Candidates,
        certificate: Certificate | None,
        evidence: Sequence[Evidence],
    ) -> Made:
        """Build a block on `parent`; it is executed like anybody's when the engine asks for it (DESIGN section 3)."""

        def work() -> Made:
            best = candidates.best()
            block, outcome = self._chain.build(
                parent.hash, slot, era, proposer_index, authorities, best, certificate, evidence, keep=False
            )
            candidates.note_skipped(self._chain.skipped)
            return Made(block, outcome)

        return await self.run(work)

    async def finalise(self, hashes: Sequence[Hash32], certificate: Certificate) -> tuple[FinalisedBlock, ...]:
        """Make executed blocks final in memory and in one durable transaction (R7, step 2).

        Hashes at or below the stored finalised point are skipped: sync may have been faster.
        """

        def work() -> tuple[FinalisedBlock, ...]:
            pending = [block_hash for block_hash in hashes if self._chain.is_pending(block_hash)]
            done = tuple(self._chain.finalise(block_hash) for block_hash in pending)
            self._store_final(done, certificate)
            return done

        return await self._make_final(work, certificate)

    async def apply_final(
        self, blocks: Sequence[Block], certificate: Certificate, authorities: AuthoritySet
    ) -> tuple[FinalisedBlock, ...]:
        """Execute blocks that a verified certificate makes final, and store them in one transaction (CHAIN 2.2).

        Blocks at or below F are skipped. Raises BadBlock naming the first height that does not execute to its header;
        then nothing of the range is kept.
        """

        def work() -> tuple[FinalisedBlock, ...]:
            height = self._chain.finalised.height
            fresh = [block for block in blocks if block.header.height > height]
            for block in fresh:
                try:
                    self._chain.execute(block, authorities)
                except InvalidError as error:
                    raise BadBlock(block.header.height, error.message) from error
            done = tuple(self._chain.finalise(block.hash) for block in fresh)
            self._store_final(done, certificate)
            return done

        return await self._make_final(work, certificate)

    def _store_final(self, done: tuple[FinalisedBlock, ...], certificate: Certificate) -> None:
        if done:
            with self._flushes.timed("store"):
                self._store.finalise(done, certificate, certificate.statement.view)

    async def _make_final(
        self, work: Callable[[], tuple[FinalisedBlock, ...]], certificate: Certificate
    ) -> tuple[FinalisedBlock, ...]:
        await self._reports.room()
        async with self._lane:
            done = await self._runner.run(work)
            if done:
                self._reports.put(FinalReport(done, certificate))
        return done

    async def run(self, work: Callable[[], T]) -> T:
        """The result of any work on the working state or the store: nothing else runs meanwhile."""
        async with self._lane:
            return await self._runner.run(work)
