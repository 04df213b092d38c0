"""Strict canonical CBOR: every value has one encoding, and nothing else decodes (CHAIN 5.5)."""

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from yumad.consensus import cbor
from yumad.consensus.types import MalformedError, YumadError

integers = st.integers(-(2**64), 2**64 - 1)
values = st.recursive(
    integers | st.binary(max_size=300) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=6),
    max_leaves=30,
)


def depth(value):
    return 1 + max((depth(item) for item in value), default=0) if isinstance(value, list) else 0


@given(values.filter(lambda value: depth(value) <= cbor.MAX_DEPTH))
def test_decode_of_an_encoding_gives_the_value(value):
    data = cbor.encode(value)
    assert cbor.decode(data, max_bytes=len(data)) == value
    assert data == cbor2.dumps(value, canonical=True)


@given(st.binary(max_size=60))
def test_decode_of_any_bytes_gives_a_value_with_that_encoding_or_a_designed_error(data):
    try:
        value = cbor.decode(data, max_bytes=60)
    except MalformedError:
        return
    assert cbor.encode(value) == data


@given(values.filter(lambda value: depth(value) <= cbor.MAX_DEPTH), st.data())
def test_decode_of_a_truncated_or_extended_encoding_is_refused(value, data):
    encoded = cbor.encode(value)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(MalformedError):
        cbor.decode(encoded[:cut], max_bytes=10_000)
    with pytest.raises(MalformedError, match=r"trailing|truncated"):
        cbor.decode(encoded + b"\0", max_bytes=10_000)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("integer not in its shortest form", "1817"),
        ("two-byte integer below 256", "1900ff"),
        ("eight-byte integer below 2^32", "1b00000000ffffffff"),
        ("length not in its shortest form", "5801aa"),
        ("indefinite byte string", "5f41aaff"),
        ("indefinite array", "9f01ff"),
        ("break alone", "ff"),
        ("text", "6161"),
        ("map", "a10102"),
        ("tag: date", "c11a514b67b0"),
        ("tag: bignum", "c249010000000000000000"),
        ("tag: regular expression", "d823613a"),
        ("tag: shared reference", "d81c80"),
        ("half float", "f93c00"),
        ("single float", "fa3f800000"),
        ("double float", "fb3ff0000000000000"),
        ("NaN", "f97e00"),
        ("undefined", "f7"),
        ("simple value 32", "f820"),
        ("reserved length", "1c"),
        ("array longer than the input", "9b7fffffffffffffff"),
        ("byte string longer than the input", "5b7fffffffffffffff"),
        ("nine nested arrays", "81" * 9 + "00"),
        ("nothing", ""),
        ("two items", "0000"),
    ],
)
def test_decode_of_bytes_outside_the_subset_is_refused(name, data):
    with pytest.raises(MalformedError):
        cbor.decode(bytes.fromhex(data), max_bytes=1000)


def test_decode_of_more_bytes_than_allowed_is_refused_before_anything_else():
    with pytest.raises(MalformedError, match="11 bytes, at most 10"):
        cbor.decode(b"\xff" * 11, max_bytes=10)


def test_decode_of_the_deepest_allowed_nesting_succeeds():
    data = b"\x81" * cbor.MAX_DEPTH + b"\x00"
    assert cbor.encode(cbor.decode(data, max_bytes=100)) == data


@pytest.mark.parametrize("value", [1.0, "text", {1: 2}, 2**64, -(2**64) - 1, bytearray(b"a"), {1, 2}])
def test_encode_of_anything_outside_the_subset_is_a_programming_error(value):
    with pytest.raises(TypeError):
        cbor.encode(value)


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (lambda v: cbor.as_uint(v, 8, what="x"), 256),
        (lambda v: cbor.as_uint(v, 8, what="x"), -1),
        (lambda v: cbor.as_uint(v, 8, what="x"), True),
        (lambda v: cbor.as_bytes(v, 4, what="x"), b"abc"),
        (lambda v: cbor.as_bytes(v, what="x", most=2), b"abc"),
        (lambda v: cbor.as_bytes(v, what="x"), 5),
        (lambda v: cbor.as_array(v, 2, what="x"), [1]),
        (lambda v: cbor.as_array(v, what="x", most=1), [1, 2]),
        (lambda v: cbor.as_array(v, what="x"), b"ab"),
        (lambda v: cbor.as_bool(v, what="x"), 1),
    ],
)
def test_typed_access_to_another_type_names_the_field(check, value):
    with pytest.raises(YumadError, match="x: "):
        check(value)
