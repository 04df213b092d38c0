"""The connection of peer and plugin: requests both ways, streams by credit, and an end for whoever breaks a bound."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked
from yumad.consensus.types import InvalidError
from yumad.protocols.axon.interfaces import StreamAborted
from yumad.protocols.axon.plugin_link import (
    FRAME_ITEMS,
    WINDOW,
    Exchange,
    LinkClosedError,
    LinkLimits,
    PluginLink,
    RemoteError,
)
from yumad.protocols.axon.plugin_wire import Frame, FrameKind, encode_frame
from yumad.protocols.axon.status import Status


async def echo(exchange: Exchange) -> Any:
    return [exchange.method, exchange.body]


@asynccontextmanager
async def pair(serve: Any = echo, **how: Any) -> AsyncIterator[tuple[PluginLink, PluginLink]]:
    """A peer's and a plugin's end."""
    ours, theirs = memory_stream_pair()
    peer = PluginLink(ours, serve, is_plugin=False, **how)
    plugin = PluginLink(theirs, serve, is_plugin=True)
    async with trio.open_nursery() as nursery:
        await nursery.start(peer.run)
        await nursery.start(plugin.run)
        yield peer, plugin
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def raw(serve: Any = echo, **how: Any) -> AsyncIterator[tuple[PluginLink, trio.abc.Stream]]:
    """A peer's end, and the bare stream of something that claims to be a plugin."""
    ours, theirs = memory_stream_pair()
    peer = PluginLink(ours, serve, is_plugin=False, **how)
    async with trio.open_nursery() as nursery:
        await nursery.start(peer.run)
        yield peer, theirs
        nursery.cancel_scope.cancel()


async def test_both_sides_ask_at_the_same_time() -> None:
    async with pair() as (peer, plugin), trio.open_nursery() as nursery:
        answers = []

        async def ask(link: PluginLink, number: int) -> None:
            answers.append(await link.request("m", number))

        for number in range(50):
            nursery.start_soon(ask, peer, number)
            nursery.start_soon(ask, plugin, number)
    assert sorted(answers) == sorted([["m", number] for number in range(50)] * 2)


async def test_refusal_has_its_code_and_a_fault_does_not_tell_its_text() -> None:
    faults = []

    async def serve(exchange: Exchange) -> None:
        raise InvalidError("not like this") if exchange.method == "refused" else RuntimeError("secret")

    async with pair(serve, on_fault=lambda method, error: faults.append(repr(error))) as (_, plugin):
        with pytest.raises(RemoteError, match="not like this") as caught:
            await plugin.request("refused")
        assert caught.value.code == "invalid"
        with pytest.raises(RemoteError, match="fault failed") as caught:
            await plugin.request("fault")
        assert caught.value.code == "internal"
    assert faults == ["RuntimeError('secret')"]


async def test_request_that_is_not_wanted_any_more_is_cancelled_on_the_other_side() -> None:
    ended = trio.Event()

    async def serve(exchange: Exchange) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async with pair(serve) as (peer, plugin):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(plugin.request, "wait")
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await ended.wait()
        await wait_all_tasks_blocked()
        assert peer.served_requests == 0


async def test_sender_waits_for_credit_until_the_reader_reads() -> None:
    read = trio.Event()

    async def serve(exchange: Exchange) -> int:
        await read.wait()
        return sum([len(message) async for message in exchange.messages()])

    async with pair(serve) as (_, plugin):
        exchange = await plugin.open("feed")
        sent = 0

        async def feed() -> None:
            nonlocal sent
            for _ in range(100):
                await exchange.send(bytes(16_384))
                sent += 1
            await exchange.end()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed)
            await wait_all_tasks_blocked()
            assert WINDOW // 16_384 - 1 <= sent <= WINDOW // 16_384
            read.set()
        assert await exchange.answer() == 100 * 16_384


async def test_message_larger_than_the_window_goes_alone() -> None:
    async def serve(exchange: Exchange) -> list[int]:
        return [len(message) async for message in exchange.messages()]

    async with pair(serve) as (_, plugin):
        exchange = await plugin.open("feed")
        for size in (10, 4 * WINDOW, 20):
            await exchange.send(bytes(size))
        await exchange.end()
        assert await exchange.answer() == [10, 4 * WINDOW, 20]


