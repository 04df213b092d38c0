"""One plugin process that has proved itself: what it may ask, and the calls it answers (AXON R24).

The session's identity came with the token. No request has a field for a hotkey or a subnet of its own, and a field
that is not known is an error, so that nothing a plugin says can make the peer sign for somebody else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from ...consensus.types import MalformedError, YumadError
from ...protocols.axon.blob_store_interface import MAX_BLOB
from ...protocols.axon.interfaces import CallReply, CallTerms, IncomingCall, ServedMethod, StreamAborted
from ...protocols.axon.plugin_link import Exchange, LinkClosedError, LinkLimits, PluginLink, RemoteError
from ...protocols.axon.plugin_values import (
    MAX_BODY,
    Fields,
    call_reply,
    call_terms,
    plain,
    result_document,
    served_method,
)
from ...protocols.axon.plugin_wire import MAX_METHOD, FrameBuffer, encode_value
from ...protocols.axon.status import Status
from ..logging import get_logger
from .backend import OpenCall, PluginBackend, PluginIdentity
from .log_ring import printable
from .store_files import open_inside, place_inside

if TYPE_CHECKING:
    from trio_typing import TaskStatus

MAX_TARGETS: Final = 4096
"""Hotkeys of one call_many, and rows of one score update: the uids of a subnet."""

MAX_MANY_BYTES: Final = 64 << 20
"""Bytes of all bodies of one call_many."""

MAX_METHODS: Final = 256

MAX_PATH: Final = 4096

_VALIDATOR_ONLY: Final = frozenset(("scores.update", "scores.load", "scores.store"))


class NotAllowedError(YumadError):
    """A request the plugin's role does not include."""

    code = "not_allowed"


@dataclass(frozen=True, slots=True)
class Readiness:
    """What a plugin said it serves."""

    subnet: str
    version: int
    roles: tuple[str, ...]
    methods: tuple[ServedMethod, ...]
    validator: str
    """Name of its validator class; empty when it runs none."""


