"""The rows of bench_axon.py that run on trio: bare py-libp2p, our transport, and our calls over it.

    bench_axon_rows.py server ROW
    bench_axon_rows.py client ROW ADDRESS
    bench_axon_rows.py peers COUNT
    bench_axon_rows.py fanout memory COUNT
    bench_axon_rows.py fanout tcp ADDRESS …

Started by bench_axon.py. A server prints its address and serves until it is killed; a client takes commands, a line of
JSON each, and answers each with a line.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import trio
from bench_axon_cases import Client, Connect, answer_to, run_case
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.custom_types import TProtocol
from libp2p.peer.peerinfo import info_from_p2p_addr
from multiaddr import Multiaddr
from yumad.consensus.types import AccountId
from yumad.protocols.libp2p.connection_limits import ConnectionLimits
from yumad.protocols.libp2p.host import Libp2pTransport
from yumad.protocols.transport import PeerId, Stream

LOOPBACK = "/ip4/127.0.0.1/tcp/0"
ECHO = "/echo/1"


def say(document: dict[str, Any]) -> None:
    """One line to the main program."""
    print(json.dumps(document), flush=True)


async def together(*functions: Callable[[], Awaitable[None]]) -> None:
    """All at the same time."""
    async with trio.open_nursery() as nursery:
        for function in functions:
            nursery.start_soon(function)


# --- floor: the library as installed ---------------------------------------------------------------------------------


async def read_all(read: Callable[[int], Awaitable[bytes]], count: int) -> bytes:
    """Exactly `count` bytes of a library stream."""
    data = bytearray()
    while len(data) < count:
        part = await read(count - len(data))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


async def echo_frames(read: Callable[[int], Awaitable[bytes]], write: Callable[[bytes], Awaitable[None]]) -> None:
    """Answer `u32 length | body` frames until the stream ends."""
    try:
        while True:
            size = int.from_bytes(await read_all(read, 4), "big")
            answer = answer_to(await read_all(read, size))
            await write(len(answer).to_bytes(4, "big") + answer)
    except Exception:  # the library has many ways to say that a stream is over
        return


class FramedClient:
    """Raw frames over kept streams; as many as there are calls at once."""

    def __init__(self, open_stream: Callable[[], Awaitable[Any]], exit_stack: AsyncExitStack) -> None:
        self._open_stream = open_stream
        self._exit_stack = exit_stack
        self._idle: list[Any] = []
        self._opening = trio.Semaphore(16)
        """A peer takes 32 streams that have not named their protocol."""

    async def _open(self) -> Any:
        async with self._opening:
            return await self._open_stream()

    async def call(self, body: bytes) -> bytes:
        """One round trip."""
        stream = self._idle.pop() if self._idle else await self._open()
        read = stream.read_some if hasattr(stream, "read_some") else stream.read
        write = stream.write_all if hasattr(stream, "write_all") else stream.write
        await write(len(body).to_bytes(4, "big") + body)
        size = int.from_bytes(await read_all(read, 4), "big")
        answer = await read_all(read, size)
        self._idle.append(stream)
        return answer

    async def close(self) -> None:
        """End the host."""
        await self._exit_stack.aclose()


async def serve_floor() -> None:
    """A host of the library with its defaults."""
    host = new_host(key_pair=create_new_key_pair(os.urandom(32)))

    async def handle(stream: Any) -> None:
        await echo_frames(stream.read, stream.write)

    host.set_stream_handler(TProtocol(ECHO), handle)
    async with host.run([Multiaddr(LOOPBACK)]):
        say({"address": str(host.get_addrs()[0])})
        await trio.sleep_forever()


async def connect_floor(address: str) -> Client:
    """The same, dialing."""
    host = new_host(key_pair=create_new_key_pair(os.urandom(32)))
    stack = AsyncExitStack()
    await stack.enter_async_context(host.run([Multiaddr(LOOPBACK)]))
    info = info_from_p2p_addr(Multiaddr(address))
    await host.connect(info)
    return FramedClient(lambda: host.new_stream(info.peer_id, [TProtocol(ECHO)]), stack)


# --- our transport, without calls ------------------------------------------------------------------------------------


def make_transport(connections: int = 64) -> Libp2pTransport:
    """A host of ours with a new key."""
    limits = ConnectionLimits(total=connections)
    return Libp2pTransport(os.urandom(32), [LOOPBACK], rng=random.Random(1), limits=limits)


async def enter_transport(stack: AsyncExitStack, transport: Libp2pTransport) -> None:
    """Run until the stack is closed."""
    nursery = await stack.enter_async_context(trio.open_nursery())
    stack.callback(nursery.cancel_scope.cancel)
    await nursery.start(transport.run)


async def serve_transport() -> None:
    """Frames over our transport."""
    transport = make_transport()

    async def handle(stream: Stream) -> None:
        await echo_frames(stream.read_some, stream.write_all)

    transport.set_stream_handler(ECHO, handle)
    async with trio.open_nursery() as nursery:
        await nursery.start(transport.run)
        say({"address": transport.addresses()[0]})


async def connect_transport(address: str) -> Client:
    """The same, dialing."""
    transport, stack = make_transport(), AsyncExitStack()
    await enter_transport(stack, transport)
    peer = await transport.dial(address)
    return FramedClient(partial(transport.open_stream, peer, ECHO, timeout=10), stack)


# --- our calls -------------------------------------------------------------------------------------------------------


async def serve_axon() -> None:
    """Signed calls over our transport, with everything that a peer checks."""
    from bench_axon_calls import run_axon_server

    transport = make_transport()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_axon_server, transport)
        await nursery.start(transport.run)
        say({"address": transport.addresses()[0]})


async def connect_axon(address: str) -> Client:
    """The same, calling."""
    from bench_axon_calls import AxonCaller

    transport, stack = make_transport(), AsyncExitStack()
    await enter_transport(stack, transport)
    return AxonCaller(transport, PeerId(address.rpartition("/")[2]), address, stack)


async def serve_peers(count: int) -> None:
    """Many peers of ours in one process."""
    from bench_axon_calls import miners, serve_miner

    async with trio.open_nursery() as nursery:
        addresses = []
        for miner in miners(count):
            transport = make_transport()
            serve_miner(transport, miner)
            await nursery.start(transport.run)
            addresses += transport.addresses()
        say({"addresses": addresses})


async def call_peers(addresses: list[str]) -> None:
    """Call them all."""
    from bench_axon_calls import fan_out, miners
    from yumad.protocols.axon.interfaces import Endpoint

    peers = [PeerId(address.rpartition("/")[2]) for address in addresses]
    endpoints = {
        AccountId(miner.public_key): Endpoint(peer, (address,))
        for miner, peer, address in zip(miners(len(addresses)), peers, addresses, strict=True)
    }
    transport = make_transport(connections=len(addresses) + 64)
    async with trio.open_nursery() as nursery:
        await nursery.start(transport.run)
        say(await fan_out(transport, endpoints))
        nursery.cancel_scope.cancel()


ROWS: dict[str, tuple[Callable[[], Awaitable[None]], Callable[[str], Awaitable[Client]]]] = {
    "floor": (serve_floor, connect_floor),
    "transport": (serve_transport, connect_transport),
    "axon": (serve_axon, connect_axon),
}


async def take_commands(connect: Connect) -> None:
    """Run cases until the input ends."""
    client = await connect()
    say({})
    source = trio.lowlevel.FdStream(os.dup(0))
    buffered = b""
    async for part in source:
        buffered += part
        while b"\n" in buffered:
            line, _, buffered = buffered.partition(b"\n")
            say(await run_case(json.loads(line), client, connect, together))
    await client.close()


async def main() -> None:
    """See the module text."""
    role, *rest = sys.argv[1:]
    if role == "peers":
        await serve_peers(int(rest[0]))
    elif role == "fanout" and rest[0] == "memory":
        from bench_axon_calls import fan_out_in_memory

        say(await fan_out_in_memory(int(rest[1])))
    elif role == "fanout":
        await call_peers(rest[1:])
    elif role == "server":
        await ROWS[rest[0]][0]()
    else:
        await take_commands(partial(ROWS[rest[0]][1], rest[1]))


if __name__ == "__main__":
    trio.run(main)
