"""The control socket: hello, JSON-RPC, subscriptions, bounds, garbage, and how it begins and ends."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from small_peer import SmallPeer
from trio.testing import wait_all_tasks_blocked
from yumad.consensus.types import Hash32, Height
from yumad.daemon import control
from yumad.daemon.control import ControlServer, ControlSocketError
from yumad.daemon.control_address import ControlAddressError, choose_socket_path, find_socket_path
from yumad.daemon.head_feed import HeadFeed, HeadNews
from yumad.daemon.node_methods import node_registry
from yumad.daemon.registry import Method, Registry

HELLO = {"program": "0.0", "network": "small"}


class Client:
    """A client that speaks raw lines."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._buffer = b""

    async def read(self) -> Any:
        """The next line as JSON; None at the end."""
        while b"\n" not in self._buffer:
            data = await self.stream.receive_some(65536)
            if not data:
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    async def ask(self, raw: bytes) -> Any:
        await self.stream.send_all(raw + b"\n")
        return await self.read()

    async def call(self, method: str, params: Any = None, identity: Any = 1) -> Any:
        request = {"jsonrpc": "2.0", "id": identity, "method": method, "params": params}
        return await self.ask(json.dumps(request).encode())


@asynccontextmanager
async def served(path: Path, registry: Registry | None = None, feed: HeadFeed | None = None) -> AsyncIterator[HeadFeed]:
    peer = SmallPeer()
    feed = feed or peer.feed
    async with trio.open_nursery() as nursery:
        await nursery.start(ControlServer(path, registry or node_registry(peer), feed, HELLO).run)
        yield feed
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def connected(path: Path) -> AsyncIterator[Client]:
    async with await trio.open_unix_socket(path) as stream:
        client = Client(stream)
        hello = await client.read()
        assert hello["method"] == "hello"
        yield client


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c.sock"


async def test_hello_names_protocol_program_and_network(path: Path) -> None:
    async with served(path), await trio.open_unix_socket(path) as stream:
        hello = await Client(stream).read()
    assert hello == {"jsonrpc": "2.0", "method": "hello", "params": {"version": 1, **HELLO}}


def mode_of(path: Path) -> int | None:
    return stat.S_IMODE(path.stat().st_mode) if path.exists() else None


async def test_socket_is_private_and_gone_after_the_end(path: Path) -> None:
    async with served(path):
        assert mode_of(path) == 0o600
    assert mode_of(path) is None


async def test_request_is_answered_with_its_id(path: Path) -> None:
    async with served(path), connected(path) as client:
        answer = await client.call("status", identity="seven")
    assert (answer["id"], answer["result"]["network"]) == ("seven", "small")


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"{", -32700),
        (b"\xff\xfe", -32700),
        (b"NaN", -32700),
        (b"[" * 100_000, -32700),
        (b'{"id": ' + b"9" * 5000 + b"}", -32700),
        (b"[]", -32600),
        (b"1", -32600),
        (b'{"method": "status", "id": 1}', -32600),
        (b'{"jsonrpc": "2.0", "method": 5, "id": 1}', -32600),
        (b'{"jsonrpc": "2.0", "method": "status", "id": {}}', -32600),
        (b'{"jsonrpc": "2.0", "method": "stat", "id": 1}', -32601),
        (b'{"jsonrpc": "2.0", "method": "block", "id": 1}', -32602),
        (b'{"jsonrpc": "2.0", "method": "block", "id": 1, "params": {"at": "x"}}', -32602),
        (b'{"jsonrpc": "2.0", "method": "block", "id": 1, "params": {"at": "99"}}', -32000),
    ],
)
async def test_garbage_and_wrong_requests_get_an_error_and_the_connection_stays(
    path: Path, raw: bytes, code: int
) -> None:
    async with served(path), connected(path) as client:
        answer = await client.ask(raw)
        assert answer["error"]["code"] == code
        assert (await client.call("status"))["result"]


async def test_refusal_carries_the_stable_code_and_the_remedy(path: Path) -> None:
    async with served(path), connected(path) as client:
        error = (await client.call("tx.send", {"transaction": "00"}))["error"]
    assert (error["code"], error["data"]["code"]) == (-32000, "malformed")


async def test_notification_is_carried_out_without_an_answer(path: Path) -> None:
    async with served(path), connected(path) as client:
        await client.stream.send_all(b'{"jsonrpc": "2.0", "method": "status"}\n\n  \n')
        assert (await client.call("status", identity=2))["id"] == 2


async def test_request_over_the_cap_is_refused_and_hung_up_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "MAX_LINE", 1000)
    async with served(path), connected(path) as client:
        answer = await client.ask(b"x" * 2000)
        assert answer["error"]["code"] in (-32600, -32700)
        async with connected(path) as other:
            await other.stream.send_all(b"y" * 100_000)
            assert (await other.read())["error"]["code"] == -32600
            with pytest.raises((trio.BrokenResourceError, AssertionError)):
                assert await other.read() is not None


async def test_handler_with_a_bug_answers_an_internal_error_and_the_peer_goes_on(path: Path) -> None:
    async def broken() -> None:
        raise ZeroDivisionError

    async def fine() -> str:
        return "fine"

    registry = Registry([Method("broken", (), "", broken), Method("fine", (), "", fine)])
    async with served(path, registry), connected(path) as client:
        assert (await client.call("broken"))["error"]["code"] == -32603
        assert (await client.call("fine"))["result"] == "fine"


