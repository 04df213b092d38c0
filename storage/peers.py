"""Known peers of one chain in `peers.db`: addresses, last contact, score, anchors (CHAIN 4.4, section 7).

Disposable: a damaged file is made anew. Bounded: the peers heard of longest ago are forgotten first, anchors last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..consensus.types import Micros
from .database import Database, Durability, Row, Schema, StorageError, Transaction, sidecars

MAX_PEERS: Final = 4096
"""At 300 bytes each about a megabyte; more addresses than a peer can try in a day."""

MAX_ADDRESSES: Final = 8
"""Per peer, the newest; a signed record holds no more."""

MAX_RECORD_BYTES: Final = 2048
"""Largest signed peer record kept."""

_MAX_ADDRESS_CHARACTERS: Final = 256

_SCHEMA: Final = Schema(
    kind="peer database",
    application_id=0x79757001,
    version=1,
    tables=(
        """CREATE TABLE peer (
            peer TEXT PRIMARY KEY, addresses TEXT NOT NULL, last_seen INTEGER NOT NULL, milli_score INTEGER NOT NULL,
            banned_until INTEGER NOT NULL, anchor INTEGER NOT NULL, record BLOB) WITHOUT ROWID""",
        "CREATE INDEX peer_by_age ON peer (anchor, last_seen)",
    ),
)


@dataclass(frozen=True, slots=True)
class KnownPeer:
    """What is remembered of one peer across restarts."""

    peer: str
    """libp2p peer id in base58."""
    addresses: tuple[str, ...]
    """Multiaddresses, best first."""
    last_seen: Micros
    """Last time a connection worked or a record of it arrived."""
    milli_score: int = 0
    """Thousandths of the peer ledger's score (CHAIN 2.3) at `last_seen`; it decays from there."""
    banned_until: Micros = Micros(0)
    anchor: bool = False
    """Was a good neighbour when this process last stopped: tried first after a restart, so a restart cannot be
    used to surround a peer with strangers."""
    record: bytes | None = None
    """Its newest signed address record, to pass on."""


class PeerStore:
    """The open file."""

    def __init__(self, database: Database) -> None:
        """Use `PeerStore.open`."""
        self._database = database

    @classmethod
    def open(cls, path: Path) -> PeerStore:
        """Open or make the file; a damaged or older one is replaced. Raises StorageError when the disk refuses."""
        return cls(open_disposable(path, _SCHEMA))

    def put(self, peers: Sequence[KnownPeer]) -> None:
        """Insert or replace peers in one transaction; what exceeds the bounds is cut."""
        with self._database.transaction() as transaction:
            transaction.executemany(
                "INSERT OR REPLACE INTO peer VALUES (?, ?, ?, ?, ?, ?, ?)", [_to_row(peer) for peer in peers]
            )
            transaction.execute(
                """DELETE FROM peer WHERE peer IN (
                    SELECT peer FROM peer ORDER BY anchor DESC, last_seen DESC, peer LIMIT -1 OFFSET ?)""",
                (MAX_PEERS,),
            )

    def get(self, peer: str) -> KnownPeer | None:
        """One peer."""
        row = self._database.one("SELECT * FROM peer WHERE peer = ?", (peer,))
        return None if row is None else _from_row(row)

    def newest(self, limit: int = MAX_PEERS) -> list[KnownPeer]:
        """Peers by last contact, newest first."""
        rows = self._database.all("SELECT * FROM peer ORDER BY last_seen DESC, peer LIMIT ?", (min(limit, MAX_PEERS),))
        return [_from_row(row) for row in rows]

    def anchors(self) -> list[KnownPeer]:
        """The neighbours to try first after a restart."""
        return [_from_row(row) for row in self._database.all("SELECT * FROM peer WHERE anchor ORDER BY peer")]

    def set_anchors(self, peers: Sequence[str]) -> None:
        """Make exactly these known peers the anchors."""
        with self._database.transaction() as transaction:
            transaction.execute("UPDATE peer SET anchor = 0 WHERE anchor")
            transaction.executemany("UPDATE peer SET anchor = 1 WHERE peer = ?", [(peer,) for peer in peers])

    def forget(self, peer: str) -> None:
        """Remove one peer."""
        with self._database.transaction() as transaction:
            transaction.execute("DELETE FROM peer WHERE peer = ?", (peer,))

    def __len__(self) -> int:
        row = self._database.one("SELECT COUNT(*) FROM peer")
        return 0 if row is None else int(row[0])

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def open_disposable(path: Path, schema: Schema) -> Database:
    """A file that can be had again: made when missing, replaced when it is damaged or of another format.

    Raises StorageError only when the disk refuses.
    """

    def nothing(_: Transaction) -> None:
        return None

    if path.exists():
        try:
            return Database.open(path, schema, durability=Durability.NORMAL)
        except StorageError as unusable:
            try:
                for part in (path, *sidecars(path)):
                    part.unlink(missing_ok=True)
            except OSError:
                raise unusable from None  # not the file but the folder is the problem
    Database.create(path, schema, nothing)
    return Database.open(path, schema, durability=Durability.NORMAL)


def _to_row(peer: KnownPeer) -> Row:
    addresses = [text for text in peer.addresses if len(text) <= _MAX_ADDRESS_CHARACTERS][:MAX_ADDRESSES]
    record = peer.record if peer.record is not None and len(peer.record) <= MAX_RECORD_BYTES else None
    return (
        peer.peer,
        "\n".join(addresses),
        peer.last_seen,
        peer.milli_score,
        peer.banned_until,
        int(peer.anchor),
        record,
    )


def _from_row(row: Row) -> KnownPeer:
    peer, addresses, last_seen, milli_score, banned_until, anchor, record = row
    return KnownPeer(
        peer,
        tuple(addresses.split("\n")) if addresses else (),
        Micros(last_seen),
        milli_score,
        Micros(banned_until),
        bool(anchor),
        record,
    )
