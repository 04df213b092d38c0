"""Hot reload: new code takes over between two calls, and the old one goes when it has answered (AXON R24).

The new process loads while the old one serves. When it is ready, one assignment makes it the one that calls go to; the
old process gets no more of them, has ten seconds for those it has, and ends. When the new one does not become ready,
nothing has changed but the log.
"""

from __future__ import annotations

import trio

from ...consensus.types import YumadError
from .life import PluginLife, Problem
from .supervisor import PluginState, SupervisedPlugin


class ReloadError(YumadError):
    """The new code did not become ready; the old one goes on."""

    code = "reload"


async def reload_plugin(plugin: SupervisedPlugin) -> None:
    """Start the plugin's file anew. Returns when the new process serves; the old one is drained by itself.

    A plugin that crashed or failed is just started. Raises ReloadError when the new process cannot run.
    """
    async with plugin.swapping:
        if plugin.state in (PluginState.FAILED, PluginState.BACKING_OFF):
            plugin.wake()
            return
        if plugin.state is not PluginState.READY:
            raise ReloadError(
                f"{plugin.who.name} is {plugin.state.value}, nothing can be replaced", remedy="see `yumad plugin list`"
            )
        plugin.reloading = True
        plugin.reload_scope = trio.CancelScope()
        problem: Problem | None = Problem("stopped", "the plugin was stopped")
        try:
            plugin.log.note("reload: starting the new process")
            with plugin.reload_scope:
                problem = await _until_ready(plugin.start_life())
        finally:
            plugin.reloading = False
            plugin.changed.unpark_all()
        plugin.problem = problem
        if problem is not None:
            plugin.log.note("reload: the new process cannot run, the old one goes on")
            raise ReloadError(
                f"the new code cannot run: {problem.text}",
                remedy=f"{problem.remedy}; the old code goes on" if problem.remedy else "the old code goes on",
            )


async def _until_ready(life: PluginLife) -> Problem | None:
    """Why it did not become ready; None when it did."""
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_after, life.ready, nursery.cancel_scope)
            nursery.start_soon(_cancel_after, life.ended, nursery.cancel_scope)
    finally:
        if not life.ready.is_set():  # also when whoever asked went away
            life.end_now(Problem("reload", "it was not ready", "the log says why"))
    if life.ready.is_set():
        return None
    return life.problem or Problem("ended", "it ended before it was ready")


async def _cancel_after(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
