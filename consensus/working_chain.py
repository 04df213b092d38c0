"""The working chain: one state that moves between F and the blocks above it (CHAIN 4.2, unfinalised blocks).

The state stands after one block, the head. Every executed block above F keeps its before-images as an open scope of the
state, so switching to another branch is rolling back to the common ancestor and executing forward. Finalising settles
the oldest scope and hands storage what the block changed. Nothing here touches a disk or a clock.

Not thread-safe: the caller runs one operation at a time, and a state view is valid until the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from .authority import NO_SET, AuthoritySet
from .block import MAX_BODY_BYTES, Block, commit_root, encode_body, tx_root, verify_body
from .certificate import Certificate
from .chain_spec import ChainSpec
from .effects import BlockRef
from .evidence import Evidence
from .header import Header
from .rules.interface import BlockContext, BlockOutcome, Rules, Verified, nothing_verified
from .rules.registry import rules_for
from .state.changes import StateChanges
from .state.merkle import merkle_root
from .state.state import State
from .statement import VoteDomain
from .transaction import TransactionDomain, fork_digest
from .types import ZERO_HASH, Era, Hash32, Height, InvalidError, Slot, YumadError

MAX_IMAGE_BYTES: Final = 256 << 20
"""Memory for before-images and changes of unfinalised blocks; above it the oldest are dropped and made again from F."""


class UnknownParentError(InvalidError):
    """The block's parent was not executed here: fetch and execute it first. Says nothing about the block."""

    code = "unknown_parent"


class RootMismatchError(InvalidError):
    """Execution gives something else than the header commits."""

    code = "root_mismatch"

    def __init__(self, field: str, header: Header, given: bytes, found: bytes) -> None:
        super().__init__(
            f"block {header.height}: {field} is {given.hex()} in the header, execution gives {found.hex()}",
            remedy="if a quorum signed this block, this peer computes differently: compare versions",
        )
        self.field = field
        """Name of the header field that differs."""


class DivergenceError(YumadError):
    """A notarised or final block does not execute here: the process must stop, not guess (R3)."""

    code = "divergence"


@dataclass(frozen=True, slots=True)
class FinalisedBlock:
    """What storage writes when a block becomes final."""

    header: Header
    hash: Hash32
    body: bytes
    """Canonical body bytes."""
    outcome: BlockOutcome
    changes: StateChanges
    """Difference to the parent's state."""


@dataclass(slots=True)
class _Executed:
    """An executed block above F."""

    block: Block
    ref: BlockRef
    authorities: AuthoritySet
    outcome: BlockOutcome
    changes: StateChanges | None
    """None when dropped to save memory: `_rebuild` makes it again."""


