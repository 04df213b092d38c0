"""What a validator does with its weights after a final block: a pure function of the chain's facts (AXON R29, YUMA 5).

When. Weights count at the end of an epoch, so there is one set or commit per epoch, in its last quarter: scores are
fresh then, and little time is left in which a uid can change its owner between the choice and the reveal. A validator
without a stored row, or whose last update is two tempos old, does not wait. Reveals go as early as their epoch allows.
The window in which the chain shuts out its administrators before an epoch does not concern weights.

Whose uid. A commit fixes uids, and a uid may pass to another hotkey before the reveal. The chain guards the newcomer's
uid in two ways: an entry counts only while the sender's last update is newer than the target (YUMA 3.5, step 3), and
not while the sender's oldest live commit is older than the target (step 4). Both look at the time of a commit, so both
end with the *next* commit: it moves the last update past the newcomer's registration, and becomes the oldest live
commit as soon as the one before it is revealed. A commit lies an epoch before its reveal at least, so one epoch would
pay the newcomer for weights that were meant for the neuron before it. A hotkey swap does not even move the
registration. So nothing that gives weight to a changed uid is revealed: the newest commit of the window without one is,
or none, and the row before it stays (the chain zeroed the changed uid's entry in it at the registration). What is left
is a registration in the few blocks in which a reveal, or a direct set, travels: `REVEAL_VALID` bounds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from ...consensus.rules.v1.weight_commits import MAX_UNREVEALED
from ...consensus.types import AccountId, Hash32
from .weight_facts import ChainFacts, QueuedCommit
from .weight_vector import Vector, strangers, weigh

LATE_SHARE: Final = 4
"""Weights go in the last quarter of an epoch."""

LEAST_LATE: Final = 3
"""Blocks that part has at least: one to be sent, one to be included, one to spare."""

OVERDUE_TEMPOS: Final = 2
"""A validator whose update is older than this does not wait for the end of the epoch."""

STALE_TEMPOS: Final = 20
"""Scores whose newest round is older than this are not sent any more: a day, where a tempo is 360 blocks of 12 s."""

SET_VALID: Final = 6
REVEAL_VALID: Final = 6
"""Blocks in which a transaction with weights in the clear may be included: a uid that changes meanwhile is not seen."""

COMMIT_VALID: Final = 16
"""The same for a commit, whose reveal looks at the owners again."""


class Action(Enum):
    """What to send."""

    WAIT = "wait"
    SET = "set"
    COMMIT = "commit"
    REVEAL = "reveal"


class Reason(Enum):
    """Why; the value is stable and meant for programs."""

    SYNCING = "syncing"
    NO_SUBNET = "no_subnet"
    NOT_REGISTERED = "not_registered"
    WAITING = "waiting"
    """A transaction of the validator waits for a block."""
    LOW_STAKE = "low_stake"
    NO_PERMIT = "no_permit"
    VERSION_KEY = "version_key"
    NOTHING_SCORED = "nothing_scored"
    ZERO_VECTOR = "zero_vector"
    STALE_SCORES = "stale_scores"
    """The validator has ended no round for a long time."""
    NO_EPOCHS = "no_epochs"
    DONE = "done"
    """Weights of this epoch are set or committed."""
    RATE_LIMIT = "rate_limit"
    QUEUE_FULL = "queue_full"
    LATER = "later"
    """The last quarter of the epoch has not begun."""
    BACKING_OFF = "backing_off"
    """The last attempt was refused a moment ago."""
    READY = "ready"


@dataclass(frozen=True, slots=True)
class HeldBack:
    """A commit whose window is open and that is not revealed."""

    hash: Hash32
    block: int
    why: str


@dataclass(frozen=True, slots=True)
class Situation:
    """All that the decision depends on."""

    facts: ChainFacts
    scores: Mapping[AccountId, float]
    scored_at: int = 0
    """Final height at the newest round."""
    version_key: int = 0
    """Of the validator's code."""
    waiting: str = ""
    """Name of a weights call of it that waits in the pool."""
    retry_at: int = 0
    """Height before which nothing is tried again, after a refusal."""
    syncing: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, and what to tell people."""

    action: Action
    reason: Reason
    text: str
    next_block: int = 0
    """The block in which something may happen again; 0 when no block changes it."""
    vector: Vector | None = None
    """What to set or to commit to."""
    reveal: QueuedCommit | None = None
    valid_until: int = 0
    """Last height for the transaction."""
    held_back: tuple[HeldBack, ...] = ()


def plan(situation: Situation) -> Plan:
    """The next step of one validator."""
    facts = situation.facts
    if situation.syncing:
        return _wait(Reason.SYNCING, "this peer is catching up with the chain")
    if not facts.exists:
        return _wait(Reason.NO_SUBNET, "there is no such subnet or mechanism")
    if facts.uid is None:
        return _wait(Reason.NOT_REGISTERED, "the hotkey is not registered in this subnet")
    if situation.waiting:
        return _wait(Reason.WAITING, f"{situation.waiting} waits for a block", facts.height + 1)
    if facts.height < situation.retry_at:
        return _wait(Reason.BACKING_OFF, "the last attempt was refused", situation.retry_at + 1)
    held: tuple[HeldBack, ...] = ()
    if facts.commit_reveal:
        reveal, held = _choose_reveal(facts)
        if reveal is not None:
            text = f"the commit of block {reveal.block} is revealed in its epoch {reveal.reveal_epoch}"
            return Plan(
                Action.REVEAL,
                Reason.READY,
                text,
                reveal=reveal,
                valid_until=facts.height + REVEAL_VALID,
                held_back=held,
            )
    return _new_weights(situation, facts, facts.uid, held)


def _choose_reveal(facts: ChainFacts) -> tuple[QueuedCommit | None, tuple[HeldBack, ...]]:
    """The newest commit that can be revealed and gives nobody weight who was not meant, and why others are not."""
    held = []
    for commit in reversed(facts.queue):
        if not commit.due:
            continue
        if commit.sealed is None:
            why = "its weights are not kept here: another peer of the hotkey may have committed them"
            held.append(HeldBack(commit.hash, commit.block, why))
        elif changed := strangers(commit.sealed, facts.hotkeys):
            uids = ", ".join(map(str, changed))
            held.append(HeldBack(commit.hash, commit.block, f"uid {uids} changed owner since"))
        elif commit.refusal:
            held.append(HeldBack(commit.hash, commit.block, f"the chain would refuse it with {commit.refusal}"))
        else:
            return commit, tuple(held)
    return None, tuple(held)


def _new_weights(situation: Situation, facts: ChainFacts, uid: int, held: tuple[HeldBack, ...]) -> Plan:
    following = facts.height + 1
    blocked = _blocked(situation, facts)
    if blocked is not None:
        return _wait(*blocked, held=held)
    vector = weigh(situation.scores, facts.hotkeys, uid, facts.least_weights)
    if vector is None:
        if not situation.scores:
            return _wait(Reason.NOTHING_SCORED, "nothing is scored yet", held=held)
        return _wait(Reason.ZERO_VECTOR, "no member of the subnet has a score above zero: not sent", held=held)
    if facts.tempo == 0:
        return _wait(Reason.NO_EPOCHS, "this subnet runs no epochs (its tempo is 0)", held=held)
    age = facts.height - situation.scored_at
    if age > STALE_TEMPOS * facts.tempo:
        text = f"the newest round ended at block {situation.scored_at}, {age} blocks ago: its scores are too old"
        return _wait(Reason.STALE_SCORES, text, held=held)
    late_from = facts.epoch_ends - max(LEAST_LATE, facts.tempo // LATE_SHARE)
    updated = facts.last_update if facts.last_update != facts.registered_at else -1  # registration sets it too
    live = sum(not commit.expired for commit in facts.queue)
    if updated >= facts.epoch_began and (facts.has_row or live):
        next_late = late_from + facts.tempo
        return _wait(Reason.DONE, f"weights of this epoch went in block {updated}", next_late, held)
    allowed = facts.last_update + facts.rate_limit if facts.last_update else 0
    if following < allowed:
        text = f"the rate limit of {facts.rate_limit} blocks since block {facts.last_update} is not over"
        return _wait(Reason.RATE_LIMIT, text, allowed, held)
    if facts.commit_reveal and live >= MAX_UNREVEALED:
        return _wait(Reason.QUEUE_FULL, f"{live} commits wait for their reveal", facts.epoch_ends, held)
    fresh = not facts.has_row and live == 0
    overdue = following - facts.last_update >= OVERDUE_TEMPOS * facts.tempo
    if following < late_from and not (fresh or overdue):
        return _wait(Reason.LATER, f"weights go from block {late_from} on, late in the epoch", late_from, held)
    action, valid = (Action.COMMIT, COMMIT_VALID) if facts.commit_reveal else (Action.SET, SET_VALID)
    return Plan(
        action,
        Reason.READY,
        f"weights for {sum(value > 0 for value in vector.values)} neurons are sent",
        following,
        vector,
        valid_until=facts.height + valid,
        held_back=held,
    )


def _blocked(situation: Situation, facts: ChainFacts) -> tuple[Reason, str] | None:
    """What no waiting for a block changes."""
    if facts.stake < facts.stake_needed:
        missing = facts.stake_needed - facts.stake
        return Reason.LOW_STAKE, f"{missing} rao of stake are missing to the {facts.stake_needed} that are needed"
    if not facts.may_weigh:
        return Reason.NO_PERMIT, "the hotkey has no validator permit in this epoch"
    if facts.version_needed and situation.version_key < facts.version_needed:
        return (
            Reason.VERSION_KEY,
            f"the subnet wants version key {facts.version_needed}, this code has {situation.version_key}: update it",
        )
    return None


def _wait(reason: Reason, text: str, next_block: int = 0, held: tuple[HeldBack, ...] = ()) -> Plan:
    return Plan(Action.WAIT, reason, text, next_block, held_back=held)
