"""What a simulated node does with blocks: execute, build, fetch and hold bodies (CHAIN R2, R3, R9).

Execution takes time beside the driver and is a pure function of the parent's state and the block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from simulation.stores import ChainStore, Guard
from simulation.toy_chain import RejectedError, Sealed, ToyState, authority_key
from simulation.world import SECOND
from yumad.consensus.block import Block, Body
from yumad.consensus.certificate import Certificate
from yumad.consensus.effects import (
    AbandonExecution,
    BlockArrived,
    BlockBuilt,
    BlockExecuted,
    BlockFailed,
    BlockRef,
    Build,
    CancelRequest,
    EraContext,
    Event,
    Execute,
    ExecutionFailure,
    RequestBlock,
)
from yumad.consensus.engine import Engine
from yumad.consensus.evidence import Evidence
from yumad.consensus.header import Header, block_hash
from yumad.consensus.types import Hash32

if TYPE_CHECKING:
    from simulation.exchange import Exchange
    from simulation.world import World

FETCH_RETRY = SECOND


class BlockWork:
    """The part of a node around bodies and states, and what it is made with; `Node` adds the driver loop, `feed`."""

    engine: Engine
    exchange: Exchange
    feed: Callable[[Event], None]

    def __init__(self, world: World, position: int, number: int | None, chain: ChainStore) -> None:
        self.world = world
        self.position = position
        self.number = number
        self.key = None if number is None else authority_key(number)
        self.guard: Guard | None = None if number is None else world.setting.guard(None)
        self.chain = chain
        self.clock_offset = 0
        self.is_twin = False
        self.is_up = False
        self.life = 0
        self.is_drifting = False
        """Its arithmetic is wrong: a node that must stop itself."""
        self.raises_on: Hash32 | None = None
        """Block whose execution raises here."""
        self.slow_on: Hash32 | None = None
        """Block whose execution takes ten slots."""
        self.boots = 0
        self.builds_evidence = True

    # --- blocks -----------------------------------------------------------------------------------------------------

    def block(self, name: Hash32) -> Block | None:
        """A body at hand, wherever it is."""
        found = self.cache.get(name)
        if found is None and self.guard is not None:
            found = self.guard.bodies.get(name)
        return found or self.chain.block(name)

    def _ancestor_height(self, parent: Hash32, name: Hash32) -> int | None:
        """Height of `name` if it is an ancestor of the block after `parent`."""
        blocks = self.world.blocks
        for _ in range(100):
            block = blocks.get(parent)
            if block is None:
                return None
            if parent == name:
                return block.header.height
            parent = block.header.parent_hash
        return None

    def execute(self, effect: Execute) -> None:
        """Beside the driver, for a while; a result already here is given at once."""
        header = effect.header
        name = block_hash(header)
        if name in self.states:
            self.feed(BlockExecuted(name))
            return
        world = self.world
        self._timer_token += 1
        self._executing[name] = self._timer_token
        duration = 10 * world.setting.slot if name == self.slow_on else world.span(world.setting.execution)
        world.schedule(world.now + duration, self._executed, name, header, self._timer_token, node=self)

    def _executed(self, name: Hash32, header: Header, token: int) -> None:
        if self._executing.get(name) != token:
            return
        del self._executing[name]
        parent = self._state_of(header.parent_hash)
        if parent is None:
            return  # F passed it meanwhile
        if self.raises_on == name:
            self.feed(BlockFailed(name, ExecutionFailure.RAISED, "our own code failed"))
            return
        after = self._run(name, header, parent, self.engine.context)
        if after is None:
            self.feed(BlockFailed(name, ExecutionFailure.REJECTED, "roots differ or a rule is broken"))
        else:
            self.states[name] = after
            self.feed(BlockExecuted(name))

    def _state_of(self, name: Hash32) -> ToyState | None:
        return self.chain.state if name == self.chain.finalised.hash else self.states.get(name)

    def _run(self, name: Hash32, header: Header, parent: ToyState, context: EraContext) -> ToyState | None:
        """State after the block if every root of its header comes out."""
        world = self.world
        if not self.is_drifting and name in world.results:
            known = world.results[name]
            assert known is None or isinstance(known, ToyState)
            return known
        block = self.block(name)
        assert block is not None
        after = self._compute(header, block.body, parent, context)
        if not self.is_drifting:
            world.results[name] = after
        return after

    def _compute(self, header: Header, body: Body, parent: ToyState, context: EraContext) -> ToyState | None:
        world = self.world
        if body.certificate is not None and not self._is_known_certificate(body.certificate, header, context):
            return None
        members = context.authorities.members
        for item in body.evidence:
            for signed in (item.first, item.second):
                if signed.index >= len(members) or (members[signed.index].key, signed.statement) not in world.signed:
                    return None
        try:
            after, results, next_hash = world.rules.execute(
                parent,
                context,
                header.proposer_index,
                body,
                lambda name: self._ancestor_height(header.parent_hash, name),
            )
        except RejectedError:
            return None
        if self.is_drifting:
            return None
        if (after.root(), results, next_hash) != (
            header.state_root,
            header.results_root,
            header.next_authorities_hash,
        ):
            return None
        return after

    def _is_known_certificate(self, certificate: Certificate, header: Header, context: EraContext) -> bool:
        if certificate.statement.era == context.era:
            return self.world.is_certified(certificate, context.authorities)
        return False

    def abandon(self, effect: AbandonExecution) -> None:
        """The executor stops."""
        self._executing.pop(effect.block_hash, None)
        self.states.pop(effect.block_hash, None)

    def build(self, effect: Build) -> None:
        """Build beside the driver."""
        world = self.world
        world.schedule(world.now + world.span(world.setting.build), self._build, effect, node=self)

    def _build(self, effect: Build) -> None:
        sealed = self.seal(effect.parent, effect, with_transactions=True)
        if sealed is not None:
            self.feed(BlockBuilt(effect.view, sealed.block.header))

    def seal(self, parent: BlockRef, effect: Build, *, with_transactions: bool) -> Sealed | None:
        """A correct block on `parent`, registered with the world; None when F passed the parent."""
        state = self._state_of(parent.hash)
        context = self.engine.context
        index = context.authorities.index_of(self.key or b"")
        if state is None or index is None:
            return None
        body = self._body(state, parent, context, with_transactions=with_transactions)
        sealed = self.world.rules.seal(
            state, context, parent, effect.slot, index, body, lambda name: self._ancestor_height(parent.hash, name)
        )
        self.world.blocks[sealed.hash] = sealed.block
        self.world.truth.sealed.setdefault(sealed.hash, self.world.now)
        self.cache[sealed.hash] = sealed.block
        return sealed

    def _body(self, state: ToyState, parent: BlockRef, context: EraContext, *, with_transactions: bool) -> Body:
        rng = self.world.rng
        transactions = tuple(
            bytes([rng.randrange(8), rng.randrange(8), rng.randrange(20)])
            for _ in range(rng.randrange(3) if with_transactions else 1)
        )
        certificate = None
        for record in self.engine.finality_records():
            if state.certificate_height < record.block.height <= parent.height - 1 and (
                record.certificate.statement.era == context.era
            ):
                certificate = record.widest()
                break
        evidence: list[Evidence] = []
        for item in self.evidence if self.builds_evidence else []:
            index = item.first.index
            offence = (
                (context.authorities.members[index].key, context.era)
                if (item.first.statement.era == context.era)
                else None
            )
            is_new = all(item.first.index != other.first.index for other in evidence)
            if offence is not None and offence not in state.punished and is_new and len(evidence) < 4:
                evidence.append(item)
        return Body(certificate, tuple(evidence), transactions)

    def fetch(self, effect: RequestBlock) -> None:
        """Answer from what is here, else ask one peer after the other."""
        name = effect.block_hash
        if name not in self._fetching:
            self._fetching[name] = None
            self._fetch(name)

    def cancel_fetch(self, effect: CancelRequest) -> None:
        """Stop asking."""
        self._fetching.pop(effect.block_hash, None)

    def _fetch(self, name: Hash32) -> None:
        if name not in self._fetching:
            return
        block = self.block(name)
        if block is not None:
            del self._fetching[name]
            self.cache[name] = block
            self.feed(BlockArrived(block.header))
            return
        others = [node for node in self.world.nodes if node is not self]
        if not others:
            return
        target = others[self.world.rng.randrange(len(others))]
        self.world.network.send(self, target, "fetch", name)
        self.world.schedule(self.world.now + FETCH_RETRY, self._fetch, name, node=self)
