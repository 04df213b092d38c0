"""Gossip RPCs before and through the protobuf library: limits, any bytes, any flipped byte."""

from __future__ import annotations

import time
from typing import Any

import pytest
from adversary.wire import Rpc, encode_rpc
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from libp2p.pubsub.pb import rpc_pb2
from yumad.protocols.libp2p.rpc_shape import (
    MAX_CONTROL,
    MAX_ID,
    MAX_IDS,
    MAX_MESSAGES,
    MAX_RPC,
    MAX_SUBSCRIPTIONS,
    MAX_TOPIC,
    MalformedRpc,
    decode_rpc,
)

topics = st.text(min_size=1, max_size=20)
ids = st.lists(st.binary(min_size=1, max_size=MAX_ID), max_size=4)
rpcs = st.builds(
    Rpc,
    subscriptions=st.lists(st.tuples(topics, st.booleans()), max_size=3),
    messages=st.lists(st.tuples(topics, st.binary(max_size=300)), max_size=3),
    ihave=st.lists(st.tuples(topics, ids), max_size=3),
    iwant=ids,
    graft=st.lists(topics, max_size=3),
    prune=st.lists(st.tuples(topics, st.integers(0, 2**63)), max_size=3),
    idontwant=ids,
)


@given(rpcs)
def test_rpc_within_the_limits_is_what_the_library_reads(rpc: Rpc) -> None:
    assert decode_rpc(encode_rpc(rpc)) == rpc.to_library()


@given(st.binary(max_size=200))
def test_any_bytes_are_an_rpc_or_malformed(data: bytes) -> None:
    _decode_or_malformed(data)


@given(rpcs, st.data())
def test_any_flipped_byte_is_an_rpc_or_malformed(rpc: Rpc, data: st.DataObject) -> None:
    raw = bytearray(encode_rpc(rpc))
    for _ in range(3):
        if raw:
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    _decode_or_malformed(bytes(raw))


def _decode_or_malformed(data: bytes) -> None:
    try:
        rpc = decode_rpc(data)
    except MalformedRpc:
        return
    for message in rpc.publish:
        assert len(message.topicIDs) == 1
        assert isinstance(message.topicIDs[0], str)


def test_signed_record_is_not_kept() -> None:
    assert not decode_rpc(rpc_pb2.RPC(senderRecord=b"x").SerializeToString()).HasField("senderRecord")


def _message(**fields: Any) -> bytes:
    return bytes(rpc_pb2.RPC(publish=[rpc_pb2.Message(**fields)]).SerializeToString())


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (bytes(MAX_RPC + 1), "at most"),
        (b"\x0a\x7f", "longer than"),
        (b"\x0d\x01", "cut off"),
        (b"\x0b", "wire type"),
        (b"\x08" + b"\xff" * 11, "too long"),
        (encode_rpc(Rpc(subscriptions=[("t", True)] * (MAX_SUBSCRIPTIONS + 1))), "more entries"),
        (encode_rpc(Rpc(messages=[("t", b"")] * (MAX_MESSAGES + 1))), "more entries"),
        (encode_rpc(Rpc(graft=["t"] * (MAX_CONTROL + 1))), "control entries"),
        (encode_rpc(Rpc(ihave=[("t", [b"i"] * 3000), ("t", [b"i"] * (MAX_IDS - 2999))])), "message ids"),
        (encode_rpc(Rpc(iwant=[bytes(MAX_ID + 1)])), "id too long"),
        (encode_rpc(Rpc(graft=["t" * (MAX_TOPIC + 1)])), "topic too long"),
        (_message(data=b"x"), "0 topics"),
        (_message(data=b"x", topicIDs=["a", "b"]), "2 topics"),
        (b"\x12\x03\x22\x01\xff", "not UTF-8"),
    ],
)
def test_rpc_beyond_a_limit_is_malformed_and_says_why(raw: bytes, why: str) -> None:
    with pytest.raises(MalformedRpc, match=why):
        decode_rpc(raw)


def test_half_a_million_empty_messages_are_objects_to_the_library_and_given_up_early_here() -> None:
    bomb = b"\x12\x00" * 500_000
    try:
        assert len(rpc_pb2.RPC.FromString(bomb).publish) == 500_000
    except DecodeError:
        pytest.fail("the library refuses it by itself now")
    started = time.process_time()
    with pytest.raises(MalformedRpc):
        decode_rpc(bomb)
    assert time.process_time() - started < 0.1
