"""From outside bytes to an author's function and back: every way a call can end in a plugin (AXON R20, R9)."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
from yumad import Call, Policy, Refusal, Status, StreamAborted, Subnet
from yumad.plugin.call import running_store
from yumad.plugin.calling import Calls
from yumad.plugin.load import Plugin, load_plugin
from yumad.plugin.message import Message
from yumad.plugin.method import Method
from yumad.plugin.serving import MinerService
from yumad.plugin.testing.chain import STRANGER, dev_hotkey
from yumad.plugin.testing.host import MemoryIncoming
from yumad.plugin.testing.swarm import Swarm


@dataclass
class Ask:
    text: str
    count: int = 1


@dataclass
class Answer:
    text: str


subnet = Subnet("kinds")
OPEN = Policy(require_permit=False)


@subnet.method(timeout=2.0)
async def echo(request: Ask, call: Call) -> Answer:
    return Answer(f"{request.text} {call.uid} {call.permit} {call.netuid}")


@subnet.method
def in_thread(request: Ask) -> Answer:
    return Answer(threading.current_thread().name)


@subnet.method
async def fails(request: Ask) -> Answer:
    raise ValueError("first line\nsecret line")


@subnet.method
async def refuses(request: Ask) -> Answer:
    raise Refusal("full", status=Status.BUSY, retry_after_ms=500)


@subnet.method
async def wrong(request: Ask) -> Answer:
    return Ask("not an answer")  # type: ignore[return-value]


@subnet.method(timeout=2.0)
async def slow(request: Ask) -> Answer:
    await trio.sleep(60)
    return Answer("late")


@subnet.method
async def tokens(request: Ask) -> AsyncIterator[Answer]:
    for number in range(request.count):
        yield Answer(f"{request.text}{number}")
    if request.text == "cut":
        raise ValueError("in the middle")


@subnet.method
async def joined(messages: AsyncIterator[Ask]) -> Answer:
    return Answer("".join([message.text async for message in messages]))


@subnet.method
async def back_and_forth(request: Ask, messages: AsyncIterator[Ask]) -> AsyncIterator[Answer]:
    async for message in messages:
        yield Answer(request.text + message.text)


@subnet.method
async def folder(request: Ask, call: Call) -> Answer:
    assert subnet.state == call.store
    (subnet.state / "seen").touch()
    return Answer(subnet.state.name)


PLUGIN = Plugin(subnet, None)
CALLER = dev_hotkey("caller")


def incoming(name: str, body: bytes, seconds: float = 5.0) -> MemoryIncoming:
    deadline = trio.current_time() + seconds
    return MemoryIncoming(name, 1, 1, CALLER, dev_hotkey("miner"), STRANGER, bytes(16), deadline, body)


async def test_sync_function_runs_in_a_worker_thread(tmp_path: Path) -> None:
    service = MinerService(subnet, tmp_path)
    reply = await service.handle(incoming("in_thread", Message(Ask).encode(Ask("x"))))
    assert "MainThread" not in Message(Answer).decode(reply.body).text


async def test_r12_body_of_another_form_is_schema_mismatch_with_the_path(tmp_path: Path) -> None:
    service = MinerService(subnet, tmp_path)
    reply = await service.handle(incoming("echo", Message(dict[str, int]).encode({"text": 7})))
    assert reply.status is Status.SCHEMA_MISMATCH
    assert "text" in reply.text and "7" in reply.text


async def test_bytes_that_are_no_payload_are_schema_mismatch(tmp_path: Path) -> None:
    service = MinerService(subnet, tmp_path)
    for body in (b"", b"\xff" * 40, b"\x00\x00\x00\x02\x80\x80"):
        assert (await service.handle(incoming("echo", body))).status is Status.SCHEMA_MISMATCH


async def test_r7_handler_exception_tells_its_first_line_and_logs_the_rest(tmp_path: Path) -> None:
    lines: list[str] = []
    service = MinerService(subnet, tmp_path, log=lines.append)
    reply = await service.handle(incoming("fails", Message(Ask).encode(Ask("x"))))
    assert (reply.status, reply.text) == (Status.HANDLER_ERROR, "ValueError: first line")
    assert "secret line" in lines[0] and "Traceback" in lines[0]


async def test_reply_of_another_type_is_a_handler_error_of_the_author(tmp_path: Path) -> None:
    lines: list[str] = []
    reply = await MinerService(subnet, tmp_path, log=lines.append).handle(
        incoming("wrong", Message(Ask).encode(Ask("x")))
    )
    assert reply.status is Status.HANDLER_ERROR
    assert lines


async def test_refusal_has_its_own_status_and_retry_hint(tmp_path: Path) -> None:
    reply = await MinerService(subnet, tmp_path).handle(incoming("refuses", Message(Ask).encode(Ask("x"))))
    assert (reply.status, reply.text, reply.retry_after_ms) == (Status.BUSY, "full", 500)


async def test_hooks_run_with_the_state_folder_around_the_service(tmp_path: Path) -> None:
    hooked, seen = Subnet("hooked"), list[str]()

    @hooked.method
    async def nothing() -> None:
        seen.append("call")

    @hooked.on_start
    async def start() -> None:
        seen.append(f"start {hooked.state == tmp_path}")

    @hooked.on_stop
    def stop() -> None:
        seen.append("stop")

    service = MinerService(hooked, tmp_path)
    await service.start()
    assert (await service.handle(incoming("nothing", Message(type(None)).encode(None)))).status is Status.OK
    await service.stop()
    assert seen == ["start True", "call", "stop"]
    assert running_store.get(None) is None


async def test_stop_hook_that_hangs_is_cut_off(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    hooked = Subnet("hooked")
    hooked.on_stop(trio.sleep_forever)
    began = trio.current_time()
    await MinerService(hooked, tmp_path).stop()
    assert trio.current_time() - began == pytest.approx(5.0)


async def test_r26_call_carries_caller_and_latency(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with Swarm.of(PLUGIN, tmp_path, miners=1, latency=0.1) as swarm:
        result = await swarm.call(echo, Ask("hi"), to="miner/0")
    assert result.ok and result.reply == Answer("hi 1 True 1")
    assert result.latency.total == pytest.approx(0.2)
    assert result.latency.network == pytest.approx(0.2)


async def test_r3_handler_is_cancelled_at_the_deadline(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with Swarm.of(PLUGIN, tmp_path, miners=1) as swarm:
        result = await swarm.call(slow, Ask("x"), to="miner/0", timeout=30.0)
        assert result.status is Status.DEADLINE_EXCEEDED
        assert trio.current_time() == pytest.approx(2.0)


@pytest.mark.parametrize("wire", [False, True])
async def test_r9_server_stream_comes_typed_and_in_order(
    wire: bool, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with (
        Swarm.of(PLUGIN, tmp_path, miners=1, wire=wire) as swarm,
        stream_of(swarm, tokens, Ask("t", 40)) as stream,
    ):
        got = [message.text async for message in stream]
        assert (await stream.result()).ok
    assert got == [f"t{number}" for number in range(40)]


@pytest.mark.parametrize("wire", [False, True])
async def test_r9_stream_that_is_cut_raises_after_what_came(
    wire: bool, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    got = list[str]()

    async def read() -> None:
        async for message in stream:
            got.append(message.text)

    async with (
        Swarm.of(PLUGIN, tmp_path, miners=1, wire=wire) as swarm,
        stream_of(swarm, tokens, Ask("cut", 2)) as stream,
    ):
        with pytest.raises(StreamAborted, match="in the middle"):
            await read()
    assert got == ["cut0", "cut1"]


@pytest.mark.parametrize("wire", [False, True])
async def test_r9_client_stream_and_both_ways(
    wire: bool, tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with Swarm.of(PLUGIN, tmp_path, miners=1, wire=wire) as swarm:
        async with stream_of(swarm, joined, None) as stream:
            for text in "abc":
                await stream.send(Ask(text))
            await stream.end()
            assert (await stream.result()).reply == Answer("abc")
        async with stream_of(swarm, back_and_forth, Ask("re:")) as stream:
            await stream.send(Ask("1"))
            await stream.send(Ask("2"))
            await stream.end()
            assert [message.text async for message in stream] == ["re:1", "re:2"]


async def test_state_folder_is_each_neuron_s_own(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async with Swarm.of(PLUGIN, tmp_path, miners=2) as swarm:
        names = [(await swarm.call(folder, Ask("x"), to=node)).reply.text for node in swarm.miners]
    assert len(set(names)) == 2
    assert all((tmp_path / name / "seen").exists() for name in names)


@asynccontextmanager
async def stream_of(swarm: Swarm, method: Method, request: Ask | None) -> AsyncIterator[Any]:
    caller = next(iter(swarm.validators), None) or await swarm.add("validator/0", "validator", PLUGIN, swarm.folder)
    calls = Calls(caller.host, caller.hotkey, {}, swarm.network.random_bytes)
    async with calls.stream(swarm.miners[0].hotkey, method, request, 10.0) as stream:
        yield stream


CPU_PLUGIN = """
import os, time
from dataclasses import dataclass
from yumad import Call, Refusal, Subnet

