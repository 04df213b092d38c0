"""Admission in virtual time: fair by stake, nobody starves or takes it all, hopeless work is refused, nothing leaks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, assert_no_checkpoints, wait_all_tasks_blocked
from yumad.consensus.types import AccountId
from yumad.protocols.axon import admission
from yumad.protocols.axon.admission import AdmissionQueue, Refused, Ticket
from yumad.protocols.axon.interfaces import ServedMethod
from yumad.protocols.axon.status import Status

TAO = 1_000_000_000
RECEIVER = AccountId(bytes([7]) * 32)
ONE_SLOT = ServedMethod("echo", concurrency=1)
SIXTEEN = ServedMethod("echo", concurrency=16)
KEY = (4, RECEIVER, "echo")


def caller(number: int) -> AccountId:
    return AccountId(number.to_bytes(32, "big"))


async def enter(
    queue: AdmissionQueue, who: int, weight: int = TAO, deadline: float = math.inf, method: ServedMethod = ONE_SLOT
) -> Ticket:
    return await queue.enter(key=KEY, caller=caller(who), weight=weight, deadline=deadline, method=method)


class Load:
    """Callers that keep a number of calls outstanding, as fast as they are served."""

    def __init__(self, queue: AdmissionQueue, method: ServedMethod, handler_seconds: float) -> None:
        self.queue = queue
        self.method = method
        self.handler_seconds = handler_seconds
        self.served: Counter[int] = Counter()
        self.refused: Counter[int] = Counter()
        self.longest_gap: Counter[int] = Counter()
        self._last: dict[int, float] = {}

    async def calls(self, who: int, weight: int, timeout: float) -> None:
        self._last.setdefault(who, trio.current_time())
        while True:
            try:
                ticket = await enter(self.queue, who, weight, trio.current_time() + timeout, self.method)
            except Refused as refusal:
                self.refused[who] += 1
                await trio.sleep(refusal.retry_after_ms / 1000)
                continue
            now = trio.current_time()
            self.longest_gap[who] = max(self.longest_gap[who], now - self._last[who])  # type: ignore[assignment]
            self._last[who] = now
            try:
                await trio.sleep(self.handler_seconds)
                self.served[who] += 1
            finally:
                ticket.release(self.handler_seconds)


async def run_load(
    load: Load, stakes: dict[int, int], seconds: float, outstanding: int = 24, timeout: float = 30
) -> None:
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for who, weight in stakes.items():
                for _ in range(outstanding):
                    nursery.start_soon(load.calls, who, weight, timeout)


@pytest.mark.parametrize("slots", [1, 11, 16])
async def test_r22_ten_to_one_stake_at_saturation_is_served_ten_to_one(autojump_clock: MockClock, slots: int) -> None:
    load = Load(AdmissionQueue(), ServedMethod("echo", concurrency=slots), 0.005 * slots)
    await run_load(load, {1: 1000 * TAO, 2: 100 * TAO}, 60)
    assert load.served[1] / load.served[2] == pytest.approx(10, rel=0.2)
    assert load.served.total() == pytest.approx(60 / 0.005, rel=0.01)
    assert max(load.longest_gap.values()) < 2


@pytest.mark.parametrize("slots", [2, 4])
async def test_r22_with_few_slots_the_last_one_is_for_others_and_none_stays_free_at_saturation(
    autojump_clock: MockClock, slots: int
) -> None:
    load = Load(AdmissionQueue(), ServedMethod("echo", concurrency=slots), 0.005 * slots)
    await run_load(load, {1: 1000 * TAO, 2: 100 * TAO}, 20)
    assert load.served[1] / load.served[2] == pytest.approx(slots - 1, rel=0.01)
    assert load.served.total() == pytest.approx(20 / 0.005, rel=0.01)


async def test_r22_sixty_four_callers_of_very_different_stake_all_get_their_turn_within_two_seconds(
    autojump_clock: MockClock,
) -> None:
    stakes = {who: TAO * 10 ** (who % 7) for who in range(1, 65)}
    load = Load(AdmissionQueue(), ServedMethod("echo", concurrency=4), 0.02)
    await run_load(load, stakes, 30, outstanding=6)
    assert set(load.served) == set(stakes)
    assert max(load.longest_gap.values()) < 2
    rich, poor = (sum(load.served[who] for who in stakes if who % 7 == rank) for rank in (6, 0))
    assert rich > 3 * poor


async def test_r22_a_poor_caller_of_a_slow_method_does_not_starve(autojump_clock: MockClock) -> None:
    load = Load(AdmissionQueue(), ONE_SLOT, 0.4)
    await run_load(load, {1: 10**6 * TAO, 2: 0}, 60, outstanding=5)
    assert load.longest_gap[2] < 2
    assert load.served[1] > load.served[2]


async def test_r22_a_caller_with_one_call_at_a_time_is_not_due_at_once_each_time(autojump_clock: MockClock) -> None:
    load = Load(AdmissionQueue(), ONE_SLOT, 0.02)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(load.calls, 1, 1000 * TAO, 30)
        nursery.start_soon(load.calls, 2, 100 * TAO, 30)
        await trio.sleep(30)
        nursery.cancel_scope.cancel()
    assert load.served[1] / load.served[2] == pytest.approx(10, rel=0.2)


async def test_r22_with_a_free_slot_entering_does_not_even_yield(autojump_clock: MockClock) -> None:
    queue = AdmissionQueue()
    with assert_no_checkpoints():
        ticket = await enter(queue, 1)
    assert (queue.running, queue.waiting, ticket.waited) == (1, 0, 0)
    ticket.release(0.1)
    ticket.release(0.1)
    assert queue.running == 0


async def test_r22_a_call_whose_deadline_the_queue_cannot_meet_is_refused_at_once_with_a_hint(
    autojump_clock: MockClock,
) -> None:
    queue = AdmissionQueue()
    (await enter(queue, 1)).release(2.0)  # now the queue knows how long a handler takes
    await enter(queue, 1)
    with pytest.raises(Refused, match="the queue would take") as refused:
        await enter(queue, 2, deadline=trio.current_time() + 3)
    assert refused.value.status is Status.BUSY
    assert refused.value.retry_after_ms == 2000
    assert queue.counters == {"late": 1}
    assert queue.waiting == 0
    assert list(queue._lanes[KEY]._absent) == [caller(2)]


async def test_r22_slow_handlers_of_the_past_do_not_close_an_idle_method(autojump_clock: MockClock) -> None:
    queue = AdmissionQueue()
    (await enter(queue, 1)).release(60.0)
    (await enter(queue, 1, deadline=trio.current_time() + 1)).release(0.01)


async def test_r22_a_deadline_that_passes_in_the_queue_is_a_refusal_then(autojump_clock: MockClock) -> None:
    queue = AdmissionQueue()
    ticket = await enter(queue, 1)
    with pytest.raises(Refused, match="deadline passed") as refused:
        await enter(queue, 2, deadline=trio.current_time() + 0.5)
    assert trio.current_time() == pytest.approx(0.5)
    assert refused.value.retry_after_ms == 100
    ticket.release(0.5)
    assert (queue.running, queue.waiting) == (0, 0)


async def test_r22_a_call_that_is_due_with_too_little_time_left_is_not_started(autojump_clock: MockClock) -> None:
    queue = AdmissionQueue()
    first = await enter(queue, 1)
    outcomes: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits, queue, 2, 1.2, outcomes.append)
        nursery.start_soon(waits, queue, 3, 9.0, outcomes.append)
        await trio.sleep(1)
        first.release(1.0)
    assert sorted(outcomes) == ["2 refused", "3 served"]


async def waits(queue: AdmissionQueue, who: int, timeout: float, tell: Callable[[str], None]) -> None:
    try:
        (await enter(queue, who, deadline=trio.current_time() + timeout)).release()
    except Refused:
        tell(f"{who} refused")
    else:
        tell(f"{who} served")


async def test_r22_cancelled_waiters_leave_the_slots_to_others(autojump_clock: MockClock) -> None:
    queue = AdmissionQueue()
    ticket = await enter(queue, 1)
    async with trio.open_nursery() as nursery:
        for who in range(2, 50):
            nursery.start_soon(enter, queue, who)
        await wait_all_tasks_blocked()
        assert queue.waiting == 48
        nursery.cancel_scope.cancel()
    assert queue.waiting == 0
    ticket.release(0.1)
    assert queue.running == 0
    (await enter(queue, 1)).release(0.1)


async def test_r22_a_ticket_that_was_granted_in_the_moment_of_the_cancel_is_not_lost(autojump_clock: MockClock) -> None:
    queue = AdmissionQueue()
    ticket = await enter(queue, 1)
    got: list[Ticket] = []

    async def wait() -> None:
        got.append(await enter(queue, 2))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        ticket.release(0.1)
        nursery.cancel_scope.cancel()
    assert queue.running == len(got) == 1
    got[0].release(0.1)
    assert queue.running == 0


async def test_r22_a_flood_by_one_caller_fills_only_its_own_part_of_the_queue(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "MAX_WAITING", 20)
    monkeypatch.setattr(admission, "MAX_WAITING_OF_CALLER", 15)
    queue = AdmissionQueue()
    ticket = await enter(queue, 1)
    outcomes: list[str] = []
    async with trio.open_nursery() as nursery:
        for who, calls in ((2, 30), (3, 30)):
            for _ in range(calls):
                nursery.start_soon(waits, queue, who, 60, outcomes.append)
            await wait_all_tasks_blocked()
        for who in range(4, 9):
            nursery.start_soon(waits, queue, who, 60, outcomes.append)
        await wait_all_tasks_blocked()
        assert queue.waiting == 20
        ticket.release(0.001)
    counts = Counter(outcomes)
    assert all(counts[f"{who} served"] == 1 for who in range(4, 9))
    assert counts["2 served"] + counts["3 served"] == 15
    assert abs(counts["2 served"] - counts["3 served"]) <= 1
    assert queue.counters["full"] + queue.counters["displaced"] == 45


async def test_r22_the_concurrency_of_a_reloaded_method_counts_from_the_next_call(autojump_clock: MockClock) -> None:
    queue = AdmissionQueue()
    await enter(queue, 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(enter, queue, 2)
        await wait_all_tasks_blocked()
        assert (queue.running, queue.waiting) == (1, 1)
        await enter(queue, 3, method=ServedMethod("echo", concurrency=3))
        assert (queue.running, queue.waiting) == (3, 0)


async def test_r22_a_method_that_is_gone_still_serves_those_who_wait(autojump_clock: MockClock) -> None:
    queue = AdmissionQueue()
    ticket = await enter(queue, 1)
    outcomes: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits, queue, 2, 60, outcomes.append)
        await wait_all_tasks_blocked()
        queue.forget(KEY)
        ticket.release(0.1)
    assert outcomes == ["2 served"]
    assert (queue.running, queue.waiting) == (0, 0)


# --- no caller has all slots ------------------------------------------------------------------------------------------


async def hold(queue: AdmissionQueue, who: int, tickets: list[Ticket], weight: int = TAO) -> None:
    """One call of a method with sixteen slots that does not end by itself."""
    tickets.append(await enter(queue, who, weight, method=SIXTEEN))


def start_holding(
    nursery: trio.Nursery, queue: AdmissionQueue, who: int, calls: int, weight: int = TAO
) -> list[Ticket]:
    tickets: list[Ticket] = []
    for _ in range(calls):
        nursery.start_soon(hold, queue, who, tickets, weight)
    return tickets


async def test_r22_a_caller_that_trickles_sixteen_calls_does_not_delay_anothers_call(autojump_clock: MockClock) -> None:
    queue = AdmissionQueue()
    async with trio.open_nursery() as nursery:
        trickled = start_holding(nursery, queue, 1, 16, weight=10**6 * TAO)
        await trio.sleep(100)
        assert (len(trickled), queue.waiting) == (15, 1)
        for _ in range(50):
            with assert_no_checkpoints():
                ticket = await enter(queue, 2, method=SIXTEEN)
            await trio.sleep(1)
            ticket.release(1.0)
        assert (len(trickled), queue.waiting) == (15, 1)
        nursery.cancel_scope.cancel()


async def test_r22_a_caller_alone_keeps_all_slots_but_one_in_flight(autojump_clock: MockClock) -> None:
    load = Load(AdmissionQueue(), SIXTEEN, 0.1)
    await run_load(load, {1: TAO}, 20)
    assert load.served[1] == pytest.approx(20 * 15 / 0.1, rel=0.01)
    assert not load.refused


async def test_r22_while_others_wait_a_caller_that_holds_more_than_its_share_gets_none_of_the_slots_that_end(
    autojump_clock: MockClock,
) -> None:
    queue = AdmissionQueue()
    async with trio.open_nursery() as nursery:
        first = start_holding(nursery, queue, 1, 20)
        await wait_all_tasks_blocked()
        second = start_holding(nursery, queue, 2, 20)
        await wait_all_tasks_blocked()
        assert (len(first), len(second)) == (15, 1)
        for ended in range(7):
            first[ended].release()
            await wait_all_tasks_blocked()
            assert (len(first), len(second)) == (15, 2 + ended)
        assert queue.running == 16
        first[7].release()
        await wait_all_tasks_blocked()
        assert (len(first), len(second)) == (16, 8)  # eight each; each slot that ends goes to the one that had it
        nursery.cancel_scope.cancel()


async def test_r22_the_share_of_a_caller_is_kept_for_two_seconds_and_then_free_without_any_call_ending(
    autojump_clock: MockClock,
) -> None:
    queue = AdmissionQueue()
    (await enter(queue, 2, method=SIXTEEN)).release(0.1)
    await trio.sleep(0.1)
    async with trio.open_nursery() as nursery:
        tickets = start_holding(nursery, queue, 1, 15)
        await trio.sleep(admission.KEPT - 0.2)
        assert len(tickets) == 8
        await trio.sleep(0.15)
        later = start_holding(nursery, queue, 1, 1)
        await trio.sleep(admission.LOOK_AGAIN)
        assert (len(tickets), len(later)) == (15, 0)  # its calls keep their order
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("stake", "slots"), [(0, 1), (100, 4), (1000, 12), (10**6, 15)])
async def test_r22_the_share_of_slots_goes_by_stake_and_is_one_at_least(
    autojump_clock: MockClock, stake: int, slots: int
) -> None:
    queue = AdmissionQueue()
    (await enter(queue, 2, 400 * TAO, method=SIXTEEN)).release(0.1)
    async with trio.open_nursery() as nursery:
        tickets = start_holding(nursery, queue, 1, 20, stake * TAO)
        await wait_all_tasks_blocked()
        assert len(tickets) == slots
        nursery.cancel_scope.cancel()


async def test_r22_a_call_beyond_the_callers_share_is_refused_when_its_own_calls_would_end_too_late(
    autojump_clock: MockClock,
) -> None:
    queue = AdmissionQueue()
    two = ServedMethod("echo", concurrency=2)
    (await enter(queue, 1, method=two)).release(2.0)
    ticket = await enter(queue, 1, method=two)
    with pytest.raises(Refused, match="the queue would take 4 s") as refused:
        await enter(queue, 1, deadline=trio.current_time() + 3.5, method=two)
    assert refused.value.retry_after_ms == 2000
    ticket.release(2.0)
    assert (queue.running, queue.waiting) == (0, 0)


async def test_r22_callers_that_come_once_are_forgotten(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "MAX_REMEMBERED_CALLERS", 50)
    queue = AdmissionQueue()
    for who in range(2, 500):
        (await enter(queue, who, method=SIXTEEN)).release(0.01)
    lane = queue._lanes[KEY]
    assert len(lane._holders) == len(lane._absent) == 50
    await trio.sleep(admission.KEPT)
    for _ in range(2):
        await enter(queue, 1, method=SIXTEEN)
    assert len(lane._holders) == 1
    assert lane._holders_weight == TAO


class Calls:
    """Calls that a test starts, ends and cancels one by one, and what must hold between these steps."""

    def __init__(self, slots: int) -> None:
        self.queue = AdmissionQueue()
        self.slots = slots
        self.calls = 0
        self.tickets: list[tuple[int, Ticket]] = []
        self.waiting: dict[trio.CancelScope, int] = {}

    async def call(self, who: int, timeout: float) -> None:
        method = ServedMethod("echo", concurrency=self.slots)
        self.calls += 1
        weight = 10**who * TAO + self.calls  # stake moves
        deadline = trio.current_time() + timeout
        with trio.CancelScope() as scope:
            self.waiting[scope] = who
            try:
                ticket = await enter(self.queue, who, weight, deadline, method)
                self.tickets.append((who, ticket))
            except Refused:
                pass
            finally:
                del self.waiting[scope]

    def end(self, index: int) -> None:
        if self.tickets:
            _, ticket = self.tickets.pop(index % len(self.tickets))
            ticket.release(0.3)

    def cancel(self, index: int) -> None:
        if self.waiting:
            list(self.waiting)[index % len(self.waiting)].cancel()

    def check(self) -> None:
        assert self.queue.running == len(self.tickets)
        assert self.queue.waiting == len(self.waiting)
        held = Counter(who for who, _ in self.tickets)
        assert max(held.values(), default=0) <= max(1, self.slots - 1)
        assert len(self.tickets) <= self.slots
        if len(self.tickets) < self.slots:
            assert all(held[who] for who in self.waiting.values()), "a caller without a slot waits beside a free one"
        for lane in self.queue._lanes.values():
            assert lane._holders_weight == sum(each.weight for each in lane._holders.values())
            assert {who for who, each in lane._holders.items() if not each.held and not each.queued} == set(
                lane._absent
            )
            assert sum(each.held for each in lane._holders.values()) == lane.running


STEP = st.one_of(
    st.tuples(st.just("call"), st.integers(1, 4), st.sampled_from([0.2, 1.0, 5.0, math.inf])),
    st.tuples(st.just("end"), st.integers(0, 9), st.booleans()),
    st.tuples(st.just("cancel"), st.integers(0, 9), st.booleans()),
    st.tuples(st.just("time"), st.sampled_from([0.1, 0.5, 0.7, 2.0]), st.booleans()),
)
"""What is done, with what, and whether nothing runs between it and the next step (for calls: the time they have)."""


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 4), st.lists(STEP, max_size=40))
def test_r22_slots_are_never_lost_whatever_ends_is_cancelled_or_comes_too_late(
    slots: int, steps: list[tuple[str, float, float]]
) -> None:
    clock = MockClock()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            calls = Calls(slots)
            for kind, value, extra in steps:
                if kind == "call":
                    nursery.start_soon(calls.call, int(value), extra)
                elif kind == "time":
                    clock.jump(value)
                else:
                    (calls.end if kind == "end" else calls.cancel)(int(value))
                    if extra:
                        continue
                await wait_all_tasks_blocked()
                calls.check()
            while calls.waiting or calls.tickets:
                await wait_all_tasks_blocked()
                calls.check()
                calls.end(0)
            assert (calls.queue.running, calls.queue.waiting) == (0, 0)
            clock.jump(admission.KEPT)
            for _ in range(slots + 1):
                nursery.start_soon(calls.call, 9, math.inf)
            await wait_all_tasks_blocked()
            assert calls.queue.running == max(1, slots - 1)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=clock)
