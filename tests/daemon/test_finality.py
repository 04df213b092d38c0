"""Finality times: from the first sight of a proposal to its own finality."""

from __future__ import annotations

from yumad.consensus.types import Hash32, Micros
from yumad.daemon.finality import FinalityTimes


def name(number: int) -> Hash32:
    return Hash32(number.to_bytes(32, "big"))


def test_time_counts_from_the_first_sight() -> None:
    times = FinalityTimes()
    times.proposed(name(1), Micros(1_000))
    times.proposed(name(1), Micros(5_000))
    times.finalised([name(1), name(2)], Micros(201_000))
    assert len(times) == 1
    assert times.percentile(50) == 200.0


def test_percentiles_without_samples_are_none_and_with_them_are_samples() -> None:
    times = FinalityTimes()
    assert times.percentile(99) is None
    for number in range(100):
        times.proposed(name(number), Micros(0))
        times.finalised([name(number)], Micros(1000 * (number + 1)))
    assert times.percentile(50) == 51.0
    assert times.percentile(99) == 100.0
    assert times.percentile(100) == 100.0


def test_proposals_that_never_become_final_are_forgotten() -> None:
    times = FinalityTimes()
    for number in range(1000):
        times.proposed(name(number), Micros(0))
    times.finalised([name(0)], Micros(5))
    assert len(times) == 0


def test_clock_that_steps_back_gives_no_negative_time() -> None:
    times = FinalityTimes()
    times.proposed(name(1), Micros(10_000))
    times.finalised([name(1)], Micros(4_000))
    assert times.percentile(50) == 0
