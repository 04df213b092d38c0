"""Weight and bond rows in the state, and the direct setting of weights with its checks (YUMA 5.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ...fixed_point import u64_to_proportion
from ...types import U16_MAX, AccountId
from .children import children_of, parents_of
from .errors import CallError, ErrorCode
from .neurons import hotkey_of, neuron_row, uid_of
from .stakes import ROOT, hotkey_stake
from .subnets import global_parameter, neuron_count, owner_hotkey, parameter, subnet_exists
from .yuma.sparse_rows import SparseRows, pack_rows
from .yuma.stake import inherited_stake

if TYPE_CHECKING:
    from ...state.state import State


UPSCALE_BRANCH: Final = 32_768
"""Largest maximum for which UPSCALE16 multiplies before it divides: above it the product would leave Q32."""

ROUND_Q32: Final = 1 << 31
"""One half: rounding to the nearest integer, ties up, of values that are never negative."""


def read_rows(state: State, prefix: str, kind: str) -> SparseRows:
    """Stored rows of one mechanism; `prefix` is `sn/<netuid>/<mechanism>`, `kind` is `weight` or `bond`."""
    counts = state.array(f"{prefix}/{kind}_count")
    pairs = state.array(f"{prefix}/{kind}s")
    start = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=start[1:])
    stored = pairs[np.arange(pairs.shape[1], dtype=np.int64) < counts[:, None]]
    return pack_rows(start, stored[:, 0], stored[:, 1])


def read_row(state: State, prefix: str, kind: str, uid: int) -> list[tuple[int, int]]:
    """One stored row as (uid, value) pairs in submission order."""
    count = int(state.read(f"{prefix}/{kind}_count", uid))
    return [(int(target), int(value)) for target, value in state.read(f"{prefix}/{kind}s", uid)[:count].tolist()]


def write_row(state: State, prefix: str, kind: str, uid: int, uids: Sequence[int], values: Sequence[int]) -> None:
    """Replace one row; pairs behind its end become zero."""
    width = state.spec(f"{prefix}/{kind}s").row_shape[0]
    row = np.zeros((width, 2), dtype="<u2")
    row[: len(uids), 0] = uids
    row[: len(uids), 1] = values
    state.write(f"{prefix}/{kind}_count", uid, len(uids))
    state.write(f"{prefix}/{kind}s", uid, row)


def write_rows(state: State, prefix: str, kind: str, rows: SparseRows) -> None:
    """Replace the rows of every uid. Only rows that differ are written: bonds of most miners stay empty for ever."""
    lengths = rows.lengths()
    pairs = state.array(f"{prefix}/{kind}s")
    fresh = np.zeros(pairs.shape, dtype="<u2")
    stored: NDArray[np.bool_] = np.arange(pairs.shape[1], dtype=np.int64) < lengths[:, None]
    fresh[stored, 0] = rows.uid
    fresh[stored, 1] = rows.value
    changed = np.flatnonzero((fresh != pairs).any(axis=(1, 2)))
    if len(changed):
        state.write(f"{prefix}/{kind}s", changed, fresh[changed])
    counts = lengths.astype("<u2")
    if not np.array_equal(counts, state.array(f"{prefix}/{kind}_count")):
        state.write(f"{prefix}/{kind}_count", slice(0, len(counts)), counts)


def total_stake_of(state: State, netuid: int, hotkey: bytes) -> int:
    """Stake weight of a hotkey in a subnet in whole rao: alpha plus weighted root TAO, both with what parents lend and
    children get (YUMA 2.1)."""
    parents, children = parents_of(state, netuid, hotkey), children_of(state, netuid, hotkey)
    given = [relation.proportion for relation in children]

    def inherited(where: int) -> int:
        own = hotkey_stake(state, where, hotkey)
        if not parents and not children:
            return own
        lent = [(relation.proportion, hotkey_stake(state, where, relation.hotkey)) for relation in parents]
        return inherited_stake(own, given, lent)

    weight = u64_to_proportion(global_parameter(state, "tao_weight"))
    return inherited(netuid) + ((inherited(ROOT) * weight) >> 32)


def check_min_stake(state: State, netuid: int, hotkey: AccountId) -> None:
    """Pre-check of every weights call: the stake threshold, from which the owner's hotkey is free."""
    if netuid and subnet_exists(state, netuid) and hotkey == owner_hotkey(state, netuid):
        return
    threshold = global_parameter(state, "stake_threshold")
    if threshold and total_stake_of(state, netuid, hotkey) < threshold:  # many parents take long to add up
        raise CallError(ErrorCode.NotEnoughStakeToSetWeights)


def takes_commits(state: State, netuid: int) -> bool:
    """Whether weights of a subnet go by commit and reveal; no for one that is not there."""
    return subnet_exists(state, netuid) and bool(parameter(state, netuid, "commit_reveal_weights_enabled"))


