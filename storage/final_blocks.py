"""Tables of final blocks inside `chain.db`: headers, bodies, certificates, eras, evidence (CHAIN 4.4).

Everything is keyed by height. A block's two parts lie apart because headers stay for ever and bodies are pruned.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from ..consensus import cbor
from ..consensus.authority import AuthoritySet, encode_authority_set
from ..consensus.block import Body, decode_body
from ..consensus.certificate import Certificate, decode_certificate, encode_certificate
from ..consensus.effects import BlockRef
from ..consensus.evidence import Evidence, decode_evidence, encode_evidence
from ..consensus.header import Header, decode_header, encode_header
from ..consensus.types import Era, Hash32, Height, YumadError
from .database import Database, StorageError, Transaction

if TYPE_CHECKING:
    from ..consensus.working_chain import FinalisedBlock

T = TypeVar("T")

TABLES: Final = (
    "CREATE TABLE header (height INTEGER PRIMARY KEY, hash BLOB NOT NULL, bytes BLOB NOT NULL)",
    "CREATE TABLE header_by_hash (hash BLOB PRIMARY KEY, height INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE body (height INTEGER PRIMARY KEY, bytes BLOB NOT NULL)",
    "CREATE TABLE certificate (height INTEGER PRIMARY KEY, boundary INTEGER NOT NULL, bytes BLOB NOT NULL)",
    """CREATE TABLE era (
        era INTEGER PRIMARY KEY, authorities BLOB NOT NULL, opening_hash BLOB NOT NULL,
        opening_height INTEGER NOT NULL, opening_slot INTEGER NOT NULL, opening_parent BLOB NOT NULL)""",
    # An archive for people; what is punished is in the state.
    "CREATE TABLE evidence (bytes BLOB PRIMARY KEY, height INTEGER NOT NULL) WITHOUT ROWID",
)

MAX_HEADERS: Final = 512
"""Most headers one call gives, as one reply of the sync protocol (CHAIN 2.1)."""


class FinalBlocks:
    """Reads final blocks. Heights and hashes without a stored row give None."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def header(self, height: Height) -> Header | None:
        """Header of a final block."""
        data = self._bytes("SELECT bytes FROM header WHERE height = ?", height)
        return None if data is None else self._decoded(decode_header, data, f"the header of block {height}")

    def headers(self, start: Height, count: int) -> list[Header]:
        """Up to `count` (at most MAX_HEADERS) headers from `start` on, contiguous."""
        rows = self._database.all(
            "SELECT bytes FROM header WHERE height >= ? ORDER BY height LIMIT ?", (start, min(count, MAX_HEADERS))
        )
        return [
            self._decoded(decode_header, row[0], f"the header of block {height}")
            for height, row in enumerate(rows, start=start)
        ]

    def height_of(self, block_hash: Hash32) -> Height | None:
        """Height of a final block by its hash."""
        row = self._database.one("SELECT height FROM header_by_hash WHERE hash = ?", (bytes(block_hash),))
        return None if row is None else Height(row[0])

    def header_by_hash(self, block_hash: Hash32) -> Header | None:
        """Header of a final block by its hash."""
        height = self.height_of(block_hash)
        return None if height is None else self.header(height)

    def block_bytes(self, height: Height) -> bytes | None:
        """`encode_block` of a final block whose body is kept."""
        row = self._database.one(
            "SELECT header.bytes, body.bytes FROM header JOIN body USING (height) WHERE height = ?", (height,)
        )
        return None if row is None else cbor.encode([row[0], row[1]])

    def body(self, height: Height) -> Body | None:
        """Body of a final block, where kept."""
        data = self._bytes("SELECT bytes FROM body WHERE height = ?", height)
        return None if data is None else self._decoded(decode_body, data, f"the body of block {height}")

    def certificate(self, height: Height) -> Certificate | None:
        """Finality certificate of exactly this block, where kept: boundaries, each 64th, the last 256."""
        data = self._bytes("SELECT bytes FROM certificate WHERE height = ?", height)
        return None if data is None else self._decoded(decode_certificate, data, f"the certificate of block {height}")

    def included_evidence(self) -> list[tuple[Height, Evidence]]:
        """Evidence in final blocks, oldest first, with the height of its inclusion."""
        rows = self._database.all("SELECT height, bytes FROM evidence ORDER BY height, bytes LIMIT 10000")
        return [(Height(height), decode_evidence(data)) for height, data in rows]

    def _decoded(self, decode: Callable[[bytes], T], data: bytes, what: str) -> T:
        """What was written here decodes; if it does not, the file is damaged and not the sender to blame."""
        try:
            return decode(data)
        except YumadError as error:
            raise damaged(self._database.path, f"{what} does not decode ({error.message})") from error

    def _bytes(self, query: str, height: Height) -> bytes | None:
        row = self._database.one(query, (height,))
        return None if row is None else bytes(row[0])


def damaged(path: Path, reason: str) -> StorageError:
    """The error for a chain database that is not what was written."""
    return StorageError(
        f"{path} is damaged: {reason}",
        remedy="restore it from a backup, or delete the chain folder to sync anew (keep `authority/`)",
    )


def insert_block(transaction: Transaction, block: FinalisedBlock, certificate: Certificate | None) -> None:
    """Write one block with what it carries: certificate, next era, evidence."""
    header, height = block.header, block.header.height
    transaction.execute("INSERT INTO header VALUES (?, ?, ?)", (height, bytes(block.hash), encode_header(header)))
    transaction.execute("INSERT INTO header_by_hash VALUES (?, ?)", (bytes(block.hash), height))
    transaction.execute("INSERT INTO body VALUES (?, ?)", (height, block.body))
    following = block.outcome.next_authorities
    if certificate is not None:
        transaction.execute(
            "INSERT INTO certificate VALUES (?, ?, ?)",
            (height, int(following is not None), encode_certificate(certificate)),
        )
    if following is not None:
        insert_era(transaction, Era(header.era + 1), following, BlockRef.of(header, block.hash))
    for evidence in decode_body(block.body).evidence:
        transaction.execute("INSERT OR IGNORE INTO evidence VALUES (?, ?)", (encode_evidence(evidence), height))


def insert_era(transaction: Transaction, era: Era, authorities: AuthoritySet, opening: BlockRef) -> None:
    """Write how an era begins."""
    transaction.execute(
        "INSERT INTO era VALUES (?, ?, ?, ?, ?, ?)",
        (
            era,
            encode_authority_set(authorities),
            bytes(opening.hash),
            opening.height,
            opening.slot,
            bytes(opening.parent_hash),
        ),
    )
