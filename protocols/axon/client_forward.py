"""Sending calls that somebody else has signed (AXON R1, R8): keys stay with whoever asks, a running peer carries.

A signature is good for one attempt: the request id in it may be used once. So another endpoint of the receiver is tried
only when the call provably left nothing behind at the one before (`Status.resendable`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final, NoReturn

import trio

from ...consensus.signature import KeyPair
from ...consensus.types import Hash32, InvalidError, Signature
from ..transport import DialFailed, PeerId, StreamRefused
from .client import MAX_ATTEMPTS, OPEN_TIMEOUT
from .client_call import OutgoingCall, exchange
from .client_stream import open_call_stream
from .envelope import SIGNATURE_BYTES, Envelope, Flag, decode_envelope, envelope_digest, verify_envelope
from .interfaces import CallResult, Directory, Endpoint, Latency, StreamAborted
from .limits import AxonLimits
from .pool import Lane, StreamPool
from .status import Status

MAX_SECONDS: Final = 3600.0
"""From now to the signed deadline: what a server allows as well (`AxonLimits.max_deadline`)."""

MAX_MESSAGES: Final = 4096
"""Of one stream that are kept for the asker."""


@dataclass(frozen=True, slots=True)
class Forwarded:
    """How a forwarded call ended."""

    result: CallResult
    messages: tuple[bytes, ...] = ()
    """Of the reply's stream, in order. Vouched for only when the result is OK."""


class _AbsentKey(KeyPair):
    """The public half of a key that is elsewhere. Calls that need the other half here are refused before."""

    __slots__ = ()

    def __init__(self, public_key: bytes) -> None:
        self.public_key = public_key

    def sign(self, message: bytes) -> Signature:
        raise RuntimeError("the key of a forwarded call is elsewhere")


@dataclass(frozen=True, slots=True)
class _SignedCall(OutgoingCall):
    """A call whose envelope is finished."""

    envelope: bytes

    def sign(self, request_id: bytes, created: int, seconds_left: float) -> tuple[bytes, Hash32]:
        """The same bytes whatever is asked."""
        return self.envelope, envelope_digest(self.genesis_hash, self.envelope[:-SIGNATURE_BYTES])


class Forwarder:
    """Sends finished calls over the pooled streams of a peer's own client."""

    def __init__(
        self,
        pool: StreamPool,
        directory: Directory,
        genesis_hash: Hash32,
        local_peer: PeerId,
        *,
        now_ns: Callable[[], int],
        max_reply: int,
    ) -> None:
        """`max_reply`: bytes of a reply, or of all messages of a stream, that are taken."""
        self._pool = pool
        self._directory = directory
        self._genesis_hash = genesis_hash
        self._local_peer = local_peer
        self._now_ns = now_ns
        self._limits = replace(AxonLimits(), max_reply=max_reply, max_message=max_reply, max_stream_bytes=max_reply)

    async def forward(self, data: bytes, body: bytes) -> Forwarded:
        """Send envelope `data` with `body` to its receiver, as they are.

        Raises MalformedError or InvalidError for a call that no server would take; what the server does is a result.
        """
        envelope = self._checked(data, body)
        began = trio.current_time()
        seconds = (envelope.deadline - self._now_ns()) / 1e9
        call = _SignedCall(
            self._genesis_hash,
            self._local_peer,
            _AbsentKey(envelope.caller),
            envelope.netuid,
            envelope.receiver,
            envelope.method,
            envelope.method_version,
            body,
            envelope.body_hash,
            envelope.flags,
            began + seconds,
            data,
        )
        endpoints = self._directory.endpoints(envelope.netuid, envelope.receiver)[:MAX_ATTEMPTS]
        done = Forwarded(CallResult(call.receiver, Status.NO_RECORD, text="nobody has told where it is reached"))
        with trio.CancelScope(deadline=call.deadline) as scope:
            done = await self._try(call, endpoints, envelope.request_id, done)
        if scope.cancelled_caught:
            total = trio.current_time() - began
            text = f"no reply within {seconds:.3g} s"
            latency = Latency(network=total, total=total)
            return Forwarded(CallResult(call.receiver, Status.LOCAL_DEADLINE, text=text, latency=latency))
        return done

    def _checked(self, data: bytes, body: bytes) -> Envelope:
        """The envelope, if it is worth a stream: a peer that sends what others must refuse loses its good name."""
        envelope = decode_envelope(data, self._genesis_hash)
        if envelope.flags & ~Flag.STREAM_OUT:
            _refuse("the call needs its key while it runs", "send streams and channel calls from a plugin")
        if envelope.body_length != len(body) or envelope.body_hash != sha256(body).digest():
            _refuse("the body is not the one that the envelope names", "sign the envelope over the whole body")
        left = (envelope.deadline - self._now_ns()) / 1e9
        if not 0.0 < left <= MAX_SECONDS:
            _refuse(
                f"the signed deadline is {left:.1f} s from now, expected up to {MAX_SECONDS:.0f}",
                "sign again; compare this machine's clock with that of the peer",
            )
        if not verify_envelope(envelope):
            _refuse("the caller did not sign this envelope", "sign it for this network")
        return envelope

    async def _try(
        self, call: _SignedCall, endpoints: Sequence[Endpoint], request_id: bytes, done: Forwarded
    ) -> Forwarded:
        for endpoint in endpoints:
            done = await self._attempt(call, endpoint, request_id)
            if not done.result.status.resendable:
                break
        return done

    async def _attempt(self, call: _SignedCall, endpoint: Endpoint, request_id: bytes) -> Forwarded:
        began = trio.current_time()
        try:
            # Never a used stream: a stale one would use up the only attempt.
            lane = await self._pool.take_new(endpoint, timeout=min(OPEN_TIMEOUT, call.deadline - began))
        except (DialFailed, StreamRefused) as error:
            seconds = trio.current_time() - began
            latency = Latency(dial=seconds, total=seconds)
            result = CallResult(call.receiver, Status.DIAL_FAILED, text=str(error), latency=latency, peer=endpoint.peer)
            return Forwarded(result)
        dial = trio.current_time() - began
        reusable = False
        try:
            if call.flags & Flag.STREAM_OUT:
                return await self._stream(call, lane, request_id, dial)
            result, reusable = await exchange(
                call, lane, self._limits, request_id=request_id, now_ns=self._now_ns(), dial=dial
            )
            return Forwarded(result)
        finally:
            if reusable:
                await self._pool.give_back(lane)
            else:
                await self._pool.drop(lane)

    async def _stream(self, call: _SignedCall, lane: Lane, request_id: bytes, dial: float) -> Forwarded:
        messages: list[bytes] = []
        try:
            async with open_call_stream(
                call, lane, self._limits, request_id=request_id, now_ns=self._now_ns(), dial=dial
            ) as stream:
                try:
                    async for message in stream:
                        messages.append(message)
                        if len(messages) >= MAX_MESSAGES:
                            text = f"taken back after {MAX_MESSAGES} messages"
                            return Forwarded(
                                CallResult(call.receiver, Status.CANCELLED, text=text, peer=lane.peer), tuple(messages)
                            )
                except StreamAborted:
                    pass  # the result says why
                return Forwarded(await stream.result(), tuple(messages))
        except StreamAborted as error:
            return Forwarded(CallResult(call.receiver, error.status, text=str(error), peer=lane.peer), tuple(messages))


def _refuse(message: str, remedy: str) -> NoReturn:
    error = InvalidError(message, remedy=remedy)
    error.code = "bad_envelope"
    raise error
