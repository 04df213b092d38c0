"""A miner's side of calls: outside bytes to an author's function and back (AXON R20).

Whatever goes wrong becomes a status. A traceback goes to the plugin's own log, its first line to the caller.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import trio

from ..consensus.types import YumadError
from ..protocols.axon.interfaces import CallReply, StreamAborted
from ..protocols.axon.status import Status
from ..protocols.axon.tensor_codec import MANDATORY
from .blobs import Blobs
from .call import Call, Refusal, running_store
from .cpu_pool import CpuPool, WorkerError
from .host_interface import Incoming
from .message import Message
from .method import DefinitionError, Function, Implementation, Method
from .seal import CHALLENGE_BYTES, COMMIT, OPEN, KeptAnswers
from .subnet import Hook, Subnet

Log = Callable[[str], None]

STOP_SECONDS: Final = 5.0
"""What hooks of `on_stop` have."""

_MAX_TEXT: Final = 200
"""Characters of an error that a caller is told."""


class _BadMessage(Exception):
    """A message of the caller's stream that does not decode."""


def log_to_stderr(line: str) -> None:
    """The plugin's log unless another is given: the peer keeps the last lines of a plugin's output."""
    print(line, file=sys.stderr, flush=True)


def first_line(error: BaseException) -> str:
    """What a caller may know of an error."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}"[:_MAX_TEXT] if lines else type(error).__name__


class MinerService:
    """Answers the calls of one hotkey with a subnet's handlers."""

    def __init__(
        self,
        subnet: Subnet,
        store: Path,
        *,
        variant: str | None = None,
        threads: bool = True,
        log: Log = log_to_stderr,
        blobs: Blobs | None = None,
    ) -> None:
        """`variant` plays a bad miner; `blobs` is for large content. Without `threads` all code runs inline, which a
        fake clock needs."""
        if variant is not None and variant not in subnet.variant_names():
            raise DefinitionError(
                f"subnet {subnet.name} has no variant {variant!r}",
                remedy=f"it has {', '.join(subnet.variant_names()) or 'none; decorate one with @method.variant'}",
            )
        self._subnet, self._store, self._threads, self._log = subnet, store, threads, log
        self._blobs = blobs
        self._routes: dict[tuple[str, int], tuple[Method, str]] = {}
        self._kept: dict[str, KeptAnswers] = {}
        self._chosen: dict[str, Implementation] = {}
        self._limiters: dict[str, trio.CapacityLimiter] = {}
        self._pool = CpuPool()
        for name, method in subnet.methods.items():
            self._chosen[name] = method.implementation_for(variant)
            stages = (COMMIT, OPEN) if method.sealed else ("",)
            for stage in stages:
                self._routes[name + stage, method.served.version] = method, stage
            if method.sealed:
                self._kept[name] = KeptAnswers(method.sealed, trio.current_time)
            self._limiters[name] = trio.CapacityLimiter(method.served.concurrency)

    async def start(self) -> None:
        """Run the hooks of `on_start`; what they raise ends the plugin."""
        await self._hooks(self._subnet.start_hooks)

    async def stop(self) -> None:
        """Run the hooks of `on_stop`, and end worker processes; never raises, at most STOP_SECONDS."""
        with trio.CancelScope(deadline=trio.current_time() + STOP_SECONDS, shield=True):
            try:
                await self._hooks(self._subnet.stop_hooks)
            except Exception as error:
                self._log_error("on_stop", error)
        await self._pool.close()

    async def handle(self, incoming: Incoming) -> CallReply:
        """Answer one call. Raises only Cancelled."""
        route = self._routes.get((incoming.method, incoming.version))
        if route is None:
            return CallReply(Status.HANDLER_ERROR, text=f"the plugin has no {incoming.method} v{incoming.version}")
        method, stage = route
        token = running_store.set(self._store)
        try:
            if stage == COMMIT:
                return await self._commit(method, incoming)
            if stage == OPEN:
                return self._open(method, incoming)
            return await self._run(method, incoming, incoming.body)
        except Refusal as refusal:
            return CallReply(refusal.status, text=str(refusal)[:_MAX_TEXT], retry_after_ms=refusal.retry_after_ms)
        except _BadMessage as error:
            return CallReply(Status.SCHEMA_MISMATCH, text=str(error)[:_MAX_TEXT])
        except StreamAborted:
            return CallReply(Status.HANDLER_ERROR, text="the caller's stream was cut")
        except WorkerError as error:
            self._log(f"{incoming.method}: {error.report}")
            return CallReply(error.status, text=str(error)[:_MAX_TEXT])
        except Exception as error:
            self._log_error(incoming.method, error)
            return CallReply(Status.HANDLER_ERROR, text=first_line(error))
        finally:
            running_store.reset(token)

    async def _commit(self, method: Method, incoming: Incoming) -> CallReply:
        body = bytes(incoming.body)
        if len(body) < CHALLENGE_BYTES:
            return CallReply(Status.SCHEMA_MISMATCH, text="a sealed call begins with its challenge")
        challenge, request = body[:CHALLENGE_BYTES], body[CHALLENGE_BYTES:]
        reply = await self._run(method, incoming, request)
        if reply.status is not Status.OK:
            return reply
        kept = self._kept[method.name]
        return CallReply(body=kept.commit(challenge, incoming.caller, incoming.receiver, bytes(reply.body)))

    def _open(self, method: Method, incoming: Incoming) -> CallReply:
        shown = self._kept[method.name].show(bytes(incoming.body), incoming.caller)
        if shown is None:
            return CallReply(Status.DENIED, text="no answer is kept for this challenge")
        return CallReply(body=shown)

    async def _run(self, method: Method, incoming: Incoming, body: bytes | memoryview) -> CallReply:
        chosen = self._chosen[method.name]
        signature, peer = chosen.signature, (*MANDATORY, *incoming.codecs)
        if chosen.cpu and self._threads:
            call = _call(incoming, self._store, None)
            async with self._limiters[method.name]:
                answer = await self._pool.run(
                    chosen.file, method.name, chosen.function.__name__, bytes(body), call, peer
                )
            return CallReply(body=answer)
        try:
            request = signature.request.decode(body) if "request" in signature.parameters else None
        except YumadError as error:
            return CallReply(Status.SCHEMA_MISMATCH, text=error.message[:_MAX_TEXT])
        call = _call(incoming, self._store, self._blobs)
        arguments: list[Any] = []
        for kind in signature.parameters:
            if kind == "messages":
                assert signature.messages is not None
                arguments.append(_typed(signature.messages, incoming))
            else:
                arguments.append(request if kind == "request" else call)
        if signature.stream_out:
            async with contextlib.aclosing(chosen.function(*arguments)) as stream:
                async for message in stream:
                    await incoming.send(signature.reply.encode(message, peer=peer))
            return CallReply()
        if chosen.is_async:
            answer = await chosen.function(*arguments)
        elif self._threads:
            answer = await in_thread(chosen.function, *arguments, limiter=self._limiters[method.name])
        else:
            answer = chosen.function(*arguments)
        return CallReply(body=signature.reply.encode(answer, peer=peer))

    async def _hooks(self, hooks: list[Hook]) -> None:
        token = running_store.set(self._store)
        try:
            for hook in hooks:
                awaitable = hook()
                if awaitable is not None:
                    await awaitable
        finally:
            running_store.reset(token)

    def _log_error(self, where: str, error: Exception) -> None:
        self._log(f"{where}: " + "".join(traceback.format_exception(error)).rstrip())


async def in_thread(function: Function, *arguments: Any, limiter: trio.CapacityLimiter | None = None) -> Any:
    """Run it in a worker thread, which is left to itself when the call is cancelled."""
    return await trio.to_thread.run_sync(
        function,
        *arguments,
        abandon_on_cancel=True,  # type: ignore[call-arg] # the stubs are older than trio
        limiter=limiter,
    )


def _call(incoming: Incoming, store: Path, blobs: Blobs | None) -> Call:
    standing = incoming.standing
    return Call(
        incoming.caller,
        standing.uid,
        standing.stake,
        standing.permit,
        incoming.netuid,
        incoming.receiver,
        incoming.request_id,
        incoming.deadline,
        store,
        blobs,
    )


async def _typed(message: Message, incoming: Incoming) -> AsyncIterator[Any]:
    """The caller's stream as an author's type."""
    async for part in incoming.messages():
        try:
            yield message.decode(part)
        except YumadError as error:
            raise _BadMessage(error.message) from None
