"""Parts of the host: tokens of the socket, settings on disk, bounds of the log, the environment (AXON R24)."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from yumad.consensus.types import Micros
from yumad.daemon.plugins.log_ring import FILE_BYTES, MAX_LINE, PluginLog
from yumad.daemon.plugins.process_runner import clean_environment
from yumad.daemon.plugins.settings import (
    PluginSettings,
    PluginSettingsError,
    check_settings,
    read_settings,
    settings_text,
    write_settings,
)
from yumad.daemon.plugins.socket import MAX_UNKNOWN, PluginSocket, plugin_socket_path
from yumad.protocols.axon.plugin_wire import Frame, FrameKind, encode_frame

# --- the socket -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def listening(path: Path, **how: Any):
    """A socket, and what connections were welcomed."""
    socket, welcomed = PluginSocket(path, **how), []

    async def welcome(stream: trio.SocketStream, buffer: Any, number: int) -> None:
        welcomed.append(number)
        await stream.receive_some(1)

    async with trio.open_nursery() as nursery:
        await nursery.start(socket.run)
        yield socket, socket.expect({"name": "small"}, welcome), welcomed
        nursery.cancel_scope.cancel()


def hello(token: bytes, number: int = 1) -> bytes:
    return encode_frame(Frame(number, FrameKind.REQUEST, "hello", {"token": token, "pid": 1}))


async def answer_to(path: Path, sent: bytes) -> bytes:
    """What the socket sends back before it waits or hangs up."""
    async with await trio.open_unix_socket(path) as stream:
        await stream.send_all(sent)
        return bytes(await stream.receive_some(1000))


async def test_token_works_once(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with listening(path) as (socket, token, welcomed):
        assert b"small" in await answer_to(path, hello(token))
        assert await answer_to(path, hello(token)) == b""
        assert (welcomed, socket.refused) == ([1], 1)


async def test_refused_connections_without_end_are_counted_and_told_of_once_a_minute(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with capture_logs() as told:
        async with listening(path) as (socket, _, _):
            for _ in range(50):
                assert await answer_to(path, hello(bytes(32))) == b""
            assert socket.refused == 50
    assert len([line for line in told if "refused" in line["event"]]) == 1


async def test_token_that_was_forgotten_or_invented_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with listening(path) as (socket, token, welcomed):
        assert await answer_to(path, hello(bytes(32))) == b""
        socket.forget(token)
        assert await answer_to(path, hello(token)) == b""
        assert welcomed == []


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\x00\x10\x00",
        encode_frame(Frame(1, FrameKind.REQUEST, "call", {})),
        encode_frame(Frame(2, FrameKind.REQUEST, "hello", {})),
        encode_frame(Frame(1, FrameKind.REPLY)),
        encode_frame(Frame(1, FrameKind.REQUEST, "hello", {"token": b"short", "pid": 1})),
        encode_frame(Frame(1, FrameKind.REQUEST, "hello", None)),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
async def test_connection_that_does_not_greet_is_closed(tmp_path: Path, sent: bytes) -> None:
    async with listening(tmp_path / "s") as (_, _, welcomed):
        assert await answer_to(tmp_path / "s", sent) == b""
        assert welcomed == []


async def test_silent_connections_are_closed_and_never_more_than_a_few(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with listening(path, hello_seconds=0.2) as (_, token, _):
        streams = [await trio.open_unix_socket(path) for _ in range(MAX_UNKNOWN + 5)]
        for stream in streams:
            assert await stream.receive_some(1) == b""
            await stream.aclose()
        assert b"small" in await answer_to(path, hello(token)), "strangers are gone, there is room again"


async def test_dead_processes_socket_is_replaced(tmp_path: Path) -> None:
    import socket as library

    path = tmp_path / "s"
    library.socket(library.AF_UNIX).bind(os.fspath(path))
    async with listening(path) as (_, token, _):
        assert b"small" in await answer_to(path, hello(token))


def test_plugin_socket_stands_beside_the_control_socket() -> None:
    assert plugin_socket_path(Path("/home/x/.yumad/control.sock")) == Path("/home/x/.yumad/control.plugins")
    first, second = (plugin_socket_path(Path(f"/run/user/1/yumad-{name}.sock")) for name in ("aa", "bb"))
    assert first != second


# --- settings ---------------------------------------------------------------------------------------------------------

GOOD = PluginSettings(
    "/x/miner.py", 1, "miner", "dev:sn1/3", arguments=('a "b"', "c\\d\x7f\n"), memory_mib=512, sealed=True
)


def test_settings_come_back_as_they_were_written(tmp_path: Path) -> None:
    write_settings(tmp_path / "small", GOOD)
    assert read_settings(tmp_path / "small") == GOOD
    assert (tmp_path / "small").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('role = "miner"', 'role = "boss"', "role 'boss' is not one of miner, validator, both"),
        ("netuid = 1", "netuid = 70000", "netuid 70000"),
        ("netuid = 1", "netuid = true", "netuid is True"),
        ("netuid = 1", 'netuid = "1"', "netuid is '1'"),
        ("netuid = 1", "", "netuid is missing"),
        ("netuid = 1", "netuid = 1\nnetuids = 2", "unknown setting 'netuids'"),
        ("netuid = 1", "netuid =", "is not TOML"),
        ('file = "/x/', 'file = "', "is not an absolute path"),
    ],
)
def test_settings_that_cannot_be_used_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = settings_text(GOOD)
    assert old in text
    (tmp_path / "plugin.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(PluginSettingsError) as caught:
        read_settings(tmp_path)
    assert message in caught.value.message
    assert caught.value.remedy


def test_plugin_may_not_ask_for_the_peers_own_variables() -> None:
    with pytest.raises(PluginSettingsError, match="YUMAD_"):
        check_settings(PluginSettings("/x.py", 1, "miner", "dev:a", environment=("YUMAD_PASSWORD",)))


def test_environment_of_a_plugin_has_what_programs_need_and_nothing_secret() -> None:
    source = {"PATH": "/bin", "LC_ALL": "C", "YUMAD_PASSWORD": "x", "AWS_KEY": "x", "WANTED": "y", "YUMAD_HOME": "z"}
    assert clean_environment(source, ("WANTED", "YUMAD_PASSWORD")) == {"PATH": "/bin", "LC_ALL": "C", "WANTED": "y"}


def test_peer_can_close_its_memory_and_environment_to_plugins_of_the_same_user() -> None:
    code = (
        "import ctypes; from yumad.daemon.plugins.process_runner import deny_inspection; "
        "print(deny_inspection(), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)); "
        "from yumad.daemon.metrics import resident_bytes; print(resident_bytes() > 0)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["True", "0", "True"]


# --- the log ----------------------------------------------------------------------------------------------------------


class Ticking:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> Micros:
        return Micros(round(self.at * 1_000_000))

    def monotonic(self) -> float:
        return self.at


def new_log(folder: Path) -> tuple[PluginLog, Ticking]:
    clock = Ticking()
    return PluginLog(folder, clock.now, clock.monotonic), clock


def texts(log: PluginLog, **how: int) -> list[str]:
    return [line.text for line in log.lines(**how)]


def test_r24_last_hundred_lines_are_kept_and_numbered(tmp_path: Path) -> None:
    log, _ = new_log(tmp_path)
    for number in range(250):
        log.feed(b"line %d\n" % number)
    assert texts(log) == [f"line {number}" for number in range(150, 250)]
    assert texts(log, after=248) == ["line 248", "line 249"]
    assert texts(log, most=1) == ["line 249"]
    assert len((tmp_path / "log").read_text().splitlines()) == 250


def test_line_in_pieces_is_one_line_and_a_last_one_needs_no_end(tmp_path: Path) -> None:
    log, _ = new_log(tmp_path)
    for piece in (b"a", b"b\nc", b"d", b"\n\nlast \xff"):
        log.feed(piece)
    assert texts(log) == ["ab", "cd", ""]
    log.finish()
    assert texts(log)[-1] == "last \ufffd"


def test_long_line_is_cut_and_costs_no_memory(tmp_path: Path) -> None:
    log, clock = new_log(tmp_path)
    for _ in range(100):
        log.feed(b"x" * 4096)
        clock.at += 1
    assert len(log._part) <= 4 * MAX_LINE
    log.feed(b"\n")
    assert texts(log)[0].startswith("x" * MAX_LINE + "… (")


def test_control_characters_cannot_play_with_a_terminal(tmp_path: Path) -> None:
    log, _ = new_log(tmp_path)
    log.feed(b"\x1b[2J\x07 tab\tstays \xc2\x9b2J\r\n")
    assert texts(log) == ["\\x1b[2J\\x07 tab\tstays \\x9b2J"]
    log.feed("ok \u202e txt.exe\n".encode())
    assert texts(log)[-1] == "ok \\u202e txt.exe"


def test_flood_is_thrown_away_counted_and_told_once(tmp_path: Path) -> None:
    log, clock = new_log(tmp_path)
    for _ in range(100):
        log.feed(b"y" * 65_535 + b"\n")
    assert log.dropped == 93 * 65_536
    clock.at += 10
    log.feed(b"calm again\n")
    assert texts(log)[-2:] == [
        f"[yumad] {93 * 65_536} bytes of output were thrown away: the plugin writes too much",
        "calm again",
    ]


def test_flood_of_empty_lines_counts_for_what_its_lines_cost(tmp_path: Path) -> None:
    log, clock = new_log(tmp_path)
    for _ in range(640):  # ten seconds
        clock.at += 1 / 64
        log.feed(b"\n" * 4096)
    assert (tmp_path / "log").stat().st_size < 3 << 20, "a stamp of 28 bytes for each byte that it writes"
    assert len(log.lines()) == 100


def test_file_is_rotated_and_bounded(tmp_path: Path) -> None:
    log, clock = new_log(tmp_path)
    for _ in range(20_000):
        log.feed(b"z" * 999 + b"\n")
        clock.at += 0.1
    assert (tmp_path / "log").stat().st_size <= FILE_BYTES
    assert (tmp_path / "log.1").stat().st_size <= FILE_BYTES
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1"]


def test_full_disk_costs_lines_of_the_file_only(tmp_path: Path) -> None:
    log, _ = new_log(tmp_path / "missing")
    log.feed(b"still in memory\n")
    assert texts(log) == ["still in memory"]
