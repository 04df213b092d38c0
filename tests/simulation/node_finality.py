"""What a simulated node does when blocks become final: R7's order, the next era, and sync for who is behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.node_blocks import BlockWork
from simulation.world import SECOND
from yumad.consensus.block import Block
from yumad.consensus.certificate import Certificate
from yumad.consensus.effects import (
    BehindFinality,
    BlockRef,
    EraOpened,
    Finalise,
    SyncAdvanced,
)
from yumad.consensus.types import Hash32, View

if TYPE_CHECKING:
    pass

SYNC_RETRY = 3 * SECOND
SYNC_BLOCKS = 64


class FinalityWork(BlockWork):
    """The part of a node around its chain store."""

    # --- finality ---------------------------------------------------------------------------------------------------

    def finalise(self, effect: Finalise) -> None:
        """R7: certificate (stored already), chain store, floor; then the next era at a boundary."""
        driver = self.world.setting.driver
        self.point("finalise: certificate stored")
        view, height = effect.certificate.statement.view, self._height_of(effect)
        if driver.prunes_before_commit:
            for name in effect.chain:
                self.cache[name] = self.block(name) or self.world.blocks[name]
            self._prune(effect.certificate, height)
            self.point("finalise: pruned too early")
            self._commit(effect)
        else:
            self._commit(effect)
            self.point("finalise: committed")
            self._prune(effect.certificate, height)
        self.point("finalise: done")
        self._after_commit(view)

    def _height_of(self, effect: Finalise) -> int:
        if not effect.chain:
            return self.chain.finalised.height
        block = self.block(effect.block_hash)
        assert block is not None
        return block.header.height

    def _commit(self, effect: Finalise) -> None:
        chain, old = self.chain, self.chain.finalised.height
        blocks = []
        for name in effect.chain:
            block = self.block(name)
            assert block is not None, "a final block has a body"
            blocks.append((name, block))
        state = self.states[effect.block_hash] if effect.chain else chain.state
        finalised = BlockRef.of(blocks[-1][1].header, effect.block_hash) if blocks else chain.finalised
        chain.commit(blocks, effect.certificate, state, finalised)
        for name, block in blocks:
            self.world.truth.finalised(self, block.header.height, name)
        self.world.truth.committed(self, old)

    def _prune(self, certificate: Certificate, height: int) -> None:
        if self.guard is not None:
            self.guard.raise_floor(certificate.statement.era, certificate.statement.view, height)
            if not self.world.setting.driver.has_floor:
                self.guard.floor = None

    def _after_commit(self, view: View) -> None:
        chain = self.chain
        height = chain.finalised.height
        for name in [name for name, state in self.states.items() if state.height <= height]:
            del self.states[name]
        for name in [name for name, block in self.cache.items() if block.header.height <= height - 8]:
            del self.cache[name]
        for name in list(self._fetching):
            block = self.world.blocks.get(name)
            if block is not None and block.header.height <= height:
                del self._fetching[name]
        self.exchange.prune(chain.context.era, view)
        self.world.truth.provable(self)
        self.world.truth.bounded(self)
        self._open_era_if_due()

    def _open_era_if_due(self) -> None:
        chain = self.chain
        if chain.finalised.height == self.world.timing.boundary_of(chain.context.era):
            context = self.world.rules.next_context(chain.state, chain.context, chain.finalised)
            chain.open_era(context)
            self.evidence = []
            self.feed(self._in_era(EraOpened(context)))
            self.exchange.wake()

    # --- sync -------------------------------------------------------------------------------------------------------

    def behind(self, _: BehindFinality) -> None:
        """The engine misses the chain of a final block; if fetching does not help within a while, sync does."""
        self._want_sync(None)

    def _want_sync(self, target: int | None) -> None:
        if self._sync_target is None:
            self._sync_target = self.chain.finalised.height
            self.world.schedule(self.world.now + SYNC_RETRY, self._sync, target, node=self)

    def _sync(self, target: int | None) -> None:
        if self._sync_target is None:
            return
        moved = self.chain.finalised.height > self._sync_target
        self._sync_target = None
        if moved and target is None:
            return
        others = [node for node in self.world.nodes if node is not self]
        if not others:
            return
        peer = self.world.nodes[target] if target is not None else others[self.world.rng.randrange(len(others))]
        self.world.network.send(self, peer, "sync", self.chain.finalised.height)

    def _take_sync(self, reply: list[tuple[Hash32, Block, Certificate | None]]) -> None:
        """Verify and execute a range up to its last certificate; era by era."""
        chain, rules = self.chain, self.world.rules
        group: list[tuple[Hash32, Block]] = []
        state, parent = chain.state, chain.finalised
        is_advanced = False
        for name, block, certificate in reply:
            if block.header.height <= chain.finalised.height:
                continue
            if block.header.height != parent.height + 1 or block.header.parent_hash != parent.hash:
                return
            self.cache[name] = block
            after = self._run(name, block.header, state, chain.context)
            if after is None:
                return
            group.append((name, block))
            state, parent = after, BlockRef.of(block.header, name)
            if certificate is None or certificate.statement.block_hash != name:
                continue
            if not self.world.is_certified(certificate, chain.context.authorities):
                return
            old = chain.finalised.height
            chain.commit(group, certificate, state, parent)
            for final_name, final_block in group:
                self.world.truth.finalised(self, final_block.header.height, final_name)
            self.world.truth.committed(self, old)
            self._prune(certificate, parent.height)
            group, is_advanced = [], True
            if parent.height == self.world.timing.boundary_of(chain.context.era):
                chain.open_era(rules.next_context(state, chain.context, parent))
        if is_advanced:
            self.feed(self._in_era(SyncAdvanced(chain.context, chain.finalised, chain.view, chain.certificate)))
            if chain.certificate is not None:
                self.exchange.offer(chain.certificate)
            self._after_commit(chain.view)
