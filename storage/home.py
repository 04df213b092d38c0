"""The layout of `--home` and the lock that keeps a second process out (DESIGN section 5).

config.toml  peer_key  lock  control.sock
chain/<genesis8>/{chain.db,index.db,peers.db,snapshots/}    may be deleted to sync anew
authority/<key8>/{key,guard.db,lock}                        never
axon/<genesis8>/axon.db                                     never for a validator: scores, notes on weights, request ids
axon/<genesis8>/blobs/                                      may be deleted: plugins offer and fetch them anew
weights/<genesis8>/                                         committed weights until they are revealed
plugins/<name>/{plugin.toml,log,store/}                     a plugin's settings, its output, what its code keeps
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..consensus.types import Hash32
from .database import StorageError, storage_error
from .file_lock import FileLock
from .secret_file import read_secret, write_secret

_PRIVATE: Final = 0o700

SOCKET_PATH_LIMIT: Final = 107
"""Bytes a Unix socket's path may have on Linux."""


@dataclass(frozen=True, slots=True)
class ChainFolder:
    """Files of one chain; all of them can be had again from other peers."""

    path: Path

    @property
    def chain_database(self) -> Path:
        """Everything final."""
        return self.path / "chain.db"

    @property
    def index_database(self) -> Path:
        """Look-ups by transaction and account."""
        return self.path / "index.db"

    @property
    def peer_database(self) -> Path:
        """Known peers of this chain."""
        return self.path / "peers.db"

    @property
    def snapshots(self) -> Path:
        """State snapshots."""
        return self.path / "snapshots"


class Home:
    """A peer's folder. `Home(path)` only names files; `prepare` makes it, `lock` takes it."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()

    @property
    def config_file(self) -> Path:
        """Settings."""
        return self.path / "config.toml"

    @property
    def peer_key_file(self) -> Path:
        """Seed of the libp2p key: the peer id is not an account and may be lost."""
        return self.path / "peer_key"

    @property
    def authority_folder(self) -> Path:
        """Parent of the authority keys."""
        return self.path / "authority"

    @property
    def plugins(self) -> Path:
        """Plugins and their logs."""
        return self.path / "plugins"

    @property
    def chains(self) -> Path:
        """Parent of the chain folders."""
        return self.path / "chain"

    def sealed_weights(self, genesis_hash: Hash32) -> Path:
        """Weights committed to on one chain; apart from its other files, which may be deleted at any time."""
        return self.path / "weights" / genesis_hash.hex()[:8]

    @property
    def control_socket(self) -> Path:
        """Where commands reach the daemon; a shorter place is needed when it passes SOCKET_PATH_LIMIT."""
        return self.path / "control.sock"

    def chain(self, genesis_hash: Hash32) -> ChainFolder:
        """The folder of one chain, named by 8 hex digits; the full hash is in the database and compared."""
        return ChainFolder(self.chains / genesis_hash.hex()[:8])

    def prepare(self) -> None:
        """Make the folder with mode 0700, or close it to others if it was open.

        Raises StorageError when that is impossible or it belongs to another user.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=_PRIVATE)
            status = self.path.stat()
            if not stat.S_ISDIR(status.st_mode):
                raise NotADirectoryError(20, "Not a directory", str(self.path))
            if status.st_uid != os.getuid():
                raise StorageError(
                    f"{self.path} belongs to another user (id {status.st_uid}, this is {os.getuid()})",
                    remedy="run yumad as that user, or choose another --home",
                )
            if stat.S_IMODE(status.st_mode) & 0o077:
                self.path.chmod(_PRIVATE)
            for folder in (self.chains, self.authority_folder, self.plugins):
                folder.mkdir(exist_ok=True, mode=_PRIVATE)
        except (FileExistsError, NotADirectoryError) as error:
            raise StorageError(f"{self.path} is not a folder", remedy="choose another --home") from error
        except OSError as error:
            raise storage_error(error, self.path, "prepare the home folder") from error

    def prepare_chain(self, genesis_hash: Hash32) -> ChainFolder:
        """Make the folder of one chain. Raises StorageError when the disk refuses."""
        folder = self.chain(genesis_hash)
        try:
            folder.path.mkdir(parents=True, exist_ok=True, mode=_PRIVATE)
        except OSError as error:
            raise storage_error(error, folder.path, "make the chain folder") from error
        return folder

    def lock(self) -> FileLock:
        """Take the home for this process. Raises StorageError naming the process that has it."""
        return FileLock(
            self.path / "lock",
            what=f"home {self.path}",
            remedy="end that process first, or give this one another --home",
        )

    def peer_seed(self, new_seed: Callable[[], bytes]) -> bytes:
        """The 32-byte seed of this peer's libp2p key, made with `new_seed` at the first start.

        Raises StorageError when the file cannot be read, is damaged, or cannot be made.
        """
        path = self.peer_key_file
        if not path.exists():
            write_secret(path, new_seed().hex().encode() + b"\n")
        text = read_secret(path, what="peer key", remedy=f"delete {path}: a new one is made at the next start")
        try:
            seed = bytes.fromhex(text.decode("ascii").strip())
        except ValueError:
            seed = b""
        if len(seed) != 32:
            raise StorageError(
                f"peer key {path} is damaged: expected 64 hex digits",
                remedy=f"delete {path}: a new one is made at the next start, under another peer id",
            )
        return seed
