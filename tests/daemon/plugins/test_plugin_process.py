"""The process that a peer starts for an author's file: `python -m yumad.plugin.main FILE` (AXON R24, R28)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import trio
from hosted import hosting, log_of, settings, state, until
from yumad.daemon.plugins.life import default_launcher
from yumad.daemon.plugins.reload import ReloadError
from yumad.protocols.axon.payload import decode_payload, encode_payload
from yumad.protocols.axon.status import Status

PLUGIN = """
import sys
from dataclasses import dataclass
from yumad import Call, Ema, Result, Round, Subnet, Task, Validator

subnet = Subnet("echo", version=1)

@dataclass
class Ask:
    text: str

@dataclass
class Answer:
    text: str

@subnet.method(timeout=5.0)
async def echo(request: Ask, call: Call) -> Answer:
    return Answer(f"{request.text} {call.uid} {sys.argv[1:]}")

@subnet.method(timeout=5.0)
def slow(request: Ask) -> Answer:
    import time
    time.sleep(float(request.text))
    return Answer("slept")

class Echo(Validator):
    interval = 0.05
    aggregator = Ema(0.2)

    def task(self, round: Round) -> Task:
        return Task(echo, Ask("hi"), timeout=3.0)

    def score(self, round: Round, task: Task, results: list[Result]) -> dict[str, float]:
        return {r.hotkey: float(r.ok and r.reply.text == "hi") for r in results}
"""


def author_file(folder: Path, code: str = PLUGIN) -> Path:
    file = folder / "small.py"
    file.write_text(code)
    return file


def body(**values: object) -> bytes:
    return b"".join(bytes(part) for part in encode_payload(values))


async def test_r24_authors_file_serves_calls(tmp_path: Path) -> None:
    async with hosting(tmp_path, launcher=default_launcher) as (host, peer):
        document = await host.start("small", settings(author_file(tmp_path), arguments=("--deep",)))
        assert (document["state"], document["subnet"]) == ("ready", "echo v1"), log_of(host)
        name = next(method.name for method in peer.latest.methods if method.name.endswith("echo"))
        reply = await peer.ask(body(text="hi"), name=name)
        assert reply.status is Status.OK, reply.text
        assert decode_payload(bytes(reply.body)) == {"text": "hi 7 ['--deep']"}


async def test_r24_plain_functions_that_take_long_do_not_count_as_hanging(tmp_path: Path) -> None:
    async with hosting(tmp_path, launcher=default_launcher) as (host, peer):
        await host.start("small", settings(author_file(tmp_path)))
        name = next(method.name for method in peer.latest.methods if method.name.endswith("slow"))
        reply = await peer.ask(body(text="0.5"), name=name)
        assert reply.status is Status.OK, reply.text
        assert host.documents()[0]["restarts"] == 0


async def test_r24_r28_validator_and_miner_of_one_file_run_in_one_process(tmp_path: Path) -> None:
    async with hosting(tmp_path, launcher=default_launcher) as (host, peer):
        document = await host.start("small", settings(author_file(tmp_path), role="both"))
        assert (document["state"], document["validator"]) == ("ready", "Echo"), log_of(host)
        await until(lambda: sum(what == "metagraph" for what, _, _ in peer.asked) >= 2)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import no_such_module\n", "small.py, line 1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = 1\n\ny = (\n", "small.py, line 3: SyntaxError"),
        ("x = 1\n", "no Subnet at module level"),
        ("from yumad import Subnet\nsubnet = Subnet('a', version=1)\n", "neither methods nor a Validator"),
    ],
)
async def test_r24_file_that_cannot_run_says_where_and_what_to_do(tmp_path: Path, code: str, message: str) -> None:
    async with hosting(tmp_path, launcher=default_launcher) as (host, _):
        document = await host.start("small", settings(author_file(tmp_path, code)))
        assert document["state"] == "failed"
        assert message in document["error"]["message"]
        assert document["error"]["remedy"]
        assert message in log_of(host)
        author_file(tmp_path)
        assert (await host.reload("small"))["state"] == "ready"


async def test_r24_reload_to_a_file_that_cannot_run_keeps_the_old_code(tmp_path: Path) -> None:
    async with hosting(tmp_path, launcher=default_launcher) as (host, peer):
        await host.start("small", settings(author_file(tmp_path)))
        author_file(tmp_path, "def broken(:\n")
        with pytest.raises(ReloadError, match="SyntaxError"):
            await host.reload("small")
        name = next(method.name for method in peer.latest.methods if method.name.endswith("echo"))
        assert (await peer.ask(body(text="hi"), name=name)).status is Status.OK
        assert state(host) == "ready"


async def test_file_without_the_wanted_role_says_which_it_has(tmp_path: Path) -> None:
    code = PLUGIN[: PLUGIN.index("class Echo")]
    async with hosting(tmp_path, launcher=default_launcher) as (host, _):
        document = await host.start("small", settings(author_file(tmp_path, code), role="validator"))
        assert document["state"] == "failed"
        assert "roles are miner" in document["error"]["remedy"]


async def test_start_hook_that_fails_is_tried_again(tmp_path: Path) -> None:
    hook = """
