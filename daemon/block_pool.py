"""Bodies above the finalised point: proposals held for judgement and blocks fetched by hash (CHAIN section 7).

Un-notarised proposals share a byte budget so that a flood of proposals cannot grow memory; a block the engine asked
for, executed or saw notarised is pinned until finality passes it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from ..consensus.block import Block, encode_block
from ..consensus.types import Hash32, Height

HELD_BYTES: Final = 8 * 1024 * 1024
"""CHAIN section 7: held proposals, 8 MiB in all."""


class BlockPool:
    """Blocks by hash. `changed` of the budget is by encoded size."""

    def __init__(self, held_bytes: int = HELD_BYTES) -> None:
        self._limit = held_bytes
        self._pinned: dict[Hash32, Block] = {}
        self._held: OrderedDict[Hash32, tuple[Block, int]] = OrderedDict()
        self._held_bytes = 0

    def hold(self, block: Block) -> None:
        """Keep an unproven block; the oldest unproven ones go when the budget is spent."""
        block_hash = block.hash
        if block_hash in self._pinned or block_hash in self._held:
            return
        size = len(encode_block(block))
        self._held[block_hash] = (block, size)
        self._held_bytes += size
        while self._held_bytes > self._limit and len(self._held) > 1:
            _, (_, dropped) = self._held.popitem(last=False)
            self._held_bytes -= dropped

    def pin(self, block: Block) -> None:
        """Keep a block until finality passes it."""
        block_hash = block.hash
        self._unhold(block_hash)
        self._pinned[block_hash] = block

    def pin_held(self, block_hash: Hash32) -> None:
        """Pin a block that is only held, if it is."""
        held = self._unhold(block_hash)
        if held is not None:
            self._pinned[block_hash] = held

    def get(self, block_hash: Hash32) -> Block | None:
        """The block, or None."""
        block = self._pinned.get(block_hash)
        if block is None:
            held = self._held.get(block_hash)
            block = held[0] if held else None
        return block

    def prune(self, finalised: Height) -> None:
        """Drop every block at or below `finalised`."""
        for block_hash in [h for h, block in self._pinned.items() if block.header.height <= finalised]:
            del self._pinned[block_hash]
        for block_hash in [h for h, (block, _) in self._held.items() if block.header.height <= finalised]:
            self._unhold(block_hash)

    def _unhold(self, block_hash: Hash32) -> Block | None:
        entry = self._held.pop(block_hash, None)
        if entry is None:
            return None
        self._held_bytes -= entry[1]
        return entry[0]

    def __len__(self) -> int:
        return len(self._pinned) + len(self._held)
