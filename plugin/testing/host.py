"""A `HostClient` in memory: calls run the same encoding, policies, limits and deadlines as on a live peer, with no
signatures and no sockets. Time is trio's, so a fake clock makes every delay free.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import trio

from ...consensus.types import InvalidError
from ...protocols.axon.aggregators import built_in_aggregator
from ...protocols.axon.codec_offer import own_codecs
from ...protocols.axon.interfaces import (
    CallReply,
    CallResult,
    CallTerms,
    Freshness,
    Latency,
    ServedMethod,
    Standing,
    StreamAborted,
)
from ...protocols.axon.policy_check import judge
from ...protocols.axon.status import Status
from ..addresses import account_of
from ..host_interface import IncomingHandler, Metagraph
from .chain import FakeChain
from .memory_blobs import MemoryBlobs

STREAM_BUFFER: Final = 16
"""Messages that wait on either side of a stream: back-pressure, as credit gives on a live one."""

Tap = Callable[[str, str, ServedMethod, bytes, CallResult], None]
"""(caller, receiver, method, body, result) of each call without streams."""


class MemoryNetwork:
    """Everybody who can be called, and the chain they see."""

    def __init__(self, chain: FakeChain, random_bytes: Callable[[int], bytes], tap: Tap | None = None) -> None:
        self.chain, self.random_bytes, self.tap = chain, random_bytes, tap
        self.hosts: dict[str, MemoryHost] = {}


@dataclass(eq=False)
class MemoryIncoming:
    """One admitted call."""

    method: str
    version: int
    netuid: int
    caller: str
    receiver: str
    standing: Standing
    request_id: bytes
    deadline: float
    body: bytes
    arriving: trio.MemoryReceiveChannel[bytes] | None = None
    leaving: trio.MemorySendChannel[bytes] | None = None
    codecs: Sequence[str] = field(default_factory=own_codecs)

    async def messages(self) -> AsyncIterator[bytes]:
        """The caller's stream."""
        if self.arriving is not None:
            async for message in self.arriving:
                yield message

    async def send(self, message: bytes) -> None:
        """To the caller."""
        if self.leaving is None:
            raise StreamAborted(Status.STREAM_ABORTED, "the call has no stream")
        await self.leaving.send(message)


