"""Plugins that misbehave: whatever they do, the peer answers, stays small, and says what happened (AXON R24, C15)."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from hosted import QUICK, MemoryPeer, hosting, log_of, python, settings, state, until, write
from yumad.daemon.metrics import resident_bytes
from yumad.daemon.plugins.host import HostSettings, PluginHost
from yumad.daemon.plugins.log_ring import FILE_BYTES
from yumad.protocols.axon.interfaces import CallReply
from yumad.protocols.axon.plugin_link import LinkLimits
from yumad.protocols.axon.status import Status

MIB = 1 << 20

RAW = """
import socket, time, cbor2
s = socket.socket(socket.AF_UNIX)
s.connect(PATH)
def frame(*value):
    data = cbor2.dumps(list(value))
    return len(data).to_bytes(4, "big") + data
def read():
    size = int.from_bytes(s.recv(4, socket.MSG_WAITALL), "big")
    return cbor2.loads(s.recv(size, socket.MSG_WAITALL))
s.sendall(frame(1, 0, "hello", {"token": TOKEN, "pid": os.getpid()}))
facts = read()[3]
"""
"""A plugin that speaks to the socket itself."""


@asynccontextmanager
async def neighbour(host: PluginHost, peer: MemoryPeer, folder: Path) -> AsyncIterator[list[CallReply]]:
    """A well-behaved plugin that is called all the time inside the block."""
    await host.start("good", settings(write(folder, "serve(echo)", "good.py"), hotkey="dev:good"))
    good, replies = peer.latest, []

    async def ask() -> None:
        while True:
            replies.append(await MemoryPeer.ask(holder))
            await trio.sleep(0.01)

    holder = MemoryPeer()
    holder.served.append(good)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        yield replies
        nursery.cancel_scope.cancel()
    assert len(replies) > 3
    assert {reply.status for reply in replies} == {Status.OK}


async def test_r24_plugin_that_hangs_is_ended_with_its_stack_in_the_log(tmp_path: Path) -> None:
    code = """
import faulthandler, signal
faulthandler.register(signal.SIGUSR1)
async def compute_for_ever(call):
    while True:
        pass
serve(compute_for_ever)
"""
    async with hosting(tmp_path, times=replace(QUICK, pong=0.5)) as (host, peer):
        async with neighbour(host, peer, tmp_path):
            await host.start("small", settings(write(tmp_path, code)))
            reply = await peer.ask()
            assert reply.status is Status.HANDLER_ERROR
            await until(lambda: host.documents()[1]["restarts"] >= 1 and state(host) == "ready")
        error = host.documents()[1]["error"]
        assert error["code"] == "hangs"
        assert "did not answer for 0.5 s" in error["message"]
        assert "compute_for_ever" in log_of(host)


async def test_r24_plugin_that_floods_its_log_costs_the_peer_next_to_nothing(tmp_path: Path) -> None:
    code = """
import threading
def flood():
    line = b"\\x1b[2J" + b"x" * 1000 + b"\\n"
    for _ in range(100):
        os.write(1, line * 1000)
async def beside(client):
    await trio.to_thread.run_sync(flood)
    print("flood is over", flush=True)
serve(echo, beside=beside)
"""
    async with hosting(tmp_path) as (host, peer):
        before, processor = resident_bytes(), time.process_time()
        async with neighbour(host, peer, tmp_path):
            await host.start("small", settings(write(tmp_path, code)))
            await until(lambda: host.counters()["output_bytes_dropped"] > 90 * MIB)
            assert (await peer.ask()).status is Status.OK
        assert resident_bytes() - before < 16 * MIB
        assert time.process_time() - processor < 5.0, "seconds of processor time, the neighbour's calls included"
        file = tmp_path / "plugins" / "small" / "log"
        assert file.stat().st_size <= FILE_BYTES
        assert "\x1b" not in log_of(host)
        assert len(host.lines("small", after=0, most=1000)) <= 100


@pytest.mark.parametrize("way", ["stop", "crash"])
async def test_r24_children_that_left_the_session_are_ended_too(tmp_path: Path, way: str) -> None:
    code = """
import subprocess
children = [subprocess.Popen(["sleep", "1000"]).pid]
reading, writing = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(writing, str(os.getpid()).encode())
        import time
        time.sleep(1000)
    os._exit(0)
children.append(int(os.read(reading, 20)))
async def tell(call):
    if call.body == b"crash":
        os._exit(1)
    return CallReply(body=repr(children).encode())
