"""Development accounts: keys derived from names that everybody knows, never files (DESIGN decision 11)."""

from __future__ import annotations

from hashlib import blake2b

from .signature import KeyPair


def dev_keypair(name: str) -> KeyPair:
    """The key of the development account `name`: seed = blake2b-256("yumad/dev" + name).

    Anybody can sign with it, so it is worth something only on chains whose spec funds it.
    """
    return KeyPair(blake2b(b"yumad/dev" + name.encode(), digest_size=32).digest())
