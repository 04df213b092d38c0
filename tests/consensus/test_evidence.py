"""Evidence: what is punishable, and above all what is not (CHAIN 1.3, evidence and penalties)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yumad.consensus import cbor
from yumad.consensus.authority import Authority, AuthoritySet
from yumad.consensus.evidence import (
    MAX_EVIDENCE_BYTES,
    Evidence,
    decode_evidence,
    encode_evidence,
    evidence_to_value,
    is_offence,
    make_evidence,
    verify_evidence,
)
from yumad.consensus.signature import KeyPair
from yumad.consensus.statement import Kind, SignedStatement, Statement, VoteDomain, nullify, signing_digest
from yumad.consensus.types import AuthorityKey, Era, Hash32, InvalidError, MalformedError, Signature, View
from yumad.consensus.vote_guard import refusal

DOMAIN = VoteDomain(Hash32(b"g" * 32))
KEYS = sorted((KeyPair(bytes([n]) * 32) for n in range(2)), key=lambda pair: pair.public_key)
SET = AuthoritySet(tuple(Authority(AuthorityKey(k.public_key), 1) for k in KEYS), Hash32(b"s" * 32))
A, B = Hash32(b"a" * 32), Hash32(b"b" * 32)


def said(
    kind: Kind, block: Hash32 = A, *, view: int = 5, parent: int = 4, era: int = 1, index: int = 0
) -> SignedStatement:
    if kind is Kind.NULLIFY:
        statement = nullify(Era(era), View(view))
    else:
        statement = Statement(kind, Era(era), View(view), View(parent), block)
    return SignedStatement(statement, index, KEYS[index].sign(signing_digest(DOMAIN, statement)))


OFFENCES = [
    (said(Kind.PROPOSE, A), said(Kind.PROPOSE, B)),
    (said(Kind.NOTARIZE, A), said(Kind.NOTARIZE, B)),
    (said(Kind.NOTARIZE, A), said(Kind.NOTARIZE, A, parent=3)),
    (said(Kind.FINALIZE, A), said(Kind.FINALIZE, B)),
    (said(Kind.NULLIFY), said(Kind.FINALIZE, A)),
]

LEGAL = [
    (said(Kind.NOTARIZE, A), said(Kind.NULLIFY)),
    (said(Kind.NOTARIZE, A), said(Kind.FINALIZE, B)),
    (said(Kind.PROPOSE, A), said(Kind.NOTARIZE, B)),
    (said(Kind.PROPOSE, A), said(Kind.NULLIFY)),
    (said(Kind.NOTARIZE, A), said(Kind.NOTARIZE, A)),
    (said(Kind.NOTARIZE, A), said(Kind.NOTARIZE, B, view=6, parent=5)),
    (said(Kind.NULLIFY), said(Kind.FINALIZE, A, view=6, parent=4)),
    (said(Kind.FINALIZE, A), said(Kind.FINALIZE, B, era=2)),
    (said(Kind.NOTARIZE, A), said(Kind.NOTARIZE, B, index=1)),
    (said(Kind.FINALIZE, A), said(Kind.NOTARIZE, B, view=6, parent=3)),
]


@pytest.mark.parametrize(("one", "other"), OFFENCES)
def test_offence_in_either_order_is_valid_evidence(one: SignedStatement, other: SignedStatement) -> None:
    assert make_evidence(one, other) == make_evidence(other, one)
    verify_evidence(DOMAIN, make_evidence(one, other), SET)


@pytest.mark.parametrize(("one", "other"), LEGAL)
def test_legal_pair_is_never_evidence(one: SignedStatement, other: SignedStatement) -> None:
    assert not is_offence(one, other)
    with pytest.raises(InvalidError, match="do not conflict"):
        verify_evidence(DOMAIN, make_evidence(one, other), SET)


def test_other_signature_bytes_of_one_statement_are_no_offence() -> None:
    vote = said(Kind.NOTARIZE)
    assert not is_offence(vote, replace(vote, signature=Signature(b"x" * 64)))


def test_pair_in_the_wrong_order_is_refused() -> None:
    good = make_evidence(*OFFENCES[0])
    with pytest.raises(InvalidError, match="order"):
        verify_evidence(DOMAIN, Evidence(good.second, good.first), SET)


def test_wrong_signature_index_or_domain_is_refused() -> None:
    good = make_evidence(*OFFENCES[1])
    forged = replace(good, second=replace(good.second, signature=Signature(bytes(64))))
    with pytest.raises(InvalidError):
        verify_evidence(DOMAIN, make_evidence(forged.first, forged.second), SET)
    with pytest.raises(InvalidError):
        verify_evidence(VoteDomain(DOMAIN.genesis_hash, Hash32(b"r" * 32)), good, SET)
    stranger = make_evidence(replace(good.first, index=2), replace(good.second, index=2))
    with pytest.raises(InvalidError, match="signer 2 of 2"):
        verify_evidence(DOMAIN, stranger, SET)


kinds, blocks, views = st.sampled_from(list(Kind)), st.sampled_from([A, B]), st.integers(1, 3)
votes = st.builds(lambda kind, block, view: said(kind, block, view=view, parent=0), kinds, blocks, views)


@given(st.lists(votes, max_size=20))
def test_whatever_a_guard_lets_sign_is_never_evidence(asked: list[SignedStatement]) -> None:
    signed: list[SignedStatement] = []
    for vote in asked:
        if refusal([kept.statement for kept in signed], None, vote.statement) is None:
            signed.append(vote)
    assert not any(is_offence(one, other) for one in signed for other in signed)


@given(votes, votes)
def test_decode_of_encoded_evidence_gives_it_back_within_the_bound(
    one: SignedStatement, other: SignedStatement
) -> None:
    evidence = make_evidence(one, other)
    data = encode_evidence(evidence)
    assert decode_evidence(data) == evidence
    assert len(data) <= MAX_EVIDENCE_BYTES


def test_one_flipped_bit_never_verifies() -> None:
    data = encode_evidence(make_evidence(*OFFENCES[3]))
    for bit in range(0, len(data) * 8, 5):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises((MalformedError, InvalidError)):
            verify_evidence(DOMAIN, decode_evidence(bytes(changed)), SET)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_anything_but_two_statements_is_malformed(count: int) -> None:
    fields = evidence_to_value(make_evidence(*OFFENCES[0]))
    with pytest.raises(MalformedError):
        decode_evidence(cbor.encode((fields * 2)[:count]))
