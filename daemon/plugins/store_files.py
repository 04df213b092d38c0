"""Files in a plugin's own folder, opened and placed by the peer on the plugin's word (AXON R11, R24).

The name comes from the plugin's process, which may be hostile, and the folder changes while we look at it. So a path is
resolved once and then walked from the folder's descriptor, link by link refused: what is opened lies inside.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from ...consensus.types import YumadError

FETCHED: Final = "blobs"
"""Folder in a plugin's own, for blobs that it fetched."""

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
"""Without waiting: opening a pipe would wait for its writer."""


class PluginFileError(YumadError):
    """A path that a plugin may not name, or a file that cannot be used."""

    code = "plugin_file"


def open_inside(store: Path, path: str) -> BinaryIO:
    """The plain file at `path`, which is absolute or begins in `store`. Raises PluginFileError when it lies outside."""
    try:
        root = store.resolve(strict=True)
        inside = (root / path).resolve(strict=True).relative_to(root)
        descriptor = os.open(root, _FOLDER)
        for number, part in enumerate(inside.parts, 1):
            try:
                entered = os.open(part, _FILE if number == len(inside.parts) else _FOLDER, dir_fd=descriptor)
            finally:
                os.close(descriptor)
            descriptor = entered
    except ValueError as error:  # not relative to the folder, or a zero in the name
        raise PluginFileError(
            f"{path!r:.200} is not in the plugin's own folder", remedy=f"put it in {store}"
        ) from error
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "links that lead in a circle"
        raise PluginFileError(f"{path!r:.200} cannot be read: {reason}", remedy="name a readable file") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise PluginFileError(f"{path!r:.200} is no plain file", remedy="name a file")
    return os.fdopen(descriptor, "rb")


def place_inside(store: Path, source: Path, name: str) -> Path:
    """Link `source` as `store`/blobs/`name`, in place of what is there; copy it where the disk knows no links.

    Raises PluginFileError.
    """
    fresh = f".{secrets.token_hex(8)}"
    try:
        root = os.open(store, _FOLDER)
        try:
            with suppress(FileExistsError):
                os.mkdir(FETCHED, 0o700, dir_fd=root)
            folder = os.open(FETCHED, _FOLDER, dir_fd=root)
        finally:
            os.close(root)
        try:
            _link(source, fresh, folder)
            os.replace(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            with suppress(FileNotFoundError):  # also left when both names were the same file already
                os.unlink(fresh, dir_fd=folder)
            os.close(folder)
    except OSError as error:
        raise PluginFileError(
            f"{store / FETCHED / name} cannot be made: {error.strerror or error}",
            remedy=f"keep {store / FETCHED} a folder of plain files, and check the free space",
        ) from error
    return store / FETCHED / name


def _link(source: Path, name: str, folder: int) -> None:
    try:
        os.link(source, name, dst_dir_fd=folder)
    except OSError:  # another disk, or one without links
        copy = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400, dir_fd=folder)
        with open(source, "rb") as content, os.fdopen(copy, "wb") as written:
            shutil.copyfileobj(content, written, 1 << 20)
