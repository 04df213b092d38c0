"""The vote guard: what an authority key has signed, in a file of its own (CHAIN 1.3, "Persisted before voting").

It lies beside the key and outside the chain folder that people delete to sync anew. Kept above the finalised point F:
own statements with their exact bytes, accepted certificates (R11) and the bodies of blocks voted for (R9); at and below
F only a floor under which nothing new is ever signed, and the last own finalize votes (R10). Every method that writes
has flushed when it returns; `batch` lets several share one flush.

Order with the chain database (R7): the finalization certificate is here first, then `chain.db` commits, then
`raise_floor`. So the chain database may lag this file, never the reverse.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..consensus.block import Block, decode_block, encode_block
from ..consensus.certificate import Certificate, decode_certificate, encode_certificate
from ..consensus.statement import (
    Kind,
    SignedStatement,
    Statement,
    decode_statement,
    encode_statement,
)
from ..consensus.timing import LATE_FINALIZE
from ..consensus.types import AuthorityKey, Era, Hash32, Height, InvalidError, Micros, View
from ..consensus.vote_guard import refusal
from .database import Database, Schema, StorageError, Transaction

_SCHEMA: Final = Schema(
    kind="vote guard",
    application_id=0x79756701,
    version=1,
    tables=(
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
        """CREATE TABLE vote (
            genesis BLOB, restart BLOB, era INTEGER, view INTEGER, kind INTEGER, bytes BLOB NOT NULL,
            PRIMARY KEY (genesis, restart, era, view, kind)) WITHOUT ROWID""",
        """CREATE TABLE certificate (
            genesis BLOB, restart BLOB, era INTEGER, view INTEGER, kind INTEGER, bytes BLOB NOT NULL,
            PRIMARY KEY (genesis, restart, era, view, kind)) WITHOUT ROWID""",
        # Rows of 512 KiB: an ordinary table, since sqlite stores large values badly inside an index tree.
        """CREATE TABLE pending (
            genesis BLOB NOT NULL, hash BLOB NOT NULL, height INTEGER NOT NULL, bytes BLOB NOT NULL,
            UNIQUE (genesis, hash))""",
        """CREATE TABLE floor (
            genesis BLOB, restart BLOB, era INTEGER NOT NULL, view INTEGER NOT NULL,
            PRIMARY KEY (genesis, restart)) WITHOUT ROWID""",
        """CREATE TABLE second_signer (
            genesis BLOB, restart BLOB, bytes BLOB, seen INTEGER NOT NULL,
            PRIMARY KEY (genesis, restart, bytes)) WITHOUT ROWID""",
    ),
)

_AT_OR_BELOW: Final = "genesis = ? AND restart = ? AND (era, view) <= (?, ?)"

_MAX_SECOND_SIGNER_ROWS: Final = 64
"""One is proof; more help to see what happened, and the other holder of the key must not fill the disk."""

_MAX_VIEW: Final = (1 << 63) - 1
"""Largest view that fits a column; far beyond any that time allows."""

_CARRIES_BODY: Final = (Kind.PROPOSE, Kind.NOTARIZE)
"""Statements that promise a body others may ask for (R9)."""


class GuardRefusal(InvalidError):
    """A statement that this key must not sign: it conflicts with an earlier one or lies at or below the floor."""

    code = "guard_refusal"


@dataclass(frozen=True, slots=True)
class Floor:
    """Nothing new at or below (era, view) is ever signed again."""

    era: Era
    view: View


@dataclass(frozen=True, slots=True)
class GuardContents:
    """What a restart feeds back to the engine for one era (the `Restarted` event)."""

    certificates: tuple[Certificate, ...]
    """Accepted certificates of the era above F, finalizations included, by (view, kind)."""
    own_statements: tuple[SignedStatement, ...]
    """Own statements of the era, by (view, kind), with the late finalize votes below F."""
    blocks: tuple[Block, ...]
    """Blocks above F whose bodies this key vouched for, by height."""


class VoteGuard:
    """The guard of one authority key. The caller holds the lock on the key."""

    def __init__(self, database: Database, public_key: AuthorityKey) -> None:
        """Use `VoteGuard.open` or `VoteGuard.create`."""
        self._database = database
        self.public_key = public_key

    @classmethod
    def create(cls, path: Path, public_key: AuthorityKey) -> None:
        """Make the guard of a key that is being made: born "none", so it may sign at once."""
        cls._make(path, public_key, None)

    @classmethod
    def recreate_after_loss(cls, path: Path, public_key: AuthorityKey, now: Micros) -> None:
        """Make a guard for a key that has signed before: born now, so it abstains until a later era (birth rule)."""
        cls._make(path, public_key, now)

    @classmethod
    def open(cls, path: Path, public_key: AuthorityKey) -> VoteGuard:
        """The guard of `public_key`. Raises StorageError when it is missing, unusable or another key's."""
        database = Database.open(path, _SCHEMA)
        row = database.one("SELECT value FROM meta WHERE name = 'public_key'")
        if row is None or row[0] != public_key:
            database.close()
            raise StorageError(
                f"{path} is the guard of another authority key than {public_key.hex()}",
                remedy="put back the guard.db that was made together with the key",
            )
        return cls(database, public_key)

    @classmethod
    def _make(cls, path: Path, public_key: AuthorityKey, born: Micros | None) -> None:
        def fill(transaction: Transaction) -> None:
            transaction.execute("INSERT INTO meta VALUES ('public_key', ?)", (bytes(public_key),))
            if born is not None:
                transaction.execute("INSERT INTO meta VALUES ('born', ?)", (_micros_to_bytes(born),))

        Database.create(path, _SCHEMA, fill)

    @property
    def born(self) -> Micros | None:
        """Unix microseconds of this guard's making for a key that existed before; None for one made with its key."""
        row = self._database.one("SELECT value FROM meta WHERE name = 'born'")
        return None if row is None else Micros(int.from_bytes(row[0], "big"))

    def floor(self, genesis_hash: Hash32, restart_hash: Hash32) -> Floor | None:
        """The floor of one vote domain, or None before its first finalisation."""
        with self._database.transaction() as transaction:
            return _floor(transaction, genesis_hash, restart_hash)

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Let everything written inside share one flush; nothing of it may leave the process before the block ends.

        When the block raises, nothing inside was stored.
        """
        with self._database.transaction():
            yield

    def record_vote(
        self, genesis_hash: Hash32, restart_hash: Hash32, signed: SignedStatement, block: Block | None = None
    ) -> None:
        """Store an own statement, with the block it vouches for in the same flush (R9); then it may leave.

        The identical bytes may be recorded again. Raises GuardRefusal, storing nothing, when the statement conflicts
        with a recorded one (R8), lies at or below the floor, or is a propose or notarize whose block is neither given
        nor stored; StorageError when the disk refuses.
        """
        statement = signed.statement
        if block is not None and block.hash != statement.block_hash:
            raise GuardRefusal(f"the body given is of another block than the {_name(statement)} names")
        place = (*_key(genesis_hash, restart_hash), statement.era, statement.view)
        encoded = encode_statement(signed)
        with self._database.transaction() as transaction:
            stored = [
                bytes(row[0])
                for row in transaction.all(
                    "SELECT bytes FROM vote WHERE genesis = ? AND restart = ? AND era = ? AND view = ? ORDER BY kind",
                    place,
                )
            ]
            if encoded not in stored:
                floor = _floor(transaction, genesis_hash, restart_hash)
                existing = [decode_statement(item).statement for item in stored]
                reason = refusal(existing, None if floor is None else (floor.era, floor.view), statement)
                if reason is None and statement in existing:
                    reason = "the same statement is recorded with another index or signature"
                if reason is not None:
                    raise GuardRefusal(f"{_name(statement)}: {reason}")
            if block is not None:
                self._store_block(transaction, genesis_hash, block)
            elif statement.kind in _CARRIES_BODY and not self._has_block(
                transaction, genesis_hash, statement.block_hash
            ):
                raise GuardRefusal(f"{_name(statement)}: the body of its block is not stored")
            if encoded not in stored:
                transaction.execute(
                    "INSERT INTO vote VALUES (?, ?, ?, ?, ?, ?)", (*place, int(statement.kind), encoded)
                )

    def store_certificate(self, genesis_hash: Hash32, restart_hash: Hash32, certificate: Certificate) -> None:
        """Store an accepted certificate above F before anything that follows from it leaves (R11).

        One per era, view and kind; the first stays. Certificates at or below the floor are not kept.
        """
        statement = certificate.statement
        with self._database.transaction() as transaction:
            floor = _floor(transaction, genesis_hash, restart_hash)
            if floor is not None and (statement.era, statement.view) <= (floor.era, floor.view):
                return
            transaction.execute(
                "INSERT OR IGNORE INTO certificate VALUES (?, ?, ?, ?, ?, ?)",
                (
                    *_key(genesis_hash, restart_hash),
                    statement.era,
                    statement.view,
                    int(statement.kind),
                    encode_certificate(certificate),
                ),
            )

    def store_block(self, genesis_hash: Hash32, block: Block) -> None:
        """Store a block's body ahead of the statement that vouches for it ("the same or an earlier flush", R9)."""
        with self._database.transaction() as transaction:
            self._store_block(transaction, genesis_hash, block)

    def raise_floor(
        self,
        genesis_hash: Hash32,
        restart_hash: Hash32,
        era: Era,
        view: View,
        *,
        finalised_height: Height | None = None,
        keep_finalize_votes: int = LATE_FINALIZE,
    ) -> None:
        """Step 3 of R7, after the chain database committed: set the floor to F's view and prune what F has passed.

        The last `keep_finalize_votes` own finalize votes at or below it stay, to be offered on (R10). When a boundary
        is final the floor may be set to view 0 of the next era. A floor never sinks: a lower one changes nothing.
        `finalised_height` is F's; without it the stored finalization and its block tell, where they are here.
        """
        key = _key(genesis_hash, restart_hash)
        with self._database.transaction() as transaction:
            floor = _floor(transaction, genesis_hash, restart_hash)
            if floor is None or (floor.era, floor.view) < (era, view):
                transaction.execute("INSERT OR REPLACE INTO floor VALUES (?, ?, ?, ?)", (*key, era, view))
            else:
                era, view = floor.era, floor.view
            if finalised_height is None:
                finalised_height = _finalised_height(transaction, key, era, view)
            below = (*key, era, view)
            transaction.execute(f"DELETE FROM vote WHERE {_AT_OR_BELOW} AND kind <> ?", (*below, int(Kind.FINALIZE)))
            newest_dropped = transaction.one(
                f"""SELECT era, view FROM vote WHERE {_AT_OR_BELOW}
                    ORDER BY era DESC, view DESC LIMIT 1 OFFSET ?""",
                (*below, keep_finalize_votes),
            )
            if newest_dropped is not None:
                transaction.execute(f"DELETE FROM vote WHERE {_AT_OR_BELOW}", (*key, *newest_dropped))
            transaction.execute(f"DELETE FROM certificate WHERE {_AT_OR_BELOW}", below)
            if finalised_height is not None:
                transaction.execute("DELETE FROM pending WHERE genesis = ? AND height <= ?", (key[0], finalised_height))

    def load(self, genesis_hash: Hash32, restart_hash: Hash32, era: Era) -> GuardContents:
        """Everything the engine must hear again after a restart in `era` (R7, R9-R11)."""
        key = _key(genesis_hash, restart_hash)
        with self._database.transaction() as transaction:
            certificates = transaction.all(
                "SELECT bytes FROM certificate WHERE genesis = ? AND restart = ? AND era = ? ORDER BY view, kind",
                (*key, era),
            )
            votes = transaction.all(
                "SELECT bytes FROM vote WHERE genesis = ? AND restart = ? AND era = ? ORDER BY view, kind", (*key, era)
            )
            blocks = transaction.all("SELECT bytes FROM pending WHERE genesis = ? ORDER BY height, hash", (key[0],))
        return GuardContents(
            tuple(decode_certificate(row[0]) for row in certificates),
            tuple(decode_statement(row[0]) for row in votes),
            tuple(decode_block(row[0]) for row in blocks),
        )

    def block(self, genesis_hash: Hash32, block_hash: Hash32) -> Block | None:
        """A stored block above F, for neighbours that ask for it by hash."""
        row = self._database.one(
            "SELECT bytes FROM pending WHERE genesis = ? AND hash = ?", (bytes(genesis_hash), bytes(block_hash))
        )
        return None if row is None else decode_block(row[0])

    def record_second_signer(
        self, genesis_hash: Hash32, restart_hash: Hash32, era: Era, signed: SignedStatement, now: Micros
    ) -> bool:
        """Judge a verified statement by this key that a neighbour showed at start, while listening in `era`.

        Only statements of this era and domain, above the floor and unknown here, prove a second signer or an older
        copy of this guard: such a one is stored and `born` becomes `now`, so the key abstains until a later era.
        Returns whether it was proof.
        """
        statement, key = signed.statement, _key(genesis_hash, restart_hash)
        with self._database.transaction() as transaction:
            floor = _floor(transaction, genesis_hash, restart_hash)
            if statement.era != era or (
                floor is not None and (statement.era, statement.view) <= (floor.era, floor.view)
            ):
                return False
            known = transaction.one(
                "SELECT bytes FROM vote WHERE genesis = ? AND restart = ? AND era = ? AND view = ? AND kind = ?",
                (*key, statement.era, min(statement.view, _MAX_VIEW), int(statement.kind)),
            )
            if known is not None and decode_statement(known[0]).statement == statement:
                return False
            row = transaction.one("SELECT COUNT(*) FROM second_signer")
            if row is not None and row[0] < _MAX_SECOND_SIGNER_ROWS:
                transaction.execute(
                    "INSERT OR IGNORE INTO second_signer VALUES (?, ?, ?, ?)", (*key, encode_statement(signed), now)
                )
            transaction.execute("INSERT OR REPLACE INTO meta VALUES ('born', ?)", (_micros_to_bytes(now),))
        return True

    def second_signer_statements(self, genesis_hash: Hash32, restart_hash: Hash32) -> tuple[SignedStatement, ...]:
        """The stored proofs of a second signer, for `yumad doctor`."""
        rows = self._database.all(
            "SELECT bytes FROM second_signer WHERE genesis = ? AND restart = ? ORDER BY seen, bytes",
            _key(genesis_hash, restart_hash),
        )
        return tuple(decode_statement(row[0]) for row in rows)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @staticmethod
    def _store_block(transaction: Transaction, genesis_hash: Hash32, block: Block) -> None:
        transaction.execute(
            "INSERT OR IGNORE INTO pending VALUES (?, ?, ?, ?)",
            (bytes(genesis_hash), bytes(block.hash), block.header.height, encode_block(block)),
        )

    @staticmethod
    def _has_block(transaction: Transaction, genesis_hash: Hash32, block_hash: Hash32) -> bool:
        row = transaction.one(
            "SELECT 1 FROM pending WHERE genesis = ? AND hash = ?", (bytes(genesis_hash), bytes(block_hash))
        )
        return row is not None


