"""Receipts prove to anyone what was asked and answered (AXON R5)."""

from __future__ import annotations

import random
from dataclasses import replace
from hashlib import sha256

import pytest
from axon_world import CALLER, GENESIS, OTHER, SERVER, account
from test_wire_envelope import envelope
from yumad.consensus import cbor
from yumad.consensus.types import MalformedError
from yumad.protocols.axon.envelope import Flag
from yumad.protocols.axon.receipts import encode_receipt, verify_receipt
from yumad.protocols.axon.replies import Reply, Trailer, sign_reply, sign_trailer
from yumad.protocols.axon.status import Status

QUESTION, ANSWER = b"hello", b"good day"
ENVELOPE = envelope(4, QUESTION)
REPLY = sign_reply(
    Reply(ENVELOPE.request_id, Status.OK, len(ANSWER), sha256(ANSWER).digest()), GENESIS, ENVELOPE.digest(), SERVER
)
RECEIPT = encode_receipt(GENESIS, ENVELOPE.encode(), REPLY.encode())


def test_r5_receipt_of_a_call_verifies_offline_and_names_both_sides() -> None:
    report = verify_receipt(RECEIPT, request_body=QUESTION, reply_body=ANSWER)
    assert report.is_valid
    assert report.receipt.envelope.caller == account(CALLER)
    assert report.receipt.envelope.receiver == account(SERVER)
    assert report.receipt.reply.status is Status.OK


def test_r5_other_bodies_are_found_out() -> None:
    report = verify_receipt(RECEIPT, request_body=b"hallo", reply_body=b"good night")
    assert report.problems == ("the request's body is another one", "the reply's body is another one")


def test_r5_reply_by_somebody_else_or_to_another_request_proves_nothing() -> None:
    forged = sign_reply(REPLY, GENESIS, ENVELOPE.digest(), OTHER)
    assert not verify_receipt(encode_receipt(GENESIS, ENVELOPE.encode(), forged.encode())).is_valid
    other = envelope(5, QUESTION)
    assert not verify_receipt(encode_receipt(GENESIS, other.encode(), REPLY.encode())).is_valid


def test_r5_trailer_must_be_the_receivers() -> None:
    trailer = Trailer(ENVELOPE.request_id, Status.OK, 2, 10, bytes(32))
    good = sign_trailer(trailer, GENESIS, ENVELOPE.digest(), False, SERVER).encode()
    bad = sign_trailer(trailer, GENESIS, ENVELOPE.digest(), True, SERVER).encode()
    assert verify_receipt(encode_receipt(GENESIS, ENVELOPE.encode(), REPLY.encode(), good)).is_valid
    assert not verify_receipt(encode_receipt(GENESIS, ENVELOPE.encode(), REPLY.encode(), bad)).is_valid


def test_r5_stream_whose_end_was_taken_out_proves_nothing() -> None:
    begun = sign_reply(replace(REPLY, flags=Flag.STREAM_OUT), GENESIS, ENVELOPE.digest(), SERVER).encode()
    failed = Trailer(ENVELOPE.request_id, Status.HANDLER_ERROR, 0, 0, bytes(32))
    end = sign_trailer(failed, GENESIS, ENVELOPE.digest(), False, SERVER).encode()
    assert verify_receipt(encode_receipt(GENESIS, ENVELOPE.encode(), begun, end)).is_valid
    assert verify_receipt(encode_receipt(GENESIS, ENVELOPE.encode(), begun)).problems == (
        "the signed end of the stream is missing, which says how it ended",
    )


def test_r5_every_flipped_bit_spoils_a_receipt() -> None:
    rng = random.Random(5)
    for _ in range(1000):
        data = bytearray(RECEIPT)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        try:
            assert not verify_receipt(bytes(data)).is_valid
        except MalformedError:
            pass


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        cbor.encode([2, GENESIS, ENVELOPE.encode(), REPLY.encode(), None]),
        cbor.encode([1, GENESIS[:31], ENVELOPE.encode(), REPLY.encode(), None]),
        cbor.encode([1, GENESIS, ENVELOPE.encode(), REPLY.encode()]),
        cbor.encode([1, GENESIS, ENVELOPE.encode(), None, None]),
        RECEIPT + b"\x00",
        cbor.encode([1, GENESIS, bytes(40_000), REPLY.encode(), None]),
    ],
)
def test_r5_what_is_no_receipt_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        verify_receipt(data)
