"""Fetching a blob from several peers at once (AXON R11).

Each source works on its own stream and takes the next run of missing chunks when it is done with one. A chunk counts
once its hash fits the list, and the list once it fits the blob's hash: a source that lies is found at the chunk where
it lies and is not asked again, the others go on with its work. Memory: one chunk per source, and the list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import trio

from ...consensus.types import MalformedError, YumadError
from ..framing import read_frame
from ..transport import PeerId, Stream, TransportError
from .blob_store_interface import BlobList, BlobStore, PartialBlob, decode_blob_list
from .blobs import CHUNKS, LIST, MAX_ANSWER, BlobCode, encode_request

MAX_SOURCES: Final = 3
"""Peers asked at one time. A chunk is held about twice while it is checked and written: 3 keep a transfer in 8 MiB."""

RUN: Final = 8
"""Chunks of one request: enough to hide the round trip, few enough to spread over the sources."""

OPEN_TIMEOUT: Final = 10.0
CHUNK_TIMEOUT: Final = 30.0
"""Seconds for one chunk or list, of which a server may hold it back for 20 by its quota."""


class BlobUnavailable(YumadError):
    """No source gave the whole blob. What came is kept; fetching again goes on from there."""

    code = "blob_unavailable"


class StreamOpener(Protocol):
    """The part of a `Transport` that fetching needs."""

    async def open_stream(self, peer: PeerId, protocol: str, *, timeout: float) -> Stream:
        """Raises TransportError."""
        ...


@dataclass(slots=True)
class FetchReport:
    """What a fetch did, per source."""

    received: dict[PeerId, int] = field(default_factory=dict)
    """Bytes of good chunks."""
    failed: dict[PeerId, str] = field(default_factory=dict)
    """Why a source was given up."""
    lied: set[PeerId] = field(default_factory=set)
    """Sources that sent a list or chunk that does not fit: for the peer's ledger."""


class _Refused(Exception):
    """The source says no."""


async def fetch_blob(
    transport: StreamOpener,
    protocol: str,
    peers: Sequence[PeerId],
    blob_hash: bytes,
    store: BlobStore,
    *,
    max_size: int,
    report: FetchReport | None = None,
    timeout: float = CHUNK_TIMEOUT,
) -> Path:
    """The file of the blob, fetched from `peers` unless it is in the store already.

    `timeout` is in seconds for each chunk. Raises BlobUnavailable when no source can give the rest, or the blob has
    more than `max_size` bytes; StorageError when the store has no room. Cancelled or cut, it can be called again.
    """
    report = FetchReport() if report is None else report
    present = await trio.to_thread.run_sync(store.path, blob_hash)
    if present is not None:
        return present
    transfer = _Transfer(transport, protocol, blob_hash, report, timeout)
    blob_list = await transfer.fetch_list(peers)
    if blob_list.size > max_size:
        raise BlobUnavailable(
            f"blob {blob_hash.hex()[:16]} has {blob_list.size} bytes, at most {max_size} are wanted",
            remedy="raise the limit if so much is meant to be fetched",
        )
    partial = await trio.to_thread.run_sync(store.begin, blob_list)
    try:
        await transfer.fetch_chunks(peers, blob_list, partial)
        return await trio.to_thread.run_sync(partial.finish)
    finally:
        partial.close()


