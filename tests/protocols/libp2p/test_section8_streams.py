"""LIBP2P section 8, items 3, 5 and 8: cut writes, windows, stream caps, slots, frozen peers."""

from __future__ import annotations

import socket as stdlib_socket
from typing import Any

import pytest
import trio
from adversary.attacks import attack_many_streams, attack_unread_streams, attack_window_overrun
from adversary.hosts import echo, eventually, make_transport, probe, running, stock_host
from adversary.raw_peer import raw_peer
from adversary.wire import SYN, WINDOW_UPDATE
from libp2p import new_host
from libp2p.peer.peerinfo import info_from_p2p_addr
from multiaddr import Multiaddr
from yumad.protocols.libp2p import yamux
from yumad.protocols.libp2p.host import Libp2pTransport
from yumad.protocols.transport import PeerId, Stream, StreamClosed, StreamRefused


async def _unread(stream: Any) -> None:
    await trio.sleep_forever()


async def _stock_echo(stream: Any) -> None:
    while data := await stream.read(65_536):
        await stream.write(data)


# --- item 3: a cancelled write ----------------------------------------------------------------------------------------


SMALL_SEND_BUFFER = 4096
"""Bytes that the kernel takes at once: the writer is in the middle of an encrypted message when it is cancelled."""


async def _stock_sink(stream: Any) -> None:
    while await stream.read(65_536):
        pass


async def test_cancelled_write_breaks_the_connection_of_a_stock_host() -> None:
    handlers = {"/sink": _stock_sink, "/echo": _stock_echo}
    async with stock_host(handlers=handlers, gossip=False) as victim:
        dialer = new_host()
        broken = False
        async with dialer.run([Multiaddr("/ip4/127.0.0.1/tcp/0")]):
            info = info_from_p2p_addr(Multiaddr(victim.address))
            await dialer.connect(info)
            session = dialer.get_network().get_connections(info.peer_id)[0].muxed_conn.secured_conn
            socket = session.conn.read_writer.read_write_closer.stream.stream.socket
            socket.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_SNDBUF, SMALL_SEND_BUFFER)
            for _ in range(8):
                try:
                    with trio.fail_after(1):
                        stream = await dialer.new_stream(info.peer_id, ["/sink"])
                        with trio.move_on_after(0.03):
                            await stream.write(bytes(8_000_000))
                        follow_up = await dialer.new_stream(info.peer_id, ["/echo"])
                        await follow_up.write(b"ping")
                        assert await follow_up.read(4) == b"ping"
                except Exception:
                    broken = True
                    break
        assert broken


async def test_cancelled_write_of_ours_leaves_the_connection_usable() -> None:
    async def sink(stream: Stream) -> None:
        while await stream.read_some(65_536):
            pass

    victim, dialer = make_transport(1), make_transport(2)
    victim.set_stream_handler("/sink", sink)
    victim.set_stream_handler("/echo", echo)
    async with running(victim, dialer):
        await dialer.dial(victim.addresses()[0])
        (connection,) = dialer._node.swarm.get_connections()
        socket = connection.muxed_conn.channel._stream.socket
        socket.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_SNDBUF, SMALL_SEND_BUFFER)
        for _ in range(8):
            stream = await dialer.open_stream(victim.local_peer, "/sink", timeout=5)
            with trio.move_on_after(0.03):
                await stream.write_all(bytes(700_000))
            await stream.reset()
            # The same for a write that does get cancelled in the middle of its bytes.
            stream = await dialer.open_stream(victim.local_peer, "/sink", timeout=5)
            with trio.move_on_after(0.01):
                await stream.write(bytes(8_000_000))
            await stream.reset()
            await probe(dialer, victim)
        assert dialer.connected() == (victim.local_peer,)
        assert dialer.stats().connections == 1


async def test_write_that_nobody_reads_ends_at_its_deadline_with_the_connection(monkeypatch) -> None:
    monkeypatch.setattr("yumad.protocols.libp2p.stream.WRITE_DEADLINE", 0.3)
    victim, dialer = make_transport(1), make_transport(2)
    victim.set_stream_handler("/unread", _unread)
    async with running(victim, dialer):
        await dialer.dial(victim.addresses()[0])
        stream = await dialer.open_stream(victim.local_peer, "/unread", timeout=5)
        with pytest.raises(StreamClosed, match="were not taken"):
            await stream.write_all(bytes(1_000_000))
        await eventually(lambda: dialer.connected() == ())


# --- item 5: windows and stream caps ----------------------------------------------------------------------------------


def _buffered(victim: Any) -> int:
    connections = victim.host.get_network().get_connections()
    return sum(len(buffer) for c in connections for buffer in c.muxed_conn.stream_buffers.values())


async def test_window_overrun_fills_the_memory_of_a_stock_host() -> None:
    async with stock_host(handlers={"/unread/1": _unread}, gossip=False) as victim, raw_peer(victim.address) as peer:
        stream = await peer.open_stream(b"/unread/1")
        for _ in range(160):
            await peer.data(stream, bytes(65_536))
        await eventually(lambda: _buffered(victim) > 8 << 20)
        assert not peer.gone


