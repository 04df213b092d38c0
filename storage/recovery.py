"""The restart files a chain database has adopted (CHAIN 1.3, partitions and halts).

Files are kept for ever: joiners check the whole chain of them. The sets that headers committed stay beside them, since
a boundary proof shows what the old set signed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..consensus.authority import AuthoritySet
from ..consensus.effects import BlockRef
from ..consensus.restart_file import RestartFile, decode_restart_file, encode_restart_file
from ..consensus.types import ZERO_HASH, Era, Hash32, Height, InvalidError
from .database import Database

TABLES: Final = (
    """CREATE TABLE restart (
        sequence INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, era INTEGER NOT NULL, parent BLOB NOT NULL,
        bytes BLOB NOT NULL)""",
)


@dataclass(frozen=True, slots=True)
class Restart:
    """One adopted file."""

    hash: Hash32
    """The restart hash from then on."""
    era: Era
    """Era it replaced the set of."""
    file: RestartFile
    authorities: AuthoritySet
    opening: BlockRef
    """F = (view 0, point)."""


class RestartLog:
    """Adopted restart files in order."""

    def __init__(self, database: Database, genesis_hash: Hash32) -> None:
        self._database = database
        self._genesis_hash = genesis_hash

    def newest_hash(self) -> Hash32:
        """The restart hash votes are signed under; zero before the first file."""
        row = self._database.one("SELECT hash FROM restart ORDER BY sequence DESC LIMIT 1")
        return ZERO_HASH if row is None else Hash32(bytes(row[0]))

    def newest_in(self, era: Era) -> Restart | None:
        """The file whose set counts for the rest of `era`, or None."""
        row = self._database.one(
            "SELECT hash, era, parent, bytes FROM restart WHERE era = ? ORDER BY sequence DESC LIMIT 1", (era,)
        )
        if row is None:
            return None
        file = decode_restart_file(row[3])
        return Restart(
            Hash32(bytes(row[0])),
            Era(row[1]),
            file,
            file.authorities(self._genesis_hash),
            file.opening(Hash32(bytes(row[2]))),
        )

    def files(self, era: Era) -> Sequence[bytes]:
        """Encoded files whose point lies in `era`, oldest first."""
        rows = self._database.all("SELECT bytes FROM restart WHERE era = ? ORDER BY sequence", (era,))
        return [bytes(row[0]) for row in rows]

    def adopt(self, file: RestartFile, era: Era, finalised: tuple[Height, Hash32], parent_hash: Hash32) -> Hash32:
        """Store a verified file, durably; gives the new restart hash.

        `finalised` is F and `parent_hash` its block's parent. Raises InvalidError when the file does not stand exactly
        on F or does not follow the newest file: final blocks are never undone, so the operator must decide.
        """
        if (file.height, file.block_hash) != finalised:
            raise InvalidError(
                f"the restart file goes on from block {file.height} {file.block_hash.hex()[:16]}, "
                f"final here is block {finalised[0]} {finalised[1].hex()[:16]}",
                remedy="sync up to its block first; if this peer is past it, delete the chain folder to sync anew",
            )
        if file.previous != self.newest_hash():
            raise InvalidError(
                f"the restart file follows {file.previous.hex()[:16]}, adopted here is {self.newest_hash().hex()[:16]}",
                remedy="compare with other operators which file the network follows",
            )
        restart_hash = file.hash(self._genesis_hash)
        with self._database.transaction() as transaction:
            transaction.execute(
                "INSERT INTO restart (hash, era, parent, bytes) VALUES (?, ?, ?, ?)",
                (bytes(restart_hash), era, bytes(parent_hash), encode_restart_file(file)),
            )
        return restart_hash
