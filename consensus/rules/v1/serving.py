"""Where neurons are served: peer ids and certificates instead of addresses (DTAO 9, DESIGN decision 12).

Addresses travel in signed, expiring peer records between peers; the chain keeps which peer, and since when.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ... import cbor
from .errors import CallError, ErrorCode
from .neurons import uid_of
from .records import RecordTag, get_record, put_record
from .subnets import parameter, subnet_exists

if TYPE_CHECKING:
    from ...state.state import State

MIN_PEER_ID: Final = 34
MAX_PEER_ID: Final = 64
"""A peer id is a multihash of a public key: 38 bytes for Ed25519, 34 for a SHA-256."""

MAX_PROTOCOLS: Final = 16

MAX_CERTIFICATE: Final = 65
"""One algorithm byte and up to 64 of key."""

_MOST_BYTES: Final = 512


def is_peer_id(peer_id: bytes) -> bool:
    """Whether the bytes are a multihash as libp2p names peers by: identity (0) or SHA-256 (0x12), and its length."""
    if not MIN_PEER_ID <= len(peer_id) <= MAX_PEER_ID:
        return False
    return peer_id[0] in (0x00, 0x12) and peer_id[1] == len(peer_id) - 2


def check_serve(state: State, tag: RecordTag, netuid: int, hotkey: bytes, peer_id: bytes, height: int) -> None:
    """The checks of a serve call in order. Raises CallError."""
    if not subnet_exists(state, netuid) or uid_of(state, netuid, hotkey) is None:
        raise CallError(ErrorCode.HotKeyNotRegisteredInNetwork)
    if not is_peer_id(peer_id):
        raise CallError(ErrorCode.InvalidPeerId)
    served = served_record(state, tag, netuid, hotkey)
    if served is not None and height - served["block"] < parameter(state, netuid, "serving_rate_limit"):
        raise CallError(ErrorCode.ServingRateLimitExceeded)


def serve(
    state: State,
    tag: RecordTag,
    netuid: int,
    hotkey: bytes,
    *,
    height: int,
    version: int,
    peer_id: bytes,
    protocols: Sequence[int] = (),
) -> None:
    """Store where a hotkey is served."""
    put_record(state, tag, netuid, hotkey, cbor.encode([height, version, peer_id, list(protocols)]))


def store_certificate(state: State, netuid: int, hotkey: bytes, certificate: bytes) -> None:
    """Keep a certificate; a malformed one is ignored."""
    if 1 <= len(certificate) <= MAX_CERTIFICATE:
        put_record(state, RecordTag.CERTIFICATE, netuid, hotkey, certificate)


def served_record(state: State, tag: RecordTag, netuid: int, hotkey: bytes) -> dict[str, Any] | None:
    """What a hotkey published of where it is served, or None."""
    data = get_record(state, tag, netuid, hotkey)
    if data is None:
        return None
    block, version, peer_id, protocols = cbor.decode(data, max_bytes=_MOST_BYTES)
    return {"block": block, "version": version, "peer_id": peer_id, "protocols": protocols}
