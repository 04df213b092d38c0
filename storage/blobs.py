"""Files by content hash in a folder of bounded size (AXON R11).

A complete blob is `<hash>.blob` beside `<hash>.list`; one that is being fetched is `<hash>.part` with `<hash>.map`: the
list, then one byte per chunk that has been written. Chunks are not flushed one by one: the map of a killed process is
right, and what it claims after a power cut is hashed again before it counts. The finished file is flushed before it
gets its name. When room is needed, the blob that was not used for longest goes, unless it is held.

What a list is, and how it names a blob, is the call protocol's business and handed in: storage knows its shape only.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final, Generic, Protocol, TypeVar

from ..consensus.types import MalformedError
from .database import StorageError, storage_error, sync_path

DEFAULT_CAP: Final = 16 << 30
"""Bytes that all blobs of a peer may take, unfinished ones included."""

_BLOB, _LIST, _PART, _MAP, _NEW = ".blob", ".list", ".part", ".map", ".new"


class ChunkList(Protocol):
    """Size and chunk hashes of a blob."""

    @property
    def size(self) -> int: ...
    @property
    def chunks(self) -> int: ...
    @property
    def hash(self) -> bytes: ...
    def chunk_size(self, index: int) -> int: ...
    def fits(self, index: int, data: bytes | memoryview) -> bool: ...
    def encode(self) -> bytes: ...


L = TypeVar("L", bound=ChunkList)


class BlobFolder(Generic[L]):
    """The blobs of one peer. Methods may be called from any thread, and raise StorageError when the disk refuses."""

    def __init__(
        self,
        folder: Path,
        *,
        chunk: int,
        decode_list: Callable[[bytes, bytes], L],
        make_list: Callable[[Iterable[bytes]], L],
        cap: int = DEFAULT_CAP,
    ) -> None:
        """`chunk` in bytes; `decode_list(data, hash)` raises MalformedError; `cap` in bytes."""
        self._folder = folder
        self._chunk = chunk
        self._decode_list = decode_list
        self._make_list = make_list
        self._cap = cap
        self._lock = threading.RLock()
        self._held: Counter[bytes] = Counter()
        self._open: set[bytes] = set()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._clean()
        except OSError as error:
            raise storage_error(error, folder, "open the blobs") from error

    def _clean(self) -> None:
        """Remove what a crash left between two names: it is worth nothing alone."""
        for path in list(self._folder.iterdir()):
            partner = {_BLOB: _LIST, _LIST: _BLOB, _PART: _MAP, _MAP: _PART}.get(path.suffix)
            if path.suffix == _NEW or (partner is not None and not path.with_suffix(partner).exists()):
                path.unlink(missing_ok=True)

    def _file(self, blob_hash: bytes, suffix: str) -> Path:
        return self._folder / f"{blob_hash.hex()}{suffix}"

    # --- complete blobs -----------------------------------------------------------------------------------------------

    def path(self, blob_hash: bytes) -> Path | None:
        """The file of a complete blob, marked as used now; None when it is not here."""
        path = self._file(blob_hash, _BLOB)
        try:
            os.utime(path)
        except OSError:
            return None
        return path

    def list_of(self, blob_hash: bytes) -> L | None:
        """The list of a complete blob."""
        try:
            data = self._file(blob_hash, _LIST).read_bytes()
            return self._decode_list(data, blob_hash) if self._file(blob_hash, _BLOB).exists() else None
        except (OSError, MalformedError):
            return None

    def read_chunk(self, blob_hash: bytes, index: int) -> bytes | None:
        """One chunk; None when it is not here. A chunk that the disk has spoiled is noticed by whoever fetches it."""
        path = self.path(blob_hash)
        if path is None:
            return None
        try:
            with open(path, "rb", buffering=0) as file:
                return os.pread(file.fileno(), self._chunk, index * self._chunk)
        except OSError:
            return None

    def add(self, source: Path | bytes | BinaryIO) -> bytes:
        """Keep a copy of a file, which may be open already, or of bytes; its hash."""
        size = len(source) if isinstance(source, bytes) else _size_of(source)
        fresh = self._folder / f"{secrets.token_hex(16)}{_NEW}"
        with self._lock:
            self._make_room(size)
        try:
            content = BytesIO(source) if isinstance(source, bytes) else source
            content = open(content, "rb") if isinstance(content, Path) else content  # noqa: SIM115
            with content, open(fresh, "wb") as copy:
                blob_list = self._make_list(_copied(content, copy, self._chunk, size))
                copy.flush()
                os.fsync(copy.fileno())
            self._name(fresh, blob_list)
        except OSError as error:
            raise storage_error(error, self._folder, "keep a blob") from error
        finally:
            fresh.unlink(missing_ok=True)
        return blob_list.hash

    def _name(self, content: Path, blob_list: L) -> Path:
        """Give complete, flushed content its name; the list first, so that no blob is without one. Raises OSError."""
        target, listed = self._file(blob_list.hash, _BLOB), self._file(blob_list.hash, _LIST)
        fresh = self._folder / f"{secrets.token_hex(16)}{_NEW}"
        with open(fresh, "wb") as file:
            file.write(blob_list.encode())
            file.flush()
            os.fsync(file.fileno())
        content.chmod(0o400)  # it may be linked into folders of others: nobody should write to it by mistake
        os.replace(fresh, listed)
        os.replace(content, target)
        sync_path(self._folder)
        return target

    def remove(self, blob_hash: bytes) -> None:
        """Forget a blob, finished or not. Nothing happens when it is not here."""
        for suffix in (_BLOB, _LIST, _PART, _MAP):
            self._file(blob_hash, suffix).unlink(missing_ok=True)

    # --- room ---------------------------------------------------------------------------------------------------------

    def hold(self, blob_hash: bytes) -> None:
        """Keep a blob from expiring, once more."""
        with self._lock:
            self._held[blob_hash] += 1

    def release(self, blob_hash: bytes) -> None:
        """Undo one `hold`."""
        with self._lock:
            self._held[blob_hash] -= 1
            if self._held[blob_hash] <= 0:
                del self._held[blob_hash]

    def used(self) -> int:
        """Bytes that finished and unfinished blobs take, or will take."""
        return sum(size for _, _, size in self._contents())

    def _contents(self) -> list[tuple[float, bytes, int]]:
        """(last use, hash, size), oldest first."""
        found = []
        for entry in os.scandir(self._folder):
            stem, suffix = os.path.splitext(entry.name)
            if suffix in (_BLOB, _PART):
                try:
                    state = entry.stat()
                    found.append((state.st_mtime, bytes.fromhex(stem), state.st_size))
                except (OSError, ValueError):  # gone meanwhile, or not ours
                    continue
        return sorted(found)

    def _make_room(self, size: int) -> None:
        contents = self._contents()
        used = sum(taken for _, _, taken in contents)
        for _, blob_hash, taken in contents:
            if used + size <= self._cap:
                return
            if not self._held[blob_hash] and blob_hash not in self._open:
                self.remove(blob_hash)
                used -= taken
        if used + size > self._cap:
            raise StorageError(
                f"no room for a blob of {size} bytes: {used} of {self._cap} are held or being fetched",
                remedy="withdraw offers that are no longer needed, or raise the cap on blobs",
            )

    # --- unfinished blobs ---------------------------------------------------------------------------------------------

    def begin(self, blob_list: L) -> PartialBlob[L]:
        """A new partial blob, or what an earlier fetch left of it, each claimed chunk checked again."""
        blob_hash = blob_list.hash
        with self._lock:
            if blob_hash in self._open:
                raise StorageError(
                    f"blob {blob_hash.hex()[:16]} is being fetched already", remedy="wait for that fetch to end"
                )
            part, marks = self._file(blob_hash, _PART), self._file(blob_hash, _MAP)
            if not (part.exists() and marks.exists()):
                self._make_room(blob_list.size)
            self._open.add(blob_hash)
        try:
            return PartialBlob(part, marks, blob_list, self._chunk, self._finish, self._close)
        except OSError as error:
            self._close(blob_list)
            raise storage_error(error, part, "begin a blob") from error

    def _finish(self, part: Path, blob_list: L) -> Path:
        return self._name(part, blob_list)

    def _close(self, blob_list: L) -> None:
        with self._lock:
            self._open.discard(blob_list.hash)


class PartialBlob(Generic[L]):
    """One blob that is being written. Opened by `BlobFolder.begin`."""

    def __init__(
        self,
        part: Path,
        marks: Path,
        blob_list: L,
        chunk: int,
        finish: Callable[[Path, L], Path],
        close: Callable[[L], None],
    ) -> None:
        """Raises OSError."""
        self._part, self._marks = part, marks
        self.blob_list = blob_list
        self._chunk = chunk
        self._name, self._on_close = finish, close
        self._file: BinaryIO | None = open(part, "r+b" if part.exists() else "w+b", buffering=0)  # noqa: SIM115
        try:
            self._map: BinaryIO = open(marks, "r+b" if marks.exists() else "w+b", buffering=0)  # noqa: SIM115
        except OSError:
            self._file.close()
            raise
        self._at = len(blob_list.encode())
        self._present = bytearray(blob_list.chunks)
        self._recover()

    def _recover(self) -> None:
        header = self.blob_list.encode()
        claimed = os.pread(self._map.fileno(), self._at + self.blob_list.chunks, 0)
        self._content.truncate(self.blob_list.size)  # sparse: takes room as it fills
        if claimed[: self._at] != header:
            self._map.truncate(0)
            os.pwrite(self._map.fileno(), header, 0)
            claimed = b""
        self._map.truncate(self._at + self.blob_list.chunks)
        for index, mark in enumerate(claimed[self._at :]):
            if mark:
                data = os.pread(self._content.fileno(), self._chunk, index * self._chunk)
                self._present[index] = self.blob_list.fits(index, data)

    @property
    def _content(self) -> BinaryIO:
        if self._file is None:
            raise StorageError("the partial blob is closed", remedy="begin it again")
        return self._file

    def missing(self) -> list[int]:
        """Chunks that are not there yet, ascending."""
        return [index for index, present in enumerate(self._present) if not present]

    def write(self, index: int, data: bytes | memoryview) -> None:
        """Keep a verified chunk: content first, then its mark. Raises StorageError."""
        try:
            at, rest = index * self._chunk, memoryview(data)
            while rest:
                written = os.pwrite(self._content.fileno(), rest, at)
                at, rest = at + written, rest[written:]
            os.pwrite(self._map.fileno(), b"\x01", self._at + index)
        except OSError as error:
            raise storage_error(error, self._part, "write a chunk of a blob") from error
        self._present[index] = 1

    def finish(self) -> Path:
        """Flush the complete blob, then give it its name. Raises StorageError."""
        if not all(self._present):
            raise StorageError(f"{len(self.missing())} chunks are missing", remedy="fetch them first")
        try:
            os.fsync(self._content.fileno())
            path = self._name(self._part, self.blob_list)
            self._marks.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error, self._part, "finish a blob") from error
        self.close()
        return path

    def close(self) -> None:
        """Let go of the files; a partial blob stays for the next fetch. May be called twice."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._map.close()
            self._on_close(self.blob_list)


def _size_of(source: Path | BinaryIO) -> int:
    try:
        return (source.stat() if isinstance(source, Path) else os.fstat(source.fileno())).st_size
    except OSError as error:
        raise StorageError(f"{source} cannot be read ({error.strerror})", remedy="name a readable file") from error


def _copied(content: BinaryIO, copy: BinaryIO, chunk: int, size: int) -> Iterator[bytes]:
    """The chunks of a file, each written to the copy on its way; room was made for `size` bytes."""
    while data := content.read(min(chunk, size + 1)):
        size -= len(data)
        if size < 0:
            raise StorageError("the file grows while it is copied", remedy="finish writing it first")
        copy.write(data)
        yield data
