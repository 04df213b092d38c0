"""Range sync as data: batches, their states and the checks of what peers send (CHAIN 2.2 step 4).

Sans I/O. A batch is up to 64 heights of one era. Before its blocks are asked for, the hash of its last block is
*proven*: for a boundary by the proof walk, else by a page of headers from that block up to the first one that has a
finality certificate, hash-linked, the certificate verified under the proven set. So when blocks come it is certain who
lied, if anybody did: the peer that sent them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from typing import Final

from ...consensus.block import Block, verify_body
from ...consensus.certificate import Certificate
from ...consensus.header import Header, block_hash
from ...consensus.types import Hash32, Height, InvalidError, YumadError
from ..messages import HeadersReply
from ..transport import PeerId
from .proven_sets import ProvenSets

BATCH_BLOCKS: Final = 64
"""Most heights in a batch: one storage transaction, 0.45 ms a block in batches of this size."""

MAX_IN_FLIGHT: Final = 10
"""Batches between "to download" and "processing": bounds memory at 10 x 64 light blocks."""

DOWNLOAD_TRIES: Final = 5
PROCESSING_TRIES: Final = 3
"""The numbers of Lodestar and Lighthouse; each try with another peer where there is one."""


class BatchState(Enum):
    """Where a batch is."""

    TO_DOWNLOAD = "to download"
    """Planned, or its last download failed: waits for a peer."""
    DOWNLOADING = "downloading"
    """One peer is being asked."""
    TO_PROCESS = "to process"
    """All blocks are here and are the proven ones; waits until everything below is applied."""
    PROCESSING = "processing"
    """Being executed."""
    DONE = "done"
    """Final in storage; its memory is given back."""


class RangeFailed(YumadError):
    """A batch could not be had or applied within its tries."""

    code = "sync_failed"


@dataclass(frozen=True, slots=True)
class ProvenEnd:
    """Proof of a batch's last block."""

    hash: Hash32
    certified: Height
    """Height of the block that the certificate is for: the batch's last one or a later one."""
    certificate: Certificate


@dataclass(slots=True)
class Batch:
    """A contiguous piece of the range."""

    first: Height
    last: Height
    state: BatchState = BatchState.TO_DOWNLOAD
    proof: ProvenEnd | None = None
    blocks: tuple[Block, ...] = ()
    source: PeerId | None = None
    """Who sent the blocks."""
    tried: dict[PeerId, None] = field(default_factory=dict)
    """Peers that failed this batch: others first."""
    download_tries: int = 0
    processing_tries: int = 0