class WorkingChain:
    """See the module text."""

    def __init__(
        self,
        spec: ChainSpec,
        genesis_hash: Hash32,
        state: State,
        finalised: BlockRef,
        *,
        restart_hash: Hash32 = ZERO_HASH,
        verified: Verified = nothing_verified,
        reload: Callable[[], State] | None = None,
        rules: Callable[[int], Rules] = rules_for,
        max_image_bytes: int = MAX_IMAGE_BYTES,
    ) -> None:
        """`state` is the one after `finalised` (genesis: height 0, hash = genesis hash).

        `verified` knows transactions whose signature was checked in the pool. `reload` gives the stored state at F
        again; without it before-images are never dropped. `rules` is replaced only by tests.
        """
        self._spec = spec
        self._genesis_hash = genesis_hash
        self._state = state
        self._finalised = finalised
        self._finalised_root = state.root()
        self._vote_domain = VoteDomain(genesis_hash, restart_hash)
        self.verified = verified
        """Replaced once the pool is there; a miss only costs the check again."""
        self.skipped: tuple[tuple[Hash32, str], ...] = ()
        """Candidates that the last `build` passed over, with the error's name."""
        self._reload = reload
        self._rules = rules
        self._max_image_bytes = max_image_bytes
        self._executed: dict[Hash32, _Executed] = {}
        self._path: list[Hash32] = []
        """Blocks from F's child to the head; the state stands after the last of them."""
        self._dropped = 0
        """How many blocks at the start of `_path` have no before-images any more."""

    # --- where it stands ----------------------------------------------------------------------------------------------

    @property
    def finalised(self) -> BlockRef:
        """F: the newest final block."""
        return self._finalised

    @property
    def head(self) -> BlockRef:
        """The block after which the working state stands; F if nothing is executed above it."""
        return self._executed[self._path[-1]].ref if self._path else self._finalised

    def is_pending(self, block_hash: Hash32) -> bool:
        """Whether the block is executed and not yet final."""
        return block_hash in self._executed

    def is_executed(self, block_hash: Hash32) -> bool:
        """Whether the state after the block can be reached: pending or F."""
        return block_hash in self._executed or block_hash == self._finalised.hash

    def outcome(self, block_hash: Hash32) -> BlockOutcome | None:
        """What the execution of a pending block gave."""
        record = self._executed.get(block_hash)
        return None if record is None else record.outcome

    def block(self, block_hash: Hash32) -> Block | None:
        """A pending block."""
        record = self._executed.get(block_hash)
        return None if record is None else record.block

    @property
    def transaction_domain(self) -> TransactionDomain:
        """What transactions for the next block are signed for."""
        digest = fork_digest(self._genesis_hash, self._state.rules_version, self._vote_domain.restart_hash)
        return TransactionDomain(self._genesis_hash, digest)

    def state_at_finalised(self) -> State:
        """Read-only state at F, also while the head is ahead: what wallets and RPC read by default."""
        return self._view(0)

    def state_at_head(self) -> State:
        """Read-only state after the head: for the pool's checks and for readers that ask for unsafe data."""
        return self._state.view()

    def state_at(self, block_hash: Hash32) -> State:
        """Read-only state after F or a pending block; switches branches when needed. Raises UnknownParentError."""
        if block_hash == self._finalised.hash:
            return self._view(0)
        if block_hash not in self._path:
            self._go_to(block_hash)
        return self._view(self._path.index(block_hash) + 1)

    def _view(self, kept: int) -> State:
        """The state after the first `kept` blocks of the path."""
        if kept == len(self._path):
            return self._state.view()
        if kept >= self._dropped:
            return self._state.view(self._state.open_scopes()[kept - self._dropped])
        target = self._path[kept - 1] if kept else self._finalised.hash
        self._go_to(target)
        return self._state.view()

    # --- executing ----------------------------------------------------------------------------------------------------

    def execute(
        self, block: Block, authorities: AuthoritySet, *, must_succeed: bool = False, skip_signatures: bool = False
    ) -> BlockOutcome:
        """Execute `block` on its parent's state; `authorities` is the set of its era. Known blocks answer at once.

        Raises UnknownParentError when the parent is not executed, InvalidError when the block breaks a rule, and
        RootMismatchError naming the header field that differs; the state is then as before. With `must_succeed` (a
        notarised or final block) a refusal is raised as DivergenceError. `skip_signatures` is for blocks whose
        finality certificate was verified.
        """
        block_hash = block.hash
        known = self._executed.get(block_hash)
        if known is not None:
            return known.outcome
        parent = self._parent(block.header.parent_hash)
        try:
            self._check_place(block.header, parent, authorities)
            verify_body(block.header, block.body)
            self._go_to(parent.hash)
            return self._apply(block, block_hash, authorities, skip_signatures)
        except InvalidError as error:
            if must_succeed:
                raise DivergenceError(
                    f"block {block.header.height} has a quorum behind it and does not execute here: {error.message}",
                    remedy=error.remedy or "do not restart before the cause is known: compare versions with others",
                ) from error
            raise

    def build(
        self,
        parent_hash: Hash32,
        slot: Slot,
        era: Era,
        proposer_index: int,
        authorities: AuthoritySet,
        candidates: Iterable[bytes],
        certificate: Certificate | None = None,
        evidence: Iterable[Evidence] = (),
        *,
        signal: int | None = None,
        keep: bool = True,
    ) -> tuple[Block, BlockOutcome]:
        """Build a block on an executed parent from `candidates` (in order of preference) and execute it.

        Without `keep` the state goes back to the parent: a leader then verifies its own block like anybody's.

        `certificate` and `evidence` are included where the rules allow it. `signal` is the rules version this author
        is ready for, by default the present one. Raises UnknownParentError, or InvalidError for a place that no block
        may have (a slot not after the parent's, another era).
        """
        parent = self._parent(parent_hash)
        self._go_to(parent_hash)
        version = self._state.rules_version
        context = self._context(Height(parent.height + 1), era, slot, parent_hash, proposer_index, authorities)
        if slot <= parent.slot or era != self._spec.timing.era_of(context.height):
            raise InvalidError(f"no block of era {era} and slot {slot} may stand on block {parent.height}")
        mark = self._state.begin()
        try:
            selection = self._rules(version).select(
                self._state, context, candidates, certificate, evidence, self.verified
            )
            outcome, body, self.skipped = selection.outcome, selection.body, selection.skipped
            if len(encode_body(body)) > MAX_BODY_BYTES:
                raise InvalidError(f"the body made is larger than {MAX_BODY_BYTES} bytes")
            header = Header(
                rules_version=version,
                height=context.height,
                era=era,
                slot=slot,
                parent_hash=parent_hash,
                proposer_index=proposer_index,
                tx_root=tx_root(body),
                results_root=merkle_root(outcome.results),
                state_root=self._state.root(),
                authorities_hash=authorities.hash,
                next_authorities_hash=_next_hash(outcome),
                commit_root=commit_root(body),
                signal=version if signal is None else signal,
            )
            changes = self._state.changes_since(mark)
        except BaseException:
            self._state.rollback(mark)
            raise
        block = Block(header, body)
        if keep:
            self._push(block, block.hash, authorities, outcome, changes)
            self._trim()
        else:
            self._state.rollback(mark)
        return block, outcome

    def _parent(self, parent_hash: Hash32) -> BlockRef:
        if parent_hash == self._finalised.hash:
            return self._finalised
        record = self._executed.get(parent_hash)
        if record is None:
            raise UnknownParentError(
                f"parent {parent_hash.hex()[:16]} is not executed here",
                remedy="fetch and execute it first; a block below the finalised height can never be a parent",
            )
        return record.ref

    def _check_place(self, header: Header, parent: BlockRef, authorities: AuthoritySet) -> None:
        expected = {
            "rules_version": (header.rules_version, self._state.rules_version),
            "height": (header.height, parent.height + 1),
            "era": (header.era, self._spec.timing.era_of(parent.height + 1)),
        }
        for field, (given, wanted) in expected.items():
            if given != wanted:
                raise InvalidError(f"block {header.height}: {field} is {given}, expected {wanted}")
        if header.slot <= parent.slot:
            raise InvalidError(f"block {header.height}: slot {header.slot} is not after its parent's {parent.slot}")
        if header.authorities_hash != authorities.hash:
            raise RootMismatchError("authorities_hash", header, header.authorities_hash, authorities.hash)
        if header.proposer_index >= len(authorities.members):
            raise InvalidError(
                f"block {header.height}: proposer_index is {header.proposer_index}, the set has "
                f"{len(authorities.members)} members"
            )

    def _apply(
        self, block: Block, block_hash: Hash32, authorities: AuthoritySet, skip_signatures: bool
    ) -> BlockOutcome:
        header = block.header
        mark = self._state.begin()
        try:
            outcome = self._rules(header.rules_version).apply_block(
                self._state,
                self._context(
                    header.height, header.era, header.slot, header.parent_hash, header.proposer_index, authorities
                ),
                block.body,
                skip_signatures,
                self.verified,
            )
            for field, given, found in (
                ("results_root", header.results_root, merkle_root(outcome.results)),
                ("next_authorities_hash", header.next_authorities_hash, _next_hash(outcome)),
                ("state_root", header.state_root, self._state.root()),
            ):
                if given != found:
                    raise RootMismatchError(field, header, given, found)
            self._push(block, block_hash, authorities, outcome, self._state.changes_since(mark))
        except BaseException:
            self._state.rollback(mark)
            raise
        self._trim()
        return outcome

    def _context(
        self,
        height: Height,
        era: Era,
        slot: Slot,
        parent_hash: Hash32,
        proposer_index: int,
        authorities: AuthoritySet,
    ) -> BlockContext:
        return BlockContext(
            spec=self._spec,
            genesis_hash=self._genesis_hash,
            domain=self.transaction_domain,
            vote_domain=self._vote_domain,
            height=height,
            era=era,
            slot=slot,
            parent_hash=parent_hash,
            proposer_index=proposer_index,
            authorities=authorities,
        )

    def _push(
        self, block: Block, block_hash: Hash32, authorities: AuthoritySet, outcome: BlockOutcome, changes: StateChanges
    ) -> None:
        ref = BlockRef.of(block.header, block_hash)
        self._executed[block_hash] = _Executed(block, ref, authorities, outcome, changes)
        self._path.append(block_hash)

    # --- moving -------------------------------------------------------------------------------------------------------

    def _go_to(self, target: Hash32) -> None:
        """Bring the state to stand after `target`: F or a pending block."""
        wanted = self._branch(target)
        common = 0
        while common < min(len(wanted), len(self._path)) and wanted[common] == self._path[common]:
            common += 1
        if common < min(self._dropped, len(self._path)):
            self._rebuild()
            common = 0
        elif common < len(self._path):
            self._state.rollback(self._state.open_scopes()[common - self._dropped])
            del self._path[common:]
        for block_hash in wanted[common:]:
            self._execute_again(block_hash)

    def _branch(self, target: Hash32) -> list[Hash32]:
        """Blocks above F up to `target`, in height order."""
        branch: list[Hash32] = []
        while target != self._finalised.hash:
            branch.append(target)
            target = self._executed[target].ref.parent_hash if target in self._executed else self._parent(target).hash
        branch.reverse()
        return branch

    def _execute_again(self, block_hash: Hash32) -> None:
        """Execute a block that already succeeded once; another result is our own fault."""
        record = self._executed[block_hash]
        try:
            self._apply(record.block, block_hash, record.authorities, skip_signatures=True)
        except InvalidError as error:
            raise DivergenceError(
                f"block {record.ref.height} executed before and not again: {error.message}",
                remedy="this is a fault of this program or machine: check memory, then report it",
            ) from error

    def _rebuild(self) -> None:
        """Start again from the stored state at F, because before-images were dropped."""
        if self._reload is None:
            raise DivergenceError("before-images were dropped and there is no stored state to start from")
        state = self._reload()
        if state.root() != self._finalised_root:
            raise DivergenceError(
                f"the stored state is not that of the finalised block {self._finalised.height}",
                remedy="run `yumad verify` and restore the chain folder, or delete it to sync anew",
            )
        self._state = state
        self._path.clear()
        self._dropped = 0

    def _trim(self) -> None:
        """Keep the memory of unfinalised blocks below the cap by dropping the oldest images (CHAIN 4.2)."""
        if self._reload is None:
            return
        while self._dropped < len(self._path) - 1 and self._image_bytes() > self._max_image_bytes:
            self._executed[self._path[self._dropped]].changes = None
            self._state.settle(self._state.open_scopes()[0])
            self._dropped += 1

    def _image_bytes(self) -> int:
        kept = [record.changes.nbytes for record in self._executed.values() if record.changes is not None]
        return self._state.journal_bytes() + sum(kept)

    # --- finalising ---------------------------------------------------------------------------------------------------

    def finalise(self, block_hash: Hash32) -> FinalisedBlock:
        """Make a pending child of F final; its siblings and all that stands on them are forgotten.

        Raises InvalidError unless the block is executed and stands directly on F: blocks become final in height order.
        """
        record = self._executed.get(block_hash)
        if record is None:
            raise InvalidError(f"block {block_hash.hex()[:16]} is not executed, so it cannot be made final")
        if record.ref.parent_hash != self._finalised.hash:
            raise InvalidError(
                f"block {record.ref.height} does not stand on the finalised block {self._finalised.height}",
                remedy="finalise blocks in height order",
            )
        if record.changes is None:
            self._rebuild()
        if not self._path or self._path[0] != block_hash:
            self._go_to(block_hash)
            record = self._executed[block_hash]
        if record.changes is None:
            raise DivergenceError(f"the changes of block {record.ref.height} could not be made again")
        self._state.settle(self._state.open_scopes()[0])
        del self._path[0]
        self._finalised = record.ref
        self._finalised_root = record.block.header.state_root
        self._forget_others()
        return FinalisedBlock(
            record.block.header, block_hash, encode_body(record.block.body), record.outcome, record.changes
        )

    def _forget_others(self) -> None:
        """Keep only pending blocks that descend from F. Parents come before children in height order."""
        kept: dict[Hash32, _Executed] = {}
        for block_hash, record in sorted(self._executed.items(), key=lambda item: item[1].ref.height):
            if record.ref.parent_hash == self._finalised.hash or record.ref.parent_hash in kept:
                kept[block_hash] = record
        self._executed = kept


def _next_hash(outcome: BlockOutcome) -> Hash32:
    return NO_SET if outcome.next_authorities is None else outcome.next_authorities.hash


__all__ = [
    "MAX_IMAGE_BYTES",
    "DivergenceError",
    "FinalisedBlock",
    "RootMismatchError",
    "UnknownParentError",
    "WorkingChain",
]
