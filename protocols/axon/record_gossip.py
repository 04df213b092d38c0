"""How service records spread: a gossip topic for all, a paged request for those who join later (AXON R33).

A message is `[record, boxes]`. Its validator goes by size -> strict decode -> the sender's quota -> the book's lookups
-> signature. The book is the queue: it is bounded and reading it needs no task.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import trio

from ...consensus import cbor
from ...consensus.types import InvalidError, MalformedError
from ..interfaces import Clock
from ..limits import KIB, Quota, RequestLimits
from ..messages import RequestProtocol
from ..names import NetworkNames
from ..peer_ledger import Offence
from ..penalties import Penalties
from ..request_server import Service
from ..requests import RequestClient
from ..token_bucket import PeerBuckets
from ..transport import GossipVerdict, PeerId, Transport
from .record_book import MAX_PEERS_PER_HOTKEY, HeldRecord, RecordBook
from .records import MAX_RECORD_BYTES, ServiceRecord, decode_record
from .sealed_addresses import MAX_BOXES_BYTES

MAX_SERVICE_GOSSIP: Final = MAX_RECORD_BYTES + MAX_BOXES_BYTES + 16

RELAYED_RECORDS: Final = Quota(600, 10)
"""Records from one neighbour. All of 128 subnets with 256 miners renew 37 a second; the rest is room for bursts."""

PAGE_BYTES: Final = 192 * KIB
"""Records of one page; at least one hotkey's, whatever their size."""

MAX_PAGES: Final = 64
"""Pages asked of one peer in a row: 12 MiB, 500 sealed or thousands of open services."""

_PAGE_ITEMS: Final = 4096
"""The smallest record has some 200 bytes, so this many never fit; a bound for the decoder."""

