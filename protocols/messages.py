"""Requests and replies of CHAIN 2.1: one strict canonical form each, as data beside its codec and limits.

A `RequestProtocol` ties a request type to the type of its reply chunks. A reply is a sequence of chunks; which ones
have several is in `limits.REQUESTS`. Snapshot and proof requests come with snapshots.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from ..consensus import cbor
from ..consensus.authority import AuthoritySet, decode_authority_set, encode_authority_set
from ..consensus.block import MAX_TRANSACTION_BYTES, Block, decode_block, encode_block
from ..consensus.certificate import (
    Certificate,
    certificate_from_value,
    certificate_to_value,
    decode_certificate,
    encode_certificate,
)
from ..consensus.header import MAX_HEADER_BYTES, Header, decode_header, encode_header
from ..consensus.statement import Kind
from ..consensus.types import Era, Hash32, Height, MalformedError, Micros, View
from . import limits
from .limits import REQUESTS, RequestLimits
from .peer_records import PeerRecord, decode_record, encode_record

MAX_AGENT_BYTES: Final = 64
"""Agent text: informative only."""


@dataclass(frozen=True, slots=True)
class Status:
    """What a peer says about itself. Claims only: sync proves its target before it believes any of it."""

    genesis_hash: Hash32
    restart_hash: Hash32
    fork_digest: bytes
    """4 bytes."""
    rules_version: int
    era: Era
    """Era being voted in."""
    finalised_height: Height
    finalised_hash: Hash32
    finalised_view: View
    head_height: Height
    head_hash: Hash32
    earliest_header: Height
    earliest_body: Height
    snapshots: tuple[Height, ...]
    """Boundary heights of which a snapshot is served, ascending."""
    time: Micros
    agent: str


@dataclass(frozen=True, slots=True)
class EraProofsRequest:
    """Proofs of eras `first`, `first + 1`, …"""

    first: Era
    count: int


@dataclass(frozen=True, slots=True)
class EraProof:
    """One link of the proof walk (CHAIN 2.2 step 2)."""

    boundary: Header
    certificate: Certificate
    next_set: AuthoritySet
    restart_files: tuple[bytes, ...] = ()
    """Restart files whose point lies in the era, as their bytes."""


@dataclass(frozen=True, slots=True)
class HeadersRequest:
    start: Height
    count: int


@dataclass(frozen=True, slots=True)
class HeadersReply:
    """Headers from the start asked for, ascending, and every certificate that the server keeps for one of them."""

    headers: tuple[Header, ...]
    certificates: tuple[Certificate, ...]


@dataclass(frozen=True, slots=True)
class BlocksRequest:
    """Final blocks by height. The server may send fewer, never others."""

    start: Height
    count: int


@dataclass(frozen=True, slots=True)
class BlocksByHashRequest:
    """Blocks by hash, final or not. Unknown ones are left out of the reply."""

    hashes: tuple[Hash32, ...]


@dataclass(frozen=True, slots=True)
class CertificatesRequest:
    """Certificates of an era by view and kind. Unknown ones are left out of the reply."""

    era: Era
    wanted: tuple[tuple[View, Kind], ...]


@dataclass(frozen=True, slots=True)
class TransactionsRequest:
    """Pooled transactions by the hash of their whole bytes. Unknown ones are left out of the reply."""

    hashes: tuple[Hash32, ...]


@dataclass(frozen=True, slots=True)
class PeersRequest:
    """Asks for peer records."""


@dataclass(frozen=True, slots=True)
class PeersReply:
    records: tuple[PeerRecord, ...]


@dataclass(frozen=True, slots=True)
class ChainSpecRequest:
    """A page of the chain spec, named by the genesis hash or its first 16 or more bytes."""

    genesis_prefix: bytes
    page: int


@dataclass(frozen=True, slots=True)
class ChainSpecPage:
    page: int
    page_count: int
    data: bytes


Q = TypeVar("Q")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class RequestProtocol(Generic[Q, R]):
    """One request protocol: `Q` is the request, `R` what a reply chunk holds."""

    limits: RequestLimits
    encode_request: Callable[[Q], bytes]
    decode_request: Callable[[bytes], Q]
    """Raises MalformedError."""
    encode_reply: Callable[[R], bytes]
    decode_reply: Callable[[bytes], R]
    """Raises MalformedError."""

    @property
    def name(self) -> str:
        """As in protocol ids."""
        return self.limits.name


# --- field readers ---------------------------------------------------------------------------------------------------


def _request(data: bytes, name: str, length: int) -> list[Any]:
    return cbor.as_array(cbor.decode(data, max_bytes=REQUESTS[name].request_bytes), length, what=f"{name} request")


def _reply(data: bytes, name: str, length: int) -> list[Any]:
    return cbor.as_array(cbor.decode(data, max_bytes=REQUESTS[name].chunk_bytes), length, what=f"{name} reply")


def _count(value: Any, most: int) -> int:
    count = cbor.as_uint(value, 32, what="count")
    if not 1 <= count <= most:
        raise MalformedError(f"count {count}, between 1 and {most} allowed")
    return count


def _hash(value: Any, what: str) -> Hash32:
    return Hash32(cbor.as_bytes(value, 32, what=what))


def _height(value: Any, what: str = "height") -> Height:
    return Height(cbor.as_uint(value, 63, what=what))


def _encode_hashes(hashes: Sequence[Hash32]) -> bytes:
    return cbor.encode([list(hashes)])


def _decode_hashes(data: bytes, name: str, most: int) -> tuple[Hash32, ...]:
    (items,) = _request(data, name, 1)
    hashes = tuple(_hash(item, "hash") for item in cbor.as_array(items, what="hashes", most=most))
    if not hashes or len(set(hashes)) != len(hashes):
        raise MalformedError("hashes: expected at least one and none twice")
    return hashes


# --- status ----------------------------------------------------------------------------------------------------------


def encode_status(status: Status) -> bytes:
    """Canonical positional array of the fields in their order."""
    return cbor.encode(
        [
            status.genesis_hash,
            status.restart_hash,
            status.fork_digest,
            status.rules_version,
            status.era,
            status.finalised_height,
            status.finalised_hash,
            status.finalised_view,
            status.head_height,
            status.head_hash,
            status.earliest_header,
            status.earliest_body,
            list(status.snapshots),
            status.time,
            status.agent.encode("utf-8")[:MAX_AGENT_BYTES],
        ]
    )


def decode_status(data: bytes) -> Status:
    """Inverse of `encode_status`. Raises MalformedError. Unprintable agent text is replaced, never refused."""
    f = _request(data, "status", 15)
    snapshots = cbor.as_array(f[12], what="snapshots", most=limits.MAX_SNAPSHOTS_HELD)
    agent = cbor.as_bytes(f[14], what="agent", most=MAX_AGENT_BYTES).decode("utf-8", "replace")
    return Status(
        genesis_hash=_hash(f[0], "genesis hash"),
        restart_hash=_hash(f[1], "restart hash"),
        fork_digest=cbor.as_bytes(f[2], 4, what="fork digest"),
        rules_version=cbor.as_uint(f[3], 32, what="rules version"),
        era=Era(cbor.as_uint(f[4], 32, what="era")),
        finalised_height=_height(f[5], "finalised height"),
        finalised_hash=_hash(f[6], "finalised hash"),
        finalised_view=View(cbor.as_uint(f[7], 64, what="finalised view")),
        head_height=_height(f[8], "head height"),
        head_hash=_hash(f[9], "head hash"),
        earliest_header=_height(f[10], "earliest header"),
        earliest_body=_height(f[11], "earliest body"),
        snapshots=tuple(_height(item, "snapshot height") for item in snapshots),
        time=Micros(cbor.as_uint(f[13], 63, what="time")),
        agent="".join(letter if letter.isprintable() else "?" for letter in agent),
    )


# --- era proofs, headers, blocks -------------------------------------------------------------------------------------


def _decode_era_proofs_request(data: bytes) -> EraProofsRequest:
    first, count = _request(data, "era_proofs", 2)
    return EraProofsRequest(Era(cbor.as_uint(first, 32, what="era")), _count(count, limits.MAX_ERA_PROOFS))


def _encode_era_proof(proof: EraProof) -> bytes:
    return cbor.encode(
        [
            encode_header(proof.boundary),
            certificate_to_value(proof.certificate),
            encode_authority_set(proof.next_set),
            list(proof.restart_files),
        ]
    )


def _decode_era_proof(data: bytes) -> EraProof:
    header, certificate, next_set, files = _reply(data, "era_proofs", 4)
    return EraProof(
        decode_header(cbor.as_bytes(header, what="header", most=MAX_HEADER_BYTES)),
        certificate_from_value(certificate),
        decode_authority_set(cbor.as_bytes(next_set, what="authority set")),
        tuple(
            cbor.as_bytes(item, what="restart file", most=limits.MAX_RESTART_FILE_BYTES)
            for item in cbor.as_array(files, what="restart files", most=limits.MAX_RESTART_FILES)
        ),
    )


def _decode_range(data: bytes, name: str, most: int) -> tuple[Height, int]:
    start, count = _request(data, name, 2)
    return _height(start, "start"), _count(count, most)


def _encode_headers(reply: HeadersReply) -> bytes:
    return cbor.encode(
        [
            [encode_header(header) for header in reply.headers],
            [certificate_to_value(certificate) for certificate in reply.certificates],
        ]
    )


def _decode_headers(data: bytes) -> HeadersReply:
    headers, certificates = _reply(data, "headers", 2)
    return HeadersReply(
        tuple(
            decode_header(cbor.as_bytes(item, what="header", most=MAX_HEADER_BYTES))
            for item in cbor.as_array(headers, what="headers", most=limits.MAX_HEADERS)
        ),
        tuple(
            certificate_from_value(item)
            for item in cbor.as_array(certificates, what="certificates", most=limits.MAX_HEADERS)
        ),
    )


# --- certificates, peers, chain spec ---------------------------------------------------------------------------------


def _encode_certificates_request(request: CertificatesRequest) -> bytes:
    return cbor.encode([request.era, [[view, int(kind)] for view, kind in request.wanted]])


def _decode_certificates_request(data: bytes) -> CertificatesRequest:
    era, wanted = _request(data, "certificates", 2)
    pairs = []
    for item in cbor.as_array(wanted, what="wanted", most=limits.MAX_CERTIFICATES):
        view, kind = cbor.as_array(item, 2, what="view and kind")
        if not Kind.NOTARIZE <= cbor.as_uint(kind, 8, what="kind") <= Kind.FINALIZE:
            raise MalformedError(f"statement kind {kind} has no certificate")
        pairs.append((View(cbor.as_uint(view, 64, what="view")), Kind(kind)))
    if not pairs or len(set(pairs)) != len(pairs):
        raise MalformedError("wanted: expected at least one view and kind, and none twice")
    return CertificatesRequest(Era(cbor.as_uint(era, 32, what="era")), tuple(pairs))


def _decode_peers_request(data: bytes) -> PeersRequest:
    _request(data, "peers", 0)
    return PeersRequest()


def _encode_peers(reply: PeersReply) -> bytes:
    return cbor.encode([[encode_record(record) for record in reply.records]])


def _decode_peers(data: bytes) -> PeersReply:
    (records,) = _reply(data, "peers", 1)
    return PeersReply(
        tuple(
            decode_record(cbor.as_bytes(item, what="peer record", most=limits.MAX_PEER_RECORD_BYTES))
            for item in cbor.as_array(records, what="peer records", most=limits.MAX_PEER_RECORDS)
        )
    )


def _decode_chainspec_request(data: bytes) -> ChainSpecRequest:
    prefix, page = _request(data, "chainspec", 2)
    prefix = cbor.as_bytes(prefix, what="genesis hash", most=32)
    if len(prefix) < limits.MIN_GENESIS_PREFIX:
        raise MalformedError(f"genesis hash of {len(prefix)} bytes, at least {limits.MIN_GENESIS_PREFIX} expected")
    return ChainSpecRequest(prefix, cbor.as_uint(page, 16, what="page"))


def _decode_chainspec_page(data: bytes) -> ChainSpecPage:
    page, page_count, content = _reply(data, "chainspec", 3)
    page, page_count = cbor.as_uint(page, 16, what="page"), cbor.as_uint(page_count, 16, what="page count")
    if not page < page_count <= limits.MAX_CHAINSPEC_PAGES:
        raise MalformedError(f"page {page} of {page_count}, at most {limits.MAX_CHAINSPEC_PAGES} pages allowed")
    return ChainSpecPage(page, page_count, cbor.as_bytes(content, what="data", most=limits.CHAINSPEC_PAGE_BYTES))


def _decode_transaction_chunk(data: bytes) -> bytes:
    if not 0 < len(data) <= MAX_TRANSACTION_BYTES:
        raise MalformedError(f"transaction of {len(data)} bytes, between 1 and {MAX_TRANSACTION_BYTES} allowed")
    return data


STATUS: Final = RequestProtocol(REQUESTS["status"], encode_status, decode_status, encode_status, decode_status)
ERA_PROOFS: Final[RequestProtocol[EraProofsRequest, EraProof]] = RequestProtocol(
    REQUESTS["era_proofs"],
    lambda request: cbor.encode([request.first, request.count]),
    _decode_era_proofs_request,
    _encode_era_proof,
    _decode_era_proof,
)
HEADERS: Final[RequestProtocol[HeadersRequest, HeadersReply]] = RequestProtocol(
    REQUESTS["headers"],
    lambda request: cbor.encode([request.start, request.count]),
    lambda data: HeadersRequest(*_decode_range(data, "headers", limits.MAX_HEADERS)),
    _encode_headers,
    _decode_headers,
)
BLOCKS: Final[RequestProtocol[BlocksRequest, Block]] = RequestProtocol(
    REQUESTS["blocks"],
    lambda request: cbor.encode([request.start, request.count]),
    lambda data: BlocksRequest(*_decode_range(data, "blocks", limits.MAX_BLOCKS)),
    encode_block,
    decode_block,
)
BLOCKS_BY_HASH: Final[RequestProtocol[BlocksByHashRequest, Block]] = RequestProtocol(
    REQUESTS["blocks_by_hash"],
    lambda request: _encode_hashes(request.hashes),
    lambda data: BlocksByHashRequest(_decode_hashes(data, "blocks_by_hash", limits.MAX_BLOCK_HASHES)),
    encode_block,
    decode_block,
)
CERTIFICATES: Final[RequestProtocol[CertificatesRequest, Certificate]] = RequestProtocol(
    REQUESTS["certificates"],
    _encode_certificates_request,
    _decode_certificates_request,
    encode_certificate,
    decode_certificate,
)
TRANSACTIONS: Final[RequestProtocol[TransactionsRequest, bytes]] = RequestProtocol(
    REQUESTS["transactions"],
    lambda request: _encode_hashes(request.hashes),
    lambda data: TransactionsRequest(_decode_hashes(data, "transactions", limits.MAX_TRANSACTION_HASHES)),
    bytes,
    _decode_transaction_chunk,
)
PEERS: Final[RequestProtocol[PeersRequest, PeersReply]] = RequestProtocol(
    REQUESTS["peers"], lambda request: cbor.encode([]), _decode_peers_request, _encode_peers, _decode_peers
)
CHAINSPEC: Final[RequestProtocol[ChainSpecRequest, ChainSpecPage]] = RequestProtocol(
    REQUESTS["chainspec"],
    lambda request: cbor.encode([request.genesis_prefix, request.page]),
    _decode_chainspec_request,
    lambda page: cbor.encode([page.page, page.page_count, page.data]),
    _decode_chainspec_page,
)
