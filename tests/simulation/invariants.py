"""What must hold after each event, whoever is bad and whatever breaks (CHAIN 6.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.toy_chain import ACCOUNTS, REWARD
from yumad.consensus.statement import Kind, Statement
from yumad.consensus.timing import MAX_UNFINALISED, UNFINALISED_SLACK, VIEW_WINDOW
from yumad.consensus.types import Hash32

if TYPE_CHECKING:
    from simulation.node import Node
    from simulation.world import World


class Violation(AssertionError):
    """An invariant broke; the text says which and where."""


class Fork(Violation):
    """Two final blocks of one height."""


class Truth:
    """The global record that no node can see."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.final: dict[int, Hash32] = {}
        self._votes: dict[tuple[int, int, int, Kind], Statement] = {}
        self.halts: list[tuple[int, int, str]] = []
        """(time, node position, reason)."""
        self.evidence = 0
        self.sealed: dict[Hash32, int] = {}
        """When each block was built."""
        self.delays: list[int] = []
        """From sealing to own finality, over all blocks and nodes, in microseconds."""
        self.first_final: dict[int, int] = {}
        """Height -> when the first node had it final."""
        self.checks_votes = True
        """False: a mutant's double signing is let through, to see what it leads to."""

    def finalised(self, node: Node, height: int, name: Hash32) -> None:
        """Finalised chains are prefixes of one another."""
        known = self.final.setdefault(height, name)
        self.first_final.setdefault(height, self._world.now)
        self.delays.append(self._world.now - self.sealed[name])
        if known != name:
            raise Fork(
                f"t={self._world.now / 1e6:.3f}s node {node.position} finalises {name.hex()[:12]} at height {height}, "
                f"{known.hex()[:12]} was final there"
            )

    def committed(self, node: Node, old_height: int) -> None:
        """F never goes back, issuance equals the schedule, the certificate of F is at hand."""
        chain = node.chain
        if chain.finalised.height < old_height:
            raise Violation(f"node {node.position}: F went back from {old_height} to {chain.finalised.height}")
        if chain.state.issuance != 100 * ACCOUNTS + REWARD * chain.finalised.height:
            raise Violation(f"node {node.position}: issuance {chain.state.issuance} at {chain.finalised.height}")
        if sum(chain.state.balances) != chain.state.issuance:
            raise Violation(f"node {node.position}: balances do not sum to the issuance")
        header = chain.blocks[-1][1].header
        if chain.state.root() != header.state_root and not node.is_drifting:
            raise Violation(f"node {node.position}: state root differs at {header.height}")

    def signed(self, node: Node, statement: Statement) -> None:
        """No honest key has conflicting statements, in all of history and over all crashes."""
        if not self.checks_votes or not node.is_honest or node.is_twin or node.number is None:
            return
        place = (node.number, statement.era, statement.view)
        known = self._votes.setdefault((*place, statement.kind), statement)
        if known != statement:
            raise Violation(f"honest key {node.number} signed two statements: {known} and {statement}")
        opposite = {Kind.NULLIFY: Kind.FINALIZE, Kind.FINALIZE: Kind.NULLIFY}.get(statement.kind)
        if opposite is not None and (*place, opposite) in self._votes:
            raise Violation(f"honest key {node.number} nullified and finalised view {statement.view}")

    def sent(self, node: Node, statement: Statement) -> None:
        """Each sent statement is in the guard, with the body of a block voted for."""
        guard = node.guard
        if guard is None or not node.is_honest:
            return
        if (statement.era, statement.view, statement.kind) not in guard.statements:
            raise Violation(f"node {node.position} sent a statement that its guard does not hold")
        if statement.kind in (Kind.PROPOSE, Kind.NOTARIZE):
            has_body = statement.block_hash in guard.bodies or node.chain.block(statement.block_hash) is not None
            if not has_body and not self._world.setting.driver.body_delay:
                raise Violation(f"node {node.position} voted for a block whose body its guard does not hold")

    def bounded(self, node: Node) -> None:
        """The windows bound what an engine holds."""
        votes, _, blocks = node.engine.held_count
        members = len(node.engine.context.authorities.members)
        if votes > members * 4 * 2 * (2 * VIEW_WINDOW + 1):
            raise Violation(f"node {node.position} holds {votes} votes of {members} members")
        if blocks > 4 * (MAX_UNFINALISED + UNFINALISED_SLACK):
            raise Violation(f"node {node.position} tracks {blocks} blocks")

    def provable(self, node: Node) -> None:
        """Each node can present the certificate of its F."""
        if node.chain.finalised.height and node.chain.finalised.height not in node.chain.certificates:
            raise Violation(f"node {node.position} cannot prove its finalised point")
