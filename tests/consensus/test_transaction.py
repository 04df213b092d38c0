"""Transactions: one encoding, one signature domain per chain, rules version and restart."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yumad.consensus import cbor
from yumad.consensus.block import MAX_TRANSACTION_BYTES
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.transaction import (
    TransactionDomain,
    decode_transaction,
    encode_transaction,
    fork_digest,
    sign_transaction,
    signing_digest,
    transaction_bytes_hash,
    verify_transaction,
)
from yumad.consensus.types import ZERO_HASH, Hash32, InvalidError, MalformedError

GENESIS = Hash32(b"g" * 32)
DOMAIN = TransactionDomain(GENESIS, fork_digest(GENESIS, 1, ZERO_HASH))
KEY = dev_keypair("alice")


def signed(**fields):
    return sign_transaction(
        DOMAIN, KEY, **{"nonce": 0, "valid_until": 100, "call": 0, "args": (b"x" * 32, 5), "tip": 3, **fields}
    )


@given(
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**16 - 1),
    st.lists(st.integers(0, 2**64 - 1) | st.binary(max_size=50), max_size=5),
)
def test_decode_of_an_encoded_transaction_gives_it_back(nonce, valid_until, call, args):
    transaction = signed(nonce=nonce, valid_until=valid_until, call=call, args=tuple(args))
    data = encode_transaction(transaction)
    assert decode_transaction(data) == transaction
    verify_transaction(DOMAIN, transaction)


@pytest.mark.parametrize(
    "fields", [{"nonce": 1}, {"valid_until": 101}, {"tip": 4}, {"call": 1}, {"args": ()}, {"signer": b"o" * 32}]
)
def test_signature_covers_every_field(fields):
    with pytest.raises(InvalidError, match="wrongly signed"):
        verify_transaction(DOMAIN, replace(signed(), **fields))


@pytest.mark.parametrize(
    "domain",
    [
        TransactionDomain(Hash32(b"h" * 32), DOMAIN.fork_digest),
        TransactionDomain(GENESIS, fork_digest(GENESIS, 2, ZERO_HASH)),
        TransactionDomain(GENESIS, fork_digest(GENESIS, 1, Hash32(b"r" * 32))),
    ],
)
def test_signature_is_void_on_another_chain_rules_version_or_restart(domain):
    with pytest.raises(InvalidError) as refused:
        verify_transaction(domain, signed())
    assert refused.value.code == "bad_signature"


def test_id_ignores_the_signature_and_the_whole_byte_hash_does_not():
    one, other = signed(), replace(signed(), signature=bytes(64))
    assert signing_digest(DOMAIN, one) == signing_digest(DOMAIN, other)
    assert transaction_bytes_hash(encode_transaction(one)) != transaction_bytes_hash(encode_transaction(other))


@pytest.mark.parametrize(
    ("position", "value"),
    [(0, 2), (1, 1), (2, b"x" * 31), (3, -1), (4, b""), (5, True), (6, 1 << 16), (7, b"args"), (8, bytes(63))],
)
def test_decode_of_a_field_of_another_type_is_refused(position, value):
    fields = cbor.decode(encode_transaction(signed()), max_bytes=1000)
    fields[position] = value
    with pytest.raises(MalformedError):
        decode_transaction(cbor.encode(fields))


def test_decode_of_too_many_bytes_or_fields_is_refused():
    with pytest.raises(MalformedError, match="at most"):
        decode_transaction(bytes(MAX_TRANSACTION_BYTES + 1))
    fields = cbor.decode(encode_transaction(signed()), max_bytes=1000)
    with pytest.raises(MalformedError, match="10 items"):
        decode_transaction(cbor.encode([*fields, 0]))


def test_verify_with_a_point_of_small_order_as_key_is_refused_or_harmless():
    """libsodium refuses small-order keys: nobody may own the all-zero or identity account."""
    for key in (bytes(32), b"\1" + bytes(31)):
        with pytest.raises(InvalidError):
            verify_transaction(DOMAIN, replace(signed(), signer=key, signature=bytes(64)))
