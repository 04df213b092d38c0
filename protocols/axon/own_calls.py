"""Calls of a peer to itself: a validator and a miner may run on the same peer, and a peer cannot dial itself.

`WithOwnCalls` is the peer's transport for the call protocol. A stream to the own peer id is a pair of pipes in memory
that ends in the same handler as one from the network; everything else goes to the real transport.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ..memory_stream import MemoryStream, Pipe
from ..transport import PeerId, Stream, StreamHandler, StreamRefused, Transport

if TYPE_CHECKING:
    from trio_typing import TaskStatus

MAX_OWN_STREAMS = 256
"""At once; as many as a connection to another peer carries."""


class WithOwnCalls:
    """The part of a `Transport` that call server and client use. `run` it beside the real one."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._handlers: dict[str, StreamHandler] = {}
        self._nursery: trio.Nursery | None = None
        self._open = 0

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve own streams until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    @property
    def local_peer(self) -> PeerId:
        """Our own peer id."""
        return self._transport.local_peer

    def set_stream_handler(self, protocol: str, handler: StreamHandler) -> None:
        """Serve `protocol`, for others and for this peer."""
        self._handlers[protocol] = handler
        self._transport.set_stream_handler(protocol, handler)

    def remote_address(self, peer: PeerId) -> str | None:
        """As the real transport's; this peer is on this machine."""
        return "/ip4/127.0.0.1" if peer == self.local_peer else self._transport.remote_address(peer)

    async def dial(self, address: str) -> PeerId:
        """As the real transport's; nothing needs to be dialed to reach oneself."""
        if address.endswith(f"/p2p/{self.local_peer}"):
            return self.local_peer
        return await self._transport.dial(address)

    async def open_stream(self, peer: PeerId, protocol: str, *, timeout: float) -> Stream:
        """A stream to another peer, or to ourselves. Raises NotConnected or StreamRefused."""
        if peer != self.local_peer:
            return await self._transport.open_stream(peer, protocol, timeout=timeout)
        handler = self._handlers.get(protocol)
        if handler is None or self._nursery is None or self._open >= MAX_OWN_STREAMS:
            raise StreamRefused(f"this peer does not serve {protocol} now")
        there, back = Pipe(), Pipe()
        self._open += 1
        self._nursery.start_soon(self._serve, handler, MemoryStream(self, peer, there, back))
        return MemoryStream(self, peer, back, there)

    async def _serve(self, handler: StreamHandler, stream: MemoryStream) -> None:
        """As a transport does: closed when the handler returns, reset when it raises."""
        try:
            await handler(stream)
            await stream.close()
        except Exception:  # as from the network: a fault of a handler is the end of its stream, and of nothing else
            await stream.reset()
        finally:
            self._open -= 1

    # --- memory_stream.Carrier ----------------------------------------------------------------------------------------

    def carry(self, peer: PeerId, pipe: Pipe, chunk: bytes | None) -> None:
        """Bytes arrive at once."""
        if chunk is not None:
            pipe.in_flight += len(chunk)
        pipe.arrive(chunk)

    def break_connection(self, peer: PeerId) -> None:
        """A reader that never reads: the writer is told, and there is no connection to break."""

    def stream_over(self, stream: MemoryStream) -> None:
        """Nothing is counted by stream."""
