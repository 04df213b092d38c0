"""`yumad init | run | join`: what they make, and one line with the remedy for what they refuse (DESIGN 5, 7)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
import typer
from small_peer import small_spec
from typer.testing import CliRunner, Result
from yumad.consensus.chain_spec import encode_chain_spec, genesis_hash
from yumad.daemon.commands import peer as peer_commands
from yumad.daemon.config import load_config
from yumad.daemon.spec_file import read_authority_record
from yumad.storage.home import Home

Run = Callable[..., Result]

PEER = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWBmAwcd4PJNJvfV89HwE48nwkRmAgo8Vy3uQEyNNHBox2"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    for name in ("YUMAD_HOME", "YUMAD_HOTKEY", "YUMAD_LISTEN", "YUMAD_PRIVATE"):
        monkeypatch.delenv(name, raising=False)
    app = typer.Typer()
    peer_commands.register(app)
    return lambda *arguments, **more: CliRunner().invoke(app, [*map(str, arguments)], **more)


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """`run` binds the log to the stream of its invocation; later tests have another."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "spec.cbor"
    path.write_bytes(encode_chain_spec(small_spec()))
    return path


def complaint(result: Result, exit_code: int = 1) -> tuple[str, str]:
    """The one line of an error and its remedy."""
    assert result.exit_code == exit_code, (result.exit_code, result.output, result.exception)
    assert "Traceback" not in result.output
    *log, message, remedy = result.stderr.rstrip("\n").split("\n")
    assert message.startswith("yumad: ")
    assert not any(line.startswith("yumad: ") for line in log)
    return message.removeprefix("yumad: "), remedy.strip()


# --- init -------------------------------------------------------------------------------------------------------------


def test_init_makes_keys_chain_and_settings_once(run: Run, tmp_path: Path, spec: Path) -> None:
    home = tmp_path / "home"
    first = run("init", "--home", home, "--spec", spec, "--authority", "--listen", "/ip4/0.0.0.0/tcp/4001", "--json")
    assert first.exit_code == 0, first.output
    made = json.loads(first.stdout)
    assert made["genesis_hash"] == genesis_hash(small_spec()).hex()
    assert len(bytes.fromhex(made["authority_key"])) == 32
    assert load_config(home, {}, {}).listen == ("/ip4/0.0.0.0/tcp/4001",)
    assert home.stat().st_mode & 0o777 == 0o700
    again = run("init", "--home", home, "--spec", spec, "--authority", "--json")
    assert json.loads(again.stdout) == made


