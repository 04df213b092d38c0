"""The control socket: newline-delimited JSON-RPC 2.0 on a Unix socket for this machine's user (DESIGN section 7).

Each connection begins with a hello line that names the protocol's version and the network. Requests are answered in
order; `subscribe` with `{"topic": "heads"}` makes notifications of that name follow. Whatever a client sends, the peer
goes on: lines are bounded, every failure is an error object, a client that does not read is dropped.
"""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import trio

from ..consensus.types import YumadError
from .arguments import ArgumentError
from .head_feed import HeadFeed
from .logging import get_logger
from .registry import Registry, UnknownMethodError
from .unix_listener import unix_listener

if TYPE_CHECKING:
    from trio_typing import TaskStatus

PROTOCOL_VERSION: Final = 1

MAX_LINE: Final = 1 << 20
"""Bytes of one request: sixteen of the largest transactions in hex."""

MAX_CONNECTIONS: Final = 64

WRITE_TIMEOUT: Final = 30.0
"""Seconds a client may take to read one reply."""

TOPICS: Final = ("heads",)

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
REFUSED: Final = -32000
"""A designed refusal; `data` has its stable code and the remedy."""

_RECEIVE: Final = 65_536


class ControlSocketError(YumadError):
    """The socket cannot be made."""

    code = "control_socket"


