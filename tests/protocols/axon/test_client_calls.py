"""The client: outcomes of its own, resending, fan-out, the split of latency (AXON R7, R8, R26, R27)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from axon_world import (
    CALLER,
    GENESIS,
    NETUID,
    OPEN,
    OTHER,
    PROTOCOL,
    SERVER,
    World,
    account,
    echo,
    key,
    memory_world,
)
from trio.testing import MockClock
from yumad.protocols.axon.envelope import decode_envelope
from yumad.protocols.axon.frames import FrameReader, Kind, frame
from yumad.protocols.axon.interfaces import CallReply, Endpoint, IncomingCall, ServedMethod
from yumad.protocols.axon.limits import AxonLimits
from yumad.protocols.axon.receipts import verify_receipt
from yumad.protocols.axon.replies import Reply, sign_reply
from yumad.protocols.axon.status import Reached, Status
from yumad.protocols.memory_transport import LinkQuality
from yumad.protocols.transport import PeerId, Stream


def impostor(world: World, answer: object) -> list[bytes]:
    """Let the miner's peer answer calls by `answer(reply, request)`; the request ids it was sent."""
    seen: list[bytes] = []

    async def serve(stream: Stream) -> None:
        reader = FrameReader(stream)
        while (header := await reader.header()) is not None:
            payload = await reader.payload(header[1])
            if header[0] is not Kind.CALL:
                continue
            envelope = decode_envelope(payload, GENESIS)
            seen.append(envelope.request_id)
            data = answer(Reply(envelope.request_id, Status.OK), envelope.digest())  # type: ignore[operator]
            if data is None:
                await stream.reset()
                return
            await stream.write_all(data)

    world.server_transport.set_stream_handler(PROTOCOL, serve)
    return seen


