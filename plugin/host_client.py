"""The peer behind a socket, as a plugin's process sees it (AXON R24): `HostClient` over protocols/axon/plugin_link.py.

The process is told by its environment where the socket is and which inherited descriptor holds the token that proves
who started it. It never sees a key: the peer signs.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

import trio

from ..consensus.ss58 import decode_address, encode_address
from ..consensus.types import AccountId, MalformedError, YumadError
from ..protocols.axon.blob_transfer import BlobUnavailable
from ..protocols.axon.interfaces import CallReply, CallResult, CallTerms, ServedMethod, Standing, StreamAborted
from ..protocols.axon.plugin_link import Exchange, LinkClosedError, LinkLimits, PluginLink, RemoteError
from ..protocols.axon.plugin_values import (
    Fields,
    call_result,
    method_document,
    plain,
    reply_document,
    terms_document,
)
from ..protocols.axon.plugin_wire import decode_value
from ..protocols.axon.status import Status
from .host_interface import IncomingHandler, Metagraph

SOCKET_VARIABLE: Final = "YUMAD_PLUGIN_SOCKET"
"""Path of the socket."""

TOKEN_VARIABLE: Final = "YUMAD_PLUGIN_TOKEN_FD"
"""Number of the descriptor that the token is read from; its other end stays open as long as the peer lives."""

TOKEN_BYTES: Final = 32

DRAIN_PAUSE: Final = 0.05
"""Seconds between the last answer of a draining plugin and its end."""

_OPEN_CALLS: Final = 4096
"""Calls of the peer that may be open at one time; the peer's own admission allows far less."""

_UNBOUNDED: Final = 1 << 40
"""The peer is believed: this process is there for it."""


