"""Service records: where a hotkey serves a subnet, signed by the hotkey and gone within the hour (AXON R33, R34).

The signature is also the certificate of R34: it says that this peer speaks for this hotkey. One hotkey may name
several peers, one record each, and one peer may be named by many hotkeys.

A record shows its addresses, or names relays, or is sealed. A sealed one carries the hash of a set of boxes instead,
one for each permit holder (`sealed_addresses`), so that nobody else learns where the peer is. No address ever goes on
chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import base58

from ...consensus import cbor
from ...consensus.domains import Domain, digest
from ...consensus.signature import KeyPair, verify
from ...consensus.types import AccountId, Hash32, InvalidError, MalformedError, Micros, Signature
from ..network_address import parse_network_address
from ..transport import PeerId
from .codec_offer import MAX_CODECS, MAX_NAME, is_codec_name
from .envelope import MAX_METHOD, NO_SIGNATURE

RECORD_VERSION: Final = 1

MAX_RECORD_BYTES: Final = 2048

RECORD_LIFETIME: Final = Micros(45 * 60 * 1_000_000)
"""Renewed at a third of it: two announcements may be lost before a service is forgotten."""

MAX_RECORD_LIFETIME: Final = Micros(60 * 60 * 1_000_000)
"""One hour (R33): a key that leaks must not point somewhere for longer."""

MAX_AHEAD: Final = Micros(60 * 1_000_000)
"""How far the clock of a record's maker may be ahead of ours."""

MAX_METHODS: Final = 24
MAX_ADDRESSES: Final = 8
SCHEMA_BYTES: Final = 8
"""Beginning of the hash of a method's schema: enough to see that two peers mean different things by one name."""

MAX_RELAY_ADDRESS: Final = 200
"""Bytes of `<address>/p2p/<relay>/relay`."""

PEER_BYTES: Final = 38
_PEER_PREFIX: Final = bytes.fromhex("002408011220")
_RELAY_END: Final = "/relay"
_METHOD_LETTERS: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_.")


@dataclass(frozen=True, slots=True)
class OfferedMethod:
    """One method of a service, as a caller needs to know it before the first call."""

    name: str
    version: int = 1
    stream_in: bool = False
    stream_out: bool = False
    schema: bytes = b""
    """SCHEMA_BYTES of the schema's hash, or nothing."""


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """Where one hotkey serves one subnet. Signature validity is a separate step."""

    netuid: int
    hotkey: AccountId
    peer: PeerId
    """The peer that speaks for the hotkey."""
    methods: tuple[OfferedMethod, ...]
    """Empty: the service was withdrawn. Such a record is kept like any other, so that no older one comes back."""
    addresses: tuple[str, ...]
    """Multiaddrs without the peer's id, best first; `<multiaddr>/p2p/<relay>/relay` for one through a relay."""
    boxes_hash: bytes
    """Of the sealed addresses, 32 bytes; empty when the record is open."""
    sequence: Micros
    """Unix microseconds of making; of two records of one peer the later counts."""
    expires: Micros
    signature: Signature = NO_SIGNATURE
    codecs: tuple[str, ...] = ()
    """What the peer decodes beyond the protocol's own codecs (R10). A record without any has no field for them."""

    @property
    def is_sealed(self) -> bool:
        """Its addresses are for permit holders only."""
        return bool(self.boxes_hash)

    @property
    def is_withdrawn(self) -> bool:
        """Nothing is served any more."""
        return not self.methods

    def dial_addresses(self) -> tuple[str, ...]:
        """The addresses of an open record with the peer's id at the end."""
        return dial_addresses(self.addresses, self.peer)


def dial_addresses(addresses: Sequence[str], peer: PeerId) -> tuple[str, ...]:
    """Addresses as an `Endpoint` holds them: direct ones first, `…/relay/p2p/<peer>` after them."""
    ordered = sorted(addresses, key=lambda address: address.endswith(_RELAY_END))
    return tuple(f"{address}/p2p/{peer}" for address in ordered)


