"""py-libp2p's gossipsub router with bounds (CHAIN section 7, LIBP2P sections 2, 7 and 8 items 6, 9, 14).

Meshes, fanout, heartbeat, GRAFT and PRUNE, IHAVE selection and IDONTWANT are the library's. Changed from outside, each
point a defect seen there:

* messages are cached and named by content, sent without a signed record, encoded once and not once per peer, and not
  queued for peers that never said they want them;
* a message dropped on the way to a mesh peer is offered to it at the next heartbeat (there IHAVE never heals a mesh);
* a peer's control counts only for topics that we joined, its back-off is bounded and forgotten; IHAVE and IWANT have a
  budget per peer and heartbeat; peer exchange inside PRUNE is neither sent nor followed;
* peers below a score of zero have no place in a mesh, and a full mesh takes nobody; nothing grafts beyond the degree.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import trio
from libp2p.custom_types import TProtocol
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID, PROTOCOL_ID_V11, PROTOCOL_ID_V12, GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.score import ScoreParams

from ..transport import PeerId
from .counters import Counters
from .ledger_scorer import LedgerScorer
from .message_cache import ID_BYTES, ContentCache, message_id
from .outbox import Outbox, encode_frame

MESHSUB: Final = (PROTOCOL_ID_V12, PROTOCOL_ID_V11, PROTOCOL_ID)
"""Versions spoken, preferred first. 1.2 adds IDONTWANT; later ones add nothing that we use."""

HEARTBEAT: Final = 1
"""Seconds between heartbeats; the library's default is 120 (LIBP2P 2)."""

PRUNE_BACKOFF: Final = 60
"""Seconds before a pruned pair may graft again (gossipsub 1.1)."""

LEAVE_BACKOFF: Final = 10
"""The same after leaving a topic."""

MAX_BACKOFF: Final = 600
"""Longest back-off that a peer can ask of us."""

MAX_IHAVE_PER_HEARTBEAT: Final = 10
MAX_ASKED_PER_HEARTBEAT: Final = 512
"""Messages asked of one peer per heartbeat."""

ASK_AGAIN_SECONDS: Final = 3.0
"""A message asked of one peer is asked of no other for this long."""

MAX_SERVED_BYTES: Final = 4 << 20
"""Payload sent to one peer per heartbeat because it asked: an IWANT of 26 bytes may fetch half a megabyte."""

MAX_SERVED_TIMES: Final = 3
"""Times one message is sent to one peer because it asked (gossipsub 1.1)."""

MAX_UNWANTED: Final = 1000
"""IDONTWANT ids remembered per peer (LIBP2P 7)."""

UNWANTED_SIZE: Final = 4096
"""Payloads of at least this size are announced with IDONTWANT; for smaller ones the copy is cheaper than the notice."""

MAX_OFFERED: Final = 1000
"""Ids in one of our IHAVEs."""


@dataclass(frozen=True, slots=True)
class MeshParameters:
    """Sizes and thresholds. Defaults are CHAIN 7's for at most 100 peers."""

    degree: int = 6
    degree_low: int = 4
    degree_high: int = 10
    history: int = 6
    """Heartbeats that a message stays fetchable."""

    gossip_window: int = 3
    """Heartbeats that a message is offered."""

    gossip_threshold: float = -10.0
    """Below it no IHAVE to or from the peer. CHAIN's -40 / -80 / -160, scaled to a ledger that disconnects at -20."""

    publish_threshold: float = -20.0
    """Below it its messages are dropped unread."""

    graylist_threshold: float = -40.0
    """Below it all its RPCs are dropped unread."""


@dataclass(slots=True)
class _Budget:
    """What one peer has used up since the last heartbeat, and what it missed."""

    ihaves: int = 0
    asked: int = 0
    served_bytes: int = 0
    served: dict[bytes, int] = field(default_factory=dict)
    missed: dict[str, list[bytes]] = field(default_factory=dict)
    """Topic -> ids to offer at the next heartbeat."""


