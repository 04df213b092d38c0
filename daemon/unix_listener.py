"""A Unix socket that only this machine's user may connect to; control socket and plugin socket listen on one each."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio


@contextmanager
def unix_listener(path: Path, backlog: int) -> Iterator[trio.SocketListener]:
    """Listen at `path`; what was made is removed at the end, and nothing that took its place meanwhile.

    Raises OSError when it cannot be made, also when something is at `path` already.
    """
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(os.fspath(path))
        path.chmod(0o600)
        bound.listen(backlog)
        inode = path.stat().st_ino
    except OSError:
        bound.close()
        raise
    try:
        yield trio.SocketListener(trio.socket.from_stdlib_socket(bound))
    finally:
        bound.close()
        try:
            if path.stat().st_ino == inode:
                path.unlink()
        except OSError:
            pass  # somebody removed it already
