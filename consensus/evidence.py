"""Evidence: two statements by one key that no honest signer can have made (CHAIN 1.3, evidence and penalties)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from . import cbor
from .authority import AuthoritySet
from .statement import (
    Kind,
    SignedStatement,
    VoteDomain,
    statement_from_value,
    statement_to_value,
    verify_statement,
)
from .types import InvalidError

MAX_EVIDENCE_BYTES: Final = 400
"""Two statements at their widest."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Two statements of one signer in one era and view, the smaller encoding first."""

    first: SignedStatement
    second: SignedStatement


def make_evidence(one: SignedStatement, other: SignedStatement) -> Evidence:
    """The canonical pair of two conflicting statements."""
    ordered = sorted((one, other), key=lambda signed: cbor.encode(statement_to_value(signed)))
    return Evidence(ordered[0], ordered[1])


def is_offence(one: SignedStatement, other: SignedStatement) -> bool:
    """Whether the pair is punishable.

    Two different proposals, notarize or finalize statements of one view, or nullify with finalize. Notarize then
    nullify is legal (timed out), and so is notarize A then finalize B (following a quorum after an equivocation).
    """
    a, b = one.statement, other.statement
    if one.index != other.index or (a.era, a.view) != (b.era, b.view):
        return False
    if a.kind is b.kind:
        return a.conflicts_with(b)
    return sorted((a.kind, b.kind)) == [Kind.NULLIFY, Kind.FINALIZE]


def verify_evidence(domain: VoteDomain, evidence: Evidence, authorities: AuthoritySet) -> None:
    """Raise InvalidError unless both statements are signed by one member of the era's set and conflict."""
    if not is_offence(evidence.first, evidence.second):
        raise InvalidError("the two statements do not conflict")
    index = evidence.first.index
    if index >= len(authorities.members):
        raise InvalidError(f"evidence names signer {index} of {len(authorities.members)}")
    if make_evidence(evidence.first, evidence.second) != evidence:
        raise InvalidError("the two statements are not in canonical order")
    for signed in (evidence.first, evidence.second):
        verify_statement(domain, signed, authorities.members[index].key)


def evidence_to_value(evidence: Evidence) -> list[Any]:
    """`[first, second]`."""
    return [statement_to_value(evidence.first), statement_to_value(evidence.second)]


def evidence_from_value(value: Any) -> Evidence:
    """Inverse of `evidence_to_value`. Raises MalformedError."""
    first, second = cbor.as_array(value, 2, what="evidence")
    return Evidence(statement_from_value(first), statement_from_value(second))


def encode_evidence(evidence: Evidence) -> bytes:
    """Canonical bytes."""
    return cbor.encode(evidence_to_value(evidence))


def decode_evidence(data: bytes) -> Evidence:
    """Inverse of `encode_evidence`. Raises MalformedError."""
    return evidence_from_value(cbor.decode(data, max_bytes=MAX_EVIDENCE_BYTES))


__all__ = [
    "MAX_EVIDENCE_BYTES",
    "Evidence",
    "decode_evidence",
    "encode_evidence",
    "evidence_from_value",
    "evidence_to_value",
    "is_offence",
    "make_evidence",
    "verify_evidence",
]
