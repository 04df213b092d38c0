"""What a caller signs, what a server signs back, and how both look as bytes (AXON R1, R4; docs/axon.md "Envelope").

All three forms are fixed binary layouts, big-endian, encoded once: no schema work per call (complaint C1). The signed
digest covers the genesis hash, so a call of one network is nothing on another.

The body's hash is SHA-256, unlike every other hash here: processors have instructions for it, and bodies are the one
thing that is large (2.2 ms against 3.3 ms of blake2b for 4 MiB where there are, and openssl's code is good where not).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

from ...consensus.domains import Domain, digest
from ...consensus.signature import KeyPair, verify
from ...consensus.types import U16_MAX, AccountId, Hash32, MalformedError, Signature
from .status import Status

VERSION: Final = 1

MAX_ENVELOPE: Final = 8 * 1024
"""Bytes of an envelope or reply head, signature included (R11)."""

MAX_METHOD: Final = 64
"""Bytes of a method's name: `[a-z0-9_.]`, by convention `<subnet>.<method>`."""

MAX_EXTENSION: Final = 4 * 1024
"""Bytes of the signed extension: room for later versions, ignored by those that do not know it (R12)."""

MAX_TEXT: Final = 1024
"""Bytes of the text beside a status."""

SIGNATURE_BYTES: Final = 64

NO_SIGNATURE: Final = Signature(bytes(SIGNATURE_BYTES))
"""In channel mode, and on refusals that come before the caller is known."""

_ENVELOPE: Final = struct.Struct(">B4sHHH32s32s16sQQQ32sB")
_REPLY: Final = struct.Struct(">B16sBBQ32sIIIH")
_TRAILER: Final = struct.Struct(">B16sBIQ32sH")
_NAME: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_.")


class Flag:
    """Bits of `Envelope.flags`."""

    STREAM_IN: Final = 1
    """The caller sends messages after the body and ends them with a signed trailer."""
    STREAM_OUT: Final = 2
    """The caller expects messages and a signed trailer after the reply head."""
    CHANNEL: Final = 4
    """No signature: the hotkey has certified the peer id that proved itself on this connection (R4)."""
    KNOWN: Final = 7


@dataclass(frozen=True, slots=True)
class Envelope:
    """A request without its body. Times are Unix nanoseconds."""

    genesis_hash: Hash32
    """Only its first four bytes travel; the signature covers all."""
    netuid: int
    method: str
    method_version: int
    caller: AccountId
    receiver: AccountId
    request_id: bytes
    """16 random bytes; a caller uses each once."""
    created: int
    deadline: int
    """The server cancels the handler then."""
    body_length: int
    body_hash: bytes
    """SHA-256 of the whole body."""
    flags: int = 0
    extension: bytes = b""
    signature: Signature = NO_SIGNATURE

    def unsigned_bytes(self) -> bytes:
        """Everything that travels but the signature."""
        name = self.method.encode("ascii")
        return b"".join(
            (
                _ENVELOPE.pack(
                    VERSION,
                    self.genesis_hash[:4],
                    self.netuid,
                    self.method_version,
                    self.flags,
                    self.caller,
                    self.receiver,
                    self.request_id,
                    self.created,
                    self.deadline,
                    self.body_length,
                    self.body_hash,
                    len(name),
                ),
                name,
                len(self.extension).to_bytes(2, "big"),
                self.extension,
            )
        )

    def encode(self) -> bytes:
        """The bytes that travel."""
        return self.unsigned_bytes() + self.signature

    def digest(self) -> Hash32:
        """What the caller signs, and what names this request in replies and receipts."""
        return envelope_digest(self.genesis_hash, self.unsigned_bytes())


def envelope_digest(genesis_hash: Hash32, unsigned: bytes) -> Hash32:
    """Digest of an envelope's bytes without the signature."""
    return digest(Domain.ENVELOPE, genesis_hash, unsigned)


def sign_envelope(envelope: Envelope, key: KeyPair) -> Envelope:
    """`envelope` with the caller's signature."""
    return replace(envelope, signature=key.sign(envelope.digest()))


def verify_envelope(envelope: Envelope) -> bool:
    """Whether the caller signed it."""
    return verify(envelope.caller, envelope.digest(), envelope.signature)


