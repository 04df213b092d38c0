"""What goes wrong outside: one clear line with the remedy, a non-zero exit, and nothing damaged (issue "bad input")."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
from processes import complaint, peer, yumad
from yumad.consensus.signature import KeyPair
from yumad.daemon.chain_home import genesis_hash_of_folder
from yumad.daemon.swarm import Swarm, SwarmPlan, random_salt
from yumad.daemon.swarm_spec import swarm_spec
from yumad.protocols.peer_records import peer_id_of
from yumad.storage.home import ChainFolder

SLOT = 500_000
"""Microseconds."""

ANYWHERE = ("--listen", "/ip4/127.0.0.1/tcp/0")
NOBODY = "12D3KooWBmAwcd4PJNJvfV89HwE48nwkRmAgo8Vy3uQEyNNHBox2"


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `authority-1`, the stopped home of a chain's only authority with some blocks, and `spec.cbor`."""
    base = tmp_path_factory.mktemp("grown")
    swarm = Swarm(SwarmPlan(base, swarm_spec("dev", "lonely", random_salt(), SLOT), 1, 0))
    swarm.make()
    with peer(base / "authority-1", "run", "--hotkey", "dev:authority/1/hotkey", *ANYWHERE) as running:
        running.until(lambda status: status["finalised"] >= 8)
        running.terminate()
    return base


@pytest.fixture
def home(grown: Path, tmp_path: Path) -> Path:
    """A copy of that home, for damage."""
    return Path(shutil.copytree(grown / "authority-1", tmp_path / "home"))


def finalised_of(home: Path) -> int:
    """Newest final height on the disk of a stopped home."""
    (database,) = home.glob("chain/*/chain.db")
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        return int(connection.execute("SELECT max(height) FROM header").fetchone()[0])


def peer_id_of_home(home: Path) -> str:
    """The peer id under which a home runs."""
    return peer_id_of(KeyPair(bytes.fromhex((home / "peer_key").read_text().strip())).public_key)


def genesis_of(home: Path) -> str:
    """Hex digits of the hash of its only chain."""
    (folder,) = (home / "chain").iterdir()
    return genesis_hash_of_folder(ChainFolder(folder)).hex()


def assert_whole(home: Path, at_least: int) -> None:
    """The home starts again, has lost nothing and goes on."""
    with peer(home, "run", "--hotkey", "dev:authority/1/hotkey", *ANYWHERE) as running:
        running.until(lambda status: status["finalised"] > at_least)
        assert running.terminate() < 5


# --- chain specs ------------------------------------------------------------------------------------------------------


def test_init_with_a_damaged_chain_spec_names_the_file_and_makes_no_chain(grown: Path, tmp_path: Path) -> None:
    spec, data = tmp_path / "spec.cbor", (grown / "spec.cbor").read_bytes()
    spec.write_bytes(data[:40] + b"\xff" + data[41:])
    text, _ = complaint(yumad("init", "--home", str(tmp_path / "fresh"), "--spec", str(spec)))
    assert str(spec) in text
    assert not list((tmp_path / "fresh").glob("chain/*"))


def test_join_by_an_address_of_another_chain_is_refused_and_makes_no_chain(home: Path, tmp_path: Path) -> None:
    with peer(home, "run", *ANYWHERE) as running:
        address = running.until(lambda status: bool(status["addresses"]))["addresses"][0]
        other = address.partition("#")[0] + "#" + "ab" * 32
        complaint(yumad("join", other, "--home", str(tmp_path / "fresh"), *ANYWHERE))
    assert not list((tmp_path / "fresh").glob("chain/*/chain.db"))


def test_run_with_a_bootstrap_address_of_another_chain_names_both_hashes(home: Path) -> None:
    address = f"/ip4/127.0.0.1/tcp/9/p2p/{NOBODY}#" + "ab" * 32
    (home / "config.toml").write_text(f'bootstrap = ["{address}"]\n')
    text, _ = complaint(yumad("run", "--home", str(home), *ANYWHERE))
    (chain,) = (home / "chain").iterdir()
    assert "ab" * 32 in text and chain.name in text


