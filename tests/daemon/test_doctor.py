"""`yumad doctor`: findings in the order of a start, each with its remedy, and never a traceback."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pytest
import typer
from stored_chain import alter, make_blocks, store_chain
from typer.testing import CliRunner
from yumad.consensus.statement import SignedStatement, nullify
from yumad.consensus.types import ZERO_HASH, AuthorityKey, Era, Micros, Signature, View
from yumad.daemon.chain_home import genesis_hash_of_folder, the_chain_of
from yumad.daemon.commands import peer as peer_commands
from yumad.daemon.doctor import Finding, examine
from yumad.storage.authority_key import list_authorities, make_authority
from yumad.storage.guard import VoteGuard
from yumad.storage.home import Home


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = Home(tmp_path_factory.mktemp("grown") / "home")
    peer, _ = make_blocks(5)
    store_chain(home, peer)
    make_authority(home.authority_folder, bytes(range(32)))
    return home.path


@pytest.fixture
def home(grown: Path, tmp_path: Path) -> Home:
    home = Home(Path(shutil.copytree(grown, tmp_path / "home")))
    home.config_file.write_text('listen = ["/ip4/127.0.0.1/tcp/0"]\n')
    return home


def finding(home: Home, check: str) -> Finding:
    (found,) = [found for found in examine(home) if found.check == check]
    return found


def test_whole_home_has_no_fault(home: Home) -> None:
    findings = examine(home)
    assert [found for found in findings if not found.ok] == []
    assert [found.check for found in findings] == [
        "signatures",
        "home",
        "settings",
        "disk",
        "clock",
        "daemon",
        "port",
        "chain",
        "authority",
        "hotkeys",
        "coldkeys",
        "plugins",
        "axon database",
        "descriptors",
        "control",
        "clock offset",
        "chain age",
        "peers",
        "plugin states",
        "services",
    ]
    assert "block 5" in finding(home, "chain").detail
    assert finding(home, "daemon").detail == "not running"


def test_home_that_does_not_exist_is_no_fault(tmp_path: Path) -> None:
    assert all(found.ok for found in examine(Home(tmp_path / "nothing" / "here")))
    assert not (tmp_path / "nothing").exists()


def test_running_daemon_is_told_and_is_no_fault(home: Home) -> None:
    lock = home.lock()
    try:
        found = finding(home, "daemon")
    finally:
        lock.release()
    assert found.ok and found.detail.startswith("running:")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("listen = 7\n", "listen is 7"),
        ("lisen = []\n", "unknown setting 'lisen'"),
        ("max_peers = \n", "is not TOML"),
        ('bootstrap = ["/ip4/127.0.0.1/tcp/1"]\n', "no '#<genesis hash>'"),
    ],
)
def test_damaged_settings_are_named_with_a_remedy(home: Home, text: str, said: str) -> None:
    home.config_file.write_text(text)
    found = finding(home, "settings")
    assert not found.ok
    assert said in found.detail
    assert found.remedy


def test_busy_port_is_told(home: Home) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        home.config_file.write_text(f'listen = ["/ip4/127.0.0.1/tcp/{port}"]\n')
        assert f"/tcp/{port} is taken" in finding(home, "port").detail


def test_damaged_state_is_named_by_column(home: Home) -> None:
    database = the_chain_of(home).chain_database
    assert alter(database, "UPDATE chunk SET data = zeroblob(1024) WHERE key = (SELECT min(key) FROM chunk)") == 1
    found = finding(home, "chain")
    assert not found.ok
    assert "the stored state is damaged" in found.detail
    assert "sync anew" in found.remedy


def test_home_without_a_chain_says_how_to_get_one(home: Home) -> None:
    shutil.rmtree(home.chains)
    found = finding(home, "chain")
    assert not found.ok
    assert "yumad join" in found.remedy


def test_missing_guard_is_named(home: Home) -> None:
    (folder,) = list_authorities(home.authority_folder)
    (folder / "guard.db").unlink()
    found = finding(home, "authority")
    assert not found.ok
    assert "no vote guard" in found.detail


def test_damaged_authority_key_is_named(home: Home) -> None:
    (folder,) = list_authorities(home.authority_folder)
    (folder / "key").write_bytes(b"{}")
    assert not finding(home, "authority").ok


def test_proof_of_a_second_signer_is_told(home: Home) -> None:
    (folder,) = list_authorities(home.authority_folder)
    genesis_hash = genesis_hash_of_folder(the_chain_of(home))
    from yumad.storage.authority_key import read_authority_key

    guard = VoteGuard.open(folder / "guard.db", AuthorityKey(read_authority_key(folder).public_key))
    foreign = SignedStatement(nullify(Era(3), View(9)), 0, Signature(bytes(64)))
    assert guard.record_second_signer(genesis_hash, ZERO_HASH, Era(3), foreign, Micros(1_700_000_000_000_000))
    guard.close()
    found = finding(home, "authority")
    assert not found.ok
    assert "nullify of era 3 view 9" in found.detail
    assert "one place only" in found.remedy


def test_command_prints_every_finding_and_fails_when_one_does(home: Home) -> None:
    app = typer.Typer()
    peer_commands.register(app)
    good = CliRunner().invoke(app, ["doctor", "--home", str(home.path), "--json"])
    assert good.exit_code == 0, good.output
    assert json.loads(good.stdout)["ok"] is True
    home.config_file.write_text("nonsense = 1\n")
    bad = CliRunner().invoke(app, ["doctor", "--home", str(home.path)])
    assert bad.exit_code == 1
    assert "FAIL  settings" in bad.stdout
