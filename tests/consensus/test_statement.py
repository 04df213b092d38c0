"""Signed statements: one strict form, and a digest that covers everything that is signed (CHAIN 1.3)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yumad.consensus import cbor
from yumad.consensus.signature import KeyPair
from yumad.consensus.statement import (
    Kind,
    SignedStatement,
    Statement,
    VoteDomain,
    decode_statement,
    encode_statement,
    nullify,
    signing_digest,
    statement_to_value,
    verify_statement,
)
from yumad.consensus.types import AuthorityKey, Hash32, InvalidError, MalformedError, Signature

DOMAIN = VoteDomain(Hash32(b"g" * 32))
KEY = KeyPair(b"k" * 32)
VOTE = Statement(Kind.NOTARIZE, 3, 8, 6, Hash32(b"b" * 32))  # type: ignore[arg-type]


@st.composite
def signed_statements(draw: st.DrawFn) -> SignedStatement:
    kind = draw(st.sampled_from(list(Kind)))
    era, view = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 2**64 - 1))
    if kind is Kind.NULLIFY:
        statement = nullify(era, view)  # type: ignore[arg-type]
    else:
        parent = draw(st.integers(0, view - 1))
        statement = Statement(kind, era, view, parent, Hash32(draw(st.binary(min_size=32, max_size=32))))  # type: ignore[arg-type]
    signature = Signature(draw(st.binary(min_size=64, max_size=64)))
    return SignedStatement(statement, draw(st.integers(0, 2**16 - 1)), signature)


def signed(statement: Statement = VOTE, domain: VoteDomain = DOMAIN) -> SignedStatement:
    return SignedStatement(statement, 0, KEY.sign(signing_digest(domain, statement)))


@given(signed_statements())
def test_decode_of_an_encoded_statement_gives_it_back(vote: SignedStatement) -> None:
    assert decode_statement(encode_statement(vote)) == vote


@given(signed_statements(), st.data())
def test_one_flipped_bit_is_malformed_or_another_statement(vote: SignedStatement, data: st.DataObject) -> None:
    encoded = bytearray(encode_statement(vote))
    bit = data.draw(st.integers(0, len(encoded) * 8 - 1))
    encoded[bit // 8] ^= 1 << bit % 8
    try:
        decoded = decode_statement(bytes(encoded))
    except MalformedError:
        return
    assert decoded != vote
    assert encode_statement(decoded) == bytes(encoded)


@pytest.mark.parametrize("bit", range(0, len(encode_statement(signed())) * 8, 3))
def test_one_flipped_bit_of_a_signed_statement_never_verifies_as_another(bit: int) -> None:
    encoded = bytearray(encode_statement(signed()))
    encoded[bit // 8] ^= 1 << bit % 8
    try:
        decoded = decode_statement(bytes(encoded))
    except MalformedError:
        return
    if decoded.index != 0:  # the index is not signed: it only names the key to check against
        return
    with pytest.raises(InvalidError):
        verify_statement(DOMAIN, decoded, AuthorityKey(KEY.public_key))


@pytest.mark.parametrize(
    "change",
    [
        {"kind": Kind.FINALIZE},
        {"era": 4},
        {"view": 9},
        {"parent_view": 5},
        {"block_hash": Hash32(b"c" * 32)},
    ],
)
def test_digest_covers_each_field(change: dict[str, object]) -> None:
    assert signing_digest(DOMAIN, replace(VOTE, **change)) != signing_digest(DOMAIN, VOTE)  # type: ignore[arg-type]


@pytest.mark.parametrize("other", [VoteDomain(Hash32(b"h" * 32)), VoteDomain(DOMAIN.genesis_hash, Hash32(b"r" * 32))])
def test_vote_of_another_genesis_or_restart_domain_does_not_verify(other: VoteDomain) -> None:
    verify_statement(DOMAIN, signed(), AuthorityKey(KEY.public_key))
    with pytest.raises(InvalidError, match="wrongly signed"):
        verify_statement(other, signed(), AuthorityKey(KEY.public_key))


@pytest.mark.parametrize(
    ("position", "value"), [(0, 4), (2, 0), (3, 8), (3, 9), (4, b"short"), (5, 1 << 16), (6, b"short"), (1, 1 << 32)]
)
def test_value_out_of_range_is_malformed(position: int, value: object) -> None:
    fields = statement_to_value(signed())
    fields[position] = value
    with pytest.raises(MalformedError):
        decode_statement(cbor.encode(fields))


@pytest.mark.parametrize(("position", "value"), [(3, 1), (4, b"b" * 32)])
def test_nullify_that_names_a_parent_or_block_is_malformed(position: int, value: object) -> None:
    fields = statement_to_value(signed(nullify(3, 8)))  # type: ignore[arg-type]
    fields[position] = value
    with pytest.raises(MalformedError, match="nullify"):
        decode_statement(cbor.encode(fields))


def test_other_signature_bytes_are_no_conflict() -> None:
    assert not VOTE.conflicts_with(VOTE)
    assert VOTE.conflicts_with(replace(VOTE, parent_view=5))  # type: ignore[arg-type]
    assert VOTE.conflicts_with(replace(VOTE, block_hash=Hash32(b"c" * 32)))
    assert not VOTE.conflicts_with(replace(VOTE, view=9))  # type: ignore[arg-type]
