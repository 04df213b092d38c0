"""The gossip router as a state machine: mesh sizes, budgets, back-off, healing, bounds."""

from __future__ import annotations

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from yumad.protocols.libp2p import mesh as mesh_module
from yumad.protocols.libp2p.mesh import GossipMesh, MeshParameters
from yumad.protocols.libp2p.message_cache import CACHE_BYTES, MessageCache, message_id
from yumad.protocols.libp2p.rpc import Rpc
from yumad.protocols.transport import PeerId

TOPIC = "/yumad/t"


def _peer(number: int) -> PeerId:
    return PeerId(f"peer{number:02}")


def _mesh(peers: int, *, scores: dict[PeerId, float] | None = None, joined: bool = True) -> GossipMesh:
    mesh = GossipMesh(random.Random(1), lambda peer: (scores or {}).get(peer, 0.0))
    if joined:
        mesh.join(TOPIC, 0.0)
    for number in range(peers):
        mesh.add_peer(_peer(number), takes_idontwant=True)
        mesh.subscribed(_peer(number), TOPIC, True, 0.0)
    mesh.take_outgoing()
    return mesh


def test_mesh_fills_to_degree_low_as_peers_come_and_to_degree_at_a_heartbeat() -> None:
    mesh = _mesh(20)
    assert len(mesh.mesh_of(TOPIC)) == 4
    for _ in range(4):
        mesh.pruned(mesh.mesh_of(TOPIC)[0], TOPIC, 0, 1.0)
    mesh.heartbeat(2.0)
    assert len(mesh.mesh_of(TOPIC)) == 6


def test_mesh_over_degree_high_is_cut_to_degree_and_keeps_the_best() -> None:
    scores = {_peer(number): float(number) for number in range(20)}
    mesh = _mesh(20, scores=scores)
    for number in range(20):
        mesh.grafted(_peer(number), TOPIC, 1.0)
    assert len(mesh.mesh_of(TOPIC)) == 10  # grafts beyond are refused
    members = mesh.mesh_of(TOPIC)
    mesh._topics[TOPIC].mesh[_peer(19)] = None
    mesh._topics[TOPIC].mesh[_peer(18)] = None
    mesh.heartbeat(2.0)
    kept = mesh.mesh_of(TOPIC)
    assert len(kept) == 6
    assert set(sorted({*members, _peer(18), _peer(19)})[-4:]) <= set(kept)


def test_graft_in_backoff_or_with_bad_score_or_for_unknown_topic_is_pruned() -> None:
    scores = {_peer(1): -1.0}
    mesh = _mesh(0, scores=scores)
    for number in range(3):
        mesh.add_peer(_peer(number), takes_idontwant=True)
    mesh.pruned(_peer(0), TOPIC, 30, 0.0)
    mesh.take_outgoing()
    mesh.grafted(_peer(0), TOPIC, 29.0)
    mesh.grafted(_peer(1), TOPIC, 29.0)
    mesh.grafted(_peer(2), "/other", 29.0)
    out = mesh.take_outgoing()
    assert out[_peer(0)].prune == [(TOPIC, 60)]
    assert out[_peer(1)].prune == [(TOPIC, 60)]
    assert out[_peer(2)].prune == [("/other", 10)]
    assert mesh.mesh_of(TOPIC) == ()
    mesh.grafted(_peer(2), TOPIC, 29.0)
    assert mesh.mesh_of(TOPIC) == (_peer(2),)


def test_backoff_asked_by_a_peer_is_bounded() -> None:
    mesh = _mesh(1)
    mesh.pruned(_peer(0), TOPIC, 2**63, 0.0)
    mesh.grafted(_peer(0), TOPIC, mesh_module.MAX_BACKOFF + 1)
    assert mesh.mesh_of(TOPIC) == (_peer(0),)


def test_relay_goes_to_the_mesh_but_not_back_nor_to_those_who_have_it() -> None:
    mesh = _mesh(4)
    identifier = message_id(TOPIC, b"x")
    mesh.unwanted(_peer(1), [identifier])
    assert set(mesh.relay_to(identifier, TOPIC, b"x", _peer(0))) == {_peer(2), _peer(3)}


def test_large_message_is_announced_to_the_mesh_before_it_is_copied() -> None:
    mesh = _mesh(4)
    mesh.relay_to(b"i" * 20, TOPIC, bytes(5000), _peer(0))
    out = mesh.take_outgoing()
    assert {peer for peer, rpc in out.items() if rpc.idontwant == [b"i" * 20]} == {_peer(1), _peer(2), _peer(3)}
    mesh.relay_to(b"j" * 20, TOPIC, bytes(10), _peer(0))
    assert mesh.take_outgoing() == {}


