"""Authority sets: who votes in an era, with what weight, and the seed its leaders are drawn from (CHAIN 1.3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from . import cbor
from .domains import Domain, digest
from .types import ZERO_HASH, AuthorityKey, Era, Hash32, InvalidError, MalformedError

MAX_AUTHORITIES: Final = 100
"""Keeps a finality certificate near 4 KB and its check at 4 ms."""

_MAX_SET_BYTES: Final = 8192
"""100 members of 44 bytes and the seed, with room."""


@dataclass(frozen=True, slots=True)
class Authority:
    """One voter of an era."""

    key: AuthorityKey
    """Signs statements."""

    weight: int
    """Root TAO behind its hotkey in rao, the smaller of two boundaries; above zero."""


@dataclass(frozen=True, slots=True)
class AuthoritySet:
    """The voters of one era, sorted by key, and the era's seed."""

    members: tuple[Authority, ...]
    seed: Hash32
    total_weight: int = field(init=False)
    hash: Hash32 = field(init=False)
    """Commits members and seed, so everything that leader choice depends on (the header's `authorities_hash`)."""

    def __post_init__(self) -> None:
        keys = [member.key for member in self.members]
        if not self.members or len(self.members) > MAX_AUTHORITIES:
            raise InvalidError(f"{len(keys)} authorities, between 1 and {MAX_AUTHORITIES} allowed")
        if any(left >= right for left, right in pairwise(keys)):
            raise InvalidError("authorities are not sorted by key or one occurs twice")
        if any(member.weight <= 0 for member in self.members):
            raise InvalidError("an authority has no weight")
        object.__setattr__(self, "total_weight", sum(member.weight for member in self.members))
        object.__setattr__(self, "hash", digest(Domain.ERA, encode_authority_set(self)))

    @property
    def quorum(self) -> int:
        """Least weight that decides: more than two thirds, `2*W//3 + 1`."""
        return 2 * self.total_weight // 3 + 1

    def index_of(self, key: AuthorityKey | bytes) -> int | None:
        """Position of `key` in the set, or None."""
        for index, member in enumerate(self.members):
            if member.key == key:
                return index
        return None


def encode_authority_set(authorities: AuthoritySet) -> bytes:
    """Canonical bytes `[[[key, weight]…], seed]`."""
    return cbor.encode([[[member.key, member.weight] for member in authorities.members], authorities.seed])


def decode_authority_set(data: bytes) -> AuthoritySet:
    """Inverse of `encode_authority_set`. Raises MalformedError or InvalidError."""
    return authority_set_from_value(cbor.decode(data, max_bytes=_MAX_SET_BYTES))


def authority_set_from_value(value: Any) -> AuthoritySet:
    """The set in an already decoded `[[[key, weight]…], seed]`."""
    members, seed = cbor.as_array(value, 2, what="authority set")
    rows = [
        cbor.as_array(row, 2, what="authority") for row in cbor.as_array(members, what="members", most=MAX_AUTHORITIES)
    ]
    try:
        return AuthoritySet(
            tuple(
                Authority(
                    AuthorityKey(cbor.as_bytes(key, 32, what="authority key")),
                    cbor.as_uint(weight, 64, what="authority weight"),
                )
                for key, weight in rows
            ),
            Hash32(cbor.as_bytes(seed, 32, what="era seed")),
        )
    except InvalidError as error:
        raise MalformedError(f"authority set: {error.message}") from error


def era_seed(genesis_hash: Hash32, era: Era, boundary_hash: Hash32 | None) -> Hash32:
    """Seed of `era` from the hash of the boundary block of era-2, or the genesis hash for eras 0 and 1."""
    source = genesis_hash if boundary_hash is None else boundary_hash
    return digest(Domain.SEED, genesis_hash, era.to_bytes(4, "big"), source)


NO_SET: Final = ZERO_HASH
"""`next_authorities_hash` of every header that is not a boundary."""
