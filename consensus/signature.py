"""Ed25519, one implementation for every consensus check: libsodium through PyNaCl (CHAIN 5.6)."""

from __future__ import annotations

from nacl.bindings import (
    crypto_sign,
    crypto_sign_open,
    crypto_sign_seed_keypair,
)
from nacl.exceptions import CryptoError

from .types import Signature


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes) is `public_key`'s (32 bytes) over `message`. Never raises."""
    if len(signature) != 64 or len(public_key) != 32:
        return False
    try:
        crypto_sign_open(signature + message, public_key)
    except (CryptoError, ValueError, TypeError):
        return False
    return True


class KeyPair:
    """An Ed25519 key made from a 32-byte seed. Signing is deterministic, so it may live in the pure layer."""

    __slots__ = ("_secret", "public_key", "seed")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != 32:
            raise ValueError(f"seed of {len(seed)} bytes, expected 32")
        self.seed = seed
        self.public_key, self._secret = crypto_sign_seed_keypair(seed)

    def sign(self, message: bytes) -> Signature:
        """The 64-byte signature over `message`."""
        return Signature(crypto_sign(message, self._secret)[:64])

    def __repr__(self) -> str:
        return f"KeyPair(public_key={self.public_key.hex()})"