def test_r32_join_of_a_peer_that_is_not_there_says_so_and_joins_when_it_comes_up(home: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen = f"/ip4/127.0.0.1/tcp/{free.getsockname()[1]}"
    address = f"{listen}/p2p/{peer_id_of_home(home)}#{genesis_of(home)}"
    with peer(tmp_path / "fresh", "join", address, *ANYWHERE) as joiner:
        start = time.monotonic()
        while "yumad: " not in joiner.log.read_text():
            assert joiner.process.poll() is None and time.monotonic() < start + 15, joiner.log.read_text()
            time.sleep(0.1)
        time.sleep(3)  # several tries later it has said nothing more, and has not ended
        (said,) = [line for line in joiner.log.read_text().splitlines() if line.startswith("yumad: ")]
        assert listen in said and "refused" in said and "trying again" in said and "Ctrl-C" in said
        assert joiner.process.poll() is None
        with peer(home, "run", "--hotkey", "dev:authority/1/hotkey", "--listen", listen):
            joiner.until(lambda status: status["finalised"] >= 8)
            assert joiner.terminate() < 5


def test_r32_join_that_waits_ends_by_ctrl_c_without_a_traceback_and_leaves_no_chain(tmp_path: Path) -> None:
    address = f"/ip4/127.0.0.1/tcp/9/p2p/{NOBODY}#" + "ab" * 32
    with peer(tmp_path / "fresh", "join", address, *ANYWHERE) as joiner:
        while "trying again" not in joiner.log.read_text():
            assert joiner.process.poll() is None, joiner.log.read_text()
            time.sleep(0.1)
        joiner.process.send_signal(signal.SIGINT)
        assert joiner.process.wait(10) == 130
        assert "Traceback" not in joiner.log.read_text()
    assert not list((tmp_path / "fresh").glob("chain/*/chain.db"))


# --- settings, ports, locks -------------------------------------------------------------------------------------------


def test_busy_port_is_named_and_the_home_stays_whole(home: Path) -> None:
    before = finalised_of(home)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        text, _ = complaint(yumad("run", "--home", str(home), "--listen", f"/ip4/127.0.0.1/tcp/{port}"))
    assert f"/ip4/127.0.0.1/tcp/{port}" in text
    assert finalised_of(home) == before


def test_damaged_settings_end_the_start_with_usage(home: Path) -> None:
    (home / "config.toml").write_text("listen = [")
    done = yumad("run", "--home", str(home))
    assert "config.toml" in complaint(done)[0]
    assert done.returncode == 2


def test_second_process_on_one_home_or_one_authority_key_is_refused(home: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(home, tmp_path / "other"))
    shutil.rmtree(other / "authority")
    (other / "authority").symlink_to(home / "authority")
    with peer(home, "run", *ANYWHERE) as running:
        running.until(lambda status: True)
        text, _ = complaint(yumad("run", "--home", str(home), *ANYWHERE))
        assert str(home) in text
        text, _ = complaint(yumad("run", "--home", str(other), *ANYWHERE))
        assert "authority" in text
        assert running.process.poll() is None


def test_damaged_authority_key_is_named_and_its_guard_is_left_alone(home: Path) -> None:
    (folder,) = (home / "authority").iterdir()
    key, guard = folder / "key", (folder / "guard.db").read_bytes()
    whole = key.read_bytes()
    key.write_bytes(whole[:40])
    text, _ = complaint(yumad("run", "--home", str(home), *ANYWHERE))
    assert str(key) in text
    assert (folder / "guard.db").read_bytes() == guard
    key.write_bytes(whole)
    assert_whole(home, finalised_of(home))


# --- disks ------------------------------------------------------------------------------------------------------------


def test_altered_byte_of_state_ends_the_start_with_the_columns_name(home: Path) -> None:
    (database,) = home.glob("chain/*/chain.db")
    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT key, data FROM chunk WHERE length(data) > 8 ORDER BY key").fetchall()
        key, data = rows[len(rows) // 2]
        connection.execute("UPDATE chunk SET data = ? WHERE key = ?", (bytes([data[0] ^ 1]) + data[1:], key))
    text, _ = complaint(yumad("run", "--home", str(home), *ANYWHERE))
    assert "column" in text


def test_full_disk_ends_the_peer_with_one_line_and_the_home_is_whole_afterwards(home: Path) -> None:
    """A file size limit stands for the full disk: the same calls fail in the same places."""
    before = finalised_of(home)
    largest = max(path.stat().st_size for path in home.rglob("*") if path.is_file())

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest + 16_384, largest + 16_384))

    command = ["run", "--hotkey", "dev:authority/1/hotkey", *ANYWHERE]
    with peer(home, *command, stderr=subprocess.PIPE, preexec_fn=limited) as running:
        _, errors = running.process.communicate(timeout=120)
    done = subprocess.CompletedProcess(command, running.process.returncode, "", errors.decode())
    text, _ = complaint(done)
    assert "disk" in text or "full" in text or "written" in text
    after = finalised_of(home)
    assert after >= before
    assert_whole(home, after)


# --- ends -------------------------------------------------------------------------------------------------------------


def test_sigterm_ends_a_starting_peer_in_time_and_nothing_is_lost(home: Path) -> None:
    before = finalised_of(home)
    with peer(home, "run", *ANYWHERE) as running:
        time.sleep(1.5)  # wherever the start happens to be: any point must do
        assert running.terminate() < 5
    assert finalised_of(home) >= before


def test_sigterm_ends_a_peer_that_waits_for_a_silent_source(home: Path, tmp_path: Path) -> None:
    """The source is stopped in the middle of the joiner's sync: requests hang, the end must not wait for them."""
    with peer(home, "run", *ANYWHERE) as source:
        address = source.until(lambda status: bool(status["addresses"]))["addresses"][0]
        with peer(tmp_path / "joiner", "join", address, *ANYWHERE) as joiner:
            joiner.until(lambda status: True)
            source.process.send_signal(signal.SIGSTOP)
            time.sleep(0.5)
            assert joiner.terminate() < 5
            assert joiner.process.returncode == 0
        os.kill(source.process.pid, signal.SIGCONT)
