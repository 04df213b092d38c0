"""Bodies, blocks and proposals, with the check of a body against its header (CHAIN 1.3 and R0)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from . import cbor
from .certificate import Certificate, certificate_from_value, certificate_to_value
from .domains import Domain, digest
from .evidence import Evidence, evidence_from_value, evidence_to_value
from .header import MAX_HEADER_BYTES, Header, block_hash, decode_header, encode_header
from .state.merkle import merkle_root
from .statement import Kind, SignedStatement, statement_from_value, statement_to_value
from .types import Hash32, InvalidError, MalformedError

MAX_BODY_BYTES: Final = 512 * 1024
"""CHAIN's MAX_BLOCK: a full block crosses three gossip hops well inside a slot."""

MAX_BLOCK_BYTES: Final = MAX_BODY_BYTES + MAX_HEADER_BYTES + 64
MAX_PROPOSAL_BYTES: Final = MAX_BLOCK_BYTES + 256

MAX_TRANSACTION_BYTES: Final = 64 * 1024
"""CHAIN 3: the most any transaction may take; ordinary calls have tighter limits."""

MAX_EVIDENCE_PER_BLOCK: Final = 4


@dataclass(frozen=True, slots=True)
class Body:
    """What a block carries beside its header."""

    certificate: Certificate | None
    """Finality certificate of an ancestor at least two heights back, for the participation count."""
    evidence: tuple[Evidence, ...]
    transactions: tuple[bytes, ...]
    """Full transaction bytes, decoded only when executed."""


@dataclass(frozen=True, slots=True)
class Block:
    """A header with its body."""

    header: Header
    body: Body

    @property
    def hash(self) -> Hash32:
        """The header's hash."""
        return block_hash(self.header)


@dataclass(frozen=True, slots=True)
class Proposal:
    """The leader's signed statement with the block it proposes (a re-proposal carries the old block)."""

    signed: SignedStatement
    block: Block


EMPTY_BODY: Final = Body(None, (), ())


def tx_root(body: Body) -> Hash32:
    """Merkle root over the full transaction bytes."""
    return merkle_root(body.transactions)


def commit_root(body: Body) -> Hash32:
    """Commitment of certificate and evidence."""
    return digest(Domain.COMMIT, cbor.encode(_commit_value(body)))


def _commit_value(body: Body) -> list[cbor.Value]:
    return [
        None if body.certificate is None else certificate_to_value(body.certificate),
        [evidence_to_value(item) for item in body.evidence],
    ]


def encode_body(body: Body) -> bytes:
    """Canonical bytes `[certificate | null, [evidence…], [transaction bytes…]]`."""
    return cbor.encode([*_commit_value(body), list(body.transactions)])


def decode_body(data: bytes) -> Body:
    """Inverse of `encode_body`. Raises MalformedError."""
    certificate, evidence, transactions = cbor.as_array(cbor.decode(data, max_bytes=MAX_BODY_BYTES), 3, what="body")
    return Body(
        None if certificate is None else certificate_from_value(certificate),
        tuple(
            evidence_from_value(item)
            for item in cbor.as_array(evidence, what="evidence list", most=MAX_EVIDENCE_PER_BLOCK)
        ),
        tuple(
            cbor.as_bytes(item, what="transaction", most=MAX_TRANSACTION_BYTES)
            for item in cbor.as_array(transactions, what="transaction list")
        ),
    )


def verify_body(header: Header, body: Body) -> None:
    """Raise InvalidError unless `body` is the one `header` commits to (R0: a mismatch is the sender's fault)."""
    if tx_root(body) != header.tx_root:
        raise InvalidError("transactions do not match the header's tx_root")
    if commit_root(body) != header.commit_root:
        raise InvalidError("certificate and evidence do not match the header's commit_root")


def encode_block(block: Block) -> bytes:
    """Canonical bytes `[header bytes, body bytes]`."""
    return cbor.encode([encode_header(block.header), encode_body(block.body)])


def decode_block(data: bytes) -> Block:
    """Inverse of `encode_block`; the body is not yet checked against the header. Raises MalformedError."""
    header, body = cbor.as_array(cbor.decode(data, max_bytes=MAX_BLOCK_BYTES), 2, what="block")
    return Block(
        decode_header(cbor.as_bytes(header, what="header", most=MAX_HEADER_BYTES)),
        decode_body(cbor.as_bytes(body, what="body", most=MAX_BODY_BYTES)),
    )


def encode_proposal(proposal: Proposal) -> bytes:
    """Canonical bytes `[statement, header bytes, body bytes]`."""
    return cbor.encode(
        [
            statement_to_value(proposal.signed),
            encode_header(proposal.block.header),
            encode_body(proposal.block.body),
        ]
    )


def decode_proposal(data: bytes) -> Proposal:
    """Inverse of `encode_proposal`, with the statement's hash equal to the block's. Raises MalformedError."""
    statement, header, body = cbor.as_array(cbor.decode(data, max_bytes=MAX_PROPOSAL_BYTES), 3, what="proposal")
    signed = statement_from_value(statement)
    if signed.statement.kind is not Kind.PROPOSE:
        raise MalformedError("a proposal carries a propose statement")
    block = Block(
        decode_header(cbor.as_bytes(header, what="header", most=MAX_HEADER_BYTES)),
        decode_body(cbor.as_bytes(body, what="body", most=MAX_BODY_BYTES)),
    )
    if block.hash != signed.statement.block_hash:
        raise MalformedError("the proposal's statement names another block")
    return Proposal(signed, block)