@subnet.on_start
async def connect():
    from pathlib import Path
    seen = Path("seen")
    if not seen.exists():
        seen.touch()
        raise ConnectionError("the model server is away")
"""
    async with hosting(tmp_path, launcher=default_launcher) as (host, _):
        await host.start("small", settings(author_file(tmp_path, PLUGIN + hook)))
        await until(lambda: state(host) == "ready")
        document = host.documents()[0]
        assert document["restarts"] == 1
        assert "the model server is away" in document["error"]["message"]


async def test_variant_answers_in_place_of_the_method(tmp_path: Path) -> None:
    lazy = """
@echo.variant("lazy")
async def lazily(request: Ask, call: Call) -> Answer:
    return Answer("lazy")
"""
    async with hosting(tmp_path, launcher=default_launcher) as (host, peer):
        await host.start("small", settings(author_file(tmp_path, PLUGIN + lazy), variant="lazy"))
        name = next(method.name for method in peer.latest.methods if method.name.endswith("echo"))
        assert decode_payload(bytes((await peer.ask(body(text="hi"), name=name)).body)) == {"text": "lazy"}


def test_r24_plugin_ends_when_its_peer_is_killed(tmp_path: Path) -> None:
    """Even when its loop is busy: the end of the token's pipe is watched by a thread."""
    busy = PLUGIN.replace('    return Answer(f"{request', '    while True: pass\n    return Answer(f"{request')
    author_file(tmp_path, busy)
    program = textwrap.dedent(
        f"""
        import sys, trio
        sys.path.append({str(Path(__file__).parent)!r})
        from pathlib import Path
        from hosted import hosting, settings
        from test_plugin_process import body
        from yumad.daemon.plugins.life import default_launcher
        async def main():
            folder = Path({str(tmp_path)!r})
            async with hosting(folder, launcher=default_launcher) as (host, peer):
                document = await host.start("small", settings(folder / "small.py"))
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(peer.ask, body(text="hi"))
                    while host.documents()[0]["open_calls"] == 0:
                        await trio.sleep(0.01)
                    await trio.sleep(0.2)
                    print("pid", document["pid"], flush=True)
        trio.run(main)
        """
    )
    peer = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert peer.stdout is not None
    with peer, peer.stdout:
        pid = next(int(line.split()[1]) for line in peer.stdout if line.startswith("pid"))
        peer.send_signal(signal.SIGKILL)
        peer.wait()
    trio.run(until, lambda: not _alive(pid))


def test_process_without_a_peer_says_how_plugins_are_started(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "yumad.plugin.main", str(author_file(tmp_path))], capture_output=True, text=True
    )
    assert ended.returncode == 3
    assert "yumad plugin run FILE" in ended.stderr


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