class RangePlan:
    """The batches from `first` to `last`; every transition of a batch's state is one method here."""

    def __init__(self, first: Height, last: Height, era_blocks: int) -> None:
        self._era_blocks = era_blocks
        self.first = first
        self.last = last
        self._next_first = first
        self._batches: list[Batch] = []
        """Batches that are planned and not done, ascending; at most MAX_IN_FLIGHT."""

    @property
    def is_done(self) -> bool:
        """Everything is applied."""
        return not self._batches and self._next_first > self.last

    @property
    def applied(self) -> Height:
        """Last height that is applied."""
        return Height((self._batches[0].first if self._batches else self._next_first) - 1)

    def to_download(self) -> Batch | None:
        """The lowest batch that waits for a peer; plans new ones while there is room."""
        for batch in self._batches:
            if batch.state is BatchState.TO_DOWNLOAD:
                return batch
        if len(self._batches) >= MAX_IN_FLIGHT or self._next_first > self.last:
            return None
        # Ends where certificates are kept for ever: on multiples of the batch size, and on boundaries, so that a batch
        # lies in one era and one set decides all of it.
        end = min(
            _next_multiple(self._next_first, BATCH_BLOCKS),
            _next_multiple(self._next_first, self._era_blocks),
            self.last,
        )
        batch = Batch(self._next_first, Height(end))
        self._next_first = Height(batch.last + 1)
        self._batches.append(batch)
        return batch

    def start_download(self, batch: Batch, peer: PeerId) -> None:
        """TO_DOWNLOAD -> DOWNLOADING."""
        _expect(batch, BatchState.TO_DOWNLOAD)
        batch.state, batch.source = BatchState.DOWNLOADING, peer

    def downloaded(self, batch: Batch, blocks: Sequence[Block]) -> None:
        """DOWNLOADING -> TO_PROCESS; the blocks were checked with `check_blocks`."""
        _expect(batch, BatchState.DOWNLOADING)
        batch.state, batch.blocks = BatchState.TO_PROCESS, tuple(blocks)

    def download_failed(self, batch: Batch, peer: PeerId, reason: str) -> None:
        """DOWNLOADING -> TO_DOWNLOAD. Raises RangeFailed after the last try."""
        _expect(batch, BatchState.DOWNLOADING)
        batch.state, batch.source = BatchState.TO_DOWNLOAD, None
        batch.tried[peer] = None
        batch.download_tries += 1
        if batch.download_tries >= DOWNLOAD_TRIES:
            raise RangeFailed(
                f"blocks {batch.first}..{batch.last} could not be had in {DOWNLOAD_TRIES} tries, last: {reason}",
                remedy="more peers may help: see `yumad peers`",
            )

    def to_process(self) -> Batch | None:
        """The lowest batch, if it is ready."""
        if self._batches and self._batches[0].state is BatchState.TO_PROCESS:
            return self._batches[0]
        return None

    def start_processing(self, batch: Batch) -> None:
        """TO_PROCESS -> PROCESSING."""
        _expect(batch, BatchState.TO_PROCESS)
        batch.state = BatchState.PROCESSING

    def processed(self, batch: Batch) -> None:
        """PROCESSING -> DONE."""
        _expect(batch, BatchState.PROCESSING)
        batch.state, batch.blocks = BatchState.DONE, ()
        self._batches.remove(batch)

    def processing_failed(self, batch: Batch, reason: str) -> None:
        """PROCESSING -> TO_DOWNLOAD, from another peer. Raises RangeFailed after the last try."""
        _expect(batch, BatchState.PROCESSING)
        batch.processing_tries += 1
        if batch.processing_tries >= PROCESSING_TRIES:
            raise RangeFailed(
                f"blocks {batch.first}..{batch.last} could not be applied in {PROCESSING_TRIES} tries: {reason}",
                remedy="the blocks are proven final, so this peer's rules or state differ: run `yumad verify`",
            )
        if batch.source is not None:
            batch.tried[batch.source] = None
        batch.state, batch.blocks, batch.source = BatchState.TO_DOWNLOAD, (), None


def _next_multiple(number: int, step: int) -> int:
    return -(-number // step) * step


def _expect(batch: Batch, state: BatchState) -> None:
    if batch.state is not state:
        raise AssertionError(f"batch {batch.first}..{batch.last} is {batch.state.value}, expected {state.value}")


def check_header_page(reply: HeadersReply, start: Height, previous: Hash32 | None) -> None:
    """Raise InvalidError unless the headers begin at `start`, are contiguous and linked (to `previous` if given)."""
    headers = reply.headers
    if not headers or headers[0].height != start:
        raise InvalidError(f"headers do not begin at height {start}")
    if previous is not None and headers[0].parent_hash != previous:
        raise InvalidError(f"header {start} does not follow the header before it")
    for parent, child in pairwise(headers):
        if child.height != parent.height + 1 or child.parent_hash != block_hash(parent):
            raise InvalidError(f"header {child.height} does not follow header {parent.height}")


def certified_in(headers: Sequence[Header], reply: HeadersReply, sets: ProvenSets) -> ProvenEnd | None:
    """Proof of `headers[0]` by the first certificate of the page that names one of the linked `headers`.

    None when the page has no certificate for them. Raises InvalidError when that certificate does not verify.
    """
    by_hash = {block_hash(header): header for header in headers}
    named = [
        (by_hash[certificate.statement.block_hash], certificate)
        for certificate in reply.certificates
        if certificate.statement.block_hash in by_hash
    ]
    if not named:
        return None
    header, certificate = min(named, key=lambda pair: pair[0].height)
    sets.prove(header, certificate)
    return ProvenEnd(block_hash(headers[0]), header.height, certificate)


def check_blocks(first: Height, last: Height, end_hash: Hash32, blocks: Sequence[Block]) -> None:
    """Raise InvalidError naming the highest block that is not the proven one.

    The heights must be exactly first..last; then hashes are compared from the proven end downwards by parent links, and
    each body with its header.
    """
    heights = [block.header.height for block in blocks]
    if heights != list(range(first, last + 1)):
        raise InvalidError(
            f"expected blocks {first}..{last}, got {heights[:1]}..{heights[-1:]}, {len(heights)} of them"
        )
    expected = end_hash
    for block in reversed(blocks):
        if block.hash != expected:
            raise InvalidError(f"block {block.header.height} is not the final one")
        verify_body(block.header, block.body)
        expected = block.header.parent_hash
