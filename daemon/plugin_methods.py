"""The plugins of a peer on its control socket: run, list, logs, reload, stop (AXON R24, R43)."""

from __future__ import annotations

from typing import Any, Final

from ..consensus.rules.v1.calls.call import Argument, ArgumentKind
from .arguments import ArgumentError
from .plugins.host import PluginHost
from .plugins.log_ring import RING_LINES
from .plugins.settings import DEFAULT_START_SECONDS, DEFAULT_WALLETS, ROLES, PluginSettings
from .registry import AnyList, AnyText, Json, Method

_PATH: Final = 4096
_NAME: Final = AnyText("name", "name of the plugin", 64)


def plugin_methods(host: PluginHost) -> list[Method]:
    """What can be asked of the peer's plugins."""
    methods = _PluginMethods(host)
    return [
        Method(
            "plugin.run",
            (
                _NAME,
                AnyText("file", "absolute path of the Python file with the Subnet", _PATH),
                Argument("netuid", ArgumentKind.U16, "subnet it works in"),
                AnyText("role", "miner, validator or both", 16),
                AnyText("hotkey", "key it acts as: dev:NAME or WALLET/HOTKEY", 200),
                AnyText("variant", "another way of answering that the file names", 64),
                Argument("sealed", ArgumentKind.BOOL, "true: only permit holders learn where it is served"),
                AnyText("wallets", "folder of the wallets", _PATH),
                AnyList("arguments", "texts handed to the file, as sys.argv"),
                AnyList("environment", "names of variables of the peer's environment it may see"),
                Argument("memory_mib", ArgumentKind.U64, "most address space in MiB"),
                Argument("start_seconds", ArgumentKind.U16, "seconds until it must be ready"),
                Argument("once", ArgumentKind.BOOL, "true: it does not come back when the peer is started again"),
            ),
            "Run a plugin in a process of its own; it comes back with the peer.",
            methods.run,
            optional=(
                "variant",
                "sealed",
                "wallets",
                "arguments",
                "environment",
                "memory_mib",
                "start_seconds",
                "once",
            ),
        ),
        Method("plugin.list", (), "All plugins: state, process, calls, restarts, the latest error.", methods.list),
        Method(
            "plugin.logs",
            (
                _NAME,
                Argument("lines", ArgumentKind.U16, f"most lines, at most {RING_LINES}"),
                Argument("after", ArgumentKind.U64, "number of the last line that is known already"),
            ),
            "The last lines a plugin wrote.",
            methods.logs,
            optional=("lines", "after"),
        ),
        Method("plugin.reload", (_NAME,), "Swap a plugin's code without failing a call.", methods.reload),
        Method("plugin.stop", (_NAME,), "Drain and end a plugin until it is run again.", methods.stop),
    ]


class _PluginMethods:
    def __init__(self, host: PluginHost) -> None:
        self._host = host

    async def run(
        self,
        name: str,
        file: str,
        netuid: int,
        role: str,
        hotkey: str,
        variant: str | None,
        sealed: bool | None,
        wallets: str | None,
        arguments: list[Any] | None,
        environment: list[Any] | None,
        memory_mib: int | None,
        start_seconds: int | None,
        once: bool | None,
    ) -> Json:
        if role not in ROLES:
            raise ArgumentError(f"role is {role!r}", remedy=f"use one of {', '.join(ROLES)}")
        settings = PluginSettings(
            file=file,
            netuid=netuid,
            role=role,
            hotkey=hotkey,
            variant=variant or "",
            sealed=bool(sealed),
            arguments=_texts("arguments", arguments),
            environment=_texts("environment", environment),
            memory_mib=memory_mib or 0,
            start_seconds=start_seconds or DEFAULT_START_SECONDS,
            wallets=wallets or DEFAULT_WALLETS,
        )
        return await self._host.start(name, settings, keep=not once)

    async def list(self) -> Json:
        return [*self._host.documents()]

    async def logs(self, name: str, lines: int | None, after: int | None) -> Json:
        found = self._host.lines(name, after=after or 0, most=RING_LINES if lines is None else lines)
        return [{"number": line.number, "time": line.time, "text": line.text} for line in found]

    async def reload(self, name: str) -> Json:
        return await self._host.reload(name)

    async def stop(self, name: str) -> Json:
        return await self._host.stop(name)


def _texts(name: str, values: list[Any] | None) -> tuple[str, ...]:
    if not all(isinstance(value, str) and len(value) <= _PATH for value in values or []):
        raise ArgumentError(f"{name} is not an array of texts", remedy='write ["one", "two"]')
    return tuple(values or [])
