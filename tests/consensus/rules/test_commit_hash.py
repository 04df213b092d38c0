"""The hash that commits to weights, and its published examples (YUMA 5.2, 9.6)."""

from __future__ import annotations

import hashlib

import pytest
from yumad.consensus.rules.v1.subnets import mechanism_index
from yumad.consensus.rules.v1.weight_commits import commit_hash


@pytest.mark.parametrize(
    ("mechanism", "index", "expected"),
    [
        (0, "0100", "a62322ca0a1ae42abef9c3a85cd065abc6a51bdd483febb5e474f627557f1aae"),
        (1, "0110", "5c02e78cf2d6ee3e20fa3dacd7c87126479128fe3da40b82397586f9f2517639"),
    ],
)
def test_hash_is_that_of_the_published_preimage(mechanism: int, index: str, expected: str) -> None:
    """YUMA 9.6: account, index, uids, values, salt, version key."""
    preimage = bytes(range(32)) + bytes.fromhex(
        index + "0800000100" + "080a001400" + "100100020003000400" + "0700000000000000"
    )
    made = commit_hash(bytes(range(32)), mechanism_index(1, mechanism), [0, 1], [10, 20], [1, 2, 3, 4], 7)
    assert made.hex() == hashlib.blake2b(preimage, digest_size=32).hexdigest() == expected


@pytest.mark.parametrize(
    ("length", "prefix"), [(0, "00"), (63, "fc"), (64, "0101"), (16_383, "fdff"), (16_384, "02000100")]
)
def test_length_of_a_list_takes_one_two_or_four_bytes(length: int, prefix: str) -> None:
    preimage = bytes(32) + b"\1\0" + bytes.fromhex(prefix) + bytes(2 * length) + b"\0\0" + bytes(8)
    assert commit_hash(bytes(32), 1, [0] * length, [], [], 0) == hashlib.blake2b(preimage, digest_size=32).digest()


def test_hash_depends_on_every_part_and_on_where_one_list_ends() -> None:
    hashes = [
        commit_hash(bytes(32), 1, [1], [2], [3], 4),
        commit_hash(bytes(31) + b"\1", 1, [1], [2], [3], 4),
        commit_hash(bytes(32), 2, [1], [2], [3], 4),
        commit_hash(bytes(32), 1, [2], [2], [3], 4),
        commit_hash(bytes(32), 1, [1], [1], [3], 4),
        commit_hash(bytes(32), 1, [1], [2], [2], 4),
        commit_hash(bytes(32), 1, [1], [2], [3], 5),
        commit_hash(bytes(32), 1, [1, 2], [], [3], 4),
        commit_hash(bytes(32), 1, [1], [2, 3], [], 4),
    ]
    assert len(dict.fromkeys(hashes)) == len(hashes)
