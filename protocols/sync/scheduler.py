"""Range sync at work: downloads from several peers, applies in order, finds and drops liars (CHAIN 2.2 step 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import trio

from ...consensus.block import Block
from ...consensus.header import Header, block_hash
from ...consensus.types import Hash32, Height, InvalidError
from ..interfaces import BadBlock, ChainSink
from ..limits import MAX_BLOCKS, MAX_HEADERS
from ..messages import BLOCKS, HEADERS, BlocksRequest, HeadersRequest
from ..peer_ledger import Offence
from ..requests import RequestClient, RequestError
from ..transport import PeerId
from .progress import OnProgress, Stage, SyncProgress, silent
from .proven_sets import ProvenPoint, ProvenSets
from .range import (
    BATCH_BLOCKS,
    Batch,
    ProvenEnd,
    RangeFailed,
    RangePlan,
    certified_in,
    check_blocks,
    check_header_page,
)
from .sync_peers import SyncPeers

STALL_SECONDS: Final = 30.0
"""Without any peer to ask for this long the range is given up; the caller looks for a new target."""


class AnchorMismatch(InvalidError):
    """The proven chain does not contain the block that the operator trusts."""

    code = "anchor_mismatch"


@dataclass(slots=True)
class _Carry:
    """Applied-to-be blocks at the end of a batch without a certificate for exactly its last block."""

    blocks: list[Block] = field(default_factory=list)


class RangeSync:
    """Brings a peer from its F to a proven target."""

    def __init__(
        self,
        client: RequestClient,
        peers: SyncPeers,
        sets: ProvenSets,
        sink: ChainSink,
        *,
        anchors: Mapping[Height, Hash32] | None = None,
        on_progress: OnProgress = silent,
    ) -> None:
        """`anchors` are blocks that the chain must contain."""
        self._client = client
        self._peers = peers
        self._sets = sets
        self._sink = sink
        self._anchors = dict(anchors or {})
        self._on_progress = on_progress
        self._changed = trio.Event()
        self.blocks_received = 0
        """Blocks downloaded, wasted ones included."""

    async def run(self, first: Height, target: ProvenPoint) -> None:
        """Download and apply `first..target.height`. Raises RangeFailed, AnchorMismatch, or what the sink raises.

        What was applied before a failure stays.
        """
        plan = RangePlan(first, target.height, self._sets.timing.era_blocks)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._apply_in_order, plan)
                await self._assign(plan, target, nursery)
        except BaseExceptionGroup as group:  # several tasks may fail at once: the first one says why
            errors = group.split(trio.Cancelled)[1]
            if errors is None:
                raise
            raise errors.exceptions[0] from None

    async def _assign(self, plan: RangePlan, target: ProvenPoint, nursery: trio.Nursery) -> None:
        """Give waiting batches to free peers until the plan is done."""
        idle_since: float | None = None
        in_progress: dict[Height, None] = {}
        while not plan.is_done:
            batch = plan.to_download()
            peer = None if batch is None else self._peers.choose(batch.last, lowest=batch.first, avoid=batch.tried)
            if batch is not None and peer is not None:
                idle_since = None
                plan.start_download(batch, peer)
                self._peers.take(peer)
                known = target if batch.last == target.height else self._sets.boundary_at(batch.last)
                if known is not None:
                    batch.proof = ProvenEnd(known.hash, known.height, known.certificate)
                in_progress[batch.first] = None
                nursery.start_soon(self._download_one, plan, batch, peer, in_progress)
                continue
            if batch is None or in_progress:
                idle_since = None
            else:
                idle_since = trio.current_time() if idle_since is None else idle_since
                if trio.current_time() - idle_since > STALL_SECONDS:
                    raise RangeFailed(
                        f"no peer has blocks {batch.first}..{batch.last}",
                        remedy="see `yumad peers` for who is connected",
                    )
            await self._wait()

    async def _wait(self) -> None:
        if self._changed.is_set():
            self._changed = trio.Event()
        with trio.move_on_after(1.0):  # peers come and go without telling us
            await self._changed.wait()

    # --- download ---------------------------------------------------------------------------------------------------

    async def _download_one(self, plan: RangePlan, batch: Batch, peer: PeerId, in_progress: dict[Height, None]) -> None:
        try:
            if batch.proof is None:
                batch.proof = await self._prove_end(batch, peer)
            blocks = await self._fetch_blocks(batch, peer)
            self._check_batch(batch, batch.proof, blocks)
        except RequestError as error:
            self._peers.failed(peer)
            plan.download_failed(batch, peer, error.message)
        except _Short as short:
            self._peers.short(peer)
            plan.download_failed(batch, peer, short.message)
        except _Lie as lie:
            self._peers.lied(peer, lie.offence)
            plan.download_failed(batch, peer, lie.message)
        else:
            self._peers.served(peer)
            plan.downloaded(batch, blocks)
        finally:
            self._peers.give_back(peer)
            in_progress.pop(batch.first, None)
            self._changed.set()

    async def _prove_end(self, batch: Batch, peer: PeerId) -> ProvenEnd:
        """Ask for headers from the batch's end until one is certified."""
        headers: list[Header] = []
        start, count = batch.last, 1  # batches end where a certificate is kept if the block has one
        span_end = self._sets.last_provable
        previous: Hash32 | None = None
        while True:
            count = min(count, span_end - start + 1)
            replies = await self._client.request(peer, HEADERS, HeadersRequest(start, count))
            if not replies:
                raise _Short(f"no header of height {start}")
            reply = replies[0]
            try:
                check_header_page(reply, start, previous)
                headers += reply.headers
                proof = certified_in(headers, reply, self._sets)
            except InvalidError as error:
                raise _Lie(error.message, Offence.BAD_CERTIFICATE) from error
            if proof is not None:
                return proof
            start = Height(headers[-1].height + 1)
            if start > span_end or len(headers) > 2 * MAX_HEADERS:
                raise _Short(f"no certificate for height {batch.last} up to {start - 1}")
            previous, count = block_hash(headers[-1]), BATCH_BLOCKS if count == 1 else MAX_HEADERS

    async def _fetch_blocks(self, batch: Batch, peer: PeerId) -> list[Block]:
        """All blocks of the batch from one peer, in as many requests as its replies need."""
        blocks: list[Block] = []
        while len(blocks) < batch.last - batch.first + 1:
            start = Height(batch.first + len(blocks))
            count = min(batch.last - start + 1, MAX_BLOCKS)
            got = await self._client.request(peer, BLOCKS, BlocksRequest(start, count))
            self.blocks_received += len(got)
            if not got:
                raise _Short(f"no block of height {start} from a peer that claims to have it")
            if got[0].header.height != start or len(got) > count:
                raise _Lie(
                    f"asked for block {start}, got {got[0].header.height}", Offence.BLOCK_CONTRADICTS_CERTIFICATE
                )
            blocks += got
        return blocks

    def _check_batch(self, batch: Batch, proof: ProvenEnd, blocks: list[Block]) -> None:
        try:
            check_blocks(batch.first, batch.last, proof.hash, blocks)
        except InvalidError as error:
            raise _Lie(error.message, Offence.BLOCK_CONTRADICTS_CERTIFICATE) from error

    # --- apply ------------------------------------------------------------------------------------------------------

    async def _apply_in_order(self, plan: RangePlan) -> None:
        carry = _Carry()
        while not plan.is_done:
            batch = plan.to_process()
            if batch is None:
                await self._wait()
                continue
            plan.start_processing(batch)
            try:
                await self._apply(batch, carry)
            except BadBlock as error:
                plan.processing_failed(batch, error.message)
            else:
                plan.processed(batch)
                self._on_progress(SyncProgress(Stage.BLOCKS, plan.applied - plan.first + 1, plan.last - plan.first + 1))
            self._changed.set()

    async def _apply(self, batch: Batch, carry: _Carry) -> None:
        """Hand the batch to the sink, or keep it until the batch that has the certificate for it."""
        proof = batch.proof
        if proof is None:
            raise AssertionError("a batch is processed only after its end is proven")
        self._check_anchors(batch)
        blocks = [*carry.blocks, *batch.blocks]
        if proof.certified != batch.last:
            carry.blocks = blocks
            return
        authorities = self._sets.at(batch.last).authorities
        await self._sink.apply_range(blocks, proof.certificate, authorities)
        carry.blocks = []

    def _check_anchors(self, batch: Batch) -> None:
        for block in batch.blocks:
            expected = self._anchors.get(block.header.height)
            if expected is not None and block.hash != expected:
                raise AnchorMismatch(
                    f"block {block.header.height} of this chain is {block.hash.hex()}, trusted is {expected.hex()}",
                    remedy="check --trust; if it is right, the peers are on another history: use another bootstrap",
                )


class _Short(InvalidError):
    """A peer does not have what it claims to have: no lie that can be proven."""


class _Lie(InvalidError):
    """What a peer sent is proven false."""

    def __init__(self, message: str, offence: Offence) -> None:
        super().__init__(message)
        self.offence = offence