SERVICES_LIMITS: Final = RequestLimits(
    "services", 64, PAGE_BYTES + MAX_PEERS_PER_HOTKEY * MAX_SERVICE_GOSSIP + 64, 1, Quota(64, 10)  # pages
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ServicesRequest:
    """Records of one subnet, of hotkeys above `after`."""

    netuid: int
    after: bytes = b""
    """A hotkey of 32 bytes, or nothing for the first page."""


@dataclass(frozen=True, slots=True)
class ServicesPage:
    """Items in ascending order of their hotkeys."""

    items: tuple[tuple[ServiceRecord, bytes], ...]
    """Record and boxes."""
    more: bool


def encode_item(data: bytes, boxes: bytes) -> bytes:
    """`[record, boxes]`, as gossiped."""
    return cbor.encode([data, boxes])


def decode_item(data: bytes) -> tuple[ServiceRecord, bytes]:
    """Inverse of `encode_item`. Raises MalformedError; boxes are checked with the record's signature."""
    return _item_from_value(cbor.decode(data, max_bytes=MAX_SERVICE_GOSSIP))


def _item_from_value(value: object) -> tuple[ServiceRecord, bytes]:
    record, boxes = cbor.as_array(value, 2, what="service")
    record = cbor.as_bytes(record, what="service record", most=MAX_RECORD_BYTES)
    return decode_record(record), cbor.as_bytes(boxes, what="boxes", most=MAX_BOXES_BYTES)


def _decode_request(data: bytes) -> ServicesRequest:
    netuid, after = cbor.as_array(
        cbor.decode(data, max_bytes=SERVICES_LIMITS.request_bytes), 2, what="services request"
    )
    after = cbor.as_bytes(after, what="hotkey", most=32)
    if len(after) not in (0, 32):
        raise MalformedError(f"hotkey: {len(after)} bytes, expected 32 or none")
    return ServicesRequest(cbor.as_uint(netuid, 16, what="netuid"), after)


def _encode_page(page: tuple[Sequence[HeldRecord], bool]) -> bytes:
    held, more = page
    return cbor.encode([[[item.data, item.boxes] for item in held], more])


def _decode_page(data: bytes) -> ServicesPage:
    items, more = cbor.as_array(cbor.decode(data, max_bytes=SERVICES_LIMITS.chunk_bytes), 2, what="services reply")
    return ServicesPage(
        tuple(_item_from_value(item) for item in cbor.as_array(items, what="services", most=_PAGE_ITEMS)),
        cbor.as_bool(more, what="more"),
    )


SERVICES: Final[RequestProtocol[ServicesRequest, Any]] = RequestProtocol(
    SERVICES_LIMITS,
    lambda request: cbor.encode([request.netuid, request.after]),
    _decode_request,
    _encode_page,
    _decode_page,
)
"""A reply is one page: encoded from what the book holds, decoded to a `ServicesPage`."""


class RecordGossip:
    """Spreads and takes in the records of one book."""

    def __init__(
        self,
        transport: Transport,
        names: NetworkNames,
        book: RecordBook,
        clock: Clock,
        penalties: Penalties,
        *,
        seconds: Callable[[], float] = trio.current_time,
    ) -> None:
        self._transport = transport
        self._topic = names.lasting_topic("services")
        self._book = book
        self._clock = clock
        self._penalties = penalties
        self._seconds = seconds
        self._senders = PeerBuckets(RELAYED_RECORDS)
        self.counters: Counter[str] = Counter()
        """`gossip/<outcome>` and `reply/<outcome>`."""

    def subscribe(self) -> None:
        """Join the topic."""
        self._transport.subscribe(self._topic, self.validate)

    async def publish(self, record: ServiceRecord, data: bytes, boxes: bytes) -> str:
        """Keep a record of our own and spread it if it was kept; gives the book's outcome."""
        outcome = self._book.add(record, boxes, self._clock.now())
        if outcome == "accept":
            await self._transport.publish(self._topic, encode_item(data, boxes))
        return outcome

    def validate(self, sender: PeerId, data: bytes) -> GossipVerdict:
        """The topic's validator."""
        try:
            record, boxes = decode_item(data)
            outcome = self._take(sender, record, boxes)
        except (MalformedError, InvalidError) as error:
            self.counters[f"gossip/{error.code}"] += 1
            self._penalties.offend(sender, Offence.MALFORMED)
            return GossipVerdict.REJECT
        self.counters[f"gossip/{outcome}"] += 1
        if outcome != "accept":
            return GossipVerdict.IGNORE
        self._penalties.useful(sender)
        return GossipVerdict.ACCEPT

    def _take(self, sender: PeerId, record: ServiceRecord, boxes: bytes) -> str:
        now = self._seconds()
        if not self._senders.of(sender, now).take_if_free(1, now):
            return "flood"
        return self._book.add(record, boxes, self._clock.now())

    # --- for those who join -----------------------------------------------------------------------------------------

    def service(self) -> Service[ServicesRequest, Any]:
        """The request `services`, answered from the book."""
        return Service(SERVICES, lambda _: 1, self._serve)

    def _serve(self, _: PeerId, request: ServicesRequest) -> Iterator[bytes]:
        yield SERVICES.encode_reply(
            self._book.page(request.netuid, request.after, self._clock.now(), PAGE_BYTES),
        )

    async def fetch(self, client: RequestClient, peer: PeerId, netuid: int) -> int:
        """Take in what a peer knows of a subnet, page by page; gives how many records were new.

        Raises RequestError when the peer does not answer. A forged record ends the fetch and costs the peer.
        """
        after, new = b"", 0
        for _ in range(MAX_PAGES):
            pages = await client.request(peer, SERVICES, ServicesRequest(netuid, after))
            last = after
            for record, boxes in pages[0].items if pages else ():
                try:
                    if record.netuid != netuid or record.hotkey < last:
                        raise InvalidError("services of another subnet, or out of order")
                    outcome = self._book.add(record, boxes, self._clock.now())
                except (MalformedError, InvalidError) as error:
                    self.counters[f"reply/{error.code}"] += 1
                    self._penalties.offend(peer, Offence.BAD_REPLY)
                    return new
                self.counters[f"reply/{outcome}"] += 1
                new += outcome == "accept"
                last = record.hotkey
            if last == after or not pages[0].more:
                break
            after = last
        return new
