"""Signed peer records, the book of them, and the addresses they may hold (DESIGN decision 12)."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID
from peer_doubles import GENESIS, key
from yumad.consensus.types import Hash32, InvalidError, MalformedError, Micros
from yumad.protocols.limits import MAX_PEER_RECORD_BYTES, MAX_PEER_RECORDS
from yumad.protocols.network_address import parse_network_address
from yumad.protocols.peer_records import (
    MAX_ADDRESSES,
    MAX_RECORD_LIFETIME,
    RECORD_LIFETIME,
    PeerBook,
    decode_record,
    encode_record,
    make_record,
    peer_id_of,
    verify_record,
)

NOW = Micros(1_700_000_000_000_000)
ADDRESS = "/ip4/203.0.113.7/tcp/30333"


def test_record_survives_a_round_trip_and_verifies_on_its_chain_only() -> None:
    record = make_record(GENESIS, key(1), [ADDRESS, "/dns4/peer.example.org/tcp/1"], NOW)
    assert decode_record(encode_record(record)) == record
    verify_record(GENESIS, record, NOW)
    with pytest.raises(InvalidError, match="another chain"):
        verify_record(Hash32(bytes(32)), record, NOW)


def test_peer_id_is_the_one_libp2p_gives_an_ed25519_key() -> None:
    pair = create_new_key_pair(key(1).seed)
    assert peer_id_of(pair.public_key.to_bytes()) == ID.from_pubkey(pair.public_key).to_base58()
    assert pair.public_key.to_bytes() == key(1).public_key
    assert make_record(GENESIS, key(1), [ADDRESS], NOW).dial_addresses() == (
        f"{ADDRESS}/p2p/{peer_id_of(key(1).public_key)}",
    )


@pytest.mark.parametrize(
    "change",
    [
        {"addresses": ("/ip4/203.0.113.8/tcp/30333",)},
        {"sequence": NOW + 1},
        {"expires": Micros(NOW + RECORD_LIFETIME - 1)},
        {"public_key": key(2).public_key},
    ],
)
def test_altered_record_is_refused(change: dict[str, object]) -> None:
    record = replace(make_record(GENESIS, key(1), [ADDRESS], NOW), **change)  # type: ignore[arg-type]
    with pytest.raises(InvalidError, match="wrongly signed"):
        verify_record(GENESIS, record, NOW)


def test_expired_or_immortal_record_is_refused() -> None:
    record = make_record(GENESIS, key(1), [ADDRESS], NOW)
    with pytest.raises(InvalidError, match="expired"):
        verify_record(GENESIS, record, record.expires)
    with pytest.raises(InvalidError, match="two days at most"):
        verify_record(GENESIS, record, Micros(record.expires - MAX_RECORD_LIFETIME - 1))


def test_fullest_record_fits_its_limit() -> None:
    addresses = ["/dns4/" + "a" * 60 + "." + "b" * 20 + f"/tcp/{10000 + n}" for n in range(MAX_ADDRESSES)]
    assert len(encode_record(make_record(GENESIS, key(1), addresses, NOW))) <= MAX_PEER_RECORD_BYTES


def test_newest_sequence_wins_and_an_old_record_cannot_come_back() -> None:
    book = PeerBook(GENESIS)
    old = make_record(GENESIS, key(1), [ADDRESS], NOW)
    new = make_record(GENESIS, key(1), ["/ip4/203.0.113.9/tcp/1"], Micros(NOW + 1))
    assert book.add(old, NOW)
    assert book.add(new, NOW)
    assert not book.add(old, NOW)
    assert book.get(new.peer) == new


def test_forged_newer_record_does_not_displace_the_right_one() -> None:
    book = PeerBook(GENESIS)
    right = make_record(GENESIS, key(1), [ADDRESS], NOW)
    book.add(right, NOW)
    with pytest.raises(InvalidError):
        book.add(replace(right, sequence=NOW + 9), NOW)
    assert book.get(right.peer) == right


def test_book_is_bounded_and_its_sample_is_fresh_and_small() -> None:
    book = PeerBook(GENESIS, most=40)
    for number in range(60):
        book.add(make_record(GENESIS, key(number), [ADDRESS], Micros(NOW + number)), Micros(NOW + number))
    assert len(book) == 40
    sample = book.sample(NOW, random.Random(1))
    assert len(sample) == len({record.peer for record in sample}) == MAX_PEER_RECORDS
    assert sample != book.sample(NOW, random.Random(2))
    assert book.sample(Micros(NOW + 2 * RECORD_LIFETIME), random.Random(1)) == []


def test_book_survives_a_restart_without_what_expired_or_is_damaged() -> None:
    book = PeerBook(GENESIS)
    for number in range(3):
        book.add(make_record(GENESIS, key(number), [ADDRESS], Micros(NOW + number)), NOW)
    rows = [*book.export(), b"damaged"]
    again = PeerBook(GENESIS)
    assert again.restore(rows, NOW) == 3
    assert PeerBook(GENESIS).restore(rows, Micros(NOW + RECORD_LIFETIME)) == 2


@given(st.binary(max_size=200))
def test_random_bytes_are_no_record(data: bytes) -> None:
    with pytest.raises(MalformedError):
        decode_record(data)


@pytest.mark.parametrize(
    "text",
    ["/ip4/1.2.3.4/tcp/1", "/ip6/2001:db8::1/tcp/65535", "/dns4/a.example/tcp/80", "/dns6/x/tcp/2", "/dns4/y-z/tcp/3"],
)
def test_address_that_can_be_dialed_is_taken(text: str) -> None:
    assert parse_network_address(text) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected /<kind>"),
        ("/ip4/1.2.3.4/udp/1", "expected /<kind>"),
        ("/ip4/1.2.3.4/tcp/1/ws", "expected /<kind>"),
        ("/dns/y-z.q/tcp/3", "kind 'dns' is unknown"),
        ("/ip6/fe80::1%eth0/tcp/1", "names an interface"),
        ("/ip4/1.2.3.4/tcp/0", "port '0'"),
        ("/ip4/1.2.3.4/tcp/65536", "port '65536'"),
        ("/ip4/1.2.3.4/tcp/080", "port '080'"),
        ("/ip4/1.2.3.4/tcp/²", "port '²'"),
        ("/ip4/1.2.3/tcp/1", "not an ip4 address"),
        ("/ip6/2001:DB8::1/tcp/1", "should be written 2001:db8::1"),
        ("/dns4/-a/tcp/1", "not a host name"),
        ("/dns4/a..b/tcp/1", "not a host name"),
        ("/onion/x/tcp/1", "kind 'onion' is unknown"),
        ("/dns4/" + "a" * 200 + "/tcp/1", "212 characters"),
    ],
)
def test_other_address_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason.replace("²", ".")):
        parse_network_address(text)


@given(st.text(max_size=60))
def test_any_text_is_taken_or_malformed(text: str) -> None:
    try:
        parse_network_address(text)
    except MalformedError:
        return
