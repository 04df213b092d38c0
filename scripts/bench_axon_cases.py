"""What each row of bench_axon.py is made to do, the same for all: calls in turn, at once, large, beside large, cold.

Runs inside the client process of a row, under trio or asyncio; not a program by itself. It imports nothing but the
standard library: the HTTP row lives in an environment of its own.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

SMALL = bytes(range(256)) * 4
LARGE_BYTES = 4 << 20
LARGE = os.urandom(LARGE_BYTES)

ECHO_UP_TO = 65_536
"""Servers send back bodies up to this size, and two bytes for larger ones."""

TCP_INFO_BYTES_ACKED = 120
"""Offset of the u64 tcpi_bytes_acked in Linux' struct tcp_info."""

Together = Callable[..., Awaitable[None]]
"""Runs coroutine functions at the same time until all are done."""


class Client(Protocol):
    """One client with one connection."""

    async def call(self, body: bytes) -> bytes: ...
    async def close(self) -> None: ...


Connect = Callable[[], Awaitable[Client]]


def answer_to(body: bytes) -> bytes:
    """What every server answers."""
    return body if len(body) <= ECHO_UP_TO else b"ok"


def cpu_seconds() -> float:
    """User and system time of this process."""
    return time.process_time()


def bytes_sent() -> int:
    """Bytes that the other sides have taken from the TCP sockets of this process."""
    total = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            number = os.dup(int(name))
        except OSError:
            continue
        try:
            found = socket.socket(fileno=number)
        except OSError:
            os.close(number)
            continue
        try:
            if found.family in (socket.AF_INET, socket.AF_INET6) and found.type == socket.SOCK_STREAM:
                info = found.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
                if len(info) >= TCP_INFO_BYTES_ACKED + 8:
                    total += struct.unpack_from("<Q", info, TCP_INFO_BYTES_ACKED)[0]
        except OSError:
            pass
        finally:
            found.close()
    return total


told = 0


def tell(error: Exception) -> None:
    """The first few failures of a process."""
    global told
    told += 1
    if told <= 3:
        row = sys.argv[2] if len(sys.argv) > 3 else "http"
        print(f"bench_axon: a call of row {row} failed: {error!r}", file=sys.stderr)


async def timed(client: Client, body: bytes, times: list[float]) -> bool:
    """One call; False when it failed. Adds its seconds."""
    started = time.perf_counter()
    try:
        answer = await client.call(body)
    except Exception as error:
        tell(error)
        return False
    times.append(time.perf_counter() - started)
    return answer == answer_to(body)


async def calls_in_turn(client: Client, body: bytes, count: int) -> dict[str, Any]:
    """One after the other."""
    times: list[float] = []
    failures = 0
    sent, cpu, started = bytes_sent(), cpu_seconds(), time.perf_counter()
    for _ in range(count):
        failures += not await timed(client, body, times)
    seconds, cpu = time.perf_counter() - started, cpu_seconds() - cpu
    return {"seconds": seconds, "cpu": cpu, "times": times, "failures": failures, "sent": bytes_sent() - sent}


async def calls_at_once(client: Client, body: bytes, count: int, at_once: int, together: Together) -> dict[str, Any]:
    """`at_once` in flight at all times."""
    times: list[float] = []
    left, failures = count, 0

    async def one_lane() -> None:
        nonlocal left, failures
        while left > 0:
            left -= 1
            failures += not await timed(client, body, times)

    cpu, started = cpu_seconds(), time.perf_counter()
    await together(*[one_lane] * at_once)
    seconds, cpu = time.perf_counter() - started, cpu_seconds() - cpu
    return {"seconds": seconds, "cpu": cpu, "times": times, "failures": failures}


async def small_beside_large(client: Client, count: int, together: Together) -> dict[str, Any]:
    """Small calls in turn while large uploads follow one another on the same client."""
    times: list[float] = []
    failures, done = 0, False

    async def uploads() -> None:
        nonlocal failures
        while not done:
            failures += not await timed(client, LARGE, [])

    async def small_calls() -> None:
        nonlocal failures, done
        for _ in range(count):
            failures += not await timed(client, SMALL, times)
        done = True

    await together(uploads, small_calls)
    return {"times": times, "failures": failures}


async def cold_calls(connect: Connect, count: int) -> dict[str, Any]:
    """Seconds from nothing to the first answer, `count` times."""
    times = []
    failures = 0
    for _ in range(count):
        started = time.perf_counter()
        client = await connect()
        failures += await client.call(SMALL) != SMALL
        times.append(time.perf_counter() - started)
        await client.close()
    return {"times": times, "failures": failures}


async def run_case(command: dict[str, Any], client: Client, connect: Connect, together: Together) -> dict[str, Any]:
    """One command of the main program."""
    case, count = command["case"], command["count"]
    if case == "sequential":
        return await calls_in_turn(client, SMALL, count)
    if case == "concurrent":
        return await calls_at_once(client, SMALL, count, command["at_once"], together)
    if case == "upload":
        return await calls_in_turn(client, LARGE, count)
    if case == "mixed":
        return await small_beside_large(client, count, together)
    if case == "cold":
        return await cold_calls(connect, count)
    raise ValueError(f"no case {case!r}")