class _Transfer:
    """One fetch: which chunks are wanted, and what its sources did."""

    def __init__(
        self, transport: StreamOpener, protocol: str, blob_hash: bytes, report: FetchReport, timeout: float
    ) -> None:
        self._transport = transport
        self._protocol = protocol
        self._hash = blob_hash
        self._report = report
        self._timeout = timeout
        self._runs: list[list[int]] = []
        self._busy = 0
        self._waiting = trio.lowlevel.ParkingLot()

    async def fetch_list(self, peers: Sequence[PeerId]) -> BlobList:
        """The list from the first peer that has it. Raises BlobUnavailable."""
        for peer in peers:
            if peer in self._report.failed:
                continue
            try:
                return await self._list_from(peer)
            except (_Refused, TransportError, trio.TooSlowError, MalformedError) as error:
                self._give_up(peer, error)
        raise self._unavailable("its list")

    async def _list_from(self, peer: PeerId) -> BlobList:
        stream = await self._transport.open_stream(peer, self._protocol, timeout=OPEN_TIMEOUT)
        try:
            await stream.write_all(encode_request(LIST, self._hash))
            await stream.close_write()
            return decode_blob_list(bytes(await self._answer(stream)), self._hash)
        finally:
            await _end(stream)

    async def fetch_chunks(self, peers: Sequence[PeerId], blob_list: BlobList, partial: PartialBlob) -> None:
        """All missing chunks. Raises BlobUnavailable when no source is left, YumadError when the disk refuses."""
        self._runs = _runs(partial.missing())
        waiting = [peer for peer in dict.fromkeys(peers) if peer not in self._report.failed]
        failure: list[YumadError] = []

        async def work() -> None:
            while waiting and not failure:
                await self._source(waiting.pop(0), blob_list, partial, failure)

        async with trio.open_nursery() as nursery:
            for _ in range(min(MAX_SOURCES, len(waiting))):
                nursery.start_soon(work)
        if failure:
            raise failure[0]
        if self._runs:
            raise self._unavailable(f"{sum(map(len, self._runs))} of {blob_list.chunks} chunks")

    async def _source(self, peer: PeerId, blob_list: BlobList, partial: PartialBlob, failure: list[YumadError]) -> None:
        """Let one source work until nothing is missing or it fails."""
        stream: Stream | None = None
        try:
            while not failure:
                run = await self._next_run()
                if not run:
                    return
                try:
                    if stream is None:
                        stream = await self._transport.open_stream(peer, self._protocol, timeout=OPEN_TIMEOUT)
                    await stream.write_all(encode_request(CHUNKS, self._hash, run[0], len(run)))
                    while run:
                        await self._chunk(stream, run[0], blob_list, partial)
                        del run[0]
                finally:
                    self._busy -= 1
                    if run:
                        self._runs.append(run)
                    self._waiting.unpark_all()
        except (_Refused, TransportError, trio.TooSlowError, MalformedError) as error:
            self._give_up(peer, error)
        except YumadError as error:  # the store: no source can help
            failure.append(error)
        finally:
            if stream is not None:
                await _end(stream)

    async def _next_run(self) -> list[int]:
        """Chunks to ask for; waits while others may yet fail and leave theirs. Empty when all is there."""
        while not self._runs and self._busy:
            await self._waiting.park()
        if not self._runs:
            return []
        self._busy += 1
        return self._runs.pop(0)

    async def _chunk(self, stream: Stream, index: int, blob_list: BlobList, partial: PartialBlob) -> None:
        data = await self._answer(stream)

        def keep() -> bool:
            if not blob_list.fits(index, data):
                return False
            partial.write(index, data)
            return True

        if not await trio.to_thread.run_sync(keep):
            raise MalformedError(f"chunk {index} does not have its hash")
        self._report.received[stream.peer] = self._report.received.get(stream.peer, 0) + len(data)

    async def _answer(self, stream: Stream) -> memoryview:
        """The content of the next answer. Raises _Refused for a code that is not OK."""
        with trio.fail_after(self._timeout):
            frame = await read_frame(stream, MAX_ANSWER)
        if not frame:
            raise MalformedError("an empty answer")
        if frame[0] != BlobCode.OK:
            known = frame[0] in BlobCode.__members__.values()
            raise _Refused(BlobCode(frame[0]).name.lower() if known else f"code {frame[0]}")
        return memoryview(frame)[1:]

    def _give_up(self, peer: PeerId, error: Exception) -> None:
        self._report.failed[peer] = str(error) or "no answer in time"
        if isinstance(error, MalformedError):
            self._report.lied.add(peer)

    def _unavailable(self, what: str) -> BlobUnavailable:
        reasons = "; ".join(f"{peer}: {why}" for peer, why in self._report.failed.items()) or "no peers were given"
        return BlobUnavailable(
            f"blob {self._hash.hex()[:16]}: no source gave {what} ({reasons})",
            remedy="fetch it again later or from other peers; what came is kept",
        )


async def _end(stream: Stream) -> None:
    with trio.CancelScope(shield=True):
        await stream.reset()


def _runs(missing: Sequence[int]) -> list[list[int]]:
    """`missing` cut where it has gaps, and every RUN chunks."""
    runs: list[list[int]] = []
    for index in missing:
        if runs and runs[-1][-1] == index - 1 and len(runs[-1]) < RUN:
            runs[-1].append(index)
        else:
            runs.append([index])
    return runs
