"""A validator's weights over the real rules: set, committed, revealed, over kills and changes of uids (AXON R29)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from weighing_peer import KEY, TEMPO, VALIDATOR, WeighingPeer, miner
from yumad.daemon.axon.weight_report import reveal_due
from yumad.daemon.axon.weight_transactions import Sent, submit_through

SCORES = {1: 1.0, 2: 0.5, 3: 0.25, 4: 0.0}
ROW = {1: 65535, 2: 32768, 3: 16384}


@pytest.fixture
def world(tmp_path: Path) -> WeighingPeer:
    return WeighingPeer(tmp_path)


# --- the usual life ---------------------------------------------------------------------------------------------------


async def test_r29_weights_are_set_once_per_epoch_where_commit_reveal_is_off(tmp_path: Path) -> None:
    world = WeighingPeer(tmp_path, commit_reveal_weights_enabled=False)
    await world.run(SCORES)
    await world.step(4 * TEMPO)
    assert set(world.names()) == {"set_weights"}
    assert world.row() == ROW
    heights = [height for height, _ in world.calls()]
    assert len(heights) in (4, 5)
    assert all(any(height < epoch <= height + 4 for epoch in world.epochs()) for height in heights[1:-1])


async def test_r29_weights_are_committed_and_revealed_in_the_next_epoch(world: WeighingPeer) -> None:
    await world.run(SCORES)
    await world.until(lambda: len(world.names()) == 4)
    assert world.row() == ROW
    commits = [height for height, name in world.calls() if name == "commit_weights"]
    reveals = [height for height, name in world.calls() if name == "reveal_weights"]
    [epoch] = [height for height in world.epochs() if commits[0] < height <= reveals[0]]
    assert epoch <= reveals[0] <= epoch + 2, "early in its window"
    assert world.incentive(miner(1)) > 0
    assert [path.suffix for path in world.sealed.path.iterdir()], "sealed until it can no longer be needed"


async def test_r29_every_commit_of_a_long_run_is_revealed_and_its_file_goes(world: WeighingPeer) -> None:
    await world.run(SCORES)
    await world.step(10 * TEMPO)
    names = world.names()
    assert 0 <= names.count("commit_weights") - names.count("reveal_weights") <= 1
    assert names.count("commit_weights") >= 9
    assert len(list(world.sealed.path.iterdir())) <= 4
    assert world.scheduler.refused == 0


async def test_r29_new_scores_are_in_the_next_weights(world: WeighingPeer) -> None:
    await world.run(SCORES)
    await world.until(lambda: world.row() == ROW)
    await world.score({1: 0.0, 4: 1.0})
    await world.until(lambda: world.row() == {2: 32768, 3: 16384, 4: 65535})


async def test_r29_each_mechanism_has_its_own_weights(tmp_path: Path) -> None:
    world = WeighingPeer(tmp_path, mechanism_count=2)
    await world.run(SCORES)
    second = KEY._replace(mechanism=1)
    await world.scores.load(second)
    await world.scores.update(second, {miner(4): 1.0}, ("ema", {"alpha": 1.0}), 1)
    await world.scheduler.add(VALIDATOR, 7, 1)
    await world.until(lambda: world.row() == ROW and world.row(mechanism=1) == {4: 65535})
    assert {"commit_mechanism_weights", "reveal_mechanism_weights"} <= set(world.names())


async def test_r29_scheduler_looks_after_every_final_block_while_it_runs(
    world: WeighingPeer, autojump_clock: trio.testing.MockClock
) -> None:
    await world.run(SCORES)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.scheduler.run)
        for _ in range(3 * TEMPO):
            world.peer.make_block()
            world.scheduler.block_final()
            await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert world.row() == ROW


async def test_r29_rows_of_hotkeys_that_left_long_ago_are_forgotten(
    world: WeighingPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yumad.daemon.axon.scores.KEPT_BLOCKS", 20)
    monkeypatch.setattr("yumad.daemon.axon.weight_scheduler.SWEEP_BLOCKS", 5)
    await world.run(SCORES)
    await world.register("newcomer")
    await world.step(20)
    assert miner(1) in world.scores.values(KEY)
    await world.step(10)
    assert sorted(world.scores.values(KEY)) == sorted([miner(2), miner(3), miner(4)])


# --- kills ------------------------------------------------------------------------------------------------------------


async def test_r29_kill_between_commit_and_reveal_still_reveals_in_the_window(world: WeighingPeer) -> None:
    await world.run(SCORES)
    await world.until(lambda: world.names() == ["commit_weights"])
    await world.restart()
    await world.until(lambda: "reveal_weights" in world.names())
    assert world.row() == ROW


async def test_r29_kill_after_every_block_changes_nothing(world: WeighingPeer) -> None:
    await world.run(SCORES)
    for _ in range(6 * TEMPO):
        world.peer.make_block()
        await world.restart()
        await world.scheduler.look()
    names = world.names()
    assert names.count("commit_weights") >= 5
    assert 0 <= names.count("commit_weights") - names.count("reveal_weights") <= 1
    assert world.row() == ROW


async def test_r29_kill_between_sealing_and_sending_leaves_a_file_that_goes_and_a_new_commit(
    world: WeighingPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dies(*_: Any) -> Sent:
        raise KeyboardInterrupt

    await world.run(SCORES)
    monkeypatch.setattr(world.scheduler, "_submit", dies)
    with pytest.raises(KeyboardInterrupt):
        await world.step(TEMPO)
    [lost] = world.sealed.path.iterdir()
    await world.restart()
    await world.until(lambda: world.row() == ROW)
    await world.step(2 * TEMPO)
    assert not lost.exists()


async def test_r29_downtime_over_a_whole_window_expires_the_commit_and_commits_anew(world: WeighingPeer) -> None:
    await world.run(SCORES)
    await world.until(lambda: world.names() == ["commit_weights"])
    for _ in range(2 * TEMPO):
        world.peer.make_block()
    await world.restart()
    await world.scheduler.look()
    assert "expired without a reveal" in world.status()["last_error"]["text"]
    await world.until(lambda: world.row() == ROW)
    assert world.names() == ["commit_weights", "commit_weights", "reveal_weights"]


async def test_r29_transaction_that_vanished_is_made_again(world: WeighingPeer) -> None:
    await world.run(SCORES)
    taken = 0
    while not taken:
        taken = await world.scheduler.look()
        if not taken:
            world.peer.make_block()
    world.peer.mempool.change_domain(world.peer.transaction_domain)  # the pool loses everything
    await world.until(lambda: world.row() == ROW)


# --- what stands in the way -------------------------------------------------------------------------------------------


async def test_r29_refusal_is_in_the_status_and_tried_again(
    world: WeighingPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, answers = submit_through(world.peer), [Sent(False, "CommittingWeightsTooFast", "too fast")]

    async def once(*args: Any) -> Sent:
        return answers.pop() if answers else await real(*args)

    monkeypatch.setattr(world.scheduler, "_submit", once)
    await world.run(SCORES)
    await world.until(lambda: world.scheduler.refused == 1)
    assert world.status()["last_error"]["text"] == "CommittingWeightsTooFast: too fast"
    assert not list(world.sealed.path.iterdir()), "a commit that was never sent needs no file"
    await world.until(lambda: world.row() == ROW)
    assert world.status()["last_error"] is None


async def test_r29_version_key_that_rises_between_commit_and_reveal_holds_it_back_with_the_reason(
    world: WeighingPeer,
) -> None:
    await world.run(SCORES)
    await world.until(lambda: world.names() == ["commit_weights"])
    await world.order("sudo_set_weights_version_key", 5)
    await world.until(lambda: world.scheduler.held_back == 1)
    assert "IncorrectWeightVersionKey" in world.status()["last_error"]["text"]
    assert world.status()["state"] == "version_key"
    await world.scheduler.add(VALIDATOR, 7, version_key=5)
    await world.until(lambda: world.row() == ROW)


async def test_r29_status_tells_what_happens_next(world: WeighingPeer) -> None:
    assert world.scheduler.status(KEY.validator, 7) is None
    await world.run({})
    assert world.status()["state"] == "starting"
    await world.step()
    assert world.status()["state"] == "nothing_scored"
    await world.score(SCORES)
    await world.until(lambda: world.names() == ["commit_weights"])
    status = world.status()
    [reveal] = status["reveals"]
    assert reveal["commit"] == status["last_commit"]
    assert status["next_allowed"] == status["last_update"] + 5
    assert reveal["here"] and not reveal["due"]
    due = reveal_due(status)
    await world.until(lambda: world.names()[-1] == "reveal_weights")
    assert world.calls()[-1][0] in (due, due + 1)
    assert reveal_due(world.status()) == 0
    assert [document["uid"] for document in world.scheduler.statuses()] == [0]


async def test_r29_validator_that_was_removed_is_left_alone(world: WeighingPeer) -> None:
    await world.run(SCORES)
    world.scheduler.remove(KEY.validator, 7)
    await world.step(2 * TEMPO)
    assert world.names() == []