def test_own_message_reaches_degree_peers_while_the_mesh_is_small_and_without_joining() -> None:
    mesh = _mesh(20)
    assert len(mesh.relay_to(b"i" * 20, TOPIC, b"x", None)) == 6
    outsider = _mesh(20, joined=False)
    assert len(outsider.relay_to(b"i" * 20, TOPIC, b"x", None)) == 6


def test_recent_messages_are_offered_outside_the_mesh_for_three_heartbeats() -> None:
    mesh = _mesh(12)
    mesh.relay_to(b"i" * 20, TOPIC, b"x", None)
    offers = []
    for beat in range(5):
        mesh.heartbeat(float(beat + 1))
        out = mesh.take_outgoing()
        offers.append(sum(bool(rpc.ihave) for rpc in out.values()))
    assert offers[:3] == [6, 6, 6]
    assert offers[3:] == [0, 0]


def test_lost_message_is_offered_to_the_mesh_peer_that_missed_it() -> None:
    mesh = _mesh(1)
    mesh.relay_to(b"i" * 20, TOPIC, b"x", None)
    mesh.lost(_peer(0), b"i" * 20, TOPIC)
    mesh.heartbeat(1.0)
    assert mesh.take_outgoing()[_peer(0)].ihave == [(TOPIC, [b"i" * 20])]
    assert mesh.wanted(_peer(0), [b"i" * 20]) == [(b"i" * 20, TOPIC, b"x")]


def test_peer_that_subscribes_is_offered_what_was_published_just_before() -> None:
    mesh = _mesh(0)
    mesh.relay_to(b"i" * 20, TOPIC, b"x", None)
    mesh.add_peer(_peer(0), takes_idontwant=True)
    mesh.subscribed(_peer(0), TOPIC, True, 0.5)
    mesh.heartbeat(1.0)
    assert mesh.take_outgoing()[_peer(0)].ihave == [(TOPIC, [b"i" * 20])]


