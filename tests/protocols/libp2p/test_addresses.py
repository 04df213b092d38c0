"""Multiaddrs and peer ids from outside."""

from __future__ import annotations

import base58
import pytest
from hypothesis import given
from hypothesis import strategies as st
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID
from multiaddr import Multiaddr
from yumad.protocols.libp2p.addresses import address_of_socket, parse_address
from yumad.protocols.libp2p.identity import identity_from_seed, parse_peer_id, peer_id_of, public_key_of
from yumad.protocols.transport import PeerId

PEER = identity_from_seed(bytes(32)).peer


@pytest.mark.parametrize(
    "text",
    [
        "/ip4/127.0.0.1/tcp/30333",
        f"/ip4/127.0.0.1/tcp/30333/p2p/{PEER}",
        f"/ip6/2001:db8::1/tcp/1/p2p/{PEER}",
        f"/dns4/seed.example.org/tcp/65535/p2p/{PEER}",
        f"/dns6/a-b.example/tcp/80/p2p/{PEER}",
    ],
)
def test_address_parsed_and_written_is_the_same_and_a_multiaddr(text: str) -> None:
    assert str(parse_address(text)) == text
    assert str(Multiaddr(text)) == text


def test_address_is_written_in_canonical_form() -> None:
    assert str(parse_address("/ip6/2001:DB8:0:0::1/tcp/0080")) == "/ip6/2001:db8::1/tcp/80"
    assert parse_address("/dns4/Seed.Example/tcp/1").host == "seed.example"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not /ip4"),
        ("127.0.0.1:30333", "is not /ip4"),
        ("/ip4/127.0.0.1/udp/1/quic-v1", "is not /ip4"),
        ("/ip4/127.0.0.1/tcp/1/ws", "is not /ip4"),
        ("/ip4/1.2.3/tcp/1", "1.2.3"),
        ("/ip4/::1/tcp/1", "::1"),
        ("/ip6/1.2.3.4/tcp/1", "1.2.3.4"),
        ("/ip6/fe80::1%eth0/tcp/1", "names an interface"),
        ("/dns4/-bad-.example/tcp/1", "not a DNS name"),
        ("/dns4//tcp/1", "not a DNS name"),
        ("/ip4/1.2.3.4/tcp/0", "1..65535"),
        ("/ip4/1.2.3.4/tcp/65536", "1..65535"),
        ("/ip4/1.2.3.4/tcp/-1", "no port number"),
        ("/ip4/1.2.3.4/tcp/²", "no port number"),
        (f"/ip4/1.2.3.4/tcp/1/p2p-circuit/{PEER}", "only /p2p/"),
        ("/ip4/1.2.3.4/tcp/1/p2p/12D3KooW", "52 base58 digits"),
        ("/ip4/1.2.3.4/tcp/1/p2p/" + "1" * 52, "does not hold an Ed25519 key"),
        ("/ip4/1.2.3.4/tcp/1/p2p/" + "0" * 52, "nvalid character"),
        ("/ip4/" + "1" * 500, "characters"),
    ],
)
def test_address_that_is_not_one_says_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_address(text)


@given(st.text(max_size=80))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    for candidate in (text, "/" + text, f"/ip4/{text}/tcp/1", f"/dns4/{text}/tcp/1", f"/ip4/1.2.3.4/tcp/1/p2p/{text}"):
        try:
            assert parse_address(str(parse_address(candidate))) == parse_address(candidate)
        except ValueError:
            pass


@given(st.binary(min_size=32, max_size=32))
def test_peer_id_is_the_library_s_and_holds_the_key(seed: bytes) -> None:
    identity = identity_from_seed(seed)
    public_key = create_new_key_pair(seed).public_key
    assert identity.peer == ID.from_pubkey(public_key).to_base58()
    assert public_key_of(identity.peer) == public_key.to_bytes()
    assert peer_id_of(public_key.to_bytes()) == parse_peer_id(identity.peer)


def test_peer_id_of_another_key_type_is_refused() -> None:
    rsa_like = base58.b58encode(b"\x12\x20" + bytes(32)).decode()
    with pytest.raises(ValueError, match="base58 digits"):
        parse_peer_id(rsa_like)


def test_seed_of_wrong_size_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes, not 31"):
        identity_from_seed(bytes(31))


def test_socket_address_with_mapped_ipv4_or_scope_is_plain() -> None:
    assert str(address_of_socket("::ffff:1.2.3.4", 5)) == "/ip4/1.2.3.4/tcp/5"
    assert str(address_of_socket("fe80::1%eth0", 5, PeerId(PEER))) == f"/ip6/fe80::1/tcp/5/p2p/{PEER}"
