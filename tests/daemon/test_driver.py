"""The driver's own promises: floors, eras and halts, on a real peer that is not connected (CHAIN 1.3 R7, R9; 1.4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio
from whole_peers import World, run_virtually
from yumad.consensus.certificate import Certificate
from yumad.consensus.effects import BlockRef, CastVote, EraContext, EraOpened, Halt, TimerFired
from yumad.consensus.statement import Kind, SignedStatement, Statement, nullify
from yumad.consensus.types import ZERO_HASH, Era, Hash32, Height, Signature, Slot, View
from yumad.daemon.driver import ConsensusHalted, Driver
from yumad.daemon.guarded_key import GuardedKey
from yumad.daemon.node import Peer
from yumad.storage.guard import VoteGuard


class Silence:
    """A network in which nobody is."""

    def __init__(self) -> None:
        self.offered: list[object] = []
        self.eras: list[int] = []

    def offer(self, item: object) -> None:
        self.offered.append(item)

    def era_changed(self, context: EraContext) -> None:
        self.eras.append(context.era)

    def passed(self, certificate: object, height: int) -> None:
        """F moved."""


def with_peer(folder: Path, scenario: Callable[[Peer, Driver, Silence, VoteGuard], Awaitable[None]]) -> None:
    """Run a scenario with a fresh peer whose driver is called by hand."""

    async def main() -> None:
        with ExitStack() as stack:
            world = World(folder, authorities=1)
            peer = world._build(world.authorities[0], stack)
            network = Silence()
            peer.driver._network = network  # type: ignore[assignment]
            async with trio.open_nursery() as nursery:
                peer.driver._nursery = nursery
                assert peer.authority is not None
                await scenario(peer, peer.driver, network, peer.authority.guard)
                nursery.cancel_scope.cancel()

    run_virtually(main)


def context_of(driver: Driver, era: int) -> EraContext:
    """A later era with the same set, opened by a made-up boundary block."""
    height = Height(era * 6)
    opening = BlockRef(Hash32(bytes([era]) * 32), height, Slot(height + 1), ZERO_HASH)
    return EraContext(Era(era), driver.engine.context.authorities, opening)


def own_votes(peer: Peer, guard: VoteGuard, era: int) -> list[Statement]:
    contents = guard.load(peer.opened.genesis_hash, peer.vote_domain.restart_hash, Era(era))
    return [signed.statement for signed in contents.own_statements]


def test_vote_above_the_floor_is_stored_and_offered_and_one_below_is_neither(tmp_path: Path) -> None:
    async def scenario(peer: Peer, driver: Driver, network: Silence, guard: VoteGuard) -> None:
        assert await driver._cast(CastVote(nullify(Era(0), View(3)), None)) is not None
        assert own_votes(peer, guard, 0) == [nullify(Era(0), View(3))]
        guard.raise_floor(peer.opened.genesis_hash, peer.vote_domain.restart_hash, Era(0), View(5))
        _key_of(driver)._floor = guard.floor(peer.opened.genesis_hash, peer.vote_domain.restart_hash)
        for view in (4, 5):
            assert await driver._cast(CastVote(nullify(Era(0), View(view)), None)) is None
        assert await driver._cast(CastVote(nullify(Era(0), View(6)), None)) is not None
        assert own_votes(peer, guard, 0) == [nullify(Era(0), View(6))]
        assert len(network.offered) == 2

    with_peer(tmp_path, scenario)


def test_era_that_sync_has_left_behind_is_not_opened_again(tmp_path: Path) -> None:
    """The finaliser of the old era may be slower than sync: its news must not turn the driver back."""

    async def scenario(peer: Peer, driver: Driver, network: Silence, guard: VoteGuard) -> None:
        await _open(driver, 2)
        assert (driver.engine.era, network.eras) == (2, [2])
        await driver._handle(EraOpened(context_of(driver, 1)))
        await driver._handle(EraOpened(context_of(driver, 2)))
        assert (driver.engine.era, network.eras) == (2, [2])
        await driver._handle(EraOpened(context_of(driver, 3)))
        assert (driver.engine.era, network.eras) == (3, [2, 3])

    with_peer(tmp_path, scenario)


def test_era_that_the_guard_knows_is_entered_with_what_it_holds(tmp_path: Path) -> None:
    """A deleted chain folder is synced again up to the era in which the key has voted: it must not vote anew."""

    async def scenario(peer: Peer, driver: Driver, network: Silence, guard: VoteGuard) -> None:
        genesis, restart = peer.opened.genesis_hash, peer.vote_domain.restart_hash
        said = SignedStatement(nullify(Era(2), View(1)), 0, Signature(bytes(64)))
        guard.record_vote(genesis, restart, said)
        await _open(driver, 1)
        assert (View(1), Kind.NULLIFY) not in driver.engine._own
        await _open(driver, 2)
        assert driver.engine._own[(View(1), Kind.NULLIFY)] == said.statement
        assert said in network.offered  # R10: offered again
        assert driver.engine.is_voter

    with_peer(tmp_path, scenario)


def test_era_below_the_guards_floor_is_gone_through_without_a_vote(tmp_path: Path) -> None:
    async def scenario(peer: Peer, driver: Driver, network: Silence, guard: VoteGuard) -> None:
        guard.raise_floor(peer.opened.genesis_hash, peer.vote_domain.restart_hash, Era(4), View(9))
        _key_of(driver)._floor = guard.floor(peer.opened.genesis_hash, peer.vote_domain.restart_hash)
        await _open(driver, 3)
        await trio.sleep(30)
        while (due := driver._timers.pop_due(peer.clock.now())) is not None:
            await driver._handle(TimerFired(due))
        assert own_votes(peer, guard, 3) == []
        assert network.offered == []

    with_peer(tmp_path, scenario)


def test_halt_is_one_line_that_names_the_certificates(tmp_path: Path) -> None:
    async def scenario(peer: Peer, driver: Driver, network: Silence, guard: VoteGuard) -> None:
        shown = tuple(
            Certificate(
                Statement(Kind.FINALIZE, Era(1), View(7), View(6), Hash32(bytes([n]) * 32)),
                (0, 2),
                (Signature(bytes(64)),) * 2,
            )
            for n in (1, 2)
        )
        with pytest.raises(ConsensusHalted) as raised:
            await driver._apply(Halt("two certificates contradict each other", shown))
        message = raised.value.message
        assert "\n" not in message
        assert "finalize certificate of block 0101010101010101, era 1 view 7, by 0, 2" in message
        assert "0202020202020202" in message
        assert raised.value.remedy

    with_peer(tmp_path, scenario)


async def _open(driver: Driver, era: int) -> None:
    await driver._handle(EraOpened(context_of(driver, era)))


def _key_of(driver: Driver) -> GuardedKey:
    assert driver._own_key is not None
    return driver._own_key
