"""Handlers at work: deadlines, callers that leave, reload, sizes, replies (AXON R3, R4, R11, R24)."""

from __future__ import annotations

import pytest
import trio
from axon_world import CALLER, OPEN, SERVER, RawCaller, account, echo, memory_world, signed_call
from trio.testing import MockClock
from yumad.protocols.axon.admission import AdmissionQueue
from yumad.protocols.axon.caller_limiter import CallerLimiter
from yumad.protocols.axon.frames import Kind, frame
from yumad.protocols.axon.interfaces import Admission, CallReply, Freshness, IncomingCall, ServedMethod
from yumad.protocols.axon.limits import AxonLimits
from yumad.protocols.axon.server_call import CallRecord
from yumad.protocols.axon.status import Status
from yumad.protocols.memory_transport import LinkQuality
from yumad.protocols.transport import PeerId


class Watched:
    """A handler that never answers, and notes when it began and was cancelled."""

    def __init__(self) -> None:
        self.began: list[float] = []
        self.cancelled: list[float] = []
        self.started = trio.Event()

    async def __call__(self, call: IncomingCall) -> CallReply:
        self.began.append(trio.current_time())
        self.started.set()
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled.append(trio.current_time())


async def test_r3_handler_is_cancelled_within_50_ms_of_the_signed_deadline(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        handler = Watched()
        world.serve(handler)
        caller = await RawCaller.open(world)
        signed_at = trio.current_time()
        reply = await caller.ask(signed_call(seconds=2))
    assert reply.status is Status.DEADLINE_EXCEEDED
    assert reply.is_signed
    assert signed_at + 2 <= handler.cancelled[0] <= signed_at + 2.05


async def test_r3_methods_timeout_ends_the_handler_before_a_later_deadline(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve(Watched(), ServedMethod("echo", timeout=1.0, policy=OPEN))
        result = await world.call(timeout=30)
    assert result.status is Status.DEADLINE_EXCEEDED
    assert 1.0 <= result.latency.handler < 1.1


@pytest.mark.parametrize("ending", ["reset", "close", "connection"])
async def test_r3_caller_that_goes_away_cancels_the_handler_within_50_ms(
    ending: str, autojump_clock: MockClock
) -> None:
    async with memory_world(latency=0.01) as world:
        handler = Watched()
        world.serve(handler)
        caller = await RawCaller.open(world)
        await caller.send(signed_call(seconds=60))
        await handler.started.wait()
        left = trio.current_time()
        if ending == "connection":
            await world.client_transport.disconnect(world.endpoint.peer)
        else:
            await getattr(caller.stream, ending)()
        await trio.sleep(1)
        assert handler.cancelled[0] <= left + 0.05
        assert world.outcomes() == {"CANCELLED": 1}


async def test_r7_call_given_up_by_its_caller_is_cancelled_at_the_server(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        handler = Watched()
        world.serve(handler)
        with trio.move_on_after(1):
            await world.call(timeout=30)
        await trio.sleep(0.1)
        assert len(handler.cancelled) == 1
        assert world.outcomes() == {"CANCELLED": 1}


async def test_r3_slow_upload_is_fresh_by_its_envelope_and_served(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve()
        caller = await RawCaller.open(world)
        body = bytes(range(256)) * 16_384
        await caller.send(signed_call(body, seconds=600), body)
        assert await caller.frame() == (Kind.CREDIT, (len(body) - 65_536).to_bytes(8, "big"))
        began = trio.current_time()
        for at in range(65_536, len(body), 65_536):
            await trio.sleep(0.5)  # a link of 1 Mbit/s
            await caller.write(frame(Kind.DATA, body[at : at + 65_536]))
        assert trio.current_time() - began > 30
        assert (await caller.reply()).status is Status.OK


async def test_r6_body_that_does_not_come_gives_its_slot_back_long_before_the_signed_deadline(
    autojump_clock: MockClock,
) -> None:
    queue = AdmissionQueue()
    async with memory_world(admission=Admission(queue, CallerLimiter())) as world:
        world.serve(echo, ServedMethod("echo", policy=OPEN, concurrency=1))
        caller = await RawCaller.open(world)
        body = bytes(1_000_000)
        await caller.send(signed_call(body, seconds=3600), body)
        assert await caller.frame() == (Kind.CREDIT, (len(body) - 65_536).to_bytes(8, "big"))
        began = trio.current_time()
        reply = await caller.reply()
        assert (reply.status, reply.text) == (Status.BUSY, "the body came too slowly")
        assert 10 < trio.current_time() - began < 30
        assert queue.running == 0
        assert world.server.context.requests.held == 0
        assert (await world.call()).ok


async def test_r6_body_is_not_asked_for_before_the_call_is_admitted(autojump_clock: MockClock) -> None:
    async with memory_world(admission=Admission(AdmissionQueue(), CallerLimiter())) as world:
        handler = Watched()
        world.serve(handler, ServedMethod("echo", concurrency=1, timeout=3.0, policy=OPEN))
        first, second = await RawCaller.open(world), await RawCaller.open(world)
        await first.send(signed_call(seconds=60))
        await handler.started.wait()
        body = bytes(100_000)
        await second.send(signed_call(body, request_id=b"2" * 16, seconds=60), body)
        with trio.move_on_after(2) as waited:
            await second.frame()
        assert waited.cancelled_caught
        assert await second.frame() == (Kind.CREDIT, (100_000 - 65_536).to_bytes(8, "big"))


async def test_r7_what_a_handler_raises_is_a_handler_error_with_its_first_line_only(autojump_clock: MockClock) -> None:
    async def fails(call: IncomingCall) -> CallReply:
        raise RuntimeError("no such model\n/secret/path")

    async with memory_world() as world:
        world.serve(fails)
        result = await world.call()
    assert result.status is Status.HANDLER_ERROR
    assert result.text == "RuntimeError: no such model"


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (CallReply(Status.SCHEMA_MISMATCH, text="field text is missing"), Status.SCHEMA_MISMATCH),
        (CallReply(Status.DENIED, text="not you"), Status.DENIED),
        (CallReply(Status.BUSY, retry_after_ms=50), Status.BUSY),
        (CallReply(Status.BUSY, retry_after_ms=1 << 40), Status.BUSY),
        (CallReply(Status.BUSY, retry_after_ms=-1, text="é" * 2000), Status.BUSY),
        (None, Status.HANDLER_ERROR),
        (CallReply(Status.REPLAY), Status.HANDLER_ERROR),
        (CallReply(body=bytes(101)), Status.HANDLER_ERROR),
    ],
)
async def test_r7_handler_may_answer_some_statuses_and_no_others(
    answer: CallReply, status: Status, autojump_clock: MockClock
) -> None:
    async def handler(call: IncomingCall) -> CallReply:
        return answer  # type: ignore[return-value]

    async with memory_world() as world:
        world.serve(handler, ServedMethod("echo", max_reply=100, policy=OPEN))
        result = await world.call()
    assert result.status is status
    assert result.body == b""


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 300_000])
async def test_r11_bodies_of_every_size_come_back_whole(size: int, autojump_clock: MockClock) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    async with memory_world() as world:
        world.serve()
        for _ in range(3):
            result = await world.call(body, timeout=60)
            assert result.ok
            assert result.body == body
        assert world.client.pool.idle(world.endpoint.peer) == 1


