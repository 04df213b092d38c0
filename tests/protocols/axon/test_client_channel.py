"""Channel mode: certificates instead of signatures (AXON R4)."""

from __future__ import annotations

from dataclasses import replace

import trio
from axon_world import CALLER, GENESIS, NETUID, OTHER, SERVER, RawCaller, account, memory_world, now_ns, signed_call
from trio.testing import MockClock
from yumad.protocols.axon.certificate import LIFETIME_NS, issue_certificate
from yumad.protocols.axon.envelope import NO_SIGNATURE, Flag
from yumad.protocols.axon.frames import Kind, frame
from yumad.protocols.axon.limits import AxonLimits
from yumad.protocols.axon.replies import Reply
from yumad.protocols.axon.status import Status
from yumad.protocols.transport import PeerId

CHANNEL = AxonLimits(allow_channel=True)


async def test_r4_channel_mode_is_off_unless_the_server_allows_it(autojump_clock: MockClock) -> None:
    async with memory_world() as world:
        world.serve()
        result = await world.call(channel=True)
        assert result.status is Status.BAD_SIGNATURE
        assert "signed calls" in result.text


async def test_r4_calls_in_channel_mode_are_served_and_leave_no_receipt(autojump_clock: MockClock) -> None:
    async with memory_world(limits=CHANNEL) as world:
        world.serve()
        for body in (b"one", b"two", bytes(200_000)):
            result = await world.call(body, channel=True)
            assert (result.status, result.body) == (Status.OK, body)
            assert result.receipt == b""
        assert (await world.call()).receipt


async def test_r4_certificate_is_sent_anew_before_it_expires(autojump_clock: MockClock) -> None:
    async with memory_world(limits=replace(CHANNEL, idle_connection=1e6)) as world:
        world.serve()
        assert (await world.call(channel=True)).ok
        await trio.sleep(LIFETIME_NS / 1e9 + 1)
        assert (await world.call(channel=True)).ok


async def test_r4_channel_call_without_a_certificate_is_a_bad_signature(autojump_clock: MockClock) -> None:
    async with memory_world(limits=CHANNEL) as world:
        world.serve()
        caller = await RawCaller.open(world)
        envelope = replace(signed_call(flags=Flag.CHANNEL), signature=NO_SIGNATURE)
        assert (await caller.ask(envelope)).status is Status.BAD_SIGNATURE


async def test_r4_certificate_for_another_peer_or_by_another_hotkey_is_worthless(
    autojump_clock: MockClock,
) -> None:
    async with memory_world(limits=CHANNEL) as world:
        world.serve()
        envelope = replace(signed_call(flags=Flag.CHANNEL), signature=NO_SIGNATURE)
        other_peer = issue_certificate(CALLER, GENESIS, PeerId("somebody"), issued=now_ns())
        caller = await RawCaller.open(world)
        await caller.write(frame(Kind.CERTIFICATE, other_peer.encode()))
        assert (await caller.reply()).status is Status.MALFORMED
        other_key = issue_certificate(OTHER, GENESIS, PeerId("validator"), issued=now_ns())
        caller = await RawCaller.open(world)
        await caller.write(frame(Kind.CERTIFICATE, other_key.encode()))
        assert (await caller.ask(envelope)).status is Status.BAD_SIGNATURE


async def test_r4_unsigned_success_in_channel_mode_needs_the_receivers_certificate(
    autojump_clock: MockClock,
) -> None:
    from test_client_calls import impostor

    async with memory_world() as world:
        impostor(world, lambda reply, request: frame(Kind.REPLY, reply.encode()))
        assert (await world.call(channel=True)).status is Status.BAD_REPLY_SIGNATURE
        mine = issue_certificate(SERVER, GENESIS, PeerId("elsewhere"), issued=now_ns())

        def with_wrong_certificate(reply: Reply, request: bytes) -> bytes:
            return frame(Kind.CERTIFICATE, mine.encode()) + frame(Kind.REPLY, reply.encode())

        impostor(world, with_wrong_certificate)
        assert (await world.call(channel=True)).status is Status.BAD_REPLY


async def test_r4_r9_streams_work_in_channel_mode(autojump_clock: MockClock) -> None:
    from test_server_streams import BOTH, shout

    async with memory_world(limits=CHANNEL) as world:
        world.serve(shout, BOTH)
        async with world.client.stream(
            CALLER, NETUID, account(SERVER), "echo", timeout=5, stream_in=True, channel=True
        ) as stream:
            await stream.send(b"hello")
            await stream.end()
            assert [message async for message in stream] == [b"HELLO"]
            assert (await stream.result()).ok
