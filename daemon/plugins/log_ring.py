"""What a plugin writes: its last lines in memory, more of them in a file of bounded size (AXON R24).

A plugin may write without end. What is above the rate is counted and thrown away, so that neither the peer's processor
nor its disk pays for it; control characters are shown as escapes, so that a log cannot play with a terminal.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ...consensus.types import Micros
from ...protocols.limits import Quota
from ...protocols.token_bucket import TokenBucket

RING_LINES: Final = 100
"""Lines in memory (R24)."""

MAX_LINE: Final = 2000
"""Characters of a line; the rest is cut."""

FILE_BYTES: Final = 4 << 20
"""Size at which the file becomes `log.1`, in place of the one before."""

RATE: Final = Quota(512 * 1024, 2)
"""Bytes that are kept: half a megabyte at once, a quarter of one in each second on."""

LINE_COST: Final = 64
"""Bytes that a line counts for besides its own: each is stamped, kept and written, and an empty one costs as much."""

MAX_CHUNK: Final = 64 * 1024
"""Bytes handed over at one time."""

_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What moves the cursor, ends a line or turns the direction of what follows."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line. Numbers go up by one from the first line since the peer's start."""

    number: int
    time: Micros
    text: str


class PluginLog:
    """The log of one plugin, over all its processes."""

    def __init__(self, folder: Path, now: Callable[[], Micros], monotonic: Callable[[], float]) -> None:
        """`now` in Unix microseconds stamps lines, `monotonic` in seconds measures the rate."""
        self.file = folder / "log"
        self._now, self._monotonic = now, monotonic
        self._lines: deque[LogLine] = deque(maxlen=RING_LINES)
        self._next = 1
        self._part = bytearray()
        self._bucket = TokenBucket(RATE, monotonic())
        self._dropped_bytes = 0
        self._file_size: int | None = None
        self.dropped = 0
        """Bytes thrown away since the peer's start."""

    def feed(self, data: bytes) -> None:
        """Output of the process, at most MAX_CHUNK at a time."""
        if not self._bucket.take_if_free(len(data) + LINE_COST * data.count(b"\n"), self._monotonic()):
            self._dropped_bytes += len(data)
            self.dropped += len(data)
            self._part.clear()
            return
        self._tell_of_dropped()
        pieces = data.split(b"\n")
        texts = []
        for piece in pieces[:-1]:
            texts.append(_shown(bytes(self._part) + piece))
            self._part.clear()
        room = 4 * MAX_LINE - len(self._part)
        self._part += pieces[-1][: max(0, room)]
        self._append(texts)

    def finish(self) -> None:
        """The process has ended: a last line without an end counts as one."""
        self._tell_of_dropped()
        if self._part:
            self._append([_shown(bytes(self._part))])
            self._part.clear()

    def note(self, text: str) -> None:
        """A line by the peer itself."""
        self._append([f"[yumad] {_shown(text.encode())}"])

    def lines(self, *, after: int = 0, most: int = RING_LINES) -> list[LogLine]:
        """The last `most` lines with numbers above `after`, oldest first."""
        found = [line for line in self._lines if line.number > after]
        return found[len(found) - most :] if most < len(found) else found

    def _tell_of_dropped(self) -> None:
        if self._dropped_bytes:
            dropped, self._dropped_bytes = self._dropped_bytes, 0
            self.note(f"{dropped} bytes of output were thrown away: the plugin writes too much")

    def _append(self, texts: list[str]) -> None:
        if not texts:
            return
        now = self._now()
        for text in texts:
            self._lines.append(LogLine(self._next, now, text))
            self._next += 1
        stamp = datetime.fromtimestamp(now / 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self._write("".join(f"{stamp} {text}\n" for text in texts).encode("utf-8", "replace"))

    def _write(self, data: bytes) -> None:
        """To the file; a full disk costs lines, never the plugin."""
        try:
            if self._file_size is None:
                self._file_size = self.file.stat().st_size if self.file.exists() else 0
            if self._file_size + len(data) > FILE_BYTES:
                self.file.replace(self.file.with_name("log.1"))
                self._file_size = 0
            descriptor = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, data)
            finally:
                os.close(descriptor)
            self._file_size += len(data)
        except OSError:
            self._file_size = None


def printable(text: str) -> str:
    """`text` with control characters as escapes."""
    return _CONTROL.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _shown(line: bytes) -> str:
    text = line.rstrip(b"\r").decode("utf-8", "replace")
    shown = printable(text[:MAX_LINE])
    return shown if len(text) <= MAX_LINE else f"{shown}… ({len(text) - MAX_LINE} more)"
