"""Proof of one chunk of state against a header's state root (CHAIN 4.1: parts must be verifiable alone)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .. import cbor
from ..types import Hash32, InvalidError
from .chunk_tree import CHUNK_BYTES, chunk_count
from .column import ColumnRecord, record_to_value
from .merkle import leaf_hash, node_hash
from .state import State, state_root


@dataclass(frozen=True, slots=True)
class ChunkProof:
    """Everything that ties one chunk to a state root."""

    rules_version: int
    columns: tuple[ColumnRecord, ...]
    """All column records sorted by name: the root is a flat hash over them."""
    name: str
    number: int
    chunk: bytes
    """CHUNK_BYTES bytes, zero-padded behind the column's length."""
    path: tuple[Hash32, ...]
    """Sibling hashes from the leaf up; levels on which the node is promoted have none."""


def make_proof(state: State, name: str, number: int) -> ChunkProof:
    """The proof of chunk `number` of column `name`. Raises InvalidError if there is no such chunk."""
    return ChunkProof(
        state.rules_version, state.columns(), name, number, state.chunk(name, number), state.chunk_path(name, number)
    )


def verify_chunk_proof(proof: ChunkProof, expected_state_root: Hash32) -> None:
    """Raise InvalidError unless the proof's chunk is part of the state with that root."""
    encoded = [cbor.encode(record_to_value(record)) for record in proof.columns]
    if state_root(proof.rules_version, encoded) != expected_state_root:
        raise InvalidError("the column records do not hash to the state root")
    matching = [record for record in proof.columns if record.name == proof.name]
    if len(matching) != 1:
        raise InvalidError(f"the state has no column {proof.name!r}")
    leaves = chunk_count(matching[0].byte_length)
    if not 0 <= proof.number < leaves or len(proof.chunk) != CHUNK_BYTES:
        raise InvalidError(f"column {proof.name} has no chunk {proof.number} of {len(proof.chunk)} bytes")
    if root_of_path(proof.chunk, proof.number, leaves, proof.path) != matching[0].root:
        raise InvalidError(f"chunk {proof.number} does not hash to the root of column {proof.name}")


def root_of_path(chunk: bytes, number: int, leaves: int, path: Sequence[Hash32]) -> Hash32 | None:
    """Root that `chunk` as leaf `number` of `leaves` leads to, or None if the path has the wrong length."""
    node, width, remaining = leaf_hash(chunk), leaves, list(path)
    while width > 1:
        if number ^ 1 < width:
            if not remaining:
                return None
            sibling = remaining.pop(0)
            node = node_hash(sibling, node) if number & 1 else node_hash(node, sibling)
        number >>= 1
        width = (width + 1) // 2
    return None if remaining else node
