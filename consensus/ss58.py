"""SS58 text addresses of 32-byte accounts, prefix 42 (DESIGN decision 11)."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

import base58

from .types import AccountId, MalformedError

PREFIX: Final = 42
"""The generic Substrate prefix, which Bittensor uses."""

_MAX_TEXT: Final = 60
"""A 35-byte payload never needs more base58 digits than this."""


def encode_address(account: AccountId | bytes) -> str:
    """The SS58 text of a 32-byte account."""
    payload = bytes([PREFIX]) + account
    return base58.b58encode(payload + _checksum(payload)).decode("ascii")


def decode_address(text: str) -> AccountId:
    """The account an SS58 text names. Raises MalformedError for a wrong length, prefix or checksum."""
    if len(text) > _MAX_TEXT:
        raise MalformedError(
            f"address of {len(text)} characters is too long", remedy="pass a 48-character SS58 address"
        )
    try:
        raw = base58.b58decode(text)
    except ValueError as error:
        raise MalformedError(f"address {text!r} is not base58", remedy="copy the whole SS58 address") from error
    if len(raw) != 35:
        raise MalformedError(
            f"address {text!r} has {len(raw)} bytes, expected 35", remedy="copy the whole SS58 address"
        )
    if raw[0] != PREFIX:
        raise MalformedError(
            f"address {text!r} has prefix {raw[0]}, expected {PREFIX}", remedy="use a Bittensor address"
        )
    if raw[33:] != _checksum(raw[:33]):
        raise MalformedError(f"address {text!r} has a wrong checksum", remedy="check it for a typing mistake")
    return AccountId(raw[1:33])


def _checksum(payload: bytes) -> bytes:
    return blake2b(b"SS58PRE" + payload, digest_size=64).digest()[:2]
