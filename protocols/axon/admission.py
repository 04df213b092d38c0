"""The admission queue: which of the waiting calls of a method runs next, and which has no chance (AXON R22, C10).

One lane per served method. While a lane has a free slot, entering is a counter and nothing else. Beyond that it is
start-time fair queueing: every caller has a queue of its own, tagged with the virtual time at which its next call is
due, and each call moves its caller's tag on by one over the caller's weight. Weight is stake, plus a floor share for
everybody, and a caller that has waited `STARVING` seconds is next whatever its tag says.

Work that cannot meet its deadline is refused at once with a hint when to come again: a caller that knows now can ask
somebody else. What a full lane gives up is the newest call of the caller with the longest queue, so a flood by one
caller costs that caller.

No task, no event and no timer per call; a call that is cancelled while it waits leaves nothing behind.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from typing import Final

import trio

from ...consensus.types import AccountId
from .interfaces import ServedMethod
from .status import Status

MAX_WAITING: Final = 512
"""Calls that may wait for one method. At the shortest useful deadlines no more than this has a chance anyway."""

MAX_WAITING_OF_CALLER: Final = 128
"""Of these, of one caller."""

MAX_REMEMBERED_CALLERS: Final = 1024
"""Callers without a waiting call whose tag is remembered: more than a subnet has permit holders."""

FLOOR_SHARE: Final = 0.02
"""Part of the capacity that is shared equally by all who wait. Small enough that 10:1 in stake stays above 9:1."""

LEAST_WEIGHT: Final = 1_000_000_000
"""Rao that every caller counts for at least: below one TAO all are alike, and tags keep their precision."""

STARVING: Final = 1.0
"""Seconds without service after which a caller is next. Half of what nobody may ever wait while others are served."""

SMOOTHING: Final = 0.1
"""Weight of the newest handler time in the moving mean: about the last twenty calls count."""

UNKNOWN_WAIT: Final = 0.1
"""Seconds to come again after, while no call has ended yet."""

LONGEST_HINT: Final = 10.0
"""Seconds; a longer hint would outlive what it was computed from."""

LaneKey = tuple[int, AccountId, str]
"""Netuid, receiver hotkey, method name."""


class Refused(Exception):
    """A call that is not served, with what its caller is told."""

    def __init__(self, status: Status, text: str = "", retry_after_ms: int = 0) -> None:
        super().__init__(text or status.name.lower())
        self.status = status
        self.text = text
        self.retry_after_ms = retry_after_ms


class Ticket:
    """The right to run one call; give it back with `release`."""

    __slots__ = ("_lane", "waited")

    def __init__(self, lane: _Lane, waited: float) -> None:
        self._lane: _Lane | None = lane
        self.waited = waited
        """Seconds in the queue."""

    def release(self, handler_seconds: float | None = None) -> None:
        """The call is over; the next one starts. `handler_seconds` enters the mean that deadlines are judged by; None
        when the handler never ran. A second release does nothing."""
        lane, self._lane = self._lane, None
        if lane is not None:
            lane.leave(handler_seconds)


class AdmissionQueue:
    """See the module text. One for all that a peer serves; keys must be of served methods, not what a caller claims."""

    def __init__(self) -> None:
        self._lanes: dict[LaneKey, _Lane] = {}
        self.counters: Counter[str] = Counter()
        """Refusals: full, late (no chance at arrival), expired (deadline passed in the queue), displaced."""

    @property
    def waiting(self) -> int:
        """Calls that wait, of all methods."""
        return sum(lane.waiting for lane in self._lanes.values())

    @property
    def running(self) -> int:
        """Calls that hold a ticket."""
        return sum(lane.running for lane in self._lanes.values())

    def forget(self, key: LaneKey) -> None:
        """The method is no longer served: nobody new waits for it. Those who wait or run are served to their end."""
        self._lanes.pop(key, None)

    async def enter(
        self, *, key: LaneKey, caller: AccountId, weight: int, deadline: float, method: ServedMethod
    ) -> Ticket:
        """Wait for a slot of `method`. `weight` is stake in rao, `deadline` is on trio's clock.

        No checkpoint when a slot is free. Raises Refused (BUSY with a hint) when there is no room or no chance.
        """
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(self.counters)
        lane.slots = method.concurrency
        if not lane.waiting and lane.running < lane.slots:
            lane.running += 1
            return Ticket(lane, 0.0)
        return await lane.wait(caller, weight, deadline)


class _Waiter:
    """One waiting call."""

    __slots__ = ("deadline", "refusal", "since", "task")

    def __init__(self, task: trio.lowlevel.Task, deadline: float, since: float) -> None:
        self.task = task
        self.deadline = deadline
        self.since = since
        self.refusal: Refused | None = None


class _Caller:
    """The queue of one caller in one lane."""

    __slots__ = ("due", "idle_since", "queue", "weight")

    def __init__(self) -> None:
        self.queue: deque[_Waiter] = deque()
        self.due = 0.0
        """Virtual time of its next call."""
        self.weight = 0
        self.idle_since = 0.0
        """When it was last served, or began to wait."""


class _Lane:
    """The queues of one method."""

    __slots__ = ("_clock", "_counters", "_idle", "_last_was_starving", "_mean", "_total_weight", "_waiting_callers",
                 "running", "slots", "waiting")  # fmt: skip

    def __init__(self, counters: Counter[str]) -> None:
        self.slots = 1
        self.running = 0
        self.waiting = 0
        self._counters = counters
        self._clock = 0.0
        """Virtual time: the tag of the call that started last."""
        self._mean: float | None = None
        """Moving mean of handler seconds."""
        self._waiting_callers: OrderedDict[AccountId, _Caller] = OrderedDict()
        """Those with waiting calls, the longest without service first."""
        self._idle: OrderedDict[AccountId, _Caller] = OrderedDict()
        """Those without, whose tag lies ahead: a caller with one call at a time must not be due at once each time."""
        self._total_weight = 0
        self._last_was_starving = False

    # --- in and out ---------------------------------------------------------------------------------------------------

    async def wait(self, caller: AccountId, weight: int, deadline: float) -> Ticket:
        """Queue up. Raises Refused."""
        now = trio.current_time()
        weight = max(weight, LEAST_WEIGHT)
        self._refuse_hopeless(caller, weight, deadline - now)
        self._make_room(caller)
        waiter = _Waiter(trio.lowlevel.current_task(), deadline, now)
        self._append(caller, weight, waiter)

        def abort(_: object) -> trio.lowlevel.Abort:
            self._remove(caller, waiter)
            return trio.lowlevel.Abort.SUCCEEDED

        with trio.move_on_at(deadline):
            await trio.lowlevel.wait_task_rescheduled(abort)
            if waiter.refusal is not None:
                raise waiter.refusal
            return Ticket(self, trio.current_time() - now)
        raise self._refusal("expired", "the deadline passed in the queue")

    def leave(self, handler_seconds: float | None) -> None:
        """A call is over."""
        self.running -= 1
        if handler_seconds is not None:
            mean = self._mean
            self._mean = handler_seconds if mean is None else mean + SMOOTHING * (handler_seconds - mean)
        if not self.waiting:
            if not self.running:  # nobody to be fair to: start from zero
                self._clock = 0.0
                self._idle.clear()
            return
        now = trio.current_time()
        while self.waiting and self.running < self.slots:
            self._start_next(now)

    # --- refusals -----------------------------------------------------------------------------------------------------

    def _refusal(self, kind: str, text: str) -> Refused:
        self._counters[kind] += 1
        mean = UNKNOWN_WAIT if self._mean is None else self._mean
        seconds = min(LONGEST_HINT, (self.waiting + 1) * mean / self.slots)
        return Refused(Status.BUSY, text, max(1, round(seconds * 1000)))

    def _refuse_hopeless(self, caller: AccountId, weight: int, left: float) -> None:
        """At arrival: when the calls that go first and the own handler would take longer than what is left."""
        if self._mean is None:
            expected = 0.0
        else:
            state = self._waiting_callers.get(caller)
            own, total, count = (
                (0, self._total_weight + weight, len(self._waiting_callers) + 1)
                if state is None
                else (len(state.queue), self._total_weight, len(self._waiting_callers))
            )
            share = self._fair_weight(weight, total, count) / (total * (1 + FLOOR_SHARE))
            ahead = min(float(self.waiting), (own + 1) / share - 1)
            expected = (ahead + 1) * self._mean / self.slots + self._mean
        if left <= 0 or expected > left:
            raise self._refusal("late", f"the queue would take {expected:.3g} s, the deadline is in {left:.3g} s")

    def _make_room(self, caller: AccountId) -> None:
        state = self._waiting_callers.get(caller)
        own = 0 if state is None else len(state.queue)
        if own >= MAX_WAITING_OF_CALLER:
            raise self._refusal("full", f"{own} calls of this caller wait already")
        if self.waiting < MAX_WAITING:
            return
        longest, queue = max(
            ((hotkey, each.queue) for hotkey, each in self._waiting_callers.items()), key=lambda item: len(item[1])
        )
        if len(queue) <= own + 1:
            raise self._refusal("full", f"{self.waiting} calls wait already")
        newest = queue[-1]
        self._remove(longest, newest)
        newest.refusal = self._refusal("displaced", "the queue is full, and most of it is from this caller")
        trio.lowlevel.reschedule(newest.task)

    # --- queues -------------------------------------------------------------------------------------------------------

    @staticmethod
    def _fair_weight(weight: int, total: int, count: int) -> float:
        """Stake and floor share."""
        return weight + FLOOR_SHARE * total / count

    def _append(self, hotkey: AccountId, weight: int, waiter: _Waiter) -> None:
        state = self._waiting_callers.get(hotkey)
        if state is None:
            state = self._idle.pop(hotkey, None) or _Caller()
            state.due = max(state.due, self._clock)
            state.weight, state.idle_since = weight, waiter.since
            self._waiting_callers[hotkey] = state
            self._total_weight += weight
        state.queue.append(waiter)
        self.waiting += 1

    def _remove(self, hotkey: AccountId, waiter: _Waiter) -> None:
        state = self._waiting_callers[hotkey]
        state.queue.remove(waiter)
        self.waiting -= 1
        if not state.queue:
            self._retire(hotkey, state)

    def _retire(self, hotkey: AccountId, state: _Caller) -> None:
        """A caller has no more waiting calls."""
        del self._waiting_callers[hotkey]
        self._total_weight -= state.weight
        if state.due > self._clock:
            self._idle[hotkey] = state
            if len(self._idle) > MAX_REMEMBERED_CALLERS:
                self._idle.popitem(last=False)

    def _next_caller(self, now: float) -> tuple[AccountId, _Caller]:
        """Who is due: every second time the one that starves, else the one with the lowest tag."""
        hotkey, state = next(iter(self._waiting_callers.items()))
        if not self._last_was_starving and now - state.idle_since >= STARVING:
            self._last_was_starving = True
            return hotkey, state
        self._last_was_starving = False
        hotkey, state = min(self._waiting_callers.items(), key=lambda item: item[1].due)
        self._clock = max(self._clock, state.due)
        return hotkey, state

    def _start_next(self, now: float) -> None:
        """Give the free slot to the caller that is due; a call with no chance left is refused instead."""
        hotkey, state = self._next_caller(now)
        waiter = state.queue.popleft()
        self.waiting -= 1
        if now + (self._mean or 0.0) / 2 > waiter.deadline:
            waiter.refusal = self._refusal("expired", "too little time was left when the call was due")
        else:
            self.running += 1
            state.due += 1 / self._fair_weight(state.weight, self._total_weight, len(self._waiting_callers))
            state.idle_since = now
            self._waiting_callers.move_to_end(hotkey)
        if not state.queue:
            self._retire(hotkey, state)
        trio.lowlevel.reschedule(waiter.task)
