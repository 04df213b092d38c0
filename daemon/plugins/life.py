"""One process of a plugin, from its start until the last of its descendants is gone (AXON R24, C15).

A life ends once: by itself, because it was stopped, or because it broke a rule: not ready in time, a loop that does not
answer, bytes that are no frames. `problem` then says why, in words for the plugin's author.
"""

from __future__ import annotations

import secrets
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from ...consensus.types import YumadError
from ...plugin.method import DefinitionError
from ...protocols.axon.interfaces import CallReply, IncomingCall
from ...protocols.axon.plugin_link import LinkClosedError, LinkLimits
from ...protocols.axon.plugin_wire import FrameBuffer
from ...protocols.axon.status import Status
from .backend import PluginBackend, PluginIdentity
from .log_ring import PluginLog, printable
from .process_runner import Launch, PluginProcess
from .session import PluginSession, Readiness
from .settings import PluginSettings
from .socket import PluginSocket


@dataclass(frozen=True, slots=True)
class PluginTimes:
    """Seconds."""

    ping_every: float = 5.0
    pong: float = 15.0
    """A loop that has not answered for so long hangs. Handlers that are plain functions run in threads, so no honest
    plugin's loop is busy for long."""
    drain: float = 10.0
    """What calls in flight get when a plugin is reloaded or stopped (C15)."""
    grace: float = 5.0
    """From SIGTERM to SIGKILL."""
    first_pause: float = 0.5
    """Between a crash and the next start; doubles with each crash."""
    longest_pause: float = 60.0
    healthy: float = 60.0
    """After so long a crash counts as the first again."""
    last_output: float = 1.0
    """For reading what an ended process has written."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a life ended."""

    code: str
    text: str
    remedy: str = ""
    is_final: bool = False
    """Starting it again would not help: the author's file has to change."""


Launcher = Callable[[Path], tuple[str, ...]]
"""The command that runs a plugin's file."""


def default_launcher(file: Path) -> tuple[str, ...]:
    """This interpreter; `-P` keeps the folder it starts in out of the import path."""
    return (sys.executable, "-P", "-m", "yumad.plugin.main", str(file))


STORE_FOLDER: Final = "store"
"""In the plugin's folder: what the author's code keeps."""


