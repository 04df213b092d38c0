"""Being a relay: axon streams copied to targets that reserved here, within limits (AXON R35; see `relay`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

import trio

from ...consensus import cbor
from ...consensus.types import MalformedError
from ..framing import frame, read_frame
from ..limits import MIB, OPEN_TIMEOUT, REQUEST_TIMEOUT, Quota
from ..names import NetworkNames
from ..peer_ledger import Offence
from ..penalties import Penalties
from ..token_bucket import PeerBuckets
from ..transport import NotConnected, PeerId, Stream, StreamRefused, Transport, TransportError
from .relay import CONNECT, FRAME_BYTES, LEASE, REASON_BYTES, RESERVE, Answer, relay_protocol

MAX_RESERVATIONS: Final = 64
"""No more peers than a relay can be connected to."""

MAX_STREAMS: Final = 128
"""Relayed streams at one time."""

STREAMS_PER_SOURCE: Final = 8
STREAMS_PER_TARGET: Final = 32
STREAM_SECONDS: Final = 15 * 60.0
"""A pooled stream is cut after this; its client opens another between two calls."""

IDLE_SECONDS: Final = 120.0
"""A stream on which nothing moves is cut."""

SOURCE_BYTES: Final = Quota(64 * MIB, 60)
"""Bytes relayed for one source, both directions: 1 MiB/s. Above it the copying slows down, nothing is lost."""

_COPY_BYTES: Final = 64 * 1024


class _Refused(Exception):
    def __init__(self, answer: Answer, reason: str) -> None:
        super().__init__(reason)
        self.answer = answer
        self.reason = reason


class Relay:
    """Copies axon streams to targets that reserved here. `register` it; it needs no task of its own."""

    def __init__(
        self,
        transport: Transport,
        names: NetworkNames,
        penalties: Penalties,
        *,
        seconds: Callable[[], float] = trio.current_time,
    ) -> None:
        self._transport = transport
        self._names = names
        self._penalties = penalties
        self._seconds = seconds
        self._reserved: dict[PeerId, float] = {}
        self._by_source: Counter[PeerId] = Counter()
        self._by_target: Counter[PeerId] = Counter()
        self._bytes = PeerBuckets(SOURCE_BYTES)
        self.counters: Counter[str] = Counter()
        """Outcomes of streams, and `bytes`."""

    def register(self) -> None:
        """Serve the relay protocol."""
        self._transport.set_stream_handler(relay_protocol(self._names), self._handle)

    def reserved(self) -> tuple[PeerId, ...]:
        """Connected targets with a running lease."""
        now, connected = self._seconds(), set(self._transport.connected())
        for target, ends in list(self._reserved.items()):
            if ends <= now or target not in connected:
                del self._reserved[target]
        return tuple(sorted(self._reserved))

    async def _handle(self, stream: Stream) -> None:
        try:
            with trio.fail_after(REQUEST_TIMEOUT):
                target = self._read(await read_frame(stream, FRAME_BYTES))
            if target is None:
                self._take_reservation(stream.peer)
                await stream.write_all(frame(cbor.encode([int(Answer.OK), int(LEASE)])))
                self.counters["reserved"] += 1
            else:
                await self._connect(stream, target)
        except trio.TooSlowError:
            self.counters["timeout"] += 1
        except MalformedError as error:
            self._penalties.offend(stream.peer, Offence.MALFORMED)
            await self._refuse(stream, Answer.MALFORMED, error.message)
        except _Refused as refused:
            await self._refuse(stream, refused.answer, refused.reason)

    async def _refuse(self, stream: Stream, answer: Answer, reason: str) -> None:
        self.counters[answer.name.lower()] += 1
        await stream.write_all(frame(cbor.encode([int(answer), reason.encode("utf-8")[:REASON_BYTES]])))
        await stream.close_write()

    @staticmethod
    def _read(data: bytes) -> PeerId | None:
        """The target to connect to, None for a reservation."""
        kind, *rest = cbor.as_array(cbor.decode(data, max_bytes=FRAME_BYTES), what="relay request", most=2) or [0]
        if kind == RESERVE and not rest:
            return None
        if kind != CONNECT or len(rest) != 1:
            raise MalformedError("relay request is neither a reservation nor a connection")
        try:
            return PeerId(cbor.as_bytes(rest[0], what="target", most=64).decode("ascii"))
        except UnicodeDecodeError as error:
            raise MalformedError("target is not a peer id") from error

    def _take_reservation(self, target: PeerId) -> None:
        if target not in self._reserved and len(self.reserved()) >= MAX_RESERVATIONS:
            raise _Refused(Answer.BUSY, "no room for another reservation")
        self._reserved[target] = self._seconds() + LEASE

    async def _connect(self, stream: Stream, target: PeerId) -> None:
        source = stream.peer
        if target not in self.reserved():
            raise _Refused(Answer.NO_RESERVATION, "that peer has no reservation here")
        if (
            self._by_source[source] >= STREAMS_PER_SOURCE
            or self._by_target[target] >= STREAMS_PER_TARGET
            or self._by_source.total() >= MAX_STREAMS
        ):
            raise _Refused(Answer.BUSY, "too many relayed streams")
        self._by_source[source] += 1
        self._by_target[target] += 1
        try:
            await self._relay(stream, source, target)
        finally:
            self._by_source -= Counter((source,))
            self._by_target -= Counter((target,))

    async def _relay(self, stream: Stream, source: PeerId, target: PeerId) -> None:
        try:
            onward = await self._transport.open_stream(target, self._names.request("axon"), timeout=OPEN_TIMEOUT)
        except (NotConnected, StreamRefused) as error:
            raise _Refused(Answer.TARGET_REFUSED, "that peer does not take the stream") from error
        ended_well = False
        try:
            await stream.write_all(frame(cbor.encode([int(Answer.OK), int(STREAM_SECONDS)])))
            self.counters["connected"] += 1
            with trio.move_on_after(STREAM_SECONDS):
                ended_well = await _Copies(self, stream, onward, source).run()
        finally:
            with trio.CancelScope(shield=True):
                for end in (onward, stream):  # a reset would take away what the reader has not read yet
                    await (end.close() if ended_well else end.reset())

    async def charge(self, source: PeerId, count: int) -> None:
        """Book bytes against the source's quota and wait until they are within it."""
        now = self._seconds()
        bucket = self._bytes.of(source, now)
        wait = bucket.wait(count, now)
        bucket.take(count, now)
        self.counters["bytes"] += count
        if wait > 0:
            await trio.sleep(wait)


