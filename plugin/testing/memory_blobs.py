"""Large content between hosts in memory: files of a test's folders, named and offered as on a live peer (AXON R11)."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

import trio

from ...consensus.types import InvalidError
from ...protocols.axon.blob_store_interface import CHUNK, list_of
from ...protocols.axon.blob_transfer import BlobUnavailable

OFFER_SECONDS: Final = 3600.0
"""How long a live peer keeps a blob on offer."""


@dataclass(frozen=True, slots=True)
class _Offered:
    file: Path
    expires: float
    to: frozenset[str] | None


class MemoryBlobs:
    """The blobs of one host."""

    def __init__(self, store: Path | None) -> None:
        """`store` is the folder of the host's plugin; a folder of its own without one."""
        self._own = None if store is not None else tempfile.TemporaryDirectory(prefix="yumad-")
        self._store = store if store is not None else Path(self._own.name if self._own else "")
        self._offers: dict[bytes, _Offered] = {}

    def put(self, content: Path | bytes, to: Sequence[str] | None) -> bytes:
        """Keep a copy of it. Raises InvalidError for a file that cannot be read."""
        try:
            with BytesIO(content) if isinstance(content, bytes) else open(content, "rb") as source:
                blob_hash = list_of(_chunks(source)).hash
                file = self._folder("offered") / blob_hash.hex()
                source.seek(0)
                with open(file, "wb") as copy:
                    shutil.copyfileobj(source, copy)
        except OSError as error:
            raise InvalidError(f"{content!r:.200}: {error.strerror}", remedy="name a readable file") from error
        expires = trio.current_time() + OFFER_SECONDS
        self._offers[blob_hash] = _Offered(file, expires, None if to is None else frozenset(to))
        return blob_hash

    def offered(self, blob_hash: bytes, hotkey: str, is_member: Callable[[str], bool]) -> Path | None:
        """The file, if this host offers it to that hotkey."""
        offer = self._offers.get(blob_hash)
        if offer is None or offer.expires <= trio.current_time():
            return None
        return offer.file if (is_member(hotkey) if offer.to is None else hotkey in offer.to) else None

    def take(self, blob_hash: bytes, file: Path | None, max_size: int) -> Path:
        """A copy of another host's file, where a plugin finds what it fetched. Raises BlobUnavailable."""
        here = self._folder("blobs") / blob_hash.hex()
        if here.exists():
            return here
        if file is None:
            raise BlobUnavailable(f"blob {blob_hash.hex()[:16]}: no source gave its list", remedy="is it on offer?")
        size = file.stat().st_size
        if size > max_size:
            raise BlobUnavailable(
                f"blob {blob_hash.hex()[:16]} has {size} bytes, at most {max_size} are wanted",
                remedy="raise the limit if so much is meant to be fetched",
            )
        shutil.copyfile(file, here)
        return here

    def _folder(self, name: str) -> Path:
        folder = self._store / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _chunks(source: BinaryIO) -> Iterator[bytes]:
    while chunk := source.read(CHUNK):
        yield chunk
