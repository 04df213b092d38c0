"""A plugin's process: how it is started, limited, read and ended, with everything it left behind (AXON R24, C15).

It gets a session of its own, no input, a clean environment, the system's limits and one inherited descriptor: the pipe
that the token is read from. The peer keeps the pipe's other end open; the kernel closes it when the peer ends, however
it ends, and the plugin follows. Children are found through /proc by their session and by a mark in their environment.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from ...consensus.types import YumadError
from ...plugin.host_client import SOCKET_VARIABLE, TOKEN_VARIABLE
from .log_ring import MAX_CHUNK

MARK_VARIABLE: Final = "YUMAD_PLUGIN_MARK"
"""In the environment of the process and all its descendants: which start of which plugin they belong to."""

PASSED: Final = frozenset(
    ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TERM", "PYTHONPATH", "PYTHONHOME",
     "VIRTUAL_ENV", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "XDG_CACHE_HOME", "XDG_DATA_HOME")
)  # fmt: skip
"""Variables a plugin gets from the peer's environment; others only by name, as its settings say."""

PASSED_PREFIXES: Final = ("LC_", "CUDA_", "NVIDIA_", "ROCR_", "HIP_", "OMP_", "MKL_", "OPENBLAS_", "TORCH_", "NUMBA_")

OWN_PREFIX: Final = "YUMAD_"
"""Never passed on: the peer's own settings, its password among them."""

READ_RATE: Final = 64 << 20
"""Bytes of output read in a second. What is above it waits in the pipe: the plugin pays, not the peer."""

_PR_SET_DUMPABLE: Final = 4

_SWEEPS: Final = 20
"""Looks through /proc until nothing is left; a plugin that forks faster is ended by the next start's sweep."""


class ProcessError(YumadError):
    """The process cannot be started."""

    code = "plugin_process"


@dataclass(frozen=True, slots=True)
class Launch:
    """What a process is started with."""

    argv: tuple[str, ...]
    folder: Path
    """Where it starts."""
    socket: Path
    token: bytes
    mark: str
    memory: int = 0
    """Bytes of address space; 0 for no limit."""
    passed: tuple[str, ...] = ()
    """More names of variables that are passed on."""
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)


def clean_environment(source: Mapping[str, str], passed: Sequence[str] = ()) -> dict[str, str]:
    """What a plugin sees of the peer's environment: no password and nobody's keys."""
    wanted = PASSED.union(passed)
    return {
        name: value
        for name, value in source.items()
        if (name in wanted or name.startswith(PASSED_PREFIXES)) and not name.startswith(OWN_PREFIX)
    }


class PluginProcess:
    """One running process. `end` and `close` it, always."""

    def __init__(self, process: trio.Process, lifeline: int, mark: str) -> None:
        self._process, self._lifeline, self._mark = process, lifeline, mark
        self.pid = process.pid

    @classmethod
    async def start(cls, launch: Launch) -> PluginProcess:
        """Start it. Raises ProcessError."""
        environment = clean_environment(launch.environment, launch.passed)
        reading, writing = os.pipe()
        environment |= {
            SOCKET_VARIABLE: os.fspath(launch.socket),
            TOKEN_VARIABLE: str(reading),
            MARK_VARIABLE: launch.mark,
            "PYTHONUNBUFFERED": "1",
        }
        try:
            with trio.CancelScope(shield=True):
                process = await trio.lowlevel.open_process(
                    launch.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    cwd=launch.folder,
                    start_new_session=True,
                    pass_fds=(reading,),
                )
        except OSError as error:
            os.close(writing)
            raise ProcessError(
                f"{launch.argv[0]} cannot be started: {error.strerror or error}",
                remedy="check memory and the limit of processes of this user",
            ) from error
        finally:
            os.close(reading)
        _limit(process.pid, launch.memory)
        try:
            os.write(writing, launch.token)  # only now: what is not limited yet must not run the author's code
        except BrokenPipeError:
            pass  # it has ended already; whoever waits for it will see that
        return cls(process, writing, launch.mark)

    async def wait(self) -> int:
        """The exit code; negative for a signal."""
        return await self._process.wait()

    async def read_output(self, sink: Callable[[bytes], None]) -> None:
        """Give everything the process and its children write to `sink`, until the last of them closes it."""
        stream = self._process.stdout
        assert stream is not None
        allowed_at = trio.current_time()
        try:
            while data := await stream.receive_some(MAX_CHUNK):
                sink(bytes(data))
                allowed_at = max(allowed_at, trio.current_time() - 0.1) + len(data) / READ_RATE
                await trio.sleep_until(allowed_at)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            pass

    def signal(self, number: signal.Signals, *, group: bool = True) -> None:
        """Send a signal to the process and, with `group`, to all that stayed in its group."""
        if self._process.poll() is None:
            try:
                os.killpg(self.pid, number) if group else os.kill(self.pid, number)
            except (ProcessLookupError, PermissionError):
                pass

    async def end(self) -> int:
        """Kill the process, if it still runs, and all its descendants. How many of those there were."""
        with trio.CancelScope(shield=True):
            self.signal(signal.SIGKILL)
            await self._process.wait()
            return await trio.to_thread.run_sync(kill_descendants, self._mark, self.pid)

    async def close(self) -> None:
        """Close what the peer held of it."""
        os.close(self._lifeline)
        if self._process.stdout is not None:
            await trio.aclose_forcefully(self._process.stdout)


def deny_inspection() -> bool:
    """Keep other processes of this user, plugins above all, from reading this one's memory and environment.

    Where they run as the same user, /proc and ptrace would show them the keys of the peer. Whether the kernel did it;
    root sees everything all the same.
    """
    return bool(ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0)


def _limit(pid: int, memory: int) -> None:
    try:
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
        if memory:
            resource.prlimit(pid, resource.RLIMIT_AS, (memory, memory))
    except (ProcessLookupError, PermissionError):
        pass  # it has ended already


def kill_descendants(mark: str, session: int) -> int:
    """Kill every process of this user that carries the mark or belongs to the session. How many there were."""
    killed: set[int] = set()
    for _ in range(_SWEEPS):
        found = find_descendants(mark, session)
        if not found:
            break
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
        killed.update(found)
        time.sleep(0.005)  # in a thread; the kernel needs a moment to end them
    return len(killed)


def find_descendants(mark: str, session: int) -> list[int]:
    """Process ids, as /proc has them now; what has ended and waits for its parent does not count."""
    wanted = f"{MARK_VARIABLE}={mark}".encode()
    found = []
    for name in os.listdir("/proc"):
        if not name.isdecimal() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
            if fields[0] in (b"Z", b"X"):
                continue
            if int(fields[3]) == session or wanted in _environment(name):
                found.append(int(name))
        except (OSError, IndexError, ValueError):
            continue  # it ended meanwhile, or belongs to somebody else
    return found


def _environment(pid: str) -> list[bytes]:
    with open(f"/proc/{pid}/environ", "rb") as file:
        return file.read().split(b"\0")