subnet = Subnet("heavy")

@dataclass
class Ask:
    what: str

@dataclass
class Answer:
    pid: int
    store: str

@subnet.method(cpu=True, timeout=60.0)
def heavy(request: Ask, call: Call) -> Answer:
    print("noise on standard output")
    if request.what == "fail":
        raise ValueError("bad sum")
    if request.what == "die":
        os._exit(7)
    if request.what == "hang":
        time.sleep(3600)
    return Answer(os.getpid(), str(call.store))
"""


async def test_r20_cpu_method_runs_in_a_process_of_its_own_that_is_reused(tmp_path: Path) -> None:
    import os

    file = tmp_path / "heavy.py"
    file.write_text(CPU_PLUGIN)
    plugin, lines = load_plugin(file), list[str]()
    method = plugin.subnet.methods["heavy"]
    ask = method.signature.request
    service = MinerService(plugin.subnet, tmp_path, log=lines.append)

    async def answer(what: str):  # type: ignore[no-untyped-def]
        return await service.handle(incoming("heavy", ask.encode(ask.type(what)), seconds=60.0))

    replies = [method.signature.reply.decode((await answer("sum")).body) for _ in range(2)]
    assert replies[0].pid == replies[1].pid != os.getpid()
    assert replies[0].store == str(tmp_path)
    failed = await answer("fail")
    assert (failed.status, failed.text) == (Status.HANDLER_ERROR, "ValueError: bad sum")
    assert "Traceback" in lines[0]
    died = await answer("die")
    assert died.status is Status.HANDLER_ERROR and "died" in died.text
    with trio.move_on_after(0.5) as scope:
        await answer("hang")
    assert scope.cancelled_caught
    again = method.signature.reply.decode((await answer("sum")).body)
    assert again.pid != replies[0].pid
    await service.stop()
