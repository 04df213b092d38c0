"""The newest service records of each registered hotkey, bounded in every direction (AXON R33, R34; complaint C8).

What a stranger can make this book hold is bounded by what costs money on chain: only hotkeys registered in the subnet
get in, each with a few peers and a few records a minute. All checks but the last are lookups; the signature comes last.

A subnet's owner sets what a registration costs, and 140 hotkeys with sealed records of eight peers each would fill the
book. So in a full book a record takes the place of one of the subnet that has most, and there of the hotkey that has
most: who fills the book pays, and never the subnets beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from ...consensus.types import AccountId, Hash32, InvalidError, Micros
from ..limits import MIB, Quota
from ..token_bucket import TokenBucket
from ..transport import PeerId
from .records import ServiceRecord, check_lifetime, encode_record, verify_record
from .sealed_addresses import boxes_hash, check_boxes

MAX_PEERS_PER_HOTKEY: Final = 8
"""Replicas of one service (R34). A ninth takes the place of the one announced longest ago."""

MAX_BOOK: Final = 16_384
"""Records: half of a network of 128 subnets with 256 neurons each, which a validator of a few never needs."""

MAX_BOOK_BYTES: Final = 24 * MIB
"""Of records and boxes as they travel."""

HOTKEY_RECORDS: Final = Quota(2 * MAX_PEERS_PER_HOTKEY, 240)
"""New records of one hotkey in one subnet: all replicas may start at once, none needs two in a minute for long."""

Registered = Callable[[int, AccountId], bool]
"""`(netuid, hotkey)`: whether the final state knows the hotkey there. Answered from memory."""


@dataclass(frozen=True, slots=True)
class HeldRecord:
    """A record whose signature is right, and what travels with it."""

    record: ServiceRecord
    data: bytes
    """The record as it travels."""
    boxes: bytes
    """Sealed addresses, empty for an open record."""

    @property
    def size(self) -> int:
        """Bytes that count against the book's bound."""
        return len(self.data) + len(self.boxes)


@dataclass(slots=True)
class _Service:
    """All peers of one hotkey in one subnet."""

    bucket: TokenBucket
    peers: dict[PeerId, HeldRecord] = field(default_factory=dict)


def _weight(held: HeldRecord, counts_records: bool) -> int:
    return 1 if counts_records else held.size