class _Copies:
    """Both directions of one relayed stream."""

    def __init__(self, relay: Relay, near: Stream, far: Stream, source: PeerId) -> None:
        self._relay = relay
        self._near = near
        self._far = far
        self._source = source
        self._moved = 0

    async def run(self) -> bool:
        """Copy until both directions have ended (True), one is reset, or nothing has moved for a while."""
        ended_well = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, nursery.cancel_scope)
            async with trio.open_nursery() as copying:
                copying.start_soon(self._copy, self._near, self._far, nursery.cancel_scope)
                copying.start_soon(self._copy, self._far, self._near, nursery.cancel_scope)
            ended_well = not nursery.cancel_scope.cancel_called
            nursery.cancel_scope.cancel()
        return ended_well

    async def _copy(self, reader: Stream, writer: Stream, both: trio.CancelScope) -> None:
        try:
            while data := await reader.read_some(_COPY_BYTES):
                await self._relay.charge(self._source, len(data))
                await writer.write_all(data)
                self._moved += len(data)
            await writer.close_write()
        except TransportError:
            both.cancel()

    async def _watch(self, both: trio.CancelScope) -> None:
        moved = -1
        while moved != self._moved:
            moved = self._moved
            await trio.sleep(IDLE_SECONDS)
        both.cancel()
