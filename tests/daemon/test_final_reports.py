"""Reports of finality: in order, never refused, and bounded by those who wait for room."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock
from yumad.daemon.final_reports import FinalReport, FinalReports


def report(number: int) -> FinalReport:
    return FinalReport((number,), number)  # type: ignore[arg-type]


async def test_reports_come_in_the_order_they_were_put() -> None:
    reports = FinalReports()
    for number in range(20):
        reports.put(report(number))
    assert [await reports.get() for _ in range(20)] == [report(number) for number in range(20)]


async def test_reader_waits_for_a_report(autojump_clock: MockClock) -> None:
    reports = FinalReports()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_put_later, reports)
        assert await reports.get() == report(7)
        assert trio.current_time() == pytest.approx(5)


async def _put_later(reports: FinalReports) -> None:
    await trio.sleep(5)
    reports.put(report(7))


async def test_finaliser_waits_for_room_until_the_reader_has_caught_up(autojump_clock: MockClock) -> None:
    reports = FinalReports(most_waiting=2)
    await reports.room()
    reports.put(report(1))
    await reports.room()
    reports.put(report(2))
    with trio.move_on_after(10) as waiting:
        await reports.room()
    assert waiting.cancelled_caught
    await reports.get()
    await reports.room()
    assert len(reports) == 1