def test_init_does_not_write_what_only_the_environment_says(run: Run, tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = run("init", "--home", home, "--hotkey", "dev:alice", env={"YUMAD_PRIVATE": "true"})
    assert done.exit_code == 0, done.output
    kept = load_config(home, {}, {})
    assert kept.hotkey == "dev:alice"
    assert kept.private is False


def test_init_writes_a_record_that_genesis_build_accepts(run: Run, tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    done = run(
        *("init", "--home", tmp_path / "home", "--authority-record", record, "--chain", "net", "--salt", "5eed"),
        *("--hotkey", "dev:alice", "--coldkey", "dev:bob", "--json"),
    )
    assert done.exit_code == 0, done.output
    read = read_authority_record(record, "net", b"\x5e\xed")
    assert read.authority_key.hex() == json.loads(done.stdout)["authority_key"]


@pytest.mark.parametrize(
    ("arguments", "said", "advice"),
    [
        (["--chain", "net"], "needs a hotkey", "--hotkey"),
        (["--hotkey", "dev:alice"], "needs the chain's name", "--chain"),
        (["--hotkey", "dev:alice", "--chain", "net", "--salt", "xyz"], "is not hex", "genesis show"),
        (["--hotkey", "alice", "--chain", "net", "--salt", "5eed"], "is not a key", "dev:NAME or WALLET/HOTKEY"),
    ],
)
def test_init_record_that_lacks_something_names_it(
    run: Run, tmp_path: Path, arguments: list[str], said: str, advice: str
) -> None:
    result = run("init", "--home", tmp_path / "home", "--authority-record", tmp_path / "record.json", *arguments)
    message, remedy = complaint(result, 2)
    assert said in message
    assert advice in remedy


def test_init_with_a_spec_that_is_not_there_names_the_file(run: Run, tmp_path: Path) -> None:
    message, remedy = complaint(run("init", "--home", tmp_path / "home", "--spec", tmp_path / "none.toml"))
    assert "none.toml" in message
    assert remedy


def test_init_of_a_home_in_use_names_the_process(run: Run, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.prepare()
    lock = home.lock()
    message, remedy = complaint(run("init", "--home", home.path))
    lock.release()
    assert str(home.path) in message
    assert "another --home" in remedy


def test_init_with_an_error_as_json_gives_one_document_on_stderr(run: Run, tmp_path: Path) -> None:
    result = run("init", "--home", tmp_path / "home", "--spec", tmp_path / "none.toml", "--json")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert set(json.loads(result.stderr)["error"]) == {"code", "message", "remedy"}


# --- run and join -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (PEER, "no '#<genesis hash>'"),
        (f"{PEER}#" + "ab" * 15, "has 30 digits, at least 32 are needed"),
        (f"{PEER}#" + "xy" * 20, "is not hexadecimal"),
        ("/ip4/127.0.0.1/tcp/1#" + "ab" * 32, "does not end in /p2p/<peer id>"),
        (f"{PEER}#" + "ab" * 32 + "@12:34", "a hash of 2 digits"),
    ],
)
def test_join_by_a_bad_address_is_refused_before_a_home_is_made(
    run: Run, tmp_path: Path, address: str, said: str
) -> None:
    message, remedy = complaint(run("join", address, "--home", tmp_path / "home"))
    assert said in message
    assert remedy
    assert not (tmp_path / "home").exists()


def test_run_of_a_home_without_a_chain_says_how_to_get_one(run: Run, tmp_path: Path) -> None:
    message, remedy = complaint(run("run", "--home", tmp_path / "home"))
    assert "holds no chain" in message
    assert "yumad init --spec" in remedy and "yumad join" in remedy


def test_run_of_a_home_with_two_chains_asks_which(run: Run, tmp_path: Path, spec: Path) -> None:
    from dataclasses import replace

    other = small_spec()
    bare = replace(other, genesis_time=other.genesis_time + 1)
    (tmp_path / "other.cbor").write_bytes(encode_chain_spec(bare))
    for path in (spec, tmp_path / "other.cbor"):
        assert run("init", "--home", tmp_path / "home", "--spec", path).exit_code == 0
    message, remedy = complaint(run("run", "--home", tmp_path / "home"))
    assert "holds several chains" in message
    assert genesis_hash(other).hex()[:8] in message
    assert "--genesis" in remedy
    message, _ = complaint(run("run", "--home", tmp_path / "home", "--genesis", "0" * 8))
    assert "holds no chain" in message


def test_run_of_a_home_in_use_is_refused(run: Run, tmp_path: Path, spec: Path) -> None:
    run("init", "--home", tmp_path / "home", "--spec", spec)
    lock = Home(tmp_path / "home").lock()
    message, remedy = complaint(run("run", "--home", tmp_path / "home"))
    lock.release()
    assert "home" in message
    assert "end that process first" in remedy


def test_run_with_a_hotkey_that_is_none_says_how_to_write_one(run: Run, tmp_path: Path, spec: Path) -> None:
    run("init", "--home", tmp_path / "home", "--spec", spec)
    result = run("run", "--home", tmp_path / "home", "--hotkey", "alice", "--listen", "/ip4/127.0.0.1/tcp/0")
    message, remedy = complaint(result)
    assert "'alice' is not a key" in message
    assert "dev:NAME or WALLET/HOTKEY" in remedy


@pytest.mark.parametrize("listen", ["127.0.0.1:30333", "/ip4/127.0.0.1/udp/1", "/ip4/999.0.0.1/tcp/1"])
def test_run_with_an_address_that_cannot_be_listened_on_is_refused(
    run: Run, tmp_path: Path, spec: Path, listen: str
) -> None:
    run("init", "--home", tmp_path / "home", "--spec", spec)
    message, remedy = complaint(run("run", "--home", tmp_path / "home", "--listen", listen))
    assert listen in message
    assert remedy


def test_consensus_that_halts_ends_the_command_with_its_one_line(
    run: Run, tmp_path: Path, spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fail-stop: what a consensus task raises is what the operator reads (DESIGN decision 14)."""
    from yumad.daemon.driver import ConsensusHalted, Driver

    async def halted(self: Driver, network: object) -> None:
        raise ConsensusHalted("consensus stopped: two certificates contradict each other", remedy="keep this home")

    monkeypatch.setattr(Driver, "run", halted)
    run("init", "--home", tmp_path / "home", "--spec", spec)
    result = run("run", "--home", tmp_path / "home", "--listen", "/ip4/127.0.0.1/tcp/0")
    message, remedy = complaint(result)
    assert message == "consensus stopped: two certificates contradict each other"
    assert remedy == "keep this home"
    Home(tmp_path / "home").lock().release()
