"""Slot arithmetic and back-off (CHAIN 1.3, constants and R12)."""

import pytest
from yumad.consensus.timing import Timing
from yumad.consensus.types import Micros, Slot

SECOND = 1_000_000
MAIN = Timing(Micros(1_000 * SECOND), Micros(12 * SECOND), 1800)
QUICK = Timing(Micros(0), Micros(SECOND // 4), 20)


def test_main_profile_timers_are_a_quarter_and_five_twelfths_of_a_slot() -> None:
    assert (MAIN.propose_timeout, MAIN.notarize_timeout, MAIN.drift) == (3 * SECOND, 5 * SECOND, SECOND)


def test_quarter_second_slots_scale_every_timer() -> None:
    assert (QUICK.propose_timeout, QUICK.notarize_timeout, QUICK.drift) == (62_500, 104_166, 62_500)


def test_slots_begin_at_genesis_and_never_lie_before_it() -> None:
    assert MAIN.slot_at(0) == 0
    assert MAIN.slot_at(1_000 * SECOND) == 0
    assert MAIN.slot_at(1_012 * SECOND - 1) == 0
    assert MAIN.slot_at(1_012 * SECOND) == 1
    assert MAIN.start_of(Slot(1)) == 1_012 * SECOND


@pytest.mark.parametrize(
    ("level", "factor"), [(0, (1, 1)), (1, (1, 1)), (2, (1, 1)), (3, (3, 2)), (4, (9, 4)), (9, (2187, 128))]
)
def test_timers_stretch_by_half_for_each_level_above_the_second(level: int, factor: tuple[int, int]) -> None:
    assert MAIN.stretched(SECOND, level) == SECOND * factor[0] // factor[1]


def test_backoff_is_capped_at_twenty_in_main() -> None:
    assert MAIN.most_level == 10
    assert MAIN.stretched(SECOND, 10) == 20 * SECOND
    assert MAIN.stretched(SECOND, 1_000) == 20 * SECOND


def test_backoff_of_short_slots_is_capped_where_the_first_timer_is_a_minute() -> None:
    assert QUICK.stretched(QUICK.propose_timeout, QUICK.most_level) == 60 * SECOND
    assert QUICK.stretched(QUICK.propose_timeout, QUICK.most_level - 1) < 60 * SECOND


@pytest.mark.parametrize(("height", "era"), [(1, 0), (1800, 0), (1801, 1), (3600, 1), (3601, 2)])
def test_era_ends_with_its_boundary_block(height: int, era: int) -> None:
    assert MAIN.era_of(height) == era
    assert MAIN.boundary_of(era) == (era + 1) * 1800
