"""One network in memory with callers and servers of the call protocol, in virtual time."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256

import trio
from yumad.consensus.signature import KeyPair
from yumad.consensus.types import AccountId, Hash32
from yumad.protocols.axon.client import AxonClient
from yumad.protocols.axon.envelope import Envelope, sign_envelope
from yumad.protocols.axon.frames import FrameReader, Kind, frame, with_body
from yumad.protocols.axon.interfaces import (
    Admission,
    CallReply,
    Endpoint,
    Freshness,
    IncomingCall,
    ServedMethod,
    Standing,
)
from yumad.protocols.axon.limits import AxonLimits
from yumad.protocols.axon.policy import Policy, Quota
from yumad.protocols.axon.replay import MemoryReplayStore
from yumad.protocols.axon.replies import Reply, decode_reply
from yumad.protocols.axon.server import AxonServer
from yumad.protocols.memory_transport import LinkQuality, MemoryNetwork
from yumad.protocols.peer_ledger import Offence
from yumad.protocols.transport import PeerId, Stream, Transport

GENESIS = Hash32(bytes(range(32)))
PROTOCOL = "/yumad/00010203/axon/1"
EPOCH_NS = 1_800_000_000 * 10**9
"""Unix time at which trio's clock shows 0 in these tests."""

NETUID = 7
OPEN = Policy(quota=Quota(rate=1e9, burst=1_000_000_000))
"""The default policy without a quota worth mentioning."""


def key(number: int) -> KeyPair:
    return KeyPair(bytes([number]) * 32)


def account(pair: KeyPair) -> AccountId:
    return AccountId(pair.public_key)


CALLER, SERVER, OTHER = key(1), key(2), key(3)


def now_ns() -> int:
    return EPOCH_NS + int(trio.current_time() * 1e9)


class FreeTicket:
    def release(self, handler_seconds: float | None = None) -> None:
        pass


class FreeQueue:
    """Everybody runs at once."""

    async def enter(self, **_: object) -> FreeTicket:
        return FreeTicket()


class NoQuota:
    def take(self, *_: object) -> int:
        return 0


FREE = Admission(FreeQueue(), NoQuota())


class View:
    """Everybody has a permit unless told otherwise."""

    def __init__(self) -> None:
        self.standings: dict[AccountId, Standing] = {}
        self.age = Freshness.FRESH
        self.default = Standing(uid=5, permit=True, stake=1000)

    def standing(self, netuid: int, hotkey: AccountId) -> Standing:
        return self.standings.get(hotkey, self.default)

    def freshness(self, netuid: int) -> Freshness:
        return self.age


class Book:
    """A directory of what the test says."""

    def __init__(self) -> None:
        self.rows: dict[AccountId, list[Endpoint]] = {}

    def endpoints(self, netuid: int, hotkey: AccountId) -> Sequence[Endpoint]:
        return self.rows.get(hotkey, ())


class Offences:
    def __init__(self) -> None:
        self.seen: list[tuple[PeerId, Offence]] = []

    def offend(self, peer: PeerId, offence: Offence) -> None:
        self.seen.append((peer, offence))

    def useful(self, peer: PeerId) -> None:
        pass


async def echo(call: IncomingCall) -> CallReply:
    return CallReply(body=bytes(call.body))


def random_bytes(seed: int = 0) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes


