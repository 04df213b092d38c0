"""What the chain says about one validator's weights, read from the finalised state for the block after it (YUMA 5, 7).

Only values leave this module: `weight_plan` decides on them without a chain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...consensus.rules.v1.balances import current_height
from ...consensus.rules.v1.errors import CallError
from ...consensus.rules.v1.neurons import hotkeys_of, neuron_row, uid_of
from ...consensus.rules.v1.stakes import ROOT
from ...consensus.rules.v1.subnets import (
    global_parameter,
    mechanism_index,
    owner_hotkey,
    parameter,
    read_schedule,
    subnet_exists,
)
from ...consensus.rules.v1.weight_commits import (
    Commit,
    check_reveal,
    current_epoch,
    is_expired,
    is_revealable,
    read_commits,
)
from ...consensus.rules.v1.weights import check_min_stake, check_revealed_weights, total_stake_of
from ...consensus.types import AccountId, Hash32
from ...storage.score_rows import ScoreKey
from ...storage.sealed_weights import CommittedWeights

if TYPE_CHECKING:
    from ...consensus.state.state import State


@dataclass(frozen=True, slots=True)
class QueuedCommit:
    """One commit of the validator on the chain."""

    hash: Hash32
    block: int
    reveal_epoch: int
    """The one epoch in which it may be revealed."""
    expired: bool
    due: bool
    """Whether the next block is in that epoch."""
    sealed: CommittedWeights | None
    """What it was made of; None when that is not kept here."""
    refusal: str
    """Name of the error with which the next block would refuse its reveal; empty when it would not or is too early."""


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """See the module text; with the defaults where there is no such subnet, mechanism or neuron."""

    height: int
    """Final height; everything below is meant for the next block."""
    exists: bool = False
    """The subnet is there and has the mechanism."""
    uid: int | None = None
    hotkeys: tuple[AccountId, ...] = ()
    """By uid."""
    may_weigh: bool = False
    """Validator permit, or owner's hotkey."""
    stake: int = 0
    """Rao that count for the threshold."""
    stake_needed: int = 0
    """The threshold; 0 for the owner."""
    version_needed: int = 0
    rate_limit: int = 0
    last_update: int = 0
    """Height of the newest set or commit, or of the registration."""
    registered_at: int = 0
    least_weights: int = 0
    has_row: bool = False
    """Weights of it are stored."""
    commit_reveal: bool = False
    reveal_period: int = 1
    epoch: int = 0
    """EPI: the epoch in which the next block's commits and reveals count."""
    epoch_began: int = 0
    """Height that the running epoch is counted from."""
    epoch_ends: int = 0
    """Height of the next epoch by the schedule."""
    tempo: int = 0
    queue: tuple[QueuedCommit, ...] = ()
    """Oldest first, expired ones too."""


def read_facts(state: State, key: ScoreKey, sealed: Mapping[Hash32, CommittedWeights]) -> ChainFacts:
    """The facts about one validator; `sealed` is what is kept of its commits."""
    height, (netuid, mechanism, hotkey) = current_height(state), key
    following = height + 1
    if netuid == ROOT or not subnet_exists(state, netuid) or mechanism >= parameter(state, netuid, "mechanism_count"):
        return ChainFacts(height)
    schedule, uid = read_schedule(state, netuid), uid_of(state, netuid, hotkey)
    owner = hotkey == owner_hotkey(state, netuid)
    prefix = f"sn/{netuid}/{mechanism}"
    ends = schedule.last_epoch_block + schedule.tempo
    if 0 < schedule.pending_epoch_at < ends:
        ends = schedule.pending_epoch_at
    neuron = {} if uid is None else _neuron(state, netuid, prefix, int(uid))
    return ChainFacts(
        height=height,
        exists=True,
        uid=None if uid is None else int(uid),
        hotkeys=tuple(hotkeys_of(state, netuid)),
        may_weigh=owner or bool(neuron.get("permit")),
        stake=total_stake_of(state, netuid, hotkey),
        stake_needed=0 if owner else global_parameter(state, "stake_threshold"),
        version_needed=parameter(state, netuid, "weights_version_key"),
        rate_limit=parameter(state, netuid, "weights_set_rate_limit"),
        last_update=neuron.get("last_update", 0),
        registered_at=neuron.get("registered_at", 0),
        least_weights=parameter(state, netuid, "min_allowed_weights"),
        has_row=bool(neuron.get("weight_count")),
        commit_reveal=bool(parameter(state, netuid, "commit_reveal_weights_enabled")),
        reveal_period=parameter(state, netuid, "reveal_period_epochs"),
        epoch=current_epoch(state, netuid, following),
        epoch_began=schedule.last_epoch_block,
        epoch_ends=max(ends, following),
        tempo=schedule.tempo,
        queue=tuple(
            _queued(state, key, commit, sealed.get(commit.hash), following)
            for commit in read_commits(state, mechanism_index(netuid, mechanism), hotkey)
        ),
    )


def _neuron(state: State, netuid: int, prefix: str, uid: int) -> dict[str, int]:
    row = neuron_row(netuid, uid)
    return {
        "permit": int(state.read("neurons/permit", row)),
        "registered_at": int(state.read("neurons/registered_at", row)),
        "last_update": int(state.read(f"{prefix}/last_update", uid)),
        "weight_count": int(state.read(f"{prefix}/weight_count", uid)),
    }


def _queued(
    state: State, key: ScoreKey, commit: Commit, sealed: CommittedWeights | None, following: int
) -> QueuedCommit:
    netuid, mechanism, hotkey = key
    epoch, period = current_epoch(state, netuid, following), parameter(state, netuid, "reveal_period_epochs")
    due, refusal = is_revealable(commit, epoch, period), ""
    if due and sealed is not None:
        try:
            check_min_stake(state, netuid, hotkey)
            check_reveal(state, netuid, mechanism, hotkey, commit.hash, following)
            check_revealed_weights(
                state, netuid, mechanism, hotkey, sealed.uids, sealed.values, sealed.version_key, following
            )
        except CallError as error:
            refusal = error.number.name
    return QueuedCommit(
        commit.hash, commit.block, commit.epoch + period, is_expired(commit, epoch, period), due, sealed, refusal
    )
