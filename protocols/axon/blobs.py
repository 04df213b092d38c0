"""Serving blobs to peers that were offered them (AXON R11; docs/axon-payload.md "Blobs").

Protocol `/yumad/<net>/blob/1`. On a stream, one request after another: a frame `u8 kind | hash 32 | u32 first | u32
count`. Kind 1 asks for the list, answered by one frame `u8 code | list`; kind 2 for chunks, answered by one frame
`u8 code | chunk` each. A code that is not 0 has no content and ends the answer. Before its requests a fetcher may show
for which hotkey it fetches: `u8 kind 3 | certificate`, without an answer. Whoever asks for a blob that was not offered
to it hears the same as for one that does not exist.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Collection, Container
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import trio

from ...consensus.types import AccountId, MalformedError, YumadError
from ..framing import read_frame_after
from ..limits import Quota
from ..token_bucket import PeerBuckets
from ..transport import PeerId, Stream, StreamClosed
from .blob_store_interface import CHUNK, MAX_CHUNKS, BlobStore
from .interfaces import CallTransport

REQUEST: Final = struct.Struct(">B32sII")
LIST, CHUNKS, INTRODUCTION = 1, 2, 3

MAX_INTRODUCTION: Final = 1 + 512
"""Bytes of a frame with a certificate."""

INTRODUCTION_COST: Final = 64 * 1024
"""What checking a certificate takes of a peer's quota, in bytes."""

MAX_HOTKEYS: Final = 4
"""Certificates of one stream."""

MAX_CHUNKS_ASKED: Final = 64
"""Chunks of one request. A stream is asked again for more, so that a source that turns slow can be left."""

MAX_ANSWER: Final = 1 + max(CHUNK, 8 + 32 * MAX_CHUNKS)
"""Bytes of the largest frame that a fetcher takes."""

PIECE: Final = 64 * 1024
"""Bytes of one write: other streams of the connection get their turn between two (R16)."""

MAX_STREAMS: Final = 64
MAX_STREAMS_PER_PEER: Final = 6
"""Fetches that a peer runs at one time, and the streams of those that have just ended."""

MAX_OFFERS: Final = 4096
IDLE_TIMEOUT: Final = 30.0
"""Seconds without a request after which a stream is closed."""
REQUEST_TIMEOUT: Final = 10.0
MAX_WAIT: Final = 20.0
"""Longest delay by quota; a request that would wait longer is refused."""

DEFAULT_QUOTA: Final = Quota(64 << 20, 1)
"""Bytes per second and peer: what a link of 500 Mbit/s carries."""


class BlobCode(IntEnum):
    """First byte of an answer."""

    OK = 0
    NOT_AVAILABLE = 1
    """Not here, or not offered to this peer."""
    BAD_REQUEST = 2
    THROTTLED = 3


@dataclass(frozen=True, slots=True)
class Offer:
    """Who may fetch a blob. Without peers and hotkeys: everyone."""

    expires: float
    """On trio's clock."""
    peers: frozenset[PeerId] = frozenset()
    hotkeys: Container[AccountId] | None = None

    def admits(self, peer: PeerId, hotkeys: Collection[AccountId], now: float) -> bool:
        """Whether that peer may fetch, with the hotkeys that have certified it."""
        if now >= self.expires:
            return False
        if self.hotkeys is None:
            return not self.peers or peer in self.peers
        return peer in self.peers or any(hotkey in self.hotkeys for hotkey in hotkeys)


def _no_hotkey(peer: PeerId, certificate: bytes) -> AccountId:
    raise MalformedError("certificates are not known here")


