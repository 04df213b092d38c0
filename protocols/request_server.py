"""Answering requests: quotas per peer, global caps, and no way to hurt the peer that answers (CHAIN 2.1, server rule).

Order on every stream: free slot of this protocol and peer -> request within its size and time -> strict decode ->
quota (delay, then "throttled") -> free server slot -> chunks, each inside the budget of bytes in flight. Nothing raises
out of a handler; every drop is counted by reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import trio

from ..consensus.types import MalformedError, YumadError
from .framing import ReplyCode, encode_chunk, encode_failure, frame, read_frame
from .limits import (
    MAX_BYTES_IN_FLIGHT,
    MAX_OPEN_PER_PEER,
    MAX_REPLY_BYTES,
    MAX_SERVED_STREAMS,
    PACED,
    REPLY_TIMEOUT,
    REQUEST_TIMEOUT,
    THROTTLE_DELAY,
    Quota,
    RequestLimits,
)
from .messages import RequestProtocol
from .names import NetworkNames
from .peer_ledger import Offence
from .penalties import Penalties
from .token_bucket import PeerBuckets
from .transport import PeerId, Stream, StreamClosed, StreamHandler, Transport

Q = TypeVar("Q")
R = TypeVar("R")


class Unavailable(YumadError):
    """Raised by a service that does not have what was asked for."""

    code = "not_available"


@dataclass(frozen=True, slots=True)
class Service(Generic[Q, R]):
    """How one protocol is answered."""

    protocol: RequestProtocol[Q, R]
    cost: Callable[[Q], int]
    """Units of the protocol's quota that a request takes."""
    serve: Callable[[PeerId, Q], Iterable[bytes]]
    """Payloads of the reply's chunks, made one at a time. May raise Unavailable before the first."""


