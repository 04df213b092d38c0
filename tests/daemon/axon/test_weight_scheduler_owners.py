"""A uid that changes its owner inherits no weight that was meant for the one before it (AXON R29, complaint C12)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from weighing_peer import KEY, TEMPO, VALIDATOR, WeighingPeer, miner
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.rules.v1.neurons import uid_of
from yumad.consensus.types import AccountId
from yumad.daemon.axon.weight_transactions import commit_call, make_commit, reveal_call, submit_through
from yumad.daemon.axon.weight_vector import weigh
from yumad.storage.sealed_weights import CommittedWeights

SCORES = {1: 1.0, 2: 0.5, 3: 0.25, 4: 0.0}
ROW = {1: 65535, 2: 32768, 3: 16384}


@pytest.fixture
def world(tmp_path: Path) -> WeighingPeer:
    return WeighingPeer(tmp_path)


async def test_r29_uid_that_changes_owner_between_commit_and_reveal_inherits_no_weight(world: WeighingPeer) -> None:
    await world.run(SCORES)
    await world.until(lambda: world.names() == ["commit_weights"])
    newcomer = await world.register("newcomer")
    await world.step()
    assert uid_of(world.state, 7, newcomer) == 1, "it has the uid that the commit gives the most"
    most = 0
    for _ in range(6 * TEMPO):
        await world.step()
        most = max(most, world.incentive(newcomer))
    assert most == 0
    assert world.scheduler.held_back == 1
    assert world.row() == {2: 65535, 3: 32768}, "later commits mean the others only"
    assert world.incentive(miner(2)) > 0


async def test_r29_uid_that_changes_owner_while_weights_wait_to_be_chosen_is_not_weighed(world: WeighingPeer) -> None:
    await world.run(SCORES)
    newcomer = await world.register("newcomer")
    await world.until(lambda: world.row() == {2: 65535, 3: 32768})
    assert world.incentive(newcomer) == 0


async def test_r29_swapped_hotkey_inherits_no_weight_from_a_commit_for_the_old_one(world: WeighingPeer) -> None:
    await world.step(TEMPO * 2)  # the first swap on a subnet has to wait for its interval
    await world.run(SCORES)
    await world.until(lambda: world.names() == ["commit_weights"])
    swapped = AccountId(dev_keypair("swapped").public_key)
    await world.send("bob", "keys.swap_hotkey", [miner(1), swapped, 7])
    await world.step()
    assert uid_of(world.state, 7, swapped) == 1
    for _ in range(6 * TEMPO):
        await world.step()
        assert world.incentive(swapped) == 0
    assert world.scheduler.held_back == 1


async def test_r29_uid_without_weight_may_change_owner(world: WeighingPeer) -> None:
    await world.run({1: 0.0, 2: 0.5, 3: 0.25, 4: 1.0})
    await world.until(lambda: world.names() == ["commit_weights"])
    newcomer = await world.register("newcomer")
    await world.until(lambda: "reveal_weights" in world.names(), most=TEMPO + 3)
    assert uid_of(world.state, 7, newcomer) == 1
    assert world.scheduler.held_back == 0


async def test_r29_new_owner_gets_weight_for_its_own_scores(world: WeighingPeer) -> None:
    await world.run(SCORES)
    await world.until(lambda: world.names() == ["commit_weights"])
    newcomer = await world.register("newcomer")
    await world.step()
    await world.scores.update(KEY, {newcomer: 1.0}, ("ema", {"alpha": 1.0}), world.height)
    await world.until(lambda: world.incentive(newcomer) > 0)


# --- why the scheduler looks at owners itself: what the chain masks (YUMA 3.5, steps 3 and 4) -------------------------


async def commit_by_hand(world: WeighingPeer) -> CommittedWeights:
    """A commit to SCORES that no scheduler looks after."""
    hotkeys = [KEY.validator, *(miner(number) for number in range(1, 5))]
    vector = weigh({miner(number): score for number, score in SCORES.items()}, hotkeys, 0, 1)
    assert vector is not None
    committed, weights = make_commit(KEY, vector, 0)
    call, args = commit_call(KEY, committed)
    await send(world, call, args)
    return weights


async def send(world: WeighingPeer, call: Any, args: list[Any]) -> None:
    sent = await submit_through(world.peer)(call, args, VALIDATOR, world.height + 20)
    assert sent.taken, sent
    await world.step()


async def next_epoch(world: WeighingPeer) -> None:
    before = len(world.epochs())
    await world.until(lambda: len(world.epochs()) > before)


async def reveal_for_a_newcomer(world: WeighingPeer) -> AccountId:
    """A commit, a newcomer on the uid it gives the most, and a plain reveal in its window."""
    await next_epoch(world)
    await world.step(2)
    weights = await commit_by_hand(world)
    newcomer = await world.register("newcomer")
    await next_epoch(world)
    assert uid_of(world.state, 7, newcomer) == 1
    await send(world, *reveal_call(KEY, weights))
    assert world.row() == ROW
    return newcomer


async def test_r29_chain_masks_a_plain_reveal_as_long_as_nothing_is_committed_after_it(world: WeighingPeer) -> None:
    newcomer = await reveal_for_a_newcomer(world)
    for _ in range(3):
        await next_epoch(world)
        assert world.incentive(newcomer) == 0
        assert world.incentive(miner(2)) > 0


async def test_r29_chain_lets_the_newcomer_inherit_once_the_next_commit_is_made(world: WeighingPeer) -> None:
    newcomer = await reveal_for_a_newcomer(world)
    await world.step(3)
    await commit_by_hand(world)
    await next_epoch(world)
    assert world.incentive(newcomer) > world.incentive(miner(2)) > 0, "so such a commit must not be revealed"


async def test_r29_r34_two_peers_of_one_validator_commit_once_an_epoch_and_nobody_is_said_to_be_held_back(
    world: WeighingPeer, tmp_path: Path
) -> None:
    await world.run(SCORES)
    first = world.scheduler, world.scores
    (tmp_path / "replica").mkdir()
    world.folder = tmp_path / "replica"
    world.start()
    await world.run(SCORES)
    replica, (scheduler, scores) = world.scheduler, first
    for _ in range(6 * TEMPO):
        await world.step()
        await scheduler.look()
        world.scores = scores
        await world.score(SCORES)
        world.scores = replica._scores  # type: ignore[assignment]
        await world.score(SCORES)
    names = world.names()
    assert 4 <= names.count("commit_weights") <= 7
    assert names.count("commit_weights") - names.count("reveal_weights") <= 2, "whoever committed reveals"
    assert world.row() == ROW
    assert (scheduler.held_back, replica.held_back) == (0, 0)
