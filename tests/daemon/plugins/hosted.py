"""A plugin host over a peer in memory, and real plugin processes made of a few lines each."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import trio
from yumad.consensus.dev_accounts import dev_keypair
from yumad.consensus.types import AccountId
from yumad.daemon.plugins.backend import PluginIdentity
from yumad.daemon.plugins.host import HostSettings, PluginHost
from yumad.daemon.plugins.life import PluginTimes
from yumad.daemon.plugins.settings import PluginSettings
from yumad.protocols.axon.blob_transfer import BlobUnavailable
from yumad.protocols.axon.interfaces import (
    CallReply,
    CallResult,
    CallTerms,
    Handler,
    Latency,
    ServedMethod,
    Standing,
    StreamAborted,
)
from yumad.protocols.axon.status import Status
from yumad.protocols.transport import PeerId

PREAMBLE = '''
import os, sys, trio
from yumad.plugin.host_client import connect_host, read_token
from yumad.protocols.axon.interfaces import CallReply, ServedMethod
from yumad.protocols.axon.status import Status

PATH, TOKEN = os.environ["YUMAD_PLUGIN_SOCKET"], read_token(int(os.environ["YUMAD_PLUGIN_TOKEN_FD"]))

def serve(handler, *, methods=("echo",), beside=None, **how):
    """Greet, be ready with `methods`, answer with `handler`; `beside(client)` runs too."""
    async def main():
        async with connect_host(PATH, TOKEN) as client:
            client.set_handler(handler)
            role = client.facts.roles[0]
            served = [ServedMethod(name, **how) for name in methods]
            await client.ready("test", 1, role, served)
            async with trio.open_nursery() as nursery:
                if beside is not None:
                    nursery.start_soon(beside, client)
                await client.drained()
                nursery.cancel_scope.cancel()
    trio.run(main)

async def echo(call):
    return CallReply(body=bytes(call.body))
'''
"""What the small plugins below begin with: the process side without an author's `Subnet`."""

QUICK = PluginTimes(ping_every=0.1, pong=10.0, drain=5.0, grace=2.0, first_pause=0.05, longest_pause=0.2)
"""For tests in which nothing hangs: short where tests wait for it, long where a slow machine would fail them."""

PATIENCE = 20.0
"""Seconds after which a test says that something never came: far above what any takes."""


def python(file: Path) -> tuple[str, ...]:
    """The file itself, without the loader of real plugins."""
    return (sys.executable, "-P", str(file))


@dataclass
class Served:
    """A registration of the peer in memory."""

    who: PluginIdentity
    methods: Sequence[ServedMethod]
    handler: Handler
    open: bool = True

    def replace(self, methods: Sequence[ServedMethod], handler: Handler) -> None:
        self.methods, self.handler = methods, handler

    def close(self) -> None:
        self.open = False


@dataclass
class Incoming:
    """One admitted call."""

    method: ServedMethod
    body: bytes
    netuid: int = 1
    caller: AccountId = AccountId(dev_keypair("caller").public_key)
    caller_standing: Standing = Standing(7, True, 123)
    receiver: AccountId = AccountId(dev_keypair("sn1/3").public_key)
    request_id: bytes = bytes(16)
    deadline: float = 0.0
    codecs: Sequence[str] = ("zstd",)
    peer: PeerId = PeerId("caller")
    given: Sequence[bytes] = ()
    cut: bool = False
    sent: list[bytes] = field(default_factory=list)

    async def messages(self) -> AsyncIterator[bytes]:
        for message in self.given:
            yield message
        if self.cut:
            raise StreamAborted(Status.STREAM_ABORTED, "cut")

    async def send(self, message: bytes) -> None:
        self.sent.append(message)


