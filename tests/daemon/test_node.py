"""Whole peers agree, restart, join late, part and lose messages, in virtual time (CHAIN 6.2 layer 3, 6.4)."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from whole_peers import ERA_BLOCKS, World, run_virtually
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.rules.v1.balances import free_balance
from yumad.consensus.types import AccountId, Height
from yumad.daemon import node
from yumad.daemon.peer_answers import PeerAnswers
from yumad.protocols.memory_transport import LinkQuality


def test_four_authorities_finalise_a_block_a_slot_over_two_eras_with_heartbeats_and_epochs(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with World(tmp_path).running() as world:
            await world.until_height(2 * ERA_BLOCKS + 2, within=40)
            assert world.agree() <= trio.current_time() / world.slot
            for member in world.authorities:
                peer = member.running
                assert len(peer.driver.engine.context.authorities.members) == 4
                assert peer.epochs_run >= 1
                assert peer.times.percentile(50) is not None
                assert [height for height, _ in member.finals] == list(range(1, member.height + 1))

    run_virtually(scenario)


def test_crashed_authority_restarts_from_disk_and_votes_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with World(tmp_path).running() as world:
            first, victim = world.authorities[0], world.authorities[3]
            await world.until_height(4)
            await world.stop(victim)
            left = first.height
            await world.until_height(left + ERA_BLOCKS, within=60)
            await world.start(victim)
            await world.until(lambda: victim.height >= first.height - 1, 30)
            await world.stop(world.authorities[1])  # now the restarted one is needed for a quorum
            needed = first.height
            await world.until_height(needed + 4, within=60)
            world.agree()

    run_virtually(scenario)


def test_all_crash_at_once_and_go_on_after_their_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with World(tmp_path).running() as world:
            await world.until_height(ERA_BLOCKS - 1)
            height = max(member.height for member in world.authorities)
            for member in world.authorities:
                await world.stop(member)
            await trio.sleep(20)
            for member in world.authorities:
                await world.start(member)
            await world.until_height(height + ERA_BLOCKS, within=60)
            world.agree()

    run_virtually(scenario)


def test_follower_that_joins_late_syncs_over_eras_and_follows(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path, followers=1)
        async with world.running():
            await world.until_height(3 * ERA_BLOCKS + 1)
            follower = world.followers[0]
            await world.start(follower)
            await world.until(lambda: follower.height >= world.authorities[0].height - 1, 10)
            joined = follower.height
            await world.until_height(joined + 4, within=20)
            world.agree()
            assert [height for height, _ in follower.finals] == list(range(1, follower.height + 1))
            index = follower.running.index
            assert index is not None
            assert index.indexed_to() >= follower.height - 1

    run_virtually(scenario)


def test_parted_halves_finalise_nothing_and_resume_after_the_heal(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with World(tmp_path).running() as world:
            await world.until_height(3)
            ids = [member.running.transport.local_peer for member in world.authorities]
            world.network.partition(tuple(ids[:2]), tuple(ids[2:]))
            await trio.sleep(2)
            stopped = max(member.height for member in world.authorities)
            await trio.sleep(20)
            assert max(member.height for member in world.authorities) == stopped
            world.network.heal()
            await world.until_height(stopped + 4, within=60)
            world.agree()

    run_virtually(scenario)


def test_lossy_links_cost_time_and_nothing_else(tmp_path: Path) -> None:
    async def scenario() -> None:
        quality = LinkQuality(latency=0.01, jitter=0.02, loss=0.2)
        async with World(tmp_path, quality=quality).running() as world:
            await world.until_height(2 * ERA_BLOCKS, within=60)
            world.agree()

    run_virtually(scenario)


def test_transactions_given_to_one_peer_become_final_everywhere(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with World(tmp_path).running() as world:
            await world.until_height(1)
            given = [await world.transfer(world.authorities[2], "alice", "bob", 1000 + n) for n in range(5)]
            given.append(await world.transfer(world.authorities[0], "charlie", "bob", 7))
            start = max(member.height for member in world.authorities)
            await world.until_height(start + 3, within=20)
            await trio.sleep(0.5)
            for member in world.authorities:
                answers = PeerAnswers(member.running)
                for identity in given:
                    found = await answers.find_transaction(identity)
                    assert found is not None and found.final
                    assert found.result is not None and found.result.code == 0
                assert len(member.running.mempool.entries()) == 0
            bob = AccountId(dev_keypair("bob").public_key)
            balances = {
                await PeerAnswers(member.running).read(lambda state: free_balance(state, bob))
                for member in world.authorities
            }
            assert len(balances) == 1

    run_virtually(scenario)


def test_lone_authority_makes_blocks_and_restarts_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with World(tmp_path, authorities=1).running() as world:
            alone = world.authorities[0]
            await world.until_height(ERA_BLOCKS + 2)
            for _ in range(3):
                height = alone.height
                await world.stop(alone)
                await world.start(alone)
                await world.until_height(height + 2, within=8)

    run_virtually(scenario)


def test_clocks_that_differ_by_a_fifth_of_a_slot_do_not_matter(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path)
        for member, skew in zip(world.authorities, (-200_000, 0, 100_000, 200_000), strict=True):
            member.skew = skew
        async with world.running():
            await world.until_height(2 * ERA_BLOCKS, within=30)
            world.agree()

    run_virtually(scenario)


def test_own_transactions_survive_a_crash_and_become_final_after_the_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with World(tmp_path, authorities=1).running() as world:
            alone = world.authorities[0]
            await world.until_height(1)
            waiting = await world.transfer(alone, "alice", "bob", 5, ahead=1)  # its turn comes after another one
            await world.until_height(3)
            await world.stop(alone)
            await world.start(alone)
            assert [entry.id for entry in alone.running.mempool.entries()] == [waiting]
            first = await world.transfer(alone, "alice", "bob", 6)
            await world.until_height(alone.height + 2)
            answers = PeerAnswers(alone.running)
            for identity in (first, waiting):
                found = await answers.find_transaction(identity)
                assert found is not None and found.final
            await world.stop(alone)
            await world.start(alone)
            assert alone.running.mempool.entries() == []

    run_virtually(scenario)


def test_bodies_older_than_the_kept_time_are_forgotten_and_headers_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "PRUNE_EVERY", 4)

    async def scenario() -> None:
        async with World(tmp_path, authorities=1).running() as world:
            alone = world.authorities[0]
            monkeypatch.setattr(node, "KEPT_BODIES", 6 * alone.running.opened.spec.slot_length)
            await world.until_height(20)
            store = alone.running.opened.store
            assert store.earliest_body() >= 8
            assert store.body(Height(3)) is None
            assert store.header(Height(3)) is not None
            assert store.body(store.finalised().height) is not None

    run_virtually(scenario)
