"""Every refusal of a server, in the order of AXON R6, and what each one costs."""

from __future__ import annotations

import pytest
import trio
from axon_world import (
    CALLER,
    OPEN,
    OTHER,
    RawCaller,
    account,
    memory_world,
    now_ns,
    signed_call,
)
from trio.testing import MockClock
from yumad.protocols.axon import checks
from yumad.protocols.axon.admission import AdmissionQueue
from yumad.protocols.axon.caller_limiter import CallerLimiter
from yumad.protocols.axon.envelope import Flag
from yumad.protocols.axon.frames import HEADER, Kind, frame
from yumad.protocols.axon.interfaces import Admission, CallReply, IncomingCall, ServedMethod, Standing
from yumad.protocols.axon.limits import AxonLimits
from yumad.protocols.axon.policy import Policy, Quota
from yumad.protocols.axon.status import Reached, Status
from yumad.protocols.limits import Quota as PeerQuota
from yumad.protocols.peer_ledger import Offence
from yumad.protocols.transport import StreamClosed


async def _never(call: IncomingCall) -> CallReply:
    raise AssertionError("the handler must not run")


async def test_r7_good_call_is_ok_and_signed_by_the_receiver(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve()
        result = await world.call(b"hello")
    assert (result.status, result.body) == (Status.OK, b"hello")
    assert result.receipt
    assert result.status.reached_handler is Reached.YES


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"created": -11}, Status.STALE),
        ({"created": 3}, Status.STALE),
        ({"receiver": account(OTHER)}, Status.WRONG_RECEIVER),
        ({"netuid": 8}, Status.WRONG_RECEIVER),
        ({"method": "nothing"}, Status.UNKNOWN_METHOD),
        ({"method_version": 9}, Status.UNSUPPORTED_VERSION),
        ({"body_length": 17 << 20}, Status.TOO_LARGE),
        ({"flags": Flag.STREAM_IN}, Status.SCHEMA_MISMATCH),
        ({"flags": Flag.CHANNEL}, Status.BAD_SIGNATURE),
        ({"caller": account(OTHER)}, Status.BAD_SIGNATURE),
    ],
)
async def test_r7_signed_but_unacceptable_call_gets_its_status(
    changes: dict[str, object], status: Status, autojump_clock: MockClock
) -> None:
    async with memory_world() as world:
        world.serve(_never)
        caller = await RawCaller.open(world)
        if "created" in changes:
            created = now_ns() + int(str(changes["created"])) * 10**9
            changes = {"created": created, "deadline": created + 60 * 10**9}
        reply = await caller.ask(signed_call(**changes), b"")  # type: ignore[arg-type]
    assert reply.status is status
    assert reply.status.reached_handler is Reached.NO


