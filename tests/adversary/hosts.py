"""Hosts for these tests: ours, and the library's own as it comes, run so that its death is observed and not shared."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.network.config import ConnectionConfig
from libp2p.pubsub.gossipsub import GossipSub
from libp2p.pubsub.pubsub import Pubsub
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr
from yumad.protocols.libp2p.host import Libp2pTransport
from yumad.protocols.transport import GossipVerdict, PeerId, Stream

TOPIC = "/yumad/00000000/test/1"
LOOPBACK = "/ip4/127.0.0.1/tcp/0"


@dataclass
class StockHost:
    """The library's host, as installed, and what became of it."""

    host: Any
    pubsub: Any
    address: str = ""
    died: trio.Event = field(default_factory=trio.Event)
    error: BaseException | None = None


@asynccontextmanager
async def stock_host(
    *,
    handlers: dict[str, Callable[[Any], Awaitable[None]]] | None = None,
    config: ConnectionConfig | None = None,
    gossip: bool = True,
    setup: Callable[[StockHost], Awaitable[None]] | None = None,
    **pubsub_options: Any,
) -> AsyncIterator[StockHost]:
    """A stock host on loopback; `setup` runs once it is up. Its exceptions end up in `error`."""
    host = new_host(
        key_pair=create_new_key_pair(random.randbytes(32)), listen_addrs=[Multiaddr(LOOPBACK)], connection_config=config
    )
    for protocol, handler in (handlers or {}).items():
        host.set_stream_handler(protocol, handler)
    pubsub = None
    if gossip:
        router = GossipSub(
            protocols=["/meshsub/1.2.0", "/meshsub/1.1.0"],
            degree=6,
            degree_low=4,
            degree_high=10,
            heartbeat_interval=1,
            spam_protection_enabled=False,
        )
        pubsub = Pubsub(host, router, **pubsub_options)
    victim = StockHost(host, pubsub)
    up = trio.Event()

    async def run() -> None:
        try:
            async with host.run([Multiaddr(LOOPBACK)]):
                victim.address = str(host.get_addrs()[0])
                if pubsub is None:
                    up.set()
                    await trio.sleep_forever()
                async with background_trio_service(pubsub), background_trio_service(pubsub.router):
                    await pubsub.wait_until_ready()
                    up.set()
                    await trio.sleep_forever()
        except Exception as error:
            victim.error = error
        finally:
            victim.died.set()
            up.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await up.wait()
        if setup is not None:
            await setup(victim)
        yield victim
        nursery.cancel_scope.cancel()


async def is_dead(victim: StockHost, seconds: float = 2.0) -> bool:
    """Whether the host dies within that time."""
    with trio.move_on_after(seconds):
        await victim.died.wait()
    return victim.died.is_set()


def make_transport(number: int, **options: Any) -> Libp2pTransport:
    """One of our hosts on loopback, with the key and the luck of a number."""
    seed = number.to_bytes(32, "big")
    return Libp2pTransport(seed, options.pop("listen", [LOOPBACK]), rng=random.Random(number), **options)


@asynccontextmanager
async def running(*transports: Libp2pTransport) -> AsyncIterator[trio.Nursery]:
    """Run our hosts."""
    async with trio.open_nursery() as nursery:
        for transport in transports:
            await nursery.start(transport.run)
        yield nursery
        nursery.cancel_scope.cancel()


async def echo(stream: Stream) -> None:
    """Stream handler: send back what comes."""
    while data := await stream.read_some(65_536):
        await stream.write_all(data)


def accept_all(store: list[bytes]) -> Callable[[PeerId, bytes], GossipVerdict]:
    """Validator that accepts everything into a list."""

    def validator(sender: PeerId, data: bytes) -> GossipVerdict:
        store.append(data)
        return GossipVerdict.ACCEPT

    return validator


async def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for a condition with a generous limit; raises trio.TooSlowError."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await trio.sleep(0.01)


async def probe(prober: Libp2pTransport, victim: Libp2pTransport) -> None:
    """An honest peer's call works: connect if needed, open /echo, one round trip."""
    await prober.dial(victim.addresses()[0])
    stream = await prober.open_stream(victim.local_peer, "/echo", timeout=5)
    try:
        with trio.fail_after(5):
            await stream.write_all(b"ping")
            assert await stream.read_exactly(4) == b"ping"
    finally:
        await stream.close()
