"""Arguments of calls between text, JSON and the wire: every kind, both ways, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.rules.v1.calls.call import Argument, ArgumentKind, Call, Signer, decode_arguments
from yumad.consensus.rules.v1.calls.table import CALLS
from yumad.consensus.ss58 import encode_address
from yumad.daemon.arguments import ArgumentError, from_json, parse_rao, parse_text, shown
from yumad.daemon.commands.output import format_tao

KEY = dev_keypair("alice").public_key
SS58 = encode_address(KEY)

SAMPLES: dict[ArgumentKind, tuple[str, Any, Any]] = {
    ArgumentKind.U8: ("255", 255, 255),
    ArgumentKind.U16: ("65535", "65535", 65535),
    ArgumentKind.U64: (str(2**64 - 1), str(2**64 - 1), 2**64 - 1),
    ArgumentKind.I64: ("-5", -5, -5),
    ArgumentKind.BOOL: ("true", True, True),
    ArgumentKind.RAO: ("1.5", "1500000000", 1_500_000_000),
    ArgumentKind.ACCOUNT: ("dev:alice", SS58, KEY),
    ArgumentKind.HASH: ("0x" + "ab" * 32, "ab" * 32, b"\xab" * 32),
    ArgumentKind.SIGNATURE: ("cd" * 64, "cd" * 64, b"\xcd" * 64),
    ArgumentKind.BYTES: ("0024", "0024", b"\x00\x24"),
    ArgumentKind.U16_LIST: ("1,2,65535", [1, 2, 65535], b"\x01\x00\x02\x00\xff\xff"),
    ArgumentKind.U64_LIST: ("1, 2", [1, 2], [1, 2]),
    ArgumentKind.WEIGHT_LISTS: ("0,1/5,6;2/7", [[[0, 1], [5, 6]], [[2], [7]]], None),
    ArgumentKind.VALUES: ("7,20", [7, 20], [7, 20]),
    ArgumentKind.CHILDREN: (f"7:{SS58}", [["7", SS58]], [[7, KEY]]),
    ArgumentKind.OPTIONAL_RAO: ("none", None, None),
    ArgumentKind.OPTIONAL_U16: ("3", 3, 3),
    ArgumentKind.TEXTS: ("a name|", ["a name", ""], [b"a name", b""]),
    ArgumentKind.WEIGHT_REVEALS: (
        "0,1/5,6/9/2",
        [[[0, 1], [5, 6], [9], 2]],
        [[b"\x00\x00\x01\x00", b"\x05\x00\x06\x00", b"\x09\x00", 2]],
    ),
    ArgumentKind.HASHES: ("ab" * 32, ["ab" * 32], [b"\xab" * 32]),
    ArgumentKind.FIELDS: ("1:6869", [[1, "6869"]], [[1, b"hi"]]),
    ArgumentKind.SIGNATURES: (f"{SS58}:{'ef' * 64}", [[SS58, "ef" * 64]], [[KEY, b"\xef" * 64]]),
}


def argument(kind: ArgumentKind) -> Argument:
    return Argument("x", kind, "", most=64)


@pytest.mark.parametrize("kind", list(ArgumentKind), ids=lambda kind: kind.name)
def test_text_and_json_give_the_same_wire_value_that_the_rules_decode_and_json_shows_again(kind: ArgumentKind) -> None:
    text, json_value, wire = SAMPLES[kind]
    parsed = parse_text(argument(kind), text)
    assert parsed == from_json(argument(kind), json_value)
    assert wire is None or parsed == wire
    call = Call(1, "a.b", Signer.ANY, (argument(kind),), 1, lambda *_: [], "")
    decoded = decode_arguments(call, (parsed,))[0]
    shown_again = shown(argument(kind), decoded)
    assert from_json(argument(kind), shown_again) == parsed


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (ArgumentKind.U8, "256"),
        (ArgumentKind.U8, "-1"),
        (ArgumentKind.U8, "1.0"),
        (ArgumentKind.U8, "٣"),
        (ArgumentKind.U16, "x"),
        (ArgumentKind.U64, str(2**64)),
        (ArgumentKind.U64, "9" * 5000),
        (ArgumentKind.BOOL, "1"),
        (ArgumentKind.RAO, "-0.5"),
        (ArgumentKind.RAO, "1."),
        (ArgumentKind.RAO, ""),
        (ArgumentKind.RAO, "0.0000000001"),
        (ArgumentKind.ACCOUNT, "5Grw"),
        (ArgumentKind.HASH, "ab"),
        (ArgumentKind.SIGNATURE, "zz" * 64),
        (ArgumentKind.BYTES, "abc"),
        (ArgumentKind.BYTES, "00" * 65),
        (ArgumentKind.U16_LIST, "1,70000"),
        (ArgumentKind.U16_LIST, ",".join(["1"] * 65)),
        (ArgumentKind.WEIGHT_LISTS, "1,2"),
        (ArgumentKind.SIGNATURES, SS58),
        (ArgumentKind.SIGNATURES, f"{SS58}:00"),
    ],
)
def test_text_that_is_not_of_the_kind_is_refused_with_its_form(kind: ArgumentKind, text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        parse_text(argument(kind), text)
    assert caught.value.message.startswith("x")
    assert caught.value.remedy
    assert len(caught.value.message) < 400, "a long value is cut"


@given(
    kind=st.sampled_from(list(ArgumentKind)),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
        max_leaves=8,
    ),
)
def test_any_json_is_decoded_by_the_rules_or_refused(kind: ArgumentKind, value: Any) -> None:
    try:
        wire = from_json(argument(kind), value)
    except ArgumentError:
        return
    decode_arguments(Call(1, "a.b", Signer.ANY, (argument(kind),), 1, lambda *_: [], ""), (wire,))


@given(st.integers(0, 2**64 - 1))
def test_amounts_are_exact_both_ways(rao: int) -> None:
    assert parse_rao(format_tao(rao, "").strip()) == rao == parse_rao(f"{rao}rao")


def test_every_argument_of_every_call_has_a_form() -> None:
    for call in CALLS:
        for item in call.arguments:
            assert item.kind in SAMPLES
