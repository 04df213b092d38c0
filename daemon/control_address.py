"""Where the control socket of a home is (DESIGN section 7, interfaces).

`<home>/control.sock`, or a short place under `$XDG_RUNTIME_DIR` when that path is too long for a Unix socket; the file
`<home>/control` then names it. Both places are readable by their owner only.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Final

from ..consensus.types import YumadError

SOCKET_NAME: Final = "control.sock"
POINTER_NAME: Final = "control"

LONGEST_PATH: Final = 100
"""Bytes. Linux takes 107; the rest is for the suffix of a name that is being bound."""


class ControlAddressError(YumadError):
    """No usable place for the socket."""

    code = "control_socket"


def choose_socket_path(home: Path, environment: Mapping[str, str] | None = None) -> Path:
    """The path the daemon binds, and the pointer file written or removed to match.

    Raises ControlAddressError when no private folder with a short path is there.
    """
    environment = os.environ if environment is None else environment
    direct = home / SOCKET_NAME
    pointer = home / POINTER_NAME
    try:
        if len(os.fsencode(direct)) <= LONGEST_PATH:
            pointer.unlink(missing_ok=True)
            return direct
        folder = _runtime_folder(environment)
        path = folder / f"yumad-{blake2b(os.fsencode(home), digest_size=8).hexdigest()}.sock"
        if len(os.fsencode(path)) > LONGEST_PATH:
            raise ControlAddressError(
                f"the control socket would be {path}: a path of {len(os.fsencode(path))} bytes, at most {LONGEST_PATH}",
                remedy="give a --home or an XDG_RUNTIME_DIR with a shorter path",
            )
        pointer.write_bytes(os.fsencode(path) + b"\n")
        return path
    except OSError as error:
        raise ControlAddressError(
            f"no place for the control socket: {error}", remedy="check permissions of the home and of XDG_RUNTIME_DIR"
        ) from error


def find_socket_path(home: Path) -> Path:
    """Where the daemon of this home listens, if one runs."""
    try:
        return Path(os.fsdecode((home / POINTER_NAME).read_bytes().strip()))
    except OSError:
        return home / SOCKET_NAME


def _runtime_folder(environment: Mapping[str, str]) -> Path:
    """`$XDG_RUNTIME_DIR`, or a folder of our own in the system's temporary one. Both must be ours and closed."""
    named = environment.get("XDG_RUNTIME_DIR")
    folder = Path(named) if named else Path(tempfile.gettempdir()) / f"yumad-{os.getuid()}"
    if not named:
        folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise ControlAddressError(
            f"{folder} is not a folder that only this user may enter",
            remedy="set XDG_RUNTIME_DIR to one with mode 0700, or give a --home with a shorter path",
        )
    return folder
