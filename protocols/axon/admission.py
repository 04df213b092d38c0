"""The admission queue: which of the waiting calls of a method runs next, and which has no chance (AXON R22, C10).

One lane per served method. While a lane has a free slot, entering is two counters and nothing else. Beyond that it is
start-time fair queueing: every caller has a queue of its own, tagged with the virtual time at which its next call is
due, and each call moves its caller's tag on by one over the caller's weight. Weight is stake, plus a floor share for
everybody, and a caller that has waited `STARVING` seconds is next whatever its tag says.

The order of starts says nothing of how long a call keeps its slot, and nothing is taken back from a call that runs. So
no caller ever has the last slot of a lane with more than one, and while others are about (they run, wait, or did so in
the last `KEPT` seconds) a new call of a caller starts only inside its fair share of the slots, rounded up. A slot that
this leaves free is there for the next caller, who gets it at once.

Work that cannot meet its deadline is refused at once with a hint when to come again: a caller that knows now can ask
somebody else. What a full lane gives up is the newest call of the caller with the longest queue, so a flood by one
caller costs that caller.

No task and no event per call; a call that is cancelled while it waits leaves nothing behind.
"""

from __future__ import annotations

import math
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
"""Callers without a call whose tag, or whose share of the slots, is kept: more than a subnet has permit holders."""

FLOOR_SHARE: Final = 0.02
"""Part of the capacity that is shared equally by all who wait. Small enough that 10:1 in stake stays above 9:1."""

LEAST_WEIGHT: Final = 1_000_000_000
"""Rao that every caller counts for at least: below one TAO all are alike, and tags keep their precision."""

STARVING: Final = 1.0
"""Seconds without service after which a caller is next. Half of what nobody may ever wait while others are served."""

KEPT: Final = 2.0
"""Seconds for which the share of a caller without calls is kept for it: who calls more often than that never finds its
share given away, and who calls less often may wait for a slot as long as R22 allows."""

