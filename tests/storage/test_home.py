"""The home folder: private, held by one process, with errors that say what to do (DESIGN 5)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from yumad.consensus.types import Hash32
from yumad.storage.chain import ChainStore
from yumad.storage.database import StorageError
from yumad.storage.home import Home

GENESIS = Hash32(b"\x11" * 32)


def test_prepare_makes_a_private_home_and_closes_an_open_one(tmp_path):
    home = Home(tmp_path / "a" / "home")
    home.prepare()
    assert home.path.stat().st_mode & 0o777 == 0o700
    home.path.chmod(0o755)
    home.prepare()
    assert home.path.stat().st_mode & 0o777 == 0o700
    assert home.chains.is_dir()
    assert home.authority_folder.is_dir()


def test_chain_folder_is_named_by_the_genesis_hash(tmp_path):
    home = Home(tmp_path)
    home.prepare()
    folder = home.prepare_chain(GENESIS)
    assert folder.path == tmp_path / "chain" / "11111111"
    assert folder.chain_database == folder.path / "chain.db"
    assert {folder.index_database.name, folder.peer_database.name, folder.snapshots.name} == {
        "index.db",
        "peers.db",
        "snapshots",
    }


def test_home_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "home").write_text("")
    with pytest.raises(StorageError, match="is not a folder"):
        Home(tmp_path / "home").prepare()


def test_second_lock_on_one_home_is_refused_with_process_and_remedy(tmp_path):
    home = Home(tmp_path)
    home.prepare()
    lock = home.lock()
    with pytest.raises(StorageError, match=f"home {tmp_path} is in use by process {os.getpid()}") as caught:
        home.lock()
    assert "--home" in caught.value.remedy
    lock.release()
    lock.release()
    home.lock().release()


def test_peer_seed_is_made_once_and_kept(tmp_path):
    home = Home(tmp_path)
    home.prepare()
    seed = home.peer_seed(lambda: b"\x07" * 32)
    assert home.peer_seed(lambda: b"\x08" * 32) == seed == b"\x07" * 32
    assert home.peer_key_file.stat().st_mode & 0o777 == 0o600


def test_damaged_peer_key_is_named_with_the_remedy(tmp_path):
    home = Home(tmp_path)
    home.prepare()
    home.peer_key_file.write_text("not a key")
    with pytest.raises(StorageError, match="expected 64 hex digits") as caught:
        home.peer_seed(lambda: bytes(32))
    assert "delete" in caught.value.remedy


# --- permissions: meaningless for root, so a child gives up its rights ------------------------------------------------

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user for this test")


def _as_nobody(action: Callable[[Path], None], folder: Path) -> str:
    """What `action` reports as another user without rights: "done", or the StorageError's text and remedy."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        text = "died"
        try:
            os.setgid(65534)
            os.setuid(65534)
            action(folder)
            text = "done"
        except StorageError as error:
            text = f"{error.message}|{error.remedy}"
        except BaseException as error:
            text = repr(error)
        finally:
            os.write(write_end, text.encode())
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as answer:
        text = answer.read().decode()
    os.waitpid(child, 0)
    return text


@pytest.fixture
def open_folder():
    """A folder every user can reach (pytest's own are closed to others)."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@needs_root
def test_home_of_another_user_and_read_only_parent_are_refused(open_folder):
    home = open_folder / "home"
    Home(home).prepare()
    assert "cannot prepare" in _as_nobody(lambda path: Home(path / "new").prepare(), open_folder)
    home.chmod(0o755)
    assert "belongs to another user" in _as_nobody(lambda path: Home(path / "home").prepare(), open_folder)


@needs_root
def test_read_only_database_and_unreadable_key_are_clear_errors(open_folder, factory):
    path = open_folder / "chain.db"
    factory.create(path)
    os.chmod(path, 0o644)
    text = _as_nobody(lambda folder: ChainStore.open(folder / "chain.db", GENESIS).close(), open_folder)
    assert "cannot" in text
    assert "permission" in text or "belongs to this user" in text
    store = ChainStore.open(path, GENESIS)
    factory.finalise(store, 1)  # nothing was damaged by the attempt
    key = open_folder / "peer_key"
    key.write_text("00" * 32)
    key.chmod(0o600)
    text = _as_nobody(lambda folder: Home(folder).peer_seed(lambda: bytes(32)) and None, open_folder)
    assert "cannot be read" in text
    assert "permission" in text
