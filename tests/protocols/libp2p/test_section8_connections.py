"""LIBP2P section 8, items 4, 7, 11, 12 and 13: slots, redialing, caps and bans, supervision."""

from __future__ import annotations

import random
import socket as stdlib_socket
from contextlib import suppress
from typing import Any

import pytest
import trio
from adversary.attacks import attack_connect_cycles, attack_silent_sockets, attack_slow_handshakes
from adversary.hosts import LOOPBACK, accept_all, echo, eventually, make_transport, probe, running, stock_host
from adversary.raw_peer import open_socket, raw_peer
from libp2p import new_host
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.network.connection.swarm_connection import SwarmConn
from libp2p.peer.peerinfo import info_from_p2p_addr
from multiaddr import Multiaddr
from yumad.consensus.types import Micros
from yumad.protocols.libp2p.connection_limits import ConnectionLimits
from yumad.protocols.libp2p.identity import identity_from_seed
from yumad.protocols.libp2p.reconnect import Reconnector
from yumad.protocols.libp2p.yamux import HardenedYamux
from yumad.protocols.peer_ledger import PeerLedger
from yumad.protocols.penalties import LedgerEnforcer
from yumad.protocols.transport import DialFailed, PeerId, TransportError


class FixedClock:
    """The ledger's clock, standing still."""

    def now(self) -> Micros:
        return Micros(1_000_000)


# --- item 4: the slot is given back -----------------------------------------------------------------------------------


async def test_inbound_slots_of_stock_host_are_used_up_for_good() -> None:
    config = ConnectionConfig(min_connections=0, low_watermark=0, high_watermark=6, max_connections=6)
    async with stock_host(gossip=False, config=config) as victim:
        await attack_connect_cycles(victim.address, 6)
        await eventually(lambda: not victim.host.get_network().get_connections())
        report = await attack_connect_cycles(victim.address, 3)
        assert report.actions == 0  # refused, though nobody is connected


async def test_inbound_slots_of_ours_are_free_again_after_each_connection() -> None:
    victim, honest = make_transport(1, limits=ConnectionLimits(total=6, reserved_outbound=2)), make_transport(2)
    victim.set_stream_handler("/echo", echo)
    async with running(victim, honest):
        report = await attack_connect_cycles(victim.addresses()[0], 100)
        assert report.actions == 100
        await eventually(lambda: victim.connected() == ())
        await probe(honest, victim)


# --- items 10 and 11: who gets in -------------------------------------------------------------------------------------


@pytest.mark.parametrize("attack", [attack_silent_sockets, attack_slow_handshakes])
async def test_held_sockets_do_not_keep_an_honest_dialer_out(attack: Any) -> None:
    victim, honest = make_transport(1), make_transport(2)
    victim.set_stream_handler("/echo", echo)
    async with running(victim, honest) as nursery:
        nursery.start_soon(attack, victim.addresses()[0])
        await trio.sleep(0.5)  # the attack is holding its sockets now
        with trio.fail_after(2):
            await probe(honest, victim)


async def test_cap_per_address_binds_where_loopback_is_not_exempt() -> None:
    limits = ConnectionLimits(per_address=2, exempt_loopback=False)
    victim = make_transport(1, limits=limits)
    dialers = [make_transport(number) for number in (2, 3, 4)]
    async with running(victim, *dialers):
        for dialer in dialers[:2]:
            await dialer.dial(victim.addresses()[0])
        with pytest.raises(DialFailed):
            await dialers[2].dial(victim.addresses()[0])
        assert victim.stats().inbound_refused == {"address cap": 1}