@dataclass(eq=False)
class MemoryHost:
    """One hotkey's peer."""

    network: MemoryNetwork
    hotkey: str
    latency: float = 0.0
    """Seconds a message takes to it and from it."""
    handler: IncomingHandler | None = None
    served: dict[tuple[str, int], ServedMethod] = field(default_factory=dict)
    states: dict[str, Any] = field(default_factory=dict)
    """Score table of a validator: state by hotkey."""
    values: dict[str, float] = field(default_factory=dict)
    """What the states are worth."""
    refused: dict[Status, int] = field(default_factory=dict)
    """Calls turned away before the handler, by reason."""
    answered: int = 0
    lines: list[str] = field(default_factory=list)
    store: Path | None = None
    """Folder of its plugin."""
    aggregator: tuple[str, Mapping[str, Any]] | None = None
    """Which one left the states."""
    _limiters: dict[str, trio.CapacityLimiter] = field(default_factory=dict)
    _buckets: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.network.hosts[self.hotkey] = self
        self._blobs = MemoryBlobs(self.store)

    async def call(self, hotkey: str, method: str, version: int, body: bytes, terms: CallTerms) -> CallResult:
        """Call another host of the network."""
        target, began = self.network.hosts.get(hotkey), trio.current_time()
        account = account_of(hotkey)
        if target is None or target.handler is None:
            await trio.lowlevel.checkpoint()
            return CallResult(account, Status.NO_RECORD, text="no record of this hotkey")
        reply, queue, handler = CallReply(Status.LOCAL_DEADLINE, text="no reply before the deadline"), 0.0, 0.0
        deadline = began + terms.timeout
        with trio.move_on_at(deadline):
            await _wait(target.latency)
            reply, queue, handler = await target.answer(self.hotkey, method, version, body, deadline)
            await _wait(target.latency)
            reply = _taken(reply, terms.max_reply)
        total = trio.current_time() - began
        latency = Latency(0.0, queue, max(0.0, total - queue - handler), handler, total)
        result = CallResult(account, reply.status, bytes(reply.body), reply.text, reply.retry_after_ms, latency, began)
        if self.network.tap is not None and (method, version) in target.served:
            self.network.tap(self.hotkey, hotkey, target.served[method, version], body, result)
        return result

    async def call_many(
        self, bodies: Mapping[str, bytes], method: str, version: int, terms: CallTerms
    ) -> list[CallResult]:
        """All together."""
        results: dict[str, CallResult] = {}

        async def one(hotkey: str, body: bytes) -> None:
            results[hotkey] = await self.call(hotkey, method, version, body, terms)

        async with trio.open_nursery() as nursery:
            for hotkey, body in bodies.items():
                nursery.start_soon(one, hotkey, body)
        return [results[hotkey] for hotkey in bodies]

    @asynccontextmanager
    async def stream(
        self, hotkey: str, method: str, version: int, body: bytes, terms: CallTerms
    ) -> AsyncIterator[_MemoryStream]:
        """A streaming call; its handler runs while the block does."""
        target, began = self.network.hosts.get(hotkey), trio.current_time()
        there, arriving = trio.open_memory_channel[bytes](STREAM_BUFFER)
        leaving, here = trio.open_memory_channel[bytes](STREAM_BUFFER)
        stream = _MemoryStream(hotkey, there, here)
        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                reply = CallReply(Status.NO_RECORD, text="no record of this hotkey")
                async with leaving, arriving:
                    if target is not None and target.handler is not None:
                        reply, _, _ = await target.answer(
                            self.hotkey, method, version, body, began + terms.timeout, arriving, leaving
                        )
                    stream.finish(_taken(reply, terms.max_reply), began)

            nursery.start_soon(serve)
            yield stream
            nursery.cancel_scope.cancel()

    async def answer(
        self,
        caller: str,
        method: str,
        version: int,
        body: bytes,
        deadline: float,
        arriving: trio.MemoryReceiveChannel[bytes] | None = None,
        leaving: trio.MemorySendChannel[bytes] | None = None,
    ) -> tuple[CallReply, float, float]:
        """Reply with the seconds in the queue and in the handler."""
        served, standing = self.served.get((method, version)), self.network.chain.standing(caller)
        refusal = self._refusal(served, method, caller, standing, len(body))
        if served is None or refusal is not None:
            assert refusal is not None
            self.refused[refusal.status] = self.refused.get(refusal.status, 0) + 1
            return refusal, 0.0, 0.0
        asked = trio.current_time()
        limit = min(deadline, asked + served.timeout)
        incoming = MemoryIncoming(
            method, version, self.network.chain.netuid, caller, self.hotkey, standing,
            self.network.random_bytes(16), limit, body, arriving, leaving,
        )  # fmt: skip
        reply, began = CallReply(Status.DEADLINE_EXCEEDED, text="the handler was cancelled at the deadline"), asked
        with trio.move_on_at(limit):
            async with self._limiters.setdefault(served.name, trio.CapacityLimiter(served.concurrency)):
                began = trio.current_time()
                reply = await self._handled(incoming)
        if len(reply.body) > served.max_reply:
            reply = CallReply(Status.HANDLER_ERROR, text=f"a reply of {len(reply.body)} bytes is above the limit")
        self.answered += reply.status is Status.OK
        return reply, began - asked, trio.current_time() - began

    async def _handled(self, incoming: MemoryIncoming) -> CallReply:
        assert self.handler is not None
        try:
            return await self.handler(incoming)
        except Exception as error:
            return CallReply(Status.HANDLER_ERROR, text=f"{type(error).__name__}: {error}")

    def _refusal(
        self, served: ServedMethod | None, method: str, caller: str, standing: Standing, size: int
    ) -> CallReply | None:
        if served is None:
            other = any(name == method for name, _ in self.served)
            return CallReply(Status.UNSUPPORTED_VERSION if other else Status.UNKNOWN_METHOD, text=f"no {method}")
        if size > served.max_body:
            return CallReply(Status.TOO_LARGE, text=f"{size} bytes; {method} takes {served.max_body}")
        judged = judge(served.policy, account_of(caller), standing, Freshness.FRESH, True, self.network.chain.netuid)
        if judged is not None:
            return CallReply(judged[0], text=judged[1])
        wait = self._take(served, caller)
        if wait > 0.0:
            return CallReply(Status.RATE_LIMITED, text="over the quota", retry_after_ms=int(wait * 1000) + 1)
        return None

    def _take(self, served: ServedMethod, caller: str) -> float:
        """Take one call out of the caller's bucket; gives the seconds to wait when it is empty."""
        quota, now = served.policy.quota, trio.current_time()
        level, since = self._buckets.get((served.name, caller), (float(quota.burst), now))
        level = min(float(quota.burst), level + (now - since) * quota.rate)
        taken = level >= 1.0
        self._buckets[served.name, caller] = (level - 1.0 if taken else level, now)
        return 0.0 if taken else (1.0 - level) / quota.rate

    async def metagraph(self) -> Metagraph:
        """The fake chain's."""
        await trio.lowlevel.checkpoint()
        return self.network.chain.metagraph(self.hotkey)

    async def query(self, read: str, params: Sequence[Any]) -> Any:
        """There is no chain to read."""
        raise InvalidError(f"query({read!r}): no chain is here to read", remedy="use the metagraph")

    async def scores_update(
        self, scores: Mapping[str, float], aggregator: tuple[str, Mapping[str, Any]], round: int
    ) -> None:
        """Aggregate them as a peer does."""
        chosen = built_in_aggregator(*aggregator)
        self._begin(aggregator)
        for hotkey, score in scores.items():
            state = self.states[hotkey] if hotkey in self.states else chosen.initial()
            self.states[hotkey] = chosen.update(state, score)
            self.values[hotkey] = chosen.value(self.states[hotkey])
        await trio.lowlevel.checkpoint()

    async def scores_load(self, aggregator: tuple[str, Mapping[str, Any]] | None = None) -> list[dict[str, Any]]:
        """The table."""
        await trio.lowlevel.checkpoint()
        if aggregator not in (None, self.aggregator):
            return []
        return [
            {"hotkey": hotkey, "value": self.values[hotkey], "state": state} for hotkey, state in self.states.items()
        ]

    async def scores_store(
        self, rows: Sequence[Mapping[str, Any]], aggregator: tuple[str, Mapping[str, Any]], round: int
    ) -> None:
        """Replace rows; those of another aggregator go."""
        self._begin(aggregator)
        for row in rows:
            self.states[row["hotkey"]], self.values[row["hotkey"]] = row["state"], row["value"]
        await trio.lowlevel.checkpoint()

    def _begin(self, aggregator: tuple[str, Mapping[str, Any]]) -> None:
        """Scores start anew with another aggregator."""
        if self.aggregator not in (None, aggregator):
            self.states.clear()
            self.values.clear()
        self.aggregator = aggregator

    async def blob_put(self, content: Path | bytes, to: Sequence[str] | None) -> bytes:
        """Offer it to hosts of the network."""
        await trio.lowlevel.checkpoint()
        return self._blobs.put(content, to)

    async def blob_get(self, blob_hash: bytes, hotkey: str, max_size: int) -> Path:
        """The file another host offers."""
        target = self.network.hosts.get(hotkey)
        file = None
        if target is not None:
            await _wait(2 * target.latency)
            file = target._blobs.offered(blob_hash, self.hotkey, self.network.chain.neurons.__contains__)
        await trio.lowlevel.checkpoint()
        return self._blobs.take(blob_hash, file, max_size)

    async def ready(
        self, subnet: str, version: int, role: str, methods: Sequence[ServedMethod], *, validator: str = ""
    ) -> None:
        """It can be called from now on."""
        self.served = {(method.name, method.version): method for method in methods}
        neuron = self.network.chain.neurons.get(self.hotkey)
        if neuron is not None and methods:
            neuron.reachable = True
        await trio.lowlevel.checkpoint()

    def set_handler(self, handler: IncomingHandler) -> None:
        """Who answers."""
        self.handler = handler

    async def log(self, line: str) -> None:
        """Kept in `lines`."""
        self.lines.append(line)


