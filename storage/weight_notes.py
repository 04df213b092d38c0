"""What a validator remembers of its own weights over a restart: its last transaction and its last error (AXON R29).

The chain is the truth about commits and rows; a note only says what this peer tried and why it did not work.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..consensus import cbor
from ..consensus.types import Hash32, MalformedError
from .database import Database
from .score_rows import ScoreKey

_MAX_NOTE_BYTES = 4096

_TEXT_BYTES = 1000


@dataclass(frozen=True, slots=True)
class WeightNote:
    """See the module text. Zero and empty where there was none."""

    sent: str = ""
    """Name of the last call that was sent."""
    sent_at: int = 0
    """Final height then."""
    valid_until: int = 0
    """Last height at which it could be included."""
    commit: Hash32 = Hash32(b"")
    """Hash of the newest commit that was sealed here."""
    error: str = ""
    """Why the last attempt failed, for people."""
    error_at: int = 0
    """Final height of that."""
    held_back: int = 0
    """Commits in a row that were not revealed because a uid changed its owner."""
    held_back_hash: Hash32 = Hash32(b"")
    """The newest of them."""


class WeightNotes:
    """The notes of one chain."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, key: ScoreKey) -> WeightNote:
        """A validator's note; an empty one when there is none or it cannot be read. Raises StorageError."""
        row = self._database.one(
            "SELECT note FROM weight_note WHERE netuid = ? AND mechanism = ? AND validator = ?",
            (key.netuid, key.mechanism, bytes(key.validator)),
        )
        if row is None:
            return WeightNote()
        try:
            sent, sent_at, valid_until, commit, error, error_at, held, held_hash = cbor.decode(
                bytes(row[0]), max_bytes=_MAX_NOTE_BYTES
            )
            return WeightNote(
                sent.decode(), sent_at, valid_until, Hash32(commit), error.decode(), error_at, held, Hash32(held_hash)
            )
        except (MalformedError, ValueError, AttributeError):
            return WeightNote()  # of another version: it only informs

    def save(self, key: ScoreKey, note: WeightNote) -> None:
        """Keep a note. Raises StorageError."""
        fields: list[cbor.Value] = [
            note.sent.encode(),
            note.sent_at,
            note.valid_until,
            bytes(note.commit),
            note.error.encode()[:_TEXT_BYTES].decode("utf-8", "ignore").encode(),
            note.error_at,
            note.held_back,
            bytes(note.held_back_hash),
        ]
        with self._database.transaction() as transaction:
            transaction.execute(
                "INSERT OR REPLACE INTO weight_note VALUES (?, ?, ?, ?)",
                (key.netuid, key.mechanism, bytes(key.validator), cbor.encode(fields)),
            )
