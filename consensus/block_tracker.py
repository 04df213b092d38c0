"""Blocks above the finalised point: which bodies are at hand, which were executed, which are wanted (CHAIN R3, R5).

The engine never holds a body. A block is tracked when its body is at hand; it is *wanted* when a certificate, or a
wanted descendant, names it: wanted blocks are fetched and executed whatever this peer thought of them before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from .effects import BlockRef
from .header import Header, block_hash
from .statement import Statement
from .types import Hash32, Height, Micros, View


class BlockState(Enum):
    """How far a tracked block has come."""

    KNOWN = "known"
    """The body is at hand."""
    EXECUTING = "executing"
    """An answer is outstanding; any other answer is stale."""
    EXECUTED = "executed"
    """Our arithmetic gave its roots; the driver holds the state after it."""
    REJECTED = "rejected"
    """It breaks a rule here: fatal once a certificate names it."""
    RAISED = "raised"
    """Our code failed on it: not checkable, fatal once a certificate names it and it fails again."""


@dataclass(slots=True)
class TrackedBlock:
    """One block whose body is at hand."""

    header: Header
    ref: BlockRef
    last_view: View
    """Highest view that names it; it is dropped when F passes that view."""
    state: BlockState = BlockState.KNOWN
    must_succeed: bool = False
    """The outstanding or last execution was of a block that a certificate names."""
    reason: str = ""
    """Why it failed."""


class BlockTracker:
    """Blocks above F by hash, in order of arrival."""

    def __init__(self) -> None:
        self._blocks: dict[Hash32, TrackedBlock] = {}
        self.wanted: dict[Hash32, View] = {}
        """Named by a certificate, with the highest such view."""
        self.due: dict[Hash32, None] = {}
        """Wanted and not yet executed."""
        self.requested: dict[Hash32, Micros] = {}
        """When a missing block was first asked for."""

    def get(self, name: Hash32) -> TrackedBlock | None:
        """The tracked block, or None."""
        return self._blocks.get(name)

    def add(self, header: Header, name: Hash32, view: View) -> TrackedBlock:
        """Track a block whose body is at hand; a second call only raises its view."""
        block = self._blocks.get(name)
        if block is None:
            block = self._blocks[name] = TrackedBlock(header, BlockRef.of(header, name), view)
            self.requested.pop(name, None)
        block.last_view = max(block.last_view, view, self.wanted.get(name, View(0)))
        return block

    def restore(self, headers: Iterable[Header], named: Iterable[Statement], height: Height, view: View) -> None:
        """Track bodies that the guard held above F, at `height` and `view`; the view of each is the highest that an own
        statement or a certificate gives it."""
        views: dict[Hash32, View] = {}
        for statement in named:
            views[statement.block_hash] = max(statement.view, views.get(statement.block_hash, View(0)))
        for header in headers:
            name = block_hash(header)
            if header.height > height and views.get(name, View(0)) > view:
                self.add(header, name, views[name])

    def want(self, name: Hash32, view: View) -> None:
        """A certificate of `view`, or a descendant named by one, needs this block executed."""
        self.wanted[name] = max(view, self.wanted.get(name, View(0)))
        block = self._blocks.get(name)
        if block is not None:
            block.last_view = max(block.last_view, view)
        if block is None or block.state is not BlockState.EXECUTED:
            self.due[name] = None

    def is_executed(self, name: Hash32) -> bool:
        """Whether the state after the block is at hand."""
        block = self._blocks.get(name)
        return block is not None and block.state is BlockState.EXECUTED

    def executing(self) -> list[TrackedBlock]:
        """Blocks with an execution outstanding."""
        return [block for block in self._blocks.values() if block.state is BlockState.EXECUTING]

    def drop_unwanted(self, below: View) -> list[TrackedBlock]:
        """Forget, and return, blocks that no certificate names and no view from `below` on."""
        gone = [block for name, block in self._blocks.items() if block.last_view < below and name not in self.wanted]
        for block in gone:
            del self._blocks[block.ref.hash]
        return gone

    def drop_through(self, finalised: BlockRef, view: View) -> None:
        """Forget everything that the new F has passed by height or by view (R7)."""
        for name, block in list(self._blocks.items()):
            if block.ref.height <= finalised.height or block.last_view <= view:
                del self._blocks[name]
        for table in (self.wanted, self.due, self.requested):
            for name in list(table):
                if self.wanted.get(name, View(0)) <= view or name == finalised.hash:
                    table.pop(name)

    def __len__(self) -> int:
        return len(self._blocks)
