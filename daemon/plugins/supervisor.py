"""One plugin over all its processes: its state, its restarts after crashes, its methods' registration (AXON R24, C15).

Calls always come to `handle` of this object, which gives them to the process that serves at that moment: that is what
makes a reload an assignment, and a crash an answer `busy` with the time of the next start.
"""

from __future__ import annotations

from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from ...consensus.signature import KeyPair
from ...consensus.ss58 import encode_address
from ...consensus.types import InvalidError
from ...protocols.axon.interfaces import CallReply, IncomingCall
from ...protocols.axon.plugin_link import LinkLimits
from ...protocols.axon.status import Status
from ..logging import get_logger
from .backend import PluginBackend, PluginIdentity, PluginRegistration
from .life import Launcher, PluginLife, PluginTimes, Problem
from .log_ring import PluginLog
from .session import Readiness
from .settings import ROLES, PluginSettings
from .socket import PluginSocket

_RETRY_MS: Final = 500
"""What callers are told to wait when the time of the next start is not known."""


class PluginState(Enum):
    """What a plugin is doing, and what it waits for."""

    STARTING = "starting"
    """A process loads the author's file; nothing is served before it says that it is ready."""
    READY = "ready"
    """Calls are served, rounds are run."""
    DRAINING = "draining"
    """It was stopped: no new calls, those in flight are finished."""
    BACKING_OFF = "backing off"
    """It crashed; the next start waits, so that a broken plugin costs little."""
    STOPPED = "stopped"
    """By a person; it stays so over restarts of the peer."""
    FAILED = "failed"
    """It cannot run as it is; a reload tries again once the file or the settings were changed."""


