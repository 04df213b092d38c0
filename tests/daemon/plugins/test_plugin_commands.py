"""`yumad plugin …` against a peer with a plugin host: tables, documents, exit codes (AXON R24, R43, R44)."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
from hosted import QUICK, MemoryPeer, python, write
from typer.testing import CliRunner, Result
from yumad.daemon.commands.output import Exit
from yumad.daemon.control import ControlServer
from yumad.daemon.control_address import choose_socket_path
from yumad.daemon.head_feed import HeadFeed
from yumad.daemon.main import build_app
from yumad.daemon.plugin_methods import plugin_methods
from yumad.daemon.plugins.host import HostSettings, PluginHost
from yumad.daemon.plugins.socket import plugin_socket_path
from yumad.daemon.registry import Registry
from yumad.storage.keystore import Keystore

ECHO = """
print("hello from the plugin", flush=True)
serve(echo)
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home whose peer has a plugin host, in a thread of its own."""
    folder = tmp_path / "home"
    (folder / "plugins").mkdir(parents=True, mode=0o700)
    started, scopes = threading.Event(), []

    async def serve() -> None:
        control = choose_socket_path(folder)
        own = HostSettings(times=QUICK, launcher=python)
        host = PluginHost(folder / "plugins", plugin_socket_path(control), MemoryPeer(), own)
        server = ControlServer(control, Registry(plugin_methods(host)), HeadFeed(), {"network": "small"})
        with trio.CancelScope() as scope:
            scopes.append((trio.lowlevel.current_trio_token(), scope))
            async with trio.open_nursery() as nursery:
                await nursery.start(server.run)
                await nursery.start(host.run)
                started.set()

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))  # stdout is a command's
    thread = threading.Thread(target=trio.run, args=(serve,), daemon=True)
    thread.start()
    assert started.wait(10)
    yield folder
    for token, scope in scopes:
        token.run_sync_soon(scope.cancel)
    thread.join(10)
    structlog.reset_defaults()
    assert not thread.is_alive()


def run(home: Path, *arguments: str | Path) -> Result:
    return CliRunner().invoke(build_app(), ["plugin", *map(str, arguments), "--home", str(home)])


def document(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def start(home: Path, file: Path, *more: str | Path) -> Result:
    return run(home, "run", file, "--netuid", "1", "--hotkey", "dev:sn1/3", *more)


def test_r43_plugin_is_run_listed_reloaded_and_stopped(home: Path, tmp_path: Path) -> None:
    file = write(tmp_path, ECHO, "My Miner.py")
    shown = start(home, file)
    assert shown.exit_code == 0, shown.output
    assert "my-miner" in shown.stdout
    assert "ready" in shown.stdout
    [listed] = document(run(home, "list", "--json"))
    assert (listed["name"], listed["state"], listed["netuid"], listed["role"]) == ("my-miner", "ready", 1, "miner")
    table = run(home, "list").stdout
    assert "my-miner" in table
    assert "dev:sn1/3" in table
    reloaded = document(run(home, "reload", "my-miner", "--json"))
    assert reloaded["pid"] != listed["pid"]
    lines = document(run(home, "logs", "my-miner", "--json"))
    assert sum(line["text"] == "hello from the plugin" for line in lines) == 2
    assert "hello from the plugin" in run(home, "logs", "my-miner", "-n", "50").stdout
    assert document(run(home, "stop", "my-miner", "--json"))["state"] == "stopped"


def test_plugin_that_ends_at_once_is_an_error_of_the_command(home: Path, tmp_path: Path) -> None:
    result = start(home, write(tmp_path, "sys.exit(5)"), "--json")
    assert result.exit_code == Exit.REFUSED
    error = json.loads(result.stderr)["error"]
    assert "exit code 5" in error["message"]
    assert error["remedy"]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["reload", "none"], Exit.REFUSED, "there is no plugin 'none'"),
        (["stop", "none"], Exit.REFUSED, "there is no plugin 'none'"),
        (["logs", "none"], Exit.REFUSED, "there is no plugin 'none'"),
        (["run", "none.py", "--netuid", "1", "--hotkey", "dev:a"], Exit.USAGE, "there is no file"),
        (["run", __file__, "--netuid", "1", "--hotkey", "dev:a", "--role", "boss"], Exit.USAGE, "role is 'boss'"),
        (["run", __file__, "--netuid", "1", "--hotkey", "alice"], Exit.REFUSED, "'alice' is not a key"),
        (["run", __file__, "--netuid", "1", "--hotkey", "dev:a", "--name", "A/b"], Exit.REFUSED, "is no name"),
    ],
)
def test_mistakes_are_named_with_the_codes_of_the_house(
    home: Path, arguments: list[str], exit_code: Exit, message: str
) -> None:
    result = run(home, *arguments)
    assert result.exit_code == exit_code, result.output
    assert message in result.stderr


def test_encrypted_hotkey_without_a_password_says_what_to_do(home: Path, tmp_path: Path) -> None:
    store = Keystore(tmp_path / "wallets")
    store.new_hotkey("w", "plain", bytes(32))
    store.new_hotkey("w", "locked", bytes(range(32)), "long enough password")
    file = write(tmp_path, ECHO)
    wallets = ["--wallets", tmp_path / "wallets"]
    result = run(home, "run", file, "--netuid", "1", "--hotkey", "w/locked", *wallets)
    assert result.exit_code == Exit.REFUSED
    assert "is encrypted" in result.stderr
    assert "YUMAD_PASSWORD" in result.stderr
    assert run(home, "run", file, "--netuid", "1", "--hotkey", "w/plain", *wallets).exit_code == 0


def test_commands_without_a_peer_say_so(tmp_path: Path) -> None:
    assert run(tmp_path, "list").exit_code == Exit.NO_DAEMON


def test_plugin_in_the_foreground_ends_with_the_command(home: Path, tmp_path: Path) -> None:
    file = write(tmp_path, ECHO)
    command = [sys.executable, "-m", "yumad.daemon.main", "plugin", "run", str(file), "--netuid", "1"]
    command += ["--hotkey", "dev:sn1/3", "--foreground", "--home", str(home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert any("hello from the plugin" in line for line in process.stdout)
        pid = document(run(home, "list", "--json"))[0]["pid"]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        assert process.returncode == Exit.INTERRUPTED
    assert document(run(home, "list", "--json"))[0]["state"] == "stopped"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_r36_new_writes_files_to_start_from(tmp_path: Path) -> None:
    made = CliRunner().invoke(build_app(), ["plugin", "new", "squares", "--folder", str(tmp_path), "--json"])
    assert made.exit_code == 0, made.output
    files = json.loads(made.stdout)["files"]
    assert all(Path(file).is_file() for file in files)
    again = CliRunner().invoke(build_app(), ["plugin", "new", "squares", "--folder", str(tmp_path)])
    assert again.exit_code == Exit.REFUSED
