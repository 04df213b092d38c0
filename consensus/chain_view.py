"""What one peer knows of the chain from its finalised point upward, as questions the rules ask (CHAIN 1.3).

F = (view, block, certificate); above it certificates by view and blocks by hash. `View 0` is the opening block of the
era: it counts as notarised ground to build upon, but was not notarised *in* this era, so it is never proposed again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .block_tracker import BlockTracker
from .certificate import Certificate
from .certificate_store import CertificateStore
from .effects import BlockRef, EraContext
from .statement import Kind, Statement
from .types import Hash32, Height, View


class ContradictionError(Exception):
    """A certified block does not stand on F: the process must stop (R8)."""


@dataclass(slots=True)
class ChainView:
    """F and everything above it."""

    context: EraContext
    finalised: BlockRef
    finalised_view: View
    finality: Certificate | None
    """Certificate of F; None only for the opening block."""
    boundary: Height
    """Height of the era's last block."""
    certificates: CertificateStore = field(default_factory=CertificateStore)
    blocks: BlockTracker = field(default_factory=BlockTracker)

    def notarised_hash(self, view: View) -> Hash32 | None:
        """Block that may be built upon in `view`: F's, or one with a notarization above it."""
        if view == self.finalised_view:
            return self.finalised.hash
        statement = self.certificates.notarised(view) if view > self.finalised_view else None
        return None if statement is None else statement.block_hash

    def block(self, block_hash: Hash32) -> BlockRef | None:
        """Place of a block at or above F, if its header is here."""
        if block_hash == self.finalised.hash:
            return self.finalised
        tracked = self.blocks.get(block_hash)
        return None if tracked is None else tracked.ref

    def is_executed(self, block_hash: Hash32) -> bool:
        """Whether the state after the block is at hand; F's always is."""
        return block_hash == self.finalised.hash or self.blocks.is_executed(block_hash)

    def missing_nullifications(self, parent_view: View, view: View) -> tuple[View, ...]:
        """Views strictly between that no nullification held here skips: the heart of R3."""
        between = range(parent_view + 1, view)
        return tuple(View(skipped) for skipped in between if not self.certificates.has(Kind.NULLIFY, View(skipped)))

    def is_era_stop(self, parent_view: View, parent: BlockRef) -> bool:
        """R13: on the era's last block only itself may be proposed again. The opening block never triggers it."""
        return parent_view > 0 and parent.height == self.boundary

    def top(self, below: View) -> tuple[View, Hash32]:
        """Highest notarised view below `below` and its block; F when there is none above it."""
        statement = self.certificates.highest_notarised(below, self.finalised_view)
        if statement is None:
            return self.finalised_view, self.finalised.hash
        return statement.view, statement.block_hash

    def head(self) -> BlockRef:
        """Block of the highest notarised view that reaches F through known headers; unsafe to rely upon."""
        for view in range(self.certificates.highest, self.finalised_view, -1):
            statement = self.certificates.notarised(View(view))
            if statement is None:
                continue
            try:
                path = self.path(statement.block_hash)
            except ContradictionError:
                continue
            if path is not None:
                return path[-1] if path else self.finalised
        return self.finalised

    def path(self, block_hash: Hash32) -> list[BlockRef] | None:
        """Blocks from the first above F to this one, ascending; empty for F itself, None while a header is missing.

        Raises ContradictionError when the chain of the block passes F by.
        """
        path: list[BlockRef] = []
        while block_hash != self.finalised.hash:
            block = self.block(block_hash)
            if block is None:
                return None
            path.append(block)
            if block.height <= self.finalised.height + 1 and block.parent_hash != self.finalised.hash:
                raise ContradictionError(
                    f"block {block.hash.hex()[:16]} of height {block.height} does not stand on the finalised block "
                    f"{self.finalised.hash.hex()[:16]} of height {self.finalised.height}"
                )
            block_hash = block.parent_hash
        path.reverse()
        return path

    def contradiction(self, certificate: Certificate) -> Certificate | None:
        """A held certificate that cannot exist beside this one (R8), or None.

        A notarization whose parent view lies below F's contradicts F: by induction every block notarised after a
        final one descends from it (CHAIN 1.3, why it is safe, step 2).
        """
        statement = certificate.statement
        if statement.view > self.finalised_view:
            if certificate.kind is not Kind.NULLIFY and statement.parent_view < self.finalised_view:
                return self.finality
            return self.certificates.contradiction(certificate)
        if statement.view < self.finalised_view or self.finality is None:
            return None
        return self.finality if _differs(statement, self.finality.statement) else None


def _differs(statement: Statement, final: Statement) -> bool:
    """Whether a certificate of F's own view says something else than F's."""
    return statement.kind is Kind.NULLIFY or (statement.parent_view, statement.block_hash) != (
        final.parent_view,
        final.block_hash,
    )
