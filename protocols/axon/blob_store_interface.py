"""What a blob is, and where blobs are kept, as the transfer sees it (AXON R11; storage/blobs.py is the real store).

A blob is a file named by its content. It is cut into chunks of 1 MiB; its list is their SHA-256 hashes; its hash is
SHA-256 over a tag, the size and the list. Whoever knows the hash can check the list, and with the list each chunk.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol

from ...consensus.types import MalformedError

CHUNK: Final = 1 << 20
"""Bytes of every chunk but the last. The list of 1 GiB is 32 KiB, and a cut costs at most one chunk per source."""

MAX_CHUNKS: Final = 16_384
"""Chunks of a blob: 16 GiB, with a list of 512 KiB."""

MAX_BLOB: Final = CHUNK * MAX_CHUNKS

_TAG: Final = b"yumad/blob/1"
_HASH_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class BlobList:
    """Size and chunk hashes of a blob."""

    size: int
    hashes: bytes
    """32 bytes a chunk, in order."""

    @property
    def chunks(self) -> int:
        """How many there are; none of an empty blob."""
        return len(self.hashes) // _HASH_BYTES

    @property
    def hash(self) -> bytes:
        """The name of the blob."""
        return sha256(_TAG + self.size.to_bytes(8, "big") + self.hashes).digest()

    def chunk_size(self, index: int) -> int:
        """Bytes of chunk `index`."""
        return min(CHUNK, self.size - index * CHUNK)

    def fits(self, index: int, data: bytes | memoryview) -> bool:
        """Whether `data` is chunk `index`."""
        at = index * _HASH_BYTES
        return len(data) == self.chunk_size(index) and sha256(data).digest() == self.hashes[at : at + _HASH_BYTES]

    def encode(self) -> bytes:
        """`u64 size | hashes`, on the wire and on disk."""
        return self.size.to_bytes(8, "big") + self.hashes


def decode_blob_list(data: bytes, blob_hash: bytes) -> BlobList:
    """The list of the blob of that hash. Raises MalformedError for any other bytes."""
    found = BlobList(int.from_bytes(data[:8], "big"), bytes(data[8:]))
    if len(data) < 8 or found.size > MAX_BLOB or len(found.hashes) != -(-found.size // CHUNK) * _HASH_BYTES:
        raise MalformedError("list of a blob with a wrong size")
    if found.hash != blob_hash:
        raise MalformedError("list of another blob")
    return found


def list_of(chunks: Iterable[bytes]) -> BlobList:
    """The list of a blob, from its chunks: all of CHUNK bytes but the last."""
    size, hashes = 0, bytearray()
    for chunk in chunks:
        size += len(chunk)
        hashes += sha256(chunk).digest()
    return BlobList(size, bytes(hashes))


class PartialBlob(Protocol):
    """A blob that is being fetched. Survives a kill; what was verified is not fetched again."""

    def missing(self) -> list[int]:
        """Chunks that are not there yet, ascending."""
        ...

    def write(self, index: int, data: bytes | memoryview) -> None:
        """Keep a verified chunk. Raises YumadError when the disk refuses."""
        ...

    def finish(self) -> Path:
        """Make the complete blob durable, then give it its name. Raises YumadError."""
        ...

    def close(self) -> None:
        """Let go of it; the partial file stays. May be called twice, and after `finish`."""
        ...


class BlobStore(Protocol):
    """Blobs by hash. Methods block for as long as a disk does; the transfer calls them in worker threads."""

    def path(self, blob_hash: bytes) -> Path | None:
        """The file of a complete blob; None when it is not here."""
        ...

    def list_of(self, blob_hash: bytes) -> BlobList | None:
        """The list of a complete blob."""
        ...

    def read_chunk(self, blob_hash: bytes, index: int) -> bytes | None:
        """One chunk; None when it is not here any more."""
        ...

    def begin(self, blob_list: BlobList) -> PartialBlob:
        """A new partial blob, or what an earlier fetch left. Raises YumadError when it has no room."""
        ...

    def hold(self, blob_hash: bytes) -> None:
        """Keep a blob from expiring, once more."""
        ...

    def release(self, blob_hash: bytes) -> None:
        """Undo one `hold`."""
        ...
