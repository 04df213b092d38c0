"""Plugins as processes: started, asked, crashed, reloaded, stopped, brought back (AXON R24, C15)."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from hosted import QUICK, hosting, log_of, settings, state, until, write
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.ss58 import encode_address
from yumad.daemon.plugins.host import PluginError, UnknownPluginError
from yumad.daemon.plugins.reload import ReloadError
from yumad.daemon.plugins.settings import PluginSettingsError, read_settings, write_settings
from yumad.protocols.axon.status import Status

ECHO = "serve(echo)"


async def test_plugin_that_is_ready_answers_calls_and_is_listed(tmp_path: Path) -> None:
    async with hosting(tmp_path) as (host, peer):
        document = await host.start("small", settings(write(tmp_path, ECHO)))
        assert document["state"] == "ready"
        assert document["hotkey"] == encode_address(dev_keypair("sn1/3").public_key)
        assert document["methods"] == ["echo"]
        reply = await peer.ask(b"x" * 100_000)
        assert reply.status is Status.OK
        assert reply.body == b"x" * 100_000
        listed = host.documents()[0]
        assert (listed["calls"], listed["failed_calls"], listed["restarts"]) == (1, 0, 0)
        os.kill(listed["pid"], 0)


async def test_r33_sealed_plugin_is_registered_as_such_and_hides_its_peer_also_after_a_restart(tmp_path: Path) -> None:
    async with hosting(tmp_path) as (host, peer):
        await host.start("open", settings(write(tmp_path, ECHO), hotkey="dev:sn1/4"))
        assert not peer.latest.who.sealed and not host.hides_peer
        await host.start("small", settings(write(tmp_path, ECHO), sealed=True))
        assert peer.latest.who.sealed and host.hides_peer
        await host.stop("small")
    async with hosting(tmp_path) as (host, peer):
        assert host.hides_peer, "what was hidden is not shown because its plugin rests"


async def test_plugin_sees_the_call_but_neither_password_nor_keys(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("YUMAD_PASSWORD", "hunter2")
    monkeypatch.setenv("AWS_SECRET", "hunter2")
    monkeypatch.setenv("ALLOWED_KEY", "given")
    code = """
import resource
async def show(call):
    names = sorted(os.listdir("/proc/self/fd"))
    links = [os.readlink("/proc/self/fd/" + n) for n in names if os.path.exists("/proc/self/fd/" + n)]
    said = [call.caller, str(call.standing.uid), str(call.standing.stake), repr(dict(os.environ)), repr(links),
            os.getcwd(), repr(resource.getrlimit(resource.RLIMIT_CORE)), str(os.getsid(0) == os.getpid())]
    return CallReply(body="\\n".join(said).encode())
serve(show)
"""
    async with hosting(tmp_path) as (host, peer):
        await host.start("small", settings(write(tmp_path, code), environment=("ALLOWED_KEY",)))
        lines = bytes((await peer.ask()).body).decode().split("\n")
        assert lines[:3] == [encode_address(dev_keypair("caller").public_key), "7", "123"]
        assert "hunter2" not in lines[3]
        assert "'ALLOWED_KEY': 'given'" in lines[3]
        assert ".db" not in lines[4]
        assert lines[5] == str(tmp_path / "plugins" / "small" / "store")
        assert lines[6] == "(0, 0)"
        assert lines[7] == "True"


async def test_socket_is_for_this_user_only_and_goes_with_the_host(tmp_path: Path) -> None:
    async with hosting(tmp_path):
        assert stat.S_IMODE((tmp_path / "p.sock").stat().st_mode) == 0o600
    assert not (tmp_path / "p.sock").exists()


async def test_crash_in_a_call_is_a_handler_error_and_the_plugin_comes_back(tmp_path: Path) -> None:
    code = """
async def die(call):
    if call.body == b"die":
        os._exit(9)
    return CallReply(body=b"alive")
serve(die)
"""
    async with hosting(tmp_path) as (host, peer):
        first = await host.start("small", settings(write(tmp_path, code)))
        reply = await peer.ask(b"die")
        assert reply.status is Status.HANDLER_ERROR
        assert "ended before it answered" in reply.text
        await until(lambda: state(host) == "ready" and host.documents()[0]["pid"] != first["pid"])
        assert (await peer.ask(b"x")).body == b"alive"
        listed = host.documents()[0]
        assert listed["restarts"] == 1
        assert "exit code 9" in listed["error"]["message"]


async def test_calls_while_a_crashed_plugin_waits_are_told_when_to_come_back(tmp_path: Path) -> None:
    code = """
async def die(call):
    os._exit(9)
