"""`yumad verify`: re-executes a stored chain from genesis and names the first thing that differs (DESIGN section 1).

Nothing stored is believed but the chain spec, which its own hash proves. Headers must link, bodies must match their
headers, certificates must carry a quorum of the set that the chain itself derived, execution must give every root,
and the stored state must be what execution gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..consensus.authority import AuthoritySet
from ..consensus.block import Block, decode_block, verify_body
from ..consensus.certificate import verify_certificate
from ..consensus.chain_spec import ChainSpec, decode_chain_spec, genesis_hash_of_bytes
from ..consensus.effects import BlockRef
from ..consensus.rules.checked import BrokenInvariantError, checked_rules_for
from ..consensus.rules.interface import BlockOutcome, Rules
from ..consensus.rules.registry import rules_for
from ..consensus.statement import Kind, VoteDomain
from ..consensus.types import ZERO_HASH, Era, Hash32, Height, InvalidError, Slot, YumadError
from ..consensus.working_chain import RootMismatchError, WorkingChain
from ..storage.chain import ChainStore

Progress = Callable[[int, int], None]
"""Called with (height done, height of F)."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first thing that is not as it must be."""

    height: int
    column: str
    """State column, or the part of the block: `header`, `body`, `certificate`, `results_root`, …"""
    reason: str


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was checked and how it ended."""

    genesis_hash: Hash32
    finalised: Height
    verified: Height
    """Blocks that re-executed to their roots."""
    state_root: Hash32
    """After the last verified block."""
    difference: Difference | None


class DiffersError(Exception):
    """A stored block is not what it must be."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column
        self.reason = reason


def verify_chain(
    store: ChainStore, progress: Progress = lambda done, total: None, *, invariants: bool = False
) -> VerifyReport:
    """Re-execute everything in `store`; with `invariants`, check after each block that the whole ledger adds up.

    Raises StorageError only when the file cannot be read at all.
    """
    spec_bytes = store.spec_bytes()
    point = store.finalised()
    if genesis_hash_of_bytes(spec_bytes) != store.genesis_hash:
        return _report(store, Height(0), ZERO_HASH, Difference(0, "spec", "the stored chain spec has another hash"))
    spec = decode_chain_spec(spec_bytes)
    verified, root = Height(0), ZERO_HASH
    try:
        for block, _ in executed_blocks(store, spec, checked_rules_for if invariants else rules_for):
            verified, root = block.header.height, block.header.state_root
            progress(verified, point.height)
    except DiffersError as differs:
        return _report(store, verified, root, Difference(verified + 1, differs.column, differs.reason))
    return _report(store, point.height, root, _compare_state(store, point.height))


def executed_blocks(
    store: ChainStore, spec: ChainSpec, rules_of: Callable[[int], Rules] = rules_for
) -> Iterator[tuple[Block, BlockOutcome]]:
    """Every stored block in order, executed on the state that those before it gave. Raises DiffersError."""
    rules = rules_of(spec.rules_version)
    authorities = rules.genesis_authorities(spec, store.genesis_hash)
    genesis = BlockRef(store.genesis_hash, Height(0), Slot(0), ZERO_HASH)
    chain = WorkingChain(spec, store.genesis_hash, rules.build_genesis(spec), genesis, rules=rules_of)
    parent = store.genesis_hash
    for height in range(1, store.finalised().height + 1):
        block = _stored_block(store, Height(height), parent)
        outcome = _execute(store, spec, chain, block, authorities)
        authorities = authorities if outcome.next_authorities is None else outcome.next_authorities
        parent = block.hash
        yield block, outcome


def _report(store: ChainStore, verified: Height, root: Hash32, difference: Difference | None) -> VerifyReport:
    return VerifyReport(store.genesis_hash, store.finalised().height, verified, root, difference)


def _stored_block(store: ChainStore, height: Height, parent: Hash32) -> Block:
    try:
        data = store.block_bytes(height)
    except YumadError as error:
        raise DiffersError("block", error.message) from error
    if data is None:
        raise DiffersError("body", "the block or its body is not stored; only an archive can be verified from genesis")
    try:
        block = decode_block(data)
    except YumadError as error:
        raise DiffersError("block", f"the stored bytes do not decode: {error.message}") from error
    if block.hash != store.block_hash(height):
        raise DiffersError("header", "the stored header has another hash than its block")
    if block.header.parent_hash != parent:
        raise DiffersError(
            "header", f"its parent hash is {block.header.parent_hash.hex()}, the parent is {parent.hex()}"
        )
    try:
        verify_body(block.header, block.body)
    except InvalidError as error:
        raise DiffersError("body", error.message) from error
    return block


def _execute(
    store: ChainStore, spec: ChainSpec, chain: WorkingChain, block: Block, authorities: AuthoritySet
) -> BlockOutcome:
    """Execute one block and check its certificate where one is kept."""
    header = block.header
    try:
        certificate = store.certificate(header.height)
    except YumadError as error:
        raise DiffersError("certificate", f"the stored bytes do not decode: {error.message}") from error
    is_boundary = header.height == spec.timing.boundary_of(Era(header.era))
    if certificate is None and is_boundary:
        raise DiffersError("certificate", "a boundary block without its finality certificate")
    if certificate is not None:
        if certificate.kind is not Kind.FINALIZE or certificate.statement.block_hash != block.hash:
            raise DiffersError("certificate", "the stored certificate finalises another block")
        try:
            verify_certificate(VoteDomain(store.genesis_hash), certificate, authorities)
        except InvalidError as error:
            raise DiffersError("certificate", error.message) from error
    try:
        outcome = chain.execute(block, authorities)
    except RootMismatchError as error:
        raise DiffersError(error.field, error.message) from error
    except BrokenInvariantError as error:
        raise DiffersError("the ledger", error.message) from error
    except InvalidError as error:
        raise DiffersError("block", error.message) from error
    chain.finalise(block.hash)
    return outcome


def _compare_state(store: ChainStore, height: Height) -> Difference | None:
    """The first stored column that is not what F's header commits, which re-execution has just confirmed."""
    fault = store.verify_columns()
    if fault is None:
        return None
    return Difference(height, fault.column or "the list of columns", str(fault))
