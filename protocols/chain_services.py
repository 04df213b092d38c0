"""The services of CHAIN 2.1, answered from a `ChainReader` and the peer's own status."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from ..consensus.certificate import encode_certificate
from ..consensus.domains import Domain, digest
from ..consensus.types import Era, Height
from .interfaces import ChainReader, Clock, Rng
from .limits import CHAINSPEC_PAGE_BYTES, MAX_PEER_RECORDS, MIB
from .messages import (
    BLOCKS,
    BLOCKS_BY_HASH,
    CERTIFICATES,
    CHAINSPEC,
    ERA_PROOFS,
    HEADERS,
    PEERS,
    STATUS,
    TRANSACTIONS,
    BlocksByHashRequest,
    BlocksRequest,
    CertificatesRequest,
    ChainSpecPage,
    ChainSpecRequest,
    EraProof,
    EraProofsRequest,
    HeadersReply,
    HeadersRequest,
    PeersReply,
    PeersRequest,
    Status,
    TransactionsRequest,
)
from .peer_records import PeerBook
from .request_server import Service, Unavailable
from .transport import PeerId

_HEADERS_CERTIFICATE_BYTES: Final = MIB // 2
"""A headers reply stops taking certificates at half a MiB, well inside its chunk."""


class ChainServices:
    """Answers from the chain. Every method yields payloads lazily, so a slow reader costs no memory."""

    def __init__(
        self,
        chain: ChainReader,
        own_status: Callable[[], Status],
        hear_status: Callable[[PeerId, Status], None],
        book: PeerBook,
        own_records: Callable[[], PeersReply],
        clock: Clock,
        rng: Rng,
    ) -> None:
        """`hear_status` gets the status of every peer that asks for ours; `own_records` is sent before the book's."""
        self._chain = chain
        self._own_status = own_status
        self._hear_status = hear_status
        self._book = book
        self._own_records = own_records
        self._clock = clock
        self._rng = rng

    def services(self) -> list[Service[Any, Any]]:
        """One service per protocol of CHAIN 2.1, snapshots excepted."""
        return [
            Service(CHAINSPEC, lambda _: 1, self.chainspec),
            Service(STATUS, lambda _: 1, self.status),
            Service(ERA_PROOFS, lambda _: 1, self.era_proofs),
            Service(HEADERS, lambda request: request.count, self.headers),
            Service(BLOCKS, lambda request: request.count, self.blocks),
            Service(BLOCKS_BY_HASH, lambda request: len(request.hashes), self.blocks_by_hash),
            Service(CERTIFICATES, lambda request: len(request.wanted), self.certificates),
            Service(TRANSACTIONS, lambda request: len(request.hashes), self.transactions),
            Service(PEERS, lambda _: 1, self.peers),
        ]

    def chainspec(self, _: PeerId, request: ChainSpecRequest) -> Iterable[bytes]:
        """One page of the spec, if its hash begins with what was asked for."""
        return chainspec_pages(self._chain.spec_bytes(), request)

    def status(self, peer: PeerId, request: Status) -> Iterable[bytes]:
        """Our status for theirs."""
        self._hear_status(peer, request)
        yield STATUS.encode_reply(self._own_status())

    def era_proofs(self, _: PeerId, request: EraProofsRequest) -> Iterator[bytes]:
        """Proofs of consecutive eras up to the newest finished one."""
        for era in range(request.first, request.first + request.count):
            proof = self._chain.boundary_proof(Era(era))
            if proof is None:
                if era == request.first:
                    raise Unavailable(f"era {era} is not over here")
                return
            files = tuple(self._chain.restart_files(Era(era)))
            yield ERA_PROOFS.encode_reply(EraProof(*proof, files))

    def headers(self, _: PeerId, request: HeadersRequest) -> Iterator[bytes]:
        """Headers from the start asked for, with the certificates kept in the range."""
        headers, certificates, size = [], [], 0
        for height in range(request.start, request.start + request.count):
            header = self._chain.header(Height(height))
            if header is None:
                break
            headers.append(header)
            certificate = self._chain.certificate(Height(height))
            if certificate is not None and size < _HEADERS_CERTIFICATE_BYTES:
                certificates.append(certificate)
                size += 64 * len(certificate.signers) + 100
        if not headers:
            raise Unavailable(f"no header of height {request.start}")
        yield HEADERS.encode_reply(HeadersReply(tuple(headers), tuple(certificates)))

    def blocks(self, _: PeerId, request: BlocksRequest) -> Iterator[bytes]:
        """Final blocks, ascending without a gap."""
        for height in range(request.start, request.start + request.count):
            data = self._chain.block_bytes(Height(height))
            if data is None:
                if height == request.start:
                    raise Unavailable(f"no block of height {height}")
                return
            yield data

    def blocks_by_hash(self, _: PeerId, request: BlocksByHashRequest) -> Iterator[bytes]:
        """Those of the blocks that are here, above F or final, in the order asked for."""
        for block_hash in request.hashes:
            data = self._chain.pending_block(block_hash)
            if data is None and (height := self._chain.height_of(block_hash)):
                data = self._chain.block_bytes(height)
            if data is not None:
                yield data

    def certificates(self, _: PeerId, request: CertificatesRequest) -> Iterator[bytes]:
        """Held certificates above F, and the finality certificate of F or of the era's boundary."""
        wanted = set(request.wanted)
        held = list(self._chain.held_certificates(request.era))
        final = self._chain.finalised().certificate
        if final is not None:
            held.append(final)
        proof = self._chain.boundary_proof(request.era)
        if proof is not None:
            held.append(proof[1])
        for certificate in held:
            key = (certificate.statement.view, certificate.kind)
            if certificate.statement.era == request.era and key in wanted:
                wanted.discard(key)
                yield encode_certificate(certificate)

    def transactions(self, _: PeerId, request: TransactionsRequest) -> Iterator[bytes]:
        """Those of the transactions that are pooled here."""
        for bytes_hash in request.hashes:
            data = self._chain.pool_transaction(bytes_hash)
            if data is not None:
                yield data

    def peers(self, _: PeerId, request: PeersRequest) -> Iterator[bytes]:
        """Own record first, then a random sample of the book."""
        own = self._own_records().records
        names = {record.peer for record in own}
        others = [record for record in self._book.sample(self._clock.now(), self._rng) if record.peer not in names]
        yield PEERS.encode_reply(PeersReply((*own, *others[: MAX_PEER_RECORDS - len(own)])))


def chainspec_pages(spec: bytes, request: ChainSpecRequest) -> Iterable[bytes]:
    """The asked-for page of `spec`. Raises Unavailable for another chain or a page past the end."""
    genesis_hash = digest(Domain.SPEC, spec)
    if not genesis_hash.startswith(request.genesis_prefix):
        raise Unavailable(f"this peer serves the chain {genesis_hash.hex()}")
    page_count = max(1, -(-len(spec) // CHAINSPEC_PAGE_BYTES))
    if request.page >= page_count:
        raise Unavailable(f"page {request.page} of {page_count}")
    start = request.page * CHAINSPEC_PAGE_BYTES
    data = spec[start : start + CHAINSPEC_PAGE_BYTES]
    yield CHAINSPEC.encode_reply(ChainSpecPage(request.page, page_count, data))