class RequestServer:
    """Serves a list of services on a transport. `register` before the transport runs."""

    def __init__(
        self,
        transport: Transport,
        names: NetworkNames,
        services: Sequence[Service[Any, Any]],
        penalties: Penalties,
        *,
        pace: int = 1,
        now: Callable[[], float] = trio.current_time,
    ) -> None:
        """`pace` is how many times faster than one block in 12 s the chain grows: quotas that count what a chain makes
        (`PACED`) grow with it, those in bytes do not. Without it a follower of 0.25 s slots could hardly keep up.
        """
        self._transport = transport
        self._names = names
        self._services = tuple(services)
        self._penalties = penalties
        self._now = now
        self._open: Counter[tuple[PeerId, str]] = Counter()
        self._quotas = {s.protocol.name: PeerBuckets(_paced(s.protocol.limits, pace)) for s in self._services}
        self._byte_quotas = {
            s.protocol.name: PeerBuckets(s.protocol.limits.byte_quota)
            for s in self._services
            if s.protocol.limits.byte_quota is not None
        }
        self._streams = trio.Semaphore(MAX_SERVED_STREAMS)
        self._bytes = _ByteBudget(MAX_BYTES_IN_FLIGHT)
        self.counters: Counter[str] = Counter()
        """`<protocol>/<outcome>`: ok, bad_request, throttled, not_available, server_error, timeout, closed, busy."""

    def register(self) -> None:
        """Set a stream handler for every service."""
        for service in self._services:
            self._transport.set_stream_handler(self._names.request(service.protocol.name), self._handler(service))

    def _handler(self, service: Service[Any, Any]) -> StreamHandler:
        async def handle(stream: Stream) -> None:
            self.counters[f"{service.protocol.name}/{await self._answer(service, stream)}"] += 1

        return handle

    async def _answer(self, service: Service[Any, Any], stream: Stream) -> str:
        """Serve one stream to its end and name the outcome. Raises nothing but cancellation."""
        key = (stream.peer, service.protocol.name)
        last: bytes | None
        self._open[key] += 1
        try:
            if self._open[key] > MAX_OPEN_PER_PEER:
                outcome, last = "busy", encode_failure(ReplyCode.THROTTLED, "too many open requests")
            else:
                outcome, last = await self._serve(service, stream)
        except StreamClosed:
            return "closed"
        except Exception:  # a service failed: the asker is told, nothing else happens
            outcome, last = "server_error", encode_failure(ReplyCode.SERVER_ERROR, "internal error")
        finally:
            # Before the end of file can reach the client, or its next request would find the slot still taken.
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]
        try:
            if last is not None:
                await stream.write_all(frame(last))
            await stream.close_write()
        except StreamClosed:
            return "closed"
        return outcome

    async def _serve(self, service: Service[Any, Any], stream: Stream) -> tuple[str, bytes | None]:
        """`(outcome, last chunk to send)`; good chunks are sent on the way."""
        protocol, peer = service.protocol, stream.peer
        try:
            with trio.fail_after(REQUEST_TIMEOUT):
                request = protocol.decode_request(await read_frame(stream, protocol.limits.request_bytes))
        except MalformedError as error:
            self._penalties.offend(peer, Offence.MALFORMED)
            return "bad_request", encode_failure(ReplyCode.BAD_REQUEST, error.message)
        except trio.TooSlowError:
            return "timeout", None
        if not await self._within_quota(service, peer, request):
            self._penalties.offend(peer, Offence.FLOOD)
            return "throttled", encode_failure(ReplyCode.THROTTLED, "over quota")
        async with self._streams:
            try:
                with trio.fail_after(REPLY_TIMEOUT):
                    await self._send_chunks(service, stream, request)
            except Unavailable as error:
                return "not_available", encode_failure(ReplyCode.NOT_AVAILABLE, error.message)
            except trio.TooSlowError:
                return "timeout", None
        return "ok", None

    async def _within_quota(self, service: Service[Any, Any], peer: PeerId, request: object) -> bool:
        """Take the request's cost, waiting for it up to THROTTLE_DELAY; False when that is not enough."""
        name, now = service.protocol.name, self._now()
        cost = service.cost(request)
        bucket = self._quotas[name].of(peer, now)
        wait = bucket.wait(cost, now)
        if name in self._byte_quotas:
            wait = max(wait, self._byte_quotas[name].of(peer, now).wait(1, now))
        if wait > THROTTLE_DELAY:
            await trio.sleep(THROTTLE_DELAY)  # an error at once would only bring the next request sooner
            return False
        bucket.take(cost, now)  # before sleeping, so that a second open request queues behind this one
        if wait > 0:
            await trio.sleep(wait)
        return True

    async def _send_chunks(self, service: Service[Any, Any], stream: Stream, request: object) -> None:
        limits = service.protocol.limits
        sent = 0
        for position, payload in enumerate(service.serve(stream.peer, request)):
            if position and (position >= limits.chunks or sent + len(payload) > MAX_REPLY_BYTES):
                break  # the requester pages on
            data = frame(encode_chunk(ReplyCode.OK, payload))
            async with self._bytes.hold(len(data)):
                await stream.write_all(data)
            sent += len(payload)
            if limits.byte_quota is not None:
                now = self._now()
                self._byte_quotas[limits.name].of(stream.peer, now).take(len(data), now)


def _paced(limits: RequestLimits, pace: int) -> Quota:
    """The protocol's quota on a chain of this pace."""
    factor = max(1, pace) if limits.name in PACED else 1
    return Quota(limits.quota.units * factor, limits.quota.seconds)


class _ByteBudget:
    """A counter of bytes in flight that callers wait for, first come first served."""

    def __init__(self, most: int) -> None:
        self._free = self._most = most
        self._turn = trio.Lock()
        self._changed = trio.Event()

    @asynccontextmanager
    async def hold(self, count: int) -> AsyncIterator[None]:
        count = min(count, self._most)
        async with self._turn:
            while self._free < count:
                self._changed = trio.Event()
                await self._changed.wait()
            self._free -= count
        try:
            yield
        finally:
            self._free += count
            self._changed.set()