def decode_envelope(data: bytes, genesis_hash: Hash32) -> Envelope:
    """Inverse of `Envelope.encode`. Raises MalformedError; another version or network is the caller's to judge by
    `envelope_version` and `envelope_network` before.
    """
    fixed = _ENVELOPE.size
    if not fixed + 2 + SIGNATURE_BYTES <= len(data) <= MAX_ENVELOPE:
        raise MalformedError(f"envelope of {len(data)} bytes")
    (version, net, netuid, method_version, flags, caller, receiver, request_id, created, deadline, length, body_hash,
     name_size) = _ENVELOPE.unpack_from(data)  # fmt: skip
    if version != VERSION or net != genesis_hash[:4]:
        raise MalformedError("envelope of another version or network")
    if flags & ~Flag.KNOWN:
        raise MalformedError(f"envelope with unknown flags {flags:#x}")
    name = data[fixed : fixed + name_size]
    if not 0 < name_size <= MAX_METHOD or not _NAME.issuperset(name) or len(name) != name_size:
        raise MalformedError("envelope with a bad method name")
    at = fixed + name_size
    extension_size = int.from_bytes(data[at : at + 2], "big")
    if extension_size > MAX_EXTENSION or len(data) != at + 2 + extension_size + SIGNATURE_BYTES:
        raise MalformedError("envelope of the wrong length")
    return Envelope(
        genesis_hash=genesis_hash,
        netuid=netuid,
        method=name.decode("ascii"),
        method_version=method_version,
        caller=AccountId(caller),
        receiver=AccountId(receiver),
        request_id=request_id,
        created=created,
        deadline=deadline,
        body_length=length,
        body_hash=body_hash,
        flags=flags,
        extension=data[at + 2 : at + 2 + extension_size],
        signature=Signature(data[-SIGNATURE_BYTES:]),
    )


def check_method(name: str, version: int, netuid: int) -> None:
    """Raises ValueError when an envelope cannot say this: for what comes from our own side, not from the network."""
    if not 0 < len(name) <= MAX_METHOD or not _NAME.issuperset(name.encode("utf-8")):
        raise ValueError(f"method name {name!r}: expected 1 to {MAX_METHOD} of a-z, 0-9, '_' and '.'")
    if not 0 <= version <= U16_MAX or not 0 <= netuid <= U16_MAX:
        raise ValueError(f"version {version} of {name} on subnet {netuid}: both must be between 0 and {U16_MAX}")


def envelope_version(data: bytes) -> int:
    """The version an envelope claims; -1 when there is none."""
    return data[0] if data else -1


def envelope_network(data: bytes) -> bytes:
    """The four bytes of the network an envelope claims."""
    return data[1:5]


def envelope_outline(data: bytes) -> tuple[bytes, int, int] | None:
    """Request id, body length and flags that an envelope claims, for calls that are refused unread; None when too
    short."""
    if len(data) < _ENVELOPE.size:
        return None
    fields = _ENVELOPE.unpack_from(data)
    return fields[7], fields[10], fields[4]


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
    if version != VERSION:
        raise MalformedError(f"reply of version {version}")
    if text_size > MAX_TEXT or len(data) != fixed + text_size + SIGNATURE_BYTES:
        raise MalformedError("reply head of the wrong length")
    return Reply(
        request_id=request_id,
        status=_travelling(status),
        body_length=length,
        body_hash=body_hash,
        retry_after_ms=retry_after,
        queue_us=queue,
        handler_us=handler,
        text=_text(data[fixed : fixed + text_size]),
        flags=flags,
        signature=Signature(data[-SIGNATURE_BYTES:]),
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
    if version != VERSION:
        raise MalformedError(f"trailer of version {version}")
    if text_size > MAX_TEXT or len(data) != fixed + text_size + SIGNATURE_BYTES:
        raise MalformedError("trailer of the wrong length")
    return Trailer(
        request_id=request_id,
        status=_travelling(status),
        messages=messages,
        total_bytes=total,
        running_hash=running_hash,
        text=_text(data[fixed : fixed + text_size]),
        signature=Signature(data[-SIGNATURE_BYTES:]),
    )


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