class HardenedGossipSub(GossipSub):
    """The router of one peer. `pubsub` is a HardenedPubsub."""

    def __init__(
        self,
        parameters: MeshParameters,
        counters: Counters,
        *,
        rng: random.Random,
        score: Callable[[PeerId], float],
    ) -> None:
        params = ScoreParams(
            gossip_threshold=parameters.gossip_threshold,
            publish_threshold=parameters.publish_threshold,
            graylist_threshold=parameters.graylist_threshold,
        )
        super().__init__(
            protocols=[TProtocol(protocol) for protocol in MESHSUB],
            degree=parameters.degree,
            degree_low=parameters.degree_low,
            degree_high=parameters.degree_high,
            gossip_window=parameters.gossip_window,
            gossip_history=parameters.history,
            heartbeat_interval=HEARTBEAT,
            heartbeat_initial_delay=0.1,
            prune_back_off=PRUNE_BACKOFF,
            unsubscribe_back_off=LEAVE_BACKOFF,
            score_params=params,
            max_idontwant_messages=MAX_UNWANTED,
            adaptive_gossip_enabled=False,
            spam_protection_enabled=False,
            eclipse_protection_enabled=False,
        )
        self.mcache = self.cache = ContentCache(parameters.gossip_window, parameters.history)
        self.ledger = LedgerScorer(params, score)
        self.scorer = self.ledger
        self._counters = counters
        self._rng = rng
        self._budgets: defaultdict[ID, _Budget] = defaultdict(_Budget)
        self._asked: dict[bytes, float] = {}
        self._least_score = 0.0
        """Score that the next choice of peers asks for: zero for meshes, the gossip threshold for offers."""

    # --- messages ---------------------------------------------------------------------------------------------------

    async def publish(self, msg_forwarder: ID, pubsub_msg: Any) -> None:
        """Cache an accepted message and send it on. `msg_forwarder` is our own id for one of our own."""
        (topic,) = pubsub_msg.topicIDs
        identifier = message_id(topic, pubsub_msg.data)
        self.cache.keep(identifier, pubsub_msg)
        if len(pubsub_msg.data) >= UNWANTED_SIZE and not self._is_own(msg_forwarder):
            await self._emit_idontwant_for_message(identifier, [topic])
        self.time_since_last_publish[topic] = int(time.time())
        self.spread(identifier, pubsub_msg, self.receivers(topic, msg_forwarder, identifier))

    def receivers(self, topic: str, msg_forwarder: ID, identifier: bytes) -> list[ID]:
        """Peers to whom a message goes: the library's choice, and for one of our own at least `degree` first hops."""
        assert self.pubsub is not None
        chosen = list(self._get_peers_to_send([topic], msg_forwarder, msg_forwarder, identifier))
        if self._is_own(msg_forwarder) and len(chosen) < self.degree:
            subscribers = sorted(self.pubsub.peer_topics.get(topic, ()), key=ID.to_bytes)
            spare = [
                peer
                for peer in subscribers
                if peer not in chosen
                and peer in self.pubsub.peers
                and self.ledger.allow_gossip(peer, [topic])
                and identifier not in self.dont_send_message_ids.get(peer, ())
            ]
            room = self.degree - len(chosen)
            chosen += self._rng.sample(spare, room) if len(spare) > room else spare
        return chosen

    def spread(self, identifier: bytes, message: Any, receivers: Iterable[ID]) -> None:
        """Put one message into the outboxes of these peers, encoded once; who has no room is offered it again."""
        assert self.pubsub is not None
        # Of the envelope only topic and data go on: it is unsigned, and a copy that names a receiver as its origin
        # would make a stock host drop the message for good.
        bare = rpc_pb2.Message(data=message.data, topicIDs=message.topicIDs)
        frame = encode_frame(rpc_pb2.RPC(publish=[bare]))
        for peer in receivers:
            outbox = self.pubsub.peer_queues.get(peer)
            if not isinstance(outbox, Outbox) or not outbox.put_message(identifier, frame):
                self._counters.drop("gossip outbox full")
                self._missed(peer, message.topicIDs[0], [identifier])

    def _missed(self, peer: ID, topic: str, identifiers: list[bytes]) -> None:
        missed = self._budgets[peer].missed.setdefault(topic, [])
        if len(missed) < MAX_OFFERED:
            missed += identifiers

    async def send_recent_messages(self, peer_id: ID, topic: str) -> None:
        """Offer a peer that has just joined what it may have missed; the library sends it all, again at each join."""
        identifiers = self.mcache.window(topic)[:MAX_OFFERED]
        if identifiers and topic in self.mesh:
            self._missed(peer_id, topic, identifiers)

    async def flush_pending_messages(self, peer_id: ID) -> None:
        """Nothing is kept for peers that have not joined the topic."""

    def send_rpc(self, peer_id: ID, rpc: Any, priority: bool = False) -> None:
        """Queue one control RPC, without the signed record that the library puts into each."""
        assert self.pubsub is not None
        outbox = self.pubsub.peer_queues.get(peer_id)
        if isinstance(outbox, Outbox):
            rpc.ClearField("senderRecord")
            outbox.put_control(encode_frame(rpc))

    async def emit_control_message(self, control_msg: Any, to_peer: ID) -> None:
        """Queue control for a peer; the library makes sure of a signed record first."""
        self.send_rpc(to_peer, rpc_pb2.RPC(control=control_msg), priority=True)

    def _is_own(self, peer: ID) -> bool:
        assert self.pubsub is not None
        return bool(peer == self.pubsub.my_id)

    # --- control from peers -----------------------------------------------------------------------------------------

    async def handle_graft(self, graft_msg: Any, sender_peer_id: ID) -> None:
        """The peer wants us in its mesh."""
        topic = graft_msg.topicID
        full = topic in self.mesh and len(self.mesh[topic]) >= self.degree_high
        known = topic in self.mesh and sender_peer_id in self.mesh[topic]
        if known:
            return
        if full or self.ledger.ledger_score(sender_peer_id) < 0:
            self._add_back_off(sender_peer_id, topic, False)
            await self.emit_prune(topic, sender_peer_id, False, False)
            return
        await super().handle_graft(graft_msg, sender_peer_id)

    async def handle_prune(self, prune_msg: Any, sender_peer_id: ID) -> None:
        """The peer took us out of its mesh."""
        topic = prune_msg.topicID
        if topic in self.mesh:
            self.mesh[topic].discard(sender_peer_id)
            self._add_back_off(sender_peer_id, topic, False, min(prune_msg.backoff, MAX_BACKOFF))

    def _check_graft_flood_protection(self, peer_id: ID, topic: str) -> bool:
        # The back-off says the same, without a table that any peer can fill.
        return True

    async def handle_ihave(self, ihave_msg: Any, sender_peer_id: ID) -> None:
        """The peer has these messages: ask for the ones that we lack."""
        assert self.pubsub is not None
        budget = self._budgets[sender_peer_id]
        budget.ihaves += 1
        if (
            ihave_msg.topicID not in self.mesh
            or budget.ihaves > MAX_IHAVE_PER_HEARTBEAT
            or not self.ledger.allow_gossip(sender_peer_id, [])
        ):
            return
        now = trio.current_time()
        wanted = []
        for identifier in ihave_msg.messageIDs:
            if budget.asked >= MAX_ASKED_PER_HEARTBEAT:
                break
            known = len(identifier) != ID_BYTES or self.pubsub.seen_messages.has(identifier)
            if known or self._asked.get(identifier, now) > now:
                continue
            budget.asked += 1
            self._asked[identifier] = now + ASK_AGAIN_SECONDS
            wanted.append(identifier)
        if wanted:
            await self.emit_iwant(wanted, sender_peer_id)

    async def handle_iwant(self, iwant_msg: Any, sender_peer_id: ID) -> None:
        """The peer asks for messages: send those that are kept, within its budget."""
        if not self.ledger.allow_gossip(sender_peer_id, []):
            return
        budget = self._budgets[sender_peer_id]
        for identifier in iwant_msg.messageIDs:
            message = self.mcache.get(identifier)
            if message is None:
                continue
            times = budget.served.get(identifier, 0)
            if times >= MAX_SERVED_TIMES or budget.served_bytes + len(message.data) > MAX_SERVED_BYTES:
                continue
            budget.served[identifier] = times + 1
            budget.served_bytes += len(message.data)
            self.spread(identifier, message, [sender_peer_id])

    async def handle_idontwant(self, idontwant_msg: Any, sender_peer_id: ID) -> None:
        """The peer has these messages already and wants no copy, also none that still waits in its outbox."""
        assert self.pubsub is not None
        outbox = self.pubsub.peer_queues.get(sender_peer_id)
        if isinstance(outbox, Outbox):
            for identifier in idontwant_msg.messageIDs:
                outbox.cancel(identifier)
            await super().handle_idontwant(idontwant_msg, sender_peer_id)

    async def on_peer_subscribed(self, peer_id: ID, topic: str) -> None:
        """Graft a peer that has just joined while the mesh is small."""
        if self.ledger.ledger_score(peer_id) >= 0:
            await super().on_peer_subscribed(peer_id, topic)

    def remove_peer(self, peer_id: ID) -> None:
        """The gossip stream to the peer is gone."""
        super().remove_peer(peer_id)
        self._budgets.pop(peer_id, None)

    # --- heartbeat --------------------------------------------------------------------------------------------------

    def mesh_heartbeat(self) -> tuple[defaultdict[ID, list[str]], defaultdict[ID, list[str]]]:
        """Put bad peers out of the meshes, then let the library repair them."""
        bad = [(t, p) for t, peers in self.mesh.items() for p in peers if self.ledger.ledger_score(p) < 0]
        for topic, peer in bad:
            self.mesh[topic].discard(peer)
            self._add_back_off(peer, topic, False)
        grafts, prunes = super().mesh_heartbeat()
        for topic, peer in bad:
            prunes[peer].append(topic)
        for peer, topics in prunes.items():
            for topic in topics:
                self._add_back_off(peer, topic, False)
        return grafts, prunes

    def gossip_heartbeat(self) -> defaultdict[ID, dict[str, list[bytes]]]:
        """The library's offers to peers outside the meshes, and ours to those who missed something."""
        self._least_score = self.ledger.params.gossip_threshold
        try:
            offers = super().gossip_heartbeat()
        finally:
            self._least_score = 0.0
        for peer, budget in self._budgets.items():
            for topic, identifiers in budget.missed.items():
                kept = [i for i in dict.fromkeys(identifiers) if i in self.mcache.msgs]
                if kept:
                    offers[peer].setdefault(topic, kept)
        for per_topic in offers.values():
            for topic, identifiers in per_topic.items():
                per_topic[topic] = identifiers[:MAX_OFFERED]
        self._forget_old()
        return offers

    def _forget_old(self) -> None:
        assert self.pubsub is not None
        now = trio.current_time()
        self._budgets = defaultdict(
            _Budget,
            {
                peer: _Budget(served={i: n for i, n in budget.served.items() if i in self.mcache.msgs})
                for peer, budget in self._budgets.items()
                if budget.served and peer in self.pubsub.peers
            },
        )
        self._asked = {i: until for i, until in self._asked.items() if until > now}
        for topic, peers in list(self.back_off.items()):
            self.back_off[topic] = {peer: until for peer, until in peers.items() if until > int(time.time())}
            if not self.back_off[topic]:
                del self.back_off[topic]

    async def _emit_control_msgs(
        self,
        peers_to_graft: dict[ID, list[str]],
        peers_to_prune: dict[ID, list[str]],
        peers_to_gossip: dict[ID, dict[str, list[bytes]]],
    ) -> None:
        """One control message per peer. (The library's adds the grafts of one peer to those of the next.)"""
        for peer in dict.fromkeys([*peers_to_graft, *peers_to_prune, *peers_to_gossip]):
            control = self.pack_control_msgs(
                [
                    rpc_pb2.ControlIHave(topicID=topic, messageIDs=identifiers)
                    for topic, identifiers in peers_to_gossip.get(peer, {}).items()
                ],
                [rpc_pb2.ControlGraft(topicID=topic) for topic in peers_to_graft.get(peer, ())],
                [rpc_pb2.ControlPrune(topicID=topic, backoff=PRUNE_BACKOFF) for topic in peers_to_prune.get(peer, ())],
            )
            await self.emit_control_message(control, peer)

    def _get_in_topic_gossipsub_peers_from_minus(
        self, topic: str, num_to_select: int, minus: Iterable[ID], backoff_check: bool = False
    ) -> list[ID]:
        assert self.pubsub is not None
        if topic not in self.pubsub.peer_topics:
            return []
        unfit = [p for p in self.pubsub.peer_topics[topic] if self.ledger.ledger_score(p) < self._least_score]
        # A back-off keeps a peer out of the mesh, and is no reason to offer it nothing.
        in_mesh_choice = backoff_check and self._least_score >= 0
        chosen: list[ID] = super()._get_in_topic_gossipsub_peers_from_minus(
            topic, num_to_select, [*minus, *unfit], in_mesh_choice
        )
        return chosen

    def _perform_opportunistic_grafting(self, topic: str, peers_to_graft: Any) -> int:
        return 0

    async def _maintain_mesh_quality(self, topic: str) -> None:
        return

    def _periodic_security_cleanup(self) -> None:
        return
