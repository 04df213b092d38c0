"""ConnectionFeed: coalescing per peer without losing how things ended."""

from __future__ import annotations

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from yumad.protocols.connection_feed import ConnectionFeed
from yumad.protocols.transport import PeerConnected, PeerDisconnected, PeerId

A, B = PeerId("A"), PeerId("B")


def _up(peer: PeerId) -> PeerConnected:
    return PeerConnected(peer, outbound=True, address="/memory")


async def _drain(feed: ConnectionFeed) -> list[PeerConnected | PeerDisconnected]:
    events: list[PeerConnected | PeerDisconnected] = []
    with trio.move_on_after(0.05):
        while True:
            events.append(await feed.next())
    return events


async def test_feed_peer_comes_and_stays_is_told_once(autojump_clock) -> None:
    feed = ConnectionFeed()
    feed.connected(_up(A))
    assert await _drain(feed) == [_up(A)]


async def test_feed_peer_comes_and_goes_unread_tells_nothing(autojump_clock) -> None:
    feed = ConnectionFeed()
    feed.connected(_up(A))
    feed.disconnected(A)
    assert await _drain(feed) == []


async def test_feed_known_peer_bounces_unread_tells_both(autojump_clock) -> None:
    feed = ConnectionFeed()
    feed.connected(_up(A))
    await feed.next()
    for _ in range(1000):
        feed.disconnected(A)
        feed.connected(_up(A))
    assert await _drain(feed) == [PeerDisconnected(A), _up(A)]


async def test_feed_reader_waiting_is_woken_by_event(autojump_clock) -> None:
    feed = ConnectionFeed()
    async with trio.open_nursery() as nursery:

        async def connect_later() -> None:
            await trio.sleep(1)
            feed.connected(_up(B))

        nursery.start_soon(connect_later)
        assert await feed.next() == _up(B)


@given(st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from(["up", "down", "read"])), max_size=60))
def test_feed_any_history_ends_in_the_true_state(steps: list[tuple[str, str]]) -> None:
    async def run() -> None:
        feed, true_state, told = ConnectionFeed(), set(), set()

        async def read() -> None:
            for event in await _drain(feed):
                if isinstance(event, PeerConnected):
                    assert event.peer not in told
                    told.add(event.peer)
                else:
                    told.remove(event.peer)

        for name, step in steps:
            peer = PeerId(name)
            if step == "up" and peer not in true_state:
                true_state.add(peer)
                feed.connected(_up(peer))
            elif step == "down" and peer in true_state:
                true_state.remove(peer)
                feed.disconnected(peer)
            elif step == "read":
                await read()
        await read()
        assert told == true_state

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
