"""Chains and statements for storage tests: real state, headers and roots; signatures are not storage's business."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from yumad.consensus.authority import Authority, AuthoritySet, era_seed
from yumad.consensus.block import EMPTY_BODY, Block, Body, encode_body
from yumad.consensus.certificate import Certificate
from yumad.consensus.evidence import Evidence, make_evidence
from yumad.consensus.header import Header, block_hash
from yumad.consensus.signature import KeyPair
from yumad.consensus.state.changes import StateChanges
from yumad.consensus.state.column import ColumnSpec
from yumad.consensus.state.state import State
from yumad.consensus.statement import Kind, SignedStatement, Statement
from yumad.consensus.types import (
    ZERO_HASH,
    AuthorityKey,
    Era,
    Hash32,
    Height,
    Signature,
    Slot,
    View,
)
from yumad.storage.chain import ChainStore

ERA_BLOCKS = 20
GENESIS = Hash32(b"\x11" * 32)
KEY = KeyPair(bytes(range(32)))


@dataclass(frozen=True, slots=True)
class MadeBlock:
    """The attributes of `FinalisedBlock` that storage reads."""

    header: Header
    hash: Hash32
    body: bytes
    outcome: Any
    changes: StateChanges


def certificate_of(kind: Kind, era: int, view: int, block: Hash32, parent_view: int | None = None) -> Certificate:
    """A certificate with one made-up signature."""
    parent = 0 if kind is Kind.NULLIFY else (view - 1 if parent_view is None else parent_view)
    statement = Statement(kind, Era(era), View(view), View(parent), ZERO_HASH if kind is Kind.NULLIFY else block)
    return Certificate(statement, (0,), (Signature(bytes([view % 256]) * 64),))


def signed(
    kind: Kind, view: int, block: Hash32 = ZERO_HASH, *, era: int = 0, parent_view: int | None = None, salt: int = 0
) -> SignedStatement:
    """An own statement. Signature bytes follow from the content, as Ed25519's do."""
    parent = 0 if kind is Kind.NULLIFY else (view - 1 if parent_view is None else parent_view)
    statement = Statement(kind, Era(era), View(view), View(parent), ZERO_HASH if kind is Kind.NULLIFY else block)
    mark = bytes([kind, view % 256, parent % 256, salt]) * 16
    return SignedStatement(statement, 0, Signature(mark))


class ChainFactory:
    """Grows one chain block by block on a real `State`."""

    def __init__(self, rows: int = 4000) -> None:
        self.state = State([ColumnSpec("balances/free", "<u8"), ColumnSpec("neurons/last_update", "<u4", (4,))])
        self.state.resize("balances/free", rows)
        self.state.resize("neurons/last_update", 200)
        self.state.write("balances/free", 7, 10**12)
        self.genesis_root = self.state.root()
        self.authorities = AuthoritySet((Authority(AuthorityKey(KEY.public_key), 10),), era_seed(GENESIS, Era(0), None))
        self.parent, self.height = GENESIS, 0

    def create(self, path: Path) -> None:
        """The database at height 0; call before the first block."""
        ChainStore.create(path, b"spec bytes", GENESIS, self.state, authorities=self.authorities, era_blocks=ERA_BLOCKS)

    def block(
        self, transactions: tuple[bytes, ...] = (), writes: int = 8, evidence: tuple[Evidence, ...] = ()
    ) -> MadeBlock:
        """The next block: `writes` state rows change, so that the state at a height follows from the height."""
        height = self.height + 1
        mark = self.state.begin()
        for row in range(writes):
            self.state.write("balances/free", (height * 37 + row * 151) % self.state.rows("balances/free"), height)
        self.state.write("neurons/last_update", height % 200, [height, row, 0, 0])
        boundary = height % ERA_BLOCKS == 0
        if height % 50 == 7:
            self.state.add_column(ColumnSpec(f"sn/{height}/weights", "<u2"), 2000)
        if height % 50 == 31:
            self.state.remove_column(f"sn/{height - 24}/weights")
        body = encode_body(Body(None, evidence, transactions))
        header = Header(
            rules_version=1,
            height=Height(height),
            era=Era((height - 1) // ERA_BLOCKS),
            slot=Slot(height + 5),
            parent_hash=self.parent,
            proposer_index=0,
            tx_root=ZERO_HASH,
            results_root=ZERO_HASH,
            state_root=self.state.root(),
            authorities_hash=self.authorities.hash,
            next_authorities_hash=self.authorities.hash if boundary else ZERO_HASH,
            commit_root=ZERO_HASH,
            signal=1,
        )
        changes = self.state.changes_since(mark)
        self.state.commit(mark)
        self.parent, self.height = block_hash(header), height
        outcome = SimpleNamespace(next_authorities=self.authorities if boundary else None)
        return MadeBlock(header, self.parent, body, outcome, changes)

    def view_of(self, block: MadeBlock) -> View:
        """Views restart in each era; here every view succeeds."""
        return View((block.header.height - 1) % ERA_BLOCKS + 1)

    def certificate(self, block: MadeBlock) -> Certificate:
        """The finality certificate of a block."""
        return certificate_of(Kind.FINALIZE, block.header.era, self.view_of(block), block.hash)

    def finalise(self, store: ChainStore, count: int = 1, **block_arguments: Any) -> list[MadeBlock]:
        """Grow by `count` blocks and make them final in one transaction."""
        blocks = [self.block(**block_arguments) for _ in range(count)]
        boundaries = {b.header.height: self.certificate(b) for b in blocks[:-1] if b.outcome.next_authorities}
        store.finalise(blocks, self.certificate(blocks[-1]), self.view_of(blocks[-1]), boundaries)  # type: ignore[arg-type]
        return blocks


@pytest.fixture
def factory() -> ChainFactory:
    """A fresh chain."""
    return ChainFactory()


@pytest.fixture
def chain_path(tmp_path: Path, factory: ChainFactory) -> Path:
    """A database at height 0 of the factory's chain."""
    path = tmp_path / "chain.db"
    factory.create(path)
    return path


@pytest.fixture
def make() -> Any:
    """The functions above, for tests that build statements themselves."""

    def block(height: int, salt: int = 0) -> Block:
        header = Header(
            1, Height(height), Era((height - 1) // ERA_BLOCKS), Slot(height + salt), GENESIS, 0, *[ZERO_HASH] * 6, 1
        )
        return Block(header, EMPTY_BODY)

    return SimpleNamespace(
        genesis=GENESIS,
        key=KEY,
        signed=signed,
        certificate=certificate_of,
        block=block,
        factory=ChainFactory,
        evidence=make_evidence,
        era_blocks=ERA_BLOCKS,
    )
