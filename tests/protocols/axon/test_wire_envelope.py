"""Envelopes, replies and trailers as bytes: nothing that is changed on its way is accepted (AXON R1, R4, R12)."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from hashlib import sha256

import pytest
from axon_world import CALLER, FREE, GENESIS, NETUID, OPEN, OTHER, SERVER, View, account, echo, key
from yumad.consensus.types import Hash32, MalformedError
from yumad.protocols.axon.checks import CallRefused, ServerContext, check_call
from yumad.protocols.axon.envelope import (
    MAX_ENVELOPE,
    MAX_EXTENSION,
    Envelope,
    Flag,
    decode_envelope,
    envelope_outline,
    sign_envelope,
    verify_envelope,
)
from yumad.protocols.axon.interfaces import ServedMethod
from yumad.protocols.axon.limits import AxonLimits, KnockLimiter
from yumad.protocols.axon.registrations import Registration, ServedTable
from yumad.protocols.axon.replay import MemoryReplayStore
from yumad.protocols.axon.replies import (
    Reply,
    Trailer,
    decode_reply,
    decode_trailer,
    sign_reply,
    sign_trailer,
    verify_reply,
    verify_trailer,
)
from yumad.protocols.axon.status import Status

NOW = 1_800_000_000 * 10**9
FLIPS = 10_000
SMALL_ORDER = bytes(32)


def envelope(number: int = 0, body: bytes = b"hello", **changes: object) -> Envelope:
    plain = Envelope(
        genesis_hash=GENESIS,
        netuid=NETUID,
        method=("echo", "image.describe", "a" * 64)[number % 3],
        method_version=1 + number % 2,
        caller=account(CALLER),
        receiver=account(SERVER),
        request_id=number.to_bytes(16, "big"),
        created=NOW - number * 10**6,
        deadline=NOW + 5 * 10**9,
        body_length=len(body),
        body_hash=sha256(body).digest(),
        extension=bytes(number),
    )
    return sign_envelope(replace(plain, **changes), CALLER)  # type: ignore[arg-type]


def context() -> ServerContext:
    limits = AxonLimits()
    replay = MemoryReplayStore(lambda: NOW, salt=bytes(16))
    made = ServerContext(GENESIS, View(), FREE, replay, lambda: NOW, limits, 0, KnockLimiter(limits))
    methods = [
        ServedMethod(name, version=version, policy=OPEN)
        for name in ("echo", "image.describe", "a" * 64)
        for version in (1, 2)
    ]
    registration = Registration(made.places, SERVER, NETUID, ServedTable(methods, echo))
    made.places[NETUID, account(SERVER)] = registration
    return made


async def test_r1_ten_thousand_flipped_bits_are_all_refused() -> None:
    rng = random.Random(7)
    server = context()
    statuses: Counter[Status] = Counter()
    envelopes = []
    for number in range(20):
        body = rng.randbytes(rng.choice((0, 1, 100, 1000)))
        good = envelope(number, body)
        check_call(context(), good.encode(), {})
        envelopes.append((good.encode(), body))
    for _ in range(FLIPS):
        data, body = rng.choice(envelopes)
        everything = bytearray(data + body)
        everything[rng.randrange(len(everything))] ^= 1 << rng.randrange(8)
        head, changed = bytes(everything[: len(data)]), bytes(everything[len(data) :])
        try:
            checked = check_call(server, head, {})
        except CallRefused as refusal:
            statuses[refusal.status] += 1
            continue
        assert head == data
        assert sha256(changed).digest() != checked.envelope.body_hash
        statuses[Status.BAD_SIGNATURE] += 1
        server.replay = MemoryReplayStore(lambda: NOW, salt=bytes(16))
    assert statuses.total() == FLIPS
    assert set(statuses) == {
        Status.BAD_SIGNATURE,
        Status.STALE,
        Status.WRONG_RECEIVER,
        Status.MALFORMED,  # lengths, characters of the method's name, unknown flags
        Status.UNSUPPORTED_VERSION,
    }


@pytest.mark.parametrize(
    "field",
    [
        {"netuid": 8},
        {"method": "other"},
        {"method_version": 2},
        {"caller": account(OTHER)},
        {"receiver": account(OTHER)},
        {"request_id": b"x" * 16},
        {"created": NOW + 1},
        {"deadline": NOW + 1},
        {"body_length": 6},
        {"body_hash": bytes(32)},
        {"flags": 1},
        {"extension": b"x"},
        {"genesis_hash": Hash32(GENESIS[:4] + bytes(28))},
    ],
)
def test_r1_signature_covers_every_field_and_the_whole_genesis_hash(field: dict[str, object]) -> None:
    good = envelope()
    assert verify_envelope(good)
    assert not verify_envelope(replace(good, **field))  # type: ignore[arg-type]


def test_r12_envelope_encodes_and_decodes_to_itself() -> None:
    for number in range(10):
        good = envelope(number)
        assert decode_envelope(good.encode(), GENESIS) == good


@pytest.mark.parametrize("cut", [0, 1, 5, 100, 180, 217, -1])
def test_r12_envelope_that_is_cut_is_malformed(cut: int) -> None:
    with pytest.raises(MalformedError):
        decode_envelope(envelope().encode()[:cut], GENESIS)


def test_r11_largest_envelope_decodes_and_larger_ones_do_not() -> None:
    assert decode_envelope(envelope(extension=bytes(MAX_EXTENSION)).encode(), GENESIS)
    with pytest.raises(MalformedError):
        decode_envelope(envelope(extension=bytes(MAX_EXTENSION + 1)).encode(), GENESIS)
    with pytest.raises(MalformedError):
        decode_envelope(bytes(MAX_ENVELOPE + 1), GENESIS)


@pytest.mark.parametrize("name", ["", "Echo", "echo ", "écho", "e/cho", "a" * 65])
def test_r12_method_names_are_short_and_plain(name: str) -> None:
    good = envelope()
    raw = name.encode("utf-8")
    data = bytearray(good.encode())
    at = data.index(b"\x04echo")
    data[at : at + 5] = bytes([len(raw)]) + raw
    with pytest.raises(MalformedError):
        decode_envelope(bytes(data), GENESIS)


def test_outline_of_an_envelope_is_its_id_body_length_and_flags() -> None:
    good = envelope(3, b"hello", flags=Flag.STREAM_IN)
    assert envelope_outline(good.encode()) == (good.request_id, 5, Flag.STREAM_IN)
    assert envelope_outline(b"short") is None


def test_r4_reply_is_bound_to_request_status_body_and_receiver() -> None:
    request, other = envelope(1).digest(), envelope(2).digest()
    reply = sign_reply(Reply(bytes(16), Status.OK, 5, sha256(b"hello").digest()), GENESIS, request, SERVER)
    assert verify_reply(reply, GENESIS, request, account(SERVER))
    assert decode_reply(reply.encode()) == reply
    assert not verify_reply(reply, GENESIS, other, account(SERVER))
    assert not verify_reply(reply, GENESIS, request, account(OTHER))
    for change in ({"status": Status.BUSY}, {"body_hash": bytes(32)}, {"handler_us": 1}, {"text": "x"}, {"flags": 2}):
        assert not verify_reply(replace(reply, **change), GENESIS, request, account(SERVER))  # type: ignore[arg-type]


def test_r4_trailer_is_bound_to_request_direction_and_sender() -> None:
    request = envelope(1).digest()
    trailer = sign_trailer(Trailer(bytes(16), Status.OK, 2, 10, bytes(32)), GENESIS, request, True, CALLER)
    assert decode_trailer(trailer.encode()) == trailer
    assert verify_trailer(trailer, GENESIS, request, True, account(CALLER))
    assert not verify_trailer(trailer, GENESIS, request, False, account(CALLER))
    assert not verify_trailer(trailer, GENESIS, envelope(2).digest(), True, account(CALLER))
    assert not verify_trailer(replace(trailer, messages=3), GENESIS, request, True, account(CALLER))


def test_r7_statuses_that_never_travel_do_not_decode() -> None:
    for status in Status:
        data = Reply(bytes(16), status).encode()
        if status.travels:
            assert decode_reply(data).status is status
        else:
            with pytest.raises(MalformedError):
                decode_reply(data)


def test_reply_text_that_is_cut_or_not_utf8_is_malformed() -> None:
    data = Reply(bytes(16), Status.BUSY, text="later").encode()
    with pytest.raises(MalformedError):
        decode_reply(data[:-1])
    with pytest.raises(MalformedError):
        decode_reply(data.replace(b"later", b"l\xffter"))


def test_long_text_is_cut_where_a_character_ends() -> None:
    reply = decode_reply(Reply(bytes(16), Status.HANDLER_ERROR, text="é" * 1000 + "x").encode())
    assert set(reply.text) == {"é"}
    assert len(decode_reply(Reply(bytes(16), Status.HANDLER_ERROR, text="x" + "é" * 1000).encode()).text) == 512


def test_r1_keys_and_signatures_of_small_order_verify_nothing() -> None:
    weak = replace(envelope(), caller=SMALL_ORDER)  # type: ignore[arg-type]
    assert not verify_envelope(weak)
    assert not verify_envelope(replace(weak, caller=account(key(9))))
