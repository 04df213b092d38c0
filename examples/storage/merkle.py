"""Merkle trees over the chunks of a shard: the validator keeps 32 bytes, the miner proves any chunk of it.

Leaves are hashed with a bond of validator and holder. So a miner that hands its shard and its audits on to an honest
one gets proofs back that prove nothing: they are of the honest one's bond with the asker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

CHUNK_BYTES: Final = 256

_LEAF, _NODE = b"\0", b"\1"  # a node can never pass for a chunk
_PAD: Final = bytes(32)


@dataclass
class ChunkProof:
    """One chunk and the hashes beside its way to the root, lowest first."""

    chunk: bytes
    path: list[bytes]


def bond(validator: str, holder: str) -> bytes:
    """Key of the leaves; hotkeys as ss58."""
    return blake2b(f"{validator}/{holder}".encode(), digest_size=32).digest()


def levels(data: bytes, key: bytes) -> list[list[bytes]]:
    """All hashes, leaves first, root last; leaves padded to a power of two. `key` is a bond."""
    row = [_leaf(data[at : at + CHUNK_BYTES], key) for at in range(0, len(data), CHUNK_BYTES)] or [_PAD]
    row += [_PAD] * ((1 << (len(row) - 1).bit_length()) - len(row))
    tree = [row]
    while len(row) > 1:
        row = [_node(row[at], row[at + 1]) for at in range(0, len(row), 2)]
        tree.append(row)
    return tree


def root_of(data: bytes, key: bytes) -> bytes:
    """What the validator keeps of a shard."""
    return levels(data, key)[-1][0]


def prove(data: bytes, indexes: Sequence[int], key: bytes) -> list[ChunkProof]:
    """Proofs of these chunks, in order."""
    tree = levels(data, key)
    return [
        ChunkProof(
            data[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES],
            [row[(index >> height) ^ 1] for height, row in enumerate(tree[:-1])],
        )
        for index in indexes
    ]


def is_proof(root: bytes, index: int, chunks: int, proof: ChunkProof, key: bytes) -> bool:
    """Whether the proof shows chunk `index` of a shard of `chunks` chunks with this root."""
    if len(proof.path) != (chunks - 1).bit_length() or not 0 <= index < chunks:
        return False
    if len(proof.chunk) > CHUNK_BYTES or any(len(step) != 32 for step in proof.path):
        return False
    value = _leaf(proof.chunk, key)
    for height, step in enumerate(proof.path):
        value = _node(step, value) if index >> height & 1 else _node(value, step)
    return value == root


def challenged_chunks(nonce: bytes, chunks: int, count: int) -> list[int]:
    """Which chunks a nonce asks for: both sides draw them from it, so an answer to one nonce is none to another."""
    drawn: list[int] = []
    counter = 0
    while len(drawn) < min(count, chunks):
        word = int.from_bytes(blake2b(nonce + counter.to_bytes(4, "little"), digest_size=8).digest(), "little")
        counter += 1
        if word % chunks not in drawn:
            drawn.append(word % chunks)
    return drawn


def _leaf(chunk: bytes, key: bytes) -> bytes:
    return blake2b(_LEAF + chunk, key=key, digest_size=32).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return blake2b(_NODE + left + right, digest_size=32).digest()
