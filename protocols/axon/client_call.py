"""One attempt of one call at the client: sign, send, read, verify (AXON R1, R4, R7; docs/axon.md "A call").

Nothing here raises for what the other side does: every end has a status of the table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final, NoReturn

import trio

from ...consensus.signature import KeyPair, verify
from ...consensus.types import AccountId, Hash32, MalformedError
from ..transport import PeerId, StreamClosed
from .certificate import RENEW_NS, decode_certificate, issue_certificate
from .codec_offer import own_extension
from .envelope import NO_SIGNATURE, Envelope, Flag, envelope_digest
from .fan_out import ReplyPart
from .frames import FIRST_PART, MAX_PART, Kind, Part, decode_credit, frame, with_body, write_rest
from .interfaces import CallResult, Latency
from .limits import AxonLimits
from .pool import Lane
from .receipts import encode_receipt
from .replies import Reply, decode_reply, reply_digest
from .status import Status

_NO_REQUEST: Final = bytes(16)


@dataclass(frozen=True, slots=True)
class OutgoingCall:
    """What is called, the same for every attempt."""

    genesis_hash: Hash32
    local_peer: PeerId
    key: KeyPair
    netuid: int
    receiver: AccountId
    method: str
    version: int
    body: Part
    body_hash: bytes
    flags: int
    deadline: float
    """On trio's clock."""

    @property
    def is_channel(self) -> bool:
        """Whether signatures may be dropped."""
        return bool(self.flags & Flag.CHANNEL)

    def sign(self, request_id: bytes, created: int, seconds_left: float) -> tuple[bytes, Hash32]:
        """Envelope bytes and their digest, made anew for each attempt."""
        unsigned = Envelope(
            genesis_hash=self.genesis_hash,
            netuid=self.netuid,
            method=self.method,
            method_version=self.version,
            caller=AccountId(self.key.public_key),
            receiver=self.receiver,
            request_id=request_id,
            created=created,
            deadline=created + max(1, int(seconds_left * 1e9)),
            body_length=len(self.body),
            body_hash=self.body_hash,
            flags=self.flags,
            extension=own_extension(),
        ).unsigned_bytes()
        request = envelope_digest(self.genesis_hash, unsigned)
        return unsigned + (NO_SIGNATURE if self.is_channel else self.key.sign(request)), request

    def certificate_for(self, lane: Lane, now_ns: int) -> bytes:
        """A CERTIFICATE frame when the server needs a new one on this stream, else nothing."""
        hotkey = AccountId(self.key.public_key)
        if not self.is_channel or lane.certified.get(hotkey, 0) > now_ns + RENEW_NS:
            return b""
        certificate = issue_certificate(self.key, self.genesis_hash, self.local_peer, issued=now_ns)
        lane.certified[hotkey] = certificate.expires
        return frame(Kind.CERTIFICATE, certificate.encode())


class AttemptFailed(Exception):
    """The attempt ended without an answer that counts."""

    def __init__(self, status: Status, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True)
class Head:
    """A reply head that belongs to the request and may be believed."""

    reply: Reply
    encoded: bytes
    is_last: bool
    """The server read no further: the stream carries no other call."""


def for_lane(call: OutgoingCall, lane: Lane) -> OutgoingCall:
    """The call as it may travel on this stream: through a relay no handshake proves anybody, so it is signed."""
    return replace(call, flags=call.flags & ~Flag.CHANNEL) if lane.is_relayed and call.is_channel else call


async def exchange(
    call: OutgoingCall,
    lane: Lane,
    limits: AxonLimits,
    *,
    request_id: bytes,
    now_ns: int,
    dial: float,
    room: ReplyPart | None = None,
) -> tuple[CallResult, bool]:
    """Send the call on `lane` and read its answer; whether the stream may carry another call.

    dial: seconds it took to get the stream. room: what the body has to wait for. May be cancelled at any point, also
    in the middle of a write to a server that does not read: drop the lane then.
    """
    call = for_lane(call, lane)
    sent_at = trio.current_time()
    envelope, request = call.sign(request_id, now_ns, call.deadline - sent_at)
    head = call.certificate_for(lane, now_ns) + frame(Kind.CALL, envelope)
    lane.sent_at = sent_at
    try:
        try:
            await lane.stream.write(with_body(head, call.body))
        except StreamClosed as error:
            raise AttemptFailed(Status.DISCONNECTED_BEFORE_SEND, str(error)) from None
        answer = await _answer(call, lane, request, request_id, now_ns)
        reply = answer.reply
        if reply.flags & Flag.STREAM_OUT:
            raise AttemptFailed(Status.BAD_REPLY, "an answer by a stream to a call without one")
        body = await read_body(lane, reply, limits.max_reply, room)
    except AttemptFailed as failure:
        return _result(call, lane, failure.status, failure.text, sent_at, dial), False
    except StreamClosed as error:
        return _result(call, lane, Status.DISCONNECTED_AFTER_SEND, str(error), sent_at, dial), False
    except MalformedError as error:
        return _result(call, lane, Status.BAD_REPLY, error.message, sent_at, dial), False
    total = trio.current_time() - sent_at + dial
    queue, handler = reply.queue_us / 1e6, reply.handler_us / 1e6
    result = CallResult(
        hotkey=call.receiver,
        status=reply.status,
        body=body,
        text=reply.text,
        retry_after_ms=reply.retry_after_ms,
        latency=Latency(dial, queue, max(0.0, total - dial - queue - handler), handler, total),
        sent_at=sent_at,
        peer=lane.peer,
        receipt=encode_receipt(call.genesis_hash, envelope, answer.encoded) if reply.is_signed else b"",
    )
    return result, not answer.is_last


