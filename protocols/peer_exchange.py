"""Discovery by peer exchange: ask peers for signed records, keep our own fresh (CHAIN 7 "Discovery").

There is no DHT: a newcomer knows one address, asks there for records, and dials what it learns. Whom to dial is the
daemon's choice; this keeps the book.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import trio

from ..consensus.signature import KeyPair
from ..consensus.types import Hash32, InvalidError, MalformedError
from .interfaces import Clock, Rng
from .messages import PEERS, PeersReply, PeersRequest
from .network_address import parse_network_address
from .peer_ledger import Offence
from .peer_records import RECORD_LIFETIME, PeerBook, PeerRecord, make_record
from .penalties import Penalties
from .requests import RequestClient, RequestError
from .transport import PeerId, Transport

if TYPE_CHECKING:
    from trio_typing import TaskStatus

ASK_INTERVAL: Final = 60.0
"""Seconds between rounds. The server's quota is two requests a minute and peer."""

EAGER_INTERVAL: Final = 5.0
"""Seconds between rounds while fewer than ENOUGH peers are connected; each peer is asked once a minute at most."""

ENOUGH: Final = 8

_MAX_REMEMBERED: Final = 256
"""Peers whose last question is remembered."""


class PeerExchange:
    """Asks connected peers for records in turn and makes our own record."""

    def __init__(
        self,
        transport: Transport,
        client: RequestClient,
        book: PeerBook,
        penalties: Penalties,
        key: KeyPair,
        genesis_hash: Hash32,
        clock: Clock,
        rng: Rng,
        addresses: Callable[[], Sequence[str]],
    ) -> None:
        """`key` is the libp2p peer key; `addresses` gives the multiaddrs to announce, best first."""
        self._transport = transport
        self._client = client
        self._book = book
        self._penalties = penalties
        self._key = key
        self._genesis_hash = genesis_hash
        self._clock = clock
        self._rng = rng
        self._addresses = addresses
        self._own: PeerRecord | None = None
        self._asked: dict[PeerId, float] = {}
        self.counters: Counter[str] = Counter()

    def own_records(self) -> PeersReply:
        """Our own record, made anew when it is half used up or the addresses changed; empty without an address."""
        addresses = tuple(address for address in map(_without_peer, self._addresses()) if address is not None)
        if not addresses:
            return PeersReply(())
        now = self._clock.now()
        own = self._own
        if own is None or own.addresses != addresses or own.expires - now < RECORD_LIFETIME // 2:
            own = self._own = make_record(self._genesis_hash, self._key, addresses, now)
        return PeersReply((own,))

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Ask one peer a round until cancelled."""
        task_status.started()
        while True:
            peer = self._next_peer()
            if peer is not None:
                await self.ask(peer)
            is_poor = len(self._transport.connected()) < ENOUGH
            await trio.sleep(EAGER_INTERVAL if is_poor else ASK_INTERVAL)

    def _next_peer(self) -> PeerId | None:
        """A connected peer not asked for a minute, at random."""
        now = trio.current_time()
        self._asked = {peer: at for peer, at in self._asked.items() if now - at < ASK_INTERVAL}
        pool = [peer for peer in self._transport.connected() if peer not in self._asked]
        if not pool or len(self._asked) >= _MAX_REMEMBERED:
            return None
        return pool[self._rng.randrange(0, len(pool))]

    async def ask(self, peer: PeerId) -> int:
        """Ask one peer now; returns how many records were new. A forged record is an offence of the sender."""
        self._asked[peer] = trio.current_time()
        try:
            replies = await self._client.request(peer, PEERS, PeersRequest())
        except RequestError as error:
            self.counters[error.code] += 1
            return 0
        fresh = 0
        for record in replies[0].records if replies else ():
            if record.peer == self._transport.local_peer:
                continue
            try:
                fresh += self._book.add(record, self._clock.now())
            except InvalidError as error:
                self.counters[error.code] += 1
                if error.code == "bad_signature":  # an expired record is only old, a forged one is a lie
                    self._penalties.offend(peer, Offence.BAD_REPLY)
                    break
        self.counters["records"] += fresh
        if fresh:
            self._penalties.useful(peer)
        return fresh

    def to_dial(self, most: int) -> list[PeerRecord]:
        """Up to `most` known, unexpired, unconnected peers in random order."""
        connected = set(self._transport.connected())
        pool = self._book.sample(self._clock.now(), self._rng, most + len(connected))
        return [record for record in pool if record.peer not in connected][:most]


def _without_peer(address: str) -> str | None:
    """The network part of a listen address; None when others could not dial it (it is malformed or unspecified)."""
    network = address.partition("/p2p/")[0]
    try:
        parse_network_address(network)
    except MalformedError:
        return None
    host = network.split("/")[2]
    return None if host in ("0.0.0.0", "::") else network
