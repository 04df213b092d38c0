"""`yumad doctor` about keys, plugins, kept data and the running daemon; each fault has a remedy (AXON R40, 4.2)."""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from calling_peers import CallingDaemon, calling_daemon
from test_cli_chain import run
from yumad.consensus.types import Hash32
from yumad.daemon.clock import SystemClock
from yumad.daemon.doctor import Finding, examine
from yumad.daemon.doctor_finding import guarded
from yumad.daemon.doctor_running import RunningDaemon
from yumad.daemon.plugins.settings import PluginSettings, write_settings
from yumad.storage.axon_database import axon_folder, open_axon_database
from yumad.storage.home import Home
from yumad.storage.keystore import Keystore

GENESIS = Hash32(bytes(range(32)))
PLAIN_SR25519 = {"accountId": "0x00", "publicKey": "0x00", "secretPhrase": "twelve words", "secretSeed": "0x00"}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.prepare()
    home.config_file.write_text('listen = ["/ip4/127.0.0.1/tcp/0"]\n')
    return home


@pytest.fixture
def plugin(home: Home, tmp_path: Path) -> PluginSettings:
    """A miner that signs with a hotkey of a wallet."""
    store = Keystore(tmp_path / "wallets")
    store.new_coldkey("owner", b"c" * 32, "correct horse")
    store.new_hotkey("owner", "miner", b"h" * 32)
    file = tmp_path / "miner.py"
    file.write_text("")
    settings = PluginSettings(str(file), 7, "miner", "owner/miner", str(store.root))
    write_settings(home.plugins / "echo", settings)
    return settings


def finding(home: Home, check: str) -> Finding:
    [found] = [found for found in examine(home) if found.check == check]
    return found


def fault(home: Home, check: str) -> Finding:
    found = finding(home, check)
    assert not found.ok, found
    assert found.remedy, "each fault has a remedy"
    return found


def test_r40_at_least_twelve_checks_are_made(home: Home) -> None:
    assert len({found.check for found in examine(home)}) >= 12


def test_r40_serving_home_without_fault_names_its_keys_and_plugins(home: Home, plugin: PluginSettings) -> None:
    assert finding(home, "plugins").detail == "echo (miner of subnet 7)"
    assert finding(home, "hotkeys").detail == "owner/miner"
    assert finding(home, "coldkeys").detail.startswith("no unencrypted coldkey among 1 wallets")


def test_r40_hotkey_that_is_missing_or_open_to_others_is_a_fault(home: Home, plugin: PluginSettings) -> None:
    key = Path(plugin.wallets) / "owner" / "hotkeys" / "miner"
    key.chmod(0o644)
    assert f"chmod 600 {key}" in fault(home, "hotkeys").remedy
    key.unlink()
    assert "missing" in fault(home, "hotkeys").detail
    write_settings(home.plugins / "echo", replace(plugin, hotkey="owner"))
    assert "is not a key" in fault(home, "hotkeys").detail


def test_r40_encrypted_hotkey_says_how_to_start_the_peer(home: Home, plugin: PluginSettings) -> None:
    Keystore(Path(plugin.wallets)).new_hotkey("owner", "locked", b"l" * 32, "correct horse")
    write_settings(home.plugins / "echo", replace(plugin, hotkey="owner/locked"))
    assert "YUMAD_PASSWORD" in finding(home, "hotkeys").detail


@pytest.mark.parametrize("content", [PLAIN_SR25519, {"format": "yumad-key/1", "encryption": None, "secret": "00"}])
def test_r40_coldkey_in_the_clear_beside_a_serving_hotkey_is_a_fault(
    home: Home, plugin: PluginSettings, content: dict[str, Any]
) -> None:
    other = Path(plugin.wallets) / "rich" / "coldkey"
    other.parent.mkdir()
    other.write_text(json.dumps(content))
    found = fault(home, "coldkeys")
    assert "wallet rich" in found.detail and "serves nothing" in found.remedy
    write_settings(home.plugins / "echo", replace(plugin, enabled=False))
    assert finding(home, "coldkeys").ok, "nothing serves here"


def test_r40_coldkey_of_another_tool_that_is_encrypted_is_none(home: Home, plugin: PluginSettings) -> None:
    other = Path(plugin.wallets) / "rich" / "coldkey"
    other.parent.mkdir()
    other.write_bytes(b"$NACL\x00\x01")
    assert finding(home, "coldkeys").ok


def test_r40_wallets_that_no_hotkey_here_comes_from_are_not_looked_at(home: Home, plugin: PluginSettings) -> None:
    write_settings(home.plugins / "echo", replace(plugin, hotkey="dev:sn1/3"))
    assert finding(home, "coldkeys").detail == "nothing to check"
    assert "anybody knows that key" in finding(home, "hotkeys").detail


