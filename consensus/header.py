"""Block headers (CHAIN 1.3, header): no view and no signature, so a block keeps its hash when proposed again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from . import cbor
from .domains import Domain, digest
from .types import Era, Hash32, Height, Slot

MAX_HEADER_BYTES: Final = 512
"""Seven hashes and six integers at their widest are 295 bytes."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a block commits to. `block_hash` is its identity."""

    rules_version: int
    """u32; names the rules package that executes the block."""
    height: Height
    era: Era
    slot: Slot
    """Wall-clock slot of sealing; strictly grows along a chain."""
    parent_hash: Hash32
    """The genesis hash in block 1."""
    proposer_index: int
    """u16 index of the author in the era's set."""
    tx_root: Hash32
    """Merkle root over the full transaction bytes, signatures included."""
    results_root: Hash32
    """Merkle root over block-start events (leaf 0) and each transaction's result."""
    state_root: Hash32
    """Commitment of the state after the block."""
    authorities_hash: Hash32
    next_authorities_hash: Hash32
    """Zero unless this is the era's boundary block."""
    commit_root: Hash32
    """Covers the body's certificate and evidence."""
    signal: int
    """u32; rules version its author is ready for."""


def encode_header(header: Header) -> bytes:
    """Canonical positional array."""
    return cbor.encode(
        [
            header.rules_version,
            header.height,
            header.era,
            header.slot,
            header.parent_hash,
            header.proposer_index,
            header.tx_root,
            header.results_root,
            header.state_root,
            header.authorities_hash,
            header.next_authorities_hash,
            header.commit_root,
            header.signal,
        ]
    )


def decode_header(data: bytes) -> Header:
    """Inverse of `encode_header`. Raises MalformedError."""
    f = cbor.as_array(cbor.decode(data, max_bytes=MAX_HEADER_BYTES), 13, what="header")
    return Header(
        rules_version=cbor.as_uint(f[0], 32, what="rules version"),
        height=Height(cbor.as_uint(f[1], 64, what="height")),
        era=Era(cbor.as_uint(f[2], 32, what="era")),
        slot=Slot(cbor.as_uint(f[3], 64, what="slot")),
        parent_hash=Hash32(cbor.as_bytes(f[4], 32, what="parent hash")),
        proposer_index=cbor.as_uint(f[5], 16, what="proposer index"),
        tx_root=Hash32(cbor.as_bytes(f[6], 32, what="tx root")),
        results_root=Hash32(cbor.as_bytes(f[7], 32, what="results root")),
        state_root=Hash32(cbor.as_bytes(f[8], 32, what="state root")),
        authorities_hash=Hash32(cbor.as_bytes(f[9], 32, what="authorities hash")),
        next_authorities_hash=Hash32(cbor.as_bytes(f[10], 32, what="next authorities hash")),
        commit_root=Hash32(cbor.as_bytes(f[11], 32, what="commit root")),
        signal=cbor.as_uint(f[12], 32, what="signal"),
    )


def block_hash(header: Header) -> Hash32:
    """Identity of the block."""
    return digest(Domain.BLOCK, encode_header(header))
