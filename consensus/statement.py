"""The one signed shape of consensus: propose, notarize, nullify, finalize (CHAIN 1.3, signed statement)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from . import cbor
from .domains import Domain, digest
from .signature import verify
from .types import ZERO_HASH, AuthorityKey, Era, Hash32, InvalidError, MalformedError, Signature, View


class Kind(IntEnum):
    """What a statement says about a view."""

    PROPOSE = 0
    """The leader's only block of the view."""
    NOTARIZE = 1
    """I executed this block and hold its parent chain: it may be built upon."""
    NULLIFY = 2
    """Nothing came in time: the view may be skipped. I will not finalise it."""
    FINALIZE = 3
    """I saw the notarization, executed the block and did not nullify: it may be final."""


@dataclass(frozen=True, slots=True)
class VoteDomain:
    """What separates votes of different chains and of different restarts of one chain."""

    genesis_hash: Hash32
    restart_hash: Hash32 = ZERO_HASH
    """Hash of the newest restart file; zero before the first."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What an authority signs about one view."""

    kind: Kind
    era: Era
    view: View
    parent_view: View
    """View whose notarised block this one stands on; 0 for the opening block and in a nullify."""
    block_hash: Hash32
    """Zero in a nullify."""

    def conflicts_with(self, other: Statement) -> bool:
        """Same slot of the voting record but another content (R14): never judged by signature bytes."""
        same_place = (self.kind, self.era, self.view) == (other.kind, other.era, other.view)
        return same_place and (self.parent_view, self.block_hash) != (other.parent_view, other.block_hash)


@dataclass(frozen=True, slots=True)
class SignedStatement:
    """A statement with the index of its signer in the era's set. Signature validity is a separate step."""

    statement: Statement
    index: int
    signature: Signature


def nullify(era: Era, view: View) -> Statement:
    """The only nullify statement of a view."""
    return Statement(Kind.NULLIFY, era, view, View(0), ZERO_HASH)


def signing_digest(domain: VoteDomain, statement: Statement) -> Hash32:
    """The 32 bytes that are signed."""
    return digest(
        Domain.VOTE,
        cbor.encode(
            [
                domain.genesis_hash,
                domain.restart_hash,
                int(statement.kind),
                statement.era,
                statement.view,
                statement.parent_view,
                statement.block_hash,
            ]
        ),
    )


def verify_statement(domain: VoteDomain, signed: SignedStatement, key: AuthorityKey) -> None:
    """Raise InvalidError("bad_signature") unless `key` signed it."""
    if not verify(key, signing_digest(domain, signed.statement), signed.signature):
        error = InvalidError(f"{signed.statement.kind.name.lower()} of view {signed.statement.view} is wrongly signed")
        error.code = "bad_signature"
        raise error


_MAX_STATEMENT_BYTES: Final = 192
"""kind, era, view, parent view, hash, index and signature at their widest take 137 bytes."""


def statement_to_value(signed: SignedStatement) -> list[Any]:
    """`[kind, era, view, parent_view, block_hash, index, signature]` for embedding in larger messages."""
    s = signed.statement
    return [int(s.kind), s.era, s.view, s.parent_view, s.block_hash, signed.index, signed.signature]


def statement_from_value(value: Any) -> SignedStatement:
    """Inverse of `statement_to_value`. Raises MalformedError."""
    kind, era, view, parent_view, block_hash, index, signature = cbor.as_array(value, 7, what="statement")
    if cbor.as_uint(kind, 8, what="statement kind") > Kind.FINALIZE:
        raise MalformedError(f"statement kind {kind} is unknown")
    statement = Statement(
        Kind(kind),
        Era(cbor.as_uint(era, 32, what="era")),
        View(cbor.as_uint(view, 64, what="view")),
        View(cbor.as_uint(parent_view, 64, what="parent view")),
        Hash32(cbor.as_bytes(block_hash, 32, what="block hash")),
    )
    if statement.view == 0:
        raise MalformedError("views start at 1")
    if statement.kind is Kind.NULLIFY:
        if statement.parent_view or statement.block_hash != ZERO_HASH:
            raise MalformedError("a nullify names no parent and no block")
    elif statement.parent_view >= statement.view:
        raise MalformedError(f"parent view {parent_view} is not below view {view}")
    return SignedStatement(
        statement,
        cbor.as_uint(index, 16, what="authority index"),
        Signature(cbor.as_bytes(signature, 64, what="signature")),
    )


def encode_statement(signed: SignedStatement) -> bytes:
    """Canonical bytes, about 115."""
    return cbor.encode(statement_to_value(signed))


def decode_statement(data: bytes) -> SignedStatement:
    """Inverse of `encode_statement`. Raises MalformedError."""
    return statement_from_value(cbor.decode(data, max_bytes=_MAX_STATEMENT_BYTES))