class _MemoryStream:
    """The caller's side of a stream."""

    def __init__(
        self, hotkey: str, there: trio.MemorySendChannel[bytes], here: trio.MemoryReceiveChannel[bytes]
    ) -> None:
        self._hotkey, self._there, self._here = hotkey, there, here
        self._done, self._result = trio.Event(), CallResult(account_of(hotkey), Status.CANCELLED)

    async def send(self, message: bytes) -> None:
        """Waits while the handler lags behind; dropped once the handler has ended."""
        try:
            await self._there.send(message)
        except trio.BrokenResourceError:
            pass

    async def end(self) -> None:
        """No more messages."""
        await self._there.aclose()

    async def messages(self) -> AsyncIterator[bytes]:
        """Of the reply."""
        async for message in self._here:
            yield message
        await self._done.wait()
        if not self._result.ok:
            raise StreamAborted(self._result.status, self._result.text)

    async def result(self) -> CallResult:
        """Waits for the end."""
        await self._done.wait()
        return self._result

    def finish(self, reply: CallReply, began: float) -> None:
        """The handler has ended."""
        now = trio.current_time()
        self._result = CallResult(
            account_of(self._hotkey), reply.status, bytes(reply.body), reply.text, reply.retry_after_ms,
            Latency(handler=now - began, total=now - began), began,
        )  # fmt: skip
        self._done.set()


def _taken(reply: CallReply, most: int) -> CallReply:
    """The reply, if its caller takes that many bytes."""
    if len(reply.body) <= most:
        return reply
    return CallReply(Status.BAD_REPLY, text=f"a reply of {len(reply.body)} bytes, at most {most} are taken")


async def _wait(seconds: float) -> None:
    if seconds > 0.0:
        await trio.sleep(seconds)
