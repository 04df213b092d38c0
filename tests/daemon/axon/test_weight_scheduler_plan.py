"""When a validator sets, commits and reveals, and with which numbers: decided without a chain (AXON R29)."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from yumad.consensus.rules.v1.weight_commits import MAX_UNREVEALED
from yumad.consensus.rules.v1.weights import upscaled_weights
from yumad.consensus.types import AccountId, Hash32
from yumad.daemon.axon.weight_facts import ChainFacts, QueuedCommit
from yumad.daemon.axon.weight_plan import (
    COMMIT_VALID,
    REVEAL_VALID,
    SET_VALID,
    Action,
    Plan,
    Reason,
    Situation,
    plan,
)
from yumad.daemon.axon.weight_vector import Vector, strangers, weigh
from yumad.storage.sealed_weights import CommittedWeights

HOTKEYS = tuple(AccountId(bytes([65 + uid]) * 32) for uid in range(5))
NEWCOMER = AccountId(b"z" * 32)
SCORES = {HOTKEYS[1]: 0.5, HOTKEYS[3]: 1.0}

FACTS = ChainFacts(
    height=995,
    exists=True,
    uid=0,
    hotkeys=HOTKEYS,
    may_weigh=True,
    stake=100,
    stake_needed=100,
    rate_limit=100,
    last_update=640,
    registered_at=1,
    least_weights=1,
    has_row=True,
    epoch=7,
    epoch_began=720,
    epoch_ends=1080,
    tempo=360,
)
"""Late in an epoch of 360 blocks; the last update was in the one before."""


def decide(facts: ChainFacts = FACTS, scores: dict[AccountId, float] | None = None, **more: Any) -> Plan:
    return plan(Situation(facts, SCORES if scores is None else scores, **{"scored_at": facts.height, **more}))


def bound(hotkeys: tuple[AccountId, ...] = HOTKEYS) -> tuple[bytes, ...]:
    return tuple(hotkey[:16] for hotkey in hotkeys)


def queued(number: int = 1, *, due: bool = True, values: tuple[int, ...] = (0, 65535, 0, 9, 0), **more: Any) -> Any:
    sealed = CommittedWeights((0, 1, 2, 3, 4), values, (1,), 0, bound())
    fields = {"block": 600 + number, "reveal_epoch": 7, "expired": False, "sealed": sealed, "refusal": ""}
    return QueuedCommit(Hash32(bytes([number]) * 32), due=due, **{**fields, **more})


def hidden(*queue: QueuedCommit, **more: Any) -> ChainFacts:
    """The same with commit-reveal on."""
    return replace(FACTS, commit_reveal=True, queue=queue, **more)


# --- reasons to wait --------------------------------------------------------------------------------------------------


def test_r29_weights_are_set_late_in_the_epoch_where_commit_reveal_is_off() -> None:
    decided = decide()
    assert (decided.action, decided.reason, decided.valid_until) == (Action.SET, Reason.READY, 995 + SET_VALID)
    assert decided.vector == Vector((1, 3), (32768, 65535), (bound()[1], bound()[3]))


@pytest.mark.parametrize(
    ("changed", "reason", "text"),
    [
        ({"exists": False}, Reason.NO_SUBNET, "no such subnet"),
        ({"uid": None}, Reason.NOT_REGISTERED, "not registered"),
        ({"stake": 60}, Reason.LOW_STAKE, "40 rao of stake are missing"),
        ({"may_weigh": False}, Reason.NO_PERMIT, "no validator permit"),
        ({"version_needed": 3}, Reason.VERSION_KEY, "wants version key 3, this code has 2"),
        ({"tempo": 0}, Reason.NO_EPOCHS, "tempo is 0"),
    ],
)
def test_r29_obstacle_is_named_in_words(changed: dict[str, Any], reason: Reason, text: str) -> None:
    decided = decide(replace(FACTS, **changed), version_key=2)
    assert (decided.action, decided.reason) == (Action.WAIT, reason)
    assert text in decided.text


def test_r29_old_enough_version_key_and_none_at_all_are_fine() -> None:
    assert decide(replace(FACTS, version_needed=3), version_key=3).action is Action.SET
    assert decide(replace(FACTS, version_needed=0), version_key=0).action is Action.SET


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        ({}, Reason.NOTHING_SCORED),
        ({HOTKEYS[1]: 0.0}, Reason.ZERO_VECTOR),
        ({HOTKEYS[0]: 1.0}, Reason.ZERO_VECTOR),
        ({NEWCOMER: 1.0}, Reason.ZERO_VECTOR),
        ({HOTKEYS[1]: float("nan")}, Reason.ZERO_VECTOR),
    ],
    ids=["nothing", "zeros", "only itself", "not a member", "not a number"],
)
def test_r29_zero_vector_is_refused(scores: dict[AccountId, float], reason: Reason) -> None:
    for facts in (FACTS, hidden()):
        decided = decide(facts, scores)
        assert (decided.action, decided.reason) == (Action.WAIT, reason)


def test_r28_scores_of_a_validator_that_ended_no_round_for_long_are_not_sent() -> None:
    late = replace(FACTS, height=9995, epoch_began=9720, epoch_ends=10080, last_update=9640)
    decided = decide(late, scored_at=2794)
    assert decided.reason is Reason.STALE_SCORES
    assert "ended at block 2794, 7201 blocks ago" in decided.text
    assert decide(late, scored_at=2795).action is Action.SET
    assert decide(replace(late, commit_reveal=True, queue=(queued(),)), scored_at=0).action is Action.REVEAL


def test_r29_rate_limit_tells_the_next_block() -> None:
    decided = decide(replace(FACTS, last_update=950, epoch_began=960))
    assert (decided.reason, decided.next_block) == (Reason.RATE_LIMIT, 1050)
    assert decide(replace(FACTS, last_update=896, epoch_began=960)).action is Action.SET


def test_r29_early_in_an_epoch_weights_wait_for_its_last_quarter() -> None:
    decided = decide(replace(FACTS, height=800))
    assert (decided.reason, decided.next_block) == (Reason.LATER, 990)
    assert decide(replace(FACTS, height=988)).reason is Reason.LATER
    assert decide(replace(FACTS, height=989)).action is Action.SET


def test_r29_weights_go_once_per_epoch() -> None:
    decided = decide(replace(FACTS, last_update=720))
    assert (decided.reason, decided.next_block) == (Reason.DONE, 1350)


@pytest.mark.parametrize("facts", [FACTS, hidden()])
def test_r29_validator_without_a_row_and_one_long_overdue_do_not_wait_for_the_end_of_the_epoch(
    facts: ChainFacts,
) -> None:
    early = replace(facts, height=800)
    assert decide(replace(early, has_row=False)).action is not Action.WAIT
    assert decide(replace(early, last_update=81)).action is not Action.WAIT
    assert decide(replace(early, last_update=82)).reason is Reason.LATER


def test_r29_registration_is_no_update_but_starts_the_rate_limit() -> None:
    fresh = replace(FACTS, has_row=False, last_update=800, registered_at=800)
    assert decide(replace(fresh, height=898)).reason is Reason.RATE_LIMIT
    assert decide(replace(fresh, height=899)).action is Action.SET


def test_r29_nothing_is_sent_while_syncing_while_a_call_waits_or_right_after_a_refusal() -> None:
    assert decide(syncing=True).reason is Reason.SYNCING
    assert decide(waiting="weights.set_weights").reason is Reason.WAITING
    assert decide(hidden(queued()), waiting="weights.reveal_weights").reason is Reason.WAITING
    assert decide(retry_at=996).reason is Reason.BACKING_OFF
    assert decide(retry_at=995).action is Action.SET


# --- commit and reveal ------------------------------------------------------------------------------------------------


def test_r29_weights_are_committed_where_commit_reveal_is_on() -> None:
    decided = decide(hidden())
    assert (decided.action, decided.valid_until) == (Action.COMMIT, 995 + COMMIT_VALID)
    assert decided.vector is not None and decided.vector.bound == (bound()[1], bound()[3])


def test_r29_due_commit_is_revealed_before_anything_else() -> None:
    commit = queued()
    decided = decide(hidden(commit, height=725), {})
    assert (decided.action, decided.reveal, decided.valid_until) == (Action.REVEAL, commit, 725 + REVEAL_VALID)


def test_r29_newest_due_commit_is_revealed() -> None:
    decided = decide(hidden(queued(1), queued(2), queued(3, due=False)))
    assert decided.reveal == queued(2)


def test_r29_commit_outside_its_window_is_left_alone() -> None:
    expired = queued(1, due=False, expired=True, reveal_epoch=6)
    decided = decide(hidden(expired))
    assert (decided.action, decided.held_back) == (Action.COMMIT, ())


def test_r29_commit_that_gives_weight_to_a_changed_uid_is_not_revealed_and_a_new_one_is_made() -> None:
    now = (*HOTKEYS[:1], NEWCOMER, *HOTKEYS[2:])
    decided = decide(hidden(queued(), hotkeys=now))
    assert decided.action is Action.COMMIT
    [held] = decided.held_back
    assert held.why == "uid 1 changed owner since"
    assert decided.vector is not None and decided.vector.uids == (3,), "the newcomer has no score"


def test_r29_changed_uid_without_weight_holds_nothing_back() -> None:
    now = (*HOTKEYS[:2], NEWCOMER, *HOTKEYS[3:])
    assert decide(hidden(queued(), hotkeys=now)).action is Action.REVEAL


def test_r29_older_commit_of_the_window_that_is_clean_is_revealed_instead() -> None:
    now = (*HOTKEYS[:1], NEWCOMER, *HOTKEYS[2:])
    clean = queued(1, values=(0, 0, 65535, 9, 0))
    decided = decide(hidden(clean, queued(2), hotkeys=now))
    assert decided.reveal == clean
    assert [held.hash for held in decided.held_back] == [queued(2).hash]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"sealed": None}, "not kept here"),
        ({"refusal": "IncorrectWeightVersionKey"}, "would refuse it with IncorrectWeightVersionKey"),
    ],
)
def test_r29_due_commit_that_cannot_be_revealed_says_why(changed: dict[str, Any], why: str) -> None:
    decided = decide(hidden(queued(1, **changed)))
    assert decided.action is Action.COMMIT
    assert why in decided.held_back[0].why


def test_r29_reasons_are_kept_while_nothing_else_can_be_done() -> None:
    decided = decide(hidden(queued(1, sealed=None), may_weigh=False))
    assert decided.reason is Reason.NO_PERMIT and decided.held_back


def test_r29_full_queue_waits_for_the_epoch() -> None:
    full = tuple(queued(number, due=False) for number in range(MAX_UNREVEALED))
    decided = decide(hidden(*full))
    assert (decided.reason, decided.next_block) == (Reason.QUEUE_FULL, 1080)


def test_r29_commit_is_not_revealed_after_commit_reveal_was_switched_off() -> None:
    assert decide(replace(FACTS, queue=(queued(),))).action is Action.SET


# --- the numbers ------------------------------------------------------------------------------------------------------


def test_r29_largest_is_65535_and_others_are_rounded_exactly() -> None:
    vector = weigh({HOTKEYS[1]: 1.0, HOTKEYS[2]: 1 / 3, HOTKEYS[3]: 1e-9}, HOTKEYS, 0, 1)
    assert vector is not None
    assert (vector.uids, vector.values) == ((1, 2), (65535, 21845))


def test_r29_what_is_sent_is_what_the_chain_stores() -> None:
    draw = random.Random(5)
    for _ in range(200):
        scores = {hotkey: draw.random() ** 3 for hotkey in HOTKEYS[1:]}
        vector = weigh(scores, HOTKEYS, 0, 5)
        assert vector is not None
        assert tuple(upscaled_weights(vector.values)) == vector.values
        largest = max(map(Fraction, scores.values()))
        for uid, value in zip(vector.uids, vector.values, strict=True):
            exact = Fraction(scores.get(HOTKEYS[uid], 0.0)) * 65535 / largest
            assert abs(exact - value) <= Fraction(1, 2)


@pytest.mark.parametrize(
    ("least", "uids"),
    [(0, (3,)), (1, (3,)), (3, (1, 2, 3)), (4, (1, 2, 3, 4)), (5, (0, 1, 2, 3, 4)), (9, (0, 1, 2, 3, 4))],
)
def test_r29_row_is_filled_with_zeros_to_the_least_length_itself_last(least: int, uids: tuple[int, ...]) -> None:
    vector = weigh({HOTKEYS[3]: 0.2}, HOTKEYS, 0, least)
    assert vector is not None
    assert vector.uids == uids
    assert vector.values == tuple(65535 if uid == 3 else 0 for uid in uids)


@pytest.mark.parametrize("limit", [20_000, 25_000, 33_000, 50_000, 65_000])
def test_r29_share_above_the_limit_is_clipped_and_the_others_keep_their_proportions(limit: int) -> None:
    draw = random.Random(limit)
    for _ in range(50):
        scores = {hotkey: draw.random() ** 6 + 1e-3 for hotkey in HOTKEYS[1:]}
        vector = weigh(scores, HOTKEYS, 0, 1, limit)
        assert vector is not None
        assert max(vector.values) / sum(vector.values) <= limit / 65535 + 2e-5
        order = sorted(HOTKEYS[1:], key=lambda hotkey: scores[hotkey])
        weights = dict(zip(vector.uids, vector.values, strict=True))
        found = [weights.get(HOTKEYS.index(hotkey), 0) for hotkey in order]
        assert found == sorted(found)


def test_r29_limit_that_cannot_be_kept_gives_everybody_the_same() -> None:
    vector = weigh({HOTKEYS[1]: 1.0, HOTKEYS[2]: 0.1}, HOTKEYS, 0, 1, limit=1000)
    assert vector is not None and vector.values == (65535, 65535)


def test_r29_strangers_are_uids_with_weight_and_another_hotkey() -> None:
    weights = CommittedWeights((1, 2, 4), (5, 0, 7), (), 0, (bound()[1], bound()[2], bound()[4]))
    assert strangers(weights, HOTKEYS) == ()
    assert strangers(weights, (NEWCOMER,) * 5) == (1, 4)
    assert strangers(weights, HOTKEYS[:4]) == (4,), "a uid that was trimmed away"
    assert strangers(weights._replace(bound=()), (NEWCOMER,) * 5) == (), "committed by hand"