def parse_service_address(text: str) -> str:
    """`text` itself when it is a direct address or one of a relay. Raises MalformedError."""
    if not text.endswith(_RELAY_END):
        return parse_network_address(text)
    network, mark, relay = text.removesuffix(_RELAY_END).rpartition("/p2p/")
    if not mark:
        raise MalformedError(f"relay address {text[:200]!r} does not name its relay", remedy="…/p2p/<relay>/relay")
    parse_network_address(network)
    peer_bytes(PeerId(relay))
    return text


def peer_bytes(peer: PeerId) -> bytes:
    """The 38 bytes behind a peer id of an Ed25519 key. Raises MalformedError."""
    try:
        raw = base58.b58decode(peer) if len(peer) < 64 else b""
    except ValueError:
        raw = b""
    if _peer_text(raw) != peer:
        raise MalformedError("peer id is not in its one canonical form")
    return raw


def _peer_text(raw: bytes) -> PeerId:
    if len(raw) != PEER_BYTES or not raw.startswith(_PEER_PREFIX):
        raise MalformedError("peer id is not that of an Ed25519 key")
    return PeerId(base58.b58encode(raw).decode("ascii"))


# --- making and checking ----------------------------------------------------------------------------------------------


def make_record(
    genesis_hash: Hash32,
    key: KeyPair,
    netuid: int,
    peer: PeerId,
    methods: Sequence[OfferedMethod],
    now: Micros,
    *,
    addresses: Sequence[str] = (),
    boxes_hash: bytes = b"",
    codecs: Sequence[str] = (),
) -> ServiceRecord:
    """A record of our own, good for RECORD_LIFETIME. Raises MalformedError when it would be refused by others.

    Without methods it withdraws the service. Addresses beyond what a record can hold are left out.
    """
    bare = ServiceRecord(
        netuid,
        AccountId(key.public_key),
        peer,
        tuple(methods),
        tuple(addresses[:MAX_ADDRESSES]),
        boxes_hash,
        now,
        Micros(now + RECORD_LIFETIME),
        codecs=tuple(codecs),
    )
    while bare.addresses and len(encode_record(bare)) > MAX_RECORD_BYTES:
        bare = replace(bare, addresses=bare.addresses[:-1])
    signed = replace(bare, signature=key.sign(_signing_digest(genesis_hash, bare)))
    try:
        return decode_record(encode_record(signed))
    except MalformedError as error:
        error.remedy = error.remedy or f"at most {MAX_METHODS} methods with short names fit into a record"
        raise


def _signing_digest(genesis_hash: Hash32, record: ServiceRecord) -> Hash32:
    return digest(Domain.SERVICE_RECORD, cbor.encode([genesis_hash, *_to_value(record)[:-1]]))


def check_lifetime(record: ServiceRecord, now: Micros) -> None:
    """The checks that cost nothing. Raises InvalidError with code expired, too_long or from_the_future."""
    if record.expires <= now:
        raise _invalid("expired", f"service record expired at {record.expires}")
    if record.expires - record.sequence > MAX_RECORD_LIFETIME:
        raise _invalid("too_long", "service record claims to live for more than an hour")
    if record.sequence > now + MAX_AHEAD:
        raise _invalid("from_the_future", f"service record was made at {record.sequence}, which is not yet")


def verify_record(genesis_hash: Hash32, record: ServiceRecord, now: Micros) -> None:
    """Raise InvalidError unless the hotkey signed the record for this chain and `now` lies in its lifetime."""
    check_lifetime(record, now)
    if not verify(record.hotkey, _signing_digest(genesis_hash, record), record.signature):
        raise _invalid("bad_signature", "service record is wrongly signed, or for another chain")


def _invalid(code: str, text: str) -> InvalidError:
    error = InvalidError(text)
    error.code = code
    return error


# --- bytes ------------------------------------------------------------------------------------------------------------


