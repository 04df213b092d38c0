"""Rounds of scores become one number per hotkey, over restarts and changes of uids (AXON R28, complaint C12)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cbor2
import pytest
import trio
from structlog.testing import capture_logs
from yumad.consensus.types import AccountId, InvalidError, Micros
from yumad.daemon.axon.scores import KEPT_BLOCKS, MAX_ROWS, ScoreKeeper
from yumad.daemon.execution import InlineRunner
from yumad.storage.axon_database import open_axon_database
from yumad.storage.database import Database
from yumad.storage.score_rows import ScoreKey, ScoreRows

VALIDATOR, MINER, OTHER = (AccountId(bytes([n]) * 32) for n in (1, 2, 3))
KEY = ScoreKey(7, 0, VALIDATOR)
EMA = ("ema", {"alpha": 0.5})


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_axon_database(tmp_path)
    yield opened
    opened.close()


def keeper_of(database: Database) -> ScoreKeeper:
    return ScoreKeeper(ScoreRows(database), InlineRunner(), lambda: Micros(77))


async def test_r28_rounds_are_aggregated_by_hotkey(database: Database) -> None:
    keeper = keeper_of(database)
    for score in (1.0, 1.0):
        await keeper.update(KEY, {MINER: score}, EMA, 10)
    await keeper.update(KEY, {OTHER: 0}, EMA, 12, round_number=9)
    assert keeper.values(KEY) == {MINER: 0.75, OTHER: 0.0}
    assert keeper.newest_round(KEY) == (9, 12)


async def test_r28_scores_go_on_after_a_restart_where_they_were(database: Database) -> None:
    await keeper_of(database).update(KEY, {MINER: 1.0}, EMA, 10)
    again = keeper_of(database)
    assert again.values(KEY) == {}
    await again.update(KEY, {MINER: 1.0}, EMA, 11)
    assert again.values(KEY) == {MINER: 0.75}
    [row] = (await again.load(KEY)).rows.values()
    assert (row.rounds, row.block, row.updated) == (2, 11, 77)


@pytest.mark.parametrize("other", [("ema", {"alpha": 0.25}), ("win_rate", {})], ids=["parameters", "kind"])
async def test_r28_another_aggregator_starts_anew_and_says_so(
    database: Database, other: tuple[str, dict[str, float]]
) -> None:
    keeper = keeper_of(database)
    await keeper.update(KEY, {MINER: 1.0, OTHER: 1.0}, EMA, 10)
    with capture_logs() as logs:
        await keeper.update(KEY, {MINER: 0.0}, other, 11)
    assert [entry["event"] for entry in logs] == ["the aggregator changed: scores start anew"]
    assert keeper.values(KEY) == {MINER: 0.0}
    assert list((await keeper_of(database).load(KEY)).rows) == [MINER]


async def test_r28_own_aggregator_is_stored_as_it_is_given(database: Database) -> None:
    keeper = keeper_of(database)
    state = cbor2.dumps({"wins": 3})
    await keeper.store(KEY, {MINER: (0.3, state)}, ("elo", {"k": 8}), 10)
    await keeper.store(KEY, {OTHER: (0.4, b"")}, ("elo", {"k": 8}), 11)
    table = await keeper_of(database).load(KEY)
    assert (table.aggregator, table.round) == ("custom:elo", 2)
    assert {hotkey: (row.value, row.state) for hotkey, row in table.rows.items()} == {
        MINER: (0.3, state),
        OTHER: (0.4, b""),
    }


async def test_r28_own_aggregator_that_has_changed_starts_anew(database: Database) -> None:
    keeper = keeper_of(database)
    await keeper.store(KEY, {MINER: (0.3, b"x")}, ("elo", {"k": 8}), 10)
    assert list((await keeper.load_custom(KEY, ("elo", {"k": 8}))).rows) == [MINER]
    for other in (("elo", {"k": 9}), ("rank", {"k": 8})):
        assert (await keeper.load_custom(KEY, other)).rows == {}
    await keeper.store(KEY, {OTHER: (0.4, b"")}, ("elo", {"k": 9}), 11)
    assert keeper.values(KEY) == {OTHER: 0.4}
    assert list((await keeper_of(database).load(KEY)).rows) == [OTHER]


async def test_r28_hotkey_that_left_keeps_its_row_for_a_while(database: Database) -> None:
    keeper = keeper_of(database)
    await keeper.update(KEY, {MINER: 1.0, OTHER: 1.0}, EMA, 10)
    assert await keeper.forget_absent(KEY, [OTHER], 10 + KEPT_BLOCKS) == 0
    assert await keeper.forget_absent(KEY, [OTHER], 11 + KEPT_BLOCKS) == 1
    assert list(keeper.values(KEY)) == [OTHER] == list((await keeper_of(database).load(KEY)).rows)


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan"), float("inf"), True, "1"])
async def test_r28_number_that_is_no_score_changes_nothing(database: Database, score: float) -> None:
    keeper = keeper_of(database)
    await keeper.update(KEY, {MINER: 1.0}, EMA, 10)
    with pytest.raises(InvalidError):
        await keeper.update(KEY, {MINER: 0.0, OTHER: score}, EMA, 11)
    with pytest.raises(InvalidError):
        await keeper.store(KEY, {OTHER: (score, b"")}, ("x", {}), 11)
    assert keeper.values(KEY) == {MINER: 0.5}


async def test_r28_unknown_aggregator_and_short_hotkey_are_refused(database: Database) -> None:
    keeper = keeper_of(database)
    with pytest.raises(InvalidError, match="no aggregator"):
        await keeper.update(KEY, {}, ("guess", {}), 1)
    with pytest.raises(InvalidError, match="31 bytes"):
        await keeper.update(KEY, {AccountId(bytes(31)): 1.0}, EMA, 1)


async def test_r28_plugin_cannot_fill_the_disk_with_hotkeys(database: Database) -> None:
    keeper = keeper_of(database)
    many = {AccountId(number.to_bytes(32, "big")): 1.0 for number in range(MAX_ROWS)}
    await keeper.update(KEY, many, EMA, 1)
    with pytest.raises(InvalidError, match="more than"):
        await keeper.update(KEY, {MINER: 1.0}, EMA, 1)
    assert len(keeper.values(KEY)) == MAX_ROWS


async def test_r28_rounds_that_come_together_both_count(database: Database) -> None:
    keeper = keeper_of(database)
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(keeper.update, KEY, {MINER: 1.0}, EMA, 10)
    assert keeper.values(KEY) == {MINER: 0.75}
    assert keeper.newest_round(KEY) == (2, 10)
