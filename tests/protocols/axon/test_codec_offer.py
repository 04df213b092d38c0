"""What a peer decodes beyond the protocol's codecs, in records and envelopes (AXON R10)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from axon_world import CALLER, NETUID, SERVER, account, memory_world
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock
from yumad.consensus import cbor
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.signature import KeyPair
from yumad.consensus.types import Hash32, MalformedError, Micros
from yumad.protocols.axon.codec_offer import MAX_CODECS, codecs_in, encode_extension, own_codecs
from yumad.protocols.axon.interfaces import CallReply, IncomingCall
from yumad.protocols.axon.records import OfferedMethod, decode_record, encode_record, make_record, verify_record
from yumad.protocols.peer_records import peer_id_of

GENESIS = Hash32(bytes(32))
KEY = dev_keypair("miner")
NOW = Micros(10**15)
PEER = peer_id_of(KeyPair(bytes(32)).public_key)


@pytest.mark.parametrize("codecs", [(), ("zstd",), ("zstd", "a_later_one"), ("a" * 16,) * MAX_CODECS])
def test_r10_offer_in_an_extension_is_read_back(codecs: Sequence[str]) -> None:
    assert codecs_in(encode_extension(codecs)) == tuple(codecs)


@pytest.mark.parametrize(
    "extension",
    [
        b"\x01",
        b"\x01\x00\x05zstd",
        b"\x01\x00\x04zstd\x00",
        b"\x01\x00\x04ZSTD",
        b"\x01\x00\x05zstd,",
        b"\x01\x00\x11" + b"a" * 17,
        encode_extension(["a"] * (MAX_CODECS + 1)),
        b"what others put here",
    ],
)
def test_r10_extension_of_another_form_offers_nothing(extension: bytes) -> None:
    assert codecs_in(extension) == ()


def test_r10_items_of_other_kinds_are_passed_over() -> None:
    assert codecs_in(b"\x07\x00\x03abc" + encode_extension(["zstd"]) + b"\x02\x00\x00") == ("zstd",)


@given(st.binary(max_size=200))
def test_r10_any_extension_is_read_without_an_error(extension: bytes) -> None:
    assert len(codecs_in(extension)) <= MAX_CODECS


def test_r10_record_carries_the_codecs_under_its_signature() -> None:
    plain = make_record(GENESIS, KEY, 1, PEER, [OfferedMethod("echo")], NOW)
    record = make_record(GENESIS, KEY, 1, PEER, [OfferedMethod("echo")], NOW, codecs=("zstd", "a_later_one"))
    assert (plain.codecs, record.codecs) == ((), ("zstd", "a_later_one"))
    assert len(cbor.decode(encode_record(plain), max_bytes=2048)) == 10
    assert decode_record(encode_record(record)) == record
    verify_record(GENESIS, record, NOW)


@pytest.mark.parametrize(
    "codecs", [[], [b""], [b"ZSTD"], [b"zstd", b"zstd"], [b"a" * 17], [b"%d" % n for n in range(9)], b"zstd", [1]]
)
def test_r10_record_with_a_wrong_list_of_codecs_is_malformed(codecs: object) -> None:
    fields = cbor.decode(
        encode_record(make_record(GENESIS, KEY, 1, PEER, [OfferedMethod("echo")], NOW)), max_bytes=2048
    )
    assert isinstance(fields, list)
    with pytest.raises(MalformedError):
        decode_record(cbor.encode([*fields[:9], codecs, fields[9]]))


@pytest.mark.parametrize("count", [0, 1, 9, 12])
def test_r10_record_of_another_number_of_fields_is_malformed(count: int) -> None:
    with pytest.raises(MalformedError, match="10 or 11"):
        decode_record(cbor.encode([1] * count))


async def test_r10_handler_is_told_what_the_caller_decodes(autojump_clock: MockClock) -> None:
    seen: list[Sequence[str]] = []

    async def handler(call: IncomingCall) -> CallReply:
        seen.append(call.codecs)
        return CallReply()

    async with memory_world() as world:
        world.serve(handler)
        assert (await world.client.call(CALLER, NETUID, account(SERVER), "echo", b"", timeout=5)).ok
    assert seen == [own_codecs()]
    assert "zstd" in seen[0]
