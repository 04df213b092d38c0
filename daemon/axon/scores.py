"""The score tables of the validators on this peer: rounds go in, one number per hotkey comes out (AXON R28).

Everything is keyed by hotkey. When a uid passes to another hotkey, the newcomer has no row and starts from nothing; the
row of the hotkey that left is kept for `KEPT_BLOCKS`, in case it comes back, and then forgotten. A round is on disk
before `update` returns, and nothing is saved for a table that was not loaded first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Final

import cbor2
import trio

from ...consensus.types import AccountId, InvalidError, Micros
from ...protocols.axon.aggregators import Aggregator, built_in_aggregator
from ...storage.score_rows import ScoreKey, ScoreRow, ScoreRows, ScoreTable
from ..execution import Runner
from ..logging import get_logger

KEPT_BLOCKS: Final = 7200
"""Blocks for which the row of a hotkey outside the subnet is kept: a day of 12 s blocks."""

MAX_ROWS: Final = 4096
"""Rows of one table: 16 times the neurons a subnet may have. A plugin cannot fill the disk."""

CUSTOM: Final = "custom:"
"""Before the name of an aggregator that the plugin computes itself."""


class ScoreKeeper:
    """One per peer. Methods run on the peer's own loop; the disk is used through `runner`."""

    def __init__(self, rows: ScoreRows, runner: Runner, now: Callable[[], Micros]) -> None:
        self._rows = rows
        self._runner = runner
        self._now = now
        self._tables: dict[ScoreKey, ScoreTable] = {}
        self._locks: dict[ScoreKey, trio.Lock] = {}
        self._log = get_logger("scores")

    async def load(self, key: ScoreKey) -> ScoreTable:
        """A validator's table, from disk at the first time. Do not change it. Raises StorageError."""
        async with self._lock(key):
            return await self._load(key)

    async def update(
        self,
        key: ScoreKey,
        scores: Mapping[AccountId, float],
        aggregator: tuple[str, Mapping[str, Any]],
        block: int,
        round_number: int | None = None,
    ) -> None:
        """Take in one round, with scores of 0..1, by a built-in aggregator; `block` is the final height.

        A table of another aggregator, or of one with other parameters, is started anew. Raises InvalidError for an
        aggregator or scores that are none, StorageError.
        """
        kind = built_in_aggregator(*aggregator)
        for hotkey, score in scores.items():
            _check(hotkey, score)
        async with self._lock(key):
            table = await self._table(key, kind.name, _params(kind.params()))
            changed = {
                hotkey: self._next_row(kind, table.rows.get(hotkey), float(score), block)
                for hotkey, score in scores.items()
            }
            await self._save(key, table, changed, block, round_number)

    async def store(
        self,
        key: ScoreKey,
        rows: Mapping[AccountId, tuple[float, bytes]],
        aggregator: tuple[str, Mapping[str, Any]],
        block: int,
        round_number: int | None = None,
    ) -> None:
        """Keep (value, state) of hotkeys as the plugin's own aggregator gives them. Raises as `update` does."""
        for hotkey, (value, _) in rows.items():
            _check(hotkey, value)
        name, params = aggregator
        async with self._lock(key):
            table = await self._table(key, CUSTOM + name, _params(params))
            changed = {
                hotkey: ScoreRow(state, float(value), block, self._now(), _rounds(table.rows.get(hotkey)) + 1)
                for hotkey, (value, state) in rows.items()
            }
            await self._save(key, table, changed, block, round_number)

    async def load_custom(self, key: ScoreKey, aggregator: tuple[str, Mapping[str, Any]]) -> ScoreTable:
        """As `load`, but an empty table when it was left by anything else than this aggregator of the plugin's own."""
        table = await self.load(key)
        name, params = aggregator
        return table if (table.aggregator, table.params) == (CUSTOM + name, _params(params)) else ScoreTable()

    async def forget_absent(self, key: ScoreKey, members: Collection[AccountId], block: int) -> int:
        """Drop the rows of hotkeys outside the subnet without a score for `KEPT_BLOCKS`; how many went."""
        async with self._lock(key):
            table = await self._load(key)
            gone = [
                hotkey
                for hotkey, row in table.rows.items()
                if hotkey not in members and row.block + KEPT_BLOCKS < block
            ]
            if gone:
                await self._runner.run(lambda: self._rows.save(key, table, {}, gone))
                for hotkey in gone:
                    del table.rows[hotkey]
            return len(gone)

    def values(self, key: ScoreKey) -> dict[AccountId, float]:
        """What each hotkey is worth now; empty before the table was loaded."""
        table = self._tables.get(key)
        return {} if table is None else {hotkey: row.value for hotkey, row in table.rows.items()}

    def newest_round(self, key: ScoreKey) -> tuple[int, int]:
        """(number of the newest round, final height then); zeros before the first."""
        table = self._tables.get(key)
        return (0, 0) if table is None else (table.round, table.block)

    # --- inside the lock ----------------------------------------------------------------------------------------------

    def _lock(self, key: ScoreKey) -> trio.Lock:
        return self._locks.setdefault(key, trio.Lock())

    async def _load(self, key: ScoreKey) -> ScoreTable:
        table = self._tables.get(key)
        if table is None:
            table = self._tables[key] = await self._runner.run(lambda: self._rows.load(key))
        return table

    async def _table(self, key: ScoreKey, name: str, params: bytes) -> ScoreTable:
        """The table for this aggregator: the one that is there, or a new one when that was of another."""
        table = await self._load(key)
        if (table.aggregator, table.params) == (name, params):
            return table
        if table.rows:
            self._log.warning(
                "the aggregator changed: scores start anew",
                netuid=key.netuid,
                mechanism=key.mechanism,
                before=table.aggregator,
                now=name,
                rows=len(table.rows),
            )
        fresh = ScoreTable(name, params, table.round, table.block)
        await self._runner.run(lambda: self._rows.replace(key, fresh))
        self._tables[key] = fresh
        return fresh

    def _next_row(self, kind: Aggregator, row: ScoreRow | None, score: float, block: int) -> ScoreRow:
        state: Any = kind.initial()
        if row is not None:
            state = cbor2.loads(row.state)
        state = kind.update(state, score)
        return ScoreRow(cbor2.dumps(state), kind.value(state), block, self._now(), _rounds(row) + 1)

    async def _save(
        self,
        key: ScoreKey,
        table: ScoreTable,
        changed: dict[AccountId, ScoreRow],
        block: int,
        round_number: int | None,
    ) -> None:
        if len(table.rows.keys() | changed.keys()) > MAX_ROWS:
            raise InvalidError(
                f"scores of more than {MAX_ROWS} hotkeys in subnet {key.netuid}", remedy="score members of the subnet"
            )
        after = replace(table, round=table.round + 1 if round_number is None else round_number, block=block)
        await self._runner.run(lambda: self._rows.save(key, after, changed))
        table.round, table.block = after.round, after.block
        table.rows.update(changed)


def _params(params: Mapping[str, Any]) -> bytes:
    return cbor2.dumps(dict(sorted(params.items())))


def _rounds(row: ScoreRow | None) -> int:
    return 0 if row is None else row.rounds


def _check(hotkey: AccountId, score: float) -> None:
    if len(hotkey) != 32:
        raise InvalidError(f"a hotkey has {len(hotkey)} bytes, not 32")
    if type(score) not in (int, float) or not math.isfinite(score) or not 0.0 <= score <= 1.0:
        raise InvalidError(f"a score is {score!r}", remedy="give numbers from 0 to 1")
