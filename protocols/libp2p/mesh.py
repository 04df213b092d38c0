"""Who gossips with whom: the gossipsub 1.2 router as a pure state machine (CHAIN section 7, LIBP2P section 2).

No I/O, no clock, no randomness of its own: time comes in with each call, choices from an injected generator. What
has to be sent is collected per peer and fetched with `take_outgoing`, so that all control for a peer shares one
RPC.

What it does beyond or against the library's router, each point a defect seen there:

* the cache is keyed by our content id (the library's by origin and sequence number, so IHAVE never matched);
* a message dropped on the way to a mesh peer is offered to it at the next heartbeat (there IHAVE never heals a mesh);
* IHAVE, IWANT and IDONTWANT are budgeted per peer and heartbeat, and control counts only for topics that we joined;
* peer exchange inside PRUNE is neither sent nor followed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from ..transport import PeerId
from .message_cache import ID_BYTES, MessageCache
from .rpc import Rpc

PRUNE_BACKOFF: Final = 60.0
"""Seconds before a pruned pair may graft again (gossipsub 1.1)."""

LEAVE_BACKOFF: Final = 10.0
"""The same after leaving a topic."""

MAX_BACKOFF: Final = 600.0
"""Longest back-off that a peer can ask of us."""

MAX_TOPICS_PER_PEER: Final = 64
"""Subscriptions of one peer that are remembered."""

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
"""IDONTWANT ids remembered per peer, for three heartbeats (LIBP2P 7)."""

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
class _Peer:
    topics: dict[str, None] = field(default_factory=dict)
    takes_idontwant: bool = False
    unwanted: dict[bytes, int] = field(default_factory=dict)
    """Id -> heartbeats left."""

    missed: dict[str, list[bytes]] = field(default_factory=dict)
    """Topic -> ids to offer at the next heartbeat."""

    ihaves: int = 0
    asked: int = 0
    served_bytes: int = 0
    served: dict[bytes, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Topic:
    mesh: dict[PeerId, None] = field(default_factory=dict)
    backoff: dict[PeerId, float] = field(default_factory=dict)


class GossipMesh:
    """Topics joined, peers and their subscriptions, meshes, cached messages."""

    def __init__(
        self,
        rng: random.Random,
        score: Callable[[PeerId], float],
        parameters: MeshParameters | None = None,
    ) -> None:
        self._rng = rng
        self._score = score
        self._parameters = parameters or MeshParameters()
        self._topics: dict[str, _Topic] = {}
        self._fanout: dict[str, dict[PeerId, None]] = {}
        self._peers: dict[PeerId, _Peer] = {}
        self._outgoing: dict[PeerId, Rpc] = {}
        self._cache = MessageCache(self._parameters.history)
        self._asked: dict[bytes, float] = {}

    # --- what to send -----------------------------------------------------------------------------------------------

    def take_outgoing(self) -> dict[PeerId, Rpc]:
        """Control messages collected since the last call, by peer."""
        outgoing, self._outgoing = self._outgoing, {}
        return outgoing

    def _to(self, peer: PeerId) -> Rpc:
        return self._outgoing.setdefault(peer, Rpc())

    # --- topics -----------------------------------------------------------------------------------------------------

    def joined(self) -> tuple[str, ...]:
        """Topics that we subscribe to."""
        return tuple(self._topics)

    def is_joined(self, topic: str) -> bool:
        """Whether we subscribe to the topic."""
        return topic in self._topics

    def mesh_of(self, topic: str) -> tuple[PeerId, ...]:
        """Mesh peers of a topic, for views and tests."""
        state = self._topics.get(topic)
        return tuple(state.mesh) if state is not None else ()

    def join(self, topic: str, now: float) -> None:
        """Subscribe and graft up to `degree` peers."""
        if topic in self._topics:
            return
        self._topics[topic] = _Topic()
        self._fanout.pop(topic, None)
        for peer in self._peers:
            self._to(peer).subscriptions.append((topic, True))
        self._fill(topic, self._parameters.degree, now)

    def leave(self, topic: str, now: float) -> None:
        """Unsubscribe and prune the mesh."""
        state = self._topics.pop(topic, None)
        if state is None:
            return
        for peer in state.mesh:
            self._to(peer).prune.append((topic, round(LEAVE_BACKOFF)))
        for peer in self._peers:
            self._to(peer).subscriptions.append((topic, False))

    # --- peers ------------------------------------------------------------------------------------------------------

    def add_peer(self, peer: PeerId, *, takes_idontwant: bool) -> None:
        """A gossip stream to the peer is up: greet it with our subscriptions."""
        state = self._peers.setdefault(peer, _Peer())
        state.takes_idontwant = takes_idontwant
        for topic in self._topics:
            self._to(peer).subscriptions.append((topic, True))

    def remove_peer(self, peer: PeerId) -> None:
        """The gossip stream to the peer is gone."""
        self._peers.pop(peer, None)
        self._outgoing.pop(peer, None)
        for state in self._topics.values():
            state.mesh.pop(peer, None)
        for fanout in self._fanout.values():
            fanout.pop(peer, None)

    def subscribed(self, peer: PeerId, topic: str, joins: bool, now: float) -> None:
        """The peer joined or left a topic. A joining one is offered what it may just have missed."""
        state = self._peers.get(peer)
        if state is None:
            return
        if not joins:
            state.topics.pop(topic, None)
            if topic in self._topics:
                self._topics[topic].mesh.pop(peer, None)
            return
        if topic in state.topics or len(state.topics) >= MAX_TOPICS_PER_PEER:
            return
        state.topics[topic] = None
        if topic in self._topics:
            if len(self._topics[topic].mesh) < self._parameters.degree_low and self._may_graft(peer, topic, now):
                self._graft(peer, topic)
            state.missed.setdefault(topic, []).extend(self._window(topic))

    # --- messages ---------------------------------------------------------------------------------------------------

    def is_seen(self, identifier: bytes, now: float) -> bool:
        """Whether the id was seen lately."""
        return self._cache.is_seen(identifier, now)

    def mark_seen(self, identifier: bytes, now: float) -> None:
        """Remember the id."""
        self._cache.mark_seen(identifier, now)
        self._asked.pop(identifier, None)

    def relay_to(self, identifier: bytes, topic: str, data: bytes, sender: PeerId | None) -> list[PeerId]:
        """Cache an accepted message and say to whom it goes. `sender` is None for one of our own."""
        self._cache.put(identifier, topic, data)
        targets = self._targets(topic, own=sender is None)
        receivers = []
        for peer in targets:
            state = self._peers.get(peer)
            if peer == sender or state is None or identifier in state.unwanted:
                continue
            receivers.append(peer)
        if sender is not None and len(data) >= UNWANTED_SIZE:
            for peer in targets:
                state = self._peers.get(peer)
                if peer != sender and state is not None and state.takes_idontwant:
                    self._to(peer).idontwant.append(identifier)
        return receivers

    def lost(self, peer: PeerId, identifier: bytes, topic: str) -> None:
        """A message could not be queued for a peer: offer it again at the next heartbeat."""
        state = self._peers.get(peer)
        if state is not None and len(state.missed.setdefault(topic, [])) < MAX_OFFERED:
            state.missed[topic].append(identifier)

    def _targets(self, topic: str, *, own: bool) -> tuple[PeerId, ...]:
        state = self._topics.get(topic)
        if state is not None:
            targets = dict(state.mesh)
        else:
            targets = self._fanout.setdefault(topic, {})
        if own and len(targets) < self._parameters.degree:
            # Our own message needs `degree` first hops also while the mesh is still forming.
            spare = [p for p, s in self._peers.items() if topic in s.topics and p not in targets and self._trusted(p)]
            for peer in self._sample(spare, self._parameters.degree - len(targets)):
                targets[peer] = None
        return tuple(targets)

    def _window(self, topic: str) -> list[bytes]:
        return self._cache.recent(topic, self._parameters.gossip_window)[:MAX_OFFERED]

    # --- control from peers -----------------------------------------------------------------------------------------

    def grafted(self, peer: PeerId, topic: str, now: float) -> None:
        """The peer wants us in its mesh."""
        state = self._topics.get(topic)
        known = peer in self._peers
        if state is None or not known:
            # Answering also for topics we never had tells it to stop; nothing is remembered.
            self._to(peer).prune.append((topic, round(LEAVE_BACKOFF)))
        elif peer in state.mesh:
            return
        elif not self._may_graft(peer, topic, now) or len(state.mesh) >= self._parameters.degree_high:
            self._prune(peer, topic, now)
        else:
            state.mesh[peer] = None
            self._peers[peer].topics.setdefault(topic, None)

    def pruned(self, peer: PeerId, topic: str, backoff: int, now: float) -> None:
        """The peer took us out of its mesh."""
        state = self._topics.get(topic)
        if state is None or peer not in self._peers:
            return
        state.mesh.pop(peer, None)
        self._back_off(state, peer, now + (min(float(backoff), MAX_BACKOFF) if backoff else PRUNE_BACKOFF))

    def offered(self, peer: PeerId, topic: str, identifiers: Iterable[bytes], now: float) -> None:
        """The peer has these messages (IHAVE): ask for the ones that we lack."""
        state = self._peers.get(peer)
        if state is None or topic not in self._topics or self._score(peer) < self._parameters.gossip_threshold:
            return
        state.ihaves += 1
        if state.ihaves > MAX_IHAVE_PER_HEARTBEAT:
            return
        for identifier in identifiers:
            if state.asked >= MAX_ASKED_PER_HEARTBEAT:
                break
            known = len(identifier) != ID_BYTES or self.is_seen(identifier, now)
            if known or self._asked.get(identifier, now) > now:
                continue
            state.asked += 1
            self._asked[identifier] = now + ASK_AGAIN_SECONDS
            self._to(peer).iwant.append(identifier)

    def wanted(self, peer: PeerId, identifiers: Iterable[bytes]) -> list[tuple[bytes, str, bytes]]:
        """The peer asks for messages (IWANT): those (id, topic, data) that it gets."""
        state = self._peers.get(peer)
        if state is None or self._score(peer) < self._parameters.gossip_threshold:
            return []
        found = []
        for identifier in identifiers:
            entry = self._cache.get(identifier)
            if entry is None:
                continue
            times = state.served.get(identifier, 0)
            if times >= MAX_SERVED_TIMES or state.served_bytes + len(entry[1]) > MAX_SERVED_BYTES:
                continue
            state.served[identifier] = times + 1
            state.served_bytes += len(entry[1])
            found.append((identifier, entry[0], entry[1]))
        return found

    def unwanted(self, peer: PeerId, identifiers: Iterable[bytes]) -> None:
        """The peer has these messages already and wants no copy (IDONTWANT)."""
        state = self._peers.get(peer)
        if state is None:
            return
        for identifier in identifiers:
            if len(state.unwanted) >= MAX_UNWANTED:
                break
            state.unwanted[identifier] = 3

    # --- heartbeat --------------------------------------------------------------------------------------------------

    def heartbeat(self, now: float) -> None:
        """Once a second: repair the meshes, offer recent messages, forget old ones, refill the budgets."""
        for topic in self._topics:
            self._maintain(topic, now)
        for topic in self._topics:
            self._emit_gossip(topic)
        for peer, state in self._peers.items():
            for topic, identifiers in state.missed.items():
                kept = [i for i in dict.fromkeys(identifiers) if self._cache.get(i) is not None]
                if kept and topic in state.topics:
                    self._to(peer).ihave.append((topic, kept[:MAX_OFFERED]))
            state.missed.clear()
            state.ihaves = state.asked = state.served_bytes = 0
            state.served = {i: n for i, n in state.served.items() if self._cache.get(i) is not None}
            state.unwanted = {i: left - 1 for i, left in state.unwanted.items() if left > 1}
        self._fanout.clear()
        self._cache.shift(now)
        self._asked = {i: until for i, until in self._asked.items() if until > now}

    def _maintain(self, topic: str, now: float) -> None:
        state = self._topics[topic]
        for peer in [p for p in state.mesh if self._score(p) < 0]:
            self._prune(peer, topic, now)
        if len(state.mesh) < self._parameters.degree_low:
            self._fill(topic, self._parameters.degree, now)
        elif len(state.mesh) > self._parameters.degree_high:
            # Two thirds of those that stay are the best by score, the rest is luck: scores cannot capture a mesh.
            ranked = sorted(self._shuffled(state.mesh), key=self._score, reverse=True)
            best = ranked[: self._parameters.degree * 2 // 3]
            rest = self._sample(ranked[len(best) :], self._parameters.degree - len(best))
            for peer in ranked:
                if peer not in best and peer not in rest:
                    self._prune(peer, topic, now)
        state.backoff = {p: until for p, until in state.backoff.items() if until > now}

    def _emit_gossip(self, topic: str) -> None:
        identifiers = self._window(topic)
        if not identifiers:
            return
        mesh = self._topics[topic].mesh
        others = [p for p, s in self._peers.items() if topic in s.topics and p not in mesh and self._trusted(p)]
        for peer in self._sample(others, max(self._parameters.degree, len(others) // 4)):
            self._to(peer).ihave.append((topic, identifiers))

    def _fill(self, topic: str, size: int, now: float) -> None:
        state = self._topics[topic]
        candidates = [p for p, s in self._peers.items() if topic in s.topics and self._may_graft(p, topic, now)]
        for peer in self._sample(candidates, size - len(state.mesh)):
            self._graft(peer, topic)

    def _may_graft(self, peer: PeerId, topic: str, now: float) -> bool:
        state = self._topics[topic]
        return peer not in state.mesh and not self._in_backoff(state, peer, now) and self._score(peer) >= 0

    def _graft(self, peer: PeerId, topic: str) -> None:
        self._topics[topic].mesh[peer] = None
        self._to(peer).graft.append(topic)

    def _prune(self, peer: PeerId, topic: str, now: float) -> None:
        state = self._topics[topic]
        state.mesh.pop(peer, None)
        self._back_off(state, peer, now + PRUNE_BACKOFF)
        self._to(peer).prune.append((topic, round(PRUNE_BACKOFF)))

    @staticmethod
    def _back_off(state: _Topic, peer: PeerId, until: float) -> None:
        state.backoff[peer] = max(until, state.backoff.get(peer, until))

    @staticmethod
    def _in_backoff(state: _Topic, peer: PeerId, now: float) -> bool:
        return state.backoff.get(peer, now) > now

    def _trusted(self, peer: PeerId) -> bool:
        return self._score(peer) >= self._parameters.gossip_threshold

    def _sample(self, peers: list[PeerId], size: int) -> list[PeerId]:
        if size <= 0:
            return []
        return self._rng.sample(peers, size) if len(peers) > size else peers

    def _shuffled(self, peers: Iterable[PeerId]) -> list[PeerId]:
        out = list(peers)
        self._rng.shuffle(out)
        return out
