"""Calling hotkeys: one, many at once, streams (AXON R8, R26, R27; docs/axon.md).

A call never raises for what its target does or fails to do; it ends in a `CallResult` with a status of the table.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

import trio

from ...consensus.signature import KeyPair
from ...consensus.types import AccountId, Hash32
from ..transport import DialFailed, StreamRefused
from .client_call import OutgoingCall, exchange
from .client_stream import ClientStream, open_call_stream
from .envelope import Flag, check_method
from .fan_out import Gate, ReplyPart, ReplyRoom
from .frames import Part
from .interfaces import CallResult, CallTransport, Directory, Endpoint, Latency, StreamAborted
from .limits import AxonLimits
from .pool import Lane, StreamPool
from .status import Status

FAN_OUT: Final = 256
"""Calls of one `call_many` in flight: a full subnet."""

MAX_ATTEMPTS: Final = 4
"""Endpoints tried for one call, stale streams not counted."""

GATHER_SHARE: Final = 0.25
"""Part of the timeout that `call_many` waits for slow dials before it sends to those who are ready."""

OPEN_TIMEOUT: Final = 10.0
"""Seconds for agreeing on a stream, if the call's deadline is not sooner."""


class AxonClient:
    """Calls over pooled streams. Needs no task of its own; `aclose` gives its streams up."""

    def __init__(
        self,
        transport: CallTransport,
        protocol_id: str,
        genesis_hash: Hash32,
        directory: Directory,
        *,
        now_ns: Callable[[], int],
        random_bytes: Callable[[int], bytes],
        limits: AxonLimits | None = None,
        relay_protocol_id: str = "",
    ) -> None:
        self._transport = transport
        self._genesis_hash = genesis_hash
        self._directory = directory
        self._now_ns = now_ns
        self._random_bytes = random_bytes
        self._limits = limits or AxonLimits()
        self.pool = StreamPool(transport, protocol_id, relay_protocol_id)

    async def call(
        self,
        key: KeyPair,
        netuid: int,
        receiver: AccountId,
        method: str,
        body: Part,
        *,
        version: int = 1,
        timeout: float,
        idempotent: bool = False,
        channel: bool = False,
        max_reply: int | None = None,
    ) -> CallResult:
        """Call `receiver` as `key`, within `timeout` seconds in all.

        idempotent: it may be sent again even when it may have reached the handler (R8).
        channel: without signatures, where the server allows it (R4); there is no receipt then.
        max_reply: bytes of a body that are taken, if that is less than the client's own limit.

        Raises ValueError when the method's name, its version or the netuid cannot be written into an envelope.
        """
        deadline = trio.current_time() + timeout
        outgoing = self._outgoing(key, netuid, receiver, method, body, sha256(body).digest(), version, deadline)
        terms = _Terms(self._limits_for(max_reply), idempotent)
        return await self._call(outgoing if not channel else _in_channel(outgoing), terms)

    async def call_many(
        self,
        key: KeyPair,
        netuid: int,
        targets: Mapping[AccountId, Part] | Sequence[AccountId],
        method: str,
        body: Part = b"",
        *,
        version: int = 1,
        timeout: float,
        idempotent: bool = False,
        channel: bool = False,
        max_reply: int | None = None,
        limit: int = FAN_OUT,
    ) -> list[CallResult]:
        """Call all targets, a body each (a mapping) or one for all; a result each, in the order of the targets.

        Streams are opened first, then all requests are signed and sent together: the spread of `sent_at` is the skew.
        A target whose dial takes longer than a quarter of the timeout is sent to when it is ready. At most `limit`
        calls are open at once; targets beyond it start as others end. All replies are held until the last is there:
        `fan_out_replies` of the limits at most, of which each target has an equal part; a larger reply, up to
        `max_reply`, waits for what others leave. Raises ValueError as `call` does.
        """
        check_method(method, version, netuid)
        deadline = trio.current_time() + timeout
        bodies: Iterator[tuple[AccountId, Part, bytes]]
        if isinstance(targets, Mapping):
            bodies = ((hotkey, own, sha256(own).digest()) for hotkey, own in targets.items())
        else:
            shared = sha256(body).digest()
            bodies = ((hotkey, body, shared) for hotkey in targets)
        gate = Gate(min(limit, len(targets)), trio.current_time() + timeout * GATHER_SHARE)
        results: list[CallResult | None] = [None] * len(targets)
        slots = trio.Semaphore(limit)
        limits = self._limits_for(max_reply)
        room = ReplyRoom(self._limits.fan_out_replies, len(targets))

        async def one(position: int, outgoing: OutgoingCall, terms: _Terms) -> None:
            try:
                result = results[position] = await self._call(outgoing, terms)
            finally:
                slots.release()
            if terms.room is not None:
                terms.room.settle(len(result.body))

        async with trio.open_nursery() as nursery:
            for position, (hotkey, own, body_hash) in enumerate(bodies):
                await slots.acquire()
                outgoing = self._outgoing(key, netuid, hotkey, method, own, body_hash, version, deadline)
                if channel:
                    outgoing = _in_channel(outgoing)
                terms = _Terms(limits, idempotent, gate if position < limit else None, ReplyPart(room))
                nursery.start_soon(one, position, outgoing, terms)
        return [result for result in results if result is not None]

    @asynccontextmanager
    async def stream(
        self,
        key: KeyPair,
        netuid: int,
        receiver: AccountId,
        method: str,
        body: Part = b"",
        *,
        version: int = 1,
        timeout: float,
        stream_in: bool = False,
        stream_out: bool = True,
        channel: bool = False,
        max_reply: int | None = None,
    ) -> AsyncIterator[ClientStream]:
        """A call with messages: from us (`stream_in`), to us (`stream_out`), or both. `timeout` is for all of it.

        max_reply: as for `call`, of the body that answers a stream from us only.
        Raises StreamAborted when it cannot be opened. What is not finished when the block ends is cancelled.
        """
        flags = (Flag.STREAM_IN if stream_in else 0) | (Flag.STREAM_OUT if stream_out else 0)
        if not flags:
            raise ValueError("neither stream_in nor stream_out: use call()")
        deadline = trio.current_time() + timeout
        outgoing = self._outgoing(key, netuid, receiver, method, body, sha256(body).digest(), version, deadline, flags)
        if channel:
            outgoing = _in_channel(outgoing)
        limits = self._limits_for(max_reply)
        failure = StreamAborted(Status.NO_RECORD, "nobody has told where this hotkey is reached")
        for endpoint in self._endpoints(outgoing):
            try:
                # Never a used stream: whether it is stale would show only after the first message.
                with trio.fail_at(deadline):
                    lane = await self.pool.take_new(endpoint, timeout=self._open_timeout(deadline))
            except (DialFailed, StreamRefused) as error:
                failure = StreamAborted(Status.DIAL_FAILED, str(error))
                continue
            except trio.TooSlowError:
                failure = StreamAborted(Status.LOCAL_DEADLINE, "no stream before the deadline")
                break
            try:
                async with open_call_stream(
                    outgoing, lane, limits, request_id=self._random_bytes(16), now_ns=self._now_ns()
                ) as stream:
                    yield stream
            finally:
                await self.pool.drop(lane)
            return
        raise failure

    async def aclose(self) -> None:
        """Give up the unused streams."""
        await self.pool.aclose()

    # --- attempts -----------------------------------------------------------------------------------------------------

    def _outgoing(
        self,
        key: KeyPair,
        netuid: int,
        receiver: AccountId,
        method: str,
        body: Part,
        body_hash: bytes,
        version: int,
        deadline: float,
        flags: int = 0,
    ) -> OutgoingCall:
        check_method(method, version, netuid)
        peer = self._transport.local_peer
        return OutgoingCall(
            self._genesis_hash, peer, key, netuid, receiver, method, version, body, body_hash, flags, deadline
        )

    def _endpoints(self, call: OutgoingCall) -> Sequence[Endpoint]:
        return self._directory.endpoints(call.netuid, call.receiver)[:MAX_ATTEMPTS]

    def _open_timeout(self, deadline: float) -> float:
        return max(0.0, min(OPEN_TIMEOUT, deadline - trio.current_time()))

    def _limits_for(self, max_reply: int | None) -> AxonLimits:
        limits = self._limits
        return limits if max_reply is None else replace(limits, max_reply=min(max_reply, limits.max_reply))

    async def _call(self, call: OutgoingCall, terms: _Terms) -> CallResult:
        began = trio.current_time()
        sent: list[CallResult] = []
        try:
            with trio.CancelScope(deadline=call.deadline) as scope:
                await self._try_endpoints(call, terms, sent)
        finally:
            if terms.gate is not None:
                terms.gate.leave()
        if scope.cancelled_caught:
            total, dial = trio.current_time() - began, terms.dial
            return CallResult(
                call.receiver,
                Status.LOCAL_DEADLINE,
                text=_late(terms, call.deadline - began),
                latency=Latency(dial=dial, network=total - dial, total=total),
                sent_at=0.0 if terms.lane is None else terms.lane.sent_at,
                peer=None if terms.lane is None else terms.lane.peer,
            )
        if not sent:
            return CallResult(call.receiver, Status.NO_RECORD, text="nobody has told where this hotkey is reached")
        return sent[-1]

    async def _try_endpoints(self, call: OutgoingCall, terms: _Terms, results: list[CallResult]) -> None:
        """Append a result per endpoint, until one says that the call must not be sent again."""
        endpoints = self._endpoints(call)
        for endpoint in (*endpoints, *endpoints[:1]):  # after the last one, once more the best
            result = await self._attempt(call, endpoint, terms)
            results.append(result)
            lost = result.status is Status.DISCONNECTED_AFTER_SEND
            if not (lost and terms.idempotent) and not result.status.resendable:
                return
            if result.status.resendable and len(results) >= len(endpoints):
                return

    async def _attempt(self, call: OutgoingCall, endpoint: Endpoint, terms: _Terms) -> CallResult:
        while True:
            began = trio.current_time()
            try:
                lane = await self.pool.take(endpoint, timeout=self._open_timeout(call.deadline))
            except (DialFailed, StreamRefused) as error:
                seconds = trio.current_time() - began
                latency = Latency(dial=seconds, total=seconds)
                return CallResult(
                    call.receiver, Status.DIAL_FAILED, text=str(error), latency=latency, peer=endpoint.peer
                )
            reusable = False
            try:
                terms.lane, terms.dial = lane, trio.current_time() - began
                if terms.gate is not None:
                    await terms.gate.arrive()
                result, reusable = await exchange(
                    call,
                    lane,
                    terms.limits,
                    request_id=self._random_bytes(16),
                    now_ns=self._now_ns(),
                    dial=terms.dial,
                    room=terms.room,
                )
            finally:
                if reusable:
                    await self.pool.give_back(lane)
                else:
                    await self.pool.drop(lane)
            if not lane.may_be_stale or result.status is not Status.DISCONNECTED_BEFORE_SEND:
                return result


@dataclass(slots=True)
class _Terms:
    """How one call is made, and how far its last attempt got."""

    limits: AxonLimits
    idempotent: bool
    gate: Gate | None = None
    room: ReplyPart | None = None
    lane: Lane | None = None
    dial: float = 0.0


def _late(terms: _Terms, seconds: float) -> str:
    if terms.room is not None and terms.room.wanted:
        return f"the replies of all targets left no room for one of {terms.room.wanted} bytes within {seconds:.3g} s"
    return f"no reply within {seconds:.3g} s"


def _in_channel(call: OutgoingCall) -> OutgoingCall:
    return replace(call, flags=call.flags | Flag.CHANNEL)
