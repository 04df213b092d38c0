"""What the replay benchmarks share: a chain made by one development authority, and its replay as sync does it.

    from lone_authority import LoneAuthority, replay

Not a program by itself.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yumad.consensus.certificate import certificate_from_votes
from yumad.consensus.chain_spec import encode_chain_spec, genesis_hash_of_bytes
from yumad.consensus.dev_accounts import DevAuthority, dev_authority
from yumad.consensus.effects import BlockRef
from yumad.consensus.rules.registry import rules_for
from yumad.consensus.rules.v1.calls.table import call_named
from yumad.consensus.statement import Kind, SignedStatement, Statement, VoteDomain, signing_digest
from yumad.consensus.transaction import TransactionDomain, encode_transaction, fork_digest, sign_transaction
from yumad.consensus.types import ZERO_HASH, Era, Height, Rao, Slot, View
from yumad.consensus.working_chain import WorkingChain
from yumad.daemon.epoch_records import keep_epochs
from yumad.daemon.transaction_index import index_blocks
from yumad.storage.chain import ChainStore
from yumad.storage.index import IndexStore

if TYPE_CHECKING:
    from yumad.consensus.authority import AuthoritySet
    from yumad.consensus.block import Block
    from yumad.consensus.certificate import Certificate
    from yumad.consensus.chain_spec import ChainSpec
    from yumad.consensus.rules.interface import BlockOutcome
    from yumad.consensus.signature import KeyPair
    from yumad.consensus.state.state import State

BATCH = 64
"""Blocks of one durable commit, as in range sync."""

AUTHORITY_STAKE = Rao(1_000 * 10**9)


def with_authority(spec: ChainSpec) -> tuple[ChainSpec, DevAuthority]:
    """The spec with development authority 1 alone, staked if it was not: a chain that one process can decide."""
    authority = dev_authority(1, spec.name, spec.salt)
    entry = authority.spec
    stakes = {hotkey: (hotkey, coldkey, amount) for hotkey, coldkey, amount in spec.stakes}
    stakes.setdefault(entry.hotkey, (entry.hotkey, entry.coldkey, AUTHORITY_STAKE))
    return replace(spec, authorities=(entry,), stakes=tuple(sorted(stakes.values()))), authority


def signed_call(domain: TransactionDomain, key: KeyPair, call: str, *args: Any, nonce: int, valid_until: int) -> bytes:
    """Bytes of a transaction that names its call."""
    described = call_named(call)
    assert described is not None, call
    return encode_transaction(
        sign_transaction(domain, key, nonce=nonce, valid_until=valid_until, call=described.number, args=args)
    )


@dataclass(frozen=True, slots=True)
class MadeBlock:
    """A block, what finalises it, and who decided."""

    block: Block
    certificate: Certificate
    authorities: AuthoritySet


class LoneAuthority:
    """Builds a chain in memory, block by block, each with its certificate."""

    def __init__(self, spec: ChainSpec, prepare: Callable[[State], None] | None = None) -> None:
        """`prepare` changes the genesis state, for what no spec can say."""
        self.spec, self.authority = with_authority(spec)
        self.data = encode_chain_spec(self.spec)
        self.genesis_hash = genesis_hash_of_bytes(self.data)
        self._prepare = prepare
        rules = rules_for(self.spec.rules_version)
        self.chain = self.fresh_chain(self.genesis_state())
        self.genesis_authorities = rules.genesis_authorities(self.spec, self.genesis_hash)
        self.domain = TransactionDomain(self.genesis_hash, fork_digest(self.genesis_hash, 1, ZERO_HASH))
        self.made: list[MadeBlock] = []
        self._authorities = self.genesis_authorities
        self._view = 0
        self._heartbeats = 0

    def genesis_state(self) -> State:
        """The state that the chain begins with, made anew."""
        state = rules_for(self.spec.rules_version).build_genesis(self.spec)
        if self._prepare is not None:
            self._prepare(state)
        return state

    def fresh_chain(self, state: State, reload: Callable[[], State] | None = None) -> WorkingChain:
        """A working chain at height 0."""
        opening = BlockRef(self.genesis_hash, Height(0), Slot(0), ZERO_HASH)
        return WorkingChain(self.spec, self.genesis_hash, state, opening, reload=reload)

    @property
    def height(self) -> int:
        """Blocks made."""
        return len(self.made)

    def make(self, candidates: list[bytes]) -> BlockOutcome:
        """One more block, with a heartbeat of the authority at the start of an era."""
        height = self.height + 1
        era = Era(self.spec.timing.era_of(height))
        opens = (height - 1) % self.spec.era_blocks == 0
        self._view = 1 if opens else self._view + 1
        before = self.made[-2] if self.height >= 2 else None
        carried = before.certificate if before is not None and before.block.header.era == era else None
        block, outcome = self.chain.build(
            self.chain.finalised.hash,
            Slot(height),
            era,
            0,
            self._authorities,
            [*candidates, self._heartbeat(height)] if opens else candidates,
            carried,
        )
        self.made.append(MadeBlock(block, self._certificate(block, era), self._authorities))
        self.chain.finalise(block.hash)
        if outcome.next_authorities is not None:
            self._authorities = outcome.next_authorities
        return outcome

    def _heartbeat(self, height: int) -> bytes:
        self._heartbeats += 1
        return signed_call(
            self.domain,
            self.authority.hotkey,
            "authority.heartbeat",
            b"",
            nonce=self._heartbeats - 1,
            valid_until=height + 10,
        )

    def _certificate(self, block: Block, era: Era) -> Certificate:
        statement = Statement(Kind.FINALIZE, era, View(self._view), View(self._view - 1), block.hash)
        message = signing_digest(VoteDomain(self.genesis_hash), statement)
        return certificate_from_votes([SignedStatement(statement, 0, self.authority.key.sign(message))])


def replay(maker: LoneAuthority, folder: Path, *, skip_signatures: bool = False, warm_up: int = 0) -> float:
    """Seconds to execute, finalise, store and index the chain in a new folder, after the first `warm_up` blocks.

    Every root is compared. `warm_up` is a whole number of batches: a peer that starts builds its indexes then.
    """
    path = folder / "chain.db"
    ChainStore.create(
        path,
        maker.data,
        maker.genesis_hash,
        maker.genesis_state(),
        authorities=maker.genesis_authorities,
        era_blocks=maker.spec.era_blocks,
    )
    store, index = ChainStore.open(path, maker.genesis_hash), IndexStore.open(folder / "index.db")
    working = maker.fresh_chain(store.load_state(), store.load_state)
    gc.collect()
    gc.freeze()  # as a peer does when its chain is loaded
    started = time.perf_counter()
    try:
        for start in range(0, maker.height, BATCH):
            if start == warm_up:
                started = time.perf_counter()
            batch = maker.made[start : start + BATCH]
            for made in batch:
                working.execute(made.block, made.authorities, skip_signatures=skip_signatures)
            done = tuple(working.finalise(made.block.hash) for made in batch)
            certificates = {made.block.header.height: made.certificate for made in batch}
            last = batch[-1].certificate
            store.finalise(done, last, last.statement.view, certificates)
            index_blocks(index, maker.domain, done)
            keep_epochs(index, done, archive=False)
        return time.perf_counter() - started
    finally:
        store.close()
        index.close()
