"""Family 03: setting weights directly (YUMA 5.1).

These calls are free, so the pre-check runs every check of YUMA 5.1: nothing that costs nothing enters a block in vain.
Of a batch at least one item must pass; the others fail by themselves, each with an event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ....types import U16_MAX, AccountId
from ...interface import BlockContext, Event
from ..errors import CallError, ErrorCode
from ..events import EventKind, event
from ..schema import MAX_MECHANISMS
from ..weights import check_min_stake, check_rate, check_weights, store_weights, takes_commits
from .call import MAX_BATCH, Argument, ArgumentKind, Arguments, Call, Signer

if TYPE_CHECKING:
    from ....state.state import State

SET_WEIGHT: Final = 400
"""Microseconds for one vector of 64: decode, signature, checks, one chunk of 1 KiB rehashed; its bytes cost extra."""


def _check_one(state: State, ctx: BlockContext, signer: AccountId, target: tuple[int, int], args: Arguments) -> int:
    """Pre-checks of YUMA 5.1 in their order, then its numbered ones; gives the uid."""
    check_min_stake(state, target[0], signer)
    if not takes_commits(state, target[0]):
        check_rate(state, *target, signer, ctx.height, ErrorCode.SettingWeightsTooFast)
    return _check_numbered(state, ctx, signer, target, args)


def _check_numbered(
    state: State, ctx: BlockContext, signer: AccountId, target: tuple[int, int], args: Arguments
) -> int:
    """The numbered checks of YUMA 5.1 alone: all that an item of a batch has to pass by itself."""
    netuid, mechanism = target
    uids, values, version_key = args
    return check_weights(state, netuid, mechanism, signer, uids, values, version_key, ctx.height)


def _store(state: State, ctx: BlockContext, target: tuple[int, int], uid: int, args: Arguments) -> Event:
    netuid, mechanism = target
    uids, values, _ = args
    store_weights(state, netuid, mechanism, uid, uids, values, ctx.height)
    return event(EventKind.WeightsSet, netuid, mechanism, uid)


def _set_one(
    state: State, ctx: BlockContext, signer: AccountId, target: tuple[int, int], args: Arguments
) -> list[Event]:
    return [_store(state, ctx, target, _check_one(state, ctx, signer, target, args), args)]


def _check_set_weights(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> None:
    _check_one(state, ctx, signer, (args[0], 0), args[1:])


def _set_weights(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    return _set_one(state, ctx, signer, (args[0], 0), args[1:])


def _check_set_mechanism_weights(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> None:
    _check_one(state, ctx, signer, args[:2], args[2:])


def _set_mechanism_weights(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    return _set_one(state, ctx, signer, args[:2], args[2:])


def _batch_items(args: Arguments) -> list[tuple[int, Arguments]]:
    netuids, weights, version_keys = args
    if not len(netuids) == len(weights) == len(version_keys):
        raise CallError(ErrorCode.InputLengthsUnequal)
    return [
        (netuid, (uids, values, version_key))
        for netuid, (uids, values), version_key in zip(netuids, weights, version_keys, strict=True)
    ]


def _check_batch(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> None:
    items = _batch_items(args)
    for netuid, _ in items:
        check_min_stake(state, netuid, signer)
    first: CallError | None = None
    for netuid, item in items:
        try:
            _check_numbered(state, ctx, signer, (netuid, 0), item)
        except CallError as error:
            first = first or error
        else:
            return
    raise first or CallError(ErrorCode.InputLengthsUnequal)


def _batch_set_weights(state: State, ctx: BlockContext, signer: AccountId, args: Arguments) -> list[Event]:
    items = _batch_items(args)
    events: list[Event] = []
    for netuid, item in items:
        try:
            uid = _check_numbered(state, ctx, signer, (netuid, 0), item)
        except CallError as error:
            events.append(event(EventKind.BatchWeightItemFailed, netuid, int(error.number)))
        else:
            events.append(_store(state, ctx, (netuid, 0), uid, item))
    events.append(event(EventKind.BatchWeightsCompleted, len(items), signer))
    return events


NETUID: Final = Argument("netuid", ArgumentKind.U16, "subnet")
MECHANISM: Final = Argument("mechanism", ArgumentKind.U8, f"mechanism, below {MAX_MECHANISMS}")
UIDS: Final = Argument("uids", ArgumentKind.U16_LIST, "neurons that are judged", most=U16_MAX)
VALUES: Final = Argument("values", ArgumentKind.U16_LIST, "their weights; only the proportions count", most=U16_MAX)
VERSION: Final = Argument("version_key", ArgumentKind.U64, "version of the validator's code")

CALLS: Final = (
    Call(
        number=0x0300,
        name="weights.set_weights",
        signer=Signer.HOTKEY,
        arguments=(NETUID, UIDS, VALUES, VERSION),
        weight=SET_WEIGHT,
        execute=_set_weights,
        check=_check_set_weights,
        free=True,
        doc="Set the hotkey's weights in a subnet.",
    ),
    Call(
        number=0x0301,
        name="weights.set_mechanism_weights",
        signer=Signer.HOTKEY,
        arguments=(
            NETUID,
            MECHANISM,
            UIDS,
            VALUES,
            VERSION,
        ),
        weight=SET_WEIGHT,
        execute=_set_mechanism_weights,
        check=_check_set_mechanism_weights,
        free=True,
        doc="Set the hotkey's weights in one mechanism of a subnet.",
    ),
    Call(
        number=0x0302,
        name="weights.batch_set_weights",
        signer=Signer.HOTKEY,
        arguments=(
            Argument("netuids", ArgumentKind.U16_LIST, "subnets", most=MAX_BATCH),
            Argument("weights", ArgumentKind.WEIGHT_LISTS, "uids and values for each of them", most=MAX_BATCH),
            Argument("version_keys", ArgumentKind.U64_LIST, "a version key for each of them", most=MAX_BATCH),
        ),
        weight=200,
        item_argument=0,
        item_weight=SET_WEIGHT,
        execute=_batch_set_weights,
        check=_check_batch,
        free=True,
        most_bytes=64 * 1024,
        doc="Set weights in several subnets; each item succeeds or fails by itself.",
    ),
)