async def test_r1_other_network_is_another_receiver(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve(_never)
        caller = await RawCaller.open(world)
        data = bytearray(signed_call().encode())
        data[1] ^= 1
        assert (await caller.ask(bytes(data))).status is Status.WRONG_RECEIVER


async def test_r7_other_version_of_the_envelope_is_unsupported(
    autojump_clock: MockClock,
) -> None:
    async with memory_world() as world:
        world.serve(_never)
        caller = await RawCaller.open(world)
        reply = await caller.ask(b"\x02" + signed_call().encode()[1:])
    assert reply.status is Status.UNSUPPORTED_VERSION
    assert "knows 1" in reply.text


async def test_r7_envelope_that_does_not_decode_is_malformed_and_ends_the_stream(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve(_never)
        caller = await RawCaller.open(world)
        assert (await caller.ask(signed_call().encode() + b"x")).status is Status.MALFORMED
        assert await caller.frame() is None


async def test_r7_deadline_that_has_passed_on_arrival_is_stale(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve(_never)
        caller = await RawCaller.open(world)
        assert (await caller.ask(signed_call(seconds=0.001))).status is Status.STALE


async def test_r7_request_id_used_twice_is_a_replay_also_on_another_stream(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve()
        caller, again = await RawCaller.open(world), await RawCaller.open(world)
        envelope = signed_call()
        assert (await caller.ask(envelope)).status is Status.OK
        assert (await caller.ask(envelope)).status is Status.REPLAY
        assert (await again.ask(envelope)).status is Status.REPLAY


async def test_r7_caller_without_registration_permit_or_stake_is_told_so(
    autojump_clock: MockClock,
) -> None:
    async with memory_world() as world:
        world.serve(_never, ServedMethod("echo", policy=Policy(min_stake=2_500_000_000)))
        for standing, status in (
            (Standing(None, False, 0), Status.NOT_REGISTERED),
            (Standing(3, False, 10**12), Status.NO_PERMIT),
            (Standing(3, True, 10**9), Status.LOW_STAKE),
        ):
            world.view.default = standing
            result = await world.call()
            assert result.status is status
        assert "1.5" in result.text


async def test_r7_caller_on_the_deny_list_is_denied(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve(_never, ServedMethod("echo", policy=Policy(deny=frozenset({account(CALLER)}))))
        assert (await world.call()).status is Status.DENIED


async def test_r7_body_that_is_not_what_was_signed_never_reaches_the_handler(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve(_never)
        caller = await RawCaller.open(world)
        assert (await caller.ask(signed_call(b"hello"), b"jello")).status is Status.BAD_SIGNATURE
        large = bytes(200_000)
        await caller.send(signed_call(large, request_id=b"1" * 16), large)
        assert await caller.frame() == (Kind.CREDIT, (200_000 - 65_536).to_bytes(8, "big"))
        rest = bytes(65_536) + bytes(65_535) + b"\x01"
        await caller.write(*(frame(Kind.DATA, part) for part in (rest[:65_536], rest[65_536:131_072])))
        await caller.write(frame(Kind.DATA, bytes(200_000 - 65_536 * 3)))
        assert (await caller.reply()).status is Status.BAD_SIGNATURE


async def test_r7_caller_over_its_quota_is_told_when_to_come_again(autojump_clock: MockClock) -> None:
    admission = Admission(AdmissionQueue(), CallerLimiter())
    async with memory_world(admission=admission) as world:
        world.serve(_ok, ServedMethod("echo", policy=Policy(quota=Quota(rate=1.0, burst=2))))
        results = [await world.call() for _ in range(3)]
        assert [result.status for result in results] == [Status.OK, Status.OK, Status.RATE_LIMITED]
        assert results[2].status.retryable
        await trio.sleep(results[2].retry_after_ms / 1000)
        assert (await world.call()).ok


async def _ok(call: IncomingCall) -> CallReply:
    return CallReply()


async def _slow(call: IncomingCall) -> CallReply:
    await trio.sleep(2)
    return CallReply()


async def test_r7_queue_without_a_chance_is_busy_with_a_hint(autojump_clock: MockClock) -> None:
    async with memory_world(admission=Admission(AdmissionQueue(), CallerLimiter())) as world:
        world.serve(_slow, ServedMethod("echo", concurrency=1, policy=OPEN))
        assert (await world.call()).ok
        results = []

        async def one() -> None:
            results.append(await world.call(timeout=5))

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(one)
        busy = [result for result in results if result.status is Status.BUSY]
        assert len(busy) == 2
        assert all(result.retry_after_ms > 0 for result in busy)


async def test_r6_unknown_key_is_refused_without_a_signature_check(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    checked: list[int] = []

    def verify(*_: object) -> bool:
        checked.append(1)
        return True

    monkeypatch.setattr(checks, "verify", verify)
    async with memory_world() as world:
        world.serve()
        world.view.default = Standing(None, False, 0)
        assert (await world.call()).status is Status.NOT_REGISTERED
        assert not checked
        world.view.default = Standing(1, True, 0)
        assert (await world.call()).ok
        assert checked


async def test_r6_refusals_before_the_signature_are_unsigned_and_later_ones_signed(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve()
        caller = await RawCaller.open(world)
        assert not (await caller.ask(signed_call(receiver=account(OTHER)))).is_signed
        assert not (await caller.ask(signed_call(caller=account(OTHER)))).is_signed
        assert (await caller.ask(signed_call(method="nothing"))).is_signed
        assert (await caller.ask(signed_call(request_id=b"2" * 16))).is_signed


async def test_r6_names_of_methods_are_told_to_nobody_without_a_permit(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve()
        world.view.default = Standing(1, False, 0)
        caller = await RawCaller.open(world)
        assert (await caller.ask(signed_call(method="nothing"))).status is Status.NO_PERMIT


async def test_r6_stream_carries_the_next_call_after_a_refusal_with_a_body(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve()
        caller = await RawCaller.open(world)
        body = bytes(100_000)
        assert (await caller.ask(signed_call(body, receiver=account(OTHER)), body)).status is Status.WRONG_RECEIVER
        assert (await caller.ask(signed_call())).status is Status.OK


@pytest.mark.parametrize(
    "data",
    [
        HEADER.pack(0, 99),
        HEADER.pack(70_000, Kind.DATA),
        HEADER.pack(9_000, Kind.CALL),
        frame(Kind.DATA, b"nobody asked"),
        frame(Kind.REPLY, b""),
        frame(Kind.CERTIFICATE, b"x"),
        frame(Kind.DATA, b""),
        frame(Kind.CREDIT, bytes(8)),
        frame(Kind.MESSAGE, b"no call"),
        frame(Kind.TRAILER, b""),
    ],
)
async def test_r6_frame_that_makes_no_sense_ends_the_stream(data: bytes, autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve()
        caller = await RawCaller.open(world)
        await caller.write(data)
        assert (await caller.reply()).status is Status.MALFORMED
        assert await caller.frame() is None
        assert (await world.call()).ok


async def test_r6_call_inside_a_call_ends_the_stream(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve(_slow)
        caller = await RawCaller.open(world)
        await caller.send(signed_call())
        await caller.send(signed_call(request_id=b"2" * 16))
        with pytest.raises(StreamClosed):
            await caller.reply()


async def test_r6_body_beyond_what_was_announced_ends_the_stream(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve(_slow)
        caller = await RawCaller.open(world)
        await caller.send(signed_call(b"hello"), b"hello!")
        with pytest.raises(StreamClosed):
            await caller.reply()


async def test_r6_peer_of_bad_signatures_is_muted_before_crypto_and_charged(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    checked: list[int] = []

    def verify(*_: object) -> bool:
        checked.append(1)
        return False

    monkeypatch.setattr(checks, "verify", verify)
    async with memory_world() as world:
        world.serve()
        caller = await RawCaller.open(world)
        replies = [await caller.ask(signed_call(request_id=bytes([n]) * 16)) for n in range(12)]
    statuses = [reply.status for reply in replies]
    assert statuses[:9] == [Status.BAD_SIGNATURE] * 9
    assert statuses[9] is Status.RATE_LIMITED
    assert replies[9].retry_after_ms > 0
    assert len(checked) < 12
    offences = [offence for _, offence in world.offences.seen]
    assert offences[0] is Offence.MALFORMED
    assert Offence.FLOOD in offences


async def test_r6_muted_peer_is_heard_again_after_a_while(autojump_clock: MockClock) -> None:
    async with memory_world(limits=AxonLimits(bad_inputs=PeerQuota(1, 1), mute_seconds=3.0)) as world:
        world.serve()
        caller = await RawCaller.open(world)
        for n in range(2):
            await caller.ask(signed_call(caller=account(OTHER), request_id=bytes([n]) * 16))
        assert (await world.call()).status is Status.RATE_LIMITED
        await trio.sleep(3.1)
        assert (await world.call()).ok


async def test_r6_peer_over_its_rate_is_put_off_and_its_stream_read_slowly(autojump_clock: MockClock) -> None:
    async with memory_world(limits=AxonLimits(peer_calls=PeerQuota(2, 10))) as world:
        world.serve()
        results = [await world.call() for _ in range(3)]
        assert [result.status for result in results] == [Status.OK, Status.OK, Status.RATE_LIMITED]
        began = trio.current_time()
        await world.call()
        assert trio.current_time() - began > 0.9


async def test_r12_unknown_flags_are_malformed_and_extensions_ignored(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve()
        caller = await RawCaller.open(world)
        assert (await caller.ask(signed_call(extension=b"something newer"))).status is Status.OK
        assert (await caller.ask(signed_call(flags=64))).status is Status.MALFORMED


async def test_r2_server_without_a_memory_refuses_calls_made_before_its_start(
    autojump_clock: MockClock,
) -> None:
    async with memory_world() as world:
        world.server.context.not_before_ns = world.replay.not_before
        world.serve()
        early = await world.call()
        assert early.status is Status.BUSY
        await trio.sleep(early.retry_after_ms / 1000 + 0.01)
        assert (await world.call()).ok


async def test_r24_registering_twice_is_an_error_that_says_what_to_do(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve()
        with pytest.raises(ValueError, match="replace"):
            world.serve()


def test_r7_every_status_says_whether_it_is_retryable_and_whether_it_reached_the_handler() -> None:
    for status in Status:
        assert isinstance(status.retryable, bool)
        assert isinstance(status.reached_handler, Reached)
        assert status.travels == (status < 40)
