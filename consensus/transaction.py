"""Transactions: signed calls (DESIGN section 7 encoding, CHAIN section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from . import cbor
from .block import MAX_TRANSACTION_BYTES
from .domains import Domain, digest
from .signature import KeyPair, verify
from .types import AccountId, Hash32, InvalidError, MalformedError, Rao, Signature

VERSION: Final = 1
SCHEME_ED25519: Final = 0
"""Scheme byte 0; others need a rules version (CHAIN section 10)."""

MORTALITY: Final = 2400
"""Most blocks between inclusion and `valid_until`: bounds every cache of seen transactions (8 h at 12 s)."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """One signed call. `args` is the call's positional argument array, not yet checked against its schema."""

    signer: AccountId
    nonce: int
    """u64; equals the signer's next nonce when included."""
    valid_until: int
    """Last height that may include it."""
    tip: Rao
    call: int
    """u16 id: family << 8 | n."""
    args: tuple[Any, ...]
    signature: Signature
    version: int = VERSION
    scheme: int = SCHEME_ED25519


@dataclass(frozen=True, slots=True)
class TransactionDomain:
    """What ties a signature to one chain and one set of rules: an upgrade or restart voids what is pending."""

    genesis_hash: Hash32
    fork_digest: bytes
    """4 bytes, see `fork_digest`."""


def fork_digest(genesis_hash: Hash32, rules_version: int, restart_hash: Hash32) -> bytes:
    """Four bytes naming chain, rules and restart domain (CHAIN section 7)."""
    return digest(Domain.FORK, genesis_hash, rules_version.to_bytes(4, "big"), restart_hash)[:4]


def _unsigned(t: Transaction) -> list[Any]:
    return [t.version, t.scheme, t.signer, t.nonce, t.valid_until, t.tip, t.call, list(t.args)]


def signing_digest(domain: TransactionDomain, transaction: Transaction) -> Hash32:
    """blake2b-256 of `[genesis_hash, fork_digest, the first eight fields]`; also the transaction's id."""
    return digest(
        Domain.TRANSACTION,
        cbor.encode([domain.genesis_hash, domain.fork_digest, *_unsigned(transaction)]),
    )


def transaction_bytes_hash(data: bytes) -> Hash32:
    """Hash of the whole bytes, signature included: what seen-sets, reject caches and announcements use."""
    return digest(Domain.TRANSACTION_BYTES, data)


def sign_transaction(
    domain: TransactionDomain,
    key: KeyPair,
    *,
    nonce: int,
    valid_until: int,
    call: int,
    args: Sequence[Any],
    tip: int = 0,
) -> Transaction:
    """A transaction signed by `key`."""
    bare = Transaction(AccountId(key.public_key), nonce, valid_until, Rao(tip), call, tuple(args), Signature(bytes(64)))
    signature = key.sign(signing_digest(domain, bare))
    return Transaction(bare.signer, nonce, valid_until, Rao(tip), call, tuple(args), signature)


def verify_transaction(domain: TransactionDomain, transaction: Transaction) -> None:
    """Raise InvalidError("bad_signature") unless the signer signed it for this domain."""
    if not verify(transaction.signer, signing_digest(domain, transaction), transaction.signature):
        error = InvalidError("transaction is wrongly signed, or signed for another chain or rules version")
        error.code = "bad_signature"
        raise error


def encode_transaction(transaction: Transaction) -> bytes:
    """Canonical bytes of all nine fields."""
    return cbor.encode([*_unsigned(transaction), transaction.signature])


def decode_transaction(data: bytes) -> Transaction:
    """Inverse of `encode_transaction`. Raises MalformedError."""
    f = cbor.as_array(cbor.decode(data, max_bytes=MAX_TRANSACTION_BYTES), 9, what="transaction")
    version = cbor.as_uint(f[0], 8, what="version")
    if version != VERSION:
        raise MalformedError(f"transaction version {version}, expected {VERSION}")
    scheme = cbor.as_uint(f[1], 8, what="scheme")
    if scheme != SCHEME_ED25519:
        raise MalformedError(f"signature scheme {scheme} is unknown")
    return Transaction(
        signer=AccountId(cbor.as_bytes(f[2], 32, what="signer")),
        nonce=cbor.as_uint(f[3], 64, what="nonce"),
        valid_until=cbor.as_uint(f[4], 64, what="valid_until"),
        tip=Rao(cbor.as_uint(f[5], 64, what="tip")),
        call=cbor.as_uint(f[6], 16, what="call"),
        args=tuple(cbor.as_array(f[7], what="arguments")),
        signature=Signature(cbor.as_bytes(f[8], 64, what="signature")),
    )
