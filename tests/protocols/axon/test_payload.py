"""Bodies: what goes in comes out, large parts travel as they are, and no bytes do harm (AXON R10)."""

from __future__ import annotations

import math
import random
import struct
import timeit
import tracemalloc
from typing import Any

import cbor2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from yumad.consensus.types import InvalidError, MalformedError
from yumad.protocols.axon.payload import Coded, choose_codecs, decode_payload, encode_payload
from yumad.protocols.axon.payload_scan import decode_plain, encode_plain
from yumad.protocols.axon.tensor_codec import BLOCK, DTYPES, MANDATORY, local_codecs


def body_of(value: Any, **options: Any) -> bytes:
    return b"".join(encode_payload(value, **options))


def round_trip(value: Any, **options: Any) -> Any:
    return decode_payload(body_of(value, **options))


def raw(head: bytes, segments: bytes = b"") -> bytes:
    """A body made by hand; segments begin at the next multiple of 8."""
    start = 4 + len(head)
    return struct.pack(">I", len(head)) + head + (bytes(-start % 8) + segments if segments else b"")


def one_segment(entry: list[Any], segment: bytes) -> bytes:
    return raw(cbor2.dumps([cbor2.CBORTag(40000, 0), [entry]]), segment)


scalars = st.none() | st.booleans() | st.integers(-(1 << 64), (1 << 64) - 1) | st.floats() | st.text() | st.binary()
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(max_size=5) | st.integers(-(1 << 63), 1 << 63), inner, max_size=5)
    ),
    max_leaves=20,
)


def same(a: Any, b: Any) -> bool:
    if type(a) is float and type(b) is float:
        return a == b or (math.isnan(a) and math.isnan(b))
    if type(a) is list:
        return type(b) is list and len(a) == len(b) and all(map(same, a, b))
    if type(a) is dict:
        return type(b) is dict and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and bool(a == b)


@given(values)
def test_r10_any_plain_value_comes_back_as_it_was(value: Any) -> None:
    assert same(round_trip(value), value)


@given(st.binary(max_size=300))
def test_r10_random_bytes_decode_or_are_refused_as_malformed(data: bytes) -> None:
    for candidate in (data, raw(b"\x82" + data), raw(b"\x82" + data + b"\x80"), raw(b"\x82\xd9\x9c\x40\x00" + data)):
        try:
            decode_payload(candidate)
        except MalformedError:
            pass


def test_r10_damaged_bodies_decode_or_are_refused_as_malformed() -> None:
    rng = random.Random(10)
    array = np.arange(200, dtype=np.float32)
    good = body_of({"a": [1, "text", {"x": array}], "b": b"z" * 5000, "c": Coded(array, "int8"), "d": array > 3})
    for _ in range(10_000):
        damaged = bytearray(good)
        for _ in range(rng.randint(1, 3)):
            damaged[rng.randrange(len(damaged) if rng.random() < 0.3 else 220)] = rng.randrange(256)
        try:
            decode_payload(bytes(damaged[: rng.randint(0, len(good))] if rng.random() < 0.2 else damaged))
        except MalformedError:
            pass


