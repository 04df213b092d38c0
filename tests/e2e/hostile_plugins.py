"""A plugin that behaves as its first argument says; see test_hostile_plugins.py."""

import os
import sys
import time

import trio
from yumad import Subnet

subnet = Subnet("hostile", version=1)


@subnet.method
async def wave() -> int:
    """Something to serve."""
    return 1


async def misbehave(how: str) -> None:
    """From inside the plugin's own loop, a moment after it was ready."""
    await trio.sleep(0.3)
    if how == "hangs":
        while True:
            pass
    if how == "floods":
        line = b"x" * 999 + b"\n"
        while True:
            os.write(1, line * 64)
    if how == "forks":
        for _ in range(40):
            if os.fork() == 0:
                os.setsid()
                time.sleep(3600)  # noqa: ASYNC251  # a process of its own, which is meant to linger
    if how == "exits":
        os._exit(7)


@subnet.on_start
async def start() -> None:
    """Runs while the plugin starts, so the misbehaviour is left behind for later."""
    trio.lowlevel.spawn_system_task(misbehave, sys.argv[1])
