"""One admitted call at the server: waiting for its turn and its body, its handler, its answer (AXON R3, R4, R9).

`ServerCall` is what a handler sees (`interfaces.IncomingCall`). It runs in a task of its own beside the stream's
reader, which feeds it; its cancel scope ends at the caller's signed deadline.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

import trio

from ...consensus.signature import KeyPair
from ...consensus.types import U32_MAX, AccountId
from ..transport import PeerId, Stream, StreamClosed
from .admission import Refused
from .checks import CheckedCall, ServerContext
from .codec_offer import codecs_in
from .envelope import Envelope, Flag
from .frames import FIRST_PART, Kind, Part, frame, with_body, write_rest
from .interfaces import CallReply, ServedMethod, Standing, StreamAborted
from .replies import Reply, Trailer, sign_reply, sign_trailer, verify_trailer
from .request_body import RequestBody
from .status import Status
from .streams import MessageReceiver, MessageSender

_HANDLER_STATUSES = frozenset(
    {Status.OK, Status.SCHEMA_MISMATCH, Status.DENIED, Status.BUSY, Status.HANDLER_ERROR, Status.RATE_LIMITED}
)
"""What a handler may answer; anything else is its error."""

MAX_ERROR_TEXT = 200
"""Characters of a handler's error that its caller is told."""


@dataclass(frozen=True, slots=True)
class CallRecord:
    """How one call ended at the server, for metrics and logs."""

    method: str
    """"" when it was refused before its method was known."""
    netuid: int
    status: Status
    queue_seconds: float = 0.0
    handler_seconds: float = 0.0
    body_bytes: int = 0
    reply_bytes: int = 0


