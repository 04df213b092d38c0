"""Streams kept open between calls, per peer (AXON R17, fact 3: a stream per call costs three times the CPU).

A stream carries one call at a time. Broken ones are dropped when they are met: a write to them fails at once, so the
call provably went nowhere and takes the next. Streams are given up here long before the server gives them up
(`AxonLimits.idle_connection`), so the two never disagree about one (AXON 7.8, keep-alive mismatch).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import trio

from ...consensus.types import AccountId
from ..transport import DialFailed, NotConnected, PeerId, Stream, StreamRefused
from .frames import FrameReader
from .interfaces import CallTransport, Endpoint
from .relay import RelayedStream, open_relayed, split_relay_address

MAX_IDLE: Final = 64
"""Unused streams kept per peer."""

MAX_STREAMS: Final = 192
"""Streams to one peer: below the transport's 256, which other protocols share."""

MAX_OPENING: Final = 16
"""Streams being opened to one peer at once: a peer takes 32 that have not named their protocol."""

IDLE_SECONDS: Final = 240.0
"""Age at which an unused stream is given up; the server waits 600 s."""


class Lane:
    """One stream to a server."""

    __slots__ = (
        "certified",
        "idle_since",
        "is_relayed",
        "lanes",
        "may_be_stale",
        "peer",
        "reader",
        "sent_at",
        "stream",
        "vouched",
    )

    def __init__(self, stream: Stream, peer: PeerId, lanes: PeerLanes) -> None:
        self.stream = stream
        self.peer = peer
        self.lanes = lanes
        """Where it is counted."""
        self.reader = FrameReader(stream)
        self.is_relayed = isinstance(stream, RelayedStream)
        """No handshake proved the peer: no certificate of it counts, and unsigned replies prove nothing."""
        self.may_be_stale = False
        """It was used before, and nothing of this call has come back on it."""
        self.sent_at = 0.0
        """When the call that it carries was handed to the network; 0 before."""
        self.idle_since = 0.0
        self.certified: dict[AccountId, int] = {}
        """Own hotkeys whose certificate the server has, with its expiry in ns."""
        self.vouched: dict[AccountId, int] = {}
        """Hotkeys that have certified the server's peer, with the expiry in ns."""


@dataclass(eq=False, slots=True)
class PeerLanes:
    """The streams to one peer."""

    idle: list[Lane] = field(default_factory=list)
    open: int = 0
    """Lanes that exist or are being opened."""
    waiting: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)
    opening: trio.Semaphore = field(default_factory=lambda: trio.Semaphore(MAX_OPENING))
    dialing: trio.Lock = field(default_factory=trio.Lock)
    dials: int = 0
    """Rounds of dials that are over."""
    failure: DialFailed | None = None
    """Of the last one."""