@pytest.mark.parametrize("dtype", sorted(DTYPES))
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (5,), (2, 3, 4)])
def test_r10_arrays_of_every_dtype_and_shape_come_back(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(1).integers(0, 2, shape).astype(dtype)
    back = round_trip({"x": array, "y": [array, b"q" * 4097]})
    for got in (back["x"], back["y"][0]):
        assert got.dtype == array.dtype and got.shape == shape and np.array_equal(got, array)
        assert not got.flags.writeable
    assert back["y"][1] == b"q" * 4097


def test_r10_arrays_in_other_layouts_come_back_little_endian_and_contiguous() -> None:
    array = np.arange(12, dtype=">i4").reshape(3, 4).T
    back = round_trip(array)
    assert np.array_equal(back, array) and back.dtype == np.dtype("<i4")


def test_r10_array_of_four_mebibytes_costs_a_thousandth_on_the_wire_and_is_not_copied() -> None:
    array = np.random.default_rng(1).normal(size=1 << 20).astype(np.float32)
    assert len(body_of({"logits": array})) <= 1.001 * array.nbytes
    assert any(np.shares_memory(np.frombuffer(part, np.uint8), array) for part in encode_payload(array) if len(part))
    body = body_of(array)
    back = decode_payload(body)
    assert np.shares_memory(back, np.frombuffer(body, np.uint8)) and back.flags.aligned


def test_r10_half_precision_keeps_three_digits_in_half_the_bytes() -> None:
    array = np.random.default_rng(1).normal(size=(100, 7)).astype(np.float32)
    body = body_of(array, codecs=("fp16",))
    back = decode_payload(body)
    assert back.dtype == np.float32 and back.shape == (100, 7)
    assert np.allclose(back, array, rtol=1e-3, atol=1e-6) and len(body) < 0.55 * array.nbytes


@pytest.mark.parametrize("count", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5000])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_r10_blockwise_int8_errs_by_half_a_step_of_its_block(count: int, dtype: str) -> None:
    array = (np.random.default_rng(1).normal(size=count) * 10).astype(dtype)
    back = round_trip(array, codecs=("int8",))
    assert back.dtype == array.dtype
    for at in range(0, count, BLOCK):
        block = array[at : at + BLOCK].astype(np.float64)
        step = np.abs(block).max() / 127
        assert np.abs(back[at : at + BLOCK].astype(np.float64) - block).max() <= 0.51 * step + step * 127 / 2048


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_r10_values_that_a_lossy_codec_would_ruin_travel_exactly(bad: float) -> None:
    array = np.array([1.0, bad, 3.0])
    for codec in ("fp16", "int8"):
        assert np.array_equal(round_trip(array, codecs=(codec,)), array, equal_nan=True)


def test_r10_integers_are_exact_under_any_codec() -> None:
    array = np.arange(1000, dtype=np.int64) * 12345
    assert np.array_equal(round_trip(array, codecs=("int8", "fp16")), array)


def test_r10_field_with_a_codec_of_its_own_uses_it_and_others_do_not() -> None:
    array = np.linspace(0, 1, 1000)
    back = round_trip({"exact": array, "rough": Coded(array, "fp16")})
    assert np.array_equal(back["exact"], array) and not np.array_equal(back["rough"], array)
    assert np.array_equal(round_trip(Coded(array, "fp16"), peer=("none",)), array)


def test_r10_negotiation_keeps_what_both_sides_have() -> None:
    assert choose_codecs((), ("int8", "fp16")) == ("int8", "fp16", "none")
    assert choose_codecs(("zstd", "later"), ()) == ("none",)
    assert choose_codecs((), ("zstd",)) == ("none",)
    assert ("zstd" in choose_codecs(("zstd",), ("zstd",))) == ("zstd" in local_codecs())
    with pytest.raises(InvalidError, match="lz9"):
        choose_codecs((), ("lz9",))


def test_r10_peers_without_the_package_do_not_offer_zstd() -> None:
    assert local_codecs()[:3] == MANDATORY
    if "zstd" not in local_codecs():
        with pytest.raises(MalformedError, match="not offered"):
            decode_payload(one_segment(["uint8", [4], "zstd", 4], b"abcd"))


def test_r10_zstd_segments_come_back_and_bombs_are_refused() -> None:
    zstandard = pytest.importorskip("zstandard")
    array = np.zeros(100_000, dtype=np.float64)
    body = body_of(array, codecs=("zstd",))
    assert len(body) < 1000 and np.array_equal(decode_payload(body), array)
    bomb = zstandard.ZstdCompressor().compress(bytes(50 << 20))
    with pytest.raises(MalformedError, match="declare the size"):
        decode_payload(one_segment(["uint8", [100], "zstd", len(bomb)], bomb))
    undeclared = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(100))
    with pytest.raises(MalformedError):
        decode_payload(one_segment(["uint8", [100], "zstd", len(undeclared)], undeclared))


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (1 << 64, "64 bits"),
        (-(1 << 64) - 1, "64 bits"),
        (object(), "type object"),
        ({1.5: 1}, "key"),
        ({True: 1}, "key"),
        ({1, 2}, "type set"),
        ("\ud800", "surrogates"),
        (nested(17), "deeper"),
        (np.array(["x"]), "arrays of"),
        (np.zeros(2, np.complex64), "complex64"),
        (np.zeros((1,) * 17), "dimensions"),
    ],
)
def test_r10_value_without_a_form_is_refused_by_the_sender(value: Any, what: str) -> None:
    with pytest.raises(InvalidError, match=what):
        encode_payload(value)


