"""Timelocked commits of weights: buckets by epoch that are opened by a beacon's pulse (YUMA 5.3).

Off unless the chain spec switches them on (DESIGN decision 10). There is no verified source of pulses yet, so an entry
waits in its bucket until that is too old; what a decrypted payload does is complete.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ... import cbor
from ...types import AccountId, MalformedError
from ..interface import Event
from .errors import CallError, ErrorCode
from .events import EventKind, event
from .schedule import epoch_index_lookahead
from .schema_tables import TIMELOCKED
from .subnets import mechanism_index, netuids, parameter, read_schedule
from .weights import check_revealed_weights, store_weights

if TYPE_CHECKING:
    from ...state.state import State

MAX_CIPHERTEXT: Final = 5000
"""Bytes of one commit."""

MAX_IN_BUCKET: Final = 10
"""Commits of one hotkey in one epoch's bucket."""

_NAME_BYTES: Final = 24
"""Of the hotkey, in the key of an entry, so that entries are counted without being read: nobody finds two hotkeys that
begin with the same 24 bytes."""

_KEY_BYTES: Final = 14 + _NAME_BYTES
"""Mechanism index, epoch, sequence, beginning of the hotkey."""

_MAX_ENTRY_BYTES: Final = MAX_CIPHERTEXT + 128


class TimelockedCommit(NamedTuple):
    """One commit that waits for its pulse."""

    hotkey: AccountId
    block: int
    ciphertext: bytes
    round: int


class RevealedWeights(NamedTuple):
    """A decrypted payload."""

    hotkey: AccountId
    uids: tuple[int, ...]
    values: tuple[int, ...]
    version_key: int


def timelocked_commits(state: State, index: int) -> list[tuple[int, list[TimelockedCommit]]]:
    """(epoch, its bucket in FIFO order) of one mechanism, ascending."""
    table = state.blobs(TIMELOCKED)
    if not len(table):
        return []
    buckets: dict[int, list[TimelockedCommit]] = {}
    for key in table.keys_from(index.to_bytes(2, "big"), _KEY_BYTES):
        buckets.setdefault(int.from_bytes(key[2:10], "big"), []).append(_read(state, key))
    return sorted(buckets.items())


def check_bucket(state: State, index: int, epoch: int, hotkey: bytes) -> None:
    """Raise TooManyUnrevealedCommits when a hotkey has ten commits in an epoch's bucket."""
    keys = state.blobs(TIMELOCKED).keys_from(_bucket(index, epoch), _KEY_BYTES)
    if sum(key.endswith(hotkey[:_NAME_BYTES]) for key in keys) >= MAX_IN_BUCKET:
        raise CallError(ErrorCode.TooManyUnrevealedCommits)


def append_timelocked(state: State, index: int, epoch: int, commit: TimelockedCommit) -> None:
    """Put a commit at the end of its bucket."""
    keys = state.blobs(TIMELOCKED).keys_from(_bucket(index, epoch), _KEY_BYTES)
    sequence = int.from_bytes(keys[-1][10:14], "big") + 1 if keys else 0
    value = cbor.encode([commit.hotkey, commit.block, commit.ciphertext, commit.round])
    name = commit.hotkey[:_NAME_BYTES]
    state.blobs(TIMELOCKED).put(_bucket(index, epoch) + sequence.to_bytes(4, "big") + name, value)


def remove_timelocked(state: State, index: int) -> None:
    """Forget all buckets of one mechanism."""
    for key in state.blobs(TIMELOCKED).keys_from(index.to_bytes(2, "big"), _KEY_BYTES):
        state.blobs(TIMELOCKED).delete(key)


def reveal_timelocked(state: State, height: int, deferred: Collection[int]) -> list[Event]:
    """At a block's start: open the bucket whose epoch has come, of every subnet that is not put off.

    Buckets that are too old are deleted; entries whose pulse is missing are kept for another try.
    """
    events: list[Event] = []
    for netuid in netuids(state):
        if netuid in deferred:
            continue
        epoch = epoch_index_lookahead(read_schedule(state, netuid), height)
        period = parameter(state, netuid, "reveal_period_epochs")
        for mechanism in range(parameter(state, netuid, "mechanism_count")):
            index = mechanism_index(netuid, mechanism)
            _delete_before(state, index, max(epoch - period, 0))
            if epoch >= period:
                events += _open_bucket(state, netuid, mechanism, epoch - period, height)
    return events