class MemoryPeer:
    """A `PluginBackend` that keeps what plugins tell it, and answers calls itself."""

    def __init__(self) -> None:
        self.served: list[Served] = []
        self.asked: list[tuple[str, PluginIdentity, Any]] = []
        self.answer: Callable[[AccountId, bytes], bytes] = lambda target, body: body
        self.rows: list[dict[str, Any]] = []
        self.blobs: dict[bytes, bytes] = {}
        self.heard: list[tuple[str, str, int]] = []
        """What the host told about plugins: word, plugin, version."""

    def enlist(self, who: PluginIdentity) -> None:
        self.heard.append(("enlist", who.name, 0))

    def set_version(self, who: PluginIdentity, version: int) -> None:
        self.heard.append(("version", who.name, version))

    def dismiss(self, who: PluginIdentity) -> None:
        self.heard.append(("dismiss", who.name, 0))

    def register(self, who: PluginIdentity, methods: Sequence[ServedMethod], handler: Handler) -> Served:
        self.served.append(Served(who, methods, handler))
        return self.served[-1]

    @property
    def latest(self) -> Served:
        return self.served[-1]

    async def ask(self, body: bytes = b"hello", *, seconds: float = PATIENCE, name: str = "", **how: Any) -> CallReply:
        """What the latest plugin answers to a call."""
        served = self.latest
        if not served.open:
            return CallReply(Status.UNKNOWN_METHOD)
        method = next(m for m in served.methods if not name or m.name == name)
        return await served.handler(Incoming(method, body, deadline=trio.current_time() + seconds, **how))

    async def call(
        self, who: PluginIdentity, target: AccountId, method: str, version: int, body: bytes, terms: CallTerms
    ) -> CallResult:
        self.asked.append(("call", who, (target, method, version, body, terms)))
        return self._result(target, body)

    def _result(self, target: AccountId, body: bytes) -> CallResult:
        return CallResult(
            target, Status.OK, self.answer(target, body), latency=Latency(total=0.25), sent_at=trio.current_time() - 1
        )

    async def call_many(
        self, who: PluginIdentity, bodies: Mapping[AccountId, bytes], method: str, version: int, terms: CallTerms
    ) -> list[CallResult]:
        self.asked.append(("call_many", who, (dict(bodies), terms)))
        return [self._result(target, body) for target, body in bodies.items()]

    @asynccontextmanager
    async def stream(
        self, who: PluginIdentity, target: AccountId, method: str, version: int, body: bytes, terms: CallTerms
    ) -> AsyncIterator[EchoStream]:
        self.asked.append(("stream", who, (target, method, body, terms)))
        yield EchoStream(target)

    async def metagraph(self, who: PluginIdentity) -> Mapping[str, Any]:
        self.asked.append(("metagraph", who, None))
        return {"block": 5, "netuid": who.netuid, "hotkey": "own", "tempo": 10, "neurons": []}

    async def query(self, who: PluginIdentity, read: str, params: Sequence[Any]) -> Any:
        self.asked.append(("query", who, (read, list(params))))
        return {"read": read, "n": len(params)}

    async def scores_update(
        self, who: PluginIdentity, scores: Mapping[AccountId, float], aggregator: str, params: Mapping[str, Any],
        round: int,
    ) -> None:  # fmt: skip
        self.asked.append(("scores_update", who, (dict(scores), aggregator, dict(params), round)))

    async def scores_load(
        self, who: PluginIdentity, aggregator: tuple[str, Mapping[str, Any]] | None
    ) -> Sequence[Mapping[str, Any]]:
        self.asked.append(("scores_load", who, aggregator))
        return self.rows

    async def scores_store(
        self, who: PluginIdentity, rows: Sequence[Mapping[str, Any]], aggregator: str, params: Mapping[str, Any],
        round: int,
    ) -> None:  # fmt: skip
        self.asked.append(("scores_store", who, (list(rows), aggregator, dict(params), round)))

    async def blob_put(self, who: PluginIdentity, content: BinaryIO, to: Collection[AccountId] | None) -> bytes:
        self.asked.append(("blob_put", who, to))
        with content:
            data = content.read()
        blob_hash = sha256(data).digest()
        self.blobs[blob_hash] = data
        return blob_hash

    async def blob_get(
        self, who: PluginIdentity, blob_hash: bytes, target: AccountId, max_size: int, place: Callable[[Path], Path]
    ) -> Path:
        self.asked.append(("blob_get", who, (blob_hash, target, max_size)))
        if blob_hash not in self.blobs:
            raise BlobUnavailable("no source gave its list")
        with tempfile.NamedTemporaryFile() as file:
            file.write(self.blobs[blob_hash])
            file.flush()
            return place(Path(file.name))


class EchoStream:
    """Gives back every message, and then ends."""

    def __init__(self, target: AccountId) -> None:
        self._target = target
        self._put, self._get = trio.open_memory_channel[bytes](64)
        self.count = 0

    async def send(self, message: bytes) -> None:
        self.count += 1
        await self._put.send(message)

    async def end(self) -> None:
        self._put.close()

    async def messages(self) -> AsyncIterator[bytes]:
        async for message in self._get:
            yield message

    async def result(self) -> CallResult:
        return CallResult(self._target, Status.OK, b"%d" % self.count)


def settings(file: Path, *, role: str = "miner", **others: Any) -> PluginSettings:
    return PluginSettings(str(file), 1, role, others.pop("hotkey", "dev:sn1/3"), **others)


@asynccontextmanager
async def hosting(
    folder: Path, *, times: PluginTimes = QUICK, launcher: Any = python
) -> AsyncIterator[tuple[PluginHost, MemoryPeer]]:
    """A running host with its peer."""
    peer = MemoryPeer()
    (folder / "plugins").mkdir(exist_ok=True)
    host = PluginHost(folder / "plugins", folder / "p.sock", peer, HostSettings(times=times, launcher=launcher))
    async with trio.open_nursery() as nursery:
        await nursery.start(host.run)
        yield host, peer
        nursery.cancel_scope.cancel()


def write(folder: Path, code: str, name: str = "small.py") -> Path:
    """A plugin of a few lines."""
    file = folder / name
    file.write_text(PREAMBLE + code)
    return file


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another process does."""
    with trio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110 -- another process does it, and there is no event for that
            await trio.sleep(0.01)


def state(host: PluginHost, name: str = "small") -> str:
    return str(next(d["state"] for d in host.documents() if d["name"] == name))


def log_of(host: PluginHost, name: str = "small") -> str:
    return "\n".join(line.text for line in host.lines(name, after=0, most=100))
