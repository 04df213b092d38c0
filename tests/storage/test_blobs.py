"""The folder of blobs: names by content, bounded room, and nothing half-written counts (AXON R11)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from yumad.protocols.axon.blob_store_interface import CHUNK, BlobList, decode_blob_list, list_of
from yumad.storage.blobs import BlobFolder
from yumad.storage.database import StorageError


def folder_at(path: Path, cap: int = 1 << 30) -> BlobFolder[BlobList]:
    return BlobFolder(path, chunk=CHUNK, decode_list=decode_blob_list, make_list=list_of, cap=cap)


def content_of(size: int, seed: int = 1) -> bytes:
    return (seed.to_bytes(4, "big") + os.urandom(0) + bytes(range(256))) * (size // 260 + 1)


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
def test_r11_added_content_is_read_back_by_its_hash(tmp_path: Path, size: int) -> None:
    folder, content = folder_at(tmp_path / "blobs"), content_of(size)[:size]
    blob_hash = folder.add(content)
    source = tmp_path / "source"
    source.write_bytes(content)
    assert folder.add(source) == blob_hash
    blob_list = folder.list_of(blob_hash)
    assert blob_list is not None and blob_list.size == size
    chunks = [folder.read_chunk(blob_hash, index) or b"" for index in range(blob_list.chunks)]
    assert b"".join(chunks) == content and all(map(blob_list.fits, range(len(chunks)), chunks))
    path = folder.path(blob_hash)
    assert path is not None and path.read_bytes() == content
    assert sorted(p.suffix for p in (tmp_path / "blobs").iterdir()) == [".blob", ".list"]


def test_r11_hash_covers_size_and_content() -> None:
    hashes = {list_of([b"a"]).hash, list_of([b"b"]).hash, list_of([]).hash, BlobList(2, list_of([b"a"]).hashes).hash}
    assert len(hashes) == 4


def test_r11_unfinished_blob_goes_on_where_it_stopped(tmp_path: Path) -> None:
    content = content_of(3 * CHUNK)[: 2 * CHUNK + 7]
    blob_list = list_of([content[:CHUNK], content[CHUNK : 2 * CHUNK], content[2 * CHUNK :]])
    partial = folder_at(tmp_path).begin(blob_list)
    partial.write(1, content[CHUNK : 2 * CHUNK])
    partial.close()
    partial.close()
    folder = folder_at(tmp_path)
    partial = folder.begin(blob_list)
    assert partial.missing() == [0, 2]
    with pytest.raises(StorageError, match="2 chunks are missing"):
        partial.finish()
    with pytest.raises(StorageError, match="already"):
        folder.begin(blob_list)
    partial.write(0, content[:CHUNK])
    partial.write(2, content[2 * CHUNK :])
    assert partial.finish().read_bytes() == content
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".blob", ".list"]


def test_r11_chunk_that_is_marked_but_spoiled_is_missing_again(tmp_path: Path) -> None:
    content = content_of(2 * CHUNK)[: 2 * CHUNK]
    blob_list = list_of([content[:CHUNK], content[CHUNK:]])
    partial = folder_at(tmp_path).begin(blob_list)
    partial.write(0, content[:CHUNK])
    partial.write(1, content[CHUNK:])
    partial.close()
    part = next(tmp_path.glob("*.part"))
    spoiled = bytearray(content)
    spoiled[5] ^= 1
    part.write_bytes(spoiled)
    assert folder_at(tmp_path).begin(blob_list).missing() == [0]


KILLED = """
import os, signal, sys
from pathlib import Path
from yumad.protocols.axon.blob_store_interface import CHUNK, decode_blob_list, list_of
from yumad.storage.blobs import BlobFolder
folder = BlobFolder(Path(sys.argv[1]), chunk=CHUNK, decode_list=decode_blob_list, make_list=list_of)
chunks = [bytes([i]) * CHUNK for i in range(4)]
partial = folder.begin(list_of(chunks))
partial.write(0, chunks[0])
partial.write(3, chunks[3])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_r11_kill_during_a_fetch_keeps_the_chunks_that_came(tmp_path: Path, repository_root: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=repository_root / "tests", timeout=60)
    assert ended.returncode == -signal.SIGKILL
    blob_list = list_of([bytes([i]) * CHUNK for i in range(4)])
    assert folder_at(tmp_path).begin(blob_list).missing() == [1, 2]


def test_r11_crash_between_two_names_leaves_nothing(tmp_path: Path) -> None:
    for name in ("aa.list", "bb.blob", "cc.part", "dd.map", "ee.new"):
        (tmp_path / name).write_bytes(b"x")
    folder_at(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_r11_blob_unused_for_longest_makes_room_and_held_ones_stay(tmp_path: Path) -> None:
    folder = folder_at(tmp_path, cap=3000)
    hashes = [folder.add(content_of(1000, seed)[:1000]) for seed in range(3)]
    for age, blob_hash in zip((30, 20, 10), hashes, strict=True):
        path = folder.path(blob_hash)
        assert path is not None
        os.utime(path, (1000 - age, 1000 - age))
    folder.hold(hashes[0])
    folder.add(content_of(500, 7)[:500])
    assert [folder.path(blob_hash) is not None for blob_hash in hashes] == [True, False, True]
    folder.release(hashes[0])
    os.utime(folder.path(hashes[0]) or tmp_path, (1, 1))
    folder.add(content_of(1500, 8)[:1500])
    assert folder.path(hashes[0]) is None and folder.used() <= 3000


def test_r11_blob_without_room_is_refused_with_a_remedy(tmp_path: Path) -> None:
    folder = folder_at(tmp_path, cap=1000)
    with pytest.raises(StorageError, match="no room for a blob of 1001 bytes") as caught:
        folder.add(bytes(1001))
    assert caught.value.remedy
    held = folder.add(bytes(600))
    folder.hold(held)
    with pytest.raises(StorageError, match="no room"):
        folder.begin(list_of([bytes(500)]))
    assert folder.path(held) is not None


def test_r11_unreadable_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        folder_at(tmp_path / "blobs").add(tmp_path / "missing")