def test_r10_cycles_are_refused_by_the_sender() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(InvalidError, match="deeper"):
        encode_payload(loop)


def test_r10_nesting_up_to_the_limit_is_carried() -> None:
    assert round_trip(nested(16)) == nested(16)


HOSTILE_VALUES = {
    "nested too deep": b"\x81" * 17 + b"\x00",
    "maps nested too deep": b"\xa1\x00" * 17 + b"\x00",
    "a long array that is not there": b"\x9b\x00\x00\x00\x01\x00\x00\x00\x00",
    "a long text that is not there": b"\x7b\x00\x00\x00\x01\x00\x00\x00\x00",
    "a map whose size overflows": b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
    "an indefinite array": b"\x9f\x00\xff",
    "an indefinite text": b"\x7f\x61a\xff",
    "a date tag": b"\xc1\x00",
    "a bignum": b"\xc2\x41\x01",
    "a shared reference": b"\xd8\x1c\x00",
    "undefined": b"\xf7",
    "a simple value": b"\xf8\x20",
    "bad UTF-8": b"\x61\xff",
    "a surrogate": b"\x63\xed\xa0\x80",
    "a key of bytes": b"\xa1\x41a\x00",
    "a key of float": b"\xa1\xf9\x00\x00\x00",
    "a key of null": b"\xa1\xf6\x00",
    "a key that is a list": b"\xa1\x80\x00",
    "the same key twice": b"\xa2\x61a\x00\x61a\x01",
    "a long form of a small integer": b"\x18\x01",
    "a long form of a length": b"\x58\x01a",
    "the same integer key in two forms": b"\xa2\x01\x00\x18\x01\x00",
    "a segment that is not there": b"\xd9\x9c\x40\x00",
    "nothing": b"",
    "a truncated float": b"\xfb\x00",
    "a truncated length": b"\x19\x00",
}


@pytest.mark.parametrize("name", HOSTILE_VALUES)
def test_r10_hostile_value_is_refused(name: str) -> None:
    with pytest.raises(MalformedError):
        decode_payload(raw(b"\x82" + HOSTILE_VALUES[name] + b"\x80"))
    with pytest.raises(MalformedError):
        decode_plain(HOSTILE_VALUES[name])


HOSTILE_SEGMENTS = {
    "an unknown dtype": (["object", [1], "none", 8], bytes(8)),
    "a dtype that is no text": ([7, [1], "none", 8], bytes(8)),
    "a shape that is no list": (["uint8", 8, "none", 8], bytes(8)),
    "a shape of texts": (["uint8", ["8"], "none", 8], bytes(8)),
    "a negative length in the shape": (["uint8", [-8], "none", 8], bytes(8)),
    "two negative lengths": (["uint8", [-2, -4], "none", 8], bytes(8)),
    "booleans in the shape": (["uint8", [True], "none", 1], bytes(1)),
    "a shape larger than the bytes": (["float64", [2], "none", 8], bytes(8)),
    "a shape whose product overflows": (["uint8", [1 << 32, 1 << 32], "none", 0], b""),
    "a huge shape times zero of another": (["uint8", [1 << 50, 0], "none", 0], b""),
    "too many dimensions": (["uint8", [1] * 17, "none", 1], bytes(1)),
    "an unknown codec": (["float32", [1], "int3", 4], bytes(4)),
    "a codec that is no text": (["float32", [1], 1, 4], bytes(4)),
    "half precision for integers": (["int32", [2], "fp16", 4], bytes(4)),
    "half precision of another length": (["float32", [3], "fp16", 4], bytes(4)),
    "blocks of another length": (["float32", [64], "int8", 64], bytes(64)),
    "bytes with a codec": (["bytes", [8], "int8", 8], bytes(8)),
    "bytes of another length": (["bytes", [9], "none", 8], bytes(8)),
    "a length that is not there": (["uint8", [1 << 33], "none", 1 << 33], bytes(8)),
    "a negative length": (["uint8", [0], "none", -8], bytes(8)),
    "a boolean length": (["uint8", [1], "none", True], bytes(1)),
    "bytes after the last": (["uint8", [4], "none", 4], bytes(8)),
    "booleans of 2": (["bool", [1], "none", 1], b"\x02"),
    "an entry that is short": (["uint8", [1], "none"], bytes(1)),
}


