"""A validator's side of calls: an author's request to bytes, and results back as the method's types (AXON R26, R30)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import trio

from ..consensus.types import InvalidError, YumadError
from ..protocols.axon.interfaces import CallResult, CallTerms, ServedMethod
from ..protocols.axon.status import Status
from ..protocols.axon.tensor_codec import MANDATORY
from .addresses import account_of, address_of
from .blobs import Blobs
from .host_interface import CallStream, HostClient
from .method import Method
from .seal import CHALLENGE_BYTES, commit_method, open_method, opens
from .validator import Result

GRACE: Final = 5.0
"""Seconds over a call's timeout after which the peer itself must have gone quiet."""


class TypedStream:
    """A streaming call with an author's types on both sides."""

    def __init__(
        self, stream: CallStream, method: Method, uid: int | None, hotkey: str, peer: Collection[str] = MANDATORY
    ) -> None:
        """`peer`: codecs that the miner decodes."""
        self._stream, self._method, self._uid, self._hotkey, self._peer = stream, method, uid, hotkey, peer

    async def send(self, message: Any) -> None:
        """Send one message; raises SchemaError for another type."""
        if self._method.signature.messages is None:
            raise InvalidError(f"{self._method.name} takes no stream", remedy="give the request to round.stream")
        await self._stream.send(self._method.signature.messages.encode(message, peer=self._peer))

    async def end(self) -> None:
        """No more messages will be sent."""
        await self._stream.end()

    async def __aiter__(self) -> AsyncIterator[Any]:
        """Messages of the reply; raises StreamAborted when it is cut, SchemaError for a message of another type."""
        async for part in self._stream.messages():
            yield self._method.signature.reply.decode(part)

    async def result(self) -> Result:
        """How it ended; for a method with one reply, with the reply."""
        return typed_result(self._method, await self._stream.result(), self._uid)


