"""Receipts: a request and its answer, both signed, checkable by anyone without a network (AXON R5).

A receipt is the canonical CBOR array `[1, genesis hash, envelope, reply head, trailer or null]`, the three as they
travelled. Bodies are not in it; their hashes are, in the envelope and in the head, so whoever holds a body can show
that it belongs. For a stream the trailer's running hash does the same for the messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from ...consensus import cbor
from ...consensus.types import Hash32, MalformedError
from .envelope import MAX_ENVELOPE, Envelope, Flag, decode_envelope, verify_envelope
from .replies import Reply, Trailer, decode_reply, decode_trailer, verify_reply, verify_trailer

VERSION: Final = 1

MAX_RECEIPT: Final = 3 * MAX_ENVELOPE + 64


@dataclass(frozen=True, slots=True)
class Receipt:
    """A decoded receipt. Nothing in it is checked but its form."""

    genesis_hash: Hash32
    envelope: Envelope
    reply: Reply
    trailer: Trailer | None


@dataclass(frozen=True, slots=True)
class ReceiptReport:
    """What a receipt proves. `problems` is empty when it proves everything that it says."""

    receipt: Receipt
    problems: tuple[str, ...]

    @property
    def is_valid(self) -> bool:
        """Both sides signed, and what was given of the bodies belongs to it."""
        return not self.problems


def encode_receipt(genesis_hash: Hash32, envelope: bytes, reply: bytes, trailer: bytes | None = None) -> bytes:
    """The receipt of a call, from what travelled."""
    return cbor.encode([VERSION, genesis_hash, envelope, reply, trailer])


def decode_receipt(data: bytes) -> Receipt:
    """Raises MalformedError."""
    fields = cbor.as_array(cbor.decode(data, max_bytes=MAX_RECEIPT), 5, what="receipt")
    if cbor.as_uint(fields[0], 8, what="receipt version") != VERSION:
        raise MalformedError(f"receipt of version {fields[0]}, this program knows {VERSION}")
    genesis_hash = Hash32(cbor.as_bytes(fields[1], 32, what="genesis hash"))
    envelope = decode_envelope(cbor.as_bytes(fields[2], what="envelope"), genesis_hash)
    reply = decode_reply(cbor.as_bytes(fields[3], what="reply head"))
    trailer = None if fields[4] is None else decode_trailer(cbor.as_bytes(fields[4], what="trailer"))
    return Receipt(genesis_hash, envelope, reply, trailer)


def verify_receipt(data: bytes, *, request_body: bytes | None = None, reply_body: bytes | None = None) -> ReceiptReport:
    """Check a receipt's signatures, and bodies when they are given. Raises MalformedError when it is none."""
    receipt = decode_receipt(data)
    envelope, reply, trailer = receipt.envelope, receipt.reply, receipt.trailer
    request = envelope.digest()
    problems = []
    if not verify_envelope(envelope):
        problems.append("the caller did not sign the request")
    if reply.request_id != envelope.request_id or not verify_reply(
        reply, receipt.genesis_hash, request, envelope.receiver
    ):
        problems.append("the receiver did not sign this reply to this request")
    if reply.flags & Flag.STREAM_OUT and trailer is None:
        problems.append("the signed end of the stream is missing, which says how it ended")
    if trailer is not None and (
        trailer.request_id != envelope.request_id
        or not verify_trailer(trailer, receipt.genesis_hash, request, False, envelope.receiver)
    ):
        problems.append("the receiver did not sign this trailer to this request")
    if request_body is not None and not _is_of(request_body, envelope.body_length, envelope.body_hash):
        problems.append("the request's body is another one")
    if reply_body is not None and not _is_of(reply_body, reply.body_length, reply.body_hash):
        problems.append("the reply's body is another one")
    return ReceiptReport(receipt, tuple(problems))


def _is_of(body: bytes, length: int, body_hash: bytes) -> bool:
    return len(body) == length and sha256(body).digest() == body_hash
