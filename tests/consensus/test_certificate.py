"""Certificates: a quorum by weight, each signer once, strict bytes (CHAIN 1.3, 1.7)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yumad.consensus import cbor
from yumad.consensus.authority import Authority, AuthoritySet
from yumad.consensus.certificate import (
    MAX_CERTIFICATE_BYTES,
    Certificate,
    certificate_from_votes,
    certificate_to_value,
    decode_certificate,
    encode_certificate,
    verify_certificate,
    votes_of,
)
from yumad.consensus.signature import KeyPair
from yumad.consensus.statement import Kind, SignedStatement, Statement, VoteDomain, nullify, signing_digest
from yumad.consensus.types import AuthorityKey, Hash32, InvalidError, MalformedError, Signature

DOMAIN = VoteDomain(Hash32(b"g" * 32))
KEYS = sorted((KeyPair(bytes([n]) * 32) for n in range(4)), key=lambda pair: pair.public_key)
WEIGHTS = (3, 3, 3, 1)
SET = AuthoritySet(
    tuple(Authority(AuthorityKey(k.public_key), w) for k, w in zip(KEYS, WEIGHTS, strict=True)), Hash32(b"s" * 32)
)
VOTE = Statement(Kind.FINALIZE, 1, 7, 6, Hash32(b"b" * 32))  # type: ignore[arg-type]


def vote(index: int, statement: Statement = VOTE) -> SignedStatement:
    return SignedStatement(statement, index, KEYS[index].sign(signing_digest(DOMAIN, statement)))


def certificate(*signers: int, statement: Statement = VOTE) -> Certificate:
    return certificate_from_votes([vote(index, statement) for index in signers])


@st.composite
def certificates(draw: st.DrawFn) -> Certificate:
    signers = tuple(sorted(draw(st.sets(st.integers(0, 99), min_size=1, max_size=100))))
    statement = draw(st.sampled_from([VOTE, nullify(2, 9), replace(VOTE, kind=Kind.NOTARIZE)]))  # type: ignore[arg-type]
    signatures = tuple(Signature(bytes([index]) * 64) for index in signers)
    return Certificate(statement, signers, signatures)


def test_quorum_is_weight_above_two_thirds() -> None:
    assert SET.quorum == 7


@pytest.mark.parametrize(("signers", "is_enough"), [((0, 1), False), ((0, 1, 3), True), ((0, 1, 2), True)])
def test_weight_one_below_the_quorum_is_refused_and_the_quorum_accepted(
    signers: tuple[int, ...], is_enough: bool
) -> None:
    if is_enough:
        verify_certificate(DOMAIN, certificate(*signers), SET)
    else:
        with pytest.raises(InvalidError, match=r"weight 6, the quorum is 7"):
            verify_certificate(DOMAIN, certificate(*signers), SET)


def test_wrong_signature_is_refused() -> None:
    good = certificate(0, 1, 3)
    bad = replace(good, signatures=(good.signatures[1], good.signatures[0], good.signatures[2]))
    with pytest.raises(InvalidError, match="signer 0"):
        verify_certificate(DOMAIN, bad, SET)


def test_signer_outside_the_set_is_refused() -> None:
    with pytest.raises(InvalidError, match="signer 4 of 4"):
        verify_certificate(DOMAIN, Certificate(VOTE, (0, 1, 4), (Signature(bytes(64)),) * 3), SET)


def test_certificate_of_a_proposal_is_refused() -> None:
    with pytest.raises(InvalidError, match="proposal"):
        verify_certificate(DOMAIN, certificate(0, 1, 2, statement=replace(VOTE, kind=Kind.PROPOSE)), SET)


@pytest.mark.parametrize("other", [VoteDomain(Hash32(b"h" * 32)), VoteDomain(DOMAIN.genesis_hash, Hash32(b"r" * 32))])
def test_certificate_of_another_domain_is_refused(other: VoteDomain) -> None:
    with pytest.raises(InvalidError):
        verify_certificate(other, certificate(0, 1, 2), SET)


def test_duplicate_signer_has_no_encoding() -> None:
    """A bitmap names each signer once; more signatures than bits are malformed."""
    fields = certificate_to_value(certificate(0, 1))
    fields[6] = fields[6] + vote(1).signature
    with pytest.raises(MalformedError):
        decode_certificate(cbor.encode(fields))


@pytest.mark.parametrize("bitmap", [b"", b"\x00", b"\x03\x00", b"\x01" * 14])
def test_bitmap_that_is_empty_padded_or_out_of_range_is_malformed(bitmap: bytes) -> None:
    fields = certificate_to_value(certificate(0, 1))
    fields[5] = bitmap
    with pytest.raises(MalformedError):
        decode_certificate(cbor.encode(fields))


@given(certificates())
def test_decode_of_an_encoded_certificate_gives_it_back_within_the_bound(kept: Certificate) -> None:
    data = encode_certificate(kept)
    assert decode_certificate(data) == kept
    assert len(data) <= MAX_CERTIFICATE_BYTES


@given(certificates(), st.data())
def test_one_flipped_bit_is_malformed_or_another_certificate(kept: Certificate, data: st.DataObject) -> None:
    encoded = bytearray(encode_certificate(kept))
    bit = data.draw(st.integers(0, len(encoded) * 8 - 1))
    encoded[bit // 8] ^= 1 << bit % 8
    try:
        decoded = decode_certificate(bytes(encoded))
    except MalformedError:
        return
    assert decoded != kept
    assert encode_certificate(decoded) == bytes(encoded)


@pytest.mark.parametrize("bit", range(0, len(encode_certificate(certificate(0, 1, 2))) * 8, 11))
def test_one_flipped_bit_of_a_certificate_never_verifies(bit: int) -> None:
    encoded = bytearray(encode_certificate(certificate(0, 1, 2)))
    encoded[bit // 8] ^= 1 << bit % 8
    with pytest.raises((MalformedError, InvalidError)):
        verify_certificate(DOMAIN, decode_certificate(bytes(encoded)), SET)


def test_votes_of_a_certificate_are_the_votes_it_was_made_of() -> None:
    votes = [vote(3), vote(0), vote(2)]
    assert votes_of(certificate_from_votes(votes)) == (vote(0), vote(2), vote(3))
