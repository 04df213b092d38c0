"""Fetching and executing blocks above F, parents first (CHAIN R3, R5, R9).

Executed are wanted blocks, those that a certificate names with their ancestors, and the current view's acceptable
proposal: never anything else, so a bad leader costs at most one execution a view.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .block_tracker import BlockState, TrackedBlock
from .certificate import Certificate
from .chain_view import ChainView
from .effects import AbandonExecution, CancelRequest, Effect, Execute, ExecutionFailure, RequestBlock
from .statement import Kind
from .timing import MAX_UNFINALISED, UNFINALISED_SLACK
from .types import Hash32, Micros, View

MOST_TRACED: Final = MAX_UNFINALISED + UNFINALISED_SLACK
"""Deepest block above F whose ancestors are fetched one by one; anything deeper is for sync."""


UNWANTED_VIEWS: Final = 8
"""Views after which the block of a proposal that no certificate names is forgotten, and the state after it with it.

A certificate that comes later still has it fetched and executed again. Without a bound an outage of a day would keep
one block and one state for each of its views.
"""


class Executions:
    """Orders to the executor and the block fetcher for one era."""

    def __init__(
        self, chain: ChainView, emit: Callable[[Effect], None], stop: Callable[[str, tuple[Certificate, ...]], None]
    ) -> None:
        self._chain = chain
        self._emit = emit
        self._stop = stop

    def request(self, name: Hash32, now: Micros) -> None:
        if name not in self._chain.blocks.requested and self._chain.block(name) is None:
            self._chain.blocks.requested[name] = now
            self._emit(RequestBlock(name))

    def order_wanted(self, now: Micros) -> None:
        """Execute what certificates name, parents first; fetch what is missing."""
        for name in list(self._chain.blocks.due):
            self._order(name, now)

    def order_proposal(self, name: Hash32) -> None:
        """Execute the current view's acceptable proposal, if its body is here and nothing was tried yet."""
        block = self._chain.blocks.get(name)
        if block is not None and block.state is BlockState.KNOWN:
            self._execute(block, must_succeed=False)

    def _order(self, name: Hash32, now: Micros) -> None:
        """One step for a block that a certificate needs; its ancestors become wanted too, up to F."""
        blocks = self._chain.blocks
        view = blocks.wanted[name]
        while True:
            block = blocks.get(name)
            if block is None:
                self.request(name, now)
                return
            if block.state is BlockState.REJECTED or (block.state is BlockState.RAISED and block.must_succeed):
                self._stop_on_failed(block, view)
                return
            if block.state is BlockState.EXECUTING:
                return
            parent = block.ref.parent_hash
            if self._chain.is_executed(parent):
                self._execute(block, must_succeed=True)
                return
            if block.ref.height <= self._chain.finalised.height + 1:
                self._stop_off_chain(block, view)
                return
            if block.ref.height - self._chain.finalised.height > MOST_TRACED:
                return
            blocks.want(parent, view)
            name = parent

    def _execute(self, block: TrackedBlock, *, must_succeed: bool) -> None:
        if block.state in (BlockState.KNOWN, BlockState.RAISED) and self._chain.is_executed(block.ref.parent_hash):
            block.state = BlockState.EXECUTING
            block.must_succeed = must_succeed or block.ref.hash in self._chain.blocks.wanted
            self._emit(Execute(block.header, block.must_succeed))

    def take_executed(self, name: Hash32) -> None:
        block = self._chain.blocks.get(name)
        if block is not None and block.state is BlockState.EXECUTING:
            block.state = BlockState.EXECUTED
            self._chain.blocks.due.pop(name, None)

    def take_failed(self, name: Hash32, failure: ExecutionFailure, reason: str) -> None:
        """R3: fatal only for a block that a certificate names; otherwise the view goes on without it."""
        block = self._chain.blocks.get(name)
        if block is None or block.state is not BlockState.EXECUTING:
            return
        block.state = BlockState.REJECTED if failure is ExecutionFailure.REJECTED else BlockState.RAISED
        block.reason = reason

    def abandon_unwanted(self) -> None:
        """Executions that no certificate and no open vote asks for stop at their next call."""
        for block in self._chain.blocks.executing():
            if block.ref.hash not in self._chain.blocks.wanted:
                block.state = BlockState.KNOWN
                self._emit(AbandonExecution(block.ref.hash))

    def cancel_unwanted(self) -> None:
        """The view was left: blocks of proposals that no certificate names are not fetched any longer."""
        blocks = self._chain.blocks
        for name in [name for name in blocks.requested if name not in blocks.wanted]:
            del blocks.requested[name]
            self._emit(CancelRequest(name))

    def forget_unwanted(self, below: View) -> None:
        """Blocks of views long left that no certificate names: their states may go."""
        for block in self._chain.blocks.drop_unwanted(below):
            if block.state in (BlockState.EXECUTING, BlockState.EXECUTED):
                self._emit(AbandonExecution(block.ref.hash))

    def _naming(self, view: View) -> tuple[Certificate, ...]:
        return tuple(kept for kept in self._chain.certificates.of(view) if kept.kind is not Kind.NULLIFY)

    def _stop_on_failed(self, block: TrackedBlock, view: View) -> None:
        self._stop(
            f"block {block.ref.hash.hex()} of height {block.ref.height} is certified, but this peer's own execution "
            f"failed: {block.reason}",
            self._naming(view),
        )

    def _stop_off_chain(self, block: TrackedBlock, view: View) -> None:
        finality = self._chain.finality
        self._stop(
            f"certified block {block.ref.hash.hex()} of height {block.ref.height} does not stand on the finalised "
            f"block {self._chain.finalised.hash.hex()} of height {self._chain.finalised.height}",
            (() if finality is None else (finality,)) + self._naming(view),
        )
