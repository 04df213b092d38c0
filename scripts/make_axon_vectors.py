#!/usr/bin/env python3
"""Writes the conformance vectors of the call protocol: tests/vectors/axon/*.json (AXON R12; docs/axon.md "Vectors").

    scripts/make_axon_vectors.py [FOLDER]

Everything is made from fixed seeds, so a second run writes the same bytes. A change of the files is a change of the
protocol: give it a version.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from yumad.consensus import cbor
from yumad.consensus.signature import KeyPair
from yumad.consensus.types import AccountId, Hash32
from yumad.protocols.axon.certificate import issue_certificate
from yumad.protocols.axon.envelope import NO_SIGNATURE, Envelope, Flag, sign_envelope
from yumad.protocols.axon.frames import Kind, credit, frame
from yumad.protocols.axon.receipts import encode_receipt
from yumad.protocols.axon.replies import Reply, Trailer, sign_reply, sign_trailer
from yumad.protocols.axon.status import Status
from yumad.protocols.transport import PeerId

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "vectors" / "axon"

GENESIS = Hash32(bytes(range(32)))
CALLER_SEED, RECEIVER_SEED, OTHER_SEED = b"\x01" * 32, b"\x02" * 32, b"\x03" * 32
CALLER, RECEIVER, OTHER = KeyPair(CALLER_SEED), KeyPair(RECEIVER_SEED), KeyPair(OTHER_SEED)
CREATED = 1_800_000_000_000_000_000
PEER = PeerId("12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X")
BODY, ANSWER = b"What is the answer?", b"42"

Vector = dict[str, Any]


def account(key: KeyPair) -> AccountId:
    return AccountId(key.public_key)


PLAIN = Envelope(
    genesis_hash=GENESIS,
    netuid=7,
    method="inference.ask",
    method_version=1,
    caller=account(CALLER),
    receiver=account(RECEIVER),
    request_id=bytes(range(100, 116)),
    created=CREATED,
    deadline=CREATED + 5_000_000_000,
    body_length=len(BODY),
    body_hash=sha256(BODY).digest(),
)
GOOD = sign_envelope(PLAIN, CALLER)
REQUEST = GOOD.digest()


def vector(name: str, kind: str, data: bytes, result: str, **fields: Any) -> Vector:
    """result: `ok`, `malformed` (does not decode), or `bad_signature` (decodes and proves nothing)."""
    return {"name": name, "kind": kind, "result": result, "data": data.hex(), **fields}


def envelope_fields(envelope: Envelope) -> Vector:
    return {
        "netuid": envelope.netuid,
        "method": envelope.method,
        "method_version": envelope.method_version,
        "caller": envelope.caller.hex(),
        "receiver": envelope.receiver.hex(),
        "request_id": envelope.request_id.hex(),
        "created": str(envelope.created),
        "deadline": str(envelope.deadline),
        "body_length": str(envelope.body_length),
        "body_hash": envelope.body_hash.hex(),
        "flags": envelope.flags,
        "extension": envelope.extension.hex(),
    }


def envelopes() -> Iterator[Vector]:
    for name, changes in (
        ("plain call", {}),
        ("empty body", {"body_length": 0, "body_hash": sha256(b"").digest()}),
        ("largest numbers", {"netuid": 65535, "method_version": 65535, "body_length": (1 << 64) - 1}),
        ("longest method name", {"method": "a" * 64}),
        ("stream in both directions", {"flags": Flag.STREAM_IN | Flag.STREAM_OUT}),
        ("extension is signed and ignored", {"extension": b"something newer"}),
    ):
        envelope = sign_envelope(replace(PLAIN, **changes), CALLER)  # type: ignore[arg-type]
        fields = envelope_fields(envelope)
        yield vector(name, "envelope", envelope.encode(), "ok", fields=fields, digest=envelope.digest().hex())
    channel = replace(PLAIN, flags=Flag.CHANNEL)
    yield vector("channel mode has no signature", "envelope", channel.encode(), "bad_signature")
    yield vector("signed by another key", "envelope", sign_envelope(PLAIN, OTHER).encode(), "bad_signature")
    yield vector("netuid changed", "envelope", replace(GOOD, netuid=8).encode(), "bad_signature")
    yield vector("deadline changed", "envelope", replace(GOOD, deadline=GOOD.deadline + 1).encode(), "bad_signature")
    signed_elsewhere = sign_envelope(replace(PLAIN, genesis_hash=Hash32(GENESIS[:4] + bytes(28))), CALLER)
    yield vector("same four bytes, other genesis", "envelope", signed_elsewhere.encode(), "bad_signature")
    data = GOOD.encode()
    yield vector("another version", "envelope", b"\x02" + data[1:], "malformed")
    yield vector("another network", "envelope", data[:1] + b"\xff" + data[2:], "malformed")
    yield vector("cut", "envelope", data[:-1], "malformed")
    yield vector("trailing byte", "envelope", data + b"\x00", "malformed")
    yield vector("unknown flag", "envelope", sign_envelope(replace(PLAIN, flags=8), CALLER).encode(), "malformed")
    yield vector("capital in the name", "envelope", data.replace(b"inference", b"Inference"), "malformed")
    yield vector("empty name", "envelope", data.replace(b"\x0dinference.ask", b"\x00"), "malformed")
    yield vector("nothing", "envelope", b"", "malformed")


def _reply(**changes: Any) -> Reply:
    good = Reply(PLAIN.request_id, Status.OK, len(ANSWER), sha256(ANSWER).digest(), queue_us=250, handler_us=1500)
    return replace(good, **changes)


def replies() -> Iterator[Vector]:
    nothing = {"body_length": 0, "body_hash": sha256(b"").digest()}
    for name, reply in (
        ("answer", _reply()),
        ("refused with a hint", _reply(status=Status.RATE_LIMITED, retry_after_ms=1500, text="later", **nothing)),
        ("text in UTF-8", _reply(status=Status.HANDLER_ERROR, text="schöner Fehler", **nothing)),
        ("stream follows", _reply(flags=Flag.STREAM_OUT, **nothing)),
    ):
        signed = sign_reply(reply, GENESIS, REQUEST, RECEIVER)
        fields = {
            "request_id": reply.request_id.hex(),
            "status": int(reply.status),
            "flags": reply.flags,
            "body_length": str(reply.body_length),
            "body_hash": reply.body_hash.hex(),
            "retry_after_ms": reply.retry_after_ms,
            "queue_us": reply.queue_us,
            "handler_us": reply.handler_us,
            "text": reply.text,
        }
        yield vector(name, "reply", signed.encode(), "ok", fields=fields, request=REQUEST.hex())
    for name, data in (
        ("unsigned refusal", _reply(status=Status.BUSY, signature=NO_SIGNATURE, **nothing).encode()),
        ("signed by another key", sign_reply(_reply(), GENESIS, REQUEST, OTHER).encode()),
        ("to another request", sign_reply(_reply(), GENESIS, Hash32(bytes(32)), RECEIVER).encode()),
    ):
        yield vector(name, "reply", data, "bad_signature", request=REQUEST.hex())
    data = sign_reply(_reply(), GENESIS, REQUEST, RECEIVER).encode()
    for name, bad in (
        ("status that never travels", data[:17] + b"\x28" + data[18:]),
        ("unknown status", data[:17] + b"\x0f" + data[18:]),
        ("cut", data[:-1]),
        ("another version", b"\x02" + data[1:]),
        ("text that is not UTF-8", _reply(text="xx").encode().replace(b"xx", b"\xff\xfe")),
    ):
        yield vector(name, "reply", bad, "malformed", request=REQUEST.hex())


def trailers() -> Iterator[Vector]:
    running = sha256()
    for message in (b"one", b"", b"three"):
        running.update(len(message).to_bytes(4, "big") + message)
    trailer = Trailer(PLAIN.request_id, Status.OK, 3, 8, running.digest())
    common = {"request": REQUEST.hex(), "messages": [b"one".hex(), "", b"three".hex()]}
    for name, from_caller, key in (("of the receiver", False, RECEIVER), ("of the caller", True, CALLER)):
        signed = sign_trailer(trailer, GENESIS, REQUEST, from_caller, key)
        yield vector(name, "trailer", signed.encode(), "ok", from_caller=from_caller, **common)
    failed = replace(trailer, status=Status.HANDLER_ERROR, text="gone")
    data = sign_trailer(failed, GENESIS, REQUEST, False, RECEIVER).encode()
    yield vector("of a handler that failed", "trailer", data, "ok", from_caller=False, **common)
    data = sign_trailer(trailer, GENESIS, REQUEST, True, RECEIVER).encode()
    yield vector("signed for the other direction", "trailer", data, "bad_signature", from_caller=False, **common)
    data = replace(sign_trailer(trailer, GENESIS, REQUEST, False, RECEIVER), messages=4).encode()
    yield vector("count changed", "trailer", data, "bad_signature", from_caller=False, **common)
    yield vector("cut", "trailer", data[:-1], "malformed", from_caller=False, **common)


def frames() -> Iterator[Vector]:
    whole = frame(Kind.CALL, GOOD.encode()) + frame(Kind.DATA, BODY)
    for name, data, kinds in (
        ("call with its body", whole, [[1, GOOD.encode().hex()], [2, BODY.hex()]]),
        ("credit", credit(262_144), [[7, (262_144).to_bytes(8, "big").hex()]]),
        ("empty message", frame(Kind.MESSAGE), [[5, ""]]),
        (
            "message in two parts",
            frame(Kind.MESSAGE_PART, b"one ") + frame(Kind.MESSAGE, b"message"),
            [[4, b"one ".hex()], [5, b"message".hex()]],
        ),
    ):
        yield vector(name, "frames", data, "ok", frames=kinds)
    for name, data in (
        ("kind 0", b"\x00\x00\x00\x00\x00"),
        ("kind 9", b"\x00\x00\x00\x00\x09"),
        ("data above 64 KiB", b"\x00\x01\x00\x01\x02"),
        ("envelope above 8 KiB", b"\x00\x00\x20\x01\x01"),
        ("cut payload", whole[:-1]),
        ("cut header", b"\x00\x00\x00"),
    ):
        yield vector(name, "frames", data, "malformed")


def receipts() -> Iterator[Vector]:
    reply = sign_reply(_reply(), GENESIS, REQUEST, RECEIVER).encode()
    bodies = {"request_body": BODY.hex(), "reply_body": ANSWER.hex()}
    envelope = GOOD.encode()
    yield vector("of a call", "receipt", encode_receipt(GENESIS, envelope, reply), "ok", **bodies)
    head = sign_reply(
        _reply(flags=Flag.STREAM_OUT, body_length=0, body_hash=sha256(b"").digest()), GENESIS, REQUEST, RECEIVER
    ).encode()
    trailer = sign_trailer(Trailer(PLAIN.request_id, Status.OK, 0, 0, sha256(b"").digest()), GENESIS, REQUEST, False,
                           RECEIVER).encode()  # fmt: skip
    yield vector("of a stream", "receipt", encode_receipt(GENESIS, envelope, head, trailer), "ok")
    forged = sign_reply(_reply(), GENESIS, REQUEST, OTHER).encode()
    yield vector("reply by another key", "receipt", encode_receipt(GENESIS, envelope, forged), "bad_signature")
    other = sign_envelope(replace(PLAIN, netuid=8), CALLER).encode()
    yield vector("reply to another request", "receipt", encode_receipt(GENESIS, other, reply), "bad_signature")
    data = encode_receipt(GENESIS, envelope, reply)
    yield vector("other body", "receipt", data, "bad_signature", request_body=b"another".hex())
    yield vector("trailing byte", "receipt", data + b"\x00", "malformed")
    yield vector("another version", "receipt", cbor.encode([2, GENESIS, envelope, reply, None]), "malformed")


def certificates() -> Iterator[Vector]:
    good = issue_certificate(CALLER, GENESIS, PEER, issued=CREATED)
    common = {"peer": PEER, "now": str(CREATED + 1)}
    yield vector("of a peer", "certificate", good.encode(), "ok", **common)
    yield vector("of another peer", "certificate", good.encode(), "bad_signature", peer="12D3", now=str(CREATED))
    yield vector("expired", "certificate", good.encode(), "bad_signature", peer=PEER, now=str(good.expires))
    other = issue_certificate(CALLER, Hash32(bytes(32)), PEER, issued=CREATED)
    yield vector("of another network", "certificate", other.encode(), "bad_signature", **common)
    yield vector("cut", "certificate", good.encode()[:-1], "malformed", **common)


FILES = {
    "envelopes": envelopes,
    "replies": replies,
    "trailers": trailers,
    "frames": frames,
    "receipts": receipts,
    "certificates": certificates,
}


def documents() -> dict[str, str]:
    """Text of each file by name."""
    world = {
        "genesis_hash": GENESIS.hex(),
        "caller_seed": CALLER_SEED.hex(),
        "receiver_seed": RECEIVER_SEED.hex(),
        "caller": account(CALLER).hex(),
        "receiver": account(RECEIVER).hex(),
    }
    return {
        f"{name}.json": json.dumps({"version": 1, "world": world, "vectors": list(make())}, indent=1) + "\n"
        for name, make in FILES.items()
    }


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in documents().items():
        (folder / name).write_text(text, encoding="utf-8")
        print(folder / name)


if __name__ == "__main__":
    main()
