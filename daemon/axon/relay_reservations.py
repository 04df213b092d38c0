"""Keeping reservations at relays while this peer cannot be dialed, or must not be (AXON R35, complaint C8)."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

import trio

from ...consensus.types import MalformedError
from ...protocols.axon.records import parse_service_address
from ...protocols.axon.relay import LEASE, relay_protocol, reserve
from ...protocols.names import NetworkNames
from ...protocols.transport import PeerId, Transport, TransportError

RELAYS: Final = 2
"""Relays used at one time: one may go away."""

LOOK_EVERY: Final = 2.0
"""Seconds between looks whether a relay is missing."""

RETRY_AFTER: Final = 300.0
"""Seconds before a peer that refused is asked again."""


class RelayReservations:
    """Reserves at connected peers whose address is known; `run` until cancelled."""

    def __init__(
        self,
        transport: Transport,
        names: NetworkNames,
        rng: random.Random,
        address_of: Callable[[PeerId], str | None],
    ) -> None:
        self._transport = transport
        self._protocol = relay_protocol(names)
        self._rng = rng
        self._address_of = address_of
        self._held: dict[PeerId, tuple[str, float]] = {}
        self._refused: dict[PeerId, float] = {}

    def addresses(self) -> tuple[str, ...]:
        """`<address>/p2p/<relay>/relay` of each relay that is connected and agreed."""
        connected = set(self._transport.connected())
        return tuple(
            f"{address}/p2p/{relay}/relay" for relay, (address, _) in sorted(self._held.items()) if relay in connected
        )

    def holds(self, peer: PeerId) -> bool:
        """Whether a peer relays for this one: what comes from it may be anybody's."""
        return peer in self._held

    async def run(self, wanted: Callable[[], bool]) -> None:
        """Keep RELAYS reservations as long as they are wanted."""
        while True:
            if wanted():
                await self._look()
            await trio.sleep(LOOK_EVERY)

    async def _look(self) -> None:
        now, connected = trio.current_time(), self._transport.connected()
        self._held = {relay: held for relay, held in self._held.items() if relay in connected}
        self._refused = {relay: at for relay, at in self._refused.items() if at + RETRY_AFTER > now}
        for relay, (address, renew_at) in list(self._held.items()):
            if renew_at <= now:
                del self._held[relay]
                await self._reserve(relay, address)
        others = [peer for peer in connected if peer not in self._held and peer not in self._refused]
        self._rng.shuffle(others)
        for peer in others:
            if len(self._held) >= RELAYS:
                return
            found = self._address_of(peer)
            if found is not None and _fits(found, peer):
                await self._reserve(peer, found)

    async def _reserve(self, relay: PeerId, address: str) -> None:
        try:
            seconds = await reserve(self._transport, self._protocol, relay)
        except TransportError:
            self._refused[relay] = trio.current_time()
        else:
            self._held[relay] = (address, trio.current_time() + min(seconds, LEASE) / 2)


def _fits(address: str, relay: PeerId) -> bool:
    try:
        parse_service_address(f"{address}/p2p/{relay}/relay")
    except MalformedError:
        return False
    return True
