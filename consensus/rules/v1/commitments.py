"""Commitments: metadata that a neuron publishes on its subnet (DTAO 9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ... import cbor
from .errors import CallError, ErrorCode
from .neurons import uid_of
from .records import RecordTag, get_record, put_record
from .schema import MAX_PAIRS
from .schema_tables import HOTKEY_SUBNETS
from .stakes import stake_key
from .subnets import parameter, subnet_exists

if TYPE_CHECKING:
    from ...state.state import State

MAX_FIELDS: Final = 3
LEAST_CHARGE: Final = 100
"""Bytes that any commitment counts as."""

SPACE_PER_EPOCH: Final = 3_100
"""Bytes of one account on one subnet in one epoch."""

ROUND_BYTES: Final = 8


class FieldKind(IntEnum):
    """What a field holds; the number is its kind on the wire."""

    NONE = 0
    RAW = 1
    BLAKE2_256 = 2
    SHA_256 = 3
    KECCAK_256 = 4
    SHA3_256 = 5
    TIMELOCKED = 6
    """Beacon round (u64 little-endian) and ciphertext."""
    RESET_BONDS = 7
    BIG_RAW = 8


_LENGTHS: Final[Mapping[int, tuple[int, int]]] = {
    FieldKind.NONE: (0, 0),
    FieldKind.RAW: (0, 128),
    FieldKind.BLAKE2_256: (32, 32),
    FieldKind.SHA_256: (32, 32),
    FieldKind.KECCAK_256: (32, 32),
    FieldKind.SHA3_256: (32, 32),
    FieldKind.TIMELOCKED: (ROUND_BYTES, ROUND_BYTES + 1024),
    FieldKind.RESET_BONDS: (0, 0),
    FieldKind.BIG_RAW: (0, 512),
}
"""Shortest and longest content of each kind, in bytes."""

_NONE_FITS: Final = (1, 0)

_MOST_BYTES: Final = 4096


def check_commitment(
    state: State, netuid: int, account: bytes, fields: Sequence[tuple[int, bytes]], epoch: int
) -> None:
    """The checks of set_commitment in order. Raises CallError."""
    if not subnet_exists(state, netuid) or uid_of(state, netuid, account) is None:
        raise CallError(ErrorCode.AccountNotAllowedCommit)
    if len(fields) > MAX_FIELDS:
        raise CallError(ErrorCode.TooManyFieldsInCommitmentInfo)
    for kind, content in fields:
        shortest, longest = _LENGTHS.get(kind, _NONE_FITS)
        if not shortest <= len(content) <= longest:
            raise CallError(ErrorCode.CommitmentFieldMalformed)
    if _used_space(state, netuid, account, epoch) + charge(fields) > SPACE_PER_EPOCH:
        raise CallError(ErrorCode.SpaceLimitExceeded)


def charge(fields: Sequence[tuple[int, bytes]]) -> int:
    """Bytes that a commitment counts as; of a timelocked field the ciphertext."""
    rounds = sum(ROUND_BYTES for kind, _ in fields if kind == FieldKind.TIMELOCKED)
    return max(LEAST_CHARGE, sum(len(content) for _, content in fields) - rounds)


def _used_space(state: State, netuid: int, account: bytes, epoch: int) -> int:
    row = state.key_table(HOTKEY_SUBNETS).find(stake_key(netuid, account))
    if row is None or int(state.read("hotkey_subnets/commitment_epoch", row)) != epoch + 1:
        return 0
    return int(state.read("hotkey_subnets/commitment_space", row))


def publish(
    state: State, netuid: int, account: bytes, fields: Sequence[tuple[int, bytes]], epoch: int, height: int
) -> None:
    """Store a checked commitment in place of the last one; its flag may reset the account's bonds (YUMA 6.4)."""
    used = _used_space(state, netuid, account, epoch) + charge(fields)
    row = state.key_table(HOTKEY_SUBNETS).open(stake_key(netuid, account))
    state.write("hotkey_subnets/commitment_epoch", row, epoch + 1)
    state.write("hotkey_subnets/commitment_space", row, used)
    value = cbor.encode([height, [[kind, content] for kind, content in fields]])
    put_record(state, RecordTag.COMMITMENT, netuid, account, value)
    if any(kind == FieldKind.RESET_BONDS for kind, _ in fields) and parameter(state, netuid, "bonds_reset_on"):
        uid = uid_of(state, netuid, account)
        assert uid is not None, "checked"
        for mechanism in range(parameter(state, netuid, "mechanism_count")):
            _forget_bonds_on(state, f"sn/{netuid}/{mechanism}", uid)


def commitment_of(state: State, netuid: int, account: bytes) -> dict[str, Any] | None:
    """An account's commitment on a subnet, or None."""
    data = get_record(state, RecordTag.COMMITMENT, netuid, account)
    if data is None:
        return None
    block, fields = cbor.decode(data, max_bytes=_MOST_BYTES)
    return {
        "block": block,
        "fields": [{"kind": FieldKind(kind).name.lower(), "data": content.hex()} for kind, content in fields],
    }


def timelock_round(fields: Sequence[tuple[int, bytes]]) -> int | None:
    """Beacon round of the first timelocked field, or None."""
    rounds = (content[:ROUND_BYTES] for kind, content in fields if kind == FieldKind.TIMELOCKED)
    first = next(rounds, None)
    return None if first is None else int.from_bytes(first, "little")


def _forget_bonds_on(state: State, prefix: str, uid: int) -> None:
    """Delete a uid from every bond row; what is behind it moves up."""
    counts, pairs = state.array(f"{prefix}/bond_count"), state.array(f"{prefix}/bonds")
    place = np.arange(MAX_PAIRS, dtype=np.int64)
    stored = place < counts[:, None]
    named = stored & (pairs[:, :, 0] == uid)
    rows = np.flatnonzero(named.any(axis=1))
    kept = (stored & ~named)[rows]
    lengths = kept.sum(axis=1)
    left = np.zeros((len(rows), MAX_PAIRS), dtype="<u4")  # uid and bond as one number: half the work
    left[place < lengths[:, None]] = pairs[rows].view("<u4")[:, :, 0][kept]
    state.write(f"{prefix}/bonds", rows, left.view("<u2").reshape(len(rows), MAX_PAIRS, 2))
    state.write(f"{prefix}/bond_count", rows, lengths)