def check_rate(state: State, netuid: int, mechanism: int, hotkey: AccountId, block: int, error: ErrorCode) -> None:
    """Pre-check of a single set or commit: the rate limit, for whoever has a uid (YUMA 5.1). Raises CallError."""
    if not subnet_exists(state, netuid) or netuid == ROOT or mechanism >= parameter(state, netuid, "mechanism_count"):
        return
    uid = uid_of(state, netuid, hotkey)
    if uid is not None and updated_too_recently(state, netuid, mechanism, uid, block):
        raise CallError(error)


def check_weights(
    state: State,
    netuid: int,
    mechanism: int,
    hotkey: AccountId,
    uids: Sequence[int],
    values: Sequence[int],
    version_key: int,
    block: int,
) -> int:
    """Every check of YUMA 5.1 for a direct set, in order; gives the sender's uid. Raises CallError."""
    if takes_commits(state, netuid):
        raise CallError(ErrorCode.CommitRevealEnabled)
    return check_revealed_weights(state, netuid, mechanism, hotkey, uids, values, version_key, block)


def check_revealed_weights(
    state: State,
    netuid: int,
    mechanism: int,
    hotkey: AccountId,
    uids: Sequence[int],
    values: Sequence[int],
    version_key: int,
    block: int,
) -> int:
    """Checks 1 to 13 of YUMA 5.1, which a reveal has to pass too; gives the sender's uid. Raises CallError."""
    known = subnet_exists(state, netuid)
    if netuid == ROOT:
        raise CallError(ErrorCode.CanNotSetRootNetworkWeights)
    if len(uids) != len(values):
        raise CallError(ErrorCode.WeightVecNotEqualSize)
    if not known or mechanism >= parameter(state, netuid, "mechanism_count"):
        raise CallError(ErrorCode.MechanismDoesNotExist)
    count = neuron_count(state, netuid)
    if len(uids) > count:
        raise CallError(ErrorCode.UidsLengthExceedUidsInSubNet)
    uid = uid_of(state, netuid, hotkey)
    if uid is None:
        raise CallError(ErrorCode.HotKeyNotRegisteredInSubNet)
    check_min_stake(state, netuid, hotkey)
    stored_key = parameter(state, netuid, "weights_version_key")
    if stored_key and version_key < stored_key:
        raise CallError(ErrorCode.IncorrectWeightVersionKey)
    committed = bool(parameter(state, netuid, "commit_reveal_weights_enabled"))
    if not committed and updated_too_recently(state, netuid, mechanism, uid, block):
        raise CallError(ErrorCode.SettingWeightsTooFast)
    self_weight = len(uids) == 1 and uids[0] == uid
    is_owner = hotkey_of(state, netuid, uid) == owner_hotkey(state, netuid)
    if not (self_weight or is_owner or state.read("neurons/permit", neuron_row(netuid, uid))):
        raise CallError(ErrorCode.NeuronNoValidatorPermit)
    if len(dict.fromkeys(uids)) < len(uids):
        raise CallError(ErrorCode.DuplicateUids)
    if uids and max(uids) >= count:
        raise CallError(ErrorCode.UidVecContainInvalidOne)
    if not self_weight and len(uids) < min(count, parameter(state, netuid, "min_allowed_weights")):
        raise CallError(ErrorCode.WeightVecLengthIsLow)
    # Check 13, MaxWeightExceeded: the limit is the constant 65535, which no u16 exceeds.
    return uid


def updated_too_recently(state: State, netuid: int, mechanism: int, uid: int, block: int) -> bool:
    """Check 8: whether the rate limit since the uid's last update has not passed."""
    last = int(state.read(f"sn/{netuid}/{mechanism}/last_update", uid))
    return bool(last) and block - last < parameter(state, netuid, "weights_set_rate_limit")


def upscaled_weights(values: Sequence[int]) -> list[int]:
    """UPSCALE16 of YUMA 1.4 on u16 values: the same numbers as `fixed_point.upscale_to_u16`, six times faster.

    On whole numbers each of its two branches is one truncated quotient in Q32 and one rounding; nothing can overflow.
    """
    largest = max(values, default=0)
    if largest == 0:
        return [0] * len(values)
    if largest > UPSCALE_BRANCH:
        factor = (U16_MAX << 32) // largest
        return [min((value * factor + ROUND_Q32) >> 32, U16_MAX) for value in values]
    return [((value * U16_MAX << 32) // largest + ROUND_Q32) >> 32 for value in values]


def store_weights(
    state: State, netuid: int, mechanism: int, uid: int, uids: Sequence[int], values: Sequence[int], block: int
) -> None:
    """Effect of YUMA 5.1: the upscaled row in submission order, and the time of the update.

    Where commit-reveal is on, the update was the commit: a reveal leaves its time.
    """
    write_row(state, f"sn/{netuid}/{mechanism}", "weight", uid, uids, upscaled_weights(values))
    if not parameter(state, netuid, "commit_reveal_weights_enabled"):
        state.write(f"sn/{netuid}/{mechanism}/last_update", uid, block)
