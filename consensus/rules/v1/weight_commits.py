"""Hash commits of weights: the queue of each hotkey and mechanism, and what an epoch needs of it (YUMA 5.2, 3.5.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...types import AccountId, Hash32
from .errors import CallError, ErrorCode
from .neurons import hotkeys_of
from .records import RecordTag, delete_record, get_record, put_record, record_accounts
from .schedule import epoch_index_lookahead
from .subnets import mechanism_index, neuron_count, parameter, read_schedule, subnet_exists
from .timelocked import timelocked_commits
from .yuma.commits import commit_blocks

if TYPE_CHECKING:
    from ...state.state import State

MAX_UNREVEALED: Final = 10
"""Commits of one hotkey that may wait in one mechanism."""

_ENTRY_BYTES: Final = 48


class Commit(NamedTuple):
    """One commit that waits."""

    hash: Hash32
    epoch: int
    """Epoch index with look-ahead when it was made."""
    block: int


def current_epoch(state: State, netuid: int, height: int) -> int:
    """EPI: the epoch index that commits and reveals of this block count in (YUMA 7.4)."""
    return epoch_index_lookahead(read_schedule(state, netuid), height)


# --- the hash ---------------------------------------------------------------------------------------------------------


def commit_hash(
    account: bytes, index: int, uids: Sequence[int], values: Sequence[int], salt: Sequence[int], version_key: int
) -> Hash32:
    """BLAKE2b-256 of what is committed, values as submitted (YUMA 5.2)."""
    preimage = (
        bytes(account)
        + index.to_bytes(2, "little")
        + _vector(uids)
        + _vector(values)
        + _vector(salt)
        + version_key.to_bytes(8, "little")
    )
    return Hash32(hashlib.blake2b(preimage, digest_size=32).digest())


def _vector(numbers: Sequence[int]) -> bytes:
    return _compact(len(numbers)) + np.asarray(numbers, dtype="<u2").tobytes()


def _compact(number: int) -> bytes:
    """Length prefix of 1, 2 or 4 bytes."""
    if number < 1 << 6:
        return bytes([number << 2])
    if number < 1 << 14:
        return (number << 2 | 1).to_bytes(2, "little")
    return (number << 2 | 2).to_bytes(4, "little")


# --- the queue --------------------------------------------------------------------------------------------------------


def read_commits(state: State, index: int, hotkey: bytes) -> list[Commit]:
    """A hotkey's commits in one mechanism, oldest first."""
    data = get_record(state, RecordTag.WEIGHT_COMMITS, index, hotkey) or b""
    return [
        Commit(
            Hash32(data[at : at + 32]),
            int.from_bytes(data[at + 32 : at + 40], "little"),
            int.from_bytes(data[at + 40 : at + 48], "little"),
        )
        for at in range(0, len(data), _ENTRY_BYTES)
    ]


def write_commits(state: State, index: int, hotkey: bytes, commits: Sequence[Commit]) -> None:
    """Store a queue; an empty one has no record."""
    if not commits:
        delete_record(state, RecordTag.WEIGHT_COMMITS, index, hotkey)
        return
    data = b"".join(c.hash + c.epoch.to_bytes(8, "little") + c.block.to_bytes(8, "little") for c in commits)
    put_record(state, RecordTag.WEIGHT_COMMITS, index, hotkey, data)


def is_expired(commit: Commit, epoch: int, period: int) -> bool:
    """Whether the commit's only epoch to be revealed in is over."""
    return epoch > commit.epoch + period


def is_revealable(commit: Commit, epoch: int, period: int) -> bool:
    """Whether this is the one epoch in which it may be revealed."""
    return epoch == commit.epoch + period


def check_queue(state: State, netuid: int, mechanism: int, hotkey: bytes, height: int) -> list[Commit]:
    """The hotkey's commits without those that expired at the front. Raises CallError when ten wait."""
    epoch = current_epoch(state, netuid, height)
    stored = read_commits(state, mechanism_index(netuid, mechanism), hotkey)
    commits = _without_expired(stored, epoch, _period(state, netuid))
    if len(commits) >= MAX_UNREVEALED:
        raise CallError(ErrorCode.TooManyUnrevealedCommits)
    return commits


def append_commit(state: State, netuid: int, mechanism: int, hotkey: bytes, committed: Hash32, height: int) -> None:
    """Queue a commit after dropping expired ones from the front. Raises CallError when ten wait."""
    commits = check_queue(state, netuid, mechanism, hotkey, height)
    commit = Commit(committed, current_epoch(state, netuid, height), height)
    write_commits(state, mechanism_index(netuid, mechanism), hotkey, [*commits, commit])


