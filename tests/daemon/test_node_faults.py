"""Whole peers with something wrong in one of them: it stops itself or abstains, and the others go on (CHAIN 6.4)."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from whole_peers import ERA_BLOCKS, Member, World, run_virtually
from yumad.consensus.certificate import Certificate
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.rules.interface import BlockContext
from yumad.consensus.rules.registry import rules_for
from yumad.consensus.rules.v1.balances import credit
from yumad.consensus.state.state import State
from yumad.consensus.statement import Kind, SignedStatement
from yumad.consensus.types import AccountId, Rao
from yumad.daemon.driver import ConsensusHalted
from yumad.daemon.node import Peer
from yumad.storage.database import StorageError

Fault = Callable[[State, BlockContext], None]
"""Does something to a block that is being executed."""


class FaultyRules:
    """The rules with a fault after each execution (`after`) or build (`building`)."""

    def __init__(self, after: Fault | None = None, building: Fault | None = None) -> None:
        self._after, self._building = after, building

    def __getattr__(self, name: str) -> Any:
        return getattr(rules_for(1), name)

    def apply_block(self, state: State, ctx: BlockContext, *rest: Any) -> Any:
        outcome = rules_for(1).apply_block(state, ctx, *rest)
        if self._after is not None:
            self._after(state, ctx)
        return outcome

    def select(self, state: State, ctx: BlockContext, *rest: Any) -> Any:
        if self._building is not None:
            self._building(state, ctx)
        return rules_for(1).select(state, ctx, *rest)

    def install(self, peer: Peer) -> None:
        peer.opened.working._rules = lambda version: self  # type: ignore[assignment,return-value]


def one_rao_too_much(from_height: int) -> Fault:
    def fault(state: State, ctx: BlockContext) -> None:
        if ctx.height >= from_height:
            credit(state, AccountId(dev_keypair("alice").public_key), Rao(1))

    return fault


def test_authority_with_wrong_arithmetic_stops_itself_and_names_height_and_field(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path)
        wrong = world.authorities[1]
        wrong.prepare = FaultyRules(one_rao_too_much(4), one_rao_too_much(4)).install
        async with world.running():
            with trio.fail_after(60):
                await wrong.ended.wait()
            assert isinstance(wrong.error, ConsensusHalted)
            assert "of height 4 is certified" in wrong.error.message
            assert "state_root is" in wrong.error.message
            assert "\n" not in wrong.error.message
            await world.until_height(8, within=40)
            world.agree()

    run_virtually(scenario)


def test_follower_with_wrong_arithmetic_stops_while_it_syncs(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path, followers=1)
        async with world.running():
            await world.until_height(2 * ERA_BLOCKS)
            wrong = world.followers[0]
            wrong.prepare = FaultyRules(after=one_rao_too_much(3)).install
            await world.start(wrong)
            with trio.fail_after(30):
                await wrong.ended.wait()
            assert isinstance(wrong.error, ConsensusHalted)
            assert "block 3" in wrong.error.message
            assert "state_root" in wrong.error.message

    run_virtually(scenario)


def test_code_that_raises_in_building_or_executing_costs_a_view_and_ends_nobody(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path)
        raised: list[str] = []

        def building(state: State, ctx: BlockContext) -> None:
            if ctx.height in (2, 3, 4):
                raised.append("building")
                raise RuntimeError("building fails here")

        def executing(state: State, ctx: BlockContext) -> None:
            if ctx.height == 3 and "executing" not in raised:
                raised.append("executing")
                raise RuntimeError("executing fails here")

        for member in world.authorities[:2]:
            member.prepare = FaultyRules(building=building).install
        world.authorities[2].prepare = FaultyRules(after=executing).install
        async with world.running():
            await world.until_height(6, within=60)
            world.agree()
            assert {"building", "executing"} <= set(raised)
            assert all(member.error is None for member in world.authorities)

    run_virtually(scenario)


def test_restarted_authority_listens_before_it_votes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with World(tmp_path).running() as world:
            member = world.authorities[0]
            assert member.running.listens_until == 0
            await world.until_height(3)
            await world.stop(member)
            peer = await world.start(member)
            began = peer.clock.now()
            assert peer.listens_until - began == 3_000_000
            guard = member.running.authority.guard  # type: ignore[union-attr]
            era = peer.driver.engine.era
            signed = guard.load(peer.opened.genesis_hash, peer.vote_domain.restart_hash, era).own_statements
            await trio.sleep(2.8)
            if peer.driver.engine.era == era:
                now = guard.load(peer.opened.genesis_hash, peer.vote_domain.restart_hash, era).own_statements
                assert set(now) <= set(signed)
            await world.stop(world.authorities[1])
            await world.until_height(world.authorities[2].height + 3, within=40)

    run_virtually(scenario)


def test_copied_authority_folder_on_a_second_peer_abstains_and_nothing_conflicts(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path)
        async with world.running():
            await world.until_height(2)
            original = world.authorities[2]
            await world.stop(original)
            copy = world.add_member("copy", copy_of=original)
            world.followers.append(copy)
            await world.start(original)
            await world.until(lambda: original.running.clock.now() > original.running.listens_until + 2_000_000, 20)
            peer = await world.start(copy)
            assert peer.listens_until > 0
            await world.until(lambda: not peer.driver.engine.is_voter, 10)
            assert peer.authority is not None
            await world.until(lambda: peer.authority is not None and peer.authority.guard.born is not None, 2)
            height = original.height
            await world.until_height(height + ERA_BLOCKS // 2, within=40)
            world.agree()
            assert all(len(member.running.driver.evidence.for_block()) == 0 for member in world.members)
            assert all(member.error is None for member in world.members)

    run_virtually(scenario)


def _restart_without_chain(world: World, member: Member) -> None:
    shutil.rmtree(member.home.chains)
    member.home.prepare()


def test_deleted_chain_folder_is_synced_again_and_the_whole_guard_lets_it_vote_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path)
        async with world.running():
            await world.until_height(ERA_BLOCKS + 2)
            victim, other = world.authorities[0], world.authorities[1]
            await world.stop(victim)
            _restart_without_chain(world, victim)
            await world.start(victim)
            await world.until(lambda: victim.height >= other.height - 1, 20)
            await world.stop(world.authorities[3])
            await world.until_height(other.height + 4, within=60)
            world.agree()
            assert victim.error is None

    run_virtually(scenario)


def test_chain_folder_deleted_on_all_but_one_never_contradicts_what_the_guards_hold(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path)
        async with world.running():
            await world.until_height(ERA_BLOCKS + 2)
            height = max(member.height for member in world.authorities)
            for member in world.authorities:
                await world.stop(member)
            for member in world.authorities[:3]:
                _restart_without_chain(world, member)
            for member in world.authorities:
                await world.start(member)
            await world.until_height(height + 2, within=120)
            world.agree()
            assert all(member.error is None for member in world.authorities)

    run_virtually(scenario)


def test_lost_guard_makes_the_key_abstain_until_an_era_that_opens_later(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path)
        async with world.running():
            await world.until_height(2)
            victim = world.authorities[3]
            await world.stop(victim)
            for path in victim.home.authority_folder.glob("*/guard.db*"):
                path.unlink()
            peer = await world.start(victim)
            era = peer.driver.engine.era
            assert not peer.driver.engine.is_voter
            await world.until(lambda: peer.driver.engine.is_voter, 60)
            assert peer.driver.engine.era > era
            await world.stop(world.authorities[0])
            await world.until_height(victim.height + 3, within=60)
            world.agree()

    run_virtually(scenario)


def test_no_vote_or_certificate_leaves_before_the_guard_holds_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path)
        left: list[Kind] = []

        def watch(peer: Peer) -> None:
            assert peer.authority is not None
            offer, guard = peer.link.offer, peer.authority.guard
            key = (peer.opened.genesis_hash, peer.vote_domain.restart_hash)

            def checked(item: SignedStatement | Certificate) -> None:
                contents = guard.load(*key, item.statement.era)
                floor = guard.floor(*key)
                passed = floor is not None and (item.statement.era, item.statement.view) <= (floor.era, floor.view)
                held = contents.own_statements if isinstance(item, SignedStatement) else contents.certificates
                assert passed or item in held, "it left before it was durable (R9, R11)"
                if isinstance(item, SignedStatement) and item.statement.kind in (Kind.PROPOSE, Kind.NOTARIZE):
                    assert passed or guard.block(key[0], item.statement.block_hash) is not None, "without its body (R9)"
                left.append(item.statement.kind)
                offer(item)

            peer.link.offer = checked  # type: ignore[method-assign]

        for member in world.authorities:
            member.prepare = watch
        async with world.running():
            await world.until_height(ERA_BLOCKS + 1)
            assert set(left) >= {Kind.PROPOSE, Kind.NOTARIZE, Kind.FINALIZE}
            assert all(member.error is None for member in world.authorities)

    run_virtually(scenario)


@pytest.mark.parametrize("place", ["guard", "chain"])
def test_disk_that_refuses_stops_the_peer_and_a_restart_finds_everything_whole(tmp_path: Path, place: str) -> None:
    async def scenario() -> None:
        world = World(tmp_path)
        victim = world.authorities[1]
        refused: list[int] = []

        def refuse(*_: object, **__: object) -> None:
            refused.append(1)
            raise StorageError("cannot write: no space left on device", remedy="free some space")

        def fill_disk(peer: Peer) -> None:
            assert peer.authority is not None
            writer = peer.authority.guard if place == "guard" else peer.opened.store
            name = "record_vote" if place == "guard" else "finalise"
            real, calls = getattr(writer, name), itertools.count()
            setattr(writer, name, lambda *a, **k: refuse() if next(calls) == 5 else real(*a, **k))

        victim.prepare = fill_disk
        async with world.running():
            with trio.fail_after(60):
                await victim.ended.wait()
            assert isinstance(victim.error, StorageError)
            assert refused == [1]
            victim.prepare = lambda peer: None
            height = world.authorities[0].height
            await world.start(victim)
            await world.until_height(height + 3, within=40)
            world.agree()

    run_virtually(scenario)