def _floor(transaction: Transaction, genesis_hash: Hash32, restart_hash: Hash32) -> Floor | None:
    row = transaction.one(
        "SELECT era, view FROM floor WHERE genesis = ? AND restart = ?", _key(genesis_hash, restart_hash)
    )
    return None if row is None else Floor(Era(row[0]), View(row[1]))


def _finalised_height(transaction: Transaction, key: tuple[bytes, bytes], era: Era, view: View) -> Height | None:
    row = transaction.one(
        "SELECT bytes FROM certificate WHERE genesis = ? AND restart = ? AND era = ? AND view = ? AND kind = ?",
        (*key, era, view, int(Kind.FINALIZE)),
    )
    if row is None:
        return None
    row = transaction.one(
        "SELECT height FROM pending WHERE genesis = ? AND hash = ?",
        (key[0], bytes(decode_certificate(row[0]).statement.block_hash)),
    )
    return None if row is None else Height(row[0])


def _key(genesis_hash: Hash32, restart_hash: Hash32) -> tuple[bytes, bytes]:
    return bytes(genesis_hash), bytes(restart_hash)


def _name(statement: Statement) -> str:
    return f"{statement.kind.name.lower()} of era {statement.era} view {statement.view}"


def _micros_to_bytes(value: Micros) -> bytes:
    return value.to_bytes(8, "big")
