"""The storage example in a swarm: a file is stored, one of its holders dies, and the file comes back whole.

The validator takes files from the `inbox` folder of its store, and brings back into `restored` what `wanted` names.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .swarm_example import Part

if TYPE_CHECKING:
    from .swarm_play import Play

NAME: Final = "letters.bin"

FILE_BYTES: Final = 60_000
"""Two stripes of the example: what five small miners can hold beside what they are tested with."""

FIRST: Final = 2
"""Paid epochs before the holder dies: by then the file is placed and audited."""


class KeptFile:
    """One file's way through the swarm."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self._validator = next(part for part in play.parts if part.role == "validator")
        self._content = os.urandom(FILE_BYTES)
        self.stopped: Part | None = None
        """The holder that was ended."""
        self._asked = False
        self.is_back = False
        """Whether the file was read back, after the holder had died, and is the one that was given."""

    @property
    def _store(self) -> Path:
        return self._play.folder(self._validator)

    def give(self) -> None:
        """Hand the file to the validator."""
        inbox = self._store / "inbox"
        inbox.mkdir(parents=True, exist_ok=True)
        fresh = inbox / f".{NAME}"
        fresh.write_bytes(self._content)
        fresh.rename(inbox / NAME)

    def look(self) -> None:
        """Go on with whatever is next."""
        if self.stopped is None:
            if self._play.paid_epochs >= FIRST and not (self._store / "inbox" / NAME).exists():
                self.stopped = self._holder()
                self._play.stop_part(self.stopped)
        elif not self._asked:
            wanted = self._store / "wanted"
            wanted.mkdir(exist_ok=True)
            (wanted / NAME).touch()
            self._asked = True
        elif not self.is_back:
            restored = self._store / "restored" / NAME
            self.is_back = restored.exists() and restored.read_bytes() == self._content

    def _holder(self) -> Part:
        """The second of the best miners: the first stays, so that quality can still be compared."""
        best = self._play.example.order[0]
        return [part for part in self._play.parts if part.variant == best][-1]

    def report(self) -> dict[str, Any]:
        """What came of the file, and how many shards were placed anew."""
        return {
            "file_bytes": FILE_BYTES,
            "sha256": hashlib.sha256(self._content).hexdigest(),
            "killed": None if self.stopped is None else self.stopped.name,
            "restored": self.is_back,
            "repairs": self._repairs(),
        }

    def _repairs(self) -> int | None:
        """From the validator's manifest."""
        try:
            return int(json.loads((self._store / "manifest.json").read_text("utf-8"))["repairs"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