async def test_r11_body_above_the_methods_limit_is_refused_unread(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve(echo, ServedMethod("echo", max_body=100, policy=OPEN))
        assert (await world.call(bytes(100))).ok
        assert (await world.call(bytes(101))).status is Status.TOO_LARGE


async def test_r11_body_above_the_servers_limit_is_refused_whatever_the_method_says(autojump_clock: MockClock) -> None:
    async with memory_world(limits=AxonLimits(max_body=1000)) as world:
        world.serve()
        assert (await world.call(bytes(1001))).status is Status.TOO_LARGE


async def test_handler_sees_who_called_and_until_when(autojump_clock: MockClock) -> None:
    seen: list[IncomingCall] = []

    async def handler(call: IncomingCall) -> CallReply:
        seen.append(call)
        return CallReply()

    async with memory_world() as world:
        world.serve(handler)
        await world.call(timeout=5)
    call = seen[0]
    assert (call.caller, call.receiver, call.netuid) == (account(CALLER), account(SERVER), 7)
    assert call.caller_standing.permit
    assert call.method.name == "echo"
    assert len(call.request_id) == 16
    assert 4.5 < call.deadline <= 5.0


async def test_r23_peer_far_behind_serves_only_whom_it_has_served(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve()
        world.view.age = Freshness.KNOWN_ONLY
        assert (await world.call()).status is Status.BUSY
        world.view.age = Freshness.DEGRADED
        assert (await world.call()).ok
        world.view.age = Freshness.KNOWN_ONLY
        assert (await world.call()).ok


async def test_r24_replaced_handler_finishes_its_calls_and_then_says_so(autojump_clock: MockClock) -> None:
    go = trio.Event()

    async def old(call: IncomingCall) -> CallReply:
        await go.wait()
        return CallReply(body=b"old")

    async def new(call: IncomingCall) -> CallReply:
        return CallReply(body=b"new")

    async with memory_world() as world:
        registration = world.serve(old)
        results = []

        async def one() -> None:
            results.append((await world.call()).body)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one)
            await trio.sleep(1)
            before = registration.replace((ServedMethod("echo", policy=OPEN),), new)
            assert before.running == 1
            assert (await world.call()).body == b"new"
            go.set()
            await before.drained()
            assert before.running == 0
        assert results == [b"old"]


async def test_r7_closed_registration_cancels_its_calls_and_their_callers_are_told(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        registration = world.serve(Watched())

        async def close() -> None:
            await trio.sleep(1)
            await registration.close().drained()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(close)
            result = await world.call(timeout=20)
        assert result.status is Status.CANCELLED
        assert not registration.is_open
        assert (await world.call()).status is Status.WRONG_RECEIVER


async def test_r24_ten_reloads_under_calls_lose_none(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        registration = world.serve()
        statuses = []

        async def calls() -> None:
            for _ in range(50):
                statuses.append((await world.call()).status)
                await trio.sleep(0.02)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(calls)
            for _ in range(10):
                await trio.sleep(0.1)
                registration.replace((ServedMethod("echo", policy=OPEN),), echo)
    assert statuses == [Status.OK] * 50


async def test_r34_one_peer_serves_many_hotkeys_and_subnets(autojump_clock: MockClock) -> None:
    from axon_world import OTHER

    async def second(call: IncomingCall) -> CallReply:
        return CallReply(body=b"second")

    async with memory_world() as world:
        world.serve()
        world.server.register(OTHER, 9, (ServedMethod("echo", policy=OPEN),), second)
        world.book.rows[account(OTHER)] = [world.endpoint]
        assert (await world.call(b"first")).body == b"first"
        result = await world.client.call(CALLER, 9, account(OTHER), "echo", b"", timeout=5)
        assert result.body == b"second"
        assert (await world.client.call(CALLER, 7, account(OTHER), "echo", b"", timeout=5)).status is (
            Status.WRONG_RECEIVER
        )


async def test_r12_versions_of_a_method_are_served_side_by_side(autojump_clock: MockClock) -> None:
    async def tell(call: IncomingCall) -> CallReply:
        return CallReply(body=str(call.method.version).encode())

    methods = (ServedMethod("echo", version=1, policy=OPEN), ServedMethod("echo", version=2, policy=OPEN))
    async with memory_world() as world:
        world.serve(tell, *methods)
        assert (await world.call(version=1)).body == b"1"
        assert (await world.call(version=2)).body == b"2"
        third = await world.call(version=3)
        assert third.status is Status.UNSUPPORTED_VERSION
        assert third.text == "echo version 3; served: 1, 2"


async def test_r25_observer_hears_of_every_call_with_its_times_and_sizes(autojump_clock: MockClock) -> None:
    records: list[CallRecord] = []
    async with memory_world() as world:
        world.server._observe = records.append
        world.serve()
        await world.call(b"hello")
        await world.call(method="nothing")
    assert [(record.method, record.status) for record in records] == [
        ("echo", Status.OK),
        ("", Status.UNKNOWN_METHOD),
    ]
    assert (records[0].body_bytes, records[0].reply_bytes) == (5, 5)


async def test_stream_without_calls_is_given_up_after_a_while(autojump_clock: MockClock) -> None:
    async with memory_world(limits=AxonLimits(idle_connection=10)) as world:
        world.serve()
        assert (await world.call()).ok
        await trio.sleep(11)
        assert world.server_transport.stats().streams_open == 0
        assert (await world.call()).ok


async def test_r3_deadline_in_the_middle_of_an_upload_leaves_the_stream_usable(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve()
        caller = await RawCaller.open(world)
        body = bytes(200_000)
        await caller.send(signed_call(body, seconds=2), body)
        assert (await caller.frame() or (None,))[0] is Kind.CREDIT
        await trio.sleep(3)
        parts = [body[at : at + 60_000] for at in range(65_536, 200_000, 60_000)]
        await caller.write(*(frame(Kind.DATA, part) for part in parts))
        assert (await caller.reply()).status is Status.BUSY
        assert (await caller.ask(signed_call(request_id=b"2" * 16))).status is Status.OK


async def test_r7_slow_link_does_not_change_the_outcome(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve()
        slow = LinkQuality(latency=0.4)
        world.network.set_link(PeerId("validator"), PeerId("miner"), slow)
        result = await world.call(timeout=10)
        assert result.ok
        assert result.latency.network > 0.4


async def test_r3_closed_server_cancels_what_runs_and_counts_what_runs(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        handler = Watched()
        world.serve(handler)
        caller = await RawCaller.open(world)
        await caller.send(signed_call(seconds=60))
        await handler.started.wait()
        assert world.server.running == 1
        world.server.close()
        assert (await caller.reply()).status is Status.CANCELLED
        assert world.server.running == 0
