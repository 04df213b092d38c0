"""Restart files: how a chain goes on after a third of its weight is lost for good (CHAIN 1.3, partitions and halts).

The recovery keys of genesis sign a replacement set for the running era, standing on a final block. The file's hash is
the new restart hash, so votes live in a new domain where old guards neither block nor endanger anybody, and it is the
seed of the running era. Each file names its predecessor: the chain of files is checked by everybody who joins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from . import cbor
from .authority import MAX_AUTHORITIES, Authority, AuthoritySet, authority_set_from_value
from .chain_spec_types import MAX_KEYS
from .domains import Domain, digest
from .effects import BlockRef
from .signature import KeyPair, verify
from .types import ZERO_HASH, AccountId, Hash32, Height, InvalidError, MalformedError, Signature, Slot

MAX_RESTART_BYTES: Final = 16 * 1024
"""100 members of 44 bytes and 32 signatures of 68 are below 7 KB."""


@dataclass(frozen=True, slots=True)
class RestartFile:
    """A signed decision of the recovery keys. Identity is the hash of what is signed, not of the signatures."""

    previous: Hash32
    """Restart hash it follows; zero for the first file."""
    slot: Slot
    """Slot of making. The birth rule counts a restart domain as opened in it, so it may not lie in the future."""
    height: Height
    """Of the final block to go on from."""
    block_hash: Hash32
    members: tuple[Authority, ...]
    """The replacement set, sorted by key."""
    signatures: tuple[tuple[int, Signature], ...]
    """(index of the recovery key, signature), ascending by index."""

    def hash(self, genesis_hash: Hash32) -> Hash32:
        """The new restart hash: what the recovery keys sign."""
        return digest(Domain.RESTART, cbor.encode([genesis_hash, *self._signed_fields()]))

    def authorities(self, genesis_hash: Hash32) -> AuthoritySet:
        """The set for the rest of the running era; its seed is the file's hash."""
        return AuthoritySet(self.members, self.hash(genesis_hash))

    def opening(self, parent_hash: Hash32) -> BlockRef:
        """F = (view 0, point) of the new domain, with the slot that the file names."""
        return BlockRef(self.block_hash, self.height, self.slot, parent_hash)

    def _signed_fields(self) -> list[Any]:
        members = [[member.key, member.weight] for member in self.members]
        return [self.previous, self.slot, self.height, self.block_hash, members]


def sign_restart_file(
    genesis_hash: Hash32,
    recovery_keys: tuple[AccountId, ...],
    signers: tuple[KeyPair, ...],
    *,
    previous: Hash32,
    slot: Slot,
    height: Height,
    block_hash: Hash32,
    members: tuple[Authority, ...],
) -> RestartFile:
    """A file signed by those of `signers` that are recovery keys."""
    bare = RestartFile(previous, slot, height, block_hash, members, ())
    message = bare.hash(genesis_hash)
    by_key = {key.public_key: key for key in signers}
    signatures = tuple(
        (index, by_key[key].sign(message)) for index, key in enumerate(recovery_keys) if bytes(key) in by_key
    )
    return RestartFile(previous, slot, height, block_hash, members, signatures)


def verify_restart_file(
    file: RestartFile,
    genesis_hash: Hash32,
    recovery_keys: tuple[AccountId, ...],
    threshold: int,
    *,
    previous: Hash32,
    now: Slot,
) -> None:
    """Raise InvalidError unless the file is signed by the recovery keys, follows `previous` and is not of the future.

    `previous` is the newest restart hash known, zero before the first. That its point is final here is the caller's
    check: a joiner verifies files before it has blocks.
    """
    if threshold <= 0 or not recovery_keys:
        raise InvalidError("this chain has no recovery keys, so no restart file is valid")
    if file.previous != previous:
        raise InvalidError(
            f"the restart file follows {file.previous.hex()[:16]}, the newest known is {previous.hex()[:16]}",
            remedy="compare with other operators which file the network follows",
        )
    if file.slot > now:
        raise InvalidError(f"the restart file names slot {file.slot}, it is slot {now} now", remedy="check the clock")
    if any(index >= len(recovery_keys) for index, _ in file.signatures):
        raise InvalidError(f"the restart file names a recovery key beyond the {len(recovery_keys)} of this chain")
    if len(file.signatures) < threshold:
        raise InvalidError(f"the restart file has {len(file.signatures)} signatures, {threshold} are needed")
    message = file.hash(genesis_hash)
    for index, signature in file.signatures:
        if not verify(recovery_keys[index], message, signature):
            raise InvalidError(f"the restart file carries a wrong signature of recovery key {index}")


def encode_restart_file(file: RestartFile) -> bytes:
    """Canonical bytes `[previous, slot, height, block hash, members, signatures]`."""
    signatures: list[cbor.Value] = [[index, signature] for index, signature in file.signatures]
    return cbor.encode([*file._signed_fields(), signatures])


def decode_restart_file(data: bytes) -> RestartFile:
    """Inverse of `encode_restart_file`. Raises MalformedError."""
    f = cbor.as_array(cbor.decode(data, max_bytes=MAX_RESTART_BYTES), 6, what="restart file")
    members = cbor.as_array(f[4], what="replacement set", most=MAX_AUTHORITIES)
    signatures = tuple(
        (cbor.as_uint(index, 16, what="recovery key"), Signature(cbor.as_bytes(signature, 64, what="signature")))
        for index, signature in (
            cbor.as_array(item, 2, what="signature") for item in cbor.as_array(f[5], what="signatures", most=MAX_KEYS)
        )
    )
    indexes = [index for index, _ in signatures]
    if indexes != sorted(dict.fromkeys(indexes)):
        raise MalformedError("restart file: signatures are not sorted by key or one occurs twice")
    return RestartFile(
        Hash32(cbor.as_bytes(f[0], 32, what="previous restart hash")),
        Slot(cbor.as_uint(f[1], 64, what="slot")),
        Height(cbor.as_uint(f[2], 64, what="height")),
        Hash32(cbor.as_bytes(f[3], 32, what="block hash")),
        authority_set_from_value([members, ZERO_HASH]).members,
        signatures,
    )
