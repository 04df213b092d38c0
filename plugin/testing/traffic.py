"""Recorded traffic: calls kept as JSON lines, and played again to a handler (AXON R38).

One line: `{"method", "version", "caller", "receiver", "body", "status", "reply"}`, bodies in base64.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

from ...consensus.types import MalformedError, YumadError
from ...protocols.axon.interfaces import CallResult, ServedMethod
from ...protocols.axon.status import Reached, Status
from ..load import Plugin
from ..serving import MinerService
from .chain import FakeChain
from .host import MemoryIncoming

MAX_LINE: Final = 64 << 20


class Recorder:
    """A tap of a network in memory, or of anything else that sees calls; opens the file for each call."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __call__(self, caller: str, receiver: str, method: ServedMethod, body: bytes, result: CallResult) -> None:
        """Keep one call."""
        line = {
            "method": method.name,
            "version": method.version,
            "caller": caller,
            "receiver": receiver,
            "body": base64.b64encode(body).decode(),
            "status": result.status.name,
            "reply": base64.b64encode(result.body).decode(),
        }
        with self.file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(line) + "\n")


@dataclass(frozen=True, slots=True)
class Difference:
    """A call that ended in another way than it was recorded."""

    line: int
    method: str
    recorded: str
    """Status, with the reply's value when OK."""
    now: str


def recorded(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and call. Raises MalformedError."""
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                call = json.loads(line)
                call["body"] = base64.b64decode(call["body"], validate=True)
                call["reply"] = base64.b64decode(call["reply"], validate=True)
                call["status"] = Status[call["status"]]
            except (ValueError, KeyError, TypeError) as error:
                raise MalformedError(f"{file}, line {number}: {error!r}", remedy="record the calls again") from None
            yield number, call


async def replay(
    file: Path, plugin: Plugin, store: Path, *, variant: str | None = None, threads: bool = False
) -> list[Difference]:
    """Play every recorded call that reached a handler to this plugin; what differs comes back.

    Replies are compared as values. Callers stand in the subnet as validators with a permit.
    """
    service = MinerService(plugin.subnet, store, variant=variant, threads=threads)
    differences = []
    chain = FakeChain()
    await service.start()
    try:
        for number, call in recorded(file):
            if call["status"].reached_handler is not Reached.YES:
                continue
            if call["caller"] not in chain.neurons:
                chain.register(call["caller"], permit=True)
            deadline = trio.current_time() + 60.0
            incoming = MemoryIncoming(
                call["method"], call["version"], chain.netuid, call["caller"], call["receiver"],
                chain.standing(call["caller"]), bytes(16), deadline, call["body"],
            )  # fmt: skip
            with trio.fail_at(deadline):
                reply = await service.handle(incoming)
            before = _shown(plugin, call["method"], call["status"], call["reply"])
            now = _shown(plugin, call["method"], reply.status, bytes(reply.body))
            if before != now:
                differences.append(Difference(number, call["method"], before, now))
    finally:
        await service.stop()
    return differences


def _shown(plugin: Plugin, name: str, status: Status, body: bytes) -> str:
    if status is not Status.OK:
        return status.name
    method = plugin.subnet.methods.get(name)
    if method is None:
        return f"OK {body.hex()}"
    try:
        return f"OK {method.signature.reply.decode(body)!r}"
    except YumadError as error:
        return f"OK, but {error.message}"
