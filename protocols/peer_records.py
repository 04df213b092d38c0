"""Signed, expiring peer records, exchanged by `peers/1` (DESIGN decision 12, CHAIN 7 "Discovery").

A record says where a peer listens, signed by the peer's own libp2p key for one chain. Of two records of one peer the
one with the higher sequence wins, so a peer can move and an old record cannot be replayed over a new one. No address
ever goes on chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import base58

from ..consensus import cbor
from ..consensus.domains import Domain, digest
from ..consensus.signature import KeyPair, verify
from ..consensus.types import Hash32, InvalidError, MalformedError, Micros, Signature
from .interfaces import Rng
from .limits import MAX_PEER_RECORD_BYTES, MAX_PEER_RECORDS
from .network_address import parse_network_address
from .transport import PeerId

RECORD_VERSION: Final = 1

RECORD_LIFETIME: Final = Micros(24 * 3600 * 1_000_000)
"""A record is good for a day; its owner makes a new one long before."""

MAX_RECORD_LIFETIME: Final = Micros(2 * RECORD_LIFETIME)
"""Records that claim to live longer are refused: a key that leaks must not point somewhere for years."""

MAX_ADDRESSES: Final = 8
"""Addresses of one record. IPv4, IPv6 and a name, in and out of a NAT, are six."""

MAX_ADDRESS_BYTES: Final = 100
MAX_BOOK: Final = 1024
"""Records that a peer keeps: far above the 64 connections it can have, small enough to hold in memory (1 MiB)."""

_ED25519_PREFIX: Final = bytes.fromhex("002408011220")
"""Identity multihash of a protobuf-encoded Ed25519 public key: how libp2p names a peer with such a key."""


def peer_id_of(public_key: bytes) -> PeerId:
    """The libp2p peer id of a 32-byte Ed25519 public key."""
    return PeerId(base58.b58encode(_ED25519_PREFIX + public_key).decode("ascii"))


@dataclass(frozen=True, slots=True)
class PeerRecord:
    """Where one peer listens. Signature validity is a separate step."""

    public_key: bytes
    """32 bytes: the peer's libp2p key, from which its id follows."""
    addresses: tuple[str, ...]
    """Multiaddrs without `/p2p/`, best first."""
    sequence: int
    """u64; the newest wins. Unix microseconds of making, so that it grows over restarts."""
    expires: Micros
    signature: Signature

    @property
    def peer(self) -> PeerId:
        """The peer the record is about."""
        return peer_id_of(self.public_key)

    def dial_addresses(self) -> tuple[str, ...]:
        """The addresses as `Transport.dial` takes them."""
        return tuple(f"{address}/p2p/{self.peer}" for address in self.addresses)


def _signing_digest(genesis_hash: Hash32, record: PeerRecord) -> Hash32:
    return digest(Domain.PEER_RECORD, cbor.encode([genesis_hash, *record_to_value(record)[:-1]]))


def make_record(genesis_hash: Hash32, key: KeyPair, addresses: Sequence[str], now: Micros) -> PeerRecord:
    """A record of our own, valid for RECORD_LIFETIME from `now`."""
    bare = PeerRecord(
        key.public_key, tuple(addresses[:MAX_ADDRESSES]), now, Micros(now + RECORD_LIFETIME), Signature(bytes(64))
    )
    signature = key.sign(_signing_digest(genesis_hash, bare))
    return PeerRecord(bare.public_key, bare.addresses, bare.sequence, bare.expires, signature)


def verify_record(genesis_hash: Hash32, record: PeerRecord, now: Micros) -> None:
    """Raise InvalidError unless the record is signed for this chain and `now` lies in its lifetime."""
    if record.expires <= now:
        raise InvalidError(f"peer record of {record.peer} expired at {record.expires}")
    if record.expires > now + MAX_RECORD_LIFETIME:
        raise InvalidError(f"peer record of {record.peer} claims to live until {record.expires}, two days at most")
    if not verify(record.public_key, _signing_digest(genesis_hash, record), record.signature):
        error = InvalidError(f"peer record of {record.peer} is wrongly signed, or for another chain")
        error.code = "bad_signature"
        raise error


