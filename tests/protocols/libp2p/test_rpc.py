"""The gossip RPC codec: round trip, limits, and any bytes at all."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from libp2p.pubsub.pb import rpc_pb2
from yumad.protocols.libp2p.rpc import (
    MAX_CONTROL,
    MAX_IDS,
    MAX_MESSAGES,
    MAX_RPC,
    MAX_SUBSCRIPTIONS,
    MAX_TOPIC,
    MalformedRpc,
    Rpc,
    decode_rpc,
    encode_rpc,
    encode_varint,
)

topics = st.text(min_size=1, max_size=30)
ids = st.binary(max_size=40)
rpcs = st.builds(
    Rpc,
    subscriptions=st.lists(st.tuples(topics, st.booleans()), max_size=5),
    messages=st.lists(st.tuples(topics, st.binary(max_size=300)), max_size=5),
    ihave=st.lists(st.tuples(topics, st.lists(ids, max_size=5)), max_size=3),
    iwant=st.lists(ids, max_size=5),
    graft=st.lists(topics, max_size=3),
    prune=st.lists(st.tuples(topics, st.integers(0, 2**64 - 1)), max_size=3),
    idontwant=st.lists(ids, max_size=5),
)


@given(rpcs)
def test_rpc_encoded_and_decoded_is_the_same(rpc: Rpc) -> None:
    assert decode_rpc(encode_rpc(rpc)) == rpc


@given(rpcs)
def test_rpc_encoding_is_read_alike_by_the_protobuf_library(rpc: Rpc) -> None:
    parsed = rpc_pb2.RPC.FromString(encode_rpc(rpc))
    assert [(m.topicIDs[0], m.data) for m in parsed.publish] == rpc.messages
    assert decode_rpc(parsed.SerializeToString()) == rpc


@given(st.binary(max_size=400))
def test_any_bytes_are_an_rpc_or_malformed(data: bytes) -> None:
    try:
        decode_rpc(data)
    except MalformedRpc:
        pass


@given(rpcs, st.data())
def test_any_flipped_byte_is_an_rpc_or_malformed(rpc: Rpc, data: st.DataObject) -> None:
    raw = bytearray(encode_rpc(rpc))
    if raw:
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode_rpc(bytes(raw))
    except MalformedRpc:
        pass


def test_origin_key_and_signature_are_skipped() -> None:
    message = rpc_pb2.Message(data=b"d", topicIDs=["t"], from_id=b"f", seqno=b"1", key=b"\xff", signature=b"s")
    assert decode_rpc(rpc_pb2.RPC(publish=[message], senderRecord=b"junk").SerializeToString()) == Rpc(
        messages=[("t", b"d")]
    )


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (bytes(MAX_RPC + 1), "at most"),
        (b"\x12\x00", "no topic"),
        (b"\x0a\x02\x08\x01", "no topic"),
        (b"\x00\x00", "field number 0"),
        (b"\x0b", "wire type 3"),
        (b"\x12\x05ab", "are left"),
        (b"\x10\x01", "a number where bytes belong"),
        (b"\xff" * 10, "overlong"),
        (b"\xff\xff", "cut or overlong"),
        (b"\x09\x01", "cut in a fixed-width"),
        (encode_rpc(Rpc(messages=[("t" * (MAX_TOPIC + 1), b"")])), "bytes of a topic"),
        (b"\x12\x03\x22\x01\xff", "not UTF-8"),
        (b"\x12\x06\x22\x01a\x22\x01b", "several topics"),
        (encode_rpc(Rpc(subscriptions=[("t", True)] * (MAX_SUBSCRIPTIONS + 1))), "subscriptions"),
        (encode_rpc(Rpc(messages=[("t", b"")] * (MAX_MESSAGES + 1))), "messages"),
        (encode_rpc(Rpc(graft=["t"] * (MAX_CONTROL + 1))), "control entries"),
        (encode_rpc(Rpc(iwant=[b"i"] * (MAX_IDS + 1))), "message ids"),
        (encode_rpc(Rpc(iwant=[b"i" * 65])), "bytes of a message id"),
    ],
)
def test_rpc_beyond_a_limit_is_malformed_and_says_why(raw: bytes, why: str) -> None:
    with pytest.raises(MalformedRpc, match=why):
        decode_rpc(raw)


def test_half_a_million_empty_objects_are_given_up_early() -> None:
    started = time.process_time()
    with pytest.raises(MalformedRpc):
        decode_rpc(b"\x1a" + encode_varint(1_000_000) + b"\x0a\x00" * 500_000)
    assert time.process_time() - started < 0.1
