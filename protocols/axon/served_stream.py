"""One inbound stream: its frames, its calls one after the other, its refusals (AXON R3, R6, R9; docs/axon.md).

A stream has one reader; the call that it carries runs in a task beside it, so that the end of the stream, a reset and
the deadline all cancel the handler at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from ...consensus.types import AccountId, Hash32, MalformedError
from ..transport import Stream, StreamClosed
from .certificate import RENEW_NS, decode_certificate
from .checks import CallRefused, check_call
from .envelope import SIGNATURE_BYTES, Flag, envelope_digest, envelope_outline
from .frames import FIRST_PART, FRAMES_IN_A_ROW, FrameReader, Kind, decode_credit, frame
from .limits import LONGEST_PACE
from .registrations import Registration, ServedTable
from .replies import Reply, decode_trailer, sign_reply
from .server_call import CallRecord, ServerCall
from .status import Status

if TYPE_CHECKING:
    from .server import AxonServer

NO_REQUEST: Final = bytes(16)
"""Request id in refusals of calls that could not be read."""

PAUSE: Final = 1.0
"""Seconds for which the stream of a muted peer is not read: what it sends then waits at its own side."""

MAX_CERTIFICATES: Final = 16
"""Hotkeys that may be certified on one stream."""


class ServedStream:
    """One inbound stream, for as long as it lives."""

    def __init__(self, server: AxonServer, stream: Stream) -> None:
        self._server = server
        self._context = server.context
        self._stream = stream
        self._peer = stream.peer
        self._network = server.network_of(stream.peer)
        self._reader = FrameReader(stream)
        self._call: ServerCall | None = None
        self._answering: trio.Event | None = None
        """Set once the last frame of the last call was taken by the network."""
        self._skip = 0
        """Bytes of DATA still to come that belong to a call that is over."""
        self._certified: dict[AccountId, int] = {}
        self._introduced: dict[AccountId, int] = {}
        """Own hotkeys whose certificate was sent on this stream, with its expiry in ns."""
        self._is_finished = False
        """Whether it may be closed in peace; else it is reset."""
        self._has_streamed = False
        """Whether its call has messages: late ones are no mistake then."""
        self._idle = trio.CancelScope()
        self._nursery: trio.Nursery

    async def run(self) -> None:
        """Serve it to its end. Raises nothing that its caller causes."""
        async with trio.open_nursery() as self._nursery:
            with self._idle:
                self._rest()
                try:
                    self._is_finished = await self._read_frames()
                except StreamClosed:
                    pass
                except MalformedError as error:
                    self._server.note_bad_input(self._peer, self._network)
                    await self._end_malformed(error.message)
            if not self._is_finished or self._call is not None:
                # The caller's end first: whoever is blocked in a write of the call's task is woken by it.
                await self._stream.reset()
            self._nursery.cancel_scope.cancel()

    async def _end_malformed(self, text: str) -> None:
        """Say so, unless a call is running, whose own frames are on their way: then the stream is just reset."""
        if self._call is None:
            self._is_finished = await self._refuse(NO_REQUEST, CallRefused(Status.MALFORMED, text))
        else:
            self._server.note(CallRecord("", self._call.netuid, Status.MALFORMED))

    def _rest(self) -> None:
        self._idle.deadline = trio.current_time() + self._context.limits.idle_connection

    async def _read_frames(self) -> bool:
        """Until the stream is over; True when it ended as it should. Raises StreamClosed and MalformedError."""
        frames, knocks = 0, self._context.knocks
        while (header := await self._reader.header()) is not None:
            frames += 1
            if frames % FRAMES_IN_A_ROW == 0:
                await trio.sleep(knocks.pace_frames(self._peer, FRAMES_IN_A_ROW, trio.current_time()))
            kind, size = header
            if kind is Kind.DATA:
                await self._take_data(size)
                continue
            payload = await self._reader.payload(size)
            if kind is Kind.CALL:
                if not await self._take_call(payload):
                    return True
            elif kind is Kind.CERTIFICATE:
                await self._take_certificate(payload)
            else:
                self._take_stream_frame(kind, payload)
        return True

    # --- calls --------------------------------------------------------------------------------------------------------

    async def _take_call(self, data: bytes) -> bool:
        """Begin a call or refuse it; False when the stream cannot carry another."""
        if self._call is not None or self._skip:
            raise MalformedError("a call before the last one was over")
        now = trio.current_time()
        wait = await self._pace(now)
        if wait > 0:
            return await self._put_off(data, wait)
        if self._answering is not None:
            # Its caller has not taken the last reply yet: calls must not pile up behind it.
            await self._answering.wait()
        try:
            checked = check_call(self._context, data, self._certified)
        except CallRefused as refusal:
            is_bad = refusal.status in (Status.BAD_SIGNATURE, Status.MALFORMED)
            if is_bad:
                self._server.note_bad_input(self._peer, self._network)
            envelope = refusal.envelope
            if envelope is None:
                await self._refuse(NO_REQUEST, refusal)
                return False  # where its body ends is anybody's guess
            request = envelope_digest(self._context.genesis_hash, data[:-SIGNATURE_BYTES])
            self._skip = min(envelope.body_length, FIRST_PART)
            await self._refuse(envelope.request_id, refusal, request)
            if is_bad and self._server.is_relay(self._peer):
                return False  # not charged to the relay: whoever it carries must open another stream
            # Messages of a stream may be on their way already.
            return not envelope.flags & (Flag.STREAM_IN | Flag.STREAM_OUT)
        call = ServerCall(self._context, self._stream, checked, now)
        flags = checked.envelope.flags
        if flags & Flag.CHANNEL:
            call.certificate = self._introduction(checked.registration)
        if flags & (Flag.STREAM_IN | Flag.STREAM_OUT):
            self._has_streamed = True
            streams = self._context.open_streams
            streams[call.caller] = streams.get(call.caller, 0) + 1
        self._call = call
        self._answering = trio.Event()
        self._idle.deadline = float("inf")
        checked.table.scopes.add(call.scope)
        self._nursery.start_soon(self._run_call, call, checked.table, self._answering)
        return True

    async def _pace(self, now: float) -> float:
        """Wait for this peer's turn, if that is soon; else how many seconds off it is. Muted peers have none."""
        knocks = self._context.knocks
        muted = knocks.muted_for(self._peer, self._network, now)
        if muted > 0:
            return muted
        wait = knocks.pace_call(self._peer, now)
        if wait > LONGEST_PACE:
            return wait
        if wait > 0:
            await trio.sleep(wait)
        return 0.0

    def _introduction(self, registration: Registration) -> bytes:
        """A CERTIFICATE frame when the caller has none of ours that is still good, else nothing."""
        if self._introduced.get(registration.hotkey, 0) > self._context.now_ns() + RENEW_NS:
            return b""
        certificate = self._server.certify(registration)
        self._introduced[registration.hotkey] = certificate.expires
        return frame(Kind.CERTIFICATE, certificate.encode())

    async def _run_call(self, call: ServerCall, table: ServedTable, answered: trio.Event) -> None:
        streams = call.inbox is not None or call.outbox is not None
        record = CallRecord(call.method.name, call.netuid, Status.CANCELLED)
        try:
            record = await call.run(self._call_done)
        except StreamClosed:
            pass
        finally:
            answered.set()
            if self._call is call:
                self._call_done()
            table.leave(call.scope)
            if streams:
                self._stream_over(call.caller)
            self._server.note(record)
        if streams:
            # A stream that carried messages is not used again: late credit would be taken for that of the next call.
            self._is_finished = True
            self._idle.cancel()

    def _call_done(self) -> None:
        call = self._call
        assert call is not None
        self._call = None
        self._skip = call.request_body.outstanding
        self._rest()

    def _stream_over(self, caller: AccountId) -> None:
        streams = self._context.open_streams
        streams[caller] -= 1
        if not streams[caller]:
            del streams[caller]

    async def _put_off(self, data: bytes, wait: float) -> bool:
        """Refuse a call unread, and read this stream no faster than once a second."""
        self._server.note_flood(self._peer, self._network)
        outline = envelope_outline(data)
        request_id, length, flags = outline or (NO_REQUEST, 0, 0)
        self._skip = min(length, FIRST_PART)
        refusal = CallRefused(Status.RATE_LIMITED, "too many calls, or bad ones, from this peer", round(wait * 1000))
        await self._refuse(request_id, refusal)
        await trio.sleep(min(wait, PAUSE))
        return outline is not None and not flags & (Flag.STREAM_IN | Flag.STREAM_OUT)

    async def _refuse(self, request_id: bytes, refusal: CallRefused, request: Hash32 | None = None) -> bool:
        """Send a refusal; False when the caller has gone."""
        reply = Reply(request_id, refusal.status, retry_after_ms=refusal.retry_after_ms, text=refusal.text)
        envelope, signer = refusal.envelope, refusal.signer
        if signer is not None and request is not None:
            reply = sign_reply(reply, self._context.genesis_hash, request, signer.key)
        name = "" if envelope is None or signer is None else self._served_name(signer, envelope.method)
        self._server.note(CallRecord(name, 0 if envelope is None else envelope.netuid, refusal.status))
        try:
            await self._stream.write_all(frame(Kind.REPLY, reply.encode()))
        except StreamClosed:
            return False
        return True

    @staticmethod
    def _served_name(signer: Registration, method: str) -> str:
        """Only served names are counted by name: what callers make up must not grow a table."""
        return method if method in signer.table.methods else ""

    # --- other frames -------------------------------------------------------------------------------------------------

    async def _take_data(self, size: int) -> None:
        call = self._call
        room = self._skip if call is None else call.request_body.outstanding
        if not 0 < size <= room:
            raise MalformedError("nothing of a body, or more than was announced or granted")
        while size:
            piece = await self._reader.piece(size)
            size -= len(piece)
            if self._call is None:  # it may have ended while we waited
                self._skip -= len(piece)
            else:
                self._call.request_body.take(piece)

    async def _take_certificate(self, payload: bytes) -> None:
        # It costs a signature check, as a call does, and counts as one.
        await trio.sleep(self._context.knocks.pace_call(self._peer, trio.current_time()))
        certificate = decode_certificate(payload)
        now = self._context.now_ns()
        if self._context.limits.allow_channel:
            if len(self._certified) >= MAX_CERTIFICATES:
                raise MalformedError(f"more than {MAX_CERTIFICATES} certificates on a stream")
            if not certificate.is_good(self._context.genesis_hash, self._peer, now):
                raise MalformedError("a certificate that is not for this peer, or not valid now")
            self._certified[certificate.hotkey] = certificate.expires

    def _take_stream_frame(self, kind: Kind, payload: bytes) -> None:
        call = self._call
        if kind is Kind.REPLY:
            raise MalformedError("a reply from a caller")
        if call is None:
            if self._has_streamed:
                return  # on its way when the call ended
            raise MalformedError("messages or credit without a call")
        if kind is Kind.CREDIT:
            if call.outbox is None:
                raise MalformedError("credit for a call that does not answer with a stream")
            call.outbox.grant(decode_credit(payload))
        elif call.inbox is None:
            raise MalformedError("messages for a call that takes none")
        elif kind is Kind.TRAILER:
            call.inbox.end(decode_trailer(payload))
        else:
            call.inbox.take(payload, last=kind is Kind.MESSAGE)