def _result(call: OutgoingCall, lane: Lane, status: Status, text: str, sent_at: float, dial: float) -> CallResult:
    total = trio.current_time() - sent_at + dial
    if status is Status.DISCONNECTED_BEFORE_SEND:
        sent_at = 0.0
    latency = Latency(dial=dial, network=total - dial, total=total)
    return CallResult(call.receiver, status, text=text, latency=latency, sent_at=sent_at, peer=lane.peer)


async def _answer(call: OutgoingCall, lane: Lane, request: Hash32, request_id: bytes, now_ns: int) -> Head:
    """The reply head; uploads the rest of the body when the server asks for it."""
    rest = len(call.body) - FIRST_PART
    is_introduced = False
    while True:
        kind, payload = await next_frame(lane)
        lane.may_be_stale = False
        if kind is Kind.REPLY:
            return check_head(call, lane, payload, request, request_id, now_ns)
        if kind is Kind.CERTIFICATE and call.is_channel and not is_introduced:
            is_introduced = True
            note_certificate(call, lane, payload, now_ns)
        elif kind is Kind.CREDIT and rest > 0 and decode_credit(payload) >= rest:
            rest = 0
            await upload_rest(lane, call.body)
        else:
            raise MalformedError(f"{kind.name} frame where a reply was expected")


async def next_frame(lane: Lane) -> tuple[Kind, bytes]:
    """The next frame that is no body. Raises StreamClosed, also at the end of the stream, and MalformedError."""
    header = await lane.reader.header()
    if header is None:
        raise StreamClosed("the server ended the stream")
    kind, size = header
    if kind is Kind.DATA:
        raise MalformedError("a body before its reply head")
    return kind, await lane.reader.payload(size)


async def upload_rest(lane: Lane, body: Part) -> None:
    """Send what the server has asked for. Raises AttemptFailed: without its whole body a call reaches no handler."""
    try:
        await write_rest(lane.stream.write, body)
    except StreamClosed as error:
        raise AttemptFailed(Status.DISCONNECTED_BEFORE_SEND, str(error)) from None


def note_certificate(call: OutgoingCall, lane: Lane, payload: bytes, now_ns: int) -> None:
    """The receiver's word that the peer we talk to speaks for it. Raises MalformedError when it does not hold."""
    certificate = decode_certificate(payload)
    is_good = certificate.is_good(call.genesis_hash, lane.peer, now_ns)
    if lane.is_relayed or certificate.hotkey != call.receiver or not is_good:
        raise MalformedError("a certificate that is not the receiver's for this peer, or not valid now")
    lane.vouched[certificate.hotkey] = certificate.expires


def check_head(call: OutgoingCall, lane: Lane, payload: bytes, request: Hash32, request_id: bytes, now_ns: int) -> Head:
    """Whether a reply head is the receiver's. Raises AttemptFailed or MalformedError.

    Unsigned ones are believed when they refuse (1x, 2x), since a refusal needs no proof, and in channel mode when the
    receiver has certified the peer.
    """
    reply = decode_reply(payload)
    is_last = reply.request_id == _NO_REQUEST and not reply.is_signed
    if reply.request_id != request_id and not is_last:
        raise MalformedError("a reply to another request")
    if reply.is_signed:
        digest = reply_digest(call.genesis_hash, request, payload[:-64])
        if not verify(call.receiver, digest, reply.signature):
            raise AttemptFailed(Status.BAD_REPLY_SIGNATURE, "the receiver did not sign this reply to this request")
    elif not _refuses(reply) and not (call.is_channel and lane.vouched.get(call.receiver, 0) > now_ns and not is_last):
        raise AttemptFailed(Status.BAD_REPLY_SIGNATURE, "a reply without the receiver's signature")
    elif lane.is_relayed:
        reply = replace(reply, text=f"{reply.text} (unsigned; the relay may have said it)")
    return Head(reply, payload, is_last)


def _refuses(reply: Reply) -> bool:
    return Status.MALFORMED <= reply.status < Status.HANDLER_ERROR and not reply.body_length and not reply.flags


async def read_body(lane: Lane, reply: Reply, most: int, room: ReplyPart | None = None) -> bytes:
    """The body behind a reply head, checked against its hash. Raises StreamClosed and MalformedError."""
    length = reply.body_length
    if length > most:
        raise MalformedError(f"a reply of {length} bytes, at most {most} are taken")
    if not length:
        return b""
    if room is not None:
        await room.grow(length)
    if length <= MAX_PART:
        if await lane.reader.header() != (Kind.DATA, length):
            _bad_body()
        body = await lane.reader.payload(length)
        digest = sha256(body).digest()
    else:
        body, digest = await _read_large(lane, length)
    if digest != reply.body_hash:
        raise MalformedError("a reply whose body does not match its signed hash")
    return body


async def _read_large(lane: Lane, length: int) -> tuple[bytes, bytes]:
    body, at, state = bytearray(length), 0, sha256()
    while at < length:
        header = await lane.reader.header()
        if header is None or header[0] is not Kind.DATA or not 0 < header[1] <= length - at:
            _bad_body()
        size = header[1]
        while size:
            piece = await lane.reader.piece(size)
            body[at : at + len(piece)] = piece
            state.update(piece)
            at += len(piece)
            size -= len(piece)
    return bytes(body), state.digest()


def _bad_body() -> NoReturn:
    raise MalformedError("a reply's body that is cut or longer than announced")
