"""The hardened gossip router and pubsub, driven call by call: meshes, budgets, back-off, healing, bounds.

The network under them is a list of connected peers, the streams are outboxes that nobody empties.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio
import trio.testing
from adversary.wire import Rpc
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pb import rpc_pb2
from yumad.protocols.libp2p import router as router_module
from yumad.protocols.libp2p.counters import Counters
from yumad.protocols.libp2p.guarded_service import GuardedManager
from yumad.protocols.libp2p.identity import identity_from_seed
from yumad.protocols.libp2p.message_cache import CACHE_BYTES, ContentCache, SeenMessages, id_of, message_id
from yumad.protocols.libp2p.outbox import CONTROL_FRAMES, OUTBOX_BYTES, Outbox
from yumad.protocols.libp2p.pubsub import PACE_SECONDS, HardenedPubsub
from yumad.protocols.libp2p.router import MESHSUB, HardenedGossipSub, MeshParameters
from yumad.protocols.transport import GossipVerdict, PeerId

TOPIC = "/yumad/t"
OWN = ID.from_base58(identity_from_seed(bytes(32)).peer)


def _peer(number: int) -> ID:
    return ID.from_base58(identity_from_seed((number + 1).to_bytes(32, "big")).peer)


class _Network:
    """What pubsub asks of a host and its network."""

    def __init__(self) -> None:
        self.live: set[ID] = set()

    def get_network(self) -> _Network:
        return self

    def register_notifee(self, notifee: Any) -> None: ...

    def set_stream_handler(self, protocol: Any, handler: Any) -> None: ...

    def get_id(self) -> ID:
        return OWN

    def get_connections(self, peer: ID) -> list[ID]:
        return [peer] if peer in self.live else []


class World:
    """One router and pubsub with peers whose outboxes can be read."""

    def __init__(self, peers: int = 0, *, joined: bool = True) -> None:
        self.scores: dict[PeerId, float] = {}
        self.reported: list[str] = []
        self.counters = Counters()
        self.network = _Network()
        self.router = HardenedGossipSub(
            MeshParameters(), self.counters, rng=random.Random(1), score=lambda peer: self.scores.get(peer, 0.0)
        )
        self.pubsub = HardenedPubsub(
            self.network,  # type: ignore[arg-type]
            self.router,
            self.counters,
            on_misbehaviour=lambda peer, what: self.reported.append(what),
        )
        GuardedManager(self.pubsub, self.counters)  # never run: nothing is started in the background
        self.pubsub.validators[TOPIC] = lambda sender, data: GossipVerdict.ACCEPT
        self._joined, self._peers = joined, peers

    async def start(self) -> World:
        if self._joined:
            await self.pubsub.subscribe(TOPIC)
        for number in range(self._peers):
            await self.add(number)
        return self

    async def add(self, number: int, *, joins: bool = True) -> ID:
        peer = _peer(number)
        self.network.live.add(peer)
        self.router.add_peer(peer, TProtocol(MESHSUB[0]))
        self.pubsub.peers[peer] = object()  # type: ignore[assignment]
        self.pubsub.peer_queues[peer] = Outbox()
        if joins:
            await self.hear(peer, Rpc(subscriptions=[(TOPIC, True)]))
            await self.router.on_peer_subscribed(peer, TOPIC)
        return peer

    async def hear(self, peer: ID, rpc: Rpc) -> None:
        await self.pubsub._take_rpc(peer, rpc.to_library())

    async def beat(self) -> None:
        grafts, prunes = self.router.mesh_heartbeat()
        self.router.fanout_heartbeat()
        await self.router._emit_control_msgs(grafts, prunes, self.router.gossip_heartbeat())
        self.router.mcache.shift()
        self.router._prune_idontwant_entries()

    async def said(self, peer: ID) -> Any:
        """Everything that waits for a peer, as one RPC."""
        out = rpc_pb2.RPC()
        outbox: Any = self.pubsub.peer_queues[peer]
        while outbox._control or outbox._messages:
            frame = await outbox.next()
            start = next(i for i, byte in enumerate(frame) if byte < 0x80) + 1
            out.MergeFromString(frame[start:])
        return out

    async def clear(self) -> None:
        for peer in self.pubsub.peer_queues:
            await self.said(peer)

    async def publish(self, data: bytes) -> bytes:
        await self.pubsub.publish(TOPIC, data)
        return message_id(TOPIC, data)

    @property
    def mesh(self) -> set[ID]:
        return self.router.mesh[TOPIC]


async def test_mesh_fills_to_degree_low_as_peers_come_and_to_degree_at_a_heartbeat() -> None:
    world = await World(20).start()
    assert len(world.mesh) == 4
    for peer in list(world.mesh):
        await world.hear(peer, Rpc(prune=[(TOPIC, 0)]))
    await world.beat()
    assert len(world.mesh) == 6


async def test_mesh_over_degree_high_is_cut_and_a_full_one_takes_nobody() -> None:
    world = await World(20).start()
    for number in range(20):
        await world.hear(_peer(number), Rpc(graft=[TOPIC]))
    assert len(world.mesh) == 10
    late = next(_peer(n) for n in range(20) if _peer(n) not in world.mesh)
    await world.clear()
    await world.hear(late, Rpc(graft=[TOPIC]))
    assert [p.topicID for p in (await world.said(late)).control.prune] == [TOPIC]
    world.mesh.update(_peer(n) for n in range(20))
    await world.beat()
    assert len(world.mesh) == 6


async def test_full_mesh_of_the_stock_router_takes_everybody() -> None:
    stock = GossipSub(protocols=[MESHSUB[0]], degree=6, degree_low=4, degree_high=10)
    stock.mesh[TOPIC] = set()
    for number in range(40):
        await stock.handle_graft(rpc_pb2.ControlGraft(topicID=TOPIC), _peer(number))
    assert len(stock.mesh[TOPIC]) == 40


async def test_graft_in_backoff_or_with_bad_score_or_for_unknown_topic_is_pruned() -> None:
    world = await World().start()
    peers = [await world.add(number, joins=False) for number in range(3)]
    await world.hear(peers[0], Rpc(prune=[(TOPIC, 30)]))
    world.scores[PeerId(peers[1].to_base58())] = -1.0
    await world.clear()
    await world.hear(peers[0], Rpc(graft=[TOPIC]))
    await world.hear(peers[1], Rpc(graft=[TOPIC]))
    await world.hear(peers[2], Rpc(graft=["/other"]))
    for peer, topic in zip(peers, (TOPIC, TOPIC, "/other"), strict=True):
        assert [p.topicID for p in (await world.said(peer)).control.prune] == [topic]
    assert world.mesh == set()
    await world.hear(peers[2], Rpc(graft=[TOPIC]))
    assert world.mesh == {peers[2]}


async def test_peer_whose_score_falls_below_zero_leaves_the_mesh_at_the_heartbeat() -> None:
    world = await World(4).start()
    await world.clear()
    world.scores[PeerId(_peer(2).to_base58())] = -0.5
    await world.beat()
    assert world.mesh == {_peer(0), _peer(1), _peer(3)}
    assert [p.topicID for p in (await world.said(_peer(2))).control.prune] == [TOPIC]


async def test_control_for_unknown_topics_leaves_nothing_behind_and_backoff_is_bounded() -> None:
    world = await World(1).start()
    for number in range(300):
        topic = f"/made/up/{number}"
        await world.hear(_peer(0), Rpc(prune=[(topic, 2**40)], ihave=[(topic, [b"i" * 20])], graft=[topic]))
    assert world.router.back_off == {}
    assert world.router.ihave_message_limits == {}
    await world.hear(_peer(0), Rpc(prune=[(TOPIC, 2**40)]))
    (until,) = world.router.back_off[TOPIC].values()
    assert until <= router_module.time.time() + router_module.MAX_BACKOFF


async def test_relay_goes_to_the_mesh_but_not_back_nor_to_those_who_have_it() -> None:
    world = await World(4).start()
    await world.clear()
    await world.hear(_peer(1), Rpc(idontwant=[message_id(TOPIC, b"x")]))
    await world.hear(_peer(0), Rpc(messages=[(TOPIC, b"x")]))
    got = {n: [m.data for m in (await world.said(_peer(n))).publish] for n in range(4)}
    assert got == {0: [], 1: [], 2: [b"x"], 3: [b"x"]}


async def test_large_message_is_announced_to_the_mesh_and_a_small_one_is_not() -> None:
    world = await World(3).start()
    await world.clear()
    await world.hear(_peer(0), Rpc(messages=[(TOPIC, bytes(5000))]))
    rpc = await world.said(_peer(1))
    assert list(rpc.control.idontwant[0].messageIDs) == [message_id(TOPIC, bytes(5000))]
    await world.hear(_peer(0), Rpc(messages=[(TOPIC, b"small")]))
    assert not (await world.said(_peer(1))).HasField("control")


async def test_own_message_reaches_degree_peers_while_the_mesh_is_small_and_without_joining() -> None:
    for joined in (True, False):
        world = await World(20, joined=joined).start()
        await world.clear()
        await world.publish(b"own")
        assert sum([len((await world.said(_peer(n))).publish) for n in range(20)]) == 6


async def test_recent_messages_are_offered_outside_the_mesh_for_three_heartbeats() -> None:
    world = await World(12).start()
    await world.beat()
    await world.publish(b"x")
    offers = []
    for _ in range(5):
        await world.clear()
        await world.beat()
        offers.append(sum([len((await world.said(_peer(n))).control.ihave) for n in range(12)]))
    assert all(offers[:3])
    assert not any(offers[3:])


async def test_message_that_found_no_room_is_offered_to_the_mesh_peer_and_served(monkeypatch: Any) -> None:
    world = await World(1).start()
    await world.clear()
    outbox: Any = world.pubsub.peer_queues[_peer(0)]
    monkeypatch.setattr(outbox, "put_message", lambda identifier, frame: False)
    identifier = await world.publish(b"x")
    monkeypatch.undo()
    assert world.counters.dropped["gossip outbox full"] == 1
    await world.beat()
    assert list((await world.said(_peer(0))).control.ihave[0].messageIDs) == [identifier]
    await world.hear(_peer(0), Rpc(iwant=[identifier]))
    assert [m.data for m in (await world.said(_peer(0))).publish] == [b"x"]


async def test_peer_that_joins_again_and_again_is_sent_an_offer_and_not_the_messages() -> None:
    world = await World().start()
    identifier = await world.publish(bytes(100_000))
    peer = await world.add(0)
    for _ in range(5):
        await world.router.send_recent_messages(peer, TOPIC)
    await world.clear()
    await world.beat()
    rpc = await world.said(peer)
    assert list(rpc.control.ihave[0].messageIDs) == [identifier]
    assert len(rpc.publish) == 0


async def test_offer_is_asked_of_one_peer_only_and_within_the_budget(monkeypatch: Any) -> None:
    monkeypatch.setattr(router_module, "MAX_ASKED_PER_HEARTBEAT", 3)
    world = await World(2).start()
    await world.clear()
    offer = Rpc(ihave=[(TOPIC, [bytes((n,)) * 20 for n in range(5)])])
    await world.hear(_peer(0), offer)
    await world.hear(_peer(1), offer)
    asked = [[list(i.messageIDs) for i in (await world.said(_peer(n))).control.iwant] for n in (0, 1)]
    assert [len(ids[0]) for ids in asked] == [3, 2]
    await world.hear(_peer(0), Rpc(ihave=[(TOPIC, [b"short", b"z" * 21])]))
    assert not (await world.said(_peer(0))).control.iwant


async def test_more_than_ten_offers_in_a_heartbeat_are_not_read() -> None:
    world = await World(1).start()
    await world.clear()
    for number in range(12):
        await world.hear(_peer(0), Rpc(ihave=[(TOPIC, [bytes((number,)) * 20])]))
    assert len((await world.said(_peer(0))).control.iwant) == 10


async def test_asked_message_is_served_thrice_and_within_the_byte_budget(monkeypatch: Any) -> None:
    monkeypatch.setattr(router_module, "MAX_SERVED_BYTES", 3000)
    world = await World(2).start()
    identifiers = [await world.publish(bytes((n,)) * 1000) for n in range(4)]
    await world.clear()
    served = 0
    for _ in range(5):
        await world.hear(_peer(0), Rpc(iwant=[identifiers[0]]))
        served += len((await world.said(_peer(0))).publish)
    assert served == 3
    await world.hear(_peer(1), Rpc(iwant=identifiers))
    assert len((await world.said(_peer(1))).publish) == 3
    await world.beat()
    await world.clear()
    await world.hear(_peer(1), Rpc(iwant=identifiers))
    assert len((await world.said(_peer(1))).publish) == 3


async def test_one_control_message_carries_only_what_is_for_its_peer() -> None:
    world = await World(2).start()
    await world.clear()
    await world.router._emit_control_msgs({_peer(0): ["/a"], _peer(1): ["/b"]}, {}, {})
    assert [[g.topicID for g in (await world.said(_peer(n))).control.graft] for n in (0, 1)] == [["/a"], ["/b"]]


async def test_stock_router_adds_the_grafts_of_one_peer_to_those_of_the_next(monkeypatch: Any) -> None:
    stock = GossipSub(protocols=[MESHSUB[0]], degree=6, degree_low=4, degree_high=10)
    sent: dict[ID, list[str]] = {}

    async def note(control: Any, peer: ID) -> None:
        sent[peer] = [graft.topicID for graft in control.graft]

    monkeypatch.setattr(stock, "emit_control_message", note)
    await stock._emit_control_msgs({_peer(0): ["/a"], _peer(1): ["/b"]}, {}, {})
    assert sent == {_peer(0): ["/a"], _peer(1): ["/a", "/b"]}


async def test_peer_that_leaves_is_gone_from_every_table() -> None:
    world = await World(3).start()
    await world.hear(_peer(1), Rpc(ihave=[(TOPIC, [b"i" * 20])], messages=[(TOPIC, b"m")]))
    world.network.live.discard(_peer(1))
    world.pubsub._handle_dead_peer(_peer(1))
    router, pubsub = world.router, world.pubsub
    tables: list[Any] = [world.mesh, pubsub.peers, pubsub.peer_queues, pubsub.peer_topics[TOPIC], router.peer_protocol]
    tables += [router._budgets, router.dont_send_message_ids, pubsub._peer_subscription_count]
    assert not any(_peer(1) in table for table in tables)


async def test_lost_stream_of_a_connected_peer_keeps_what_the_peer_has_joined() -> None:
    world = await World(1).start()
    world.pubsub._handle_dead_peer(_peer(0))
    assert _peer(0) in world.pubsub.peer_topics[TOPIC]
    assert _peer(0) not in world.mesh


async def test_publish_to_a_peer_that_is_behind_waits_and_then_goes_on(autojump_clock: Any) -> None:
    world = await World(1).start()
    started = trio.current_time()
    for number in range(8):
        await world.publish(bytes((number,)) * 900_000)
    assert PACE_SECONDS <= trio.current_time() - started <= 8 * PACE_SECONDS
    assert world.counters.dropped["gossip outbox full"] >= 3


async def test_message_seen_from_the_mesh_is_not_published_again() -> None:
    world = await World(1).start()
    await world.clear()
    for _ in range(3):
        await world.publish(b"once")
    assert [m.data for m in (await world.said(_peer(0))).publish] == [b"once"]
    assert world.counters.gossip_published == 1


async def test_message_the_peer_reports_to_have_is_not_sent_from_the_queue() -> None:
    world = await World(1).start()
    await world.clear()
    identifiers = [await world.publish(data) for data in (b"1", b"2", b"3")]
    await world.hear(_peer(0), Rpc(idontwant=[identifiers[1]]))
    assert [m.data for m in (await world.said(_peer(0))).publish] == [b"1", b"3"]


async def test_relayed_envelope_names_no_origin() -> None:
    world = await World(2).start()
    await world.clear()
    message = rpc_pb2.Message(data=b"x", topicIDs=[TOPIC], from_id=OWN.to_bytes(), seqno=b"1", signature=b"s")
    await world.pubsub.push_msg(_peer(0), message)
    (relayed,) = (await world.said(_peer(1))).publish
    assert relayed == rpc_pb2.Message(data=b"x", topicIDs=[TOPIC])


async def test_peer_below_the_graylist_threshold_is_not_read() -> None:
    world = await World(1).start()
    world.scores[PeerId(_peer(0).to_base58())] = -50.0
    await world.hear(_peer(0), Rpc(messages=[(TOPIC, b"x")], subscriptions=[("/new", True)]))
    assert world.counters.gossip_received == 0
    assert "/new" not in world.pubsub.peer_topics


def test_versions_spoken_are_the_ones_without_extensions() -> None:
    assert MESHSUB == ("/meshsub/1.2.0", "/meshsub/1.1.0", "/meshsub/1.0.0")


# --- caches and outbox ------------------------------------------------------------------------------------------------


async def test_seen_messages_are_forgotten_in_time_and_bounded_in_number(autojump_clock: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("yumad.protocols.libp2p.message_cache.SEEN_LIMIT", 3)
    seen = SeenMessages()
    assert [seen.add(bytes((n,))) for n in (1, 2, 3, 3, 4)] == [True, True, True, False, True]
    assert [seen.has(bytes((n,))) for n in (1, 2, 3, 4)] == [False, True, True, True]
    await trio.sleep(121)
    seen.sweep()
    assert seen.length() == 0


def test_cache_is_keyed_by_content_and_bounded_by_bytes_and_heartbeats() -> None:
    cache = ContentCache(3, 6)
    first = rpc_pb2.Message(data=b"a", topicIDs=[TOPIC], from_id=b"x", seqno=b"1")
    cache.put(first)
    cache.put(rpc_pb2.Message(data=b"a", topicIDs=[TOPIC], from_id=b"y", seqno=b"2"))
    assert cache.window(TOPIC) == [id_of(first)]
    half = CACHE_BYTES // 2
    for number in range(4):
        cache.put(rpc_pb2.Message(data=bytes((number,)) * half, topicIDs=[TOPIC]))
    assert sum(len(message.data) for message in cache.msgs.values()) <= CACHE_BYTES
    assert cache.get(id_of(first)) is None
    for _ in range(6):
        cache.shift()
    assert cache.msgs == {}
    assert cache._bytes == 0


def test_message_id_is_20_bytes_of_topic_and_content() -> None:
    assert len(message_id("t", b"x")) == 20
    assert message_id("t", b"x") != message_id("u", b"x")
    assert message_id("ab", b"c") != message_id("a", b"bc")


async def test_outbox_gives_control_first_and_bounds_bytes() -> None:
    outbox = Outbox()
    assert outbox.put_message(b"1", b"m1")
    outbox.put_control(b"c1")
    assert outbox.put_message(b"2", b"m2")
    assert [await outbox.next() for _ in range(3)] == [b"c1", b"m1", b"m2"]
    assert outbox.put_message(b"3", bytes(OUTBOX_BYTES))
    assert not outbox.put_message(b"4", b"x")
    outbox.cancel(b"3")
    assert outbox.put_message(b"4", b"x")
    assert await outbox.next() == b"x"
    for _ in range(CONTROL_FRAMES + 1):
        outbox.put_control(b"c")
    assert outbox.overflown
    assert await outbox.next() is None


@pytest.mark.parametrize("verdict", [GossipVerdict.IGNORE, GossipVerdict.REJECT])
async def test_verdict_other_than_accept_relays_nothing(verdict: GossipVerdict) -> None:
    world = await World(3).start()
    world.pubsub.validators[TOPIC] = lambda sender, data: verdict
    await world.clear()
    for _ in range(2):
        await world.hear(_peer(0), Rpc(messages=[(TOPIC, b"x")]))
    assert [len((await world.said(_peer(n))).publish) for n in range(3)] == [0, 0, 0]
    assert world.counters.gossip_duplicate == 1
    assert world.reported == (["gossip rejected"] if verdict is GossipVerdict.REJECT else [])
