"""Look-ups that consensus does not need, in `index.db`: where a transaction is, what touched an account (CHAIN 4.4),
and the records of the newest epochs, from which payouts are explained.

Rebuildable from bodies, so it is written without a flush: after a power loss it may lag the chain database, and the
daemon adds the missing heights from `indexed_to` on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..consensus.types import AccountId, Hash32, Height, InvalidError
from .database import Database, Schema, Transaction
from .peers import open_disposable

MAX_ANSWER: Final = 1000
"""Heights one look-up of an account gives."""

_SCHEMA: Final = Schema(
    kind="index",
    application_id=0x79756901,
    version=2,
    tables=(
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
        """CREATE TABLE transaction_at (id BLOB PRIMARY KEY, height INTEGER NOT NULL, position INTEGER NOT NULL)
           WITHOUT ROWID""",
        """CREATE TABLE account_in (account BLOB, height INTEGER, PRIMARY KEY (account, height)) WITHOUT ROWID""",
        """CREATE TABLE epoch (netuid INTEGER, height INTEGER, record BLOB NOT NULL, PRIMARY KEY (netuid, height))""",
    ),
)

_ID_BYTES: Final = 16
"""Of an id that are kept: 128 bits cannot be made to collide, and the tree of random keys is half as large."""


@dataclass(frozen=True, slots=True)
class IndexedTransaction:
    """What is remembered of one included transaction."""

    id: Hash32
    accounts: tuple[AccountId, ...]
    """Signer and everybody its events name."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where a transaction is."""

    height: Height
    position: int
    """Index in the body's list."""


class IndexStore:
    """The open index."""

    def __init__(self, database: Database) -> None:
        """Use `IndexStore.open`."""
        self._database = database

    @classmethod
    def open(cls, path: Path) -> IndexStore:
        """Open or make the file; a damaged or older one is replaced by an empty one."""
        return cls(open_disposable(path, _SCHEMA))

    def indexed_to(self) -> Height:
        """Last indexed height; 0 for an empty index."""
        row = self._database.one("SELECT value FROM meta WHERE name = 'indexed_to'")
        return Height(0 if row is None else row[0])

    def add(self, first: Height, blocks: Sequence[Sequence[IndexedTransaction]]) -> None:
        """Index the transactions of consecutive blocks from height `first` on, in one transaction.

        Raises InvalidError unless `first` follows the last indexed height.
        """
        with self._database.transaction() as transaction:
            known = self._indexed_to(transaction)
            if first != known + 1:
                raise InvalidError(f"the index ends at block {known}, block {first} cannot follow")
            for height, transactions in enumerate(blocks, start=first):
                transaction.executemany(
                    "INSERT OR REPLACE INTO transaction_at VALUES (?, ?, ?)",
                    [(bytes(item.id[:_ID_BYTES]), height, at) for at, item in enumerate(transactions)],
                )
                touched = sorted({bytes(account) for item in transactions for account in item.accounts})
                transaction.executemany(
                    "INSERT OR IGNORE INTO account_in VALUES (?, ?)", [(account, height) for account in touched]
                )
            transaction.execute("INSERT OR REPLACE INTO meta VALUES ('indexed_to', ?)", (first + len(blocks) - 1,))

    def find(self, transaction_id: Hash32) -> Location | None:
        """Where the transaction with this id was included."""
        row = self._database.one(
            "SELECT height, position FROM transaction_at WHERE id = ?", (bytes(transaction_id[:_ID_BYTES]),)
        )
        return None if row is None else Location(Height(row[0]), row[1])

    def heights_of(self, account: AccountId, below: Height | None = None, limit: int = 100) -> list[Height]:
        """Heights at which an account was touched, newest first, below `below` (page on with the last one)."""
        rows = self._database.all(
            "SELECT height FROM account_in WHERE account = ? AND height < ? ORDER BY height DESC LIMIT ?",
            (bytes(account), (1 << 62) if below is None else below, min(limit, MAX_ANSWER)),
        )
        return [Height(row[0]) for row in rows]

    def add_epochs(self, epochs: Sequence[tuple[int, Height, bytes]], keep: int | None) -> None:
        """Remember records of epochs, (netuid, height, bytes), and of each subnet only the newest `keep`; None: all."""
        with self._database.transaction() as transaction:
            transaction.executemany("INSERT OR REPLACE INTO epoch VALUES (?, ?, ?)", epochs)
            if keep is not None:
                transaction.executemany(
                    """DELETE FROM epoch WHERE netuid = ?1 AND height <= (
                           SELECT height FROM epoch WHERE netuid = ?1 ORDER BY height DESC LIMIT 1 OFFSET ?2)""",
                    sorted({(netuid, keep) for netuid, _, _ in epochs}),
                )

    def epoch(self, netuid: int, at: Height | None = None) -> bytes | None:
        """The record of a subnet's epoch at a height, or of the newest one."""
        row = self._database.one(
            "SELECT record FROM epoch WHERE netuid = ?1 AND height = coalesce(?2, height) ORDER BY height DESC LIMIT 1",
            (netuid, at),
        )
        return None if row is None else bytes(row[0])

    def epoch_heights(self, netuid: int) -> list[Height]:
        """Heights of the subnet's epochs whose records are kept, newest first."""
        rows = self._database.all("SELECT height FROM epoch WHERE netuid = ? ORDER BY height DESC", (netuid,))
        return [Height(row[0]) for row in rows]

    def clear(self) -> None:
        """Empty the index, to build it anew."""
        with self._database.transaction() as transaction:
            for table in ("meta", "transaction_at", "account_in", "epoch"):
                transaction.execute(f"DELETE FROM {table}")

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @staticmethod
    def _indexed_to(transaction: Transaction) -> int:
        row = transaction.one("SELECT value FROM meta WHERE name = 'indexed_to'")
        return 0 if row is None else int(row[0])
