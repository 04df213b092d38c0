"""Service records: what a hotkey signs of where it serves, and its sealed form (AXON R33, R34)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yumad.consensus import cbor
from yumad.consensus.signature import KeyPair
from yumad.consensus.types import AccountId, Hash32, InvalidError, MalformedError, Micros
from yumad.protocols.axon.records import (
    MAX_ADDRESSES,
    MAX_AHEAD,
    MAX_METHODS,
    MAX_RECORD_BYTES,
    MAX_RECORD_LIFETIME,
    RECORD_LIFETIME,
    OfferedMethod,
    ServiceRecord,
    decode_record,
    encode_record,
    make_record,
    parse_service_address,
    verify_record,
)
from yumad.protocols.axon.sealed_addresses import (
    MAX_BOXES_BYTES,
    MAX_HOLDERS,
    check_boxes,
    open_addresses,
    seal_addresses,
)
from yumad.protocols.peer_records import peer_id_of
from yumad.protocols.transport import PeerId

GENESIS = Hash32(bytes.fromhex("ab" * 32))
NOW = Micros(1_700_000_000_000_000)
HOTKEY = KeyPair(b"\x01" * 32)
PEER = peer_id_of(KeyPair(b"\x02" * 32).public_key)
RELAY = peer_id_of(KeyPair(b"\x03" * 32).public_key)
DIRECT = "/ip4/203.0.113.7/tcp/30333"
RELAYED = f"/ip4/198.51.100.1/tcp/30333/p2p/{RELAY}/relay"
METHODS = (OfferedMethod("infer.chat", 2, stream_out=True, schema=b"12345678"), OfferedMethod("infer.ping"))


def record(**fields: Any) -> ServiceRecord:
    """A good record of HOTKEY, or one that differs in a keyword of `make_record`."""
    values: dict[str, Any] = {"netuid": 1, "peer": PEER, "methods": METHODS, "now": NOW, "addresses": (DIRECT,)}
    values |= fields
    return make_record(
        GENESIS,
        HOTKEY,
        values.pop("netuid"),
        values.pop("peer"),
        values.pop("methods"),
        values.pop("now"),
        **values,
    )


def test_r33_record_survives_a_round_trip_and_verifies_on_its_chain_only() -> None:
    made = record(addresses=(DIRECT, RELAYED))
    assert decode_record(encode_record(made)) == made
    assert made.methods == METHODS
    verify_record(GENESIS, made, NOW)
    with pytest.raises(InvalidError, match="another chain"):
        verify_record(Hash32(bytes(32)), made, NOW)


def test_r33_direct_addresses_come_before_those_through_a_relay() -> None:
    assert record(addresses=(RELAYED, DIRECT)).dial_addresses() == (f"{DIRECT}/p2p/{PEER}", f"{RELAYED}/p2p/{PEER}")


@pytest.mark.parametrize(
    "change",
    [
        {"addresses": ("/ip4/203.0.113.8/tcp/30333",)},
        {"sequence": Micros(NOW + 1)},
        {"expires": Micros(NOW + RECORD_LIFETIME - 1)},
        {"netuid": 2},
        {"peer": RELAY},
        {"hotkey": AccountId(KeyPair(b"\x09" * 32).public_key)},
        {"methods": METHODS[:1]},
        {"methods": (replace(METHODS[0], version=3), METHODS[1])},
    ],
)
def test_r33_r34_altered_record_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidError) as refused:
        verify_record(GENESIS, replace(record(), **change), NOW)
    assert refused.value.code == "bad_signature"


def test_r33_record_is_good_for_less_than_an_hour() -> None:
    made = record()
    verify_record(GENESIS, made, Micros(made.expires - 1))
    for now, code in ((made.expires, "expired"), (Micros(NOW - MAX_AHEAD - 1), "from_the_future")):
        with pytest.raises(InvalidError) as refused:
            verify_record(GENESIS, made, now)
        assert refused.value.code == code
    with pytest.raises(InvalidError) as refused:
        verify_record(GENESIS, replace(made, expires=Micros(NOW + MAX_RECORD_LIFETIME + 1)), NOW)
    assert refused.value.code == "too_long"
    assert RECORD_LIFETIME < MAX_RECORD_LIFETIME == 3_600_000_000


def test_r33_record_stays_below_two_kib_and_says_what_does_not_fit() -> None:
    most = [OfferedMethod(f"subnet.method_{number:02}", schema=b"12345678") for number in range(MAX_METHODS)]
    addresses = [f"/dns4/{'a' * 60}.example/tcp/{30000 + number}" for number in range(MAX_ADDRESSES)]
    made = record(methods=most, addresses=addresses)
    assert len(encode_record(made)) <= MAX_RECORD_BYTES
    assert made.addresses == tuple(addresses)
    with pytest.raises(MalformedError, match="methods") as refused:
        record(methods=[*most, OfferedMethod("one.more")])
    assert refused.value.remedy
    long_names = [OfferedMethod(f"{'x' * 60}{number}") for number in range(MAX_METHODS)]
    assert record(methods=long_names, addresses=addresses).addresses != tuple(addresses)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, 2),
        (1, 1 << 16),
        (2, b"short"),
        (3, b"\x00" * 38),
        (4, [[b"UPPER", 1, False, False, b""]]),
        (4, [[b"", 1, False, False, b""]]),
        (4, [[b"a", 1, 0, False, b""]]),
        (4, [[b"a", 1, False, False, b"123"]]),
        (4, [[b"a", 1, False, False, b""]] * 2),
        (4, [[b"a%d" % number, 1, False, False, b""] for number in range(MAX_METHODS + 1)]),
        (5, [b"/ip4/203.0.113.7/udp/1"]),
        (5, [b"/ip4/203.0.113.7/tcp/1/relay"]),
        (5, [b"/ip4/203.0.113.7/tcp/1/p2p/nobody/relay"]),
        (5, ["/ip4/203.0.113.7/tcp/1".encode("utf-16")]),
        (5, [b"/ip4/203.0.113.7/tcp/1"] * (MAX_ADDRESSES + 1)),
        (6, b"12"),
        (6, bytes(32)),
        (7, -1),
        (9, bytes(63)),
    ],
)
def test_r33_record_with_a_bad_field_is_malformed(place: int, value: Any) -> None:
    fields = cbor.decode(encode_record(record()), max_bytes=MAX_RECORD_BYTES)
    fields[place] = value
    with pytest.raises(MalformedError):
        decode_record(cbor.encode(fields))


@given(st.binary(max_size=MAX_RECORD_BYTES + 1))
def test_r33_any_bytes_are_a_record_or_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        decode_record(data)


def test_r35_relay_address_names_its_relay() -> None:
    assert parse_service_address(RELAYED) == RELAYED
    for bad in (f"/p2p/{RELAY}/relay", f"{DIRECT}/p2p/{RELAY}", f"{DIRECT}/p2p/{RELAY}\n/relay", f"{RELAYED}/relay"):
        with pytest.raises(MalformedError):
            parse_service_address(bad)


# --- sealed -----------------------------------------------------------------------------------------------------------


def test_r33_only_permit_holders_open_sealed_addresses() -> None:
    holders = [KeyPair(bytes([number]) * 32) for number in range(10, 14)]
    boxes = seal_addresses((DIRECT, RELAYED), [AccountId(key.public_key) for key in holders])
    check_boxes(boxes)
    assert all(open_addresses(boxes, key) == (DIRECT, RELAYED) for key in holders)
    assert open_addresses(boxes, HOTKEY) is None
    assert b"203.0.113" not in boxes


def test_r33_boxes_of_all_permit_holders_are_bounded_and_of_one_length() -> None:
    holders = [AccountId(KeyPair(number.to_bytes(32, "big")).public_key) for number in range(MAX_HOLDERS + 3)]
    boxes, other = seal_addresses((DIRECT,), holders), seal_addresses((DIRECT, RELAYED), holders)
    check_boxes(boxes)
    assert len(boxes) == len(other) <= MAX_BOXES_BYTES
    assert len(cbor.decode(boxes, max_bytes=MAX_BOXES_BYTES)) == MAX_HOLDERS


def test_r33_hotkey_that_is_no_curve_point_gets_no_box() -> None:
    assert seal_addresses((DIRECT,), [AccountId(b"\x02" + bytes(31))]) == cbor.encode([])


def test_r33_box_with_another_content_opens_to_nothing() -> None:
    holder = AccountId(HOTKEY.public_key)
    ((hint, box),) = cbor.decode(seal_addresses((DIRECT,), [holder]), max_bytes=MAX_BOXES_BYTES)
    altered = cbor.encode([[hint, box[:-1] + bytes([box[-1] ^ 1])]])
    check_boxes(altered)
    assert open_addresses(altered, HOTKEY) is None
    for bad in ([[hint, box + b"1"]], [[hint]], [[b"", box]], [1]):
        with pytest.raises(MalformedError):
            check_boxes(cbor.encode(bad))


def test_r34_one_peer_speaks_for_many_hotkeys_and_one_hotkey_names_many_peers() -> None:
    peers = {record(peer=peer).peer for peer in (PEER, RELAY)}
    assert peers == {PEER, RELAY}
    with pytest.raises(MalformedError):
        record(peer=PeerId("12D3KooWnobody"))
