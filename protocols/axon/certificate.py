"""A hotkey's word that a peer id speaks for it, for channel mode (AXON R4, R34; docs/axon.md "Channel mode").

Sent once per stream. The connection's handshake proves the peer id, the certificate ties it to the hotkey; after that
calls of this hotkey on this stream may go without a signature. What such calls lack is evidence for third parties.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from ...consensus.domains import Domain, digest
from ...consensus.signature import KeyPair, verify
from ...consensus.types import AccountId, Hash32, MalformedError, Signature
from ..transport import PeerId

MAX_LIFETIME_NS: Final = 24 * 3600 * 10**9
"""A certificate is made anew when a stream is opened; one that is valid for longer than a day is a mistake."""

LIFETIME_NS: Final = 3600 * 10**9
"""How long the ones that we issue are valid."""

RENEW_NS: Final = 60 * 10**9
"""A certificate with less than this left is sent anew."""

MAX_PEER_ID: Final = 128
"""Characters of a peer id in base58: 52 for Ed25519 keys."""

_FIXED: Final = struct.Struct(">B32sQQB")
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """Times are Unix nanoseconds."""

    hotkey: AccountId
    peer: PeerId
    issued: int
    expires: int
    signature: Signature

    def encode(self) -> bytes:
        """The bytes that travel."""
        return _unsigned(self.hotkey, self.peer, self.issued, self.expires) + self.signature

    def is_good(self, genesis_hash: Hash32, peer: PeerId, now_ns: int) -> bool:
        """Whether the hotkey certified `peer` on this network, and it is valid now."""
        unsigned = _unsigned(self.hotkey, self.peer, self.issued, self.expires)
        return (
            self.peer == peer
            and self.issued - 10**10 <= now_ns < self.expires
            and self.expires - self.issued <= MAX_LIFETIME_NS
            and verify(self.hotkey, digest(Domain.PEER_CERTIFICATE, genesis_hash, unsigned), self.signature)
        )


def _unsigned(hotkey: AccountId, peer: PeerId, issued: int, expires: int) -> bytes:
    name = peer.encode("ascii")
    return _FIXED.pack(_VERSION, hotkey, issued, expires, len(name)) + name


def issue_certificate(
    key: KeyPair, genesis_hash: Hash32, peer: PeerId, *, issued: int, lifetime: int = LIFETIME_NS
) -> PeerCertificate:
    """`key` certifies `peer` for `lifetime` ns from `issued`."""
    hotkey = AccountId(key.public_key)
    unsigned = _unsigned(hotkey, peer, issued, issued + lifetime)
    signature = key.sign(digest(Domain.PEER_CERTIFICATE, genesis_hash, unsigned))
    return PeerCertificate(hotkey, peer, issued, issued + lifetime, signature)


def certified_hotkey(data: bytes, genesis_hash: Hash32, peer: PeerId, now_ns: int) -> AccountId:
    """Whose certificate for `peer` these bytes are. Raises MalformedError when it is none, or not valid now."""
    certificate = decode_certificate(data)
    if not certificate.is_good(genesis_hash, peer, now_ns):
        raise MalformedError("a certificate that is not for this peer, or not valid now")
    return certificate.hotkey


def decode_certificate(data: bytes) -> PeerCertificate:
    """Inverse of `PeerCertificate.encode`. Raises MalformedError."""
    if len(data) < _FIXED.size + 64:
        raise MalformedError(f"certificate of {len(data)} bytes")
    version, hotkey, issued, expires, size = _FIXED.unpack_from(data)
    name = data[_FIXED.size : _FIXED.size + size]
    if version != _VERSION or not 0 < size <= MAX_PEER_ID or len(data) != _FIXED.size + size + 64:
        raise MalformedError("certificate of another version or length")
    if not name.isalnum():
        raise MalformedError("certificate for something that is no peer id")
    peer = PeerId(name.decode("ascii"))
    return PeerCertificate(AccountId(hotkey), peer, issued, expires, Signature(data[-64:]))
