"""Key and guard of an authority: made together, held by one process, never guessed at (CHAIN 1.3)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from yumad.consensus.signature import KeyPair
from yumad.consensus.types import Micros
from yumad.storage.authority_key import (
    list_authorities,
    make_authority,
    open_authority,
    read_authority_key,
)
from yumad.storage.database import StorageError

SEED = bytes(range(32))
NOW = Micros(1_700_000_000_000_000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    public = make_authority(tmp_path / "authority", SEED)
    return tmp_path / "authority" / public.hex()[:8]


def test_key_and_guard_are_made_together_private_and_born_none(folder):
    assert sorted(item.name for item in folder.iterdir()) == ["guard.db", "key"]
    assert [item.stat().st_mode & 0o777 for item in (folder, folder / "key", folder / "guard.db")] == [
        0o700,
        0o600,
        0o600,
    ]
    authority = open_authority(folder, NOW)
    assert authority.key.public_key == KeyPair(SEED).public_key
    assert authority.guard.born is None
    assert not authority.guard_was_lost
    authority.close()
    assert list_authorities(folder.parent) == [folder]


def test_making_the_same_key_twice_is_refused(folder):
    with pytest.raises(StorageError, match="exists already"):
        make_authority(folder.parent, SEED)


def test_making_that_dies_half_way_leaves_no_key(tmp_path, monkeypatch):
    def dies(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("yumad.storage.authority_key.os.rename", dies)
    with pytest.raises(StorageError, match="the disk is full"):
        make_authority(tmp_path / "authority", SEED)
    assert list_authorities(tmp_path / "authority") == []
    assert list((tmp_path / "authority").iterdir()) == []


def test_missing_guard_is_a_loss_born_now(folder):
    (folder / "guard.db").unlink()
    authority = open_authority(folder, NOW)
    assert authority.guard_was_lost
    assert authority.guard.born == NOW
    authority.close()
    authority = open_authority(folder, Micros(NOW + 1))
    assert not authority.guard_was_lost
    assert authority.guard.born == NOW
    authority.close()


def test_second_opening_of_one_key_is_refused_with_the_process_number(folder):
    authority = open_authority(folder, NOW)
    with pytest.raises(StorageError, match=f"in use by process {os.getpid()}") as caught:
        open_authority(folder, NOW)
    assert "punished" in caught.value.remedy
    authority.close()
    open_authority(folder, NOW).close()


def test_second_process_on_one_key_is_refused_and_a_killed_one_frees_it(folder):
    ready, held = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            open_authority(folder, NOW)
            os.write(held, b"x")
            os.read(ready, 0)
            while True:
                os.sched_yield()
        finally:
            os._exit(1)
    assert os.read(ready, 1) == b"x"
    with pytest.raises(StorageError, match=f"in use by process {child}"):
        open_authority(folder, NOW)
    os.kill(child, 9)
    os.waitpid(child, 0)
    open_authority(folder, NOW).close()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "damaged"),
        (b"[]", "not an authority key file"),
        (b'{"format": "other", "seed": ""}', "its format is 'other'"),
        (b'{"format": "yumad-authority-key/1", "seed": "00", "public_key": ""}', "damaged"),
        (b"[" * 10_000, "damaged"),
        (b"x" * 20_000, "more than 16384 bytes"),
    ],
)
def test_unreadable_key_is_one_clear_error(folder, content, reason):
    (folder / "key").write_bytes(content)
    with pytest.raises(StorageError, match=reason) as caught:
        open_authority(folder, NOW)
    assert caught.value.remedy


def test_key_with_another_public_half_is_refused(folder):
    text = (folder / "key").read_text()
    (folder / "key").write_text(text.replace(KeyPair(SEED).public_key.hex(), "00" * 32))
    with pytest.raises(StorageError, match="does not belong"):
        read_authority_key(folder)


def test_missing_key_is_named(folder):
    (folder / "key").unlink()
    with pytest.raises(StorageError, match="is missing"):
        open_authority(folder, NOW)


def test_guard_of_another_key_in_the_folder_is_refused_and_the_lock_given_back(folder):
    other = make_authority(folder.parent, bytes(32))
    shutil.copy(folder.parent / other.hex()[:8] / "guard.db", folder / "guard.db")
    for _ in range(2):
        with pytest.raises(StorageError, match="another authority key"):
            open_authority(folder, NOW)
