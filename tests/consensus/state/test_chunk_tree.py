"""The incremental tree equals the plain one, whatever grows, shrinks or changes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from yumad.consensus.state.chunk_tree import CHUNK_BYTES, EMPTY_ROOT, ChunkTree, chunk_count
from yumad.consensus.state.merkle import leaf_hash, merkle_root, node_hash, root_of_hashes


def plain_root(buffer, length):
    return merkle_root([buffer[i * CHUNK_BYTES : (i + 1) * CHUNK_BYTES].tobytes() for i in range(chunk_count(length))])


def test_root_of_nothing_is_the_leaf_hash_of_the_empty_string():
    assert ChunkTree().root() == EMPTY_ROOT == leaf_hash(b"")
    assert root_of_hashes([]) == leaf_hash(b"")


def test_tree_of_five_leaves_splits_at_the_largest_power_of_two():
    leaves = [leaf_hash(bytes([number])) for number in range(5)]
    left = node_hash(node_hash(leaves[0], leaves[1]), node_hash(leaves[2], leaves[3]))
    assert root_of_hashes(leaves) == node_hash(left, leaves[4])


def test_leaf_and_node_hashes_have_separate_domains():
    left, right = leaf_hash(b"l"), leaf_hash(b"r")
    assert node_hash(left, right) != leaf_hash(left + right)


@given(
    st.lists(
        st.tuples(st.integers(0, 40 * CHUNK_BYTES), st.lists(st.integers(0, 40), max_size=6), st.integers(0, 255)),
        min_size=1,
        max_size=12,
    )
)
def test_update_after_any_growth_and_change_gives_the_rebuilt_root(steps):
    tree, buffer, length = ChunkTree(), np.zeros(41 * CHUNK_BYTES, dtype=np.uint8), 0
    for new_length, touched, value in steps:
        dirty = set(touched)
        low, high = sorted((length, new_length))
        if new_length < length:
            buffer[new_length:length] = 0
        if low != high:
            dirty |= set(range(low // CHUNK_BYTES, (high - 1) // CHUNK_BYTES + 1))
        length = new_length
        for chunk in touched:
            if chunk * CHUNK_BYTES < length:
                buffer[chunk * CHUNK_BYTES] = value
        tree.update(buffer, length, dirty)
        assert tree.leaves == chunk_count(length)
        assert tree.root() == plain_root(buffer, length)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 31])
def test_copy_of_a_tree_does_not_follow_the_original(count):
    buffer = np.arange(count * CHUNK_BYTES, dtype=np.uint64).astype(np.uint8)
    tree = ChunkTree()
    tree.update(buffer, count * CHUNK_BYTES, range(count))
    twin, before = tree.copy(), tree.root()
    buffer[0] += 1
    tree.update(buffer, count * CHUNK_BYTES, [0])
    assert twin.root() == before != tree.root()