async def test_full_host_takes_a_protected_peer_in_place_of_a_stranger() -> None:
    known = make_transport(9)
    victim = make_transport(
        1,
        limits=ConnectionLimits(total=4, reserved_outbound=1),
        is_protected=lambda peer: peer == known.local_peer,
    )
    strangers = [make_transport(number) for number in (2, 3, 4, 5)]
    victim.set_stream_handler("/echo", echo)
    async with running(victim, known, *strangers):
        for stranger in strangers[:3]:
            await stranger.dial(victim.addresses()[0])
        with suppress(DialFailed):  # it may be refused before its side of the connection has begun
            await strangers[3].dial(victim.addresses()[0])
        await eventually(lambda: strangers[3].connected() == ())  # no stranger displaces another
        await probe(known, victim)
        assert known.local_peer in victim.connected()
        assert len(victim.connected()) == 3


async def test_dials_at_once_do_not_pass_the_connection_cap() -> None:
    ours = make_transport(1, limits=ConnectionLimits(total=3, reserved_outbound=3))
    others = [make_transport(number) for number in range(2, 8)]
    reasons: list[str] = []

    async def dial(other: Any) -> None:
        try:
            await ours.dial(other.addresses()[0])
        except DialFailed as error:
            reasons.append(error.reason)

    async with running(ours, *others):
        async with trio.open_nursery() as nursery:
            for other in others:
                nursery.start_soon(dial, other)
        assert len(ours.connected()) == 3
        assert reasons == ["the connection cap is reached"] * 3


async def test_dials_at_once_fill_the_connection_cap_to_its_last_place() -> None:
    ours = make_transport(1, limits=ConnectionLimits(total=16, reserved_outbound=16))
    others = [make_transport(number) for number in range(2, 18)]
    async with running(ours, *others):
        async with trio.open_nursery() as nursery:
            for other in others:
                nursery.start_soon(ours.dial, other.addresses()[0])
        assert len(ours.connected()) == 16


async def test_banned_peer_is_dropped_and_refused_both_ways_until_the_ban_ends() -> None:
    a, b = make_transport(1), make_transport(2)
    async with running(a, b):
        await b.dial(a.addresses()[0])
        await eventually(lambda: a.connected() == (b.local_peer,))
        a.ban(b.local_peer, 0.5)
        assert a.is_banned(b.local_peer)
        assert a.connected() == ()
        with pytest.raises(DialFailed, match="banned"):
            await a.dial(b.addresses()[0])
        await eventually(lambda: b.connected() == ())
        with suppress(DialFailed):
            await b.dial(a.addresses()[0])
        await eventually(lambda: b.connected() == ())
        assert a.stats().inbound_refused["banned"] == 1
        await eventually(lambda: not a.is_banned(b.local_peer))
        await b.dial(a.addresses()[0])
        await eventually(lambda: a.connected() == (b.local_peer,))


async def test_peer_that_keeps_breaking_the_wire_is_refused_by_the_ledger() -> None:
    def report(peer: PeerId, what: str) -> None:
        reports.append(what)
        enforcer.misbehaved(peer, what)

    reports: list[str] = []
    ours = make_transport(1, on_misbehaviour=report)
    enforcer = LedgerEnforcer(PeerLedger(FixedClock()), ours)
    async with running(ours):
        for _ in range(3):
            async with raw_peer(ours.addresses()[0], seed=bytes(32)) as peer:
                await peer.send(9, 0, 0, 0)
                with trio.fail_after(5):
                    await peer.ended.wait()
        assert reports == ["frame of unknown version or type"] * 3
        assert enforcer.offences == {"malformed": 3}
        assert ours.is_banned(identity_from_seed(bytes(32)).peer)


async def test_second_connection_of_one_key_replaces_the_first() -> None:
    victim = make_transport(1)
    async with running(victim):
        address = victim.addresses()[0]
        async with raw_peer(address, seed=bytes(32)) as first, raw_peer(address, seed=bytes(32)) as second:
            with trio.fail_after(5):
                await first.ended.wait()
            assert not second.gone
            assert victim.connected() == (identity_from_seed(bytes(32)).peer,)
            assert victim.stats().connections == 1