class SupervisedPlugin:
    """One plugin. `run` it in a nursery; `reload` and `stop` it from others' tasks."""

    def __init__(
        self,
        name: str,
        settings: PluginSettings,
        key: KeyPair,
        folder: Path,
        log: PluginLog,
        socket: PluginSocket,
        backend: PluginBackend,
        times: PluginTimes,
        launcher: Launcher,
        limits: LinkLimits,
    ) -> None:
        self.who = PluginIdentity(name, settings.netuid, ROLES[settings.role], key, settings.sealed)
        self.settings, self.log, self.times = settings, log, times
        self.state = PluginState.STARTING
        self.problem: Problem | None = None
        """The latest; kept after a restart, so that it can be read."""
        self.readiness: Readiness | None = None
        self.restarts = 0
        self.reloading = False
        self.serving: PluginLife | None = None
        """The process that answers calls."""
        self.changed = trio.lowlevel.ParkingLot()
        """Woken at each change of the state."""
        self._new_life = partial(
            PluginLife, self.who, settings, folder, socket, backend, log, times, launcher,
            on_ready=self._on_ready, on_lost=self._on_lost, limits=limits,
        )  # fmt: skip
        self._backend = backend
        self._registration: PluginRegistration | None = None
        self._nursery: trio.Nursery | None = None
        self._life: PluginLife | None = None
        self._stopped = trio.Event()
        self._wake = trio.Event()
        self._crashes = 0
        self.calls = self.failed_calls = self.open_calls = 0
        self._next_start = 0.0
        self._log = get_logger("plugins")
        self.finished = trio.Event()
        self.swapping = trio.Lock()
        """One reload at a time."""
        self.reload_scope = trio.CancelScope()
        """Of the reload that runs; cancelled by a stop."""

    # --- the state machine ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Start it, and start it again, until it is stopped. Cancelled: its processes are killed."""
        try:
            async with trio.open_nursery() as self._nursery:
                while not self._stopped.is_set():
                    problem = await self._live()
                    if not self._stopped.is_set():
                        self._count_crash(problem)
                        await self._pause(problem)
                self._nursery.cancel_scope.cancel()
        finally:
            self._close_registration()
            self._enter(PluginState.STOPPED)
            self.finished.set()

    async def _live(self) -> Problem:
        """One process after the other, until one ends that was not replaced by the next."""
        if self._life is None or self._life.ended.is_set():
            self._enter(PluginState.STARTING)
            self._life = self.start_life()
        while True:
            life = self._life
            await life.ended.wait()
            if life is self._life:
                return life.problem or Problem("ended", "it ended")

    def _count_crash(self, problem: Problem) -> None:
        life = self._life
        assert life is not None
        if life.ready_at and trio.current_time() - life.ready_at >= self.times.healthy:
            self._crashes = 0
        self._crashes += 1
        self.problem = problem
        self._log.warning("a plugin ended", plugin=self.who.name, code=problem.code, reason=problem.text)

    async def _pause(self, problem: Problem) -> None:
        self._wake = trio.Event()
        if problem.is_final:
            self._close_registration()
            self._enter(PluginState.FAILED)
            await self._wake.wait()
        else:
            pause = min(self.times.longest_pause, self.times.first_pause * 2.0 ** min(self._crashes - 1, 20))
            self._next_start = trio.current_time() + pause
            self._enter(PluginState.BACKING_OFF)
            with trio.move_on_after(pause):
                await self._wake.wait()
        if not self._stopped.is_set():
            self.restarts += 1

    def _enter(self, state: PluginState) -> None:
        if state is not self.state:
            self._log.info("plugin", plugin=self.who.name, state=state.value)
        self.state = state
        self.changed.unpark_all()

    async def settled(self, seconds: float) -> None:
        """Wait at most that long until it is neither starting nor reloading."""
        with trio.move_on_after(seconds):
            while self.state is PluginState.STARTING or self.reloading:
                await self.changed.park()

    # --- processes -----------------------------------------------------------------------------------------------

    def start_life(self) -> PluginLife:
        """A new process; it takes over when it is ready."""
        assert self._nursery is not None
        life = self._new_life()
        self._nursery.start_soon(life.run)
        return life

    def _on_ready(self, life: PluginLife, readiness: Readiness) -> None:
        """From here on calls go to this process; the one before, if there is one, ends when it has answered its own."""
        if set(readiness.roles) != set(self.who.roles):
            raise InvalidError(f"it is ready as {', '.join(readiness.roles)}, not as {', '.join(self.who.roles)}")
        if self._stopped.is_set():
            raise InvalidError("the plugin was stopped")
        self._backend.set_version(self.who, readiness.version)
        if self._registration is not None:
            self._registration.replace(readiness.methods, self.handle)
        elif readiness.methods:
            self._registration = self._backend.register(self.who, readiness.methods, self.handle)
        before, self._life = self._life, life
        self.readiness, self.serving = readiness, life
        if before is not None and before is not life and self._nursery is not None:
            self._nursery.start_soon(before.stop, self.times.drain, self.times.grace)
        self._wake.set()
        self._enter(PluginState.READY)

    def _on_lost(self, life: PluginLife) -> None:
        if self.serving is life:
            self.serving = None

    def _close_registration(self) -> None:
        registration, self._registration = self._registration, None
        if registration is not None:
            registration.close()

    # --- what others ask -----------------------------------------------------------------------------------------

    async def handle(self, call: IncomingCall) -> CallReply:
        """Answer a call of the network, by whichever process serves now."""
        life = self.serving
        self.calls += 1
        self.open_calls += 1
        try:
            reply = self._busy() if life is None else await life.handle(call)
        finally:
            self.open_calls -= 1
        if reply.status is not Status.OK:
            self.failed_calls += 1
        return reply

    def _busy(self) -> CallReply:
        wait = max(_RETRY_MS, int(1000 * (self._next_start - trio.current_time())))
        return CallReply(Status.BUSY, text="the plugin is being started again", retry_after_ms=wait)

    def wake(self) -> None:
        """Start again now, after a crash or a failure."""
        self._crashes = 0
        self._wake.set()
        self._enter(PluginState.STARTING)

    async def stop(self, drain: float, grace: float) -> None:
        """No new calls; `drain` seconds for those in flight; then its processes are ended."""
        self._stopped.set()
        self.reload_scope.cancel()
        self._close_registration()
        self._wake.set()
        if self._life is not None and not self._life.ended.is_set():
            self._enter(PluginState.DRAINING)
            await self._life.stop(drain, grace)
        await self.finished.wait()

    def document(self) -> dict[str, Any]:
        """As `yumad plugin list` shows it."""
        life, now = self._life, trio.current_time()
        alive = life is not None and not life.ended.is_set()
        ready = self.readiness
        problem = self.problem
        return {
            "name": self.who.name,
            "netuid": self.who.netuid,
            "role": self.settings.role,
            "hotkey": encode_address(self.who.hotkey),
            "key": self.settings.hotkey,
            "file": self.settings.file,
            "state": self.state.value,
            "reloading": self.reloading,
            "pid": (life.pid or None) if life is not None and alive else None,
            "uptime": int(now - life.ready_at) if life is not None and alive and life.ready_at else 0,
            "restarts": self.restarts,
            "calls": self.calls,
            "failed_calls": self.failed_calls,
            "open_calls": self.open_calls,
            "subnet": None if ready is None else f"{ready.subnet} v{ready.version}",
            "methods": [] if ready is None else [method.name for method in ready.methods],
            "validator": (ready.validator or None) if ready is not None else None,
            "error": None
            if problem is None
            else {"code": problem.code, "message": problem.text, "remedy": problem.remedy},
            "log": str(self.log.file),
        }