@pytest.mark.parametrize("name", HOSTILE_SEGMENTS)
def test_r10_hostile_segment_is_refused(name: str) -> None:
    entry, segment = HOSTILE_SEGMENTS[name]
    with pytest.raises(MalformedError):
        decode_payload(one_segment(entry, segment))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00\x00",
        struct.pack(">I", 1 << 31),
        raw(b""),
        raw(b"\x80"),
        raw(cbor2.dumps([1, [["uint8", [1], "none", 1]]]), b"x"),
        raw(cbor2.dumps([1, []])) + b"trailing",
        raw(cbor2.dumps([1, []]) + b"\x00"),
        raw(cbor2.dumps([[cbor2.CBORTag(40000, 1), cbor2.CBORTag(40000, 0)], [["uint8", [1], "none", 1]] * 2]), b"xx"),
        raw(cbor2.dumps([[cbor2.CBORTag(40000, 0)] * 2, [["uint8", [1], "none", 1]]]), b"x"),
        raw(cbor2.dumps([cbor2.CBORTag(40000, "0"), [["uint8", [1], "none", 1]]]), b"x"),
        raw(cbor2.dumps([cbor2.CBORTag(40000, 0), {}]), b"x"),
    ],
)
def test_r10_hostile_frame_of_a_body_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedError):
        decode_payload(body)


def test_r10_padding_that_carries_data_is_refused() -> None:
    body = bytearray(body_of(np.arange(3)))
    at = 4 + struct.unpack_from(">I", body)[0]
    assert at % 8
    body[at] = 1
    with pytest.raises(MalformedError, match="zero"):
        decode_payload(body)


def test_r10_small_body_that_asks_for_much_memory_gets_none() -> None:
    bombs = [
        one_segment(["float32", [1 << 38], "fp16", 1 << 39], b""),
        one_segment(["float32", [1 << 38], "zstd", 10], bytes(10)),
        raw(b"\x82" + b"\x9a\x7f\xff\xff\xff" + b"\x80"),
        raw(b"\x82" + b"\x99\xff\xff" + bytes(65535) + b"\x80"),
    ]
    tracemalloc.start()
    for bomb in bombs:
        with pytest.raises(MalformedError):
            decode_payload(bomb, max_items=1000)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_r10_arrays_beyond_the_limit_of_the_reader_are_refused() -> None:
    body = body_of(np.zeros(1000, np.float32), codecs=("int8",))
    assert decode_payload(body, max_decoded=4000).size == 1000
    with pytest.raises(MalformedError, match="larger than allowed"):
        decode_payload(body, max_decoded=3999)


def test_r10_more_items_than_allowed_are_refused() -> None:
    body = body_of(list(range(100)))
    assert decode_payload(body, max_items=101) == list(range(100))
    with pytest.raises(MalformedError, match="more than 100"):
        decode_payload(body, max_items=100)


def test_r10_plain_frames_carry_no_segments() -> None:
    assert decode_plain(encode_plain([1, "call", {"body": b"x" * 10_000}])) == [1, "call", {"body": b"x" * 10_000}]
    with pytest.raises(MalformedError, match="after the value"):
        decode_plain(b"\x00\x00")


def test_r10_small_messages_cost_microseconds() -> None:
    messages = {
        "1 kB of bytes": {"data": b"x" * 1024},
        "20 fields": {f"field{i}": i * 1000 if i % 2 else f"text {i}" for i in range(20)},
    }
    for name, message in messages.items():
        best = min(timeit.repeat(lambda message=message: round_trip(message), number=500, repeat=5)) / 500
        print(f"{name}: {best * 1e6:.1f} us there and back")
        assert best < 400e-6, name  # 40 us is the aim on a quiet machine
