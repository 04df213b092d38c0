"""The conformance vectors of the call protocol, as another implementation would read them (AXON R12)."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from test_wire_frames import reader
from yumad.consensus.types import AccountId, Hash32, MalformedError
from yumad.protocols.axon.certificate import decode_certificate
from yumad.protocols.axon.envelope import decode_envelope, verify_envelope
from yumad.protocols.axon.receipts import verify_receipt
from yumad.protocols.axon.replies import decode_reply, decode_trailer, verify_reply, verify_trailer
from yumad.protocols.transport import PeerId, StreamClosed

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "tests" / "vectors" / "axon"
LEAST = 30

Vector = dict[str, Any]


def read_all() -> list[tuple[str, Vector, Vector]]:
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        assert document["version"] == 1
        found += [(path.stem, document["world"], vector) for vector in document["vectors"]]
    return found


def _told(fields: Vector, found: object) -> None:
    """Every field that a vector tells is the decoded one; 64-bit numbers are text in JSON, bytes are hex."""
    decoded = asdict(found)  # type: ignore[call-overload]
    for name, told in fields.items():
        value = decoded[name]
        if isinstance(value, bytes):
            value = value.hex()
        assert str(value if not hasattr(value, "value") else value.value) == str(told), name


def _envelope(world: Vector, vector: Vector, data: bytes) -> bool:
    envelope = decode_envelope(data, Hash32(bytes.fromhex(world["genesis_hash"])))
    if "fields" in vector:
        _told(vector["fields"], envelope)
        assert envelope.digest().hex() == vector["digest"]
        assert envelope.encode() == data
    return verify_envelope(envelope)


def _reply(world: Vector, vector: Vector, data: bytes) -> bool:
    reply = decode_reply(data)
    if "fields" in vector:
        _told(vector["fields"], reply)
        assert reply.encode() == data
    genesis, request = (Hash32(bytes.fromhex(text)) for text in (world["genesis_hash"], vector["request"]))
    return verify_reply(reply, genesis, request, AccountId(bytes.fromhex(world["receiver"])))


def _trailer(world: Vector, vector: Vector, data: bytes) -> bool:
    trailer = decode_trailer(data)
    messages = [bytes.fromhex(text) for text in vector["messages"]]
    running = sha256(b"".join(len(message).to_bytes(4, "big") + message for message in messages))
    assert trailer.running_hash == running.digest()
    genesis, request = (Hash32(bytes.fromhex(text)) for text in (world["genesis_hash"], vector["request"]))
    from_caller = vector["from_caller"]
    signer = AccountId(bytes.fromhex(world["caller" if from_caller else "receiver"]))
    return verify_trailer(trailer, genesis, request, from_caller, signer)


async def _frames(world: Vector, vector: Vector, data: bytes) -> bool:
    frames = reader(data)
    found = []
    try:
        while (header := await frames.header()) is not None:
            found.append([int(header[0]), (await frames.payload(header[1])).hex()])
    except StreamClosed as error:
        raise MalformedError(str(error)) from error
    assert found == vector.get("frames", found)
    return True


def _receipt(world: Vector, vector: Vector, data: bytes) -> bool:
    bodies = {name: bytes.fromhex(vector[name]) for name in ("request_body", "reply_body") if name in vector}
    return verify_receipt(data, **bodies).is_valid


def _certificate(world: Vector, vector: Vector, data: bytes) -> bool:
    genesis = Hash32(bytes.fromhex(world["genesis_hash"]))
    return decode_certificate(data).is_good(genesis, PeerId(vector["peer"]), int(vector["now"]))


KINDS: dict[str, Callable[[Vector, Vector, bytes], Any]] = {
    "envelope": _envelope,
    "reply": _reply,
    "trailer": _trailer,
    "frames": _frames,
    "receipt": _receipt,
    "certificate": _certificate,
}


async def check(world: Vector, vector: Vector) -> None:
    """Raises AssertionError when the vector is not kept, KeyError when its kind is unknown."""
    judge = KINDS[vector["kind"]]
    try:
        verdict = judge(world, vector, bytes.fromhex(vector["data"]))
        result = "ok" if (await verdict if vector["kind"] == "frames" else verdict) else "bad_signature"
    except MalformedError:
        result = "malformed"
    assert result == vector["result"]


@pytest.mark.parametrize(
    ("world", "vector"),
    [pytest.param(world, vector, id=f"{stem}: {vector['name']}") for stem, world, vector in read_all()],
)
async def test_r12_vector_is_kept(world: Vector, vector: Vector) -> None:
    await check(world, vector)


def test_r12_there_are_vectors_of_every_kind_and_result_and_none_is_skipped() -> None:
    vectors = [vector for _, _, vector in read_all()]
    assert len(vectors) >= LEAST
    for kind in KINDS:
        results = {vector["result"] for vector in vectors if vector["kind"] == kind}
        assert {"ok", "malformed"} <= results, kind
    assert {vector["kind"] for vector in vectors} == set(KINDS)
    names = [(vector["kind"], vector["name"]) for vector in vectors]
    assert len(names) == len(set(names))


async def test_r12_vector_of_an_unknown_kind_fails() -> None:
    with pytest.raises(KeyError):
        await check({}, {"kind": "telegram", "data": "", "result": "ok"})


async def test_r12_vector_that_is_not_kept_fails() -> None:
    _, world, vector = read_all()[0]
    with pytest.raises(AssertionError):
        await check(world, {**vector, "result": "bad_signature" if vector["result"] != "bad_signature" else "ok"})


def test_r12_vectors_on_disk_are_those_that_the_program_makes() -> None:
    documents = runpy.run_path(str(ROOT / "scripts" / "make_axon_vectors.py"))["documents"]()
    assert {path.name for path in FOLDER.glob("*.json")} == set(documents)
    for name, text in documents.items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, f"{name}: run scripts/make_axon_vectors.py"