async def test_both_sides_dialing_at_once_end_up_connected() -> None:
    a, b = make_transport(1), make_transport(2)
    a.set_stream_handler("/echo", echo)
    b.set_stream_handler("/echo", echo)
    async with running(a, b):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(a.dial, b.addresses()[0])
            nursery.start_soon(b.dial, a.addresses()[0])
        for _ in range(20):
            await probe(a, b)
            await probe(b, a)
        assert a.connected() == (b.local_peer,)


# --- item 7: redialing ------------------------------------------------------------------------------------------------


async def test_failed_dial_blocks_stock_for_a_minute_and_ours_not_at_all() -> None:
    seed = bytes((7,)) * 32
    peer = identity_from_seed(seed).peer
    listener = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener[0].socket.getsockname()[1]
    listener[0].socket.close()
    address = f"/ip4/127.0.0.1/tcp/{port}"

    dialer = new_host(connection_config=ConnectionConfig(min_connections=0, low_watermark=0))
    dialer.get_network().retry_config = RetryConfig(max_retries=0)
    ours = make_transport(3)
    async with dialer.run([Multiaddr(LOOPBACK)]), running(ours):
        info = info_from_p2p_addr(Multiaddr(f"{address}/p2p/{peer}"))
        with pytest.raises(Exception, match="unable to connect"):
            await dialer.connect(info)
        with pytest.raises(DialFailed, match="refused"):
            await ours.dial(f"{address}/p2p/{peer}")
        target = make_transport(int.from_bytes(seed, "big"), listen=[address])
        async with running(target):
            assert target.local_peer == peer
            with pytest.raises(Exception, match="negative cache"):
                await dialer.connect(info)
            assert await ours.dial(f"{address}/p2p/{peer}") == peer


async def test_reconnector_finds_a_peer_that_starts_late_and_one_that_restarts() -> None:
    listener = await trio.open_tcp_listeners(0, host="127.0.0.1")
    address = f"/ip4/127.0.0.1/tcp/{listener[0].socket.getsockname()[1]}"
    listener[0].socket.close()
    ours = make_transport(1)
    late = make_transport(2, listen=[address])
    async with running(ours) as nursery:
        reconnector = Reconnector(ours, random.Random(1))
        assert reconnector.want(f"{address}/p2p/{late.local_peer}") == late.local_peer
        nursery.start_soon(reconnector.run)
        await trio.sleep(0.6)
        async with running(late):
            await eventually(lambda: ours.connected() == (late.local_peer,))
        await eventually(lambda: ours.connected() == ())
        async with running(make_transport(2, listen=[address])):
            await eventually(lambda: ours.connected() == (late.local_peer,))


@pytest.mark.parametrize(
    ("listen", "dial"),
    [
        ("/ip6/::1/tcp/0", "/ip6/::1/tcp/{port}/p2p/{peer}"),
        (LOOPBACK, "/dns4/localhost/tcp/{port}/p2p/{peer}"),
        ("/ip4/0.0.0.0/tcp/0", "/ip4/127.0.0.1/tcp/{port}/p2p/{peer}"),
    ],
)
async def test_every_kind_of_address_is_listened_on_and_dialed(listen: str, dial: str) -> None:
    ours, target = make_transport(1), make_transport(2, listen=[listen])
    target.set_stream_handler("/echo", echo)
    if listen.startswith("/ip6/") and not _has_ipv6_loopback():
        pytest.skip("this machine has no IPv6 loopback")
    async with running(ours, target):
        port = target.addresses()[0].split("/")[4]
        assert await ours.dial(dial.format(port=port, peer=target.local_peer)) == target.local_peer
        remote = ours.remote_address(target.local_peer)
        assert remote == dial.format(port=port, peer="").removesuffix("/p2p/")


def _has_ipv6_loopback() -> bool:
    try:
        with stdlib_socket.socket(stdlib_socket.AF_INET6) as probing:
            probing.bind(("::1", 0))
    except OSError:
        return False
    return True


