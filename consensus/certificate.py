"""Certificates: a quorum's signatures on one statement (CHAIN 1.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from . import cbor
from .authority import MAX_AUTHORITIES, AuthoritySet
from .signature import verify
from .statement import (
    Kind,
    SignedStatement,
    Statement,
    VoteDomain,
    signing_digest,
    statement_from_value,
)
from .types import InvalidError, MalformedError, Signature

MAX_CERTIFICATE_BYTES: Final = 8192
"""100 signatures of 64 bytes with their headers are 6.6 KB."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """Signatures of at least the quorum weight over one statement, in index order."""

    statement: Statement
    signers: tuple[int, ...]
    """Strictly ascending indices into the era's set."""
    signatures: tuple[Signature, ...]

    @property
    def kind(self) -> Kind:
        """What the certificate says: NOTARIZE, NULLIFY or FINALIZE."""
        return self.statement.kind


def certificate_from_votes(votes: Sequence[SignedStatement]) -> Certificate:
    """A certificate of votes that all carry the same statement (the caller counted their weight)."""
    ordered = sorted(votes, key=lambda vote: vote.index)
    return Certificate(
        ordered[0].statement, tuple(vote.index for vote in ordered), tuple(vote.signature for vote in ordered)
    )


def signers_weight(certificate: Certificate, authorities: AuthoritySet) -> int:
    """Weight behind the certificate. Raises InvalidError for an index outside the set."""
    size = len(authorities.members)
    if certificate.signers and certificate.signers[-1] >= size:
        raise InvalidError(f"certificate names signer {certificate.signers[-1]} of {size}")
    return sum(authorities.members[index].weight for index in certificate.signers)


def verify_certificate(domain: VoteDomain, certificate: Certificate, authorities: AuthoritySet) -> None:
    """Raise InvalidError unless a quorum of `authorities` signed it. Weight is checked before any signature."""
    if certificate.kind is Kind.PROPOSE:
        raise InvalidError("a proposal has no certificate")
    weight = signers_weight(certificate, authorities)
    if weight < authorities.quorum:
        raise InvalidError(f"certificate has weight {weight}, the quorum is {authorities.quorum}")
    message = signing_digest(domain, certificate.statement)
    for index, signature in zip(certificate.signers, certificate.signatures, strict=True):
        if not verify(authorities.members[index].key, message, signature):
            raise InvalidError(f"certificate carries a wrong signature of signer {index}")


def certificate_to_value(certificate: Certificate) -> list[Any]:
    """`[kind, era, view, parent_view, block_hash, bitmap, signatures]`; bit i & 7 of byte i >> 3 is signer i."""
    bitmap = bytearray(certificate.signers[-1] // 8 + 1 if certificate.signers else 0)
    for index in certificate.signers:
        bitmap[index >> 3] |= 1 << (index & 7)
    s = certificate.statement
    return [int(s.kind), s.era, s.view, s.parent_view, s.block_hash, bytes(bitmap), b"".join(certificate.signatures)]


def certificate_from_value(value: Any) -> Certificate:
    """Inverse of `certificate_to_value`. Raises MalformedError."""
    fields = cbor.as_array(value, 7, what="certificate")
    bitmap = cbor.as_bytes(fields[5], what="signer bitmap", most=(MAX_AUTHORITIES + 7) // 8)
    if not bitmap or bitmap[-1] == 0:
        raise MalformedError("signer bitmap is empty or ends in a zero byte")
    signers = tuple(index for index in range(len(bitmap) * 8) if bitmap[index >> 3] >> (index & 7) & 1)
    joined = cbor.as_bytes(fields[6], 64 * len(signers), what="certificate signatures")
    signatures = tuple(Signature(joined[at : at + 64]) for at in range(0, len(joined), 64))
    statement = statement_from_value([*fields[:5], 0, bytes(64)]).statement
    if statement.kind is Kind.PROPOSE:
        raise MalformedError("a proposal has no certificate")
    return Certificate(statement, signers, signatures)


def encode_certificate(certificate: Certificate) -> bytes:
    """Canonical bytes: 4.4 KB for 67 signers."""
    return cbor.encode(certificate_to_value(certificate))


def decode_certificate(data: bytes) -> Certificate:
    """Inverse of `encode_certificate`. Raises MalformedError."""
    return certificate_from_value(cbor.decode(data, max_bytes=MAX_CERTIFICATE_BYTES))


def votes_of(certificate: Certificate) -> tuple[SignedStatement, ...]:
    """The single votes inside a certificate, for the participation count and the exchange's bookkeeping."""
    return tuple(
        SignedStatement(certificate.statement, index, signature)
        for index, signature in zip(certificate.signers, certificate.signatures, strict=True)
    )


__all__ = [
    "MAX_CERTIFICATE_BYTES",
    "Certificate",
    "certificate_from_value",
    "certificate_from_votes",
    "certificate_to_value",
    "decode_certificate",
    "encode_certificate",
    "signers_weight",
    "verify_certificate",
    "votes_of",
]
