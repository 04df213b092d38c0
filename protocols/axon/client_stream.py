"""A call with streams of messages, at the client (AXON R9)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from ...consensus.types import MalformedError
from ..transport import StreamClosed
from .client_call import (
    AttemptFailed,
    OutgoingCall,
    check_head,
    for_lane,
    next_frame,
    note_certificate,
    read_body,
    upload_rest,
)
from .envelope import Flag
from .frames import FIRST_PART, FRAMES_IN_A_ROW, Kind, Part, decode_credit, frame, with_body
from .interfaces import CallResult, Latency, StreamAborted
from .limits import AxonLimits
from .pool import Lane
from .receipts import encode_receipt
from .replies import Reply, Trailer, decode_trailer, sign_trailer, verify_trailer
from .status import Status
from .streams import MessageReceiver, MessageSender


class ClientStream:
    """An open call: `send` and `end` our messages, iterate over theirs, await `result`. Made by `AxonClient.stream`."""

    def __init__(
        self, call: OutgoingCall, lane: Lane, limits: AxonLimits, request_id: bytes, now_ns: int, dial: float = 0.0
    ) -> None:
        self._call = call
        self._lane = lane
        self._limits = limits
        self._request_id = request_id
        self._now_ns = now_ns
        self.envelope, self._request = call.sign(request_id, now_ns, call.deadline - trio.current_time())
        self._sent_at = trio.current_time()
        self._dial = dial
        self._outbox = MessageSender(limits, self._write)
        # The trailer's signature is checked as it arrives: somebody may ask for the result and read no message.
        self._inbox = MessageReceiver(limits, self._write, lambda trailer: True)
        self._lock = trio.Lock()
        self._is_introduced = False
        """The server's certificate has come: one costs a signature check, many a second of our time."""
        self._head: Reply | None = None
        self._head_bytes = b""
        self._trailer_bytes: bytes | None = None
        self._body = b""
        self._uploaded = trio.Event()
        self._over = trio.Event()
        self._failure: StreamAborted | None = None

    async def send(self, message: Part) -> None:
        """Send one message; waits for the server's credit. Raises StreamAborted."""
        if not self._call.flags & Flag.STREAM_IN:
            raise StreamAborted(Status.SCHEMA_MISMATCH, "this call was opened without stream_in")
        await self._uploaded.wait()
        await self._guarded(self._outbox.send(message))

    async def end(self) -> None:
        """No more messages from us: the signed trailer. Raises StreamAborted."""
        await self._uploaded.wait()
        trailer = self._outbox.trailer(self._request_id)
        if not self._call.is_channel:
            trailer = sign_trailer(trailer, self._call.genesis_hash, self._request, True, self._call.key)
        await self._guarded(self._write(frame(Kind.TRAILER, trailer.encode())))

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._inbox.messages()

    async def result(self) -> CallResult:
        """How the call ended, once it has: never raises for what the server does."""
        await self._over.wait()
        reply, failure = self._head, self._failure
        if self._inbox.trailer is not None:
            failure = failure or self._inbox.failure
        total = trio.current_time() - self._sent_at + self._dial
        if reply is None or failure is not None:
            status, text = Status.BAD_REPLY, ""
            if failure is not None:
                status, text = failure.status, str(failure)
            return CallResult(
                self._call.receiver,
                status,
                text=text,
                latency=Latency(dial=self._dial, network=total - self._dial, total=total),
                sent_at=self._sent_at,
                peer=self._lane.peer,
            )
        trailer = self._inbox.trailer
        queue, handler = reply.queue_us / 1e6, reply.handler_us / 1e6
        receipt = b""
        if reply.is_signed:
            receipt = encode_receipt(self._call.genesis_hash, self.envelope, self._head_bytes, self._trailer_bytes)
        return CallResult(
            hotkey=self._call.receiver,
            status=reply.status if trailer is None else trailer.status,
            body=self._body,
            text=reply.text if trailer is None else trailer.text,
            retry_after_ms=reply.retry_after_ms,
            latency=Latency(self._dial, queue, max(0.0, total - self._dial - queue - handler), handler, total),
            sent_at=self._sent_at,
            peer=self._lane.peer,
            receipt=receipt,
        )

    # --- tasks --------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Send the call. Raises StreamAborted."""
        head = self._call.certificate_for(self._lane, self._now_ns) + frame(Kind.CALL, self.envelope)
        try:
            await self._lane.stream.write_all(with_body(head, self._call.body))
        except StreamClosed as error:
            raise StreamAborted(Status.DISCONNECTED_BEFORE_SEND, str(error)) from None
        if len(self._call.body) <= FIRST_PART:
            self._uploaded.set()

    async def read(self) -> None:
        """Read what the server sends until the call is over. Never raises an Exception."""
        frames = 0
        try:
            while not await self._take_frame():
                frames += 1
                if frames % FRAMES_IN_A_ROW == 0:
                    await trio.lowlevel.checkpoint()
        except AttemptFailed as failure:
            self._fail(failure.status, failure.text)
        except StreamClosed as error:
            self._fail(Status.DISCONNECTED_AFTER_SEND, str(error))
        except MalformedError as error:
            self._fail(Status.BAD_REPLY, error.message)
        finally:
            self._over.set()
            self._uploaded.set()

    def deadline_passed(self) -> None:
        """Nothing is waited for any more."""
        self._fail(Status.LOCAL_DEADLINE, "the deadline of the stream passed")
        self._over.set()
        self._uploaded.set()

    async def _take_frame(self) -> bool:
        """One frame; True when it was the last."""
        kind, payload = await next_frame(self._lane)
        if kind is Kind.REPLY:
            return await self._take_head(payload)
        if kind is Kind.CREDIT:
            if not self._uploaded.is_set():
                await upload_rest(self._lane, self._call.body)
                self._uploaded.set()
            elif not self._call.flags & Flag.STREAM_IN:
                raise MalformedError("credit for a call that sends no messages")
            else:
                self._outbox.grant(decode_credit(payload))
        elif kind is Kind.CERTIFICATE and self._call.is_channel and self._head is None and not self._is_introduced:
            self._is_introduced = True
            note_certificate(self._call, self._lane, payload, self._now_ns)
        elif self._head is None or kind is Kind.CALL:
            raise MalformedError(f"{kind.name} frame before a reply head")
        elif kind is Kind.TRAILER:
            trailer = decode_trailer(payload)
            if not self._is_receivers(trailer):
                raise AttemptFailed(Status.BAD_REPLY_SIGNATURE, "the receiver did not sign this end of the stream")
            self._trailer_bytes = payload
            self._inbox.end(trailer)
            return True
        else:
            self._inbox.take(payload, last=kind is Kind.MESSAGE)
        return False

    async def _take_head(self, payload: bytes) -> bool:
        if self._head is not None:
            raise MalformedError("a second reply head")
        head = check_head(self._call, self._lane, payload, self._request, self._request_id, self._now_ns)
        reply = head.reply
        if reply.flags & Flag.STREAM_OUT:
            if not self._call.flags & Flag.STREAM_OUT:
                raise MalformedError("an answer by a stream to a call that wants none")
            self._head, self._head_bytes = reply, payload
            return False
        body = await read_body(self._lane, reply, self._limits.max_reply)
        if reply.status is Status.OK and self._call.flags & Flag.STREAM_OUT:
            raise MalformedError("an answer without the stream that was called for")
        self._head, self._head_bytes, self._body = reply, payload, body
        # The call is answered: whoever still sends or waits for messages is told how.
        self._inbox.abort(reply.status, reply.text)
        self._outbox.abort(reply.status, reply.text)
        return True

    def _fail(self, status: Status, text: str) -> None:
        if self._failure is None and not self._over.is_set():
            self._failure = StreamAborted(status, text)
        self._inbox.abort(status, text)
        self._outbox.abort(status, text)

    async def _guarded(self, action: object) -> None:
        try:
            await action  # type: ignore[misc]
        except StreamClosed as error:
            raise StreamAborted(Status.DISCONNECTED_AFTER_SEND, str(error)) from None

    async def _write(self, data: bytes) -> None:
        async with self._lock:
            await self._lane.stream.write_all(data)

    def _is_receivers(self, trailer: Trailer) -> bool:
        if trailer.request_id != self._request_id:
            return False
        if self._call.is_channel and self._lane.vouched.get(self._call.receiver, 0) > self._now_ns:
            return True
        return verify_trailer(trailer, self._call.genesis_hash, self._request, False, self._call.receiver)


@asynccontextmanager
async def open_call_stream(
    call: OutgoingCall, lane: Lane, limits: AxonLimits, *, request_id: bytes, now_ns: int, dial: float = 0.0
) -> AsyncIterator[ClientStream]:
    """Open the call on `lane`, whose stream the caller drops afterwards. Raises StreamAborted."""
    stream = ClientStream(for_lane(call, lane), lane, limits, request_id, now_ns, dial)
    await stream.open()

    async def read_until_deadline() -> None:
        with trio.CancelScope(deadline=call.deadline) as scope:
            await stream.read()
        if scope.cancelled_caught:
            stream.deadline_passed()
            await lane.stream.reset()

    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_until_deadline)
        try:
            yield stream
        except Exception as error:
            failure = error  # raised below, or the nursery would wrap it in a group
        finally:
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
