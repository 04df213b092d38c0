"""Streams of messages in every direction: credit, bounds, signed ends (AXON R9)."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest
import trio
from axon_world import (
    CALLER,
    GENESIS,
    NETUID,
    OPEN,
    OTHER,
    SERVER,
    RawCaller,
    World,
    account,
    memory_world,
    now_ns,
    signed_call,
)
from test_client_calls import impostor
from trio.testing import MockClock
from yumad.consensus.signature import KeyPair
from yumad.consensus.types import Hash32
from yumad.protocols.axon.certificate import issue_certificate
from yumad.protocols.axon.client_stream import ClientStream
from yumad.protocols.axon.envelope import Flag
from yumad.protocols.axon.frames import Kind, credit, frame
from yumad.protocols.axon.interfaces import CallReply, IncomingCall, ServedMethod, StreamAborted
from yumad.protocols.axon.limits import AxonLimits
from yumad.protocols.axon.receipts import decode_receipt, verify_receipt
from yumad.protocols.axon.replies import Reply, Trailer, sign_reply, sign_trailer
from yumad.protocols.axon.status import Status
from yumad.protocols.axon.streams import INITIAL_CREDIT

OUT = ServedMethod("echo", stream_out=True, policy=OPEN)
IN = ServedMethod("echo", stream_in=True, policy=OPEN)
BOTH = ServedMethod("echo", stream_in=True, stream_out=True, policy=OPEN)


async def count_down(call: IncomingCall) -> CallReply:
    for number in range(int(call.body), 0, -1):
        await call.send(str(number).encode())
    return CallReply()


async def add_up(call: IncomingCall) -> CallReply:
    total = 0
    async for message in call.messages():
        total += int(message)
    return CallReply(body=str(total).encode())


async def shout(call: IncomingCall) -> CallReply:
    async for message in call.messages():
        await call.send(message.upper())
    return CallReply()


def open_stream(world: World, body: bytes = b"", **options: object):  # type: ignore[no-untyped-def]
    options = {"timeout": 60.0, **options}
    return world.client.stream(CALLER, NETUID, account(SERVER), "echo", body, **options)


async def collect(stream: ClientStream) -> list[bytes]:
    return [message async for message in stream]


async def test_r9_server_stream_comes_in_order_and_ends_with_a_signed_trailer(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve(count_down, OUT)
        async with open_stream(world, b"3") as stream:
            assert await collect(stream) == [b"3", b"2", b"1"]
            result = await stream.result()
    assert result.ok
    trailer = decode_receipt(result.receipt).trailer
    assert trailer is not None
    assert trailer.messages == 3
    assert verify_receipt(result.receipt).is_valid


async def test_r9_client_stream_is_answered_once(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve(add_up, IN)
        async with open_stream(world, stream_in=True, stream_out=False) as stream:
            for number in range(10):
                await stream.send(str(number).encode())
            await stream.end()
            result = await stream.result()
    assert (result.status, result.body) == (Status.OK, b"45")


async def test_r9_messages_go_both_ways_at_once(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve(shout, BOTH)
        async with open_stream(world, stream_in=True) as stream:
            messages = aiter(stream)
            for word in (b"one", b"two", b""):
                await stream.send(word)
                assert await anext(messages) == word.upper()
            await stream.end()
            with pytest.raises(StopAsyncIteration):
                await anext(messages)
            assert (await stream.result()).ok


async def test_r9_empty_stream_is_a_good_one(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve(count_down, OUT)
        async with open_stream(world, b"0") as stream:
            assert await collect(stream) == []
            assert (await stream.result()).ok


async def test_r9_message_larger_than_the_credit_arrives_whole(autojump_clock: MockClock) -> None:
    body = bytes(range(256)) * 4096

    async def send(call: IncomingCall) -> CallReply:
        await call.send(body)
        await call.send(body[:-1])
        return CallReply()

    async with memory_world() as world:
        world.serve(send, OUT)
        async with open_stream(world) as stream:
            assert await collect(stream) == [body, body[:-1]]


async def test_r9_body_larger_than_its_first_part_goes_before_the_messages(autojump_clock: MockClock) -> None:
    async def check(call: IncomingCall) -> CallReply:
        messages = [message async for message in call.messages()]
        return CallReply(body=b"%d %d" % (len(call.body), len(messages)))

    async with memory_world() as world:
        world.serve(check, IN)
        async with open_stream(world, bytes(200_000), stream_in=True, stream_out=False) as stream:
            await stream.send(b"x")
            await stream.end()
            assert (await stream.result()).body == b"200000 1"


async def test_r9_sender_waits_for_credit_of_a_reader_that_does_not_read(autojump_clock: MockClock) -> None:
    sent = 0

    async def pour(call: IncomingCall) -> CallReply:
        nonlocal sent
        while True:
            await call.send(bytes(10_000))
            sent += 10_000

    async with memory_world() as world:
        world.serve(pour, OUT)
        async with open_stream(world) as stream:
            await trio.sleep(5)
            assert INITIAL_CREDIT - 20_000 < sent <= INITIAL_CREDIT
            messages = aiter(stream)
            for _ in range(20):
                await anext(messages)
            await trio.sleep(1)
            assert sent > INITIAL_CREDIT
            assert world.client_transport.connected()


async def test_r9_messages_beyond_the_credit_end_the_stream(autojump_clock: MockClock) -> None:
    async def ignore(call: IncomingCall) -> CallReply:
        await trio.sleep_forever()
        return CallReply()

    async with memory_world() as world:
        world.serve(ignore, IN)
        caller = await RawCaller.open(world)
        await caller.send(signed_call(flags=Flag.STREAM_IN))
        for _ in range(5):
            await caller.write(frame(Kind.MESSAGE, bytes(65_000)))
        await trio.sleep(1)
        assert world.outcomes() == {"MALFORMED": 1, "CANCELLED": 1}


async def test_r9_cut_stream_has_no_good_end_at_the_client(autojump_clock: MockClock) -> None:
    async def hang(call: IncomingCall) -> CallReply:
        await call.send(b"one")
        await trio.sleep_forever()
        return CallReply()

    async with memory_world() as world:
        world.serve(hang, OUT)
        async with open_stream(world) as stream:
            messages = aiter(stream)
            assert await anext(messages) == b"one"
            await world.server_transport.disconnect(world.client_transport.local_peer)
            with pytest.raises(StreamAborted) as caught:
                await anext(messages)
            assert (await stream.result()).receipt == b""
    assert caught.value.status is Status.DISCONNECTED_AFTER_SEND


async def test_r9_deadline_ends_a_stream_without_a_good_trailer(autojump_clock: MockClock) -> None:
    async def drip(call: IncomingCall) -> CallReply:
        while True:
            await call.send(b"drop")
            await trio.sleep(1)

    async with memory_world() as world:
        world.serve(drip, OUT)
        with pytest.raises(StreamAborted) as caught:
            async with open_stream(world, timeout=5.5) as stream:
                await collect(stream)
    assert caught.value.status in (Status.LOCAL_DEADLINE, Status.DEADLINE_EXCEEDED)


async def test_r7_r9_callers_stream_without_its_trailer_is_stream_aborted(
    autojump_clock: MockClock,
) -> None:
    seen: list[Status] = []

    async def listen(call: IncomingCall) -> CallReply:
        try:
            async for _ in call.messages():
                pass
        except StreamAborted as error:
            seen.append(error.status)
            raise
        return CallReply()

    async with memory_world(limits=AxonLimits(stream_idle=5)) as world:
        world.serve(listen, IN)
        async with open_stream(world, stream_in=True, stream_out=False) as stream:
            await stream.send(b"one")
            result = await stream.result()
    assert result.status is Status.STREAM_ABORTED
    assert seen == [Status.STREAM_ABORTED]


@pytest.mark.parametrize("wrong", ["signer", "count", "hash", "direction", "request"])
async def test_r9_trailer_that_does_not_vouch_for_the_messages_aborts(wrong: str, autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve(add_up, IN)
        caller = await RawCaller.open(world)
        envelope = signed_call(flags=Flag.STREAM_IN)
        await caller.send(envelope)
        await caller.write(frame(Kind.MESSAGE, b"5"))
        digest = sha256(b"\x00\x00\x00\x015" if wrong != "hash" else b"").digest()
        trailer = Trailer(
            bytes(16) if wrong == "request" else envelope.request_id,
            Status.OK,
            2 if wrong == "count" else 1,
            1,
            digest,
        )
        signer = OTHER if wrong == "signer" else CALLER
        signed = sign_trailer(trailer, envelope.genesis_hash, envelope.digest(), wrong != "direction", signer)
        await caller.write(frame(Kind.TRAILER, signed.encode()))
        assert (await caller.reply()).status is Status.STREAM_ABORTED


async def test_r9_handler_that_fails_in_a_stream_says_so_in_the_trailer(autojump_clock: MockClock) -> None:
    async def fail(call: IncomingCall) -> CallReply:
        await call.send(b"one")
        raise RuntimeError("out of memory")

    async with memory_world() as world:
        world.serve(fail, OUT)
        with pytest.raises(StreamAborted, match="out of memory") as caught:
            async with open_stream(world) as stream:
                await collect(stream)
    assert caught.value.status is Status.HANDLER_ERROR


async def test_r9_handler_that_fails_before_its_first_message_answers_plainly(autojump_clock: MockClock) -> None:
    async def refuse(call: IncomingCall) -> CallReply:
        return CallReply(Status.SCHEMA_MISMATCH, text="text is missing")

    async with memory_world() as world:
        world.serve(refuse, OUT)
        async with open_stream(world) as stream:
            result = await stream.result()
            assert result.status is Status.SCHEMA_MISMATCH
            with pytest.raises(StreamAborted, match="text is missing"):
                await collect(stream)


async def test_r9_seventeenth_open_stream_of_a_caller_is_refused_until_one_ends(autojump_clock: MockClock) -> None:
    async def hang(call: IncomingCall) -> CallReply:
        await trio.sleep_forever()
        return CallReply()

    async with memory_world() as world:
        world.serve(hang, OUT)
        async with trio.open_nursery() as nursery:

            async def hold() -> None:
                async with open_stream(world):
                    await trio.sleep_forever()

            for _ in range(16):
                nursery.start_soon(hold)
            await trio.sleep(1)
            async with open_stream(world) as stream:
                assert (await stream.result()).status is Status.RATE_LIMITED
            nursery.cancel_scope.cancel()
        await trio.sleep(1)
        assert not world.server.context.open_streams


async def test_r9_r11_message_and_stream_above_their_limits_are_not_sent(autojump_clock: MockClock) -> None:
    limits = AxonLimits(max_message=1000, max_stream_bytes=2500)

    async def send(call: IncomingCall) -> CallReply:
        for size in map(int, bytes(call.body).split()):
            await call.send(bytes(size))
        return CallReply()

    async with memory_world(limits=limits) as world:
        world.serve(send, OUT)
        for sizes, error in ((b"1001", "1001 bytes"), (b"1000 1000 501", "501 bytes")):
            async with open_stream(world, sizes) as stream:
                with pytest.raises(StreamAborted, match=error):
                    await collect(stream)
        async with open_stream(world, b"1000 1000 500") as stream:
            assert len(await collect(stream)) == 3


async def test_r11_message_above_the_readers_limit_aborts_the_stream(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve(add_up, IN)
        world.server.context.limits = AxonLimits(max_message=100)
        async with open_stream(world, stream_in=True, stream_out=False) as stream:
            await stream.send(bytes(101))
            assert (await stream.result()).status is Status.STREAM_ABORTED


async def test_r9_stream_cannot_last_longer_than_the_server_allows(autojump_clock: MockClock) -> None:
    async def drip(call: IncomingCall) -> CallReply:
        while True:
            await call.send(b"drop")
            await trio.sleep(1)

    async with memory_world(limits=AxonLimits(stream_seconds=10)) as world:
        world.serve(drip, OUT)
        began = trio.current_time()
        async with open_stream(world, timeout=600) as stream:
            with pytest.raises(StreamAborted) as caught:
                await collect(stream)
        assert trio.current_time() - began < 11
    assert caught.value.status is Status.DEADLINE_EXCEEDED


async def test_r9_leaving_the_block_cancels_the_handler(autojump_clock: MockClock) -> None:
    cancelled = trio.Event()

    async def hang(call: IncomingCall) -> CallReply:
        try:
            await call.send(b"one")
            await trio.sleep_forever()
        finally:
            cancelled.set()
        return CallReply()

    async with memory_world() as world:
        world.serve(hang, OUT)
        async with open_stream(world) as stream:
            assert await anext(aiter(stream)) == b"one"
        with trio.fail_after(0.05):
            await cancelled.wait()


async def test_r7_stream_to_nobody_is_aborted_with_no_record(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        with pytest.raises(StreamAborted) as caught:
            async with world.client.stream(CALLER, NETUID, account(OTHER), "echo", timeout=5):
                pass
    assert caught.value.status is Status.NO_RECORD


async def test_r12_plain_call_to_a_method_that_streams_is_a_schema_mismatch(
    autojump_clock: MockClock,
) -> None:
    async with memory_world() as world:
        world.serve(count_down, OUT)
        result = await world.call()
    assert result.status is Status.SCHEMA_MISMATCH
    assert result.text == "echo answers with a stream"


@pytest.mark.parametrize(("signer", "status"), [(OTHER, Status.BAD_REPLY_SIGNATURE), (SERVER, Status.STREAM_ABORTED)])
async def test_r9_client_believes_no_end_that_is_forged_or_of_other_messages(
    signer: KeyPair, status: Status, autojump_clock: MockClock
) -> None:
    def answer(reply: Reply, request: Hash32) -> bytes:
        head = sign_reply(replace(reply, flags=Flag.STREAM_OUT), GENESIS, request, SERVER)
        digest = sha256(b"\x00\x00\x00\x03two").digest()
        trailer = sign_trailer(Trailer(reply.request_id, Status.OK, 1, 3, digest), GENESIS, request, False, signer)
        return frame(Kind.REPLY, head.encode()) + frame(Kind.MESSAGE, b"one") + frame(Kind.TRAILER, trailer.encode())

    async with memory_world() as world:
        impostor(world, answer)
        async with open_stream(world) as stream:
            with pytest.raises(StreamAborted) as caught:
                await collect(stream)
            result = await stream.result()
    assert caught.value.status is status
    assert result.status is status
    assert result.receipt == b""


@pytest.mark.parametrize("kind", ["credit", "certificates"])
async def test_r9_server_cannot_keep_a_caller_busy_with_frames_that_mean_nothing(
    kind: str, autojump_clock: MockClock
) -> None:
    async with memory_world() as world:
        own = issue_certificate(SERVER, GENESIS, world.endpoint.peer, issued=now_ns())
        flood = frame(Kind.CERTIFICATE, own.encode()) * 2 if kind == "certificates" else credit(1)
        impostor(world, lambda reply, request: flood)
        async with open_stream(world, channel=kind == "certificates") as stream:
            assert (await stream.result()).status is Status.BAD_REPLY
