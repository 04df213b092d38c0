"""Own submitted transactions over a restart: the only part of the pool that is kept (CHAIN 3, "After a block").

One small file in the chain's folder, replaced as a whole. It is a convenience and never trusted: what is read goes
through admission like anything else, and a damaged file counts as empty.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ..consensus import cbor
from ..consensus.block import MAX_TRANSACTION_BYTES
from ..consensus.types import MalformedError
from .logging import get_logger

FILE_NAME: Final = "own_transactions"

MOST: Final = 1024
"""Transactions kept: what one machine submits while it waits for blocks. The newest win."""

MAX_FILE_BYTES: Final = 8 * 1024 * 1024
"""As much as the whole pool may hold."""


class OwnTransactions:
    """The file of one chain."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self._written: tuple[bytes, ...] | None = None
        self._log = get_logger("mempool")

    def load(self) -> list[bytes]:
        """What was waiting at the last end, oldest first; empty when there is no file or it cannot be used."""
        try:
            with self.path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
            items = cbor.as_array(cbor.decode(data, max_bytes=MAX_FILE_BYTES), what="own transactions", most=MOST)
            return [cbor.as_bytes(item, what="transaction", most=MAX_TRANSACTION_BYTES) for item in items]
        except FileNotFoundError:
            return []
        except (OSError, MalformedError) as error:
            self._log.warning("own transactions of the last run are lost", file=str(self.path), reason=str(error))
            return []

    def save(self, waiting: Sequence[bytes]) -> None:
        """Keep `waiting` (oldest first); nothing is written when nothing changed. A full disk is logged, not raised."""
        kept = _newest(waiting)
        if kept == self._written:
            return
        fresh = self.path.with_suffix(".new")
        try:
            fresh.write_bytes(cbor.encode(list(kept)))
            os.replace(fresh, self.path)
        except OSError as error:
            self._log.warning("own transactions cannot be kept", file=str(self.path), reason=str(error))
            return
        self._written = kept


def _newest(waiting: Sequence[bytes]) -> tuple[bytes, ...]:
    """The newest that fit, still oldest first."""
    kept: list[bytes] = []
    size = 0
    for data in reversed(waiting[-MOST:]):
        size += len(data) + 5  # with the head of its byte string
        if size > MAX_FILE_BYTES - 16:
            break
        kept.append(data)
    return tuple(reversed(kept))
