"""Entries of the undo journal: before-images of writes and resizes, and inverse actions (CHAIN 4.2)."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np

from .column import Column
from .writing import rows_of

ENTRY_OVERHEAD: Final = 200
"""Bytes one before-image costs beside its data: the tuple, the index, the array header."""

Undo: TypeAlias = "tuple[Any, ...]"
"""(column, key, old) of a write; (column, None, old rows, lost rows) of a resize; (callable, argument) otherwise."""


def undo(entry: Undo) -> None:
    """Apply one entry. Entries are undone in reverse order, each exactly once."""
    subject = entry[0]
    if not isinstance(subject, Column):
        subject(entry[1])
    elif entry[1] is None:
        _, _, rows, lost = entry
        kept = subject.rows
        subject.set_rows(rows)
        if lost is not None:
            subject.view[kept:] = lost
    else:
        subject.view[entry[1]] = entry[2]
        subject.mark_rows(rows_of(entry[1]))


def cost(entry: Undo) -> int:
    """Memory an entry holds, about, in bytes."""
    size = ENTRY_OVERHEAD
    last = entry[-1]
    if isinstance(last, np.ndarray):
        size += int(last.nbytes)
    elif isinstance(last, Column):
        size += last.byte_length
    if len(entry) == 3 and isinstance(entry[1], np.ndarray):
        size += int(entry[1].nbytes)
    return size
