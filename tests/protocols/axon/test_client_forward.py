"""Calls that were signed elsewhere are sent as they are, to one endpoint unless it was never reached (AXON R8)."""

from __future__ import annotations

from hashlib import sha256

import trio
from axon_world import CALLER, GENESIS, NETUID, SERVER, World, account, echo, memory_world, now_ns, signed_call
from trio.testing import MockClock
from yumad.protocols.axon.client_forward import Forwarder
from yumad.protocols.axon.envelope import sign_envelope
from yumad.protocols.axon.interfaces import CallReply, Endpoint, IncomingCall
from yumad.protocols.axon.status import Status
from yumad.protocols.transport import PeerId, Stream

GONE = Endpoint(PeerId("gone"), ("/memory/p2p/gone",))


def forwarder(world: World, *, max_reply: int = 1 << 20) -> Forwarder:
    return Forwarder(
        world.client.pool,
        world.book,
        GENESIS,
        world.client_transport.local_peer,
        now_ns=now_ns,
        max_reply=max_reply,
    )


async def test_r8_next_endpoint_is_tried_after_a_dial_that_failed(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve()
        world.book.rows[account(SERVER)] = [GONE, world.endpoint]
        done = await forwarder(world).forward(signed_call().encode(), b"hello")
    assert (done.result.status, done.result.body) == (Status.OK, b"hello")
    assert done.result.peer == world.endpoint.peer


async def test_r8_call_that_may_have_arrived_is_not_sent_again(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        served: list[bytes] = []

        async def hang_up(stream: Stream) -> None:
            served.append(await stream.read_some(1 << 16))
            await stream.reset()

        other = world.network.transport("other")  # type: ignore[attr-defined]
        other.set_stream_handler("/yumad/00010203/axon/1", hang_up)
        calls: list[bytes] = []

        async def count(call: IncomingCall) -> CallReply:
            calls.append(call.request_id)
            return await echo(call)

        world.serve(count)
        world.book.rows[account(SERVER)] = [Endpoint(PeerId("other"), ("/memory/p2p/other",)), world.endpoint]
        async with trio.open_nursery() as nursery:
            await nursery.start(other.run)
            done = await forwarder(world).forward(signed_call().encode(), b"hello")
            nursery.cancel_scope.cancel()
    assert done.result.status is Status.DISCONNECTED_AFTER_SEND
    assert (len(served), calls) == (1, [])


async def test_streams_are_given_back_and_used_by_the_next_call(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve()
        sender = forwarder(world)
        for number in range(3):
            done = await sender.forward(signed_call(request_id=bytes([number]) * 16).encode(), b"hello")
            assert done.result.ok
        assert world.client.pool.idle(world.endpoint.peer) >= 1
        assert (await world.call()).ok


async def test_reply_above_the_bound_is_refused_before_it_is_read(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve()
        body = bytes(2000)
        signed = signed_call(body, body_length=2000, body_hash=sha256(body).digest())
        done = await forwarder(world, max_reply=1000).forward(signed.encode(), body)
    assert done.result.status is Status.BAD_REPLY
    assert "at most 1000" in done.result.text


async def test_signed_deadline_ends_the_wait(autojump_clock: MockClock) -> None:
    async with memory_world() as world:

        async def sleepy(call: IncomingCall) -> CallReply:
            await trio.sleep_forever()
            raise AssertionError

        world.serve(sleepy)
        done = await forwarder(world).forward(signed_call(seconds=2.0).encode(), b"hello")
    assert done.result.status in (Status.LOCAL_DEADLINE, Status.DEADLINE_EXCEEDED)


async def test_envelope_stays_the_callers_bit_for_bit(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        seen: list[bytes] = []

        async def note(call: IncomingCall) -> CallReply:
            seen.append(call.request_id + call.caller)
            return await echo(call)

        world.serve(note)
        signed = sign_envelope(signed_call(netuid=NETUID), CALLER)
        await forwarder(world).forward(signed.encode(), b"hello")
    assert seen == [signed.request_id + account(CALLER)]
