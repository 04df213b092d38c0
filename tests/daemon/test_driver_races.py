"""A driver whose chain is moved by sync while it works: what is passed by says nothing and ends no peer."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from small_peer import Kept, SmallPeer, small_spec
from yumad.consensus.certificate import Certificate
from yumad.consensus.chain_spec import ChainSpec, encode_chain_spec
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.effects import CastVote, SyncAdvanced
from yumad.consensus.engine import Engine
from yumad.consensus.statement import Kind, Statement, VoteDomain, nullify
from yumad.consensus.types import AuthorityKey, Era, Signature, View
from yumad.daemon.chain_home import (
    OpenedChain,
    create_chain,
    era_context,
    genesis_hash_of_folder,
    open_chain,
    restart_event,
    the_chain_of,
)
from yumad.daemon.clock import SystemClock
from yumad.daemon.driver import Driver, _Execution
from yumad.daemon.execution import ExecutionLane, InlineRunner
from yumad.daemon.final_reports import FinalReports
from yumad.daemon.finality import FinalityTimes
from yumad.daemon.guarded_key import GuardedKey
from yumad.storage.guard import VoteGuard
from yumad.storage.home import Home

KEY = dev_keypair("authority-key")


class NoCandidates:
    """A pool that is always empty."""

    def best(self) -> list[bytes]:
        return []

    def note_skipped(self, skipped: object) -> None:
        pass


class Node:
    """A real chain on disk with lane, guard and driver; the network is not asked for anything here."""

    def __init__(self, folder: Path, spec: ChainSpec) -> None:
        home = Home(folder / "home")
        home.prepare()
        create_chain(home, encode_chain_spec(spec))
        chain = the_chain_of(home)
        self.opened: OpenedChain = open_chain(chain, genesis_hash_of_folder(chain))
        public = AuthorityKey(KEY.public_key)
        VoteGuard.create(folder / "guard.db", public)
        self.guard = VoteGuard.open(folder / "guard.db", public)
        self.lane = ExecutionLane(self.opened.working, self.opened.store, InlineRunner(), FinalReports())
        self.driver = Driver(
            engine=Engine(spec.timing, public),
            first=restart_event(self.opened.store, spec, self.guard),
            lane=self.lane,
            own_key=GuardedKey(KEY, self.guard, VoteDomain(self.opened.genesis_hash), InlineRunner()),
            clock=SystemClock(),
            candidates=NoCandidates(),
            times=FinalityTimes(),
        )
        self.driver._network = self  # type: ignore[assignment]

    def offer(self, item: object) -> None:
        """A vote leaves: nobody is there."""

    def era_changed(self, context: object) -> None:
        """Nobody to tell."""

    def passed(self, certificate: Certificate, height: int) -> None:
        """Nothing is being fetched."""

    async def sync(self, blocks: list[Kept]) -> tuple[SyncAdvanced, Certificate]:
        """Store and execute blocks as sync does; the event is not given to the driver yet."""
        last = blocks[-1]
        statement = Statement(Kind.FINALIZE, last.block.header.era, View(30), View(29), last.hash)
        certificate = Certificate(statement, (0,), (Signature(bytes(64)),))
        authorities = era_context(self.opened.store, self.opened.spec).authorities
        await self.lane.apply_final([kept.block for kept in blocks], certificate, authorities)
        now = restart_event(self.opened.store, self.opened.spec, None)
        return SyncAdvanced(now.context, now.finalised, now.finalised_view, now.finality), certificate

    def posted(self) -> list[object]:
        """Events that wait for the engine."""
        found: list[object] = []
        while True:
            try:
                found.append(self.driver._receive.receive_nowait())
            except trio.WouldBlock:
                return found


@pytest.fixture
def maker() -> SmallPeer:
    peer = SmallPeer(small_spec())
    for _ in range(9):
        peer.make_block()
    return peer


@pytest.fixture
def node(tmp_path: Path, maker: SmallPeer) -> Node:
    return Node(tmp_path, maker.spec)


async def test_execution_of_a_block_that_sync_made_final_meanwhile_is_not_a_failure(
    node: Node, maker: SmallPeer
) -> None:
    """It was reported as this peer's own failure, and a certificate for the block then stopped consensus."""
    await node.sync(maker.blocks[:4])
    third = maker.blocks[2].block
    node.driver.pool.pin(third)
    authorities = node.driver.engine.context.authorities
    await node.driver._execute(_Execution(third.header, third.hash, True, authorities))
    assert node.posted() == []


async def test_vote_cast_before_the_engine_hears_of_sync_is_still_allowed_by_the_guard(
    node: Node, maker: SmallPeer
) -> None:
    """The floor used to rise at once; the guard then refused the vote, and the refusal ended the peer."""
    event, certificate = await node.sync(maker.blocks[:4])
    await node.driver.advance_by_sync(event, certificate)
    await node.driver._cast(CastVote(nullify(Era(0), View(1)), None))
    assert node.guard.floor(node.opened.genesis_hash, bytes(32)) is None  # type: ignore[arg-type]
    for posted in node.posted():
        await node.driver._take_sync(posted, node.driver._synced.popleft())  # type: ignore[arg-type]
    floor = node.guard.floor(node.opened.genesis_hash, bytes(32))  # type: ignore[arg-type]
    assert floor is not None and (floor.era, floor.view) == (0, 30)
