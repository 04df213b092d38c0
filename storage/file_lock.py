"""Exclusive locks of the operating system: one process per home and per authority key (DESIGN 5, CHAIN 1.3)."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from .database import StorageError, storage_error


class FileLock:
    """A held lock. The system releases it when the process ends in any way, so a stale one cannot exist."""

    __slots__ = ("_descriptor", "path")

    def __init__(self, path: Path, *, what: str, remedy: str) -> None:
        """Take the lock on `path`, making the file if need be.

        Raises StorageError naming `what` and the holder's process id when another process, or this one, holds it.
        """
        self.path = path
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise storage_error(error, path, "take the lock") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                by = f" by process {holder}" if holder.isdigit() else ""
                raise StorageError(f"{what} is in use{by}", remedy=remedy) from error
            raise storage_error(error, path, "take the lock") from error
        self._descriptor: int | None = descriptor
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            pass  # the number only serves the other side's message; on a full disk the lock still holds

    def release(self) -> None:
        """Give the lock back; harmless when done twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