def _to_value(record: ServiceRecord) -> list[Any]:
    return [
        RECORD_VERSION,
        record.netuid,
        record.hotkey,
        peer_bytes(record.peer),
        [
            [method.name.encode("ascii"), method.version, method.stream_in, method.stream_out, method.schema]
            for method in record.methods
        ],
        [address.encode("ascii") for address in record.addresses],
        record.boxes_hash,
        record.sequence,
        record.expires,
        *([[codec.encode("ascii") for codec in record.codecs]] if record.codecs else []),
        record.signature,
    ]


def encode_record(record: ServiceRecord) -> bytes:
    """Canonical bytes."""
    return cbor.encode(_to_value(record))


def decode_record(data: bytes) -> ServiceRecord:
    """Inverse of `encode_record`. Raises MalformedError."""
    fields = cbor.as_array(cbor.decode(data, max_bytes=MAX_RECORD_BYTES), what="service record")
    if len(fields) not in (10, 11):
        raise MalformedError(f"service record: {len(fields)} items, expected 10 or 11")
    version, netuid, hotkey, peer, methods, addresses, boxes_hash, sequence, expires, *codecs, signature = fields
    if cbor.as_uint(version, 8, what="record version") != RECORD_VERSION:
        raise MalformedError(f"service record version {version}, expected {RECORD_VERSION}")
    record = ServiceRecord(
        netuid=cbor.as_uint(netuid, 16, what="netuid"),
        hotkey=AccountId(cbor.as_bytes(hotkey, 32, what="hotkey")),
        peer=_peer_text(cbor.as_bytes(peer, PEER_BYTES, what="peer id")),
        methods=tuple(_method(item) for item in cbor.as_array(methods, what="methods", most=MAX_METHODS)),
        addresses=addresses_from_value(addresses),
        boxes_hash=_none_or(boxes_hash, 32, "hash of the boxes"),
        sequence=Micros(cbor.as_uint(sequence, 63, what="sequence")),
        expires=Micros(cbor.as_uint(expires, 63, what="expiry")),
        signature=Signature(cbor.as_bytes(signature, 64, what="signature")),
        codecs=_codecs(codecs[0]) if codecs else (),
    )
    if record.boxes_hash and record.addresses:
        raise MalformedError("a sealed service record shows no addresses")
    if len({method.name for method in record.methods}) != len(record.methods):
        raise MalformedError("a method is offered twice")
    return record


def addresses_from_value(value: object) -> tuple[str, ...]:
    """Decoded addresses, each checked. Raises MalformedError."""
    items = cbor.as_array(value, what="addresses", most=MAX_ADDRESSES)
    return tuple(
        parse_service_address(_ascii(cbor.as_bytes(item, what="address", most=MAX_RELAY_ADDRESS), "address"))
        for item in items
    )


def _method(value: object) -> OfferedMethod:
    name, version, stream_in, stream_out, schema = cbor.as_array(value, 5, what="method")
    name = cbor.as_bytes(name, what="method name", most=MAX_METHOD)
    if not name or not _METHOD_LETTERS.issuperset(name):
        raise MalformedError("a method's name holds a-z, 0-9, _ and . only")
    return OfferedMethod(
        name.decode("ascii"),
        cbor.as_uint(version, 16, what="method version"),
        cbor.as_bool(stream_in, what="stream in"),
        cbor.as_bool(stream_out, what="stream out"),
        _none_or(schema, SCHEMA_BYTES, "schema"),
    )


def _codecs(value: object) -> tuple[str, ...]:
    names = [
        cbor.as_bytes(item, what="codec", most=MAX_NAME)
        for item in cbor.as_array(value, what="codecs", most=MAX_CODECS)
    ]
    if not names or not all(is_codec_name(name) for name in names) or len(set(names)) != len(names):
        raise MalformedError("codecs are some short names, each once")
    return tuple(name.decode("ascii") for name in names)


def _none_or(value: object, length: int, what: str) -> bytes:
    data = cbor.as_bytes(value, what=what, most=length)
    if len(data) not in (0, length):
        raise MalformedError(f"{what}: {len(data)} bytes, expected {length} or none")
    return data


def _ascii(data: bytes, what: str) -> str:
    try:
        return data.decode("ascii")
    except UnicodeDecodeError as error:
        raise MalformedError(f"{what} is not ASCII text") from error