class StreamPool:
    """All streams of one protocol."""

    def __init__(self, transport: CallTransport, protocol_id: str, relay_protocol_id: str = "") -> None:
        """`relay_protocol_id`: of relays, tried when no direct address works; empty to use none."""
        self._transport = transport
        self._protocol_id = protocol_id
        self._relay_protocol_id = relay_protocol_id
        self._peers: dict[PeerId, PeerLanes] = {}

    def idle(self, peer: PeerId) -> int:
        """Unused streams kept to a peer."""
        lanes = self._peers.get(peer)
        return 0 if lanes is None else len(lanes.idle)

    def open(self, peer: PeerId) -> int:
        """Streams to a peer, used or not, and those being opened."""
        lanes = self._peers.get(peer)
        return 0 if lanes is None else lanes.open

    def uses(self, peer: PeerId) -> bool:
        """Whether streams to a peer are open or being opened: its connection is needed."""
        return peer in self._peers

    async def take(self, endpoint: Endpoint, *, timeout: float) -> Lane:
        """A kept stream or a new one, dialing if need be. Raises DialFailed or StreamRefused."""
        while True:
            lanes = self._lanes_of(endpoint.peer)
            if lanes.idle:
                return lanes.idle.pop()
            if lanes.open < MAX_STREAMS:
                return await self._new(lanes, endpoint, timeout)
            await lanes.waiting.park()

    async def take_new(self, endpoint: Endpoint, *, timeout: float) -> Lane:
        """A new stream, for calls that cannot be sent again. Raises DialFailed or StreamRefused."""
        while True:
            lanes = self._lanes_of(endpoint.peer)
            if lanes.open < MAX_STREAMS:
                return await self._new(lanes, endpoint, timeout)
            if lanes.idle:
                await self.drop(lanes.idle.pop(0))
            else:
                await lanes.waiting.park()

    def _lanes_of(self, peer: PeerId) -> PeerLanes:
        """Asked for anew after every wait: the last stream may have gone meanwhile, and its `PeerLanes` with it."""
        lanes = self._peers.get(peer)
        if lanes is None:
            lanes = self._peers[peer] = PeerLanes()
        return lanes

    async def _new(self, lanes: PeerLanes, endpoint: Endpoint, timeout: float) -> Lane:
        peer = endpoint.peer
        lanes.open += 1
        opened = False
        try:
            lane = Lane(await self._open(lanes, peer, endpoint.addresses, timeout), peer, lanes)
            opened = True
            return lane
        finally:
            if not opened:
                self._lost(peer, lanes)

    async def _open(self, lanes: PeerLanes, peer: PeerId, addresses: Sequence[str], timeout: float) -> Stream:
        asked = lanes.dials
        async with lanes.opening:
            try:
                return await self._transport.open_stream(peer, self._protocol_id, timeout=timeout)
            except NotConnected:
                pass
            try:
                await self._connect(lanes, peer, addresses, asked)
            except DialFailed as failure:
                return await self._open_relayed(addresses, failure, timeout)
            try:
                return await self._transport.open_stream(peer, self._protocol_id, timeout=timeout)
            except NotConnected as error:
                raise StreamRefused(f"the connection to {peer} broke at once") from error

    async def _open_relayed(self, addresses: Sequence[str], failure: DialFailed, timeout: float) -> Stream:
        """By the first relay that works (R35). Raises StreamRefused, or `failure` when no relay is known."""
        last: DialFailed | StreamRefused = failure
        for address in addresses:
            if not self._relay_protocol_id or split_relay_address(address) is None:
                continue
            try:
                return await open_relayed(self._transport, self._relay_protocol_id, address, timeout=timeout)
            except (DialFailed, StreamRefused) as error:
                last = error
        raise last

    async def _connect(self, lanes: PeerLanes, peer: PeerId, addresses: Sequence[str], asked: int) -> None:
        """Try the addresses in turn, once for all that wait for this peer. `asked` is `lanes.dials` as it was when this
        one began to wait. Raises DialFailed."""
        async with lanes.dialing:
            if self._transport.remote_address(peer) is not None:
                return
            if lanes.failure is not None and lanes.dials != asked:
                raise DialFailed(lanes.failure.address, lanes.failure.reason)  # while we waited: it would fail again
            lanes.failure = await self._dial(peer, addresses)
            lanes.dials += 1
            if lanes.failure is not None:
                raise lanes.failure

    async def _dial(self, peer: PeerId, addresses: Sequence[str]) -> DialFailed | None:
        """None when it is connected, else why not."""
        failure = DialFailed(peer, "no address is known and it is not connected")
        for address in addresses:
            if split_relay_address(address) is not None:
                continue
            try:
                found = await self._transport.dial(address)
            except DialFailed as error:
                failure = error
            else:
                if found == peer:
                    return None
                failure = DialFailed(address, f"it leads to {found}, not to {peer}")
        return failure

    async def give_back(self, lane: Lane) -> None:
        """The call is over and its last frame was read."""
        lanes = lane.lanes
        now = trio.current_time()
        lane.may_be_stale = True
        lane.sent_at = 0.0
        lane.idle_since = now
        if len(lanes.idle) >= MAX_IDLE:
            await self.drop(lane)
            return
        lanes.idle.append(lane)
        if lanes.waiting:
            lanes.waiting.unpark()
        elif now - lanes.idle[0].idle_since > IDLE_SECONDS:
            await self.drop(lanes.idle.pop(0))

    async def drop(self, lane: Lane) -> None:
        """The stream is broken, or carries something that nobody waits for any more."""
        self._lost(lane.peer, lane.lanes)
        await lane.stream.reset()

    def _lost(self, peer: PeerId, lanes: PeerLanes) -> None:
        lanes.open -= 1
        lanes.waiting.unpark()
        if lanes.open <= 0 and not lanes.waiting and self._peers.get(peer) is lanes:
            del self._peers[peer]

    async def aclose(self) -> None:
        """Give up every unused stream."""
        for lanes in list(self._peers.values()):
            while lanes.idle:
                await self.drop(lanes.idle.pop())
