"""Where plugin processes connect: a Unix socket of this user's, and a token per process that works once (AXON R24).

A connection has HELLO_SECONDS to greet with a token that was handed to a process; before that it may send one small
frame and costs one task. Which plugin it is follows from the token alone.
"""

from __future__ import annotations

import os
import secrets
import socket
import stat
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from ...consensus.types import MalformedError, YumadError
from ...plugin.host_client import TOKEN_BYTES
from ...protocols.axon.plugin_values import Fields
from ...protocols.axon.plugin_wire import Frame, FrameBuffer, FrameKind, encode_frame
from ..logging import get_logger
from ..unix_listener import unix_listener

if TYPE_CHECKING:
    from trio_typing import TaskStatus

HELLO_SECONDS: Final = 5.0
"""Until a connection has shown its token; then it is closed."""

MAX_UNKNOWN: Final = 64
"""Connections that have not greeted yet; more are closed at once."""

TELL_EVERY: Final = 60.0
"""Seconds between two lines about refused connections: a plugin may try again without end."""

_MAX_HELLO: Final = 1024
"""Bytes of the first frame."""

_CREDENTIALS: Final = struct.Struct("3i")

Welcomed = Callable[[trio.SocketStream, FrameBuffer, int], Awaitable[None]]
"""Runs a connection that showed a token: what was read of it beyond the greeting, and the greeting's id."""


class PluginSocketError(YumadError):
    """The socket cannot be made."""

    code = "plugin_socket"


def plugin_socket_path(control_socket: Path) -> Path:
    """Where plugins of a peer connect: beside its control socket, whose place is short enough and private."""
    return control_socket.with_suffix(".plugins")


class PluginSocket:
    """The listening side. `run` until cancelled."""

    def __init__(
        self, path: Path, *, hello_seconds: float = HELLO_SECONDS, new_token: Callable[[], bytes] | None = None
    ) -> None:
        self.path = path
        self._hello_seconds = hello_seconds
        self._new_token = new_token or (lambda: secrets.token_bytes(TOKEN_BYTES))
        self._expected: dict[bytes, tuple[dict[str, Any], Welcomed]] = {}
        self._unknown = 0
        self.refused = 0
        """Connections that showed no valid token."""
        self._tell_at = 0.0
        self._log = get_logger("plugins")

    def expect(self, facts: dict[str, Any], welcomed: Welcomed) -> bytes:
        """A new token; who shows it is told `facts`, and `welcomed` carries the connection. `forget` it later."""
        token = self._new_token()
        self._expected[_name(token)] = facts, welcomed
        return token

    def forget(self, token: bytes) -> None:
        """The token is worth nothing any more."""
        self._expected.pop(_name(token), None)

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen. Raises PluginSocketError when that is impossible."""
        with _listening(self.path) as listener:
            async with trio.open_nursery() as connections:
                task_status.started()
                await trio.serve_listeners(self._serve, [listener], handler_nursery=connections)

    async def _serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            if self._unknown >= MAX_UNKNOWN:
                return
            self._unknown += 1
            greeted: tuple[int, FrameBuffer, Welcomed] | None = None
            try:
                with trio.move_on_after(self._hello_seconds):
                    greeted = await self._greet(stream)
            except Exception as error:  # whatever a stranger sends ends its connection only
                self._tell(str(error)[:200])
            finally:
                self._unknown -= 1
            if greeted is None:
                self.refused += 1
                return
            number, buffer, welcomed = greeted
            try:
                await welcomed(stream, buffer, number)
            except Exception as error:  # our own fault: the peer outlives it
                self._log.error("a plugin's connection failed", error=repr(error))

    def _tell(self, reason: str) -> None:
        now = trio.current_time()
        if now >= self._tell_at:
            self._tell_at = now + TELL_EVERY
            self._log.warning("a connection to the plugin socket was refused", reason=reason, before=self.refused)

    async def _greet(self, stream: trio.SocketStream) -> tuple[int, FrameBuffer, Welcomed]:
        user = _user_of(stream)
        if user != os.getuid():
            raise MalformedError(f"it belongs to user {user}")
        buffer = FrameBuffer(_MAX_HELLO)
        while (frame := buffer.next()) is None:
            data = await stream.receive_some(_MAX_HELLO)
            if not data:
                raise MalformedError("it hung up before it showed a token")
            buffer.feed(bytes(data))
        if frame.kind is not FrameKind.REQUEST or frame.method != "hello" or frame.id % 2 == 0:
            raise MalformedError("it did not begin with a greeting")
        fields = Fields(frame.body, "hello")
        token = fields.data("token", TOKEN_BYTES, exactly=TOKEN_BYTES)
        fields.whole("pid", 0, 1 << 31)
        fields.done()
        found = self._expected.pop(_name(token), None)
        if found is None:
            raise MalformedError("its token is not known, or was used")
        facts, welcomed = found
        await stream.send_all(encode_frame(Frame(frame.id, FrameKind.REPLY, body=facts)))
        buffer.most = FrameBuffer().most
        return frame.id, buffer, welcomed


def _name(token: bytes) -> bytes:
    """Tokens are looked up by their hash, so that the time a look-up takes says nothing about one."""
    return blake2b(token, digest_size=16).digest()


def _user_of(stream: trio.SocketStream) -> int:
    data = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(data)[1])


@contextmanager
def _listening(path: Path) -> Iterator[trio.SocketListener]:
    """The listening socket. The home's lock keeps a second peer away, so a socket that is there already is a dead
    process'."""
    with ExitStack() as stack:
        try:
            try:
                if stat.S_ISSOCK(path.lstat().st_mode):
                    path.unlink()
            except FileNotFoundError:
                pass
            listener = stack.enter_context(unix_listener(path, MAX_UNKNOWN))
        except OSError as error:
            raise PluginSocketError(
                f"the plugin socket {path} cannot be made: {error.strerror or error}",
                remedy="check the folder's permissions and free space, or choose another --home",
            ) from error
        yield listener
