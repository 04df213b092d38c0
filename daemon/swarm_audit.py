"""What must be true of a swarm after anything that was done to it: one chain, nothing lost, balances that add up.

The questions go to the peers' control sockets; nobody's word is taken for another's (CHAIN 6.3).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from ..consensus.types import YumadError
from .swarm import Swarm, SwarmPeer
from .swarm_load import TransferLoad

ASKED_OF_INDEX: Final = 500
"""Transactions of which a peer's index is asked; all are looked up in its blocks."""


@dataclass(frozen=True, slots=True)
class PeerChain:
    """The final chain of one peer as it tells it, heights 1 to `len(hashes)`."""

    name: str
    hashes: tuple[str, ...]
    state_roots: tuple[str, ...]
    transactions: dict[str, int]
    """Height by transaction id."""


@dataclass(slots=True)
class Sightings:
    """Every (height, hash) and (height, state root) that a peer ever called final while the swarm ran."""

    seen: dict[int, dict[str, str]] = field(default_factory=dict)
    """Height -> "hash/root" -> first peer that said so."""
    best: int = 0

    def look(self, peer: SwarmPeer) -> bool:
        """Note what a peer's newest status says; True when nobody had finalised that much before."""
        status = peer.status
        height = int(status.get("finalised", 0))
        if height == 0:
            return False
        claim = f"{status['finalised_hash']}/{status['state_root']}"
        self.seen.setdefault(height, {}).setdefault(claim, peer.name)
        if height <= self.best:
            return False
        self.best = height
        return True

    def forks(self, chain: PeerChain) -> list[str]:
        """Claims that differ from each other or from the chain at hand."""
        found = []
        for height, claims in sorted(self.seen.items()):
            for claim, name in claims.items():
                block_hash, _, root = claim.partition("/")
                if height <= len(chain.hashes) and (block_hash, root) != (
                    chain.hashes[height - 1],
                    chain.state_roots[height - 1],
                ):
                    found.append(f"{name} called {claim} final at height {height}, {chain.name} has another block")
        return found


@dataclass(frozen=True, slots=True)
class Audit:
    """The result; empty lists are good news."""

    common_height: int
    transactions_final: int
    forks: list[str]
    lost: list[str]
    wrong_balances: list[str]

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.forks or self.lost or self.wrong_balances)


def read_chain(peer: SwarmPeer, common: int) -> PeerChain:
    """Ask one peer for all its final blocks up to a height. Raises YumadError when it does not answer."""
    assert peer.client is not None, f"{peer.name} is not connected"
    hashes, roots, transactions = [], [], {}
    for height in range(1, common + 1):
        document = peer.client.call("block", at=str(height))
        if not document["final"]:
            raise YumadError(f"{peer.name} has no final block {height}, and had finalised {common}")
        hashes.append(document["hash"])
        roots.append(document["header"]["state_root"])
        for transaction in document["transactions"]:
            transactions[transaction["id"]] = height
    return PeerChain(peer.name, tuple(hashes), tuple(roots), transactions)


def audit(swarm: Swarm, load: TransferLoad, sightings: Sightings) -> Audit:
    """Compare all peers block by block, look for each transaction reported final, and add up the balances.

    The load must have stopped and nothing of it may wait, or balances would still move.
    """
    for peer in swarm.peers:
        swarm.check_alive(peer)
        swarm.poll(peer)
    common = min(int(peer.status["finalised"]) for peer in swarm.peers)
    chains = [read_chain(peer, common) for peer in swarm.peers]
    forks = list(load.contradictions) + sightings.forks(chains[0])
    for chain in chains[1:]:
        forks += _differences(chains[0], chain)
    lost = [text for peer, chain in zip(swarm.peers, chains, strict=True) for text in _lost(peer, chain, load)]
    return Audit(common, len(load.reported), forks, lost, _wrong_balances(swarm.peers, chains[0], load))


def _differences(one: PeerChain, other: PeerChain) -> Iterable[str]:
    for height, pair in enumerate(zip(one.hashes, other.hashes, strict=True), start=1):
        if pair[0] != pair[1]:
            yield f"height {height}: {one.name} has {pair[0][:16]}, {other.name} has {pair[1][:16]}"
            return
    if one.state_roots != other.state_roots:
        yield f"{one.name} and {other.name} have different state roots under equal hashes"


def _lost(peer: SwarmPeer, chain: PeerChain, load: TransferLoad) -> Iterable[str]:
    """Reported final by anybody, and not in this peer's chain at that height, or not found there by its index."""
    assert peer.client is not None
    step = max(1, len(load.reported) // ASKED_OF_INDEX)
    for number, (identity, report) in enumerate(load.reported.items()):
        if chain.transactions.get(identity) != report.height:
            yield f"{identity}: {report.peer} said block {report.height}, not so in the chain of {peer.name}"
            continue
        if number % step:
            continue
        try:
            state = peer.client.call("tx.show", id=identity)["state"]
        except YumadError as error:
            state = error.message
        if state != "final":
            yield f"{identity}: in block {report.height}, but {peer.name} says {state}"


def _wrong_balances(peers: Sequence[SwarmPeer], chain: PeerChain, load: TransferLoad) -> list[str]:
    expected = load.expected_balances([identity for identity in chain.transactions if identity in load.sent])
    wrong = []
    for peer in peers:
        assert peer.client is not None
        for name, amount in expected.items():
            free = int(peer.client.call("query", name="balance", params=[load.address(name)])["answer"])
            if free != amount:
                wrong.append(f"{peer.name}: {name} has {free} rao, its transfers leave {amount}")
    return wrong


__all__ = ["Audit", "PeerChain", "Sightings", "audit", "read_chain"]
