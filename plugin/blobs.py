"""Large content for authors: files and bytes by hash, beside the bodies of calls (AXON R11)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import trio

from ..consensus.types import InvalidError
from ..protocols.axon.blob_transfer import BlobUnavailable
from .host_interface import HostClient

MAX_SIZE: Final = 1 << 30
"""Bytes that are fetched unless the author allows more."""

FETCH_SECONDS: Final = 600.0
"""For a whole fetch unless the author says otherwise: 1 GiB at 15 Mbit/s."""

HASH_BYTES: Final = 32


class Blobs:
    """What `Round` and `Call` do with large content."""

    def __init__(self, client: HostClient) -> None:
        self._client = client

    async def put(self, content: Path | str | bytes, to: Sequence[str] | None) -> bytes:
        """Keep and offer a file or bytes; its hash. Raises InvalidError for what is neither."""
        source: object = Path(content) if isinstance(content, str) else content
        if isinstance(source, bytearray | memoryview):
            source = bytes(source)
        if not isinstance(source, Path | bytes):
            raise InvalidError(f"put_blob({type(content).__name__})", remedy="give the path of a file, or bytes")
        named: object = to
        if named is not None and (isinstance(named, str) or not to):
            raise InvalidError(f"put_blob(to={to!r})", remedy="give a list of hotkeys, or None for the whole subnet")
        return await self._client.blob_put(source, None if to is None else list(to))

    async def fetch(self, blob_hash: bytes, hotkey: str, max_size: int, timeout: float) -> Path:
        """The file of a blob, from the peers of `hotkey`. Raises BlobUnavailable."""
        given: object = blob_hash
        if not isinstance(given, bytes) or len(given) != HASH_BYTES:
            raise InvalidError(f"fetch_blob({blob_hash!r:.80})", remedy="give the 32 bytes that put_blob gave")
        with trio.move_on_after(timeout):
            return await self._client.blob_get(blob_hash, hotkey, max_size)
        raise BlobUnavailable(
            f"blob {blob_hash.hex()[:16]} was not complete within {timeout:g} s",
            remedy="fetch it again: what came is kept",
        )