async def test_connections_over_the_cap_are_closed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "MAX_CONNECTIONS", 1)
    async with served(path), connected(path) as client:
        async with await trio.open_unix_socket(path) as second:
            assert await second.receive_some(10) == b""
        assert (await client.call("status"))["result"]


def news(height: int) -> HeadNews:
    return HeadNews(Height(height), Hash32(bytes(32)), Hash32(bytes(32)), Height(height), 0)


async def test_subscriber_gets_heads_until_it_unsubscribes(path: Path) -> None:
    async with served(path) as feed, connected(path) as client:
        assert (await client.call("subscribe", {"topic": "heads"}))["result"]["subscribed"]
        await wait_all_tasks_blocked()
        feed.publish(news(3))
        head = await client.read()
        assert (head["method"], head["params"]["height"], head["params"]["finalised"]) == ("heads", 3, 3)
        await client.call("unsubscribe", {"topic": "heads"})
        await wait_all_tasks_blocked()
        assert feed.subscribers == 0


async def test_subscribing_twice_gives_each_head_once(path: Path) -> None:
    async with served(path) as feed, connected(path) as client:
        for _ in range(2):
            await client.call("subscribe", {"topic": "heads"})
        await wait_all_tasks_blocked()
        feed.publish(news(1))
        feed.publish(news(2))
        assert [(await client.read())["params"]["height"] for _ in range(2)] == [1, 2]


async def test_subscription_to_an_unknown_topic_is_an_error(path: Path) -> None:
    async with served(path), connected(path) as client:
        assert (await client.call("subscribe", {"topic": "bodies"}))["error"]["code"] == -32602


async def test_slow_subscriber_is_dropped_with_a_word_and_memory_stays_bounded(path: Path) -> None:
    feed = HeadFeed(backlog=4)
    async with served(path, feed=feed), connected(path) as client:
        await client.call("subscribe", {"topic": "heads"})
        await wait_all_tasks_blocked()
        for height in range(10):
            feed.publish(news(height))
        heights = []
        while (line := await client.read())["method"] == "heads":
            heights.append(line["params"]["height"])
        assert heights[:4] == [0, 1, 2, 3] and len(heights) < 10
        assert line["method"] == "dropped"
        assert (feed.dropped, feed.subscribers) == (1, 0)
        assert (await client.call("status"))["result"], "only the subscription ended"


async def test_subscriber_that_hangs_up_is_forgotten(path: Path) -> None:
    async with served(path) as feed:
        async with connected(path) as client:
            await client.call("subscribe", {"topic": "heads"})
            await wait_all_tasks_blocked()
            assert feed.subscribers == 1
        await wait_all_tasks_blocked()
        feed.publish(news(1))
        assert feed.subscribers == 0


# --- beginning and end ------------------------------------------------------------------------------------------------


async def test_socket_of_a_dead_process_is_replaced(path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(os.fspath(path))
    left.close()
    async with served(path), connected(path) as client:
        assert (await client.call("status"))["result"]


async def start(path: Path) -> BaseException:
    with pytest.raises(BaseExceptionGroup) as caught:
        async with served(path):
            pass
    return caught.value.exceptions[0]


async def test_socket_that_answers_is_not_taken_over(path: Path) -> None:
    async with served(path):
        error = await start(path)
    assert isinstance(error, ControlSocketError) and "another process" in str(error) and error.remedy


async def test_file_in_the_way_is_left_alone(path: Path) -> None:
    await trio.Path(path).write_text("precious")
    assert isinstance(await start(path), ControlSocketError)
    assert await trio.Path(path).read_text() == "precious"


async def test_folder_that_is_missing_is_one_clear_error(tmp_path: Path) -> None:
    error = await start(tmp_path / "nowhere" / "c.sock")
    assert isinstance(error, ControlSocketError) and "cannot be made" in str(error)


# --- where it is ------------------------------------------------------------------------------------------------------


def test_socket_of_a_short_home_is_inside_it(tmp_path: Path) -> None:
    assert choose_socket_path(tmp_path, {}) == tmp_path / "control.sock" == find_socket_path(tmp_path)


def test_socket_of_a_long_home_is_in_the_runtime_folder_and_found_again(tmp_path: Path) -> None:
    home, runtime = tmp_path / ("h" * 120), tmp_path / "run"
    home.mkdir()
    runtime.mkdir(mode=0o700)
    chosen = choose_socket_path(home, {"XDG_RUNTIME_DIR": str(runtime)})
    assert chosen.parent == runtime
    assert find_socket_path(home) == chosen
    assert (home / "control").exists()


@pytest.mark.parametrize("mode", [0o755, 0o770])
def test_runtime_folder_that_others_may_enter_is_refused(tmp_path: Path, mode: int) -> None:
    home, runtime = tmp_path / ("h" * 120), tmp_path / "run"
    home.mkdir()
    runtime.mkdir()
    runtime.chmod(mode)
    with pytest.raises(ControlAddressError) as caught:
        choose_socket_path(home, {"XDG_RUNTIME_DIR": str(runtime)})
    assert caught.value.remedy


def test_pointer_left_by_a_longer_home_is_removed(tmp_path: Path) -> None:
    (tmp_path / "control").write_text("elsewhere.sock")
    choose_socket_path(tmp_path, {})
    assert not (tmp_path / "control").exists()