class PluginLife:
    """One process with its connection."""

    def __init__(
        self,
        who: PluginIdentity,
        settings: PluginSettings,
        folder: Path,
        socket: PluginSocket,
        backend: PluginBackend,
        log: PluginLog,
        times: PluginTimes,
        launcher: Launcher,
        *,
        on_ready: Callable[[PluginLife, Readiness], None],
        on_lost: Callable[[PluginLife], None],
        limits: LinkLimits,
    ) -> None:
        """`on_ready` may raise YumadError, which the plugin is told; `on_lost`: the connection is gone."""
        self._who, self._settings, self._folder = who, settings, folder
        self._socket, self._backend, self._log = socket, backend, log
        self._times, self._launcher, self._limits = times, launcher, limits
        self._on_ready, self._on_lost = on_ready, on_lost
        self._process: PluginProcess | None = None
        self._stopping = False
        self.session: PluginSession | None = None
        self.ready = trio.Event()
        self.ended = trio.Event()
        self.problem: Problem | None = None
        self.pid = 0
        self.ready_at = 0.0
        """trio time; 0 before."""

    async def handle(self, call: IncomingCall) -> CallReply:
        """Have it answer a call; a protocols.axon Handler."""
        if self.session is None:
            return CallReply(Status.BUSY, text="the plugin is starting")
        return await self.session.handle(call)

    async def run(self) -> None:
        """The whole life. Raises nothing of its own; when it is cancelled, the process is killed."""
        token = self._socket.expect(self._facts(), self._welcomed)
        try:
            store = self._folder / STORE_FOLDER
            store.mkdir(mode=0o700, exist_ok=True)
            self._process = process = await PluginProcess.start(self._launch(token, store))
        except (YumadError, OSError) as error:
            text = error.message if isinstance(error, YumadError) else f"{self._folder}: {error.strerror}"
            self._blame(Problem("start", text, getattr(error, "remedy", "")))
            self._socket.forget(token)
            self.ended.set()
            return
        self.pid = process.pid
        self._log.note(f"started, process {process.pid}")
        try:
            await self._while_alive(process)
        finally:
            self._socket.forget(token)
            if self.session is not None:
                self.session.drop("the process has ended")
            await process.close()
            self.ended.set()

    async def stop(self, drain: float, grace: float) -> None:
        """End it: `drain` seconds for the calls it has, then SIGTERM, after `grace` seconds SIGKILL."""
        self._stopping = True
        if self.session is not None and self.ready.is_set() and drain > 0:
            with trio.move_on_after(drain):
                await self.session.drain()
        if self._process is not None:
            self._process.signal(signal.SIGTERM)
        with trio.move_on_after(grace):
            await self.ended.wait()
        self._kill()
        await self.ended.wait()

    def end_now(self, problem: Problem) -> None:
        """It broke a rule."""
        self._blame(problem)
        self._kill()

    def _kill(self) -> None:
        self._stopping = True
        if self._process is not None:
            self._process.signal(signal.SIGKILL)

    def _blame(self, problem: Problem) -> None:
        if self.problem is None:
            self.problem = problem
            self._log.note(f"{problem.text}. {problem.remedy}".removesuffix(". "))

    def _facts(self) -> dict[str, object]:
        return {
            "name": self._who.name,
            "netuid": self._who.netuid,
            "roles": list(self._who.roles),
            "hotkey": bytes(self._who.hotkey),
            "arguments": list(self._settings.arguments),
            "store": str(self._folder / STORE_FOLDER),
            "variant": self._settings.variant,
        }

    def _launch(self, token: bytes, store: Path) -> Launch:
        return Launch(
            argv=self._launcher(Path(self._settings.file)),
            folder=store,
            socket=self._socket.path,
            token=token,
            mark=secrets.token_hex(16),
            memory=self._settings.memory_mib << 20,
            passed=self._settings.environment,
        )

    async def _while_alive(self, process: PluginProcess) -> None:
        code: int | None = None
        read = trio.Event()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read, process, read)
                watch = trio.CancelScope()
                nursery.start_soon(self._watch, process, watch)
                if self._stopping:
                    self._kill()
                code = await process.wait()
                watch.cancel()
                left = await process.end()
                with trio.move_on_after(self._times.last_output):
                    await read.wait()
                nursery.cancel_scope.cancel()
        finally:
            if code is None:
                await process.end()
            self._log.finish()
        self._log.note(f"process {process.pid} ended{f', {left} processes it left were ended too' if left else ''}")
        if not self._stopping:
            self._blame(_problem_of_exit(code))

    async def _read(self, process: PluginProcess, done: trio.Event) -> None:
        await process.read_output(self._log.feed)
        done.set()

    async def _watch(self, process: PluginProcess, scope: trio.CancelScope) -> None:
        """See that it becomes ready and then goes on answering."""
        with scope:
            with trio.move_on_after(self._settings.start_seconds):
                await self.ready.wait()
            if not self.ready.is_set():
                await self._hangs(
                    process, f"not ready within {self._settings.start_seconds} s", "raise --start-seconds, or load less"
                )
                return
            while self.session is not None:
                answered = False
                with trio.move_on_after(self._times.pong):
                    try:
                        await self.session.ping()
                    except LinkClosedError:
                        return
                    answered = True
                if not answered:
                    await self._hangs(
                        process,
                        f"its event loop did not answer for {self._times.pong:g} s",
                        "async handlers must not compute for long: make them plain functions, or use cpu=True",
                    )
                    return
                await trio.sleep(self._times.ping_every)

    async def _hangs(self, process: PluginProcess, text: str, remedy: str) -> None:
        self._blame(Problem("hangs", text, remedy))
        process.signal(signal.SIGUSR1, group=False)  # its own stack goes to the log
        await trio.sleep(min(0.5, self._times.pong))
        self._kill()

    async def _welcomed(self, stream: trio.SocketStream, buffer: FrameBuffer, last_heard: int) -> None:
        """Carry the connection that showed this life's token."""
        self.session = PluginSession(
            stream,
            self._who,
            self._backend,
            self._folder / STORE_FOLDER,
            on_ready=self._became_ready,
            on_failed=self._failed,
            limits=self._limits,
            buffer=buffer,
            last_heard=last_heard,
        )
        try:
            reason = await self.session.run()
            if reason and not self._stopping and not self.ended.is_set():
                text = f"the connection was ended: {printable(reason)}"
                self.end_now(Problem("protocol", text, "use the yumad package"))
        finally:
            self._on_lost(self)
        if not self._stopping:  # it hung up: nothing can be done with a process that nobody can talk to
            with trio.move_on_after(self._times.grace):
                await self.ended.wait()
            if not self.ended.is_set():
                self.end_now(Problem("hung_up", "it closed its connection and went on", "leave the socket to yumad"))

    def _became_ready(self, readiness: Readiness) -> None:
        self._on_ready(self, readiness)
        self.ready_at = trio.current_time()
        self.ready.set()

    def _failed(self, code: str, text: str, remedy: str) -> None:
        # What the file defines does not change by itself; a service that a start hook needs may be back in a moment.
        self._blame(Problem(code, text, remedy, is_final=code == DefinitionError.code))


def _problem_of_exit(code: int) -> Problem:
    if code >= 0:
        return Problem("ended", f"it ended by itself with exit code {code}", "its log says why")
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    remedy = "the system may be out of memory" if -code == signal.SIGKILL else "its log says why"
    return Problem("killed", f"it was ended by {name}", remedy)
