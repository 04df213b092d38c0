"""LIBP2P section 8, items 6, 9, 10 and 14, and gossip with the library's own hosts."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from adversary.hosts import (
    LOOPBACK,
    TOPIC,
    StockHost,
    accept_all,
    eventually,
    make_transport,
    running,
    stock_host,
)
from adversary.raw_peer import raw_peer
from adversary.wire import Rpc, encode_frame
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.pubsub import utils as stock_pubsub_utils
from libp2p.pubsub.pb import rpc_pb2
from multiaddr import Multiaddr
from yumad.protocols.libp2p import pubsub as pubsub_module
from yumad.protocols.libp2p.message_cache import message_id
from yumad.protocols.libp2p.outbox import PACE_BYTES, Outbox
from yumad.protocols.libp2p.pubsub import HardenedPubsub
from yumad.protocols.limits import Quota
from yumad.protocols.transport import MAX_GOSSIP, GossipVerdict, PayloadTooLarge, PeerId


def _stock_id(message: Any) -> bytes:
    return message_id(message.topicIDs[0], message.data)


async def _connect(a: StockHost, b: StockHost) -> None:
    await a.host.connect(info_from_p2p_addr(Multiaddr(b.address)))


# --- item 6: the signed record ----------------------------------------------------------------------------------------


async def test_stock_verifies_a_record_twice_per_control_rpc_and_ours_sends_none(monkeypatch) -> None:
    verified = 0
    original = stock_pubsub_utils.consume_envelope

    def counting(*args: Any) -> Any:
        nonlocal verified
        verified += 1
        return original(*args)

    monkeypatch.setattr(stock_pubsub_utils, "consume_envelope", counting)

    async def setup(victim: StockHost) -> None:
        await victim.pubsub.subscribe("t")

    async with stock_host(setup=setup, strict_signing=False) as a, stock_host(setup=setup, strict_signing=False) as b:
        await _connect(a, b)
        await a.pubsub.wait_for_mesh(b.host.get_id(), "t")
        before = verified
        await a.pubsub.router.emit_graft("t", b.host.get_id())
        await eventually(lambda: verified == before + 2)

    frames: list[bytes] = []
    original_next = Outbox.next

    async def noting(outbox: Outbox) -> bytes | None:
        frame = await original_next(outbox)
        frames.extend([frame] if frame is not None else [])
        return frame

    monkeypatch.setattr(Outbox, "next", noting)
    before = verified
    ours, other = make_transport(1), make_transport(2)
    seen: list[bytes] = []
    ours.subscribe("t", accept_all([]))
    other.subscribe("t", accept_all(seen))
    async with running(ours, other):
        await ours.dial(other.addresses()[0])
        await eventually(lambda: ours.mesh_peers("t") != ())
        await ours.publish("t", bytes(5000))
        await eventually(lambda: seen == [bytes(5000)])
    rpcs = [_rpc(frame) for frame in frames]
    assert any(rpc.subscriptions for rpc in rpcs)
    assert any(rpc.publish for rpc in rpcs)
    assert any(rpc.control.graft for rpc in rpcs)
    assert not any(rpc.HasField("senderRecord") for rpc in rpcs)
    assert verified == before


def _rpc(frame: bytes) -> Any:
    start = next(i for i, byte in enumerate(frame) if byte < 0x80) + 1
    return rpc_pb2.RPC.FromString(frame[start:])


# --- item 9: bursts, slow peers, size ---------------------------------------------------------------------------------


async def test_burst_of_500_is_lost_at_stock_and_whole_at_ours() -> None:
    received: list[bytes] = []

    async def subscribe(victim: StockHost) -> None:
        victim.subscription = await victim.pubsub.subscribe("t")  # type: ignore[attr-defined]

    async with (
        stock_host(setup=subscribe, strict_signing=False) as a,
        stock_host(setup=subscribe, strict_signing=False) as b,
    ):
        await _connect(a, b)
        await a.pubsub.wait_for_mesh(b.host.get_id(), "t")
        for number in range(500):
            await a.pubsub.publish("t", b"%d" % number)
        with trio.move_on_after(1):
            while True:
                received.append((await b.subscription.get()).data)  # type: ignore[attr-defined]
        assert len(received) < 450

    ours, other = make_transport(1), make_transport(2)
    seen: list[bytes] = []
    ours.subscribe(TOPIC, accept_all([]))
    other.subscribe(TOPIC, accept_all(seen))
    async with running(ours, other):
        await ours.dial(other.addresses()[0])
        await eventually(lambda: ours.mesh_peers(TOPIC) != ())
        for number in range(500):
            await ours.publish(TOPIC, b"%d" % number)
        await eventually(lambda: len(seen) == 500)
        assert seen == [b"%d" % number for number in range(500)]


async def test_lost_message_is_offered_again_and_arrives(monkeypatch) -> None:
    ours, other = make_transport(1), make_transport(2)
    seen: list[bytes] = []
    ours.subscribe(TOPIC, accept_all([]))
    other.subscribe(TOPIC, accept_all(seen))
    async with running(ours, other):
        await ours.dial(other.addresses()[0])
        await eventually(lambda: ours.mesh_peers(TOPIC) != ())
        outbox = ours._node.pubsub.peer_queues[ID.from_base58(other.local_peer)]
        monkeypatch.setattr(outbox, "put_message", lambda identifier, frame: False)
        await ours.publish(TOPIC, b"dropped on the way")
        assert ours.stats().dropped["gossip outbox full"] == 1
        monkeypatch.undo()
        await eventually(lambda: seen == [b"dropped on the way"])


async def test_payload_over_a_megabyte_vanishes_at_stock_and_raises_at_ours() -> None:
    async def subscribe(victim: StockHost) -> None:
        victim.subscription = await victim.pubsub.subscribe("t")  # type: ignore[attr-defined]

    async with (
        stock_host(setup=subscribe, strict_signing=False) as a,
        stock_host(setup=subscribe, strict_signing=False) as b,
    ):
        await _connect(a, b)
        await a.pubsub.wait_for_mesh(b.host.get_id(), "t")
        await a.pubsub.publish("t", bytes(1_100_000))  # no error
        with trio.move_on_after(0.5) as scope:
            await b.subscription.get()  # type: ignore[attr-defined]
        assert scope.cancelled_caught

    ours, other = make_transport(1), make_transport(2)
    seen: list[bytes] = []
    ours.subscribe(TOPIC, accept_all([]))
    other.subscribe(TOPIC, accept_all(seen))
    async with running(ours, other):
        await ours.dial(other.addresses()[0])
        await eventually(lambda: ours.mesh_peers(TOPIC) != ())
        with pytest.raises(PayloadTooLarge, match="1000001 bytes"):
            await ours.publish(TOPIC, bytes(MAX_GOSSIP + 1))
        await ours.publish(TOPIC, bytes(MAX_GOSSIP))
        await eventually(lambda: [len(data) for data in seen] == [MAX_GOSSIP])


# --- verdicts and scores ----------------------------------------------------------------------------------------------


async def test_verdicts_decide_what_is_relayed_and_who_is_counted() -> None:
    reported: list[tuple[PeerId, str]] = []
    a, c = make_transport(1), make_transport(3)
    b = make_transport(2, on_misbehaviour=lambda peer, what: reported.append((peer, what)))
    verdicts = {b"good": GossipVerdict.ACCEPT, b"early": GossipVerdict.IGNORE, b"bad": GossipVerdict.REJECT}
    asked: list[bytes] = []

    def judge(sender: PeerId, data: bytes) -> GossipVerdict:
        asked.append(data)
        return verdicts[data]

    at_c: list[bytes] = []
    a.subscribe(TOPIC, accept_all([]))
    b.subscribe(TOPIC, judge)
    c.subscribe(TOPIC, accept_all(at_c))
    async with running(a, b, c):
        await a.dial(b.addresses()[0])
        await b.dial(c.addresses()[0])
        await eventually(lambda: len(b.mesh_peers(TOPIC)) == 2 and a.mesh_peers(TOPIC) != ())
        for data in verdicts:
            await a.publish(TOPIC, data)
        await eventually(lambda: len(asked) == 3)
        await trio.sleep(0.1)
    assert at_c == [b"good"]
    assert reported == [(a.local_peer, "gossip rejected")]
    stats = b.stats()
    assert (stats.gossip_accepted, stats.gossip_ignored, stats.gossip_rejected) == (1, 1, 1)


async def test_ignored_message_is_taken_when_it_comes_again_later(monkeypatch) -> None:
    monkeypatch.setattr(pubsub_module, "IGNORED_SECONDS", 0.05)
    ours = make_transport(1)
    verdicts = iter([GossipVerdict.IGNORE, GossipVerdict.ACCEPT])
    ours.subscribe(TOPIC, lambda sender, data: next(verdicts))
    frame = encode_frame(Rpc(messages=[(TOPIC, b"not yet")]))
    async with running(ours), raw_peer(ours.addresses()[0]) as peer:
        stream = await peer.open_stream(b"/meshsub/1.1.0")
        await peer.data(stream, frame)
        await peer.data(stream, frame)  # within the pause: a duplicate
        await eventually(lambda: ours.stats().gossip_duplicate == 1)
        await trio.sleep(0.1)
        await peer.data(stream, frame)
        await eventually(lambda: ours.stats().gossip_accepted == 1)


async def test_peer_below_the_publish_threshold_is_not_heard() -> None:
    scores: dict[PeerId, float] = {}
    ours = make_transport(1, score=lambda peer: scores.get(peer, 0.0))
    other = make_transport(2)
    seen: list[bytes] = []
    ours.subscribe(TOPIC, accept_all(seen))
    other.subscribe(TOPIC, accept_all([]))
    async with running(ours, other):
        await other.dial(ours.addresses()[0])
        await eventually(lambda: other.mesh_peers(TOPIC) != ())
        scores[other.local_peer] = -25.0
        await other.publish(TOPIC, b"unheard")
        await eventually(lambda: ours.stats().dropped.get("gossip over the peer's allowance") == 1)
        scores[other.local_peer] = 0.0
        await other.publish(TOPIC, b"heard")
        await eventually(lambda: seen == [b"heard"])


async def test_flood_of_one_peer_is_cut_to_its_allowance(monkeypatch) -> None:
    monkeypatch.setattr(pubsub_module, "MESSAGES_BURST", 50)
    ours = make_transport(1)
    seen: list[bytes] = []
    ours.subscribe(TOPIC, accept_all(seen))
    async with running(ours), raw_peer(ours.addresses()[0]) as peer:
        stream = await peer.open_stream(b"/meshsub/1.1.0")
        for number in range(5):
            messages = [(TOPIC, b"%d" % (100 * number + i)) for i in range(100)]
            await peer.data(stream, encode_frame(Rpc(messages=messages)))
        await eventually(lambda: ours.stats().gossip_received == 500)
    assert 50 <= len(seen) < 250


async def test_subscriptions_of_one_peer_are_cut_to_their_allowance(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = 0
    original = HardenedPubsub.handle_subscription

    def counting(self: HardenedPubsub, *arguments: Any) -> None:
        nonlocal taken
        taken += 1
        original(self, *arguments)

    monkeypatch.setattr(HardenedPubsub, "handle_subscription", counting)
    ours = make_transport(1)
    ours.subscribe(TOPIC, accept_all([]))
    async with running(ours), raw_peer(ours.addresses()[0]) as peer:
        stream = await peer.open_stream(b"/meshsub/1.1.0")
        changes = [(TOPIC, number % 2 == 0) for number in range(128)]
        for _ in range(20):
            await peer.data(stream, encode_frame(Rpc(subscriptions=changes)))
        await peer.data(stream, encode_frame(Rpc(messages=[(TOPIC, b"last")])))
        await eventually(lambda: ours.stats().gossip_received == 1)
        assert not peer.gone
    assert 512 <= taken < 1024
    assert ours.stats().dropped["subscriptions over the peer's allowance"] == 20 * 128 - taken


async def test_one_slow_peer_does_not_hold_back_what_we_publish() -> None:
    ours, slow, quick = (make_transport(number) for number in (1, 2, 3))
    seen: list[bytes] = []
    ours.subscribe(TOPIC, accept_all([]))
    slow.subscribe(TOPIC, accept_all([]))
    quick.subscribe(TOPIC, accept_all(seen))
    async with running(ours, slow, quick):
        for other in (slow, quick):
            await other.dial(ours.addresses()[0])
        await eventually(lambda: len(ours.mesh_peers(TOPIC)) == 2)
        outboxes = ours._node.pubsub.peer_queues
        outboxes[ID.from_base58(slow.local_peer)]._bytes += PACE_BYTES + 1
        with trio.fail_after(pubsub_module.PACE_SECONDS / 2):
            await ours.publish(TOPIC, b"a proposal")
        await eventually(lambda: seen == [b"a proposal"])

        outboxes[ID.from_base58(quick.local_peer)]._bytes += PACE_BYTES + 1
        began = trio.current_time()
        await ours.publish(TOPIC, b"everybody is behind")
        assert trio.current_time() - began >= pubsub_module.PACE_SECONDS


async def test_rpcs_of_one_stream_are_read_at_a_pace_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pubsub_module, "RPC_PACE", Quota(100, 1))
    ours = make_transport(1)
    ours.subscribe(TOPIC, accept_all([]))
    async with running(ours), raw_peer(ours.addresses()[0]) as peer:
        stream = await peer.open_stream(b"/meshsub/1.1.0")
        began = trio.current_time()
        empty = encode_frame(Rpc())
        assert len(empty) == 1
        await peer.data(stream, empty * 150 + encode_frame(Rpc(messages=[(TOPIC, b"last")])))
        await eventually(lambda: ours.stats().gossip_accepted == 1)
        assert trio.current_time() - began >= 0.5


async def test_topics_may_change_while_running() -> None:
    a, b = make_transport(1), make_transport(2)
    seen: list[bytes] = []
    async with running(a, b):
        await a.dial(b.addresses()[0])
        a.subscribe("/new", accept_all([]))
        b.subscribe("/new", accept_all(seen))
        await eventually(lambda: a.mesh_peers("/new") == (b.local_peer,))
        await a.publish("/new", b"1")
        await eventually(lambda: seen == [b"1"])
        b.unsubscribe("/new")
        await eventually(lambda: a.mesh_peers("/new") == ())
        await a.publish("/new", b"2")
        await trio.sleep(0.1)
        assert seen == [b"1"]


# --- items 10 and 14: what is not kept --------------------------------------------------------------------------------


async def test_delivery_times_pile_up_at_stock() -> None:
    async def subscribe(victim: StockHost) -> None:
        await victim.pubsub.subscribe("t")

    async with stock_host(setup=subscribe, strict_signing=False) as victim:
        victim.pubsub.router.adaptive_gossip_enabled = False
        for number in range(100):
            await victim.pubsub.publish("t", b"%d" % number)
        assert len(victim.pubsub.router.recent_message_deliveries["t"]) == 100


# --- with the library's own hosts -------------------------------------------------------------------------------------


async def test_gossip_and_streams_work_with_a_stock_host_both_ways() -> None:
    got_by_stock: list[bytes] = []
    got_by_us: list[bytes] = []

    async def stock_echo(stream: Any) -> None:
        await stream.write(await stream.read(4))
        await stream.close()

    async def subscribe(victim: StockHost) -> None:
        victim.subscription = await victim.pubsub.subscribe(TOPIC)  # type: ignore[attr-defined]

    ours = make_transport(1)
    ours.subscribe(TOPIC, accept_all(got_by_us))
    async with (
        running(ours) as nursery,
        stock_host(
            setup=subscribe, handlers={"/echo": stock_echo}, strict_signing=False, msg_id_constructor=_stock_id
        ) as stock,
    ):

        async def collect() -> None:
            while True:
                got_by_stock.append((await stock.subscription.get()).data)  # type: ignore[attr-defined]

        nursery.start_soon(collect)
        peer = await ours.dial(stock.address)
        await eventually(lambda: ours.mesh_peers(TOPIC) == (peer,))
        stream = await ours.open_stream(peer, "/echo", timeout=5)
        await stream.write_all(b"ping")
        assert await stream.read_exactly(4) == b"ping"
        assert await stream.read_some(1) == b""
        await stream.close()
        await stock.pubsub.wait_for_mesh(next(iter(stock.host.get_connected_peers())), TOPIC)
        for number in range(10):
            await ours.publish(TOPIC, b"from ours %d" % number)
            await stock.pubsub.publish(TOPIC, b"from stock %d" % number)
        await eventually(lambda: len(got_by_stock) == 20 and len(got_by_us) == 10)
        assert stock.error is None


async def test_stock_host_dials_pings_and_identifies_ours() -> None:
    from libp2p import new_host
    from libp2p.host.ping import PingService

    ours = make_transport(1)
    async with running(ours):
        dialer = new_host()
        async with dialer.run([Multiaddr(LOOPBACK)]):
            info = info_from_p2p_addr(Multiaddr(ours.addresses()[0]))
            await dialer.connect(info)
            assert len(await PingService(dialer).ping(info.peer_id, 2)) == 2
            protocols: list[str] = []

            def knows() -> bool:
                protocols[:] = dialer.get_peerstore().get_protocols(info.peer_id)
                return "/meshsub/1.2.0" in protocols

            await eventually(knows)
            assert "/ipfs/ping/1.0.0" in protocols
