"""When epochs fire, defer and freeze (YUMA section 7)."""

from typing import Any

import pytest
from yumad.consensus.rules.v1.schedule import (
    MAX_BLOCKS_WITHOUT_STEP,
    SubnetSchedule,
    due,
    epoch_index_lookahead,
    first_last_epoch_block,
    freeze_window_closed,
    process_slots,
)


def schedule(netuid: int = 1, **changes: int) -> SubnetSchedule:
    fields: dict[str, Any] = {
        "netuid": netuid,
        "tempo": 10,
        "last_epoch_block": 100,
        "pending_epoch_at": 0,
        "blocks_since_last_step": 5,
        "epoch_index": 7,
    }
    return SubnetSchedule(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "block", "expected"),
    [
        ({}, 109, False),
        ({}, 110, True),
        ({}, 99, False),
        ({"tempo": 0}, 10_000, False),
        ({"tempo": 0, "pending_epoch_at": 1}, 10_000, False),
        ({"pending_epoch_at": 105}, 104, False),
        ({"pending_epoch_at": 105}, 105, True),
        ({"blocks_since_last_step": MAX_BLOCKS_WITHOUT_STEP}, 101, False),
        ({"blocks_since_last_step": MAX_BLOCKS_WITHOUT_STEP + 1}, 101, True),
    ],
)
def test_epoch_is_due_by_period_by_trigger_or_after_a_week(changes: dict[str, int], block: int, expected: bool) -> None:
    assert due(schedule(**changes), block) is expected


def test_epoch_index_looks_one_ahead_while_due() -> None:
    assert [epoch_index_lookahead(schedule(), block) for block in (109, 110)] == [7, 8]


def test_epoch_index_has_the_same_value_before_and_after_the_slot_fires() -> None:
    before = schedule()
    after = process_slots([before], 110, 2).schedules[0]
    assert epoch_index_lookahead(before, 110) == epoch_index_lookahead(after, 110) == 8


def test_new_subnets_are_staggered_by_netuid() -> None:
    assert [first_last_epoch_block(netuid, 10, 100) for netuid in (1, 9, 10, 13)] == [99, 91, 100, 97]
    assert first_last_epoch_block(5, 0, 100) == 100
    assert first_last_epoch_block(9, 10, 3) == 0


@pytest.mark.parametrize(
    ("changes", "block", "closed"),
    [
        ({}, 108, False),
        ({}, 109, True),
        ({}, 110, True),
        ({"tempo": 0, "pending_epoch_at": 500}, 108, False),
        ({"pending_epoch_at": 102}, 101, True),
        ({"pending_epoch_at": 102}, 102, False),
    ],
)
def test_freeze_window_closes_just_before_an_epoch(changes: dict[str, int], block: int, closed: bool) -> None:
    assert freeze_window_closed(schedule(**changes), block, 2) is closed


def test_fired_subnet_restarts_its_period_and_drains_its_pools() -> None:
    outcome = process_slots([schedule(pending_epoch_at=104)], 104, 2)
    assert outcome.fired == outcome.drained == (1,)
    assert outcome.schedules[0] == schedule(last_epoch_block=104, blocks_since_last_step=0, epoch_index=8)


def test_subnet_that_is_not_due_only_counts_the_block() -> None:
    outcome = process_slots([schedule()], 105, 2)
    assert outcome.fired == outcome.drained == outcome.deferred == ()
    assert outcome.schedules == (schedule(blocks_since_last_step=6),)


def test_third_due_subnet_is_deferred_with_its_index_and_period_kept() -> None:
    subnets = [schedule(netuid) for netuid in (300, 2, 5)]
    outcome = process_slots(subnets, 110, 2)
    assert [after.netuid for after in outcome.schedules] == [2, 5, 300]
    assert (outcome.drained, outcome.deferred) == ((2, 5), (300,))
    late = outcome.schedules[2]
    assert late == schedule(300, pending_epoch_at=111, blocks_since_last_step=6)
    assert epoch_index_lookahead(late, 110) == epoch_index_lookahead(late, 111) == 8
    assert process_slots(outcome.schedules, 111, 2).drained == (300,)


def test_subnet_with_a_hotkey_twice_fires_without_an_epoch() -> None:
    outcome = process_slots([schedule(1), schedule(2), schedule(3)], 110, 2, with_duplicate_hotkeys=(1,))
    assert outcome.fired == (1, 2, 3)
    assert outcome.drained == (2, 3)
    assert outcome.schedules[0] == schedule(1, last_epoch_block=110, blocks_since_last_step=6, epoch_index=8)