async def test_dial_reports_why_it_failed() -> None:
    ours, other = make_transport(1), make_transport(2)
    async with running(ours, other):
        for address, reason in (
            ("/ip4/127.0.0.1/tcp/1/p2p/nonsense", "base58 digits"),
            (f"/ip4/300.0.0.1/tcp/1/p2p/{other.local_peer}", "300.0.0.1"),
            (f"/ip6/fe80::1%eth0/tcp/1/p2p/{other.local_peer}", "names an interface"),
            (other.addresses()[0].rpartition("/p2p/")[0], "does not end in"),
            (ours.addresses()[0], "this peer itself"),
            (other.addresses()[0].replace(other.local_peer, make_transport(5).local_peer), "another peer than"),
        ):
            with pytest.raises(DialFailed, match=reason):
                await ours.dial(address)


async def test_name_that_resolves_to_what_is_no_address_is_a_failed_dial(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = make_transport(1)

    async def answer(*arguments: Any, **options: Any) -> Any:
        return [(stdlib_socket.AF_INET6, stdlib_socket.SOCK_STREAM, 6, "", ("fe80::1%eth0", 1, 0, 2))]

    monkeypatch.setattr(trio.socket, "getaddrinfo", answer)
    async with running(ours):
        with pytest.raises(DialFailed, match="fe80::1%eth0"):
            await ours.dial(f"/dns6/peer.example/tcp/1/p2p/{make_transport(2).local_peer}")


# --- item 12: supervision ---------------------------------------------------------------------------------------------


async def test_taken_port_is_one_clear_error() -> None:
    first = make_transport(1)
    async with running(first):
        second = make_transport(2, listen=[first.addresses()[0].rpartition("/p2p/")[0]])
        with pytest.raises(TransportError, match="the port is taken by another process"):
            await second.run()


async def test_escaped_exception_restarts_ours_on_the_same_port(monkeypatch) -> None:
    ours, other = make_transport(1), make_transport(2)
    ours.set_stream_handler("/echo", echo)
    seen: list[bytes] = []
    ours.subscribe("t", accept_all(seen))
    other.subscribe("t", accept_all([]))
    monkeypatch.setattr("yumad.protocols.libp2p.host.RESTART_DELAY", 0.05)
    async with running(ours, other):
        address = ours.addresses()
        await probe(other, ours)
        before = ours._node
        nursery = before.swarm.background_nursery
        assert nursery is not None

        nursery.start_soon(_escape)
        await eventually(lambda: other.connected() == ())
        await eventually(lambda: ours._node not in (None, before))
        assert ours.addresses() == address
        await probe(other, ours)
        await eventually(lambda: other.mesh_peers("t") != ())
        await other.publish("t", b"after the restart")
        await eventually(lambda: seen == [b"after the restart"])


async def test_handler_set_while_running_serves_at_once_and_after_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yumad.protocols.libp2p.host.RESTART_DELAY", 0.05)
    ours, other = make_transport(1), make_transport(2)
    async with running(ours, other):
        ours.set_stream_handler("/echo", echo)
        await probe(other, ours)
        before = ours._node
        before.swarm.background_nursery.start_soon(_escape)
        await eventually(lambda: other.connected() == ())
        await eventually(lambda: ours._node not in (None, before))
        await probe(other, ours)


async def _escape() -> None:
    raise RuntimeError("escaped")


async def test_exceptions_that_keep_escaping_end_the_run_with_the_cause(monkeypatch) -> None:
    monkeypatch.setattr("yumad.protocols.libp2p.host.RESTART_DELAY", 0.01)
    ours = make_transport(1)

    async def start_broken(node: Any, nursery: trio.Nursery) -> None:
        raise RuntimeError("always broken")

    monkeypatch.setattr(ours, "_start", start_broken)
    with pytest.raises(TransportError, match="failed 4 times within 60 s"):
        await ours.run()


async def test_stop_under_gossip_traffic_raises_nothing() -> None:
    for _ in range(3):
        transports = [make_transport(number) for number in (1, 2, 3)]
        for transport in transports:
            transport.subscribe("t", accept_all([]))
        async with running(*transports) as nursery:
            for other in transports[1:]:
                await other.dial(transports[0].addresses()[0])

            async def chatter(number: int, transports: list[Any] = transports) -> None:
                while True:
                    await transports[number].publish("t", random.randbytes(2000))

            for number in range(3):
                nursery.start_soon(chatter, number)
            await trio.sleep(0.3)
            started = trio.current_time()
        assert trio.current_time() - started < 5  # not the 10 s of a write deadline


async def test_handler_that_ignores_its_stream_end_does_not_hold_up_the_stop() -> None:
    ours = make_transport(1)

    async def stubborn(stream: Any) -> None:
        with trio.CancelScope(shield=True):
            await stream.write_all(bytes(1_000_000))

    ours.set_stream_handler("/stubborn", stubborn)
    async with running(ours), raw_peer(ours.addresses()[0], listening=False) as peer:
        await peer.open_stream(b"/stubborn")
        await trio.sleep(0.2)
        started = trio.current_time()
    assert trio.current_time() - started < 1


async def test_socket_that_is_closed_at_once_is_harmless() -> None:
    ours = make_transport(1)
    async with running(ours):
        for _ in range(50):
            stream = await open_socket(ours.addresses()[0])
            stream.socket.close()
        await eventually(lambda: ours.stats().inbound_refused.get("closed before a word", 0) >= 40)


# --- a connection that ends while it begins ---------------------------------------------------------------------------


def _ended_while(moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on every connection ends as the library starts this part of it."""
    part: Any = {"multiplexer": HardenedYamux, "stream loop": SwarmConn}[moment]
    start = part.start

    async def start_too_late(self: Any) -> None:
        if moment == "stream loop":
            self.muxed_conn.abort("ended while it began")
        with trio.CancelScope() as scope:
            if moment == "multiplexer":
                scope.cancel()
            await start(self)

    monkeypatch.setattr(part, "start", start_too_late)


@pytest.mark.parametrize("moment", ["multiplexer", "stream loop"])
async def test_connection_that_ends_while_it_begins_is_kept_nowhere_and_the_dial_says_so(
    moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, other = make_transport(1), make_transport(2)
    ours.set_stream_handler("/echo", echo)
    async with running(ours, other):
        with monkeypatch.context() as patched:
            _ended_while(moment, patched)
            with trio.fail_after(2), pytest.raises(DialFailed):
                await other.dial(ours.addresses()[0])
            for transport in (ours, other):
                admission = transport._admission
                await eventually(lambda admission=admission: admission.pending == admission.established == 0)
                assert transport.connected() == ()
                assert transport.stats().connections == 0
        await probe(other, ours)


@pytest.mark.parametrize("direction", ["outbound", "inbound"])
async def test_peer_banned_while_its_connection_begins_is_not_connected(direction: str) -> None:
    ours, other = make_transport(1), make_transport(2)
    async with running(ours, other):
        swarm = ours._node.swarm
        add_conn = swarm.add_conn

        async def ban_then_add(*arguments: Any, **options: Any) -> Any:
            ours.ban(other.local_peer, 60)
            return await add_conn(*arguments, **options)

        swarm.add_conn = ban_then_add
        if direction == "outbound":
            with pytest.raises(DialFailed):
                await ours.dial(other.addresses()[0])
        else:
            with suppress(DialFailed):  # its own side may have begun by then
                await other.dial(ours.addresses()[0])
        await eventually(lambda: ours.is_banned(other.local_peer))
        await eventually(lambda: ours._admission.pending == ours._admission.established == 0)
        assert ours.connected() == ()
        assert ours.stats().connections == 0
        await eventually(lambda: other.connected() == ())
