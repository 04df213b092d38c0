"""The library's service manager, fenced (LIBP2P 6 row 12, 8 items 1 and 12).

A stock service ends, and the host with it, when any task that it started raises, and raises itself when a task is
started during its stop. Here the tasks started for a peer are fenced one by one; the service's own loop is not: what
ends that one is for the supervisor in `host`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from libp2p.tools.anyio_service import LifecycleError, TrioManager

from .counters import Counters


class GuardedManager(TrioManager):
    """Runs one library service."""

    def __init__(self, service: Any, counters: Counters) -> None:
        super().__init__(service)
        service._manager = self
        self._counters = counters

    def run_task(
        self,
        async_fn: Callable[..., Awaitable[Any]],
        *args: Any,
        daemon: bool = False,
        name: str | None = None,
        _internal: bool = False,
    ) -> None:
        """Start a task of the service. During its stop nothing is started and nothing raised."""
        try:
            if daemon or _internal:
                super().run_task(async_fn, *args, daemon=daemon, name=name, _internal=_internal)
            else:
                super().run_task(self._fenced, async_fn, *args, name=name or getattr(async_fn, "__name__", "task"))
        except (LifecycleError, RuntimeError):
            self._counters.drop("task during stop")

    async def _fenced(self, async_fn: Callable[..., Awaitable[Any]], *args: Any) -> None:
        try:
            await async_fn(*args)
        except Exception as error:
            self._counters.fault("network task", error)
