"""Announcing what is served here, and knowing what is served elsewhere (AXON 7.5, R31, R33-R35).

One `Discovery` per peer owns the record book, the reach book and the directory, and runs what keeps them fresh:
announcing, asking neighbours for what was said before we came, learning the own outside address, reserving at relays
when others cannot reach us, and probing the miners of the subnets this peer follows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from ...consensus.signature import KeyPair
from ...consensus.types import AccountId, Hash32, MalformedError, Micros
from ...protocols.axon.outside_address import OBSERVED, OutsideAddress, observed_service
from ...protocols.axon.reach_reports import ReachBook, ReachGossip, make_report
from ...protocols.axon.record_book import RecordBook
from ...protocols.axon.record_gossip import RecordGossip
from ...protocols.axon.records import MAX_ADDRESSES, OfferedMethod, parse_service_address
from ...protocols.axon.relay_service import Relay
from ...protocols.interfaces import Clock
from ...protocols.names import NetworkNames
from ...protocols.penalties import Penalties
from ...protocols.request_server import RequestServer
from ...protocols.requests import RequestClient, RequestError
from ...protocols.transport import PeerId, Transport
from ..logging import get_logger
from .announcer import Announcer
from .dial_pace import dialable
from .directory import Latencies, RecordDirectory
from .reachability import Prober
from .registrations import ChainFacts
from .relay_reservations import RelayReservations

FETCH_EVERY: Final = 2.0
"""Seconds between looks at whom to ask."""

REFETCH: Final = 600.0
"""Seconds after which a neighbour is asked again for the services of a subnet: gossip may have lost some."""

REFETCH_EMPTY: Final = 30.0
"""The same while nothing is known of the subnet."""

FETCH_PEERS: Final = 3
"""Neighbours asked for one subnet within that time."""

FETCH_SECONDS: Final = 20.0
"""For all pages of one neighbour: one that answers each of them at the last moment must not keep us from the others."""

OBSERVE_EVERY: Final = 10.0
"""Seconds between asking neighbours for our outside address."""

REOBSERVE: Final = 600.0
"""Seconds after which one neighbour is asked again."""

OBSERVE_PEERS: Final = 4
"""Neighbours asked each time."""

PRUNE_EVERY: Final = 30.0

UNREACHED_BY: Final = 2
"""Probers that must have failed, and none succeeded, before relays are used."""


@dataclass(frozen=True, slots=True)
class DiscoverySettings:
    """What an operator chose."""

    announce: tuple[str, ...] = ()
    """Addresses to show instead of those found out."""
    relay_only: bool = False
    """Show no address of this peer, only relays (complaint C8)."""
    serve_relay: bool = True
    """Relay for others."""
    probe: bool = True
    """Measure the miners of followed subnets."""


class Discovery:
    """See the module text. Build before the transport runs or after; then `run`."""

    def __init__(
        self,
        transport: Transport,
        names: NetworkNames,
        genesis_hash: Hash32,
        requests: RequestClient,
        penalties: Penalties,
        clock: Clock,
        rng: random.Random,
        chain: ChainFacts,
        *,
        own_addresses: Callable[[], Sequence[str]],
        address_of: Callable[[PeerId], str | None],
        keys: Callable[[], Sequence[KeyPair]] = tuple,
        in_use: Callable[[PeerId], bool] = lambda peer: False,
        settings: DiscoverySettings | None = None,
    ) -> None:
        """`own_addresses`: multiaddrs we listen on, without the peer id. `address_of(peer)`: where a connected peer can
        be dialed, to name it as relay. `keys`: hotkeys of this peer that open sealed addresses and sign reach reports.
        `in_use(peer)`: whether calls need the connection.
        """
        self._transport = transport
        self._genesis_hash = genesis_hash
        self._requests = requests
        self._clock = clock
        self._rng = rng
        self._chain = chain
        self._own_addresses = own_addresses
        self._keys = keys
        self._settings = settings or DiscoverySettings()
        self.book = RecordBook(genesis_hash, chain.registered)
        self.reach = ReachBook(genesis_hash, chain.permitted)
        self.latencies = Latencies()
        self.outside = OutsideAddress()
        self.directory = RecordDirectory(self.book, transport, clock, self.latencies, keys, self._dialable)
        self.relay = Relay(transport, names, penalties)
        self.reservations = RelayReservations(transport, names, rng, address_of)
        self.gossip = RecordGossip(transport, names, self.book, clock, penalties)
        self.reach_gossip = ReachGossip(transport, names, self.reach, clock, penalties)
        self._prober = Prober(transport, names, self.directory, self.latencies, rng, in_use=in_use)
        self._server = RequestServer(transport, names, [self.gossip.service(), observed_service(transport)], penalties)
        self.announcer = Announcer(
            transport, genesis_hash, self.gossip, clock, chain.permit_holders, self.shown_addresses
        )
        self._followed: dict[int, None] = {}
        self._fetched: dict[tuple[int, PeerId], float] = {}
        self._observed: dict[PeerId, float] = {}
        self._is_hidden = False
        """Others cannot dial this peer."""
        self._log = get_logger("discovery")

    # --- what the rest of a peer asks for ---------------------------------------------------------------------------

    def announce(self, hotkey: KeyPair, netuid: int, methods: Sequence[OfferedMethod], *, sealed: bool = False) -> None:
        """Tell the network, now and until `withdraw`, that this peer serves `methods` for a hotkey.

        Announcing again replaces what was said before. `sealed`: only permit holders learn the addresses. Raises
        MalformedError when the methods do not fit into a record.
        """
        self.announcer.announce(hotkey, netuid, methods, sealed=sealed)
        self.follow(netuid)

    def withdraw(self, hotkey: KeyPair, netuid: int) -> None:
        """Tell the network that the hotkey is not served here any more."""
        self.announcer.withdraw(hotkey, netuid)

    def follow(self, netuid: int) -> None:
        """Know the services of a subnet and measure its miners."""
        self._followed[netuid] = None

    def unfollow(self, netuid: int) -> None:
        """Stop asking for them; what gossip brings is still kept."""
        self._followed.pop(netuid, None)

    async def run(self) -> None:
        """Serve and keep everything fresh until cancelled."""
        self._server.register()
        if self._settings.serve_relay:
            self.relay.register()
        self.gossip.subscribe()
        self.reach_gossip.subscribe()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.announcer.run)
            nursery.start_soon(self._fetch_regularly)
            nursery.start_soon(self._observe_regularly)
            nursery.start_soon(self._prune_regularly)
            nursery.start_soon(self.reservations.run, lambda: self._is_hidden or self._settings.relay_only)
            if self._settings.probe:
                nursery.start_soon(
                    self._prober.run,
                    self._probed,
                    lambda netuid: self.book.hotkeys(netuid, self._clock.now()),
                    self._report,
                )

    # --- the own place ----------------------------------------------------------------------------------------------

    def shown_addresses(self) -> tuple[str, ...]:
        """What records of this peer say of where it is: direct addresses, then relays.

        A peer that is relay-only or cannot be reached names relays alone: dialing it would only cost its callers time.
        """
        relays = self.reservations.addresses()
        hidden = self._settings.relay_only or (self._is_hidden and bool(relays))
        direct = () if hidden else self._direct_addresses()
        return (*direct[: MAX_ADDRESSES - len(relays)], *relays)

    def _direct_addresses(self) -> tuple[str, ...]:
        direct = list(self._settings.announce)
        if not direct:
            direct = list(self._own_addresses())
            outside = self._outside_address()
            if outside is not None and outside not in direct:
                direct.insert(0, outside)
        return tuple(address for address in direct if _is_address(address))

    def _dialable(self, addresses: tuple[str, ...]) -> tuple[str, ...]:
        return dialable(addresses, self._own_addresses(), is_public=self.outside.host() is not None)

    def _outside_address(self) -> str | None:
        for address in self._transport.addresses():
            parts = address.split("/")
            if len(parts) > 4 and parts[3] == "tcp" and parts[4].isdigit():
                return self.outside.address(int(parts[4]))
        return None

    # --- learning ---------------------------------------------------------------------------------------------------

    async def _fetch_regularly(self) -> None:
        while True:
            await trio.sleep(FETCH_EVERY * (0.5 + self._rng.random()))
            for netuid in tuple(self._followed):
                await self._fetch(netuid)

    async def _fetch(self, netuid: int) -> None:
        """Ask one neighbour, unless enough were asked lately."""
        now, connected = trio.current_time(), self._transport.connected()
        patience = REFETCH if self.book.hotkeys(netuid, self._clock.now()) else REFETCH_EMPTY
        self._fetched = {
            (subnet, peer): at
            for (subnet, peer), at in self._fetched.items()
            if peer in connected and (subnet != netuid or at + patience > now)
        }
        asked = [peer for subnet, peer in self._fetched if subnet == netuid]
        fresh = [peer for peer in connected if peer not in asked]
        if not fresh or len(asked) >= FETCH_PEERS:
            return
        peer = self._rng.choice(fresh)
        self._fetched[(netuid, peer)] = now
        try:
            with trio.move_on_after(FETCH_SECONDS):
                await self.gossip.fetch(self._requests, peer, netuid)
        except RequestError as error:
            self._log.debug("no services", peer=peer, netuid=netuid, reason=error.message)

    async def _observe_regularly(self) -> None:
        while True:
            await trio.sleep(OBSERVE_EVERY * (0.5 + self._rng.random()))
            now, connected = trio.current_time(), self._transport.connected()
            self._observed = {
                peer: at for peer, at in self._observed.items() if peer in connected and at + REOBSERVE > now
            }
            for peer in [peer for peer in connected if peer not in self._observed][:OBSERVE_PEERS]:
                self._observed[peer] = now
                try:
                    answers = await self._requests.request(peer, OBSERVED, None)
                except RequestError as error:
                    self._log.debug("own address not told", peer=peer, reason=error.message)
                    continue
                for address in answers:
                    self.outside.hear(self._transport.remote_address(peer), address)

    async def _prune_regularly(self) -> None:
        while True:
            await trio.sleep(PRUNE_EVERY)
            now = self._clock.now()
            self.book.prune(now)
            self.reach.prune(now)
            services = self.announcer.services()
            if services and not self._is_hidden:
                unreached = any(self._is_unreached(name, now) for name in services)
                if unreached or not self._direct_addresses():
                    self._is_hidden = True  # and stays so: through the relays the next probes succeed
                    self._log.info("other peers cannot reach this one; asking neighbours to relay")

    def _is_unreached(self, name: tuple[AccountId, int], now: Micros) -> bool:
        hotkey, netuid = name
        reach = self.reach.reach(netuid, hotkey, now)
        return reach.probers >= UNREACHED_BY and reach.reached_by == 0

    def _probed(self) -> tuple[int, ...]:
        """Followed subnets in which a key of this peer has a voice: others would only be load for the miners."""
        keys = [AccountId(key.public_key) for key in self._keys()]
        return tuple(netuid for netuid in self._followed if any(self._chain.permitted(netuid, key) for key in keys))

    async def _report(self, netuid: int, latencies: Mapping[AccountId, int | None]) -> None:
        """Sign what a round of probing found with each key here that holds a permit."""
        for key in self._keys():
            own = AccountId(key.public_key)
            if self._chain.permitted(netuid, own):
                others = {hotkey: ms for hotkey, ms in latencies.items() if hotkey != own}
                await self.reach_gossip.publish(make_report(self._genesis_hash, key, netuid, others, self._clock.now()))


def _is_address(text: str) -> bool:
    """Whether others could dial it: what we listen on may be "everywhere"."""
    try:
        parse_service_address(text)
    except MalformedError:
        return False
    return not text.startswith(("/ip4/0.0.0.0/", "/ip6/::/"))
