"""An authority's key with its guard: made together, locked together (CHAIN 1.3 "Persisted before voting", DESIGN 5).

`authority/<key8>/{key,guard.db,lock}` lies outside the chain folder and is never deleted to sync anew. A key without
its guard is a loss: what it signed is unknown, so it abstains until the chain has moved on.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..consensus.signature import KeyPair
from ..consensus.types import AuthorityKey, Micros
from .database import StorageError, storage_error, sync_path
from .file_lock import FileLock
from .guard import VoteGuard
from .secret_file import read_secret, write_secret

KEY_FILE: Final = "key"
GUARD_FILE: Final = "guard.db"
LOCK_FILE: Final = "lock"

_FORMAT: Final = "yumad-authority-key/1"
_REMEDY: Final = "restore the authority folder from a backup, or make a new key with `yumad init`"


@dataclass(frozen=True, slots=True)
class Authority:
    """An opened authority key: this process alone may sign with it."""

    key: KeyPair
    guard: VoteGuard
    lock: FileLock
    guard_was_lost: bool
    """The guard was missing and has been made anew, born now: say so loudly."""

    def close(self) -> None:
        """Close the guard, then let another process have the key."""
        self.guard.close()
        self.lock.release()


def folder_name(public_key: bytes) -> str:
    """`<key8>`: the first 8 hex digits of the public key."""
    return public_key.hex()[:8]


def make_authority(parent: Path, seed: bytes) -> AuthorityKey:
    """Make `<parent>/<key8>` with a key of this 32-byte seed and its guard, born "none". All or nothing.

    Raises StorageError when such a folder exists or the disk refuses: a key is never made twice.
    """
    key = KeyPair(seed)
    folder = parent / folder_name(key.public_key)
    if folder.exists():
        raise StorageError(f"{folder} exists already", remedy="use the key in it; never copy a key over another")
    fresh = parent / f".{folder.name}.{os.getpid()}.new"
    try:
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        VoteGuard.create(fresh / GUARD_FILE, AuthorityKey(key.public_key))
        content = {"format": _FORMAT, "public_key": key.public_key.hex(), "seed": seed.hex()}
        write_secret(fresh / KEY_FILE, json.dumps(content, indent=1).encode() + b"\n")
        sync_path(fresh)
        os.rename(fresh, folder)
        sync_path(parent)
    except OSError as error:
        raise storage_error(error, folder, "make the authority key") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return AuthorityKey(key.public_key)


def list_authorities(parent: Path) -> list[Path]:
    """Folders of authority keys under `parent`, sorted by name."""
    if not parent.is_dir():
        return []
    return sorted(item for item in parent.iterdir() if item.is_dir() and not item.name.startswith("."))


def read_authority_key(folder: Path) -> KeyPair:
    """The key in a folder, without lock or guard (for records and proofs, not for votes).

    Raises StorageError when it is missing, unreadable or damaged.
    """
    path = folder / KEY_FILE
    content = read_secret(path, what="authority key", remedy=_REMEDY)
    try:
        fields = json.loads(content)
        if fields["format"] != _FORMAT:
            raise ValueError(f"its format is {fields['format']!r}, expected {_FORMAT!r}")
        key = KeyPair(bytes.fromhex(fields["seed"]))
        if key.public_key.hex() != fields["public_key"]:
            raise ValueError("its seed does not belong to its public key")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "it is not an authority key file"
        raise StorageError(f"authority key {path} is damaged: {reason}", remedy=_REMEDY) from error
    return key


def open_authority(folder: Path, now: Micros) -> Authority:
    """Lock and open the key in `folder` with its guard.

    A missing guard is made anew, born `now`, and reported in the result. Raises StorageError when another process
    holds the key, or key or guard cannot be used.
    """
    key = read_authority_key(folder)
    public = AuthorityKey(key.public_key)
    lock = FileLock(
        folder / LOCK_FILE,
        what=f"authority key {folder_name(public)}",
        remedy="end that process first: one authority key signs in one process only, or it is punished",
    )
    try:
        path = folder / GUARD_FILE
        lost = not path.exists()
        if lost:
            VoteGuard.recreate_after_loss(path, public, now)
        return Authority(key, VoteGuard.open(path, public), lock, lost)
    except BaseException:
        lock.release()
        raise
