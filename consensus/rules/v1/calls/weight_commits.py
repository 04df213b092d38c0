"""Family 03, from 0x10: weights by commit and reveal (YUMA 5.2).

These calls are free, so the pre-check runs every check: nothing that costs nothing enters a block in vain. What
dispatch alone would answer for an expired or unknown commit is therefore never seen; the pre-check's coarser errors
are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ....types import AccountId, Hash32
from ...interface import BlockContext, Event
from ..errors import CallError, ErrorCode
from ..events import EventKind, event
from ..neurons import uid_of
from ..subnets import mechanism_index, parameter, subnet_exists
from ..weight_commits import (
    append_commit,
    check_queue,
    check_reveal,
    commit_hash,
    take_commit,
)
from ..weights import check_min_stake, check_rate, check_revealed_weights, store_weights, updated_too_recently
from .call import MAX_BATCH, Argument, ArgumentKind, Arguments, Call, Signer
from .weights import MECHANISM, NETUID, SET_WEIGHT, UIDS, VALUES, VERSION

if TYPE_CHECKING:
    from ....state.state import State

COMMIT_WEIGHT: Final = 350
"""Microseconds: one record rewritten, one number set."""

MAX_REVEALS: Final = 10
"""Reveals of one batch: as many commits as may wait."""


# --- committing -------------------------------------------------------------------------------------------------------


def check_committable(state: State, netuid: int, mechanism: int) -> None:
    """Whether a mechanism is there and takes commits. Raises CallError."""
    if not subnet_exists(state, netuid) or mechanism >= parameter(state, netuid, "mechanism_count"):
        raise CallError(ErrorCode.MechanismDoesNotExist)
    if not parameter(state, netuid, "commit_reveal_weights_enabled"):
        raise CallError(ErrorCode.CommitRevealDisabled)


def check_committer(state: State, ctx: BlockContext, signer: AccountId, netuid: int, mechanism: int) -> int:
    """Whether a hotkey may commit now; gives its uid. Raises CallError."""
    uid = uid_of(state, netuid, signer)
    if uid is None:
        raise CallError(ErrorCode.HotKeyNotRegisteredInSubNet)
    if updated_too_recently(state, netuid, mechanism, uid, ctx.height):
        raise CallError(ErrorCode.CommittingWeightsTooFast)
    return uid


def _check_one(state: State, ctx: BlockContext, signer: AccountId, netuid: int, mechanism: int) -> int:
    """Pre-checks of YUMA 5.1, then those of a commit; gives the sender's uid."""
    check_min_stake(state, netuid, signer)
    check_rate(state, netuid, mechanism, signer, ctx.height, ErrorCode.CommittingWeightsTooFast)
    return _check_item(state, ctx, signer, netuid, mechanism)


def _check_item(state: State, ctx: BlockContext, signer: AccountId, netuid: int, mechanism: int) -> int:
    check_committable(state, netuid, mechanism)
    uid = check_committer(state, ctx, signer, netuid, mechanism)
    check_queue(state, netuid, mechanism, signer, ctx.height)
    return uid


def _commit(
    state: State, ctx: BlockContext, signer: AccountId, netuid: int, mechanism: int, uid: int, committed: Hash32
) -> Event:
    append_commit(state, netuid, mechanism, signer, committed, ctx.height)
    state.write(f"sn/{netuid}/{mechanism}/last_update", uid, ctx.height)
    return event(EventKind.WeightsCommitted, netuid, mechanism, signer, committed)