def check_reveal(state: State, netuid: int, mechanism: int, hotkey: bytes, revealed: Hash32, height: int) -> None:
    """What the pre-check of a reveal says: coarser than what dispatch alone would (YUMA 5.2). Raises CallError.

    Of equal hashes the first counts. A netuid without a subnet has no queue of its own: from 4096 on its index would be
    that of another subnet's mechanism.
    """
    commits = read_commits(state, mechanism_index(netuid, mechanism), hotkey) if subnet_exists(state, netuid) else []
    found = next((commit for commit in commits if commit.hash == revealed), None)
    if found is None:
        raise CallError(ErrorCode.NoWeightsCommitFound)
    epoch, period = current_epoch(state, netuid, height), _period(state, netuid)
    if not is_revealable(found, epoch, period):
        raise CallError(ErrorCode.RevealTooEarly)


def take_commit(
    state: State, netuid: int, mechanism: int, hotkey: bytes, revealed: Hash32, height: int, *, alone: bool = False
) -> None:
    """Remove a commit that is revealed, with everything before it unless `alone`, as dispatch does (YUMA 5.2).

    Raises CallError: NoWeightsCommitFound, ExpiredWeightCommit, InvalidRevealCommitHashNotMatch, RevealTooEarly.
    """
    index, epoch, period = (
        mechanism_index(netuid, mechanism),
        current_epoch(state, netuid, height),
        _period(state, netuid),
    )
    stored = read_commits(state, index, hotkey)
    if not stored:
        raise CallError(ErrorCode.NoWeightsCommitFound)
    commits = _without_expired(stored, epoch, period)
    dropped = [commit.hash for commit in stored[: len(stored) - len(commits)]]
    if not commits:
        raise CallError(ErrorCode.ExpiredWeightCommit if revealed in dropped else ErrorCode.NoWeightsCommitFound)
    at = next((position for position, commit in enumerate(commits) if commit.hash == revealed), None)
    if at is None:
        expired = revealed in dropped
        raise CallError(ErrorCode.ExpiredWeightCommit if expired else ErrorCode.InvalidRevealCommitHashNotMatch)
    if not is_revealable(commits[at], epoch, period):
        raise CallError(ErrorCode.RevealTooEarly)
    write_commits(state, index, hotkey, [*(commits[:at] if alone else ()), *commits[at + 1 :]])


def _without_expired(commits: list[Commit], epoch: int, period: int) -> list[Commit]:
    first = next((at for at, c in enumerate(commits) if not is_expired(c, epoch, period)), len(commits))
    return commits[first:]


def _period(state: State, netuid: int) -> int:
    return parameter(state, netuid, "reveal_period_epochs")


# --- for others -------------------------------------------------------------------------------------------------------


def commit_blocks_of(state: State, netuid: int, mechanism: int, height: int) -> NDArray[np.uint64] | None:
    """Block of each uid's oldest live commit for an epoch's mask; None where commit-reveal is off (YUMA 3.5.1)."""
    if not parameter(state, netuid, "commit_reveal_weights_enabled"):
        return None
    index = mechanism_index(netuid, mechanism)
    uids = {hotkey: uid for uid, hotkey in enumerate(hotkeys_of(state, netuid))}
    hashed = [
        (uids[hotkey], [(commit.epoch, commit.block) for commit in read_commits(state, index, hotkey)])
        for hotkey in record_accounts(state, RecordTag.WEIGHT_COMMITS, index)
        if hotkey in uids
    ]
    locked = [
        (epoch, [(uids[entry.hotkey], entry.block) for entry in entries if entry.hotkey in uids])
        for epoch, entries in timelocked_commits(state, index)
    ]
    epoch = current_epoch(state, netuid, height)
    return commit_blocks(neuron_count(state, netuid), hashed, locked, epoch, _period(state, netuid))


def remove_commits(state: State, netuid: int, first: int, count: int) -> None:
    """Forget the hash commits of mechanisms `first`..`count`-1 of a subnet."""
    for mechanism in range(first, count):
        index = mechanism_index(netuid, mechanism)
        for hotkey in record_accounts(state, RecordTag.WEIGHT_COMMITS, index):
            delete_record(state, RecordTag.WEIGHT_COMMITS, index, hotkey)


def swap_commits(state: State, netuid: int, mechanisms: int, old: AccountId, new: AccountId) -> None:
    """Let hash commits follow a hotkey to its new name (YUMA 6.4)."""
    for mechanism in range(mechanisms):
        index = mechanism_index(netuid, mechanism)
        commits = read_commits(state, index, old)
        if commits:
            write_commits(state, index, old, ())
            write_commits(state, index, new, commits)
