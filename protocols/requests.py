"""Asking a peer: one stream per request, bounded in time and bytes, ended in a `finally` (CHAIN 2.1, client side).

Every failure is one of the `RequestError`s below, and what it says about the peer is already in the ledger when it is
raised; the caller only chooses whom to ask next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NoReturn, TypeVar

import trio

from ..consensus.types import InvalidError, MalformedError, YumadError
from .framing import ReplyCode, decode_chunk, frame, read_frame_after
from .limits import (
    FIRST_BYTE_TIMEOUT,
    MAX_OPEN_PER_PEER,
    MAX_REPLY_BYTES,
    OPEN_TIMEOUT,
    REPLY_TIMEOUT,
)
from .messages import RequestProtocol
from .names import NetworkNames
from .peer_ledger import Offence
from .penalties import Penalties
from .transport import NotConnected, PeerId, Stream, StreamClosed, StreamRefused, Transport

Q = TypeVar("Q")
R = TypeVar("R")


class RequestError(YumadError):
    """A request to one peer failed; ask another."""

    code = "request_failed"


class PeerUnreachable(RequestError):
    """Not connected, or the connection broke."""

    code = "peer_unreachable"


class Unsupported(RequestError):
    """The peer does not speak the protocol. No offence: it may be older or a light one."""

    code = "unsupported"


class RequestTimeout(RequestError):
    """No first byte, or not the whole reply, in time."""

    code = "request_timeout"


class BadReply(RequestError):
    """The reply does not have the form it must have, or is too large."""

    code = "bad_reply"


class NotAvailable(RequestError):
    """The peer does not have it."""

    code = "not_available"


class Throttled(RequestError):
    """We asked this peer too much."""

    code = "throttled"


class ServerFailed(RequestError):
    """The peer says that it failed, or that our request is bad."""

    code = "server_failed"


_FAILURES: dict[ReplyCode, type[RequestError]] = {
    ReplyCode.BAD_REQUEST: ServerFailed,
    ReplyCode.SERVER_ERROR: ServerFailed,
    ReplyCode.NOT_AVAILABLE: NotAvailable,
    ReplyCode.THROTTLED: Throttled,
}


@dataclass(slots=True)
class RequestStats:
    """Counters for metrics and for the bound on wasted bytes."""

    bytes_received: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    """"ok" or the error's code, per protocol: `blocks/ok`."""


class RequestClient:
    """Sends requests; at most two open per protocol and peer, further callers wait."""

    def __init__(self, transport: Transport, names: NetworkNames, penalties: Penalties) -> None:
        self._transport = transport
        self._names = names
        self._penalties = penalties
        self._slots: dict[tuple[PeerId, str], tuple[trio.Semaphore, list[int]]] = {}
        self.stats = RequestStats()

    async def request(self, peer: PeerId, protocol: RequestProtocol[Q, R], message: Q) -> list[R]:
        """The decoded chunks of the peer's reply, in order. Raises RequestError.

        A reply that ends in a failure after good chunks gives those chunks: the server shortened it.
        """
        name = protocol.name
        async with self._slot(peer, name):
            try:
                chunks = await self._exchange(peer, protocol, message)
            except RequestError as error:
                self.stats.outcomes[f"{name}/{error.code}"] += 1
                raise
        self.stats.outcomes[f"{name}/ok"] += 1
        return chunks

    @asynccontextmanager
    async def _slot(self, peer: PeerId, name: str) -> AsyncIterator[None]:
        """Hold one of the two slots; the entry goes when nobody holds or waits."""
        key = (peer, name)
        semaphore, users = self._slots.setdefault(key, (trio.Semaphore(MAX_OPEN_PER_PEER), [0]))
        users[0] += 1
        try:
            async with semaphore:
                yield
        finally:
            users[0] -= 1
            if not users[0]:
                self._slots.pop(key, None)

    async def _exchange(self, peer: PeerId, protocol: RequestProtocol[Q, R], message: Q) -> list[R]:
        try:
            stream = await self._transport.open_stream(peer, self._names.request(protocol.name), timeout=OPEN_TIMEOUT)
        except NotConnected as error:
            raise PeerUnreachable(f"{peer} is not connected") from error
        except StreamRefused as error:
            raise Unsupported(f"{peer} refused a {protocol.name} stream: {error}") from error
        try:
            return await self._converse(stream, protocol, message)
        except StreamClosed as error:
            raise PeerUnreachable(f"{peer} ended the {protocol.name} stream early") from error
        except (MalformedError, InvalidError) as error:
            self._penalties.offend(peer, Offence.BAD_REPLY)
            raise BadReply(f"{protocol.name} reply of {peer}: {error.message}") from error
        finally:
            with trio.CancelScope(shield=True):
                await stream.reset()

    async def _converse(self, stream: Stream, protocol: RequestProtocol[Q, R], message: Q) -> list[R]:
        limits = protocol.limits
        peer = stream.peer
        chunks: list[R] = []
        received = 0
        try:
            with trio.fail_after(REPLY_TIMEOUT):
                first = await self._first_byte(stream, protocol, message)
                while first:
                    data = await read_frame_after(stream, first, limits.chunk_bytes)
                    received += len(data)
                    self.stats.bytes_received += len(data)
                    code, payload = decode_chunk(data, max_bytes=limits.chunk_bytes)
                    if code is not ReplyCode.OK:
                        if chunks:
                            break
                        self._refused(peer, protocol.name, code, payload)
                    if len(chunks) >= limits.chunks or received > MAX_REPLY_BYTES + limits.chunk_bytes:
                        raise MalformedError(f"more than {limits.chunks} chunks or {MAX_REPLY_BYTES} bytes")
                    chunks.append(protocol.decode_reply(payload))
                    first = await stream.read_some(1)
        except trio.TooSlowError as error:
            self._penalties.offend(peer, Offence.TIMEOUT)
            raise RequestTimeout(f"{peer} did not end its {protocol.name} reply in {REPLY_TIMEOUT:g} s") from error
        return chunks

    async def _first_byte(self, stream: Stream, protocol: RequestProtocol[Q, R], message: Q) -> bytes:
        """Send the request and wait for the reply to begin; b"" when it is empty."""
        try:
            with trio.fail_after(FIRST_BYTE_TIMEOUT):
                await stream.write_all(frame(protocol.encode_request(message)))
                await stream.close_write()
                return await stream.read_some(1)
        except trio.TooSlowError as error:
            self._penalties.offend(stream.peer, Offence.SLOW)
            raise RequestTimeout(
                f"{stream.peer} sent no {protocol.name} reply within {FIRST_BYTE_TIMEOUT:g} s"
            ) from error

    def _refused(self, peer: PeerId, name: str, code: ReplyCode, payload: bytes) -> NoReturn:
        if code is ReplyCode.THROTTLED:
            self._penalties.offend(peer, Offence.THROTTLED)
        reason = payload.decode("utf-8", "replace")
        raise _FAILURES[code](f"{peer} answers {name} with {code.name.lower()}: {reason[:200]!r}")
