"""Callers as the chain sees them: the tables are the state's, they follow it, and they say how old they are."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import trio
import trio.lowlevel
from trio.testing import MockClock, wait_all_tasks_blocked
from yumad.consensus.dev_accounts import dev_authority, dev_keypair
from yumad.consensus.rules.registry import rules_for
from yumad.consensus.rules.v1.schema import NEURON_STRIDE
from yumad.consensus.rules.v1.stakes import ROOT, stake_key
from yumad.consensus.rules.v1.weights import total_stake_of
from yumad.consensus.state.state import State
from yumad.consensus.timing import Timing
from yumad.consensus.types import AccountId, Era, Hash32, Height, Micros, View
from yumad.daemon.axon.chain_view import DEGRADED_BLOCKS, ChainView, read_table
from yumad.daemon.clock import TrioClock
from yumad.daemon.final_reports import FinalReport
from yumad.daemon.swarm_spec import played_spec
from yumad.protocols.axon.interfaces import Freshness, Standing
from yumad.storage.chain import FinalisedPoint

T = TypeVar("T")

SUBNET = 1
SLOT_SECONDS = 2


def hotkey(uid: int) -> AccountId:
    return AccountId(dev_keypair(f"sn{SUBNET}/{uid}").public_key)


class World:
    """A chain, its view, and final blocks on demand."""

    def __init__(self) -> None:
        bare = played_spec("dev", "view", b"view", SLOT_SECONDS * 1_000_000, miners=3)
        entry = dev_authority(1, bare.name, bare.salt).spec
        spec = replace(bare, authorities=(entry,), stakes=(*bare.stakes, (entry.hotkey, entry.coldkey, 1000 * 10**9)))
        self.state = rules_for(spec.rules_version).build_genesis(spec)
        self.timing: Timing = spec.timing
        self.reads = 0
        self.target: Height | None = None
        self.height = 0
        now = trio.current_time()
        clock = TrioClock(Micros(self.timing.start_of(1) - round(now * 1_000_000)))
        point = FinalisedPoint(None, Hash32(bytes(32)), Height(0), View(0), Era(0), None)
        self.view = ChainView(self.read, self.timing, clock, point, lambda: self.target)

    async def read(self, reader: Callable[[State], T]) -> T:
        await trio.lowlevel.checkpoint()
        self.reads += 1
        return reader(self.state)

    def finalise(self, slot: int) -> None:
        self.height += 1
        header: Any = SimpleNamespace(height=Height(self.height), slot=slot)
        self.view.on_final(FinalReport((cast("Any", SimpleNamespace(header=header)),), cast("Any", None)))


@asynccontextmanager
async def running_world() -> AsyncIterator[World]:
    world = World()
    await world.view.watch(SUBNET)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.view.run)
        yield world
        nursery.cancel_scope.cancel()


def give_stake(state: State, netuid: int, holder: AccountId, amount: int) -> None:
    """Put stake behind a hotkey as a share pool of one holder would."""
    row = state.key_table("stakes").open(stake_key(netuid, holder))
    state.write("stakes/amount", row, amount)


async def test_r21_the_table_says_what_the_chain_says_of_every_neuron(autojump_clock: MockClock) -> None:
    async with running_world() as world:
        for uid in range(5):
            found = world.view.standing(SUBNET, hotkey(uid))
            stake = total_stake_of(world.state, SUBNET, hotkey(uid))
            assert found == Standing(uid, uid < 2, stake)
        assert world.view.standing(SUBNET, hotkey(0)).stake == 3000 * 10**9
        assert world.view.standing(SUBNET, hotkey(77)) == Standing(None, False, 0)
        assert world.view.standing(9, hotkey(0)) == Standing(None, False, 0)


async def test_r21_root_stake_counts_by_the_root_weight(autojump_clock: MockClock) -> None:
    world = World()
    before = read_table(world.state, SUBNET).standings[hotkey(0)].stake
    give_stake(world.state, ROOT, hotkey(0), 10**12)
    after = read_table(world.state, SUBNET).standings[hotkey(0)].stake
    assert after == total_stake_of(world.state, SUBNET, hotkey(0))
    assert 0 < after - before < 10**12


async def test_r21_a_final_block_brings_the_new_permit(autojump_clock: MockClock) -> None:
    async with running_world() as world:
        world.state.write("neurons/permit", SUBNET * NEURON_STRIDE + 3, True)
        assert not world.view.standing(SUBNET, hotkey(3)).permit
        world.finalise(1)
        await wait_all_tasks_blocked()
        assert world.view.standing(SUBNET, hotkey(3)).permit
        assert world.view.height == 1


async def test_r19_hundreds_of_final_blocks_at_once_are_one_read(autojump_clock: MockClock) -> None:
    async with running_world() as world:
        before = world.reads
        for slot in range(300):
            world.finalise(slot)
        await trio.sleep(1)
        assert world.reads - before == 1


async def test_r21_holders_without_a_uid_are_known_where_a_policy_opens_by_stake_alone(
    autojump_clock: MockClock,
) -> None:
    async with running_world() as world:
        here, on_root, child = hotkey(50), hotkey(51), hotkey(52)
        give_stake(world.state, SUBNET, here, 7 * 10**9)
        give_stake(world.state, ROOT, on_root, 9 * 10**9)
        lend(world.state, hotkey(0), child)
        world.finalise(1)
        await wait_all_tasks_blocked()
        assert world.view.standing(SUBNET, here) == Standing(None, False, 0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(world.view.watch, SUBNET, holders=True))
            await trio.lowlevel.checkpoint()
            assert world.view.standing(SUBNET, hotkey(0)).permit  # nobody is a stranger while it is read
        await world.view.watch(SUBNET)
        for who in (here, on_root, child):
            stake = total_stake_of(world.state, SUBNET, who)
            assert world.view.standing(SUBNET, who) == Standing(None, False, stake)
            assert stake > 0
        assert world.view.standing(SUBNET, hotkey(0)).uid == 0
        world.state.write("stakes/amount", world.state.key_table("stakes").find(stake_key(SUBNET, here)), 8 * 10**9)
        world.finalise(2)
        await trio.sleep(1)
        assert world.view.standing(SUBNET, here).stake == 8 * 10**9


def lend(state: State, parent: AccountId, child: AccountId) -> None:
    """Let a child work with half of a parent's stake."""
    row = state.key_table("childkeys").open(SUBNET.to_bytes(2, "big") + parent + child)
    state.write("childkeys/proportion", row, 1 << 63)