def record_to_value(record: PeerRecord) -> list[Any]:
    """`[version, public key, [address…], sequence, expires, signature]`; addresses are ASCII bytes."""
    return [
        RECORD_VERSION,
        record.public_key,
        [address.encode("ascii") for address in record.addresses],
        record.sequence,
        record.expires,
        record.signature,
    ]


def record_from_value(value: Any) -> PeerRecord:
    """Inverse of `record_to_value`. Raises MalformedError, also for an address that no peer can be dialed at."""
    version, public_key, addresses, sequence, expires, signature = cbor.as_array(value, 6, what="peer record")
    if cbor.as_uint(version, 8, what="record version") != RECORD_VERSION:
        raise MalformedError(f"peer record version {version}, expected {RECORD_VERSION}")
    return PeerRecord(
        cbor.as_bytes(public_key, 32, what="peer key"),
        tuple(
            parse_network_address(_ascii(cbor.as_bytes(address, what="address", most=MAX_ADDRESS_BYTES)))
            for address in cbor.as_array(addresses, what="addresses", most=MAX_ADDRESSES)
        ),
        cbor.as_uint(sequence, 64, what="sequence"),
        Micros(cbor.as_uint(expires, 64, what="expiry")),
        Signature(cbor.as_bytes(signature, 64, what="signature")),
    )


def encode_record(record: PeerRecord) -> bytes:
    """Canonical bytes, at most MAX_PEER_RECORD_BYTES."""
    return cbor.encode(record_to_value(record))


def decode_record(data: bytes) -> PeerRecord:
    """Inverse of `encode_record`. Raises MalformedError."""
    return record_from_value(cbor.decode(data, max_bytes=MAX_PEER_RECORD_BYTES))


def _ascii(data: bytes) -> str:
    try:
        return data.decode("ascii")
    except UnicodeDecodeError as error:
        raise MalformedError("address is not ASCII text") from error


class PeerBook:
    """The newest valid record of each known peer; bounded, the one that expires first goes first."""

    def __init__(self, genesis_hash: Hash32, *, most: int = MAX_BOOK) -> None:
        self._genesis_hash = genesis_hash
        self._most = most
        self._records: dict[PeerId, PeerRecord] = {}

    def __len__(self) -> int:
        return len(self._records)

    def get(self, peer: PeerId) -> PeerRecord | None:
        """The record of `peer`, expired or not."""
        return self._records.get(peer)

    def add(self, record: PeerRecord, now: Micros) -> bool:
        """Keep a record if it is newer than what is known. Raises InvalidError when it is not valid.

        The sequence is compared before the signature is: repeating what we know costs nothing.
        """
        peer = record.peer
        known = self._records.get(peer)
        if known is not None and known.sequence >= record.sequence:
            return False
        verify_record(self._genesis_hash, record, now)
        self._records[peer] = record
        if len(self._records) > self._most:
            del self._records[min(self._records, key=lambda peer: (self._records[peer].expires, peer))]
        return peer in self._records

    def sample(self, now: Micros, rng: Rng, most: int = MAX_PEER_RECORDS) -> list[PeerRecord]:
        """Up to `most` unexpired records in random order, for a `peers` reply or for dialing."""
        alive = [record for _, record in sorted(self._records.items()) if record.expires > now]
        for index in range(min(most, len(alive))):  # a partial Fisher-Yates shuffle
            other = rng.randrange(index, len(alive))
            alive[index], alive[other] = alive[other], alive[index]
        return alive[:most]

    def export(self) -> list[bytes]:
        """Encoded records for storage."""
        return [encode_record(record) for _, record in sorted(self._records.items())]

    def restore(self, rows: Iterable[bytes], now: Micros) -> int:
        """Take back exported rows; what expired or is damaged is left out. Returns how many were taken."""
        taken = 0
        for row in rows:
            try:
                taken += self.add(decode_record(row), now)
            except (MalformedError, InvalidError):
                continue
        return taken
