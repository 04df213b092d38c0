"""What a block changed, in the form storage keeps it: contents after the block, by chunk (CHAIN 4.2, 4.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from .chunk_tree import CHUNK_BYTES, chunk_count
from .column import ColumnRecord

_ENTRY_OVERHEAD: Final = 250
"""Bytes a chunk costs beside its data: key tuple, object headers, dictionary slot."""


@dataclass(frozen=True, slots=True)
class StateChanges:
    """Difference of two states."""

    columns: tuple[ColumnRecord, ...]
    """Records of all columns that were touched or added, sorted by name. A length says which chunks no longer exist."""
    removed: tuple[str, ...]
    """Columns that no longer exist, sorted."""
    chunks: Mapping[tuple[str, int], bytes]
    """(column, chunk number) -> CHUNK_BYTES bytes, zero-padded behind the column's length."""

    @property
    def nbytes(self) -> int:
        """Memory held, about: counts towards the cap on unfinalised blocks."""
        return len(self.chunks) * (CHUNK_BYTES + _ENTRY_OVERHEAD)


def merge_changes(batch: Iterable[StateChanges]) -> StateChanges:
    """The changes of consecutive blocks as one: later contents replace earlier ones."""
    records: dict[str, ColumnRecord] = {}
    removed: dict[str, None] = {}
    chunks: dict[tuple[str, int], bytes] = {}
    for changes in batch:
        for name in changes.removed:
            removed[name] = None
            records.pop(name, None)
        for record in changes.columns:
            removed.pop(record.name, None)
            records[record.name] = record
        chunks.update(changes.chunks)
    kept = {
        (name, number): data
        for (name, number), data in chunks.items()
        if name in records and number < chunk_count(records[name].byte_length)
    }
    return StateChanges(tuple(records[name] for name in sorted(records)), tuple(sorted(removed)), kept)