class World:
    """A server peer `miner` and a client peer `validator` that knows where SERVER is."""

    def __init__(
        self,
        server_transport: Transport,
        client_transport: Transport,
        *,
        clock: Callable[[], int] = now_ns,
        limits: AxonLimits | None = None,
        admission: Admission = FREE,
        addresses: tuple[str, ...] = (),
    ) -> None:
        self.view = View()
        self.book = Book()
        self.offences = Offences()
        self.server_transport = server_transport
        self.client_transport = client_transport
        self.replay = MemoryReplayStore(clock, salt=bytes(16))
        self.server = AxonServer(
            server_transport,
            PROTOCOL,
            GENESIS,
            self.view,
            admission,
            self.replay,
            now_ns=clock,
            penalties=self.offences,
            limits=limits,
        )
        self.client = AxonClient(
            client_transport,
            PROTOCOL,
            GENESIS,
            self.book,
            now_ns=clock,
            random_bytes=random_bytes(),
            limits=limits,
        )
        self.endpoint = Endpoint(server_transport.local_peer, addresses)
        self.book.rows[account(SERVER)] = [self.endpoint]

    def serve(self, handler: Callable[[IncomingCall], object] = echo, *methods: ServedMethod):  # type: ignore[no-untyped-def]
        return self.server.register(SERVER, NETUID, methods or (ServedMethod("echo", policy=OPEN),), handler)

    async def call(self, body: bytes = b"hello", method: str = "echo", *, timeout: float = 5.0, **options: object):  # type: ignore[no-untyped-def]
        return await self.client.call(CALLER, NETUID, account(SERVER), method, body, timeout=timeout, **options)

    def outcomes(self) -> dict[str, int]:
        return {status.name: count for (_, status), count in self.server.outcomes.items()}


@asynccontextmanager
async def memory_world(
    *, limits: AxonLimits | None = None, admission: Admission = FREE, latency: float = 0.02
) -> AsyncIterator[World]:
    network = MemoryNetwork(random.Random(1), LinkQuality(latency))
    miner, validator = network.transport("miner"), network.transport("validator")
    async with trio.open_nursery() as nursery:
        await nursery.start(miner.run)
        await nursery.start(validator.run)
        world = World(miner, validator, limits=limits, admission=admission, addresses=("/memory/p2p/miner",))
        world.network = network  # type: ignore[attr-defined]
        yield world
        nursery.cancel_scope.cancel()


def signed_call(
    body: bytes = b"hello",
    *,
    signer: KeyPair = CALLER,
    request_id: bytes = b"0123456789abcdef",
    seconds: float = 5.0,
    **changes: object,
) -> Envelope:
    """A good envelope to SERVER's echo, or one with `changes`; signed by `signer` after them."""
    created = now_ns()
    fields: dict[str, object] = {
        "genesis_hash": GENESIS,
        "netuid": NETUID,
        "method": "echo",
        "method_version": 1,
        "caller": account(signer),
        "receiver": account(SERVER),
        "request_id": request_id,
        "created": created,
        "deadline": created + int(seconds * 1e9),
        "body_length": len(body),
        "body_hash": sha256(body).digest(),
        **changes,
    }
    return sign_envelope(Envelope(**fields), signer)  # type: ignore[arg-type]


class RawCaller:
    """A stream whose bytes the test writes itself."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.reader = FrameReader(stream)

    @staticmethod
    async def open(world: World) -> RawCaller:
        await world.client_transport.dial(world.endpoint.addresses[0])
        return RawCaller(await world.client_transport.open_stream(world.endpoint.peer, PROTOCOL, timeout=5))

    async def send(self, envelope: Envelope | bytes, body: bytes = b"hello") -> None:
        data = envelope if isinstance(envelope, bytes) else envelope.encode()
        await self.stream.write_all(with_body(frame(Kind.CALL, data), body))

    async def write(self, *frames: bytes) -> None:
        await self.stream.write_all(b"".join(frames))

    async def frame(self) -> tuple[Kind, bytes] | None:
        header = await self.reader.header()
        return None if header is None else (header[0], await self.reader.payload(header[1]))

    async def reply(self) -> Reply:
        """The next frame, which must be a reply head; its body is read past."""
        found = await self.frame()
        assert found is not None, "the server ended the stream"
        assert found[0] is Kind.REPLY, found
        reply = decode_reply(found[1])
        left = reply.body_length
        while left:
            part = await self.frame()
            assert part is not None
            assert part[0] is Kind.DATA
            left -= len(part[1])
        return reply

    async def ask(self, envelope: Envelope | bytes, body: bytes = b"hello") -> Reply:
        await self.send(envelope, body)
        return await self.reply()
