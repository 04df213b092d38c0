"""Merkle trees of RFC 6962 shape over blake2b-256 with separate leaf and node domains (CHAIN 4.1-4.2).

A tree over n > 1 leaves splits at the largest power of two below n; the empty root is the leaf hash of the empty
string. Transaction and result roots use this tree directly; columns use it over 1 KiB chunks.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..domains import Domain, digest
from ..types import Hash32


def leaf_hash(data: bytes | memoryview) -> Hash32:
    """Hash of one leaf's bytes."""
    return digest(Domain.LEAF, bytes(data))


def node_hash(left: Hash32, right: Hash32) -> Hash32:
    """Hash of an inner node."""
    return digest(Domain.NODE, left, right)


def merkle_root(leaves: Sequence[bytes]) -> Hash32:
    """Root over `leaves` in order."""
    return root_of_hashes([leaf_hash(leaf) for leaf in leaves])


def root_of_hashes(hashes: Sequence[Hash32]) -> Hash32:
    """Root over leaf hashes.

    Pairing level by level and promoting an odd last node gives the same tree as splitting at powers of two.
    """
    if not hashes:
        return leaf_hash(b"")
    level = list(hashes)
    while len(level) > 1:
        paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        if len(level) & 1:
            paired.append(level[-1])
        level = paired
    return level[0]