async def test_r21_a_subnet_that_is_no_longer_served_costs_no_reads(autojump_clock: MockClock) -> None:
    async with running_world() as world:
        world.view.unwatch(SUBNET)
        before = world.reads
        world.finalise(1)
        await trio.sleep(1)
        assert world.reads == before
        assert world.view.standing(SUBNET, hotkey(0)) == Standing(None, False, 0)


async def test_r23_freshness_goes_with_the_blocks_behind(autojump_clock: MockClock) -> None:
    async with running_world() as world:
        world.finalise(1)
        tempo = world.view._tables[SUBNET].tempo
        assert world.view.freshness(SUBNET) is Freshness.FRESH
        await trio.sleep(SLOT_SECONDS * (DEGRADED_BLOCKS + 1))
        assert world.view.blocks_behind() == DEGRADED_BLOCKS
        assert world.view.freshness(SUBNET) is Freshness.DEGRADED
        await trio.sleep(SLOT_SECONDS * (2 * tempo - DEGRADED_BLOCKS - 1))
        assert world.view.freshness(SUBNET) is Freshness.DEGRADED
        await trio.sleep(SLOT_SECONDS)
        assert world.view.freshness(SUBNET) is world.view.worst_freshness() is Freshness.KNOWN_ONLY
        world.finalise(2 * tempo + 1)
        assert world.view.freshness(SUBNET) is Freshness.FRESH


async def test_r23_blocks_that_sync_still_has_to_fetch_count_as_behind(autojump_clock: MockClock) -> None:
    async with running_world() as world:
        world.finalise(1)
        world.target = Height(20)
        assert world.view.blocks_behind() == 19
        assert world.view.freshness(SUBNET) is Freshness.DEGRADED


async def test_r13_a_standing_costs_microseconds(autojump_clock: MockClock) -> None:
    async with running_world() as world:
        key, rounds = hotkey(2), 2000
        best = min(_timed(world.view, key, rounds) for _ in range(5))
        assert best / rounds < 5e-6


def _timed(view: ChainView, key: AccountId, rounds: int) -> float:
    started = time.perf_counter()
    for _ in range(rounds):
        view.standing(SUBNET, key)
    return time.perf_counter() - started