def _check_commit_weights(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> None:
    _check_one(state, ctx, signer, args[0], 0)


def _commit_weights(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    netuid, committed = args
    return [_commit(state, ctx, signer, netuid, 0, _check_one(state, ctx, signer, netuid, 0), committed)]


def _check_commit_mechanism(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> None:
    _check_one(state, ctx, signer, args[0], args[1])


def _commit_mechanism(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    netuid, mechanism, committed = args
    uid = _check_one(state, ctx, signer, netuid, mechanism)
    return [_commit(state, ctx, signer, netuid, mechanism, uid, committed)]


def _batch_items(state: State, signer: AccountId, args: Arguments) -> list[tuple[int, Hash32]]:
    netuids, hashes = args
    if len(netuids) != len(hashes):
        raise CallError(ErrorCode.InputLengthsUnequal)
    for netuid in netuids:
        check_min_stake(state, netuid, signer)
    return list(zip(netuids, hashes, strict=True))


def _check_batch_commit(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> None:
    """One item that passes is enough; the others fail by themselves."""
    first: CallError | None = None
    for netuid, _ in _batch_items(state, signer, args):
        try:
            _check_item(state, ctx, signer, netuid, 0)
        except CallError as error:
            first = first or error
        else:
            return
    raise first or CallError(ErrorCode.InputLengthsUnequal)


def _batch_commit(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    items = _batch_items(state, signer, args)
    events: list[Event] = []
    for netuid, committed in items:
        try:
            uid = _check_item(state, ctx, signer, netuid, 0)
        except CallError as error:
            events.append(event(EventKind.BatchWeightItemFailed, netuid, int(error.number)))
        else:
            events.append(_commit(state, ctx, signer, netuid, 0, uid, committed))
    return [*events, event(EventKind.BatchWeightsCompleted, len(items), signer)]


# --- revealing --------------------------------------------------------------------------------------------------------


def _check_window(
    state: State, ctx: BlockContext, signer: AccountId, netuid: int, mechanism: int, revealed: Arguments
) -> Hash32:
    """The pre-check of a reveal: its commit waits, and this is its epoch. Gives the hash."""
    uids, values, salt, version_key = revealed
    committed = commit_hash(signer, mechanism_index(netuid, mechanism), uids, values, salt, version_key)
    check_reveal(state, netuid, mechanism, signer, committed, ctx.height)
    return committed


def _check_enabled(state: State, netuid: int) -> None:
    if not parameter(state, netuid, "commit_reveal_weights_enabled"):
        raise CallError(ErrorCode.CommitRevealDisabled)


def _check_vector(
    state: State, ctx: BlockContext, signer: AccountId, netuid: int, mechanism: int, revealed: Arguments
) -> int:
    """Checks 1 to 13 of YUMA 5.1; gives the uid."""
    uids, values, _, version_key = revealed
    return check_revealed_weights(state, netuid, mechanism, signer, uids, values, version_key, ctx.height)


def _check_one_reveal(
    state: State, ctx: BlockContext, signer: AccountId, netuid: int, mechanism: int, revealed: Arguments
) -> tuple[int, Hash32]:
    """Every check of one reveal, the queue's and those of YUMA 5.1; gives uid and hash."""
    check_min_stake(state, netuid, signer)
    committed = _check_window(state, ctx, signer, netuid, mechanism, revealed)
    _check_enabled(state, netuid)
    return _check_vector(state, ctx, signer, netuid, mechanism, revealed), committed


def _reveal(
    state: State, ctx: BlockContext, signer: AccountId, netuid: int, mechanism: int, revealed: Arguments, alone: bool
) -> Event:
    uid, committed = _check_one_reveal(state, ctx, signer, netuid, mechanism, revealed)
    take_commit(state, netuid, mechanism, signer, committed, ctx.height, alone=alone)
    store_weights(state, netuid, mechanism, uid, revealed[0], revealed[1], ctx.height)
    return event(EventKind.WeightsRevealed, netuid, mechanism, signer, committed)


def _check_reveal_weights(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> None:
    _check_one_reveal(state, ctx, signer, args[0], 0, args[1:])


def _reveal_weights(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    return [_reveal(state, ctx, signer, args[0], 0, args[1:], alone=False)]


def _check_reveal_mechanism(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> None:
    _check_one_reveal(state, ctx, signer, args[0], args[1], args[2:])


def _reveal_mechanism(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    return [_reveal(state, ctx, signer, args[0], args[1], args[2:], alone=False)]


def _check_batch_reveal(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> None:
    """All of it or nothing: each hash and window, then each vector in turn."""
    netuid, reveals = args
    if not reveals:
        raise CallError(ErrorCode.InputLengthsUnequal)
    check_min_stake(state, netuid, signer)
    hashes = [_check_window(state, ctx, signer, netuid, 0, revealed) for revealed in reveals]
    _check_enabled(state, netuid)
    for at, revealed in enumerate(reveals):
        if hashes[at] in hashes[:at]:  # its commit is taken by then
            raise CallError(ErrorCode.InvalidRevealCommitHashNotMatch)
        _check_vector(state, ctx, signer, netuid, 0, revealed)


def _batch_reveal(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    _check_batch_reveal(state, ctx, signer, args)
    netuid, reveals = args
    events = [_reveal(state, ctx, signer, netuid, 0, revealed, alone=True) for revealed in reveals]
    return [*events, event(EventKind.WeightsBatchRevealed, netuid, signer, len(events))]


_HASH: Final = Argument("commit_hash", ArgumentKind.HASH, "hash of account, index, uids, values, salt and version key")
_SALT: Final = Argument("salt", ArgumentKind.U16_LIST, "what kept the commit secret", most=64)

CALLS: Final = (
    Call(
        number=0x0310,
        name="weights.commit_weights",
        signer=Signer.HOTKEY,
        arguments=(NETUID, _HASH),
        weight=COMMIT_WEIGHT,
        execute=_commit_weights,
        check=_check_commit_weights,
        free=True,
        doc="Commit to weights by their hash.",
    ),
    Call(
        number=0x0311,
        name="weights.commit_mechanism_weights",
        signer=Signer.HOTKEY,
        arguments=(NETUID, MECHANISM, _HASH),
        weight=COMMIT_WEIGHT,
        execute=_commit_mechanism,
        check=_check_commit_mechanism,
        free=True,
        doc="Commit to weights of one mechanism by their hash.",
    ),
    Call(
        number=0x0312,
        name="weights.batch_commit_weights",
        signer=Signer.HOTKEY,
        arguments=(
            Argument("netuids", ArgumentKind.U16_LIST, "subnets", most=MAX_BATCH),
            Argument("commit_hashes", ArgumentKind.HASHES, "a hash for each of them", most=MAX_BATCH),
        ),
        weight=200,
        item_argument=0,
        item_weight=COMMIT_WEIGHT,
        execute=_batch_commit,
        check=_check_batch_commit,
        free=True,
        most_bytes=8 * 1024,
        doc="Commit to weights in several subnets; each item succeeds or fails by itself.",
    ),
    Call(
        number=0x0313,
        name="weights.reveal_weights",
        signer=Signer.HOTKEY,
        arguments=(NETUID, UIDS, VALUES, _SALT, VERSION),
        weight=SET_WEIGHT + COMMIT_WEIGHT,
        execute=_reveal_weights,
        check=_check_reveal_weights,
        free=True,
        doc="Reveal committed weights in the epoch that is theirs.",
    ),
    Call(
        number=0x0314,
        name="weights.reveal_mechanism_weights",
        signer=Signer.HOTKEY,
        arguments=(NETUID, MECHANISM, UIDS, VALUES, _SALT, VERSION),
        weight=SET_WEIGHT + COMMIT_WEIGHT,
        execute=_reveal_mechanism,
        check=_check_reveal_mechanism,
        free=True,
        doc="Reveal committed weights of one mechanism.",
    ),
    Call(
        number=0x0315,
        name="weights.batch_reveal_weights",
        signer=Signer.HOTKEY,
        arguments=(
            NETUID,
            Argument("reveals", ArgumentKind.WEIGHT_REVEALS, "uids, values, salt, version key of each", MAX_REVEALS),
        ),
        weight=200,
        item_argument=1,
        item_weight=SET_WEIGHT + COMMIT_WEIGHT,
        execute=_batch_reveal,
        check=_check_batch_reveal,
        free=True,
        most_bytes=32 * 1024,
        doc="Reveal several commits in order, all of them or none.",
    ),
)