def test_offer_is_asked_of_one_peer_only_and_within_the_budget() -> None:
    mesh = _mesh(3)
    wanted = [bytes((number % 256, number // 256)) * 10 for number in range(2000)]
    mesh.offered(_peer(0), TOPIC, wanted, 1.0)
    mesh.offered(_peer(1), TOPIC, wanted[:100], 1.0)
    mesh.offered(_peer(1), "/other", [b"z" * 20], 1.0)
    mesh.offered(_peer(1), TOPIC, [b"short"], 1.0)
    out = mesh.take_outgoing()
    assert len(out[_peer(0)].iwant) == mesh_module.MAX_ASKED_PER_HEARTBEAT
    assert _peer(1) not in out
    mesh.offered(_peer(1), TOPIC, wanted[:100], 1.0 + mesh_module.ASK_AGAIN_SECONDS)
    assert len(mesh.take_outgoing()[_peer(1)].iwant) == 100


def test_more_than_ten_offers_in_a_heartbeat_are_not_read() -> None:
    mesh = _mesh(1)
    for number in range(20):
        mesh.offered(_peer(0), TOPIC, [bytes((number,)) * 20], 1.0)
    assert len(mesh.take_outgoing()[_peer(0)].iwant) == 10


def test_asked_message_is_served_thrice_and_within_the_byte_budget() -> None:
    mesh = _mesh(1)
    mesh.relay_to(b"i" * 20, TOPIC, b"x", None)
    assert [len(mesh.wanted(_peer(0), [b"i" * 20])) for _ in range(5)] == [1, 1, 1, 0, 0]
    for number in range(10):
        mesh.relay_to(bytes((number,)) * 20, TOPIC, bytes(900_000), None)
    served = mesh.wanted(_peer(0), [bytes((number,)) * 20 for number in range(10)])
    assert len(served) == mesh_module.MAX_SERVED_BYTES // 900_000
    mesh.heartbeat(1.0)
    assert len(mesh.wanted(_peer(0), [bytes((number,)) * 20 for number in range(4, 10)])) == 4


def test_peer_that_leaves_is_gone_from_every_table() -> None:
    mesh = _mesh(4)
    mesh.relay_to(b"i" * 20, TOPIC, bytes(5000), _peer(1))
    mesh.remove_peer(_peer(0))
    assert _peer(0) not in mesh.mesh_of(TOPIC)
    assert _peer(0) not in mesh.take_outgoing()


def test_leaving_prunes_and_tells_everybody() -> None:
    mesh = _mesh(5)
    members = mesh.mesh_of(TOPIC)
    mesh.leave(TOPIC, 1.0)
    out = mesh.take_outgoing()
    assert {peer for peer, rpc in out.items() if rpc.prune} == set(members)
    assert all(rpc.subscriptions == [(TOPIC, False)] for rpc in out.values())
    assert len(out) == 5


def test_same_seed_makes_the_same_mesh() -> None:
    def members() -> tuple[PeerId, ...]:
        mesh = _mesh(30)
        mesh.heartbeat(1.0)
        return mesh.mesh_of(TOPIC)

    assert members() == members()


def test_message_id_is_20_bytes_of_topic_and_content() -> None:
    assert len(message_id("t", b"x")) == 20
    assert message_id("t", b"x") != message_id("u", b"x")
    assert message_id("ab", b"c") != message_id("a", b"bc")


def test_cache_is_bounded_by_bytes_time_and_count(monkeypatch) -> None:
    monkeypatch.setattr("yumad.protocols.libp2p.message_cache.SEEN_LIMIT", 100)
    cache = MessageCache(6)
    for number in range(300):
        identifier = number.to_bytes(20, "big")
        cache.put(identifier, TOPIC, bytes(200_000))
        cache.mark_seen(identifier, float(number))
    assert cache._bytes <= CACHE_BYTES
    assert len(cache._seen) == 100
    for _ in range(6):
        cache.shift(1000.0)
    assert cache._bytes == 0
    assert not cache._messages
    assert not cache._seen


class AnyTraffic(RuleBasedStateMachine):
    """Whatever peers say, in any order: nothing raises, tables stay within bounds."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.scores: dict[PeerId, float] = {}
        self.mesh = GossipMesh(random.Random(1), lambda peer: self.scores.get(peer, 0.0), MeshParameters())

    peers = st.integers(0, 14).map(_peer)
    topics = st.sampled_from(["/a", "/b", "/c"])
    ids = st.lists(st.integers(0, 30).map(lambda n: bytes((n,)) * 20) | st.binary(max_size=25), max_size=8)

    @rule(peer=peers, new=st.booleans())
    def add(self, peer: PeerId, new: bool) -> None:
        self.mesh.add_peer(peer, takes_idontwant=new)

    @rule(peer=peers)
    def remove(self, peer: PeerId) -> None:
        self.mesh.remove_peer(peer)

    @rule(topic=topics, joins=st.booleans())
    def join_or_leave(self, topic: str, joins: bool) -> None:
        (self.mesh.join if joins else self.mesh.leave)(topic, self.now)

    @rule(peer=peers, topic=topics, joins=st.booleans())
    def subscription(self, peer: PeerId, topic: str, joins: bool) -> None:
        self.mesh.subscribed(peer, topic, joins, self.now)

    @rule(peer=peers, topic=topics, backoff=st.integers(0, 2**64 - 1))
    def prune(self, peer: PeerId, topic: str, backoff: int) -> None:
        self.mesh.pruned(peer, topic, backoff, self.now)

    @rule(peer=peers, topic=topics)
    def graft(self, peer: PeerId, topic: str) -> None:
        self.mesh.grafted(peer, topic, self.now)

    @rule(peer=peers, topic=topics, identifiers=ids)
    def talk(self, peer: PeerId, topic: str, identifiers: list[bytes]) -> None:
        self.mesh.offered(peer, topic, identifiers, self.now)
        self.mesh.wanted(peer, identifiers)
        self.mesh.unwanted(peer, identifiers)
        for identifier in identifiers:
            self.mesh.lost(peer, identifier, topic)

    @rule(topic=topics, number=st.integers(0, 30), sender=peers | st.none(), size=st.sampled_from([1, 5000]))
    def message(self, topic: str, number: int, sender: PeerId | None, size: int) -> None:
        identifier = bytes((number,)) * 20
        self.mesh.mark_seen(identifier, self.now)
        assert sender not in self.mesh.relay_to(identifier, topic, bytes(size), sender)

    @rule(peer=peers, score=st.sampled_from([-50.0, -1.0, 0.0, 5.0]))
    def judge(self, peer: PeerId, score: float) -> None:
        self.scores[peer] = score

    @rule(seconds=st.sampled_from([0.5, 1.0, 100.0]))
    def heartbeat(self, seconds: float) -> None:
        self.now += seconds
        self.mesh.heartbeat(self.now)
        for topic in self.mesh.joined():
            members = self.mesh.mesh_of(topic)
            assert len(members) <= MeshParameters().degree_high
            assert all(self.scores.get(peer, 0.0) >= 0 for peer in members)

    @invariant()
    def outgoing_is_encodable_and_for_known_peers_in_meshes(self) -> None:
        for rpc in self.mesh.take_outgoing().values():
            assert isinstance(rpc, Rpc)
        for topic in self.mesh.joined():
            assert set(self.mesh.mesh_of(topic)) <= set(self.mesh._peers)


AnyTraffic.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestAnyTraffic = AnyTraffic.TestCase
