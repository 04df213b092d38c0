"""Small secret files: written once, complete or absent, readable by their owner only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from .database import StorageError, storage_error, sync_path

MAX_SECRET_BYTES: Final = 16 * 1024
"""No key file comes near this; a larger one is something else."""


def write_secret(path: Path, content: bytes) -> None:
    """Write a new file of mode 0600, durable before its name appears.

    Raises StorageError when a file of that name exists or the disk refuses: a key is never overwritten.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.link(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)
        sync_path(path.parent)
    except FileExistsError as error:
        raise StorageError(f"{path} exists already and is not overwritten", remedy="choose another name") from error
    except OSError as error:
        raise storage_error(error, path, "write the key file") from error


def read_secret(path: Path, *, what: str, remedy: str) -> bytes:
    """The content of a secret file. Raises StorageError naming `what` when it is missing, unreadable or too large."""
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
    except FileNotFoundError as error:
        raise StorageError(f"{what} {path} is missing", remedy=remedy) from error
    except IsADirectoryError as error:
        raise StorageError(f"{what} {path} is a folder", remedy=remedy) from error
    except OSError as error:
        raise StorageError(
            f"{what} {path} cannot be read ({error.strerror})",
            remedy=f"run as the user who owns it, or give this user read permission on {path}",
        ) from error
    if len(content) > MAX_SECRET_BYTES:
        raise StorageError(f"{what} {path} has more than {MAX_SECRET_BYTES} bytes", remedy=remedy)
    return content