def _delete_before(state: State, index: int, epoch: int) -> None:
    for key in state.blobs(TIMELOCKED).keys_from(index.to_bytes(2, "big"), _KEY_BYTES):
        if int.from_bytes(key[2:10], "big") < epoch:
            state.blobs(TIMELOCKED).delete(key)


def _open_bucket(state: State, netuid: int, mechanism: int, epoch: int, height: int) -> list[Event]:
    """Entries of a bucket in FIFO order. Each is applied or discarded; without a pulse it stays."""
    events: list[Event] = []
    for key in state.blobs(TIMELOCKED).keys_from(_bucket(mechanism_index(netuid, mechanism), epoch), _KEY_BYTES):
        commit = _read(state, key)
        plaintext = decrypted(commit)
        if plaintext is None:
            continue
        state.blobs(TIMELOCKED).delete(key)
        events += apply_payload(state, netuid, mechanism, commit.hotkey, plaintext, height)
    return events


def decrypted(commit: TimelockedCommit) -> bytes | None:
    """The commit's payload, or None while the pulse of its round is not known: always, until pulses can be verified."""
    return None


def apply_payload(
    state: State, netuid: int, mechanism: int, committer: AccountId, plaintext: bytes, height: int
) -> list[Event]:
    """Set the weights of a decrypted payload as its committer. Whatever is wrong with it discards it."""
    try:
        revealed = decode_payload(plaintext, committer)
    except MalformedError:
        return []
    if revealed.hotkey != committer:
        return []
    mark = state.begin()
    try:
        uid = check_revealed_weights(
            state, netuid, mechanism, committer, revealed.uids, revealed.values, revealed.version_key, height
        )
        store_weights(state, netuid, mechanism, uid, revealed.uids, revealed.values, height)
    except CallError:
        state.rollback(mark)
        return []
    state.commit(mark)
    return [event(EventKind.TimelockedWeightsRevealed, netuid, mechanism, committer)]


# --- the payload ------------------------------------------------------------------------------------------------------


def decode_payload(data: bytes, committer: AccountId) -> RevealedWeights:
    """`vec<u8> hotkey, vec<u16> uids, vec<u16> values, u64 version_key`; trailing bytes are ignored.

    A payload that does not decode so, or with a hotkey of less than 32 bytes, is tried in the older form without the
    hotkey. Raises MalformedError.
    """
    try:
        length, at = _length(data, 0)
        hotkey = data[at : at + length]
        if length >= 32 and len(hotkey) == length:
            return RevealedWeights(AccountId(hotkey[:32]), *_weights(data, at + length))
    except MalformedError:
        pass
    return RevealedWeights(committer, *_weights(data, 0))


def _weights(data: bytes, at: int) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    vectors = []
    for _ in range(2):
        length, at = _length(data, at)
        part = data[at : at + 2 * length]
        if len(part) != 2 * length:
            raise MalformedError("payload: a list ends early")
        vectors.append(tuple(np.frombuffer(part, dtype="<u2").tolist()))
        at += 2 * length
    if len(data) < at + 8:
        raise MalformedError("payload: no version key")
    return vectors[0], vectors[1], int.from_bytes(data[at : at + 8], "little")


def _length(data: bytes, at: int) -> tuple[int, int]:
    """(number, position behind it) of a compact length; one that would fit fewer bytes is malformed."""
    mode = data[at] & 3 if at < len(data) else 3
    width, least = ((1, 0), (2, 1 << 6), (4, 1 << 14), (0, 0))[mode]
    number = int.from_bytes(data[at : at + width], "little") >> 2
    if not width or len(data) < at + width or number < least:
        raise MalformedError("payload: no length where one must be")
    return number, at + width


def _bucket(index: int, epoch: int) -> bytes:
    return index.to_bytes(2, "big") + epoch.to_bytes(8, "big")


def _read(state: State, key: bytes) -> TimelockedCommit:
    data = state.blobs(TIMELOCKED).get(key)
    assert data is not None
    hotkey, block, ciphertext, pulse = cbor.decode(data, max_bytes=_MAX_ENTRY_BYTES)
    return TimelockedCommit(AccountId(hotkey), block, ciphertext, pulse)