class HostError(YumadError):
    """The peer cannot be reached, or refuses."""

    code = "host"


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What the peer told this process about itself."""

    name: str
    netuid: int
    roles: tuple[str, ...]
    hotkey: str
    """ss58."""
    arguments: tuple[str, ...]
    store: Path
    variant: str | None


@lru_cache(8192)
def _address(account: bytes) -> str:
    return encode_address(account)


@lru_cache(8192)
def _account(address: str) -> AccountId:
    return decode_address(address)


class SocketHostClient:
    """A connected `HostClient`. Use `connect_host`."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._link = PluginLink(
            stream,
            self._serve,
            is_plugin=True,
            limits=LinkLimits(open_requests=_OPEN_CALLS, items_per_second=_UNBOUNDED, bytes_per_second=_UNBOUNDED),
            on_fault=_report,
        )
        self._handler: IncomingHandler | None = None
        self._facts: HostFacts | None = None
        self._ready: dict[str, tuple[str, int, list[ServedMethod], str]] = {}
        self._told_ready = trio.Event()
        self._open_calls = 0
        self._idle = trio.Event()
        self._idle.set()
        self.draining = trio.Event()
        """Set when the peer wants this process to end; no new calls come."""

    @property
    def facts(self) -> HostFacts:
        """Who this plugin is."""
        assert self._facts is not None, "known after the greeting"
        return self._facts

    async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """Carry the connection until the peer ends it."""
        await self._link.run(task_status=task_status)

    async def greet(self, token: bytes) -> HostFacts:
        """Prove who started this process. Raises HostError when the peer does not believe it."""
        fields = Fields(await self._ask("hello", {"token": token, "pid": os.getpid()}), "the peer's greeting")
        self._facts = HostFacts(
            name=fields.text("name", 64),
            netuid=fields.whole("netuid", 0, 0xFFFF),
            roles=tuple(str(role) for role in fields.items("roles", 2)),
            hotkey=_address(fields.hotkey("hotkey")),
            arguments=tuple(str(item) for item in fields.items("arguments", 256)),
            store=Path(fields.text("store", 4096)),
            variant=fields.text("variant", 64) or None,
        )
        return self._facts

    async def _ask(self, method: str, body: Any = None) -> Any:
        async with self._opened(method, body) as exchange:
            return await _answer(method, exchange)

    # --- what the plugin asks ------------------------------------------------------------------------------------

    async def call(self, hotkey: str, method: str, version: int, body: bytes, terms: CallTerms) -> CallResult:
        """Call one miner."""
        asked = _call_body(method, version, terms) | {"hotkey": _account(hotkey), "body": bytes(body)}
        return call_result(await self._ask("call", asked), trio.current_time())

    async def call_many(
        self, bodies: Mapping[str, bytes], method: str, version: int, terms: CallTerms
    ) -> list[CallResult]:
        """Call all, sent together by the peer. One body for all travels to it once."""
        if not bodies:
            return []
        several = list(bodies.values())
        shared = several[0] if all(body is several[0] for body in several) else None
        asked = _call_body(method, version, terms) | {
            "hotkeys": [_account(hotkey) for hotkey in bodies],
            "body": None if shared is None else bytes(shared),
        }
        results: list[CallResult] = []
        async with self._opened("call_many", asked) as exchange:
            async with trio.open_nursery() as nursery:
                if shared is None:
                    nursery.start_soon(_send_all, exchange, several)
                try:
                    async for message in exchange.messages():
                        results.append(call_result(decode_value(message), trio.current_time()))
                except StreamAborted:
                    pass  # the answer says why
                nursery.cancel_scope.cancel()
            await _answer("call_many", exchange)
        return results

    @asynccontextmanager
    async def stream(
        self, hotkey: str, method: str, version: int, body: bytes, terms: CallTerms
    ) -> AsyncIterator[SocketCallStream]:
        """Open a streaming call; leaving the block before its end takes it back."""
        asked = _call_body(method, version, terms) | {"hotkey": _account(hotkey), "body": bytes(body)}
        async with self._opened("stream", asked) as exchange:
            yield SocketCallStream(exchange)

    @asynccontextmanager
    async def _opened(self, method: str, body: Any) -> AsyncIterator[Exchange]:
        try:
            exchange = await self._link.open(method, body)
        except LinkClosedError as error:
            raise _lost(method, error) from error
        try:
            yield exchange
        finally:
            self._link.forget(exchange)

    async def metagraph(self) -> Metagraph:
        """The subnet in the peer's final state."""
        graph = await self._ask("metagraph")
        if not isinstance(graph, dict):
            raise MalformedError("metagraph: expected a map")
        return graph

    async def query(self, read: str, params: Sequence[Any]) -> Any:
        """Answer of one of the peer's public reads."""
        return await self._ask("query", {"read": read, "params": plain(list(params))})

    async def scores_update(
        self, scores: Mapping[str, float], aggregator: tuple[str, Mapping[str, Any]], round: int
    ) -> None:
        """Scores of one round."""
        rows = [[_account(hotkey), float(score)] for hotkey, score in scores.items()]
        name, params = aggregator
        await self._ask("scores.update", {"scores": rows, "name": name, "params": plain(params), "round": round})

    async def scores_load(self, aggregator: tuple[str, Mapping[str, Any]] | None = None) -> list[dict[str, Any]]:
        """Rows of the score table."""
        name, params = aggregator or ("", {})
        rows = await self._ask("scores.load", {"name": name, "params": plain(params)})
        return [row | {"hotkey": _address(row["hotkey"])} for row in rows]

    async def scores_store(
        self, rows: Sequence[Mapping[str, Any]], aggregator: tuple[str, Mapping[str, Any]], round: int
    ) -> None:
        """Replace rows of the score table."""
        sent = [plain(dict(row) | {"hotkey": bytes(_account(row["hotkey"]))}) for row in rows]
        name, params = aggregator
        await self._ask("scores.store", {"rows": sent, "name": name, "params": plain(params), "round": round})

    async def blob_put(self, content: Path | bytes, to: Sequence[str] | None) -> bytes:
        """Keep and offer a file or bytes. What is not in this plugin's folder is linked or copied there meanwhile."""
        lent, is_own = await trio.to_thread.run_sync(_lend, content, self.facts.store)
        try:
            hotkeys = None if to is None else [_account(hotkey) for hotkey in to]
            answer = await self._ask("blob.put", {"path": str(lent), "to": hotkeys})
        finally:
            if not is_own:
                lent.unlink(missing_ok=True)
        return Fields(answer, "the kept blob").data("hash", 32, exactly=32)

    async def blob_get(self, blob_hash: bytes, hotkey: str, max_size: int) -> Path:
        """The file of a blob, placed in this plugin's folder by the peer."""
        asked = {"hash": blob_hash, "hotkey": _account(hotkey), "max_size": max_size}
        return Path(Fields(await self._ask("blob.get", asked), "the fetched blob").text("path", 4096))

    async def ready(
        self, subnet: str, version: int, role: str, methods: Sequence[ServedMethod], *, validator: str = ""
    ) -> None:
        """The plugin can take calls from now on. With two roles the peer is told when both are ready."""
        self._ready[role] = subnet, version, list(methods), validator
        if len(self._ready) < len(self.facts.roles):
            await self._told_ready.wait()
            return
        served = [method_document(method) for _, _, several, _ in self._ready.values() for method in several]
        named = next((name for _, _, _, name in self._ready.values() if name), "")
        await self._ask(
            "ready",
            {"subnet": subnet, "version": version, "roles": sorted(self._ready), "methods": served, "validator": named},
        )
        self._told_ready.set()

    def set_handler(self, handler: IncomingHandler) -> None:
        """Who answers incoming calls."""
        self._handler = handler

    async def log(self, line: str) -> None:
        """A line for the plugin's log."""
        await trio.lowlevel.checkpoint()
        print(line, flush=True)

    def failed(self, code: str, message: str, remedy: str) -> None:
        """Tell why this plugin cannot run; it ends after that."""
        self._link.notify("failed", [code, message[:2000], remedy[:1000]])

    async def drained(self) -> None:
        """Until the peer has asked this process to end and no call is open."""
        await self.draining.wait()
        while self._open_calls:
            await self._idle.wait()
        await trio.sleep(DRAIN_PAUSE)  # the last answer leaves

    # --- what the peer asks --------------------------------------------------------------------------------------

    async def _serve(self, exchange: Exchange) -> Any:
        if exchange.method == "ping":
            return None
        if exchange.method == "drain":
            self.draining.set()
            await self._idle.wait()
            return None
        if exchange.method != "handle":
            raise HostError(f"this plugin does not know {exchange.method!r}")
        if self._open_calls == 0:
            self._idle = trio.Event()
        self._open_calls += 1
        try:
            return reply_document(await self._handle(_Incoming(exchange)))
        finally:
            self._open_calls -= 1
            if self._open_calls == 0:
                self._idle.set()

    async def _handle(self, incoming: _Incoming) -> CallReply:
        if self._handler is None:
            return CallReply(Status.HANDLER_ERROR, text="this plugin answers no calls")
        reply = CallReply(Status.DEADLINE_EXCEEDED, text="the handler was cancelled at the deadline")
        with trio.move_on_at(incoming.deadline):
            try:
                reply = await self._handler(incoming)
            except Exception as error:
                _report(incoming.method, error)
                text = f"{type(error).__name__}: {error}".splitlines()[0][:200]
                reply = CallReply(Status.HANDLER_ERROR, text=text)
        return reply


