"""All plugins of a peer: started by name, brought back with the peer, never able to touch it (AXON R24; DESIGN 14).

The host owns the plugin socket and a supervisor per plugin. What it needs of the peer is `backend.PluginBackend`;
everything else (clock, launcher, keys, times) is given to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from ...consensus.signature import KeyPair
from ...consensus.types import Micros, YumadError
from ...protocols.axon.plugin_link import LinkLimits
from ..clock import SystemClock
from ..hotkeys import open_hotkey
from ..logging import get_logger
from .backend import PluginBackend
from .life import Launcher, PluginTimes, Problem, default_launcher
from .log_ring import LogLine, PluginLog
from .reload import reload_plugin
from .settings import (
    FILE_NAME,
    PluginSettings,
    any_sealed,
    check_file,
    check_name,
    check_settings,
    read_settings,
    write_settings,
)
from .socket import PluginSocket
from .supervisor import PluginState, SupervisedPlugin

if TYPE_CHECKING:
    from trio_typing import TaskStatus

MAX_PLUGINS: Final = 64

WAIT_SECONDS: Final = 20.0
"""How long `run` and `reload` wait for a plugin to be ready before they say that it still starts; below the time a
command waits for a reply."""

_ENDED: Final = (PluginState.STOPPED, PluginState.FAILED)


class PluginError(YumadError):
    """What was asked of a plugin is not possible."""

    code = "plugin"


class UnknownPluginError(YumadError):
    """There is no plugin of that name."""

    code = "unknown_plugin"


@dataclass(frozen=True, slots=True)
class HostSettings:
    """What a test may want otherwise."""

    times: PluginTimes = PluginTimes()
    launcher: Launcher = default_launcher
    limits: LinkLimits = LinkLimits()
    open_key: Callable[[str, str], KeyPair] = open_hotkey
    now: Callable[[], Micros] = field(default_factory=lambda: SystemClock().now)


class PluginHost:
    """`run` it beside the peer, `close` it before the peer ends."""

    def __init__(
        self, folder: Path, socket_path: Path, backend: PluginBackend, settings: HostSettings | None = None
    ) -> None:
        """`folder`: the home's `plugins`. `socket_path`: see socket.plugin_socket_path."""
        self.folder = folder
        self._backend = backend
        self._settings = settings or HostSettings()
        self._socket = PluginSocket(socket_path)
        self._plugins: dict[str, SupervisedPlugin] = {}
        self._logs: dict[str, PluginLog] = {}
        self._idle: dict[str, dict[str, Any]] = {}
        self._nursery: trio.Nursery | None = None
        self._closing = False
        self._starting = trio.Lock()
        """Of two commands that start one plugin the second sees what the first has done."""
        self.hides_peer = any_sealed(folder)
        """Whether a plugin of this home, running or not, is sealed, or was since the peer was started: nobody else may
        be told where the peer is then."""
        self._log = get_logger("plugins")

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the socket and run the enabled plugins until cancelled. Raises PluginSocketError when it cannot."""
        async with trio.open_nursery() as self._nursery:
            await self._nursery.start(self._socket.run)
            self._restore()
            task_status.started()
            await trio.sleep_forever()

    async def close(self, seconds: float = 10.0) -> None:
        """Drain and end all plugins within `seconds` (C15); they come back at the next start."""
        self._closing = True
        times = self._settings.times
        grace = min(times.grace, seconds / 4)
        drain = min(times.drain, max(0.0, seconds - 2 * grace))
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                for plugin in self._plugins.values():
                    nursery.start_soon(plugin.stop, drain, grace)

    # --- what commands ask ---------------------------------------------------------------------------------------

    async def start(self, name: str, settings: PluginSettings, *, keep: bool = True) -> dict[str, Any]:
        """Run a plugin; returns when it is ready or has failed, or after WAIT_SECONDS. With `keep` it comes back when
        the peer is started again.

        Raises PluginError when one of that name runs or its hotkey is in use, PluginSettingsError for settings that
        cannot be used, and what `open_hotkey` raises.
        """
        check_name(name)
        check_settings(settings)
        check_file(settings)
        async with self._starting:
            plugin = await self._start(name, settings, keep=keep)
        await plugin.settled(WAIT_SECONDS)
        return plugin.document()

    async def reload(self, name: str) -> dict[str, Any]:
        """Swap a plugin's code for what its file has now. Raises ReloadError when that cannot run."""
        plugin = self._find(name)
        if plugin.state is PluginState.STOPPED:
            raise PluginError(f"plugin {name} is stopped", remedy="start it with `yumad plugin run`")
        check_file(plugin.settings)
        failed: list[YumadError] = []

        async def swap() -> None:
            try:
                await reload_plugin(plugin)
                await plugin.settled(WAIT_SECONDS)
            except YumadError as error:
                failed.append(error)

        with trio.move_on_after(WAIT_SECONDS):
            await self._in_own_task(swap)
        if failed:
            raise failed[0]
        return plugin.document()

    async def stop(self, name: str) -> dict[str, Any]:
        """Drain and end a plugin; it stays stopped when the peer is started again."""
        plugin = self._find(name)
        self._disable(name)
        times = self._settings.times
        await self._in_own_task(lambda: plugin.stop(times.drain, times.grace))
        self._backend.dismiss(plugin.who)
        return plugin.document()

    def documents(self) -> list[dict[str, Any]]:
        """All plugins by name, as `yumad plugin list` shows them."""
        found = {name: plugin.document() for name, plugin in self._plugins.items()} | {
            name: document for name, document in self._idle.items() if name not in self._plugins
        }
        return [found[name] for name in sorted(found)]

    def lines(self, name: str, *, after: int, most: int) -> list[LogLine]:
        """The last lines a plugin wrote. Raises UnknownPluginError."""
        if name not in self._logs:
            self._find(name)
        return self._logs[name].lines(after=after, most=most)

    def counters(self) -> Mapping[str, int]:
        """For the metrics: plugins by state, their calls and restarts, output and connections refused; no names."""
        counts: Counter[str] = Counter(
            calls=0, failed_calls=0, restarts=0, output_bytes_dropped=0, connections_refused=self._socket.refused
        )
        for state in PluginState:
            counts[f"state_{state.value.replace(' ', '_')}"] = 0
        for plugin in self._plugins.values():
            counts[f"state_{plugin.state.value.replace(' ', '_')}"] += 1
            counts["calls"] += plugin.calls
            counts["failed_calls"] += plugin.failed_calls
            counts["restarts"] += plugin.restarts
        counts["output_bytes_dropped"] = sum(log.dropped for log in self._logs.values())
        return counts

    # --- inside --------------------------------------------------------------------------------------------------

    async def _start(self, name: str, settings: PluginSettings, *, keep: bool) -> SupervisedPlugin:
        running = self._plugins.get(name)
        if running is not None and running.state not in _ENDED:
            raise PluginError(
                f"plugin {name} runs already, from {running.settings.file}",
                remedy=f"`yumad plugin reload {name}` takes its new code; or stop it, or choose another --name",
            )
        if self._closing or self._nursery is None:
            raise PluginError("the peer is ending", remedy="start it again")
        if running is None and len(self._plugins) >= MAX_PLUGINS:
            raise PluginError(f"{MAX_PLUGINS} plugins run already", remedy="stop one first")
        key = self._settings.open_key(settings.hotkey, settings.wallets)
        self._check_free(settings, key, besides=running)
        if running is not None:
            await self._in_own_task(lambda: running.stop(0.0, 0.0))
        write_settings(self.folder / name, replace(settings, enabled=keep))
        return self._supervise(name, settings, key)

    def _check_free(self, settings: PluginSettings, key: KeyPair, besides: SupervisedPlugin | None = None) -> None:
        """Raises PluginError when another plugin works for the hotkey in that subnet."""
        for other in self._plugins.values():
            if other is besides or other.state is PluginState.STOPPED:
                continue
            if (other.who.netuid, other.who.key.public_key) == (settings.netuid, key.public_key):
                raise PluginError(
                    f"hotkey {settings.hotkey} works in subnet {settings.netuid} for plugin {other.who.name}",
                    remedy="stop that one, or run one plugin with --role both",
                )

    def _restore(self) -> None:
        """Start what ran when the peer ended; what cannot be started is listed with the reason."""
        for folder in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            if not (folder / FILE_NAME).is_file():
                continue
            name = folder.name
            settings: PluginSettings | None = None
            try:
                settings = read_settings(folder)
                if settings.enabled and len(self._plugins) < MAX_PLUGINS:
                    check_file(settings)
                    key = self._settings.open_key(settings.hotkey, settings.wallets)
                    self._check_free(settings, key)  # settings may have been copied or changed by hand
                    self._supervise(check_name(name), settings, key)
                else:
                    self._idle[name] = _idle_document(name, settings, PluginState.STOPPED, None)
            except YumadError as error:
                self._cannot_start(name, settings, error)
            except Exception as error:  # whatever lies in the folder, the peer starts (DESIGN 14)
                self._cannot_start(name, settings, PluginError(repr(error)[:200], remedy="run it anew"))

    def _cannot_start(self, name: str, settings: PluginSettings | None, error: YumadError) -> None:
        self._log.error("a plugin cannot be started", plugin=name, reason=error.message, remedy=error.remedy)
        self._idle[name] = _idle_document(name, settings, PluginState.FAILED, error)

    def _supervise(self, name: str, settings: PluginSettings, key: KeyPair) -> SupervisedPlugin:
        assert self._nursery is not None
        own = self._settings
        folder = self.folder / name
        log = self._logs.setdefault(name, PluginLog(folder, own.now, trio.current_time))
        plugin = SupervisedPlugin(
            name, settings, key, folder, log, self._socket, self._backend, own.times, own.launcher, own.limits
        )
        self._plugins[name] = plugin
        self._idle.pop(name, None)
        self.hides_peer |= settings.sealed
        self._backend.enlist(plugin.who)
        self._nursery.start_soon(self._run, plugin)
        return plugin

    async def _run(self, plugin: SupervisedPlugin) -> None:
        """A fault of ours ends one plugin, never the peer (DESIGN 14)."""
        try:
            await plugin.run()
        except Exception as error:
            self._log.error("a plugin's supervisor failed", plugin=plugin.who.name, error=repr(error))
            plugin.problem = Problem("internal", "the peer failed to supervise it", "see the peer's log; run it again")

    def _find(self, name: str) -> SupervisedPlugin:
        plugin = self._plugins.get(name)
        if plugin is None:
            if name in self._idle:
                raise PluginError(f"plugin {name} does not run", remedy="start it with `yumad plugin run`")
            known = ", ".join(sorted({*self._plugins, *self._idle}))
            raise UnknownPluginError(
                f"there is no plugin {name[:60]!r}",
                remedy=f"there are {known}" if known else "start one with `yumad plugin run FILE`",
            )
        return plugin

    def _disable(self, name: str) -> None:
        folder = self.folder / name
        write_settings(folder, replace(read_settings(folder), enabled=False))

    async def _in_own_task(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do it to the end, whether or not the command that asked waits for it."""
        if self._nursery is None:
            raise PluginError("the peer is ending", remedy="start it again")
        done = trio.Event()

        async def run() -> None:
            try:
                await work()
            except Exception as error:  # a fault of ours costs one command, never the peer (DESIGN 14)
                self._log.error("a command to a plugin failed", error=repr(error))
            finally:
                done.set()

        self._nursery.start_soon(run)
        await done.wait()


def _idle_document(
    name: str, settings: PluginSettings | None, state: PluginState, error: YumadError | None
) -> dict[str, Any]:
    """A plugin that does not run since the peer was started."""
    return {
        "name": name,
        "netuid": None if settings is None else settings.netuid,
        "role": None if settings is None else settings.role,
        "hotkey": None,
        "key": None if settings is None else settings.hotkey,
        "file": None if settings is None else settings.file,
        "state": state.value,
        "reloading": False,
        "pid": None,
        "uptime": 0,
        "restarts": 0,
        "calls": 0,
        "failed_calls": 0,
        "open_calls": 0,
        "subnet": None,
        "methods": [],
        "validator": None,
        "error": None if error is None else {"code": error.code, "message": error.message, "remedy": error.remedy},
        "log": None,
    }