serve(die)
"""
    async with hosting(tmp_path, times=replace(QUICK, first_pause=60.0, longest_pause=60.0)) as (host, peer):
        await host.start("small", settings(write(tmp_path, code)))
        await peer.ask()
        await until(lambda: state(host) == "backing off")
        reply = await peer.ask()
        assert reply.status is Status.BUSY
        assert 30_000 < reply.retry_after_ms <= 60_000
        await host.reload("small")
        assert state(host) == "ready"


async def test_plugin_that_ends_at_once_is_started_ever_less_often(tmp_path: Path) -> None:
    async with hosting(tmp_path) as (host, peer):
        await host.start("small", settings(write(tmp_path, "sys.exit('no model here')")))
        await until(lambda: host.documents()[0]["restarts"] >= 3)
        listed = host.documents()[0]
        assert "exit code 1" in listed["error"]["message"]
        assert "no model here" in log_of(host)
        assert not peer.served


async def test_r24_reload_under_load_fails_no_call(tmp_path: Path) -> None:
    """50 calls a second while the code is swapped three times; some calls take 200 ms, so that drains have work."""
    code = """
async def answer(call):
    await trio.sleep(0.2 if call.body == b"slow" else 0)
    return CallReply(body=b"%d")
serve(answer)
"""
    async with hosting(tmp_path) as (host, peer):
        await host.start("small", settings(write(tmp_path, code % 1)))
        replies: list[tuple[Status, bytes]] = []

        async def ask(body: bytes) -> None:
            reply = await peer.ask(body)
            replies.append((reply.status, bytes(reply.body)))

        async def load(scope: trio.CancelScope) -> None:
            count = 0
            async with trio.open_nursery() as calls:
                while not scope.cancel_called:
                    calls.start_soon(ask, b"slow" if count % 10 == 0 else b"quick")
                    count += 1
                    await trio.sleep(0.02)

        async with trio.open_nursery() as nursery:
            enough = trio.CancelScope()
            nursery.start_soon(load, enough)
            pids = {host.documents()[0]["pid"]}
            for version in (2, 3, 4):
                write(tmp_path, code % version)
                pids.add((await host.reload("small"))["pid"])
                await until(lambda version=version: (Status.OK, b"%d" % version) in replies)
            enough.cancel()
        assert len(pids) == 4
        assert {status for status, _ in replies} == {Status.OK}
        assert {body for _, body in replies} == {b"1", b"2", b"3", b"4"}
        assert len(peer.served) == 1, "registered once, replaced after that"
        assert host.documents()[0]["restarts"] == 0


async def test_reload_to_broken_code_keeps_the_old_and_says_why(tmp_path: Path) -> None:
    async with hosting(tmp_path) as (host, peer):
        before = await host.start("small", settings(write(tmp_path, ECHO)))
        write(tmp_path, "raise ValueError('half done')")
        with pytest.raises(ReloadError) as caught:
            await host.reload("small")
        assert "exit code 1" in caught.value.message
        assert "the old code goes on" in caught.value.remedy
        assert (await peer.ask()).status is Status.OK
        assert host.documents()[0]["pid"] == before["pid"]
        assert "half done" in log_of(host)


async def test_stop_finishes_calls_in_flight_and_lasts_over_a_restart(tmp_path: Path) -> None:
    code = """
async def slow(call):
    await trio.sleep(0.3)
    return CallReply(body=b"finished")
serve(slow)
"""
    replies = []
    async with hosting(tmp_path) as (host, peer):
        pid = (await host.start("small", settings(write(tmp_path, code))))["pid"]
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                replies.append(await peer.ask())

            nursery.start_soon(ask)
            await until(lambda: host.documents()[0]["open_calls"] == 1)
            document = await host.stop("small")
        assert replies[0].body == b"finished"
        assert document["state"] == "stopped"
        assert not peer.latest.open
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    async with hosting(tmp_path) as (host, peer):
        assert state(host) == "stopped"
        assert not peer.served


async def test_plugin_comes_back_with_the_host(tmp_path: Path) -> None:
    file = write(tmp_path, ECHO)
    async with hosting(tmp_path) as (host, _):
        pid = (await host.start("small", settings(file, arguments=("--fast", 'say "hi"\n'))))["pid"]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert read_settings(tmp_path / "plugins" / "small").arguments == ("--fast", 'say "hi"\n')
    async with hosting(tmp_path) as (host, peer):
        await until(lambda: state(host) == "ready")
        assert (await peer.ask()).status is Status.OK


async def test_plugin_that_cannot_come_back_is_listed_with_the_reason(tmp_path: Path) -> None:
    file = write(tmp_path, ECHO)
    async with hosting(tmp_path) as (host, _):
        await host.start("small", settings(file))
    file.unlink()
    async with hosting(tmp_path) as (host, _):
        assert state(host) == "failed"
        assert "is no Python file" in host.documents()[0]["error"]["message"]
        with pytest.raises(PluginError, match="does not run"):
            await host.stop("small")


async def test_close_drains_all_plugins_in_time(tmp_path: Path) -> None:
    code = """
