"""Which finality certificates stay in the chain database (CHAIN 4.4).

Boundaries for ever, since joiners walk them; one in each 64 heights, since sync checks a batch of blocks with it; all
of the last 256 heights, since neighbours that fell behind ask for them.
"""

from __future__ import annotations

from typing import Final

from ..consensus.types import Height
from .database import Transaction

SPACING: Final = 64
"""Blocks of one sync batch."""

RECENT: Final = 256
"""Four batches: whoever lacks more goes by boundaries."""


def keep_certificates(transaction: Transaction, before: Height, after: Height) -> None:
    """Drop what is no longer kept when F moves from `before` to `after`.

    Not every height has a certificate (one finalises all blocks below it), so "each 64th" means the first in each
    window of 64 heights.
    """
    rows = transaction.all(
        "SELECT height FROM certificate WHERE height > ? AND height <= ? AND NOT boundary ORDER BY height",
        (before - RECENT, after - RECENT),
    )
    for (height,) in rows:
        first = transaction.one("SELECT MIN(height) FROM certificate WHERE height >= ?", (height // SPACING * SPACING,))
        if first is not None and first[0] < height:
            transaction.execute("DELETE FROM certificate WHERE height = ?", (height,))
