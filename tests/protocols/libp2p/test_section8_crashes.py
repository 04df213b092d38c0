"""LIBP2P section 8, items 1 and 2, and section 6 rows 1-5 and 7: what ends a stock host, and does nothing to ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from adversary.attacks import (
    Attack,
    attack_bad_key_message,
    attack_malformed_gossip,
    attack_non_utf8_protocol,
    attack_plaintext,
)
from adversary.hosts import TOPIC, accept_all, echo, eventually, is_dead, make_transport, probe, running, stock_host
from adversary.raw_peer import raw_peer
from adversary.wire import Rpc, encode_frame
from libp2p.network.config import ConnectionConfig
from libp2p.peer.id import ID
from libp2p.pubsub.pb import rpc_pb2
from yumad.protocols.transport import GossipVerdict, PeerId, StreamClosed, StreamRefused


async def _subscribe_stock(victim: Any) -> None:
    await victim.pubsub.subscribe("t")


REMOTE_KILLS = pytest.mark.parametrize(
    "attack", [attack_malformed_gossip, attack_bad_key_message, attack_non_utf8_protocol]
)


@REMOTE_KILLS
async def test_remote_kill_against_stock_host_ends_it(attack: Attack) -> None:
    async with stock_host(setup=_subscribe_stock) as victim:
        for _ in range(10):
            # On a busy machine the attacker may be gone before the host has read its bytes.
            await attack(victim.address)
            if await is_dead(victim, 1.0):
                break
        assert victim.died.is_set()
        assert victim.error is not None


@REMOTE_KILLS
async def test_remote_kill_against_ours_leaves_it_serving(attack: Attack) -> None:
    victim, honest = make_transport(1), make_transport(2)
    victim.set_stream_handler("/echo", echo)
    victim.subscribe("t", accept_all([]))
    async with running(victim, honest):
        await honest.dial(victim.addresses()[0])
        await attack(victim.addresses()[0])
        await probe(honest, victim)
        assert honest.connected() == (victim.local_peer,)


async def _raise(stream: Any) -> None:
    raise RuntimeError("bug in a handler")


async def test_raising_handler_ends_stock_host() -> None:
    async with stock_host(handlers={"/broken": _raise}) as victim, raw_peer(victim.address) as peer:
        await peer.open_stream(b"/broken")
        assert await is_dead(victim)


async def test_raising_handler_resets_one_stream_of_ours() -> None:
    victim, honest = make_transport(1), make_transport(2)
    victim.set_stream_handler("/broken", _raise)
    victim.set_stream_handler("/echo", echo)
    async with running(victim, honest):
        await honest.dial(victim.addresses()[0])
        # The reset may overtake the answer to the negotiation.
        with pytest.raises((StreamClosed, StreamRefused)):
            await (await honest.open_stream(victim.local_peer, "/broken", timeout=5)).read_exactly(1)
        await probe(honest, victim)
        assert victim.stats().dropped["stream handler raised"] == 1


def _raising_validator(*_: object) -> GossipVerdict:
    raise RuntimeError("bug in a validator")


async def test_raising_sync_validator_ends_stock_host() -> None:
    async def setup(victim: Any) -> None:
        await victim.pubsub.subscribe("t")
        victim.pubsub.set_topic_validator("t", _raising_validator, False)

    async with stock_host(setup=setup, strict_signing=False) as victim, raw_peer(victim.address) as peer:
        stream = await peer.open_stream(b"/meshsub/1.1.0")
        await peer.data(stream, encode_frame(Rpc(messages=[("t", b"x")])))
        assert await is_dead(victim)


async def test_raising_validator_of_ours_is_an_ignore_and_counted() -> None:
    victim, honest = make_transport(1), make_transport(2)
    victim.set_stream_handler("/echo", echo)
    victim.subscribe(TOPIC, _raising_validator)
    honest.subscribe(TOPIC, accept_all([]))
    async with running(victim, honest):
        await honest.dial(victim.addresses()[0])
        await eventually(lambda: honest.mesh_peers(TOPIC) != ())
        await honest.publish(TOPIC, b"x")
        await eventually(lambda: victim.stats().gossip_ignored == 1)
        await probe(honest, victim)
        assert victim.stats().dropped["gossip validator raised"] == 1


async def _send_thrice(address: str, frame: bytes, *, wait: Callable[[], bool]) -> None:
    async with raw_peer(address) as a, raw_peer(address) as b, raw_peer(address) as c:
        for peer in (a, b, c):
            await peer.data(await peer.open_stream(b"/meshsub/1.1.0"), frame)
        await eventually(wait)


async def test_message_arriving_thrice_meets_stock_async_validator_thrice_and_ours_once() -> None:
    calls = 0

    async def slow(forwarder: Any, message: Any) -> bool:
        nonlocal calls
        calls += 1
        await trio.sleep(0.1)
        return True

    async def setup(victim: Any) -> None:
        await victim.pubsub.subscribe("t")
        victim.pubsub.set_topic_validator("t", slow, True)

    frame = encode_frame(Rpc(messages=[("t", b"same")]))
    async with stock_host(setup=setup, strict_signing=False) as victim:
        await _send_thrice(victim.address, frame, wait=lambda: calls == 3)

    ours = make_transport(1)
    seen: list[bytes] = []
    ours.subscribe("t", accept_all(seen))
    async with running(ours):
        await _send_thrice(ours.addresses()[0], frame, wait=lambda: ours.stats().gossip_received == 3)
    assert seen == [b"same"]
    assert ours.stats().gossip_duplicate == 2


async def test_message_naming_us_as_origin_is_dropped_by_stock_and_taken_by_ours() -> None:
    # A relay that puts the receiver's own id into the unsigned envelope makes a stock host discard it.

    def framed(origin: bytes) -> bytes:
        body = rpc_pb2.RPC(publish=[rpc_pb2.Message(data=b"x", topicIDs=["t"], from_id=origin, seqno=b"1")])
        raw = body.SerializeToString()
        return bytes((len(raw),)) + raw

    delivered: list[bytes] = []

    async def setup(victim: Any) -> None:
        subscription = await victim.pubsub.subscribe("t")
        victim.subscription = subscription

    async with stock_host(setup=setup, strict_signing=False) as victim, raw_peer(victim.address) as peer:
        await peer.data(await peer.open_stream(b"/meshsub/1.1.0"), framed(victim.host.get_id().to_bytes()))
        with trio.move_on_after(0.5):
            delivered.append((await victim.subscription.get()).data)
    assert delivered == []

    ours = make_transport(1)
    ours.subscribe("t", accept_all(delivered))
    async with running(ours), raw_peer(ours.addresses()[0]) as peer:
        own = ID.from_base58(PeerId(ours.local_peer)).to_bytes()
        await peer.data(await peer.open_stream(b"/meshsub/1.1.0"), framed(own))
        await eventually(lambda: delivered == [b"x"])


async def test_plaintext_is_agreed_to_by_stock_and_refused_by_ours() -> None:
    async with stock_host(gossip=False, config=ConnectionConfig(inbound_upgrade_timeout=1)) as victim:
        assert not (await attack_plaintext(victim.address)).dropped
    ours = make_transport(1)
    async with running(ours):
        assert (await attack_plaintext(ours.addresses()[0])).dropped