class RecordBook:
    """See the module text. Times are Unix microseconds."""

    def __init__(
        self, genesis_hash: Hash32, registered: Registered, *, most: int = MAX_BOOK, most_bytes: int = MAX_BOOK_BYTES
    ) -> None:
        self._genesis_hash = genesis_hash
        self._registered = registered
        self._most = most
        self._most_bytes = most_bytes
        self._subnets: dict[int, dict[AccountId, _Service]] = {}
        self._count = 0
        self._bytes = 0
        self._records_held: Counter[int] = Counter()
        self._bytes_held: Counter[int] = Counter()
        """Both by subnet."""

    def __len__(self) -> int:
        return self._count

    @property
    def bytes_held(self) -> int:
        """Bytes of all records and boxes."""
        return self._bytes

    # --- taking in --------------------------------------------------------------------------------------------------

    def add(self, record: ServiceRecord, boxes: bytes, now: Micros) -> str:
        """Keep a record if it is newer than what is known, and name the outcome.

        `accept`, or why not, for reasons that are nobody's lie: unregistered, expired, from_the_future, older,
        too_often, full. Raises InvalidError or MalformedError for what its sender should not have sent.
        """
        if not self._registered(record.netuid, record.hotkey):
            return "unregistered"
        try:
            check_lifetime(record, now)
        except InvalidError as error:
            if error.code == "too_long":
                raise
            return error.code
        service = self._subnets.get(record.netuid, {}).get(record.hotkey)
        known = None if service is None else service.peers.get(record.peer)
        if known is not None and known.record.sequence >= record.sequence:
            return "older"
        pushed_out = None if service is None or known is not None else self._pushed_out(service)
        if pushed_out is not None and pushed_out.record.sequence >= record.sequence:
            return "older"
        bucket = TokenBucket(HOTKEY_RECORDS, now / 1e6) if service is None else service.bucket
        if bucket.wait(1, now / 1e6) > 0:
            return "too_often"
        held = HeldRecord(record, encode_record(record), boxes)
        replaced = known or pushed_out
        if self._has_no_room(held, replaced) and self._most_held(held, replaced) is None:
            return "full"
        self._check_boxes(record, boxes)
        verify_record(self._genesis_hash, record, now)
        while self._has_no_room(held, replaced):  # after the signature: a forger must not push anybody out
            victim = self._most_held(held, replaced)
            if victim is None:
                return "full"
            self._drop(self._subnets[victim.record.netuid][victim.record.hotkey], victim)
        bucket.take(1, now / 1e6)  # after the signature: a forger must not use up what the hotkey may say
        if service is None:
            service = self._subnets.setdefault(record.netuid, {})[record.hotkey] = _Service(bucket)
        if replaced is not None:
            self._drop(service, replaced)
        self._keep(service, held)
        return "accept"

    @staticmethod
    def _check_boxes(record: ServiceRecord, boxes: bytes) -> None:
        if not record.is_sealed:
            if boxes:
                raise InvalidError("boxes beside an open service record")
            return
        if boxes_hash(boxes) != record.boxes_hash:
            raise InvalidError("the boxes are not those that the service record names")
        check_boxes(boxes)

    @staticmethod
    def _pushed_out(service: _Service) -> HeldRecord | None:
        if len(service.peers) < MAX_PEERS_PER_HOTKEY:
            return None
        return min(service.peers.values(), key=lambda held: (held.record.sequence, held.record.peer))

    def _has_no_room(self, held: HeldRecord, replaced: HeldRecord | None) -> bool:
        count = self._count + (replaced is None)
        size = self._bytes + held.size - (0 if replaced is None else replaced.size)
        return count > self._most or size > self._most_bytes

    def _most_held(self, held: HeldRecord, replaced: HeldRecord | None) -> HeldRecord | None:
        """Which record makes way: the oldest of the hotkey that has most in the subnet that has most.

        None when the newcomer's own subnet and hotkey would have most. What is counted is what is short.
        """
        counts_records = self._count + (replaced is None) > self._most
        more = _weight(held, counts_records) - (0 if replaced is None else _weight(replaced, counts_records))
        own = held.record
        subnets = self._records_held if counts_records else self._bytes_held
        largest = max(subnets, key=lambda netuid: (subnets[netuid], -netuid), default=own.netuid)
        if subnets.get(largest, 0) <= subnets.get(own.netuid, 0) + more:
            largest = own.netuid
        services = self._subnets.get(largest, {})
        held_by = {
            hotkey: sum(_weight(one, counts_records) for one in service.peers.values())
            for hotkey, service in services.items()
            if service.peers and not (largest == own.netuid and hotkey == own.hotkey)
        }
        if not held_by:
            return None
        most = max(held_by, key=lambda hotkey: (held_by[hotkey], hotkey))
        if largest == own.netuid:
            service = services.get(own.hotkey)
            mine = 0 if service is None else sum(_weight(one, counts_records) for one in service.peers.values())
            if held_by[most] <= mine + more:
                return None
        return min(services[most].peers.values(), key=lambda one: (one.record.sequence, one.record.peer))

    def _keep(self, service: _Service, held: HeldRecord) -> None:
        service.peers[held.record.peer] = held
        self._count += 1
        self._bytes += held.size
        self._records_held[held.record.netuid] += 1
        self._bytes_held[held.record.netuid] += held.size

    def _drop(self, service: _Service, held: HeldRecord) -> None:
        del service.peers[held.record.peer]
        self._count -= 1
        self._bytes -= held.size
        self._records_held[held.record.netuid] -= 1
        self._bytes_held[held.record.netuid] -= held.size

    def prune(self, now: Micros) -> int:
        """Forget what expired and who is not registered any more; gives how many records went."""
        before = self._count
        for netuid, services in list(self._subnets.items()):
            for hotkey, service in list(services.items()):
                gone = not self._registered(netuid, hotkey)
                for held in list(service.peers.values()):
                    if gone or held.record.expires <= now:
                        self._drop(service, held)
                if not service.peers and service.bucket.is_full(now / 1e6):
                    del services[hotkey]
            if not services:
                del self._subnets[netuid]
                del self._records_held[netuid], self._bytes_held[netuid]
        return before - self._count

    # --- reading ----------------------------------------------------------------------------------------------------

    def of(self, netuid: int, hotkey: AccountId, now: Micros) -> list[HeldRecord]:
        """Records of a hotkey's live services in a subnet, newest first."""
        service = self._subnets.get(netuid, {}).get(hotkey)
        if service is None:
            return []
        alive = [held for held in service.peers.values() if held.record.expires > now and not held.record.is_withdrawn]
        return sorted(alive, key=lambda held: (-held.record.sequence, held.record.peer))

    def hotkeys(self, netuid: int, now: Micros) -> list[AccountId]:
        """Hotkeys that serve a subnet now, ascending."""
        return [hotkey for hotkey in sorted(self._subnets.get(netuid, {})) if self.of(netuid, hotkey, now)]

    def page(self, netuid: int, after: bytes, now: Micros, most_bytes: int) -> tuple[list[HeldRecord], bool]:
        """Records of the hotkeys above `after` in ascending order, whole hotkeys at a time, and whether there are more.

        Withdrawals are among them: they keep older records from coming back.
        """
        page: list[HeldRecord] = []
        size = 0
        for group in self._groups(netuid, after, now):
            more = sum(held.size for held in group)
            if page and size + more > most_bytes:
                return page, True
            page += group
            size += more
        return page, False

    def _groups(self, netuid: int, after: bytes, now: Micros) -> Iterator[list[HeldRecord]]:
        services = self._subnets.get(netuid, {})
        for hotkey in sorted(hotkey for hotkey in services if hotkey > after):
            group = [held for _, held in sorted(services[hotkey].peers.items()) if held.record.expires > now]
            if group:
                yield group