async def test_r7_hotkey_without_a_record_is_no_record(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        result = await world.client.call(CALLER, NETUID, account(OTHER), "echo", b"", timeout=5)
    assert result.status is Status.NO_RECORD
    assert result.status.reached_handler is Reached.NO


async def test_r7_peer_that_does_not_answer_is_dial_failed(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.book.rows[account(SERVER)] = [Endpoint(PeerId("gone"), ("/memory/p2p/gone",))]
        result = await world.call()
    assert result.status is Status.DIAL_FAILED
    assert result.status.retryable
    assert result.peer == "gone"


async def test_r34_address_that_leads_to_another_peer_is_dial_failed(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve()
        world.book.rows[account(SERVER)] = [Endpoint(PeerId("elsewhere"), ("/memory/p2p/miner",))]
        result = await world.call()
    assert result.status is Status.DIAL_FAILED
    assert "leads to miner" in result.text


async def test_r26_endpoints_are_tried_in_order_until_one_takes_the_call(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve()
        world.book.rows[account(SERVER)].insert(0, Endpoint(PeerId("gone"), ("/memory/p2p/gone",)))
        result = await world.call()
    assert result.ok
    assert result.peer == "miner"


async def test_r8_stream_that_broke_while_unused_is_replaced_without_a_failed_call(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve()
        assert (await world.call()).ok
        await world.server_transport.disconnect(PeerId("validator"))
        assert world.client.pool.idle(world.endpoint.peer) == 1
        assert (await world.call()).ok


async def test_r7_peer_that_hangs_up_on_a_call_is_disconnected_after_send_and_not_asked_again(
    autojump_clock: MockClock,
) -> None:
    async with memory_world() as world:
        seen = impostor(world, lambda reply, request: None)
        result = await world.call()
    assert result.status is Status.DISCONNECTED_AFTER_SEND
    assert result.status.reached_handler is Reached.UNKNOWN
    assert len(seen) == 1


async def test_r8_idempotent_call_is_sent_again_with_a_new_id(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        seen = impostor(world, lambda reply, request: None)
        result = await world.call(idempotent=True)
    assert result.status is Status.DISCONNECTED_AFTER_SEND
    assert len(seen) == len(set(seen)) == 2


async def test_r7_upload_that_is_cut_is_disconnected_before_send_since_no_handler_saw_it(
    autojump_clock: MockClock,
) -> None:
    async with memory_world() as world:

        async def serve(stream: Stream) -> None:
            reader = FrameReader(stream)
            header = await reader.header()
            assert header is not None
            await reader.payload(header[1])
            await stream.write_all(frame(Kind.CREDIT, (2_000_000 - 65_536).to_bytes(8, "big")))
            await trio.sleep(0.2)
            await stream.reset()

        world.server_transport.set_stream_handler(PROTOCOL, serve)
        result = await world.call(bytes(2_000_000))
    assert result.status is Status.DISCONNECTED_BEFORE_SEND
    assert result.status.resendable


async def test_r7_no_reply_before_the_deadline_is_local_deadline(autojump_clock: MockClock) -> None:
    async with memory_world() as world:

        async def silent(stream: Stream) -> None:
            await trio.sleep_forever()

        world.server_transport.set_stream_handler(PROTOCOL, silent)
        began = trio.current_time()
        result = await world.call(timeout=3)
        assert trio.current_time() - began == pytest.approx(3)
    assert result.status is Status.LOCAL_DEADLINE


async def test_r7_deadline_is_kept_though_the_server_takes_none_of_an_upload(autojump_clock: MockClock) -> None:
    async with memory_world() as world:

        async def stuck(stream: Stream) -> None:
            await stream.write_all(frame(Kind.CREDIT, (4_000_000).to_bytes(8, "big")))
            await trio.sleep_forever()

        world.server_transport.set_stream_handler(PROTOCOL, stuck)
        began = trio.current_time()
        result = await world.call(bytes(2_000_000), timeout=3)
        assert trio.current_time() - began == pytest.approx(3)
        assert result.status is Status.LOCAL_DEADLINE
        assert world.client_transport.connected() == ("miner",)


async def test_r7_r26_call_that_was_sent_and_never_answered_says_when_and_to_whom(autojump_clock: MockClock) -> None:
    async with memory_world() as world:

        async def silent(stream: Stream) -> None:
            await trio.sleep_forever()

        world.server_transport.set_stream_handler(PROTOCOL, silent)
        began = trio.current_time()
        result = await world.call(timeout=3)
    assert result.status is Status.LOCAL_DEADLINE
    assert result.peer == "miner"
    assert began < result.sent_at < began + 1
    assert result.latency.dial == pytest.approx(result.sent_at - began)


async def test_r8_body_is_not_uploaded_again_on_every_kept_stream_to_a_server_that_cuts_uploads(
    autojump_clock: MockClock,
) -> None:
    asked = 0

    async def cut(stream: Stream) -> None:
        nonlocal asked
        reader = FrameReader(stream)
        while (header := await reader.header()) is not None:
            payload = await reader.payload(header[1])
            if header[0] is not Kind.CALL:
                continue
            envelope = decode_envelope(payload, GENESIS)
            if envelope.body_length > 65_536:
                asked += 1
                await stream.write_all(frame(Kind.CREDIT, (envelope.body_length - 65_536).to_bytes(8, "big")))
                await trio.sleep(0.2)
                await stream.reset()
                return
            await trio.sleep(0.1)
            reply = Reply(envelope.request_id, Status.OK)
            await stream.write_all(frame(Kind.REPLY, sign_reply(reply, GENESIS, envelope.digest(), SERVER).encode()))

    async with memory_world() as world:
        world.server_transport.set_stream_handler(PROTOCOL, cut)
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(world.call)
        assert world.client.pool.idle(world.endpoint.peer) == 10
        result = await world.call(bytes(1_000_000))
    assert result.status is Status.DISCONNECTED_BEFORE_SEND
    assert asked == 1


async def test_r11_caller_takes_no_larger_reply_than_it_asked_for(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve()
        result = await world.call(bytes(1000), max_reply=999)
        assert result.status is Status.BAD_REPLY
        assert "at most 999" in result.text
        assert (await world.call(bytes(1000), max_reply=1000)).ok
        many = await world.client.call_many(
            CALLER, NETUID, [account(SERVER)], "echo", bytes(1000), timeout=5, max_reply=999
        )
        assert many[0].status is Status.BAD_REPLY


async def test_r4_reply_signed_by_another_hotkey_is_a_bad_reply_signature(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        impostor(
            world,
            lambda reply, request: frame(Kind.REPLY, sign_reply(reply, GENESIS, request, OTHER).encode()),
        )
        assert (await world.call()).status is Status.BAD_REPLY_SIGNATURE


async def test_r4_success_without_a_signature_is_a_bad_reply_signature(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        impostor(world, lambda reply, request: frame(Kind.REPLY, reply.encode()))
        assert (await world.call()).status is Status.BAD_REPLY_SIGNATURE


@pytest.mark.parametrize("status", [Status.HANDLER_ERROR, Status.DEADLINE_EXCEEDED, Status.CANCELLED])
async def test_r4_ends_of_a_handler_need_a_signature(status: Status, autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        impostor(world, lambda reply, request: frame(Kind.REPLY, replace(reply, status=status).encode()))
        assert (await world.call()).status is Status.BAD_REPLY_SIGNATURE


async def test_r4_refusals_are_believed_without_a_signature(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        impostor(
            world,
            lambda reply, request: frame(
                Kind.REPLY, replace(reply, status=Status.BUSY, retry_after_ms=70, text="later").encode()
            ),
        )
        result = await world.call()
    assert (result.status, result.retry_after_ms, result.text) == (Status.BUSY, 70, "later")
    assert result.receipt == b""


async def test_r4_reply_to_another_request_is_a_bad_reply(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        impostor(
            world,
            lambda reply, request: frame(
                Kind.REPLY, sign_reply(replace(reply, request_id=b"x" * 16), GENESIS, request, SERVER).encode()
            ),
        )
        assert (await world.call()).status is Status.BAD_REPLY


@pytest.mark.parametrize(
    "data",
    [
        frame(Kind.REPLY, b"short"),
        frame(Kind.DATA, b"body first"),
        frame(Kind.CREDIT, bytes(8)),
        frame(Kind.MESSAGE, b"hello"),
        b"\x00\x00\x00\x00\x63",
    ],
)
async def test_r7_frames_that_are_no_reply_are_a_bad_reply(data: bytes, autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        impostor(world, lambda reply, request: data)
        assert (await world.call()).status is Status.BAD_REPLY


@pytest.mark.parametrize("body", [b"other", b"longer than was said", b""])
async def test_r4_body_that_is_not_the_signed_one_is_a_bad_reply(body: bytes, autojump_clock: MockClock) -> None:
    from hashlib import sha256

    async with memory_world() as world:
        impostor(
            world,
            lambda reply, request: (
                frame(
                    Kind.REPLY,
                    sign_reply(
                        replace(reply, body_length=5, body_hash=sha256(b"hello").digest()), GENESIS, request, SERVER
                    ).encode(),
                )
                + frame(Kind.DATA, body)
            ),
        )
        assert (await world.call()).status is Status.BAD_REPLY


async def test_r11_reply_larger_than_is_taken_is_a_bad_reply(autojump_clock: MockClock) -> None:
    async with memory_world(limits=AxonLimits(max_reply=1000)) as world:
        impostor(
            world,
            lambda reply, request: frame(
                Kind.REPLY, sign_reply(replace(reply, body_length=1001), GENESIS, request, SERVER).encode()
            ),
        )
        assert (await world.call()).status is Status.BAD_REPLY


async def test_r26_latency_is_split_into_dial_queue_network_and_handler(autojump_clock: MockClock) -> None:
    async def slow(call: IncomingCall) -> CallReply:
        await trio.sleep(1)
        return CallReply()

    async with memory_world(latency=0.1) as world:
        world.serve(slow)
        first, second = await world.call(), await world.call()
    assert first.latency.dial == pytest.approx(0.4)
    assert second.latency.dial == 0
    for latency in (first.latency, second.latency):
        assert latency.handler == pytest.approx(1.0, abs=0.001)
        assert latency.network == pytest.approx(0.2, abs=0.001)
        assert latency.total == pytest.approx(latency.dial + latency.queue + latency.network + latency.handler)


async def test_r26_call_many_keeps_the_order_and_raises_for_nobody(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve()
        world.book.rows[account(key(50))] = [Endpoint(PeerId("gone"), ("/memory/p2p/gone",))]
        targets = {account(key(50)): b"a", account(SERVER): b"b", account(OTHER): b"c"}
        results = await world.client.call_many(CALLER, NETUID, targets, "echo", timeout=5)
    assert [result.hotkey for result in results] == list(targets)
    assert [result.status for result in results] == [Status.DIAL_FAILED, Status.OK, Status.NO_RECORD]
    assert results[1].body == b"b"


async def _many_servers(world: World, count: int) -> list[bytes]:
    hotkeys = []
    for number in range(count):
        pair = key(60 + number)
        world.server.register(pair, NETUID, (ServedMethod("echo", policy=OPEN),), echo)
        world.book.rows[account(pair)] = [world.endpoint]
        hotkeys.append(account(pair))
    return hotkeys


async def test_r27_shared_body_goes_to_all_at_once_after_every_stream_is_open(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        targets = await _many_servers(world, 20)
        results = await world.client.call_many(CALLER, NETUID, targets, "echo", b"same", timeout=5)
    assert [result.body for result in results] == [b"same"] * 20
    sent = [result.sent_at for result in results]
    assert max(sent) - min(sent) < 0.01


async def test_r27_target_that_is_slow_to_dial_does_not_hold_the_others_for_long(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        targets = await _many_servers(world, 3)
        far = world.network.transport("far")
        world.network.set_link(PeerId("validator"), PeerId("far"), LinkQuality(latency=3.0))
        world.book.rows[account(OTHER)] = [Endpoint(PeerId("far"), ("/memory/p2p/far",))]
        async with trio.open_nursery() as nursery:
            await nursery.start(far.run)
            began = trio.current_time()
            results = await world.client.call_many(
                CALLER, NETUID, [*targets, account(OTHER)], "echo", b"same", timeout=4
            )
            nursery.cancel_scope.cancel()
    assert [result.status for result in results[:3]] == [Status.OK] * 3
    assert results[3].status is Status.LOCAL_DEADLINE
    assert all(result.sent_at - began <= 1.0 for result in results[:3])


async def test_r26_call_many_has_no_more_calls_open_than_its_limit(autojump_clock: MockClock) -> None:
    running = most = 0

    async def count(call: IncomingCall) -> CallReply:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(0.5)
        running -= 1
        return CallReply()

    async with memory_world() as world:
        targets = await _many_servers(world, 20)
        for registration in list(world.server.context.places.values()):
            registration.replace((ServedMethod("echo", policy=OPEN),), count)
        results = await world.client.call_many(CALLER, NETUID, targets, "echo", timeout=30, limit=4)
    assert all(result.ok for result in results)
    assert most == 4


async def test_r5_result_carries_a_receipt_that_verifies(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve()
        result = await world.call(b"question")
    report = verify_receipt(result.receipt, request_body=b"question", reply_body=b"question")
    assert report.is_valid
    assert report.receipt.envelope.caller == account(CALLER)


async def test_r17_calls_in_turn_share_one_stream_and_calls_at_once_take_more(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve()
        for _ in range(5):
            await world.call()
        assert world.client.pool.idle(world.endpoint.peer) == 1
        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(world.call)
        assert world.client.pool.idle(world.endpoint.peer) == 64
        await world.client.aclose()
        assert world.client.pool.idle(world.endpoint.peer) == 0


@pytest.mark.parametrize("wrong", [{"method": "Echo"}, {"method": ""}, {"method": "é"}, {"version": 70_000}])
async def test_r12_what_no_envelope_can_say_is_the_authors_error(
    wrong: dict[str, object], autojump_clock: MockClock
) -> None:
    async with memory_world() as world:
        world.serve()
        with pytest.raises(ValueError, match=r"expected 1 to 64|between 0 and"):
            await world.call(**wrong)
        with pytest.raises(ValueError, match="expected 1 to 64"):
            world.server.register(OTHER, NETUID, (ServedMethod("No Such Name"),), echo)