async def test_stream_that_is_cut_says_how() -> None:
    async def serve(exchange: Exchange) -> str:
        try:
            async for _ in exchange.messages():
                pass
        except StreamAborted as error:
            return f"{error.status.name} {error}"
        return "whole"

    async with pair(serve) as (_, plugin):
        exchange = await plugin.open("feed")
        await exchange.send(b"x")
        await exchange.end(Status.CANCELLED, "enough")
        assert await exchange.answer() == "CANCELLED enough"


async def test_end_of_the_link_ends_all_that_waits() -> None:
    async def serve(exchange: Exchange) -> None:
        await trio.sleep_forever()

    async with pair(serve) as (peer, plugin):
        exchange = await plugin.open("wait")
        peer.drop("the peer ends")
        with pytest.raises(LinkClosedError):
            await exchange.answer()
        with pytest.raises(StreamAborted):
            await anext(aiter(exchange.messages()))
        with pytest.raises(LinkClosedError):
            await plugin.request("more")
        with pytest.raises(LinkClosedError, match="the peer ends"):
            await peer.request("more")


def request(number: int) -> Frame:
    return Frame(number, FrameKind.REQUEST, "m")


@pytest.mark.parametrize(
    "frames",
    [
        [request(2)],
        [request(3), request(3)],
        [request(5), request(3)],
        [Frame(4, FrameKind.REPLY)],
        [Frame(7, FrameKind.MESSAGE, body=b"")],
        [request(3), Frame(3, FrameKind.REPLY)],
        [request(3), Frame(3, FrameKind.MESSAGE, body="text")],
        [request(3), Frame(3, FrameKind.CREDIT, body=-1)],
        [request(3), Frame(3, FrameKind.CREDIT, body=None)],
        [request(3), Frame(3, FrameKind.END), Frame(3, FrameKind.END)],
        [request(3), Frame(3, FrameKind.END), Frame(3, FrameKind.MESSAGE, body=b"")],
        [request(3), Frame(3, FrameKind.END, body=["OK", 1])],
        [request(3), *[Frame(3, FrameKind.MESSAGE, body=bytes(60_000))] * 6],
        [request(3), *[Frame(3, FrameKind.MESSAGE, body=b"")] * (WINDOW // 64 + 1)],
    ],
)
async def test_r24_frames_against_the_rules_end_the_link(frames: list[Frame]) -> None:
    async def serve(exchange: Exchange) -> None:
        await trio.sleep_forever()

    async with raw(serve) as (peer, stream):
        with trio.move_on_after(5):
            try:
                await stream.send_all(b"".join(encode_frame(frame) for frame in frames))
                assert await stream.receive_some(10) == b""
            except trio.BrokenResourceError:
                pass
        assert peer.is_closed
        assert "no frame of the protocol" in peer.reason


async def test_r24_late_frames_of_an_ended_request_are_ignored() -> None:
    async with raw() as (peer, stream):
        sent = [request(3), Frame(3, FrameKind.CANCEL), Frame(3, FrameKind.MESSAGE, body=b"x"), request(5)]
        await stream.send_all(b"".join(encode_frame(frame) for frame in sent))
        await wait_all_tasks_blocked()
        await stream.send_all(encode_frame(Frame(3, FrameKind.END)))
        await wait_all_tasks_blocked()
        assert not peer.is_closed


async def test_r24_side_that_does_not_read_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    from trio.testing import lockstep_stream_pair

    ours, _ = lockstep_stream_pair()
    peer = PluginLink(ours, echo, is_plugin=False, limits=LinkLimits(write_timeout=15.0))
    async with trio.open_nursery() as nursery:
        await nursery.start(peer.run)
        with pytest.raises(LinkClosedError, match="does not read"):
            await peer.request("ping")
        assert trio.current_time() >= 15.0


async def test_r24_frames_above_the_rate_are_read_later(autojump_clock: trio.testing.MockClock) -> None:
    limits = LinkLimits(items_per_second=100 * FRAME_ITEMS)
    async with raw(limits=limits) as (peer, stream):
        began = trio.current_time()
        await stream.send_all(b"".join(encode_frame(request(3 + 2 * number)) for number in range(300)))
        await trio.sleep(1.0)
        while peer._last_heard < 3 + 2 * 299:  # noqa: ASYNC110 -- a number, with no event
            await trio.sleep(0.1)
        assert 1.5 < trio.current_time() - began < 5.0
