"""Headers, bodies and blocks: canonical bytes, identity, and the commitment of a header to its body (R0)."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yumad.consensus import cbor
from yumad.consensus.block import (
    EMPTY_BODY,
    MAX_BODY_BYTES,
    MAX_EVIDENCE_PER_BLOCK,
    MAX_TRANSACTION_BYTES,
    Block,
    Body,
    commit_root,
    decode_block,
    decode_body,
    encode_block,
    encode_body,
    tx_root,
    verify_body,
)
from yumad.consensus.certificate import Certificate
from yumad.consensus.evidence import make_evidence
from yumad.consensus.header import MAX_HEADER_BYTES, Header, block_hash, decode_header, encode_header
from yumad.consensus.statement import Kind, SignedStatement, Statement
from yumad.consensus.types import InvalidError, MalformedError, Signature

u32, u64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
hashes = st.binary(min_size=32, max_size=32)
headers = st.builds(
    Header, u32, u64, u32, u64, hashes, st.integers(0, 2**16 - 1), hashes, hashes, hashes, hashes, hashes, hashes, u32
)

STATEMENT = Statement(Kind.FINALIZE, 1, 2, 1, b"b" * 32)
CERTIFICATE = Certificate(STATEMENT, (0, 9), (Signature(b"a" * 64), Signature(b"c" * 64)))
EVIDENCE = make_evidence(
    SignedStatement(STATEMENT, 3, Signature(b"s" * 64)),
    SignedStatement(replace(STATEMENT, block_hash=b"d" * 32), 3, Signature(b"t" * 64)),
)


def header_for(body):
    return Header(
        1, 1, 0, 1, b"p" * 32, 0, tx_root(body), bytes(32), bytes(32), bytes(32), bytes(32), commit_root(body), 1
    )


@given(headers)
def test_decode_of_an_encoded_header_gives_it_back_and_fits_the_bound(header):
    data = encode_header(header)
    assert decode_header(data) == header
    assert len(data) <= MAX_HEADER_BYTES


@pytest.mark.parametrize("field", [item.name for item in fields(Header)])
def test_hash_covers_every_header_field(field):
    header = header_for(EMPTY_BODY)
    value = getattr(header, field)
    changed = value + 1 if isinstance(value, int) else bytes([value[0] ^ 1]) + value[1:]
    assert block_hash(replace(header, **{field: changed})) != block_hash(header)


@given(st.binary(max_size=400))
def test_decode_of_any_bytes_as_header_body_or_block_only_raises_designed_errors(data):
    for decode in (decode_header, decode_body, decode_block):
        with pytest.raises(MalformedError):
            decode(data)


@given(st.lists(st.binary(min_size=1, max_size=100), max_size=5), st.booleans(), st.booleans())
def test_decode_of_an_encoded_block_gives_it_back(transactions, with_certificate, with_evidence):
    body = Body(CERTIFICATE if with_certificate else None, (EVIDENCE,) if with_evidence else (), tuple(transactions))
    block = Block(header_for(body), body)
    assert decode_block(encode_block(block)) == block
    verify_body(block.header, body)


def test_body_with_other_transactions_certificate_or_evidence_does_not_match_its_header():
    header = header_for(Body(CERTIFICATE, (EVIDENCE,), (b"one", b"two")))
    with pytest.raises(InvalidError, match="tx_root"):
        verify_body(header, Body(CERTIFICATE, (EVIDENCE,), (b"two", b"one")))
    with pytest.raises(InvalidError, match="commit_root"):
        verify_body(header, Body(None, (EVIDENCE,), (b"one", b"two")))
    with pytest.raises(InvalidError, match="commit_root"):
        verify_body(header, Body(CERTIFICATE, (), (b"one", b"two")))


def test_body_above_its_bounds_is_refused():
    with pytest.raises(MalformedError, match="at most"):
        decode_body(bytes(MAX_BODY_BYTES + 1))
    with pytest.raises(MalformedError, match="evidence list"):
        decode_body(encode_body(Body(None, (EVIDENCE,) * (MAX_EVIDENCE_PER_BLOCK + 1), ())))
    with pytest.raises(MalformedError, match="transaction"):
        decode_body(cbor.encode([None, [], [bytes(MAX_TRANSACTION_BYTES + 1)]]))
