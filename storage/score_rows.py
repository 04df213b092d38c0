"""Score tables of validators on disk, keyed by hotkeys and never by uids (AXON R28, complaint C12).

One table for each (netuid, mechanism, validator's hotkey); a round is saved in one transaction. A table must have been
loaded before it can be saved: what is on disk can then only be replaced by somebody who has seen it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ..consensus.types import AccountId, InvalidError
from .database import Database, Transaction

MAX_STATE_BYTES: Final = 64 * 1024
"""Longest state of one target: a window of 4096 scores is 36 KiB."""

_WHERE: Final = "netuid = ? AND mechanism = ? AND validator = ?"


class ScoreKey(NamedTuple):
    """Whose scores they are."""

    netuid: int
    mechanism: int
    validator: AccountId


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """What is known of one target."""

    state: bytes
    """The aggregator's state."""
    value: float
    """What it is worth: the target's share before normalisation."""
    block: int
    """Final height at the newest score."""
    updated: int
    """The same in Unix microseconds."""
    rounds: int
    """Rounds with a score."""


@dataclass(slots=True)
class ScoreTable:
    """All of one validator's scores in one mechanism."""

    aggregator: str = ""
    params: bytes = b""
    round: int = 0
    """Number of the newest round."""
    block: int = 0
    """Final height at that round."""
    rows: dict[AccountId, ScoreRow] = field(default_factory=dict)


class ScoreRows:
    """The tables of one chain."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._loaded: dict[ScoreKey, None] = {}

    def load(self, key: ScoreKey) -> ScoreTable:
        """A validator's table; empty when nothing was saved. Raises StorageError."""
        head = self._database.one(
            f"SELECT aggregator, params, round, block FROM score_table WHERE {_WHERE}", _values(key)
        )
        table = ScoreTable() if head is None else ScoreTable(head[0], bytes(head[1]), head[2], head[3])
        for target, state, value, block, updated, rounds in self._database.all(
            f"SELECT target, state, value, block, updated, rounds FROM score WHERE {_WHERE} ORDER BY target",
            _values(key),
        ):
            table.rows[AccountId(bytes(target))] = ScoreRow(bytes(state), value, block, updated, rounds)
        self._loaded[key] = None
        return table

    def save(
        self, key: ScoreKey, table: ScoreTable, changed: Mapping[AccountId, ScoreRow], gone: Iterable[AccountId] = ()
    ) -> None:
        """Store a round: the table's head, the rows that changed, and without those that are gone; all or nothing.

        Raises InvalidError before the first `load`, and for a state that is too long; StorageError.
        """
        self._check(key, changed)
        with self._database.transaction() as transaction:
            self._write(transaction, key, table, changed)
            transaction.executemany(
                f"DELETE FROM score WHERE {_WHERE} AND target = ?", [(*_values(key), bytes(target)) for target in gone]
            )

    def replace(self, key: ScoreKey, table: ScoreTable) -> None:
        """Store a table in place of everything that was kept under its key. Raises as `save` does."""
        self._check(key, table.rows)
        with self._database.transaction() as transaction:
            transaction.execute(f"DELETE FROM score WHERE {_WHERE}", _values(key))
            self._write(transaction, key, table, table.rows)

    def _check(self, key: ScoreKey, rows: Mapping[AccountId, ScoreRow]) -> None:
        if key not in self._loaded:
            raise InvalidError(f"scores of subnet {key.netuid} are saved before they were loaded")
        longest = max((len(row.state) for row in rows.values()), default=0)
        if longest > MAX_STATE_BYTES:
            raise InvalidError(
                f"the state of an aggregator has {longest} bytes, at most {MAX_STATE_BYTES} are kept",
                remedy="keep less per miner, or store it in the plugin's own folder",
            )

    @staticmethod
    def _write(transaction: Transaction, key: ScoreKey, table: ScoreTable, rows: Mapping[AccountId, ScoreRow]) -> None:
        transaction.execute(
            "INSERT OR REPLACE INTO score_table VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*_values(key), table.aggregator, table.params, table.round, table.block),
        )
        transaction.executemany(
            "INSERT OR REPLACE INTO score VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (*_values(key), bytes(target), row.state, row.value, row.block, row.updated, row.rounds)
                for target, row in rows.items()
            ],
        )


def _values(key: ScoreKey) -> tuple[int, int, bytes]:
    return key.netuid, key.mechanism, bytes(key.validator)
