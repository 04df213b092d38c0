"""Merkle trees of RFC 6962 shape (CHAIN 4.2)."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yumad.consensus.domains import Domain
from yumad.consensus.state.merkle import leaf_hash, merkle_root, node_hash
from yumad.consensus.state.proof import root_of_path


def recursive_root(hashes):
    """The definition: split at the largest power of two below n."""
    if not hashes:
        return leaf_hash(b"")
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return node_hash(recursive_root(hashes[:split]), recursive_root(hashes[split:]))


@given(st.lists(st.binary(max_size=40), max_size=70))
def test_level_by_level_root_equals_the_recursive_definition(leaves):
    assert merkle_root(leaves) == recursive_root([leaf_hash(leaf) for leaf in leaves])


def test_leaf_hash_is_personalised_blake2b():
    assert leaf_hash(b"abc") == hashlib.blake2b(b"abc", digest_size=32, person=b"yumad/leaf").digest()


def test_root_depends_on_order_and_count():
    roots = [merkle_root(leaves) for leaves in ([], [b""], [b"", b""], [b"a", b"b"], [b"b", b"a"], [b"a", b"b", b"b"])]
    assert len(set(roots)) == len(roots) - 1  # the empty root is by rule that of one empty leaf


@pytest.mark.parametrize("leaves", [1, 2, 3, 6, 7, 33])
def test_path_of_the_wrong_length_leads_nowhere(leaves):
    too_long = (leaf_hash(b"x"),) * 10
    assert root_of_path(b"", 0, leaves, too_long) is None


def test_domains_are_distinct_and_short_enough():
    values = [domain.value for domain in Domain]
    assert len(set(values)) == len(values)
    assert max(map(len, values)) <= 16
