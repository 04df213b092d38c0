"""Bad calls at 10 000 a second from one peer: others are served as before, and memory stays (AXON R6)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from adversary import axon_flood
from adversary.axon_flood import GENESIS, GOOD, METHOD, MINER, NETUID, PROTOCOL, OneEndpoint, make_transport
from yumad.consensus.types import AccountId
from yumad.protocols.axon.client import AxonClient
from yumad.protocols.axon.status import Status

CALLS_PER_SECOND = 60
MAX_P99 = 0.2
MAX_GROWTH = 32 << 20


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(Path(axon_flood.__file__)), *arguments]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield running
    finally:
        running.kill()
        running.wait()


async def said(running: subprocess.Popen[str]) -> dict[str, Any]:
    """The next line of a process."""
    assert running.stdout is not None
    line = await trio.to_thread.run_sync(running.stdout.readline)
    assert line, "the process ended early"
    document: dict[str, Any] = json.loads(line)
    return document


def resident(process_id: int) -> int:
    return int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@asynccontextmanager
async def good_client(address: str) -> AsyncIterator[AxonClient]:
    async with trio.open_nursery() as nursery:
        transport = make_transport()
        await nursery.start(transport.run)
        yield AxonClient(
            transport, PROTOCOL, GENESIS, OneEndpoint(address), now_ns=time.time_ns, random_bytes=os.urandom
        )
        nursery.cancel_scope.cancel()


async def calls(client: AxonClient, seconds: float) -> list[float]:
    """Steady calls; the seconds that each took. All must succeed."""
    times = []
    end = trio.current_time() + seconds
    while trio.current_time() < end:
        started = time.perf_counter()
        result = await client.call(GOOD, NETUID, AccountId(MINER.public_key), METHOD.name, bytes(1024), timeout=5)
        times.append(time.perf_counter() - started)
        assert result.status is Status.OK, result.text
        await trio.sleep(1 / CALLS_PER_SECOND)
    return sorted(times)


@pytest.mark.parametrize(
    ("mode", "how", "seconds"), [("lenient", "keep", 2.5), ("lenient", "churn", 2.5), ("ledger", "keep", 1.5)]
)
async def test_r6_ten_thousand_bad_signatures_a_second_from_one_peer_neither_slow_a_good_caller_nor_take_memory(
    mode: str, how: str, seconds: float
) -> None:
    with process("server", mode) as server:
        address = (await said(server))["address"]
        async with good_client(address) as client:
            await calls(client, 0.5)
            before = resident(server.pid)
            with process("attacker", how, address, str(seconds)) as attacker:
                times = await calls(client, seconds)
                growth = resident(server.pid) - before
                report = await said(attacker)
            await calls(client, 0.2)
    p99 = times[int(len(times) * 0.99)]
    told = f"p99 {p99 * 1000:.1f} ms of {len(times)} calls, memory +{growth >> 20} MiB, attacker {report}"
    print(told)
    if mode == "lenient":
        assert report["sent"] > 0.6 * axon_flood.CALLS_PER_SECOND * seconds, told  # with the attacker short of CPU too
    else:
        assert report["dials_refused"] > 0, told
    assert p99 < MAX_P99, told
    assert growth < MAX_GROWTH, told
