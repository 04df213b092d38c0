"""Every attack script and a seeded mix of fuzz against one host, while honest peers keep gossiping through it."""

from __future__ import annotations

from typing import Any

import trio
from adversary.attacks import ATTACKS, hostile_cases, resident_bytes
from adversary.hosts import TOPIC, accept_all, echo, eventually, make_transport, probe, running
from yumad.protocols.libp2p.host import Libp2pTransport
from yumad.protocols.transport import DialFailed

CASES = 60
MAX_GROWTH = 50 << 20
"""Bytes that attackers may add to the process (issue 2, done-when 7); the attackers themselves are inside it here."""


async def _unread(stream: Any) -> None:
    await trio.sleep_forever()


async def test_host_under_every_attack_keeps_honest_peers_and_its_memory() -> None:
    assert len(ATTACKS) < CASES
    victim, left, right = make_transport(1), make_transport(2), make_transport(3)
    at_right: list[bytes] = []
    victim.set_stream_handler("/echo", echo)
    victim.set_stream_handler("/unread/1", _unread)
    for transport in (victim, left):
        transport.subscribe(TOPIC, accept_all([]))
    right.subscribe(TOPIC, accept_all(at_right))
    protocols = [b"/echo", b"/unread/1", b"/ipfs/ping/1.0.0", b"/ipfs/id/1.0.0", b"/meshsub/1.2.0"]
    async with running(victim, left, right):
        address = victim.addresses()[0]
        await left.dial(address)
        await right.dial(address)
        await eventually(lambda: len(victim.mesh_peers(TOPIC)) == 2)
        before = resident_bytes()
        for number, (name, attack) in enumerate(hostile_cases(7, CASES, topics=["t"], protocols=protocols)):
            report = await attack(address)
            assert report.actions > 0 or report.dropped, name
            # A message from one honest peer to another passes through the victim.
            await left.publish(TOPIC, b"%d" % number)
            await eventually(lambda n=number: b"%d" % n in at_right)
        assert resident_bytes() - before < MAX_GROWTH
        await probe(left, victim)
        assert left.stats().connections == right.stats().connections == 1
        await eventually(lambda: victim.stats().connections == 2)
        assert not [reason for reason in victim.stats().dropped if reason.endswith("raised")]


async def _join(honest: Libp2pTransport, victim: Libp2pTransport) -> None:
    """Get in and be served within a few tries, as the redial loop makes them."""
    for _ in range(10):
        try:
            with trio.fail_after(10):
                return await probe(honest, victim)
        except DialFailed:
            await trio.sleep(0.2)
    raise AssertionError("an honest peer was kept out")


async def test_honest_peer_can_join_while_every_flood_runs_at_once() -> None:
    victim, honest = make_transport(1), make_transport(2)
    victim.set_stream_handler("/echo", echo)
    floods = ("silent sockets", "slow handshakes", "connect cycles", "many streams", "control flood", "never read")
    async with running(victim, honest), trio.open_nursery() as nursery:
        for name in floods:
            nursery.start_soon(ATTACKS[name], victim.addresses()[0])
        for _ in range(5):
            await trio.sleep(0.1)
            await _join(honest, victim)
            await honest.disconnect(victim.local_peer)
        nursery.cancel_scope.cancel()