def test_r40_plugin_without_its_file_or_with_damaged_settings_is_a_fault(home: Home, plugin: PluginSettings) -> None:
    Path(plugin.file).unlink()
    assert "miner.py" in fault(home, "plugins").detail
    (home.plugins / "echo" / "plugin.toml").write_text("netuid = ")
    assert "is not TOML" in fault(home, "plugins").detail


def test_r40_unknown_setting_is_a_fault_with_a_suggestion(home: Home) -> None:
    home.config_file.write_text("max_peer = 3\n")
    assert "did you mean 'max_peers'?" in fault(home, "settings").remedy


def test_r40_axon_database_is_counted_and_a_damaged_one_named(home: Home) -> None:
    open_axon_database(axon_folder(home, GENESIS)).close()
    assert finding(home, "axon database").detail == "00010203: 0 score tables, 0 request ids"
    [file] = (home.path / "axon").glob("*/axon.db")
    data = bytearray(file.read_bytes())
    data[8192 * 2 :] = b"\xff" * (len(data) - 8192 * 2)
    file.write_bytes(data)
    assert str(file) in fault(home, "axon database").detail


def test_r40_too_few_descriptors_are_a_fault(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 4096))
    assert "ulimit -n" in fault(home, "descriptors").remedy


# --- the running daemon -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CallingDaemon]:
    with calling_daemon(tmp_path_factory.mktemp("doctor") / "home", SystemClock()) as running:
        yield running


def live(daemon: CallingDaemon, **changes: Any) -> dict[str, Finding]:
    """Findings about the daemon, with what it answers changed as a fault would change it."""
    looked = RunningDaemon(Home(daemon.home))
    assert looked._status is not None and looked._axon is not None
    looked._status |= {"finalised_age_s": 3, "peers": 2} | changes.pop("status", {})
    looked._axon |= changes.pop("axon", {})
    looked._plugins += changes.pop("plugins", [])
    return {name: guarded(name, look) for name, look in looked.checks()}


def service(**changes: Any) -> dict[str, Any]:
    reach = {"reached_by": 2, "probers": 3, "latency_ms": 9}
    return {"hotkey": "5F" + "x" * 46, "netuid": 7, "freshness": "fresh", "reach": reach, **changes}


def test_r40_running_daemon_without_fault_is_told(daemon: CallingDaemon) -> None:
    found = live(daemon, axon={"served": [service()]})
    assert all(one.ok for one in found.values()), found
    assert found["control"].detail == "small at block 0"
    assert "1 service records known" in found["services"].detail
    assert "is reached by 2 of 3" in found["services"].detail


@pytest.mark.parametrize(
    ("check", "changes", "said"),
    [
        ("clock offset", {"status": {"clock_offset_ms": 1500.0}}, "1.5 s behind"),
        ("clock offset", {"status": {"clock_offset_ms": -9000.0}}, "9.0 s ahead of"),
        ("chain age", {"status": {"finalised_age_s": 100_000}}, "100000 s old"),
        ("peers", {"status": {"peers": 0}}, "no peer"),
        ("services", {"axon": {"served": [service(reach={"reached_by": 0, "probers": 3})]}}, "none of 3"),
        ("services", {"axon": {"served": [service(freshness="known_only")]}}, "only callers it knows"),
        ("plugin states", {"plugins": [{"name": "echo", "state": "failed", "error": None}]}, "echo is failed"),
    ],
)
def test_r40_fault_of_the_running_daemon_has_a_remedy(
    daemon: CallingDaemon, check: str, changes: dict[str, Any], said: str
) -> None:
    found = live(daemon, **changes)[check]
    assert not found.ok and said in found.detail and found.remedy


def test_r40_miner_that_is_not_announced_is_a_fault(daemon: CallingDaemon, plugin: PluginSettings) -> None:
    folder = Home(daemon.home).plugins / "echo"
    folder.parent.mkdir(exist_ok=True)
    write_settings(folder, plugin)
    found = live(daemon)["services"]
    assert not found.ok and "nothing is announced" in found.detail and "yumad plugin logs echo" in found.remedy
    assert live(daemon, axon={"served": [service()]})["services"].ok
    shutil.rmtree(folder)


def test_r40_home_that_is_held_by_a_process_that_does_not_answer_is_a_fault(home: Home) -> None:
    lock = home.lock()
    try:
        assert "does not answer" in fault(home, "control").detail
    finally:
        lock.release()
    assert finding(home, "control").ok, "no daemon is no fault"


def test_r40_command_lists_every_check_with_its_remedy(home: Home, plugin: PluginSettings) -> None:
    Path(plugin.file).unlink()
    result = run("doctor", "--home", str(home.path), "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == 1 and not document["ok"]
    assert len(document["findings"]) >= 12
    assert all(found["ok"] or found["remedy"] for found in document["findings"])
