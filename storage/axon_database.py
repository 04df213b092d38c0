"""`<home>/axon/<genesis8>/axon.db`: what the call protocol and the validators of a peer keep (AXON R2, R28, R29).

It holds used request ids, score tables and notes about weights. None of it can be had again from other peers, so it
lies beside the chain's folder, which may be deleted at any time, and a damaged file is named and not replaced. Written
without a flush per commit: after a power loss the newest moments may be missing, never half of one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ..consensus.types import Hash32
from .database import Database, Durability, Schema, StorageError, Transaction, storage_error
from .home import Home

FILE_NAME: Final = "axon.db"

SCHEMA: Final = Schema(
    kind="axon database",
    application_id=0x79756178,
    version=1,
    tables=(
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
        # By time first: what is new goes to the end, what has expired goes from the front.
        """CREATE TABLE replay (created INTEGER, caller BLOB, request_id BLOB,
               PRIMARY KEY (created, caller, request_id)) WITHOUT ROWID""",
        """CREATE TABLE score_table (netuid INTEGER, mechanism INTEGER, validator BLOB, aggregator TEXT NOT NULL,
               params BLOB NOT NULL, round INTEGER NOT NULL, block INTEGER NOT NULL,
               PRIMARY KEY (netuid, mechanism, validator)) WITHOUT ROWID""",
        """CREATE TABLE score (netuid INTEGER, mechanism INTEGER, validator BLOB, target BLOB, state BLOB NOT NULL,
               value REAL NOT NULL, block INTEGER NOT NULL, updated INTEGER NOT NULL, rounds INTEGER NOT NULL,
               PRIMARY KEY (netuid, mechanism, validator, target)) WITHOUT ROWID""",
        """CREATE TABLE weight_note (netuid INTEGER, mechanism INTEGER, validator BLOB, note BLOB NOT NULL,
               PRIMARY KEY (netuid, mechanism, validator)) WITHOUT ROWID""",
    ),
)


def axon_folder(home: Home, genesis_hash: Hash32) -> Path:
    """Where this peer keeps what belongs to the calls and scores of one chain."""
    return home.path / "axon" / genesis_hash.hex()[:8]


def open_axon_database(folder: Path) -> Database:
    """The database in `folder`, made when it is missing. Raises StorageError when it is damaged or the disk refuses."""
    path = folder / FILE_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise storage_error(error, folder, "make the folder of calls and scores") from error
    if not path.exists():
        Database.create(path, SCHEMA, _first_rows)
    try:
        return Database.open(path, SCHEMA, durability=Durability.NORMAL)
    except StorageError as error:
        if "damaged" in error.message:
            error.remedy = f"restore {path} from a backup, or move it away: validators then score from nothing"
        raise


def _first_rows(transaction: Transaction) -> None:
    """A file without a past has nothing that may be missing."""
    transaction.execute("INSERT INTO meta VALUES ('replay_complete', 1)")