class ControlServer:
    """Serves one registry on one socket. `run` until cancelled; then nothing is left behind."""

    def __init__(self, path: Path, registry: Registry, events: HeadFeed, hello: Mapping[str, Any]) -> None:
        """`hello` is sent to every client after the protocol's version: program version, network, genesis hash."""
        self.path = path
        self._registry = registry
        self._events = events
        self._hello = {"version": PROTOCOL_VERSION, **hello}
        self._open = 0
        self._log = get_logger("control")

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen and serve. Raises ControlSocketError when the socket cannot be made."""
        with _listening(self.path) as listener:
            async with trio.open_nursery() as connections:
                serve = partial(trio.serve_listeners, self._serve, [listener], handler_nursery=connections)
                await connections.start(serve)
                task_status.started()

    async def _serve(self, stream: trio.SocketStream) -> None:
        """One connection; never raises."""
        async with stream:
            if self._open >= MAX_CONNECTIONS:
                return
            self._open += 1
            try:
                await _Connection(stream, self._registry, self._events, self._hello).run()
            except* (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
                pass  # the client is gone, or does not read
            except* Exception as errors:  # our own fault: the peer outlives it
                self._log.error("a control connection failed", errors=[repr(error) for error in errors.exceptions])
            finally:
                self._open -= 1


class _Connection:
    """One client: a reader that answers in order, and at most one subscription per topic beside it."""

    def __init__(
        self, stream: trio.SocketStream, registry: Registry, events: HeadFeed, hello: Mapping[str, Any]
    ) -> None:
        self._stream = stream
        self._registry = registry
        self._events = events
        self._hello = hello
        self._writing = trio.Lock()
        self._subscriptions: dict[str, trio.CancelScope] = {}
        self._log = get_logger("control")

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await self._send({"jsonrpc": "2.0", "method": "hello", "params": dict(self._hello)})
            buffer = bytearray()
            while True:
                end = buffer.find(b"\n")
                if end >= 0:
                    line = bytes(buffer[:end])
                    del buffer[: end + 1]
                    if line.strip():
                        await self._answer(line)
                    continue
                if len(buffer) > MAX_LINE:
                    await self._send(_error(None, INVALID_REQUEST, f"a request is at most {MAX_LINE} bytes"))
                    break
                received = await self._stream.receive_some(_RECEIVE)
                if not received:
                    break
                buffer += received
            nursery.cancel_scope.cancel()

    async def _answer(self, line: bytes) -> None:
        try:
            request = _parse(line)
        except ValueError as error:
            await self._send(_error(None, PARSE_ERROR, f"not JSON: {error}"))
            return
        problem = _problem_of(request)
        if problem:
            await self._send(_error(_id_of(request), INVALID_REQUEST, problem))
            return
        reply = await self._reply(request)
        if "id" in request:
            await self._send(reply)

    async def _reply(self, request: dict[str, Any]) -> dict[str, Any]:
        identity, name, params = request.get("id"), request["method"], request.get("params")
        try:
            if name in ("subscribe", "unsubscribe"):
                result: Any = self._subscription(name, params)
            else:
                result = await self._registry.find(name).call(params)
        except UnknownMethodError as error:
            return _error(identity, METHOD_NOT_FOUND, error.message, _data(error))
        except ArgumentError as error:
            return _error(identity, INVALID_PARAMS, error.message, _data(error))
        except YumadError as error:
            return _error(identity, REFUSED, error.message, _data(error))
        except Exception as error:  # a bug in a handler must not end the peer
            self._log.error("a control method failed", method=name, error=repr(error))
            return _error(identity, INTERNAL_ERROR, "the peer failed to answer; its log says why")
        return {"jsonrpc": "2.0", "id": identity, "result": result}

    def _subscription(self, name: str, params: object) -> dict[str, Any]:
        topic = params.get("topic") if isinstance(params, dict) else None
        if topic not in TOPICS:
            raise ArgumentError(f"{name}: topic is {str(topic)[:40]!r}", remedy=f"topics: {', '.join(TOPICS)}")
        scope = self._subscriptions.pop(topic, None)
        if scope is not None:
            scope.cancel()
        if name == "subscribe":
            scope = self._subscriptions[topic] = trio.CancelScope()
            self._nursery.start_soon(self._notify, topic, scope)
        return {"topic": topic, "subscribed": name == "subscribe"}

    async def _notify(self, topic: str, scope: trio.CancelScope) -> None:
        with scope:
            try:
                with self._events.subscribe() as news:
                    async for item in news:
                        await self._send({"jsonrpc": "2.0", "method": topic, "params": item.document()})
                await self._send({"jsonrpc": "2.0", "method": "dropped", "params": {"topic": topic}})
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
                self._nursery.cancel_scope.cancel()

    async def _send(self, document: dict[str, Any]) -> None:
        data = json.dumps(document, separators=(",", ":")).encode() + b"\n"
        async with self._writing:
            with trio.fail_after(WRITE_TIMEOUT):
                await self._stream.send_all(data)


def _parse(line: bytes) -> Any:
    """JSON of one line. Raises ValueError for anything else: deep nesting and constants such as NaN included."""
    if len(line) > MAX_LINE:
        raise ValueError(f"{len(line)} bytes, at most {MAX_LINE} allowed")
    try:
        return json.loads(line, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _problem_of(request: object) -> str:
    if not isinstance(request, dict):
        return "a request is one JSON object (batches are not served)"
    if request.get("jsonrpc") != "2.0":
        return 'jsonrpc must be "2.0"'
    if not isinstance(request.get("method"), str):
        return "method must be a string"
    if not isinstance(request.get("id"), str | int | type(None)):
        return "id must be a string, a number or null"
    return ""


def _id_of(request: object) -> Any:
    identity = request.get("id") if isinstance(request, dict) else None
    return identity if isinstance(identity, str | int) else None


def _error(identity: Any, code: int, message: str, data: dict[str, Any] | None = None) -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return {"jsonrpc": "2.0", "id": identity, "error": error}


def _data(error: YumadError) -> dict[str, Any]:
    return {"code": error.code, "remedy": error.remedy}


@contextmanager
def _listening(path: Path) -> Iterator[trio.SocketListener]:
    """The listening socket. A dead process' socket is replaced."""
    with ExitStack() as stack:
        try:
            _remove_stale(path)
            listener = stack.enter_context(unix_listener(path, MAX_CONNECTIONS))
        except OSError as error:
            raise ControlSocketError(
                f"the control socket {path} cannot be made: {error.strerror or error}",
                remedy="check the folder's permissions and free space, or choose another --home",
            ) from error
        yield listener


def _remove_stale(path: Path) -> None:
    """Remove the socket of a process that ended without cleaning up. Raises ControlSocketError when one answers."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ControlSocketError(f"{path} is in the way of the control socket", remedy="remove it")
    except FileNotFoundError:
        return
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.settimeout(1.0)
        probe.connect(os.fspath(path))
    except OSError:
        path.unlink(missing_ok=True)
    else:
        raise ControlSocketError(
            f"another process serves {path}", remedy="end it first, or give this one another --home"
        )
    finally:
        probe.close()