class Calls:
    """Calls of one round."""

    def __init__(
        self,
        client: HostClient,
        hotkey: str,
        uids: Mapping[str, int],
        random_bytes: Callable[[int], bytes],
        codecs: Mapping[str, Sequence[str]] = {},
    ) -> None:
        """`uids` and `codecs`, those beyond the protocol's own, by hotkey."""
        self._codecs = codecs
        self._client, self._hotkey, self._uids, self._random_bytes = client, hotkey, uids, random_bytes

    async def call(self, hotkey: str, method: Method, request: Any, timeout: float | None) -> Result:
        """One miner; raises SchemaError for a request of another type."""
        if method.sealed is not None:
            return (await self.call_many({hotkey: request}, method, timeout))[0]
        seconds = method.served.timeout if timeout is None else timeout
        body = method.signature.request.encode(request, peer=self._peer(hotkey))
        served = method.served
        result = _no_answer(hotkey)
        with trio.move_on_after(seconds + GRACE):
            result = await self._client.call(hotkey, served.name, served.version, body, _terms(served, seconds))
        return typed_result(method, result, self._uids.get(hotkey))

    async def call_many(self, requests: Mapping[str, Any], method: Method, timeout: float | None) -> list[Result]:
        """Many miners, all sent together; in two steps where the method is sealed."""
        seconds = method.served.timeout if timeout is None else timeout
        bodies = self._encoded(requests, method)
        if method.sealed is not None:
            return await self._sealed(bodies, method, seconds)
        results = await self._many(bodies, method.served, seconds)
        return [typed_result(method, result, self._uids.get(hotkey)) for hotkey, result in results.items()]

    @asynccontextmanager
    async def stream(
        self, hotkey: str, method: Method, request: Any, timeout: float | None
    ) -> AsyncIterator[TypedStream]:
        """Open a streaming call."""
        seconds = method.served.timeout if timeout is None else timeout
        body = method.signature.request.encode(request, peer=self._peer(hotkey))
        served = method.served
        async with self._client.stream(hotkey, served.name, served.version, body, _terms(served, seconds)) as stream:
            yield TypedStream(stream, method, self._uids.get(hotkey), hotkey, self._peer(hotkey))

    @property
    def blobs(self) -> Blobs:
        """Large content."""
        return Blobs(self._client)

    async def query(self, read: str, params: Sequence[Any]) -> Any:
        """A read of the chain."""
        return await self._client.query(read, params)

    def _peer(self, hotkey: str) -> tuple[str, ...]:
        """Codecs that the peers of a hotkey decode."""
        return (*MANDATORY, *self._codecs.get(hotkey, ()))

    def _encoded(self, requests: Mapping[str, Any], method: Method) -> dict[str, bytes]:
        """A request that many share is encoded once for all that decode the same."""
        done: dict[tuple[int, tuple[str, ...]], bytes] = {}
        bodies = {}
        for hotkey, request in requests.items():
            name = (id(request), self._peer(hotkey))
            if name not in done:
                done[name] = method.signature.request.encode(request, peer=name[1])
            bodies[hotkey] = done[name]
        return bodies

    async def _sealed(self, bodies: Mapping[str, bytes], method: Method, seconds: float) -> list[Result]:
        assert method.sealed is not None
        challenge = self._random_bytes(CHALLENGE_BYTES)
        asked = {id(body): challenge + body for body in bodies.values()}
        committed = await self._many(
            {hotkey: asked[id(body)] for hotkey, body in bodies.items()}, commit_method(method.served), seconds
        )
        sealed = [hotkey for hotkey, result in committed.items() if result.ok]
        opening = open_method(method.served, method.sealed)
        shown = await self._many(dict.fromkeys(sealed, challenge), opening, opening.timeout)
        results = []
        for hotkey, commit in committed.items():
            uid, show = self._uids.get(hotkey), shown.get(hotkey)
            if show is None or not show.ok:
                results.append(_failed(show or commit, hotkey, uid))
                continue
            answer = opens(commit.body, challenge, self._hotkey, hotkey, show.body)
            if answer is None:
                text = "what was shown is not what was committed to"
                results.append(Result(uid, hotkey, Status.BAD_REPLY, text=text, latency=commit.latency))
            else:
                results.append(_decoded(method, answer, commit, hotkey, uid))
        return results

    async def _many(self, bodies: Mapping[str, bytes], served: ServedMethod, seconds: float) -> dict[str, CallResult]:
        """Results by hotkey, in order; a target the peer says nothing of has one too."""
        results: Sequence[CallResult] = ()
        if bodies:
            with trio.move_on_after(seconds + GRACE):
                results = await self._client.call_many(bodies, served.name, served.version, _terms(served, seconds))
        found = {address_of(result.hotkey): result for result in results}
        return {hotkey: found.get(hotkey) or _no_answer(hotkey) for hotkey in bodies}


def _terms(served: ServedMethod, seconds: float) -> CallTerms:
    """A call is bounded by what the author's own method promises, whatever a miner answers."""
    return CallTerms(seconds, served.idempotent, served.max_reply)


def typed_result(method: Method, result: CallResult, uid: int | None) -> Result:
    """A result with the reply as the method's type; a reply of another type is BAD_REPLY."""
    hotkey = address_of(result.hotkey)
    if not result.ok:
        return _failed(result, hotkey, uid)
    if method.served.stream_out:
        return Result(uid, hotkey, Status.OK, None, "", result.latency, result.sent_at, result.receipt)
    return _decoded(method, result.body, result, hotkey, uid)


def _failed(result: CallResult, hotkey: str, uid: int | None) -> Result:
    return Result(
        uid, hotkey, result.status, None, result.text, result.latency, result.sent_at, result.receipt,
        result.retry_after_ms,
    )  # fmt: skip


def _decoded(method: Method, body: bytes, result: CallResult, hotkey: str, uid: int | None) -> Result:
    try:
        reply = method.signature.reply.decode(body)
    except YumadError as error:
        return Result(
            uid, hotkey, Status.BAD_REPLY, None, error.message, result.latency, result.sent_at, result.receipt
        )
    return Result(uid, hotkey, Status.OK, reply, "", result.latency, result.sent_at, result.receipt)


def _no_answer(hotkey: str) -> CallResult:
    return CallResult(account_of(hotkey), Status.LOCAL_DEADLINE, text="the peer gave no result")
