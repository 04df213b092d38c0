"""Processes for handlers that compute (AXON R20: "CPU-bound in a process pool on request").

A worker loads the plugin's file itself, so nothing of an author's types is pickled: the request's bytes go in, the
reply's bytes come out. A worker whose call is cancelled is killed, which is the only way to stop code that computes.
Frames on its pipes: u32 length, then CBOR. Calls go `[file, method, function, body, call, codecs]`; replies come back
`[status, body, text, report]`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import cbor2
import trio

from ..protocols.axon.status import Status
from ..protocols.axon.tensor_codec import MANDATORY
from .call import Call

MAX_FRAME: Final = (1 << 30) + 4096
"""A worker is trusted as far as the plugin is; this only catches a broken pipe of lengths."""


class WorkerError(Exception):
    """A call in a worker ended without an answer; `report` is for the plugin's log."""

    def __init__(self, status: Status, text: str, report: str) -> None:
        super().__init__(text)
        self.status, self.report = status, report


class CpuPool:
    """Idle workers, reused; as many run at a time as the methods' limiters let through."""

    def __init__(self, keep: int = os.cpu_count() or 1) -> None:
        self._keep, self._idle = keep, list[trio.Process]()

    async def run(
        self, file: Path, method: str, function: str, body: bytes, call: Call, peer: Sequence[str] = MANDATORY
    ) -> bytes:
        """The reply, encoded for a reader of the codecs `peer`. Raises WorkerError."""
        worker = self._idle.pop() if self._idle else await _start()
        sent = [str(file), method, function, body, {**asdict(call), "store": str(call.store)}, list(peer)]
        try:
            answer = await _exchange(worker, cbor2.dumps(sent))
        except (trio.BrokenResourceError, trio.ClosedResourceError, EOFError):
            code = await _end(worker)
            raise WorkerError(Status.HANDLER_ERROR, "the worker process died", f"a worker ended with {code}") from None
        except BaseException:
            await _end(worker)
            raise
        if len(self._idle) < self._keep:
            self._idle.append(worker)
        else:
            await _end(worker)
        status, reply, text, report = answer
        if status != Status.OK:
            raise WorkerError(Status(status), text, report)
        return bytes(reply)

    async def close(self) -> None:
        """End all workers."""
        while self._idle:
            await _end(self._idle.pop())


async def _start() -> trio.Process:
    command = [sys.executable, "-m", __name__]
    return await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


async def _end(worker: trio.Process) -> int:
    with trio.CancelScope(shield=True):
        worker.kill()
        code = await worker.wait()
        for pipe in (worker.stdin, worker.stdout):
            if pipe is not None:
                await pipe.aclose()
    return code


async def _exchange(worker: trio.Process, frame: bytes) -> list[Any]:
    assert worker.stdin is not None and worker.stdout is not None
    await worker.stdin.send_all(len(frame).to_bytes(4, "big") + frame)
    size = int.from_bytes(await _exactly(worker.stdout, 4), "big")
    answer: list[Any] = cbor2.loads(await _exactly(worker.stdout, size))
    return answer


async def _exactly(pipe: trio.abc.ReceiveStream, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = await pipe.receive_some(min(size - len(parts), 1 << 20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def _work() -> None:
    """A worker's loop: standard output is the pipe, so what a handler prints goes to standard error."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while len(head := source.read(4)) == 4:
        size = int.from_bytes(head, "big")
        if size > MAX_FRAME:
            return
        frame = cbor2.dumps(_answer(*cbor2.loads(source.read(size))))
        sink.write(len(frame).to_bytes(4, "big") + frame)
        sink.flush()


def _answer(file: str, method: str, function: str, body: bytes, caller: dict[str, Any], peer: list[str]) -> list[Any]:
    import traceback

    from ..consensus.types import YumadError
    from .call import Refusal, running_store
    from .load import load_plugin
    from .serving import first_line

    try:
        found = load_plugin(Path(file)).subnet.methods[method]
        every = [found.implementation, *found.variants.values()]
        chosen = next(one for one in every if one.function.__name__ == function)
        call = Call(**{**caller, "store": Path(caller["store"])})
        running_store.set(call.store)
        try:
            request = chosen.signature.request.decode(body)
        except YumadError as error:
            return [int(Status.SCHEMA_MISMATCH), b"", error.message, error.message]
        run: Callable[..., Any] = chosen.function
        answer = run(*(request if kind == "request" else call for kind in chosen.signature.parameters))
        return [int(Status.OK), chosen.signature.reply.encode(answer, peer=peer), "", ""]
    except Refusal as refusal:
        return [int(refusal.status), b"", str(refusal), str(refusal)]
    except Exception as error:
        return [int(Status.HANDLER_ERROR), b"", first_line(error), traceback.format_exc().rstrip()]


if __name__ == "__main__":
    _work()
