"""What a server signs back, and how streams of messages end (AXON R4, R7, R9; docs/axon.md "Reply head", "Trailer").

Fixed binary layouts as the envelope's. Both are bound to one request by the digest of its envelope.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

from ...consensus.domains import Domain, digest
from ...consensus.signature import KeyPair, verify
from ...consensus.types import AccountId, Hash32, MalformedError, Signature
from .envelope import MAX_ENVELOPE, NO_SIGNATURE, SIGNATURE_BYTES, VERSION
from .status import Status

MAX_TEXT: Final = 1024
"""Bytes of the text beside a status."""

_REPLY: Final = struct.Struct(">B16sBBQ32sIIIH")
_TRAILER: Final = struct.Struct(">B16sBIQ32sH")


@dataclass(frozen=True, slots=True)
class Reply:
    """The head of an answer. `request` is not sent: it is the digest of the envelope, known to both sides."""

    request_id: bytes
    status: Status
    body_length: int = 0
    body_hash: bytes = sha256(b"").digest()
    retry_after_ms: int = 0
    """0 when the server does not say."""
    queue_us: int = 0
    """Microseconds spent waiting for admission, as the server says."""
    handler_us: int = 0
    """Microseconds the handler took, as the server says."""
    text: str = ""
    """For a person; the handler's error is never told beyond its first line."""
    flags: int = 0
    """`Flag.STREAM_OUT` when messages and a trailer follow."""
    signature: Signature = NO_SIGNATURE

    @property
    def is_signed(self) -> bool:
        """Refusals before the caller is known are not: signing them would let strangers burn our time."""
        return self.signature != NO_SIGNATURE

    def unsigned_bytes(self) -> bytes:
        """Everything that travels but the signature."""
        text = _text_bytes(self.text)
        return (
            _REPLY.pack(
                VERSION,
                self.request_id,
                self.status,
                self.flags,
                self.body_length,
                self.body_hash,
                self.retry_after_ms,
                self.queue_us,
                self.handler_us,
                len(text),
            )
            + text
        )

    def encode(self) -> bytes:
        """The bytes that travel."""
        return self.unsigned_bytes() + self.signature


def reply_digest(genesis_hash: Hash32, request: Hash32, unsigned: bytes) -> Hash32:
    """What the receiver signs: bound to the request by its digest."""
    return digest(Domain.REPLY, genesis_hash, request, unsigned)


def sign_reply(reply: Reply, genesis_hash: Hash32, request: Hash32, key: KeyPair) -> Reply:
    """`reply` with the receiver's signature over it and the request."""
    return replace(reply, signature=key.sign(reply_digest(genesis_hash, request, reply.unsigned_bytes())))


def verify_reply(reply: Reply, genesis_hash: Hash32, request: Hash32, receiver: AccountId) -> bool:
    """Whether `receiver` signed this reply to this request."""
    return verify(receiver, reply_digest(genesis_hash, request, reply.unsigned_bytes()), reply.signature)


def decode_reply(data: bytes) -> Reply:
    """Inverse of `Reply.encode`. Raises MalformedError."""
    fixed = _REPLY.size
    if not fixed + SIGNATURE_BYTES <= len(data) <= MAX_ENVELOPE:
        raise MalformedError(f"reply head of {len(data)} bytes")
    (version, request_id, status, flags, length, body_hash, retry_after, queue, handler,
     text_size) = _REPLY.unpack_from(data)  # fmt: skip
    text, signature = _rest(data, fixed, version, text_size, "reply head")
    return Reply(
        request_id=request_id,
        status=_travelling(status),
        body_length=length,
        body_hash=body_hash,
        retry_after_ms=retry_after,
        queue_us=queue,
        handler_us=handler,
        text=text,
        flags=flags,
        signature=signature,
    )


@dataclass(frozen=True, slots=True)
class Trailer:
    """The signed end of a stream of messages, in either direction."""

    request_id: bytes
    status: Status
    messages: int
    total_bytes: int
    """Of all messages, without their frames."""
    running_hash: bytes
    """SHA-256 over `u32 length | message` of every message in order."""
    text: str = ""
    signature: Signature = NO_SIGNATURE

    def unsigned_bytes(self) -> bytes:
        """Everything that travels but the signature."""
        text = _text_bytes(self.text)
        return (
            _TRAILER.pack(
                VERSION,
                self.request_id,
                self.status,
                self.messages,
                self.total_bytes,
                self.running_hash,
                len(text),
            )
            + text
        )

    def encode(self) -> bytes:
        """The bytes that travel."""
        return self.unsigned_bytes() + self.signature


def trailer_digest(genesis_hash: Hash32, request: Hash32, from_caller: bool, unsigned: bytes) -> Hash32:
    """What the sender of a stream signs: bound to request and direction."""
    return digest(Domain.TRAILER, genesis_hash, request, b"\x01" if from_caller else b"\x00", unsigned)


def sign_trailer(trailer: Trailer, genesis_hash: Hash32, request: Hash32, from_caller: bool, key: KeyPair) -> Trailer:
    """`trailer` with the signature of the side that sent the stream."""
    return replace(
        trailer, signature=key.sign(trailer_digest(genesis_hash, request, from_caller, trailer.unsigned_bytes()))
    )


def verify_trailer(
    trailer: Trailer, genesis_hash: Hash32, request: Hash32, from_caller: bool, signer: AccountId
) -> bool:
    """Whether `signer` signed this end of the stream of this request and direction."""
    return verify(
        signer, trailer_digest(genesis_hash, request, from_caller, trailer.unsigned_bytes()), trailer.signature
    )


def decode_trailer(data: bytes) -> Trailer:
    """Inverse of `Trailer.encode`. Raises MalformedError."""
    fixed = _TRAILER.size
    if not fixed + SIGNATURE_BYTES <= len(data) <= MAX_ENVELOPE:
        raise MalformedError(f"trailer of {len(data)} bytes")
    version, request_id, status, messages, total, running_hash, text_size = _TRAILER.unpack_from(data)
    text, signature = _rest(data, fixed, version, text_size, "trailer")
    return Trailer(
        request_id=request_id,
        status=_travelling(status),
        messages=messages,
        total_bytes=total,
        running_hash=running_hash,
        text=text,
        signature=signature,
    )


def _rest(data: bytes, fixed: int, version: int, text_size: int, what: str) -> tuple[str, Signature]:
    """Text and signature, which both forms end with. Raises MalformedError."""
    if version != VERSION:
        raise MalformedError(f"{what} of version {version}")
    if text_size > MAX_TEXT or len(data) != fixed + text_size + SIGNATURE_BYTES:
        raise MalformedError(f"{what} of the wrong length")
    return _text(data[fixed : fixed + text_size]), Signature(data[-SIGNATURE_BYTES:])


def _travelling(number: int) -> Status:
    try:
        status = Status(number)
    except ValueError:
        raise MalformedError(f"status {number} is unknown") from None
    if not status.travels:
        raise MalformedError(f"status {number} never travels")
    return status


def _text_bytes(text: str) -> bytes:
    """At most MAX_TEXT bytes, cut where a character ends."""
    data = text.encode("utf-8", "replace")
    return data if len(data) <= MAX_TEXT else data[:MAX_TEXT].decode("utf-8", "ignore").encode("utf-8")


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError("text is not UTF-8") from error