serve(tell)
"""
    async with hosting(tmp_path, times=replace(QUICK, first_pause=60.0, longest_pause=60.0)) as (host, peer):
        await host.start("small", settings(write(tmp_path, code)))
        children = [int(pid) for pid in bytes((await peer.ask()).body).decode().strip("[]").split(",")]
        assert len(children) == 2
        for pid in children:
            os.kill(pid, 0)
        if way == "stop":
            await host.stop("small")
        else:
            await peer.ask(b"crash")
            await until(lambda: state(host) == "backing off")
        await until(lambda: not any(_alive(pid) for pid in children))


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff" * 64,
        (21 * MIB).to_bytes(4, "big"),
        b"\x00\x00\x00\x04\x84\x03\x00\x60",
        b"\x00\x00\x00\x05\x84\x18\x63\x01\x60\xf6"[:9],
        b"\x00\x00\x00\x20" + b"\x81" * 32,
        b"\x00\x00\x00\x06\x84\x04\x00\x61\x61\xf6",
        b"\x00\x00\x00\x06\x84\x09\x03\x61\x61\xf6",
        b"\x00\x00\x00\x05\x9b\xff\xff\xff\xff",
        b"\x00\x00\x00\x07\x84\x03\x00\x61\xff\xf6\xf6",
        b"\x00\x00\x00\x06\xc2\x84\x03\x00\x60\xf6",
    ],
)
async def test_r24_plugin_that_sends_garbage_is_ended(tmp_path: Path, garbage: bytes) -> None:
    code = f"{RAW}\ns.sendall({garbage!r})\ntime.sleep(1000)"
    async with hosting(tmp_path, times=replace(QUICK, first_pause=60.0, longest_pause=60.0)) as (host, _):
        await host.start("small", settings(write(tmp_path, code)))
        await until(lambda: state(host) == "backing off")
        error = host.documents()[0]["error"]
        assert error["code"] == "protocol"
        assert "no frame of the protocol" in error["message"]


async def test_r24_requests_for_another_hotkey_or_role_are_refused(tmp_path: Path) -> None:
    code = f"""{RAW}
terms = {{"timeout": 1.0, "idempotent": False, "max_reply": 100}}
call = terms | {{"hotkey": b"t" * 32, "method": "m", "version": 1, "body": b""}}
asked = [
    ("call", call | {{"caller": b"v" * 32}}), ("call", call | {{"netuid": 5}}), ("call", call | {{"body": "text"}}),
    ("call", call | {{"timeout": float("nan")}}), ("call", call | {{"hotkey": b"short"}}),
    ("call", call | {{"max_reply": 0}}), ("call", call | {{"max_reply": (16 << 20) + 1}}),
    ("scores.update", {{"scores": [], "name": "ema", "params": {{}}, "round": 1}}), ("scores.load", None),
    ("sign", b"x"), ("call", None), ("call", call),
]
for number, (method, body) in enumerate(asked):
    s.sendall(frame(3 + 2 * number, 0, method, body))
    answer = read()
    print("OUT", method, answer[1], answer[3][0] if answer[1] == 2 else "ok", flush=True)
print("DONE", flush=True)
time.sleep(1000)
"""
    async with hosting(tmp_path) as (host, peer):
        file = write(tmp_path, code)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host.start, "small", settings(file))
            await until(lambda: "small" in {d["name"] for d in host.documents()} and "DONE" in log_of(host))
            nursery.cancel_scope.cancel()
        outcomes = [line.removeprefix("OUT ") for line in log_of(host).split("\n") if line.startswith("OUT")]
        assert outcomes == [
            *["call 2 malformed"] * 7,
            "scores.update 2 not_allowed",
            "scores.load 2 not_allowed",
            "sign 2 malformed",
            "call 2 malformed",
            "call 1 ok",
        ]
        assert len(peer.asked) == 1
        assert peer.asked[0][1].name == "small"


@pytest.mark.parametrize(
    "frames",
    [
        "frame(3 + 2 * number, 0, 'sign', None)",
        "frame(0, 7, 'failing', None)",
        "frame(3 + 2 * number, 0, 'scores.store', {'rows': [[]] * 150_000})",
        "frame(3 + 2 * number, 0, 'call', {'body': bytes(19 << 20)})",
    ],
)
async def test_r24_plugin_that_floods_its_connection_slows_itself_only(tmp_path: Path, frames: str) -> None:
    code = f"""{RAW}
import threading
threading.Thread(target=lambda: [read() for _ in iter(int, 1)], daemon=True).start()
print("begun", flush=True)
for number in range(1_000_000):
    s.sendall({frames})
