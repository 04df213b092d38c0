"""The miner's side: sealed shards on disk, one folder per validator that gave them, within a fixed room."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from merkle import CHUNK_BYTES, ChunkProof, bond, challenged_chunks, prove, root_of

SHARD_BYTES: Final = 32_768
CHUNKS: Final = SHARD_BYTES // CHUNK_BYTES

_OWNER: Final = re.compile(r"[1-9A-HJ-NP-Za-km-z]{1,64}")


class Vault:
    """Shards by owner (a caller's hotkey, ss58) and 16-byte id."""

    def __init__(self, folder: Path, hotkey: str, capacity: int) -> None:
        """`hotkey`: the miner's own. `capacity`: bytes for each owner."""
        self._folder, self._hotkey, self._capacity = folder, hotkey, capacity

    def room(self, owner: str) -> int:
        """Bytes that this owner may still store."""
        folder = self._owned(owner)
        held = sum(SHARD_BYTES for path in folder.iterdir() if path.suffix == "") if folder.is_dir() else 0
        return max(0, self._capacity - held)

    def put(self, owner: str, shard: bytes, data: bytes) -> bytes:
        """Store a shard; gives its Merkle root. Raises ValueError for another size than SHARD_BYTES, or when full."""
        if len(data) != SHARD_BYTES:
            raise ValueError(f"a shard of {len(data)} bytes; expected {SHARD_BYTES}")
        path = self._path(owner, shard)
        if not path.exists() and self.room(owner) < SHARD_BYTES:
            raise ValueError(f"no room: {self._capacity} bytes are in use")
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        return root_of(data, bond(owner, self._hotkey))

    def get(self, owner: str, shard: bytes) -> bytes | None:
        """The shard, or None."""
        try:
            return self._path(owner, shard).read_bytes()
        except FileNotFoundError:
            return None

    def prove(self, owner: str, shard: bytes, nonce: bytes, count: int) -> list[ChunkProof]:
        """Proofs of the chunks a nonce asks for; empty when the shard is not here."""
        data = self.get(owner, shard)
        return [] if data is None else prove(data, challenged_chunks(nonce, CHUNKS, count), bond(owner, self._hotkey))

    def drop(self, owner: str, shard: bytes) -> None:
        """Forget a shard."""
        self._path(owner, shard).unlink(missing_ok=True)

    def _owned(self, owner: str) -> Path:
        if not _OWNER.fullmatch(owner):
            raise ValueError(f"{owner!r} is no hotkey")
        return self._folder / owner

    def _path(self, owner: str, shard: bytes) -> Path:
        if len(shard) != 16:
            raise ValueError(f"a shard id of {len(shard)} bytes; expected 16")
        return self._owned(owner) / shard.hex()
