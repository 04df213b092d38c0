"""Authority sets, quorum weight and era seeds (CHAIN 1.3, weights, quorum, leader)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yumad.consensus.authority import (
    MAX_AUTHORITIES,
    Authority,
    AuthoritySet,
    decode_authority_set,
    encode_authority_set,
    era_seed,
)
from yumad.consensus.types import AuthorityKey, Era, Hash32, InvalidError, MalformedError

SEED = Hash32(b"s" * 32)
GENESIS = Hash32(bytes(range(32)))


def of(*weights: int, seed: Hash32 = SEED) -> AuthoritySet:
    return AuthoritySet(tuple(Authority(AuthorityKey(bytes([n]) * 32), w) for n, w in enumerate(weights)), seed)


@pytest.mark.parametrize(
    ("total", "quorum"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (9, 7), (10, 7), (100, 67)]
)
def test_quorum_is_two_thirds_and_one(total: int, quorum: int) -> None:
    assert of(*[1] * total).quorum == quorum


@given(st.integers(1, 2**64 - 1))
def test_two_quorums_share_more_than_the_largest_bad_weight(total: int) -> None:
    """Bad weight is below a third: the common part of two quorums always holds an honest key, and honest weight alone
    reaches the quorum."""
    quorum, most_bad = of(total).quorum, (total - 1) // 3
    assert 2 * quorum - total > most_bad
    assert total - most_bad >= quorum


def test_hash_covers_keys_weights_and_seed() -> None:
    hashes = [of(1, 2).hash, of(2, 1).hash, of(1, 2, 1).hash, of(1, 2, seed=Hash32(b"t" * 32)).hash]
    assert len(dict.fromkeys(hashes)) == 4


def test_empty_unsorted_weightless_or_oversized_sets_are_refused() -> None:
    a, b = (Authority(AuthorityKey(bytes([n]) * 32), 1) for n in range(2))
    for members in ((), (b, a), (a, a), (Authority(a.key, 0),)):
        with pytest.raises(InvalidError):
            AuthoritySet(members, SEED)
    with pytest.raises(InvalidError, match="101 authorities"):
        of(*[1] * (MAX_AUTHORITIES + 1))


@given(st.lists(st.integers(1, 2**64 - 1), min_size=1, max_size=MAX_AUTHORITIES))
def test_decode_of_an_encoded_set_gives_it_back(weights: list[int]) -> None:
    authorities = of(*weights)
    decoded = decode_authority_set(encode_authority_set(authorities))
    assert decoded == authorities
    assert decoded.hash == authorities.hash


def test_one_flipped_bit_is_malformed_or_another_set() -> None:
    authorities = of(1, 300, 70_000)
    data = encode_authority_set(authorities)
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            decoded = decode_authority_set(bytes(changed))
        except MalformedError:
            continue
        assert decoded.hash != authorities.hash


def test_index_of_a_key_is_its_place_or_nothing() -> None:
    authorities = of(5, 5, 5)
    assert [authorities.index_of(bytes([n]) * 32) for n in range(4)] == [0, 1, 2, None]


SEED_VECTORS = {
    0: "44ff309e81d41af49d2fe8567a071347fb00b09a3d9f7ab9d8934b430e044ea4",
    1: "462016a757da4b7f104e255ce5a4166ccdef6fa0375b79450173ca651ae3510f",
    2: "97da9da72e1e8377fe9bb14d235a9368fcec7590551fef1251a6a2a7d3a42f33",
}


@pytest.mark.parametrize("era", SEED_VECTORS)
def test_era_seed_vectors(era: int) -> None:
    """Genesis hash 00 01 … 1f; the boundary of era 0 is 32 bytes of 0xbb."""
    boundary = None if era < 2 else Hash32(b"\xbb" * 32)
    assert era_seed(GENESIS, Era(era), boundary).hex() == SEED_VECTORS[era]


def test_boundary_author_cannot_change_the_seeds_of_the_first_two_eras() -> None:
    assert era_seed(GENESIS, Era(0), None) == era_seed(GENESIS, Era(0), GENESIS)
    assert era_seed(GENESIS, Era(1), None) != era_seed(GENESIS, Era(0), None)