async def test_window_overrun_of_ours_ends_the_connection_and_is_reported() -> None:
    reported: list[str] = []
    victim, honest = make_transport(1, on_misbehaviour=lambda peer, what: reported.append(what)), make_transport(2)
    victim.set_stream_handler("/unread/1", _unread)
    victim.set_stream_handler("/echo", echo)
    async with running(victim, honest):
        await honest.dial(victim.addresses()[0])
        report = await attack_window_overrun(victim.addresses()[0])
        assert report.dropped
        assert report.actions < 20
        await probe(honest, victim)
        assert reported == ["window overrun"]


async def test_many_full_windows_of_one_connection_end_it() -> None:
    victim = make_transport(1)
    victim.set_stream_handler("/unread/1", _unread)
    async with running(victim):
        report = await attack_unread_streams(victim.addresses()[0])
        assert report.dropped
        assert victim.stats().dropped["too much unread data"] == 1


async def test_stream_flood_is_held_open_by_stock_and_ended_by_ours() -> None:
    async with stock_host(gossip=False) as victim, raw_peer(victim.address) as peer:
        for _ in range(600):
            await peer.send(WINDOW_UPDATE, SYN, peer.new_id(), 0)
        network = victim.host.get_network()
        await eventually(lambda: sum(len(c.muxed_conn.streams) for c in network.get_connections()) >= 600)

    ours = make_transport(1)
    ours.set_stream_handler("/echo", echo)
    honest = make_transport(2)
    async with running(ours, honest):
        await honest.dial(ours.addresses()[0])
        report = await attack_many_streams(ours.addresses()[0])
        assert report.dropped
        assert ours.stats().dropped["stream flood"] == 1
        await eventually(lambda: ours.stats().streams_open < 10)
        await probe(honest, ours)


async def test_stream_past_the_outbound_cap_blocks_stock_and_is_refused_by_ours() -> None:
    async with stock_host(handlers={"/unread": _unread}, gossip=False) as victim:
        dialer = new_host()
        async with dialer.run([Multiaddr("/ip4/127.0.0.1/tcp/0")]):
            info = info_from_p2p_addr(Multiaddr(victim.address))
            await dialer.connect(info)
            network = dialer.get_network()
            for _ in range(256):
                await network.new_stream(info.peer_id)
            with trio.move_on_after(0.5) as scope:
                await network.new_stream(info.peer_id)
            assert scope.cancelled_caught

    ours, dialing = make_transport(1), make_transport(2)
    ours.set_stream_handler("/unread", _unread)
    async with running(ours, dialing):
        await dialing.dial(ours.addresses()[0])
        while dialing.stats().streams_open < yamux.MAX_STREAMS:
            await dialing.open_stream(ours.local_peer, "/unread", timeout=5)
        # The peer's own gossip streams are in the count, so a few more than that may be ours.
        with pytest.raises(StreamRefused, match="is the cap"):
            await _open_some_more(dialing, ours.local_peer)


async def _open_some_more(dialing: Libp2pTransport, peer: PeerId) -> None:
    for _ in range(8):
        await dialing.open_stream(peer, "/unread", timeout=5)


# --- item 8: slots ----------------------------------------------------------------------------------------------------


async def test_cancelled_open_stream_of_ours_leaks_no_slot() -> None:
    ours, dialing = make_transport(1), make_transport(2)
    ours.set_stream_handler("/echo", echo)
    async with running(ours, dialing):
        await dialing.dial(ours.addresses()[0])
        before = dialing.stats().streams_open
        for number in range(300):
            with trio.move_on_after(0.0005 * (number % 5)):
                stream = await dialing.open_stream(ours.local_peer, "/echo", timeout=5)
                await stream.reset()
        await eventually(lambda: dialing.stats().streams_open <= before + 2)
        await eventually(lambda: ours.stats().streams_open <= 6)
        await probe(dialing, ours)


async def test_closed_streams_of_ours_free_both_ends() -> None:
    ours, dialing = make_transport(1), make_transport(2)
    ours.set_stream_handler("/echo", echo)
    async with running(ours, dialing):
        await dialing.dial(ours.addresses()[0])
        for _ in range(600):
            await probe(dialing, ours)
        await eventually(lambda: dialing.stats().streams_open <= 3)
        await eventually(lambda: ours.stats().streams_open <= 3)


# --- item 5, 6 row 11: a frozen peer ----------------------------------------------------------------------------------


async def test_frozen_peer_stays_connected_at_stock_and_is_dropped_by_ours(monkeypatch) -> None:
    monkeypatch.setattr(yamux, "IDLE_BEFORE_PING", 0.4)
    monkeypatch.setattr(yamux, "PING_TIMEOUT", 0.2)
    async with stock_host(gossip=False) as victim, raw_peer(victim.address, listening=False):
        await trio.sleep(2)
        assert len(victim.host.get_network().get_connections()) == 1

    ours = make_transport(1)
    async with running(ours), raw_peer(ours.addresses()[0], listening=False):
        await eventually(lambda: ours.connected() != ())
        await eventually(lambda: ours.connected() == (), seconds=5)