async def slow(call):
    await trio.sleep(0.3)
    return CallReply(body=b"finished")
serve(slow)
"""
    replies = []
    async with hosting(tmp_path) as (host, peer):
        await host.start("small", settings(write(tmp_path, code)))
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                replies.append(await peer.ask())

            nursery.start_soon(ask)
            await until(lambda: host.documents()[0]["open_calls"] == 1)
            await host.close(10.0)
        assert replies[0].body == b"finished"
        assert state(host) == "stopped"
    assert read_settings(tmp_path / "plugins" / "small").enabled


async def test_two_plugins_of_one_hotkey_in_one_subnet_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path, ECHO)
    async with hosting(tmp_path) as (host, _):
        await host.start("small", settings(file))
        with pytest.raises(PluginError, match="works in subnet 1 for plugin small"):
            await host.start("other", settings(file))
        with pytest.raises(PluginError, match="runs already"):
            await host.start("small", settings(file))
        with pytest.raises(UnknownPluginError, match="there is no plugin 'none'"):
            await host.reload("none")
        with pytest.raises(PluginSettingsError, match="is no name"):
            await host.start("../up", settings(file))


async def test_stopped_plugin_that_two_commands_start_at_once_runs_once(tmp_path: Path) -> None:
    file = write(tmp_path, ECHO)
    refused: list[PluginError] = []
    async with hosting(tmp_path) as (host, peer):
        await host.start("small", settings(file))
        await host.stop("small")

        async def start() -> None:
            try:
                await host.start("small", settings(file))
            except PluginError as error:
                refused.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(start)
            nursery.start_soon(start)
        assert len(refused) == 1
        assert "runs already" in refused[0].message
        assert [served.open for served in peer.served] == [False, True]


async def test_settings_that_were_changed_by_hand_never_keep_the_peer_from_starting(tmp_path: Path) -> None:
    good = settings(write(tmp_path, ECHO))
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    for name in ("first", "second", "long", "Bad Name"):
        file = "/" + "x" * 5000 + ".py" if name == "long" else good.file
        write_settings(plugins / name, replace(good, file=file))
    (plugins / "deep").mkdir()
    (plugins / "deep" / "plugin.toml").write_text("arguments = " + "[" * 5000)
    async with hosting(tmp_path) as (host, _):
        await until(lambda: state(host, "first") == "ready")
        errors = {document["name"]: document["error"]["message"] for document in host.documents() if document["error"]}
        assert set(errors) == {"second", "long", "Bad Name", "deep"}
        assert "works in subnet 1 for plugin first" in errors["second"], "one hotkey, one plugin"


async def test_streams_of_a_call_go_both_ways(tmp_path: Path) -> None:
    code = """
async def double(call):
    count = 0
    async for message in call.messages():
        count += 1
        await call.send(message * 2)
    return CallReply(body=b"%d" % count)
serve(double, stream_in=True, stream_out=True)
"""
    async with hosting(tmp_path) as (host, peer):
        await host.start("small", settings(write(tmp_path, code)))
        incoming = [b"x" * 30_000 for _ in range(40)]
        reply = await peer.ask(given=incoming)
        assert reply.body == b"40"


async def test_stream_that_was_cut_is_cut_for_the_plugin_too(tmp_path: Path) -> None:
    code = """
from yumad.protocols.axon.interfaces import StreamAborted
async def read(call):
    try:
        async for message in call.messages():
            pass
    except StreamAborted as error:
        return CallReply(body=error.status.name.encode())
    return CallReply(body=b"whole")
serve(read, stream_in=True)
"""
    async with hosting(tmp_path) as (host, peer):
        await host.start("small", settings(write(tmp_path, code)))
        assert (await peer.ask(given=[b"1"], cut=True)).body == b"STREAM_ABORTED"
        assert (await peer.ask(given=[b"1"])).body == b"whole"


async def test_handler_is_cancelled_with_the_call(tmp_path: Path) -> None:
    code = """
async def wait(call):
    if call.body == b"how":
        return CallReply(body=repr(ended).encode())
    try:
        await trio.sleep(100)
    except trio.Cancelled:
        ended.append("cancelled")
        raise
ended = []
serve(wait)
"""
    async with hosting(tmp_path) as (host, peer):
        await host.start("small", settings(write(tmp_path, code)))
        with trio.move_on_after(0.1):
            await peer.ask(b"wait")
        assert (await peer.ask(b"how")).body == b"['cancelled']"
