"""The commands' side of the control socket: plain blocking sockets, so that a command starts in milliseconds.

Replies come in the order of the requests; notifications may stand between them and are kept for `news`.
"""

from __future__ import annotations

import json
import os
import socket
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from .commands.output import CommandError, Exit
from .control_address import find_socket_path

PROTOCOL_VERSION: Final = 1
"""The only one this client speaks; the server names its own in the hello line."""

REPLY_TIMEOUT: Final = 30.0
"""Seconds for one reply. A read waits behind a block's execution at most, which takes seconds on a slow machine."""

MAX_LINE: Final = 256 << 20
"""Bytes of one reply: the metagraphs of a whole network fit; a stranger on the socket cannot fill the memory."""

NOT_AUTHORISED: Final = (
    "HotKeyNotRegisteredInSubNet",
    "HotKeyAccountNotExists",
    "NotAnAuthority",
    "NonAssociatedColdKey",
    "NeuronNoValidatorPermit",
    "NotEnoughStakeToSetWeights",
    "BadOrigin",
)
"""Errors that mean "not registered or not authorised": exit code 3."""

_INVALID_PARAMS: Final = -32602
_METHOD_NOT_FOUND: Final = -32601


class ControlClient:
    """One open connection. Use `connect`, and close it (or use it in a `with`)."""

    def __init__(self, connection: socket.socket, home: Path) -> None:
        self.reply_timeout = REPLY_TIMEOUT
        """Seconds that `call` waits for a reply. Calls of other peers take what their authors allow."""
        self._socket = connection
        self._home = home
        self._buffer = bytearray()
        self._news: deque[dict[str, Any]] = deque()
        self._next_id = 1
        self.hello: dict[str, Any] = {}

    @classmethod
    def connect(cls, home: Path) -> ControlClient:
        """Reach the daemon of `home`. Raises CommandError (exit code 4) when none runs there."""
        home = home.expanduser().absolute()
        path = find_socket_path(home)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(REPLY_TIMEOUT)
            connection.connect(os.fspath(path))
        except OSError as error:
            connection.close()
            if isinstance(error, PermissionError):
                raise CommandError(
                    "no_daemon",
                    f"the control socket {path} belongs to another user",
                    remedy="run this command as the user that runs the peer",
                    exit_code=Exit.NO_DAEMON,
                ) from error
            raise no_daemon(home) from error
        client = cls(connection, home)
        try:
            client._greet()
        except BaseException:
            client.close()
            raise
        return client

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def call(self, method: str, **params: Any) -> Any:
        """The result of a method. Raises CommandError with the peer's code, text and remedy."""
        identity, self._next_id = self._next_id, self._next_id + 1
        request = {"jsonrpc": "2.0", "id": identity, "method": method, "params": params}
        try:
            self._socket.sendall(json.dumps(request, separators=(",", ":")).encode() + b"\n")
        except OSError as error:
            raise self._lost() from error
        while True:
            try:
                document = self._read(self.reply_timeout)
            except TimeoutError as error:
                raise CommandError(
                    "timeout",
                    f"the daemon did not answer {method} within {self.reply_timeout:.0f} s",
                    remedy="see its log; it may be executing a long block",
                ) from error
            if document.get("method") is not None:
                self._news.append(document)
            elif document.get("id") in (identity, None):
                return _result_of(document)

    def subscribe(self, topic: str) -> None:
        """Have notifications of `topic` sent from now on."""
        self.call("subscribe", topic=topic)

    def news(self, timeout: float | None) -> Iterator[dict[str, Any]]:
        """Params of the notifications as they come; ends when `timeout` seconds pass without one."""
        while True:
            try:
                document = self._news.popleft() if self._news else self._read(timeout)
            except TimeoutError:
                return
            if document.get("method") == "dropped":
                raise CommandError("too_slow", "the peer dropped this subscription: it was not read fast enough")
            if document.get("method") is not None:
                yield document["params"]

    def _greet(self) -> None:
        try:
            document = self._read(REPLY_TIMEOUT)
        except TimeoutError as error:
            raise self._lost() from error
        self.hello = document.get("params") or {}
        version = self.hello.get("version")
        if document.get("method") != "hello" or version != PROTOCOL_VERSION:
            raise CommandError(
                "version",
                f"the daemon speaks version {version} of the control protocol, this command version {PROTOCOL_VERSION}",
                remedy="use the yumad command of the version that runs, or restart the daemon",
                exit_code=Exit.NO_DAEMON,
            )

    def _read(self, timeout: float | None) -> dict[str, Any]:
        """The next line. Raises TimeoutError when nothing at all came in time and `timeout` was a subscriber's."""
        searched = 0
        self._socket.settimeout(timeout)
        while True:
            end = self._buffer.find(b"\n", searched)
            if end >= 0:
                break
            searched = len(self._buffer)
            try:
                received = self._socket.recv(1 << 18)
            except TimeoutError:
                raise TimeoutError(f"no answer within {timeout} s") from None
            except OSError as error:
                raise self._lost() from error
            if not received or len(self._buffer) > MAX_LINE:
                raise self._lost()
            self._buffer += received
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        try:
            document = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise self._lost() from error
        if not isinstance(document, dict):
            raise self._lost()
        return document

    def _lost(self) -> CommandError:
        return CommandError(
            "no_daemon",
            f"the daemon of {self._home} hung up",
            remedy="see its log; start it again with `yumad run`",
            exit_code=Exit.NO_DAEMON,
        )


def no_daemon(home: Path) -> CommandError:
    """The error of every command that needs a running peer and finds none."""
    return CommandError(
        "no_daemon",
        f"no daemon answers for the home {home}",
        remedy="start one with `yumad run`, or name another --home",
        exit_code=Exit.NO_DAEMON,
    )


def _result_of(document: dict[str, Any]) -> Any:
    error = document.get("error")
    if error is None:
        return document.get("result")
    data = error.get("data") or {}
    number, code = error.get("code"), data.get("code", "error")
    if number in (_INVALID_PARAMS, _METHOD_NOT_FOUND):
        exit_code = Exit.USAGE
    else:
        exit_code = Exit.NOT_REGISTERED if code in NOT_AUTHORISED else Exit.REFUSED
    raise CommandError(code, error.get("message", "refused"), remedy=data.get("remedy", ""), exit_code=exit_code)
