"""Peer ids and the key behind our own (LIBP2P section 1, DESIGN 4.11).

A yumad peer id is the identity multihash of a protobuf-encoded Ed25519 public key, in base58: `12D3Koo…`. Other key
types of libp2p are refused: nothing here needs them, and their decoders are one more thing a stranger could reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import base58
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.keys import KeyPair

from ..transport import PeerId

SEED_BYTES: Final = 32

_PREFIX: Final = bytes((0x00, 0x24, 0x08, 0x01, 0x12, 0x20))
"""Identity multihash of 36 bytes, holding protobuf {type: Ed25519, data: 32 bytes}."""

_TEXT_LENGTH: Final = 52
"""Every id of this shape has 52 base58 digits; the length is checked before the digits are."""


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """The libp2p key of this peer. It proves the peer id and nothing else (DESIGN 4.11)."""

    key_pair: KeyPair
    peer: PeerId


def peer_id_of(public_key: bytes) -> PeerId:
    """Peer id of a raw 32-byte Ed25519 public key."""
    if len(public_key) != SEED_BYTES:
        raise ValueError(f"an Ed25519 public key has 32 bytes, not {len(public_key)}")
    return PeerId(base58.b58encode(_PREFIX + public_key).decode("ascii"))


def public_key_of(peer: PeerId) -> bytes:
    """Raw 32-byte Ed25519 public key inside a peer id; raises ValueError when it is not such an id."""
    if len(peer) != _TEXT_LENGTH:
        raise ValueError(f"a peer id has {_TEXT_LENGTH} base58 digits, this one {len(peer)}")
    raw = base58.b58decode(peer)
    if len(raw) != len(_PREFIX) + SEED_BYTES or not raw.startswith(_PREFIX):
        raise ValueError(f"peer id {peer} does not hold an Ed25519 key; only 12D3Koo… ids are spoken to")
    return raw[len(_PREFIX) :]


def parse_peer_id(text: str) -> PeerId:
    """Check the text of a peer id from outside; raises ValueError."""
    public_key_of(PeerId(text))
    return PeerId(text)


def identity_from_seed(seed: bytes) -> PeerIdentity:
    """Identity of a 32-byte secret seed: the same seed gives the same peer id."""
    if len(seed) != SEED_BYTES:
        raise ValueError(f"a peer key seed has {SEED_BYTES} bytes, not {len(seed)}")
    key_pair = create_new_key_pair(seed)
    return PeerIdentity(key_pair=key_pair, peer=peer_id_of(key_pair.public_key.to_bytes()))
