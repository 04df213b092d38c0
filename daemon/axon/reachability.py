"""Looking whether the miners of a subnet can be reached, at moments they cannot foresee (AXON R31).

A probe opens an axon stream and closes it: the handshake proves the peer that the hotkey's record names, and the time
it takes is the latency. Rounds are as long as a third of a report's life; inside a round every miner has its own random
moment.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

import trio

from ...consensus.types import AccountId
from ...protocols.axon.interfaces import Directory, Endpoint
from ...protocols.axon.relay import open_relayed, relay_protocol, split_relay_address
from ...protocols.names import NetworkNames
from ...protocols.transport import DialFailed, NotConnected, PeerId, Stream, StreamRefused, Transport
from .directory import Latencies

ROUND_SECONDS: Final = 300.0
"""Of one round, from which a report is made."""

FIRST_ROUND_SECONDS: Final = 20.0
"""Of the first one: who has just started wants to see something."""

LOOK_EVERY: Final = 5.0
"""Seconds between looks for subnets that are followed since; who has just been followed is known by then."""

PROBE_TIMEOUT: Final = 5.0
"""Seconds to reach a peer directly, dialing included, and again through relays; slower is not reached."""

MAX_PROBES: Final = 8
"""At one time."""

MAX_TRIED: Final = 3
"""Endpoints of one hotkey that are tried in a round."""

MAX_DIALED: Final = 3
"""Addresses of one endpoint that a probe dials. Records may name a victim's addresses, eight in each of eight replicas:
every prober would knock there for all of them."""

Report = Callable[[int, Mapping[AccountId, int | None]], Awaitable[None]]
"""`(netuid, milliseconds or None by hotkey)`, after every round."""


class Prober:
    """Probes in rounds; `run` until cancelled."""

    def __init__(
        self,
        transport: Transport,
        names: NetworkNames,
        directory: Directory,
        latencies: Latencies,
        rng: random.Random,
        *,
        in_use: Callable[[PeerId], bool] = lambda peer: False,
    ) -> None:
        """`in_use` says whether somebody else needs the connection that a probe has made; if not, it is closed."""
        self._transport = transport
        self._protocol = names.request("axon")
        self._relay_protocol = relay_protocol(names)
        self._directory = directory
        self._latencies = latencies
        self._rng = rng
        self._in_use = in_use
        self._probing: Counter[PeerId] = Counter()
        """Probes that use a connection now."""
        self._ours: set[PeerId] = set()
        """Peers among them that were not connected when the first probe began."""

    async def run(
        self, netuids: Callable[[], Iterable[int]], hotkeys: Callable[[int], Iterable[AccountId]], report: Report
    ) -> None:
        """Round after round over each subnet of `netuids()`; `hotkeys(netuid)` are those that serve it."""
        watched: set[int] = set()

        async def watch(netuid: int) -> None:
            seconds = FIRST_ROUND_SECONDS
            while netuid in set(netuids()):
                ends = trio.current_time() + seconds
                latencies = await self.round(netuid, tuple(hotkeys(netuid)), seconds)
                await trio.sleep_until(ends)
                if latencies:
                    await report(netuid, latencies)
                seconds = ROUND_SECONDS
            watched.discard(netuid)

        async with trio.open_nursery() as nursery:
            while True:
                for netuid in sorted(set(netuids()) - watched):
                    watched.add(netuid)
                    nursery.start_soon(watch, netuid)
                await trio.sleep(LOOK_EVERY)

    async def round(self, netuid: int, hotkeys: Iterable[AccountId], seconds: float) -> dict[AccountId, int | None]:
        """Probe each hotkey once at a random moment within `seconds`; milliseconds, None when it was not reached.

        Hotkeys whose addresses we do not know, or may not read, are left out: nothing was learned of them.
        """
        found: dict[AccountId, int | None] = {}
        limiter = trio.CapacityLimiter(MAX_PROBES)
        started = trio.current_time()

        async def probe_at(hotkey: AccountId, moment: float) -> None:
            await trio.sleep_until(moment)
            async with limiter:
                await self._probe_hotkey(netuid, hotkey, found)

        async with trio.open_nursery() as nursery:
            for hotkey in hotkeys:
                nursery.start_soon(probe_at, hotkey, started + self._rng.random() * seconds)
        return found

    async def _probe_hotkey(self, netuid: int, hotkey: AccountId, found: dict[AccountId, int | None]) -> None:
        """Note the latency of its first endpoint that answers; nothing when there is none that we could try."""
        others = [
            endpoint
            for endpoint in self._directory.endpoints(netuid, hotkey)
            if endpoint.peer != self._transport.local_peer
        ]
        for endpoint in others[:MAX_TRIED]:
            latency = await self.probe(endpoint)
            found[hotkey] = None if latency is None else round(latency * 1000)
            if latency is not None:
                return

    async def probe(self, endpoint: Endpoint) -> float | None:
        """Seconds to open an axon stream to the peer, by the first of its addresses that works; None when none does."""
        latency = None
        self._enter(endpoint)
        try:
            for way in (self._probe_directly, self._probe_by_relay):
                with trio.move_on_after(PROBE_TIMEOUT):  # each its own: a dial that nobody answers takes all of it
                    latency = await way(endpoint)
                if latency is not None:
                    break
        finally:
            with trio.CancelScope(shield=True):
                await self._leave(endpoint)
        if latency is None:
            self._latencies.failed(endpoint.peer)
        else:
            self._latencies.note(endpoint.peer, latency)
        return latency

    async def _probe_directly(self, endpoint: Endpoint) -> float | None:
        direct = [address for address in endpoint.addresses if split_relay_address(address) is None]
        for address in ("", *direct[:MAX_DIALED]):
            try:
                if address:
                    await self._transport.dial(address)
                started = trio.current_time()
                stream = await self._transport.open_stream(endpoint.peer, self._protocol, timeout=PROBE_TIMEOUT)
            except (NotConnected, DialFailed):
                continue
            except StreamRefused:  # it is there and does not serve: another address leads to the same peer
                return None
            return await self._end(stream, started)
        return None

    async def _probe_by_relay(self, endpoint: Endpoint) -> float | None:
        for address in endpoint.addresses:
            way = split_relay_address(address)
            if way is None or way[1] == self._transport.local_peer:
                continue
            started = trio.current_time()
            try:
                stream = await open_relayed(self._transport, self._relay_protocol, address, timeout=PROBE_TIMEOUT)
            except (DialFailed, StreamRefused):
                continue
            return await self._end(stream, started)
        return None

    @staticmethod
    async def _end(stream: Stream, started: float) -> float:
        latency = trio.current_time() - started
        with trio.CancelScope(shield=True):
            await stream.reset()
        return latency

    def _enter(self, endpoint: Endpoint) -> None:
        for peer in _peers_of(endpoint):
            self._probing[peer] += 1
            if peer not in self._transport.connected():
                self._ours.add(peer)

    async def _leave(self, endpoint: Endpoint) -> None:
        """Close the connections that probes have made, with the last of them: a peer may serve many hotkeys.

        256 miners are more than a peer has room for.
        """
        for peer in _peers_of(endpoint):
            self._probing[peer] -= 1
            if self._probing[peer]:
                continue
            del self._probing[peer]
            if peer in self._ours:
                self._ours.discard(peer)
                if peer in self._transport.connected() and not self._in_use(peer):
                    await self._transport.disconnect(peer)


def _peers_of(endpoint: Endpoint) -> tuple[PeerId, ...]:
    """The peer and the relays on the way to it."""
    ways = (split_relay_address(address) for address in endpoint.addresses)
    return tuple(dict.fromkeys((endpoint.peer, *(way[1] for way in ways if way is not None))))