class BlobServer:
    """Answers for the blobs of a store that are on offer. `register` once."""

    def __init__(
        self,
        transport: CallTransport,
        protocol: str,
        store: BlobStore,
        *,
        hotkey_of: Callable[[PeerId, bytes], AccountId] = _no_hotkey,
        quota: Quota = DEFAULT_QUOTA,
        now: Callable[[], float] = trio.current_time,
    ) -> None:
        """`hotkey_of` tells which hotkey a certificate for that peer is of, and raises MalformedError for a bad one."""
        self._transport = transport
        self._protocol = protocol
        self._store = store
        self._hotkey_of = hotkey_of
        self._now = now
        self._offers: dict[bytes, Offer] = {}
        self._buckets = PeerBuckets(quota)
        self._open: Counter[PeerId] = Counter()
        self.counters: Counter[str] = Counter()
        """Answers by code, and `busy`, `timeout`, `closed`, `failed` for streams."""

    def register(self) -> None:
        """Serve the protocol."""
        self._transport.set_stream_handler(self._protocol, self._handle)

    def offer(self, blob_hash: bytes, offer: Offer) -> None:
        """Let a blob be fetched; replaces an earlier offer of it. The store keeps it until then."""
        self._forget_expired()
        if blob_hash not in self._offers:
            if len(self._offers) >= MAX_OFFERS:
                self.withdraw(min(self._offers, key=lambda blob: self._offers[blob].expires))
            self._store.hold(blob_hash)
        self._offers[blob_hash] = offer

    def withdraw(self, blob_hash: bytes) -> None:
        """End an offer; transfers under way end with their next chunk."""
        if self._offers.pop(blob_hash, None) is not None:
            self._store.release(blob_hash)

    def _forget_expired(self) -> None:
        now = self._now()
        for blob_hash in [blob for blob, offer in self._offers.items() if offer.expires <= now]:
            self.withdraw(blob_hash)

    def _may_fetch(self, peer: PeerId, hotkeys: Collection[AccountId], blob_hash: bytes) -> bool:
        offer = self._offers.get(blob_hash)
        return offer is not None and offer.admits(peer, hotkeys, self._now())

    async def _handle(self, stream: Stream) -> None:
        if self._open[stream.peer] >= MAX_STREAMS_PER_PEER or self._open.total() >= MAX_STREAMS:
            self.counters["busy"] += 1
            await self._send(stream, BlobCode.THROTTLED)
            return
        self._open[stream.peer] += 1
        hotkeys: set[AccountId] = set()
        try:
            while await self._answer_next(stream, hotkeys):
                pass
        except StreamClosed:
            self.counters["closed"] += 1
        except trio.TooSlowError:
            self.counters["timeout"] += 1
        except YumadError:  # the disk failed, or the frame is none: the stream ends, the peer lives
            self.counters["failed"] += 1
        finally:
            self._open[stream.peer] -= 1
            if not self._open[stream.peer]:
                del self._open[stream.peer]

    async def _answer_next(self, stream: Stream, hotkeys: set[AccountId]) -> bool:
        """Serve one request; False when there are no more. `hotkeys`: those the stream has shown."""
        with trio.fail_after(IDLE_TIMEOUT):
            first = await stream.read_some(1)
        if not first:
            return False
        try:
            with trio.fail_after(REQUEST_TIMEOUT):
                request = await read_frame_after(stream, first, MAX_INTRODUCTION)
            if request[:1] == bytes([INTRODUCTION]):
                return await self._introduce(stream, request[1:], hotkeys)
            kind, blob_hash, start, count = _decode_request(request)
        except MalformedError:
            await self._send(stream, BlobCode.BAD_REQUEST)
            return False
        if not self._may_fetch(stream.peer, hotkeys, blob_hash):
            await self._send(stream, BlobCode.NOT_AVAILABLE)
            return await self._take(stream, REQUEST.size)
        blob_list = await trio.to_thread.run_sync(self._store.list_of, blob_hash)
        if blob_list is None or (kind == CHUNKS and start + count > blob_list.chunks):
            await self._send(stream, BlobCode.NOT_AVAILABLE)
            return await self._take(stream, REQUEST.size)
        if kind == LIST:
            return await self._take(stream, len(blob_list.hashes)) and await self._send(
                stream, BlobCode.OK, blob_list.encode()
            )
        for index in range(start, start + count):
            if not await self._take(stream, blob_list.chunk_size(index)):
                return False
            chunk = await trio.to_thread.run_sync(self._store.read_chunk, blob_hash, index)
            if chunk is None or not self._may_fetch(stream.peer, hotkeys, blob_hash):
                return await self._send(stream, BlobCode.NOT_AVAILABLE)
            await self._send(stream, BlobCode.OK, chunk)
        return True

    async def _introduce(self, stream: Stream, certificate: bytes, hotkeys: set[AccountId]) -> bool:
        """Note a hotkey that the peer speaks for. Raises MalformedError for a certificate that is none."""
        if len(hotkeys) >= MAX_HOTKEYS:
            raise MalformedError(f"more than {MAX_HOTKEYS} hotkeys on one stream")
        if not await self._take(stream, INTRODUCTION_COST):
            return False
        hotkeys.add(self._hotkey_of(stream.peer, certificate))
        return True

    async def _take(self, stream: Stream, cost: int) -> bool:
        """Take bytes from the peer's quota, waiting for them; False, and the peer is told, when that takes too long."""
        now = self._now()
        bucket = self._buckets.of(stream.peer, now)
        wait = bucket.wait(cost, now)
        if wait > MAX_WAIT:
            await self._send(stream, BlobCode.THROTTLED)
            return False
        bucket.take(cost, now)
        if wait > 0:
            await trio.sleep(wait)
        return True

    async def _send(self, stream: Stream, code: BlobCode, content: bytes = b"") -> bool:
        self.counters[code.name.lower()] += 1
        await stream.write_all((1 + len(content)).to_bytes(4, "big") + bytes([code]) + content[:PIECE])
        for at in range(PIECE, len(content), PIECE):
            await stream.write_all(content[at : at + PIECE])
        return True


def encode_request(kind: int, blob_hash: bytes, first: int = 0, count: int = 0) -> bytes:
    """A request, framed."""
    return REQUEST.size.to_bytes(4, "big") + REQUEST.pack(kind, blob_hash, first, count)


def encode_introduction(certificate: bytes) -> bytes:
    """The frame that shows a certificate."""
    return (1 + len(certificate)).to_bytes(4, "big") + bytes([INTRODUCTION]) + certificate


def _decode_request(data: bytes) -> tuple[int, bytes, int, int]:
    if len(data) != REQUEST.size:
        raise MalformedError(f"request of {len(data)} bytes, {REQUEST.size} expected")
    kind, blob_hash, first, count = REQUEST.unpack(data)
    if kind == LIST and not first and not count:
        return kind, blob_hash, first, count
    if kind == CHUNKS and 0 < count <= MAX_CHUNKS_ASKED and first < MAX_CHUNKS:
        return kind, blob_hash, first, count
    raise MalformedError(f"request of kind {kind} for {count} chunks")
