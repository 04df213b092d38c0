"""Blobs by kind, subnet and account: what people publish, and lists of varying length (`schema_tables.RECORDS`)."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from ...types import AccountId
from .schema_tables import RECORDS

if TYPE_CHECKING:
    from ...state.state import State

NO_SUBNET: Final = 0
"""Netuid in the key of a record that belongs to an account alone."""

KEY_BYTES: Final = 35
"""Tag, netuid, account."""


class RecordTag(IntEnum):
    """First byte of a record's key; append-only."""

    AXON = 1
    """By netuid and hotkey: where a neuron is served (DTAO 9)."""
    PROMETHEUS = 2
    """By netuid and hotkey: where its metrics are."""
    CERTIFICATE = 3
    """By netuid and hotkey: certificate of its axon."""
    COMMITMENT = 4
    """By netuid and account: published metadata."""
    IDENTITY = 5
    """By coldkey."""
    SUBNET_IDENTITY = 6
    """By netuid; the account is zero."""
    CLAIM_SUBNETS = 7
    """By coldkey: subnets whose root dividends it keeps, ascending u16 little-endian."""
    PENDING_CHILDREN = 8
    """By netuid and hotkey: a set of children that waits."""
    WEIGHT_COMMITS = 9
    """By mechanism index (in place of the netuid) and hotkey: its hash commits, oldest first (YUMA 5.2)."""


def record_key(tag: RecordTag, netuid: int, account: bytes) -> bytes:
    """Key of a record."""
    return bytes([tag]) + netuid.to_bytes(2, "big") + account


def get_record(state: State, tag: RecordTag, netuid: int, account: bytes) -> bytes | None:
    """A record, or None."""
    return state.blobs(RECORDS).get(record_key(tag, netuid, account))


def put_record(state: State, tag: RecordTag, netuid: int, account: bytes, value: bytes) -> None:
    """Set a record; the caller bounds its size."""
    state.blobs(RECORDS).put(record_key(tag, netuid, account), value)


def delete_record(state: State, tag: RecordTag, netuid: int, account: bytes) -> None:
    """Remove a record, if it is there."""
    key = record_key(tag, netuid, account)
    if state.blobs(RECORDS).get(key) is not None:
        state.blobs(RECORDS).delete(key)


def record_accounts(state: State, tag: RecordTag, netuid: int) -> list[AccountId]:
    """Accounts with a record of this kind on a subnet, ascending."""
    prefix = bytes([tag]) + netuid.to_bytes(2, "big")
    return [AccountId(key[3:]) for key in state.blobs(RECORDS).keys_from(prefix, KEY_BYTES)]
