"""The engine's timers: one a name, the last setting counts."""

from __future__ import annotations

from yumad.consensus.effects import Timer, TimerKind
from yumad.consensus.types import Era, Micros, View
from yumad.daemon.timers import Timers

START = Timer(TimerKind.START, Era(0), View(1))
PROPOSE = Timer(TimerKind.PROPOSE, Era(0), View(1))


def test_timers_come_due_in_order_of_time() -> None:
    timers = Timers()
    timers.set(PROPOSE, Micros(20))
    timers.set(START, Micros(10))
    assert timers.next_at() == 10
    assert timers.pop_due(Micros(9)) is None
    assert timers.pop_due(Micros(25)) == START
    assert timers.pop_due(Micros(25)) == PROPOSE
    assert timers.pop_due(Micros(25)) is None
    assert timers.next_at() is None


def test_timers_of_one_moment_come_in_the_order_they_were_set() -> None:
    timers = Timers()
    timers.set(PROPOSE, Micros(5))
    timers.set(START, Micros(5))
    assert [timers.pop_due(Micros(5)), timers.pop_due(Micros(5))] == [PROPOSE, START]


def test_later_setting_of_a_timer_replaces_the_earlier_in_both_directions() -> None:
    timers = Timers()
    timers.set(START, Micros(10))
    timers.set(START, Micros(30))
    assert timers.pop_due(Micros(20)) is None
    timers.set(START, Micros(15))
    assert timers.next_at() == 15
    assert timers.pop_due(Micros(40)) == START
    assert timers.pop_due(Micros(40)) is None