LOOK_AGAIN: Final = 0.5
"""Seconds after which a waiting call looks for slots that are free because somebody's share is no longer kept."""

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

    __slots__ = ("_holder", "_lane", "waited")

    def __init__(self, lane: _Lane, holder: _Holder, waited: float) -> None:
        self._lane: _Lane | None = lane
        self._holder = holder
        self.waited = waited
        """Seconds in the queue."""

    def release(self, handler_seconds: float | None = None) -> None:
        """The call is over; the next one starts. `handler_seconds` enters the mean that deadlines are judged by; None
        when the handler never ran. A second release does nothing."""
        lane, self._lane = self._lane, None
        if lane is not None:
            lane.leave(self._holder, handler_seconds)


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

        No checkpoint when a slot is free for this caller. Raises Refused (BUSY with a hint) when there is no room or no
        chance.
        """
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(self.counters)
        if lane.slots != method.concurrency:
            lane.resize(method.concurrency)
        holder = lane.holder(caller, weight)
        # Slots that are free while calls wait are none that these calls may have.
        if lane.running < lane.slots and not holder.queued and lane.has_share_left(holder):
            lane.start(holder)
            return Ticket(lane, holder, 0.0)
        return await lane.wait(holder, deadline)


class _Holder:
    """The slots of one caller in one lane."""

    __slots__ = ("ended", "held", "hotkey", "queued", "weight")

    def __init__(self, hotkey: AccountId, weight: int) -> None:
        self.hotkey = hotkey
        self.weight = weight
        self.held = 0
        self.queued = False
        """Whether calls of it wait."""
        self.ended = 0.0
        """When it had its last call."""


class _Waiter:
    """One waiting call."""

    __slots__ = ("deadline", "is_asleep", "is_granted", "is_queued", "refusal", "since", "task")

    def __init__(self, task: trio.lowlevel.Task, deadline: float, since: float) -> None:
        self.task = task
        self.deadline = deadline
        self.since = since
        self.is_queued = False
        self.is_asleep = False
        """Nobody else wakes its task."""
        self.is_granted = False
        self.refusal: Refused | None = None

    async def sleep_until(self, wake_at: float) -> None:
        """Until it is settled, or `wake_at`. It keeps its place meanwhile, also when it is cancelled."""

        def abort(_: object) -> trio.lowlevel.Abort:
            self.is_asleep = False
            return trio.lowlevel.Abort.SUCCEEDED

        with trio.CancelScope(deadline=wake_at):
            self.is_asleep = True
            await trio.lowlevel.wait_task_rescheduled(abort)

    def wake(self) -> None:
        """It is settled: granted or refused."""
        if self.is_asleep:
            self.is_asleep = False
            trio.lowlevel.reschedule(self.task)


class _Caller:
    """The queue of one caller in one lane."""

    __slots__ = ("due", "holder", "idle_since", "queue", "weight")

    def __init__(self, holder: _Holder) -> None:
        self.holder = holder
        self.queue: deque[_Waiter] = deque()
        self.due = 0.0
        """Virtual time of its next call."""
        self.weight = 0
        self.idle_since = 0.0
        """When it was last served, or began to wait."""


class _Lane:
    """The slots and the queues of one method."""

    __slots__ = ("_absent", "_clock", "_counters", "_holders", "_holders_weight", "_idle", "_last_was_starving",
                 "_mean", "_total_weight", "_waiting_callers", "running", "slots", "waiting")  # fmt: skip

    def __init__(self, counters: Counter[str]) -> None:
        self.slots = 1
        self.running = 0
        self.waiting = 0
        self._counters = counters
        self._holders: dict[AccountId, _Holder] = {}
        """Those who are about: with calls that run or wait, and the absent."""
        self._absent: OrderedDict[AccountId, _Holder] = OrderedDict()
        """Those without calls whose share is kept, the longest absent first."""
        self._holders_weight = 0
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

    # --- slots --------------------------------------------------------------------------------------------------------

    def holder(self, hotkey: AccountId, weight: int) -> _Holder:
        """The one of this caller. It must start, wait, or be absent before anything else happens."""
        if weight < LEAST_WEIGHT:
            weight = LEAST_WEIGHT
        holder = self._holders.get(hotkey)
        if holder is None:
            holder = self._holders[hotkey] = _Holder(hotkey, weight)
            self._holders_weight += weight
        elif holder.weight != weight:
            self._holders_weight += weight - holder.weight
            holder.weight = weight
        return holder

    def has_share_left(self, holder: _Holder) -> bool:
        """Whether one more call of it may run, if a slot is free."""
        return not holder.held or holder.held < self._share(holder)

    def start(self, holder: _Holder) -> None:
        """It gets one of the free slots."""
        if not holder.held:
            self._absent.pop(holder.hotkey, None)
        holder.held += 1
        self.running += 1

    def _share(self, holder: _Holder) -> int:
        """Slots that a caller with calls may have: all but one, and not more than its part when others are about."""
        most = self.slots - 1 or 1
        if len(self._holders) == 1:
            return most
        if self._absent:
            self._forget_absent(trio.current_time() - KEPT)
        total = self._holders_weight
        part = self._fair_weight(holder.weight, total, len(self._holders)) / (total * (1 + FLOOR_SHARE))
        # Rounded up, or slots that everybody waits for would stay free; a whole number stays what it is.
        return min(most, math.ceil(self.slots * part - 1e-9) or 1)

    def _rest(self, holder: _Holder, now: float) -> None:
        """A call of it is over, or was refused: its share is kept for a while."""
        if not holder.held and not holder.queued:
            holder.ended = now
            self._absent[holder.hotkey] = holder
            if len(self._absent) > MAX_REMEMBERED_CALLERS:
                self._forget_first_absent()

    def _forget_absent(self, since: float) -> None:
        while self._absent and next(iter(self._absent.values())).ended <= since:
            self._forget_first_absent()

    def _forget_first_absent(self) -> None:
        hotkey, holder = self._absent.popitem(last=False)
        del self._holders[hotkey]
        self._holders_weight -= holder.weight

    # --- in and out ---------------------------------------------------------------------------------------------------

    def resize(self, slots: int) -> None:
        """The method was loaded anew with another concurrency."""
        self.slots = slots
        self._fill(trio.current_time())

    async def wait(self, holder: _Holder, deadline: float) -> Ticket:
        """Queue up. Raises Refused."""
        since = trio.current_time()
        self._absent.pop(holder.hotkey, None)
        try:
            self._refuse_hopeless(holder, deadline - since)
            self._make_room(holder.hotkey)
        except Refused:
            self._rest(holder, since)
            raise
        waiter = _Waiter(trio.lowlevel.current_task(), deadline, since)
        self._append(holder, waiter)
        try:
            now = since
            while waiter.is_queued:
                await waiter.sleep_until(min(deadline, now + LOOK_AGAIN))
                now = trio.current_time()
                if now >= deadline and waiter.is_queued:
                    self._remove(holder.hotkey, waiter)
                    raise self._refusal("expired", "the deadline passed in the queue")
                self._fill(now)
        except trio.Cancelled:
            if waiter.is_queued:
                self._remove(holder.hotkey, waiter)
            elif waiter.is_granted:
                self.leave(holder, None)
            raise
        if waiter.refusal is not None:
            raise waiter.refusal
        return Ticket(self, holder, now - since)

    def leave(self, holder: _Holder, handler_seconds: float | None) -> None:
        """A call is over."""
        now = trio.current_time()
        holder.held -= 1
        self.running -= 1
        if not holder.held:
            self._rest(holder, now)
        if handler_seconds is not None:
            mean = self._mean
            self._mean = handler_seconds if mean is None else mean + SMOOTHING * (handler_seconds - mean)
        if self.waiting:
            self._fill(now)
        elif not self.running:  # nobody to be fair to: start from zero
            self._clock = 0.0
            self._idle.clear()

    def _fill(self, now: float) -> None:
        """Start what may start."""
        while self.waiting and self.running < self.slots:
            due = self._next_caller(now)
            if due is None:
                return
            self._start_next(due, now)

    # --- refusals -----------------------------------------------------------------------------------------------------

    def _refusal(self, kind: str, text: str, wait: float | None = None) -> Refused:
        self._counters[kind] += 1
        if wait is None:
            wait = (self.waiting + 1) * (UNKNOWN_WAIT if self._mean is None else self._mean) / self.slots
        return Refused(Status.BUSY, text, max(1, round(min(LONGEST_HINT, wait) * 1000)))

    def _refuse_hopeless(self, holder: _Holder, left: float) -> None:
        """At arrival: when the calls that go first and the own handler would take longer than what is left."""
        wait: float | None = None
        expected = 0.0
        if self._mean is not None:
            weight = holder.weight
            state = self._waiting_callers.get(holder.hotkey)
            own, total, count = (
                (0, self._total_weight + weight, len(self._waiting_callers) + 1)
                if state is None
                else (len(state.queue), self._total_weight, len(self._waiting_callers))
            )
            share = self._fair_weight(weight, total, count) / (total * (1 + FLOOR_SHARE))
            ahead = min(float(self.waiting), (own + 1) / share - 1)
            # Own calls that must end first, when it is the caller's share that is used up.
            slots = self._share(holder)
            beyond = max(0, own + holder.held + 1 - slots)
            wait = max((ahead + 1) / self.slots, beyond / slots) * self._mean
            expected = wait + self._mean
        if left <= 0 or expected > left:
            text = f"the queue would take {expected:.3g} s, the deadline is in {left:.3g} s"
            raise self._refusal("late", text, wait)

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
        newest.wake()

    # --- queues -------------------------------------------------------------------------------------------------------

    @staticmethod
    def _fair_weight(weight: int, total: int, count: int) -> float:
        """Stake and floor share."""
        return weight + FLOOR_SHARE * total / count

    def _append(self, holder: _Holder, waiter: _Waiter) -> None:
        state = self._waiting_callers.get(holder.hotkey)
        if state is None:
            state = self._idle.pop(holder.hotkey, None) or _Caller(holder)
            state.due = max(state.due, self._clock)
            state.holder, state.weight, state.idle_since = holder, holder.weight, waiter.since
            self._waiting_callers[holder.hotkey] = state
            self._total_weight += state.weight
            holder.queued = True
        state.queue.append(waiter)
        waiter.is_queued = True
        self.waiting += 1

    def _remove(self, hotkey: AccountId, waiter: _Waiter) -> None:
        state = self._waiting_callers[hotkey]
        state.queue.remove(waiter)
        waiter.is_queued = False
        self.waiting -= 1
        if not state.queue:
            self._retire(hotkey, state)

    def _retire(self, hotkey: AccountId, state: _Caller) -> None:
        """A caller has no more waiting calls."""
        del self._waiting_callers[hotkey]
        self._total_weight -= state.weight
        state.holder.queued = False
        self._rest(state.holder, trio.current_time())
        if state.due > self._clock:
            self._idle[hotkey] = state
            if len(self._idle) > MAX_REMEMBERED_CALLERS:
                self._idle.popitem(last=False)

    def _next_caller(self, now: float) -> tuple[AccountId, _Caller] | None:
        """Who is due, of those with a share left: every second time the one that starves, else the lowest tag."""
        best: tuple[AccountId, _Caller] | None = None
        lowest = math.inf
        for item in self._waiting_callers.items():
            state = item[1]
            if state.due < lowest and self.has_share_left(state.holder):
                if best is None and not self._last_was_starving and now - state.idle_since >= STARVING:
                    self._last_was_starving = True  # the first of them is the longest without service
                    return item
                best, lowest = item, state.due
        if best is not None:
            self._last_was_starving = False
            self._clock = max(self._clock, lowest)
        return best

    def _start_next(self, due: tuple[AccountId, _Caller], now: float) -> None:
        """Give a free slot to the caller that is due; a call with no chance left is refused instead."""
        hotkey, state = due
        waiter = state.queue.popleft()
        waiter.is_queued = False
        self.waiting -= 1
        if now + (self._mean or 0.0) / 2 > waiter.deadline:
            waiter.refusal = self._refusal("expired", "too little time was left when the call was due")
        else:
            waiter.is_granted = True
            self.start(state.holder)
            state.due += 1 / self._fair_weight(state.weight, self._total_weight, len(self._waiting_callers))
            state.idle_since = now
            self._waiting_callers.move_to_end(hotkey)
        if not state.queue:
            self._retire(hotkey, state)
        waiter.wake()
