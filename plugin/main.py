"""`python -m yumad.plugin.main FILE`: the process of one plugin, as a peer starts it (AXON R24).

It greets the peer, loads the author's file and runs it in the roles it was started for, until the peer asks it to
drain, a SIGTERM comes, or the peer is gone. What cannot be loaded is told to the peer, with file, line and remedy.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from ..consensus.types import YumadError
from .host_client import SOCKET_VARIABLE, TOKEN_VARIABLE, HostError, SocketHostClient, connect_host, read_token

if TYPE_CHECKING:
    from trio_typing import TaskStatus

EXIT_FAILED: Final = 3
"""The plugin cannot run as it is: starting it again would not help."""

EXIT_LOST: Final = 4
"""The peer is gone, or does not know this process."""

_FAREWELL: Final = 0.5
"""Seconds in which the last words reach the peer."""


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the process."""
    arguments = sys.argv[1:] if arguments is None else arguments
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # the peer asks where a plugin hangs before it ends it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        if len(arguments) != 1:
            raise HostError("one argument is expected: the plugin's file", remedy="use `yumad plugin run FILE`")
        path, descriptor = os.environ.pop(SOCKET_VARIABLE, ""), os.environ.pop(TOKEN_VARIABLE, "")
        if not path or not descriptor.isdecimal():
            raise HostError("this process was not started by a peer", remedy="use `yumad plugin run FILE`")
        token = read_token(int(descriptor))
        threading.Thread(target=_end_with_the_peer, args=(int(descriptor),), daemon=True).start()
        code = trio.run(_run, Path(arguments[0]), path, token)
    except YumadError as error:
        print(f"{error.message}\n{error.remedy}".rstrip(), file=sys.stderr)
        code = EXIT_FAILED
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a thread of the author's that does not end must not keep the process


async def _run(file: Path, path: str, token: bytes) -> int:
    async with trio.open_nursery() as nursery:
        terminated = trio.Event()
        await nursery.start(_on_signal, terminated)
        code = await _connected(file, path, token, terminated)
        nursery.cancel_scope.cancel()
    return code


async def _connected(file: Path, path: str, token: bytes, terminated: trio.Event) -> int:
    code = EXIT_LOST
    try:
        async with connect_host(path, token) as client:
            problem = await _until_told(file, client, terminated)
            code = 0
            if problem is not None:
                client.failed(*problem)
                await trio.sleep(_FAREWELL)
                code = EXIT_FAILED
    except (YumadError, BaseExceptionGroup) as error:
        cause = _first(error)
        if not isinstance(cause, YumadError):
            raise
        print(cause.message, file=sys.stderr)
        code = EXIT_LOST
    return code


async def _until_told(file: Path, client: SocketHostClient, terminated: trio.Event) -> tuple[str, str, str] | None:
    """Run the plugin until it is told to end. The problem, as code, text and remedy, when it cannot run."""
    problem: tuple[str, str, str] | None = None
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when, terminated, scope)
            nursery.start_soon(_cancel_when_drained, client, scope)
            try:
                await _run_roles(file, client)
            except Exception as error:
                problem = _problem(_first(error))
            scope.cancel()
    return problem


async def _run_roles(file: Path, client: SocketHostClient) -> None:
    from .load import load_plugin  # here: what they import may be broken, and the peer should be told
    from .runner import run_plugin

    sys.argv = [str(file), *client.facts.arguments]
    plugin = load_plugin(file)
    async with trio.open_nursery() as nursery:
        for role in client.facts.roles:
            nursery.start_soon(
                partial(run_plugin, plugin, role, client, store=client.facts.store, variant=client.facts.variant)
            )


async def _on_signal(terminated: trio.Event, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            terminated.set()


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


async def _cancel_when_drained(client: SocketHostClient, scope: trio.CancelScope) -> None:
    await client.drained()
    scope.cancel()


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _problem(error: BaseException) -> tuple[str, str, str]:
    cause = error.__cause__ if isinstance(error, YumadError) else error
    if cause is not None:
        traceback.print_exception(cause, file=sys.stderr)
    if isinstance(error, YumadError):
        print(f"{error.message}\n{error.remedy}".rstrip(), file=sys.stderr)
        return error.code, error.message, error.remedy
    return "plugin", f"{type(error).__name__}: {error}", "the plugin's log has the whole traceback"


def _end_with_the_peer(descriptor: int) -> None:
    """The other end of the token's pipe closes when the peer's process ends, however it ends."""
    try:
        while os.read(descriptor, 64):
            pass
    except OSError:
        pass
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(EXIT_LOST)


if __name__ == "__main__":
    main()
