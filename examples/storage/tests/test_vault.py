"""Sealing, proofs and the miner's shards on disk."""

from __future__ import annotations

import random
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from merkle import CHUNK_BYTES, ChunkProof, bond, challenged_chunks, is_proof, prove, root_of
from sealing import mask, shard_id
from vault import CHUNKS, SHARD_BYTES, Vault

RNG = random.Random(5)
DATA = RNG.randbytes(SHARD_BYTES)
KEY = bond("5Anna", "5Miner")
SHARD, OTHER, SECRET, STRIPE = b"a" * 16, b"b" * 16, b"s" * 32, b"t" * 16


@pytest.mark.parametrize("length", [1, 255, 256, 257, 1000, 5 * CHUNK_BYTES, SHARD_BYTES])
def test_every_chunk_of_any_length_is_proven(length):
    data = DATA[:length]
    chunks = -(-length // CHUNK_BYTES)
    for index, proof in enumerate(prove(data, range(chunks), KEY)):
        assert is_proof(root_of(data, KEY), index, chunks, proof, KEY)
        assert chunks == 1 or not is_proof(root_of(data, KEY), (index + 1) % chunks, chunks, proof, KEY)


def test_changed_proofs_prove_nothing():
    root, proof = root_of(DATA, KEY), prove(DATA, [5], KEY)[0]
    assert is_proof(root, 5, CHUNKS, proof, KEY)
    wrong = [
        replace(proof, chunk=bytes([proof.chunk[0] ^ 1]) + proof.chunk[1:]),
        replace(proof, path=proof.path[:-1]),
        replace(proof, path=[*proof.path, bytes(32)]),
        replace(proof, path=[bytes(32), *proof.path[1:]]),
        replace(proof, path=[step[:31] for step in proof.path]),
        ChunkProof(b"", []),
    ]
    assert not any(is_proof(root, 5, CHUNKS, one, KEY) for one in wrong)


def test_hashes_inside_the_tree_do_not_pass_for_chunks():
    """The two halves below a node, given as a chunk, would hash to the node if leaves and nodes were hashed alike."""
    proof = prove(DATA, [0], KEY)[0]
    root, upper = root_of(DATA, KEY), prove(DATA, [1], KEY)[0]
    assert not is_proof(root, 0, CHUNKS // 2, ChunkProof(upper.path[0] + proof.path[0], proof.path[1:]), KEY)


def test_proof_of_another_holder_or_for_another_validator_proves_nothing():
    root = root_of(DATA, KEY)
    for validator, holder in (("5Anna", "5Other"), ("5Other", "5Miner")):
        key = bond(validator, holder)
        proof = prove(DATA, [5], key)[0]
        assert not is_proof(root, 5, CHUNKS, proof, KEY)
        assert root_of(DATA, key) != root


def test_nonces_ask_for_different_chunks_all_equally_often():
    asked = Counter(chunk for n in range(6000) for chunk in challenged_chunks(n.to_bytes(16, "big"), CHUNKS, 8))
    assert len(asked) == CHUNKS
    assert max(asked.values()) < 1.4 * min(asked.values())
    assert all(len(set(challenged_chunks(n.to_bytes(16, "big"), 8, 8))) == 8 for n in range(50))


def test_same_shard_is_unrelated_bytes_on_two_miners():
    one, two = (mask(SECRET, STRIPE, 0, hotkey, DATA) for hotkey in ("5Anna", "5Bob"))
    assert sum(a == b for a, b in zip(one, two, strict=True)) < SHARD_BYTES / 100
    assert mask(SECRET, STRIPE, 0, "5Anna", one) == DATA
    assert mask(SECRET, STRIPE, 1, "5Anna", DATA) != one
    assert shard_id(SECRET, STRIPE, 0, "5Anna") != shard_id(SECRET, STRIPE, 0, "5Bob")


def test_vault_keeps_proves_and_drops(tmp_path):
    vault = Vault(tmp_path, "5Miner", 3 * SHARD_BYTES)
    assert vault.put("5Anna", SHARD, DATA) == root_of(DATA, KEY)
    assert Vault(tmp_path, "5Miner", 3 * SHARD_BYTES).get("5Anna", SHARD) == DATA
    nonce = bytes(16)
    for index, proof in zip(challenged_chunks(nonce, CHUNKS, 8), vault.prove("5Anna", SHARD, nonce, 8), strict=True):
        assert is_proof(root_of(DATA, KEY), index, CHUNKS, proof, KEY)
    vault.drop("5Anna", SHARD)
    vault.drop("5Anna", SHARD)
    assert vault.get("5Anna", SHARD) is None
    assert vault.prove("5Anna", SHARD, nonce, 8) == []


def test_vault_gives_each_owner_its_own_room(tmp_path):
    vault = Vault(tmp_path, "5Miner", 2 * SHARD_BYTES)
    vault.put("5Anna", SHARD, DATA)
    vault.put("5Anna", OTHER, DATA)
    vault.put("5Anna", OTHER, DATA[::-1])  # the same shard again needs no room
    assert (vault.room("5Anna"), vault.room("5Bob")) == (0, 2 * SHARD_BYTES)
    assert vault.get("5Bob", SHARD) is None
    with pytest.raises(ValueError, match="no room"):
        vault.put("5Anna", b"c" * 16, DATA)


def test_vault_refuses_other_sizes_and_names(tmp_path):
    vault = Vault(tmp_path, "5Miner", 1 << 20)
    for owner, shard, data in (
        ("5Anna", SHARD, DATA[:-1]),
        ("5Anna", b"short", DATA),
        ("../etc", SHARD, DATA),
        ("", SHARD, DATA),
    ):
        with pytest.raises(ValueError, match=r"a shard of|shard id|no hotkey"):
            vault.put(owner, shard, data)