class _Incoming:
    """One admitted call."""

    def __init__(self, exchange: Exchange) -> None:
        fields = Fields(exchange.body, "handle")
        self._exchange = exchange
        exchange.body = None  # the call's own body is held once
        self.method = fields.text("method", 64)
        self.version = fields.whole("version", 0, 0xFFFF)
        self.netuid = fields.whole("netuid", 0, 0xFFFF)
        self.caller = _address(fields.hotkey("caller"))
        self.receiver = _address(fields.hotkey("receiver"))
        uid = fields.whole("uid", -1, 0xFFFF)
        self.standing = Standing(None if uid < 0 else uid, fields.flag("permit"), fields.whole("stake", 0, 1 << 64))
        self.request_id = fields.data("request_id", 64)
        self.deadline = trio.current_time() + fields.number("seconds", -1e6, 1e6)
        self.codecs = [str(codec) for codec in fields.items("codecs", 64)]
        self.body: bytes | memoryview = fields.data("body", 1 << 25)

    def messages(self) -> AsyncIterator[bytes]:
        """The caller's stream."""
        return self._exchange.messages()

    async def send(self, message: bytes) -> None:
        """One message of the reply's stream."""
        await self._exchange.send(bytes(message))


class SocketCallStream:
    """One open streaming call."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def send(self, message: bytes) -> None:
        """One message of the request's stream; waits for credit."""
        await self._exchange.send(bytes(message))

    async def end(self) -> None:
        """No more messages will be sent."""
        await self._exchange.end()

    def messages(self) -> AsyncIterator[bytes]:
        """The reply's stream."""
        return self._exchange.messages()

    async def result(self) -> CallResult:
        """How the call ended."""
        return call_result(await _answer("stream", self._exchange), trio.current_time())