class ServerCall:
    """See the module text."""

    def __init__(self, context: ServerContext, stream: Stream, checked: CheckedCall, arrived: float) -> None:
        self._context = context
        self._stream = stream
        self._checked = checked
        self._arrived = arrived
        self.scope = trio.CancelScope(deadline=checked.deadline)
        envelope = checked.envelope
        self.request_body = RequestBody(envelope, stream, context.requests, context.limits)
        self.inbox: MessageReceiver | None = None
        self.outbox: MessageSender | None = None
        self.certificate: bytes = b""
        """Frame that goes before the reply, in channel mode."""
        self._is_head_sent = False
        self._lock = trio.Lock()
        if envelope.flags & Flag.STREAM_IN:
            self.inbox = MessageReceiver(context.limits, self._write, self._is_callers)
        if envelope.flags & Flag.STREAM_OUT:
            self.outbox = MessageSender(context.limits, self._write_message)

    # --- what a handler sees ------------------------------------------------------------------------------------------

    @property
    def method(self) -> ServedMethod:
        """What was called."""
        return self._checked.method

    @property
    def netuid(self) -> int:
        """The subnet that is meant."""
        return self._checked.envelope.netuid

    @property
    def caller(self) -> AccountId:
        """Hotkey that signed the call."""
        return self._checked.envelope.caller

    @property
    def caller_standing(self) -> Standing:
        """What the chain says of the caller."""
        return self._checked.standing

    @property
    def receiver(self) -> AccountId:
        """Own hotkey that was called."""
        return self._checked.envelope.receiver

    @property
    def request_id(self) -> bytes:
        """16 bytes, the caller's."""
        return self._checked.envelope.request_id

    @property
    def deadline(self) -> float:
        """On trio's clock; the handler is cancelled then."""
        return self.scope.deadline

    @property
    def peer(self) -> PeerId:
        """Who sent it: the caller's peer, or a relay."""
        return self._stream.peer

    @property
    def codecs(self) -> Sequence[str]:
        """Codecs that the caller decodes beyond the protocol's own."""
        return codecs_in(self._checked.envelope.extension)

    @property
    def body(self) -> bytes | memoryview:
        """The request's body, complete and matching its signed hash."""
        return self.request_body.data

    def messages(self) -> AsyncIterator[bytes]:
        """Messages of the caller's stream; raises StreamAborted unless it ends with a good trailer."""
        if self.inbox is None:
            raise StreamAborted(Status.HANDLER_ERROR, f"{self.method.name} is not declared to take a stream")
        return self.inbox.messages()

    async def send(self, message: bytes) -> None:
        """Send one message of the reply's stream; waits for the caller's credit. Raises StreamAborted."""
        if self.outbox is None:
            raise StreamAborted(Status.HANDLER_ERROR, f"{self.method.name} is not declared to answer with a stream")
        await self.outbox.send(message)

    # --- from the stream's reader -------------------------------------------------------------------------------------

    @property
    def envelope(self) -> Envelope:
        """The request as it came."""
        return self._checked.envelope

    # --- the call's task ----------------------------------------------------------------------------------------------

    async def run(self, done: Callable[[], None]) -> CallRecord:
        """Serve the call and answer it. `done` is called just before the last frame is written: after that the caller
        may send its next call. Raises StreamClosed when the caller has gone, and whatever cancels it.
        """
        try:
            return await self._run(done)
        finally:
            self.request_body.forget()
            self._context.replies.release(self._stream)

    async def _run(self, done: Callable[[], None]) -> CallRecord:
        checked = self._checked
        answer = CallReply(Status.BUSY, text="the deadline passed before the handler could begin")
        started = finished = 0.0
        with self.scope:
            try:
                ticket = await self._context.admission.queue.enter(
                    key=(self.netuid, self.receiver, checked.method.name),
                    caller=self.caller,
                    weight=checked.standing.stake,
                    deadline=checked.deadline,
                    method=checked.method,
                )
            except Refused as refusal:
                answer = CallReply(refusal.status, text=refusal.text, retry_after_ms=refusal.retry_after_ms)
            else:
                try:
                    refusal_of_body = await self.request_body.wait()
                    if refusal_of_body is None:
                        started = trio.current_time()
                        self._context.was_served(self.netuid, self.caller)
                        answer = await self._handle(started)
                        finished = trio.current_time()
                        if len(answer.body) > FIRST_PART:
                            await self._context.replies.hold(self._stream, len(answer.body))
                    else:
                        answer = refusal_of_body
                finally:
                    finished = finished or trio.current_time()
                    ticket.release(finished - started if started else None)
        if self.scope.cancelled_caught:
            if trio.current_time() < self.scope.deadline:
                answer = CallReply(Status.CANCELLED, text="the server stopped serving this method")
            elif started:
                answer = CallReply(Status.DEADLINE_EXCEEDED, text="the handler was cancelled at its deadline")
        self.request_body.forget()
        queue = (started or trio.current_time()) - self._arrived
        handler = finished - started if started else 0.0
        await self._answer(answer, queue, handler, done)
        status = answer.status
        sent = len(answer.body) if self.outbox is None else self.outbox.sent_bytes
        return CallRecord(checked.method.name, self.netuid, status, queue, handler, checked.envelope.body_length, sent)

    async def _handle(self, started: float) -> CallReply:
        limits, method = self._context.limits, self._checked.method
        longest = limits.stream_seconds if self.inbox or self.outbox else method.timeout
        self.scope.deadline = min(self.scope.deadline, started + longest)
        try:
            return self._sendable(await self._checked.table.handler(self))
        except StreamAborted as error:
            return CallReply(Status.STREAM_ABORTED, text=str(error)[:MAX_ERROR_TEXT])
        except StreamClosed:
            raise
        except Exception as error:
            first_line = str(error).partition("\n")[0]
            return CallReply(Status.HANDLER_ERROR, text=f"{type(error).__name__}: {first_line}"[:MAX_ERROR_TEXT])

    def _sendable(self, answer: object) -> CallReply:
        """What a handler gave back, or the error that it is."""
        if not isinstance(answer, CallReply):
            return CallReply(Status.HANDLER_ERROR, text="the handler answered with nothing that can be sent")
        if answer.status not in _HANDLER_STATUSES:
            return CallReply(Status.HANDLER_ERROR, text=f"the handler answered with status {answer.status.name}")
        if len(answer.body) > min(self.method.max_reply, self._context.limits.max_reply):
            return CallReply(Status.HANDLER_ERROR, text=f"a reply of {len(answer.body)} bytes is above the limit")
        return answer

    # --- answering ----------------------------------------------------------------------------------------------------

    async def _answer(self, answer: CallReply, queue: float, handler: float, done: Callable[[], None]) -> None:
        if self.outbox is not None and (self._is_head_sent or answer.status is Status.OK):
            await self._send_head()
            trailer = self.outbox.trailer(self.request_id, answer.status, answer.text)
            signed = sign_trailer(trailer, self._context.genesis_hash, self._checked.request, False, self._key)
            data = frame(Kind.TRAILER, signed.encode())
            done()
            async with self._lock:
                await self._stream.write_all(data)
            return
        body: Part = answer.body if answer.status is Status.OK else b""
        reply = Reply(
            request_id=self.request_id,
            status=answer.status,
            body_length=len(body),
            body_hash=sha256(body).digest(),
            retry_after_ms=min(max(0, answer.retry_after_ms), U32_MAX),
            queue_us=_micros(queue),
            handler_us=_micros(handler),
            text=answer.text,
        )
        data = with_body(self.certificate + self._signed(reply), body)
        if len(body) <= FIRST_PART:
            done()
            await self._write(data)
        else:
            await self._write(data)
            await write_rest(self._stream.write_all, body, done)

    def _signed(self, reply: Reply) -> bytes:
        if not self._checked.envelope.flags & Flag.CHANNEL:
            reply = sign_reply(reply, self._context.genesis_hash, self._checked.request, self._key)
        return frame(Kind.REPLY, reply.encode())

    async def _send_head(self) -> None:
        """The reply head of a stream of messages, once."""
        if not self._is_head_sent:
            self._is_head_sent = True
            queue = _micros(trio.current_time() - self._arrived)
            reply = Reply(request_id=self.request_id, status=Status.OK, queue_us=queue, flags=Flag.STREAM_OUT)
            await self._write(self.certificate + self._signed(reply))

    async def _write_message(self, data: bytes) -> None:
        await self._send_head()
        await self._write(data)

    async def _write(self, data: bytes) -> None:
        if self.inbox is None:
            await self._stream.write_all(data)
        else:
            # Credit for the caller's stream and our own messages come from two tasks of the handler.
            async with self._lock:
                await self._stream.write_all(data)

    @property
    def _key(self) -> KeyPair:
        return self._checked.registration.key

    def _is_callers(self, trailer: Trailer) -> bool:
        if trailer.request_id != self.request_id:
            return False
        if self._checked.envelope.flags & Flag.CHANNEL:
            return True
        return verify_trailer(trailer, self._context.genesis_hash, self._checked.request, True, self.caller)


def _micros(seconds: float) -> int:
    return min(max(0, round(seconds * 1e6)), U32_MAX)