"""
    async with (
        hosting(tmp_path) as (host, peer),
        neighbour(host, peer, tmp_path) as replies,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(host.start, "small", settings(write(tmp_path, code)))
        await until(lambda: len(host.documents()) == 2 and "begun" in log_of(host))
        before, answered = resident_bytes(), len(replies)
        await until(lambda: len(replies) > answered + 20)
        assert resident_bytes() - before < 128 * MIB
        nursery.cancel_scope.cancel()


async def test_r24_plugin_that_asks_and_does_not_read_is_dropped(tmp_path: Path) -> None:
    code = f"""{RAW}
terms = {{"timeout": 1.0, "idempotent": False, "max_reply": 100}}
call = terms | {{"hotkey": b"t" * 32, "method": "m", "version": 1, "body": b""}}
for number in range(2000):
    s.sendall(frame(3 + 2 * number, 0, "call", call))
time.sleep(1000)
"""
    peer = MemoryPeer()
    peer.answer = lambda target, body: bytes(MIB)
    (tmp_path / "plugins").mkdir()
    own = HostSettings(
        times=replace(QUICK, first_pause=60.0, longest_pause=60.0),
        launcher=python,
        limits=LinkLimits(write_timeout=0.3),
    )
    host = PluginHost(tmp_path / "plugins", tmp_path / "p.sock", peer, own)
    async with trio.open_nursery() as nursery:
        await nursery.start(host.run)
        before = resident_bytes()
        await host.start("small", settings(write(tmp_path, code)))
        await until(lambda: state(host) == "backing off")
        assert "does not read" in host.documents()[0]["error"]["message"]
        assert resident_bytes() - before < 160 * MIB
        nursery.cancel_scope.cancel()


async def test_r24_plugin_that_never_gets_ready_is_ended_in_time(tmp_path: Path) -> None:
    async with hosting(tmp_path, times=replace(QUICK, first_pause=60.0, longest_pause=60.0)) as (host, _):
        document = await host.start("small", settings(write(tmp_path, RAW + "time.sleep(1000)"), start_seconds=1))
        assert document["state"] == "backing off"
        assert "not ready within 1 s" in document["error"]["message"]


async def test_r24_plugin_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    code = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
async def main():
    async with connect_host(PATH, TOKEN) as client:
        client.set_handler(echo)
        await client.ready("test", 1, "miner", [ServedMethod("echo")])
        await trio.sleep_forever()
trio.run(main)
"""
    async with hosting(tmp_path, times=replace(QUICK, grace=0.2)) as (host, _):
        pid = (await host.start("small", settings(write(tmp_path, code))))["pid"]
        await host.stop("small")
        assert not _alive(pid)


async def test_r24_plugin_that_takes_too_much_memory_fails_alone(tmp_path: Path) -> None:
    code = """
async def grow(call):
    return CallReply(body=b"%d" % len(bytes(2 << 30)))
serve(grow)
"""
    async with hosting(tmp_path) as (host, peer):
        await host.start("small", settings(write(tmp_path, code), memory_mib=1024))
        reply = await peer.ask()
        assert reply.status is Status.HANDLER_ERROR
        assert "MemoryError" in reply.text


async def test_r24_plugin_that_answers_nonsense_gives_handler_errors(tmp_path: Path) -> None:
    code = f"""{RAW}
method = {{"name": "echo", "version": 1, "timeout": 9.0, "max_body": 100, "max_reply": 100, "concurrency": 1,
          "stream_in": False, "stream_out": False, "idempotent": False, "require_permit": True, "min_stake": 0,
          "allow": [], "deny": [], "rate": 1.0, "burst": 1}}
s.sendall(frame(3, 0, "ready", {{"subnet": "x", "version": 1, "roles": ["miner"], "methods": [method],
                                 "validator": ""}}))
odd = {{"status": 255, "body": b"", "text": "", "retry_after_ms": 0}}
answers = iter([[1, "", 7], [1, "", odd], [2, "", ["a", "b"]]])
while True:
    number, kind, name, body = read()
    if kind == 0 and name == "handle":
        s.sendall(frame(number, *next(answers)))
    elif kind == 0:
        s.sendall(frame(number, 1, "", None))
"""
    async with hosting(tmp_path) as (host, peer):
        assert (await host.start("small", settings(write(tmp_path, code))))["state"] == "ready"
        for _ in range(3):
            reply = await peer.ask()
            assert reply.status is Status.HANDLER_ERROR
            assert "no valid answer" in reply.text


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False