class PluginSession:
    """The peer's end of one connection."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        who: PluginIdentity,
        backend: PluginBackend,
        store: Path,
        *,
        on_ready: Callable[[Readiness], None],
        on_failed: Callable[[str, str, str], None],
        limits: LinkLimits,
        buffer: FrameBuffer,
        last_heard: int,
    ) -> None:
        """`store` is the plugin's own folder. `on_ready` may raise YumadError, which the plugin is told; `on_failed`
        gets code, text and remedy."""
        self._who, self._backend, self._store = who, backend, store
        self._on_ready, self._on_failed = on_ready, on_failed
        self._log = get_logger("plugins")
        self._link = PluginLink(
            stream,
            self._serve,
            is_plugin=False,
            limits=limits,
            on_notify=self._notified,
            on_fault=self._fault,
            buffer=buffer,
            last_heard=last_heard,
        )
        self._is_ready = False
        self._idle = trio.Event()
        self._idle.set()
        self.open_calls = 0
        """Calls that this process is answering."""
        self._answers: dict[str, Callable[[Exchange], Awaitable[Any]]] = {
            "ready": self._ready,
            "call": self._call,
            "call_many": self._call_many,
            "stream": self._stream,
            "metagraph": self._metagraph,
            "query": self._query,
            "scores.update": self._scores_update,
            "scores.load": self._scores_load,
            "scores.store": self._scores_store,
            "blob.put": self._blob_put,
            "blob.get": self._blob_get,
        }

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> str:
        """Until either side hangs up. Why, when it was not in order."""
        await self._link.run(task_status=task_status)
        return self._link.reason

    def drop(self, reason: str) -> None:
        """Hang up now."""
        self._link.drop(reason)

    async def ping(self) -> None:
        """Returns when the plugin's loop has answered. Raises LinkClosedError."""
        await self._link.request("ping")

    async def drain(self) -> None:
        """Ask the plugin to end after the calls it has; returns when they are answered or it is gone."""
        try:
            await self._link.request("drain")
        except (LinkClosedError, RemoteError):
            return
        await self._idle.wait()

    # --- calls from the network ----------------------------------------------------------------------------------

    async def handle(self, call: IncomingCall) -> CallReply:
        """Have the plugin answer one call; a protocols.axon Handler."""
        if self.open_calls == 0:
            self._idle = trio.Event()
        self.open_calls += 1
        try:
            return await self._handle(call)
        except (LinkClosedError, RemoteError, MalformedError) as error:
            return CallReply(Status.HANDLER_ERROR, text=_public_reason(error))
        finally:
            self.open_calls -= 1
            if self.open_calls == 0:
                self._idle.set()

    async def _handle(self, call: IncomingCall) -> CallReply:
        method, standing = call.method, call.caller_standing
        exchange = await self._link.open(
            "handle",
            {
                "method": method.name,
                "version": method.version,
                "netuid": call.netuid,
                "caller": bytes(call.caller),
                "receiver": bytes(call.receiver),
                "uid": -1 if standing.uid is None else standing.uid,
                "permit": standing.permit,
                "stake": standing.stake,
                "request_id": bytes(call.request_id),
                "seconds": call.deadline - trio.current_time(),
                "codecs": list(call.codecs),
                "body": bytes(call.body),
            },
        )
        try:
            if not (method.stream_in or method.stream_out):
                return call_reply(await exchange.answer())
            return call_reply(await _with_streams(exchange, call, method))
        finally:
            self._link.forget(exchange)

    # --- what the plugin asks ------------------------------------------------------------------------------------

    async def _serve(self, exchange: Exchange) -> Any:
        answer = self._answers.get(exchange.method)
        if answer is None:
            raise MalformedError(f"there is no request {exchange.method!r}")
        if exchange.method in _VALIDATOR_ONLY and "validator" not in self._who.roles:
            raise NotAllowedError(f"{exchange.method} is for validators; this plugin runs as a miner")
        return await answer(exchange)

    async def _ready(self, exchange: Exchange) -> None:
        fields = Fields(exchange.body, "ready")
        readiness = Readiness(
            printable(fields.text("subnet", 64)),
            fields.whole("version", 0, 0xFFFF),
            tuple(str(role)[:16] for role in fields.items("roles", 2)),
            tuple(served_method(item) for item in fields.items("methods", MAX_METHODS)),
            printable(fields.text("validator", 128)),
        )
        fields.done()
        if self._is_ready:
            raise MalformedError("a plugin is ready once")
        if len({(method.name, method.version) for method in readiness.methods}) != len(readiness.methods):
            raise MalformedError("two methods have the same name and version")
        self._on_ready(readiness)
        self._is_ready = True
        await trio.lowlevel.checkpoint()

    async def _call(self, exchange: Exchange) -> Any:
        fields = Fields(exchange.body, "call")
        target, body = fields.hotkey("hotkey"), fields.data("body", MAX_BODY)
        method, version, terms = _called(fields)
        result = await self._backend.call(self._who, target, method, version, body, terms)
        return result_document(result, trio.current_time())

    async def _call_many(self, exchange: Exchange) -> None:
        fields = Fields(exchange.body, "call_many")
        targets, shared = fields.hotkeys("hotkeys", MAX_TARGETS), fields.take("body")
        method, version, terms = _called(fields)
        if shared is None:
            bodies = await _read_bodies(exchange, len(targets))
        elif isinstance(shared, bytes) and len(shared) <= MAX_BODY:
            bodies = [shared] * len(targets)
        else:
            raise MalformedError(f"call_many: body is not a byte string of at most {MAX_BODY} bytes")
        results = await self._backend.call_many(
            self._who, dict(zip(targets, bodies, strict=True)), method, version, terms
        )
        now = trio.current_time()
        for result in results:
            await exchange.send(encode_value(result_document(result, now)))
        await exchange.end()

    async def _stream(self, exchange: Exchange) -> Any:
        fields = Fields(exchange.body, "stream")
        target, body = fields.hotkey("hotkey"), fields.data("body", MAX_BODY)
        method, version, terms = _called(fields)
        async with (
            self._backend.stream(self._who, target, method, version, body, terms) as call,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(_pump_out, exchange, call)
            await _pump(call.messages(), exchange)
            result = await call.result()
            nursery.cancel_scope.cancel()
        return result_document(result, trio.current_time())

    async def _metagraph(self, exchange: Exchange) -> Any:
        return plain(await self._backend.metagraph(self._who))

    async def _query(self, exchange: Exchange) -> Any:
        fields = Fields(exchange.body, "query")
        read, params = fields.text("read", 200), fields.items("params", 64)
        fields.done()
        return plain(await self._backend.query(self._who, read, params))

    async def _scores_update(self, exchange: Exchange) -> None:
        fields = Fields(exchange.body, "scores.update")
        rows = fields.items("scores", MAX_TARGETS)
        name, params = fields.text("name", 64), fields.mapping("params", 16)
        round = fields.whole("round", 0, (1 << 63) - 1)
        fields.done()
        scores = {}
        for row in rows:
            pair = Fields(dict(zip(("hotkey", "score"), row if isinstance(row, list) else (), strict=False)), "score")
            scores[pair.hotkey("hotkey")] = pair.number("score", 0.0, 1.0)
        await self._backend.scores_update(self._who, scores, name, params, round)

    async def _scores_load(self, exchange: Exchange) -> Any:
        fields = Fields(exchange.body, "scores.load")
        name, params = fields.text("name", 64), fields.mapping("params", 16)
        fields.done()
        return plain(await self._backend.scores_load(self._who, (name, params) if name else None))

    async def _scores_store(self, exchange: Exchange) -> None:
        fields = Fields(exchange.body, "scores.store")
        rows = []
        for item in fields.items("rows", MAX_TARGETS):
            row = Fields(item, "score row")
            state = row.take("state")
            row_document = {
                "hotkey": row.hotkey("hotkey"),
                "value": row.number("value", 0.0, 1.0),
                "state": state,
            }
            row.done()
            rows.append(row_document)
        name, params = fields.text("name", 64), fields.mapping("params", 16)
        round = fields.whole("round", 0, (1 << 63) - 1)
        fields.done()
        await self._backend.scores_store(self._who, rows, name, params, round)

    async def _blob_put(self, exchange: Exchange) -> Any:
        fields = Fields(exchange.body, "blob.put")
        path, named = fields.text("path", MAX_PATH), fields.take("to")
        fields.done()
        to = None if named is None else Fields({"to": named}, "blob.put").hotkeys("to", MAX_TARGETS)
        content = await trio.to_thread.run_sync(open_inside, self._store, path)
        return {"hash": await self._backend.blob_put(self._who, content, to)}

    async def _blob_get(self, exchange: Exchange) -> Any:
        fields = Fields(exchange.body, "blob.get")
        blob_hash, target = fields.data("hash", 32, exactly=32), fields.hotkey("hotkey")
        max_size = fields.whole("max_size", 0, MAX_BLOB)
        fields.done()
        name = blob_hash.hex()
        path = await self._backend.blob_get(
            self._who, blob_hash, target, max_size, lambda source: place_inside(self._store, source, name)
        )
        return {"path": str(path)}

    def _notified(self, method: str, body: Any) -> None:
        if method == "failed" and isinstance(body, list) and len(body) == 3 and all(isinstance(p, str) for p in body):
            self._on_failed(printable(body[0][:64]), printable(body[1][:2000]), printable(body[2][:1000]))

    def _fault(self, method: str, error: BaseException) -> None:
        self._log.error("a plugin's request failed", plugin=self._who.name, request=method[:64], error=repr(error))


def _called(fields: Fields) -> tuple[str, int, CallTerms]:
    """What `call`, `call_many` and `stream` have in common; nothing may be left after it."""
    common = fields.text("method", MAX_METHOD), fields.whole("version", 0, 0xFFFF), call_terms(fields)
    fields.done()
    return common


async def _read_bodies(exchange: Exchange, count: int) -> list[bytes]:
    bodies: list[bytes] = []
    size = 0
    async for message in exchange.messages():
        size += len(message)
        if len(bodies) == count or len(message) > MAX_BODY or size > MAX_MANY_BYTES:
            raise MalformedError(f"call_many: more than {count} bodies or {MAX_MANY_BYTES} bytes")
        bodies.append(message)
    if len(bodies) != count:
        raise MalformedError(f"call_many: {len(bodies)} bodies for {count} hotkeys")
    return bodies


async def _with_streams(exchange: Exchange, call: IncomingCall, method: ServedMethod) -> Any:
    """Carry the messages of a call in both directions; the body of the plugin's reply."""
    async with trio.open_nursery() as nursery:
        if method.stream_in:
            nursery.start_soon(_pump, call.messages(), exchange)
        if method.stream_out:
            try:
                async for message in exchange.messages():
                    await call.send(message)
            except StreamAborted:
                pass  # the reply says how it ended
        answer = await exchange.answer()
        nursery.cancel_scope.cancel()
    return answer


async def _pump(messages: AsyncIterator[bytes], exchange: Exchange) -> None:
    """Messages of the network to the plugin, with the way they ended."""
    try:
        async for message in messages:
            await exchange.send(message)
        await exchange.end()
    except StreamAborted as error:
        try:
            await exchange.end(error.status, str(error))
        except LinkClosedError:
            pass
    except LinkClosedError:
        pass


async def _pump_out(exchange: Exchange, call: OpenCall) -> None:
    """Messages of the plugin to the network; a stream it does not end is not ended."""
    try:
        async for message in exchange.messages():
            await call.send(message)
        await call.end()
    except StreamAborted:
        pass


def _public_reason(error: YumadError) -> str:
    """What a caller is told when its call got no answer of the plugin."""
    if isinstance(error, LinkClosedError):
        return "the plugin ended before it answered"
    return f"the plugin gave no valid answer ({error.code})"
