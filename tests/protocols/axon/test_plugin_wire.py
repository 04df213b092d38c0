"""Frames and values of the plugin socket: what travels comes back, anything else is refused (AXON R24)."""

from __future__ import annotations

import math
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yumad.consensus.types import AccountId, MalformedError
from yumad.protocols.axon.interfaces import CallReply, CallResult, Latency, ServedMethod
from yumad.protocols.axon.plugin_values import (
    call_reply,
    call_result,
    method_document,
    plain,
    reply_document,
    result_document,
    served_method,
)
from yumad.protocols.axon.plugin_wire import (
    MAX_FRAME,
    Frame,
    FrameBuffer,
    FrameKind,
    FrameTooLargeError,
    decode_frame,
    decode_value,
    encode_frame,
)
from yumad.protocols.axon.policy import Policy, Quota
from yumad.protocols.axon.status import Status
from yumad.protocols.transport import PeerId

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=50),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=30,
)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 1 << 62), st.sampled_from(FrameKind), st.text(max_size=20), VALUES), max_size=8)
)
def test_frames_come_back_however_they_are_cut(frames: list[tuple[int, FrameKind, str, Any]]) -> None:
    sent = [Frame(*frame) for frame in frames]
    data = b"".join(encode_frame(frame) for frame in sent)
    buffer, received = FrameBuffer(), []
    for at in range(0, len(data), 7):
        buffer.feed(data[at : at + 7])
        while (frame := buffer.next()) is not None:
            received.append(frame)
    assert received == sent
    assert len(buffer) == 0


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_malformed(data: bytes) -> None:
    try:
        decode_value(data)
    except MalformedError:
        pass


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x9f\xff",
        b"\x5f\x41a\xff",
        b"\xc0\x61a",
        b"\xd9\x9c\x40\x00",
        b"\xf7",
        b"\xf8\x20",
        b"\x1c",
        b"\x61\xff",
        b"\x81" * 17 + b"\x00",
        b"\x00\x00",
        b"\x9b" + b"\xff" * 8,
        b"\xbb\x7f" + b"\xff" * 7,
        b"\x5b" + b"\x00" * 7 + b"\x02a",
    ],
)
def test_forms_that_are_not_used_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        decode_value(data)


@pytest.mark.parametrize(
    "value", [[1, 0, "m"], [-1, 0, "m", None], [1, 8, "m", None], [1, True, "m", None], [1, 0, "m" * 65, None], {}, [1]]
)
def test_frame_of_another_shape_is_refused(value: Any) -> None:
    with pytest.raises(MalformedError):
        decode_frame(cbor2.dumps(value))


def test_frame_above_the_limit_is_neither_sent_nor_read() -> None:
    with pytest.raises(FrameTooLargeError):
        encode_frame(Frame(1, FrameKind.REPLY, body=bytes(MAX_FRAME)))
    buffer = FrameBuffer()
    buffer.feed((MAX_FRAME + 1).to_bytes(4, "big"))
    with pytest.raises(MalformedError):
        buffer.next()


METHOD = ServedMethod(
    "echo.ask", 3, 2.5, 100, 200, 7, True, False, True,
    Policy(False, 10, frozenset({AccountId(b"a" * 32)}), frozenset({AccountId(b"d" * 32)}), Quota(2.0, 5)),
)  # fmt: skip


def test_methods_replies_and_results_come_back() -> None:
    assert served_method(method_document(METHOD)) == METHOD
    reply = CallReply(Status.BUSY, b"x", "full", 250)
    assert call_reply(reply_document(reply)) == reply
    result = CallResult(
        AccountId(b"h" * 32), Status.OK, b"body", "", 0, Latency(0.1, 0.2, 0.3, 0.4, 1.0), 95.0, PeerId("12D3"), b"r"
    )
    received = call_result(result_document(result, 100.0), 1000.0)
    assert received.sent_at == 995.0, "on the receiver's clock"
    assert received.latency == result.latency
    assert (received.peer, received.receipt, received.hotkey) == ("12D3", b"r", b"h" * 32)
    never = CallResult(AccountId(b"h" * 32), Status.NO_RECORD)
    assert call_result(result_document(never, 5.0), 9.0) == never


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", "Echo!"),
        ("name", ""),
        ("version", 70_000),
        ("version", True),
        ("timeout", math.inf),
        ("timeout", 0.0),
        ("max_body", 1 << 30),
        ("concurrency", 0),
        ("stream_in", 1),
        ("allow", [b"short"]),
        ("allow", [b"a" * 32, b"a" * 32]),
        ("min_stake", -1),
        ("rate", -1.0),
        ("extra", 1),
    ],
)
def test_method_with_a_bad_field_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(MalformedError, match=name if name != "name" else "name"):
        served_method(method_document(METHOD) | {name: value})


def test_values_of_authors_are_made_plain() -> None:
    import numpy

    given = {"a": (1, numpy.float64(0.5)), "b": bytearray(b"x"), "c": [None, {3: numpy.int32(4)}]}
    assert plain(given) == {"a": [1, 0.5], "b": b"x", "c": [None, {"3": 4}]}
    with pytest.raises(TypeError):
        plain(object())