def _call_body(method: str, version: int, terms: CallTerms) -> dict[str, Any]:
    return {"method": method, "version": version, **terms_document(terms)}


async def _answer(method: str, exchange: Exchange) -> Any:
    try:
        return await exchange.answer()
    except LinkClosedError as error:
        raise _lost(method, error) from error
    except RemoteError as error:
        if error.code == BlobUnavailable.code:
            raise BlobUnavailable(error.message, remedy="fetch it again later; what came is kept") from error
        raise HostError(f"the peer refuses {method}: {error.message} ({error.code})") from error


def _lend(content: Path | bytes, store: Path) -> tuple[Path, bool]:
    """A file in `store` with this content, and whether it is the author's; if not, remove it later. HostError."""
    lent = store / f".put-{secrets.token_hex(8)}"
    try:
        if isinstance(content, bytes):
            lent.write_bytes(content)
            return lent, False
        source = content.resolve(strict=True)
        if source.is_relative_to(store.resolve()):
            return source, True
        try:
            os.link(source, lent)
        except OSError:  # another disk, or one without links
            shutil.copyfile(source, lent)
        return lent, False
    except OSError as error:
        lent.unlink(missing_ok=True)
        raise HostError(
            f"{content if isinstance(content, Path) else lent}: {error.strerror or error}",
            remedy="name a readable file, and check the free space of the plugin's folder",
        ) from error


def _lost(method: str, error: LinkClosedError) -> HostError:
    return HostError(f"{method}: {error.message}", remedy="the log of the peer says why")


async def _send_all(exchange: Exchange, bodies: Sequence[bytes]) -> None:
    try:
        for body in bodies:
            await exchange.send(bytes(body))
        await exchange.end()
    except (StreamAborted, LinkClosedError):
        pass  # the answer says why


def _report(what: str, error: BaseException) -> None:
    import traceback

    print(f"{what} failed", file=sys.stderr)
    traceback.print_exception(error, file=sys.stderr)


def read_token(descriptor: int) -> bytes:
    """The token this process was given. Raises HostError when there is none."""
    token = b""
    try:
        while len(token) < TOKEN_BYTES:
            part = os.read(descriptor, TOKEN_BYTES - len(token))
            if not part:
                break
            token += part
    except OSError:
        pass
    if len(token) != TOKEN_BYTES:
        raise HostError("no token came with this process", remedy="start plugins with `yumad plugin run FILE`")
    return token


@asynccontextmanager
async def connect_host(path: str, token: bytes) -> AsyncIterator[SocketHostClient]:
    """A greeted connection, carried while the block runs; the block is cancelled when the peer ends it.

    Raises HostError when the peer cannot be reached or refuses the token.
    """
    try:
        stream = await trio.open_unix_socket(path)
    except OSError as error:
        raise HostError(
            f"the peer's socket {path} cannot be reached: {error.strerror or error}", remedy="is the peer running?"
        ) from error
    client = SocketHostClient(stream)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(_carry, client, nursery.cancel_scope))
        await client.greet(token)
        yield client
        nursery.cancel_scope.cancel()


async def _carry(client: SocketHostClient, scope: trio.CancelScope, *, task_status: Any) -> None:
    await client.run(task_status=task_status)
    scope.cancel()
