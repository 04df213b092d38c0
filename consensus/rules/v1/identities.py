"""Identities: what a coldkey, or a subnet's owner, says about itself (DTAO 9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ... import cbor
from .errors import CallError, ErrorCode
from .records import NO_SUBNET, RecordTag, get_record, put_record

if TYPE_CHECKING:
    from ...state.state import State

CHAIN_FIELDS: Final = {
    "name": 256,
    "url": 256,
    "github_repo": 256,
    "image": 1024,
    "discord": 256,
    "description": 1024,
    "additional": 1024,
}
"""Longest value in bytes of each field of a coldkey's identity, in order."""

SUBNET_FIELDS: Final = {
    "subnet_name": 256,
    "github_repo": 1024,
    "subnet_contact": 1024,
    "subnet_url": 1024,
    "discord": 256,
    "description": 1024,
    "logo_url": 1024,
    "additional": 1024,
}
"""Likewise of a subnet's identity."""

MOST_BYTES: Final = 8192
"""All fields together, with what separates them."""

NO_ACCOUNT: Final = bytes(32)


def check_identity(texts: Sequence[bytes], fields: dict[str, int]) -> None:
    """Raise InvalidIdentity unless there is a text for each field and none is too long."""
    if len(texts) != len(fields) or any(len(text) > most for text, most in zip(texts, fields.values(), strict=True)):
        raise CallError(ErrorCode.InvalidIdentity)


def set_identity(state: State, coldkey: bytes, texts: Sequence[bytes]) -> None:
    """Store a checked identity of a coldkey."""
    put_record(state, RecordTag.IDENTITY, NO_SUBNET, coldkey, cbor.encode(list(texts)))


def set_subnet_identity(state: State, netuid: int, texts: Sequence[bytes]) -> None:
    """Store a checked identity of a subnet."""
    put_record(state, RecordTag.SUBNET_IDENTITY, netuid, NO_ACCOUNT, cbor.encode(list(texts)))


def identity_of(state: State, coldkey: bytes) -> dict[str, str] | None:
    """A coldkey's identity by field, or None."""
    return _decoded(get_record(state, RecordTag.IDENTITY, NO_SUBNET, coldkey), CHAIN_FIELDS)


def subnet_identity_of(state: State, netuid: int) -> dict[str, str] | None:
    """A subnet's identity by field, or None."""
    return _decoded(get_record(state, RecordTag.SUBNET_IDENTITY, netuid, NO_ACCOUNT), SUBNET_FIELDS)


def _decoded(data: bytes | None, fields: dict[str, int]) -> dict[str, str] | None:
    if data is None:
        return None
    texts = cbor.decode(data, max_bytes=MOST_BYTES)
    return {name: text.decode("utf-8", "replace") for name, text in zip(fields, texts, strict=True)}
