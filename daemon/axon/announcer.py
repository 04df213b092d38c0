"""Saying what this peer serves, again in time and when it changes (AXON R33)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from ...consensus.signature import KeyPair
from ...consensus.types import AccountId, Hash32, Micros
from ...protocols.axon.codec_offer import own_codecs
from ...protocols.axon.record_gossip import RecordGossip
from ...protocols.axon.records import RECORD_LIFETIME, OfferedMethod, encode_record, make_record
from ...protocols.axon.sealed_addresses import MAX_HOLDERS, boxes_hash, seal_addresses
from ...protocols.interfaces import Clock
from ...protocols.transport import Transport
from ..logging import get_logger

TICK: Final = 2.0
"""Seconds between looks at what has changed; a plugin that starts is announced at once."""

PLACE_PATIENCE: Final = 15.0
"""Seconds for a relay or an address to be found before a service is announced without: to neighbours it is of use."""

RENEW_AFTER: Final = Micros(RECORD_LIFETIME // 3)

LEAST_SPACING: Final = Micros(20 * 1_000_000)
"""Between two announcements of one service unless its methods changed: addresses may flap, the book is patient."""


@dataclass(frozen=True, slots=True)
class _Service:
    """One announced service; its face is what others see of it."""

    key: KeyPair
    netuid: int
    methods: tuple[OfferedMethod, ...]
    sealed: bool
    since: float
    """trio time at which it was asked for."""


@dataclass(frozen=True, slots=True)
class _Said:
    """What was announced last."""

    at: Micros
    methods: tuple[OfferedMethod, ...]
    face: tuple[object, ...]
    """Addresses, and for whom they were sealed."""
    is_repeated: bool
    """A new service is announced twice: the first time, neighbours may not have joined the topic yet."""


class Announcer:
    """Announces through a `RecordGossip`; `run` until cancelled."""

    def __init__(
        self,
        transport: Transport,
        genesis_hash: Hash32,
        gossip: RecordGossip,
        clock: Clock,
        permit_holders: Callable[[int], Sequence[AccountId]],
        addresses: Callable[[], tuple[str, ...]],
    ) -> None:
        """`addresses`: what a record shows now."""
        self._transport = transport
        self._genesis_hash = genesis_hash
        self._gossip = gossip
        self._clock = clock
        self._permit_holders = permit_holders
        self._addresses = addresses
        self._services: dict[tuple[AccountId, int], _Service] = {}
        self._said: dict[tuple[AccountId, int], _Said] = {}
        self._kept: dict[tuple[AccountId, int], _Said] = {}
        """What only the own book holds, since no peer was connected."""
        self._changed = trio.Event()
        self._log = get_logger("discovery")

    def announce(self, hotkey: KeyPair, netuid: int, methods: Sequence[OfferedMethod], *, sealed: bool) -> None:
        """See `Discovery.announce`."""
        self.check(hotkey, netuid, methods)
        self._services[(AccountId(hotkey.public_key), netuid)] = _Service(
            hotkey, netuid, tuple(methods), sealed, trio.current_time()
        )
        self._changed.set()

    def check(self, hotkey: KeyPair, netuid: int, methods: Sequence[OfferedMethod]) -> None:
        """Raise MalformedError when the methods do not fit into a record, be it a sealed one."""
        peer, now = self._transport.local_peer, self._clock.now()
        make_record(self._genesis_hash, hotkey, netuid, peer, methods, now, boxes_hash=bytes(32), codecs=own_codecs())

    def withdraw(self, hotkey: KeyPair, netuid: int) -> None:
        """See `Discovery.withdraw`."""
        name = (AccountId(hotkey.public_key), netuid)
        if name in self._services:
            self._services[name] = _Service(hotkey, netuid, (), False, trio.current_time())
            self._changed.set()

    def services(self) -> tuple[tuple[AccountId, int], ...]:
        """`(hotkey, netuid)` of all that is served here."""
        return tuple(name for name, service in self._services.items() if service.methods)

    async def run(self) -> None:
        """Announce what is due until cancelled."""
        while True:
            self._changed = trio.Event()
            for name in list(self._services):
                await self._announce_if_due(name)
            with trio.move_on_after(TICK):
                await self._changed.wait()

    async def _announce_if_due(self, name: tuple[AccountId, int]) -> None:
        service = self._services[name]
        # While nobody hears it, it is for the validators of this peer alone; who connects later is told then.
        is_alone = not self._transport.connected()
        said = (self._kept if is_alone else self._said).get(name)
        now = self._clock.now()
        addresses = self._addresses()
        if not addresses and service.methods and trio.current_time() < service.since + PLACE_PATIENCE:
            return
        holders = tuple(self._permit_holders(service.netuid)[:MAX_HOLDERS]) if service.sealed else ()
        face = (addresses, holders, service.sealed)
        if said is not None and said.methods == service.methods:
            age = now - said.at
            if age < LEAST_SPACING or (face == said.face and (said.is_repeated or is_alone) and age < RENEW_AFTER):
                return
        boxes = seal_addresses(addresses, holders) if service.sealed and service.methods else b""
        record = make_record(
            self._genesis_hash,
            service.key,
            service.netuid,
            self._transport.local_peer,
            service.methods,
            now,
            addresses=() if service.sealed or not service.methods else addresses,
            boxes_hash=boxes_hash(boxes) if boxes else b"",
            codecs=own_codecs() if service.methods else (),
        )
        outcome = await self._gossip.publish(record, encode_record(record), boxes)
        if outcome != "accept" and (service.methods or outcome != "unregistered"):
            self._log.debug("service not announced", netuid=service.netuid, reason=outcome)
            return  # not registered yet, or too often: tried again at the next tick
        if is_alone:
            self._kept[name] = _Said(now, service.methods, face, False)
            return
        self._kept.pop(name, None)
        is_repeated = said is not None and said.methods == service.methods
        self._said[name] = _Said(now, service.methods, face, is_repeated)
        if not service.methods and self._services.get(name) is service:
            del self._services[name], self._said[name]
