"""Certificates of peer ids by hotkeys (AXON R4, R34)."""

from __future__ import annotations

import random

import pytest
from axon_world import CALLER, EPOCH_NS, GENESIS, account
from yumad.consensus.types import Hash32, MalformedError
from yumad.protocols.axon.certificate import LIFETIME_NS, MAX_LIFETIME_NS, decode_certificate, issue_certificate
from yumad.protocols.transport import PeerId

PEER = PeerId("12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X")
CERTIFICATE = issue_certificate(CALLER, GENESIS, PEER, issued=EPOCH_NS)


def test_r34_certificate_is_good_for_its_peer_and_time_only() -> None:
    again = decode_certificate(CERTIFICATE.encode())
    assert again == CERTIFICATE
    assert again.hotkey == account(CALLER)
    assert again.is_good(GENESIS, PEER, EPOCH_NS)
    assert again.is_good(GENESIS, PEER, EPOCH_NS + LIFETIME_NS - 1)
    assert not again.is_good(GENESIS, PEER, EPOCH_NS + LIFETIME_NS)
    assert not again.is_good(GENESIS, PEER, EPOCH_NS - 11 * 10**9)
    assert not again.is_good(GENESIS, PeerId("other"), EPOCH_NS)
    assert not again.is_good(Hash32(bytes(32)), PEER, EPOCH_NS)


def test_r34_certificate_for_longer_than_a_day_is_not_good() -> None:
    long = issue_certificate(CALLER, GENESIS, PEER, issued=EPOCH_NS, lifetime=MAX_LIFETIME_NS + 1)
    assert not long.is_good(GENESIS, PEER, EPOCH_NS)


def test_r34_every_flipped_bit_spoils_a_certificate() -> None:
    rng = random.Random(6)
    good = CERTIFICATE.encode()
    for _ in range(500):
        data = bytearray(good)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        try:
            assert not decode_certificate(bytes(data)).is_good(GENESIS, PEER, EPOCH_NS)
        except MalformedError:
            pass


@pytest.mark.parametrize("data", [b"", CERTIFICATE.encode()[:-1], CERTIFICATE.encode() + b"x", bytes(200)])
def test_certificate_of_the_wrong_length_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        decode_certificate(data)
